/* What the engine counts: counters, histograms, and the gauges of the databases. */
#include "base/histogram.h"
#include "lab.h"

static cdtx_test_env *world;
static cdtx *engine;
static int jammed;

static int32_t fine(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)sql, (void)call, (void)user, (void)err;
    return 0;
}

static int32_t on_confirm(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)sql, (void)call, (void)user;
    return jammed ? cdtx_error_set(err, CDTX_USER, "the printer is jammed") : 0;
}

static void make_shop(void) {
    jammed = 0;
    OK(cdtx_test_env_new(&world, &E));
    cdtx_options options = {.env = cdtx_test_env_port(world), .park_attempts = 3};
    engine = lab_engine(options);
    cdtx_db *db = NULL;
    cdtx_tcc_handlers three = {.size = sizeof three, .on_try = fine, .on_confirm = on_confirm, .on_cancel = fine};
    OK(cdtx_db_open(engine, "stock", lab_url("stock.db"), &db, &E));
    OK(cdtx_tcc_add(db, "stock", &three, &E));
    cdtx_db_close(db);
}

static void free_shop(void) {
    cdtx_close(engine);
    ck_assert_uint_eq(cdtx_test_env_bytes(world), 0);
    cdtx_test_env_free(world);
}

static void run_tx(void) {
    cdtx_tx *tx = NULL;
    OK(cdtx_tx_new(engine, NULL, &tx, &E));
    OK(cdtx_tx_add(tx, "stock", "x", 1, &E));
    OK(cdtx_tx_run(tx, &E));
    cdtx_tx_close(tx);
}

static cdtx_metrics asked(void) {
    cdtx_metrics metrics = {.size = sizeof metrics, .ask = 1};
    OK(cdtx_metrics_read(engine, &metrics, &E));
    return metrics;
}

/* ---- histograms ---- */

static cdtx_histogram of(const int64_t *values, size_t count) {
    cdtx_histogram live = {0}, read = {0};
    for (size_t i = 0; i < count; i++)
        cdtx__histogram_add(&live, values[i]);
    cdtx__histogram_merge(&read, &live);
    return read;
}

START_TEST(values_fall_between_powers_of_two) {
    const int64_t values[] = {-5, 0, 1, 2, 3, 4, 1023, 1024, INT64_MAX};
    cdtx_histogram h = of(values, 9);
    ck_assert_uint_eq(h.count, 9);
    ck_assert_uint_eq(h.buckets[0], 2);
    ck_assert_uint_eq(h.buckets[1], 1);
    ck_assert_uint_eq(h.buckets[2], 2);
    ck_assert_uint_eq(h.buckets[3], 1);
    ck_assert_uint_eq(h.buckets[10], 1);
    ck_assert_uint_eq(h.buckets[11], 1);
    ck_assert_uint_eq(h.buckets[CDTX_HISTOGRAM_BUCKETS - 1], 1);
    ck_assert_uint_eq(h.max, (uint64_t)INT64_MAX);
    ck_assert_uint_eq(sizeof h.buckets / sizeof h.buckets[0], CDTX_HISTOGRAM_BUCKETS);
}
END_TEST

START_TEST(a_quantile_is_never_too_low) {
    int64_t values[100];
    for (int i = 0; i < 100; i++)
        values[i] = i + 1;
    cdtx_histogram h = of(values, 100);
    ck_assert_uint_eq(cdtx_histogram_quantile(&h, 0.5), 63);
    ck_assert_uint_eq(cdtx_histogram_quantile(&h, 0.63), 63);
    ck_assert_uint_eq(cdtx_histogram_quantile(&h, 0.64), 100);
    ck_assert_uint_eq(cdtx_histogram_quantile(&h, 1.0), 100);
    ck_assert_uint_eq(cdtx_histogram_quantile(&h, 7.0), 100);
    ck_assert_uint_eq(cdtx_histogram_quantile(&h, 0.0), 1);
    ck_assert_uint_eq(cdtx_histogram_quantile(&h, -1.0), 1);
    const int64_t huge[] = {INT64_MAX};
    h = of(huge, 1);
    ck_assert_uint_eq(cdtx_histogram_quantile(&h, 0.5), (uint64_t)INT64_MAX);
    ck_assert_uint_eq(cdtx_histogram_quantile(&(cdtx_histogram){0}, 0.5), 0);
    ck_assert_uint_eq(cdtx_histogram_quantile(NULL, 0.5), 0);
}
END_TEST

