/* Global transactions for a person: list, show, branches; and stepping in, always by a compare-and-set that raises the
 * epoch, so that whoever drives the gid meanwhile changes nothing more (README.md, D5). */
#include <stdio.h>

#include "engine/ask.h"
#include "engine/case.h"
#include "engine/coord_op.h"
#include "engine/drive.h"
#include "engine/hook.h"
#include "store/guard.h"
#include "store/record.h"

/* One row with the most that its branches may take. */
enum { TX_BYTES_MAX = (16 << 20) + 65536 };

/* Both questions read these columns, in this order. */
#define TX_COLUMNS                                                                                                     \
    "seq, state, parked, name, key, branches, acked, attempts, began, due, error, reason, epoch, reverse_after, noes," \
    " ended"
enum tx_column {
    TX_SEQ,
    TX_STATE,
    TX_PARKED,
    TX_NAME,
    TX_KEY,
    TX_BRANCHES,
    TX_ACKED,
    TX_ATTEMPTS,
    TX_BEGAN,
    TX_DUE,
    TX_ERROR,
    TX_REASON,
    TX_EPOCH,
    TX_REVERSE_AFTER,
    TX_NOES,
    TX_ENDED
};

/* rows gets the one row. */
static int32_t read_tx(cdtx_sql *sql, int64_t sequence, cdtx_rows *rows, cdtx_error *err) {
    cdtx_value key = SQL_INT(sequence);
    int32_t rc = cdtx__sql_run(sql, "SELECT " TX_COLUMNS " FROM cdtx_tx WHERE seq = ?", &key, 1, rows, NULL, err);
    return rc == 0 && rows->count == 0 ? cdtx__coord_absent(sql, sequence, err) : rc;
}

/* ---- rows for a person ---- */

static const char *const list_names[] = {"gid",      "state",    "parked",   "name",      "key",   "branches",
                                         "answered", "attempts", "began_ms", "due_in_ms", "error", NULL};
enum { LIST_COLUMNS = 11 };

/* NULL when the record is garbled: a list must still show such a row. */
static cdtx_value count_branches(const cdtx_value *record) {
    struct coord_branch branches[CDTX_BRANCHES_MAX];
    uint32_t count = 0;
    if (cdtx__record_read(record->bytes, record->length, branches, &count, NULL) != 0)
        return SQL_NULL;
    return SQL_INT(count);
}

static int32_t count_answered(int64_t acked) {
    int32_t count = 0;
    for (uint64_t left = (uint64_t)acked; left != 0; left &= left - 1)
        count++;
    return count;
}

static cdtx_value due_in(const cdtx_sql *sql, const cdtx_value *due) {
    if (due->type != CDTX_INT)
        return SQL_NULL;
    int64_t in = due->integer - cdtx__store_clock_ms(sql->store);
    return SQL_INT(in < 0 ? 0 : in);
}

static void fill_list_row(const cdtx_sql *sql, const cdtx_rows *rows, uint32_t row, char gid[CDTX_GID_MAX],
                          cdtx_value values[LIST_COLUMNS]) {
    cdtx__gid_text(sql->store->uuid, cdtx__rows_int(rows, row, TX_SEQ), gid);
    values[0] = cdtx__sql_text(gid);
    values[1] = *cdtx__rows_at(rows, row, TX_STATE);
    values[2] = *cdtx__rows_at(rows, row, TX_PARKED);
    values[3] = *cdtx__rows_at(rows, row, TX_NAME);
    values[4] = *cdtx__rows_at(rows, row, TX_KEY);
    values[5] = count_branches(cdtx__rows_at(rows, row, TX_BRANCHES));
    values[6] = SQL_INT(count_answered(cdtx__rows_int(rows, row, TX_ACKED)));
    values[7] = *cdtx__rows_at(rows, row, TX_ATTEMPTS);
    values[8] = *cdtx__rows_at(rows, row, TX_BEGAN);
    values[9] = due_in(sql, cdtx__rows_at(rows, row, TX_DUE));
    values[10] = *cdtx__rows_at(rows, row, TX_ERROR);
}

/* ---- list ---- */

struct list_ask {
    struct ask ask;
    const cdtx_tx_filter *filter;
    int64_t after;
    uint32_t limit;
};

/* What is open or parked has an index of its own, so that a long history is not read for it. Of open ones that index
 * must be sorted, so a page asks once for its numbers, and then for each row. */
