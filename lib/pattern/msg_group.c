/* Consumer groups: who gets a topic's messages. */
#include <stdio.h>

#include "engine/ask.h"
#include "pattern/msg.h"

/* ---- joining ---- */

struct new_group {
    const char *topic, *name;
    int32_t in_order, start;
    int64_t start_ms;
};

static int32_t no_topic(const cdtx_sql *sql, const char *topic, cdtx_error *err) {
    return cdtx__fail(err, CDTX_NOT_FOUND, "database '%s' has no topic '%s'", sql->store->name, topic);
}

/* What is there of the topic: its retention and groups, and the order of this one (-1: it is new). */
struct topic_state {
    int64_t retention_ms, groups, in_order;
};

static int32_t read_state(cdtx_sql *sql, const struct new_group *group, struct topic_state *state, cdtx_error *err) {
    cdtx_value arguments[] = {cdtx__sql_text(group->name), cdtx__sql_text(group->topic)};
    cdtx_rows *rows = &sql->store->rows;
    cdtx__rows_reset(rows);
    int32_t rc = cdtx__sql_run(sql,
                               "SELECT retention_ms, (SELECT count(*) FROM cdtx_group WHERE topic = t.name),"
                               " coalesce((SELECT in_order FROM cdtx_group WHERE topic = t.name AND name = ?), -1)"
                               " FROM cdtx_topic AS t WHERE name = ?",
                               arguments, 2, rows, NULL, err);
    if (rc == 0 && rows->count == 0)
        return no_topic(sql, group->topic, err);
    *state = (struct topic_state){cdtx__rows_int(rows, 0, 0), cdtx__rows_int(rows, 0, 1), cdtx__rows_int(rows, 0, 2)};
    return rc;
}

enum { PAGE = 256, KEPT_ROWS_MAX = 64 << 20 };
enum { KEPT_ID, KEPT_KEY, KEPT_PRIORITY, KEPT_PAYLOAD, KEPT_VISIBLE, KEPT_DELAY, KEPT_MSG_ID };

/* Its delay began when it became visible. */
static int64_t left_of_delay(const cdtx_sql *sql, const cdtx_rows *rows, uint32_t row) {
    int64_t due = cdtx__rows_int(rows, row, KEPT_VISIBLE) + cdtx__rows_int(rows, row, KEPT_DELAY);
    int64_t now = cdtx__store_clock_ms(sql->store);
    return due > now ? due - now : 0;
}

static int32_t deliver_page(cdtx_sql *sql, const struct new_group *group, const cdtx_rows *rows, cdtx_error *err) {
    int32_t rc = 0;
    for (uint32_t i = 0; rc == 0 && i < rows->count; i++) {
        const cdtx_value *payload = cdtx__rows_at(rows, i, KEPT_PAYLOAD);
        struct message message = {
            .number = cdtx__rows_int(rows, i, KEPT_ID),
            .id = cdtx__rows_at(rows, i, KEPT_MSG_ID)->bytes,
            .topic = group->topic,
            .key = cdtx__rows_at(rows, i, KEPT_KEY)->bytes,
            .payload = payload->bytes,
            .length = payload->length,
            .priority = (int32_t)cdtx__rows_int(rows, i, KEPT_PRIORITY),
            .delay_ms = left_of_delay(sql, rows, i),
        };
        rc = cdtx__message_deliver(sql, &message, group->name, group->in_order, err);
    }
    return rc;
}

static int32_t read_page(cdtx_sql *sql, const cdtx_value *arguments, cdtx_rows *rows, cdtx_error *err) {
    cdtx__rows_reset(rows);
    return cdtx__sql_run(sql,
                         "SELECT id, key, priority, payload, visible, delay_ms, msg_id FROM cdtx_msg WHERE topic = ?"
                         " AND (visible, id) > (?, ?) AND visible IS NOT NULL ORDER BY visible, id LIMIT ?",
                         arguments, 4, rows, NULL, err);
}

