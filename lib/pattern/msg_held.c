/* Messages that branches hold, for a person: those of a gid that was declared ended wait for nobody's call any more. */
#include <stdio.h>

#include "engine/ask.h"
#include "pattern/msg.h"

/* ---- list ---- */

static const char *const names[] = {"id", "topic", "key", "gid", "branch", "payload", NULL};
enum { COL_ID, COL_TOPIC, COL_KEY, COL_LOG, COL_SEQUENCE, COL_BRANCH, COL_PAYLOAD };

struct list_ask {
    struct ask ask;
    const char *after;
    uint32_t limit;
};

static int32_t add_row(const struct list_ask *list, const cdtx_sql *sql, uint32_t row, cdtx_error *err) {
    char id[CDTX_GID_MAX], gid[CDTX_GID_MAX];
    const cdtx_rows *rows = &list->ask.rows;
    const cdtx_value *log = cdtx__rows_at(rows, row, COL_LOG);
    cdtx__gid_text(sql->store->uuid, cdtx__rows_int(rows, row, COL_ID), id);
    if (log->type != CDTX_BLOB || log->length != 16)
        return cdtx__fail(err, CDTX_CORRUPT, "message %s is held by no gid", id);
    cdtx__gid_text(log->bytes, cdtx__rows_int(rows, row, COL_SEQUENCE), gid);
    cdtx_value values[] = {
        cdtx__sql_text(id),  *cdtx__rows_at(rows, row, COL_TOPIC),  *cdtx__rows_at(rows, row, COL_KEY),
        cdtx__sql_text(gid), *cdtx__rows_at(rows, row, COL_BRANCH), *cdtx__rows_at(rows, row, COL_PAYLOAD)};
    return cdtx__report_add(list->ask.report, values, err);
}

static int32_t read_after(const struct list_ask *list, const cdtx_sql *sql, int64_t *after, cdtx_error *err) {
    uint8_t uuid[16];
    int32_t rc = list->after == NULL ? 0 : cdtx__gid_parse(list->after, uuid, after, err);
    if (rc == 0 && list->after != NULL && memcmp(uuid, sql->store->uuid, sizeof uuid) != 0)
        rc = cdtx__fail(err, CDTX_INVALID, "%s is a message of another database than '%s'", list->after,
                        sql->store->name);
    return rc;
}

static int32_t run_list(struct ask *ask, cdtx_sql *sql, cdtx_error *err) {
    const struct list_ask *list = LIST_OF(ask, struct list_ask, ask);
    int64_t after = 0;
    int32_t rc = read_after(list, sql, &after, err);
    cdtx_value arguments[] = {SQL_INT(after), SQL_INT(list->limit)};
    if (rc == 0)
        rc = cdtx__sql_run(sql,
                           "SELECT id, topic, key, log, seq, branch, length(payload) FROM cdtx_msg"
                           " INDEXED BY cdtx_msg_held WHERE visible IS NULL AND id > ? ORDER BY id LIMIT ?",
                           arguments, 2, &ask->rows, NULL, err);
    for (uint32_t i = 0; rc == 0 && i < ask->rows.count; i++)
        rc = add_row(list, sql, i, err);
    return rc;
}

int32_t cdtx_held_list(cdtx_db *db, const char *after, uint32_t limit, cdtx_report **report, cdtx_error *err) {
    struct list_ask list = {.ask.run = run_list, .after = after};
    int32_t rc = cdtx__ask_limit(limit, &list.limit, err);
    return rc != 0 ? rc : cdtx__ask_report_db(db, "cdtx_held_list", names, &list.ask, report, err);
}

/* ---- settling ---- */

struct settlement {
    struct ask ask;
    const char *gid, *actor, *reason;
    cdtx_call call; /* log, sequence and op; the branches are found */
    int64_t count;
};

static int32_t note(const struct settlement *settlement, cdtx_sql *sql, cdtx_error *err) {
    char subject[CDTX_GID_MAX + 8], reason[REASON_MAX + 64];
    int visible = settlement->call.op == CDTX_CALL_CONFIRM;
    snprintf(subject, sizeof subject, "tx %s", settlement->gid);
    snprintf(reason, sizeof reason, "%lld messages: %s", (long long)settlement->count, settlement->reason);
    struct audit_line line = {.actor = settlement->actor,
                              .action = visible ? "held-release" : "held-drop",
                              .subject = subject,
                              .reason = reason};
    return cdtx__audit_append(sql, &line, err);
}

