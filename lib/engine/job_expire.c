/* What time does to jobs: leases run out, and dead ones are kept long enough. */
#include "engine/job.h"
#include "store/schema.h"

enum { EXPIRED_MAX = 256, FORGOTTEN_MAX = 256 };

static void come_back(struct old_jobs *old, int64_t in_ms) {
    if (in_ms < old->next_ms)
        old->next_ms = in_ms;
}

/* When the row found says that there is more to do; INT64_MAX when there is none, or its time is damaged. */
static int64_t found_in_ms(const cdtx_rows *rows, int64_t now) {
    const cdtx_value *at = cdtx__rows_at(rows, 0, 0);
    if (at->type != CDTX_INT)
        return INT64_MAX;
    if (at->integer <= now)
        return 0;
    return at->integer > now + CDTX_TIME_MAX_MS ? CDTX_TIME_MAX_MS : at->integer - now;
}

/* ---- leases ---- */

enum { LOST_ID, LOST_CRASHES, LOST_ATTEMPTS, LOST_UNIQUE, LOST_KEY };

/* A lease that ran out is a crash of its holder, as far as anybody can tell. */
static int32_t expire(const struct handler *handler, cdtx_sql *sql, struct old_jobs *old, uint32_t row,
                      cdtx_error *err) {
    static const char why[] = "its holder crashed or lost its lease";
    const cdtx_rows *rows = old->rows;
    int64_t id = cdtx__rows_int(rows, row, LOST_ID), crashes = cdtx__rows_int(rows, row, LOST_CRASHES);
    int dead = crashes >= (int64_t)handler->options.crashes_max - 1;
    int keeps_turn = !dead && handler->options.in_order;
    int64_t now = cdtx__store_stamp_ms(sql->store);
    char line[JOB_LINE_SIZE];
    cdtx__job_history_line(sql, cdtx__rows_int(rows, row, LOST_ATTEMPTS), CDTX_UNKNOWN, why, line);
    cdtx_value arguments[] = {SQL_INT(dead ? JOB_DEAD : JOB_READY),
                              SQL_INT(now),
                              dead ? SQL_INT(now) : SQL_NULL,
                              SQL_INT(!MUTANT(sql->store->env, "crash-uncounted")),
                              cdtx__sql_text(why),
                              cdtx__sql_text(line),
                              SQL_INT(JOB_HISTORY_MAX),
                              SQL_INT(id)};
    int32_t rc =
        cdtx__sql_run(sql,
                      "UPDATE cdtx_job SET state = ?, clock = 0, due = ?, died = ?,"
                      " crashes = min(crashes, 9223372036854775806) + ?," /* damaged ones hold nobody up */
                      " token = min(token, 9223372036854775806) + 1, error = ?, " JOB_HISTORY_AND_LINE " WHERE id = ?",
                      arguments, 8, NULL, NULL, err);
    if (rc == 0)
        rc = cdtx__job_pass_on(sql, handler->name, dead ? cdtx__rows_at(rows, row, LOST_UNIQUE)->bytes : NULL,
                               keeps_turn ? NULL : cdtx__rows_at(rows, row, LOST_KEY)->bytes, err);
    if (rc != 0 || !dead)
        return rc;
    old->dead++;
    cdtx__log(sql->store->env, CDTX_LOG_WARNING, "job %lld of '%s' is dead: %s %lld times", (long long)id,
              handler->name, why, (long long)crashes + (crashes < INT64_MAX));
    return 0;
}

/* Those that wait for their turn ask for it anew: by now the handler may let more run at a time, and whoever was before
 * them may be of a handler that nobody has any more. */
static int32_t wake(const struct handler *handler, cdtx_sql *sql, cdtx_error *err) {
    cdtx_value name = cdtx__sql_text(handler->name);
    return cdtx__sql_run(
        sql, "UPDATE cdtx_job SET state = 1 WHERE handler = ? AND state = 4 AND concurrency_key IS NOT NULL", &name, 1,
        NULL, NULL, err);
}

int32_t cdtx__job_expire(struct handler *handler, cdtx_sql *sql, struct old_jobs *old, cdtx_error *err) {
    if (MUTANT(sql->store->env, "bug-27"))
        return 0;
    int64_t now = cdtx__store_clock_ms(sql->store);
    handler->recovering = 1;
    int32_t rc = handler->recovered ? 0 : wake(handler, sql, err);
    if (rc != 0)
        return rc;
    /* In a file of our own, whoever held a lease before this life is dead: all at once, for later looks cannot tell
     * them from those of this life. */
    int all = !handler->recovered && sql->store->ownership == CDTX_OWN_ALONE;
    int64_t first = handler->next_lane << JOB_LANE_BIT, last = first + JOB_LANE_MAX;
    cdtx_value arguments[] = {SQL_INT(first), SQL_INT(all ? last : first + now),
                              SQL_INT(all ? INT64_MAX : EXPIRED_MAX)};
    cdtx__rows_reset(old->rows);
    rc =
        cdtx__sql_run(sql,
                      "SELECT id, crashes, attempts, unique_key, concurrency_key FROM cdtx_job"
                      " WHERE state = 2 AND " SCHEMA_JOB_LEASE " BETWEEN ? AND ? ORDER BY " SCHEMA_JOB_LEASE " LIMIT ?",
                      arguments, 3, old->rows, NULL, err);
    uint32_t lost = rc == 0 ? old->rows->count : 0;
    for (uint32_t i = 0; rc == 0 && i < lost; i++)
        rc = expire(handler, sql, old, i, err);
    if (rc != 0)
        return rc;
    cdtx__rows_reset(old->rows);
    arguments[1] = SQL_INT(last);
    rc = cdtx__sql_run(sql,
                       "SELECT due FROM cdtx_job WHERE state = 2 AND " SCHEMA_JOB_LEASE " BETWEEN ? AND ?"
                       " ORDER BY " SCHEMA_JOB_LEASE " LIMIT 1",
                       arguments, 2, old->rows, NULL, err);
    if (rc == 0)
        come_back(old, !all && lost == EXPIRED_MAX ? 0 : found_in_ms(old->rows, now));
    return rc;
}

/* ---- the dead ---- */

int32_t cdtx__job_forget(struct handler *handler, cdtx_sql *sql, struct old_jobs *old, cdtx_error *err) {
    int64_t kept_ms = handler->options.dead_retention_ms, now = cdtx__store_clock_ms(sql->store), gone = 0;
    if (kept_ms == 0)
        return 0;
    cdtx_value arguments[] = {cdtx__sql_text(handler->name), SQL_INT(now - kept_ms), SQL_INT(FORGOTTEN_MAX)};
    int32_t rc = cdtx__sql_run(sql,
                               "DELETE FROM cdtx_job WHERE id IN (SELECT id FROM cdtx_job WHERE handler = ?"
                               " AND state = 3 AND died <= ? ORDER BY died LIMIT ?)",
                               arguments, 3, NULL, &gone, err);
    if (rc != 0)
        return rc;
    cdtx__rows_reset(old->rows);
    rc = cdtx__sql_run(sql, "SELECT died FROM cdtx_job WHERE handler = ? AND state = 3 ORDER BY died LIMIT 1",
                       arguments, 1, old->rows, NULL, err);
    if (rc == 0 && old->rows->count == 1)
        come_back(old, gone == FORGOTTEN_MAX ? 0 : found_in_ms(old->rows, now - kept_ms));
    return rc;
}
