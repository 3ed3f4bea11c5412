/* SPDX-License-Identifier: Apache-2.0 */
/* file.c - looks at a plugin's file before the dynamic linker does: its constructors run inside dlopen, so whatever
 * speaks against it must be known earlier. */
#include "config.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/str.h"
#include "core/plugin/plugin_private.h"

/* The header of the program that this is part of: what a file must match. Made by the linker. */
extern const ElfW(Ehdr) __ehdr_start __attribute__((visibility("hidden")));

static const char *type_word(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR: return "a folder";
	case S_IFIFO: return "a FIFO";
	case S_IFCHR:
	case S_IFBLK: return "a device";
	case S_IFSOCK: return "a socket";
	default: return "no regular file";
	}
}

/* One component of the resolved path. In a folder like /tmp (root's, sticky) others can add names but cannot touch
 * those that are there, and the next component's owner is checked like every other. */
static bool component_is_safe(struct plugin_attempt *a, const char *path, uid_t self)
{
	struct stat st;
	if (lstat(path, &st) != 0)
		return plugin_refuse(a, PLUGIN_NOT_READABLE, "cannot look at %s: %s", path, strerror(errno));
	if (st.st_uid != 0 && st.st_uid != self)
		return plugin_refuse(a, PLUGIN_UNSAFE, "%s belongs to user %u, expected root or user %u: its owner could swap the "
		                     "plugin; chown it", path, st.st_uid, self);
	bool sticky = S_ISDIR(st.st_mode) && (st.st_mode & S_ISVTX) && st.st_uid == 0;
	if ((st.st_mode & (S_IWGRP | S_IWOTH)) && !sticky)
		return plugin_refuse(a, PLUGIN_UNSAFE, "%s is writable by %s (mode %04o): they could swap the plugin; chmod go-w it",
		                     path, st.st_mode & S_IWOTH ? "everybody" : "its group", st.st_mode & 07777);
	return true;
}

static bool path_is_safe(struct plugin_attempt *a)
{
	uid_t self = geteuid();
	if (!component_is_safe(a, "/", self))
		return false;
	char part[PATH_MAX];
	for (size_t i = 1; a->path[i - 1]; i++) {
		if (a->path[i] != '/' && a->path[i] != '\0')
			continue;
		str_copy(part, sizeof part, (sl_str){ a->path, i });
		if (!component_is_safe(a, part, self))
			return false;
	}
	return true;
}

/* Reads all of len or nothing. */
static bool read_at(int fd, void *out, size_t len, uint64_t offset)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = pread(fd, (char *) out + done, len - done, (off_t) (offset + done));
		if (n <= 0 && !(n < 0 && errno == EINTR))
			return false;
		done += n > 0 ? (size_t) n : 0;
	}
	return true;
}

/* A segment behind the end of the file would be a SIGBUS later. */
static bool segments_are_there(int fd, const ElfW(Ehdr) *head, uint64_t size)
{
	if (head->e_phentsize != sizeof(ElfW(Phdr)) || head->e_phnum == 0)
		return false;
	for (unsigned i = 0; i < head->e_phnum; i++) {
		ElfW(Phdr) segment;
		uint64_t at = head->e_phoff + (uint64_t) i * sizeof segment;
		if (at < head->e_phoff || at > size || !read_at(fd, &segment, sizeof segment, at))
			return false;
		if (segment.p_type == PT_LOAD && (segment.p_offset > size || segment.p_filesz > size - segment.p_offset))
			return false;
	}
	return true;
}

static bool elf_fits(struct plugin_attempt *a, int fd, uint64_t size)
{
	ElfW(Ehdr) head;
	const ElfW(Ehdr) *own = &__ehdr_start;
	if (size < sizeof head || !read_at(fd, &head, sizeof head, 0) || memcmp(head.e_ident, ELFMAG, SELFMAG) != 0)
		return plugin_refuse(a, PLUGIN_NOT_ELF, "expected an ELF shared object, found %s; build it with cc -shared -fPIC",
		                     size == 0 ? "an empty file" : "something else");
	if (head.e_ident[EI_CLASS] != own->e_ident[EI_CLASS] || head.e_ident[EI_DATA] != own->e_ident[EI_DATA] ||
	    head.e_machine != own->e_machine)
		return plugin_refuse(a, PLUGIN_NOT_ELF, "built for another machine: expected ELF machine %u, %s-bit, found machine %u, "
		                     "%s-bit; rebuild it for this one", own->e_machine,
		                     own->e_ident[EI_CLASS] == ELFCLASS64 ? "64" : "32", head.e_machine,
		                     head.e_ident[EI_CLASS] == ELFCLASS64 ? "64" : "32");
	if (head.e_type != ET_DYN)
		return plugin_refuse(a, PLUGIN_NOT_ELF, "expected a shared object (ELF type 3), found %s (ELF type %u); build it with "
		                     "cc -shared -fPIC", head.e_type == ET_EXEC ? "a program" : head.e_type == ET_REL ?
		                     "an object file" : head.e_type == ET_CORE ? "a core dump" : "another type", head.e_type);
	if (!segments_are_there(fd, &head, size))
		return plugin_refuse(a, PLUGIN_NOT_ELF, "the file is cut short: its segments end behind byte %llu; copy it again",
		                     (unsigned long long) size);
	return true;
}

bool plugin_file_check(struct plugin_attempt *a)
{
	if (!realpath(a->asked, a->path)) {
		a->path[0] = '\0';
		return plugin_refuse(a, PLUGIN_NOT_READABLE, "%s; check the name, or set SLUICE_PLUGIN_PATH to the folder of the "
		                     "plugins", strerror(errno));
	}
	/* O_NONBLOCK: a FIFO without a writer must not hold us. */
	int fd = open(a->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY);
	if (fd < 0)
		return plugin_refuse(a, PLUGIN_NOT_READABLE, "cannot open it: %s", strerror(errno));
	struct stat st;
	bool fine;
	if (fstat(fd, &st) != 0)
		fine = plugin_refuse(a, PLUGIN_NOT_READABLE, "cannot look at it: %s", strerror(errno));
	else if (!S_ISREG(st.st_mode))
		fine = plugin_refuse(a, PLUGIN_NOT_READABLE, "expected a regular file, found %s", type_word(st.st_mode));
	else
		fine = path_is_safe(a) && elf_fits(a, fd, (uint64_t) st.st_size);
	close(fd);
	return fine;
}
