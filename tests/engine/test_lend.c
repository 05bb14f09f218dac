/* Databases of the host: preparing them, lending transactions and turns, and everything that a host can get wrong.
 * Virtual time but for what needs threads. */
#include <cdtx/admin.h>
#include <cdtx/retry.h>
#include <pthread.h>

#include "../adapter/plain_host.h"
#include "lab.h"

static cdtx_test_env *world;
static cdtx *engine;
static cdtx_db *db;
static struct plain_host host;
static sqlite3 *conn;
static int ran, fail_first;
static char seen[8][32];

static void host_sql(sqlite3 *connection, const char *statements) {
    char *text = NULL;
    int rc = sqlite3_exec(connection, statements, NULL, NULL, &text);
    ck_assert_msg(rc == SQLITE_OK, "%s: %s", statements, text);
}

static void name_shop(const cdtx_env *env, cdtx_options options) {
    options.env = env;
    engine = lab_engine(options);
    plain_host_init(&host);
    OK(cdtx_db_host(engine, "shop", &host.port, &db, &E));
    conn = plain_host_open(lab_path("shop.db"));
}

static void make_world(void) {
    ran = fail_first = 0;
    OK(cdtx_test_env_new(&world, &E));
}

static void make_shop(void) {
    make_world();
    name_shop(cdtx_test_env_port(world), (cdtx_options){0});
    OK(cdtx_host_prepare(db, conn, &E));
    host_sql(conn, "CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT)");
}

static void close_shop(void) {
    cdtx_db_close(db);
    cdtx_close(engine);
    ck_assert_int_eq(host.dropped, 1);
    ck_assert_int_eq(sqlite3_close(conn), SQLITE_OK);
}

static void free_shop(void) {
    close_shop();
    ck_assert_uint_eq(cdtx_test_env_bytes(world), 0);
    cdtx_test_env_free(world);
}

static cdtx_sql *lend(void) {
    cdtx_sql *sql = NULL;
    OK(cdtx_lend(db, conn, &sql, &E));
    return sql;
}

static void put(cdtx_sql *sql, const char *payload) {
    OK(cdtx_job_put(sql, "mail", payload, strlen(payload), NULL, NULL, &E));
}

/* An order and its mail in one transaction of the host's. */
static void order(const char *payload) {
    host_sql(conn, "BEGIN IMMEDIATE; INSERT INTO orders (note) VALUES ('x')");
    cdtx_sql *sql = lend();
    put(sql, payload);
    host_sql(conn, "COMMIT");
    OK(cdtx_lent_settle(sql, 0, &E));
}

static int32_t mail(cdtx_work *work, void *user, cdtx_error *err) {
    (void)user;
    size_t length = 0;
    const char *payload = cdtx_work_payload(work, &length);
    ck_assert_int_lt(ran, 8);
    snprintf(seen[ran++], sizeof seen[0], "%.*s", (int)length, payload);
    cdtx_sql *sql = cdtx_work_sql(work);
    if (sql != NULL) {
        int32_t rc = cdtx_sql_exec(sql, "INSERT INTO orders (note) VALUES ('mailed')", NULL, err);
        if (rc != 0)
            return rc;
    }
    return ran <= fail_first ? cdtx_error_set(err, CDTX_USER, "no stamps") : 0;
}

static void handle_mail(int in_local) {
    cdtx_handler_options options = {.size = sizeof options, .handler = mail, .in_local = in_local};
    OK(cdtx_handler_add(db, "mail", &options, &E));
}

static void turn(int64_t for_ms) {
    OK(cdtx_host_run(db, conn, for_ms, &E));
}

static int64_t jobs(void) {
    return lab_sql("shop.db", "SELECT count(*) FROM cdtx_job");
}

static uint64_t alarms(void) {
    return lab_metrics(engine).alarms;
}

/* ---- naming ---- */

START_TEST(naming_checks_its_port) {
    cdtx_db *other = NULL;
    make_world();
    name_shop(cdtx_test_env_port(world), (cdtx_options){0});
    cdtx_host_port bad = host.port;
    FAILS(CDTX_INVALID, "NULL", cdtx_db_host(engine, "x", NULL, &other, &E));
    FAILS(CDTX_INVALID, "NULL", cdtx_db_host(engine, "x", &bad, NULL, &E));
    FAILS(CDTX_INVALID, "name", cdtx_db_host(engine, "", &bad, &other, &E));
    FAILS(CDTX_CONFLICT, "shop", cdtx_db_host(engine, "shop", &bad, &other, &E));
    FAILS(CDTX_CONFLICT, "log", cdtx_db_host(engine, "log", &bad, &other, &E));
    FAILS(CDTX_MISUSE, "NULL", cdtx_db_host(NULL, "x", &bad, &other, &E));
    bad.size = 8;
    FAILS(CDTX_INVALID, "size", cdtx_db_host(engine, "x", &bad, &other, &E));
    bad = host.port;
    bad.exec = NULL;
    FAILS(CDTX_INVALID, "no exec", cdtx_db_host(engine, "x", &bad, &other, &E));
    bad = host.port;
    bad.in_transaction = NULL;
    FAILS(CDTX_INVALID, "in_transaction", cdtx_db_host(engine, "x", &bad, &other, &E));
    bad = host.port;
    bad.dialect = 0;
    FAILS(CDTX_INVALID, "dialect 0", cdtx_db_host(engine, "x", &bad, &other, &E));
    bad.dialect = CDTX_DIALECT_POSTGRES;
    FAILS(CDTX_UNSUPPORTED, "PostgreSQL", cdtx_db_host(engine, "x", &bad, &other, &E));
    bad.dialect = CDTX_DIALECT_MARIADB;
    FAILS(CDTX_UNSUPPORTED, "MariaDB", cdtx_db_host(engine, "x", &bad, &other, &E));
    bad = host.port;
    bad.parameters = 5;
    FAILS(CDTX_INVALID, "parameters 5", cdtx_db_host(engine, "x", &bad, &other, &E));
    ck_assert_ptr_null(other);
    ck_assert_int_eq(host.dropped, 0);
    ck_assert_uint_eq(host.calls, 0);
    free_shop();
}
END_TEST

/* ---- preparing ---- */

START_TEST(nothing_goes_before_it_is_prepared) {
    cdtx_sql *sql = NULL;
    make_world();
    name_shop(cdtx_test_env_port(world), (cdtx_options){.wait_ms = 50});
    handle_mail(1);
    host_sql(conn, "BEGIN");
    FAILS(CDTX_MISUSE, "cdtx_host_prepare", cdtx_lend(db, conn, &sql, &E));
    FAILS(CDTX_MISUSE, "a transaction is open", cdtx_host_prepare(db, conn, &E));
    host_sql(conn, "COMMIT");
    FAILS(CDTX_MISUSE, "cdtx_host_prepare", cdtx_host_run(db, conn, 0, &E));
    FAILS(CDTX_MISUSE, "NULL", cdtx_host_prepare(NULL, conn, &E));
    FAILS(CDTX_INVALID, "NULL", cdtx_host_prepare(db, NULL, &E));
    ck_assert_uint_eq(host.calls, 0);
    OK(cdtx_host_prepare(db, conn, &E));
    OK(cdtx_host_prepare(db, conn, &E)); /* again does no harm */
    ck_assert_int_eq(lab_sql("shop.db", "SELECT owner LIKE 'host process %' FROM cdtx_meta"), 1);
    ck_assert_int_eq(sqlite3_get_autocommit(conn), 1);
    free_shop();
}
END_TEST

