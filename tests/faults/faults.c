/* A disk that fails, and a clock that jumps, for a server under test.
 *
 *     cc -shared -fPIC -o faults.so faults.c
 *     LD_PRELOAD=faults.so LIDO_FAULTS=control LIDO_FAULTS_DATA=data LIDO_FAULTS_DISK=disk lido serve …
 *
 * LIDO_FAULTS names a file of one line, read again when it was replaced:
 *
 *     KIND WHERE SKIP TIMES SHIFT
 *
 * KIND    none | enospc | eio-write | eio-sync | short | read-only
 * WHERE   any, or one of db, wal, shm: the files lido.db, lido.db-wal, lido.db-shm in LIDO_FAULTS_DATA
 * SKIP    how many calls that KIND could fail go well first
 * TIMES   how many fail then; 0 for all
 * SHIFT   milliseconds that the system's clock is ahead of the real one
 *
 * Each failure appends a line to the control file's name with ".fired".
 *
 * LIDO_FAULTS_DISK, if set, is a directory for what would be left of lido.db and lido.db-wal after a power
 * cut: the pages that a successful sync has written. A sync that fails drops what it should have written, and
 * no later one writes that again unless the pages were changed again: so do real systems. What a process left
 * unsynced when it was killed counts as dropped, too.
 *
 * Only what the server calls is intercepted; everything else goes past.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum kind { NONE, ENOSPC_WRITE, EIO_WRITE, EIO_SYNC, SHORT_WRITE, READ_ONLY };
static const char *const KINDS[] = {"none", "enospc", "eio-write", "eio-sync", "short", "read-only"};

enum file { DB, WAL, SHM, FILES, OTHER = FILES };
static const char *const NAMES[] = {"lido.db", "lido.db-wal", "lido.db-shm"};
static const char *const WHERES[] = {"db", "wal", "shm"};

enum { PAGE = 4096 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- The order of the day ---- */

static struct {
    enum kind kind;
    enum file where; /* OTHER: any */
    long skip, times, shift;
    ino_t inode;
    struct timespec changed;
} control;

static void refresh(void) {
    const char *path = getenv("LIDO_FAULTS");
    struct stat found;
    if (path == NULL || stat(path, &found) != 0) return;
    if (found.st_ino == control.inode && memcmp(&found.st_mtim, &control.changed, sizeof found.st_mtim) == 0)
        return;
    char text[256] = "", kind[32] = "", where[32] = "";
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    long skip = 0, times = 0, shift = 0;
    if (length <= 0 || sscanf(text, "%31s %31s %ld %ld %ld", kind, where, &skip, &times, &shift) != 5) return;
    control.kind = NONE;
    for (int index = 0; index <= READ_ONLY; index++)
        if (strcmp(kind, KINDS[index]) == 0) control.kind = index;
    control.where = OTHER;
    for (int index = 0; index < FILES; index++)
        if (strcmp(where, WHERES[index]) == 0) control.where = index;
    control.skip = skip;
    control.times = times == 0 ? -1 : times;
    control.shift = shift;
    control.inode = found.st_ino;
    control.changed = found.st_mtim;
}

static void report(enum kind kind, enum file file) {
    char path[4096], line[64];
    snprintf(path, sizeof path, "%s.fired", getenv("LIDO_FAULTS"));
    int length = snprintf(line, sizeof line, "%s %s\n", KINDS[kind], file == OTHER ? "other" : WHERES[file]);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) return;
    syscall(SYS_write, fd, line, length);
    close(fd);
}

/* Whether this call fails: one of the kinds, given as bits, is due for the file. */
static int due(int kinds, enum file file) {
    refresh();
    if ((kinds & 1 << control.kind) == 0 || (control.where != OTHER && control.where != file)) return 0;
    if (control.skip > 0) {
        control.skip--;
        return 0;
    }
    if (control.times == 0) return 0;
    if (control.times > 0) control.times--;
    report(control.kind, file);
    return 1;
}

