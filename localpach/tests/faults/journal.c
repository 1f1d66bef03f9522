/* Loaded before the C library: writes down in the file JOURNAL, in order, all that changes below JOURNAL_ROOT, and what of it is
 * synced. A record is six numbers of eight bytes (what, the file's number, where, and the lengths of what follows), one or two
 * paths, and data. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CREATE, WRITE, TRUNCATE, SYNC, RENAME, LINK, UNLINK, MKDIR };

static int journal = -1;
static const char *root;
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("JOURNAL");
    root = getenv("JOURNAL_ROOT");
    if (path && root)
        journal = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
}

static int is_ours(const char *path) {
    size_t length;
    if (journal < 0 || !path || strncmp(path, root, strlen(root)))
        return 0;
    /* What several processes share in memory is made anew after a crash. */
    length = strlen(path);
    return length < 4 || strcmp(path + length - 4, "-shm");
}

static int path_of(int fd, char path[4096]) {
    char link[64];
    ssize_t size;
    if (journal < 0)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    size = readlink(link, path, 4095);
    if (size < 0)
        return 0;
    path[size] = 0;
    return is_ours(path);
}

static void record(uint64_t what, uint64_t file, uint64_t at, const char *path, const char *other, const void *data, size_t size) {
    int before = errno;
    uint64_t head[6] = {what, file, at, path ? strlen(path) : 0, other ? strlen(other) : 0, size};
    struct iovec parts[4] = {{head, sizeof head}, {(void *)path, head[3]}, {(void *)other, head[4]}, {(void *)data, size}};
    if (writev(journal, parts, 4) < 0)
        abort();
    errno = before;
}

static uint64_t file_of(int fd) {
    struct stat found;
    return fstat(fd, &found) ? 0 : found.st_ino;
}

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

#define WRITES(name, parameters, arguments, place) \
    ssize_t name parameters { \
        REAL(ssize_t, #name, int, const void *, size_t, off_t); \
        char path[4096]; \
        if (!path_of(fd, path)) return real arguments; \
        pthread_mutex_lock(&turn); \
        ssize_t done = real arguments; \
        if (done > 0) record(WRITE, file_of(fd), place, NULL, NULL, data, done); \
        pthread_mutex_unlock(&turn); \
        return done; \
    }
WRITES(write, (int fd, const void *data, size_t size), (fd, data, size, 0), lseek(fd, 0, SEEK_CUR) - done)
WRITES(pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at), at)
WRITES(pwrite64, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at), at)

#define OPENS(name) \
    int name(const char *path, int flags, ...) { \
        REAL(int, #name, const char *, int, ...); \
        va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, int); va_end(rest); \
        if (!(flags & (O_CREAT | O_TRUNC)) || !is_ours(path)) return real(path, flags, mode); \
        pthread_mutex_lock(&turn); \
        int is_new = access(path, F_OK) != 0, fd = real(path, flags, mode); \
        if (fd >= 0 && is_new) record(CREATE, file_of(fd), 0, path, NULL, NULL, 0); \
        else if (fd >= 0 && flags & O_TRUNC) record(TRUNCATE, file_of(fd), 0, NULL, NULL, NULL, 0); \
        pthread_mutex_unlock(&turn); \
        return fd; \
    }
OPENS(open)
OPENS(open64)

#define TRUNCATES(name) \
    int name(int fd, off_t size) { \
        REAL(int, #name, int, off_t); \
        char path[4096]; \
        if (!path_of(fd, path)) return real(fd, size); \
        pthread_mutex_lock(&turn); \
        int failed = real(fd, size); \
        if (!failed) record(TRUNCATE, file_of(fd), size, NULL, NULL, NULL, 0); \
        pthread_mutex_unlock(&turn); \
        return failed; \
    }
TRUNCATES(ftruncate)
TRUNCATES(ftruncate64)

/* What a command wrote where this layer is not is first seen here. */
static void record_content(int fd, const char *path) {
    static char data[1 << 20];
    ssize_t size;
    off_t at = 0;
    struct stat found;
    int copy = fstat(fd, &found) || !S_ISREG(found.st_mode) || strstr(path, "/metadata.sqlite") ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (copy < 0)
        return;
    record(TRUNCATE, file_of(fd), 0, NULL, NULL, NULL, 0);
    while ((size = pread(copy, data, sizeof data, at)) > 0) {
        record(WRITE, file_of(fd), at, NULL, NULL, data, size);
        at += size;
    }
    close(copy);
}

#define SYNCS(name) \
    int name(int fd) { \
        REAL(int, #name, int); \
        char path[4096]; \
        if (!path_of(fd, path)) return real(fd); \
        pthread_mutex_lock(&turn); \
        record_content(fd, path); \
        /* The journal alone says what is on the disk. */ \
        record(SYNC, file_of(fd), 0, path, NULL, NULL, 0); \
        pthread_mutex_unlock(&turn); \
        return 0; \
    }
SYNCS(fsync)
SYNCS(fdatasync)

#define ON_PATH(name, parameters, arguments, what, first, second) \
    int name parameters { \
        REAL(int, #name, const char *, ...); \
        struct stat found = {0}; \
        if (!is_ours(path)) return real arguments; \
        pthread_mutex_lock(&turn); \
        int failed = real arguments; \
        if (!failed) { stat(path, &found); record(what, found.st_ino, 0, first, second, NULL, 0); } \
        pthread_mutex_unlock(&turn); \
        return failed; \
    }
ON_PATH(unlink, (const char *path), (path), UNLINK, path, NULL)
ON_PATH(rmdir, (const char *path), (path), UNLINK, path, NULL)
ON_PATH(mkdir, (const char *path, mode_t mode), (path, mode), MKDIR, path, NULL)
ON_PATH(rename, (const char *old, const char *path), (old, path), RENAME, path, old)
ON_PATH(link, (const char *old, const char *path), (old, path), LINK, path, old)
