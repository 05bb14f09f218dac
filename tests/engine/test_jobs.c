/* Jobs: order, clocks, keys, attempts, leases, and both ways to run them. Virtual time but for what needs the kernel.
 */
#include <poll.h>

#include "lab.h"

struct run {
    int64_t at, id, token;
    uint32_t attempt;
    char payload[32];
};

static cdtx_test_env *world;
static cdtx *engine;
static cdtx_db *db;
static struct run runs[256];
static int run_count, fail_first, dropped;
static int32_t fail_code;

static int64_t now_ms(void) {
    const cdtx_env *env = cdtx_test_env_port(world);
    return env->monotonic_us(env->user) / 1000;
}

static int64_t wall_ms(void) {
    const cdtx_env *env = cdtx_test_env_port(world);
    return env->wall_us(env->user) / 1000;
}

static void open_shop(const cdtx_env *env) {
    engine = lab_engine((cdtx_options){.env = env, .payload_max = 1000});
    OK(cdtx_db_open(engine, "shop", lab_url("shop.db"), &db, &E));
    lab_exec(db, "CREATE TABLE IF NOT EXISTS effect (id INTEGER, payload TEXT)");
}

static void make_shop(void) {
    run_count = fail_first = dropped = 0;
    fail_code = CDTX_USER;
    OK(cdtx_test_env_new(&world, &E));
    open_shop(cdtx_test_env_port(world));
}

static void close_shop(void) {
    cdtx_db_close(db);
    cdtx_close(engine);
}

static void free_shop(void) {
    close_shop();
    ck_assert_uint_eq(cdtx_test_env_bytes(world), 0);
    cdtx_test_env_free(world);
}

/* Notes the run; the first fail_first of them fail. */
static int32_t run_job(cdtx_work *work, void *user, cdtx_error *err) {
    size_t length = 0;
    (void)user;
    ck_assert_int_lt(run_count, 256);
    struct run *run = &runs[run_count++];
    const char *payload = cdtx_work_payload(work, &length);
    *run = (struct run){
        .at = now_ms(), .id = cdtx_work_id(work), .token = cdtx_work_token(work), .attempt = cdtx_work_attempt(work)};
    snprintf(run->payload, sizeof run->payload, "%.*s", (int)length, payload);
    ck_assert_int_eq(cdtx_work_kind(work), CDTX_WORK_JOB);
    ck_assert_str_eq(cdtx_work_gid(work), "");
    ck_assert_uint_eq(cdtx_work_tag(work), 0);
    cdtx_sql *sql = cdtx_work_sql(work);
    if (sql != NULL) {
        cdtx_sql_bind_int(sql, run->id);
        cdtx_sql_bind_text(sql, payload, length);
        int32_t rc = cdtx_sql_exec(sql, "INSERT INTO effect VALUES (?, ?)", NULL, err);
        if (rc != 0)
            return rc;
    } else { /* the attempt is durable before it is made */
        char query[80];
        snprintf(query, sizeof query, "SELECT attempts FROM cdtx_job WHERE id = %lld", (long long)run->id);
        ck_assert_int_eq(lab_sql("shop.db", query), run->attempt);
    }
    return run_count <= fail_first ? cdtx_error_set(err, fail_code, "the printer is jammed") : 0;
}

static void drop(void *user) {
    ++*(int *)user;
}

static void handle(const char *name, cdtx_handler_options options) {
    options.size = sizeof options;
    OK(cdtx_handler_add(db, name, &options, &E));
}

/* ---- putting ---- */

struct put {
    const char *handler, *payload;
    cdtx_job_options options;
    int64_t id;
};

static int32_t put_run(cdtx_sql *sql, void *user, cdtx_error *err) {
    struct put *put = user;
    put->options.size = sizeof put->options;
    return cdtx_job_put(sql, put->handler, put->payload, strlen(put->payload), &put->options, &put->id, err);
}

static int64_t put(const char *handler, const char *payload, cdtx_job_options options) {
    struct put one = {.handler = handler, .payload = payload, .options = options};
    OK(cdtx_local(db, put_run, &one, &E));
    ck_assert_int_gt(one.id, 0);
    return one.id;
}

static int64_t jobs(const char *where) {
    char query[200];
    snprintf(query, sizeof query, "SELECT count(*) FROM cdtx_job WHERE %s", where);
    return lab_sql("shop.db", query);
}

static void check_order(const char *payloads) {
    char seen[257] = "";
    for (int i = 0; i < run_count; i++)
        seen[i] = runs[i].payload[0];
    ck_assert_str_eq(seen, payloads);
}