/* ---- The files ---- */

static enum file by_path(const char *path) {
    const char *data = getenv("LIDO_FAULTS_DATA");
    size_t length = data == NULL ? 0 : strlen(data);
    if (length == 0 || strncmp(path, data, length) != 0 || path[length] != '/') return OTHER;
    for (int index = 0; index < FILES; index++)
        if (strcmp(path + length + 1, NAMES[index]) == 0) return index;
    return OTHER;
}

static enum file by_fd(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return OTHER;
    path[length] = 0;
    return by_path(path);
}

static int is_in_data(const char *path) {
    const char *data = getenv("LIDO_FAULTS_DATA");
    return data != NULL && strncmp(path, data, strlen(data)) == 0;
}

/* ---- What would be left ---- */

/* A byte for each page that was written since the latest sync, good or bad. */
static struct {
    unsigned char *dirty;
    size_t pages;
} cache[FILES];

static int disk(enum file file, char *path, size_t size) {
    const char *directory = getenv("LIDO_FAULTS_DISK");
    if (directory == NULL || file >= SHM) return 0;
    snprintf(path, size, "%s/%s", directory, NAMES[file]);
    return 1;
}

static void written(enum file file, off_t from, ssize_t length) {
    if (file >= SHM || length <= 0 || getenv("LIDO_FAULTS_DISK") == NULL) return;
    size_t last = (size_t)(from + length - 1) / PAGE;
    if (last >= cache[file].pages) {
        size_t pages = 2 * last + 64;
        cache[file].dirty = realloc(cache[file].dirty, pages);
        if (cache[file].dirty == NULL) abort();
        memset(cache[file].dirty + cache[file].pages, 0, pages - cache[file].pages);
        cache[file].pages = pages;
    }
    for (size_t page = (size_t)from / PAGE; page <= last; page++) cache[file].dirty[page] = 1;
}

static void drop_dirty(enum file file) {
    if (cache[file].pages > 0) memset(cache[file].dirty, 0, cache[file].pages);
}

static void synced(enum file file, int fd) {
    char path[4096], page[PAGE], link[64];
    struct stat found;
    if (!disk(file, path, sizeof path) || fstat(fd, &found) != 0) return;
    /* The descriptor may not be readable. */
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int from = (int)syscall(SYS_openat, AT_FDCWD, link, O_RDONLY | O_CLOEXEC);
    int to = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (from < 0 || to < 0) abort();
    for (size_t index = 0; index < cache[file].pages; index++) {
        if (!cache[file].dirty[index]) continue;
        ssize_t length = pread(from, page, PAGE, (off_t)index * PAGE);
        if (length > 0 && syscall(SYS_pwrite64, to, page, length, (off_t)index * PAGE) != length) abort();
    }
    if (syscall(SYS_ftruncate, to, found.st_size) != 0) abort();
    close(from);
    close(to);
    drop_dirty(file);
}

/* ---- Calls ---- */

static const int WRITE_KINDS = 1 << ENOSPC_WRITE | 1 << EIO_WRITE | 1 << SHORT_WRITE | 1 << READ_ONLY;

/* How much of a write goes through: all, half of it, or -1 with the error set. */
static ssize_t allowed(enum file file, size_t length) {
    static int halved;
    if (!due(WRITE_KINDS, file)) return (ssize_t)length;
    switch (control.kind) {
    case SHORT_WRITE:
        /* Half of it, and no space for the rest. */
        halved = !halved;
        if (halved) {
            if (control.times >= 0) control.times++;
            return (ssize_t)(length / 2);
        }
        errno = ENOSPC;
        return -1;
    case ENOSPC_WRITE:
        errno = ENOSPC;
        return -1;
    case READ_ONLY:
        errno = EROFS;
        return -1;
    default:
        errno = EIO;
        return -1;
    }
}

