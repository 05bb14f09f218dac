/* Handlers whose effects are in another database than their jobs: once, whatever is lost between the two, and nothing
 * left over. Virtual time, and an adapter that fails where it is told. */
#include "job_lab.h"
#include "port/sql.h"

static cdtx_sql_port faulty;
static const cdtx_sql_port *inner;
static void *ware_connection;
static int lose_ends;                                             /* the next ends of jobs fail */
static enum { FINE, UNKNOWN_DONE, UNKNOWN_NOT_DONE } ware_commit; /* the next commit of the other database */
static cdtx_db *ware;

static int32_t faulty_open(const cdtx_env *env, const char *url, void **connection, cdtx_error *err) {
    int32_t rc = inner->open(env, url, connection, err);
    if (rc == 0 && strstr(url, "ware.db") != NULL)
        ware_connection = *connection;
    return rc;
}

static int32_t faulty_exec(void *connection, uint32_t flags, const char *statement, const cdtx_value *arguments,
                           uint32_t count, cdtx_rows *rows, int64_t *changes, cdtx_error *err) {
    if (lose_ends > 0 && strncmp(statement, "DELETE FROM cdtx_job WHERE id", 29) == 0) {
        lose_ends--;
        return cdtx_error_set(err, CDTX_IO, "told to fail");
    }
    return inner->exec(connection, flags, statement, arguments, count, rows, changes, err);
}

static int32_t faulty_commit(void *connection, cdtx_error *err) {
    if (connection != ware_connection || ware_commit == FINE)
        return inner->commit(connection, err);
    if (ware_commit == UNKNOWN_NOT_DONE)
        inner->rollback(connection);
    int32_t rc = ware_commit == UNKNOWN_DONE ? inner->commit(connection, err) : 0;
    ware_commit = FINE;
    return rc != 0 ? rc : cdtx_error_set(err, CDTX_UNKNOWN, "told to lose the answer");
}

static void open_both(void) {
    static const cdtx_sql_port *adapters[] = {&faulty};
    engine = lab_engine((cdtx_options){.env = cdtx_test_env_port(world), .adapters = adapters, .adapter_count = 1});
    OK(cdtx_db_open(engine, "shop", lab_url("shop.db"), &db, &E));
    OK(cdtx_db_open(engine, "ware", lab_url("ware.db"), &ware, &E));
    lab_exec(ware, "CREATE TABLE IF NOT EXISTS effect (id INTEGER, payload TEXT)");
}

static void make_both(void) {
    inner = cdtx__adapter_builtin("sqlite:x");
    faulty = *inner;
    faulty.open = faulty_open;
    faulty.exec = faulty_exec;
    faulty.commit = faulty_commit;
    lose_ends = shop_run_count = 0;
    ware_commit = FINE;
    shop_script = NULL;
    OK(cdtx_test_env_new(&world, &E));
    open_both();
}

static void close_both(void) {
    cdtx_db_close(ware);
    close_shop();
}

static void free_both(void) {
    cdtx_db_close(ware);
    free_shop();
}

/* The effect first: it must go with a no. */
static int32_t run_elsewhere(cdtx_work *work, void *user, cdtx_error *err) {
    size_t length = 0;
    const char *payload = cdtx_work_payload(work, &length);
    cdtx_sql *sql = cdtx_work_sql(work);
    ck_assert_ptr_nonnull(sql);
    cdtx_sql_bind_int(sql, cdtx_work_id(work));
    cdtx_sql_bind_text(sql, payload, length);
    int32_t rc = cdtx_sql_exec(sql, "INSERT INTO effect VALUES (?, ?)", NULL, err);
    return rc != 0 ? rc : shop_handler(work, user, err);
}

static void handle_elsewhere(const char *name, cdtx_handler_options options) {
    options.handler = run_elsewhere;
    options.in_local = 1;
    options.local_db = ware;
    if (options.lease_ms == 0)
        options.lease_ms = 2000;
    handle(name, options);
}

static int64_t effects(const char *payload) {
    char query[200];
    snprintf(query, sizeof query, "SELECT count(*) FROM effect WHERE payload = '%s'", payload);
    return lab_sql("ware.db", query);
}

static int64_t guards(void) {
    return lab_sql("ware.db", "SELECT count(*) FROM cdtx_guard");
}

