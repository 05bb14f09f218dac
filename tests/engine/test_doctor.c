/* The doctor: nothing to say about a healthy house, and a problem for each thing that is wrong. */
#include <cdtx/admin.h>
#include <cdtx/msg.h>
#include <cdtx/retry.h>

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
    ck_assert_int_eq(found("problem", "handlers", "1 jobs wait for handler 'mail', which nobody has here; none is due"),
                     1);
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

/* The advice of the first row with that check and that word in the finding. */
static const char *advice(const char *check, const char *word) {
    static char text[600];
    cdtx_report *report = NULL;
    text[0] = '\0';
    OK(cdtx_doctor(engine, 0, &report, &E));
    while (text[0] == '\0' && cdtx_report_next(report))
        if (strcmp(cdtx_report_text(report, 2, NULL), check) == 0 &&
            strstr(cdtx_report_text(report, 3, NULL), word) != NULL)
            snprintf(text, sizeof text, "%s", cdtx_report_text(report, 4, NULL));
    cdtx_report_close(report);
    return text;
}

static void has(const char *text, const char *part) {
    ck_assert_msg(strstr(text, part) != NULL, "no '%s' in: %s", part, text);
}

START_TEST(nobody_anywhere_has_a_handler_if_its_jobs_are_late) {
    make_shop();
    cdtx_db *db = NULL;
    OK(cdtx_db_log(engine, &db, &E));
    OK(cdtx_retry_put(db, "mail", "x", 1, NULL, NULL, &E));
    cdtx_db_close(db);
    cdtx_close(engine);
    open_shop((cdtx_options){.passive = 1});
    ck_assert_int_eq(found("note", "handlers", "wait for handler 'mail'"), 1);
    cdtx_test_env_advance(world, 700000);
    ck_assert_int_eq(found("problem", "handlers", "has been due for 70"), 1);
    free_shop();
}
END_TEST

static int32_t refuse(cdtx_work *work, void *user, cdtx_error *err) {
    (void)work, (void)user;
    return cdtx_error_set(err, CDTX_REFUSED, "no such address");
}

START_TEST(the_dead_are_a_problem_and_a_pause_is_noted) {
    make_shop();
    cdtx_db *db = NULL;
    cdtx_handler_options o = {.size = sizeof o, .handler = refuse};
    OK(cdtx_db_log(engine, &db, &E));
    ck_assert_int_eq(found("ok", "dead letters", "no job is dead"), 2);
    ck_assert_int_eq(found("ok", "pauses", "no handler is paused"), 2);
    OK(cdtx_handler_add(db, "mail", &o, &E));
    OK(cdtx_retry_put(db, "mail", "x", 1, NULL, NULL, &E));
    OK(cdtx_retry_put(db, "mail", "y", 1, NULL, NULL, &E));
    OK(cdtx_run(engine, 0, &E));
    ck_assert_int_eq(
        found("problem", "dead letters", "2 jobs of handler 'mail' are dead; the last one: no such address"), 1);
    has(advice("dead letters", "mail"), "cdtx job redrive --handler log/mail --reason");
    OK(cdtx_handler_pause(db, "mail", "ann", "no printer", &E));
    OK(cdtx_retry_put(db, "mail", "z", 1, NULL, NULL, &E));
    ck_assert_int_eq(found("note", "pauses", "handler 'mail' has been paused for 0 s; 1 jobs are ready"), 1);
    has(advice("pauses", "mail"), "cdtx handler resume log/mail --reason");
    cdtx_test_env_advance(world, 90000000);
    ck_assert_int_eq(found("problem", "pauses", "paused for 90000 s"), 1);
    ck_assert_int_eq(found("problem", "handlers", NULL), 0);
    /* What could end a word of a shell stands in no command. */
    OK(cdtx_handler_pause(db, "a'; rm b", "ann", "a slip", &E));
    has(advice("pauses", "rm b"), "cdtx handler resume log/NAME --reason");
    cdtx_db_close(db);
    free_shop();
}
END_TEST