static const char *list_statement(const cdtx_tx_filter *filter) {
    if (filter->parked)
        return "SELECT seq FROM cdtx_tx INDEXED BY cdtx_tx_parked WHERE parked IS NOT NULL"
               " AND seq > ? AND (? = 0 OR state = ?) AND (? IS NULL OR name = ?) AND began <= ? ORDER BY seq LIMIT ?";
    if (cdtx__has_ended(filter->state))
        return "SELECT seq FROM cdtx_tx NOT INDEXED WHERE"
               " seq > ? AND (? = 0 OR state = ?) AND (? IS NULL OR name = ?) AND began <= ? ORDER BY seq LIMIT ?";
    return "SELECT seq FROM cdtx_tx INDEXED BY cdtx_tx_due WHERE due IS NOT NULL"
           " AND seq > ? AND (? = 0 OR state = ?) AND (? IS NULL OR name = ?) AND began <= ? ORDER BY seq LIMIT ?";
}

static int32_t list_numbers(struct list_ask *list, cdtx_sql *sql, cdtx_error *err) {
    const cdtx_tx_filter *f = list->filter;
    cdtx_value name = cdtx__sql_text(f->name);
    cdtx_value arguments[] = {SQL_INT(list->after),
                              SQL_INT(f->state),
                              SQL_INT(f->state),
                              name,
                              name,
                              SQL_INT(f->older_ms == 0 ? INT64_MAX : cdtx__wall_ms(sql->store->env) - f->older_ms),
                              SQL_INT(list->limit)};
    return cdtx__sql_run(sql, list_statement(f), arguments, 7, &list->ask.rows, NULL, err);
}

static int32_t run_list(struct ask *ask, cdtx_sql *sql, cdtx_error *err) {
    cdtx_rows row;
    int32_t rc = list_numbers(LIST_OF(ask, struct list_ask, ask), sql, err);
    cdtx__rows_init(&row, sql->store->env, TX_BYTES_MAX);
    for (uint32_t i = 0; rc == 0 && i < ask->rows.count; i++) {
        char gid[CDTX_GID_MAX];
        cdtx_value values[LIST_COLUMNS];
        cdtx__rows_reset(&row);
        rc = read_tx(sql, cdtx__rows_int(&ask->rows, i, 0), &row, err);
        if (rc != 0)
            break;
        fill_list_row(sql, &row, 0, gid, values);
        rc = cdtx__report_add(ask->report, values, err);
    }
    cdtx__rows_free(&row);
    return rc;
}

static int32_t check_filter(const cdtx_tx_filter *f, uint32_t *limit, cdtx_error *err) {
    int32_t rc = cdtx__ask_limit(f->limit, limit, err);
    if (rc == 0 && (f->state < 0 || f->state > CDTX_TX_REVERSED))
        rc = cdtx__fail(err, CDTX_INVALID, "state %d is no cdtx_tx_state", f->state);
    if (rc == 0 && f->parked != 0 && f->parked != 1)
        rc = cdtx__fail(err, CDTX_INVALID, "parked is %d; it is 0 or 1", f->parked);
    if (rc == 0 && f->name != NULL)
        rc = cdtx__check_name(f->name, "the name to list", err);
    return rc != 0 ? rc : cdtx__check_ms(f->older_ms, "older_ms", err);
}

int32_t cdtx_tx_list(cdtx *engine, const cdtx_tx_filter *filter, cdtx_report **report, cdtx_error *err) {
    cdtx_tx_filter f = {0};
    struct list_ask list = {.ask.run = run_list, .filter = &f};
    struct store *store = NULL;
    int32_t rc = cdtx__options(filter, &f, sizeof f, sizeof f, "cdtx_tx_filter", err);
    if (rc == 0)
        rc = check_filter(&f, &list.limit, err);
    if (rc == 0 && f.after != NULL) {
        rc = cdtx__ask_enter(engine, NULL, "cdtx_tx_list", 0, &store, err);
        if (rc == 0) {
            rc = cdtx__ask_gid(engine, f.after, &list.after, err);
            cdtx__ask_leave(engine);
        }
    }
    return rc != 0 ? rc : cdtx__ask_report(engine, NULL, "cdtx_tx_list", list_names, &list.ask, report, err);
}

/* ---- show ---- */

static const char *const show_names[] = {"gid",      "state",         "parked",   "name",         "key",   "branches",
                                         "answered", "attempts",      "began_ms", "due_in_ms",    "error", "reason",
                                         "epoch",    "reverse_after", "noes",     "ended_ago_ms", NULL};
