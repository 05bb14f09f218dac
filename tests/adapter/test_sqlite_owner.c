/* Ownership: alone and shared, within one process and between processes, and after a kill. */
#include "lab.h"

static const char *shared_url(void) {
    snprintf(url, sizeof url, "sqlite:%s?vfs=shim&share=1", path);
    return url;
}

/* ---- a second process, which does what letters say and answers each with a code ---- */

struct process {
    pid_t id;
    int to, from;
};

static void serve_letters(int from, int to, const char *where) {
    void *connection = NULL;
    int32_t ownership = 0;
    char letter;
    while (read(from, &letter, 1) == 1) {
        int32_t rc = -99;
        switch (letter) {
        case 'o':
            rc = port->open(cdtx__env_posix(), where, &connection, &err);
            break;
        case 'w':
            rc = port->own(connection, &ownership, &err);
            rc = rc == 0 ? ownership : rc;
            break;
        case 'b':
            rc = port->begin(connection, &err);
            break;
        case 'i':
            rc = port->exec(connection, 0, "INSERT INTO t (k) SELECT ifnull(max(k), 0) + 1 FROM t", NULL, 0, NULL, NULL,
                            &err);
            break;
        case 'c':
            rc = port->commit(connection, &err);
            break;
        case 't':
            rc = port->tidy(connection, &err);
            break;
        case 'x':
            port->close(connection);
            rc = 0;
            break;
        }
        if (write(to, &rc, sizeof rc) != sizeof rc)
            break;
    }
    _exit(0);
}

/* SQLite must not be carried over a fork, so the child starts before this process opens anything. */
static struct process start_process(const char *where) {
    int there[2], back[2];
    ck_assert_int_eq(pipe(there), 0);
    ck_assert_int_eq(pipe(back), 0);
    fflush(NULL);
    struct process process = {.id = fork(), .to = there[1], .from = back[0]};
    if (process.id == 0) {
        close(there[1]);
        close(back[0]);
        serve_letters(there[0], back[1], where);
    }
    close(there[0]);
    close(back[1]);
    return process;
}

static int32_t tell(const struct process *process, char letter) {
    int32_t rc = -98;
    ck_assert_int_eq(write(process->to, &letter, 1), 1);
    ck_assert_int_eq(read(process->from, &rc, sizeof rc), sizeof rc);
    return rc;
}

static void finish(struct process *process, int signal) {
    int status;
    if (signal != 0)
        kill(process->id, signal);
    close(process->to);
    close(process->from);
    ck_assert_int_eq(waitpid(process->id, &status, 0), process->id);
}

/* ---- alone ---- */

START_TEST(one_owner_in_one_process) {
    start();
    write_row(db, 1);
    void *second = open_at(url);
    FAILS(try_own(second), CDTX_BUSY, path);
    ck_assert_int_gt(err.retry_after_ms, 0);
    FAILS(port->begin(second, &err), CDTX_MISUSE, "own");
    FAILS(port->exec(second, CDTX_SQL_OURS, "DELETE FROM t", NULL, 0, NULL, NULL, &err), CDTX_MISUSE, "transaction");
    ck_assert_int_eq(number(second, "SELECT count(*) FROM t"), 1);
    write_row(db, 2); /* a reader beside it hinders nobody */
    ck_assert_int_eq(number(second, "SELECT count(*) FROM t"), 2);
    void *sharer = open_at(shared_url());
    FAILS(try_own(sharer), CDTX_BUSY, path);
    port->close(sharer);
    close_db();
    own(second, CDTX_OWN_ALONE);
    db = second;
    write_row(db, 3);
}
END_TEST

START_TEST(one_owner_of_two_processes) {
    struct process other = start_process(url);
    start();
    ck_assert_int_eq(tell(&other, 'o'), 0);
    ck_assert_int_eq(tell(&other, 'w'), CDTX_BUSY);
    ck_assert_int_eq(tell(&other, 'b'), CDTX_MISUSE);
    close_db();
    ck_assert_int_eq(tell(&other, 'w'), CDTX_OWN_ALONE);
    db = open_at(url);
    FAILS(try_own(db), CDTX_BUSY, path);
    ck_assert_int_eq(tell(&other, 'x'), 0);
    own(db, CDTX_OWN_ALONE);
    finish(&other, 0);
}
END_TEST

