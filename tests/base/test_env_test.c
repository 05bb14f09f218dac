#include <cdtx/test.h>

#include "base/lock.h"
#include "tests.h"

static cdtx_test_env *env;
static const cdtx_env *port;

static void open_env(void) {
    ck_assert_int_eq(cdtx_test_env_new(&env, NULL), 0);
    port = cdtx_test_env_port(env);
}

static int64_t now(void) {
    return port->monotonic_us(port->user);
}

static int64_t wall(void) {
    return port->wall_us(port->user);
}

START_TEST(time_stands_still_until_moved) {
    open_env();
    int64_t mono = now(), clock = wall();
    ck_assert(mono > 0 && clock > INT64_C(1500000000000000));
    ck_assert(now() == mono && wall() == clock);
    cdtx_test_env_advance(env, 1500);
    ck_assert(now() == mono + 1500000 && wall() == clock + 1500000);
    cdtx_test_env_step_wall(env, -3600000);
    ck_assert(now() == mono + 1500000 && wall() == clock + 1500000 - INT64_C(3600000000));
    cdtx_test_env_step_wall(env, 7200000);
    ck_assert(now() == mono + 1500000 && wall() == clock + 1500000 + INT64_C(3600000000));
    cdtx_test_env_free(env);
}
END_TEST

START_TEST(waiting_moves_the_clock) {
    open_env();
    int64_t mono = now(), clock = wall();
    uint32_t word = 5;
    ck_assert_int_eq(port->wait(port->user, &word, 4, mono + 1000), 0); /* changed already: no time passes */
    ck_assert_int_eq(port->wait(port->user, &word, 4, INT64_MAX), 0);
    ck_assert(now() == mono);
    ck_assert_int_eq(port->wait(port->user, &word, 5, mono + 7), 0);
    ck_assert(now() == mono + 7 && wall() == clock + 7);
    ck_assert_int_eq(port->wait(port->user, &word, 5, mono), 0); /* never back */
    ck_assert(now() == mono + 7);
    cdtx_test_env_free(env);
}
END_TEST

START_TEST(waiting_for_ever_answers_stopped) {
    open_env();
    int64_t mono = now();
    uint32_t word = 5;
    ck_assert_int_eq(port->wait(port->user, &word, 5, INT64_MAX), CDTX_STOPPED);
    port->wake(port->user, &word, UINT32_MAX);
    ck_assert(now() == mono);
    cdtx_test_env_free(env);
}
END_TEST

START_TEST(locks_work_on_it) {
    open_env();
    struct lock lock = {0};
    for (int i = 0; i < 3; i++) {
        cdtx__lock(port, &lock);
        cdtx__unlock(port, &lock);
    }
    ck_assert_uint_eq(lock.word, 0);
    cdtx_test_env_free(env);
}
END_TEST

START_TEST(bytes_and_allocations_are_counted) {
    open_env();
    ck_assert_uint_eq(cdtx_test_env_bytes(env), 0);
    char *a = cdtx__alloc(port, 10);
    char *b = cdtx__alloc(port, 100);
    ck_assert_uint_eq(cdtx_test_env_bytes(env), 110);
    ck_assert_uint_eq((uintptr_t)a % _Alignof(max_align_t), 0);
    memcpy(a, "123456789", 10);
    a = cdtx__realloc(port, a, 10, 50);
    ck_assert_str_eq(a, "123456789");
    ck_assert_uint_eq(cdtx_test_env_bytes(env), 150);
    a = cdtx__realloc(port, a, 50, 4);
    ck_assert_mem_eq(a, "1234", 4);
    ck_assert_uint_eq(cdtx_test_env_bytes(env), 104);
    ck_assert_uint_eq(cdtx_test_env_allocations(env), 4);
    cdtx__free(port, a, 4);
    cdtx__free(port, b, 100);
    cdtx__free(port, NULL, 0);
    ck_assert_uint_eq(cdtx_test_env_bytes(env), 0);
    ck_assert_uint_eq(cdtx_test_env_allocations(env), 4);
    cdtx_test_env_free(env);
}
END_TEST

START_TEST(fresh_memory_is_rubbish_unless_zeroed) {
    open_env();
    unsigned char *raw = port->memory(port->user, NULL, 0, 8);
    unsigned char *zeroed = cdtx__alloc(port, 8);
    for (int i = 0; i < 8; i++) {
        ck_assert_uint_ne(raw[i], 0);
        ck_assert_uint_eq(zeroed[i], 0);
    }
    cdtx__free(port, raw, 8);
    cdtx__free(port, zeroed, 8);
    cdtx_test_env_free(env);
}
END_TEST

