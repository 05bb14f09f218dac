/* The doctor: nothing to say about a healthy house, and a problem for each thing that is wrong. */
#include <cdtx/admin.h>

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

static void open_shop(cdtx_options options) {
    options.env = cdtx_test_env_port(world);
    engine = lab_engine(options);
    cdtx_db *db = NULL;
    cdtx_tcc_handlers three = {.size = sizeof three, .on_try = fine, .on_confirm = on_confirm, .on_cancel = fine};
    OK(cdtx_db_open(engine, "stock", lab_url("stock.db"), &db, &E));
    OK(cdtx_tcc_add(db, "stock", &three, &E));
    cdtx_db_close(db);
}

static void make_shop(void) {
    jammed = 0;
    OK(cdtx_test_env_new(&world, &E));
    open_shop((cdtx_options){0});
}

static void free_shop(void) {
    cdtx_close(engine);
    ck_assert_uint_eq(cdtx_test_env_bytes(world), 0);
    cdtx_test_env_free(world);
}

static void run_tx(void) {
    cdtx_tx_options options = {.size = sizeof options, .wait_for = CDTX_WAIT_DECIDED};
    cdtx_tx *tx = NULL;
    OK(cdtx_tx_new(engine, &options, &tx, &E));
    OK(cdtx_tx_add(tx, "stock", "x", 1, &E));
    OK(cdtx_tx_run(tx, &E));
    cdtx_tx_close(tx);
}

/* How many rows of that level, with that check and that word in the finding (each NULL: any). */
static int found_deep(uint32_t deep, const char *level, const char *check, const char *word) {
    cdtx_report *report = NULL;
    int found = 0;
    OK(cdtx_doctor(engine, deep, &report, &E));
    ck_assert_uint_eq(cdtx_report_columns(report), 5);
    ck_assert_str_eq(cdtx_report_name(report, 0), "level");
    ck_assert_str_eq(cdtx_report_name(report, 1), "database");
    ck_assert_str_eq(cdtx_report_name(report, 2), "check");
    ck_assert_str_eq(cdtx_report_name(report, 3), "finding");
    ck_assert_str_eq(cdtx_report_name(report, 4), "advice");
    while (cdtx_report_next(report))
        found += (level == NULL || strcmp(cdtx_report_text(report, 0, NULL), level) == 0) &&
                 (check == NULL || strcmp(cdtx_report_text(report, 2, NULL), check) == 0) &&
                 (word == NULL || strstr(cdtx_report_text(report, 3, NULL), word) != NULL);
    cdtx_report_close(report);
    return found;
}

static int found(const char *level, const char *check, const char *word) {
    return found_deep(0, level, check, word);
}

START_TEST(a_healthy_house_has_no_problem) {
    make_shop();
    run_tx();
    OK(cdtx_drain(engine, 10000, &E));
    ck_assert_int_eq(found("problem", NULL, NULL), 0);
    ck_assert_int_eq(found("ok", "settings", "journal_mode wal, synchronous 2"), 2);
    ck_assert_int_eq(found("ok", "SQLite", "version 3."), 2);
    ck_assert_int_eq(found("ok", "schema", NULL), 2);
    ck_assert_int_eq(found("ok", "owner", "alone"), 2);
    ck_assert_int_eq(found("ok", "clock", NULL), 2);
    ck_assert_int_eq(found("ok", "handlers", NULL), 2);
    ck_assert_int_eq(found("ok", "guards", NULL), 2);
    ck_assert_int_eq(found("ok", "audit", "0 lines"), 2);
    ck_assert_int_eq(found("ok", "parked", NULL), 1);
    ck_assert_int_eq(found(NULL, "pages", NULL), 0);
    ck_assert_int_eq(found_deep(1, "ok", "pages", "found nothing"), 2);
    free_shop();
}
END_TEST

START_TEST(parked_and_old_ones_are_problems) {
    make_shop();
    jammed = 1;
    run_tx();
    ck_assert_int_eq(found("problem", NULL, NULL), 0);
    cdtx_test_env_advance(world, 700000);
    ck_assert_int_eq(found("problem", "transactions", "1 have not ended"), 1);
    cdtx_report *report = NULL;
    OK(cdtx_tx_list(engine, NULL, &report, &E));
    ck_assert_int_eq(cdtx_report_next(report), 1);
    OK(cdtx_tx_park(engine, cdtx_report_text(report, 0, NULL), "ann", "waiting", &E));
    cdtx_report_close(report);
    ck_assert_int_eq(found("problem", "parked", "1 are parked"), 1);
    ck_assert_int_eq(found("problem", "transactions", NULL), 0);
    ck_assert_int_eq(found("note", "cases", "1 are open"), 1);
    free_shop();
}
END_TEST

