/* SPDX-License-Identifier: Apache-2.0 */
/* sysfs.c - reads what the kernel driver shows in files. */
#include "config.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/hip/hip.h"

static FILE *open_file(const struct hip *h, const char *folder, const char *name)
{
	char path[2 * PATH_MAX];
	snprintf(path, sizeof path, "%s/%s/%s", h->root, folder, name);
	return fopen(path, "re");
}

bool sysfs_text(const struct hip *h, const char *folder, const char *name, char *out, size_t room)
{
	FILE *file = open_file(h, folder, name);
	bool read = file && fgets(out, (int) room, file);
	if (file)
		fclose(file);
	if (read)
		out[strcspn(out, "\n")] = '\0';
	else
		out[0] = '\0';
	return read;
}

int64_t sysfs_number(const struct hip *h, const char *folder, const char *name, int64_t fallback)
{
	char text[64], *end;
	if (!sysfs_text(h, folder, name, text, sizeof text))
		return fallback;
	long long value = strtoll(text, &end, 0);
	return end == text ? fallback : value;
}

unsigned long long sysfs_property(const struct hip *h, const char *folder, const char *name, const char *property,
                                  unsigned long long fallback)
{
	char line[256];
	size_t len = strlen(property);
	unsigned long long value = fallback;
	FILE *file = open_file(h, folder, name);
	while (file && fgets(line, sizeof line, file))
		if (strncmp(line, property, len) == 0 && (line[len] == ' ' || line[len] == ':'))
			value = strtoull(line + len + 1, NULL, 0);
	if (file)
		fclose(file);
	return value;
}

/* In the order of their numbers, which is that of the runtime. */
static int by_number(const struct dirent **a, const struct dirent **b)
{
	return strverscmp((*a)->d_name, (*b)->d_name);
}

void sysfs_each(const struct hip *h, const char *folder, const char *prefix, void (*each)(void *arg, const char *name),
                void *arg)
{
	char path[2 * PATH_MAX];
	struct dirent **names;
	snprintf(path, sizeof path, "%s/%s", h->root, folder);
	int n = scandir(path, &names, NULL, by_number);
	for (int i = 0; i < n; i++) {
		if (names[i]->d_name[0] != '.' && strncmp(names[i]->d_name, prefix, strlen(prefix)) == 0)
			each(arg, names[i]->d_name);
		free(names[i]);
	}
	if (n >= 0)
		free(names);
}

struct first {
	char name[NAME_MAX + 1];
};

static void take_first(void *arg, const char *name)
{
	struct first *f = arg;
	if (!f->name[0])
		text_copy(f->name, sizeof f->name, name);
}

bool sysfs_hwmon(const struct hip *h, const char *folder, char *out, size_t room)
{
	struct first f = { "" };
	char parent[PATH_MAX + 16];
	snprintf(parent, sizeof parent, "%s/hwmon", folder);
	sysfs_each(h, parent, "hwmon", take_first, &f);
	snprintf(out, room, "%s/%s", parent, f.name);
	return f.name[0] != '\0';
}