START_TEST(unsafe_settings_are_refused_everywhere) {
    cdtx_sql *sql = NULL;
    make_world();
    name_shop(cdtx_test_env_port(world), (cdtx_options){0});
    host_sql(conn, "PRAGMA synchronous = NORMAL");
    FAILS(CDTX_UNSUPPORTED, "PRAGMA synchronous = FULL", cdtx_host_prepare(db, conn, &E));
    host_sql(conn, "PRAGMA synchronous = FULL");
    OK(cdtx_host_prepare(db, conn, &E));
    host_sql(conn, "PRAGMA synchronous = OFF");
    FAILS(CDTX_UNSUPPORTED, "PRAGMA synchronous = FULL", cdtx_host_run(db, conn, 0, &E));
    host_sql(conn, "BEGIN");
    FAILS(CDTX_UNSUPPORTED, "PRAGMA synchronous = FULL", cdtx_lend(db, conn, &sql, &E));
    host_sql(conn, "ROLLBACK");
    free_shop();
}
END_TEST

/* Trap 16: our writer beside the host's open transaction would wait for it for ever. */
START_TEST(the_engines_own_files_are_refused) {
    cdtx_db *owned = NULL, *second = NULL;
    make_shop();
    OK(cdtx_db_open(engine, "stock", lab_url("stock.db"), &owned, &E));
    const char *files[] = {"log.db", "stock.db", "shop.db"};
    for (int i = 0; i < 3; i++) {
        struct plain_host mine;
        char name[16];
        snprintf(name, sizeof name, "h%d", i);
        int64_t epoch = lab_sql(files[i], "SELECT epoch FROM cdtx_meta");
        sqlite3 *at = plain_host_open(lab_path(files[i]));
        plain_host_init(&mine);
        mine.port.drop = NULL;
        OK(cdtx_db_host(engine, name, &mine.port, &second, &E));
        FAILS(CDTX_CONFLICT,
              files[i][0] == 'l'   ? "'log'"
              : files[i][1] == 't' ? "'stock'"
                                   : "'shop'",
              cdtx_host_prepare(second, at, &E));
        ck_assert_int_eq(lab_sql(files[i], "SELECT epoch FROM cdtx_meta"), epoch);
        FAILS(CDTX_MISUSE, "cdtx_host_prepare", cdtx_host_run(second, at, 0, &E));
        cdtx_db_close(second);
        sqlite3_close(at);
    }
    FAILS(CDTX_CONFLICT, "'shop'", cdtx_db_open(engine, "again", lab_url("shop.db"), &second, &E));
    FAILS(CDTX_MISUSE, "engine itself has database 'stock' open", cdtx_host_prepare(owned, conn, &E));
    FAILS(CDTX_MISUSE, "engine itself has database 'stock' open", cdtx_host_run(owned, conn, 0, &E));
    lab_exec(owned, "CREATE TABLE alive (k)");
    cdtx_db_close(owned);
    free_shop();
}
END_TEST

START_TEST(another_file_is_not_taken_for_it) {
    cdtx_sql *sql = NULL;
    make_shop();
    sqlite3 *other = plain_host_open(lab_path("other.db"));
    FAILS(CDTX_SQL, "cdtx_meta", cdtx_host_run(db, other, 0, &E));
    FAILS(CDTX_CONFLICT, "prepared as 'shop' before", cdtx_host_prepare(db, other, &E));
    FAILS(CDTX_CONFLICT, "not to the database that was prepared as 'shop'", cdtx_host_run(db, other, 0, &E));
    host_sql(other, "BEGIN");
    FAILS(CDTX_CONFLICT, "not to the database", cdtx_lend(db, other, &sql, &E));
    host_sql(other, "COMMIT");
    sqlite3_close(other);
    turn(0);
    free_shop();
}
END_TEST

/* An owner elsewhere stops itself, and one that comes later stops us. */
START_TEST(there_is_one_kind_of_owner_at_a_time) {
    cdtx *elsewhere = NULL;
    cdtx_db *theirs = NULL;
    cdtx_sql *sql = NULL;
    make_world();
    cdtx_options options = {.size = sizeof options, .env = cdtx_test_env_port(world)};
    OK(cdtx_open(&options, &elsewhere, &E));
    OK(cdtx_db_open(elsewhere, "shop", lab_url("shop.db"), &theirs, &E));
    lab_exec(theirs, "CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT)");
    name_shop(cdtx_test_env_port(world), (cdtx_options){0});
    OK(cdtx_host_prepare(db, conn, &E));
    FAILS(CDTX_STOPPED, "took its ownership over", cdtx_local(theirs, lab_statement, "DELETE FROM orders", &E));
    cdtx_db_close(theirs);
    cdtx_close(elsewhere);
    order("a");
    turn(0);

    OK(cdtx_open(&options, &elsewhere, &E));
    OK(cdtx_db_open(elsewhere, "shop", lab_url("shop.db"), &theirs, &E));
    host_sql(conn, "BEGIN");
    FAILS(CDTX_STOPPED, "as its owner", cdtx_lend(db, conn, &sql, &E));
    host_sql(conn, "COMMIT");
    FAILS(CDTX_STOPPED, "as its owner", cdtx_host_run(db, conn, 0, &E));
    cdtx_db_close(theirs);
    cdtx_close(elsewhere);
    OK(cdtx_host_prepare(db, conn, &E));
    order("b");
    ck_assert_int_eq(jobs(), 2);
    free_shop();
}
END_TEST

/* Two hosts on one file are normal: each prepares it, and neither stops. */
START_TEST(hosts_share_a_file) {
    cdtx *elsewhere = NULL;
    cdtx_db *theirs = NULL;
    struct plain_host other;
    make_shop();
    cdtx_options options = {.size = sizeof options, .env = cdtx_test_env_port(world)};
    OK(cdtx_open(&options, &elsewhere, &E));
    plain_host_init(&other);
    OK(cdtx_db_host(elsewhere, "store", &other.port, &theirs, &E));
    sqlite3 *at = plain_host_open(lab_path("shop.db"));
    OK(cdtx_host_prepare(theirs, at, &E));
    handle_mail(1);
    order("a");
    turn(0);
    OK(cdtx_host_run(theirs, at, 0, &E));
    ck_assert_int_eq(ran, 1);
    ck_assert_uint_eq(alarms(), 0);
    cdtx_db_close(theirs);
    cdtx_close(elsewhere);
    sqlite3_close(at);
    free_shop();
}
END_TEST

/* ---- lending ---- */

START_TEST(a_job_is_there_exactly_when_the_host_commits) {
    make_shop();
    handle_mail(0);
    host_sql(conn, "BEGIN IMMEDIATE; INSERT INTO orders (note) VALUES ('no')");
    cdtx_sql *sql = lend();
    put(sql, "no");
    host_sql(conn, "ROLLBACK");
    OK(cdtx_lent_settle(sql, CDTX_REFUSED, &E));
    order("yes");
    turn(0);
    ck_assert_int_eq(ran, 1);
    ck_assert_str_eq(seen[0], "yes");
    ck_assert_int_eq(jobs(), 0);
    ck_assert_int_eq(lab_sql("shop.db", "SELECT count(*) FROM orders"), 1);
    ck_assert_uint_eq(alarms(), 0);
    free_shop();
}
END_TEST

START_TEST(a_lent_transaction_is_a_local_transaction) {
    int64_t changes = 0;
    make_shop();
    host_sql(conn, "BEGIN");
    cdtx_sql *sql = lend();
    cdtx_sql_bind_int(sql, 7);
    cdtx_sql_bind_text(sql, "seven", 5);
    OK(cdtx_sql_exec(sql, "INSERT INTO orders VALUES (?, ?)", &changes, &E));
    ck_assert_int_eq(changes, 1);
    cdtx_sql_bind_int(sql, 7);
    OK(cdtx_sql_query(sql, "SELECT note, id FROM orders WHERE id = ?1 AND id = ?1", &E));
    ck_assert_int_eq(cdtx_sql_next(sql), 1);
    ck_assert_str_eq(cdtx_sql_text(sql, 0, NULL), "seven");
    ck_assert_int_eq(cdtx_sql_int(sql, 1), 7);
    ck_assert_int_eq(cdtx_sql_next(sql), 0);
    FAILS(CDTX_MISUSE, "COMMIT", cdtx_sql_exec(sql, "COMMIT", NULL, &E));
    FAILS(CDTX_MISUSE, "cdtx_job", cdtx_sql_exec(sql, "DELETE FROM cdtx_job", NULL, &E));
    FAILS(CDTX_SQL, "UNIQUE", cdtx_sql_exec(sql, "INSERT INTO orders VALUES (7, '')", NULL, &E));
    FAILS(CDTX_MISUSE, "cdtx_sql_commit is only", cdtx_sql_commit(sql, &E));
    FAILS(CDTX_MISUSE, "cdtx_sql_rollback is only", cdtx_sql_rollback(sql, &E));
    cdtx_sql_close(sql); /* not one of its handles */
    OK(cdtx_sql_exec(sql, "UPDATE orders SET note = 'still here'", NULL, &E));
    host_sql(conn, "COMMIT");
    OK(cdtx_lent_settle(sql, 0, &E));
    ck_assert_int_eq(lab_sql("shop.db", "SELECT count(*) FROM orders WHERE note = 'still here'"), 1);
    free_shop();
}
END_TEST

