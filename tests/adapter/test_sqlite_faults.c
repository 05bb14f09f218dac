/* Disks that fail or fill, memory that ends: each answer tells the truth, and what was answered is found again. */
#include "lab.h"

/* ---- commits ---- */

static void begin_row(int64_t k) {
    cdtx_value argument = SQL_INT(k);
    OK(port->begin(db, &err));
    OK(port->exec(db, 0, "INSERT INTO t VALUES (?, randomblob(9000))", &argument, 1, NULL, NULL, &err));
}

static void reopen(void) {
    close_db();
    db = open_at(url);
    own(db, CDTX_OWN_ALONE);
}

static void everything_answers_stopped(void) {
    int32_t ownership;
    FAILS(port->own(db, &ownership, &err), CDTX_STOPPED, path);
    FAILS(port->begin(db, &err), CDTX_STOPPED, path);
    FAILS(hosts("SELECT 1"), CDTX_STOPPED, path);
    FAILS(ours("SELECT 1"), CDTX_STOPPED, path);
    FAILS(port->savepoint(db, &err), CDTX_STOPPED, path);
    FAILS(port->release(db, &err), CDTX_STOPPED, path);
    FAILS(port->undo(db, &err), CDTX_STOPPED, path);
    FAILS(port->commit(db, &err), CDTX_STOPPED, path);
    FAILS(port->tidy(db, &err), CDTX_STOPPED, path);
    port->rollback(db);
    ck_assert_int_eq(port->in_transaction(db), 0);
}

START_TEST(a_failed_sync_is_unknown_and_stops) {
    start();
    write_row(db, 1);
    begin_row(2);
    shim_fail(SHIM_SYNC, SHIM_WAL, 1, 0);
    FAILS(port->commit(db, &err), CDTX_UNKNOWN, "may have happened");
    ck_assert_int_eq(shim.failed, 1);
    shim.count = 0;
    everything_answers_stopped();
    close_db();
    ck_assert_uint_eq(shim_count(SHIM_WRITE, SHIM_ALL) + shim_count(SHIM_SYNC, SHIM_ALL), 0); /* never again */
    db = open_at(url);
    own(db, CDTX_OWN_ALONE);
    /* All bytes are in the file, so this time it happened; and now durably. */
    ck_assert_int_eq(number(db, "SELECT count(*) FROM t"), 2);
    write_row(db, 3);
}
END_TEST

START_TEST(a_failed_write_at_commit_is_unknown) {
    for (int anyway = 0; anyway < 2; anyway++) {
        shim_reset();
        start();
        begin_row(1);
        shim.writes_anyway = anyway;
        shim_fail(SHIM_WRITE, SHIM_WAL, 1, 0);
        FAILS(port->commit(db, &err), CDTX_UNKNOWN, "may have happened");
        everything_answers_stopped();
        shim.writes_anyway = 0;
        reopen();
        ck_assert_int_eq(number(db, "SELECT count(*) FROM t"), 0);
        OK(port->begin(db, &err));
        OK(hosts("DROP TABLE t"));
        OK(port->commit(db, &err));
        close_db();
    }
}
END_TEST

START_TEST(a_full_disk_is_a_definite_no) {
    start();
    for (uint64_t nth = 1; nth < 50; nth++) {
        begin_row((int64_t)nth);
        shim_fail(SHIM_WRITE, SHIM_WAL, nth, SQLITE_FULL);
        int32_t rc = port->commit(db, &err);
        if (!shim.failed) {
            ck_assert_int_eq(rc, 0);
            ck_assert_uint_gt(nth, 4);
            ck_assert_int_eq(number(db, "SELECT count(*) FROM t"), 1);
            return;
        }
        ck_assert_int_eq(rc, CDTX_IO);
        ck_assert_ptr_nonnull(strstr(err.text, "disk full"));
        ck_assert_int_eq(port->in_transaction(db), 0);
        ck_assert_int_eq(number(db, "SELECT count(*) FROM t"), 0);
    }
    ck_abort_msg("never came through");
}
END_TEST