START_TEST(due_order) {
    make_shop();
    handle("print", (cdtx_handler_options){.handler = run_job});
    int64_t start = now_ms();
    put("print", "c", (cdtx_job_options){.delay_ms = 300});
    put("print", "a", (cdtx_job_options){.delay_ms = 100});
    put("print", "b", (cdtx_job_options){.delay_ms = 200});
    OK(cdtx_run(engine, 50, &E));
    ck_assert_int_eq(run_count, 0);
    OK(cdtx_run(engine, 1000, &E));
    check_order("abc");
    for (int i = 0; i < 3; i++) {
        ck_assert_int_ge(runs[i].at - start, 100 * (i + 1));
        ck_assert_int_le(runs[i].at - start, 100 * (i + 1) + 50);
        ck_assert_uint_eq(runs[i].attempt, 1);
    }
    ck_assert_int_eq(jobs("1"), 0);
    free_shop();
}
END_TEST

static int32_t put_many(cdtx_sql *sql, void *user, cdtx_error *err) {
    (void)user;
    for (const char *p = "0483915267"; *p != '\0'; p++) {
        cdtx_job_options options = {.size = sizeof options, .priority = *p - '0'};
        int32_t rc = cdtx_job_put(sql, "print", p, 1, &options, NULL, err);
        if (rc != 0)
            return rc;
    }
    return cdtx_job_put(sql, "print", "z", 1, NULL, NULL, err);
}

START_TEST(higher_priority_first) {
    make_shop();
    handle("print", (cdtx_handler_options){.handler = run_job});
    OK(cdtx_local(db, put_many, NULL, &E));
    OK(cdtx_run(engine, 100, &E));
    check_order("9876543210z");
    free_shop();
}
END_TEST

/* Of one priority: those that waited for a delay, those for a time of day, those put to be done at once, in the order
 * of their first. */
START_TEST(longest_overdue_first) {
    make_shop();
    put("print", "l", (cdtx_job_options){.delay_ms = 290});
    put("print", "d", (cdtx_job_options){.delay_ms = 100});
    put("print", "t", (cdtx_job_options){.at_ms = wall_ms() + 200});
    cdtx_test_env_advance(world, 280);
    put("print", "n", (cdtx_job_options){0});
    put("print", "u", (cdtx_job_options){.priority = 1});
    cdtx_test_env_advance(world, 20);
    handle("print", (cdtx_handler_options){.handler = run_job});
    OK(cdtx_run(engine, 100, &E));
    check_order("udltn");
    free_shop();
}
END_TEST

START_TEST(two_clocks) {
    make_shop();
    handle("print", (cdtx_handler_options){.handler = run_job});
    put("print", "d", (cdtx_job_options){.delay_ms = 60000});
    put("print", "w", (cdtx_job_options){.at_ms = wall_ms() + 30000});
    cdtx_test_env_step_wall(world, -3600000);
    OK(cdtx_run(engine, 59000, &E));
    check_order("");
    OK(cdtx_run(engine, 2000, &E)); /* a delay does not care */
    check_order("d");
    OK(cdtx_run(engine, 3600000 - 40000, &E));
    check_order("d");
    OK(cdtx_run(engine, 40000, &E));
    check_order("dw");
    put("print", "e", (cdtx_job_options){.delay_ms = 60000});
    cdtx_test_env_step_wall(world, 24 * 3600000);
    OK(cdtx_run(engine, 59000, &E));
    check_order("dw");
    OK(cdtx_run(engine, 2000, &E));
    check_order("dwe");
    put("print", "p", (cdtx_job_options){.at_ms = 1}); /* long past */
    OK(cdtx_run(engine, 10, &E));
    check_order("dwep");
    free_shop();
}
END_TEST

START_TEST(delays_go_on_while_closed) {
    make_shop();
    put("print", "d", (cdtx_job_options){.delay_ms = 60000});
    close_shop();
    cdtx_test_env_advance(world, 30000);
    open_shop(cdtx_test_env_port(world));
    handle("print", (cdtx_handler_options){.handler = run_job});
    OK(cdtx_run(engine, 29000, &E));
    check_order("");
    OK(cdtx_run(engine, 2000, &E));
    check_order("d");
    free_shop();
}
END_TEST

/* A time on the durable clock means the same after a restart, whatever became of the wall clock. */
START_TEST(back_off_survives_a_wall_clock_that_goes_back) {
    make_shop();
    handle("print", (cdtx_handler_options){.handler = run_job, .backoff_min_ms = 1000, .backoff_max_ms = 1000});
    put("print", "x", (cdtx_job_options){.delay_ms = 3600000});
    cdtx_test_env_advance(world, 3600000);
    fail_first = 1;
    OK(cdtx_run(engine, 100, &E));
    ck_assert_int_eq(run_count, 1);
    close_shop();
    cdtx_test_env_step_wall(world, -24 * 3600000);
    open_shop(cdtx_test_env_port(world));
    handle("print", (cdtx_handler_options){.handler = run_job});
    OK(cdtx_run(engine, 1100, &E));
    ck_assert_int_eq(run_count, 2);
    free_shop();
}
END_TEST

/* ---- existence ---- */

