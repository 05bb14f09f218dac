#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <time.h>

#include "base/env.h"
#include "tests.h"

static const cdtx_env *env;

static int64_t now(void) {
    return env->monotonic_us(env->user);
}

static int64_t read_us(clockid_t clock) {
    struct timespec ts;
    clock_gettime(clock, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

START_TEST(clocks) {
    env = cdtx__env_posix();
    int64_t before = read_us(CLOCK_BOOTTIME), at = now(), after = read_us(CLOCK_BOOTTIME);
    ck_assert(before <= at && at <= after);
    for (int i = 0; i < 10000; i++) {
        int64_t later = now();
        ck_assert(later >= at);
        at = later;
    }
    int64_t wall = env->wall_us(env->user) - read_us(CLOCK_REALTIME);
    ck_assert(wall > -10000000 && wall < 10000000);
}
END_TEST

START_TEST(random_bytes) {
    enum { SIZE = 4096 };
    static uint8_t a[SIZE], b[SIZE];
    ck_assert_int_eq(env->random(env->user, a, SIZE), 0);
    ck_assert_int_eq(env->random(env->user, b, SIZE), 0);
    int same = 0, tail = 0;
    for (int i = 0; i < SIZE; i++) {
        same += a[i] == b[i];
        tail += i >= SIZE - 64 && a[i] != 0;
    }
    ck_assert_int_lt(same, 100); /* 16 expected */
    ck_assert_int_gt(tail, 32);
    ck_assert_int_eq(env->random(env->user, a, 0), 0);
}
END_TEST

START_TEST(memory) {
    char *block = env->memory(env->user, NULL, 0, 10);
    ck_assert_ptr_nonnull(block);
    ck_assert_uint_eq((uintptr_t)block % _Alignof(max_align_t), 0);
    memcpy(block, "123456789", 10);
    block = env->memory(env->user, block, 10, 100000);
    ck_assert_str_eq(block, "123456789");
    block = env->memory(env->user, block, 100000, 3);
    ck_assert_mem_eq(block, "123", 3);
    ck_assert_ptr_null(env->memory(env->user, block, 3, 0));
}
END_TEST

static uint32_t word;

START_TEST(wait_returns_at_once_when_the_word_has_changed) {
    word = 5;
    ck_assert_int_eq(env->wait(env->user, &word, 4, INT64_MAX), 0);
    ck_assert_int_eq(env->wait(env->user, &word, 4, now() + 60000000), 0);
}
END_TEST

START_TEST(wait_returns_at_once_when_its_time_is_past) {
    word = 5;
    ck_assert_int_eq(env->wait(env->user, &word, 5, now()), 0);
    ck_assert_int_eq(env->wait(env->user, &word, 5, 0), 0);
    ck_assert_int_eq(env->wait(env->user, &word, 5, -1), 0);
    ck_assert_int_eq(env->wait(env->user, &word, 5, INT64_MIN), 0);
}
END_TEST

START_TEST(wait_lasts_until_its_time) {
    int64_t until = now() + 30000;
    int naps = 0;
    word = 5;
    for (; now() < until; naps++)
        ck_assert_int_eq(env->wait(env->user, &word, 5, until), 0);
    ck_assert_int_lt(naps, 1000); /* it slept, and did not spin */
    ck_assert(now() < until + 5000000);
}
END_TEST

static void wake_later(void *argument) {
    poll(NULL, 0, 20);
    __atomic_store_n(&word, 1, __ATOMIC_RELEASE);
    env->wake(env->user, &word, *(uint32_t *)argument);
}

static void sleep_for_word(void *argument) {
    while (__atomic_load_n(&word, __ATOMIC_ACQUIRE) == 0)
        env->wait(env->user, &word, 0, *(int64_t *)argument);
}

START_TEST(wake_ends_a_wait) {
    uint32_t counts[] = {1, UINT32_MAX};
    int64_t untils[] = {INT64_MAX, now() + 60000000, INT64_MAX - 1};
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 3; j++) {
            uint64_t thread;
            word = 0;
            ck_assert_int_eq(env->spawn(env->user, wake_later, &counts[i], &thread), 0);
            sleep_for_word(&untils[j]);
            env->join(env->user, thread);
        }
    ck_assert(now() < untils[1]);
}
END_TEST

START_TEST(wake_can_wake_all) {
    enum { SLEEPERS = 5 };
    uint64_t threads[SLEEPERS];
    int64_t until = INT64_MAX;
    word = 0;
    for (int i = 0; i < SLEEPERS; i++)
        ck_assert_int_eq(env->spawn(env->user, sleep_for_word, &until, &threads[i]), 0);
    uint32_t all = UINT32_MAX;
    wake_later(&all);
    for (int i = 0; i < SLEEPERS; i++)
        env->join(env->user, threads[i]);
}
END_TEST

struct seen {
    sigset_t blocked;
    uint64_t self, again, tid;
};

static void look(void *argument) {
    struct seen *seen = argument;
    pthread_sigmask(SIG_SETMASK, NULL, &seen->blocked);
    seen->self = env->self(env->user);
    seen->again = env->self(env->user);
    seen->tid = (uint64_t)syscall(SYS_gettid);
}

START_TEST(our_threads_block_the_hosts_signals) {
    sigset_t none, after;
    struct seen seen;
    uint64_t thread;
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
    ck_assert_int_eq(env->spawn(env->user, look, &seen, &thread), 0);
    env->join(env->user, thread);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGCHLD, SIGALRM, SIGPROF};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        ck_assert_int_eq(sigismember(&seen.blocked, signals[i]), 1);
        ck_assert_int_eq(sigismember(&after, signals[i]), 0);
    }
}
END_TEST

