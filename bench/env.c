/* The operating system's environment once more, with a count of the bytes that the engine holds. */
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cdtx/port.h>

#include "bench.h"

static int64_t held; /* atomic */

static int64_t read_clock(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
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
    return getentropy(bytes, length) == 0 ? 0 : CDTX_IO; /* the library asks for few at a time */
}

static void *memory(void *user, void *block, size_t old_size, size_t new_size) {
    (void)user;
    void *result = NULL;
    if (new_size == 0)
        free(block);
    else if ((result = realloc(block, new_size)) == NULL)
        return NULL;
    __atomic_add_fetch(&held, (int64_t)new_size - (block == NULL ? 0 : (int64_t)old_size), __ATOMIC_RELAXED);
    return result;
}

static int32_t wait_word(void *user, uint32_t *word, uint32_t seen, int64_t until_us) {
    int64_t left = until_us == INT64_MAX ? INT64_C(3600000000) : until_us - monotonic_us(user);
    if (left <= 0)
        return 0;
    struct timespec nap = {.tv_sec = left / 1000000, .tv_nsec = left % 1000000 * 1000};
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, &nap, NULL, 0);
    return 0;
}

static void wake_word(void *user, uint32_t *word, uint32_t count) {
    (void)user;
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count < INT_MAX ? count : INT_MAX, NULL, NULL, 0);
}

/* What is measured with this environment runs on the thread that measures. */
static int32_t spawn(void *user, void (*body)(void *argument), void *argument, uint64_t *thread) {
    (void)user;
    (void)body;
    (void)argument;
    (void)thread;
    return CDTX_UNSUPPORTED;
}

static void join(void *user, uint64_t thread) {
    (void)user;
    (void)thread;
}

static uint64_t self(void *user) {
    (void)user;
    return (uint64_t)pthread_self();
}

static uint64_t process(void *user) {
    (void)user;
    return (uint64_t)getpid();
}

const cdtx_env counting_env = {
    .size = sizeof counting_env,
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
};

struct memory memory_now(void) {
    struct memory now = {.engine = __atomic_load_n(&held, __ATOMIC_RELAXED), .sqlite = sqlite_bytes()};
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL || fscanf(file, "%*s %ld", &pages) != 1)
        pages = 0;
    if (file != NULL)
        fclose(file);
    now.resident = pages * sysconf(_SC_PAGESIZE);
    return now;
}
