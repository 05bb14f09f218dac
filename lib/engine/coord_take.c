/* Finding the rows that somebody must drive on, and taking them. */
#include <stdio.h>

#include "engine/coord_op.h"
#include "engine/hook.h"
#include "store/record.h"

static int32_t reserve_items(struct coord_op *op, uint32_t count, cdtx_error *err) {
    const cdtx_env *env = op->rows.env;
    if (count <= op->item_room)
        return 0;
    cdtx__free(env, op->items, op->item_room * sizeof *op->items);
    op->items = cdtx__alloc(env, count * sizeof *op->items);
    op->item_room = op->items == NULL ? 0 : count;
    return op->items == NULL ? cdtx__fail(err, CDTX_NO_MEMORY, "no memory for %u transactions", count) : 0;
}

static int32_t reserve_branches(struct coord_op *op, uint32_t count, cdtx_error *err) {
    const cdtx_env *env = op->rows.env;
    if (count <= op->branch_room)
        return 0;
    cdtx__free(env, op->branches, op->branch_room * sizeof *op->branches);
    op->branches = cdtx__alloc(env, count * sizeof *op->branches);
    op->branch_room = op->branches == NULL ? 0 : count;
    return op->branches == NULL ? cdtx__fail(err, CDTX_NO_MEMORY, "no memory for %u branches", count) : 0;
}

/* What rows_to_items reads, but for the branches. */
#define ITEM_COLUMNS                                                                                                   \
    "seq, state, epoch, acked, attempts, reason, due, name, reverse_after, noes, parked IS NOT NULL,"                  \
    " hooks IS NOT NULL"
enum { ITEM_ACKED = 3, ITEM_DUE = 6, ITEM_NAME = 7, ITEM_HOOKED = 11, ITEM_BRANCHES = 12 };

/* Beyond what any counter or clock comes to. */
#define NUMBER_MAX (INT64_C(1) << 53)

/* Whether a row can be what we wrote; read and count get its branches. */
static int is_sound(const struct coord_op *op, uint32_t row, struct coord_branch *read, uint32_t *count,
                    cdtx_error *err) {
    const cdtx_value *record = cdtx__rows_at(&op->rows, row, ITEM_BRANCHES);
    long long sequence = (long long)cdtx__rows_int(&op->rows, row, 0);
    for (uint32_t i = 0; i < ITEM_BRANCHES; i++) {
        const cdtx_value *value = cdtx__rows_at(&op->rows, row, i);
        int number = value->type == CDTX_INT &&
                     (i == ITEM_ACKED || (value->integer >= -NUMBER_MAX && value->integer <= NUMBER_MAX));
        if (i == ITEM_NAME ? value->type != CDTX_TEXT : !number && (i != ITEM_DUE || value->type != CDTX_NULL)) {
            cdtx__fail(err, CDTX_CORRUPT, "the log's row of gid number %lld is damaged in column %u", sequence, i);
            return 0;
        }
    }
    if (!cdtx__sm_known(&cdtx__coord_machine, cdtx__rows_int(&op->rows, row, 1))) {
        cdtx__fail(err, CDTX_CORRUPT, "the log's row of gid number %lld has state %lld", sequence,
                   (long long)cdtx__rows_int(&op->rows, row, 1));
        return 0;
    }
    return cdtx__record_read(record->bytes, record->length, read, count, err) == 0;
}

static void fill_item(struct coord_op *op, uint32_t row, struct coord_item *item) {
    *item = (struct coord_item){
        .sequence = cdtx__rows_int(&op->rows, row, 0),
        .state = (int32_t)cdtx__rows_int(&op->rows, row, 1),
        .epoch = cdtx__rows_int(&op->rows, row, 2),
        .acked = cdtx__rows_int(&op->rows, row, 3),
        .attempts = (uint32_t)cdtx__rows_int(&op->rows, row, 4),
        .reason = (int32_t)cdtx__rows_int(&op->rows, row, 5),
        .name = cdtx__rows_at(&op->rows, row, ITEM_NAME)->bytes,
        .reverse_after = (uint32_t)cdtx__rows_int(&op->rows, row, 8),
        .noes = (uint32_t)cdtx__rows_int(&op->rows, row, 9),
        .parked = (int32_t)cdtx__rows_int(&op->rows, row, 10),
        .hooked = (int32_t)cdtx__rows_int(&op->rows, row, ITEM_HOOKED),
    };
}