START_TEST(self_is_the_thread) {
    struct seen here, there;
    uint64_t thread;
    look(&here);
    ck_assert_int_eq(env->spawn(env->user, look, &there, &thread), 0);
    env->join(env->user, thread);
    ck_assert_uint_eq(here.self, here.tid);
    ck_assert_uint_eq(here.again, here.tid);
    ck_assert_uint_eq(there.self, there.tid);
    ck_assert_uint_eq(there.again, there.tid);
    ck_assert_uint_ne(here.self, there.self);
}
END_TEST

static uint64_t parent, parent_thread;

static void look_in_child(void) {
    struct seen seen;
    look(&seen);
    uint64_t process = env->process(env->user);
    int process_right = process == (uint64_t)getpid() && process != parent;
    int self_right = seen.self == seen.tid && seen.self != parent_thread;
    _exit(process_right && self_right ? 7 : 8);
}

START_TEST(a_fork_changes_process_and_self) {
    char text[64];
    parent = env->process(env->user);
    parent_thread = env->self(env->user);
    ck_assert_uint_eq(parent, (uint64_t)getpid());
    int status = run_child(look_in_child, text, sizeof text);
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 7);
    ck_assert_uint_eq(env->self(env->user), parent_thread);
}
END_TEST

static int rings(int fd, int timeout_ms) {
    struct pollfd poller = {.fd = fd, .events = POLLIN};
    int n = poll(&poller, 1, timeout_ms);
    ck_assert_int_ge(n, 0);
    return n == 1 && (poller.revents & POLLIN) != 0;
}

START_TEST(bell) {
    int32_t fd = env->bell(env->user, -1, INT64_MAX);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    ck_assert_int_ne(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    ck_assert(!rings(fd, 0));
    int64_t past[] = {0, 1, -2, INT64_MIN, now() - 1000000, now()};
    for (size_t i = 0; i < sizeof past / sizeof past[0]; i++) {
        ck_assert_int_eq(env->bell(env->user, fd, past[i]), fd);
        ck_assert(rings(fd, 0));
        ck_assert(rings(fd, 0)); /* until it is moved */
        ck_assert_int_eq(env->bell(env->user, fd, INT64_MAX), fd);
        ck_assert(!rings(fd, 0));
    }
    int64_t at = now() + 30000;
    ck_assert_int_eq(env->bell(env->user, fd, at), fd);
    ck_assert(now() >= at || !rings(fd, 0));
    ck_assert(rings(fd, 10000));
    ck_assert(now() >= at);
    ck_assert_int_eq(env->bell(env->user, fd, now() + 60000000), fd); /* moved away again */
    ck_assert(!rings(fd, 5));
    ck_assert_int_eq(env->bell(env->user, fd, -1), 0);
    ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
    ck_assert_int_eq(errno, EBADF);
}
END_TEST

START_TEST(a_bell_can_be_made_ringing) {
    int32_t fd = env->bell(env->user, -1, 0);
    ck_assert(rings(fd, 0));
    env->bell(env->user, fd, -1);
}
END_TEST

START_TEST(a_bell_that_cannot_be_made_is_an_error) {
    struct rlimit before, none;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    int32_t rc = env->bell(env->user, -1, 0);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    ck_assert_int_eq(rc, CDTX_LIMIT);
    ck_assert_int_eq(env->bell(env->user, 1 << 20, 0), CDTX_IO);
}
END_TEST

static void log_all(void) {
    cdtx__log(env, CDTX_LOG_ALARM, "gid %d was %s", 7, "lost");
    cdtx__log(env, CDTX_LOG_WARNING, "disk is full");
    cdtx__log(env, CDTX_LOG_INFO, "hello");
    cdtx__log(env, CDTX_LOG_DEBUG, "hello");
    char line[4000];
    memset(line, 'x', sizeof line - 1);
    line[sizeof line - 1] = '\0';
    env->log(env->user, CDTX_LOG_WARNING, line);
}

START_TEST(alarms_and_warnings_are_logged) {
    char text[8192];
    ck_assert_int_eq(run_child(log_all, text, sizeof text), 0);
    static const char start[] = "libcdtx: ALARM: gid 7 was lost\nlibcdtx: warning: disk is full\nlibcdtx: warning: xxx";
    ck_assert_int_eq(strncmp(text, start, strlen(start)), 0);
    size_t length = strlen(text);
    ck_assert_uint_gt(length, 1000);
    ck_assert_uint_lt(length, 1200);
    ck_assert_int_eq(text[length - 1], '\n');
    ck_assert_ptr_null(env->failpoint);
}
END_TEST

static int32_t zone(const char *name, void *bytes, size_t room, size_t *length) {
    return env->zone(env->user, name, bytes, room, length);
}

START_TEST(time_zones_are_files_of_the_system) {
    static char bytes[65536], again[65536];
    static const char *const names[] = {"Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5", "UTC"};
    size_t length = 0, other = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        ck_assert_msg(zone(names[i], bytes, sizeof bytes, &length) == 0, "%s", names[i]);
        ck_assert_uint_gt(length, 44);
        ck_assert_mem_eq(bytes, "TZif", 4);
        ck_assert_int_eq(zone(names[i], again, length, &other), 0); /* just enough room */
        ck_assert_uint_eq(other, length);
        ck_assert_mem_eq(again, bytes, length);
        ck_assert_int_eq(zone(names[i], again, length - 1, &other), CDTX_LIMIT);
        ck_assert_int_eq(zone(names[i], again, 0, &other), CDTX_LIMIT);
    }
}
END_TEST

