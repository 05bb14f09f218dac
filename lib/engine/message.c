#include "engine/message.h"

#include <stdio.h>

#include "store/lent.h"

enum { MESSAGE_ROW_MAX = PAYLOAD_LIMIT + 65536 };

void cdtx__delivery_handler(const char *topic, const char *group, char name[CDTX_NAME_MAX + 1]) {
    snprintf(name, CDTX_NAME_MAX + 1, DELIVERY_PREFIX "%s/%s", topic, group);
}

static int32_t no_topic(const cdtx_sql *sql, const char *topic, cdtx_error *err) {
    return cdtx__fail(err, CDTX_NOT_FOUND, "database '%s' has no topic '%s'", sql->store->name, topic);
}

int32_t cdtx__message_number(cdtx_sql *sql, int64_t *number, cdtx_error *err) {
    return *number != 0 ? 0 : cdtx__lent_next_job(sql, number, err);
}

/* ---- visible ---- */

enum { GROUP_RETENTION, GROUP_NAME, GROUP_IN_ORDER, GROUP_LANE };

/* A row for each group, one with a NULL name when there is none; lane NULL: it never got a message. */
static int32_t ask_groups(cdtx_sql *sql, const char *topic, cdtx_error *err) {
    cdtx_value name = cdtx__sql_text(topic);
    cdtx__rows_reset(&sql->memo);
    return cdtx__sql_run(sql,
                         "SELECT t.retention_ms, g.name, g.in_order, l.id FROM cdtx_topic AS t"
                         " LEFT JOIN cdtx_group AS g ON g.topic = t.name"
                         " LEFT JOIN cdtx_lane AS l ON l.handler = '" DELIVERY_PREFIX "' || t.name || '/' || g.name"
                         " AND l.queue = 'default' WHERE t.name = ? ORDER BY g.name",
                         &name, 1, &sql->memo, NULL, err);
}

/* Into sql->memo, once for all messages to one topic in a transaction. Not across what a host may undo by itself. */
static int32_t read_groups(cdtx_sql *sql, const char *topic, cdtx_error *err) {
    if (sql->enter == NULL && strcmp(sql->memo_of, topic) == 0)
        return 0;
    sql->memo_of[0] = '\0';
    int32_t rc = ask_groups(sql, topic, err);
    if (rc != 0 || sql->memo.count == 0)
        return rc != 0 ? rc : no_topic(sql, topic, err);
    int lanes = 1;
    for (uint32_t i = 0; i < sql->memo.count; i++)
        lanes &= cdtx__rows_at(&sql->memo, i, GROUP_LANE)->type == CDTX_INT;
    if (lanes)
        snprintf(sql->memo_of, sizeof sql->memo_of, "%s", topic);
    return 0;
}

/* In order, the key is one row of deliveries, of this group only: no key of the host's begins with a name of ours. */
static int32_t deliver(cdtx_sql *sql, const struct message *message, const char *group, int in_order, int64_t lane,
                       cdtx_error *err) {
    char handler[CDTX_NAME_MAX + 1], key[2 * CDTX_NAME_MAX + 4];
    cdtx__delivery_handler(message->topic, group, handler);
    snprintf(key, sizeof key, "%s/%s", handler, message->key == NULL ? "" : message->key);
    struct job_put put = {
        .handler = handler,
        .payload = message->payload,
        .length = message->length,
        .lane = lane,
        .message = message->number,
        .message_key = message->key,
        .message_id = message->id,
        .options = {.queue = "default",
                    .priority = message->priority,
                    .delay_ms = message->delay_ms,
                    .concurrency_key = in_order && message->key != NULL ? key : NULL},
    };
    int64_t id = 0;
    return cdtx__job_insert(sql, &put, &id, err);
}

int32_t cdtx__message_deliver(cdtx_sql *sql, const struct message *message, const char *group, int in_order,
                              cdtx_error *err) {
    return deliver(sql, message, group, in_order, 0, err);
}