/* ---- the engine's ---- */

START_TEST(a_transaction_is_counted_and_timed) {
    make_shop();
    for (int i = 0; i < 5; i++)
        run_tx();
    OK(cdtx_drain(engine, 10000, &E));
    cdtx_metrics m = asked();
    ck_assert_uint_eq(m.begun, 5);
    ck_assert_uint_eq(m.committed, 5);
    ck_assert_uint_eq(m.rolled_back + m.reversed + m.parked + m.alarms, 0);
    ck_assert_uint_eq(m.calls, 10);
    ck_assert_uint_eq(m.call_us.count, 10);
    ck_assert_uint_eq(m.decide_us.count, 5);
    ck_assert_uint_eq(m.end_us.count, 5);
    ck_assert_uint_ge(m.sync_us.count, m.groups);
    ck_assert_uint_eq(m.group_size.count, m.groups);
    ck_assert_uint_eq(m.group_size.sum, m.riders);
    ck_assert_uint_eq(m.in_work, 0);
    ck_assert_int_eq(m.log_open, 0);
    ck_assert_int_eq(m.log_decided, 0);
    ck_assert_int_eq(m.log_parked, 0);
    ck_assert_int_eq(m.log_due, 0);
    ck_assert_int_eq(m.oldest_ms, 0);
    ck_assert_int_eq(m.jobs_due, 0);
    free_shop();
}
END_TEST

START_TEST(what_is_stuck_shows_in_the_gauges) {
    make_shop();
    jammed = 1;
    run_tx();
    cdtx_metrics m = asked();
    ck_assert_int_eq(m.log_open, 1);
    ck_assert_int_eq(m.log_decided, 1);
    ck_assert_int_eq(m.log_parked, 0);
    OK(cdtx_run(engine, 60000, &E));
    m = asked();
    ck_assert_int_eq(m.log_parked, 1);
    ck_assert_uint_eq(m.parked, 1);
    ck_assert_int_ge(m.oldest_ms, 60000);
    ck_assert_int_eq(m.log_due, 0);
    cdtx_test_env_advance(world, 700000);
    m = asked();
    ck_assert_int_ge(m.oldest_ms, 760000);
    cdtx_tx *tx = NULL;
    OK(cdtx_tx_new(engine, NULL, &tx, &E));
    OK(cdtx_tx_begin(tx, &E));
    m = asked();
    ck_assert_int_eq(m.log_open, 2);
    ck_assert_int_eq(m.log_decided, 1);
    OK(cdtx_tx_rollback(tx, &E));
    cdtx_tx_close(tx);
    free_shop();
}
END_TEST

START_TEST(gauges_are_unknown_unless_asked) {
    make_shop();
    cdtx_metrics m = {.size = sizeof m, .log_open = 7};
    OK(cdtx_metrics_read(engine, &m, &E));
    ck_assert_int_eq(m.log_open, -1);
    ck_assert_int_eq(m.log_decided, -1);
    ck_assert_int_eq(m.log_parked, -1);
    ck_assert_int_eq(m.log_due, -1);
    ck_assert_int_eq(m.oldest_ms, -1);
    ck_assert_int_eq(m.jobs_due, -1);
    uint64_t groups = m.groups;
    OK(cdtx_metrics_read(engine, &m, &E));
    ck_assert_uint_eq(m.groups, groups); /* reading costs no commit */
    free_shop();
}
END_TEST

