/* What every test of the public API needs: a folder of its own, asserts on codes and their text, and a look into the
 * files that does not go through the library. */
#ifndef TESTS_ENGINE_LAB_H
#define TESTS_ENGINE_LAB_H

#include <check.h>
#include <ftw.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cdtx/tcc.h>
#include <cdtx/test.h>

static cdtx_error E;
static char lab_dir[512];

/* The call, which is given &E, must succeed and leave E alone. */
#define OK(call)                                                                                                       \
    do {                                                                                                               \
        memset(&E, 0x55, sizeof E);                                                                                    \
        int32_t rc_ = (call);                                                                                          \
        if (rc_ != 0)                                                                                                  \
            ck_abort_msg("%s: %s: %.504s", #call, cdtx_code_name(rc_), E.text);                                        \
        ck_assert_int_eq(E.code, 0x55555555);                                                                          \
    } while (0)

/* The call, which is given &E, must fail with that code and a text that contains word. */
#define FAILS(want, word, call)                                                                                        \
    do {                                                                                                               \
        memset(&E, 0x55, sizeof E);                                                                                    \
        int32_t rc_ = (call);                                                                                          \
        if (rc_ == 0)                                                                                                  \
            ck_abort_msg("%s: succeeded, not %s", #call, cdtx_code_name(want));                                        \
        ck_assert_msg(memchr(E.text, 0, sizeof E.text) != NULL, "%s: no end of text", #call);                          \
        ck_assert_msg(rc_ == (want) && E.code == rc_, "%s: %s, not %s: %s", #call, cdtx_code_name(rc_),                \
                      cdtx_code_name(want), E.text);                                                                   \
        ck_assert_msg(strstr(E.text, word) != NULL, "%s: no '%s' in: %s", #call, word, E.text);                        \
    } while (0)

static inline int lab_remove_one(const char *path, const struct stat *info, int kind, struct FTW *walk) {
    (void)info, (void)kind, (void)walk;
    return remove(path);
}

static inline void lab_setup(void) {
    const char *base = getenv("TMPDIR");
    snprintf(lab_dir, sizeof lab_dir, "%s/cdtx-test-XXXXXX", base != NULL && base[0] != '\0' ? base : "/tmp");
    ck_assert_msg(mkdtemp(lab_dir) != NULL, "no folder %s", lab_dir);
}

static inline void lab_teardown(void) {
    nftw(lab_dir, lab_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* "DIR/file" and "sqlite:DIR/file", each in one of eight rotating buffers. */
static inline const char *lab_join(const char *before, const char *file) {
    static char buffers[8][640];
    static unsigned turn;
    char *buffer = buffers[turn++ % 8];
    snprintf(buffer, sizeof buffers[0], "%s%s/%s", before, lab_dir, file);
    return buffer;
}

static inline const char *lab_path(const char *file) {
    return lab_join("", file);
}

static inline const char *lab_url(const char *file) {
    return lab_join("sqlite:", file);
}

/* Runs statements on a connection of its own; the first column of the first row, -1 when there is none. */
static inline int64_t lab_sql(const char *file, const char *statements) {
    sqlite3 *connection = NULL;
    ck_assert_int_eq(sqlite3_open_v2(lab_path(file), &connection, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL),
                     SQLITE_OK);
    sqlite3_busy_timeout(connection, 5000);
    /* A connection that checkpoints beside the owner would not be a mere looker-on. */
    sqlite3_db_config(connection, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    int64_t value = -1;
    int seen = 0;
    for (const char *rest = statements; rest != NULL && rest[0] != '\0';) {
        sqlite3_stmt *statement = NULL;
        int rc = sqlite3_prepare_v2(connection, rest, -1, &statement, &rest);
        ck_assert_msg(rc == SQLITE_OK, "%s: %s", statements, sqlite3_errmsg(connection));
        while (statement != NULL && (rc = sqlite3_step(statement)) == SQLITE_ROW)
            if (!seen++)
                value = sqlite3_column_int64(statement, 0);
        ck_assert_msg(rc == SQLITE_OK || rc == SQLITE_DONE, "%s: %s", statements, sqlite3_errmsg(connection));
        sqlite3_finalize(statement);
    }
    sqlite3_close(connection);
    return value;
}

/* An engine with its log in log.db. */
static inline cdtx *lab_engine(cdtx_options options) {
    cdtx *engine = NULL;
    options.size = sizeof options;
    if (options.log == NULL)
        options.log = lab_url("log.db");
    OK(cdtx_open(&options, &engine, &E));
    return engine;
}

static inline cdtx_metrics lab_metrics(cdtx *engine) {
    cdtx_metrics metrics = {.size = sizeof metrics};
    OK(cdtx_metrics_read(engine, &metrics, &E));
    return metrics;
}

/* One statement as a closure of its own. */
static inline int32_t lab_statement(cdtx_sql *sql, void *user, cdtx_error *err) {
    return cdtx_sql_exec(sql, user, NULL, err);
}

static inline void lab_exec(cdtx_db *db, const char *statement) {
    OK(cdtx_local(db, lab_statement, (void *)(uintptr_t)statement, &E));
}

/* Runs the only test case of a file in this process. Its exit status is main's. */
static inline int lab_main(const char *name, void (*tests)(TCase *tcase)) {
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create(name);
    tcase_add_checked_fixture(tcase, lab_setup, lab_teardown);
    tests(tcase);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