static int32_t insert_row(cdtx_sql *sql, const struct message *message, const cdtx_value *visible, cdtx_error *err) {
    const cdtx_call *branch = visible->type == CDTX_NULL ? sql->branch : NULL;
    cdtx_value arguments[] = {SQL_INT(message->number),
                              cdtx__sql_text(message->topic),
                              cdtx__sql_text(message->key),
                              SQL_INT(message->priority),
                              SQL_INT(message->delay_ms),
                              cdtx__sql_blob(message->payload, message->length),
                              *visible,
                              branch == NULL ? SQL_NULL : cdtx__sql_blob(branch->log, sizeof branch->log),
                              branch == NULL ? SQL_NULL : SQL_INT(branch->sequence),
                              branch == NULL ? SQL_NULL : SQL_INT(branch->branch),
                              cdtx__sql_text(message->id)};
    return cdtx__sql_run(sql, "INSERT INTO cdtx_msg VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", arguments, 11, NULL,
                         NULL, err);
}

static int32_t deliver_to_all(cdtx_sql *sql, struct message *message, cdtx_error *err) {
    const cdtx_rows *groups = &sql->memo;
    int alone = cdtx__rows_at(groups, 0, GROUP_NAME)->type != CDTX_TEXT;
    uint32_t count = alone ? 0 : groups->count;
    if (FAILPOINT(sql->store->env, "msg.publish"))
        return cdtx__fail(err, CDTX_IO, "failpoint msg.publish");
    if (count > 1 && MUTANT(sql->store->env, "group-forgotten"))
        count--;
    int32_t rc = cdtx__message_number(sql, &message->number, err);
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        if (i > 0 && MUTANT(sql->store->env, "id-each-copy"))
            rc = cdtx__lent_next_job(sql, &message->number, err);
        if (rc == 0)
            rc = deliver(sql, message, cdtx__rows_at(groups, i, GROUP_NAME)->bytes,
                         cdtx__rows_int(groups, i, GROUP_IN_ORDER) != 0, cdtx__rows_int(groups, i, GROUP_LANE), err);
    }
    if (rc != 0 || (!alone && cdtx__rows_int(groups, 0, GROUP_RETENTION) == 0))
        return rc;
    cdtx_value now = SQL_INT(cdtx__store_stamp_ms(sql->store));
    return insert_row(sql, message, &now, err);
}

/* A conflicting write, in the commit that makes it visible; msg_topic.c forgets what is old. */
static int32_t note_id(cdtx_sql *sql, const struct message *message, int *first, cdtx_error *err) {
    int64_t changes = 0;
    cdtx_value arguments[] = {cdtx__sql_text(message->topic), cdtx__sql_text(message->id),
                              SQL_INT(cdtx__store_stamp_ms(sql->store))};
    *first = 1;
    if (message->id == NULL)
        return 0;
    int32_t rc = cdtx__sql_run(sql, "INSERT INTO cdtx_msg_once VALUES (?, ?, ?) ON CONFLICT DO NOTHING", arguments, 3,
                               NULL, &changes, err);
    *first = changes == 1;
    return rc;
}

int32_t cdtx__message_publish(cdtx_sql *sql, struct message *message, cdtx_error *err) {
    int first = 0;
    int32_t rc = read_groups(sql, message->topic, err);
    if (rc == 0)
        rc = note_id(sql, message, &first, err);
    return rc != 0 || !first ? rc : deliver_to_all(sql, message, err);
}

/* ---- held ---- */

int32_t cdtx__message_hold(cdtx_sql *sql, struct message *message, cdtx_error *err) {
    if (FAILPOINT(sql->store->env, "msg.hold"))
        return cdtx__fail(err, CDTX_IO, "failpoint msg.hold");
    int32_t rc = read_groups(sql, message->topic, err);
    if (rc == 0)
        rc = cdtx__message_number(sql, &message->number, err);
    sql->store->meta.held = sql->store->meta.held_known = 1;
    return rc != 0 ? rc : insert_row(sql, message, &SQL_NULL, err);
}

