/* Durable retry: jobs put alone, taken back, kept alive and put off; unique policies; deadlines, history, and what is
 * left of the dead. Virtual time. */
#include "../engine/job_lab.h"

/* ---- putting alone ---- */

START_TEST(put_alone) {
    make_shop();
    handle("print", (cdtx_handler_options){.handler = shop_handler});
    int64_t id = put("print", "a", (cdtx_job_options){.priority = 1});
    cdtx_bytes payloads[] = {{"b", 1}, {"c", 1}, {NULL, 0}};
    int64_t first = -9;
    OK(cdtx_retry_put_many(db, "print", payloads, 3, NULL, &first, &E));
    ck_assert_int_eq(first, id + 1);
    OK(cdtx_retry_put_many(db, "print", payloads, 1, NULL, NULL, &E));
    OK(cdtx_retry_put(db, "print", NULL, 0, NULL, NULL, &E));
    ck_assert_int_eq(jobs("1"), 6);
    OK(cdtx_run(engine, 100, &E));
    ck_assert_int_eq(shop_run_count, 6);
    ck_assert_int_eq(jobs("1"), 0);
    free_shop();
}
END_TEST

static int32_t put_inside(cdtx_sql *sql, struct shop_step *step, cdtx_error *err) {
    (void)sql;
    return cdtx_retry_put(db, step->handler, "x", 1, NULL, NULL, err);
}

START_TEST(put_alone_is_checked) {
    make_shop();
    cdtx_bytes payloads[] = {{"a", 1}, {NULL, 1}};
    int64_t id = -9;
    FAILS(CDTX_MISUSE, "database is NULL", cdtx_retry_put(NULL, "print", "x", 1, NULL, &id, &E));
    FAILS(CDTX_MISUSE, "database is NULL", cdtx_retry_put_many(NULL, "print", payloads, 1, NULL, &id, &E));
    FAILS(CDTX_INVALID, "0 payloads", cdtx_retry_put_many(db, "print", payloads, 0, NULL, &id, &E));
    FAILS(CDTX_INVALID, "payloads", cdtx_retry_put_many(db, "print", NULL, 1, NULL, &id, &E));
    FAILS(CDTX_INVALID, "NULL", cdtx_retry_put_many(db, "print", payloads, 2, NULL, &id, &E));
    FAILS(CDTX_LIMIT, "payload_max", cdtx_retry_put(db, "print", "x", 1 << 20, NULL, &id, &E));
    FAILS(CDTX_INVALID, "handler", cdtx_retry_put(db, NULL, "x", 1, NULL, &id, &E));
    FAILS(CDTX_INVALID, "'cdtx.cron'", cdtx_retry_put(db, "cdtx.cron", "x", 1, NULL, &id, &E));
    ck_assert_int_eq(id, -9);
    struct shop_step step = {.run = put_inside, .handler = "print"};
    FAILS(CDTX_MISUSE, "own commit", cdtx_local(db, shop_step_run, &step, &E));
    ck_assert_int_eq(jobs("1"), 0);
    cdtx_handler_options options = {.size = sizeof options};
    FAILS(CDTX_INVALID, "'cdtx.cron'", cdtx_handler_add(db, "cdtx.cron", &options, &E));
    OK(cdtx_handler_add(db, "cdtxcron", &options, &E));
    free_shop();
}
END_TEST

START_TEST(put_options_are_checked) {
    make_shop();
    refuse_put(CDTX_INVALID, "unique_policy 4", "print", (cdtx_job_options){.unique_key = "k", .unique_policy = 4});
    refuse_put(CDTX_INVALID, "unique_policy -1", "print", (cdtx_job_options){.unique_key = "k", .unique_policy = -1});
    refuse_put(CDTX_INVALID, "without a unique_key", "print", (cdtx_job_options){.unique_policy = CDTX_UNIQUE_REPLACE});
    refuse_put(CDTX_INVALID, "debounce_max_ms", "print",
               (cdtx_job_options){.unique_key = "k", .unique_policy = CDTX_UNIQUE_REPLACE, .debounce_max_ms = 5});
    refuse_put(CDTX_INVALID, "debounce_max_ms", "print",
               (cdtx_job_options){.unique_key = "k", .unique_policy = CDTX_UNIQUE_DEBOUNCE, .debounce_max_ms = -1});
    refuse_put(
        CDTX_INVALID, "debounce_max_ms", "print",
        (cdtx_job_options){
            .unique_key = "k", .unique_policy = CDTX_UNIQUE_DEBOUNCE, .debounce_max_ms = 5, .at_ms = wall_ms() + 100});
    refuse_put(CDTX_INVALID, "deadline_ms", "print", (cdtx_job_options){.deadline_ms = -1});
    refuse_put(CDTX_INVALID, "deadline_ms", "print", (cdtx_job_options){.deadline_ms = CDTX_TIME_MAX_MS + 1});
    refuse_put(CDTX_INVALID, "deadline_ms, 500", "print", (cdtx_job_options){.deadline_ms = 500, .delay_ms = 500});
    refuse_put(CDTX_INVALID, "concurrency key", "print", (cdtx_job_options){.concurrency_key = ""});
    refuse_put(CDTX_INVALID, "unique key", "print", (cdtx_job_options){.unique_key = "\n"});
    ck_assert_int_eq(jobs("1"), 0);
    free_shop();
}
END_TEST

/* ---- taking back ---- */

START_TEST(cancelled_exactly_when_the_transaction_commits) {
    make_shop();
    handle("print", (cdtx_handler_options){.handler = shop_handler});
    struct shop_step step = {.run = step_cancel, .code = CDTX_USER};
    step.id = put("print", "a", (cdtx_job_options){.delay_ms = 1000});
    FAILS(CDTX_USER, "second", cdtx_local(db, shop_step_run, &step, &E));
    OK(cdtx_run(engine, 2000, &E));
    check_runs("a");
    FAILS(CDTX_NOT_FOUND, "done or cancelled", cdtx_local(db, shop_step_run, &step, &E));
    step.code = 0;
    step.id = put("print", "b", (cdtx_job_options){.delay_ms = 1000});
    OK(cdtx_local(db, shop_step_run, &step, &E));
    OK(cdtx_run(engine, 5000, &E));
    check_runs("a");
    ck_assert_int_eq(jobs("1"), 0);
    FAILS(CDTX_NOT_FOUND, "done or cancelled", cdtx_local(db, shop_step_run, &step, &E));
    step.id = 99;
    FAILS(CDTX_NOT_FOUND, "job 99", cdtx_local(db, shop_step_run, &step, &E));
    FAILS(CDTX_NOT_FOUND, "never put", cdtx_local(db, shop_step_run, &step, &E));
    FAILS(CDTX_MISUSE, "no local transaction", cdtx_retry_cancel(NULL, 1, &E));
    free_shop();
}
END_TEST

