#include "conformance.h"

#include <float.h>
#include <stdlib.h>

static const struct conformance *on;
static char url[1024];
static void *db;
static cdtx_rows rows;
static cdtx_error err;

#define OK(call) ck_assert_msg((call) == 0, "%s: %s", #call, err.text)
#define FAILS(call, wanted)                                                                                            \
    do {                                                                                                               \
        err = (cdtx_error){0};                                                                                         \
        int32_t got_ = (call);                                                                                         \
        ck_assert_msg(got_ == (wanted), "%s: %s, not %s (%s)", #call, cdtx_code_name(got_), #wanted, err.text);        \
        ck_assert_int_eq(err.code, (wanted));                                                                          \
        ck_assert_msg(err.text[0] != '\0', "%s: no sentence", #call);                                                  \
    } while (0)

static int32_t ours(const char *text) {
    return on->port->exec(db, CDTX_SQL_OURS, text, NULL, 0, NULL, NULL, &err);
}

static int32_t hosts(const char *text) {
    return on->port->exec(db, 0, text, NULL, 0, NULL, NULL, &err);
}

static int64_t number(void *connection, const char *text) {
    cdtx__rows_reset(&rows);
    OK(on->port->exec(connection, 0, text, NULL, 0, &rows, NULL, &err));
    ck_assert_uint_eq(rows.count, 1);
    return cdtx__rows_int(&rows, 0, 0);
}

static void set_up(void) {
    int32_t ownership = 0;
    on->fresh(url, sizeof url);
    cdtx__rows_init(&rows, on->env, 1 << 20);
    OK(on->port->open(on->env, url, &db, &err));
    OK(on->port->own(db, &ownership, &err));
    ck_assert_int_eq(ownership, CDTX_OWN_ALONE);
    OK(on->port->begin(db, &err));
    OK(hosts(on->create_t));
    OK(on->port->commit(db, &err));
}

static void tear_down(void) {
    on->port->close(db);
    cdtx__rows_free(&rows);
}

static void insert(int64_t k) {
    cdtx_value argument = SQL_INT(k);
    OK(on->port->exec(db, 0, "INSERT INTO t (k) VALUES (?)", &argument, 1, NULL, NULL, &err));
}

START_TEST(values_come_back_exactly) {
    static const int64_t integers[] = {0, -1, INT64_MIN, INT64_MAX, INT64_C(9007199254740993)};
    static const double reals[] = {0.1, -1.5, DBL_MAX, DBL_MIN, 1e-320, 3.0};
    char bytes[256];
    for (int i = 0; i < 256; i++)
        bytes[i] = (char)i;
    OK(on->port->begin(db, &err));
    for (int64_t k = 0; k < 6; k++) {
        cdtx_value row[] = {SQL_INT(k),
                            SQL_INT(integers[k % 5]),
                            {.type = CDTX_REAL, .real = reals[k]},
                            cdtx__sql_text(k == 0 ? "" : "M\xc3\xbcnze"),
                            cdtx__sql_blob(bytes, k == 0 ? 0 : 256)};
        OK(on->port->exec(db, 0, "INSERT INTO t (k, i, r, s, b) VALUES (?, ?, ?, ?, ?)", row, 5, NULL, NULL, &err));
    }
    OK(on->port->commit(db, &err));
    cdtx__rows_reset(&rows);
    OK(on->port->exec(db, 0, "SELECT i, r, s, b, NULL FROM t ORDER BY k", NULL, 0, &rows, NULL, &err));
    ck_assert_uint_eq(rows.count, 6);
    for (uint32_t k = 0; k < 6; k++) {
        const cdtx_value *text = cdtx__rows_at(&rows, k, 2), *blob = cdtx__rows_at(&rows, k, 3);
        ck_assert_int_eq(cdtx__rows_int(&rows, k, 0), integers[k % 5]);
        ck_assert_int_eq(cdtx__rows_at(&rows, k, 1)->type, CDTX_REAL);
        ck_assert(cdtx__rows_at(&rows, k, 1)->real == reals[k]);
        ck_assert_int_eq(text->type, CDTX_TEXT);
        ck_assert_str_eq(text->bytes, k == 0 ? "" : "M\xc3\xbcnze");
        ck_assert_uint_eq(text->length, k == 0 ? 0U : 6U);
        ck_assert_int_eq(blob->type, CDTX_BLOB);
        ck_assert_uint_eq(blob->length, k == 0 ? 0U : 256U);
        ck_assert(memcmp(blob->bytes, bytes, blob->length) == 0);
        ck_assert_int_eq(cdtx__rows_at(&rows, k, 4)->type, CDTX_NULL);
    }
}
END_TEST

START_TEST(changes_are_those_of_this_statement) {
    int64_t changes = -1;
    OK(on->port->begin(db, &err));
    for (int64_t k = 1; k <= 3; k++)
        insert(k);
    OK(on->port->exec(db, 0, "UPDATE t SET i = 7 WHERE k < 3", NULL, 0, NULL, &changes, &err));
    ck_assert_int_eq(changes, 2);
    OK(on->port->exec(db, 0, "SELECT k FROM t", NULL, 0, NULL, &changes, &err));
    ck_assert_int_eq(changes, 0);
    OK(on->port->exec(db, 0, "UPDATE t SET i = 7 WHERE k > 99", NULL, 0, NULL, &changes, &err));
    ck_assert_int_eq(changes, 0);
    OK(on->port->exec(db, 0, "DELETE FROM t", NULL, 0, NULL, &changes, &err));
    ck_assert_int_eq(changes, 3);
    on->port->rollback(db);
}
END_TEST

START_TEST(a_reader_sees_commits_only) {
    void *reader = NULL;
    OK(on->port->open(on->env, url, &reader, &err));
    OK(on->port->begin(db, &err));
    insert(1);
    ck_assert_int_eq(number(db, "SELECT count(*) FROM t"), 1);
    ck_assert_int_eq(number(reader, "SELECT count(*) FROM t"), 0);
    OK(on->port->commit(db, &err));
    ck_assert_int_eq(number(reader, "SELECT count(*) FROM t"), 1);
    OK(on->port->begin(db, &err));
    insert(2);
    on->port->rollback(db);
    ck_assert_int_eq(on->port->in_transaction(db), 0);
    ck_assert_int_eq(number(reader, "SELECT count(*) FROM t"), 1);
    FAILS(on->port->begin(reader, &err), CDTX_MISUSE);
    on->port->close(reader);
}
END_TEST

START_TEST(what_is_open_is_rolled_back_by_close) {
    OK(on->port->begin(db, &err));
    insert(1);
    on->port->close(db);
    OK(on->port->open(on->env, url, &db, &err));
    ck_assert_int_eq(number(db, "SELECT count(*) FROM t"), 0);
}
END_TEST

START_TEST(riders_are_undone_one_by_one) {
    OK(on->port->begin(db, &err));
    for (int64_t k = 1; k <= 4; k++) {
        OK(on->port->savepoint(db, &err));
        insert(k);
        if (k % 2 == 0)
            OK(on->port->undo(db, &err));
        if (k == 4) /* it stays open, and goes on */
            insert(14);
        OK(on->port->release(db, &err));
    }
    OK(on->port->commit(db, &err));
    ck_assert_int_eq(number(db, "SELECT count(*) FROM t"), 3);
    ck_assert_int_eq(number(db, "SELECT sum(k) FROM t"), 1 + 3 + 14);
}
END_TEST

START_TEST(a_failed_statement_can_be_undone) {
    OK(on->port->begin(db, &err));
    insert(1);
    OK(on->port->savepoint(db, &err));
    insert(2);
    FAILS(hosts("INSERT INTO t (k) VALUES (2)"), CDTX_SQL);
    FAILS(hosts("INSERT INTO nowhere VALUES (2)"), CDTX_SQL);
    FAILS(hosts("SELEKT 1"), CDTX_SQL);
    FAILS(hosts(""), CDTX_SQL);
    ck_assert_int_eq(on->port->in_transaction(db), 1);
    OK(on->port->undo(db, &err));
    OK(on->port->release(db, &err));
    insert(3);
    OK(on->port->commit(db, &err));
    ck_assert_int_eq(number(db, "SELECT sum(k) FROM t"), 4);
}
END_TEST

START_TEST(calls_out_of_order_are_misuse) {
    FAILS(on->port->commit(db, &err), CDTX_MISUSE);
    FAILS(on->port->savepoint(db, &err), CDTX_MISUSE);
    FAILS(on->port->release(db, &err), CDTX_MISUSE);
    FAILS(on->port->undo(db, &err), CDTX_MISUSE);
    FAILS(hosts("INSERT INTO t (k) VALUES (1)"), CDTX_MISUSE);
    on->port->rollback(db);
    OK(on->port->begin(db, &err));
    ck_assert_int_eq(on->port->in_transaction(db), 1);
    FAILS(on->port->begin(db, &err), CDTX_MISUSE);
    FAILS(on->port->release(db, &err), CDTX_MISUSE);
    FAILS(on->port->undo(db, &err), CDTX_MISUSE);
    OK(on->port->savepoint(db, &err));
    FAILS(on->port->savepoint(db, &err), CDTX_MISUSE);
    OK(on->port->release(db, &err));
    OK(on->port->commit(db, &err));
    ck_assert_int_eq(number(db, "SELECT count(*) FROM t"), 0);
}
END_TEST

START_TEST(a_host_statement_cannot_end_the_group) {
    static const char *const refused[] = {"BEGIN",
                                          "COMMIT",
                                          "ROLLBACK",
                                          "SAVEPOINT cdtx",
                                          "ROLLBACK TO SAVEPOINT cdtx",
                                          "RELEASE SAVEPOINT cdtx",
                                          "INSERT INTO cdtx_mine (k) VALUES (2)",
                                          "UPDATE CDTX_MINE SET k = 2",
                                          "DELETE FROM cdtx_mine",
                                          "DROP TABLE cdtx_mine",
                                          "CREATE TABLE cdtx_yours (k INTEGER PRIMARY KEY)"};
    OK(on->port->begin(db, &err));
    OK(ours("CREATE TABLE cdtx_mine (k INTEGER PRIMARY KEY)"));
    OK(ours("INSERT INTO cdtx_mine (k) VALUES (1)"));
    OK(on->port->savepoint(db, &err));
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        FAILS(hosts(refused[i]), CDTX_MISUSE);
        ck_assert_int_eq(on->port->in_transaction(db), 1);
    }
    FAILS(hosts("DELETE FROM t; DELETE FROM t"), CDTX_MISUSE);
    OK(on->port->release(db, &err));
    OK(on->port->commit(db, &err));
    ck_assert_int_eq(number(db, "SELECT sum(k) FROM cdtx_mine"), 1);
}
END_TEST

START_TEST(arguments_are_counted) {
    cdtx_value two[] = {SQL_INT(1), SQL_INT(2)};
    FAILS(on->port->exec(db, 0, "SELECT ?", two, 0, NULL, NULL, &err), CDTX_INVALID);
    FAILS(on->port->exec(db, 0, "SELECT ?", two, 2, NULL, NULL, &err), CDTX_INVALID);
    cdtx_value odd = {.type = 9};
    FAILS(on->port->exec(db, 0, "SELECT ?", &odd, 1, NULL, NULL, &err), CDTX_INVALID);
}
END_TEST

START_TEST(too_many_rows_are_a_limit) {
    cdtx_rows few;
    cdtx__rows_init(&few, on->env, 3 * sizeof(cdtx_value));
    OK(on->port->begin(db, &err));
    for (int64_t k = 1; k <= 4; k++)
        insert(k);
    FAILS(on->port->exec(db, 0, "SELECT k FROM t", NULL, 0, &few, NULL, &err), CDTX_LIMIT);
    ck_assert_int_eq(on->port->in_transaction(db), 1);
    cdtx__rows_reset(&few);
    OK(on->port->exec(db, 0, "SELECT k FROM t WHERE k < 4", NULL, 0, &few, NULL, &err));
    ck_assert_uint_eq(few.count, 3);
    OK(on->port->commit(db, &err));
    cdtx__rows_free(&few);
}
END_TEST

START_TEST(there_is_one_owner) {
    void *other = NULL;
    int32_t ownership = 77;
    OK(on->port->open(on->env, url, &other, &err));
    FAILS(on->port->own(other, &ownership, &err), CDTX_BUSY);
    ck_assert_int_eq(ownership, 77);
    FAILS(on->port->begin(other, &err), CDTX_MISUSE);
    FAILS(on->port->own(db, &ownership, &err), CDTX_MISUSE);
    on->port->close(db);
    OK(on->port->own(other, &ownership, &err));
    ck_assert_int_eq(ownership, CDTX_OWN_ALONE);
    db = other;
    OK(on->port->begin(db, &err));
    insert(1);
    OK(on->port->commit(db, &err));
    OK(on->port->tidy(db, &err));
}
END_TEST

START_TEST(deferred_constraints_are_the_riders_own) {
    if (on->create_child == NULL)
        return;
    OK(on->port->begin(db, &err));
    OK(hosts(on->create_child));
    OK(on->port->savepoint(db, &err));
    OK(hosts("INSERT INTO child (k, t) VALUES (1, 5)"));
    FAILS(on->port->release(db, &err), CDTX_SQL);
    OK(on->port->undo(db, &err));
    OK(hosts("INSERT INTO child (k, t) VALUES (1, 5)"));
    insert(5);
    OK(on->port->release(db, &err));
    OK(on->port->commit(db, &err));
    OK(on->port->begin(db, &err));
    OK(hosts("INSERT INTO child (k, t) VALUES (2, 6)"));
    FAILS(on->port->commit(db, &err), CDTX_SQL);
    ck_assert_int_eq(on->port->in_transaction(db), 0);
    ck_assert_int_eq(number(db, "SELECT count(*) FROM child"), 1);
}
END_TEST

TCase *conformance_tcase(const struct conformance *target) {
    static const TTest *const *const tests[] = {
        &values_come_back_exactly,
        &changes_are_those_of_this_statement,
        &a_reader_sees_commits_only,
        &what_is_open_is_rolled_back_by_close,
        &riders_are_undone_one_by_one,
        &a_failed_statement_can_be_undone,
        &calls_out_of_order_are_misuse,
        &a_host_statement_cannot_end_the_group,
        &arguments_are_counted,
        &too_many_rows_are_a_limit,
        &there_is_one_owner,
        &deferred_constraints_are_the_riders_own,
    };
    on = target;
    TCase *tcase = tcase_create("conformance");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 60);
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++)
        tcase_add_test(tcase, *tests[i]);
    return tcase;
}
