/* One file and several engines: reading what somebody else owns, looking without taking up, taking turns, and taking
 * over from the dead. Real time and real processes. */
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/wait.h>

#include <cdtx/admin.h>

#include "base/env.h"
#include "lab.h"

static int jammed;

static int32_t fine(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)sql, (void)call, (void)user, (void)err;
    return 0;
}

static int32_t on_confirm(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)call, (void)user;
    if (jammed)
        return cdtx_error_set(err, CDTX_USER, "the printer is jammed");
    return cdtx_sql_exec(sql, "INSERT INTO sold VALUES (1)", NULL, err);
}

static const char *url_with(const char *file, const char *parameter) {
    static char urls[4][700];
    static unsigned turn;
    char *url = urls[turn++ % 4];
    snprintf(url, sizeof urls[0], "%s?%s", lab_url(file), parameter);
    return url;
}

static cdtx_db *add_stock(cdtx *engine, const char *parameter) {
    cdtx_db *db = NULL;
    cdtx_tcc_handlers three = {.size = sizeof three, .on_try = fine, .on_confirm = on_confirm, .on_cancel = fine};
    OK(cdtx_db_open(engine, "stock", url_with("stock.db", parameter), &db, &E));
    lab_exec(db, "CREATE TABLE IF NOT EXISTS sold (n INTEGER)");
    OK(cdtx_tcc_add(db, "stock", &three, &E));
    return db;
}

static void run_tx(cdtx *engine, char gid[64]) {
    cdtx_tx_options options = {.size = sizeof options, .wait_for = CDTX_WAIT_DECIDED};
    cdtx_tx *tx = NULL;
    OK(cdtx_tx_new(engine, &options, &tx, &E));
    OK(cdtx_tx_add(tx, "stock", "x", 1, &E));
    OK(cdtx_tx_run(tx, &E));
    snprintf(gid, 64, "%s", cdtx_tx_gid(tx));
    cdtx_tx_close(tx);
}

static uint32_t rows_of(cdtx_report *report) {
    uint32_t rows = 0;
    while (cdtx_report_next(report))
        rows++;
    cdtx_report_close(report);
    return rows;
}

/* ---- reading only ---- */

static int32_t write_a_row(cdtx_sql *sql, void *user, cdtx_error *err) {
    (void)user;
    return cdtx_sql_exec(sql, "INSERT INTO sold VALUES (2)", NULL, err);
}

static int32_t count_rows(cdtx_sql *sql, void *user, cdtx_error *err) {
    int32_t rc = cdtx_sql_query(sql, "SELECT count(*) FROM sold", err);
    if (rc == 0 && cdtx_sql_next(sql))
        *(int64_t *)user = cdtx_sql_int(sql, 0);
    return rc;
}

START_TEST(a_log_that_is_owned_can_be_read) {
    char gid[64];
    jammed = 1;
    cdtx *owner = lab_engine((cdtx_options){0});
    cdtx_db *stock = add_stock(owner, "share=0");
    run_tx(owner, gid);
    FAILS(CDTX_BUSY, "read=1",
          cdtx_open(&(cdtx_options){.size = sizeof(cdtx_options), .log = lab_url("log.db")}, &(cdtx *){NULL}, &E));

    cdtx *reader = lab_engine((cdtx_options){.log = url_with("log.db", "read=1")});
    cdtx_report *report = NULL;
    OK(cdtx_tx_list(reader, NULL, &report, &E));
    ck_assert_int_eq(cdtx_report_next(report), 1);
    ck_assert_str_eq(cdtx_report_text(report, 0, NULL), gid);
    cdtx_report_close(report);
    OK(cdtx_run(reader, 50, &E));
    int64_t epoch = lab_sql("log.db", "SELECT epoch FROM cdtx_meta");
    OK(cdtx_run(reader, 50, &E));
    ck_assert_int_eq(lab_sql("log.db", "SELECT epoch FROM cdtx_meta"), epoch);

    /* What the owner does goes on, and shows. */
    OK(cdtx_tx_park(owner, gid, "ann", "waiting", &E));
    cdtx_db *log = NULL;
    OK(cdtx_db_log(reader, &log, &E));
    OK(cdtx_case_list(log, NULL, &report, &E));
    ck_assert_uint_eq(rows_of(report), 1);
    cdtx_db_close(log);
    cdtx_close(reader);
    cdtx_db_close(stock);
    cdtx_close(owner);
}
END_TEST