/* The kept ones that became visible since then, in that order, all in this transaction: what is put meanwhile must not
 * overtake them. */
static int32_t deliver_kept(cdtx_sql *sql, const struct new_group *group, int64_t since, cdtx_error *err) {
    cdtx_value arguments[] = {cdtx__sql_text(group->topic), SQL_INT(since), SQL_INT(0), SQL_INT(PAGE)};
    cdtx_rows rows;
    cdtx__rows_init(&rows, sql->store->env, KEPT_ROWS_MAX);
    int32_t rc;
    do {
        rc = read_page(sql, arguments, &rows, err);
        if (rc == CDTX_LIMIT) { /* large payloads: one always fits */
            arguments[3] = SQL_INT(1);
            rc = read_page(sql, arguments, &rows, err);
        }
        if (rc == 0)
            rc = deliver_page(sql, group, &rows, err);
        if (rc == 0 && rows.count > 0) {
            arguments[1] = *cdtx__rows_at(&rows, rows.count - 1, KEPT_VISIBLE);
            arguments[2] = *cdtx__rows_at(&rows, rows.count - 1, KEPT_ID);
        }
    } while (rc == 0 && rows.count > 0);
    cdtx__rows_free(&rows);
    return rc;
}

static int64_t since_ms(const cdtx_sql *sql, const struct new_group *group) {
    int64_t age = cdtx__wall_ms(sql->store->env) - group->start_ms;
    return group->start == CDTX_START_TIME ? cdtx__store_clock_ms(sql->store) - age : INT64_MIN;
}

/* The first group takes what waited for one; its topic need not keep that any longer. */
static int32_t forget_waiting(cdtx_sql *sql, const struct new_group *group, cdtx_error *err) {
    cdtx_value topic = cdtx__sql_text(group->topic);
    return cdtx__sql_run(sql, "DELETE FROM cdtx_msg WHERE topic = ? AND visible IS NOT NULL", &topic, 1, NULL, NULL,
                         err);
}

static int32_t run_join(cdtx_sql *sql, void *user, cdtx_error *err) {
    const struct new_group *group = user;
    struct topic_state state = {0};
    int32_t rc = read_state(sql, group, &state, err);
    if (rc != 0)
        return rc;
    if (state.in_order >= 0 && state.in_order != group->in_order)
        return cdtx__fail(err, CDTX_CONFLICT, "the group '%s' of topic '%s' is %s order already", group->name,
                          group->topic, state.in_order ? "in" : "in no");
    if (state.in_order >= 0)
        return 0;
    if (state.groups == CDTX_GROUPS_MAX)
        return cdtx__fail(err, CDTX_LIMIT, "topic '%s' has %d groups already", group->topic, CDTX_GROUPS_MAX);
    cdtx_value arguments[] = {cdtx__sql_text(group->topic), cdtx__sql_text(group->name), SQL_INT(group->in_order)};
    rc = cdtx__sql_run(sql, "INSERT INTO cdtx_group VALUES (?, ?, ?)", arguments, 3, NULL, NULL, err);
    if (rc == 0 && group->start != CDTX_START_LAST)
        rc = deliver_kept(sql, group, since_ms(sql, group), err);
    return rc == 0 && state.retention_ms == 0 ? forget_waiting(sql, group, err) : rc;
}

static int32_t check_consumer(const char *topic, const char *group, const cdtx_consumer_options *o, cdtx_error *err) {
    int32_t rc = cdtx__topic_check(topic, "the topic's name", err);
    if (rc == 0)
        rc = cdtx__topic_check(group, "the group's name", err);
    if (rc == 0 && (o->start < CDTX_START_FIRST || o->start > CDTX_START_TIME))
        rc = cdtx__fail(err, CDTX_INVALID, "start %d is no cdtx_group_start", o->start);
    if (rc == 0 && (o->start_ms < 0 || (o->start_ms > 0 && o->start != CDTX_START_TIME)))
        rc = cdtx__fail(err, CDTX_INVALID, "start_ms is %lld: it is a time since 1970, with CDTX_START_TIME",
                        (long long)o->start_ms);
    return rc;
}