enum { SHOW_COLUMNS = LIST_COLUMNS + 5 };

/* One transaction: a question about it or an action on it. */
struct one_ask {
    struct ask ask;
    const char *gid;
    int64_t sequence;
    const char *actor, *reason; /* of an action */
};

/* A commit has only one. */
static cdtx_value reason_text(int64_t state, int64_t reason) {
    if (state != CDTX_TX_ROLLING_BACK && state != CDTX_TX_ROLLED_BACK)
        return SQL_NULL;
    switch (reason) {
    case COORD_REASON_ASKED:
        return cdtx__sql_text("asked");
    case COORD_REASON_TIMEOUT:
        return cdtx__sql_text("timeout");
    case COORD_REASON_ABANDONED:
        return cdtx__sql_text("abandoned");
    default:
        return SQL_NULL;
    }
}

static cdtx_value ended_ago(const cdtx_sql *sql, const cdtx_value *ended) {
    if (ended->type != CDTX_INT)
        return SQL_NULL;
    int64_t ago = cdtx__store_clock_ms(sql->store) - ended->integer;
    return SQL_INT(ago < 0 ? 0 : ago);
}

static int32_t run_show(struct ask *ask, cdtx_sql *sql, cdtx_error *err) {
    struct one_ask *one = LIST_OF(ask, struct one_ask, ask);
    int32_t rc = read_tx(sql, one->sequence, &ask->rows, err);
    if (rc != 0)
        return rc;
    char gid[CDTX_GID_MAX];
    cdtx_value values[SHOW_COLUMNS];
    fill_list_row(sql, &ask->rows, 0, gid, values);
    values[LIST_COLUMNS] =
        reason_text(cdtx__rows_int(&ask->rows, 0, TX_STATE), cdtx__rows_int(&ask->rows, 0, TX_REASON));
    values[LIST_COLUMNS + 1] = *cdtx__rows_at(&ask->rows, 0, TX_EPOCH);
    values[LIST_COLUMNS + 2] = *cdtx__rows_at(&ask->rows, 0, TX_REVERSE_AFTER);
    values[LIST_COLUMNS + 3] = *cdtx__rows_at(&ask->rows, 0, TX_NOES);
    values[LIST_COLUMNS + 4] = ended_ago(sql, cdtx__rows_at(&ask->rows, 0, TX_ENDED));
    return cdtx__report_add(ask->report, values, err);
}

static int32_t ride_one(cdtx *engine, struct store *store, const char *gid, struct one_ask *one, cdtx_error *err) {
    int32_t rc = cdtx__ask_gid(engine, gid, &one->sequence, err);
    one->gid = gid;
    return rc != 0 ? rc : cdtx__ask_ride(engine, store, &one->ask, err);
}

int32_t cdtx_tx_show(cdtx *engine, const char *gid, cdtx_report **report, cdtx_error *err) {
    struct one_ask one = {.ask.run = run_show};
    struct store *store = NULL;
    if (report == NULL)
        return cdtx__fail(err, CDTX_INVALID, "cdtx_tx_show: the place for the report is NULL");
    int32_t rc = cdtx__ask_enter(engine, NULL, "cdtx_tx_show", 0, &store, err);
    if (rc != 0)
        return rc;
    rc = cdtx__report_new(engine->env, show_names, &one.ask.report, err);
    if (rc == 0)
        rc = ride_one(engine, store, gid, &one, err);
    if (rc == 0)
        *report = one.ask.report;
    else
        cdtx_report_close(one.ask.report);
    cdtx__ask_leave(engine);
    return rc;
}

/* ---- branches ---- */

static const char *const branch_names[] = {"branch", "participant", "answered", "payload", "database", "guard", NULL};

/* Where each branch's guard was found. */
struct found_guard {
    const char *database; /* the store's: stays while the engine is open */
    int64_t state;
};

struct guards_ask {
    struct ask ask;
    const uint8_t *log;
    int64_t sequence;
    struct found_guard found[CDTX_BRANCHES_MAX];
};

struct branches_ask {
    struct one_ask one;
    struct guards_ask guards;
};

