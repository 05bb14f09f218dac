/* What an attempt at phase two came to, and what may be forgotten. */
#include <stdio.h>

#include "engine/case.h"
#include "engine/coord_op.h"
#include "engine/hook.h"

/* ---- settle ---- */

static int32_t end_row(struct coord_op *op, cdtx_sql *sql, cdtx_error *err) {
    struct coord_request *request = op->request;
    int32_t state = cdtx__coord_ends[request->outcome];
    INVARIANT(cdtx__sm_allows(&cdtx__coord_machine, request->outcome, state));
    int64_t changes = 0;
    cdtx_value arguments[] = {SQL_INT(state),          SQL_INT(cdtx__store_stamp_ms(sql->store)),
                              SQL_INT(request->acked), SQL_INT(request->sequence),
                              SQL_INT(op->epoch),      SQL_INT(request->outcome)};
    int32_t rc;
    if (MUTANT(sql->store->env, "bug-11"))
        rc = cdtx__sql_run(
            sql, "UPDATE cdtx_tx SET state = ?, due = NULL, ended = ?, acked = ?, epoch = epoch + 1 WHERE seq = ?",
            arguments, 4, NULL, &changes, err);
    else
        rc = cdtx__sql_run(sql,
                           "UPDATE cdtx_tx SET state = ?, due = NULL, ended = ?, acked = ?, epoch = epoch + 1,"
                           " parked = NULL WHERE seq = ? AND epoch = ? AND state = ?",
                           arguments, 6, NULL, &changes, err);
    if (rc == 0 && MUTANT(sql->store->env, "due-stays"))
        rc = cdtx__sql_run(sql, "UPDATE cdtx_tx SET due = 9000000000000 WHERE seq = ?", &arguments[3], 1, NULL, NULL,
                           err);
    if (rc == 0)
        rc = cdtx__coord_held(request, changes, err);
    if (rc == 0)
        request->state = state;
    if (rc == 0 && request->hooked)
        rc = cdtx__hooks_run(sql, request->sequence, state, err);
    return rc;
}

static int32_t keep_row(struct coord_op *op, cdtx_sql *sql, cdtx_error *err) {
    struct coord_request *request = op->request;
    int64_t changes = 0;
    cdtx_value arguments[] = {SQL_INT(cdtx__coord_in_ms(sql, request->due_in_ms)),
                              SQL_INT(request->acked),
                              SQL_INT(request->noes),
                              cdtx__sql_text(request->error),
                              cdtx__sql_text(request->park),
                              SQL_INT(request->sequence),
                              SQL_INT(op->epoch),
                              SQL_INT(request->outcome)};
    int32_t rc;
    if (MUTANT(sql->store->env, "bug-11"))
        rc = cdtx__sql_run(sql,
                           "UPDATE cdtx_tx SET due = ?, acked = ?, noes = ?, error = ?, parked = ?, epoch = epoch + 1"
                           " WHERE seq = ?",
                           arguments, 6, NULL, &changes, err);
    else
        rc = cdtx__sql_run(sql,
                           "UPDATE cdtx_tx SET due = ?, acked = ?, noes = ?, error = ?, parked = coalesce(parked, ?),"
                           " epoch = epoch + 1 WHERE seq = ? AND epoch = ? AND state = ?",
                           arguments, 8, NULL, &changes, err);
    if (rc == 0 && changes == 0 && MUTANT(sql->store->env, "bug-16")) {
        cdtx_value late[] = {SQL_INT(request->outcome), arguments[0], arguments[1], arguments[5]};
        return cdtx__sql_run(sql,
                             "INSERT INTO cdtx_tx (state, due, acked, seq, reason, epoch, attempts, name, branches)"
                             " VALUES (?, ?, ?, ?, 0, 1, 0, '', x'01') ON CONFLICT (seq)"
                             " DO UPDATE SET state = excluded.state, due = excluded.due, acked = excluded.acked",
                             late, 4, NULL, NULL, err);
    }
    if (rc == 0)
        rc = cdtx__coord_held(request, changes, err);
    if (rc == 0)
        request->state = request->outcome;
    return rc;
}

static int32_t open_case(struct coord_op *op, cdtx_sql *sql, const char *gid, cdtx_error *err) {
    struct coord_request *request = op->request;
    char evidence[512];
    int opened = 0;
    snprintf(evidence, sizeof evidence, "%s; branches answered: bits %llx; definite noes: %u; last answer: %.300s",
             cdtx__sm_name(&cdtx__coord_machine, request->outcome), (unsigned long long)request->acked, request->noes,
             request->error == NULL ? "none" : request->error);
    int32_t rc = cdtx__case_open(sql, "tx", gid, request->park, evidence, "cdtx", &opened, err);
    if (rc == 0)
        request->found = opened;
    return rc;
}

