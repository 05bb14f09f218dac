#include "base/lock.h"

#include <cdtx/test.h>

#include <poll.h>

#include "tests.h"

enum { THREADS = 4, ROUNDS = 50000 };

static struct lock lock;
static uint32_t inside;  /* threads that hold the lock, by their own account */
static uint64_t counter; /* guarded, and not atomic on purpose */
static uint32_t overlaps;

static void hammer(void *argument) {
    const cdtx_env *env = argument;
    for (int i = 0; i < ROUNDS; i++) {
        cdtx__lock(env, &lock);
        if (__atomic_add_fetch(&inside, 1, __ATOMIC_RELAXED) != 1)
            __atomic_add_fetch(&overlaps, 1, __ATOMIC_RELAXED);
        counter++;
        __atomic_sub_fetch(&inside, 1, __ATOMIC_RELAXED);
        cdtx__unlock(env, &lock);
    }
}

START_TEST(one_holder_at_a_time) {
    const cdtx_env *env = cdtx__env_posix();
    uint64_t threads[THREADS];
    counter = 0;
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(env->spawn(env->user, hammer, (void *)(uintptr_t)env, &threads[i]), 0);
    for (int i = 0; i < THREADS; i++)
        env->join(env->user, threads[i]);
    ck_assert_uint_eq(overlaps, 0);
    ck_assert_uint_eq(counter, (uint64_t)THREADS * ROUNDS);
    ck_assert_uint_eq(lock.word, 0);
}
END_TEST

static void take_once(void *argument) {
    const cdtx_env *env = argument;
    cdtx__lock(env, &lock);
    counter++;
    cdtx__unlock(env, &lock);
}

/* All waiters of one holder get it in the end: each unlock wakes only one, which must wake the next. */
START_TEST(every_sleeper_is_woken) {
    const cdtx_env *env = cdtx__env_posix();
    for (int round = 0; round < 20; round++) {
        uint64_t threads[THREADS];
        counter = 0;
        cdtx__lock(env, &lock);
        for (int i = 0; i < THREADS; i++)
            ck_assert_int_eq(env->spawn(env->user, take_once, (void *)(uintptr_t)env, &threads[i]), 0);
        poll(NULL, 0, 2);
        ck_assert_uint_eq(counter, 0);
        cdtx__unlock(env, &lock);
        for (int i = 0; i < THREADS; i++)
            env->join(env->user, threads[i]);
        ck_assert_uint_eq(counter, THREADS);
    }
}
END_TEST

/* An environment that counts what a free lock must not do. */
static int waits, wakes;

static int32_t count_wait(void *user, uint32_t *word, uint32_t seen, int64_t until_us) {
    (void)user;
    ck_assert_uint_eq(seen, 2);
    ck_assert(until_us == INT64_MAX);
    if (++waits == 3) /* after a wake-up for nothing and an answer "going down", the holder lets go */
        *word = 0;
    return waits == 2 ? CDTX_STOPPED : 0;
}

static void count_wake(void *user, uint32_t *word, uint32_t count) {
    (void)user;
    ck_assert_ptr_eq(word, &lock.word);
    ck_assert_uint_eq(count, 1);
    wakes++;
}

static const cdtx_env counting = {.wait = count_wait, .wake = count_wake};

START_TEST(a_free_lock_neither_waits_nor_wakes) {
    waits = wakes = 0;
    for (int i = 0; i < 3; i++) {
        cdtx__lock(&counting, &lock);
        ck_assert_uint_eq(lock.word, 1);
        cdtx__unlock(&counting, &lock);
    }
    ck_assert_int_eq(waits, 0);
    ck_assert_int_eq(wakes, 0);
}
END_TEST

START_TEST(a_held_lock_is_waited_for_whatever_wait_answers) {
    waits = wakes = 0;
    cdtx__lock(&counting, &lock);
    cdtx__lock(&counting, &lock);
    ck_assert_int_eq(waits, 3);
    ck_assert_uint_eq(lock.word, 2); /* others may wait behind us */
    cdtx__unlock(&counting, &lock);
    ck_assert_int_eq(wakes, 1);
    ck_assert_uint_eq(lock.word, 0);
}
END_TEST

RUN_TESTS("lock", one_holder_at_a_time, every_sleeper_is_woken, a_free_lock_neither_waits_nor_wakes,
          a_held_lock_is_waited_for_whatever_wait_answers)