static int32_t run_guards(struct ask *ask, cdtx_sql *sql, cdtx_error *err) {
    struct guards_ask *guards = LIST_OF(ask, struct guards_ask, ask);
    cdtx_value key[] = {cdtx__sql_blob(guards->log, 16), SQL_INT(guards->sequence)};
    int32_t rc = cdtx__sql_run(sql, "SELECT branch, state FROM cdtx_guard WHERE log = ? AND seq = ?", key, 2,
                               &ask->rows, NULL, err);
    for (uint32_t i = 0; rc == 0 && i < ask->rows.count; i++) {
        int64_t branch = cdtx__rows_int(&ask->rows, i, 0);
        if (branch >= 0 && branch < CDTX_BRANCHES_MAX)
            guards->found[branch] =
                (struct found_guard){.database = sql->store->name, .state = cdtx__rows_int(&ask->rows, i, 1)};
    }
    return rc;
}

static cdtx_value guard_text(const struct found_guard *found) {
    static const char *const names[GUARD_STATES] = {
        [GUARD_TRIED] = "TRIED",
        [GUARD_REJECTED] = "REJECTED",
        [GUARD_CONFIRMED] = "CONFIRMED",
        [GUARD_CANCELLED] = "CANCELLED",
        [GUARD_EMPTY_CANCELLED] = "EMPTY_CANCELLED",
        [GUARD_REVERSED] = "REVERSED",
    };
    if (found->database == NULL)
        return SQL_NULL;
    const char *name = found->state > 0 && found->state < GUARD_STATES ? names[found->state] : NULL;
    return cdtx__sql_text(name == NULL ? "damaged" : name);
}

static int32_t run_branches(struct ask *ask, cdtx_sql *sql, cdtx_error *err) {
    struct one_ask *one = LIST_OF(ask, struct one_ask, ask);
    const struct guards_ask *guards = &LIST_OF(one, struct branches_ask, one)->guards;
    struct coord_branch branches[CDTX_BRANCHES_MAX];
    uint32_t count = 0;
    int32_t rc = read_tx(sql, one->sequence, &ask->rows, err);
    if (rc != 0)
        return rc;
    const cdtx_value *record = cdtx__rows_at(&ask->rows, 0, TX_BRANCHES);
    int64_t acked = cdtx__rows_int(&ask->rows, 0, TX_ACKED);
    rc = cdtx__record_read(record->bytes, record->length, branches, &count, err);
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        cdtx_value values[] = {SQL_INT(i),
                               cdtx__sql_text(branches[i].participant),
                               SQL_INT(acked >> i & 1),
                               cdtx__sql_blob(branches[i].payload, branches[i].length),
                               cdtx__sql_text(guards->found[i].database),
                               guard_text(&guards->found[i])};
        rc = cdtx__report_add(ask->report, values, err);
    }
    return rc;
}

/* A database that cannot be asked now only leaves its guards out. */
static void find_guards(cdtx *engine, struct guards_ask *guards) {
    guards->ask.run = run_guards;
    guards->log = engine->log->store->uuid;
    for (cdtx_db *db = cdtx__db_after(engine, NULL); db != NULL; db = cdtx__db_after(engine, db))
        if (cdtx__host_lends(db))
            (void)cdtx__ask_ride(engine, db->store, &guards->ask, NULL);
}

int32_t cdtx_tx_branches(cdtx *engine, const char *gid, cdtx_report **report, cdtx_error *err) {
    struct branches_ask b = {.one.ask.run = run_branches};
    struct store *store = NULL;
    if (report == NULL)
        return cdtx__fail(err, CDTX_INVALID, "cdtx_tx_branches: the place for the report is NULL");
    int32_t rc = cdtx__ask_enter(engine, NULL, "cdtx_tx_branches", 0, &store, err);
    if (rc != 0)
        return rc;
    rc = cdtx__ask_gid(engine, gid, &b.guards.sequence, err);
    if (rc == 0)
        rc = cdtx__report_new(engine->env, branch_names, &b.one.ask.report, err);
    if (rc == 0) {
        find_guards(engine, &b.guards);
        rc = ride_one(engine, store, gid, &b.one, err);
    }
    if (rc == 0)
        *report = b.one.ask.report;
    else
        cdtx_report_close(b.one.ask.report);
    cdtx__ask_leave(engine);
    return rc;
}

/* ---- actions ---- */