static int32_t put_and_fail(cdtx_sql *sql, void *user, cdtx_error *err) {
    int32_t rc = put_run(sql, user, err);
    return rc != 0 ? rc : cdtx_error_set(err, CDTX_USER, "changed my mind");
}

START_TEST(who_opens_later_moves_no_clock) {
    char url[700];
    make_shop();
    snprintf(url, sizeof url, "%s?share=1", lab_url("shared.db"));
    cdtx_db_close(db);
    OK(cdtx_db_open(engine, "shared", url, &db, &E));
    handle("print", (cdtx_handler_options){.handler = run_job});
    lab_exec(db, "CREATE TABLE effect (id INTEGER, payload TEXT)");
    put("pull", "x", (cdtx_job_options){.delay_ms = 3600000});
    cdtx_test_env_advance(world, 1000000);
    cdtx_test_env_step_wall(world, 86400000);
    cdtx *second = NULL;
    cdtx_db *its = NULL;
    cdtx_options options = {.size = sizeof options, .env = cdtx_test_env_port(world)};
    cdtx_handler_options pulled = {.size = sizeof pulled};
    cdtx_work *work = NULL;
    OK(cdtx_open(&options, &second, &E));
    OK(cdtx_db_open(second, "shared", url, &its, &E));
    OK(cdtx_handler_add(its, "pull", &pulled, &E));
    int64_t before = now_ms();
    OK(cdtx_take(second, 4000000, &work, &E));
    ck_assert_ptr_nonnull(work);
    ck_assert_int_ge(now_ms() - before, 3600000 - 1000000 - 1);
    ck_assert_int_le(now_ms() - before, 3600000 - 1000000 + 1000);
    OK(cdtx_settle(work, 0, NULL, &E));
    cdtx_db_close(its);
    cdtx_close(second);
    free_shop();
}
END_TEST

START_TEST(a_job_is_there_exactly_when_its_transaction_commits) {
    make_shop();
    handle("print", (cdtx_handler_options){.handler = run_job});
    struct put one = {.handler = "print", .payload = "never"};
    FAILS(CDTX_USER, "mind", cdtx_local(db, put_and_fail, &one, &E));
    cdtx_sql *sql = NULL;
    OK(cdtx_sql_begin(db, &sql, &E));
    OK(cdtx_job_put(sql, "print", "a\0b", 3, NULL, NULL, &E));
    OK(cdtx_job_put(sql, "print", NULL, 0, NULL, NULL, &E));
    OK(cdtx_run(engine, 100, &E));
    ck_assert_int_eq(run_count, 0);
    OK(cdtx_sql_commit(sql, &E));
    FAILS(CDTX_MISUSE, "", cdtx_job_put(sql, "print", "x", 1, NULL, NULL, &E));
    cdtx_sql_close(sql);
    OK(cdtx_run(engine, 100, &E));
    ck_assert_int_eq(run_count, 2);
    ck_assert_str_eq(runs[1].payload, "");
    free_shop();
}
END_TEST

START_TEST(jobs_of_others_are_left_alone) {
    make_shop();
    handle("print", (cdtx_handler_options){.handler = run_job});
    handle("mail", (cdtx_handler_options){.handler = run_job, .queue = "slow"});
    put("nobody", "n", (cdtx_job_options){0});
    put("print", "s", (cdtx_job_options){.queue = "slow"});
    put("mail", "d", (cdtx_job_options){0});
    put("mail", "m", (cdtx_job_options){.queue = "slow"});
    OK(cdtx_run(engine, 10000, &E));
    check_order("m");
    ck_assert_int_eq(jobs("state = 1 AND attempts = 0"), 3);
    handle("nobody", (cdtx_handler_options){.handler = run_job});
    OK(cdtx_run(engine, 100, &E));
    check_order("mn");
    ck_assert_int_eq(jobs("1"), 2);
    free_shop();
}
END_TEST

/* ---- keys ---- */

START_TEST(unique_keys) {
    make_shop();
    handle("print", (cdtx_handler_options){.handler = run_job});
    handle("mail", (cdtx_handler_options){.handler = run_job});
    cdtx_job_options keyed = {.unique_key = "order-1", .delay_ms = 1000};
    struct put again = {.handler = "print", .payload = "x", .options = keyed, .id = -9};
    put("print", "a", keyed);
    FAILS(CDTX_CONFLICT, "order-1", cdtx_local(db, put_run, &again, &E));
    ck_assert_int_eq(again.id, -9);
    put("mail", "b", keyed);
    OK(cdtx_run(engine, 2000, &E));
    ck_assert_int_eq(run_count, 2);
    put("print", "c", keyed); /* a done one no longer counts */
    FAILS(CDTX_CONFLICT, "order-1", cdtx_local(db, put_run, &again, &E));
    fail_first = 3;
    fail_code = CDTX_REFUSED;
    OK(cdtx_run(engine, 2000, &E));
    ck_assert_int_eq(jobs("state = 3"), 1);
    put("print", "d", keyed); /* nor does a dead one */
    OK(cdtx_run(engine, 2000, &E));
    ck_assert_int_eq(jobs("1"), 1);
    free_shop();
}
END_TEST