START_TEST(a_wall_clock_that_jumps_is_a_problem) {
    make_shop();
    cdtx_test_env_step_wall(world, 3600000);
    ck_assert_int_eq(found("problem", "clock", "moved +3600 s"), 2);
    cdtx_test_env_step_wall(world, -7200000);
    ck_assert_int_eq(found("problem", "clock", "moved -3600 s"), 2);
    cdtx_test_env_step_wall(world, 3600000);
    ck_assert_int_eq(found("problem", "clock", NULL), 0);
    free_shop();
}
END_TEST

static int32_t on_job(cdtx_work *work, void *user, cdtx_error *err) {
    (void)work, (void)user, (void)err;
    return 0;
}

START_TEST(jobs_without_a_handler_are_a_problem) {
    make_shop();
    cdtx_db *db = NULL;
    cdtx_sql *sql = NULL;
    cdtx_job_options later = {.size = sizeof later, .delay_ms = 1000};
    OK(cdtx_db_log(engine, &db, &E));
    OK(cdtx_sql_begin(db, &sql, &E));
    for (int i = 0; i < 3; i++)
        OK(cdtx_job_put(sql, i == 0 ? "mail" : "print", "x", 1, &later, NULL, &E));
    OK(cdtx_sql_commit(sql, &E));
    cdtx_sql_close(sql);
    ck_assert_int_eq(found("problem", "handlers", "1 jobs wait for handler 'mail'"), 1);
    ck_assert_int_eq(found("problem", "handlers", "2 jobs wait for handler 'print'"), 1);
    cdtx_handler_options o = {.size = sizeof o, .handler = on_job};
    OK(cdtx_handler_add(db, "mail", &o, &E));
    ck_assert_int_eq(found("problem", "handlers", NULL), 1);
    cdtx_db_close(db);
    cdtx_close(engine);
    open_shop((cdtx_options){.passive = 1});
    ck_assert_int_eq(found("note", "engine", "passive"), 1);
    ck_assert_int_eq(found("note", "handlers", "wait for handler"), 2);
    ck_assert_int_eq(found("problem", NULL, NULL), 0);
    free_shop();
}
END_TEST

START_TEST(guards_that_the_log_does_not_know_are_a_problem) {
    make_shop();
    jammed = 1;
    run_tx();
    ck_assert_int_eq(found("ok", "guards", "all known"), 1);
    lab_sql("log.db", "UPDATE cdtx_tx SET state = 4, due = NULL, ended = 0, epoch = epoch + 1");
    ck_assert_int_eq(found("problem", "guards", "branch 0 of"), 1);
    lab_sql("stock.db", "UPDATE cdtx_guard SET state = 3");
    ck_assert_int_eq(found("problem", "guards", NULL), 0);
    lab_sql("stock.db", "UPDATE cdtx_guard SET seq = 1000");
    ck_assert_int_eq(found("problem", "guards", "up to gid number 1000"), 1);
    free_shop();
}
END_TEST

START_TEST(a_broken_chain_is_a_problem) {
    make_shop();
    jammed = 1;
    run_tx();
    cdtx_report *report = NULL;
    OK(cdtx_tx_list(engine, NULL, &report, &E));
    ck_assert_int_eq(cdtx_report_next(report), 1);
    OK(cdtx_tx_park(engine, cdtx_report_text(report, 0, NULL), "ann", "waiting", &E));
    cdtx_report_close(report);
    ck_assert_int_eq(found("ok", "audit", "2 lines, unbroken; head "), 1);
    lab_sql("log.db", "UPDATE cdtx_audit SET actor = 'bob' WHERE id = 2");
    ck_assert_int_eq(found("problem", "audit", "line 2 was changed"), 1);
    free_shop();
}
END_TEST