/* Item i is row i. Damaged rows become items with state 0 when that is allowed, else CORRUPT. */
static int32_t rows_to_items(struct coord_op *op, int damaged_too, cdtx_error *err) {
    struct coord_branch read[CDTX_BRANCHES_MAX];
    cdtx_error why;
    uint32_t total = 0, count = 0, at = 0;
    int32_t rc = reserve_items(op, op->rows.count, err);
    for (uint32_t i = 0; rc == 0 && i < op->rows.count; i++) {
        fill_item(op, i, &op->items[i]);
        if (is_sound(op, i, read, &count, &why)) {
            op->items[i].branch_count = count;
            total += count;
        } else {
            cdtx__log(op->rows.env, CDTX_LOG_ALARM, "gid number %lld is left alone: %s",
                      (long long)op->items[i].sequence, why.text);
            op->items[i].state = 0;
            if (!damaged_too)
                rc = cdtx__fail(err, CDTX_CORRUPT, "%s", why.text);
        }
    }
    if (rc == 0)
        rc = reserve_branches(op, total, err);
    for (uint32_t i = 0; rc == 0 && i < op->rows.count; i++) {
        struct coord_item *item = &op->items[i];
        if (item->branch_count == 0)
            continue;
        const cdtx_value *record = cdtx__rows_at(&op->rows, i, ITEM_BRANCHES);
        rc = cdtx__record_read(record->bytes, record->length, read, &count, err);
        item->branches = op->branches + at;
        memcpy(item->branches, read, count * sizeof *read);
        at += count;
    }
    op->request->items = op->items;
    op->request->item_count = rc == 0 ? op->rows.count : 0;
    return rc;
}

int32_t cdtx__coord_list(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    struct coord_op *op = LIST_OF(rider, struct coord_op, rider);
    struct coord_request *request = op->request;
    cdtx_value arguments[] = {SQL_INT(request->after), SQL_INT(request->state), SQL_INT(request->state),
                              SQL_INT(request->limit)};
    cdtx__rows_reset(&op->rows);
    int32_t rc = cdtx__sql_run(sql,
                               "SELECT " ITEM_COLUMNS ", x'01' FROM cdtx_tx"
                               " WHERE seq > ? AND (state = ? OR (? = 0 AND due IS NOT NULL)) ORDER BY seq LIMIT ?",
                               arguments, 4, &op->rows, NULL, err);
    return rc != 0 ? rc : rows_to_items(op, 0, err);
}

/* ---- take ---- */

/* Its row may be written and its hooks not: that must not be committed as if the row were merely damaged. */
static int32_t half_taken(const struct coord_item *item, cdtx_error *err) {
    char why[sizeof err->text];
    snprintf(why, sizeof why, "%s", err->text);
    return cdtx__fail(err, CDTX_CORRUPT, "gid number %lld cannot be taken with its hooks: %.380s",
                      (long long)item->sequence, why);
}

/* Undecided and out of time is decided by the very write that takes it. */
static int32_t take_item(struct coord_op *op, cdtx_sql *sql, uint32_t row, cdtx_error *err) {
    struct coord_item *item = &op->items[row];
    int timed_out = item->state == CDTX_TX_ACTIVE;
    if (MUTANT(sql->store->env, "timeout-moves-decided"))
        timed_out = item->state == CDTX_TX_ACTIVE || item->state == CDTX_TX_COMMITTING;
    if (timed_out) {
        item->state = CDTX_TX_ROLLING_BACK;
        item->reason = cdtx__rows_int(&op->rows, row, 6) == 0 ? COORD_REASON_ABANDONED : COORD_REASON_TIMEOUT;
    }
    int64_t changes = 0;
    cdtx_value arguments[] = {SQL_INT(item->state), SQL_INT(item->reason),
                              SQL_INT(cdtx__coord_in_ms(sql, op->request->lease_ms)), SQL_INT(item->sequence),
                              SQL_INT(item->epoch)};
    int32_t rc;
    if (MUTANT(sql->store->env, "bug-11")) {
        rc = cdtx__sql_run(sql,
                           "UPDATE cdtx_tx SET state = ?, reason = ?, due = ?, attempts = attempts + 1 WHERE seq = ?",
                           arguments, 4, NULL, &changes, err);
        item->attempts++;
        return rc;
    }
    rc = cdtx__sql_run(sql,
                       "UPDATE cdtx_tx SET state = ?, reason = ?, due = ?, epoch = epoch + 1, attempts = attempts + 1"
                       " WHERE seq = ? AND epoch = ?",
                       arguments, 5, NULL, &changes, err);
    INVARIANT(rc != 0 || changes == 1); /* read in this very transaction */
    if (rc == 0 && MUTANT(sql->store->env, "trap-24-tx"))
        rc = cdtx__sql_run(sql, "UPDATE cdtx_tx SET attempts = attempts - 1 WHERE seq = ?", &arguments[3], 1, NULL,
                           NULL, err);
    item->epoch++;
    item->attempts++;
    if (rc == 0 && timed_out && item->hooked && !MUTANT(sql->store->env, "hook-of-late-forgotten"))
        rc = cdtx__hooks_run(sql, item->sequence, item->state, err);
    return rc == CDTX_SQL && item->hooked ? half_taken(item, err) : rc;
}

