/* The operating system's environment: Linux clocks, futexes, threads and the heap. Owns every call to them in lib/. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/env.h"

/* Longest single sleep with an end. The kernel measures futex time-outs on CLOCK_MONOTONIC, which stands still during
 * suspend while our clock goes on; by waking early and looking again, a waiter is late by at most this. */
#define NAP_MAX_US INT64_C(10000000)

static _Thread_local uint64_t thread_id;
static uint64_t process_id; /* kept: every public call asks, and a system call each would show */

static int64_t read_clock(clockid_t clock) {
    struct timespec now;
    INVARIANT(clock_gettime(clock, &now) == 0);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static struct timespec to_timespec(int64_t us) {
    return (struct timespec){.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
}

static int64_t monotonic_us(void *user) {
    (void)user;
    return read_clock(CLOCK_BOOTTIME);
}

static int64_t wall_us(void *user) {
    (void)user;
    return read_clock(CLOCK_REALTIME);
}

static int32_t random_bytes(void *user, void *bytes, size_t length) {
    (void)user;
    for (size_t at = 0; at < length;) {
        ssize_t got = getrandom((char *)bytes + at, length - at, 0);
        if (got < 0 && errno != EINTR)
            return CDTX_IO;
        at += got > 0 ? (size_t)got : 0;
    }
    return 0;
}

static void *memory(void *user, void *block, size_t old_size, size_t new_size) {
    (void)user;
    (void)old_size;
    if (new_size != 0)
        return realloc(block, new_size);
    free(block);
    return NULL;
}

static int32_t wait_word(void *user, uint32_t *word, uint32_t seen, int64_t until_us) {
    (void)user;
    struct timespec nap;
    if (until_us != INT64_MAX) {
        int64_t now = read_clock(CLOCK_BOOTTIME);
        if (until_us <= now)
            return 0;
        nap = to_timespec(until_us - now < NAP_MAX_US ? until_us - now : NAP_MAX_US);
    }
    /* Its time-out is relative. A changed word, a signal, a time-out and a wake are all "look again" to the caller. */
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, until_us == INT64_MAX ? NULL : &nap, NULL, 0);
    return 0;
}

static void wake_word(void *user, uint32_t *word, uint32_t count) {
    (void)user;
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count < INT_MAX ? count : INT_MAX, NULL, NULL, 0);
}

struct start {
    void (*body)(void *argument);
    void *argument;
};

static void *run_thread(void *user) {
    struct start start = *(struct start *)user;
    free(user);
    start.body(start.argument);
    return NULL;
}

/* The host's signals belong to the host's threads, so ours start with all of them blocked. */
static int32_t spawn(void *user, void (*body)(void *argument), void *argument, uint64_t *thread) {
    (void)user;
    struct start *start = malloc(sizeof *start);
    if (start == NULL)
        return CDTX_NO_MEMORY;
    *start = (struct start){.body = body, .argument = argument};
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t handle;
    int failed = pthread_create(&handle, NULL, run_thread, start);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed != 0) {
        free(start);
        return CDTX_NO_MEMORY;
    }
    *thread = (uint64_t)handle;
    return 0;
}

static void join(void *user, uint64_t thread) {
    (void)user;
    INVARIANT(pthread_join((pthread_t)thread, NULL) == 0);
}

static uint64_t self(void *user) {
    (void)user;
    if (thread_id == 0)
        thread_id = (uint64_t)syscall(SYS_gettid);
    return thread_id;
}

static uint64_t process(void *user) {
    (void)user;
    return process_id;
}

static int32_t ring_at(int fd, int64_t at_us) {
    struct itimerspec timer = {0};
    /* All zero would switch the timer off, so the past is the clock's first microsecond. */
    if (at_us != INT64_MAX)
        timer.it_value = to_timespec(at_us > 0 ? at_us : 1);
    return timerfd_settime(fd, TFD_TIMER_ABSTIME, &timer, NULL) == 0 ? fd : CDTX_IO;
}