START_TEST(unsafe_settings_are_a_problem) {
    make_shop();
    cdtx_close(engine);
    sqlite3 *raw = NULL;
    ck_assert_int_eq(sqlite3_open(lab_path("log.db"), &raw), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(raw, "PRAGMA journal_mode = DELETE", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(raw);
    char url[700];
    snprintf(url, sizeof url, "%s?read=1", lab_url("log.db"));
    engine = lab_engine((cdtx_options){.env = cdtx_test_env_port(world), .log = url});
    ck_assert_int_eq(found("problem", "settings", "journal_mode delete"), 1);
    ck_assert_int_eq(found("ok", "owner", "read only here"), 1);
    free_shop();
}
END_TEST

START_TEST(a_damaged_page_is_found_on_request) {
    make_shop();
    cdtx_db *db = NULL;
    OK(cdtx_db_log(engine, &db, &E));
    lab_exec(db, "CREATE TABLE t (a INTEGER PRIMARY KEY)");
    cdtx_db_close(db);
    cdtx_close(engine);
    int64_t page = lab_sql("log.db", "SELECT rootpage FROM sqlite_master WHERE name = 't'");
    int64_t size = lab_sql("log.db", "PRAGMA page_size");
    FILE *file = fopen(lab_path("log.db"), "r+");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fseek(file, (page - 1) * size, SEEK_SET), 0);
    ck_assert_int_eq(fputs("not a page of a tree", file) >= 0, 1);
    ck_assert_int_eq(fclose(file), 0);
    open_shop((cdtx_options){0});
    ck_assert_int_eq(found_deep(0, "problem", NULL, NULL), 0);
    ck_assert_int_eq(found_deep(1, "problem", "pages", "quick_check: "), 1);
    free_shop();
}
END_TEST

START_TEST(what_is_held_is_named_and_the_rest_is_looked_at) {
    make_shop();
    cdtx_db *db = NULL;
    cdtx_sql *sql = NULL;
    OK(cdtx_db_log(engine, &db, &E));
    OK(cdtx_sql_begin(db, &sql, &E));
    ck_assert_int_ge(found("problem", "settings", "held by another transaction"), 1);
    ck_assert_int_eq(found("ok", "settings", NULL), 1);
    cdtx_sql_close(sql);
    cdtx_db_close(db);
    free_shop();
}
END_TEST

START_TEST(bad_input_is_refused) {
    cdtx_report *report = NULL;
    make_shop();
    FAILS(CDTX_INVALID, "report", cdtx_doctor(engine, 0, NULL, &E));
    FAILS(CDTX_INVALID, "deep is 2", cdtx_doctor(engine, 2, &report, &E));
    FAILS(CDTX_MISUSE, "NULL", cdtx_doctor(NULL, 0, &report, &E));
    ck_assert_ptr_null(report);
    free_shop();
}
END_TEST

START_TEST(an_engine_without_a_log_is_examined_too) {
    OK(cdtx_test_env_new(&world, &E));
    cdtx_options options = {.size = sizeof options, .env = cdtx_test_env_port(world)};
    OK(cdtx_open(&options, &engine, &E));
    cdtx_db *db = NULL;
    OK(cdtx_db_open(engine, "stock", lab_url("stock.db"), &db, &E));
    ck_assert_int_eq(found("problem", NULL, NULL), 0);
    ck_assert_int_eq(found("note", "log", "without a log"), 1);
    cdtx_db_close(db);
    free_shop();
}
END_TEST

static void tests(TCase *tcase) {
    tcase_add_test(tcase, a_healthy_house_has_no_problem);
    tcase_add_test(tcase, parked_and_old_ones_are_problems);
    tcase_add_test(tcase, a_wall_clock_that_jumps_is_a_problem);
    tcase_add_test(tcase, jobs_without_a_handler_are_a_problem);
    tcase_add_test(tcase, guards_that_the_log_does_not_know_are_a_problem);
    tcase_add_test(tcase, a_broken_chain_is_a_problem);
    tcase_add_test(tcase, unsafe_settings_are_a_problem);
    tcase_add_test(tcase, a_damaged_page_is_found_on_request);
    tcase_add_test(tcase, what_is_held_is_named_and_the_rest_is_looked_at);
    tcase_add_test(tcase, bad_input_is_refused);
    tcase_add_test(tcase, an_engine_without_a_log_is_examined_too);
}

int main(void) {
    return lab_main("engine-doctor", tests);
}