static cdtx_work *take(int64_t for_ms) {
    cdtx_work *work = (cdtx_work *)(uintptr_t)1;
    OK(cdtx_take(engine, for_ms, &work, &E));
    return work;
}

START_TEST(concurrency_keys) {
    make_shop();
    handle("print", (cdtx_handler_options){0});
    int64_t first = put("print", "a", (cdtx_job_options){.concurrency_key = "sku-1"});
    put("print", "b", (cdtx_job_options){.concurrency_key = "sku-1"});
    put("print", "c", (cdtx_job_options){.concurrency_key = "sku-2"});
    cdtx_work *a = take(1000), *c = take(1000);
    ck_assert_int_eq(cdtx_work_id(a), first);
    ck_assert_mem_eq(cdtx_work_payload(c, NULL), "c", 1);
    ck_assert_ptr_null(take(5000));
    OK(cdtx_settle(a, CDTX_USER, "later", &E)); /* it waits for its back-off, and so does not run */
    cdtx_work *b = take(100);
    ck_assert_ptr_nonnull(b);
    ck_assert_mem_eq(cdtx_work_payload(b, NULL), "b", 1);
    ck_assert_ptr_null(take(5000));
    OK(cdtx_settle(b, 0, NULL, &E));
    OK(cdtx_settle(c, 0, NULL, &E));
    a = take(5000);
    ck_assert_int_eq(cdtx_work_id(a), first);
    ck_assert_uint_eq(cdtx_work_attempt(a), 2);
    OK(cdtx_settle(a, 0, NULL, &E));
    ck_assert_int_eq(jobs("1"), 0);
    free_shop();
}
END_TEST

/* ---- attempts ---- */

START_TEST(attempts_with_growing_pauses) {
    make_shop();
    handle("print", (cdtx_handler_options){.handler = run_job, .backoff_min_ms = 100, .backoff_max_ms = 5000});
    fail_first = 12;
    put("print", "x", (cdtx_job_options){0});
    OK(cdtx_run(engine, 120000, &E));
    ck_assert_int_eq(run_count, 13);
    for (int i = 1; i < run_count; i++) {
        ck_assert_uint_eq(runs[i].attempt, (uint32_t)i + 1);
        ck_assert_int_gt(runs[i].token, runs[i - 1].token);
        ck_assert_int_ge(runs[i].at - runs[i - 1].at, 100);
        ck_assert_int_le(runs[i].at - runs[i - 1].at, 5000 + 100);
    }
    ck_assert_int_ge(runs[12].at - runs[0].at, 5000);
    ck_assert_int_eq(jobs("1"), 0);
    free_shop();
}
END_TEST

START_TEST(dead_after_the_last_attempt) {
    make_shop();
    handle("print", (cdtx_handler_options){.handler = run_job, .attempts_max = 3, .backoff_min_ms = 10});
    fail_first = 100;
    put("print", "kept", (cdtx_job_options){0});
    OK(cdtx_run(engine, 3600000, &E));
    ck_assert_int_eq(run_count, 3);
    ck_assert_int_eq(jobs("state = 3 AND attempts = 3 AND payload = x'6b657074' AND error LIKE '%jammed%'"), 1);
    fail_code = CDTX_REFUSED;
    put("print", "at once", (cdtx_job_options){0});
    OK(cdtx_run(engine, 3600000, &E));
    ck_assert_int_eq(run_count, 4);
    ck_assert_int_eq(jobs("state = 3 AND attempts = 1 AND crashes = 0 AND error LIKE '%jammed%'"), 1);
    free_shop();
}
END_TEST

/* Any code but REFUSED is "again after back-off", whatever the library itself uses it for. */
static void check_codes(int32_t in_local) {
    make_shop();
    handle("print", (cdtx_handler_options){.handler = run_job,
                                           .in_local = in_local,
                                           .backoff_min_ms = 1000,
                                           .backoff_max_ms = 1000,
                                           .lease_ms = 60000});
    for (fail_code = CDTX_USER; fail_code < CDTX_REFUSED; fail_code++) {
        run_count = 0;
        fail_first = 1;
        int64_t start = now_ms();
        put("print", "x", (cdtx_job_options){0});
        OK(cdtx_run(engine, 500, &E));
        ck_assert_msg(jobs("state = 1 AND attempts = 1 AND crashes = 0 AND error LIKE '%jammed%'") == 1,
                      "in_local %d, %s", in_local, cdtx_code_name(fail_code));
        OK(cdtx_run(engine, 1000, &E));
        ck_assert_msg(run_count == 2, "in_local %d, %s: %d runs", in_local, cdtx_code_name(fail_code), run_count);
        ck_assert_int_ge(runs[1].at - start, 1000);
        ck_assert_int_eq(jobs("1"), 0);
    }
    ck_assert_int_eq(lab_sql("shop.db", "SELECT count(*) FROM effect"), in_local ? 16 : 0);
    free_shop();
}

