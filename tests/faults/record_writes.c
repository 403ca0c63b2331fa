/* Records every call that changes what a power cut would leave of the files below $PL_DIR, in order, to $PL_LOG.
 *
 * gcc -shared -fPIC -O2 -o record_writes.so record_writes.c -ldl
 * PL_DIR=<absolute directory> PL_LOG=<file elsewhere> LD_PRELOAD=record_writes.so program
 *
 * One record: op (1 byte), length of the path (2), offset (8), length of the data (4), path, data; native order.
 * Ops: C a file was made; W written; T cut or extended to offset; S synced; U unlinked; D its directory synced.
 * SQLite's shared memory (-shm) is no storage, and mapped. Files are known by descriptor, at most 4096 of them.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST 4096

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *known[MOST]; /* descriptor -> path, while it is open */
static int log_fd = -1;
static const char *place;
static size_t place_length;

static int (*real_open)(const char *, int, ...);
static int (*real_openat)(int, const char *, int, ...);
static int (*real_close)(int);
static int (*real_unlink)(const char *);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_ftruncate)(int, off64_t);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off64_t);

static void begin(void) {
    if (real_open) return;
    real_openat = dlsym(RTLD_NEXT, "openat");
    real_close = dlsym(RTLD_NEXT, "close");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_open = dlsym(RTLD_NEXT, "open");
    place = getenv("PL_DIR");
    place_length = place ? strlen(place) : 0;
    const char *log_path = getenv("PL_LOG");
    if (place && log_path) log_fd = real_open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

static int wanted(const char *path) {
    if (log_fd < 0 || !path || strncmp(path, place, place_length)) return 0;
    if (path[place_length] != '/' && path[place_length] != '\0') return 0;
    size_t n = strlen(path);
    return !(n > 4 && !strcmp(path + n - 4, "-shm"));
}

static const char *tracked(int fd) { return fd >= 0 && fd < MOST ? known[fd] : NULL; }

static void record(char op, const char *path, int64_t offset, const void *data, uint32_t length) {
    char head[15];
    uint16_t path_length = strlen(path);
    head[0] = op;
    memcpy(head + 1, &path_length, 2);
    memcpy(head + 3, &offset, 8);
    memcpy(head + 11, &length, 4);
    real_write(log_fd, head, 15);
    real_write(log_fd, path, path_length);
    if (length) real_write(log_fd, data, length);
}

/* The call and its record are one step, so that the log has the order of the calls. */
#define AS_ONE_STEP(type, call, if_well)      \
    do {                                      \
        pthread_mutex_lock(&lock);            \
        type result = call;                   \
        if_well;                              \
        pthread_mutex_unlock(&lock);          \
        return result;                        \
    } while (0)

static int opened(int directory, const char *path, int flags, mode_t mode) {
    if (!wanted(path)) return real_openat(directory, path, flags, mode);
    pthread_mutex_lock(&lock);
    int is_new = (flags & O_CREAT) && access(path, F_OK);
    int fd = real_openat(directory, path, flags, mode);
    if (fd >= 0 && fd < MOST) {
        free(known[fd]);
        known[fd] = strdup(path);
        if (is_new) record('C', path, 0, NULL, 0);
        if (flags & O_TRUNC) record('T', path, 0, NULL, 0);
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

#define MODE                                 \
    mode_t mode = 0;                         \
    if (flags & (O_CREAT | O_TMPFILE)) {     \
        va_list rest;                        \
        va_start(rest, flags);               \
        mode = va_arg(rest, mode_t);         \
        va_end(rest);                        \
    }

int open(const char *path, int flags, ...) { begin(); MODE return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { begin(); MODE return opened(AT_FDCWD, path, flags | O_LARGEFILE, mode); }
int openat(int at, const char *path, int flags, ...) { begin(); MODE return opened(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { begin(); MODE return opened(at, path, flags | O_LARGEFILE, mode); }

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) {
    begin();
    const char *path = tracked(fd);
    if (!path) return real_pwrite(fd, data, length, offset);
    AS_ONE_STEP(ssize_t, real_pwrite(fd, data, length, offset), if (result > 0) record('W', path, offset, data, result));
}
ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) { return pwrite64(fd, data, length, offset); }

ssize_t write(int fd, const void *data, size_t length) {
    begin();
    const char *path = tracked(fd);
    if (!path) return real_write(fd, data, length);
    AS_ONE_STEP(ssize_t, real_write(fd, data, length),
                if (result > 0) record('W', path, lseek64(fd, 0, SEEK_CUR) - result, data, result));
}

int ftruncate64(int fd, off64_t length) {
    begin();
    const char *path = tracked(fd);
    if (!path) return real_ftruncate(fd, length);
    AS_ONE_STEP(int, real_ftruncate(fd, length), if (!result) record('T', path, length, NULL, 0));
}
int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

static int synced(int fd, int (*sync)(int)) {
    begin();
    const char *path = tracked(fd);
    if (!path) return sync(fd);
    char op = path[place_length] ? 'S' : 'D';
    AS_ONE_STEP(int, sync(fd), if (!result) record(op, path, 0, NULL, 0));
}
int fsync(int fd) { begin(); return synced(fd, real_fsync); }
int fdatasync(int fd) { begin(); return synced(fd, real_fdatasync); }

int close(int fd) {
    begin();
    if (tracked(fd)) {
        pthread_mutex_lock(&lock);
        free(known[fd]);
        known[fd] = NULL;
        pthread_mutex_unlock(&lock);
    }
    return real_close(fd);
}

int unlink(const char *path) {
    begin();
    if (!wanted(path)) return real_unlink(path);
    AS_ONE_STEP(int, real_unlink(path), if (!result) record('U', path, 0, NULL, 0));
}