START_TEST(the_nth_allocation_fails) {
    open_env();
    for (uint64_t nth = 1; nth <= 5; nth++) {
        cdtx_test_env_fail_memory(env, nth, 0);
        for (uint64_t i = 1; i <= 8; i++) {
            void *block = cdtx__alloc(port, 16);
            ck_assert_int_eq(block == NULL, i == nth);
            cdtx__free(port, block, 16);
        }
    }
    ck_assert_uint_eq(cdtx_test_env_bytes(env), 0);
    cdtx_test_env_free(env);
}
END_TEST

START_TEST(all_after_the_nth_fail_until_switched_off) {
    open_env();
    cdtx_test_env_fail_memory(env, 3, 1);
    for (int i = 1; i <= 10; i++) {
        void *block = cdtx__alloc(port, 16);
        ck_assert_int_eq(block == NULL, i >= 3);
        cdtx__free(port, block, 16);
    }
    ck_assert_uint_eq(cdtx_test_env_allocations(env), 10);
    cdtx_test_env_fail_memory(env, 0, 1);
    void *block = cdtx__alloc(port, 16);
    ck_assert_ptr_nonnull(block);
    cdtx__free(port, block, 16);
    cdtx_test_env_free(env);
}
END_TEST

START_TEST(a_failed_resize_leaves_the_block) {
    open_env();
    char *block = cdtx__alloc(port, 4);
    memcpy(block, "abc", 4);
    cdtx_test_env_fail_memory(env, 1, 0);
    ck_assert_ptr_null(cdtx__realloc(port, block, 4, 400));
    ck_assert_str_eq(block, "abc");
    ck_assert_uint_eq(cdtx_test_env_bytes(env), 4);
    volatile size_t too_much = SIZE_MAX;
    ck_assert_ptr_null(cdtx__realloc(port, block, 4, too_much));
    cdtx__free(port, block, 4);
    ck_assert_uint_eq(cdtx_test_env_bytes(env), 0);
    cdtx_test_env_free(env);
}
END_TEST

static void free_with_wrong_size(void) {
    open_env();
    cdtx__free(port, cdtx__alloc(port, 16), 15);
}

static void advance_backwards(void) {
    open_env();
    cdtx_test_env_advance(env, -1);
}

START_TEST(lies_are_found) {
    ck_assert(breaks(free_with_wrong_size, "old_size"));
    ck_assert(breaks(advance_backwards, "ms"));
}
END_TEST

START_TEST(the_rest) {
    cdtx_error err = {0};
    ck_assert_int_eq(cdtx_test_env_new(NULL, &err), CDTX_INVALID);
    cdtx_test_env_free(NULL);
    open_env();
    uint64_t thread = 0;
    uint8_t a[16] = {0}, b[16] = {0};
    ck_assert_int_eq(port->spawn(port->user, NULL, NULL, &thread), CDTX_UNSUPPORTED);
    ck_assert_uint_ne(port->self(port->user), 0);
    ck_assert_uint_eq(port->process(port->user), (uint64_t)getpid());
    ck_assert_int_eq(port->random(port->user, a, sizeof a), 0);
    ck_assert_int_eq(port->random(port->user, b, sizeof b), 0);
    ck_assert_mem_ne(a, b, sizeof a);
    ck_assert_ptr_null(port->bell);
    cdtx_test_env_free(env);
}
END_TEST

static int32_t set_zone(const char *name, const void *bytes, size_t length, cdtx_error *err) {
    return cdtx_test_env_set_zone(env, name, bytes, length, err);
}

START_TEST(it_has_the_time_zones_it_was_given) {
    char bytes[100];
    size_t length = 0;
    open_env();
    ck_assert_int_eq(port->zone(port->user, "Mars/Base", bytes, sizeof bytes, &length), CDTX_NOT_FOUND);
    ck_assert_int_eq(set_zone("Mars/Base", "first", 5, NULL), 0);
    ck_assert_int_eq(set_zone("Moon/Base", "", 0, NULL), 0);
    ck_assert_int_eq(set_zone("Mars/Base", "second", 6, NULL), 0);
    ck_assert_int_eq(port->zone(port->user, "Mars/Base", bytes, 5, &length), CDTX_LIMIT);
    ck_assert_int_eq(port->zone(port->user, "Mars/Base", bytes, 6, &length), 0);
    ck_assert_uint_eq(length, 6);
    ck_assert_mem_eq(bytes, "second", 6);
    ck_assert_int_eq(port->zone(port->user, "Moon/Base", bytes, 6, &length), 0);
    ck_assert_uint_eq(length, 0);
    ck_assert_int_eq(set_zone("Mars/Base", NULL, 0, NULL), 0);
    ck_assert_int_eq(set_zone("Mars/Base", NULL, 0, NULL), 0);
    ck_assert_int_eq(port->zone(port->user, "Mars/Base", bytes, 6, &length), CDTX_NOT_FOUND);
    ck_assert_int_eq(port->zone(port->user, "Europe/Berlin", bytes, 6, &length), CDTX_NOT_FOUND);
    ck_assert_uint_eq(cdtx_test_env_bytes(env), 0);
    cdtx_test_env_free(env);
}
END_TEST