/* Only what is decided and has not ended; parked: 1 or 0, as it must stand, -1: either. */
static int32_t read_decided(struct one_ask *one, cdtx_sql *sql, int parked, cdtx_error *err) {
    const cdtx_rows *rows = &one->ask.rows;
    int32_t rc = read_tx(sql, one->sequence, &one->ask.rows, err);
    if (rc != 0)
        return rc;
    int64_t state = cdtx__rows_int(rows, 0, TX_STATE);
    int is_parked = cdtx__rows_at(rows, 0, TX_PARKED)->type != CDTX_NULL;
    if (state == CDTX_TX_ACTIVE)
        return cdtx__fail(err, CDTX_MISUSE, "%s is undecided: its deadline decides it", one->gid);
    if (state != CDTX_TX_COMMITTING && state != CDTX_TX_ROLLING_BACK && state != CDTX_TX_REVERSING)
        return cdtx__fail(err, CDTX_MISUSE, "%s has ended already", one->gid);
    if (parked == 1 && !is_parked)
        return cdtx__fail(err, CDTX_MISUSE, "%s is not parked", one->gid);
    if (parked == 0 && is_parked)
        return cdtx__fail(err, CDTX_MISUSE, "%s is parked already", one->gid);
    return 0;
}

/* The write of an action: its last two arguments must be the number and the epoch that was read. */
static int32_t set(const struct one_ask *one, cdtx_sql *sql, const char *statement, const cdtx_value *arguments,
                   uint32_t count, cdtx_error *err) {
    int64_t changes = 0;
    int32_t rc = cdtx__sql_run(sql, statement, arguments, count, NULL, &changes, err);
    if (rc == 0 && changes != 1)
        rc = cdtx__fail(err, CDTX_CONFLICT, "%s is being changed right now: look and come again", one->gid);
    return rc;
}

static int32_t note_line(const struct one_ask *one, cdtx_sql *sql, const char *action, cdtx_error *err) {
    char subject[CDTX_GID_MAX + 8];
    snprintf(subject, sizeof subject, "tx %s", one->gid);
    struct audit_line line = {.actor = one->actor, .action = action, .subject = subject, .reason = one->reason};
    if (MUTANT(sql->store->env, "step-in-unseen"))
        return 0;
    return cdtx__audit_append(sql, &line, err);
}

static int32_t run_retry(struct ask *ask, cdtx_sql *sql, cdtx_error *err) {
    struct one_ask *one = LIST_OF(ask, struct one_ask, ask);
    int32_t rc = read_decided(one, sql, -1, err);
    if (rc != 0)
        return rc;
    cdtx_value arguments[] = {SQL_INT(cdtx__store_stamp_ms(sql->store)), SQL_INT(one->sequence),
                              SQL_INT(cdtx__rows_int(&ask->rows, 0, TX_EPOCH))};
    const char *statement = "UPDATE cdtx_tx SET due = ?, epoch = epoch + 1 WHERE seq = ? AND epoch = ?";
    if (MUTANT(sql->store->env, "step-in-unfenced"))
        statement = "UPDATE cdtx_tx SET due = ?, attempts = attempts + 1 WHERE seq = ? AND epoch = ?";
    rc = set(one, sql, statement, arguments, 3, err);
    return rc != 0 ? rc : note_line(one, sql, "retry", err);
}

static int32_t open_case(const struct one_ask *one, cdtx_sql *sql, cdtx_error *err) {
    char evidence[1024];
    int opened = 0;
    const cdtx_rows *rows = &one->ask.rows;
    const char *error = cdtx__rows_at(rows, 0, TX_ERROR)->bytes;
    snprintf(evidence, sizeof evidence, "state %s; attempts %lld; branches answered %d; last error: %.700s",
             cdtx__sm_name(&cdtx__coord_machine, cdtx__rows_int(rows, 0, TX_STATE)),
             (long long)cdtx__rows_int(rows, 0, TX_ATTEMPTS), count_answered(cdtx__rows_int(rows, 0, TX_ACKED)),
             error == NULL ? "none" : error);
    return cdtx__case_open(sql, "tx", one->gid, one->reason, evidence, one->actor, &opened, err);
}

static int32_t run_park(struct ask *ask, cdtx_sql *sql, cdtx_error *err) {
    struct one_ask *one = LIST_OF(ask, struct one_ask, ask);
    const cdtx *engine = one->ask.waited.engine;
    int32_t rc = read_decided(one, sql, 0, err);
    if (rc != 0)
        return rc;
    cdtx_value arguments[] = {cdtx__sql_text(one->reason),
                              SQL_INT(cdtx__store_stamp_ms(sql->store) + engine->options.park_retry_ms),
                              SQL_INT(one->sequence), SQL_INT(cdtx__rows_int(&ask->rows, 0, TX_EPOCH))};
    rc = set(one, sql, "UPDATE cdtx_tx SET parked = ?, due = ?, epoch = epoch + 1 WHERE seq = ? AND epoch = ?",
             arguments, 4, err);
    if (rc == 0)
        rc = note_line(one, sql, "park", err);
    return rc != 0 ? rc : open_case(one, sql, err);
}

