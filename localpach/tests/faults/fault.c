/* Loaded before the C library: fails calls that change files below FAULT_ROOT, as the control file FAULT_CONTROL says, which
 * is shared memory of four numbers: how many such calls there were, the number of the first to fail (0: none), the number of
 * the last, and the error (0: a write takes half of what it is given; -1: the process is killed). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static volatile int *control;
static const char *root;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAULT_CONTROL");
    int fd;
    root = getenv("FAULT_ROOT");
    if (!path || !root || (fd = open(path, O_RDWR | O_CLOEXEC)) < 0)
        return;
    void *found = mmap(NULL, 16, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    control = found == MAP_FAILED ? NULL : found;
}

static int is_ours(const char *path) { return control && path && !strncmp(path, root, strlen(root)); }

static int is_our_file(int fd) {
    char link[64], path[4096];
    if (!control)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0)
        return 0;
    path[size] = 0;
    return is_ours(path);
}

/* Whether this call is to fail. */
static int fails(void) {
    int number = __sync_add_and_fetch(&control[0], 1);
    int is_meant = control[1] && number >= control[1] && number <= control[2];
    if (is_meant && control[3] < 0)
        raise(SIGKILL);
    return is_meant;
}

static int refused(int ours) {
    int before = errno;
    if (ours && fails() && control[3]) {
        errno = control[3];
        return 1;
    }
    errno = before;
    return 0;
}

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

#define WRITES(name, parameters, arguments) \
    ssize_t name parameters { \
        REAL(ssize_t, #name, int, const void *, size_t, off_t); \
        int before = errno; \
        if (size > 0 && is_our_file(fd) && fails()) { \
            if (control[3]) { errno = control[3]; return -1; } \
            size = size > 1 ? size / 2 : size; \
        } \
        errno = before; \
        return real arguments; \
    }
WRITES(write, (int fd, const void *data, size_t size), (fd, data, size, 0))
WRITES(pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at))
WRITES(pwrite64, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at))

#define OPENS(name) \
    int name(const char *path, int flags, ...) { \
        REAL(int, #name, const char *, int, ...); \
        va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, int); va_end(rest); \
        if (refused(is_ours(path) && (flags & O_CREAT) && access(path, F_OK) != 0)) return -1; \
        return real(path, flags, mode); \
    }
OPENS(open)
OPENS(open64)

#define ON_FILE(name, parameters, arguments) \
    int name parameters { REAL(int, #name, int, off_t); return refused(is_our_file(fd)) ? -1 : real arguments; }
ON_FILE(fsync, (int fd), (fd, 0))
ON_FILE(fdatasync, (int fd), (fd, 0))
ON_FILE(ftruncate, (int fd, off_t size), (fd, size))
ON_FILE(ftruncate64, (int fd, off_t size), (fd, size))

#define ON_PATH(name, parameters, arguments) \
    int name parameters { REAL(int, #name, const char *, ...); return refused(is_ours(path)) ? -1 : real arguments; }
ON_PATH(unlink, (const char *path), (path))
ON_PATH(mkdir, (const char *path, mode_t mode), (path, mode))
ON_PATH(rename, (const char *old, const char *path), (old, path))
ON_PATH(link, (const char *old, const char *path), (old, path))