START_TEST(a_zone_that_is_no_file_is_not_found) {
    static const char *const names[] = {"Europe/Berlino", "europe/berlin", "Europe", "Europe/Berlin/Mitte", "x"};
    char bytes[100];
    size_t length = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        ck_assert_msg(zone(names[i], bytes, sizeof bytes, &length) == CDTX_NOT_FOUND, "%s", names[i]);
}
END_TEST

START_TEST(a_zone_name_leads_nowhere_else) {
    static const char *const names[] = {
        "",
        "/",
        "/etc/passwd",
        ".",
        "..",
        "../zoneinfo/UTC",
        "Europe/../UTC",
        "Europe/..",
        "./UTC",
        "Europe/./UTC",
        "Europe/.x",
        "a..b",
        "Europe//Berlin",
        "Europe/",
        "UTC ",
        " UTC",
        "UTC\n",
        "Europe\\Berlin",
        "%55TC",
        ":UTC",
        "UTC\xc3\xa9",
        "Europe/Berlin;x",
    };
    char bytes[100], longest[CDTX_NAME_MAX + 2];
    size_t length = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        ck_assert_msg(zone(names[i], bytes, sizeof bytes, &length) == CDTX_INVALID, "%s", names[i]);
    ck_assert_int_eq(zone(NULL, bytes, sizeof bytes, &length), CDTX_INVALID);
    memset(longest, 'x', sizeof longest);
    longest[CDTX_NAME_MAX + 1] = '\0';
    ck_assert_int_eq(zone(longest, bytes, sizeof bytes, &length), CDTX_INVALID);
    longest[CDTX_NAME_MAX] = '\0';
    ck_assert_int_eq(zone(longest, bytes, sizeof bytes, &length), CDTX_NOT_FOUND);
}
END_TEST

START_TEST(environment_variables_do_not_move_a_zone) {
    char bytes[4096], again[4096];
    size_t length = 0, other = 0;
    ck_assert_int_eq(zone("Europe/Berlin", bytes, sizeof bytes, &length), 0);
    setenv("TZDIR", "/nowhere", 1);
    setenv("TZ", "Asia/Tokyo", 1);
    ck_assert_int_eq(zone("Europe/Berlin", again, sizeof again, &other), 0);
    unsetenv("TZDIR");
    unsetenv("TZ");
    ck_assert_uint_eq(length, other);
    ck_assert_mem_eq(bytes, again, length);
}
END_TEST

START_TEST(a_zone_without_a_descriptor_is_an_io_error) {
    struct rlimit before, none;
    char bytes[4096];
    size_t length = 0;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    int32_t rc = zone("Europe/Berlin", bytes, sizeof bytes, &length);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    ck_assert_int_eq(rc, CDTX_IO);
}
END_TEST

RUN_TESTS("env_posix", clocks, random_bytes, memory, wait_returns_at_once_when_the_word_has_changed,
          wait_returns_at_once_when_its_time_is_past, wait_lasts_until_its_time, wake_ends_a_wait, wake_can_wake_all,
          our_threads_block_the_hosts_signals, self_is_the_thread, a_fork_changes_process_and_self, bell,
          a_bell_can_be_made_ringing, a_bell_that_cannot_be_made_is_an_error, alarms_and_warnings_are_logged,
          time_zones_are_files_of_the_system, a_zone_that_is_no_file_is_not_found, a_zone_name_leads_nowhere_else,
          environment_variables_do_not_move_a_zone, a_zone_without_a_descriptor_is_an_io_error)