START_TEST(a_reader_is_refused_what_writes) {
    char gid[64];
    jammed = 1;
    cdtx *owner = lab_engine((cdtx_options){0});
    cdtx_db *stock = add_stock(owner, "share=0"), *db = NULL, *log = NULL;
    run_tx(owner, gid);
    cdtx *reader = lab_engine((cdtx_options){.log = url_with("log.db", "read=1")});
    cdtx_tx *tx = NULL;
    FAILS(CDTX_MISUSE, "passive", cdtx_tx_new(reader, NULL, &tx, &E));
    FAILS(CDTX_MISUSE, "reading only", cdtx_tx_park(reader, gid, "ann", "why", &E));
    OK(cdtx_db_log(reader, &log, &E));
    FAILS(CDTX_MISUSE, "reading only", cdtx_case_note(log, 1, "ann", "why", &E));
    FAILS(CDTX_MISUSE, "reading only", cdtx_job_retry(log, 1, "ann", "why", &E));
    OK(cdtx_db_open(reader, "stock", url_with("stock.db", "read=1"), &db, &E));
    FAILS(CDTX_MISUSE, "reading only", cdtx_local(db, write_a_row, NULL, &E));
    cdtx_tcc_handlers three = {.size = sizeof three, .on_try = fine, .on_confirm = on_confirm, .on_cancel = fine};
    FAILS(CDTX_MISUSE, "reading only", cdtx_tcc_add(db, "stock", &three, &E));
    cdtx_handler_options pulled = {.size = sizeof pulled};
    FAILS(CDTX_MISUSE, "reading only", cdtx_handler_add(db, "mail", &pulled, &E));
    int64_t rows = -1;
    OK(cdtx_local(db, count_rows, &rows, &E));
    ck_assert_int_eq(rows, 0);
    cdtx_sql *sql = NULL;
    OK(cdtx_sql_begin(db, &sql, &E));
    FAILS(CDTX_MISUSE, "reading only", cdtx_job_put(sql, "mail", "x", 1, NULL, NULL, &E));
    FAILS(CDTX_MISUSE, "reading only", cdtx_sql_exec(sql, "DELETE FROM sold", NULL, &E));
    OK(cdtx_sql_query(sql, "SELECT count(*) FROM sold", &E));
    OK(cdtx_sql_rollback(sql, &E));
    cdtx_sql_close(sql);
    cdtx_db_close(db);
    cdtx_db_close(log);
    cdtx_close(reader);
    cdtx_db_close(stock);
    cdtx_close(owner);
}
END_TEST

START_TEST(a_reader_needs_tables_of_this_version) {
    cdtx *reader = NULL;
    cdtx_options options = {.size = sizeof options, .log = url_with("log.db", "read=1")};
    FAILS(CDTX_IO, "log.db", cdtx_open(&options, &reader, &E));
    ck_assert_int_ne(access(lab_path("log.db"), F_OK), 0); /* and it made none */
    lab_sql("log.db", "CREATE TABLE t (a)");
    FAILS(CDTX_UNSUPPORTED, "none of our tables", cdtx_open(&options, &reader, &E));
    lab_sql("log.db", "DROP TABLE t");
    cdtx_close(lab_engine((cdtx_options){0}));
    lab_sql("log.db", "UPDATE cdtx_meta SET version = version - 1");
    FAILS(CDTX_UNSUPPORTED, "its owner brings it up", cdtx_open(&options, &reader, &E));
    lab_sql("log.db", "UPDATE cdtx_meta SET version = version + 1");
    OK(cdtx_open(&options, &reader, &E));
    cdtx_close(reader);
}
END_TEST