START_TEST(every_code_but_refused_is_repeated) {
    check_codes(_i);
}
END_TEST

START_TEST(in_local_effects_and_end_are_one) {
    make_shop();
    handle("print", (cdtx_handler_options){.handler = run_job, .in_local = 1, .backoff_min_ms = 10});
    fail_first = 2;
    put("print", "x", (cdtx_job_options){0});
    OK(cdtx_run(engine, 5000, &E));
    ck_assert_int_eq(run_count, 3);
    ck_assert_int_eq(lab_sql("shop.db", "SELECT count(*) FROM effect"), 1);
    ck_assert_int_eq(jobs("1"), 0);
    fail_first = 100;
    fail_code = CDTX_REFUSED;
    put("print", "y", (cdtx_job_options){0});
    OK(cdtx_run(engine, 5000, &E));
    ck_assert_int_eq(lab_sql("shop.db", "SELECT count(*) FROM effect"), 1);
    ck_assert_int_eq(jobs("state = 3"), 1);
    free_shop();
}
END_TEST

/* ---- pulled ---- */

START_TEST(taken_and_settled) {
    make_shop();
    handle("print", (cdtx_handler_options){.backoff_min_ms = 100, .backoff_max_ms = 100});
    ck_assert_ptr_null(take(0));
    int64_t before = now_ms();
    ck_assert_ptr_null(take(250));
    ck_assert_int_ge(now_ms() - before, 250);
    int64_t id = put("print", "abc", (cdtx_job_options){0});
    cdtx_work *work = take(1000);
    size_t length = 0;
    ck_assert_ptr_nonnull(work);
    ck_assert_str_eq(cdtx_work_handler(work), "print");
    ck_assert_mem_eq(cdtx_work_payload(work, &length), "abc", 3);
    ck_assert_uint_eq(length, 3);
    ck_assert_int_eq(cdtx_work_id(work), id);
    ck_assert_ptr_null(cdtx_work_sql(work));
    FAILS(CDTX_MISUSE, "completion", cdtx_work_result(work, &E));
    int64_t token = cdtx_work_token(work);
    ck_assert_ptr_null(take(1000)); /* it is leased */
    OK(cdtx_settle(work, CDTX_BUSY, "no paper", &E));
    ck_assert_int_eq(jobs("error = 'no paper' AND state = 1"), 1);
    work = take(1000);
    ck_assert_uint_eq(cdtx_work_attempt(work), 2);
    ck_assert_int_gt(cdtx_work_token(work), token);
    OK(cdtx_settle(work, CDTX_REFUSED, "no printer", &E));
    ck_assert_int_eq(jobs("error = 'no printer' AND state = 3"), 1);
    ck_assert_ptr_null(take(100000));
    FAILS(CDTX_MISUSE, "", cdtx_settle(NULL, 0, NULL, &E));
    free_shop();
}
END_TEST

START_TEST(a_lost_lease_changes_nothing) {
    make_shop();
    handle("print", (cdtx_handler_options){.lease_ms = 1000});
    put("print", "x", (cdtx_job_options){0});
    cdtx_work *late = take(100);
    ck_assert_ptr_null(take(900));
    cdtx_work *work = take(200);
    ck_assert_ptr_nonnull(work);
    ck_assert_uint_eq(cdtx_work_attempt(work), 2);
    ck_assert_int_gt(cdtx_work_token(work), cdtx_work_token(late));
    FAILS(CDTX_CONFLICT, "lease", cdtx_settle(late, CDTX_REFUSED, "too late", &E));
    ck_assert_int_eq(jobs("state = 2 AND crashes = 1"), 1);
    OK(cdtx_settle(work, 0, NULL, &E));
    ck_assert_int_eq(jobs("1"), 0);
    free_shop();
}
END_TEST

START_TEST(dead_after_too_many_crashes) {
    make_shop();
    handle("print", (cdtx_handler_options){.lease_ms = 1000, .crashes_max = 2});
    put("print", "poison", (cdtx_job_options){0});
    cdtx_work *first = take(100), *second = take(2000);
    ck_assert_ptr_nonnull(second);
    ck_assert_ptr_null(take(100000));
    ck_assert_int_eq(jobs("state = 3 AND crashes = 2 AND payload = x'706f69736f6e' AND error IS NOT NULL"), 1);
    FAILS(CDTX_CONFLICT, "lease", cdtx_settle(second, 0, NULL, &E));
    FAILS(CDTX_CONFLICT, "lease", cdtx_settle(first, 0, NULL, &E));
    ck_assert_int_eq(jobs("state = 3"), 1);
    free_shop();
}
END_TEST