START_TEST(effects_in_another_database) {
    make_both();
    handle_elsewhere("print", (cdtx_handler_options){.backoff_min_ms = 1000, .backoff_max_ms = 1000});
    put("print", "a", (cdtx_job_options){0});
    OK(cdtx_run(engine, 100, &E));
    check_runs("a");
    ck_assert_int_eq(effects("a"), 1);
    ck_assert_int_eq(jobs("1"), 0);
    ck_assert_int_eq(guards(), 1);
    OK(cdtx_run(engine, 5000, &E)); /* nothing is left of a job that has ended */
    ck_assert_int_eq(guards(), 0);
    shop_script = say_no;
    put("print", "b", (cdtx_job_options){0});
    OK(cdtx_run(engine, 500, &E));
    check_runs("ab");
    ck_assert_int_eq(effects("b") + guards(), 0);
    ck_assert_int_eq(jobs("state = 1 AND error LIKE '%jammed%'"), 1);
    shop_script = NULL;
    OK(cdtx_run(engine, 1000, &E));
    ck_assert_int_eq(effects("b"), 1);
    shop_script = say_never;
    put("print", "c", (cdtx_job_options){0});
    OK(cdtx_run(engine, 500, &E));
    ck_assert_int_eq(effects("c"), 0);
    ck_assert_int_eq(states("1"), 3);
    free_both();
}
END_TEST

START_TEST(an_end_that_is_lost) {
    make_both();
    handle_elsewhere("print", (cdtx_handler_options){.crashes_max = 10});
    lose_ends = 3;
    put("print", "a", (cdtx_job_options){0});
    OK(cdtx_run(engine, 100, &E));
    ck_assert_int_eq(effects("a"), 1);
    ck_assert_int_eq(states("1"), 2);
    OK(cdtx_run(engine, 20000, &E));
    ck_assert_int_eq(lose_ends, 0);
    check_runs("a"); /* later attempts find its mark */
    ck_assert_int_eq(effects("a"), 1);
    ck_assert_int_eq(jobs("1"), 0);
    ck_assert_int_eq(guards(), 0);
    free_both();
}
END_TEST

START_TEST(a_process_dies_between_effect_and_end) {
    make_both();
    handle_elsewhere("print", (cdtx_handler_options){0});
    lose_ends = 1;
    put("print", "a", (cdtx_job_options){0});
    OK(cdtx_run(engine, 100, &E));
    ck_assert_int_eq(states("1"), 2);
    close_both();
    open_both();
    handle_elsewhere("print", (cdtx_handler_options){0});
    OK(cdtx_run(engine, 10000, &E));
    check_runs("a");
    ck_assert_int_eq(effects("a"), 1);
    ck_assert_int_eq(jobs("1") + guards(), 0);
    free_both();
}
END_TEST

START_TEST(a_commit_that_may_have_happened) {
    make_both();
    handle_elsewhere("print", (cdtx_handler_options){0});
    put("print", "a", (cdtx_job_options){.delay_ms = 1000});
    ware_commit = _i == 0 ? UNKNOWN_DONE : UNKNOWN_NOT_DONE;
    FAILS(CDTX_STOPPED, "ware", cdtx_run(engine, 1500, &E));
    check_runs("a");
    ck_assert_int_eq(states("1"), 1);
    close_both();
    open_both();
    handle_elsewhere("print", (cdtx_handler_options){0});
    OK(cdtx_run(engine, 10000, &E));
    check_runs(_i == 0 ? "a" : "aa");
    ck_assert_int_eq(effects("a"), 1);
    ck_assert_int_eq(jobs("1") + guards(), 0);
    free_both();
}
END_TEST

