/* Topics, and how long their messages are kept. */
#include <stdio.h>

#include "engine/ask.h"
#include "pattern/msg.h"

/* ---- the keeper ---- */

/* A step is short, for everybody waits meanwhile; where it was not enough the next comes at once. */
enum { KEEPER_MS = 10000, KEEPER_ROWS = 1000 };
static const char keeper[] = "cdtx.msg.keep";

/* What has no group yet stays, whatever its topic's retention. */
static int32_t forget_messages(cdtx_sql *sql, int64_t *gone, cdtx_error *err) {
    cdtx_value arguments[] = {SQL_INT(cdtx__store_clock_ms(sql->store)), SQL_INT(KEEPER_ROWS)};
    return cdtx__sql_run(sql,
                         "DELETE FROM cdtx_msg WHERE id IN (SELECT m.id FROM cdtx_topic AS t CROSS JOIN cdtx_msg AS m"
                         " ON m.topic = t.name AND m.visible <= ? - t.retention_ms"
                         " WHERE EXISTS (SELECT 1 FROM cdtx_group AS g WHERE g.topic = t.name) LIMIT ?)",
                         arguments, 2, NULL, gone, err);
}

/* What is older than the outcomes of global transactions that can still be asked for. */
static int32_t forget_old(cdtx_sql *sql, const char *statement, int64_t *gone, cdtx_error *err) {
    int64_t kept_ms = cdtx__engine_of(sql)->options.retention_ms;
    cdtx_value arguments[] = {SQL_INT(cdtx__store_clock_ms(sql->store) - kept_ms), SQL_INT(KEEPER_ROWS)};
    return cdtx__sql_run(sql, statement, arguments, 2, NULL, gone, err);
}

static int32_t forget_halves(cdtx_sql *sql, int64_t *gone, cdtx_error *err) {
    return forget_old(sql,
                      "DELETE FROM cdtx_half WHERE id IN"
                      " (SELECT id FROM cdtx_half WHERE state > 1 AND at <= ? ORDER BY at LIMIT ?)",
                      gone, err);
}

/* The window of repeats is as long (cdtx_queue_embedded says so). */
static int32_t forget_ids(cdtx_sql *sql, int64_t *gone, cdtx_error *err) {
    return forget_old(sql,
                      "DELETE FROM cdtx_msg_once WHERE (topic, msg_id) IN"
                      " (SELECT topic, msg_id FROM cdtx_msg_once WHERE at <= ? ORDER BY at LIMIT ?)",
                      gone, err);
}

static int32_t keep(cdtx_work *work, void *user, cdtx_error *err) {
    cdtx_sql *sql = cdtx_work_sql(work);
    int64_t messages = 0, halves = 0, ids = 0;
    (void)user;
    int32_t rc = forget_messages(sql, &messages, err);
    if (rc == 0)
        rc = forget_halves(sql, &halves, err);
    if (rc == 0)
        rc = forget_ids(sql, &ids, err);
    int more = messages == KEEPER_ROWS || halves == KEEPER_ROWS || ids == KEEPER_ROWS;
    return rc != 0 ? rc : cdtx__msg_keeper_put(sql, more ? 0 : KEEPER_MS, err);
}

int32_t cdtx__msg_keeper_put(cdtx_sql *sql, int64_t in_ms, cdtx_error *err) {
    struct job_put put = {
        .handler = keeper,
        .options = {.queue = "default", .delay_ms = in_ms, .unique_key = keeper, .unique_policy = CDTX_UNIQUE_KEEP}};
    int64_t id = 0;
    return cdtx__job_insert(sql, &put, &id, err);
}

int32_t cdtx__msg_keeper_add(cdtx_db *db, cdtx_error *err) {
    return cdtx__handler_add_ours(db, keeper, keep, err);
}

/* ---- adding ---- */

struct new_topic {
    const char *name;
    int64_t retention_ms;
};

static int32_t run_add(cdtx_sql *sql, void *user, cdtx_error *err) {
    const struct new_topic *topic = user;
    cdtx_value arguments[] = {cdtx__sql_text(topic->name), SQL_INT(topic->retention_ms)};
    int32_t rc = cdtx__sql_run(sql,
                               "INSERT INTO cdtx_topic VALUES (?, ?)"
                               " ON CONFLICT (name) DO UPDATE SET retention_ms = excluded.retention_ms",
                               arguments, 2, NULL, NULL, err);
    return rc != 0 ? rc : cdtx__msg_keeper_put(sql, KEEPER_MS, err);
}

int32_t cdtx_topic_add(cdtx_db *db, const char *topic, const cdtx_topic_options *options, cdtx_error *err) {
    cdtx_topic_options o = {0};
    if (db == NULL)
        return cdtx__fail(err, CDTX_MISUSE, "the database is NULL");
    int32_t rc = cdtx__options(options, &o, sizeof o, sizeof o, "cdtx_topic_options", err);
    if (rc == 0)
        rc = cdtx__topic_check(topic, "the topic's name", err);
    if (rc == 0)
        rc = cdtx__check_ms(o.retention_ms, "retention_ms", err);
    if (rc == 0)
        rc = cdtx__enter(db->engine, err);
    if (rc != 0)
        return rc;
    rc = cdtx__msg_keeper_add(db, err);
    cdtx__leave(db->engine);
    struct new_topic new = {.name = topic, .retention_ms = o.retention_ms};
    return rc != 0 ? rc : cdtx_local(db, run_add, &new, err);
}

/* ---- list ---- */

static const char *const names[] = {"topic", "retention_ms", "groups", "kept", "held", "halves", NULL};
enum { COLUMNS = 6 };

static int32_t run_list(struct ask *ask, cdtx_sql *sql, cdtx_error *err) {
    int32_t rc = cdtx__sql_run(
        sql,
        "SELECT name, retention_ms, (SELECT count(*) FROM cdtx_group WHERE topic = t.name),"
        " (SELECT count(*) FROM cdtx_msg WHERE topic = t.name AND visible IS NOT NULL),"
        " (SELECT count(*) FROM cdtx_msg WHERE topic = t.name AND visible IS NULL),"
        " (SELECT count(*) FROM cdtx_half WHERE topic = t.name AND state = 1) FROM cdtx_topic AS t ORDER BY name",
        NULL, 0, &ask->rows, NULL, err);
    for (uint32_t i = 0; rc == 0 && i < ask->rows.count; i++) {
        cdtx_value values[COLUMNS];
        for (uint32_t c = 0; c < COLUMNS; c++)
            values[c] = *cdtx__rows_at(&ask->rows, i, c);
        rc = cdtx__report_add(ask->report, values, err);
    }
    return rc;
}

int32_t cdtx_topic_list(cdtx_db *db, cdtx_report **report, cdtx_error *err) {
    struct ask ask = {.run = run_list};
    return cdtx__ask_report_db(db, "cdtx_topic_list", names, &ask, report, err);
}