START_TEST(a_dead_process_is_a_crash) {
    make_shop();
    handle("print", (cdtx_handler_options){.lease_ms = 3600000});
    put("print", "x", (cdtx_job_options){0});
    cdtx_work *lost = take(100);
    close_shop();
    open_shop(cdtx_test_env_port(world));
    handle("print", (cdtx_handler_options){.lease_ms = 3600000});
    cdtx_work *work = take(1000); /* nobody of a former life holds a lease */
    ck_assert_ptr_nonnull(work);
    ck_assert_uint_eq(cdtx_work_attempt(work), 2);
    ck_assert_int_eq(jobs("crashes = 1"), 1);
    FAILS(CDTX_MISUSE, "closed", cdtx_settle(lost, 0, NULL, &E));
    ck_assert_int_eq(jobs("1"), 1);
    OK(cdtx_settle(work, 0, NULL, &E));
    free_shop();
}
END_TEST

/* Does one after another until it meets the poison. */
static uint32_t work_through(cdtx_work **works, uint32_t count) {
    uint32_t done = 0;
    while (done < count && memcmp(cdtx_work_payload(works[done], NULL), "poison", 6) != 0)
        OK(cdtx_settle(works[done++], 0, NULL, &E));
    return done;
}

/* A process that takes what there is, and ends at the poison, or when there is no more. */
static void live(void) {
    cdtx_work *works[8];
    uint32_t count = 0, done = 0;
    handle("print", (cdtx_handler_options){.lease_ms = 3600000});
    handle("paint", (cdtx_handler_options){.lease_ms = 3600000, .crashes_max = 4});
    do {
        OK(cdtx_take_many(engine, 1000, works, 8, &count, &E));
        done = work_through(works, count);
    } while (count > 0 && done == count);
    close_shop();
    for (; done < count; done++)
        FAILS(CDTX_MISUSE, "closed", cdtx_settle(works[done], 0, NULL, &E));
    open_shop(cdtx_test_env_port(world));
}

START_TEST(who_ends_its_process_takes_no_neighbours_along) {
    make_shop();
    put("print", "poison", (cdtx_job_options){.priority = 1});
    put("print", "first neighbour", (cdtx_job_options){0});
    put("print", "second neighbour", (cdtx_job_options){0});
    put("paint", "third neighbour", (cdtx_job_options){0});
    live();
    live();
    ck_assert_int_eq(jobs("crashes = 1"), 4); /* all were leased; the last life's are counted at the next look */
    live();
    live();
    ck_assert_int_eq(jobs("state = 3 AND crashes = 3 AND payload = x'706f69736f6e'"), 1);
    ck_assert_int_eq(jobs("1"), 1);
    free_shop();
}
END_TEST

struct finish {
    cdtx_work *work;
    int32_t code;
};

static int32_t finish_run(cdtx_sql *sql, void *user, cdtx_error *err) {
    struct finish *finish = user;
    int32_t rc = cdtx_sql_exec(sql, "INSERT INTO effect VALUES (1, 'x')", NULL, err);
    if (rc == 0)
        rc = cdtx_work_done(finish->work, sql, err);
    return rc == 0 && finish->code != 0 ? cdtx_error_set(err, finish->code, "on second thoughts") : rc;
}

START_TEST(effects_and_end_in_the_hosts_transaction) {
    make_shop();
    handle("print", (cdtx_handler_options){.lease_ms = 1000, .crashes_max = 10});
    put("print", "x", (cdtx_job_options){0});
    struct finish finish = {.work = take(100), .code = CDTX_USER};
    FAILS(CDTX_USER, "second", cdtx_local(db, finish_run, &finish, &E));
    ck_assert_int_eq(jobs("state = 2"), 1); /* rolled back: not done */
    finish.code = 0;
    OK(cdtx_local(db, finish_run, &finish, &E));
    OK(cdtx_settle(finish.work, 0, NULL, &E));
    ck_assert_int_eq(jobs("1"), 0);
    ck_assert_int_eq(lab_sql("shop.db", "SELECT count(*) FROM effect"), 1);
    put("print", "y", (cdtx_job_options){0});
    cdtx_work *late = take(100), *work = take(2000);
    finish.work = late;
    FAILS(CDTX_CONFLICT, "lease", cdtx_local(db, finish_run, &finish, &E));
    cdtx_db *log = NULL;
    OK(cdtx_db_log(engine, &log, &E));
    lab_exec(log, "CREATE TABLE effect (id INTEGER, payload TEXT)");
    finish.work = work;
    FAILS(CDTX_MISUSE, "database", cdtx_local(log, finish_run, &finish, &E));
    ck_assert_int_eq(cdtx_work_done(work, NULL, NULL), CDTX_MISUSE);
    cdtx_db_close(log);
    ck_assert_int_eq(lab_sql("shop.db", "SELECT count(*) FROM effect"), 1);
    cdtx_settle(late, 0, NULL, NULL);
    OK(cdtx_settle(work, 0, NULL, &E));
    ck_assert_int_eq(jobs("1"), 0);
    free_shop();
}
END_TEST