START_TEST(a_full_disk_that_is_not_powersafe_is_unknown) {
    shim.not_powersafe = 1;
    start();
    begin_row(1);
    shim_fail(SHIM_WRITE, SHIM_WAL, 2, SQLITE_FULL);
    FAILS(port->commit(db, &err), CDTX_UNKNOWN, "may have happened");
    everything_answers_stopped();
}
END_TEST

START_TEST(a_database_at_its_largest_is_an_io_error) {
    start();
    write_row(db, 1);
    OK(ours("PRAGMA max_page_count = 4"));
    OK(port->begin(db, &err));
    OK(port->savepoint(db, &err));
    FAILS(hosts("INSERT INTO t VALUES (2, zeroblob(100000))"), CDTX_IO, "disk full");
    if (port->in_transaction(db)) {
        OK(port->undo(db, &err));
        OK(port->release(db, &err));
        OK(port->commit(db, &err));
    }
    ck_assert_int_eq(number(db, "SELECT count(*) FROM t"), 1);
    write_row(db, 3);
}
END_TEST

START_TEST(a_failed_sync_inside_a_statement_stops) {
    start();
    close_db(); /* the next log begins anew, and its header is synced with the first pages that leave the cache */
    db = open_at(url);
    own(db, CDTX_OWN_ALONE);
    OK(ours("PRAGMA cache_size = 5"));
    OK(ours("PRAGMA cache_spill = 1"));
    OK(port->begin(db, &err));
    shim_fail(SHIM_SYNC, SHIM_WAL, 1, 0);
    FAILS(hosts("WITH RECURSIVE n(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n WHERE k < 100)"
                " INSERT INTO t SELECT k, randomblob(3000) FROM n"),
          CDTX_IO, path);
    ck_assert_int_eq(shim.failed, 1);
    FAILS(port->commit(db, &err), CDTX_STOPPED, path);
    reopen();
    ck_assert_int_eq(number(db, "SELECT count(*) FROM t"), 0);
}
END_TEST

/* ---- checkpoints ---- */

/* More than a thousand pages and less than two thousand. */
static void fill_log(void) {
    for (int i = 0; i < 12; i++) {
        OK(port->begin(db, &err));
        OK(hosts("INSERT INTO t (v) VALUES (zeroblob(400000))"));
        OK(port->commit(db, &err));
    }
}

START_TEST(tidy_moves_a_long_log_into_the_database) {
    start();
    write_row(db, 1);
    shim_reset();
    OK(port->tidy(db, &err));
    ck_assert_uint_eq(shim_count(SHIM_ANY, SHIM_DB), 0);
    fill_log();
    OK(port->begin(db, &err));
    FAILS(port->tidy(db, &err), CDTX_MISUSE, "transaction");
    port->rollback(db);
    shim_reset();
    OK(port->tidy(db, &err));
    ck_assert_uint_gt(shim_count(SHIM_WRITE, SHIM_DB), 1000);
    ck_assert_uint_eq(shim_count(SHIM_SYNC, SHIM_DB), 1);
    off_t size = size_of("-wal");
    shim_reset();
    OK(port->tidy(db, &err)); /* once is enough */
    ck_assert_uint_eq(shim.count, 0);
    write_row(db, 2000);
    OK(port->tidy(db, &err));
    ck_assert_uint_eq(shim_count(SHIM_WRITE, SHIM_DB), 0);
    ck_assert_int_eq(size_of("-wal"), size); /* it began anew in its old space */
    fill_log();
    shim_reset();
    OK(port->tidy(db, &err)); /* and so is the count */
    ck_assert_uint_eq(shim_count(SHIM_SYNC, SHIM_DB), 1);
}
END_TEST