START_TEST(lending_checks_what_it_is_given) {
    cdtx_sql *sql = NULL;
    cdtx_db *log = NULL;
    make_shop();
    FAILS(CDTX_INVALID, "handle is NULL", cdtx_lend(db, conn, NULL, &E));
    FAILS(CDTX_INVALID, "is NULL", cdtx_lend(db, NULL, &sql, &E));
    FAILS(CDTX_MISUSE, "NULL", cdtx_lend(NULL, conn, &sql, &E));
    FAILS(CDTX_MISUSE, "BEGIN first", cdtx_lend(db, conn, &sql, &E));
    OK(cdtx_db_log(engine, &log, &E));
    FAILS(CDTX_MISUSE, "engine itself has database 'log' open", cdtx_lend(log, conn, &sql, &E));
    cdtx_db_close(log);
    ck_assert_ptr_null(sql);
    FAILS(CDTX_MISUSE, "lend one (cdtx_lend)", cdtx_sql_begin(db, &sql, &E));
    FAILS(CDTX_INVALID, "for_ms", cdtx_host_run(db, conn, -2, &E));
    free_shop();
}
END_TEST

START_TEST(numbers_are_never_given_twice) {
    int64_t one = 0, two = 0, three = 0, four = 0;
    make_shop();
    sqlite3 *other = plain_host_open(lab_path("shop.db"));
    host_sql(conn, "BEGIN IMMEDIATE");
    cdtx_sql *sql = lend(), *late = NULL;
    OK(cdtx_job_put(sql, "mail", "1", 1, NULL, &one, &E));
    OK(cdtx_job_put(sql, "mail", "2", 1, NULL, &two, &E));
    host_sql(conn, "COMMIT");
    host_sql(other, "BEGIN IMMEDIATE");
    OK(cdtx_lend(db, other, &late, &E)); /* while the first is not settled yet */
    OK(cdtx_job_put(late, "mail", "3", 1, NULL, &three, &E));
    OK(cdtx_lent_settle(sql, 0, &E));
    host_sql(other, "ROLLBACK");
    OK(cdtx_lent_settle(late, CDTX_REFUSED, &E));
    host_sql(other, "BEGIN");
    OK(cdtx_lend(db, other, &late, &E));
    OK(cdtx_job_put(late, "mail", "4", 1, NULL, &four, &E));
    host_sql(other, "COMMIT");
    OK(cdtx_lent_settle(late, 0, &E));
    ck_assert_int_eq(two, one + 1);
    ck_assert_int_eq(four, three); /* of the one that was rolled back */
    ck_assert_int_gt(four, two);
    ck_assert_int_eq(jobs(), 3);
    ck_assert_int_eq(lab_sql("shop.db", "SELECT max(id) = (SELECT job FROM cdtx_meta) FROM cdtx_job"), 1);
    sqlite3_close(other);
    free_shop();
}
END_TEST

static cdtx_sql *begin_and_lend(void) {
    host_sql(conn, "BEGIN IMMEDIATE");
    return lend();
}

static void end_lent(cdtx_sql *sql, int32_t outcome) {
    host_sql(conn, outcome == 0 ? "COMMIT" : "ROLLBACK");
    OK(cdtx_lent_settle(sql, outcome, &E));
}

static int64_t put_unique(cdtx_sql *sql, const char *payload, int32_t policy) {
    int64_t id = -9;
    cdtx_job_options options = {.size = sizeof options, .unique_key = "k", .unique_policy = policy};
    OK(cdtx_job_put(sql, "mail", payload, 1, &options, &id, &E));
    return id;
}

/* Policies and taking back, in transactions of the host's that commit or do not. */
START_TEST(unique_keys_in_lent_transactions) {
    make_shop();
    fail_first = 1;
    cdtx_handler_options options = {
        .size = sizeof options, .handler = mail, .backoff_min_ms = 1000, .backoff_max_ms = 1000};
    OK(cdtx_handler_add(db, "mail", &options, &E));
    cdtx_sql *sql = begin_and_lend();
    int64_t id = put_unique(sql, "a", CDTX_UNIQUE_REPLACE);
    ck_assert_int_eq(put_unique(sql, "b", CDTX_UNIQUE_REPLACE), id);
    ck_assert_int_eq(put_unique(sql, "c", CDTX_UNIQUE_KEEP), id);
    end_lent(sql, 0);
    turn(10);
    ck_assert_int_eq(ran, 1);
    ck_assert_str_eq(seen[0], "b");
    sql = begin_and_lend();
    ck_assert_int_gt(put_unique(sql, "d", CDTX_UNIQUE_REPLACE), id); /* between attempts: a new number */
    OK(cdtx_retry_cancel_key(sql, "mail", "k", &E));
    FAILS(CDTX_NOT_FOUND, "'k'", cdtx_retry_cancel_key(sql, "mail", "k", &E));
    FAILS(CDTX_NOT_FOUND, "done or cancelled", cdtx_retry_cancel(sql, id, &E));
    FAILS(CDTX_NOT_FOUND, "never put", cdtx_retry_cancel(sql, id + 100, &E));
    end_lent(sql, CDTX_REFUSED);
    ck_assert_int_eq(lab_sql("shop.db", "SELECT count(*) FROM cdtx_job WHERE payload = x'62' AND attempts = 1"), 1);
    turn(1100);
    ck_assert_int_eq(ran, 2);
    ck_assert_str_eq(seen[1], "b");
    sql = begin_and_lend();
    id = put_unique(sql, "e", CDTX_UNIQUE_DEBOUNCE);
    end_lent(sql, 0);
    sql = begin_and_lend();
    OK(cdtx_retry_cancel(sql, id, &E));
    end_lent(sql, 0);
    turn(5000);
    ck_assert_int_eq(ran, 2);
    ck_assert_int_eq(jobs(), 0);
    free_shop();
}
END_TEST

/* A deferred transaction whose snapshot is old cannot write any more: an answer, not a wait. */
START_TEST(a_late_write_lock_is_busy) {
    make_shop();
    sqlite3 *other = plain_host_open(lab_path("shop.db"));
    host_sql(conn, "BEGIN; SELECT count(*) FROM orders");
    cdtx_sql *sql = lend();
    host_sql(other, "INSERT INTO orders (note) VALUES ('between')");
    FAILS(CDTX_BUSY, "locked", cdtx_job_put(sql, "mail", "x", 1, NULL, NULL, &E));
    host_sql(conn, "ROLLBACK");
    OK(cdtx_lent_settle(sql, CDTX_REFUSED, &E));
    order("again");
    sqlite3_close(other);
    free_shop();
}
END_TEST

/* ---- settling ---- */