/* ---- with the kernel's clock ---- */

static int readable(int fd, int ms) {
    struct pollfd one = {.fd = fd, .events = POLLIN};
    return poll(&one, 1, ms);
}

/* Lets the engine do what is due, until its descriptor is quiet or there is work. */
static cdtx_work *pull(int fd, int ms) {
    cdtx_work *work = NULL;
    for (int i = 0; i < 100 && work == NULL && readable(fd, ms) == 1; i++)
        OK(cdtx_take(engine, 0, &work, &E));
    return work;
}

START_TEST(descriptor_is_readable_when_there_is_work) {
    int32_t fd = -1, again = -1;
    open_shop(NULL);
    handle("print", (cdtx_handler_options){0});
    OK(cdtx_fd(engine, &fd, &E));
    OK(cdtx_fd(engine, &again, &E));
    ck_assert_int_eq(fd, again);
    ck_assert_ptr_null(pull(fd, 50));
    ck_assert_int_eq(readable(fd, 0), 0);
    put("print", "now", (cdtx_job_options){0});
    cdtx_work *work = pull(fd, 2000);
    ck_assert_ptr_nonnull(work);
    OK(cdtx_settle(work, 0, NULL, &E));
    put("print", "soon", (cdtx_job_options){.delay_ms = 300});
    ck_assert_ptr_null(pull(fd, 50));
    ck_assert_int_eq(readable(fd, 0), 0);
    work = pull(fd, 2000);
    ck_assert_ptr_nonnull(work);
    OK(cdtx_settle(work, 0, NULL, &E));
    ck_assert_ptr_null(pull(fd, 50));
    close_shop();
}
END_TEST

static int32_t count_run(cdtx_work *work, void *user, cdtx_error *err) {
    (void)user;
    cdtx_sql *sql = cdtx_work_sql(work);
    cdtx_sql_bind_int(sql, cdtx_work_id(work));
    return cdtx_sql_exec(sql, "INSERT INTO effect VALUES (?, 'once')", NULL, err);
}

START_TEST(threads_run_each_job_once) {
    OK(cdtx_test_env_new(&world, &E));
    engine = lab_engine((cdtx_options){.threads = 4});
    OK(cdtx_db_open(engine, "shop", lab_url("shop.db"), &db, &E));
    lab_exec(db, "CREATE TABLE effect (id INTEGER, payload TEXT)");
    dropped = 0;
    handle("count", (cdtx_handler_options){.handler = count_run, .in_local = 1, .user = &dropped, .drop = drop});
    for (int i = 0; i < 300; i++)
        put("count", "x", (cdtx_job_options){.priority = i % 10});
    for (int i = 0; i < 1000 && jobs("1") > 0; i++)
        usleep(10000);
    ck_assert_int_eq(jobs("1"), 0);
    ck_assert_int_eq(lab_sql("shop.db", "SELECT count(*) FROM effect"), 300);
    ck_assert_int_eq(lab_sql("shop.db", "SELECT count(DISTINCT id) FROM effect"), 300);
    ck_assert_int_eq(dropped, 0);
    close_shop();
    ck_assert_int_eq(dropped, 1);
    cdtx_test_env_free(world);
}
END_TEST

/* ---- bad input ---- */

START_TEST(handlers_are_checked) {
    make_shop();
    cdtx_handler_options options = {.size = sizeof options, .handler = run_job, .user = &dropped, .drop = drop};
    OK(cdtx_handler_add(db, "print", &options, &E));
    FAILS(CDTX_CONFLICT, "print", cdtx_handler_add(db, "print", &options, &E));
    FAILS(CDTX_INVALID, "empty", cdtx_handler_add(db, "", &options, &E));
    options.lease_ms = -1;
    FAILS(CDTX_INVALID, "lease_ms", cdtx_handler_add(db, "other", &options, &E));
    options.lease_ms = CDTX_TIME_MAX_MS + 1;
    FAILS(CDTX_INVALID, "lease_ms", cdtx_handler_add(db, "other", &options, &E));
    options.lease_ms = 0;
    options.dead_retention_ms = -1;
    FAILS(CDTX_INVALID, "dead_retention_ms", cdtx_handler_add(db, "other", &options, &E));
    options.dead_retention_ms = CDTX_TIME_MAX_MS + 1;
    FAILS(CDTX_INVALID, "dead_retention_ms", cdtx_handler_add(db, "other", &options, &E));
    options.dead_retention_ms = 0;
    options.backoff_min_ms = 100;
    options.backoff_max_ms = 99;
    FAILS(CDTX_INVALID, "backoff_max_ms", cdtx_handler_add(db, "other", &options, &E));
    options.backoff_max_ms = 0;
    options.queue = "";
    FAILS(CDTX_INVALID, "queue", cdtx_handler_add(db, "other", &options, &E));
    options.queue = NULL;
    options.handler = NULL;
    options.in_local = 1;
    FAILS(CDTX_INVALID, "in_local", cdtx_handler_add(db, "other", &options, &E));
    ck_assert_int_eq(dropped, 0);
    free_shop();
    ck_assert_int_eq(dropped, 1);
}
END_TEST