START_TEST(a_database_that_has_stopped_costs_no_attempts) {
    make_both();
    handle_elsewhere("print", (cdtx_handler_options){.attempts_max = 2, .backoff_min_ms = 100, .backoff_max_ms = 100});
    put("print", "a", (cdtx_job_options){.delay_ms = 1000});
    ware_commit = UNKNOWN_NOT_DONE;
    FAILS(CDTX_STOPPED, "ware", cdtx_run(engine, 1500, &E));
    put("print", "b", (cdtx_job_options){0});
    for (int i = 0; i < 10; i++)
        FAILS(CDTX_STOPPED, "ware", cdtx_run(engine, 1000, &E));
    check_runs("a");
    ck_assert_int_eq(jobs("state = 1 AND attempts < 2"), 2);
    close_both();
    open_both();
    handle_elsewhere("print", (cdtx_handler_options){.attempts_max = 2});
    OK(cdtx_run(engine, 20000, &E));
    ck_assert_int_eq(effects("a"), 1);
    ck_assert_int_eq(effects("b"), 1);
    ck_assert_int_eq(jobs("1") + guards(), 0);
    free_both();
}
END_TEST

/* The mark of the job that was replaced is none of the new one's. */
START_TEST(a_lost_end_and_another_payload) {
    make_both();
    handle_elsewhere("print", (cdtx_handler_options){0});
    cdtx_job_options options = {.unique_key = "k", .unique_policy = CDTX_UNIQUE_REPLACE};
    lose_ends = 1;
    put("print", "a", options);
    OK(cdtx_run(engine, 100, &E));
    ck_assert_int_eq(states("1"), 2);
    OK(cdtx_handler_pause(db, "print", "ann", "to see it between attempts", &E));
    OK(cdtx_run(engine, 3000, &E));
    ck_assert_int_eq(states("1"), 1);
    put("print", "b", options);
    OK(cdtx_handler_resume(db, "print", "ann", "seen", &E));
    OK(cdtx_run(engine, 10000, &E));
    check_runs("ab");
    ck_assert_int_eq(effects("a"), 1);
    ck_assert_int_eq(effects("b"), 1);
    ck_assert_int_eq(jobs("1") + guards(), 0);
    free_both();
}
END_TEST

/* As long as a dead one may come to life again, what is marked stays marked. */
START_TEST(the_dead_hold_the_marks) {
    make_both();
    handle_elsewhere("print", (cdtx_handler_options){.crashes_max = 1});
    put("print", "a", (cdtx_job_options){0});
    OK(cdtx_run(engine, 100, &E));
    lose_ends = 1;
    int64_t dead = put("print", "b", (cdtx_job_options){0});
    OK(cdtx_run(engine, 100, &E));
    put("print", "c", (cdtx_job_options){0});
    put("print", "d", (cdtx_job_options){0});
    OK(cdtx_run(engine, 20000, &E));
    ck_assert_int_eq(job_value(dead, "state"), 3);
    ck_assert_int_eq(jobs("1"), 1);
    ck_assert_int_eq(guards(), 3); /* from the dead one on */
    int64_t count = -9;
    cdtx_redrive_filter filter = {.size = sizeof filter, .handler = "print"};
    OK(cdtx_job_redrive(db, &filter, "ann", "it was the disk", &count, &E));
    ck_assert_int_eq(count, 1);
    OK(cdtx_run(engine, 10000, &E));
    check_runs("abcd");
    ck_assert_int_eq(effects("b"), 1);
    ck_assert_int_eq(jobs("1") + guards(), 0);
    free_both();
}
END_TEST

/* The floor has a long way to go, and nobody puts jobs meanwhile. */
START_TEST(the_floor_comes_to_the_end) {
    make_both();
    put("other", "x", (cdtx_job_options){.delay_ms = 3600000});
    close_both();
    lab_sql("shop.db", "UPDATE cdtx_meta SET job = 300000");
    open_both();
    handle_elsewhere("print", (cdtx_handler_options){0});
    put("print", "a", (cdtx_job_options){0});
    OK(cdtx_run(engine, 10000, &E));
    ck_assert_int_eq(effects("a"), 1);
    ck_assert_int_eq(guards(), 0);
    free_both();
}
END_TEST

START_TEST(two_handlers_have_marks_of_their_own) {
    make_both();
    cdtx_db *log = NULL;
    OK(cdtx_db_log(engine, &log, &E));
    handle_elsewhere("print", (cdtx_handler_options){0});
    handle_elsewhere("mail", (cdtx_handler_options){0});
    cdtx_db *shop = db;
    db = log; /* and of each database of jobs: the numbers are the same */
    handle_elsewhere("print", (cdtx_handler_options){0});
    put("print", "a", (cdtx_job_options){0});
    db = shop;
    shop_script = NULL;
    put("print", "b", (cdtx_job_options){0});
    put("mail", "c", (cdtx_job_options){0});
    OK(cdtx_run(engine, 100, &E));
    ck_assert_int_eq(effects("a") + effects("b") + effects("c"), 3);
    ck_assert_int_eq(guards(), 3);
    OK(cdtx_run(engine, 10000, &E));
    ck_assert_int_eq(guards(), 0);
    cdtx_db_close(log);
    free_both();
}
END_TEST

