#include "tests.h"

#include "base/backoff.h"

static uint64_t next_dice;

static int32_t loaded(void *user, void *bytes, size_t length) {
    (void)user;
    memcpy(bytes, &next_dice, length);
    return 0;
}

static int32_t no_dice(void *user, void *bytes, size_t length) {
    (void)user;
    (void)bytes;
    (void)length;
    return CDTX_IO;
}

static int64_t highest(uint32_t attempt, int64_t least, int64_t cap) {
    cdtx_env env = *cdtx__env_posix();
    env.random = no_dice;
    return cdtx__backoff_ms(&env, attempt, least, cap);
}

START_TEST(doubles_up_to_the_cap) {
    ck_assert_int_eq(highest(1, 100, 1000), 200);
    ck_assert_int_eq(highest(2, 100, 1000), 400);
    ck_assert_int_eq(highest(3, 100, 1000), 800);
    ck_assert_int_eq(highest(4, 100, 1000), 1000);
    ck_assert_int_eq(highest(UINT32_MAX, 100, 1000), 1000);
    ck_assert_int_eq(highest(UINT32_MAX, CDTX_TIME_MAX_MS, CDTX_TIME_MAX_MS), CDTX_TIME_MAX_MS);
}
END_TEST

START_TEST(jitter_is_over_the_whole_range) {
    cdtx_env env = *cdtx__env_posix();
    env.random = loaded;
    int seen[101] = {0};
    for (next_dice = 0; next_dice < 1000; next_dice++) {
        int64_t ms = cdtx__backoff_ms(&env, 1, 100, 1000);
        ck_assert(ms >= 100 && ms <= 200);
        seen[ms - 100] = 1;
    }
    for (int i = 0; i <= 100; i++)
        ck_assert_msg(seen[i], "never %d ms", 100 + i);
}
END_TEST

START_TEST(the_minimum_stands) {
    cdtx_env env = *cdtx__env_posix();
    env.random = loaded;
    next_dice = 0;
    ck_assert_int_eq(cdtx__backoff_ms(&env, 20, 100, 30000), 100);
    ck_assert_int_eq(cdtx__backoff_ms(&env, 5, 700, 700), 700);
}
END_TEST

RUN_TESTS("backoff", doubles_up_to_the_cap, jitter_is_over_the_whole_range, the_minimum_stands)