/* ---- passive ---- */

START_TEST(a_passive_engine_looks_and_steps_in_and_takes_up_nothing) {
    char gid[64];
    int32_t state = 0;
    cdtx_report *report = NULL;
    jammed = 1;
    cdtx *first = lab_engine((cdtx_options){0});
    cdtx_db *db = add_stock(first, "share=0");
    run_tx(first, gid);
    cdtx_db_close(db);
    cdtx_close(first);
    int64_t due = lab_sql("log.db", "SELECT due FROM cdtx_tx"), epoch = lab_sql("log.db", "SELECT epoch FROM cdtx_tx");

    jammed = 0;
    cdtx *passive = lab_engine((cdtx_options){.passive = 1});
    db = add_stock(passive, "share=0");
    OK(cdtx_run(passive, 1500, &E));
    ck_assert_int_eq(lab_sql("log.db", "SELECT epoch FROM cdtx_tx"), epoch);
    ck_assert_int_eq(lab_sql("log.db", "SELECT due FROM cdtx_tx"), due);
    cdtx_tx *tx = NULL;
    FAILS(CDTX_MISUSE, "passive", cdtx_tx_new(passive, NULL, &tx, &E));
    OK(cdtx_tx_park(passive, gid, "ann", "waiting", &E));
    OK(cdtx_tx_unpark(passive, gid, "ann", "go on", &E));
    OK(cdtx_run(passive, 100, &E));
    OK(cdtx_tx_query(passive, gid, &state, &E));
    ck_assert_int_eq(state, CDTX_TX_COMMITTING);
    OK(cdtx_tx_list(passive, NULL, &report, &E));
    ck_assert_uint_eq(rows_of(report), 1);
    cdtx_db_close(db);
    cdtx_close(passive);

    cdtx *second = lab_engine((cdtx_options){0});
    db = add_stock(second, "share=0");
    OK(cdtx_drain(second, 30000, &E));
    OK(cdtx_tx_query(second, gid, &state, &E));
    ck_assert_int_eq(state, CDTX_TX_COMMITTED);
    cdtx_db_close(db);
    cdtx_close(second);
}
END_TEST

static int job_runs;

static int32_t on_job(cdtx_work *work, void *user, cdtx_error *err) {
    (void)work, (void)user, (void)err;
    job_runs++;
    return 0;
}

START_TEST(a_passive_engine_claims_no_jobs) {
    cdtx *passive = lab_engine((cdtx_options){.passive = 1});
    cdtx_db *db = NULL;
    cdtx_sql *sql = NULL;
    cdtx_handler_options o = {.size = sizeof o, .handler = on_job};
    job_runs = 0;
    OK(cdtx_db_log(passive, &db, &E));
    OK(cdtx_handler_add(db, "mail", &o, &E));
    OK(cdtx_sql_begin(db, &sql, &E));
    OK(cdtx_job_put(sql, "mail", "x", 1, NULL, NULL, &E));
    OK(cdtx_sql_commit(sql, &E));
    cdtx_sql_close(sql);
    OK(cdtx_run(passive, 100, &E));
    ck_assert_int_eq(job_runs, 0);
    ck_assert_int_eq(lab_sql("log.db", "SELECT attempts FROM cdtx_job"), 0);
    cdtx_db_close(db);
    cdtx_close(passive);
}
END_TEST

/* ---- the warning about a shared file ---- */

static char warned[1024];

static void keep_warning(void *user, int32_t level, const char *line) {
    (void)user;
    if (level == CDTX_LOG_WARNING)
        snprintf(warned, sizeof warned, "%s", line);
}

