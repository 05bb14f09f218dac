/* Durable retry: jobs that are put alone, taken back, and put by a clock. Jobs themselves, and the
 * handlers that run them, are in cdtx/cdtx.h; what people do with them (list, retry, redrive, pause) is in
 * cdtx/admin.h. Rules for all functions: cdtx/cdtx.h. */
#ifndef CDTX_RETRY_H
#define CDTX_RETRY_H

#include <cdtx/cdtx.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* cdtx declarations begin */

/* ---- putting and taking back ---- */

/* cdtx_job_put and cdtx_job_put_many in a local transaction of their own. Block. Errors: theirs, and those of
 * cdtx_local; after UNKNOWN put again under a unique_key. */
int32_t cdtx_retry_put(cdtx_db *db, const char *handler, const void *payload, size_t length,
                       const cdtx_job_options *options, int64_t *id, cdtx_error *err);
int32_t cdtx_retry_put_many(cdtx_db *db, const char *handler, const cdtx_bytes *payloads, uint32_t count,
                            const cdtx_job_options *options, int64_t *first_id, cdtx_error *err);
/* Takes a job back in the caller's local transaction: once that has committed, no attempt at it begins any more, and
 * it is gone. Errors: CONFLICT (an attempt is under way: nothing changed), NOT_FOUND (done, taken back, or never put).
 */
int32_t cdtx_retry_cancel(cdtx_sql *sql, int64_t id, cdtx_error *err);
/* The same for the live job that has a unique key; what was put behind it goes too. */
int32_t cdtx_retry_cancel_key(cdtx_sql *sql, const char *handler, const char *unique_key, cdtx_error *err);

/* ---- cron ---- */

/* What becomes of slots that passed while nobody was there to put their jobs. */
enum cdtx_catch_up {
    CDTX_CATCH_UP_SKIP = 0, /* those more than grace_ms ago are left out */
    CDTX_CATCH_UP_ONCE = 1, /* only the last one */
    CDTX_CATCH_UP_ALL = 2   /* each, but at most the last catch_up_max */
};

typedef struct cdtx_cron_options {
    uint32_t size;
    int32_t catch_up;    /* one of cdtx_catch_up */
    const char *when;    /* "30 2 * * mon-fri", "@daily": crontab(5), five fields; see cdtx_cron(3) */
    const char *zone;    /* IANA name of the time zone that `when` is in; default "UTC" */
    const char *handler; /* whose job each slot puts */
    const void *payload; /* of each job; may be NULL */
    size_t length;
    int64_t grace_ms;      /* default 60000 */
    uint32_t catch_up_max; /* default 100, at most 1000 */
    int32_t priority;      /* of each job, as in cdtx_job_options */
    const char *queue;
    const char *concurrency_key; /* its own name keeps the jobs of two slots from running at a time */
    int64_t deadline_ms;
} cdtx_cron_options;

enum { CDTX_CRON_NAME_MAX = 100 };

/* Adds a schedule to the database, or changes the one of that name: from then on each slot puts one job, once,
 * whichever of the processes that have added a schedule there is up. A slot that was fired, or left out, is never fired
 * again; a schedule that is changed begins anew from now. The same again changes nothing. Blocks. Errors: INVALID (the
 * text points at the field), NOT_FOUND (no such time zone on this system), UNSUPPORTED (the environment has none), and
 * those of cdtx_local. */
int32_t cdtx_cron_add(cdtx_db *db, const char *name, const cdtx_cron_options *options, cdtx_error *err);
/* Jobs that were put stay. Blocks. Errors: NOT_FOUND. */
int32_t cdtx_cron_remove(cdtx_db *db, const char *name, cdtx_error *err);
/* By name. Columns: name, when, zone, handler, catch_up, next_ms (the next slot, ms since 1970 UTC), settled_ms
 * (slots up to then were fired or left out), payload (its length). Blocks for its turn in the database. */
int32_t cdtx_cron_list(cdtx_db *db, cdtx_report **report, cdtx_error *err);
/* The first slot after after_ms, both ms since 1970 UTC: to look at a text before it is used. Errors: as add. */
int32_t cdtx_cron_next(cdtx *engine, const char *when, const char *zone, int64_t after_ms, int64_t *slot_ms,
                       cdtx_error *err);
/* The slot that this job was put for; 0 for other jobs. */
int64_t cdtx_cron_slot_ms(const cdtx_work *work);

/* cdtx declarations end */

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