START_TEST(settling_checks_what_it_is_told) {
    cdtx_db *log = NULL;
    cdtx_sql *handle = NULL;
    make_shop();
    host_sql(conn, "BEGIN");
    cdtx_sql *sql = lend();
    FAILS(CDTX_INVALID, "outcome is 5", cdtx_lent_settle(sql, 5, &E));
    FAILS(CDTX_MISUSE, "still open", cdtx_lent_settle(sql, 0, &E));
    FAILS(CDTX_MISUSE, "still open", cdtx_lent_settle(sql, CDTX_REFUSED, &E));
    FAILS(CDTX_MISUSE, "only for what cdtx_lend gave", cdtx_lent_settle(NULL, 0, &E));
    put(sql, "x"); /* it stayed */
    host_sql(conn, "COMMIT");
    OK(cdtx_lent_settle(sql, 0, &E));
    FAILS(CDTX_MISUSE, "settled already", cdtx_lent_settle(sql, 0, &E));
    FAILS(CDTX_MISUSE, "ended", cdtx_sql_exec(sql, "SELECT 1", NULL, &E));
    OK(cdtx_db_log(engine, &log, &E));
    OK(cdtx_sql_begin(log, &handle, &E));
    FAILS(CDTX_MISUSE, "only for what cdtx_lend gave", cdtx_lent_settle(handle, 0, &E));
    cdtx_sql_close(handle);
    cdtx_db_close(log);
    ck_assert_uint_eq(alarms(), 0);
    free_shop();
}
END_TEST

START_TEST(an_unknown_outcome_is_looked_into) {
    make_shop();
    handle_mail(1);
    host_sql(conn, "BEGIN");
    cdtx_sql *sql = lend();
    put(sql, "maybe");
    OK(cdtx_lent_settle(sql, CDTX_UNKNOWN, &E)); /* the host cannot even say whether it is open */
    host_sql(conn, "COMMIT");
    turn(1000);
    ck_assert_int_eq(ran, 1);
    free_shop();
}
END_TEST

START_TEST(a_statement_may_end_the_hosts_transaction) {
    make_shop();
    host_sql(conn, "CREATE TABLE n (k NOT NULL)");
    host_sql(conn, "BEGIN");
    cdtx_sql *sql = lend();
    put(sql, "x");
    FAILS(CDTX_SQL, "NOT NULL", cdtx_sql_exec(sql, "INSERT OR ROLLBACK INTO n VALUES (NULL)", NULL, &E));
    ck_assert_int_eq(sqlite3_get_autocommit(conn), 1);
    FAILS(CDTX_SQL, "an earlier statement ended", cdtx_sql_exec(sql, "SELECT 1", NULL, &E));
    FAILS(CDTX_SQL, "an earlier statement ended", cdtx_job_put(sql, "mail", "y", 1, NULL, NULL, &E));
    ck_assert_uint_eq(alarms(), 0);
    FAILS(CDTX_MISUSE, "cannot have committed", cdtx_lent_settle(sql, 0, &E));
    ck_assert_uint_eq(alarms(), 1);
    host_sql(conn, "BEGIN");
    sql = lend();
    FAILS(CDTX_SQL, "NOT NULL", cdtx_sql_exec(sql, "INSERT OR ROLLBACK INTO n VALUES (NULL)", NULL, &E));
    OK(cdtx_lent_settle(sql, CDTX_REFUSED, &E));
    ck_assert_int_eq(jobs(), 0);
    free_shop();
}
END_TEST

/* ---- forgotten ---- */

START_TEST(using_a_handle_after_the_end_is_noticed) {
    make_shop();
    host_sql(conn, "BEGIN");
    cdtx_sql *sql = lend();
    put(sql, "x");
    host_sql(conn, "COMMIT");
    FAILS(CDTX_MISUSE, "host has ended", cdtx_job_put(sql, "mail", "y", 1, NULL, NULL, &E));
    ck_assert_uint_eq(alarms(), 1);
    FAILS(CDTX_MISUSE, "has ended", cdtx_sql_exec(sql, "SELECT 1", NULL, &E));
    FAILS(CDTX_MISUSE, "too late", cdtx_lent_settle(sql, 0, &E));
    ck_assert_uint_eq(alarms(), 1);
    ck_assert_int_eq(jobs(), 1);
    free_shop();
}
END_TEST

START_TEST(lending_a_connection_again_is_noticed) {
    cdtx_sql *again = NULL;
    make_shop();
    handle_mail(1);
    host_sql(conn, "BEGIN");
    cdtx_sql *sql = lend();
    put(sql, "x");
    host_sql(conn, "COMMIT; BEGIN");
    FAILS(CDTX_MISUSE, "never settled", cdtx_lend(db, conn, &again, &E));
    ck_assert_ptr_null(again);
    ck_assert_uint_eq(alarms(), 1);
    OK(cdtx_lend(db, conn, &again, &E));
    FAILS(CDTX_MISUSE, "has ended", cdtx_sql_exec(sql, "SELECT 1", NULL, &E));
    OK(cdtx_sql_exec(again, "SELECT 1", NULL, &E));
    FAILS(CDTX_MISUSE, "too late", cdtx_lent_settle(sql, 0, &E));
    host_sql(conn, "COMMIT");
    FAILS(CDTX_MISUSE, "never settled", cdtx_host_run(db, conn, 0, &E));
    ck_assert_uint_eq(alarms(), 2);
    turn(0); /* what it put was there all the time */
    ck_assert_int_eq(ran, 1);
    FAILS(CDTX_MISUSE, "too late", cdtx_lent_settle(again, 0, &E));
    free_shop();
}
END_TEST

START_TEST(closing_over_a_loan_is_noticed) {
    cdtx_db *second = NULL;
    make_shop();
    host_sql(conn, "BEGIN");
    cdtx_sql *sql = lend();
    put(sql, "x");
    OK(cdtx_handler_add(db, "nobody", &(cdtx_handler_options){.size = sizeof(cdtx_handler_options)}, &E));
    cdtx_db_close(db);
    ck_assert_uint_eq(alarms(), 1);
    FAILS(CDTX_CONFLICT, "shop", cdtx_db_host(engine, "shop", &host.port, &second, &E));
    OK(cdtx_sql_exec(sql, "SELECT 1", NULL, &E)); /* a handle keeps what it needs */
    cdtx_close(engine);
    ck_assert_int_eq(host.dropped, 1);
    uint64_t calls = host.calls;
    FAILS(CDTX_MISUSE, "closed", cdtx_sql_exec(sql, "SELECT 1", NULL, &E));
    FAILS(CDTX_MISUSE, "closed", cdtx_job_put(sql, "mail", "y", 1, NULL, NULL, &E));
    FAILS(CDTX_MISUSE, "closed", cdtx_lent_settle(sql, 0, &E));
    ck_assert_uint_eq(host.calls, calls);
    host_sql(conn, "COMMIT");
    ck_assert_int_eq(jobs(), 1);
    ck_assert_int_eq(sqlite3_close(conn), SQLITE_OK);
    ck_assert_uint_eq(cdtx_test_env_bytes(world), 0);
    cdtx_test_env_free(world);
}
END_TEST

START_TEST(closing_the_engine_over_a_loan_is_an_alarm) {
    make_shop();
    host_sql(conn, "BEGIN");
    cdtx_sql *sql = lend();
    cdtx_close(engine);
    cdtx_db_close(db);
    FAILS(CDTX_MISUSE, "closed", cdtx_lent_settle(sql, 0, &E));
    host_sql(conn, "COMMIT");
    ck_assert_int_eq(sqlite3_close(conn), SQLITE_OK);
    ck_assert_uint_eq(cdtx_test_env_bytes(world), 0);
    cdtx_test_env_free(world);
}
END_TEST

START_TEST(many_loans_reuse_their_memory) {
    make_shop();
    for (int i = 0; i < 40; i++)
        order("x");
    size_t bytes = cdtx_test_env_bytes(world);
    for (int i = 0; i < 100; i++)
        order("x");
    ck_assert_uint_eq(cdtx_test_env_bytes(world), bytes);
    ck_assert_int_eq(jobs(), 140);
    free_shop();
}
END_TEST

/* ---- the host's exec fails ---- */