START_TEST(a_killed_owner_is_followed) {
    struct process first = start_process(url);
    db = open_at(url);
    own(db, CDTX_OWN_ALONE);
    OK(port->begin(db, &err));
    OK(hosts("CREATE TABLE t (k INTEGER PRIMARY KEY, v)"));
    OK(port->commit(db, &err));
    close_db();
    static const char letters[] = "ow"
                                  "bic"
                                  "bic"
                                  "bi"; /* the third is never committed */
    for (const char *letter = letters; *letter != '\0'; letter++)
        ck_assert_int_ge(tell(&first, *letter), 0);
    db = open_at(url);
    ck_assert_int_eq(number(db, "SELECT count(*) FROM t"), 2);
    FAILS(try_own(db), CDTX_BUSY, path);
    finish(&first, SIGKILL);
    own(db, CDTX_OWN_ALONE);
    ck_assert_int_eq(number(db, "SELECT count(*) FROM t"), 2);
    write_row(db, 3);
}
END_TEST

START_TEST(a_reader_may_become_the_owner) {
    start();
    write_row(db, 1);
    void *reader = open_at(url);
    ck_assert_int_eq(number(reader, "SELECT count(*) FROM t"), 1);
    close_db();
    db = reader;
    own(db, CDTX_OWN_ALONE);
    ck_assert_int_eq(number(db, "SELECT count(*) FROM t"), 1);
    write_row(db, 2);
    FAILS(try_own(db), CDTX_MISUSE, "already");
}
END_TEST

START_TEST(a_clean_end_leaves_one_file) {
    start();
    write_row(db, 1);
    ck_assert_int_gt(size_of("-wal"), 0);
    close_db();
    ck_assert_int_eq(size_of("-wal"), -1);
    ck_assert_int_eq(size_of("-shm"), -1);
    ck_assert_int_eq(size_of("-owner"), 0);
    db = open_at(url);
    ck_assert_int_eq(number(db, "SELECT count(*) FROM t"), 1);
}
END_TEST

START_TEST(a_reader_that_closes_last_leaves_the_log) {
    struct process first = start_process(url);
    start();
    close_db();
    for (const char *letter = "owbic"; *letter != '\0'; letter++)
        ck_assert_int_ge(tell(&first, *letter), 0);
    db = open_at(url);
    ck_assert_int_eq(number(db, "SELECT count(*) FROM t"), 1);
    finish(&first, SIGKILL);
    off_t size = size_of("-wal");
    ck_assert_int_gt(size, 0);
    shim_reset();
    close_db();
    ck_assert_int_eq(size_of("-wal"), size);
    ck_assert_uint_eq(shim_count(SHIM_WRITE, SHIM_ALL), 0);
}
END_TEST

/* ---- shared ---- */

START_TEST(sharers_take_turns) {
    db = open_at(shared_url());
    own(db, CDTX_OWN_FIRST);
    OK(port->begin(db, &err));
    OK(hosts("CREATE TABLE t (k INTEGER PRIMARY KEY, v)"));
    OK(port->commit(db, &err));
    void *second = open_at(url), *third = open_at(url);
    own(second, CDTX_OWN_SHARED);
    own(third, CDTX_OWN_SHARED);
    OK(port->begin(second, &err));
    FAILS(port->begin(db, &err), CDTX_BUSY, path);
    ck_assert_int_gt(err.retry_after_ms, 0);
    ck_assert_int_eq(port->in_transaction(db), 0);
    OK(port->exec(second, 0, "INSERT INTO t (k) VALUES (1)", NULL, 0, NULL, NULL, &err));
    OK(port->commit(second, &err));
    write_row(db, 2);
    write_row(third, 3);
    ck_assert_int_eq(number(second, "SELECT sum(k) FROM t"), 6);
    snprintf(url, sizeof url, "sqlite:%s?vfs=shim", path);
    void *alone = open_at(url);
    FAILS(try_own(alone), CDTX_BUSY, path);
    close_db();
    FAILS(try_own(alone), CDTX_BUSY, path);
    port->close(second);
    port->close(third);
    own(alone, CDTX_OWN_ALONE);
    db = alone;
}
END_TEST

START_TEST(a_sharer_becomes_first) {
    struct process first = start_process(shared_url());
    db = open_at(url);
    own(db, CDTX_OWN_FIRST);
    OK(port->begin(db, &err));
    OK(hosts("CREATE TABLE t (k INTEGER PRIMARY KEY, v)"));
    OK(port->commit(db, &err));
    close_db();
    for (const char *letter = "owbic"; *letter != '\0'; letter++)
        ck_assert_int_ge(tell(&first, *letter), 0);
    db = open_at(url);
    own(db, CDTX_OWN_SHARED);
    write_row(db, 2);
    off_t size = size_of("");
    shim_reset();
    OK(port->tidy(db, &err));
    ck_assert_uint_eq(shim_count(SHIM_ANY, SHIM_DB), 0); /* not its business */
    finish(&first, SIGKILL);
    OK(port->tidy(db, &err)); /* now it is, and the first look comes at once */
    ck_assert_uint_gt(shim_count(SHIM_WRITE, SHIM_DB), 0);
    ck_assert_int_ge(size_of(""), size);
    void *other = open_at(url);
    own(other, CDTX_OWN_SHARED);
    port->close(other);
}
END_TEST