START_TEST(schedules_that_do_not_fire_are_a_problem) {
    make_shop();
    cdtx_db *db = NULL;
    cdtx_cron_options o = {.size = sizeof o, .when = "0 * * * *", .handler = "mail"};
    cdtx_handler_options pulled = {.size = sizeof pulled};
    OK(cdtx_db_log(engine, &db, &E));
    ck_assert_int_eq(found(NULL, "schedules", NULL), 0);
    OK(cdtx_handler_add(db, "mail", &pulled, &E));
    OK(cdtx_cron_add(db, "night", &o, &E));
    ck_assert_int_eq(found("ok", "schedules", "1, each has its next run"), 1);
    cdtx_db_close(db);
    cdtx_close(engine);
    cdtx_test_env_advance(world, 2 * 3600000);
    open_shop((cdtx_options){.passive = 1});
    ck_assert_int_eq(found("problem", "schedules", "schedule 'night' should have fired"), 1);
    cdtx_close(engine);
    open_shop((cdtx_options){0});
    OK(cdtx_db_log(engine, &db, &E));
    OK(cdtx_cron_add(db, "night", &o, &E));
    OK(cdtx_run(engine, 0, &E));
    ck_assert_int_eq(found("problem", "schedules", NULL), 0);
    lab_sql("log.db", "DELETE FROM cdtx_job WHERE handler = 'cdtx.cron'");
    ck_assert_int_eq(found("problem", "schedules", "schedule 'night' will not fire"), 1);
    OK(cdtx_cron_add(db, "night", &o, &E));
    ck_assert_int_eq(found("problem", "schedules", NULL), 0);
    cdtx_db_close(db);
    free_shop();
}
END_TEST

START_TEST(messages_that_nobody_gets_are_a_problem) {
    make_shop();
    cdtx_db *db = NULL;
    cdtx_consumer_options o = {.size = sizeof o, .handler = refuse};
    OK(cdtx_db_log(engine, &db, &E));
    ck_assert_int_eq(found(NULL, "topics", NULL) + found(NULL, "halves", NULL) + found(NULL, "held messages", NULL), 0);
    OK(cdtx_topic_add(db, "orders", NULL, &E));
    ck_assert_int_eq(found("ok", "topics", NULL), 1);
    ck_assert_int_eq(found("ok", "halves", "0 are not resolved"), 1);
    ck_assert_int_eq(found("ok", "held messages", "none of this log"), 1);
    OK(cdtx_msg_send(db, "orders", "x", 1, NULL, NULL, &E));
    ck_assert_int_eq(found("note", "topics", "topic 'orders' has no group, and keeps 1 messages"), 1);
    cdtx_test_env_advance(world, 90000000);
    ck_assert_int_eq(found("problem", "topics", "for 90000 s"), 1);
    OK(cdtx_consumer_add(db, "orders", "mail", &o, &E));
    OK(cdtx_run(engine, 0, &E));
    ck_assert_int_eq(found("problem", "dead letters", "1 deliveries of group 'orders/mail' are dead"), 1);
    has(advice("dead letters", "orders/mail"), "--handler log/cdtx.msg/orders/mail");
    ck_assert_int_eq(found(NULL, "topics", "no group"), 0);
    cdtx_db_close(db);
    cdtx_close(engine);
    open_shop((cdtx_options){0});
    OK(cdtx_db_log(engine, &db, &E));
    OK(cdtx_msg_send(db, "orders", "y", 1, NULL, NULL, &E));
    ck_assert_int_eq(found("problem", "handlers", "1 deliveries wait for group 'orders/mail'"), 1);
    cdtx_db_close(db);
    free_shop();
}
END_TEST

static int32_t cannot_tell(const char *handle, const char *topic, const void *payload, size_t length, void *user) {
    (void)handle, (void)topic, (void)payload, (void)length, (void)user;
    return CDTX_HALF_OPEN;
}