START_TEST(each_failure_of_a_put_leaves_the_rest_whole) {
    static const int32_t classes[] = {CDTX_SQL, CDTX_CONFLICT, CDTX_BUSY, CDTX_IO, CDTX_UNKNOWN, CDTX_NO_MEMORY, 7};
    make_shop();
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++)
        for (uint64_t nth = 1; nth <= 3; nth++) { /* the counter, its reading, the row */
            host_sql(conn, "BEGIN IMMEDIATE");
            cdtx_sql *sql = lend();
            host.fail_nth = nth;
            host.fail_code = classes[i];
            int32_t wanted = classes[i] == CDTX_UNKNOWN || classes[i] == 7 ? CDTX_IO : classes[i];
            FAILS(wanted, "told to fail", cdtx_job_put(sql, "mail", "x", 1, NULL, NULL, &E));
            ck_assert_int_eq(sqlite3_get_autocommit(conn), 0); /* the host's to end, whatever happened */
            int over = classes[i] == CDTX_CONFLICT || classes[i] == CDTX_UNKNOWN || classes[i] == 7;
            if (over)
                FAILS(CDTX_SQL, "ended", cdtx_job_put(sql, "mail", "x", 1, NULL, NULL, &E));
            else
                put(sql, "x");
            host_sql(conn, "ROLLBACK");
            OK(cdtx_lent_settle(sql, CDTX_REFUSED, &E));
        }
    ck_assert_int_eq(jobs(), 0);
    order("x");
    ck_assert_int_eq(jobs(), 1);
    ck_assert_uint_eq(alarms(), 0);
    free_shop();
}
END_TEST

static void recover(int64_t wanted) {
    host.fail_nth = 0;
    if (sqlite3_get_autocommit(conn) == 0) /* a lost connection is given up as it is */
        host_sql(conn, "ROLLBACK");
    for (int again = 0; again < 20 && jobs() > 0; again++)
        if (cdtx_host_run(db, conn, 600, NULL) == CDTX_STOPPED)
            OK(cdtx_host_prepare(db, conn, &E));
    ck_assert_int_eq(jobs(), 0);
    ck_assert_int_eq(lab_sql("shop.db", "SELECT count(*) FROM orders WHERE note = 'mailed'"), wanted);
    ck_assert_int_eq(sqlite3_get_autocommit(conn), 1);
}

/* Every exec of a turn fails once, in every class: whatever the turn answers, the job is done once in the end. */
START_TEST(each_failure_of_a_turn_is_survived) {
    static const int32_t classes[] = {CDTX_SQL, CDTX_CONFLICT, CDTX_BUSY, CDTX_IO, CDTX_UNKNOWN, CDTX_NO_MEMORY};
    cdtx_handler_options options = {.size = sizeof options, .handler = mail, .in_local = 1, .lease_ms = 500};
    int64_t done = 0;
    make_shop();
    OK(cdtx_handler_add(db, "mail", &options, &E));
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++)
        for (int after = 0; after < 2; after++) {
            int clean = 0;
            for (uint64_t nth = 1; !clean; nth += nth < 14 ? 1 : 19) { /* most of them ask claims for nothing */
                ck_assert_uint_lt(nth, 400);
                order("x");
                ran = 0;
                host.fail_nth = nth;
                host.fail_code = classes[i];
                host.fail_after = after;
                (void)cdtx_host_run(db, conn, 0, NULL);
                clean = host.fail_nth > 0;
                recover(++done);
            }
        }
    free_shop();
}
END_TEST

START_TEST(each_failure_of_preparing_is_survived) {
    static const int32_t classes[] = {CDTX_SQL, CDTX_BUSY, CDTX_UNKNOWN};
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++)
        for (int after = 0; after < 2; after++) {
            int32_t rc = -1;
            for (uint64_t nth = 1; rc != 0 || host.fail_nth == 0; nth += nth < 10 ? 1 : 7) { /* then the tables */
                ck_assert_uint_lt(nth, 200);
                make_world();
                name_shop(cdtx_test_env_port(world), (cdtx_options){.wait_ms = 20});
                host.fail_nth = nth;
                host.fail_code = classes[i];
                host.fail_after = after;
                rc = cdtx_host_prepare(db, conn, NULL);
                uint64_t left = host.fail_nth;
                host.fail_nth = 0;
                if (sqlite3_get_autocommit(conn) == 0)
                    host_sql(conn, "ROLLBACK");
                OK(cdtx_host_prepare(db, conn, &E));
                host_sql(conn, "CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT)");
                order("x");
                ck_assert_int_eq(jobs(), 1);
                free_shop();
                host.fail_nth = left;
                remove(lab_path("shop.db"));
                remove(lab_path("shop.db-wal"));
                remove(lab_path("shop.db-shm"));
            }
        }
}
END_TEST

START_TEST(each_lack_of_memory_is_survived) {
    for (uint64_t nth = 1;; nth++) {
        ck_assert_uint_lt(nth, 100);
        cdtx_sql *sql = NULL;
        make_world();
        name_shop(cdtx_test_env_port(world), (cdtx_options){0});
        cdtx_test_env_fail_memory(world, nth, 0);
        uint64_t before = cdtx_test_env_allocations(world);
        int32_t rc = cdtx_host_prepare(db, conn, NULL);
        if (rc == 0)
            host_sql(conn, "CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT); BEGIN IMMEDIATE");
        if (rc == 0)
            rc = cdtx_lend(db, conn, &sql, NULL);
        if (rc == 0)
            rc = cdtx_job_put(sql, "mail", "x", 1, NULL, NULL, NULL);
        uint64_t made = cdtx_test_env_allocations(world) - before;
        cdtx_test_env_fail_memory(world, 0, 0);
        if (sqlite3_get_autocommit(conn) == 0)
            host_sql(conn, rc == 0 ? "COMMIT" : "ROLLBACK");
        if (sql != NULL)
            OK(cdtx_lent_settle(sql, rc == 0 ? 0 : CDTX_REFUSED, &E));
        if (rc == 0)
            ck_assert_int_eq(jobs(), 1);
        free_shop();
        remove(lab_path("shop.db"));
        remove(lab_path("shop.db-wal"));
        remove(lab_path("shop.db-shm"));
        if (made < nth)
            break;
    }
}
END_TEST

/* ---- turns ---- */

START_TEST(work_waits_for_a_turn) {
    make_shop();
    handle_mail(1);
    order("x");
    OK(cdtx_run(engine, 60000, &E));
    ck_assert_int_eq(ran, 0);
    uint64_t calls = host.calls;
    FAILS(CDTX_BUSY, "lent no turn", cdtx_local(db, lab_statement, "DELETE FROM orders", &E));
    ck_assert_uint_eq(host.calls, calls);
    ck_assert_int_eq(lab_sql("shop.db", "SELECT count(*) FROM orders"), 1);
    turn(0);
    ck_assert_int_eq(ran, 1);
    ck_assert_int_eq(jobs(), 0);
    free_shop();
}
END_TEST

static int32_t slow_mail(cdtx_work *work, void *user, cdtx_error *err) {
    (void)work;
    (void)user;
    (void)err;
    ran++;
    cdtx_test_env_advance(world, 20); /* long enough that the turn makes gaps for other writers */
    return 0;
}

START_TEST(a_turn_of_no_time_ends_all_that_is_due) {
    make_world();
    name_shop(cdtx_test_env_port(world), (cdtx_options){.group_max = 4});
    OK(cdtx_host_prepare(db, conn, &E));
    host_sql(conn, "CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT)");
    cdtx_handler_options options = {.size = sizeof options, .handler = slow_mail, .in_local = 1};
    OK(cdtx_handler_add(db, "mail", &options, &E));
    for (int i = 0; i < 40; i++)
        order("x");
    turn(0);
    ck_assert_int_eq(ran, 40);
    ck_assert_int_eq(jobs(), 0);
    free_shop();
}
END_TEST