START_TEST(sharing_on_an_old_sqlite_is_warned_of) {
    cdtx_env env = *cdtx__env_posix();
    env.log = keep_warning;
    warned[0] = '\0';
    cdtx_close(lab_engine((cdtx_options){.env = &env}));
    cdtx_close(lab_engine((cdtx_options){.env = &env, .log = url_with("log.db", "share=1"), .passive = 1}));
    ck_assert_str_eq(warned, "");
    cdtx_close(lab_engine((cdtx_options){.env = &env, .log = url_with("log.db", "share=1")}));
    if (sqlite3_libversion_number() < 3051003)
        ck_assert_ptr_nonnull(strstr(warned, "3.51.3"));
    else
        ck_assert_str_eq(warned, "");
}
END_TEST

/* ---- children ---- */

static pid_t test_process;

static void note_process(void) {
    test_process = getpid();
}

/* A check that fails in a child ends its test there; it must not go on with the next one. */
static void leave_child(void) {
    if (getpid() != test_process)
        _exit(1);
}

/* ---- taking turns ---- */

enum { TURNS = 4, LOOK_EVERY = 50 };

static int32_t add_row(cdtx_sql *sql, void *user, cdtx_error *err) {
    cdtx_sql_bind_text(sql, user, strlen(user));
    return cdtx_sql_exec(sql, "INSERT INTO turns (who) VALUES (?)", NULL, err);
}

/* Writes without a pause until the turn has gone to and fro: while one writes, the other gets turns in between. A
 * process that is shut out keeps both here, until the test's own time is over. */
static void write_until_both_had_turns(const char *me) {
    static const char changes[] = "SELECT count(*) FROM turns AS a, turns AS b WHERE a.n = b.n + 1 AND a.who <> b.who";
    cdtx *engine = lab_engine((cdtx_options){.log = url_with("log.db", "share=1")});
    cdtx_db *db = NULL;
    OK(cdtx_db_log(engine, &db, &E));
    lab_exec(db, "CREATE TABLE IF NOT EXISTS turns (n INTEGER PRIMARY KEY, who TEXT)");
    do
        for (int i = 0; i < LOOK_EVERY; i++)
            OK(cdtx_local(db, add_row, (void *)(uintptr_t)me, &E));
    while (lab_sql("log.db", changes) < TURNS);
    cdtx_db_close(db);
    cdtx_close(engine);
}

START_TEST(two_processes_both_get_their_turns) {
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        write_until_both_had_turns("child");
        _exit(0);
    }
    write_until_both_had_turns("parent");
    int status = -1;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
}
END_TEST

/* ---- two engines on one log ---- */

static void die_with_one_decided(int to_parent) {
    char gid[64];
    jammed = 1;
    cdtx *engine = lab_engine((cdtx_options){.log = url_with("log.db", "share=1"), .call_timeout_ms = 200});
    add_stock(engine, "share=1");
    run_tx(engine, gid);
    ck_assert_int_eq(write(to_parent, gid, sizeof gid), sizeof gid);
    for (;;)
        OK(cdtx_run(engine, 1000, &E));
}

START_TEST(the_living_take_over_from_the_dead) {
    int ends[2];
    char gid[64];
    ck_assert_int_eq(pipe(ends), 0);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0)
        die_with_one_decided(ends[1]);
    ck_assert_int_eq(read(ends[0], gid, sizeof gid), sizeof gid);
    jammed = 0;
    cdtx *engine = lab_engine((cdtx_options){.log = url_with("log.db", "share=1"), .call_timeout_ms = 200});
    cdtx_db *stock = add_stock(engine, "share=1");
    ck_assert_int_eq(kill(child, SIGKILL), 0);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
    OK(cdtx_drain(engine, 60000, &E));
    int32_t state = 0;
    OK(cdtx_tx_query(engine, gid, &state, &E));
    ck_assert_int_eq(state, CDTX_TX_COMMITTED);
    ck_assert_int_eq(lab_sql("stock.db", "SELECT count(*) FROM sold"), 1);
    cdtx_db_close(stock);
    cdtx_close(engine);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

