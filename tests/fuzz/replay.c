/* SPDX-License-Identifier: Apache-2.0 */
/* replay.c - runs a fuzz target over its corpus, one line of TAP a file. */
#include <dirent.h>
#include <limits.h>

#include "tests/fuzz/fuzz.h"
#include "tests/unit/tap.h"

static int replay(const char *path)
{
	FILE *file = fopen(path, "rb");
	if (!file)
		return -1;
	static uint8_t data[1 << 20];
	size_t size = fread(data, 1, sizeof data, file);
	fclose(file);
	char *copy = exact_copy(data, size);
	LLVMFuzzerTestOneInput((const uint8_t *) copy, size);
	free(copy);
	return 0;
}

static int no_dots(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

int main(int argc, char **argv)
{
	(void) argc;
	const char *top = getenv("top_srcdir"), *slash = strrchr(argv[0], '/');
	char folder[PATH_MAX], path[PATH_MAX];
	struct dirent **entries;
	snprintf(folder, sizeof folder, "%s/tests/fuzz/corpus/%s", top ? top : ".", slash ? slash + 1 : argv[0]);
	int n = scandir(folder, &entries, no_dots, alphasort);
	if (n <= 0) {
		tap_ok(false, "%s has files", folder);
		return tap_done();
	}
	for (int i = 0; i < n; i++) {
		int written = snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
		printf("# %s\n", entries[i]->d_name);
		fflush(stdout);
		tap_ok(written < (int) sizeof path && replay(path) == 0, "%s", entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	return tap_done();
}