START_TEST(its_time_zones_are_bounded) {
    cdtx_error err = {0};
    open_env();
    for (char i = 0; i < 16; i++)
        ck_assert_int_eq(set_zone((char[]){(char)('a' + i), 0}, "x", 1, NULL), 0);
    ck_assert_int_eq(set_zone("q", "x", 1, &err), CDTX_LIMIT);
    ck_assert_str_eq(err.text, "a test environment has at most 16 time zones");
    ck_assert_int_eq(set_zone("q", NULL, 0, NULL), 0);
    ck_assert_int_eq(set_zone("p", "y", 1, NULL), 0);
    ck_assert_int_eq(set_zone("a", NULL, 0, NULL), 0);
    ck_assert_int_eq(set_zone("q", "x", 1, NULL), 0);
    ck_assert_int_eq(set_zone(NULL, "x", 1, &err), CDTX_INVALID);
    ck_assert_int_eq(set_zone("", "x", 1, &err), CDTX_INVALID);
    cdtx_test_env_free(env);
}
END_TEST

/* What the library asks, in any environment. */
static void ask_zone(const cdtx_env *any, const char *name, size_t room, int32_t code, const char *text) {
    char bytes[100];
    size_t length = 0;
    cdtx_error err = {0};
    ck_assert_int_eq(cdtx__env_zone(any, name, bytes, room, &length, &err), code);
    ck_assert_str_eq(err.text, text);
    ck_assert_int_eq(length > 0, code == 0);
}

static int32_t broken_zone(void *user, const char *name, void *bytes, size_t room, size_t *length) {
    (void)user;
    (void)name;
    (void)bytes;
    (void)room;
    *length = 0;
    return strcmp(name, "bad") == 0 ? CDTX_INVALID : CDTX_IO;
}

START_TEST(utc_is_known_everywhere) {
    open_env();
    cdtx_env none = *port, old = *port, broken = *port;
    none.zone = NULL;
    old.size = ENV_SIZE_MIN;
    broken.zone = broken_zone;
    ck_assert_int_eq(set_zone("Mars/Base", "file", 4, NULL), 0);
    const cdtx_env *all[] = {port, &none, &old, &broken};
    for (size_t i = 0; i < 4; i++)
        ask_zone(all[i], "UTC", 100, 0, "");
    ask_zone(port, "UTC", 20, CDTX_LIMIT, "the file of time zone 'UTC' is larger than 20 bytes");
    ask_zone(port, "Mars/Base", 100, 0, "");
    ask_zone(port, "Mars/Base", 3, CDTX_LIMIT, "the file of time zone 'Mars/Base' is larger than 3 bytes");
    ask_zone(port, "Mars", 100, CDTX_NOT_FOUND, "there is no time zone 'Mars' here");
    ask_zone(port, "", 100, CDTX_INVALID, "the time zone is empty");
    static const char nothing[] = "the environment knows no time zone but UTC, so not 'Mars/Base'";
    ask_zone(&none, "Mars/Base", 100, CDTX_UNSUPPORTED, nothing);
    ask_zone(&old, "Mars/Base", 100, CDTX_UNSUPPORTED, nothing);
    ask_zone(&broken, "Mars/Base", 100, CDTX_IO, "the file of time zone 'Mars/Base' cannot be read");
    ask_zone(&broken, "bad", 100, CDTX_INVALID, "'bad' is no name of a time zone");
    cdtx_test_env_free(env);
}
END_TEST

RUN_TESTS("env_test", time_stands_still_until_moved, waiting_moves_the_clock, waiting_for_ever_answers_stopped,
          locks_work_on_it, bytes_and_allocations_are_counted, fresh_memory_is_rubbish_unless_zeroed,
          the_nth_allocation_fails, all_after_the_nth_fail_until_switched_off, a_failed_resize_leaves_the_block,
          lies_are_found, the_rest, it_has_the_time_zones_it_was_given, its_time_zones_are_bounded,
          utc_is_known_everywhere)