/* The earliest that was not due when the due ones were read. */
static int32_t next_due(struct coord_op *op, cdtx_sql *sql, int64_t now, cdtx_error *err) {
    cdtx_rows rows;
    cdtx_value argument = SQL_INT(now);
    cdtx__rows_init(&rows, op->rows.env, 4096);
    int32_t rc = cdtx__sql_run(sql, "SELECT min(due) FROM cdtx_tx WHERE due > ?", &argument, 1, &rows, NULL, err);
    if (rc == 0) {
        const cdtx_value *due = cdtx__rows_at(&rows, 0, 0);
        int64_t latest = now + CDTX_TIME_MAX_MS;
        op->request->next_due_ms = due->type != CDTX_INT ? -1 : (due->integer < latest ? due->integer : latest) - now;
    }
    cdtx__rows_free(&rows);
    return rc;
}

static int32_t select_due(struct coord_op *op, cdtx_sql *sql, int64_t now, uint32_t limit, cdtx_error *err) {
    cdtx_value arguments[] = {SQL_INT(now), SQL_INT(limit)};
    cdtx__rows_reset(&op->rows);
    const char *statement = "SELECT " ITEM_COLUMNS ", branches FROM cdtx_tx WHERE due <= ? ORDER BY due, seq LIMIT ?";
    if (MUTANT(sql->store->env, "bug-26"))
        statement = "SELECT " ITEM_COLUMNS ", branches FROM cdtx_tx WHERE due <= ? AND state <> 1 ORDER BY due, seq"
                    " LIMIT ?";
    return cdtx__sql_run(sql, statement, arguments, 2, &op->rows, NULL, err);
}

enum { DAMAGED_AGAIN_MS = 60000 };

/* Takes what can be taken; what is damaged stays as it is, due, for a person, and must not hold up the others. */
static int32_t take_items(struct coord_op *op, cdtx_sql *sql, uint32_t *damaged, cdtx_error *err) {
    uint32_t taken = 0;
    int32_t rc = 0;
    for (uint32_t i = 0; rc == 0 && i < op->request->item_count; i++) {
        cdtx_error why = {0};
        if (op->items[i].state == 0)
            continue;
        if (cdtx__sm_final(&cdtx__coord_machine, op->items[i].state))
            rc = cdtx__fail(&why, CDTX_SQL, "it has ended, and is due");
        else
            rc = take_item(op, sql, i, &why);
        if (rc == 0) {
            op->items[taken++] = op->items[i];
        } else if (rc == CDTX_SQL) { /* our statement has no fault, so the row has */
            cdtx__log(op->rows.env, CDTX_LOG_ALARM, "gid number %lld is left alone, its row is damaged: %s",
                      (long long)op->items[i].sequence, why.text);
            rc = 0;
        } else if (err != NULL) {
            *err = why;
        }
    }
    *damaged = op->request->item_count - taken;
    op->request->item_count = rc == 0 ? taken : 0;
    return rc;
}

int32_t cdtx__coord_take(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    struct coord_op *op = LIST_OF(rider, struct coord_op, rider);
    struct coord_request *request = op->request;
    int64_t now = cdtx__coord_now_ms(sql);
    uint32_t limit = request->limit, damaged = 0;
    int32_t rc = select_due(op, sql, now, limit, err);
    if (rc == CDTX_LIMIT) { /* large payloads: one always fits */
        limit = 1;
        rc = select_due(op, sql, now, limit, err);
    }
    if (rc == 0)
        rc = rows_to_items(op, 1, err);
    if (rc == 0)
        rc = take_items(op, sql, &damaged, err);
    if (rc == 0)
        rc = next_due(op, sql, now, err);
    if (rc == 0 && op->rows.count == limit && damaged < limit)
        request->next_due_ms = 0;
    else if (rc == 0 && damaged > 0 && (request->next_due_ms < 0 || request->next_due_ms > DAMAGED_AGAIN_MS))
        request->next_due_ms = DAMAGED_AGAIN_MS;
    return rc;
}