START_TEST(who_comes_before_a_sharer_has_noticed_is_heir) {
    struct process first = start_process(shared_url());
    for (const char *letter = "ow"; *letter != '\0'; letter++)
        ck_assert_int_ge(tell(&first, *letter), 0);
    db = open_at(url);
    own(db, CDTX_OWN_SHARED);
    finish(&first, SIGKILL);
    void *heir = open_at(url), *next = open_at(url);
    own(heir, CDTX_OWN_HEIR);
    own(next, CDTX_OWN_SHARED); /* trying to be alone has left no lock behind */
    port->close(next);
    port->close(heir);
    close_db();
    db = open_at(url);
    own(db, CDTX_OWN_FIRST);
}
END_TEST

START_TEST(a_sharer_that_writes_delays_the_next_one) {
    struct process first = start_process(shared_url());
    ck_assert_int_eq(tell(&first, 'o'), 0);
    ck_assert_int_eq(tell(&first, 'w'), CDTX_OWN_FIRST);
    ck_assert_int_eq(tell(&first, 'b'), 0);
    db = open_at(url);
    FAILS(try_own(db), CDTX_BUSY, path); /* it must write the log again under the write lock */
    ck_assert_int_eq(tell(&first, 'c'), 0);
    own(db, CDTX_OWN_SHARED);
    ck_assert_int_eq(tell(&first, 'b'), 0);
    FAILS(port->begin(db, &err), CDTX_BUSY, path);
    finish(&first, SIGKILL);
    OK(port->begin(db, &err));
}
END_TEST

/* The level of that check in what inspect says; "" when it says nothing of it. */
static const char *level_of(const char *check) {
    static char level[16];
    level[0] = '\0';
    OK(port->begin(db, &err));
    cdtx__rows_reset(&rows);
    OK(port->inspect(db, 0, &rows, &err));
    for (uint32_t i = 0; i < rows.count; i++) {
        ck_assert_int_eq(cdtx__rows_at(&rows, i, 2)->type, CDTX_TEXT);
        if (strcmp(cdtx__rows_at(&rows, i, 1)->bytes, check) == 0)
            snprintf(level, sizeof level, "%s", (const char *)cdtx__rows_at(&rows, i, 0)->bytes);
    }
    port->rollback(db);
    return level;
}

START_TEST(sharing_on_an_old_sqlite_is_noted) {
    db = open_at(url);
    own(db, CDTX_OWN_ALONE);
    ck_assert_str_eq(level_of("SQLite"), "ok");
    ck_assert_str_eq(level_of("settings"), "ok");
    ck_assert_str_eq(level_of("file"), "ok");
    close_db();
    db = open_at(shared_url());
    own(db, CDTX_OWN_FIRST);
    ck_assert_str_eq(level_of("SQLite"), sqlite3_libversion_number() < 3051003 ? "note" : "ok");
}
END_TEST

START_TEST(a_reader_beside_the_owner_writes_nothing) {
    char reading[sizeof url + 16];
    snprintf(reading, sizeof reading, "%s&read=1", url);
    start();
    write_row(db, 1);
    void *reader = open_at(reading);
    own(reader, CDTX_OWN_NONE);
    OK(port->begin(reader, &err));
    ck_assert_int_eq(number(reader, "SELECT count(*) FROM t"), 1);
    FAILS(port->exec(reader, CDTX_SQL_OURS, "DELETE FROM t", NULL, 0, NULL, NULL, &err), CDTX_MISUSE, "read=1");
    write_row(db, 2); /* the reader's moment stays, and hinders nobody */
    ck_assert_int_eq(number(reader, "SELECT count(*) FROM t"), 1);
    OK(port->commit(reader, &err));
    ck_assert_int_eq(number(reader, "SELECT count(*) FROM t"), 2);
    OK(port->tidy(reader, &err));
    close_db();
    db = open_at(url);
    own(db, CDTX_OWN_ALONE); /* a reader owns nothing */
    port->close(reader);
}
END_TEST

/* ---- repair ---- */