static cdtx_handler_options handler_of(const cdtx_consumer_options *o) {
    return (cdtx_handler_options){
        .size = sizeof(cdtx_handler_options),
        .in_local = o->in_local,
        .handler = o->handler,
        .user = o->user,
        .drop = o->drop,
        .attempts_max = o->attempts_max,
        .crashes_max = o->crashes_max,
        .lease_ms = o->lease_ms,
        .backoff_min_ms = o->backoff_min_ms,
        .backoff_max_ms = o->backoff_max_ms,
        .dead_retention_ms = o->dead_retention_ms,
        .running_max = o->running_max,
        .rate_per_s = o->rate_per_s,
        .in_order = o->in_order,
        .local_db = o->local_db,
    };
}

/* Before the group is made: what is refused later would leave it behind. */
static int32_t may_join(cdtx_db *db, const char *name, cdtx_handler_options handler, cdtx_error *err) {
    int32_t rc = cdtx__handler_check(db, name, &handler, err);
    if (rc == 0 && cdtx__handler_is_here(db, name))
        rc = cdtx__fail(err, CDTX_CONFLICT, "this engine has joined the group already: '%s' of '%s'", name,
                        db->store->name);
    return rc;
}

int32_t cdtx_consumer_add(cdtx_db *db, const char *topic, const char *group, const cdtx_consumer_options *options,
                          cdtx_error *err) {
    cdtx_consumer_options o = {0};
    char name[CDTX_NAME_MAX + 1];
    if (db == NULL)
        return cdtx__fail(err, CDTX_MISUSE, "the database is NULL");
    int32_t rc = cdtx__options(options, &o, sizeof o, sizeof o, "cdtx_consumer_options", err);
    if (rc == 0)
        rc = check_consumer(topic, group, &o, err);
    if (rc == 0)
        rc = cdtx__enter(db->engine, err);
    if (rc != 0)
        return rc;
    struct new_group new = {
        .topic = topic, .name = group, .in_order = o.in_order != 0, .start = o.start, .start_ms = o.start_ms};
    cdtx_handler_options handler = handler_of(&o);
    cdtx__delivery_handler(topic, group, name);
    rc = may_join(db, name, handler, err);
    if (rc == 0)
        rc = cdtx_local(db, run_join, &new, err);
    if (rc == 0)
        rc = cdtx__msg_keeper_add(db, err);
    if (rc == 0)
        rc = cdtx__handler_add(db, name, &handler, err);
    cdtx__leave(db->engine);
    return rc;
}

/* ---- removing ---- */

struct removal {
    struct ask ask;
    const char *topic, *name, *actor, *reason;
};

static int32_t note_removal(const struct removal *removal, cdtx_sql *sql, int64_t gone, cdtx_error *err) {
    char subject[2 * TOPIC_NAME_MAX + 16], reason[REASON_MAX + 64];
    snprintf(subject, sizeof subject, "group %s/%s", removal->topic, removal->name);
    snprintf(reason, sizeof reason, "%lld deliveries: %s", (long long)gone, removal->reason);
    struct audit_line line = {.actor = removal->actor, .action = "remove", .subject = subject, .reason = reason};
    return cdtx__audit_append(sql, &line, err);
}

