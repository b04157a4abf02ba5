/*
 * A file layer that remembers what was written but not synced, so that a test can take it away again.
 *
 * A `kill -9` alone proves little about durability: the kernel keeps what the process wrote, synced or not.
 * Loaded with LD_PRELOAD, this library keeps, for every file below LOSSY_DIR, an undo log in LOSSY_LOG: before a
 * write reaches the file, the bytes it replaces and the bytes it brings are appended to the log; when fsync or
 * fdatasync has returned, what was written before it was called is forgotten. After the process is killed,
 * the harness (crates/mainstay-proof/src/lossy.rs) plays the log backwards: the files are as a power cut would
 * leave them, with nothing, or with a random part, of what was not synced.
 *
 * What is modelled: write, pwrite and ftruncate on regular files; a file that was never synced is gone.
 * What is not: mapped memory (SQLite maps only the -shm file, which it rebuilds), vectored writes (SQLite uses none),
 * the order of renames and removals (taken as durable at once).
 *
 * LOSSY_LIE=1 makes fsync and fdatasync answer "done" without being noted: a disk that lies, or
 * `PRAGMA synchronous=OFF`. A harness that still finds nothing missing then is not looking.
 *
 *   cc -shared -fPIC -O2 -Wall -Wextra -o liblossy.so tools/lossy.c -ldl -lpthread
 *
 * The log: one file per inode, `<inode>.log`, of records
 *   magic u32 'LSY1', kind u32 (1 write, 2 truncate, 3 synced, 4 renamed), number u64, offset u64, size_before u64,
 *   old_len u32, new_len u32, path_len u32, check u32, path, old bytes, new bytes
 * in the machine's byte order, where `check` is a sum over everything else, so that a torn last record is seen and
 * ignored: the write behind it had not begun. `synced` carries in `number` the first write that is not durable.
 * `<inode>.kept` exists once the file was synced for the first time.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum { KIND_WRITE = 1, KIND_TRUNCATE = 2, KIND_SYNCED = 3, KIND_RENAMED = 4, FILES_MAX = 1024 };

struct record {
    uint32_t magic, kind;
    uint64_t number, offset, size_before;
    uint32_t old_len, new_len, path_len, check;
};

struct file {
    ino_t inode;
    int log;
    int kept;
    uint64_t number; /* of the next write */
};

static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_ftruncate)(int, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_rename)(const char *, const char *);
static int (*real_unlink)(const char *);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct file files[FILES_MAX];
static size_t files_len;
static char dir[PATH_MAX], log_dir[PATH_MAX];
static size_t dir_len;
static int lie;

static void die(const char *what) {
    static const char note[] = "lossy: cannot keep the log: ";
    if (real_write(2, note, sizeof note - 1) < 0 || real_write(2, what, strlen(what)) < 0 || real_write(2, "\n", 1) < 0)
        _exit(97);
    _exit(97);
}

__attribute__((constructor)) static void lossy_init(void) {
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_rename = dlsym(RTLD_NEXT, "rename");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
    const char *from = getenv("LOSSY_DIR"), *to = getenv("LOSSY_LOG"), *lies = getenv("LOSSY_LIE");
    if (from && to && realpath(from, dir) && realpath(to, log_dir))
        dir_len = strlen(dir);
    lie = lies && *lies == '1';
}

/* The path of a descriptor when it is one that is looked after, else 0. */
static size_t watched(int fd, char *path) {
    char link[64];
    int saved = errno;
    if (!dir_len)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, PATH_MAX - 1);
    errno = saved;
    if (len <= (ssize_t)dir_len || memcmp(path, dir, dir_len) != 0 || path[dir_len] != '/')
        return 0;
    path[len] = 0;
    if (len > 4 && strcmp(path + len - 4, "-shm") == 0)
        return 0;
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_nlink == 0)
        return 0;
    return (size_t)len;
}