START_TEST(a_failed_job_comes_again) {
    for (int in_local = 0; in_local < 2; in_local++) {
        make_shop();
        fail_first = 2;
        handle_mail(in_local);
        order("x");
        turn(0);
        ck_assert_int_eq(ran, 1);
        turn(60000);
        ck_assert_int_eq(ran, 3);
        ck_assert_int_eq(jobs(), 0);
        ck_assert_int_eq(lab_sql("shop.db", "SELECT count(*) FROM orders WHERE note = 'mailed'"), in_local);
        free_shop();
        remove(lab_path("shop.db"));
    }
}
END_TEST

START_TEST(a_commit_in_doubt_ends_the_turns) {
    make_shop();
    handle_mail(1);
    order("x");
    host.only = "COMMIT";
    host.fail_nth = 2; /* behind the claim's */
    host.fail_code = CDTX_IO;
    host.fail_after = 1;
    FAILS(CDTX_STOPPED, "prepare it again on a new connection", cdtx_host_run(db, conn, -1, &E));
    ck_assert_uint_eq(alarms(), 1);
    uint64_t calls = host.calls;
    FAILS(CDTX_STOPPED, "prepare it again", cdtx_host_run(db, conn, 0, &E));
    host_sql(conn, "BEGIN");
    cdtx_sql *sql = NULL;
    FAILS(CDTX_STOPPED, "prepare it again", cdtx_lend(db, conn, &sql, &E));
    host_sql(conn, "COMMIT");
    ck_assert_uint_eq(host.calls, calls);
    sqlite3 *reader = plain_host_open(lab_path("shop.db"));
    host_sql(reader, "BEGIN; SELECT count(*) FROM orders");
    sqlite3_close(conn);
    conn = plain_host_open(lab_path("shop.db"));
    FAILS(CDTX_BUSY, "cannot begin anew", cdtx_host_prepare(db, conn, &E));
    sqlite3_close(reader);
    OK(cdtx_host_prepare(db, conn, &E));
    turn(120000);
    ck_assert_int_eq(jobs(), 0);
    ck_assert_int_eq(ran, 1); /* the one in doubt did happen */
    free_shop();
}
END_TEST

START_TEST(another_writer_is_waited_for) {
    make_shop();
    sqlite3 *other = plain_host_open(lab_path("shop.db"));
    handle_mail(1);
    order("x");
    host_sql(other, "BEGIN IMMEDIATE");
    turn(500);
    ck_assert_int_eq(ran, 0);
    host_sql(other, "COMMIT");
    turn(500);
    ck_assert_int_eq(ran, 1);
    sqlite3_close(other);
    free_shop();
}
END_TEST

static int32_t lend_inside(cdtx_sql *sql, void *user, cdtx_error *err) {
    cdtx_sql *inner = NULL;
    (void)sql;
    (void)user;
    ck_assert_int_eq(cdtx_lend(db, conn, &inner, err), CDTX_MISUSE);
    ck_assert_int_eq(cdtx_host_run(db, conn, 0, err), CDTX_MISUSE);
    ck_assert_int_eq(cdtx_host_prepare(db, conn, err), CDTX_MISUSE);
    return cdtx_sql_exec(sql, "INSERT INTO orders (note) VALUES ('inside')", NULL, err);
}

/* A plain handler runs on the turn's thread, so there its closures need no other turn, and the connection is free. */
static int32_t use_the_turn(cdtx_work *work, void *user, cdtx_error *err) {
    cdtx_sql *sql = NULL;
    (void)work;
    (void)user;
    ran++;
    int32_t rc = cdtx_local(db, lend_inside, NULL, err);
    ck_assert_int_eq(cdtx_host_run(db, conn, 0, NULL), CDTX_BUSY);
    host_sql(conn, "BEGIN IMMEDIATE");
    OK(cdtx_lend(db, conn, &sql, &E));
    OK(cdtx_sql_exec(sql, "INSERT INTO orders (note) VALUES ('own')", NULL, &E));
    host_sql(conn, "COMMIT");
    OK(cdtx_lent_settle(sql, 0, &E));
    return rc;
}

START_TEST(a_handler_may_use_the_turn) {
    make_shop();
    cdtx_handler_options options = {.size = sizeof options, .handler = use_the_turn};
    OK(cdtx_handler_add(db, "mail", &options, &E));
    order("x");
    turn(0);
    ck_assert_int_eq(ran, 1);
    ck_assert_int_eq(jobs(), 0);
    ck_assert_int_eq(lab_sql("shop.db", "SELECT count(*) FROM orders WHERE note IN ('inside', 'own')"), 2);
    free_shop();
}
END_TEST

/* ---- threads ---- */

struct turner {
    pthread_t thread;
    sqlite3 *connection;
    int32_t rc;
};

static void *lend_turns(void *argument) {
    struct turner *turner = argument;
    turner->rc = cdtx_host_run(db, turner->connection, -1, NULL);
    return NULL;
}

static void start_turns(struct turner *turner) {
    *turner = (struct turner){.connection = plain_host_open(lab_path("shop.db"))};
    host_sql(turner->connection, "PRAGMA synchronous = FULL");
    ck_assert_int_eq(pthread_create(&turner->thread, NULL, lend_turns, turner), 0);
}

static void stop_turns(struct turner *turner) {
    cdtx_stop(engine);
    pthread_join(turner->thread, NULL);
    ck_assert_int_eq(turner->rc, 0);
    sqlite3_close(turner->connection);
}

static void make_real_shop(cdtx_options options) {
    ran = fail_first = 0;
    name_shop(NULL, options);
    OK(cdtx_host_prepare(db, conn, &E));
    host_sql(conn, "CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT)");
}

/* The engine has threads of its own: none of them may ever come to the host. */
START_TEST(the_host_is_called_on_the_lending_thread_only) {
    struct turner turner;
    make_real_shop((cdtx_options){.threads = 2});
    handle_mail(1);
    start_turns(&turner);
    for (int i = 0; i < 4; i++) {
        uint64_t before = lab_metrics(engine).riders;
        lab_exec(db, "INSERT INTO orders (note) VALUES ('by closure')");
        ck_assert_uint_gt(lab_metrics(engine).riders, before);
        ck_assert_uint_eq(host.thread, (uint64_t)turner.thread);
    }
    FAILS(CDTX_BUSY, "another thread has the turn", cdtx_host_run(db, conn, 0, &E));
    FAILS(CDTX_BUSY, "another thread has the turn", cdtx_host_prepare(db, conn, &E));
    cdtx_sql *sql = NULL;
    FAILS(CDTX_MISUSE, "another thread has lent this connection", cdtx_lend(db, turner.connection, &sql, &E));
    stop_turns(&turner);
    ck_assert_int_eq(lab_sql("shop.db", "SELECT count(*) FROM orders"), 4);
    close_shop();
}
END_TEST

static int64_t findings(const char *check, char *found, size_t room) {
    cdtx_report *report = NULL;
    int64_t rows = 0;
    OK(cdtx_doctor(engine, 0, &report, &E));
    while (cdtx_report_next(report))
        if (cdtx_report_text(report, 1, NULL) != NULL && strcmp(cdtx_report_text(report, 1, NULL), "shop") == 0 &&
            strcmp(cdtx_report_text(report, 2, NULL), check) == 0) {
            snprintf(found, room, "%s: %s", cdtx_report_text(report, 0, NULL), cdtx_report_text(report, 3, NULL));
            rows++;
        }
    cdtx_report_close(report);
    return rows;
}