/* The log's events between two marks: all of it read and written again unchanged, one sync behind the last write. */
static void check_rewritten(uint32_t from, uint32_t to, off_t size) {
    sqlite3_int64 end = 0;
    int syncs = 0;
    ck_assert_uint_le(to, SHIM_EVENTS_MAX);
    for (uint32_t i = from; i < to && syncs == 0; i++) {
        const struct shim_event *event = &shim.events[i];
        if (event->file != SHIM_WAL)
            continue;
        syncs += event->op == SHIM_SYNC;
        if (event->op == SHIM_WRITE) {
            ck_assert_int_eq(event->at, end);
            ck_assert_int_eq(event->same, 1);
            end += event->length;
        }
    }
    ck_assert_int_eq(end, size);
    ck_assert_int_eq(syncs, 1);
}

/* Is the log read before its first sync only by the repair, from front to back? */
static int only_the_repair_reads(uint32_t from) {
    sqlite3_int64 end = 0;
    for (uint32_t i = from; i < shim.count; i++) {
        const struct shim_event *event = &shim.events[i];
        if (event->file != SHIM_WAL || event->op == SHIM_WRITE)
            continue;
        if (event->op == SHIM_SYNC)
            return 1;
        if (event->at != end)
            return 0;
        end += event->length;
    }
    return 0;
}

static void leave_a_log(int64_t rows_to_write) {
    struct process first = start_process(url);
    start();
    close_db();
    ck_assert_int_eq(tell(&first, 'o'), 0);
    ck_assert_int_eq(tell(&first, 'w'), CDTX_OWN_ALONE);
    for (int64_t i = 0; i < rows_to_write; i++)
        for (const char *letter = "bic"; *letter != '\0'; letter++)
            ck_assert_int_eq(tell(&first, *letter), 0);
    finish(&first, SIGKILL);
}

START_TEST(the_log_is_written_again_before_it_is_read) {
    leave_a_log(40);
    off_t size = size_of("-wal");
    ck_assert_int_gt(size, 2 * 65536);
    db = open_at(url);
    uint32_t mark = shim.count;
    own(db, CDTX_OWN_ALONE);
    check_rewritten(mark, shim.count, size);
    ck_assert(only_the_repair_reads(mark));
    ck_assert_int_eq(number(db, "SELECT count(*) FROM t"), 40);
}
END_TEST

START_TEST(the_log_is_written_again_beside_readers) {
    leave_a_log(3);
    void *reader = open_at(url);
    ck_assert_int_eq(number(reader, "SELECT count(*) FROM t"), 3);
    db = open_at(url);
    uint32_t mark = shim.count;
    off_t size = size_of("-wal");
    own(db, CDTX_OWN_ALONE);
    check_rewritten(mark, shim.count, size);
    ck_assert_int_eq(number(reader, "SELECT count(*) FROM t"), 3);
    ck_assert_int_eq(number(db, "SELECT count(*) FROM t"), 3);
    write_row(db, 9);
    ck_assert_int_eq(number(reader, "SELECT count(*) FROM t"), 4);
    port->close(reader);
}
END_TEST

static int32_t try_own_elsewhere(void) {
    void *other = open_at(url);
    shim_fail(SHIM_READ, SHIM_WAL, 1, 0);
    int32_t rc = try_own(other);
    port->close(other);
    return rc;
}

START_TEST(a_log_that_cannot_be_written_again_is_an_error) {
    static const int ops[] = {SHIM_READ, SHIM_WRITE, SHIM_SYNC};
    leave_a_log(3);
    for (size_t i = 0; i < 3; i++) {
        db = open_at(url);
        shim_fail(ops[i], SHIM_WAL, 1, 0);
        FAILS(try_own(db), CDTX_IO, path);
        ck_assert_int_eq(shim.failed, 1);
        FAILS(port->begin(db, &err), ops[i] == SHIM_SYNC ? CDTX_STOPPED : CDTX_MISUSE, path);
        FAILS(try_own_elsewhere(), CDTX_IO, path); /* the lock is free, so it gets to the log too */
        close_db();
    }
    db = open_at(url);
    own(db, CDTX_OWN_ALONE);
    ck_assert_int_eq(number(db, "SELECT count(*) FROM t"), 3);
}
END_TEST

SQLITE_TESTS("sqlite-owner", NULL, one_owner_in_one_process, one_owner_of_two_processes, a_killed_owner_is_followed,
             a_reader_may_become_the_owner, a_clean_end_leaves_one_file, a_reader_that_closes_last_leaves_the_log,
             sharers_take_turns, a_sharer_becomes_first, who_comes_before_a_sharer_has_noticed_is_heir,
             a_sharer_that_writes_delays_the_next_one, sharing_on_an_old_sqlite_is_noted,
             a_reader_beside_the_owner_writes_nothing, the_log_is_written_again_before_it_is_read,
             the_log_is_written_again_beside_readers, a_log_that_cannot_be_written_again_is_an_error)