/* Parking, and the end of what was parked, go with their case in one commit. */
int32_t cdtx__coord_settle(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    struct coord_op *op = LIST_OF(rider, struct coord_op, rider);
    struct coord_request *request = op->request;
    char gid[CDTX_GID_MAX];
    request->found = 0;
    int32_t rc = request->ended ? end_row(op, sql, err) : keep_row(op, sql, err);
    if (rc != 0 || (request->park == NULL && !request->parked))
        return rc;
    cdtx__gid_text(sql->store->uuid, request->sequence, gid);
    if (request->ended)
        return cdtx__case_close(sql, "tx", gid, "cdtx", "it has ended", err);
    return request->parked || MUTANT(sql->store->env, "parked-no-case") ? 0 : open_case(op, sql, gid, err);
}

/* ---- trim ---- */

enum { FLOOR_STEP = 20000 };

/* Looked for from where it stood: each row is passed once. NOT INDEXED, because the index of due rows would have to be
 * sorted. */
static int32_t raise_floor(cdtx_sql *sql, int *more, cdtx_error *err) {
    struct store_meta *meta = &sql->store->meta;
    cdtx_rows rows;
    cdtx__rows_init(&rows, sql->store->env, 4096);
    int64_t end = meta->sequence + 1, upto = meta->floor + FLOOR_STEP < end ? meta->floor + FLOOR_STEP : end;
    cdtx_value arguments[] = {SQL_INT(meta->floor), SQL_INT(upto)};
    int32_t rc = cdtx__sql_run(sql,
                               "SELECT seq FROM cdtx_tx NOT INDEXED WHERE seq >= ? AND seq < ? AND due IS NOT NULL"
                               " ORDER BY seq LIMIT 1",
                               arguments, 2, &rows, NULL, err);
    if (rc == 0) {
        int64_t floor = rows.count == 1 ? cdtx__rows_int(&rows, 0, 0) : upto;
        if (MUTANT(sql->store->env, "floor-over-open"))
            floor = upto;
        *more = rows.count == 0 && upto < end;
        sql->store->meta.dirty |= floor != meta->floor;
        meta->floor = floor;
    }
    cdtx__rows_free(&rows);
    return rc;
}

/* The oldest ended ones first; what is still open among them is passed over. */
static int32_t drop_outcomes(struct coord_op *op, cdtx_sql *sql, int64_t *dropped, cdtx_error *err) {
    int64_t kept_ms = MUTANT(sql->store->env, "dropped-at-once") ? 0 : op->request->retention_ms;
    cdtx_value arguments[] = {SQL_INT(op->request->limit), SQL_INT(cdtx__coord_now_ms(sql) - kept_ms)};
    return cdtx__sql_run(sql,
                         "DELETE FROM cdtx_tx WHERE seq IN (SELECT seq FROM (SELECT seq, ended FROM cdtx_tx NOT INDEXED"
                         " WHERE due IS NULL ORDER BY seq LIMIT ?) WHERE ended <= ?)",
                         arguments, 2, NULL, dropped, err);
}

static int32_t next_expiry(struct coord_op *op, cdtx_sql *sql, cdtx_error *err) {
    cdtx__rows_reset(&op->rows);
    int32_t rc = cdtx__sql_run(sql, "SELECT ended FROM cdtx_tx NOT INDEXED WHERE due IS NULL ORDER BY seq LIMIT 1",
                               NULL, 0, &op->rows, NULL, err);
    if (rc != 0 || op->rows.count == 0)
        return rc;
    int64_t in = cdtx__rows_int(&op->rows, 0, 0) + op->request->retention_ms - cdtx__coord_now_ms(sql);
    op->request->next_due_ms = in < 1000 ? 1000 : in;
    return 0;
}

int32_t cdtx__coord_trim(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    struct coord_op *op = LIST_OF(rider, struct coord_op, rider);
    struct coord_request *request = op->request;
    int64_t dropped = 0;
    int more = 0;
    request->next_due_ms = -1;
    int32_t rc = raise_floor(sql, &more, err);
    if (rc == 0)
        rc = drop_outcomes(op, sql, &dropped, err);
    if (rc == 0)
        rc = next_expiry(op, sql, err);
    if (rc == 0 && (more || dropped == (int64_t)request->limit))
        request->next_due_ms = 0;
    request->floor = sql->store->meta.floor;
    return rc;
}