/* Questions about everything do not wait for a turn that nobody lends, and are answered while somebody does. */
START_TEST(questions_are_answered_in_turns) {
    struct turner turner;
    char found[700] = "";
    cdtx_metrics metrics = {.size = sizeof metrics, .ask = 1};
    make_real_shop((cdtx_options){.wait_ms = 600000});
    order("x");
    ck_assert_int_eq(findings("turn", found, sizeof found), 1);
    ck_assert_ptr_nonnull(strstr(found, "note: the host lends no turn"));
    ck_assert_int_eq(findings("settings", found, sizeof found), 0);
    OK(cdtx_metrics_read(engine, &metrics, &E));
    ck_assert_int_eq(metrics.jobs_due, -1);
    cdtx_tx *tx = NULL;
    cdtx_report *report = NULL;
    OK(cdtx_tx_new(engine, NULL, &tx, &E));
    OK(cdtx_tx_begin(tx, &E));
    OK(cdtx_tx_branches(engine, cdtx_tx_gid(tx), &report, &E));
    cdtx_report_close(report);
    OK(cdtx_tx_rollback(tx, &E));
    cdtx_tx_close(tx);
    start_turns(&turner);
    while (metrics.jobs_due != 1)
        OK(cdtx_metrics_read(engine, &metrics, &E));
    ck_assert_int_eq(findings("settings", found, sizeof found), 1);
    ck_assert_ptr_nonnull(strstr(found, "ok: commits on the lent connection are safe"));
    stop_turns(&turner);
    close_shop();
}
END_TEST

/* A pulled job whose effects and end are one transaction of the host's. */
START_TEST(a_pulled_job_may_end_in_a_lent_transaction) {
    struct turner turner;
    cdtx_work *work = NULL;
    cdtx_db *log = NULL;
    cdtx_sql *handle = NULL;
    make_real_shop((cdtx_options){0});
    OK(cdtx_handler_add(db, "mail", &(cdtx_handler_options){.size = sizeof(cdtx_handler_options)}, &E));
    host_sql(conn, "BEGIN IMMEDIATE");
    cdtx_sql *before = lend();
    cdtx_job_options keyed = {.size = sizeof keyed, .unique_key = "u", .concurrency_key = "c"};
    OK(cdtx_job_put(before, "mail", "x", 1, &keyed, NULL, &E));
    host_sql(conn, "COMMIT");
    OK(cdtx_lent_settle(before, 0, &E));
    start_turns(&turner);
    OK(cdtx_take(engine, 20000, &work, &E));
    ck_assert_ptr_nonnull(work);
    keyed.unique_policy = CDTX_UNIQUE_REPLACE;
    OK(cdtx_retry_put(db, "mail", "y", 1, &keyed, NULL, &E)); /* comes up with the host's commit */
    host_sql(conn, "PRAGMA busy_timeout = 10000; BEGIN IMMEDIATE; INSERT INTO orders (note) VALUES ('pulled')");
    cdtx_sql *sql = lend();
    OK(cdtx_work_done(work, sql, &E));
    host_sql(conn, "COMMIT");
    OK(cdtx_lent_settle(sql, 0, &E));
    OK(cdtx_db_log(engine, &log, &E));
    OK(cdtx_sql_begin(log, &handle, &E));
    FAILS(CDTX_MISUSE, "'shop'", cdtx_work_done(work, handle, &E));
    cdtx_sql_close(handle);
    cdtx_db_close(log);
    OK(cdtx_settle(work, 0, NULL, &E));
    OK(cdtx_take(engine, 20000, &work, &E));
    ck_assert_ptr_nonnull(work);
    ck_assert_mem_eq(cdtx_work_payload(work, NULL), "y", 1);
    OK(cdtx_work_heartbeat(work, &E));
    OK(cdtx_settle(work, 0, NULL, &E));
    stop_turns(&turner);
    ck_assert_int_eq(jobs(), 0);
    ck_assert_int_eq(lab_sql("shop.db", "SELECT count(*) FROM orders WHERE note = 'pulled'"), 1);
    close_shop();
}
END_TEST

/* ---- participants ---- */

static int32_t on_any(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)call;
    cdtx_sql_bind_text(sql, user, strlen(user));
    return cdtx_sql_exec(sql, "INSERT INTO orders (note) VALUES (?)", NULL, err);
}

static int32_t on_confirm(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)user;
    return on_any(sql, call, "confirmed", err);
}

static void serve(cdtx_db *where, const char *name) {
    cdtx_tcc_handlers handlers = {.size = sizeof handlers,
                                  .on_try = on_any,
                                  .on_confirm = on_confirm,
                                  .on_cancel = on_any,
                                  .user = (void *)(uintptr_t)name};
    OK(cdtx_tcc_add(where, name, &handlers, &E));
}

static cdtx_tx *declared(const char *const *names, uint64_t tag) {
    cdtx_tx *tx = NULL;
    cdtx_tx_options options = {.size = sizeof options, .tag = tag, .timeout_ms = 600000};
    OK(cdtx_tx_new(engine, &options, &tx, &E));
    for (; *names != NULL; names++)
        OK(cdtx_tx_add(tx, *names, "x", 1, &E));
    return tx;
}

static uint64_t completion(void) {
    cdtx_work *work = NULL;
    OK(cdtx_take(engine, 0, &work, &E));
    if (work == NULL)
        return 0;
    uint64_t tag = cdtx_work_tag(work);
    OK(cdtx_work_result(work, &E));
    OK(cdtx_settle(work, 0, NULL, &E));
    return tag;
}

/* One thread is enough: submitted, worked on in turns, completed. And who needs no turn waits for none. */
START_TEST(a_participant_is_served_by_turns) {
    static const char *const both[] = {"shop.order", "stock.take", NULL}, *const one[] = {"stock.take", NULL};
    cdtx_db *stock = NULL;
    make_shop();
    OK(cdtx_db_open(engine, "stock", lab_url("stock.db"), &stock, &E));
    lab_exec(stock, "CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT)");
    serve(db, "shop.order");
    serve(stock, "stock.take");
    cdtx_tx *waits = declared(both, 1), *goes = declared(one, 2);
    OK(cdtx_tx_submit(waits, &E));
    OK(cdtx_tx_submit(goes, &E));
    OK(cdtx_run(engine, 30000, &E));
    ck_assert_uint_eq(completion(), 2);
    ck_assert_uint_eq(completion(), 0);
    for (int i = 0; i < 100 && lab_metrics(engine).committed < 2; i++)
        turn(100);
    ck_assert_uint_eq(completion(), 1);
    turn(1000);
    ck_assert_int_eq(lab_sql("shop.db", "SELECT count(*) FROM orders WHERE note = 'shop.order'"), 1);
    ck_assert_int_eq(lab_sql("shop.db", "SELECT count(*) FROM orders WHERE note = 'confirmed'"), 1);
    ck_assert_int_eq(lab_sql("stock.db", "SELECT count(*) FROM orders WHERE note = 'confirmed'"), 2);
    cdtx_tx_close(waits);
    cdtx_tx_close(goes);
    cdtx_db_close(stock);
    free_shop();
}
END_TEST

static int32_t note_op(cdtx_sql *sql, const char *op, cdtx_error *err) {
    cdtx_sql_bind_text(sql, op, strlen(op));
    return cdtx_sql_exec(sql, "INSERT INTO orders (note) VALUES (?)", NULL, err);
}

static int32_t note_try(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)call, (void)user;
    return note_op(sql, "try", err);
}

static int32_t note_confirm(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)call, (void)user;
    return note_op(sql, "confirm", err);
}

static int32_t note_cancel(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)call, (void)user;
    return note_op(sql, "cancel", err);
}

static int64_t noted(const char *op) {
    char query[80];
    snprintf(query, sizeof query, "SELECT count(*) FROM orders WHERE note = '%s'", op);
    return lab_sql("shop.db", query);
}

static int64_t open_in_log(void) {
    return lab_sql("log.db", "SELECT count(*) FROM cdtx_tx WHERE state IN (1, 2, 3)");
}