/* Somebody holds the log: the question gives up rather than the caller. */
START_TEST(gauges_are_unknown_when_the_log_is_held) {
    make_shop();
    cdtx_db *db = NULL;
    cdtx_sql *sql = NULL;
    OK(cdtx_db_log(engine, &db, &E));
    OK(cdtx_sql_begin(db, &sql, &E));
    cdtx_metrics m = asked();
    ck_assert_int_eq(m.log_open, -1);
    ck_assert_int_eq(m.jobs_due, -1);
    cdtx_sql_close(sql);
    m = asked();
    ck_assert_int_eq(m.log_open, 0);
    cdtx_db_close(db);
    free_shop();
}
END_TEST

static int32_t read_inside(cdtx_sql *sql, void *user, cdtx_error *err) {
    cdtx_metrics *m = user;
    (void)sql;
    return cdtx_metrics_read(engine, m, err);
}

START_TEST(gauges_are_unknown_inside_a_closure) {
    make_shop();
    cdtx_db *db = NULL;
    cdtx_metrics m = {.size = sizeof m, .ask = 1};
    OK(cdtx_db_log(engine, &db, &E));
    OK(cdtx_local(db, read_inside, &m, &E));
    ck_assert_int_eq(m.log_open, -1);
    cdtx_db_close(db);
    free_shop();
}
END_TEST

/* For the race detector; the sums must fit all the same. */
START_TEST(metrics_are_read_while_threads_work) {
    engine = lab_engine((cdtx_options){.threads = 3});
    cdtx_db *db = NULL;
    cdtx_tcc_handlers three = {.size = sizeof three, .on_try = fine, .on_confirm = fine, .on_cancel = fine};
    OK(cdtx_db_open(engine, "stock", lab_url("stock.db"), &db, &E));
    OK(cdtx_tcc_add(db, "stock", &three, &E));
    cdtx_tx *txs[40];
    for (int i = 0; i < 40; i++) {
        OK(cdtx_tx_new(engine, NULL, &txs[i], &E));
        OK(cdtx_tx_add(txs[i], "stock", "x", 1, &E));
        OK(cdtx_tx_submit(txs[i], &E));
    }
    while (asked().committed < 40) {
    }
    OK(cdtx_drain(engine, 60000, &E));
    cdtx_metrics m = asked();
    ck_assert_uint_eq(m.committed, 40);
    ck_assert_uint_eq(m.decide_us.count, 40);
    ck_assert_uint_ge(m.call_us.count, 80);
    ck_assert_uint_le(m.call_us.count, m.calls); /* a slow machine repeats calls */
    ck_assert_uint_le(m.end_us.count, 40);
    for (int i = 0; i < 40; i++) {
        cdtx_work *work = NULL;
        OK(cdtx_take(engine, 60000, &work, &E));
        OK(cdtx_settle(work, 0, NULL, &E));
        cdtx_tx_close(txs[i]);
    }
    cdtx_db_close(db);
    cdtx_close(engine);
}
END_TEST

/* ---- jobs ---- */

static int32_t answer(cdtx_work *work, void *user, cdtx_error *err) {
    (void)work;
    int32_t *code = user;
    return *code == 0 ? 0 : cdtx_error_set(err, *code, "no");
}

static void put_job(cdtx_db *db, int64_t delay_ms) {
    cdtx_sql *sql = NULL;
    cdtx_job_options options = {.size = sizeof options, .delay_ms = delay_ms};
    OK(cdtx_sql_begin(db, &sql, &E));
    OK(cdtx_job_put(sql, "mail", "x", 1, &options, NULL, &E));
    OK(cdtx_sql_commit(sql, &E));
    cdtx_sql_close(sql);
}