ssize_t pwrite64(int fd, const void *from, size_t length, off_t at) {
    enum file file = by_fd(fd);
    if (file == OTHER) return syscall(SYS_pwrite64, fd, from, length, at);
    pthread_mutex_lock(&lock);
    ssize_t done = allowed(file, length);
    if (done >= 0) {
        done = syscall(SYS_pwrite64, fd, from, done, at);
        written(file, at, done);
    }
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}

ssize_t pwrite(int fd, const void *from, size_t length, off_t at) { return pwrite64(fd, from, length, at); }

ssize_t write(int fd, const void *from, size_t length) {
    enum file file = by_fd(fd);
    if (file == OTHER) return syscall(SYS_write, fd, from, length);
    pthread_mutex_lock(&lock);
    ssize_t done = allowed(file, length);
    if (done >= 0) {
        off_t at = lseek(fd, 0, SEEK_CUR);
        done = syscall(SYS_write, fd, from, done);
        written(file, at, done);
    }
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}

static int sync_file(int fd, long call) {
    enum file file = by_fd(fd);
    if (file == OTHER) return (int)syscall(call, fd);
    pthread_mutex_lock(&lock);
    int failed = due(1 << EIO_SYNC, file);
    if (failed) {
        if (file < SHM) drop_dirty(file);
    } else {
        synced(file, fd);
    }
    pthread_mutex_unlock(&lock);
    /* The real disk is not asked: no test cuts the power. */
    errno = EIO;
    return failed ? -1 : 0;
}

int fsync(int fd) { return sync_file(fd, SYS_fsync); }

int fdatasync(int fd) { return sync_file(fd, SYS_fdatasync); }

int ftruncate64(int fd, off_t length) {
    enum file file = by_fd(fd);
    if (file == OTHER) return (int)syscall(SYS_ftruncate, fd, length);
    pthread_mutex_lock(&lock);
    int failed = due(1 << EIO_WRITE | 1 << READ_ONLY, file);
    int error = control.kind == READ_ONLY ? EROFS : EIO;
    pthread_mutex_unlock(&lock);
    if (failed) {
        errno = error;
        return -1;
    }
    return (int)syscall(SYS_ftruncate, fd, length);
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

int unlink(const char *path) {
    char image[4096];
    enum file file = by_path(path);
    if (file < SHM && disk(file, image, sizeof image)) {
        pthread_mutex_lock(&lock);
        syscall(SYS_unlink, image);
        drop_dirty(file);
        pthread_mutex_unlock(&lock);
    }
    return (int)syscall(SYS_unlink, path);
}

int open64(const char *path, int flags, ...) {
    mode_t mode = 0;
    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list rest;
        va_start(rest, flags);
        mode = va_arg(rest, mode_t);
        va_end(rest);
    }
    if ((flags & O_ACCMODE) != O_RDONLY && is_in_data(path)) {
        pthread_mutex_lock(&lock);
        int failed = due(1 << READ_ONLY, by_path(path));
        pthread_mutex_unlock(&lock);
        if (failed) {
            errno = EROFS;
            return -1;
        }
    }
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int open(const char *path, int flags, ...) {
    mode_t mode = 0;
    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list rest;
        va_start(rest, flags);
        mode = va_arg(rest, mode_t);
        va_end(rest);
    }
    return open64(path, flags, mode);
}

int clock_gettime(clockid_t id, struct timespec *now) {
    int outcome = (int)syscall(SYS_clock_gettime, id, now);
    if (outcome == 0 && id == CLOCK_REALTIME) {
        pthread_mutex_lock(&lock);
        refresh();
        now->tv_sec += control.shift / 1000;
        now->tv_nsec += control.shift % 1000 * 1000000;
        pthread_mutex_unlock(&lock);
        if (now->tv_nsec >= 1000000000) now->tv_sec++, now->tv_nsec -= 1000000000;
        if (now->tv_nsec < 0) now->tv_sec--, now->tv_nsec += 1000000000;
    }
    return outcome;
}
