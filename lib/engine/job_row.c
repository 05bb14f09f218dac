/* What several ways of changing a job's row share. */
#include <stdio.h>

#include "base/text.h"
#include "engine/job.h"

/* The one that was put first. Each is looked at once more when it is claimed, so letting one go too many is harmless,
 * and one too few is not: who is paused, or has to wait for its time again, is let go together with the first behind it
 * that can be claimed. */
int32_t cdtx__job_pass_turn(cdtx_sql *sql, const char *concurrency_key, cdtx_error *err) {
    cdtx_value key = cdtx__sql_text(concurrency_key);
    cdtx_value arguments[] = {key, key, SQL_INT(cdtx__wall_ms(sql->store->env)), SQL_INT(INT64_MAX)};
    sql->store->meta.rings = 1;
    return cdtx__sql_run(sql,
                         "UPDATE cdtx_job SET state = 1 WHERE concurrency_key = ? AND state = 4 AND id <= coalesce("
                         "(SELECT id FROM cdtx_job WHERE concurrency_key = ? AND state = 4 AND (clock = 0 OR due <= ?)"
                         " AND handler NOT IN (SELECT handler FROM cdtx_pause) ORDER BY id LIMIT 1), ?)",
                         arguments, 4, NULL, NULL, err);
}

int32_t cdtx__job_pass_turns_of(cdtx_sql *sql, const char *handler, cdtx_error *err) {
    cdtx_value arguments[] = {cdtx__sql_text(handler), cdtx__sql_text(handler)};
    sql->store->meta.rings = 1;
    return cdtx__sql_run(sql,
                         "UPDATE cdtx_job SET state = 1 WHERE state = 4 AND handler <> ? AND concurrency_key IN"
                         " (SELECT concurrency_key FROM cdtx_job WHERE handler = ? AND state = 1"
                         " AND concurrency_key IS NOT NULL)",
                         arguments, 2, NULL, NULL, err);
}

static int32_t pass_on_uniqueness(cdtx_sql *sql, const char *handler, const char *unique_key, cdtx_error *err) {
    cdtx_value arguments[] = {cdtx__sql_text(handler), cdtx__sql_text(unique_key)};
    sql->store->meta.rings = 1;
    return cdtx__sql_run(sql, "UPDATE cdtx_job SET state = 1 WHERE handler = ? AND unique_key = ? AND state = 5",
                         arguments, 2, NULL, NULL, err);
}

int32_t cdtx__job_pass_on(cdtx_sql *sql, const char *handler, const char *unique_key, const char *concurrency_key,
                          cdtx_error *err) {
    int32_t rc = 0;
    if (unique_key != NULL && !MUTANT(sql->store->env, "next-forgotten"))
        rc = pass_on_uniqueness(sql, handler, unique_key, err);
    if (rc == 0 && concurrency_key != NULL && !MUTANT(sql->store->env, "turn-forgotten"))
        rc = cdtx__job_pass_turn(sql, concurrency_key, err);
    return rc;
}

void cdtx__job_history_line(const cdtx_sql *sql, int64_t attempt, int32_t code, const char *text,
                            char line[JOB_LINE_SIZE]) {
    char clean[JOB_LINE_SIZE - 100];
    cdtx__clean_text(clean, sizeof clean, text);
    snprintf(line, JOB_LINE_SIZE, "%lld\t%lld\t%s\t%s\n", (long long)cdtx__wall_ms(sql->store->env), (long long)attempt,
             cdtx_code_name(code), clean);
}

int32_t cdtx__job_withdraw(cdtx_sql *sql, int64_t id, int *gone, cdtx_error *err) {
    cdtx_rows *rows = &sql->store->rows;
    cdtx_value key = SQL_INT(id);
    cdtx__rows_reset(rows);
    int32_t rc = cdtx__sql_run(sql, "SELECT state, handler, unique_key, concurrency_key FROM cdtx_job WHERE id = ?",
                               &key, 1, rows, NULL, err);
    *gone = rc == 0 && rows->count == 1;
    if (!*gone)
        return rc;
    int64_t state = cdtx__rows_int(rows, 0, 0);
    const char *handler = cdtx__rows_at(rows, 0, 1)->bytes;
    if (state == JOB_LEASED)
        return cdtx__fail(err, CDTX_CONFLICT, "job %lld of '%s' is leased: somebody works on it", (long long)id,
                          handler);
    if (MUTANT(sql->store->env, "cancel-forgets"))
        return 0;
    rc = cdtx__sql_run(sql, "DELETE FROM cdtx_job WHERE id = ?", &key, 1, NULL, NULL, err);
    if (rc != 0 || state == JOB_DEAD || state == JOB_NEXT)
        return rc;
    return cdtx__job_pass_on(sql, handler, cdtx__rows_at(rows, 0, 2)->bytes, cdtx__rows_at(rows, 0, 3)->bytes, err);
}

int32_t cdtx__job_lane(cdtx_sql *sql, const char *handler, const char *queue, int64_t *lane, cdtx_error *err) {
    cdtx_value arguments[] = {cdtx__sql_text(handler), cdtx__sql_text(queue)};
    cdtx_rows *rows = &sql->store->rows;
    cdtx__rows_reset(rows);
    int32_t rc =
        cdtx__sql_run(sql, "SELECT id FROM cdtx_lane WHERE handler = ? AND queue = ?", arguments, 2, rows, NULL, err);
    if (rc == 0)
        *lane = cdtx__rows_int(rows, 0, 0);
    return rc;
}

int32_t cdtx__job_absent(cdtx_sql *sql, int64_t id, cdtx_error *err) {
    int64_t last = sql->store->meta.job; /* with what this transaction has put; a lent one does not know it */
    cdtx_rows *rows = &sql->store->rows;
    cdtx__rows_reset(rows);
    int32_t rc = cdtx__sql_run(sql, "SELECT job FROM cdtx_meta WHERE id = 1", NULL, 0, rows, NULL, err);
    if (rc != 0)
        return rc;
    if (cdtx__rows_int(rows, 0, 0) > last)
        last = cdtx__rows_int(rows, 0, 0);
    return cdtx__fail(err, CDTX_NOT_FOUND, "database '%s' has no job %lld: %s", sql->store->name, (long long)id,
                      id > 0 && id <= last ? "it is done or cancelled" : "that was never put");
}
