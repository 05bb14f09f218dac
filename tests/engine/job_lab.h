/* Jobs in virtual time: one engine with one database, what tests do to its jobs, and a look at the rows from outside.
 */
#ifndef TESTS_ENGINE_JOB_LAB_H
#define TESTS_ENGINE_JOB_LAB_H

#include <cdtx/admin.h>
#include <cdtx/retry.h>

#include "lab.h"

enum { SHOP_RUNS_MAX = 512 };

/* An attempt that a handler function was called for. */
struct shop_run {
    int64_t at, id;
    uint32_t attempt;
    char payload[32];
};

static cdtx_test_env *world;
static cdtx *engine;
static cdtx_db *db;
static struct shop_run shop_runs[SHOP_RUNS_MAX];
static int shop_run_count;
/* What the handler function answers; NULL: done. */
static int32_t (*shop_script)(cdtx_work *work, cdtx_error *err);

static inline int64_t now_ms(void) {
    const cdtx_env *env = cdtx_test_env_port(world);
    return env->monotonic_us(env->user) / 1000;
}

static inline int64_t wall_ms(void) {
    const cdtx_env *env = cdtx_test_env_port(world);
    return env->wall_us(env->user) / 1000;
}

static inline void open_shop(void) {
    engine = lab_engine((cdtx_options){.env = cdtx_test_env_port(world)});
    OK(cdtx_db_open(engine, "shop", lab_url("shop.db"), &db, &E));
}

static inline void make_shop(void) {
    shop_run_count = 0;
    shop_script = NULL;
    OK(cdtx_test_env_new(&world, &E));
    open_shop();
}

static inline void close_shop(void) {
    cdtx_db_close(db);
    cdtx_close(engine);
}

static inline void free_shop(void) {
    close_shop();
    ck_assert_uint_eq(cdtx_test_env_bytes(world), 0);
    cdtx_test_env_free(world);
}

/* The same file again, after a death that nobody was told of. */
static inline void reopen_shop(void) {
    close_shop();
    open_shop();
}

static inline int32_t shop_handler(cdtx_work *work, void *user, cdtx_error *err) {
    size_t length = 0;
    const char *payload = cdtx_work_payload(work, &length);
    (void)user;
    ck_assert_int_lt(shop_run_count, SHOP_RUNS_MAX);
    struct shop_run *run = &shop_runs[shop_run_count++];
    *run = (struct shop_run){.at = now_ms(), .id = cdtx_work_id(work), .attempt = cdtx_work_attempt(work)};
    snprintf(run->payload, sizeof run->payload, "%.*s", (int)length, payload);
    return shop_script == NULL ? 0 : shop_script(work, err);
}

static inline int32_t say_no(cdtx_work *work, cdtx_error *err) {
    (void)work;
    return cdtx_error_set(err, CDTX_USER, "the printer is jammed");
}

static inline int32_t say_never(cdtx_work *work, cdtx_error *err) {
    (void)work;
    return cdtx_error_set(err, CDTX_REFUSED, "no such printer");
}

static inline void handle(const char *name, cdtx_handler_options options) {
    options.size = sizeof options;
    OK(cdtx_handler_add(db, name, &options, &E));
}

/* The first letters of the payloads that were run, in order. */
static inline void check_runs(const char *payloads) {
    char seen[SHOP_RUNS_MAX + 1] = "";
    for (int i = 0; i < shop_run_count; i++)
        seen[i] = shop_runs[i].payload[0];
    ck_assert_str_eq(seen, payloads);
}

static inline int64_t put(const char *handler, const char *payload, cdtx_job_options options) {
    int64_t id = -9;
    options.size = sizeof options;
    OK(cdtx_retry_put(db, handler, payload, strlen(payload), &options, &id, &E));
    ck_assert_int_gt(id, 0);
    return id;
}

static inline void refuse_put(int32_t code, const char *word, const char *handler, cdtx_job_options options) {
    int64_t id = -9;
    options.size = sizeof options;
    FAILS(code, word, cdtx_retry_put(db, handler, "x", 1, &options, &id, &E));
    ck_assert_int_eq(id, -9);
}

static inline cdtx_work *take(int64_t for_ms) {
    cdtx_work *work = (cdtx_work *)(uintptr_t)1;
    OK(cdtx_take(engine, for_ms, &work, &E));
    return work;
}

/* The next job must come within for_ms, and be that one. */
static inline cdtx_work *take_this(int64_t for_ms, const char *payload) {
    size_t length = 0;
    cdtx_work *work = take(for_ms);
    ck_assert_msg(work != NULL, "no job came, not '%s'", payload);
    const char *bytes = cdtx_work_payload(work, &length);
    ck_assert_msg(length == strlen(payload) && memcmp(bytes, payload, length) == 0, "'%.*s' came, not '%s'",
                  (int)length, bytes, payload);
    return work;
}

static inline void settle(cdtx_work *work, int32_t code) {
    OK(cdtx_settle(work, code, code == 0 ? NULL : "the printer is jammed", &E));
}

static inline int64_t jobs(const char *where) {
    char query[300];
    snprintf(query, sizeof query, "SELECT count(*) FROM cdtx_job WHERE %s", where);
    return lab_sql("shop.db", query);
}

/* Their states in the order of their numbers, as digits: 244 is a leased one before two that wait. 0: no job. */
static inline int64_t states(const char *where) {
    char query[300];
    snprintf(query, sizeof query,
             "SELECT group_concat(state, '') FROM (SELECT state FROM cdtx_job WHERE %s ORDER BY id)", where);
    return lab_sql("shop.db", query);
}

/* A column of one job's row. */
static inline int64_t job_value(int64_t id, const char *expression) {
    char query[300];
    snprintf(query, sizeof query, "SELECT %s FROM cdtx_job WHERE id = %lld", expression, (long long)id);
    return lab_sql("shop.db", query);
}

/* A step of a test inside a local transaction, which then commits, or rolls back for `code`. */
struct shop_step {
    int32_t (*run)(cdtx_sql *sql, struct shop_step *step, cdtx_error *err);
    int64_t id;
    const char *handler, *key;
    cdtx_work *work;
    int32_t code;
};

static inline int32_t shop_step_run(cdtx_sql *sql, void *user, cdtx_error *err) {
    struct shop_step *step = user;
    int32_t rc = step->run(sql, step, err);
    return rc == 0 && step->code != 0 ? cdtx_error_set(err, step->code, "on second thoughts") : rc;
}

static inline int32_t step_cancel(cdtx_sql *sql, struct shop_step *step, cdtx_error *err) {
    return cdtx_retry_cancel(sql, step->id, err);
}

static inline int32_t step_cancel_key(cdtx_sql *sql, struct shop_step *step, cdtx_error *err) {
    return cdtx_retry_cancel_key(sql, step->handler, step->key, err);
}

static inline int32_t step_done(cdtx_sql *sql, struct shop_step *step, cdtx_error *err) {
    return cdtx_work_done(step->work, sql, err);
}

#endif