/* One branch in the host's database, whose nth exec fails: it ends one way, with each effect once. */
static void run_branch(uint64_t nth, int32_t code, int after, int *clean) {
    static const char *const one[] = {"shop.order", NULL};
    int64_t tries = noted("try"), confirms = noted("confirm"), cancels = noted("cancel");
    cdtx_tx *tx = declared(one, 1);
    host.fail_nth = nth;
    host.fail_code = code;
    host.fail_after = after;
    OK(cdtx_tx_submit(tx, &E));
    for (int i = 0; i < 200 && (i == 0 || lab_metrics(engine).in_work > 0 || open_in_log() > 0); i++) {
        int32_t rc = cdtx_host_run(db, conn, 500, NULL);
        if (sqlite3_get_autocommit(conn) == 0) /* a lost connection is given up as it is */
            host_sql(conn, "ROLLBACK");
        if (rc == CDTX_STOPPED)
            OK(cdtx_host_prepare(db, conn, &E));
    }
    *clean = host.fail_nth > 0;
    host.fail_nth = 0;
    ck_assert_int_eq(open_in_log(), 0);
    cdtx_tx_close(tx);
    tries = noted("try") - tries;
    confirms = noted("confirm") - confirms;
    cancels = noted("cancel") - cancels;
    ck_assert_msg(tries <= 1 && tries == confirms + cancels,
                  "exec %llu, code %d: %lld tries, %lld confirms, %lld cancels", (unsigned long long)nth, code,
                  (long long)tries, (long long)confirms, (long long)cancels);
    cdtx_work *work = NULL;
    OK(cdtx_take(engine, 0, &work, &E));
    ck_assert_ptr_nonnull(work);
    ck_assert_int_eq(cdtx_work_result(work, NULL) == 0, confirms == 1);
    OK(cdtx_settle(work, 0, NULL, &E));
}

START_TEST(each_failure_of_a_branch_is_survived) {
    static const int32_t classes[] = {CDTX_SQL, CDTX_CONFLICT, CDTX_BUSY, CDTX_IO, CDTX_UNKNOWN};
    cdtx_tcc_handlers handlers = {
        .size = sizeof handlers, .on_try = note_try, .on_confirm = note_confirm, .on_cancel = note_cancel};
    make_shop();
    OK(cdtx_tcc_add(db, "shop.order", &handlers, &E));
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++)
        for (int after = 0; after < 2; after++) {
            int clean = 0;
            for (uint64_t nth = 1; !clean; nth++) {
                ck_assert_uint_lt(nth, 100);
                run_branch(nth, classes[i], after, &clean);
            }
        }
    ck_assert_int_gt(noted("confirm"), 20);
    free_shop();
}
END_TEST

/* ---- many at once ---- */

enum { LENDERS = 4, ORDERS = 25 };

struct lender {
    pthread_t thread;
    sqlite3 *connection;
    int committed;
};

/* A host thread with its own connection: orders, and now and then one that it rolls back. */
static void *lend_orders(void *argument) {
    struct lender *lender = argument;
    sqlite3 *mine = lender->connection;
    sqlite3_busy_timeout(mine, 60000);
    for (int i = 0; i < ORDERS; i++) {
        cdtx_sql *sql = NULL;
        int keep = i % 5 != 0;
        int ok = sqlite3_exec(mine, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK &&
                 cdtx_lend(db, mine, &sql, NULL) == 0 &&
                 cdtx_job_put(sql, "mail", keep ? "yes" : "no", 2, NULL, NULL, NULL) == 0 &&
                 sqlite3_exec(mine, keep ? "COMMIT" : "ROLLBACK", NULL, NULL, NULL) == SQLITE_OK &&
                 cdtx_lent_settle(sql, keep ? 0 : CDTX_REFUSED, NULL) == 0;
        lender->committed += ok && keep;
        if (!ok)
            break;
    }
    return NULL;
}

static int32_t count_mail(cdtx_work *work, void *user, cdtx_error *err) {
    (void)user;
    const char *payload = cdtx_work_payload(work, NULL);
    return cdtx_sql_exec(cdtx_work_sql(work),
                         payload[0] == 'y' ? "INSERT INTO orders (note) VALUES ('mailed')"
                                           : "INSERT INTO orders (note) VALUES ('wrong')",
                         NULL, err);
}

START_TEST(many_lend_while_one_turns) {
    struct turner turner;
    struct lender lenders[LENDERS];
    make_real_shop((cdtx_options){.threads = 1});
    cdtx_handler_options options = {.size = sizeof options, .handler = count_mail, .in_local = 1};
    OK(cdtx_handler_add(db, "mail", &options, &E));
    host.crowded = 1;
    start_turns(&turner);
    for (int i = 0; i < LENDERS; i++) {
        lenders[i] = (struct lender){.connection = plain_host_open(lab_path("shop.db"))};
        ck_assert_int_eq(pthread_create(&lenders[i].thread, NULL, lend_orders, &lenders[i]), 0);
    }
    for (int i = 0; i < LENDERS; i++) {
        pthread_join(lenders[i].thread, NULL);
        sqlite3_close(lenders[i].connection);
        ck_assert_int_eq(lenders[i].committed, ORDERS - ORDERS / 5);
    }
    for (int i = 0; i < 3000 && jobs() > 0; i++)
        usleep(10000);
    stop_turns(&turner);
    ck_assert_int_eq(jobs(), 0);
    ck_assert_int_eq(noted("mailed"), LENDERS * (ORDERS - ORDERS / 5));
    ck_assert_int_eq(noted("wrong"), 0);
    ck_assert_uint_eq(alarms(), 0);
    close_shop();
}
END_TEST

static void tests(TCase *tcase) {
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, naming_checks_its_port);
    tcase_add_test(tcase, nothing_goes_before_it_is_prepared);
    tcase_add_test(tcase, unsafe_settings_are_refused_everywhere);
    tcase_add_test(tcase, the_engines_own_files_are_refused);
    tcase_add_test(tcase, another_file_is_not_taken_for_it);
    tcase_add_test(tcase, there_is_one_kind_of_owner_at_a_time);
    tcase_add_test(tcase, hosts_share_a_file);
    tcase_add_test(tcase, a_job_is_there_exactly_when_the_host_commits);
    tcase_add_test(tcase, a_lent_transaction_is_a_local_transaction);
    tcase_add_test(tcase, lending_checks_what_it_is_given);
    tcase_add_test(tcase, numbers_are_never_given_twice);
    tcase_add_test(tcase, unique_keys_in_lent_transactions);
    tcase_add_test(tcase, a_late_write_lock_is_busy);
    tcase_add_test(tcase, settling_checks_what_it_is_told);
    tcase_add_test(tcase, an_unknown_outcome_is_looked_into);
    tcase_add_test(tcase, a_statement_may_end_the_hosts_transaction);
    tcase_add_test(tcase, using_a_handle_after_the_end_is_noticed);
    tcase_add_test(tcase, lending_a_connection_again_is_noticed);
    tcase_add_test(tcase, closing_over_a_loan_is_noticed);
    tcase_add_test(tcase, closing_the_engine_over_a_loan_is_an_alarm);
    tcase_add_test(tcase, many_loans_reuse_their_memory);
    tcase_add_test(tcase, each_failure_of_a_put_leaves_the_rest_whole);
    tcase_add_test(tcase, each_failure_of_a_turn_is_survived);
    tcase_add_test(tcase, each_failure_of_preparing_is_survived);
    tcase_add_test(tcase, each_lack_of_memory_is_survived);
    tcase_add_test(tcase, work_waits_for_a_turn);
    tcase_add_test(tcase, a_turn_of_no_time_ends_all_that_is_due);
    tcase_add_test(tcase, a_failed_job_comes_again);
    tcase_add_test(tcase, a_commit_in_doubt_ends_the_turns);
    tcase_add_test(tcase, another_writer_is_waited_for);
    tcase_add_test(tcase, a_handler_may_use_the_turn);
    tcase_add_test(tcase, the_host_is_called_on_the_lending_thread_only);
    tcase_add_test(tcase, questions_are_answered_in_turns);
    tcase_add_test(tcase, a_pulled_job_may_end_in_a_lent_transaction);
    tcase_add_test(tcase, a_participant_is_served_by_turns);
    tcase_add_test(tcase, each_failure_of_a_branch_is_survived);
    tcase_add_test(tcase, many_lend_while_one_turns);
}

int main(void) {
    return lab_main("lend", tests);
}