START_TEST(tidy_leaves_readers_what_they_read) {
    start();
    write_row(db, 1);
    sqlite3 *reader = NULL;
    ck_assert_int_eq(sqlite3_open(path, &reader), SQLITE_OK);
    fill_log();
    ck_assert_int_eq(sqlite3_exec(reader, "BEGIN; SELECT count(*) FROM t", NULL, NULL, NULL), SQLITE_OK);
    shim_reset();
    OK(port->tidy(db, &err));
    ck_assert_uint_eq(shim_count(SHIM_SYNC, SHIM_DB), 1);
    shim_reset();
    write_row(db, 5000);
    ck_assert_int_eq(sqlite3_exec(reader, "COMMIT; BEGIN; SELECT count(*) FROM t", NULL, NULL, NULL), SQLITE_OK);
    OK(port->tidy(db, &err));
    ck_assert_uint_eq(shim_count(SHIM_SYNC, SHIM_DB), 0); /* not for every row, though the log cannot begin anew */
    ck_assert_int_eq(sqlite3_exec(reader, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(reader);
}
END_TEST

START_TEST(a_failed_checkpoint_stops_and_loses_nothing) {
    static const struct {
        int op, file;
    } points[] = {{SHIM_SYNC, SHIM_WAL}, {SHIM_WRITE, SHIM_DB}, {SHIM_SYNC, SHIM_DB}, {SHIM_READ, SHIM_WAL}};
    start();
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        fill_log();
        int64_t count = number(db, "SELECT count(*) FROM t");
        shim_fail(points[i].op, points[i].file, 1, 0);
        FAILS(port->tidy(db, &err), CDTX_STOPPED, path);
        ck_assert_int_eq(shim.failed, 1);
        everything_answers_stopped();
        reopen();
        ck_assert_int_eq(number(db, "SELECT count(*) FROM t"), count);
        OK(port->begin(db, &err));
        OK(hosts("DELETE FROM t"));
        OK(port->commit(db, &err));
        reopen();
    }
}
END_TEST

START_TEST(a_full_disk_at_a_checkpoint_goes_by) {
    start();
    fill_log();
    shim_fail(SHIM_WRITE, SHIM_DB, 3, SQLITE_FULL);
    FAILS(port->tidy(db, &err), CDTX_IO, "disk full");
    write_row(db, 9000);
    OK(port->tidy(db, &err));
    ck_assert_int_eq(number(db, "SELECT count(*) FROM t WHERE k = 9000"), 1);
    reopen();
    ck_assert_int_eq(number(db, "SELECT count(*) FROM t WHERE k = 9000"), 1);
}
END_TEST

START_TEST(the_first_sharer_looks_once_a_second) {
    cdtx_test_env *test_env = NULL;
    OK(cdtx_test_env_new(&test_env, &err));
    snprintf(url, sizeof url, "sqlite:%s?vfs=shim&share=1", path);
    OK(port->open(cdtx_test_env_port(test_env), url, &db, &err));
    own(db, CDTX_OWN_FIRST);
    OK(port->begin(db, &err));
    OK(hosts("CREATE TABLE t (k INTEGER PRIMARY KEY, v)"));
    OK(port->commit(db, &err));
    void *other = open_at(url);
    own(other, CDTX_OWN_SHARED);
    cdtx_test_env_advance(test_env, 1001);
    OK(port->tidy(db, &err));
    write_row(other, 1);
    shim.count = 0;
    OK(port->tidy(db, &err));
    ck_assert_uint_eq(shim_count(SHIM_SYNC, SHIM_DB), 0);
    cdtx_test_env_advance(test_env, 1001);
    OK(port->tidy(db, &err));
    ck_assert_uint_eq(shim_count(SHIM_SYNC, SHIM_DB), 1);
    port->close(other);
    close_db();
    cdtx_test_env_free(test_env);
}
END_TEST

/* ---- the Nth of everything ---- */

/* One life: open, own, two commits with an undone rider each, tidy. What it was told of its rows: */
struct told {
    int64_t sure;  /* committed */
    int64_t maybe; /* UNKNOWN */
};

static int32_t rider(void *connection, cdtx_rows *result, int64_t k, int undone) {
    cdtx_value arguments[] = {SQL_INT(k), cdtx__sql_text("a text of some length")};
    int32_t rc = port->savepoint(connection, &err);
    if (rc == 0)
        rc = port->exec(connection, 0, "INSERT INTO t VALUES (?, ?) RETURNING v", arguments, 2, result, NULL, &err);
    if (rc == 0 && undone)
        rc = port->undo(connection, &err);
    return rc != 0 ? rc : port->release(connection, &err);
}

static int32_t group(void *connection, cdtx_rows *result, int64_t k, struct told *told) {
    int32_t rc = port->begin(connection, &err);
    if (rc == 0)
        rc = port->exec(connection, CDTX_SQL_OURS, "CREATE TABLE IF NOT EXISTS t (k INTEGER PRIMARY KEY, v)", NULL, 0,
                        NULL, NULL, &err);
    if (rc == 0)
        rc = rider(connection, result, k, 0);
    if (rc == 0)
        rc = rider(connection, result, k + 100, 1);
    if (rc != 0) {
        port->rollback(connection);
        ck_assert_int_eq(port->in_transaction(connection), 0);
        return rc;
    }
    rc = port->commit(connection, &err);
    told->sure += rc == 0;
    told->maybe += rc == CDTX_UNKNOWN;
    ck_assert_int_eq(port->in_transaction(connection), 0);
    return rc;
}

static int32_t life(const cdtx_env *env, struct told *told) {
    cdtx_rows result;
    int32_t ownership = 0;
    void *connection = NULL;
    cdtx__rows_init(&result, env, 1 << 20);
    int32_t rc = port->open(env, url, &connection, &err);
    if (rc != 0)
        goto out;
    rc = port->own(connection, &ownership, &err);
    for (int64_t k = 1; rc == 0 && k <= 2; k++)
        rc = group(connection, &result, k, told);
    if (rc == 0)
        rc = port->tidy(connection, &err);
    port->close(connection);
out:
    cdtx__rows_free(&result);
    return rc;
}

static void check_told(const struct told *told) {
    db = open_at(url);
    own(db, CDTX_OWN_ALONE);
    int64_t found = 0;
    if (number(db, "SELECT count(*) FROM sqlite_schema") > 0)
        found = number(db, "SELECT count(*) FROM t");
    ck_assert_int_ge(found, told->sure);
    ck_assert_int_le(found, told->sure + told->maybe);
    if (found > 0)
        ck_assert_int_eq(number(db, "SELECT max(k) FROM t"), found);
    ck_assert_str_eq(value_of(db, "PRAGMA integrity_check")->bytes, "ok");
    close_db();
    unlink(path);
}

START_TEST(the_nth_allocation_of_ours_fails) {
    cdtx_test_env *test_env = NULL;
    OK(cdtx_test_env_new(&test_env, &err));
    uint64_t bytes = cdtx_test_env_bytes(test_env);
    for (int for_ever = 0; for_ever < 2; for_ever++)
        for (uint64_t nth = 1;; nth++) {
            ck_assert_uint_lt(nth, 200);
            struct told told = {0};
            cdtx_test_env_fail_memory(test_env, nth, for_ever);
            uint64_t before = cdtx_test_env_allocations(test_env);
            int32_t rc = life(cdtx_test_env_port(test_env), &told);
            int came_through = cdtx_test_env_allocations(test_env) - before < nth;
            cdtx_test_env_fail_memory(test_env, 0, 0);
            ck_assert_int_eq(rc, came_through ? 0 : CDTX_NO_MEMORY);
            ck_assert_uint_eq(cdtx_test_env_bytes(test_env), bytes);
            ck_assert_int_eq(told.maybe, 0);
            check_told(&told);
            if (came_through) {
                ck_assert_uint_gt(nth, 8);
                break;
            }
        }
    cdtx_test_env_free(test_env);
}
END_TEST

static sqlite3_mem_methods heap;
static int64_t heap_left = INT64_MAX;

static int heap_ends(void) {
    return heap_left != INT64_MAX && --heap_left == 0;
}

static void *heap_malloc(int size) {
    return heap_ends() ? NULL : heap.xMalloc(size);
}

static void *heap_realloc(void *block, int size) {
    return heap_ends() ? NULL : heap.xRealloc(block, size);
}

START_TEST(the_nth_allocation_of_sqlite_fails) {
    for (int64_t nth = 1;; nth += nth < 120 ? 1 : 1 + nth % 5) {
        ck_assert_int_lt(nth, 20000);
        struct told told = {0};
        heap_left = nth;
        int32_t rc = life(cdtx__env_posix(), &told);
        int came_through = heap_left > 0;
        heap_left = INT64_MAX;
        if (rc != 0) /* SQLite does without some of them */
            ck_assert_msg(rc == CDTX_NO_MEMORY || rc == CDTX_UNKNOWN || rc == CDTX_STOPPED, "%d: %s: %s", (int)nth,
                          cdtx_code_name(rc), err.text);
        check_told(&told);
        if (came_through) {
            ck_assert_int_eq(rc, 0);
            ck_assert_int_eq(told.sure, 2);
            return;
        }
    }
}
END_TEST

static void fail_nth_io(int result) {
    for (uint64_t nth = 1;; nth++) {
        ck_assert_uint_lt(nth, 2000);
        struct told told = {0};
        shim_reset();
        shim_fail(SHIM_ANY, SHIM_ALL, nth, result);
        int32_t rc = life(cdtx__env_posix(), &told);
        int came_through = !shim.failed;
        shim_reset();
        if (rc != 0)
            ck_assert_msg(rc == CDTX_IO || rc == CDTX_UNKNOWN || rc == CDTX_STOPPED || rc == CDTX_CORRUPT, "%d: %s: %s",
                          (int)nth, cdtx_code_name(rc), err.text);
        check_told(&told);
        if (came_through) {
            ck_assert_int_eq(rc, 0);
            ck_assert_int_eq(told.sure, 2);
            ck_assert_uint_gt(nth, 20);
            return;
        }
    }
}

START_TEST(the_nth_read_write_or_sync_fails) {
    fail_nth_io(0);
}
END_TEST

/* With two processes on one file the same, while the other one goes on. */
START_TEST(the_nth_call_fails_beside_a_reader) {
    for (uint64_t nth = 1; nth < 60; nth++) {
        struct told told = {0};
        start();
        write_row(db, 1000);
        close_db();
        shim_reset();
        void *reader = open_at(url);
        ck_assert_int_eq(number(reader, "SELECT count(*) FROM t"), 1);
        shim_fail(SHIM_ANY, SHIM_ALL, nth, 0);
        life(cdtx__env_posix(), &told);
        shim_reset();
        int64_t found = number(reader, "SELECT count(*) FROM t") - 1;
        ck_assert_int_ge(found, told.sure);
        ck_assert_int_le(found, told.sure + told.maybe);
        port->close(reader);
        db = open_at(url);
        own(db, CDTX_OWN_ALONE);
        int64_t later = number(db, "SELECT count(*) FROM t") - 1;
        ck_assert_int_ge(later, told.sure);
        ck_assert_int_le(later, told.sure + told.maybe);
        close_db();
        unlink(path);
    }
}
END_TEST

static TCase *nothing_more(void) {
    /* Before SQLite's first use. */
    sqlite3_config(SQLITE_CONFIG_GETMALLOC, &heap);
    sqlite3_mem_methods failing = heap;
    failing.xMalloc = heap_malloc;
    failing.xRealloc = heap_realloc;
    sqlite3_config(SQLITE_CONFIG_MALLOC, &failing);
    return NULL;
}

SQLITE_TESTS("sqlite-faults", nothing_more(), a_failed_sync_is_unknown_and_stops, a_failed_write_at_commit_is_unknown,
             a_full_disk_is_a_definite_no, a_full_disk_that_is_not_powersafe_is_unknown,
             a_database_at_its_largest_is_an_io_error, a_failed_sync_inside_a_statement_stops,
             tidy_moves_a_long_log_into_the_database, tidy_leaves_readers_what_they_read,
             a_failed_checkpoint_stops_and_loses_nothing, a_full_disk_at_a_checkpoint_goes_by,
             the_first_sharer_looks_once_a_second, the_nth_allocation_of_ours_fails, the_nth_allocation_of_sqlite_fails,
             the_nth_read_write_or_sync_fails, the_nth_call_fails_beside_a_reader)