START_TEST(jobs_are_counted_by_their_end) {
    make_shop();
    cdtx_db *db = NULL;
    int32_t code = CDTX_USER;
    OK(cdtx_db_log(engine, &db, &E));
    put_job(db, 0);
    put_job(db, 1000000);
    ck_assert_int_eq(asked().jobs_due, 1);
    cdtx_handler_options o = {.size = sizeof o, .handler = answer, .user = &code};
    OK(cdtx_handler_add(db, "mail", &o, &E));
    OK(cdtx_run(engine, 10, &E));
    cdtx_metrics m = asked();
    ck_assert_uint_eq(m.jobs_run, 1);
    ck_assert_uint_eq(m.jobs_failed, 1);
    ck_assert_uint_eq(m.jobs_dead, 0);
    code = CDTX_REFUSED;
    OK(cdtx_run(engine, 10000, &E));
    m = asked();
    ck_assert_uint_eq(m.jobs_run, 2);
    ck_assert_uint_eq(m.jobs_failed, 2);
    ck_assert_uint_eq(m.jobs_dead, 1);
    ck_assert_int_eq(m.jobs_due, 0);
    code = 0;
    OK(cdtx_run(engine, 1000000, &E));
    m = asked();
    ck_assert_uint_eq(m.jobs_run, 3);
    ck_assert_uint_eq(m.jobs_failed, 2);
    cdtx_db_close(db);
    free_shop();
}
END_TEST

START_TEST(a_taken_job_is_counted_when_it_is_settled) {
    make_shop();
    cdtx_db *db = NULL;
    cdtx_work *work = NULL;
    OK(cdtx_db_log(engine, &db, &E));
    cdtx_handler_options o = {.size = sizeof o, .attempts_max = 1};
    OK(cdtx_handler_add(db, "mail", &o, &E));
    put_job(db, 0);
    OK(cdtx_take(engine, 1000, &work, &E));
    ck_assert_uint_eq(asked().jobs_run, 1);
    ck_assert_uint_eq(asked().jobs_failed, 0);
    OK(cdtx_settle(work, CDTX_USER, "no", &E));
    ck_assert_uint_eq(asked().jobs_failed, 1);
    ck_assert_uint_eq(asked().jobs_dead, 1);
    cdtx_db_close(db);
    free_shop();
}
END_TEST

START_TEST(an_engine_without_a_log_has_none_of_its_gauges) {
    OK(cdtx_test_env_new(&world, &E));
    cdtx_options options = {.size = sizeof options, .env = cdtx_test_env_port(world)};
    OK(cdtx_open(&options, &engine, &E));
    cdtx_metrics m = asked();
    ck_assert_int_eq(m.log_open, -1);
    ck_assert_int_eq(m.jobs_due, 0);
    free_shop();
}
END_TEST

START_TEST(bad_input_is_refused) {
    make_shop();
    cdtx_metrics m = {.size = sizeof m, .ask = 2, .begun = 77};
    FAILS(CDTX_INVALID, "ask is 2", cdtx_metrics_read(engine, &m, &E));
    ck_assert_uint_eq(m.begun, 77);
    free_shop();
}
END_TEST

static void tests(TCase *tcase) {
    tcase_add_test(tcase, values_fall_between_powers_of_two);
    tcase_add_test(tcase, a_quantile_is_never_too_low);
    tcase_add_test(tcase, a_transaction_is_counted_and_timed);
    tcase_add_test(tcase, what_is_stuck_shows_in_the_gauges);
    tcase_add_test(tcase, gauges_are_unknown_unless_asked);
    tcase_add_test(tcase, gauges_are_unknown_when_the_log_is_held);
    tcase_add_test(tcase, gauges_are_unknown_inside_a_closure);
    tcase_add_test(tcase, metrics_are_read_while_threads_work);
    tcase_add_test(tcase, jobs_are_counted_by_their_end);
    tcase_add_test(tcase, a_taken_job_is_counted_when_it_is_settled);
    tcase_add_test(tcase, an_engine_without_a_log_has_none_of_its_gauges);
    tcase_add_test(tcase, bad_input_is_refused);
}

int main(void) {
    return lab_main("engine-metrics", tests);
}
