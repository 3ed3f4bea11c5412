/* SPDX-License-Identifier: Apache-2.0 */
/* xid.c - what the driver's fault numbers mean for a device. A table, so that a new one is a line. */
#include "backends/cuda/cuda.h"

static const struct xid table[] = {
	{ 13, SL_EVENT_PROGRAM, "graphics engine exception, most likely of the program" },
	{ 31, SL_EVENT_PROGRAM, "the program touched memory that is not its own" },
	{ 43, SL_EVENT_PROGRAM, "the program's channel was stopped" },
	{ 45, SL_EVENT_PROGRAM, "the program was ended, its channels were taken down" },
	{ 46, SL_EVENT_FAULTY, "the GPU has stopped working; reset it" },
	{ 48, SL_EVENT_FAULTY, "a memory error that cannot be corrected; reset the GPU" },
	{ 62, SL_EVENT_FAULTY, "the GPU's own controller has halted; reset it" },
	{ 63, SL_EVENT_DEGRADED, "a row of memory was put out of use; the next reset applies it" },
	{ 64, SL_EVENT_FAULTY, "a row of memory could not be put out of use; reset the GPU, and have it repaired if it comes back" },
	{ 68, SL_EVENT_PROGRAM, "video engine exception, most likely of the program" },
	{ 69, SL_EVENT_PROGRAM, "graphics engine class error, most likely of the program" },
	{ 74, SL_EVENT_DEGRADED, "an NVLink failed; work over several GPUs may hang, a reset is due" },
	{ 79, SL_EVENT_LOST, "the GPU has fallen off the bus; power the machine off and on" },
	{ 92, SL_EVENT_DEGRADED, "many corrected memory errors; have it looked at" },
	{ 94, SL_EVENT_DEGRADED, "a memory error that was contained: the program died of it, the GPU goes on" },
	{ 95, SL_EVENT_FAULTY, "a memory error that was not contained; reset the GPU" },
	{ 109, SL_EVENT_PROGRAM, "a context switch took too long, most likely of the program" },
	{ 119, SL_EVENT_FAULTY, "the GPU's system processor does not answer; reset the GPU" },
	{ 120, SL_EVENT_FAULTY, "the GPU's system processor failed; reset the GPU" },
	{ 140, SL_EVENT_FAULTY, "a memory error was not recovered from; reset the GPU" },
	{ 154, SL_EVENT_NOTE, "what the GPU asks for has changed" },
};

static const struct xid unknown = { 0, SL_EVENT_DEGRADED, "not in our table: look it up in NVIDIA's list of Xid errors" };

const struct xid *xid_find(unsigned long long number)
{
	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		if (table[i].number == number)
			return &table[i];
	return &unknown;
}
