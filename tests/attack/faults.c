/* Faults of the machine, by interposing (LD_PRELOAD) the calls that change files: the nth of them fails as it is told. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { NONE, KILL, TORN, FULL, SHORT, SYNC };
static int kind = NONE;
static long at = 0, calls = 0;

void fault_arm(int which, long number) { kind = which; at = number; calls = 0; }
long fault_calls(void) { return calls; }

/* Count a call; whether it is to fail. grows: it needs room on the disk. */
static int hit(int grows) {
    if (kind == NONE) return 0;
    calls++;
    if (kind == KILL && calls == at) raise(SIGKILL);
    if (kind == FULL && calls >= at && grows) { errno = ENOSPC; return 1; }
    return 0;
}

#define REAL(result, name, ...) \
    static result (*real)(__VA_ARGS__); \
    if (!real) real = (result(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

ssize_t write(int file, const void *data, size_t size) {
    REAL(ssize_t, "write", int, const void *, size_t);
    if (file < 3) return real(file, data, size);
    if (hit(1)) return -1;
    if (kind == TORN && calls == at) { real(file, data, size / 2); raise(SIGKILL); }
    if (kind == SHORT && calls == at && size > 1) return real(file, data, size / 2);
    return real(file, data, size);
}

ssize_t pwrite64(int file, const void *data, size_t size, off64_t place) {
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
    return hit(1) ? -1 : real(file, data, size, place);
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    REAL(ssize_t, "writev", int, const struct iovec *, int);
    if (file < 3) return real(file, parts, count);
    return hit(1) ? -1 : real(file, parts, count);
}

static int syncs(int file, int (*real)(int)) {
    if (hit(0)) return -1;
    if (kind == SYNC && calls >= at) { errno = EIO; return -1; }
    return real(file);
}
int fsync(int file) { REAL(int, "fsync", int); return syncs(file, real); }
int fdatasync(int file) { REAL(int, "fdatasync", int); return syncs(file, real); }
int ftruncate64(int file, off64_t size) { REAL(int, "ftruncate64", int, off64_t); return hit(0) ? -1 : real(file, size); }
int rename(const char *a, const char *b) { REAL(int, "rename", const char *, const char *); return hit(0) ? -1 : real(a, b); }
int renameat2(int f, const char *a, int g, const char *b, unsigned how) {
    REAL(int, "renameat2", int, const char *, int, const char *, unsigned);
    return hit(0) ? -1 : real(f, a, g, b, how);
}
int mkdir(const char *path, mode_t mode) { REAL(int, "mkdir", const char *, mode_t); return hit(1) ? -1 : real(path, mode); }
int rmdir(const char *path) { REAL(int, "rmdir", const char *); return hit(0) ? -1 : real(path); }
int unlink(const char *path) { REAL(int, "unlink", const char *); return hit(0) ? -1 : real(path); }
int unlinkat(int f, const char *path, int how) { REAL(int, "unlinkat", int, const char *, int); return hit(0) ? -1 : real(f, path, how); }

#define OPENS(name) \
    int name(const char *path, int flags, ...) { \
        REAL(int, #name, const char *, int, ...); \
        va_list rest; va_start(rest, flags); mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0; va_end(rest); \
        if ((flags & (O_CREAT | O_TRUNC | O_WRONLY | O_RDWR)) && hit(1)) return -1; \
        return real(path, flags, mode); \
    }
OPENS(open)
OPENS(open64)
