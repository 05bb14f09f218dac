/* What the SQLite adapter's tests share: a folder of their own, one connection, and short ways to ask. */
#ifndef TESTS_ADAPTER_LAB_H
#define TESTS_ADAPTER_LAB_H

#include <cdtx/test.h>

#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "port/sql.h"
#include "shim.h"

static char folder[256];
static char path[300];
static char url[400];
static const cdtx_sql_port *port;
static void *db;
static cdtx_rows rows;
static cdtx_error err;

#define OK(call)                                                                                                       \
    do {                                                                                                               \
        err = (cdtx_error){0};                                                                                         \
        int32_t got_ = (call);                                                                                         \
        ck_assert_msg(got_ == 0, "%s: %s: %s", #call, cdtx_code_name(got_), err.text);                                 \
    } while (0)

#define FAILS(call, wanted, says)                                                                                      \
    do {                                                                                                               \
        err = (cdtx_error){0};                                                                                         \
        int32_t got_ = (call);                                                                                         \
        ck_assert_msg(got_ == (wanted), "%s: %s, not %s (%s)", #call, cdtx_code_name(got_), #wanted, err.text);        \
        ck_assert_int_eq(err.code, (wanted));                                                                          \
        ck_assert_msg(strstr(err.text, (says)) != NULL, "%s: '%s' does not say '%s'", #call, err.text, (says));        \
    } while (0)

static inline void remove_folder(void) {
    char file[600];
    DIR *all = opendir(folder);
    struct dirent *entry;
    while (all != NULL && (entry = readdir(all)) != NULL) {
        snprintf(file, sizeof file, "%s/%s", folder, entry->d_name);
        if (entry->d_name[0] != '.')
            remove(file);
    }
    if (all != NULL)
        closedir(all);
    rmdir(folder);
}

static inline void set_up(void) {
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%.200s/cdtx-sqlite-XXXXXX", base != NULL ? base : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/a.db", folder);
    snprintf(url, sizeof url, "sqlite:%s?vfs=shim", path);
    shim_reset();
    port = cdtx__adapter_builtin(url);
    ck_assert_ptr_nonnull(port);
    db = NULL;
    cdtx__rows_init(&rows, cdtx__env_posix(), 1 << 24);
}

/* Forgets it first: a failed check must not close it again. */
static inline void close_db(void) {
    void *connection = db;
    db = NULL;
    port->close(connection);
}

static inline void tear_down(void) {
    shim_fail(0, 0, 0, 0);
    if (db != NULL)
        close_db();
    cdtx__rows_free(&rows);
    remove_folder();
}

static inline void *open_at(const char *where) {
    void *connection = NULL;
    OK(port->open(cdtx__env_posix(), where, &connection, &err));
    ck_assert_ptr_nonnull(connection);
    return connection;
}

static inline void own(void *connection, int32_t wanted) {
    int32_t ownership = -1;
    OK(port->own(connection, &ownership, &err));
    ck_assert_int_eq(ownership, wanted);
}

static inline int32_t try_own(void *connection) {
    int32_t ownership = 77;
    int32_t rc = port->own(connection, &ownership, &err);
    ck_assert_int_eq(ownership, 77);
    return rc;
}

static inline int32_t ours(const char *text) {
    return port->exec(db, CDTX_SQL_OURS, text, NULL, 0, NULL, NULL, &err);
}

static inline int32_t hosts(const char *text) {
    return port->exec(db, 0, text, NULL, 0, NULL, NULL, &err);
}

static inline const cdtx_value *value_of(void *connection, const char *text) {
    cdtx__rows_reset(&rows);
    OK(port->exec(connection, CDTX_SQL_OURS, text, NULL, 0, &rows, NULL, &err));
    ck_assert_uint_ge(rows.count, 1);
    return cdtx__rows_at(&rows, 0, 0);
}

static inline int64_t number(void *connection, const char *text) {
    const cdtx_value *value = value_of(connection, text);
    ck_assert_int_eq(value->type, CDTX_INT);
    return value->integer;
}

/* The owner of a new database with table t(k primary key, v). */
static inline void start(void) {
    db = open_at(url);
    own(db, CDTX_OWN_ALONE);
    OK(port->begin(db, &err));
    OK(hosts("CREATE TABLE t (k INTEGER PRIMARY KEY, v)"));
    OK(port->commit(db, &err));
}

static inline void write_row(void *connection, int64_t k) {
    cdtx_value argument = SQL_INT(k);
    OK(port->begin(connection, &err));
    OK(port->exec(connection, 0, "INSERT INTO t (k) VALUES (?)", &argument, 1, NULL, NULL, &err));
    OK(port->commit(connection, &err));
}

static inline off_t size_of(const char *suffix) {
    char file[400];
    struct stat found;
    snprintf(file, sizeof file, "%s%s", path, suffix);
    return stat(file, &found) == 0 ? found.st_size : -1;
}

static inline int run_suite(const char *name, TCase *extra, const TTest *const *tests, size_t count) {
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create(name);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 120);
    for (size_t i = 0; i < count; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    if (extra != NULL)
        suite_add_tcase(suite, extra);
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#define SQLITE_TESTS(name, extra, ...)                                                                                 \
    int main(void) {                                                                                                   \
        const TTest *const tests[] = {__VA_ARGS__};                                                                    \
        return run_suite(name, extra, tests, sizeof tests / sizeof tests[0]);                                          \
    }

#endif