static int32_t run_remove(struct ask *ask, cdtx_sql *sql, cdtx_error *err) {
    const struct removal *removal = LIST_OF(ask, struct removal, ask);
    char handler[CDTX_NAME_MAX + 1];
    int64_t found = 0, gone = 0;
    cdtx__delivery_handler(removal->topic, removal->name, handler);
    cdtx_value arguments[] = {cdtx__sql_text(removal->topic), cdtx__sql_text(removal->name)};
    cdtx_value name = cdtx__sql_text(handler);
    int32_t rc = cdtx__sql_run(sql, "SELECT 1 FROM cdtx_job WHERE handler = ? AND state = 2 LIMIT 1", &name, 1,
                               &ask->rows, NULL, err);
    if (rc == 0 && ask->rows.count > 0)
        return cdtx__fail(err, CDTX_CONFLICT, "a delivery to the group '%s' of topic '%s' is under way: pause it first",
                          removal->name, removal->topic);
    if (rc == 0)
        rc = cdtx__sql_run(sql, "DELETE FROM cdtx_group WHERE topic = ? AND name = ?", arguments, 2, NULL, &found, err);
    if (rc == 0 && found == 0)
        return cdtx__fail(err, CDTX_NOT_FOUND, "database '%s' has no group '%s' of a topic '%s'", sql->store->name,
                          removal->name, removal->topic);
    if (rc == 0)
        rc = cdtx__sql_run(sql, "DELETE FROM cdtx_job WHERE handler = ?", &name, 1, NULL, &gone, err);
    if (rc == 0) /* one that is made anew is not paused */
        rc = cdtx__sql_run(sql, "DELETE FROM cdtx_pause WHERE handler = ?", &name, 1, NULL, NULL, err);
    return rc != 0 ? rc : note_removal(removal, sql, gone, err);
}

int32_t cdtx_group_remove(cdtx_db *db, const char *topic, const char *group, const char *actor, const char *reason,
                          cdtx_error *err) {
    struct removal removal = {.ask.run = run_remove, .topic = topic, .name = group, .actor = actor, .reason = reason};
    int32_t rc = cdtx__topic_check(topic, "the topic's name", err);
    if (rc == 0)
        rc = cdtx__topic_check(group, "the group's name", err);
    if (rc == 0)
        rc = cdtx__audit_check(actor, reason, err);
    return rc != 0 ? rc : cdtx__ask_action_db(db, "cdtx_group_remove", &removal.ask, err);
}

/* ---- list ---- */

static const char *const names[] = {"topic",  "group", "here",      "in_order", "paused_ms", "lag",
                                    "leased", "dead",  "oldest_ms", "handler",  NULL};
static const struct handler_columns columns = {.handler = 9, .here = 2, .oldest = 8, .count = 10};

struct list_ask {
    struct ask ask;
    cdtx_db *db;
};

static int32_t run_list(struct ask *ask, cdtx_sql *sql, cdtx_error *err) {
    const struct list_ask *list = LIST_OF(ask, struct list_ask, ask);
    int64_t now = cdtx__store_clock_ms(sql->store);
    int32_t rc = cdtx__sql_run(
        sql,
        "WITH part (topic, name, in_order, handler) AS (SELECT topic, name, in_order, '" DELIVERY_PREFIX
        "' || topic || '/' || name FROM cdtx_group),"
        " lag (handler, live, leased, dead, oldest) AS (SELECT handler, sum(state <> 3), sum(state = 2),"
        " sum(state = 3), min(CASE state WHEN 3 THEN NULL ELSE put END) FROM cdtx_job WHERE msg IS NOT NULL"
        " GROUP BY handler)"
        " SELECT topic, name, 0, in_order, (SELECT since_ms FROM cdtx_pause WHERE handler = part.handler),"
        " coalesce(live, 0), coalesce(leased, 0), coalesce(dead, 0), oldest, part.handler"
        " FROM part LEFT JOIN lag ON lag.handler = part.handler ORDER BY topic, name",
        NULL, 0, &ask->rows, NULL, err);
    return rc != 0 ? rc : cdtx__handler_report(ask, list->db, &columns, now, err);
}

int32_t cdtx_group_list(cdtx_db *db, cdtx_report **report, cdtx_error *err) {
    struct list_ask list = {.ask.run = run_list, .db = db};
    return cdtx__ask_report_db(db, "cdtx_group_list", names, &list.ask, report, err);
}