static int32_t bell(void *user, int32_t fd, int64_t at_us) {
    (void)user;
    if (fd >= 0 && at_us == -1) {
        close(fd);
        return 0;
    }
    if (fd >= 0)
        return ring_at(fd, at_us);
    int made = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    if (made < 0)
        return errno == EMFILE || errno == ENFILE ? CDTX_LIMIT : CDTX_IO;
    int32_t rc = ring_at(made, at_us);
    if (rc < 0)
        close(made);
    return rc;
}

/* One write a line, so that lines of several threads and processes do not mix. */
static void log_line(void *user, int32_t level, const char *line) {
    (void)user;
    if (level > CDTX_LOG_WARNING)
        return;
    const char *name = level == CDTX_LOG_ALARM ? "ALARM" : "warning";
    char text[1100];
    int length = snprintf(text, sizeof text, "libcdtx: %s: %.1024s\n", name, line);
    if (length > 0 && write(STDERR_FILENO, text, (size_t)length) < 0)
        return; /* nowhere left to complain */
}

/* Below that one folder: relative, no empty component, none that begins with a dot, and nothing that a path could mean
 * something else by. */
static int is_zone_name(const char *name) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+./-";
    size_t length = name == NULL ? 0 : strlen(name);
    return length > 0 && length <= CDTX_NAME_MAX && strspn(name, letters) == length && name[0] != '/' &&
           name[0] != '.' && name[length - 1] != '/' && strstr(name, "//") == NULL && strstr(name, "/.") == NULL &&
           strstr(name, "..") == NULL;
}

/* All bytes of the file; LIMIT if there are more than fit. */
static int32_t read_all(int fd, char *bytes, size_t room, size_t *length) {
    char more;
    for (*length = 0;;) {
        size_t left = room - *length;
        ssize_t got = read(fd, left > 0 ? bytes + *length : &more, left > 0 ? left : 1);
        if (got < 0 && errno != EINTR)
            return CDTX_IO;
        if (got == 0)
            return 0;
        if (got > 0 && left == 0)
            return CDTX_LIMIT;
        *length += got > 0 ? (size_t)got : 0;
    }
}

/* Neither TZ nor TZDIR is looked at: two processes on one database must mean the same by a name, whatever their
 * environment variables say. */
static int32_t zone(void *user, const char *name, void *bytes, size_t room, size_t *length) {
    (void)user;
    char path[sizeof "/usr/share/zoneinfo/" + CDTX_NAME_MAX];
    if (!is_zone_name(name))
        return CDTX_INVALID;
    snprintf(path, sizeof path, "/usr/share/zoneinfo/%s", name);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* who put a pipe there must not hang us */
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR ? CDTX_NOT_FOUND : CDTX_IO;
    struct stat file;
    int32_t rc = fstat(fd, &file) != 0 ? CDTX_IO : S_ISREG(file.st_mode) ? 0 : CDTX_NOT_FOUND;
    if (rc == 0)
        rc = read_all(fd, bytes, room, length);
    close(fd);
    return rc;
}

static const cdtx_env posix_env = {
    .size = sizeof posix_env,
    .monotonic_us = monotonic_us,
    .wall_us = wall_us,
    .random = random_bytes,
    .memory = memory,
    .wait = wait_word,
    .wake = wake_word,
    .spawn = spawn,
    .join = join,
    .self = self,
    .process = process,
    .bell = bell,
    .log = log_line,
    .zone = zone,
};

/* The child's only thread is a new thread with the parent's thread-local memory. */
static void note_fork(void) {
    thread_id = 0;
    process_id = (uint64_t)getpid();
}

static void watch_forks(void) {
    process_id = (uint64_t)getpid();
    INVARIANT(pthread_atfork(NULL, NULL, note_fork) == 0);
}

const cdtx_env *cdtx__env_posix(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
    return &posix_env;
}