START_TEST(cancel_leaves_an_attempt_alone) {
    make_shop();
    handle("print", (cdtx_handler_options){.backoff_min_ms = 1000, .backoff_max_ms = 1000});
    struct shop_step by_id = {.run = step_cancel}, by_key = {.run = step_cancel_key, .handler = "print", .key = "k"};
    by_id.id = put("print", "a", (cdtx_job_options){.unique_key = "k"});
    cdtx_work *work = take_this(100, "a");
    put("print", "b", (cdtx_job_options){.unique_key = "k", .unique_policy = CDTX_UNIQUE_REPLACE});
    FAILS(CDTX_CONFLICT, "leased", cdtx_local(db, shop_step_run, &by_id, &E));
    FAILS(CDTX_CONFLICT, "leased", cdtx_local(db, shop_step_run, &by_key, &E));
    ck_assert_int_eq(states("1"), 25);
    settle(work, CDTX_USER);
    OK(cdtx_local(db, shop_step_run, &by_key, &E)); /* between attempts; what stands behind it goes too */
    ck_assert_int_eq(jobs("1"), 0);
    ck_assert_ptr_null(take(5000));
    FAILS(CDTX_NOT_FOUND, "unique key 'k'", cdtx_local(db, shop_step_run, &by_key, &E));
    free_shop();
}
END_TEST

START_TEST(cancel_by_key_rolls_back_and_is_checked) {
    make_shop();
    handle("print", (cdtx_handler_options){0});
    struct shop_step step = {.run = step_cancel_key, .handler = "print", .key = "k", .code = CDTX_USER};
    put("print", "a", (cdtx_job_options){.unique_key = "k"});
    FAILS(CDTX_USER, "second", cdtx_local(db, shop_step_run, &step, &E));
    step.handler = "mail";
    FAILS(CDTX_NOT_FOUND, "of 'mail'", cdtx_local(db, shop_step_run, &step, &E));
    step.handler = NULL;
    FAILS(CDTX_INVALID, "handler", cdtx_local(db, shop_step_run, &step, &E));
    step.handler = "print";
    step.key = "";
    FAILS(CDTX_INVALID, "unique key", cdtx_local(db, shop_step_run, &step, &E));
    FAILS(CDTX_MISUSE, "no local transaction", cdtx_retry_cancel_key(NULL, "print", "k", &E));
    settle(take_this(100, "a"), CDTX_REFUSED);
    step.key = "k"; /* a dead one is not live */
    FAILS(CDTX_NOT_FOUND, "unique key 'k'", cdtx_local(db, shop_step_run, &step, &E));
    ck_assert_int_eq(states("1"), 3);
    free_shop();
}
END_TEST

START_TEST(cancelled_in_any_state) {
    make_shop();
    handle("print", (cdtx_handler_options){0});
    struct shop_step step = {.run = step_cancel};
    put("print", "h", (cdtx_job_options){.concurrency_key = "c"});
    cdtx_work *work = take_this(100, "h");
    step.id = put("print", "w", (cdtx_job_options){.concurrency_key = "c"});
    put("print", "v", (cdtx_job_options){.concurrency_key = "c"});
    OK(cdtx_run(engine, 10, &E));
    ck_assert_ptr_null(take(10));
    ck_assert_int_eq(states("1"), 244);
    OK(cdtx_local(db, shop_step_run, &step, &E)); /* one that waits for its turn */
    settle(work, 0);
    work = take_this(100, "v");
    settle(work, CDTX_REFUSED);
    step.id = job_value(3, "id");
    OK(cdtx_local(db, shop_step_run, &step, &E)); /* a dead one */
    ck_assert_int_eq(jobs("1"), 0);
    put("print", "a", (cdtx_job_options){.unique_key = "k"});
    work = take_this(100, "a");
    step.id = put("print", "b", (cdtx_job_options){.unique_key = "k", .unique_policy = CDTX_UNIQUE_KEEP});
    OK(cdtx_local(db, shop_step_run, &step, &E)); /* one behind a live one */
    settle(work, 0);
    ck_assert_ptr_null(take(100));
    ck_assert_int_eq(jobs("1"), 0);
    free_shop();
}
END_TEST

/* ---- heartbeat ---- */

START_TEST(a_heartbeat_keeps_the_lease) {
    make_shop();
    handle("print", (cdtx_handler_options){.lease_ms = 3000});
    int64_t id = put("print", "a", (cdtx_job_options){0});
    cdtx_work *work = take_this(100, "a");
    for (int i = 0; i < 60; i++) { /* 20 times the lease */
        ck_assert_ptr_null(take(1000));
        OK(cdtx_work_heartbeat(work, &E));
    }
    ck_assert_int_eq(job_value(id, "state = 2 AND attempts = 1 AND crashes = 0"), 1);
    settle(work, 0);
    ck_assert_int_eq(jobs("1"), 0);
    free_shop();
}
END_TEST

START_TEST(without_a_heartbeat_another_gets_it_once) {
    make_shop();
    handle("print", (cdtx_handler_options){.lease_ms = 3000});
    put("print", "a", (cdtx_job_options){0});
    cdtx_work *late = take_this(100, "a"), *work = take_this(3100, "a");
    ck_assert_uint_eq(cdtx_work_attempt(work), 2);
    FAILS(CDTX_CONFLICT, "job 1: its lease", cdtx_work_heartbeat(late, &E));
    OK(cdtx_work_heartbeat(work, &E));
    ck_assert_ptr_null(take(2900));
    OK(cdtx_work_heartbeat(work, &E));
    settle(work, 0);
    FAILS(CDTX_CONFLICT, "lease", cdtx_work_heartbeat(late, &E));
    FAILS(CDTX_CONFLICT, "lease", cdtx_settle(late, 0, NULL, &E));
    ck_assert_ptr_null(take(10000));
    free_shop();
}
END_TEST

static int32_t beat_inside(cdtx_sql *sql, struct shop_step *step, cdtx_error *err) {
    (void)sql;
    return cdtx_work_heartbeat(step->work, err);
}

