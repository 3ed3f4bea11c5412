/* SPDX-License-Identifier: Apache-2.0 */
/* wrong.c - a backend that breaks its promises, one after the other: what the conformance test must find. */
#include <sluice/backend.h>
#include <stdio.h>
#include <unistd.h>

static int devices(void *self, sl_device *out, size_t room, size_t *n, sl_error *error)
{
	(void) self;
	(void) room; /* uuids, devices-room */
	(void) error;
	for (size_t i = 0; i < 2; i++) {
		out[i] = (sl_device){ .size = sizeof *out, .isolation = SL_ISOLATION_WHOLE };
		snprintf(out[i].uuid, sizeof out[i].uuid, "same");
		snprintf(out[i].kind, sizeof out[i].kind, "wrong");
		snprintf(out[i].model, sizeof out[i].model, "Wrong");
	}
	*n = 2;
	return SL_OK;
}

static int sample(void *self, sl_sample *out, size_t room, size_t *n, sl_error *error)
{
	(void) self;
	(void) error;
	if (room)
		out[0] = (sl_sample){ .size = sizeof *out, .uuid = "same", .health = SL_HEALTH_FAULTY }; /* no reason */
	*n = 1;
	return SL_OK;
}

static int prepare(void *self, const char *const *uuids, size_t n_uuids, const char *lease, sl_env *env, size_t room,
                   size_t *n_env, sl_error *error)
{
	(void) self;
	(void) uuids;
	(void) n_uuids;
	(void) lease;
	(void) error;
	*n_env = room ? 1 : 0;
	if (room)
		env[0] = (sl_env){ .name = "A=B" };
	return SL_OK;
}

static int release(void *self, const char *const *uuids, size_t n_uuids, const char *lease, sl_error *error)
{
	(void) n_uuids;
	(void) lease;
	(void) error;
	if (uuids[0][0] != 's')
		return *(volatile int *) self; /* release-unknown: a crash */
	return SL_EIO; /* release: without a word */
}

static int about(void *self, char *text, size_t room, sl_error *error)
{
	(void) self;
	(void) text;
	(void) room;
	(void) error;
	while (getppid() >= 0) /* hangs */
		pause();
	return SL_OK;
}

static int open_wrong(const sl_host *host, const sl_conf *conf, void **self, sl_error *error)
{
	(void) host;
	(void) conf;
	(void) error;
	*self = NULL;
	return SL_OK;
}

static void close_wrong(void *self)
{
	(void) self;
}

static const sl_backend_ops ops = {
	.size = sizeof ops, .devices = devices, .sample = sample, .prepare = prepare, .release = release, .about = about,
};

SL_EXPORT const sl_plugin sluice_plugin = {
	SL_PLUGIN_HEAD(SL_KIND_BACKEND),
	.name = "wrong",
	.version = "1",
	.summary = "breaks its promises",
	.caps = SL_BACKEND_CAP_SUSPEND,
	.open = open_wrong,
	.close = close_wrong,
	.ops = &ops,
};