START_TEST(halves_without_an_answer_are_a_problem) {
    make_shop();
    char handle[CDTX_GID_MAX];
    cdtx_db *db = NULL;
    cdtx_half_options o = {.size = sizeof o, .producer = "web"};
    cdtx_half_checker checker = {.size = sizeof checker, .check = cannot_tell, .checks_max = 1};
    OK(cdtx_db_log(engine, &db, &E));
    OK(cdtx_topic_add(db, "orders", NULL, &E));
    OK(cdtx_half_prepare(db, "orders", "x", 1, &o, handle, &E));
    ck_assert_int_eq(found("ok", "halves", "1 are not resolved, none for long"), 1);
    ck_assert_int_eq(found("problem", "handlers", "1 checks wait for the checker of producer 'web'"), 1);
    cdtx_test_env_advance(world, 700000);
    ck_assert_int_eq(found("problem", "halves", "was prepared 700 s ago"), 1);
    ck_assert_int_eq(found("note", "cases", NULL), 0);
    OK(cdtx_half_checker_add(db, "web", &checker, &E));
    OK(cdtx_run(engine, 0, &E));
    ck_assert_int_eq(found("problem", "halves", "1 half messages are parked"), 1);
    has(advice("halves", "parked"), "cdtx half commit HANDLE");
    ck_assert_int_eq(found("problem", "halves", "was prepared"), 0);
    ck_assert_int_eq(found("note", "cases", "1 are open"), 1);
    OK(cdtx_half_settle(db, handle, CDTX_HALF_ROLLED_BACK, "ann", "it crashed", &E));
    ck_assert_int_eq(found("ok", "halves", "0 are not resolved"), 1);
    ck_assert_int_eq(found("note", "cases", NULL), 0);
    cdtx_db_close(db);
    free_shop();
}
END_TEST

static int32_t announce(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)call, (void)user;
    return cdtx_msg_put(sql, "orders", "sold", 4, NULL, NULL, err);
}

START_TEST(messages_held_for_an_ended_gid_are_a_problem) {
    make_shop();
    cdtx_db *db = NULL;
    cdtx_tcc_handlers three = {.size = sizeof three, .on_try = announce, .on_confirm = on_confirm, .on_cancel = fine};
    OK(cdtx_db_open(engine, "shop", lab_url("shop.db"), &db, &E));
    OK(cdtx_topic_add(db, "orders", NULL, &E));
    OK(cdtx_tcc_add(db, "sell", &three, &E));
    jammed = 1;
    cdtx_tx_options options = {.size = sizeof options, .wait_for = CDTX_WAIT_DECIDED};
    cdtx_tx *tx = NULL;
    OK(cdtx_tx_new(engine, &options, &tx, &E));
    OK(cdtx_tx_add(tx, "sell", "x", 1, &E));
    OK(cdtx_tx_run(tx, &E));
    ck_assert_int_eq(lab_sql("shop.db", "SELECT count(*) FROM cdtx_msg WHERE visible IS NULL"), 1);
    ck_assert_int_eq(found("ok", "held messages", "every gid is open"), 1);
    lab_sql("log.db", "UPDATE cdtx_tx SET state = 4, due = NULL, ended = 0, epoch = epoch + 1");
    ck_assert_int_eq(found("problem", "held messages", "1 messages are held by branches of"), 1);
    has(advice("held messages", "1 messages"), cdtx_tx_gid(tx));
    lab_sql("shop.db", "UPDATE cdtx_msg SET seq = 1000");
    ck_assert_int_eq(found("problem", "held messages", "-1000, and the log does not have it open"), 1);
    lab_sql("shop.db", "UPDATE cdtx_msg SET log = zeroblob(16)");
    ck_assert_int_eq(found("problem", "held messages", NULL), 0);
    ck_assert_int_eq(found("note", "held messages", "branches of another log"), 1);
    cdtx_tx_close(tx);
    cdtx_db_close(db);
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
    tcase_add_test(tcase, nobody_anywhere_has_a_handler_if_its_jobs_are_late);
    tcase_add_test(tcase, the_dead_are_a_problem_and_a_pause_is_noted);
    tcase_add_test(tcase, schedules_that_do_not_fire_are_a_problem);
    tcase_add_test(tcase, messages_that_nobody_gets_are_a_problem);
    tcase_add_test(tcase, halves_without_an_answer_are_a_problem);
    tcase_add_test(tcase, messages_held_for_an_ended_gid_are_a_problem);
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