static struct file *file_of(ino_t inode) {
    for (size_t i = 0; i < files_len; i++)
        if (files[i].inode == inode)
            return &files[i];
    if (files_len == FILES_MAX)
        die("too many files");
    char path[PATH_MAX + 32];
    snprintf(path, sizeof path, "%s/%llu.log", log_dir, (unsigned long long)inode);
    int log = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log < 0)
        die(path);
    files[files_len] = (struct file){.inode = inode, .log = log};
    return &files[files_len++];
}

static uint32_t sum(uint32_t hash, const unsigned char *bytes, size_t len) {
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ bytes[i]) * 16777619u;
    return hash;
}

static void append(struct file *file, struct record record, const char *path, const void *old, const void *new) {
    record.magic = 0x3159534c;
    record.path_len = (uint32_t)strlen(path);
    record.check = 0;
    size_t len = sizeof record + record.path_len + record.old_len + record.new_len;
    unsigned char *buffer = malloc(len), *at = buffer;
    if (!buffer)
        die("memory");
    memcpy(at, &record, sizeof record), at += sizeof record;
    memcpy(at, path, record.path_len), at += record.path_len;
    if (record.old_len)
        memcpy(at, old, record.old_len), at += record.old_len;
    if (record.new_len)
        memcpy(at, new, record.new_len);
    ((struct record *)buffer)->check = sum(2166136261u, buffer, len);
    if (real_write(file->log, buffer, len) != (ssize_t)len)
        die("short write");
    free(buffer);
}

/* What the file holds at this place before the write. */
static uint32_t before(int fd, const char *path, void *buffer, size_t len, off_t offset) {
    ssize_t got = pread(fd, buffer, len, offset);
    if (got < 0) { /* opened for writing only */
        int again = open(path, O_RDONLY | O_CLOEXEC);
        if (again < 0)
            die(path);
        got = pread(again, buffer, len, offset);
        close(again);
    }
    if (got < 0)
        die(path);
    return (uint32_t)got;
}

/* Keeps what a write is about to replace. Called with the lock held, which the write keeps until it is done. */
static void note_write(int fd, const char *path, const void *new, size_t len, off_t offset) {
    struct stat st;
    if (fstat(fd, &st) != 0)
        die(path);
    struct file *file = file_of(st.st_ino);
    unsigned char *old = malloc(len ? len : 1);
    if (!old)
        die("memory");
    struct record record = {.kind = KIND_WRITE, .number = file->number++, .offset = (uint64_t)offset,
                            .size_before = (uint64_t)st.st_size, .new_len = (uint32_t)len,
                            .old_len = before(fd, path, old, len, offset)};
    append(file, record, path, old, new);
    free(old);
}

static ssize_t lossy_pwrite(int fd, const void *bytes, size_t len, off_t offset) {
    char path[PATH_MAX];
    if (!len || !watched(fd, path))
        return real_pwrite(fd, bytes, len, offset);
    pthread_mutex_lock(&lock);
    note_write(fd, path, bytes, len, offset);
    ssize_t done = real_pwrite(fd, bytes, len, offset);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t offset) { return lossy_pwrite(fd, bytes, len, offset); }

ssize_t pwrite64(int fd, const void *bytes, size_t len, off_t offset) { return lossy_pwrite(fd, bytes, len, offset); }

ssize_t write(int fd, const void *bytes, size_t len) {
    char path[PATH_MAX];
    if (!len || !watched(fd, path))
        return real_write(fd, bytes, len);
    pthread_mutex_lock(&lock);
    off_t offset = lseek(fd, 0, fcntl(fd, F_GETFL) & O_APPEND ? SEEK_END : SEEK_CUR);
    note_write(fd, path, bytes, len, offset);
    ssize_t done = real_write(fd, bytes, len);
    pthread_mutex_unlock(&lock);
    return done;
}