static int32_t run_settle(struct ask *ask, cdtx_sql *sql, cdtx_error *err) {
    struct settlement *settlement = LIST_OF(ask, struct settlement, ask);
    cdtx_call *call = &settlement->call;
    cdtx_value key[] = {cdtx__sql_blob(call->log, sizeof call->log), SQL_INT(call->sequence)};
    settlement->count = 0;
    int32_t rc = cdtx__sql_run(sql,
                               "SELECT branch, count(*) FROM cdtx_msg WHERE log = ? AND seq = ? AND visible IS NULL"
                               " GROUP BY branch ORDER BY branch",
                               key, 2, &ask->rows, NULL, err);
    if (rc == 0 && ask->rows.count == 0)
        return cdtx__fail(err, CDTX_NOT_FOUND, "database '%s' holds no message of %s", sql->store->name,
                          settlement->gid);
    for (uint32_t i = 0; rc == 0 && i < ask->rows.count; i++) {
        call->branch = (uint32_t)cdtx__rows_int(&ask->rows, i, 0);
        settlement->count += cdtx__rows_int(&ask->rows, i, 1);
        rc = cdtx__messages_settle(sql, call, err);
    }
    return rc != 0 ? rc : note(settlement, sql, err);
}

/* What our own log knows of it must not be contradicted; what it does not know gets no decision any more. */
static int32_t check_ended(cdtx *engine, const char *gid, int32_t outcome, cdtx_error *err) {
    int32_t state = 0;
    cdtx_error why;
    int32_t rc = cdtx_tx_query(engine, gid, &state, &why);
    if (rc == CDTX_EXPIRED || rc == CDTX_NOT_FOUND)
        return 0;
    if (rc != 0 && err != NULL)
        *err = why;
    if (rc != 0)
        return rc;
    if (state != CDTX_TX_COMMITTED && state != CDTX_TX_ROLLED_BACK && state != CDTX_TX_REVERSED)
        return cdtx__fail(err, CDTX_MISUSE, "%s has not ended: its branches settle what they hold", gid);
    if ((state == CDTX_TX_COMMITTED) != (outcome == CDTX_TX_COMMITTED))
        return cdtx__fail(err, CDTX_CONFLICT, "%s has ended %s", gid,
                          state == CDTX_TX_COMMITTED ? "committed" : "rolled back");
    return 0;
}

static int32_t settle(const cdtx_db *db, int32_t outcome, struct settlement *settlement, cdtx_error *err) {
    cdtx *engine = db->engine;
    const cdtx_db *log = engine->log;
    int ours = log != NULL && memcmp(log->store->uuid, settlement->call.log, sizeof settlement->call.log) == 0;
    int32_t rc = ours ? check_ended(engine, settlement->gid, outcome, err) : 0;
    return rc != 0 ? rc : cdtx__ask_action_db(db, "cdtx_held_settle", &settlement->ask, err);
}

int32_t cdtx_held_settle(cdtx_db *db, const char *gid, int32_t outcome, const char *actor, const char *reason,
                         int64_t *count, cdtx_error *err) {
    struct settlement settlement = {.ask.run = run_settle, .gid = gid, .actor = actor, .reason = reason};
    if (db == NULL)
        return cdtx__fail(err, CDTX_MISUSE, "the database is NULL");
    if (outcome != CDTX_TX_COMMITTED && outcome != CDTX_TX_ROLLED_BACK && outcome != CDTX_TX_REVERSED)
        return cdtx__fail(err, CDTX_INVALID, "%d is no outcome of a global transaction", outcome);
    settlement.call.op = outcome == CDTX_TX_COMMITTED ? CDTX_CALL_CONFIRM : CDTX_CALL_CANCEL;
    int32_t rc = cdtx__audit_check(actor, reason, err);
    if (rc == 0)
        rc = cdtx__gid_parse(gid, settlement.call.log, &settlement.call.sequence, err);
    if (rc == 0)
        rc = cdtx__enter(db->engine, err);
    if (rc != 0)
        return rc;
    rc = settle(db, outcome, &settlement, err);
    cdtx__leave(db->engine);
    if (rc == 0 && count != NULL)
        *count = settlement.count;
    return rc;
}