static int32_t beat(cdtx_work *work, cdtx_error *err) {
    for (int i = 0; i < 5; i++) {
        cdtx_test_env_advance(world, 900);
        int32_t rc = cdtx_work_heartbeat(work, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int32_t beat_in_local(cdtx_work *work, cdtx_error *err) {
    ck_assert_int_eq(cdtx_work_heartbeat(work, err), CDTX_MISUSE);
    ck_assert_ptr_nonnull(strstr(err->text, "own commit"));
    return 0;
}

START_TEST(heartbeats_of_functions) {
    make_shop();
    handle("print", (cdtx_handler_options){.handler = shop_handler, .lease_ms = 1000});
    handle("local", (cdtx_handler_options){.handler = shop_handler, .lease_ms = 1000, .in_local = 1});
    shop_script = beat;
    put("print", "a", (cdtx_job_options){0});
    OK(cdtx_run(engine, 100, &E));
    check_runs("a");
    shop_script = beat_in_local;
    put("local", "b", (cdtx_job_options){0});
    OK(cdtx_run(engine, 5000, &E));
    check_runs("ab");
    ck_assert_int_eq(jobs("1"), 0);
    free_shop();
}
END_TEST

START_TEST(heartbeats_are_checked) {
    make_shop();
    handle("print", (cdtx_handler_options){0});
    put("print", "a", (cdtx_job_options){0});
    struct shop_step step = {.run = beat_inside, .work = take_this(100, "a")};
    FAILS(CDTX_MISUSE, "own commit", cdtx_local(db, shop_step_run, &step, &E));
    FAILS(CDTX_MISUSE, "cdtx_work_heartbeat is for jobs", cdtx_work_heartbeat(NULL, &E));
    FAILS(CDTX_MISUSE, "cdtx_work_retry_after is for jobs", cdtx_work_retry_after(NULL, 1, NULL, &E));
    FAILS(CDTX_MISUSE, "cdtx_work_snooze is for jobs", cdtx_work_snooze(NULL, 1, NULL, &E));
    FAILS(CDTX_INVALID, "delay_ms", cdtx_work_retry_after(step.work, -1, NULL, &E));
    FAILS(CDTX_INVALID, "delay_ms", cdtx_work_snooze(step.work, CDTX_TIME_MAX_MS + 1, NULL, &E));
    close_shop();
    FAILS(CDTX_MISUSE, "closed", cdtx_work_heartbeat(step.work, &E));
    FAILS(CDTX_MISUSE, "closed", cdtx_settle(step.work, 0, NULL, &E));
    cdtx_test_env_free(world);
}
END_TEST

START_TEST(a_completion_is_no_job) {
    make_shop();
    cdtx_tx *tx = NULL;
    cdtx_tx_options options = {.size = sizeof options, .tag = 7};
    OK(cdtx_tx_new(engine, &options, &tx, &E));
    OK(cdtx_tx_submit(tx, &E));
    cdtx_work *work = take(1000);
    ck_assert_int_eq(cdtx_work_kind(work), CDTX_WORK_COMPLETION);
    FAILS(CDTX_MISUSE, "for jobs", cdtx_work_heartbeat(work, &E));
    FAILS(CDTX_MISUSE, "for jobs", cdtx_work_retry_after(work, 1, NULL, &E));
    OK(cdtx_settle(work, 0, NULL, &E));
    cdtx_tx_close(tx);
    free_shop();
}
END_TEST

/* ---- putting off ---- */

static int32_t after_777(cdtx_work *work, cdtx_error *err) {
    return shop_run_count > 3 ? 0 : cdtx_work_retry_after(work, 777, "Retry-After: 0.777", err);
}

static int32_t snooze_777(cdtx_work *work, cdtx_error *err) {
    return shop_run_count > 3 ? 0 : cdtx_work_snooze(work, 777, NULL, err);
}

static void check_putting_off(int32_t (*script)(cdtx_work *, cdtx_error *), int32_t in_local, int counts) {
    make_shop();
    handle("print", (cdtx_handler_options){.handler = shop_handler, .in_local = in_local, .backoff_min_ms = 50000});
    shop_script = script;
    int64_t id = put("print", "a", (cdtx_job_options){0});
    OK(cdtx_run(engine, 100, &E));
    ck_assert_int_eq(shop_run_count, 1);
    ck_assert_int_eq(job_value(id, "state = 1 AND curve = 0"), 1);
    ck_assert_int_eq(job_value(id, "attempts"), counts);
    ck_assert_int_eq(job_value(id, "error = 'Retry-After: 0.777'"), counts);
    ck_assert_int_eq(job_value(id, "history IS NOT NULL"), counts);
    OK(cdtx_run(engine, 10000, &E));
    ck_assert_int_eq(shop_run_count, 4);
    for (int i = 1; i < 4; i++) {
        ck_assert_int_eq(shop_runs[i].at - shop_runs[i - 1].at, 777);
        ck_assert_uint_eq(shop_runs[i].attempt, counts ? (uint32_t)i + 1 : 1);
    }
    ck_assert_uint_eq(lab_metrics(engine).jobs_failed, counts ? 3 : 0);
    ck_assert_uint_eq(lab_metrics(engine).jobs_run, 4);
    ck_assert_int_eq(jobs("1"), 0);
    free_shop();
}

START_TEST(after_so_long) {
    check_putting_off(after_777, _i, 1);
}
END_TEST

START_TEST(snoozed) {
    check_putting_off(snooze_777, _i, 0);
}
END_TEST

START_TEST(pulled_jobs_are_put_off) {
    make_shop();
    handle("print", (cdtx_handler_options){.backoff_min_ms = 1000, .backoff_max_ms = 3600000, .attempts_max = 30});
    int64_t id = put("print", "a", (cdtx_job_options){0});
    for (int i = 0; i < 20; i++) {
        cdtx_work *work = take(i == 0 ? 10 : 5000);
        ck_assert_ptr_nonnull(work);
        ck_assert_uint_eq(cdtx_work_attempt(work), (uint32_t)i / 2 + 1);
        int64_t from = now_ms();
        FAILS(CDTX_BUSY, "wait a little",
              i % 2 == 0 ? cdtx_work_snooze(work, 5000, "wait a little", &E)
                         : cdtx_work_retry_after(work, 5000, "wait a little", &E));
        OK(cdtx_settle(work, CDTX_BUSY, "wait a little", &E));
        ck_assert_ptr_null(take(4999));
        ck_assert_int_eq(now_ms() - from, 4999);
    }
    ck_assert_int_eq(job_value(id, "curve = 0 AND attempts = 10"), 1);
    settle(take_this(10, "a"), CDTX_USER); /* the curve begins where it stood: 1000 to 2000 */
    int64_t from = now_ms();
    settle(take_this(2001, "a"), 0);
    ck_assert_int_ge(now_ms() - from, 1000);
    free_shop();
}
END_TEST

/* A number is given, but the answer is not the one that goes with it. */
START_TEST(a_wish_is_for_its_own_answer) {
    static const int32_t answers[] = {CDTX_USER, CDTX_REFUSED, 0};
    make_shop();
    handle("print", (cdtx_handler_options){.backoff_min_ms = 1000, .backoff_max_ms = 1000});
    for (int i = 0; i < 3; i++) {
        int64_t id = put("print", "a", (cdtx_job_options){0});
        cdtx_work *work = take_this(100, "a");
        FAILS(CDTX_BUSY, "not yet", cdtx_work_snooze(work, 777, NULL, &E));
        settle(work, answers[i]);
        ck_assert_int_eq(jobs("1"), answers[i] == 0 ? 0 : 1);
        if (answers[i] == CDTX_USER) {
            ck_assert_int_eq(job_value(id, "attempts = 1 AND curve = 1 AND state = 1"), 1);
            ck_assert_ptr_null(take(999));
            settle(take_this(1, "a"), 0);
        } else if (answers[i] == CDTX_REFUSED) {
            ck_assert_int_eq(job_value(id, "attempts = 1 AND state = 3"), 1);
            OK(cdtx_job_cancel(db, id, "ann", "seen", &E));
        }
    }
    free_shop();
}
END_TEST

/* The last wish counts, and none is left over for the next attempt. */
static int32_t wishes(cdtx_work *work, cdtx_error *err) {
    if (shop_run_count == 1) {
        (void)cdtx_work_retry_after(work, 5, "a", err);
        return cdtx_work_retry_after(work, 700, "b", err);
    }
    return shop_run_count == 2 ? cdtx_error_set(err, CDTX_BUSY, "of somebody else") : 0;
}

START_TEST(the_last_wish_counts_once) {
    make_shop();
    handle("print", (cdtx_handler_options){
                        .handler = shop_handler, .in_local = _i, .backoff_min_ms = 3000, .backoff_max_ms = 3000});
    shop_script = wishes;
    put("print", "a", (cdtx_job_options){0});
    OK(cdtx_run(engine, 10000, &E));
    ck_assert_int_eq(shop_run_count, 3);
    ck_assert_int_eq(shop_runs[1].at - shop_runs[0].at, 700);
    ck_assert_int_eq(shop_runs[2].at - shop_runs[1].at, 3000);
    free_shop();
}
END_TEST

static int32_t always_after(cdtx_work *work, cdtx_error *err) {
    return cdtx_work_retry_after(work, 10, "again", err);
}

START_TEST(put_off_attempts_end_too) {
    make_shop();
    handle("print", (cdtx_handler_options){.handler = shop_handler, .attempts_max = 4});
    shop_script = always_after;
    int64_t id = put("print", "a", (cdtx_job_options){0});
    OK(cdtx_run(engine, 10000, &E));
    ck_assert_int_eq(shop_run_count, 4);
    ck_assert_int_eq(job_value(id, "state = 3 AND attempts = 4"), 1);
    free_shop();
}
END_TEST

/* ---- unique policies ---- */

static cdtx_job_options unique(int32_t policy, int64_t delay_ms) {
    return (cdtx_job_options){.unique_key = "k", .unique_policy = policy, .delay_ms = delay_ms};
}

START_TEST(put_onto_a_ready_one) {
    make_shop();
    handle("print", (cdtx_handler_options){.handler = shop_handler});
    handle("mail", (cdtx_handler_options){.handler = shop_handler});
    int64_t id = put("print", "a", unique(CDTX_UNIQUE_REJECT, 1000));
    refuse_put(CDTX_CONFLICT, "unique key 'k'", "print", unique(CDTX_UNIQUE_REJECT, 0));
    ck_assert_int_eq(put("print", "b", unique(CDTX_UNIQUE_KEEP, 0)), id);
    ck_assert_int_eq(job_value(id, "payload = x'61'"), 1);
    OK(cdtx_run(engine, 1100, &E));
    check_runs("a");
    id = put("print", "c", unique(CDTX_UNIQUE_KEEP, 1000)); /* nobody has it now */
    cdtx_job_options better = unique(CDTX_UNIQUE_REPLACE, 3000);
    better.priority = 5;
    better.concurrency_key = "sku";
    better.deadline_ms = 4000;
    ck_assert_int_eq(put("print", "d", better), id);
    ck_assert_int_eq(job_value(id, "priority = 5 AND concurrency_key = 'sku' AND deadline - due = 1000"), 1);
    put("mail", "m", unique(CDTX_UNIQUE_REPLACE, 0)); /* another handler's key */
    OK(cdtx_run(engine, 2900, &E));
    check_runs("am");
    OK(cdtx_run(engine, 200, &E));
    check_runs("amd");
    ck_assert_int_eq(jobs("1"), 0);
    free_shop();
}
END_TEST

START_TEST(replaced_from_clock_to_clock) {
    make_shop();
    handle("print", (cdtx_handler_options){.handler = shop_handler});
    int64_t id = put("print", "a", unique(CDTX_UNIQUE_REPLACE, 1000));
    put("print", "b",
        (cdtx_job_options){.unique_key = "k", .unique_policy = CDTX_UNIQUE_REPLACE, .at_ms = wall_ms() + 5000});
    ck_assert_int_eq(job_value(id, "clock"), 1);
    OK(cdtx_run(engine, 4900, &E));
    check_runs("");
    OK(cdtx_run(engine, 200, &E));
    check_runs("b");
    free_shop();
}
END_TEST

START_TEST(debounced) {
    make_shop();
    handle("print", (cdtx_handler_options){.handler = shop_handler});
    int64_t start = now_ms(), last = 0;
    for (int i = 0; i < 5; i++) {
        OK(cdtx_run(engine, 400, &E));
        last = now_ms();
        put("print", i < 4 ? "early" : "late", unique(CDTX_UNIQUE_DEBOUNCE, 1000));
    }
    OK(cdtx_run(engine, 5000, &E));
    check_runs("l");
    ck_assert_int_eq(shop_runs[0].at - last, 1000);
    cdtx_job_options bounded = unique(CDTX_UNIQUE_DEBOUNCE, 1000);
    bounded.debounce_max_ms = 1500;
    shop_run_count = 0;
    start = now_ms();
    for (int i = 0; i < 9; i++) {
        put("print", (const char *[]){"0", "1", "2", "3", "4", "5", "6", "7", "8"}[i], bounded);
        OK(cdtx_run(engine, 400, &E));
    }
    OK(cdtx_run(engine, 5000, &E));
    check_runs("378"); /* the last put before each 1500 ms, and 1000 ms after the last of all */
    ck_assert_int_eq(shop_runs[0].at - start, 1500);
    ck_assert_int_eq(shop_runs[1].at - start, 1600 + 1500);
    ck_assert_int_eq(shop_runs[2].at - start, 3200 + 1000);
    free_shop();
}
END_TEST

START_TEST(put_onto_one_that_waits_for_its_turn) {
    make_shop();
    handle("print", (cdtx_handler_options){0});
    put("print", "h", (cdtx_job_options){.concurrency_key = "c"});
    cdtx_work *head = take_this(100, "h");
    cdtx_job_options keyed = unique(CDTX_UNIQUE_REJECT, 0);
    keyed.concurrency_key = "c";
    int64_t id = put("print", "a", keyed);
    int64_t other = put("print", "o", (cdtx_job_options){.concurrency_key = "c"});
    ck_assert_ptr_null(take(100));
    ck_assert_int_eq(states("1"), 244);
    refuse_put(CDTX_CONFLICT, "unique key 'k'", "print", keyed);
    keyed.unique_policy = CDTX_UNIQUE_KEEP;
    ck_assert_int_eq(put("print", "b", keyed), id);
    ck_assert_int_eq(states("1"), 244);
    keyed.unique_policy = CDTX_UNIQUE_REPLACE;
    ck_assert_int_eq(put("print", "b", keyed), id);
    ck_assert_ptr_null(take(100));
    ck_assert_int_eq(states("1"), 244);
    keyed.concurrency_key = "d"; /* it waits for that one no more */
    ck_assert_int_eq(put("print", "d", keyed), id);
    settle(take_this(100, "d"), 0);
    ck_assert_ptr_null(take(100));
    settle(head, 0);
    cdtx_work *work = take_this(100, "o");
    ck_assert_int_eq(cdtx_work_id(work), other);
    settle(work, 0);
    ck_assert_int_eq(jobs("1"), 0);
    free_shop();
}
END_TEST

/* Replacing the first of a key lets those behind it go. */
START_TEST(the_first_of_a_key_is_replaced) {
    make_shop();
    handle("print", (cdtx_handler_options){.in_order = 1});
    cdtx_job_options keyed = unique(CDTX_UNIQUE_REPLACE, 5000);
    keyed.concurrency_key = "c";
    put("print", "a", keyed);
    put("print", "b", (cdtx_job_options){.concurrency_key = "c"});
    ck_assert_ptr_null(take(100));
    ck_assert_int_eq(states("1"), 14);
    keyed.concurrency_key = "d";
    put("print", "c", keyed);
    settle(take_this(100, "b"), 0);
    settle(take_this(5000, "c"), 0);
    free_shop();
}
END_TEST

/* An attempt is under way: one job more, however many are put. */
START_TEST(put_onto_a_leased_one) {
    make_shop();
    handle("print", (cdtx_handler_options){0});
    int64_t id = put("print", "a", unique(CDTX_UNIQUE_REJECT, 0));
    cdtx_work *work = take_this(100, "a");
    refuse_put(CDTX_CONFLICT, "unique key 'k'", "print", unique(CDTX_UNIQUE_REJECT, 0));
    ck_assert_int_eq(jobs("1"), 1);
    int64_t next = put("print", "b", unique(CDTX_UNIQUE_KEEP, 0));
    ck_assert_int_ne(next, id);
    ck_assert_int_eq(job_value(next, "payload = x'61' AND state = 5"), 1); /* as it is: that one's payload again */
    ck_assert_int_eq(put("print", "c", unique(CDTX_UNIQUE_KEEP, 0)), next);
    ck_assert_int_eq(put("print", "d", unique(CDTX_UNIQUE_REPLACE, 0)), next);
    ck_assert_int_eq(put("print", "e", unique(CDTX_UNIQUE_KEEP, 0)), next);
    ck_assert_int_eq(job_value(next, "payload = x'64'"), 1);
    ck_assert_int_eq(put("print", "f", unique(CDTX_UNIQUE_DEBOUNCE, 1000)), next);
    refuse_put(CDTX_CONFLICT, "unique key 'k'", "print", unique(CDTX_UNIQUE_REJECT, 0));
    ck_assert_int_eq(states("1"), 25);
    ck_assert_ptr_null(take(300));
    settle(work, 0);
    ck_assert_int_eq(states("1"), 1);
    ck_assert_ptr_null(take(600)); /* 1000 after it was put */
    work = take_this(100, "f");
    ck_assert_int_eq(cdtx_work_id(work), next);
    settle(work, 0);
    ck_assert_int_eq(jobs("1"), 0);
    free_shop();
}
END_TEST

static cdtx_work *leased_with_next(void) {
    put("print", "a", unique(CDTX_UNIQUE_REJECT, 0));
    cdtx_work *work = take_this(100, "a");
    put("print", "b", unique(CDTX_UNIQUE_REPLACE, 0));
    return work;
}

START_TEST(the_next_one_comes_up) {
    make_shop();
    handle("print", (cdtx_handler_options){.lease_ms = 1000, .crashes_max = 2, .backoff_min_ms = 1000});
    struct shop_step done = {.run = step_done}, by_id = {.run = step_cancel};
    done.work = leased_with_next(); /* when it is done in the host's transaction */
    OK(cdtx_local(db, shop_step_run, &done, &E));
    settle(done.work, 0);
    settle(take_this(100, "b"), 0);
    settle(leased_with_next(), CDTX_REFUSED); /* when it is dead */
    settle(take_this(100, "b"), 0);
    ck_assert_int_eq(states("1"), 3);
    cdtx_work *late = leased_with_next(); /* when its lease has been lost too often */
    cdtx_work *later = take_this(1100, "a");
    ck_assert_int_eq(states("state <> 3"), 25);
    settle(take_this(1100, "b"), 0);
    FAILS(CDTX_CONFLICT, "lease", cdtx_settle(late, 0, NULL, &E));
    FAILS(CDTX_CONFLICT, "lease", cdtx_settle(later, 0, NULL, &E));
    ck_assert_int_eq(states("1"), 33);
    by_id.id = cdtx_work_id(late = leased_with_next()); /* when it is taken back between attempts */
    settle(late, CDTX_USER);
    ck_assert_int_eq(states("state <> 3"), 15);
    OK(cdtx_local(db, shop_step_run, &by_id, &E));
    settle(take_this(100, "b"), 0);
    late = leased_with_next(); /* the same by a person */
    by_id.id = cdtx_work_id(late);
    settle(late, CDTX_USER);
    OK(cdtx_job_cancel(db, by_id.id, "ann", "why not", &E));
    settle(take_this(100, "b"), 0);
    ck_assert_int_eq(states("1"), 33);
    free_shop();
}
END_TEST

START_TEST(the_next_one_waits_for_attempts_in_between) {
    make_shop();
    handle("print", (cdtx_handler_options){.backoff_min_ms = 1000, .backoff_max_ms = 1000});
    cdtx_work *work = leased_with_next();
    settle(work, CDTX_USER);
    ck_assert_int_eq(states("1"), 15);
    ck_assert_ptr_null(take(900));
    work = take_this(200, "a");
    FAILS(CDTX_BUSY, "not yet", cdtx_work_snooze(work, 100, NULL, &E));
    OK(cdtx_settle(work, CDTX_BUSY, NULL, &E));
    ck_assert_int_eq(states("1"), 15);
    settle(take_this(200, "a"), 0);
    settle(take_this(200, "b"), 0);
    free_shop();
}
END_TEST

START_TEST(the_next_one_survives_its_process) {
    make_shop();
    handle("print", (cdtx_handler_options){0});
    cdtx_work *work = leased_with_next();
    reopen_shop();
    FAILS(CDTX_MISUSE, "closed", cdtx_settle(work, 0, NULL, &E));
    handle("print", (cdtx_handler_options){0});
    settle(take_this(100, "a"), 0);
    settle(take_this(100, "b"), 0);
    free_shop();
}
END_TEST

/* What is put last is what runs last: nothing older is left behind it. */
START_TEST(a_replaced_one_takes_the_next_one_along) {
    make_shop();
    handle("print", (cdtx_handler_options){.backoff_min_ms = 1000, .backoff_max_ms = 1000});
    settle(leased_with_next(), CDTX_USER);
    ck_assert_int_eq(states("1"), 15);
    put("print", "c", unique(_i == 0 ? CDTX_UNIQUE_REPLACE : CDTX_UNIQUE_DEBOUNCE, 0));
    ck_assert_int_eq(states("1"), 1);
    settle(take_this(100, "c"), 0);
    ck_assert_ptr_null(take(5000));
    free_shop();
}
END_TEST

START_TEST(put_onto_one_between_attempts) {
    make_shop();
    handle("print", (cdtx_handler_options){.backoff_min_ms = 1000, .backoff_max_ms = 1000});
    int64_t id = put("print", "a", unique(CDTX_UNIQUE_REJECT, 0));
    cdtx_work *work = take_this(100, "a");
    int64_t token = cdtx_work_token(work);
    settle(work, CDTX_USER);
    refuse_put(CDTX_CONFLICT, "unique key 'k'", "print", unique(CDTX_UNIQUE_REJECT, 0));
    ck_assert_int_eq(put("print", "b", unique(CDTX_UNIQUE_KEEP, 0)), id);
    ck_assert_int_eq(job_value(id, "payload = x'61' AND attempts = 1"), 1);
    /* What an attempt may have begun under the old number has nothing to do with the new job. */
    int64_t fresh = put("print", "c", unique(CDTX_UNIQUE_REPLACE, 0));
    ck_assert_int_gt(fresh, id);
    ck_assert_int_eq(job_value(fresh, "attempts = 0 AND crashes = 0 AND curve = 0"), 1);
    ck_assert_int_eq(jobs("1"), 1);
    work = take_this(10, "c");
    ck_assert_int_eq(cdtx_work_id(work), fresh);
    ck_assert_uint_eq(cdtx_work_attempt(work), 1);
    ck_assert_int_gt(cdtx_work_token(work), token);
    settle(work, 0);
    free_shop();
}
END_TEST

START_TEST(a_dead_one_is_in_nobodys_way) {
    make_shop();
    handle("print", (cdtx_handler_options){0});
    for (int32_t policy = CDTX_UNIQUE_REJECT; policy <= CDTX_UNIQUE_DEBOUNCE; policy++) {
        int64_t id = put("print", "a", unique(policy, 0));
        settle(take_this(100, "a"), CDTX_REFUSED);
        ck_assert_int_eq(job_value(id, "state"), 3);
    }
    ck_assert_int_eq(states("1"), 3333);
    free_shop();
}
END_TEST

/* A number that is taken already: somebody has damaged the counter. */
START_TEST(a_number_that_is_taken) {
    make_shop();
    handle("print", (cdtx_handler_options){0});
    put("print", "a", unique(CDTX_UNIQUE_REJECT, 0));
    put("print", "b", (cdtx_job_options){.delay_ms = 100000});
    cdtx_work *work = take_this(100, "a");
    lab_sql("shop.db", "UPDATE cdtx_meta SET job = 0");
    refuse_put(CDTX_CORRUPT, "number 1", "print", (cdtx_job_options){0});
    lab_sql("shop.db", "UPDATE cdtx_meta SET job = 0");
    refuse_put(CDTX_CORRUPT, "number 2", "print", unique(CDTX_UNIQUE_REPLACE, 0));
    ck_assert_int_eq(states("1"), 21);
    settle(work, 0);
    free_shop();
}
END_TEST

/* ---- deadlines ---- */

START_TEST(over_before_an_attempt) {
    make_shop();
    int64_t id = put("print", "a", (cdtx_job_options){.deadline_ms = 1000});
    int64_t kept = put("print", "b", (cdtx_job_options){.deadline_ms = 1001});
    cdtx_test_env_advance(world, 1000);
    handle("print", (cdtx_handler_options){.handler = shop_handler});
    OK(cdtx_run(engine, 0, &E));
    check_runs("b");
    ck_assert_int_eq(job_value(id, "state = 3 AND attempts = 0 AND error LIKE '%deadline%' AND died IS NOT NULL"), 1);
    ck_assert_int_eq(job_value(id, "history LIKE '%CDTX_TIMEOUT%deadline%'"), 1);
    ck_assert_int_eq(job_value(kept, "1"), -1);
    ck_assert_uint_eq(lab_metrics(engine).jobs_dead, 1);
    free_shop();
}
END_TEST

START_TEST(dead_at_once_when_the_next_attempt_would_come_too_late) {
    make_shop();
    handle("print", (cdtx_handler_options){.backoff_min_ms = 1000, .backoff_max_ms = 1000});
    int64_t id = put("print", "a", (cdtx_job_options){.deadline_ms = 2500});
    settle(take_this(0, "a"), CDTX_USER);
    settle(take_this(1000, "a"), CDTX_USER);
    ck_assert_int_eq(job_value(id, "state"), 1);
    settle(take_this(1000, "a"), CDTX_USER);
    ck_assert_int_eq(job_value(id, "state = 3 AND attempts = 3 AND error LIKE '%jammed%'"), 1);
    /* A time that the handler asks for: just before, and just then. */
    for (int64_t late = 0; late < 2; late++) {
        id = put("print", "b", (cdtx_job_options){.deadline_ms = 2500});
        cdtx_work *work = take_this(0, "b");
        FAILS(CDTX_BUSY, "", cdtx_work_retry_after(work, 2499 + late, NULL, &E));
        OK(cdtx_settle(work, CDTX_BUSY, NULL, &E));
        ck_assert_int_eq(job_value(id, "state"), late ? 3 : 1);
        if (!late)
            settle(take_this(2499, "b"), 0);
    }
    free_shop();
}
END_TEST

START_TEST(a_snooze_does_not_outlast_the_deadline) {
    make_shop();
    handle("print", (cdtx_handler_options){0});
    int64_t id = put("print", "a", (cdtx_job_options){.deadline_ms = 2500});
    cdtx_work *work = take_this(0, "a");
    FAILS(CDTX_BUSY, "", cdtx_work_snooze(work, 3600000, NULL, &E));
    OK(cdtx_settle(work, CDTX_BUSY, NULL, &E));
    ck_assert_int_eq(job_value(id, "state"), 1);
    ck_assert_ptr_null(take(2600));
    ck_assert_int_eq(job_value(id, "state"), 3);
    free_shop();
}
END_TEST

/* Whoever stands behind a job that its deadline ends goes on. */
START_TEST(a_deadline_lets_others_go) {
    make_shop();
    handle("print", (cdtx_handler_options){.backoff_min_ms = 1000, .backoff_max_ms = 1000, .in_order = 1});
    cdtx_job_options keyed = unique(CDTX_UNIQUE_REJECT, 0);
    keyed.deadline_ms = 1800;
    keyed.concurrency_key = "c";
    put("print", "a", keyed);
    cdtx_work *work = take_this(0, "a");
    put("print", "b", unique(CDTX_UNIQUE_REPLACE, 0));
    put("print", "c", (cdtx_job_options){.concurrency_key = "c"});
    put("print", "d", (cdtx_job_options){.concurrency_key = "c", .deadline_ms = 300});
    put("print", "e", (cdtx_job_options){.concurrency_key = "c"});
    ck_assert_ptr_null(take(600));
    ck_assert_int_eq(states("1"), 25444);
    settle(work, CDTX_USER);
    ck_assert_int_eq(states("1"), 15444);
    cdtx_test_env_advance(world, 2000); /* nobody looks until its deadline is over */
    work = take_this(0, "b");
    cdtx_work *first = take_this(0, "c");
    ck_assert_ptr_null(take(100));
    ck_assert_int_eq(states("1"), 32244);
    settle(work, 0);
    settle(first, 0);
    settle(take_this(0, "e"), 0);
    ck_assert_int_eq(states("1"), 33);
    free_shop();
}
END_TEST

START_TEST(another_life_has_no_deadline) {
    make_shop();
    handle("print", (cdtx_handler_options){0});
    int64_t id = put("print", "a", (cdtx_job_options){.deadline_ms = 100});
    settle(take_this(0, "a"), CDTX_REFUSED);
    cdtx_test_env_advance(world, 1000);
    OK(cdtx_job_retry(db, id, "ann", "paper is back", &E));
    ck_assert_int_eq(job_value(id, "deadline IS NULL AND died IS NULL"), 1);
    settle(take_this(0, "a"), 0);
    free_shop();
}
END_TEST

/* ---- the dead ---- */

START_TEST(the_dead_are_kept_so_long) {
    make_shop();
    handle("print", (cdtx_handler_options){.dead_retention_ms = 10000});
    handle("mail", (cdtx_handler_options){0});
    put("mail", "m", (cdtx_job_options){0});
    settle(take_this(0, "m"), CDTX_REFUSED);
    put("print", "a", (cdtx_job_options){0});
    settle(take_this(0, "a"), CDTX_REFUSED);
    cdtx_test_env_step_wall(world, 86400000);
    ck_assert_ptr_null(take(5000));
    put("print", "b", (cdtx_job_options){0});
    settle(take_this(0, "b"), CDTX_REFUSED);
    ck_assert_ptr_null(take(4990));
    ck_assert_int_eq(states("1"), 333);
    ck_assert_ptr_null(take(20));
    ck_assert_int_eq(jobs("handler = 'print' AND payload = x'62'"), 1);
    ck_assert_int_eq(states("1"), 33);
    ck_assert_ptr_null(take(5000)); /* each by its own time, though nothing else happens */
    ck_assert_int_eq(jobs("handler = 'mail'"), 1);
    ck_assert_int_eq(jobs("1"), 1);
    ck_assert_ptr_null(take(3600000)); /* without a time: until a person acts */
    ck_assert_int_eq(jobs("1"), 1);
    free_shop();
}
END_TEST

START_TEST(many_dead_are_forgotten) {
    enum { MANY = 700 };
    cdtx_bytes payloads[MANY];
    make_shop();
    cdtx_job_options options = {.size = sizeof options, .deadline_ms = 1};
    for (int i = 0; i < MANY; i++)
        payloads[i] = (cdtx_bytes){"x", 1};
    OK(cdtx_retry_put_many(db, "print", payloads, MANY, &options, NULL, &E));
    cdtx_test_env_advance(world, 10);
    handle("print", (cdtx_handler_options){.handler = shop_handler, .dead_retention_ms = 1000});
    OK(cdtx_run(engine, 100, &E));
    ck_assert_int_eq(jobs("state = 3"), MANY);
    ck_assert_uint_eq(lab_metrics(engine).jobs_dead, MANY);
    OK(cdtx_run(engine, 1100, &E));
    ck_assert_int_eq(jobs("1"), 0);
    free_shop();
}
END_TEST

/* ---- history ---- */

static cdtx_report *history(int64_t id) {
    cdtx_report *report = NULL;
    OK(cdtx_job_history(db, id, &report, &E));
    ck_assert_uint_eq(cdtx_report_columns(report), 4);
    return report;
}

static void check_line(cdtx_report *report, int64_t at, int64_t attempt, const char *code, const char *error) {
    ck_assert_int_eq(cdtx_report_next(report), 1);
    ck_assert_int_eq(cdtx_report_int(report, 0), at);
    ck_assert_int_eq(cdtx_report_int(report, 1), attempt);
    ck_assert_str_eq(cdtx_report_text(report, 2, NULL), code);
    ck_assert_str_eq(cdtx_report_text(report, 3, NULL), error);
}

START_TEST(attempts_that_ended_badly_are_written_down) {
    int64_t at[5];
    make_shop();
    handle("print",
           (cdtx_handler_options){.backoff_min_ms = 1000, .backoff_max_ms = 1000, .lease_ms = 2000, .attempts_max = 4});
    int64_t id = put("print", "a", (cdtx_job_options){0});
    cdtx_report *report = history(id);
    ck_assert_int_eq(cdtx_report_next(report), 0);
    cdtx_report_close(report);
    at[0] = wall_ms();
    OK(cdtx_settle(take_this(0, "a"), CDTX_IO, "no\tpaper\nin\x01 tray \xff 2", &E));
    cdtx_work *late = take_this(1000, "a");
    at[1] = wall_ms() + 2000;
    cdtx_work *work = take_this(2000, "a");
    ck_assert_int_eq(cdtx_settle(late, CDTX_USER, "late", NULL), CDTX_CONFLICT); /* nobody's word */
    at[2] = wall_ms();
    OK(cdtx_settle(work, CDTX_USER, "\xc3\xa9t\xc3\xa9", &E));
    at[3] = wall_ms() + 1000;
    OK(cdtx_settle(take_this(1000, "a"), -1234, NULL, &E));
    ck_assert_int_eq(job_value(id, "state"), 3);
    OK(cdtx_job_retry(db, id, "ann", "paper is back", &E)); /* another life keeps it, and counts from 1 */
    at[4] = wall_ms();
    OK(cdtx_settle(take_this(0, "a"), CDTX_USER, "again", &E));
    report = history(id);
    check_line(report, at[0], 1, "CDTX_IO", "no?paper?in? tray ? 2");
    check_line(report, at[1], 2, "CDTX_UNKNOWN", "its holder crashed or lost its lease");
    check_line(report, at[2], 3, "CDTX_USER", "\xc3\xa9t\xc3\xa9");
    check_line(report, at[3], 4, "CDTX_?", "CDTX_?");
    check_line(report, at[4], 1, "CDTX_USER", "again");
    ck_assert_int_eq(cdtx_report_next(report), 0);
    cdtx_report_close(report);
    settle(take_this(1000, "a"), 0);
    FAILS(CDTX_NOT_FOUND, "done or cancelled", cdtx_job_history(db, id, &report, &E));
    FAILS(CDTX_NOT_FOUND, "never put", cdtx_job_history(db, 99, &report, &E));
    FAILS(CDTX_INVALID, "report", cdtx_job_history(db, id, NULL, &E));
    FAILS(CDTX_MISUSE, "NULL", cdtx_job_history(NULL, id, &report, &E));
    free_shop();
}
END_TEST

/* 64 KiB, whatever the letters are made of; and no line that lost its beginning. */
START_TEST(history_is_bounded) {
    char text[600];
    make_shop();
    handle("print", (cdtx_handler_options){.backoff_min_ms = 1, .backoff_max_ms = 1, .attempts_max = 1000});
    int64_t id = put("print", "a", (cdtx_job_options){0}), start = wall_ms();
    for (int i = 1; i <= 300; i++) {
        size_t length = (size_t)snprintf(text, sizeof text, "%d ", i);
        while (length < 500) {
            memcpy(text + length, _i == 0 ? "xx" : "\xc3\xa9", 2);
            length += 2;
        }
        text[length] = '\0';
        OK(cdtx_settle(take_this(10, "a"), CDTX_USER, text, &E));
    }
    ck_assert_int_le(job_value(id, "length(CAST(history AS BLOB))"), 65536);
    ck_assert_int_gt(job_value(id, "length(CAST(history AS BLOB))"), 65536 - 1000);
    cdtx_report *report = history(id);
    int64_t last = 0;
    while (cdtx_report_next(report)) {
        int64_t attempt = cdtx_report_int(report, 1);
        ck_assert_int_eq(attempt, last == 0 ? attempt : last + 1);
        ck_assert_int_eq(atoi(cdtx_report_text(report, 3, NULL)), attempt);
        ck_assert_int_ge(cdtx_report_int(report, 0), start);
        ck_assert_int_le(cdtx_report_int(report, 0), wall_ms());
        last = attempt;
    }
    ck_assert_int_eq(last, 300);
    cdtx_report_close(report);
    free_shop();
}
END_TEST

/* ---- the herd ---- */

enum { HERD = 10000, SLOT_MS = 100, SLOTS = 64 };
static int32_t herd_slots[SLOTS];
static int herd_failing, herd_back;
static int64_t herd_since, herd_last;

static int32_t run_herd(cdtx_work *work, void *user, cdtx_error *err) {
    (void)user;
    if (cdtx_work_attempt(work) == 1) {
        herd_failing++;
        herd_since = now_ms();
        return cdtx_error_set(err, CDTX_USER, "the printer is jammed");
    }
    int64_t slot = (now_ms() - herd_since) / SLOT_MS;
    ck_assert_int_lt(slot, SLOTS);
    herd_slots[slot]++;
    herd_last = slot;
    herd_back++;
    return 0;
}

/* What failed together does not come back together. */
START_TEST(a_herd_scatters) {
    static cdtx_bytes payloads[CDTX_MANY_MAX];
    make_shop();
    herd_failing = herd_back = 0;
    memset(herd_slots, 0, sizeof herd_slots);
    handle("print", (cdtx_handler_options){.handler = run_herd});
    for (int i = 0; i < CDTX_MANY_MAX; i++)
        payloads[i] = (cdtx_bytes){"x", 1};
    for (uint32_t left = HERD; left > 0;) {
        uint32_t count = left < CDTX_MANY_MAX ? left : CDTX_MANY_MAX;
        OK(cdtx_retry_put_many(db, "print", payloads, count, NULL, NULL, &E));
        left -= count;
    }
    int64_t start = now_ms();
    OK(cdtx_run(engine, 0, &E));
    ck_assert_int_eq(herd_failing, HERD);
    ck_assert_int_eq(herd_since, start); /* all at one instant */
    OK(cdtx_run(engine, 10000, &E));
    ck_assert_int_eq(herd_back, HERD);
    int first = 0, most = 0;
    while (herd_slots[first] == 0)
        first++;
    for (int i = 0; i < SLOTS; i++)
        most = herd_slots[i] > most ? herd_slots[i] : most;
    int64_t mean = HERD / (herd_last - first + 1);
    ck_assert_msg(most <= 3 * mean, "%d retries in one slot, %lld in the mean", most, (long long)mean);
    ck_assert_int_ge(herd_last - first + 1, 10);
    free_shop();
}
END_TEST

/* ---- work that waits for its thread, and work that outlives its engine ---- */

static int32_t be_slow(cdtx_work *work, cdtx_error *err) {
    (void)work, (void)err;
    cdtx_test_env_advance(world, 700);
    return 0;
}

/* The third has waited for its thread for longer than its lease: it is not begun then, and that is no attempt. */
START_TEST(what_waits_for_a_thread_too_long_is_given_back) {
    make_shop();
    shop_script = be_slow;
    handle("print", (cdtx_handler_options){.handler = shop_handler, .lease_ms = 1000});
    put("print", "a", (cdtx_job_options){0});
    put("print", "b", (cdtx_job_options){0});
    put("print", "c", (cdtx_job_options){0});
    OK(cdtx_run(engine, 5000, &E));
    check_runs("abc");
    ck_assert_uint_eq(shop_runs[2].attempt, 1);
    ck_assert_int_eq(jobs("handler = 'print'"), 0);
    free_shop();
}
END_TEST

START_TEST(work_can_be_asked_when_its_engine_is_closed) {
    make_shop();
    handle("print", (cdtx_handler_options){0});
    put("print", "a", (cdtx_job_options){0});
    cdtx_work *work = take_this(0, "a");
    close_shop();
    ck_assert_str_eq(cdtx_work_handler(work), "print");
    ck_assert_uint_eq(cdtx_work_attempt(work), 1);
    FAILS(CDTX_MISUSE, "closed", cdtx_settle(work, 0, NULL, &E));
    ck_assert_uint_eq(cdtx_test_env_bytes(world), 0);
    cdtx_test_env_free(world);
}
END_TEST

static void tests(TCase *tcase) {
    tcase_add_test(tcase, what_waits_for_a_thread_too_long_is_given_back);
    tcase_add_test(tcase, work_can_be_asked_when_its_engine_is_closed);
    tcase_add_test(tcase, put_alone);
    tcase_add_test(tcase, put_alone_is_checked);
    tcase_add_test(tcase, put_options_are_checked);
    tcase_add_test(tcase, cancelled_exactly_when_the_transaction_commits);
    tcase_add_test(tcase, cancel_leaves_an_attempt_alone);
    tcase_add_test(tcase, cancel_by_key_rolls_back_and_is_checked);
    tcase_add_test(tcase, cancelled_in_any_state);
    tcase_add_test(tcase, a_heartbeat_keeps_the_lease);
    tcase_add_test(tcase, without_a_heartbeat_another_gets_it_once);
    tcase_add_test(tcase, heartbeats_of_functions);
    tcase_add_test(tcase, heartbeats_are_checked);
    tcase_add_test(tcase, a_completion_is_no_job);
    tcase_add_loop_test(tcase, after_so_long, 0, 2);
    tcase_add_loop_test(tcase, snoozed, 0, 2);
    tcase_add_test(tcase, pulled_jobs_are_put_off);
    tcase_add_test(tcase, a_wish_is_for_its_own_answer);
    tcase_add_loop_test(tcase, the_last_wish_counts_once, 0, 2);
    tcase_add_test(tcase, put_off_attempts_end_too);
    tcase_add_test(tcase, put_onto_a_ready_one);
    tcase_add_test(tcase, replaced_from_clock_to_clock);
    tcase_add_test(tcase, debounced);
    tcase_add_test(tcase, put_onto_one_that_waits_for_its_turn);
    tcase_add_test(tcase, the_first_of_a_key_is_replaced);
    tcase_add_test(tcase, put_onto_a_leased_one);
    tcase_add_test(tcase, the_next_one_comes_up);
    tcase_add_test(tcase, the_next_one_waits_for_attempts_in_between);
    tcase_add_test(tcase, the_next_one_survives_its_process);
    tcase_add_loop_test(tcase, a_replaced_one_takes_the_next_one_along, 0, 2);
    tcase_add_test(tcase, put_onto_one_between_attempts);
    tcase_add_test(tcase, a_dead_one_is_in_nobodys_way);
    tcase_add_test(tcase, a_number_that_is_taken);
    tcase_add_test(tcase, over_before_an_attempt);
    tcase_add_test(tcase, dead_at_once_when_the_next_attempt_would_come_too_late);
    tcase_add_test(tcase, a_snooze_does_not_outlast_the_deadline);
    tcase_add_test(tcase, a_deadline_lets_others_go);
    tcase_add_test(tcase, another_life_has_no_deadline);
    tcase_add_test(tcase, the_dead_are_kept_so_long);
    tcase_add_test(tcase, many_dead_are_forgotten);
    tcase_add_test(tcase, attempts_that_ended_badly_are_written_down);
    tcase_add_loop_test(tcase, history_is_bounded, 0, 2);
    tcase_add_test(tcase, a_herd_scatters);
}

int main(void) {
    return lab_main("retry", tests);
}
