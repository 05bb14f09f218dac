/* The SQL port over a connection that the host has open: conformance, what its answers mean, and rewriting. */
#include "conformance.h"

#include "adapter/lent.h"
#include "lab.h"
#include "plain_host.h"

/* ---- a port that opens plain connections and lends them to the adapter ---- */

struct opened {
    sqlite3 *db;
    void *lent;
    char path[300];
    int owns;
};

static struct plain_host host;
static char owned[300]; /* whom own was given to: the conformance knows one owner */

static int32_t opened_open(const cdtx_env *env, const char *where, void **connection, cdtx_error *e) {
    struct opened *self = calloc(1, sizeof *self);
    snprintf(self->path, sizeof self->path, "%s", where + strlen("lent:"));
    self->db = plain_host_open(self->path);
    int32_t rc = cdtx__lent_open(env, &host.port, self->db, 0, "lent", &self->lent, e);
    *connection = self;
    return rc;
}

static void opened_close(void *connection) {
    struct opened *self = connection;
    cdtx__adapter_lent()->close(self->lent);
    ck_assert_int_eq(sqlite3_close(self->db), SQLITE_OK);
    if (self->owns)
        owned[0] = '\0';
    free(self);
}

static int32_t opened_own(void *connection, int32_t *ownership, cdtx_error *e) {
    struct opened *self = connection;
    int32_t among;
    if (self->owns)
        return cdtx_error_set(e, CDTX_MISUSE, "owned already");
    if (strcmp(owned, self->path) == 0)
        return cdtx_error_set(e, CDTX_BUSY, "somebody else's");
    int32_t rc = cdtx__adapter_lent()->own(self->lent, &among, e);
    if (rc != 0)
        return rc;
    ck_assert_int_eq(among, CDTX_OWN_SHARED);
    self->owns = 1;
    snprintf(owned, sizeof owned, "%s", self->path);
    *ownership = CDTX_OWN_ALONE;
    return 0;
}

#define THROUGH(name)                                                                                                  \
    static int32_t opened_##name(void *connection, cdtx_error *e) {                                                    \
        return cdtx__adapter_lent()->name(((struct opened *)connection)->lent, e);                                     \
    }
THROUGH(begin)
THROUGH(savepoint)
THROUGH(release)
THROUGH(undo)
THROUGH(commit)
THROUGH(tidy)

static int32_t opened_exec(void *connection, uint32_t flags, const char *text, const cdtx_value *values, uint32_t count,
                           cdtx_rows *to, int64_t *changes, cdtx_error *e) {
    return cdtx__adapter_lent()->exec(((struct opened *)connection)->lent, flags, text, values, count, to, changes, e);
}

static int32_t opened_in_transaction(void *connection) {
    return cdtx__adapter_lent()->in_transaction(((struct opened *)connection)->lent);
}

static void opened_rollback(void *connection) {
    cdtx__adapter_lent()->rollback(((struct opened *)connection)->lent);
}

static const cdtx_sql_port opened_port = {
    .size = sizeof opened_port,
    .scheme = "lent",
    .open = opened_open,
    .close = opened_close,
    .own = opened_own,
    .begin = opened_begin,
    .exec = opened_exec,
    .in_transaction = opened_in_transaction,
    .savepoint = opened_savepoint,
    .release = opened_release,
    .undo = opened_undo,
    .commit = opened_commit,
    .rollback = opened_rollback,
    .tidy = opened_tidy,
};

static void fresh(char *text, size_t size) {
    static int number_of;
    owned[0] = '\0';
    snprintf(text, size, "lent:%s/conformance%d.db", folder, number_of++);
}

static struct conformance target = {
    .port = &opened_port,
    .fresh = fresh,
    .create_t = "CREATE TABLE t (k INTEGER PRIMARY KEY, i INTEGER, r REAL, s TEXT, b BLOB) STRICT",
};

static void set_up_target(void) {
    set_up();
    plain_host_init(&host);
    target.env = cdtx__env_posix();
}

static TCase *conformance(void) {
    TCase *tcase = conformance_tcase(&target);
    tcase_add_unchecked_fixture(tcase, set_up_target, tear_down);
    return tcase;
}

