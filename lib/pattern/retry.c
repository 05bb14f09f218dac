/* Jobs alone, taken back, kept alive and put off. */
#include <cdtx/retry.h>

#include "engine/job.h"

/* ---- putting ---- */

struct put_alone {
    const char *handler;
    const cdtx_bytes *payloads;
    uint32_t count;
    const cdtx_job_options *options;
    int64_t first_id;
};

static int32_t run_put(cdtx_sql *sql, void *user, cdtx_error *err) {
    struct put_alone *put = user;
    return cdtx_job_put_many(sql, put->handler, put->payloads, put->count, put->options, &put->first_id, err);
}

int32_t cdtx_retry_put_many(cdtx_db *db, const char *handler, const cdtx_bytes *payloads, uint32_t count,
                            const cdtx_job_options *options, int64_t *first_id, cdtx_error *err) {
    struct put_alone put = {.handler = handler, .payloads = payloads, .count = count, .options = options};
    int32_t rc = cdtx_local(db, run_put, &put, err);
    if (rc == 0 && first_id != NULL)
        *first_id = put.first_id;
    return rc;
}

int32_t cdtx_retry_put(cdtx_db *db, const char *handler, const void *payload, size_t length,
                       const cdtx_job_options *options, int64_t *id, cdtx_error *err) {
    return cdtx_retry_put_many(db, handler, &(cdtx_bytes){payload, length}, 1, options, id, err);
}

/* ---- taking back ---- */

static int32_t cancel(cdtx_sql *sql, int64_t id, cdtx_error *err) {
    int gone = 0;
    int32_t rc = cdtx__job_withdraw(sql, id, &gone, err);
    return rc != 0 || gone ? rc : cdtx__job_absent(sql, id, err);
}

int32_t cdtx_retry_cancel(cdtx_sql *sql, int64_t id, cdtx_error *err) {
    int32_t rc = cdtx__sql_enter(sql, err);
    if (rc != 0)
        return rc;
    rc = cancel(sql, id, err);
    cdtx__sql_leave(sql);
    return rc;
}

/* What stands behind goes first, or it would move up. */
static int32_t cancel_key(cdtx_sql *sql, const char *handler, const char *unique_key, cdtx_error *err) {
    static const char live[] = "SELECT id, state FROM cdtx_job WHERE handler = ? AND unique_key = ? AND " JOB_HOLDS_KEY;
    static const char next[] = "DELETE FROM cdtx_job WHERE handler = ? AND unique_key = ? AND state = 5";
    cdtx_value arguments[] = {cdtx__sql_text(handler), cdtx__sql_text(unique_key)};
    cdtx_rows *rows = &sql->store->rows;
    cdtx__rows_reset(rows);
    int32_t rc = cdtx__sql_run(sql, live, arguments, 2, rows, NULL, err);
    if (rc != 0)
        return rc;
    int64_t id = cdtx__rows_int(rows, 0, 0), state = cdtx__rows_int(rows, 0, 1);
    if (id == 0)
        return cdtx__fail(err, CDTX_NOT_FOUND, "database '%s' has no live job of '%s' with the unique key '%.120s'",
                          sql->store->name, handler, unique_key);
    if (state != JOB_LEASED)
        rc = cdtx__sql_run(sql, next, arguments, 2, NULL, NULL, err);
    return rc != 0 ? rc : cancel(sql, id, err);
}

int32_t cdtx_retry_cancel_key(cdtx_sql *sql, const char *handler, const char *unique_key, cdtx_error *err) {
    int32_t rc = cdtx__check_name(handler, "the handler's name", err);
    if (rc == 0)
        rc = cdtx__check_name(unique_key, "the unique key", err);
    if (rc == 0)
        rc = cdtx__sql_enter(sql, err);
    if (rc != 0)
        return rc;
    rc = cancel_key(sql, handler, unique_key, err);
    cdtx__sql_leave(sql);
    return rc;
}
