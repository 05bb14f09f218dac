/* An environment of one thread whose clock only its test moves and whose memory can run out (cdtx/test.h). Blocks carry
 * their size, so that a wrong old_size is found where it is given, and hold rubbish at both ends of their life. */
#include <cdtx/test.h>

#include <stdalign.h>

#include "base/env.h"
#include "base/name.h"

/* The two clocks start far apart, so that code which mixes them up does not pass by luck. */
#define MONOTONIC_START_US INT64_C(1000000000)
#define WALL_START_US      INT64_C(1600000000000000)

enum { FRESH = 0xa5, FREED = 0xdd, ZONES_MAX = 16 };

struct named_zone {
    char *name; /* NULL: free */
    void *bytes;
    size_t length;
};

struct cdtx_test_env {
    cdtx_env port;
    int64_t now_us;
    int64_t wall_ahead_us; /* of the monotonic clock */
    uint64_t allocations;
    uint64_t bytes;
    uint64_t fail_in; /* the allocation that fails, counted from the next as 1; 0: none */
    int fail_on;      /* and all after it */
    struct named_zone zones[ZONES_MAX];
};

struct block {
    alignas(max_align_t) size_t size;
};

static int64_t monotonic_us(void *user) {
    const cdtx_test_env *env = user;
    return env->now_us;
}

static int64_t wall_us(void *user) {
    const cdtx_test_env *env = user;
    return env->now_us + env->wall_ahead_us;
}

/* Real: uuids drawn in two tests, or under two environments, must differ. */
static int32_t random_bytes(void *user, void *bytes, size_t length) {
    (void)user;
    const cdtx_env *posix = cdtx__env_posix();
    return posix->random(posix->user, bytes, length);
}

static int runs_out(cdtx_test_env *env) {
    env->allocations++;
    if (env->fail_in == 0)
        return 0;
    if (env->fail_in > 1) {
        env->fail_in--;
        return 0;
    }
    env->fail_in = env->fail_on ? 1 : 0;
    return 1;
}

static void give_back(cdtx_test_env *env, struct block *block) {
    size_t size = block->size;
    memset(block, FREED, sizeof *block + size);
    cdtx__free(cdtx__env_posix(), block, sizeof *block + size);
    env->bytes -= size;
}

/* A resize always moves, so that no caller keeps the old address by luck. */
static void *memory(void *user, void *old, size_t old_size, size_t new_size) {
    cdtx_test_env *env = user;
    struct block *block = old == NULL ? NULL : (struct block *)old - 1;
    INVARIANT(block == NULL ? old_size == 0 : old_size == block->size);
    struct block *fresh = NULL;
    if (new_size != 0) {
        if (runs_out(env) || new_size > SIZE_MAX - sizeof *fresh)
            return NULL;
        fresh = cdtx__realloc(cdtx__env_posix(), NULL, 0, sizeof *fresh + new_size);
        if (fresh == NULL)
            return NULL;
        memset(fresh, FRESH, sizeof *fresh + new_size);
        fresh->size = new_size;
        env->bytes += new_size;
        if (block != NULL)
            memcpy(fresh + 1, old, old_size < new_size ? old_size : new_size);
    }
    if (block != NULL)
        give_back(env, block);
    return fresh == NULL ? NULL : fresh + 1;
}

static int32_t wait_word(void *user, uint32_t *word, uint32_t seen, int64_t until_us) {
    cdtx_test_env *env = user;
    if (__atomic_load_n(word, __ATOMIC_ACQUIRE) != seen)
        return 0;
    if (until_us == INT64_MAX)
        return CDTX_STOPPED; /* there is no other thread that could ever change it */
    if (env->now_us < until_us)
        env->now_us = until_us;
    return 0;
}

static void wake_word(void *user, uint32_t *word, uint32_t count) {
    (void)user;
    (void)word;
    (void)count;
}

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
    return 1;
}

static uint64_t process(void *user) {
    (void)user;
    const cdtx_env *posix = cdtx__env_posix();
    return posix->process(posix->user);
}

static void log_line(void *user, int32_t level, const char *line) {
    (void)user;
    cdtx__log(cdtx__env_posix(), level, "%s", line);
}