/* Its attempts count anew, or the next failure would park it again. The first was made, long ago. */
static int32_t run_unpark(struct ask *ask, cdtx_sql *sql, cdtx_error *err) {
    struct one_ask *one = LIST_OF(ask, struct one_ask, ask);
    int32_t rc = read_decided(one, sql, 1, err);
    if (rc != 0)
        return rc;
    cdtx_value arguments[] = {SQL_INT(cdtx__store_stamp_ms(sql->store)), SQL_INT(one->sequence),
                              SQL_INT(cdtx__rows_int(&ask->rows, 0, TX_EPOCH))};
    rc = set(one, sql,
             "UPDATE cdtx_tx SET parked = NULL, due = ?, attempts = 1, epoch = epoch + 1 WHERE seq = ? AND epoch = ?",
             arguments, 3, err);
    if (rc == 0)
        rc = note_line(one, sql, "unpark", err);
    return rc != 0 ? rc : cdtx__case_close(sql, "tx", one->gid, one->actor, one->reason, err);
}

static int32_t run_resolve(struct ask *ask, cdtx_sql *sql, cdtx_error *err) {
    struct one_ask *one = LIST_OF(ask, struct one_ask, ask);
    int32_t rc = read_decided(one, sql, MUTANT(sql->store->env, "resolve-unparked") ? -1 : 1, err);
    if (rc != 0)
        return rc;
    int64_t state = cdtx__rows_int(&ask->rows, 0, TX_STATE);
    cdtx_value arguments[] = {SQL_INT(cdtx__coord_ends[state]), SQL_INT(cdtx__store_stamp_ms(sql->store)),
                              SQL_INT(one->sequence), SQL_INT(cdtx__rows_int(&ask->rows, 0, TX_EPOCH))};
    rc = set(one, sql,
             "UPDATE cdtx_tx SET state = ?, due = NULL, ended = ?, parked = NULL, epoch = epoch + 1"
             " WHERE seq = ? AND epoch = ?",
             arguments, 4, err);
    if (rc == 0)
        rc = cdtx__hooks_run(sql, one->sequence, cdtx__coord_ends[state], err);
    if (rc == 0)
        rc = note_line(one, sql, "resolve", err);
    return rc != 0 ? rc : cdtx__case_close(sql, "tx", one->gid, one->actor, one->reason, err);
}

static int32_t act(cdtx *engine, const char *what, const char *gid, struct one_ask *one, cdtx_error *err) {
    struct store *store = NULL;
    int32_t rc = cdtx__audit_check(one->actor, one->reason, err);
    if (rc == 0)
        rc = cdtx__ask_enter(engine, NULL, what, 1, &store, err);
    if (rc != 0)
        return rc;
    rc = ride_one(engine, store, gid, one, err);
    if (rc == 0 && !engine->options.passive) {
        cdtx__scan_by(engine, 0);
        cdtx__trim_soon(engine);
    }
    cdtx__ask_leave(engine);
    return rc;
}

int32_t cdtx_tx_retry(cdtx *engine, const char *gid, const char *actor, const char *reason, cdtx_error *err) {
    struct one_ask one = {.ask.run = run_retry, .actor = actor, .reason = reason};
    return act(engine, "cdtx_tx_retry", gid, &one, err);
}

int32_t cdtx_tx_park(cdtx *engine, const char *gid, const char *actor, const char *reason, cdtx_error *err) {
    struct one_ask one = {.ask.run = run_park, .actor = actor, .reason = reason};
    int32_t rc = act(engine, "cdtx_tx_park", gid, &one, err);
    if (rc == 0)
        cdtx__add(&engine->parked);
    return rc;
}

int32_t cdtx_tx_unpark(cdtx *engine, const char *gid, const char *actor, const char *reason, cdtx_error *err) {
    struct one_ask one = {.ask.run = run_unpark, .actor = actor, .reason = reason};
    return act(engine, "cdtx_tx_unpark", gid, &one, err);
}

int32_t cdtx_tx_resolve(cdtx *engine, const char *gid, const char *actor, const char *reason, cdtx_error *err) {
    struct one_ask one = {.ask.run = run_resolve, .actor = actor, .reason = reason};
    return act(engine, "cdtx_tx_resolve", gid, &one, err);
}
