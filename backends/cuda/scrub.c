/* SPDX-License-Identifier: Apache-2.0 */
/* scrub.c - between two leases: does the device compute, and nothing of the last one stays in its memory.
 *
 * Runs in a helper process that sees this device alone. It needs no compiler: the kernel below is text that the driver
 * translates. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "backends/cuda/cuda.h"
#include "backends/cuda/driver.h"

enum {
	PROBE_WORDS = 1 << 18,       /* 1 MiB */
	PROBE_FACTOR = 1664525,
	PROBE_SEED = 0x5c1e,
	THREADS = 256,
	CHUNKS_MAX = 4096,
	CHUNK_MIN = 256 << 10        /* pieces that are smaller are left to the next allocation */
};

/* out[i] = i * 1664525 + seed */
static const char kernel[] =
	".version 7.0\n"
	".target sm_52\n"
	".address_size 64\n"
	".visible .entry sluice_probe(.param .u64 out, .param .u32 n, .param .u32 seed)\n"
	"{\n"
	"	.reg .pred %p<2>;\n"
	"	.reg .b32 %r<8>;\n"
	"	.reg .b64 %rd<5>;\n"
	"	ld.param.u64 %rd1, [out];\n"
	"	ld.param.u32 %r1, [n];\n"
	"	ld.param.u32 %r2, [seed];\n"
	"	mov.u32 %r3, %ctaid.x;\n"
	"	mov.u32 %r4, %ntid.x;\n"
	"	mov.u32 %r5, %tid.x;\n"
	"	mad.lo.s32 %r6, %r3, %r4, %r5;\n"
	"	setp.ge.u32 %p1, %r6, %r1;\n"
	"	@%p1 bra done;\n"
	"	mad.lo.s32 %r7, %r6, 1664525, %r2;\n"
	"	cvta.to.global.u64 %rd2, %rd1;\n"
	"	mul.wide.u32 %rd3, %r6, 4;\n"
	"	add.s64 %rd4, %rd2, %rd3;\n"
	"	st.global.u32 [%rd4], %r7;\n"
	"done:\n"
	"	ret;\n"
	"}\n";

static int start(struct driver *d, const struct scrub_job *job, sl_error *error)
{
	int device = 0, count = 0;
	cu_context context;
	setenv("CUDA_VISIBLE_DEVICES", job->uuid, 1);
	unsetenv("CUDA_MPS_PIPE_DIRECTORY");
	int rc = driver_open(d, job->driver_file, error);
	if (rc != SL_OK)
		return rc;
	int result = d->init(0);
	if (result != CU_SUCCESS)
		return driver_fail(d, error, SL_EIO, result == CU_NOT_READY_SYSTEM ? "CUDA does not start (is the fabric manager "
		                   "running?)" : "CUDA does not start", result);
	result = d->device_count(&count);
	if (result == CU_SUCCESS && count == 1)
		result = d->device(&device, 0);
	if (result != CU_SUCCESS || count != 1)
		return text_fail(error, SL_EIO, "CUDA sees %d devices where it should see this one", count);
	result = d->context(&context, device);
	if (result == CU_SUCCESS)
		result = d->use_context(context);
	return result == CU_SUCCESS ? SL_OK : driver_fail(d, error, SL_EIO, "no context can be made", result);
}

static int compare(const unsigned *words, sl_error *error)
{
	for (unsigned i = 0; i < PROBE_WORDS; i++)
		if (words[i] != i * PROBE_FACTOR + PROBE_SEED)
			return text_fail(error, SL_EIO, "it computes wrong: word %u is %#x instead of %#x", i, words[i],
			                 i * PROBE_FACTOR + PROBE_SEED);
	return SL_OK;
}

static int probe(struct driver *d, sl_error *error)
{
	cu_module module;
	cu_function function;
	cu_pointer memory = 0;
	unsigned n = PROBE_WORDS, seed = PROBE_SEED;
	void *arguments[] = { &memory, &n, &seed };
	unsigned *words = malloc(PROBE_WORDS * sizeof *words);
	if (!words)
		return text_fail(error, SL_ENOMEM, "out of memory");
	int result = d->alloc(&memory, PROBE_WORDS * sizeof *words);
	if (result == CU_SUCCESS)
		result = d->load(&module, kernel);
	if (result == CU_SUCCESS)
		result = d->function(&function, module, "sluice_probe");
	if (result == CU_SUCCESS)
		result = d->launch(function, PROBE_WORDS / THREADS, 1, 1, THREADS, 1, 1, 0, NULL, arguments, NULL);
	if (result == CU_SUCCESS)
		result = d->synchronize();
	if (result == CU_SUCCESS)
		result = d->read(words, memory, PROBE_WORDS * sizeof *words);
	int rc = result == CU_SUCCESS ? compare(words, error) : driver_fail(d, error, SL_EIO, "the test kernel failed", result);
	if (memory)
		d->free(memory);
	free(words);
	return rc;
}

/* One chunk is overwritten, and looked at where it begins and ends. */
static int wipe(struct driver *d, cu_pointer chunk, size_t bytes, sl_error *error)
{
	unsigned first = 1, last = 1;
	int result = d->fill(chunk, 0, bytes / sizeof first);
	if (result == CU_SUCCESS)
		result = d->synchronize();
	if (result == CU_SUCCESS)
		result = d->read(&first, chunk, sizeof first);
	if (result == CU_SUCCESS)
		result = d->read(&last, chunk + bytes - sizeof last, sizeof last);
	if (result != CU_SUCCESS)
		return driver_fail(d, error, SL_EIO, "its memory cannot be overwritten", result);
	return first || last ? text_fail(error, SL_EIO, "its memory keeps what was there before it was overwritten") : SL_OK;
}

/* Takes all memory that is to be had, in pieces that shrink, and holds them until the end: what was wiped once must
 * not be found again. */
static int scrub(struct driver *d, sl_error *error)
{
	static cu_pointer chunks[CHUNKS_MAX];
	size_t n = 0, left = 0, total = 0, piece, wiped = 0;
	int rc = SL_OK, result = d->memory_info(&left, &total);
	if (result != CU_SUCCESS)
		return driver_fail(d, error, SL_EIO, "its memory cannot be counted", result);
	piece = left & ~(size_t) (CHUNK_MIN - 1);
	while (piece >= CHUNK_MIN && n < CHUNKS_MAX && rc == SL_OK) {
		result = d->alloc(&chunks[n], piece);
		if (result == CU_SUCCESS) {
			rc = wipe(d, chunks[n++], piece, error);
			wiped += piece;
		} else if (result == CU_OUT_OF_MEMORY) {
			piece = piece / 2 & ~(size_t) (CHUNK_MIN - 1);
		} else {
			rc = driver_fail(d, error, SL_EIO, "its memory cannot be taken", result);
		}
	}
	while (n)
		d->free(chunks[--n]);
	if (rc == SL_OK && wiped < left / 10 * 9)
		rc = text_fail(error, SL_EIO, "only %zu of %zu MiB could be overwritten", wiped >> 20, left >> 20);
	return rc;
}

int scrub_work(void *arg, sl_error *error)
{
	const struct scrub_job *job = arg;
	struct driver d;
	int rc = start(&d, job, error);
	if (rc == SL_OK && job->probe)
		rc = probe(&d, error);
	if (rc == SL_OK && job->scrub)
		rc = scrub(&d, error);
	return rc;
}