/* ---- time zones; their memory is none that the test counts or takes away ---- */

/* The zone of that name, else a free place, else NULL. */
static struct named_zone *find_zone(cdtx_test_env *env, const char *name) {
    struct named_zone *place = NULL;
    for (size_t i = ZONES_MAX; i-- > 0;) {
        if (env->zones[i].name == NULL)
            place = &env->zones[i];
        else if (strcmp(env->zones[i].name, name) == 0)
            return &env->zones[i];
    }
    return place;
}

static void free_zone(struct named_zone *zone) {
    cdtx__free(cdtx__env_posix(), zone->bytes, zone->length + 1);
    cdtx__free_text(cdtx__env_posix(), zone->name);
    *zone = (struct named_zone){0};
}

static int32_t copy_zone(void *user, const char *name, void *bytes, size_t room, size_t *length) {
    const struct named_zone *zone = find_zone(user, name);
    if (zone == NULL || zone->name == NULL)
        return CDTX_NOT_FOUND;
    if (zone->length > room)
        return CDTX_LIMIT;
    memcpy(bytes, zone->bytes, zone->length);
    *length = zone->length;
    return 0;
}

int32_t cdtx_test_env_set_zone(cdtx_test_env *env, const char *name, const void *bytes, size_t length,
                               cdtx_error *err) {
    int32_t rc = cdtx__check_name(name, "the time zone", err);
    if (rc != 0)
        return rc;
    struct named_zone *place = find_zone(env, name);
    if (place == NULL && bytes != NULL)
        return cdtx__fail(err, CDTX_LIMIT, "a test environment has at most %d time zones", ZONES_MAX);
    struct named_zone fresh = {0};
    if (bytes != NULL) {
        /* A byte more, so that an empty file has an address too. */
        fresh = (struct named_zone){cdtx__copy_text(cdtx__env_posix(), name),
                                    cdtx__alloc(cdtx__env_posix(), length + 1), length};
        if (fresh.name == NULL || fresh.bytes == NULL) {
            free_zone(&fresh);
            return cdtx__fail(err, CDTX_NO_MEMORY, "no memory for a time zone of a test environment");
        }
        memcpy(fresh.bytes, bytes, length);
    }
    if (place != NULL) {
        free_zone(place);
        *place = fresh;
    }
    return 0;
}

int32_t cdtx_test_env_new(cdtx_test_env **out, cdtx_error *err) {
    if (out == NULL)
        return cdtx__fail(err, CDTX_INVALID, "no place for the new test environment");
    cdtx_test_env *env = cdtx__alloc(cdtx__env_posix(), sizeof *env);
    if (env == NULL)
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory for a test environment");
    env->now_us = MONOTONIC_START_US;
    env->wall_ahead_us = WALL_START_US - MONOTONIC_START_US;
    env->port = (cdtx_env){
        .size = sizeof env->port,
        .user = env,
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
        .log = log_line,
        .zone = copy_zone,
    };
    *out = env;
    return 0;
}

void cdtx_test_env_free(cdtx_test_env *env) {
    for (size_t i = 0; env != NULL && i < ZONES_MAX; i++)
        free_zone(&env->zones[i]);
    cdtx__free(cdtx__env_posix(), env, sizeof *env);
}

const cdtx_env *cdtx_test_env_port(cdtx_test_env *env) {
    return &env->port;
}

void cdtx_test_env_advance(cdtx_test_env *env, int64_t ms) {
    INVARIANT(ms >= 0 && ms <= CDTX_TIME_MAX_MS);
    env->now_us += ms * 1000;
}

void cdtx_test_env_step_wall(cdtx_test_env *env, int64_t ms) {
    INVARIANT(ms >= -CDTX_TIME_MAX_MS && ms <= CDTX_TIME_MAX_MS);
    env->wall_ahead_us += ms * 1000;
}

void cdtx_test_env_fail_memory(cdtx_test_env *env, uint64_t nth, int32_t for_ever) {
    env->fail_in = nth;
    env->fail_on = for_ever != 0;
}

uint64_t cdtx_test_env_allocations(cdtx_test_env *env) {
    return env->allocations;
}

uint64_t cdtx_test_env_bytes(cdtx_test_env *env) {
    return env->bytes;
}