/* What one leaves undone, the other takes when its lease is over: here confirms fail, and nobody looks again. */
START_TEST(two_living_engines_share_the_work) {
    char gid[64];
    int stop[2];
    ck_assert_int_eq(pipe(stop), 0);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) { /* serves what it finds until the parent says so */
        jammed = 0;
        close(stop[1]);
        cdtx *engine =
            lab_engine((cdtx_options){.log = url_with("log.db", "share=1"), .threads = 1, .call_timeout_ms = 200});
        add_stock(engine, "share=1");
        char byte;
        (void)!read(stop[0], &byte, 1);
        cdtx_close(engine);
        _exit(0);
    }
    jammed = 1;
    cdtx *engine = lab_engine((cdtx_options){.log = url_with("log.db", "share=1"), .call_timeout_ms = 200});
    cdtx_db *stock = add_stock(engine, "share=1");
    run_tx(engine, gid);
    while (lab_sql("log.db", "SELECT state FROM cdtx_tx") != CDTX_TX_COMMITTED)
        usleep(10000);
    ck_assert_int_eq(lab_sql("stock.db", "SELECT count(*) FROM sold"), 1);
    close(stop[0]);
    close(stop[1]);
    int status = -1;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    cdtx_db_close(stock);
    cdtx_close(engine);
}
END_TEST

/* Another sharer in the middle of its opening: it tries whether it is alone, which keeps everybody out for a moment. */
static void *try_to_be_alone(void *user) {
    sqlite3_file *file = user;
    ck_assert_int_eq(file->pMethods->xLock(file, SQLITE_LOCK_SHARED), SQLITE_OK);
    ck_assert_int_eq(file->pMethods->xLock(file, SQLITE_LOCK_RESERVED), SQLITE_OK);
    ck_assert_int_eq(file->pMethods->xLock(file, SQLITE_LOCK_EXCLUSIVE), SQLITE_OK);
    __atomic_store_n(&jammed, 1, __ATOMIC_RELEASE);
    usleep(20000);
    ck_assert_int_eq(file->pMethods->xUnlock(file, SQLITE_LOCK_SHARED), SQLITE_OK);
    return NULL;
}

START_TEST(sharers_open_at_the_same_time) {
    cdtx_close(lab_engine((cdtx_options){.log = url_with("log.db", "share=1")}));
    char path[700];
    sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
    snprintf(path, sizeof path, "%s-owner", lab_url("log.db") + strlen("sqlite:"));
    const char *name = sqlite3_create_filename(path, "", "", 0, NULL);
    sqlite3_file *file = calloc(1, (size_t)vfs->szOsFile);
    int flags = SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    ck_assert_int_eq(vfs->xOpen(vfs, name, file, flags, NULL), SQLITE_OK);
    pthread_t other;
    jammed = 0;
    ck_assert_int_eq(pthread_create(&other, NULL, try_to_be_alone, file), 0);
    while (!__atomic_load_n(&jammed, __ATOMIC_ACQUIRE))
        usleep(100);
    cdtx_close(lab_engine((cdtx_options){.log = url_with("log.db", "share=1")}));
    ck_assert_int_eq(pthread_join(other, NULL), 0);
    file->pMethods->xClose(file);
    sqlite3_free_filename(name);
    free(file);
}
END_TEST

static void tests(TCase *tcase) {
    tcase_add_checked_fixture(tcase, note_process, leave_child);
    tcase_add_test(tcase, a_log_that_is_owned_can_be_read);
    tcase_add_test(tcase, a_reader_is_refused_what_writes);
    tcase_add_test(tcase, a_reader_needs_tables_of_this_version);
    tcase_add_test(tcase, a_passive_engine_looks_and_steps_in_and_takes_up_nothing);
    tcase_add_test(tcase, a_passive_engine_claims_no_jobs);
    tcase_add_test(tcase, sharing_on_an_old_sqlite_is_warned_of);
    tcase_add_test(tcase, sharers_open_at_the_same_time);
    tcase_add_test(tcase, two_processes_both_get_their_turns);
    tcase_add_test(tcase, the_living_take_over_from_the_dead);
    tcase_add_test(tcase, two_living_engines_share_the_work);
}

int main(void) {
    return lab_main("engine-share", tests);
}