/* ---- one connection for the tests below ---- */

static sqlite3 *theirs;

static void begin_with_t(void) {
    port = cdtx__adapter_lent();
    plain_host_init(&host);
    theirs = plain_host_open(path);
    ck_assert_int_eq(sqlite3_exec(theirs, "CREATE TABLE IF NOT EXISTS t (k INTEGER PRIMARY KEY, v)", NULL, NULL, NULL),
                     SQLITE_OK);
    OK(cdtx__lent_open(cdtx__env_posix(), &host.port, theirs, 0, "t.db", &db, &err));
    own(db, CDTX_OWN_SHARED);
}

static void end_with_t(void) {
    close_db();
    ck_assert_int_eq(sqlite3_close(theirs), SQLITE_OK);
}

static int64_t rows_of_t(void) {
    sqlite3 *reader = plain_host_open(path);
    sqlite3_stmt *statement = NULL;
    ck_assert_int_eq(sqlite3_prepare_v2(reader, "SELECT count(*) FROM t", -1, &statement, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(statement), SQLITE_ROW);
    int64_t count = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(reader);
    return count;
}

static void fail_at(const char *statement, int32_t code, int after) {
    host.only = statement;
    host.fail_nth = 1;
    host.fail_code = code;
    host.fail_after = after;
}

/* ---- commit's three answers ---- */

START_TEST(a_commit_has_three_answers) {
    static const struct {
        int32_t answer;
        int after;
        int32_t wanted;
        int64_t rows;
    } cases[] = {
        {CDTX_SQL, 0, CDTX_SQL, 0},         {CDTX_CONFLICT, 0, CDTX_CONFLICT, 0}, {CDTX_BUSY, 0, CDTX_BUSY, 0},
        {CDTX_IO, 0, CDTX_UNKNOWN, 0},      {CDTX_IO, 1, CDTX_UNKNOWN, 1},        {CDTX_NO_MEMORY, 1, CDTX_UNKNOWN, 1},
        {CDTX_UNKNOWN, 1, CDTX_UNKNOWN, 1}, {CDTX_UNKNOWN, 0, CDTX_UNKNOWN, -1},  {CDTX_REFUSED, 1, CDTX_UNKNOWN, 1},
        {42, 1, CDTX_UNKNOWN, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        begin_with_t();
        OK(port->begin(db, &err));
        OK(hosts("DELETE FROM t"));
        OK(port->commit(db, &err));
        OK(port->begin(db, &err));
        OK(hosts("INSERT INTO t VALUES (1, 1)"));
        fail_at("COMMIT", cases[i].answer, cases[i].after);
        FAILS(port->commit(db, &err), cases[i].wanted, "");
        ck_assert_int_eq(port->in_transaction(db), 0);
        if (cases[i].wanted == CDTX_UNKNOWN) {
            FAILS(port->begin(db, &err), CDTX_STOPPED, "lost");
            FAILS(hosts("SELECT 1"), CDTX_STOPPED, "lost");
            FAILS(port->tidy(db, &err), CDTX_STOPPED, "lost");
        } else {
            OK(port->begin(db, &err));
            port->rollback(db);
        }
        if (sqlite3_get_autocommit(theirs) == 0) /* a lost connection is not touched again */
            ck_assert_int_eq(sqlite3_exec(theirs, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
        if (cases[i].rows >= 0)
            ck_assert_int_eq(rows_of_t(), cases[i].rows);
        end_with_t();
    }
}
END_TEST

START_TEST(a_commit_that_leaves_it_open_is_unknown) {
    begin_with_t();
    OK(port->begin(db, &err));
    OK(hosts("INSERT INTO t VALUES (1, 1)"));
    host.only = "COMMIT";
    host.fail_nth = 1;
    host.fail_code = 0; /* yes, it says, and does nothing */
    FAILS(port->commit(db, &err), CDTX_UNKNOWN, "still open");
    ck_assert_int_eq(rows_of_t(), 0);
    end_with_t();
}
END_TEST

START_TEST(deferred_constraints_fail_the_commit) {
    begin_with_t();
    ck_assert_int_eq(sqlite3_exec(theirs, "PRAGMA foreign_keys = ON", NULL, NULL, NULL), SQLITE_OK);
    OK(port->begin(db, &err));
    OK(hosts("CREATE TABLE child (t REFERENCES t (k) DEFERRABLE INITIALLY DEFERRED)"));
    OK(hosts("INSERT INTO child VALUES (7)"));
    FAILS(port->commit(db, &err), CDTX_SQL, "FOREIGN KEY");
    ck_assert_int_eq(sqlite3_get_autocommit(theirs), 1);
    OK(port->begin(db, &err));
    OK(port->commit(db, &err));
    end_with_t();
}
END_TEST

/* ---- what statements answer ---- */

START_TEST(each_class_is_carried_through) {
    static const struct {
        int32_t answer, wanted;
        int open; /* the transaction goes on */
    } cases[] = {
        {CDTX_SQL, CDTX_SQL, 1},
        {CDTX_BUSY, CDTX_BUSY, 1},
        {CDTX_IO, CDTX_IO, 1},
        {CDTX_NO_MEMORY, CDTX_NO_MEMORY, 1},
        {CDTX_CONFLICT, CDTX_CONFLICT, 0},
        {CDTX_UNKNOWN, CDTX_IO, 0},
        {CDTX_REFUSED, CDTX_IO, 0},
        {CDTX_STOPPED, CDTX_IO, 0},
        {42, CDTX_IO, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        begin_with_t();
        OK(port->begin(db, &err));
        fail_at("INSERT", cases[i].answer, 0);
        host.silent = (int)(i % 2);
        FAILS(hosts("INSERT INTO t VALUES (1, 1)"), cases[i].wanted, host.silent ? "exec" : "told to fail");
        ck_assert(err.retry_after_ms > 0 || cases[i].wanted != CDTX_BUSY);
        ck_assert_int_eq(port->in_transaction(db), cases[i].open);
        if (!cases[i].open)
            FAILS(hosts("INSERT INTO t VALUES (2, 2)"), cases[i].answer == CDTX_UNKNOWN ? CDTX_STOPPED : CDTX_MISUSE,
                  "");
        port->rollback(db);
        if (cases[i].answer != CDTX_UNKNOWN)
            ck_assert_int_eq(sqlite3_get_autocommit(theirs), 1);
        else
            ck_assert_int_eq(sqlite3_exec(theirs, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
        end_with_t();
    }
}
END_TEST

START_TEST(a_begin_that_fails_leaves_nothing_open) {
    static const int32_t answers[] = {CDTX_BUSY, CDTX_IO, CDTX_SQL, CDTX_NO_MEMORY};
    begin_with_t();
    for (int after = 0; after < 2; after++)
        for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
            fail_at("BEGIN", answers[i], after);
            FAILS(port->begin(db, &err), answers[i], "told to fail");
            ck_assert_int_eq(sqlite3_get_autocommit(theirs), 1);
        }
    fail_at("BEGIN", 0, 0); /* says yes, opens none */
    FAILS(port->begin(db, &err), CDTX_IO, "after BEGIN");
    OK(port->begin(db, &err));
    OK(port->commit(db, &err));
    end_with_t();
}
END_TEST

START_TEST(a_transaction_of_the_hosts_is_waited_for) {
    begin_with_t();
    ck_assert_int_eq(sqlite3_exec(theirs, "BEGIN", NULL, NULL, NULL), SQLITE_OK);
    FAILS(port->begin(db, &err), CDTX_BUSY, "the host has a transaction open");
    ck_assert_int_eq(sqlite3_get_autocommit(theirs), 0);
    ck_assert_int_eq(sqlite3_exec(theirs, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    OK(port->begin(db, &err));
    OK(port->commit(db, &err));
    end_with_t();
}
END_TEST

START_TEST(an_undo_that_fails_ends_the_transaction) {
    begin_with_t();
    OK(port->begin(db, &err));
    OK(port->savepoint(db, &err));
    OK(hosts("INSERT INTO t VALUES (1, 1)"));
    fail_at("ROLLBACK TO", CDTX_IO, 0);
    FAILS(port->undo(db, &err), CDTX_IO, "told to fail");
    ck_assert_int_eq(port->in_transaction(db), 0);
    ck_assert_int_eq(sqlite3_get_autocommit(theirs), 1);
    end_with_t();
}
END_TEST

START_TEST(a_rollback_that_fails_is_the_end_of_the_connection) {
    begin_with_t();
    OK(port->begin(db, &err));
    fail_at("ROLLBACK", CDTX_IO, 0);
    port->rollback(db);
    FAILS(port->begin(db, &err), CDTX_STOPPED, "lost");
    close_db();
    ck_assert_int_eq(sqlite3_exec(theirs, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_close(theirs), SQLITE_OK);
}
END_TEST

START_TEST(unsafe_settings_are_refused_by_name) {
    static const struct {
        const char *setting, *says;
    } unsafe[] = {
        {"PRAGMA synchronous = OFF", "synchronous = FULL"},
        {"PRAGMA synchronous = NORMAL", "synchronous = FULL"},
        {"PRAGMA synchronous = FULL; PRAGMA journal_mode = DELETE; PRAGMA journal_mode = MEMORY", "journal_mode = WAL"},
        {"PRAGMA journal_mode = OFF", "journal_mode = WAL"},
    };
    int32_t ownership = 77;
    begin_with_t();
    for (size_t i = 0; i < sizeof unsafe / sizeof unsafe[0]; i++) {
        ck_assert_int_eq(sqlite3_exec(theirs, unsafe[i].setting, NULL, NULL, NULL), SQLITE_OK);
        FAILS(port->own(db, &ownership, &err), CDTX_UNSUPPORTED, unsafe[i].says);
        ck_assert_int_eq(ownership, 77);
    }
    ck_assert_int_eq(sqlite3_exec(theirs, "PRAGMA journal_mode = DELETE; PRAGMA synchronous = EXTRA", NULL, NULL, NULL),
                     SQLITE_OK);
    OK(port->own(db, &ownership, &err));
    FAILS(port->open(cdtx__env_posix(), "lent:x", &db, &err), CDTX_UNSUPPORTED, "no URL");
    end_with_t();
}
END_TEST

START_TEST(a_borrowed_transaction_is_the_hosts_to_end) {
    begin_with_t();
    close_db();
    OK(cdtx__lent_open(cdtx__env_posix(), &host.port, theirs, 1, "t.db", &db, &err));
    own(db, CDTX_OWN_SHARED);
    ck_assert_int_eq(port->in_transaction(db), 0);
    ck_assert_int_eq(sqlite3_exec(theirs, "BEGIN", NULL, NULL, NULL), SQLITE_OK);
    ck_assert_int_eq(port->in_transaction(db), 1);
    FAILS(port->begin(db, &err), CDTX_MISUSE, "not for transactions of ours");
    OK(hosts("INSERT INTO t VALUES (1, 1)"));
    FAILS(port->commit(db, &err), CDTX_MISUSE, "by the host");
    ck_assert_int_eq(sqlite3_get_autocommit(theirs), 0);
    fail_at("INSERT", CDTX_CONFLICT, 0);
    FAILS(hosts("INSERT INTO t VALUES (2, 2)"), CDTX_CONFLICT, "told");
    ck_assert_int_eq(sqlite3_get_autocommit(theirs), 0);
    ck_assert_int_eq(port->in_transaction(db), 0);
    FAILS(hosts("INSERT INTO t VALUES (2, 2)"), CDTX_MISUSE, "needs an open transaction");
    port->rollback(db);
    close_db();
    ck_assert_int_eq(sqlite3_get_autocommit(theirs), 0);
    sqlite3_close(theirs);
}
END_TEST

START_TEST(a_write_whose_rows_do_not_fit_did_not_happen) {
    cdtx_rows few;
    begin_with_t();
    cdtx__rows_init(&few, cdtx__env_posix(), 2 * sizeof(cdtx_value));
    OK(port->begin(db, &err));
    FAILS(port->exec(db, 0, "INSERT INTO t (k) VALUES (1), (2), (3) RETURNING k", NULL, 0, &few, NULL, &err),
          CDTX_LIMIT, "");
    ck_assert_int_eq(port->in_transaction(db), 1);
    ck_assert_int_eq(number(db, "SELECT count(*) FROM t"), 0);
    cdtx__rows_reset(&few);
    OK(port->exec(db, 0, "INSERT INTO t (k) VALUES (1) RETURNING k", NULL, 0, &few, NULL, &err));
    ck_assert_uint_eq(few.count, 1);
    OK(port->commit(db, &err));
    ck_assert_int_eq(rows_of_t(), 1);
    cdtx__rows_free(&few);
    end_with_t();
}
END_TEST

START_TEST(what_the_host_may_not_say) {
    static const char *const refused[] = {
        "BEGIN",
        " /* c */ -- d\n COMMIT",
        "end",
        "; ROLLBACK",
        "SAVEPOINT x",
        "RELEASE x",
        "ATTACH 'x' AS y",
        "DETACH y",
        "PRAGMA synchronous = OFF",
        "pragma user_version",
        "VACUUM",
        "INSERT INTO cdtx_job VALUES (1)",
        "INSERT INTO \"cdtx_job\" VALUES (1)",
        "INSERT INTO [CDTX_job] VALUES (1)",
        "INSERT INTO `cdtx_job` VALUES (1)",
        "INSERT INTO 'cdtx_job' VALUES (1)",
        "DELETE FROM main . cdtx_meta",
        "WITH x AS (SELECT 1) DELETE FROM cdtx_meta",
        "ALTER TABLE t RENAME TO cdtx_t",
        "CREATE TRIGGER x AFTER INSERT ON t BEGIN DELETE FROM cdtx_meta; END",
        "SELECT 1; DELETE FROM t",
        "DELETE FROM t;;; DELETE FROM t",
    };
    begin_with_t();
    OK(port->begin(db, &err));
    uint64_t calls = host.calls;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        FAILS(hosts(refused[i]), CDTX_MISUSE, "");
    ck_assert_uint_eq(host.calls, calls);
    OK(hosts("INSERT INTO t VALUES (1, 'not cdtx_job') ; -- the end ; really"));
    OK(hosts("INSERT INTO t VALUES (2, 'a''; DELETE FROM t')/* ; */;"));
    OK(hosts("CREATE TRIGGER x AFTER INSERT ON t BEGIN DELETE FROM t WHERE k = 9; DELETE FROM t WHERE k = 8; END;"));
    OK(hosts("SELECT 'cdtx_job', \"k\" FROM t"));
    FAILS(hosts(" -- nothing\n/* at all"), CDTX_SQL, "empty");
    OK(port->commit(db, &err));
    ck_assert_int_eq(rows_of_t(), 2);
    end_with_t();
}
END_TEST

/* ---- marks ---- */

static void rewritten(const char *text, int32_t style, const char *wanted, const char *order) {
    struct lent_statement statement;
    struct buf out;
    uint32_t numbers[16];
    char got[32] = "";
    cdtx__buf_init(&out, cdtx__env_posix(), 4096);
    OK(cdtx__lent_read(text, 1, &statement, &err));
    cdtx__lent_rewrite(&statement, style, &out, numbers);
    ck_assert_str_eq((const char *)out.bytes, wanted);
    for (uint32_t i = 0; i < statement.marks; i++)
        snprintf(got + strlen(got), sizeof got - strlen(got), "%u", numbers[i]);
    ck_assert_str_eq(got, order);
    cdtx__buf_free(&out);
}

START_TEST(marks_are_rewritten_outside_quotes_and_comments) {
    const char *odd = "SELECT ?, '?', \"?\", `?`, [?], ?3 -- ?\n, ? /* ? */, ?1, 'it''s ?', '100%' % 7";
    rewritten(odd, CDTX_PARAMETERS_QUESTION,
              "SELECT ?, '?', \"?\", `?`, [?], ? -- ?\n, ? /* ? */, ?, 'it''s ?', '100%' % 7", "0230");
    rewritten(odd, CDTX_PARAMETERS_NUMBERED,
              "SELECT ?1, '?', \"?\", `?`, [?], ?3 -- ?\n, ?4 /* ? */, ?1, 'it''s ?', '100%' % 7", "0230");
    rewritten(odd, CDTX_PARAMETERS_DOLLAR,
              "SELECT $1, '?', \"?\", `?`, [?], $3 -- ?\n, $4 /* ? */, $1, 'it''s ?', '100%' % 7", "0230");
    rewritten(odd, CDTX_PARAMETERS_FORMAT,
              "SELECT %s, '?', \"?\", `?`, [?], %s -- ?\n, %s /* ? */, %s, 'it''s ?', '100%%' %% 7", "0230");
    rewritten(odd, CDTX_PARAMETERS_COLON,
              "SELECT :1, '?', \"?\", `?`, [?], :3 -- ?\n, :4 /* ? */, :1, 'it''s ?', '100%' % 7", "0230");
    rewritten("SELECT 1", CDTX_PARAMETERS_DOLLAR, "SELECT 1", "");
    rewritten("SELECT '? open", CDTX_PARAMETERS_DOLLAR, "SELECT '? open", "");
    rewritten("SELECT ? /* ? open", CDTX_PARAMETERS_DOLLAR, "SELECT $1 /* ? open", "0");
    struct lent_statement statement;
    FAILS(cdtx__lent_read("SELECT ?99999", 0, &statement, &err), CDTX_LIMIT, "?99999");
    FAILS(cdtx__lent_read("SELECT ?0", 0, &statement, &err), CDTX_LIMIT, "?0");
    FAILS(cdtx__lent_read("SELECT ?32766, ?", 0, &statement, &err), CDTX_LIMIT, "?");
}
END_TEST

START_TEST(values_follow_their_marks) {
    static const struct {
        int32_t style;
        uint32_t count;
        const char *says;
    } styles[] = {
        {CDTX_PARAMETERS_QUESTION, 3, "SELECT ?, ?, ?"},
        {CDTX_PARAMETERS_NUMBERED, 2, "SELECT ?2, ?1, ?2"},
        {CDTX_PARAMETERS_DOLLAR, 2, "SELECT $2, $1, $2"},
        {CDTX_PARAMETERS_COLON, 2, "SELECT :2, :1, :2"},
    };
    cdtx_value two[] = {SQL_INT(10), SQL_INT(20)};
    begin_with_t();
    for (size_t i = 0; i < sizeof styles / sizeof styles[0]; i++) {
        host.port.parameters = styles[i].style;
        cdtx__rows_reset(&rows);
        OK(port->exec(db, 0, "SELECT ?2, ?1, ?2", two, 2, &rows, NULL, &err));
        ck_assert_str_eq(host.last, styles[i].says);
        ck_assert_uint_eq(host.last_count, styles[i].count);
        if (styles[i].style > CDTX_PARAMETERS_NUMBERED)
            continue; /* SQLite numbers its names by where they come first */
        ck_assert_int_eq(cdtx__rows_int(&rows, 0, 0), 20);
        ck_assert_int_eq(cdtx__rows_int(&rows, 0, 1), 10);
        ck_assert_int_eq(cdtx__rows_int(&rows, 0, 2), 20);
    }
    host.port.parameters = CDTX_PARAMETERS_FORMAT;
    FAILS(port->exec(db, 0, "SELECT ?", two, 1, &rows, NULL, &err), CDTX_SQL, "");
    ck_assert_str_eq(host.last, "SELECT %s");
    host.port.parameters = CDTX_PARAMETERS_QUESTION;
    FAILS(port->exec(db, 0, "SELECT ?2", two, 1, &rows, NULL, &err), CDTX_INVALID, "wants 2 arguments and got 1");
    end_with_t();
}
END_TEST

SQLITE_TESTS("lent", conformance(), a_commit_has_three_answers, a_commit_that_leaves_it_open_is_unknown,
             deferred_constraints_fail_the_commit, each_class_is_carried_through,
             a_begin_that_fails_leaves_nothing_open, a_transaction_of_the_hosts_is_waited_for,
             an_undo_that_fails_ends_the_transaction, a_rollback_that_fails_is_the_end_of_the_connection,
             unsafe_settings_are_refused_by_name, a_borrowed_transaction_is_the_hosts_to_end,
             a_write_whose_rows_do_not_fit_did_not_happen, what_the_host_may_not_say,
             marks_are_rewritten_outside_quotes_and_comments, values_follow_their_marks)