static int lossy_ftruncate(int fd, off_t size) {
    char path[PATH_MAX];
    if (!watched(fd, path))
        return real_ftruncate(fd, size);
    pthread_mutex_lock(&lock);
    struct stat st;
    if (fstat(fd, &st) != 0)
        die(path);
    struct file *file = file_of(st.st_ino);
    size_t lost = st.st_size > size ? (size_t)(st.st_size - size) : 0;
    unsigned char *old = malloc(lost ? lost : 1);
    if (!old)
        die("memory");
    struct record record = {.kind = KIND_TRUNCATE, .number = file->number++, .offset = (uint64_t)size,
                            .size_before = (uint64_t)st.st_size,
                            .old_len = lost ? before(fd, path, old, lost, size) : 0};
    append(file, record, path, old, NULL);
    free(old);
    int done = real_ftruncate(fd, size);
    pthread_mutex_unlock(&lock);
    return done;
}

int ftruncate(int fd, off_t size) { return lossy_ftruncate(fd, size); }

int ftruncate64(int fd, off_t size) { return lossy_ftruncate(fd, size); }

/* Only what was written before the call is durable, and only once it has returned: the strictest reading. */
static int lossy_sync(int fd, int (*real)(int)) {
    char path[PATH_MAX];
    if (!watched(fd, path))
        return real(fd);
    if (lie)
        return 0;
    struct stat st;
    if (fstat(fd, &st) != 0)
        die(path);
    pthread_mutex_lock(&lock);
    uint64_t upto = file_of(st.st_ino)->number;
    pthread_mutex_unlock(&lock);
    int done = real(fd);
    if (done != 0)
        return done;
    pthread_mutex_lock(&lock);
    struct file *file = file_of(st.st_ino);
    if (!file->kept) {
        char kept[PATH_MAX + 32];
        snprintf(kept, sizeof kept, "%s/%llu.kept", log_dir, (unsigned long long)st.st_ino);
        int marker = open(kept, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (marker < 0)
            die(kept);
        close(marker);
        file->kept = 1;
    }
    if (file->number == upto) {
        if (real_ftruncate(file->log, 0) != 0)
            die("truncate");
    } else {
        append(file, (struct record){.kind = KIND_SYNCED, .number = upto}, path, NULL, NULL);
    }
    pthread_mutex_unlock(&lock);
    return done;
}

int fsync(int fd) { return lossy_sync(fd, real_fsync); }

int fdatasync(int fd) { return lossy_sync(fd, real_fdatasync); }

/* An inode that goes away takes its log along: its number will be used again. */
static void forget(const char *path) {
    struct stat st;
    if (stat(path, &st) != 0)
        return;
    for (size_t i = 0; i < files_len; i++)
        if (files[i].inode == st.st_ino) {
            char name[PATH_MAX + 32];
            close(files[i].log);
            snprintf(name, sizeof name, "%s/%llu.log", log_dir, (unsigned long long)st.st_ino);
            real_unlink(name);
            snprintf(name, sizeof name, "%s/%llu.kept", log_dir, (unsigned long long)st.st_ino);
            real_unlink(name);
            files[i] = files[--files_len];
            return;
        }
}

int unlink(const char *path) {
    if (!dir_len)
        return real_unlink(path);
    pthread_mutex_lock(&lock);
    forget(path);
    int done = real_unlink(path);
    pthread_mutex_unlock(&lock);
    return done;
}

int rename(const char *from, const char *to) {
    if (!dir_len)
        return real_rename(from, to);
    pthread_mutex_lock(&lock);
    forget(to);
    int done = real_rename(from, to);
    struct stat st;
    char path[PATH_MAX];
    if (done == 0 && stat(to, &st) == 0 && realpath(to, path))
        for (size_t i = 0; i < files_len; i++)
            if (files[i].inode == st.st_ino)
                append(&files[i], (struct record){.kind = KIND_RENAMED, .number = files[i].number}, path, NULL, NULL);
    pthread_mutex_unlock(&lock);
    return done;
}
