/* Opening, settings, statements; and the conformance suite. */
#include "conformance.h"

#include <float.h>
#include <math.h>

#include "lab.h"

static int32_t try_open(const char *where) {
    void *connection = NULL;
    int32_t rc = port->open(cdtx__env_posix(), where, &connection, &err);
    if (rc == 0)
        port->close(connection);
    return rc;
}

/* ---- registry and URL ---- */

START_TEST(registry_knows_the_adapter) {
    ck_assert_int_eq(cdtx_has("sqlite"), 1);
    ck_assert_int_eq(cdtx_has("sqlit"), 0);
    ck_assert_int_eq(cdtx_has("sqlite:"), 0);
    ck_assert_int_eq(cdtx_has(""), 0);
    ck_assert_int_eq(cdtx_has(NULL), 0);
    ck_assert_ptr_null(cdtx__adapter_builtin("mysql:x"));
    ck_assert_ptr_null(cdtx__adapter_builtin("sqlite"));
    ck_assert_ptr_null(cdtx__adapter_builtin("sqlite3:x"));
    ck_assert_int_eq(cdtx__url_has_scheme(":x", ""), 0);
}
END_TEST

START_TEST(wrong_urls_are_named) {
    static const struct {
        const char *url, *says;
    } wrong[] = {
        {"sqlite:", "path"},
        {"sqlite:?share=1", "path"},
        {"sqlite::memory:", ":memory:"},
        {"sqlite:%3amemory%3A", ":memory:"},
        {"sqlite:file:x.db", "file:"},
        {"sqlite:a%", "%"},
        {"sqlite:a%4", "%"},
        {"sqlite:a%zz", "%"},
        {"sqlite:a%00b", "%"},
        {"sqlite:x?mode=rw", "'mode'"},
        {"sqlite:x?share=1&cache=shared", "'cache'"},
        {"sqlite:x?share=2", "share=2"},
        {"sqlite:x?read=2", "read=2"},
        {"sqlite:x?read", "'read'"},
        {"sqlite:x?read=1&share=1", "takes no turns"},
        {"sqlite:x?share", "'share'"},
        {"sqlite:x?share=", "'share'"},
        {"sqlite:x?vfs=%0", "'vfs'"},
        {"sqlite:x?", "''"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        FAILS(try_open(wrong[i].url), CDTX_INVALID, wrong[i].says);
    FAILS(port->open(cdtx__env_posix(), "mysql:x", &db, &err), CDTX_INVALID, "mysql:x");
    FAILS(try_open("sqlite:x?vfs=nosuch"), CDTX_UNSUPPORTED, "nosuch");
    ck_assert_ptr_null(db);
}
END_TEST

START_TEST(paths_are_decoded) {
    char odd[400];
    snprintf(odd, sizeof odd, "sqlite:%s/a%%3f%%20%%26.db?share=0", folder);
    db = open_at(odd);
    own(db, CDTX_OWN_ALONE);
    snprintf(odd, sizeof odd, "%s/a? &.db", folder);
    ck_assert_int_eq(access(odd, F_OK), 0);
}
END_TEST

/* ---- opening ---- */

static void fill_file(const char *file, const char *text, size_t length) {
    FILE *out = fopen(file, "w");
    ck_assert_ptr_nonnull(out);
    ck_assert_uint_eq(fwrite(text, 1, length, out), length);
    ck_assert_int_eq(fclose(out), 0);
}

START_TEST(what_cannot_be_opened_says_why) {
    char where[400];
    snprintf(where, sizeof where, "sqlite:%s/nowhere/a.db", folder);
    FAILS(try_open(where), CDTX_NOT_FOUND, "nowhere");
    snprintf(where, sizeof where, "sqlite:%s", folder);
    FAILS(try_open(where), CDTX_IO, folder);
    char noise[4096];
    memset(noise, 'x', sizeof noise);
    fill_file(path, noise, sizeof noise);
    FAILS(try_open(url), CDTX_CORRUPT, path);
    fill_file(path, "short", 5);
    FAILS(try_open(url), CDTX_CORRUPT, path);
    fill_file(path, "", 0);
    ck_assert_int_eq(try_open(url), 0);
}
END_TEST

START_TEST(a_corrupt_page_is_found) {
    start();
    OK(port->begin(db, &err));
    OK(hosts("WITH RECURSIVE n(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n WHERE k < 500)"
             " INSERT INTO t SELECT k, hex(randomblob(50)) FROM n"));
    OK(port->commit(db, &err));
    close_db();
    char noise[4096];
    memset(noise, 0x55, sizeof noise);
    int fd = open(path, O_WRONLY);
    ck_assert_int_eq(pwrite(fd, noise, sizeof noise, 3 * 4096), sizeof noise);
    close(fd);
    db = open_at(url);
    own(db, CDTX_OWN_ALONE);
    FAILS(hosts("SELECT count(v) FROM t"), CDTX_CORRUPT, path);
    OK(port->begin(db, &err));
    FAILS(hosts("UPDATE t SET v = v || 'x'"), CDTX_CORRUPT, path);
    port->rollback(db);
    ck_assert_int_eq(port->in_transaction(db), 0);
}
END_TEST

/* Permissions do not bind root, so another user looks. */
static int as_nobody(int (*body)(void)) {
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        if (getuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
            _exit(99);
        _exit(body());
    }
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int open_and_own_say_io(void) {
    void *connection = NULL;
    int32_t ownership = 0;
    int32_t rc = port->open(cdtx__env_posix(), url, &connection, &err);
    if (rc == 0) {
        rc = port->own(connection, &ownership, &err);
        port->close(connection);
    }
    if (rc == CDTX_IO && strstr(err.text, "a.db") != NULL)
        return 0;
    fprintf(stderr, "%s: %s\n", cdtx_code_name(rc), err.text);
    return 1;
}

static int open_says_read_only(void) {
    void *connection = NULL;
    int32_t rc = port->open(cdtx__env_posix(), url, &connection, &err);
    return rc == CDTX_IO && strstr(err.text, "read-only") != NULL ? 0 : 1;
}

/* A sharer's lock would be granted on a file that is open for reading only, but never the first one's. */
static int sharing_says_owner_file(void) {
    char shared[420];
    snprintf(shared, sizeof shared, "%s&share=1", url);
    void *connection = open_at(shared);
    return try_own(connection) == CDTX_IO && strstr(err.text, "a.db-owner") != NULL ? 0 : 1;
}

START_TEST(read_only_is_an_io_error) {
    start();
    write_row(db, 1);
    close_db();
    char owner[400];
    snprintf(owner, sizeof owner, "%s-owner", path);
    ck_assert_int_eq(chmod(path, 0444), 0);
    ck_assert_int_eq(chmod(folder, 0777), 0);
    ck_assert_int_eq(as_nobody(open_says_read_only), 0);
    ck_assert_int_eq(chmod(path, 0666), 0);
    ck_assert_int_eq(chmod(owner, 0444), 0);
    ck_assert_int_eq(as_nobody(sharing_says_owner_file), 0);
    ck_assert_int_eq(chmod(folder, 0555), 0);
    ck_assert_int_eq(as_nobody(open_and_own_say_io), 0); /* the log cannot be made */
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(as_nobody(open_and_own_say_io), 0); /* nothing can be made */
    ck_assert_int_eq(chmod(folder, 0000), 0);
    ck_assert_int_eq(as_nobody(open_and_own_say_io), 0);
    ck_assert_int_eq(chmod(folder, 0700), 0);
}
END_TEST

/* By the file's header. */
static int is_wal(void) {
    char versions[2] = {0};
    int fd = open(path, O_RDONLY);
    ck_assert_int_eq(pread(fd, versions, 2, 18), 2);
    close(fd);
    return versions[0] == 2 && versions[1] == 2;
}

START_TEST(settings_are_as_promised) {
    static const struct {
        const char *pragma;
        int64_t value;
    } promised[] = {
        {"PRAGMA synchronous", 2},    {"PRAGMA foreign_keys", 1},    {"PRAGMA recursive_triggers", 1},
        {"PRAGMA trusted_schema", 0}, {"PRAGMA cell_size_check", 1}, {"PRAGMA wal_autocheckpoint", 0},
        {"PRAGMA temp_store", 2},     {"PRAGMA busy_timeout", 0},    {"PRAGMA writable_schema", 0},
    };
    start();
    for (size_t i = 0; i < sizeof promised / sizeof promised[0]; i++)
        ck_assert_msg(number(db, promised[i].pragma) == promised[i].value, "%s", promised[i].pragma);
    ck_assert(is_wal());
    cdtx__rows_reset(&rows);
    OK(port->exec(db, CDTX_SQL_OURS, "PRAGMA mmap_size", NULL, 0, &rows, NULL, &err));
    ck_assert_int_eq(cdtx__rows_int(&rows, 0, 0), 0);
}
END_TEST

START_TEST(a_reader_leaves_a_foreign_file_as_it_is) {
    db = open_at(url);
    OK(hosts("SELECT * FROM sqlite_schema"));
    ck_assert_int_eq(number(db, "PRAGMA synchronous"), 2);
    ck_assert_int_eq(size_of(""), 0);
    own(db, CDTX_OWN_ALONE);
    ck_assert(is_wal());
}
END_TEST

START_TEST(a_file_system_without_wal_is_refused) {
    shim.no_shared_memory = 1;
    db = open_at(url);
    FAILS(try_own(db), CDTX_UNSUPPORTED, "wal");
    FAILS(port->begin(db, &err), CDTX_MISUSE, "own");
    shim.no_shared_memory = 0;
    close_db();
    db = open_at(url);
    own(db, CDTX_OWN_ALONE);
}
END_TEST

/* ---- statements ---- */

START_TEST(odd_values) {
    start();
    OK(port->begin(db, &err));
    cdtx_value zero = {.type = CDTX_REAL, .real = -0.0}, infinite = {.type = CDTX_REAL, .real = -INFINITY};
    cdtx_value nan = {.type = CDTX_REAL, .real = NAN};
    cdtx_value empty_text = {.type = CDTX_TEXT}, empty_blob = {.type = CDTX_BLOB};
    cdtx_value inner = {.type = CDTX_TEXT, .length = 3, .bytes = "a\0b"};
    FAILS(port->exec(db, 0, "INSERT INTO t (v) VALUES (?)", &nan, 1, NULL, NULL, &err), CDTX_INVALID, "argument 1");
    const cdtx_value all[] = {zero, infinite, empty_text, empty_blob, inner};
    for (size_t i = 0; i < 5; i++)
        OK(port->exec(db, 0, "INSERT INTO t (v) VALUES (?)", &all[i], 1, NULL, NULL, &err));
    OK(port->commit(db, &err));
    value_of(db, "SELECT v, typeof(v) FROM t ORDER BY k");
    ck_assert_uint_eq(rows.count, 5);
    ck_assert_int_eq(cdtx__rows_at(&rows, 0, 0)->type, CDTX_REAL);
    ck_assert(cdtx__rows_at(&rows, 1, 0)->real == -INFINITY);
    ck_assert_int_eq(cdtx__rows_at(&rows, 2, 0)->type, CDTX_TEXT);
    ck_assert_uint_eq(cdtx__rows_at(&rows, 2, 0)->length, 0);
    ck_assert_int_eq(cdtx__rows_at(&rows, 3, 0)->type, CDTX_BLOB);
    ck_assert_ptr_nonnull(cdtx__rows_at(&rows, 3, 0)->bytes);
    ck_assert_uint_eq(cdtx__rows_at(&rows, 4, 0)->length, 3);
    ck_assert(memcmp(cdtx__rows_at(&rows, 4, 0)->bytes, "a\0b", 4) == 0);
}
END_TEST

START_TEST(changes_are_not_stale) {
    int64_t changes = -1;
    start();
    OK(port->begin(db, &err));
    OK(hosts("CREATE TABLE shadow (k)"));
    OK(hosts("CREATE TRIGGER doubled AFTER INSERT ON t BEGIN INSERT INTO shadow VALUES (new.k), (new.k); END"));
    OK(port->exec(db, 0, "INSERT INTO t (k) VALUES (1), (2)", NULL, 0, NULL, &changes, &err));
    ck_assert_int_eq(changes, 2);
    OK(port->exec(db, 0, "CREATE TABLE other (k)", NULL, 0, NULL, &changes, &err));
    ck_assert_int_eq(changes, 0);
    OK(port->exec(db, 0, "PRAGMA table_info(t)", NULL, 0, NULL, &changes, &err));
    ck_assert_int_eq(changes, 0);
    OK(port->exec(db, 0, "UPDATE t SET v = 1 RETURNING k", NULL, 0, &rows, &changes, &err));
    ck_assert_int_eq(changes, 2);
    ck_assert_uint_eq(rows.count, 2);
    changes = 55;
    FAILS(port->exec(db, 0, "INSERT INTO t (k) VALUES (1)", NULL, 0, NULL, &changes, &err), CDTX_SQL, "UNIQUE");
    ck_assert_int_eq(changes, 55);
    OK(port->commit(db, &err));
}
END_TEST

START_TEST(a_write_whose_answer_is_too_large_did_not_happen) {
    cdtx_rows few;
    cdtx__rows_init(&few, cdtx__env_posix(), 2 * sizeof(cdtx_value));
    start();
    OK(port->begin(db, &err));
    OK(port->savepoint(db, &err));
    OK(hosts("INSERT INTO t (k) VALUES (1), (2)"));
    static const char three[] = "INSERT INTO t (k) VALUES (3), (4), (5) RETURNING k";
    FAILS(port->exec(db, 0, three, NULL, 0, &few, NULL, &err), CDTX_LIMIT, "larger");
    ck_assert_int_eq(number(db, "SELECT count(*) FROM t"), 2);
    OK(port->exec(db, 0, three, NULL, 0, NULL, NULL, &err));
    OK(port->release(db, &err));
    OK(port->commit(db, &err));
    ck_assert_int_eq(number(db, "SELECT count(*) FROM t"), 5);
    cdtx__rows_free(&few);
}
END_TEST

START_TEST(one_statement_in_one_text) {
    start();
    OK(hosts("SELECT 1;"));
    OK(hosts("SELECT 1 ; /* end */ ; -- really\n  "));
    OK(hosts("-- first\nSELECT 1"));
    FAILS(hosts("SELECT 1; SELECT 2"), CDTX_MISUSE, "more than one");
    FAILS(hosts("SELECT 1;;; COMMIT"), CDTX_MISUSE, "more than one");
    FAILS(hosts("SELECT 1; not sql"), CDTX_MISUSE, "more than one");
    FAILS(hosts(""), CDTX_SQL, "empty");
    FAILS(hosts(" -- nothing\n"), CDTX_SQL, "empty");
    FAILS(hosts(";"), CDTX_SQL, "empty");
}
END_TEST

START_TEST(the_cache_forgets_and_remembers) {
    start();
    for (int round = 0; round < 2; round++)
        for (int64_t i = 0; i < 700; i++) {
            char text[64];
            snprintf(text, sizeof text, "SELECT %d", (int)i);
            cdtx__rows_reset(&rows);
            OK(port->exec(db, 0, text, NULL, 0, &rows, NULL, &err));
            ck_assert_int_eq(cdtx__rows_int(&rows, 0, 0), i);
        }
    char *long_text = malloc(40001);
    memset(long_text, ' ', 40000);
    memcpy(long_text, "SELECT 7", 8);
    long_text[40000] = '\0';
    for (int i = 0; i < 3; i++)
        OK(hosts(long_text));
    free(long_text);
    /* One text at one address, changed: the address alone must not decide. */
    char text[] = "SELECT 1";
    ck_assert_int_eq(number(db, text), 1);
    text[7] = '2';
    ck_assert_int_eq(number(db, text), 2);
    /* The same text as ours and as the host's are two statements. */
    OK(ours("PRAGMA foreign_keys"));
    FAILS(hosts("PRAGMA foreign_keys"), CDTX_MISUSE, "foreign_keys");
    OK(ours("PRAGMA foreign_keys"));
}
END_TEST

START_TEST(the_cache_is_bounded) {
    cdtx_test_env *env = NULL;
    uint64_t full = 0;
    OK(cdtx_test_env_new(&env, &err));
    OK(port->open(cdtx_test_env_port(env), url, &db, &err));
    for (int i = 100; i < 1000; i++) {
        char text[64];
        snprintf(text, sizeof text, "SELECT %d", i);
        OK(hosts(text));
        if (i == 100 + 256)
            full = cdtx_test_env_bytes(env);
    }
    ck_assert_uint_eq(cdtx_test_env_bytes(env), full);
    char long_text[20001];
    memset(long_text, ' ', 20000);
    memcpy(long_text, "SELECT 7", 8);
    long_text[20000] = '\0';
    OK(hosts(long_text));
    ck_assert_uint_le(cdtx_test_env_bytes(env), full);
    close_db();
    cdtx_test_env_free(env);
}
END_TEST

START_TEST(cached_statements_survive_a_new_schema) {
    start();
    write_row(db, 1);
    cdtx__rows_reset(&rows);
    OK(port->exec(db, 0, "SELECT * FROM t", NULL, 0, &rows, NULL, &err));
    ck_assert_uint_eq(rows.columns, 2);
    OK(port->begin(db, &err));
    OK(hosts("ALTER TABLE t ADD COLUMN w DEFAULT 5"));
    OK(port->commit(db, &err));
    cdtx__rows_reset(&rows);
    OK(port->exec(db, 0, "SELECT * FROM t", NULL, 0, &rows, NULL, &err));
    ck_assert_uint_eq(rows.columns, 3);
    ck_assert_int_eq(cdtx__rows_int(&rows, 0, 2), 5);
    OK(port->begin(db, &err));
    OK(hosts("DROP TABLE t"));
    FAILS(hosts("SELECT * FROM t"), CDTX_SQL, "no such table");
    port->rollback(db);
    OK(hosts("SELECT * FROM t"));
}
END_TEST

START_TEST(a_statement_may_end_the_transaction) {
    start();
    write_row(db, 1);
    OK(port->begin(db, &err));
    OK(port->savepoint(db, &err));
    OK(hosts("INSERT INTO t (k) VALUES (2)"));
    FAILS(hosts("INSERT OR ROLLBACK INTO t (k) VALUES (1)"), CDTX_SQL, "UNIQUE");
    ck_assert_int_eq(port->in_transaction(db), 0);
    FAILS(port->release(db, &err), CDTX_MISUSE, "no transaction");
    FAILS(port->undo(db, &err), CDTX_MISUSE, "no transaction");
    FAILS(port->commit(db, &err), CDTX_MISUSE, "no transaction");
    port->rollback(db);
    ck_assert_int_eq(number(db, "SELECT count(*) FROM t"), 1);
    OK(port->begin(db, &err));
    FAILS(port->undo(db, &err), CDTX_MISUSE, "no savepoint"); /* the old one is gone */
    OK(port->savepoint(db, &err));
    OK(port->release(db, &err));
    OK(port->commit(db, &err));
}
END_TEST

static const struct {
    const char *statement, *says;
} refused[] = {
    {"BEGIN EXCLUSIVE", "BEGIN"},
    {"END", "COMMIT"},
    {"EXPLAIN ROLLBACK", "ROLLBACK"},
    {"SAVEPOINT a", "avepoint"},
    {"RELEASE cdtx", "avepoint"},
    {"ROLLBACK TO cdtx", "avepoint"},
    {"ATTACH ':memory:' AS b", "ATTACH"},
    {"DETACH main", "DETACH"},
    {"PRAGMA synchronous = OFF", "synchronous"},
    {"PRAGMA foreign_keys", "foreign_keys"},
    {"PRAGMA journal_mode = DELETE", "journal_mode"},
    {"PRAGMA writable_schema = 1", "writable_schema"},
    {"PRAGMA user_version = 4", "user_version"},
    {"PRAGMA wal_checkpoint", "wal_checkpoint"},
    {"PRAGMA defer_foreign_keys = ON", "defer_foreign_keys"},
    {"SELECT load_extension('x')", "load_extension"},
    {"INSERT INTO cdtx_a VALUES (1)", "cdtx_a"},
    {"REPLACE INTO main.\"CDTX_a\" VALUES (1)", "cdtx_a"},
    {"UPDATE [cdtx_A] SET k = 1", "cdtx_a"},
    {"DELETE FROM cdtx_a", "cdtx_a"},
    {"WITH x AS (SELECT 1) INSERT INTO cdtx_a SELECT * FROM x", "cdtx_a"},
    {"DROP TABLE cdtx_a", "cdtx_a"},
    {"DROP INDEX cdtx_i", "cdtx_"},
    {"DROP INDEX plain", "cdtx_a"},
    {"DROP VIEW cdtx_v", "cdtx_v"},
    {"DROP TRIGGER cdtx_r", "cdtx_r"},
    {"DROP TABLE t", "cdtx_r"}, /* one of our triggers stands on it */
    {"REINDEX cdtx_i", "cdtx_i"},
    {"ALTER TABLE cdtx_a ADD COLUMN w", "cdtx_a"},
    {"ALTER TABLE u RENAME TO cdtx_u", "cdtx_"},
    {"ALTER TABLE u RENAME TO \"CDTX_u\"", "cdtx_"},
    {"CREATE TABLE cdtx_b (k)", "cdtx_b"},
    {"CREATE TABLE IF NOT EXISTS Cdtx_b AS SELECT 1", "Cdtx_b"},
    {"CREATE VIEW cdtx_b AS SELECT 1", "cdtx_b"},
    {"CREATE INDEX cdtx_b ON u (k)", "cdtx_b"},
    {"CREATE INDEX b ON cdtx_a (k)", "cdtx_a"},
    {"CREATE TRIGGER b AFTER INSERT ON cdtx_a BEGIN SELECT 1; END", "cdtx_a"},
    {"CREATE TRIGGER cdtx_b AFTER INSERT ON u BEGIN SELECT 1; END", "cdtx_b"},
    {"CREATE TEMP TRIGGER b AFTER INSERT ON main.cdtx_a BEGIN SELECT 1; END", "b"},
    {"CREATE TEMP TABLE u (k)", "temporary"},
    {"CREATE TABLE temp.u (k)", "temporary"},
    {"CREATE TEMP VIEW u AS SELECT 1", "temporary"},
    {"CREATE VIRTUAL TABLE cdtx_f USING fts5(a)", "cdtx_f"},
    {"CREATE VIRTUAL TABLE temp.f USING fts5(a)", "temporary"},
    {"INSERT INTO u VALUES (666)", "cdtx_a"}, /* by way of a trigger of the host's */
};
static const char *const allowed[] = {
    "SELECT * FROM cdtx_a",
    "CREATE VIEW v AS SELECT * FROM cdtx_a",
    "PRAGMA table_info(cdtx_a)",
    "SELECT name FROM pragma_table_info('u')",
    "PRAGMA user_version",
    "PRAGMA quick_check",
    "ALTER TABLE u RENAME TO w",
    "ALTER TABLE w RENAME TO u",
    "CREATE VIRTUAL TABLE f USING fts5(a)",
    "INSERT INTO f VALUES ('words')",
    "INSERT INTO t (k) VALUES (1)", /* fires a trigger of ours, which writes our table */
    "SELECT 'BEGIN; cdtx_a'",
    "ANALYZE",
};
static const char *const ours_before[] = {
    "CREATE TABLE cdtx_a (k)",
    "CREATE INDEX cdtx_i ON cdtx_a (k)",
    "CREATE INDEX plain ON cdtx_a (k)",
    "CREATE VIEW cdtx_v AS SELECT 1",
    "CREATE TRIGGER cdtx_r AFTER INSERT ON t BEGIN INSERT INTO cdtx_a VALUES (new.k); END",
};

START_TEST(what_the_host_may_not_say) {
    start();
    OK(port->begin(db, &err));
    for (size_t i = 0; i < sizeof ours_before / sizeof ours_before[0]; i++)
        OK(ours(ours_before[i]));
    OK(hosts("CREATE TABLE u (k)"));
    OK(hosts("CREATE TRIGGER sly AFTER INSERT ON u WHEN new.k = 666 BEGIN DELETE FROM cdtx_a; END"));
    OK(port->savepoint(db, &err));
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        ck_assert_msg(hosts(refused[i].statement) == CDTX_MISUSE, "%s: %s", refused[i].statement, err.text);
        FAILS(hosts(refused[i].statement), CDTX_MISUSE, refused[i].says);
        ck_assert_int_eq(port->in_transaction(db), 1);
    }
    for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++)
        OK(hosts(allowed[i]));
    FAILS(ours("INSERT INTO u VALUES (666)"), CDTX_MISUSE, "cdtx_a"); /* nor may the host's trigger when we fire it */
    FAILS(hosts("UPDATE sqlite_schema SET sql = ''"), CDTX_SQL, "sqlite_");
    FAILS(hosts("VACUUM"), CDTX_SQL, "VACUUM");
    ck_assert_int_eq(number(db, "SELECT count(*) FROM cdtx_a"), 1);
    OK(port->release(db, &err));
    OK(port->commit(db, &err));
    ck_assert_int_ne(hosts("VACUUM"), 0);
    ck_assert_int_ne(hosts("PRAGMA incremental_vacuum"), 0);
}
END_TEST

static void fresh(char *text, size_t size) {
    static int number_of;
    snprintf(text, size, "sqlite:%s/conformance%d.db", folder, number_of++);
}

static struct conformance target = {
    .fresh = fresh,
    .create_t = "CREATE TABLE t (k INTEGER PRIMARY KEY, i INTEGER, r REAL, s TEXT, b BLOB) STRICT",
    .create_child = "CREATE TABLE child (k INTEGER PRIMARY KEY,"
                    " t INTEGER REFERENCES t (k) DEFERRABLE INITIALLY DEFERRED)",
};

static void set_up_target(void) {
    set_up();
    target.port = port;
    target.env = cdtx__env_posix();
}

static TCase *conformance(void) {
    TCase *tcase = conformance_tcase(&target);
    tcase_add_unchecked_fixture(tcase, set_up_target, tear_down);
    return tcase;
}

SQLITE_TESTS("sqlite", conformance(), registry_knows_the_adapter, wrong_urls_are_named, paths_are_decoded,
             what_cannot_be_opened_says_why, a_corrupt_page_is_found, read_only_is_an_io_error,
             settings_are_as_promised, a_reader_leaves_a_foreign_file_as_it_is, a_file_system_without_wal_is_refused,
             odd_values, changes_are_not_stale, a_write_whose_answer_is_too_large_did_not_happen,
             one_statement_in_one_text, the_cache_forgets_and_remembers, the_cache_is_bounded,
             cached_statements_survive_a_new_schema, a_statement_may_end_the_transaction, what_the_host_may_not_say)
