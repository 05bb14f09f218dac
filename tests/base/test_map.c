#include "base/map.h"

#include <cdtx/test.h>

#include "tests.h"

enum { KEYS = 300, OPERATIONS = 200000 };

static uint64_t keys[KEYS];
static void *model[KEYS];
static int things[KEYS];

static void check_all(const struct map *map) {
    size_t count = 0;
    for (size_t i = 0; i < KEYS; i++) {
        ck_assert_ptr_eq(cdtx__map_get(map, keys[i]), model[i]);
        count += model[i] != NULL;
    }
    ck_assert_uint_eq(map->count, count);
}

/* Random puts and takes against the model; phases that mostly fill and mostly empty take turns. */
static void compare(uint64_t seed) {
    const cdtx_env *env = cdtx__env_posix();
    struct map map = {0};
    memset(model, 0, sizeof model);
    for (int at = 0; at < OPERATIONS; at++) {
        size_t i = next_random(&seed) % KEYS;
        int fill = at / 2000 % 2 == 0;
        if (model[i] == NULL && next_random(&seed) % 8 < (fill ? 7u : 1u)) {
            model[i] = &things[i];
            ck_assert_int_eq(cdtx__map_put(env, &map, keys[i], &things[i]), 0);
        } else if (next_random(&seed) % 8 < (fill ? 1u : 7u)) {
            ck_assert_ptr_eq(cdtx__map_take(&map, keys[i]), model[i]);
            model[i] = NULL;
        } else {
            ck_assert_ptr_eq(cdtx__map_get(&map, keys[i]), model[i]);
        }
        if (at % 500 == 0)
            check_all(&map);
    }
    check_all(&map);
    cdtx__map_free(env, &map);
    ck_assert_uint_eq(map.count, 0);
}

START_TEST(consecutive_keys_as_the_model) {
    for (size_t i = 0; i < KEYS; i++)
        keys[i] = i;
    compare(1);
}
END_TEST

START_TEST(random_keys_as_the_model) {
    uint64_t seed = 2;
    for (size_t i = 0; i < KEYS; i++)
        keys[i] = next_random(&seed);
    compare(3);
}
END_TEST

/* Multiples of a high power of two meet in few homes whatever the multiplier, so gaps are closed over long runs. */
START_TEST(crowded_keys_as_the_model) {
    for (size_t i = 0; i < KEYS; i++)
        keys[i] = (uint64_t)i << 52;
    compare(4);
}
END_TEST

START_TEST(an_empty_map_has_nothing) {
    struct map map = {0};
    ck_assert_ptr_null(cdtx__map_get(&map, 0));
    ck_assert_ptr_null(cdtx__map_take(&map, 0));
    cdtx__map_free(cdtx__env_posix(), &map);
}
END_TEST

START_TEST(a_put_without_memory_changes_nothing) {
    cdtx_test_env *env = NULL;
    ck_assert_int_eq(cdtx_test_env_new(&env, NULL), 0);
    const cdtx_env *port = cdtx_test_env_port(env);
    struct map map = {0};
    size_t in = 0, failed = 0;
    while (in < KEYS) {
        cdtx_test_env_fail_memory(env, 1, 0);
        int32_t rc = cdtx__map_put(port, &map, in, &things[in]);
        cdtx_test_env_fail_memory(env, 0, 0);
        if (rc != 0) {
            failed++;
            ck_assert_int_eq(rc, CDTX_NO_MEMORY);
            ck_assert_ptr_null(cdtx__map_get(&map, in));
            ck_assert_int_eq(cdtx__map_put(port, &map, in, &things[in]), 0);
        }
        in++;
        ck_assert_uint_eq(map.count, in);
        for (size_t i = 0; i < in; i++)
            ck_assert_ptr_eq(cdtx__map_get(&map, i), &things[i]);
    }
    ck_assert_uint_ge(failed, 5);
    cdtx__map_free(port, &map);
    ck_assert_uint_eq(cdtx_test_env_bytes(env), 0);
    cdtx_test_env_free(env);
}
END_TEST

static void put_twice(void) {
    struct map map = {0};
    cdtx__map_put(cdtx__env_posix(), &map, 7, &things[0]);
    cdtx__map_put(cdtx__env_posix(), &map, 7, &things[1]);
}

START_TEST(a_key_put_twice_breaks_an_invariant) {
    ck_assert(breaks(put_twice, "map.c"));
}
END_TEST

RUN_TESTS("map", consecutive_keys_as_the_model, random_keys_as_the_model, crowded_keys_as_the_model,
          an_empty_map_has_nothing, a_put_without_memory_changes_nothing, a_key_put_twice_breaks_an_invariant)