static int32_t after_a_while(cdtx_work *work, cdtx_error *err) {
    return shop_run_count > 2    ? 0
           : shop_run_count == 1 ? cdtx_work_retry_after(work, 300, "not yet", err)
                                 : cdtx_work_snooze(work, 300, "not yet", err);
}

START_TEST(put_off_elsewhere) {
    make_both();
    handle_elsewhere("print", (cdtx_handler_options){0});
    shop_script = after_a_while;
    put("print", "a", (cdtx_job_options){0});
    OK(cdtx_run(engine, 10000, &E));
    ck_assert_int_eq(shop_run_count, 3);
    ck_assert_int_eq(shop_runs[1].at - shop_runs[0].at, 300);
    ck_assert_int_eq(shop_runs[2].at - shop_runs[1].at, 300);
    ck_assert_uint_eq(shop_runs[2].attempt, 2);
    ck_assert_int_eq(effects("a"), 1);
    ck_assert_int_eq(jobs("1") + guards(), 0);
    free_both();
}
END_TEST

START_TEST(options_are_checked) {
    make_both();
    cdtx *second = NULL;
    cdtx_db *its = NULL, *reader = NULL;
    char url[700];
    cdtx_options plain = {.size = sizeof plain, .env = cdtx_test_env_port(world)};
    OK(cdtx_open(&plain, &second, &E));
    OK(cdtx_db_open(second, "its", lab_url("its.db"), &its, &E));
    cdtx_handler_options options = {.size = sizeof options, .handler = run_elsewhere, .in_local = 1, .local_db = its};
    FAILS(CDTX_MISUSE, "another engine", cdtx_handler_add(db, "print", &options, &E));
    options.local_db = ware;
    options.in_local = 0;
    FAILS(CDTX_INVALID, "local_db", cdtx_handler_add(db, "print", &options, &E));
    snprintf(url, sizeof url, "%s?read=1", lab_url("its.db"));
    OK(cdtx_db_open(engine, "reader", url, &reader, &E));
    options.in_local = 1;
    options.local_db = reader;
    FAILS(CDTX_MISUSE, "reading only", cdtx_handler_add(db, "print", &options, &E));
    cdtx_db_close(reader);
    options.local_db = db; /* its own: no marks */
    OK(cdtx_handler_add(db, "print", &options, &E));
    lab_exec(db, "CREATE TABLE effect (id INTEGER, payload TEXT)");
    put("print", "a", (cdtx_job_options){0});
    OK(cdtx_run(engine, 100, &E));
    ck_assert_int_eq(lab_sql("shop.db", "SELECT count(*) FROM effect"), 1);
    ck_assert_int_eq(lab_sql("shop.db", "SELECT count(*) FROM cdtx_guard"), 0);
    cdtx_db_close(its);
    cdtx_close(second);
    free_both();
}
END_TEST

static void tests(TCase *tcase) {
    tcase_add_test(tcase, effects_in_another_database);
    tcase_add_test(tcase, an_end_that_is_lost);
    tcase_add_test(tcase, a_process_dies_between_effect_and_end);
    tcase_add_loop_test(tcase, a_commit_that_may_have_happened, 0, 2);
    tcase_add_test(tcase, a_database_that_has_stopped_costs_no_attempts);
    tcase_add_test(tcase, a_lost_end_and_another_payload);
    tcase_add_test(tcase, the_dead_hold_the_marks);
    tcase_add_test(tcase, the_floor_comes_to_the_end);
    tcase_add_test(tcase, two_handlers_have_marks_of_their_own);
    tcase_add_test(tcase, put_off_elsewhere);
    tcase_add_test(tcase, options_are_checked);
}

int main(void) {
    return lab_main("elsewhere", tests);
}