#define BRANCH(call) cdtx__sql_blob((call)->log, sizeof(call)->log), SQL_INT((call)->sequence), SQL_INT((call)->branch)

static int32_t publish_held(cdtx_sql *sql, const cdtx_rows *row, cdtx_error *err) {
    const cdtx_value *payload = cdtx__rows_at(row, 0, 5);
    cdtx_value id = *cdtx__rows_at(row, 0, 0);
    struct message message = {
        .number = id.integer,
        .topic = cdtx__rows_at(row, 0, 1)->bytes,
        .key = cdtx__rows_at(row, 0, 2)->bytes,
        .priority = (int32_t)cdtx__rows_int(row, 0, 3),
        .delay_ms = cdtx__rows_int(row, 0, 4),
        .payload = payload->bytes,
        .length = payload->length,
    };
    /* The row goes before it comes back as a kept one. */
    int32_t rc = cdtx__sql_run(sql, "DELETE FROM cdtx_msg WHERE id = ?", &id, 1, NULL, NULL, err);
    return rc != 0 ? rc : cdtx__message_publish(sql, &message, err);
}

/* One by one: together they may be larger than any bound on rows, and a confirm must not fail for that. */
static int32_t release(cdtx_sql *sql, const cdtx_call *call, cdtx_error *err) {
    cdtx_value arguments[] = {BRANCH(call)};
    cdtx_rows row;
    cdtx__rows_init(&row, sql->store->env, MESSAGE_ROW_MAX);
    int32_t rc;
    do {
        cdtx__rows_reset(&row);
        rc = cdtx__sql_run(sql,
                           "SELECT id, topic, key, priority, delay_ms, payload FROM cdtx_msg"
                           " WHERE log = ? AND seq = ? AND branch = ? AND visible IS NULL ORDER BY id LIMIT 1",
                           arguments, 3, &row, NULL, err);
        if (rc == 0 && row.count == 1)
            rc = publish_held(sql, &row, err);
    } while (rc == 0 && row.count == 1);
    cdtx__rows_free(&row);
    return rc;
}

static int32_t drop(cdtx_sql *sql, const cdtx_call *call, cdtx_error *err) {
    cdtx_value arguments[] = {BRANCH(call)};
    return cdtx__sql_run(sql, "DELETE FROM cdtx_msg WHERE log = ? AND seq = ? AND branch = ? AND visible IS NULL",
                         arguments, 3, NULL, NULL, err);
}

/* Asked once a group, for most databases hold none at all. */
static int32_t any_held(cdtx_sql *sql, int *held, cdtx_error *err) {
    struct store_meta *meta = &sql->store->meta;
    if (!meta->held_known) {
        cdtx_rows *rows = &sql->store->rows;
        cdtx__rows_reset(rows);
        int32_t rc = cdtx__sql_run(sql, "SELECT 1 FROM cdtx_msg INDEXED BY cdtx_msg_held WHERE visible IS NULL LIMIT 1",
                                   NULL, 0, rows, NULL, err);
        if (rc != 0)
            return rc;
        meta->held_known = 1;
        meta->held = rows->count == 1;
    }
    *held = meta->held;
    return 0;
}

int32_t cdtx__messages_settle(cdtx_sql *sql, const cdtx_call *call, cdtx_error *err) {
    int held = 0;
    int32_t rc = any_held(sql, &held, err);
    if (rc != 0 || !held)
        return rc;
    if (FAILPOINT(sql->store->env, "msg.settle"))
        return cdtx__fail(err, CDTX_IO, "failpoint msg.settle");
    if (call->op == CDTX_CALL_CONFIRM)
        return MUTANT(sql->store->env, "held-dropped") ? drop(sql, call, err) : release(sql, call, err);
    return MUTANT(sql->store->env, "held-published") ? release(sql, call, err) : drop(sql, call, err);
}