static void refuse_put(cdtx_sql *sql, const char *handler, cdtx_job_options options, const char *word) {
    int64_t id = -9;
    options.size = sizeof options;
    FAILS(CDTX_INVALID, word, cdtx_job_put(sql, handler, "x", 1, &options, &id, &E));
    ck_assert_int_eq(id, -9);
}

START_TEST(jobs_are_checked) {
    make_shop();
    static char bytes[1001], name[129];
    memset(name, 'n', 128);
    cdtx_sql *sql = NULL;
    OK(cdtx_sql_begin(db, &sql, &E));
    refuse_put(sql, "", (cdtx_job_options){0}, "handler");
    refuse_put(sql, NULL, (cdtx_job_options){0}, "handler");
    refuse_put(sql, name, (cdtx_job_options){0}, "127");
    refuse_put(sql, "a\tb", (cdtx_job_options){0}, "control");
    refuse_put(sql, "print", (cdtx_job_options){.priority = -1}, "priority");
    refuse_put(sql, "print", (cdtx_job_options){.priority = CDTX_PRIORITY_MAX + 1}, "priority");
    refuse_put(sql, "print", (cdtx_job_options){.delay_ms = -1}, "delay_ms");
    refuse_put(sql, "print", (cdtx_job_options){.delay_ms = CDTX_TIME_MAX_MS + 1}, "delay_ms");
    refuse_put(sql, "print", (cdtx_job_options){.at_ms = -1}, "at_ms");
    refuse_put(sql, "print", (cdtx_job_options){.at_ms = INT64_MAX}, "at_ms");
    refuse_put(sql, "print", (cdtx_job_options){.at_ms = 5, .delay_ms = 5}, "both");
    refuse_put(sql, "print", (cdtx_job_options){.queue = ""}, "queue");
    refuse_put(sql, "print", (cdtx_job_options){.unique_key = name}, "unique key");
    refuse_put(sql, "print", (cdtx_job_options){.concurrency_key = "\x7f"}, "concurrency key");
    FAILS(CDTX_LIMIT, "payload_max", cdtx_job_put(sql, "print", bytes, 1001, NULL, NULL, &E));
    FAILS(CDTX_INVALID, "NULL", cdtx_job_put(sql, "print", NULL, 1, NULL, NULL, &E));
    OK(cdtx_job_put(sql, "print", bytes, 1000, NULL, NULL, &E));
    name[127] = '\0';
    OK(cdtx_job_put(sql, name, bytes, 0, NULL, NULL, &E));
    OK(cdtx_sql_commit(sql, &E));
    cdtx_sql_close(sql);
    ck_assert_int_eq(jobs("1"), 2);
    free_shop();
}
END_TEST

static void tests(TCase *tcase) {
    tcase_add_test(tcase, due_order);
    tcase_add_test(tcase, higher_priority_first);
    tcase_add_test(tcase, longest_overdue_first);
    tcase_add_test(tcase, two_clocks);
    tcase_add_test(tcase, delays_go_on_while_closed);
    tcase_add_test(tcase, back_off_survives_a_wall_clock_that_goes_back);
    tcase_add_test(tcase, who_opens_later_moves_no_clock);
    tcase_add_test(tcase, a_job_is_there_exactly_when_its_transaction_commits);
    tcase_add_test(tcase, jobs_of_others_are_left_alone);
    tcase_add_test(tcase, unique_keys);
    tcase_add_test(tcase, concurrency_keys);
    tcase_add_test(tcase, attempts_with_growing_pauses);
    tcase_add_test(tcase, dead_after_the_last_attempt);
    tcase_add_loop_test(tcase, every_code_but_refused_is_repeated, 0, 2);
    tcase_add_test(tcase, in_local_effects_and_end_are_one);
    tcase_add_test(tcase, taken_and_settled);
    tcase_add_test(tcase, a_lost_lease_changes_nothing);
    tcase_add_test(tcase, dead_after_too_many_crashes);
    tcase_add_test(tcase, who_ends_its_process_takes_no_neighbours_along);
    tcase_add_test(tcase, a_dead_process_is_a_crash);
    tcase_add_test(tcase, effects_and_end_in_the_hosts_transaction);
    tcase_add_test(tcase, descriptor_is_readable_when_there_is_work);
    tcase_add_test(tcase, threads_run_each_job_once);
    tcase_add_test(tcase, handlers_are_checked);
    tcase_add_test(tcase, jobs_are_checked);
}

int main(void) {
    return lab_main("jobs", tests);
}
