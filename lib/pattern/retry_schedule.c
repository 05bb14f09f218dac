/* Cron: schedules are rows, and what fires them is a job of ours for each, due at its next slot. Its run puts the jobs
 * of the slots that have come, and itself for the next one, in the commit that ends it: so each slot is fired once,
 * by whichever process holds the lease. */
#include <cdtx/retry.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/ask.h"
#include "engine/job.h"
#include "pattern/retry_cron.h"

static const char ticker[] = "cdtx.cron";
/* Slots that one run passes; with more it goes on in the next. */
enum { SLOTS_MAX = 50000, CATCH_UP_MAX = 1000 };

/* A row; texts and bytes are borrowed. */
struct schedule {
    const char *name, *when, *zone, *handler, *queue, *concurrency_key;
    const void *payload;
    size_t length;
    int32_t catch_up, priority;
    uint32_t catch_up_max;
    int64_t grace_ms, deadline_ms;
    int64_t settled_ms; /* slots up to then were fired or left out */
};

/* ---- slots ---- */

struct clockwork {
    struct cron cron;
    struct zone *zone;
    const cdtx_env *env;
};

static int32_t wind(struct clockwork *clockwork, const cdtx_env *env, const char *when, const char *zone,
                    cdtx_error *err) {
    *clockwork = (struct clockwork){.env = env};
    int32_t rc = when == NULL ? cdtx__fail(err, CDTX_INVALID, "the cron text is NULL")
                              : cdtx__cron_parse(when, &clockwork->cron, err);
    return rc != 0 ? rc : cdtx__zone_load(env, zone == NULL ? "UTC" : zone, &clockwork->zone, err);
}

static void unwind(struct clockwork *clockwork) {
    cdtx__zone_free(clockwork->env, clockwork->zone);
}

int32_t cdtx_cron_next(cdtx *engine, const char *when, const char *zone, int64_t after_ms, int64_t *slot_ms,
                       cdtx_error *err) {
    struct clockwork clockwork;
    if (slot_ms == NULL)
        return cdtx__fail(err, CDTX_INVALID, "the place for the slot is NULL");
    int32_t rc = cdtx__enter(engine, err);
    if (rc != 0)
        return rc;
    rc = wind(&clockwork, engine->env, when, zone, err);
    if (rc == 0)
        rc = cdtx__cron_next(&clockwork.cron, clockwork.zone, after_ms, slot_ms, err);
    unwind(&clockwork);
    cdtx__leave(engine);
    return rc;
}

/* The key of a slot's job says which it is. */
static void slot_key(const struct schedule *s, int64_t slot_ms, char key[CDTX_NAME_MAX + 1]) {
    snprintf(key, CDTX_NAME_MAX + 1, "%s@%lld", s->name, (long long)slot_ms);
}

int64_t cdtx_cron_slot_ms(const cdtx_work *work) {
    const struct job *job = cdtx__job_of(work);
    const char *mark = job == NULL || job->unique_key == NULL ? NULL : strrchr(job->unique_key, '@');
    return mark == NULL ? 0 : strtoll(mark + 1, NULL, 10);
}

/* ---- firing ---- */

static int32_t fire(cdtx_sql *sql, const struct schedule *s, int64_t slot_ms, cdtx_error *err) {
    char key[CDTX_NAME_MAX + 1];
    int64_t id = 0;
    if (FAILPOINT(sql->store->env, "cron.fire"))
        return cdtx__fail(err, CDTX_IO, "failpoint cron.fire");
    slot_key(s, slot_ms, key);
    struct job_put put = {
        .handler = s->handler,
        .payload = s->payload,
        .length = s->length,
        .options = {.queue = s->queue,
                    .priority = s->priority,
                    .concurrency_key = s->concurrency_key,
                    .deadline_ms = s->deadline_ms,
                    .unique_key = MUTANT(sql->store->env, "cron-twice") ? NULL : key,
                    .unique_policy = CDTX_UNIQUE_KEEP},
    };
    if (put.options.unique_key == NULL)
        put.options.unique_policy = CDTX_UNIQUE_REJECT;
    return cdtx__job_insert(sql, &put, &id, err);
}

/* The slots that have come, of which the last catch_up_max are remembered. */
struct passed {
    int64_t slots[CATCH_UP_MAX];
    uint32_t count; /* of all; slot n is at n % CATCH_UP_MAX */
    int64_t next_ms;
};

static int32_t pass(const struct clockwork *clockwork, int64_t after_ms, int64_t now_ms, struct passed *passed,
                    cdtx_error *err) {
    int64_t slot = after_ms;
    passed->count = 0;
    for (;;) {
        int32_t rc = cdtx__cron_next(&clockwork->cron, clockwork->zone, slot, &slot, err);
        passed->next_ms = slot;
        if (rc != 0 || slot > now_ms || passed->count == SLOTS_MAX)
            return rc;
        passed->slots[passed->count++ % CATCH_UP_MAX] = slot;
    }
}

static uint32_t how_many(const struct schedule *s, const struct passed *passed) {
    uint32_t most = s->catch_up == CDTX_CATCH_UP_ALL    ? s->catch_up_max
                    : s->catch_up == CDTX_CATCH_UP_ONCE ? 1
                                                        : CATCH_UP_MAX;
    return passed->count < most ? passed->count : most;
}

static int32_t fire_passed(cdtx_sql *sql, const struct schedule *s, const struct passed *passed, int64_t now_ms,
                           cdtx_error *err) {
    int32_t rc = 0;
    uint32_t fired = 0;
    for (uint32_t left = how_many(s, passed); rc == 0 && left > 0; left--) {
        int64_t slot = passed->slots[(passed->count - left) % CATCH_UP_MAX];
        if (s->catch_up == CDTX_CATCH_UP_SKIP && slot < now_ms - s->grace_ms)
            continue;
        rc = fire(sql, s, slot, err);
        fired++;
    }
    if (rc == 0 && fired < passed->count)
        cdtx__log(sql->store->env, CDTX_LOG_WARNING, "schedule '%s': %u of %u slots that had passed are left out",
                  s->name, passed->count - fired, passed->count);
    return rc;
}

static int32_t put_tick(cdtx_sql *sql, const char *name, int64_t at_ms, cdtx_error *err) {
    struct job_put put = {
        .handler = ticker,
        .payload = name,
        .length = strlen(name),
        .options = {.queue = "default",
                    .priority = CDTX_PRIORITY_MAX,
                    .at_ms = at_ms > 0 ? at_ms : 1,
                    .unique_key = name,
                    .unique_policy = CDTX_UNIQUE_REPLACE},
    };
    int64_t id = 0;
    return cdtx__job_insert(sql, &put, &id, err);
}

static int32_t settle_slots(cdtx_sql *sql, const char *name, int64_t settled_ms, cdtx_error *err) {
    cdtx_value arguments[] = {SQL_INT(settled_ms), cdtx__sql_text(name)};
    return cdtx__sql_run(sql, "UPDATE cdtx_cron SET settled_ms = ? WHERE name = ?", arguments, 2, NULL, NULL, err);
}

/* With more passed than one run goes through, what is left comes with the next. */
static int32_t tick_schedule(cdtx_sql *sql, const struct schedule *s, struct passed *passed, cdtx_error *err) {
    struct clockwork clockwork;
    int64_t now_ms = cdtx__wall_ms(sql->store->env) + (MUTANT(sql->store->env, "cron-early") ? 1300000 : 0);
    int32_t rc = wind(&clockwork, sql->store->env, s->when, s->zone, err);
    if (rc == 0)
        rc = pass(&clockwork, s->settled_ms, now_ms, passed, err);
    unwind(&clockwork);
    int all = rc == 0 && passed->next_ms > now_ms;
    if (rc == 0 && passed->count > 0 && all && !MUTANT(sql->store->env, "cron-lost"))
        rc = fire_passed(sql, s, passed, now_ms, err);
    if (rc == 0 && passed->count > 0 && !MUTANT(sql->store->env, "cron-unsettled"))
        rc = settle_slots(sql, s->name, passed->slots[(passed->count - 1) % CATCH_UP_MAX], err);
    return rc != 0 ? rc : put_tick(sql, s->name, passed->next_ms, err);
}

/* ---- rows ---- */

#define COLUMNS                                                                                                        \
    "name, text, zone, handler, queue, concurrency_key, payload, catch_up, priority, catch_up_max, grace_ms,"          \
    " deadline_ms, settled_ms"
enum {
    COL_NAME,
    COL_WHEN,
    COL_ZONE,
    COL_HANDLER,
    COL_QUEUE,
    COL_KEY,
    COL_PAYLOAD,
    COL_CATCH_UP,
    COL_PRIORITY,
    COL_CATCH_UP_MAX,
    COL_GRACE,
    COL_DEADLINE,
    COL_SETTLED
};

static struct schedule schedule_at(const cdtx_rows *rows, uint32_t row) {
    return (struct schedule){
        .name = cdtx__rows_at(rows, row, COL_NAME)->bytes,
        .when = cdtx__rows_at(rows, row, COL_WHEN)->bytes,
        .zone = cdtx__rows_at(rows, row, COL_ZONE)->bytes,
        .handler = cdtx__rows_at(rows, row, COL_HANDLER)->bytes,
        .queue = cdtx__rows_at(rows, row, COL_QUEUE)->bytes,
        .concurrency_key = cdtx__rows_at(rows, row, COL_KEY)->bytes,
        .payload = cdtx__rows_at(rows, row, COL_PAYLOAD)->bytes,
        .length = cdtx__rows_at(rows, row, COL_PAYLOAD)->length,
        .catch_up = (int32_t)cdtx__rows_int(rows, row, COL_CATCH_UP),
        .priority = (int32_t)cdtx__rows_int(rows, row, COL_PRIORITY),
        .catch_up_max = (uint32_t)cdtx__rows_int(rows, row, COL_CATCH_UP_MAX),
        .grace_ms = cdtx__rows_int(rows, row, COL_GRACE),
        .deadline_ms = cdtx__rows_int(rows, row, COL_DEADLINE),
        .settled_ms = cdtx__rows_int(rows, row, COL_SETTLED),
    };
}

static int32_t read_schedule(cdtx_sql *sql, const char *name, cdtx_rows *rows, cdtx_error *err) {
    cdtx_value key = cdtx__sql_text(name);
    cdtx__rows_reset(rows);
    return cdtx__sql_run(sql, "SELECT " COLUMNS " FROM cdtx_cron WHERE name = ?", &key, 1, rows, NULL, err);
}

/* A schedule that was removed meanwhile ends with its tick. */
static int32_t tick(cdtx_work *work, void *user, cdtx_error *err) {
    cdtx_sql *sql = cdtx_work_sql(work);
    const cdtx_env *env = sql->store->env;
    (void)user;
    struct passed *passed = cdtx__alloc(env, sizeof *passed);
    if (passed == NULL)
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory for the slots of a schedule");
    cdtx_rows rows;
    cdtx__rows_init(&rows, env, PAYLOAD_LIMIT + 65536);
    int32_t rc = read_schedule(sql, cdtx_work_payload(work, NULL), &rows, err);
    if (rc == 0 && rows.count == 1) {
        struct schedule s = schedule_at(&rows, 0);
        rc = tick_schedule(sql, &s, passed, err);
    }
    cdtx__rows_free(&rows);
    cdtx__free(env, passed, sizeof *passed);
    return rc;
}

/* ---- adding ---- */

static int same_text(const char *a, const char *b) {
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static int same(const struct schedule *a, const struct schedule *b) {
    return same_text(a->when, b->when) && same_text(a->zone, b->zone) && same_text(a->handler, b->handler) &&
           same_text(a->queue, b->queue) && same_text(a->concurrency_key, b->concurrency_key) &&
           a->length == b->length && (a->length == 0 || memcmp(a->payload, b->payload, a->length) == 0) &&
           a->catch_up == b->catch_up && a->priority == b->priority && a->catch_up_max == b->catch_up_max &&
           a->grace_ms == b->grace_ms && a->deadline_ms == b->deadline_ms;
}

struct addition {
    struct schedule schedule;
    int64_t next_ms;
};

static int32_t write_row(cdtx_sql *sql, const struct schedule *s, cdtx_error *err) {
    cdtx_value arguments[] = {cdtx__sql_text(s->name),
                              cdtx__sql_text(s->when),
                              cdtx__sql_text(s->zone),
                              cdtx__sql_text(s->handler),
                              cdtx__sql_text(s->queue),
                              cdtx__sql_text(s->concurrency_key),
                              cdtx__sql_blob(s->payload, s->length),
                              SQL_INT(s->catch_up),
                              SQL_INT(s->priority),
                              SQL_INT(s->catch_up_max),
                              SQL_INT(s->grace_ms),
                              SQL_INT(s->deadline_ms),
                              SQL_INT(s->settled_ms)};
    int32_t rc = cdtx__sql_run(sql, "DELETE FROM cdtx_cron WHERE name = ?", arguments, 1, NULL, NULL, err);
    if (rc == 0)
        rc = cdtx__sql_run(sql, "INSERT INTO cdtx_cron (" COLUMNS ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                           arguments, 13, NULL, NULL, err);
    return rc;
}

/* Somebody may have cancelled the tick, as any job: who adds the schedule puts it again, for what has passed since. */
static int32_t mend_tick(cdtx_sql *sql, const char *name, cdtx_error *err) {
    cdtx_value arguments[] = {cdtx__sql_text(ticker), cdtx__sql_text(name)};
    cdtx_rows *rows = &sql->store->rows;
    cdtx__rows_reset(rows);
    int32_t rc = cdtx__sql_run(sql, "SELECT 1 FROM cdtx_job WHERE handler = ? AND unique_key = ? AND " JOB_HOLDS_KEY,
                               arguments, 2, rows, NULL, err);
    return rc != 0 || rows->count > 0 ? rc : put_tick(sql, name, 1, err);
}

/* It begins from now, in the turn in which it is written: what stood before may have fired slots until then. */
static int32_t run_add(cdtx_sql *sql, void *user, cdtx_error *err) {
    struct addition *add = user;
    cdtx_rows rows;
    cdtx__rows_init(&rows, sql->store->env, PAYLOAD_LIMIT + 65536);
    int32_t rc = read_schedule(sql, add->schedule.name, &rows, err);
    int known = 0;
    if (rc == 0 && rows.count == 1) {
        struct schedule stands = schedule_at(&rows, 0);
        known = same(&stands, &add->schedule) || MUTANT(sql->store->env, "cron-text-kept");
    }
    cdtx__rows_free(&rows);
    if (rc == 0 && known)
        return mend_tick(sql, add->schedule.name, err);
    add->schedule.settled_ms = cdtx__wall_ms(sql->store->env);
    if (rc == 0)
        rc = write_row(sql, &add->schedule, err);
    return rc != 0 ? rc : put_tick(sql, add->schedule.name, add->next_ms, err);
}

static int32_t check_schedule(const cdtx *engine, const struct schedule *s, cdtx_error *err) {
    int32_t rc = cdtx__check_text(s->name, CDTX_CRON_NAME_MAX, "the schedule's name", err);
    struct job_put put = {.handler = s->handler,
                          .payload = s->payload,
                          .length = s->length,
                          .options = {.queue = s->queue,
                                      .priority = s->priority,
                                      .concurrency_key = s->concurrency_key,
                                      .deadline_ms = s->deadline_ms}};
    if (rc == 0)
        rc = cdtx__job_check(engine, &put, err);
    if (rc == 0 && cdtx__handler_is_ours(s->handler))
        rc = cdtx__fail(err, CDTX_INVALID, "jobs of '%s' are the library's own", s->handler);
    if (rc == 0)
        rc = cdtx__check_ms(s->grace_ms, "grace_ms", err);
    if (rc == 0 && (s->catch_up < CDTX_CATCH_UP_SKIP || s->catch_up > CDTX_CATCH_UP_ALL))
        rc = cdtx__fail(err, CDTX_INVALID, "catch_up %d is no cdtx_catch_up", s->catch_up);
    if (rc == 0 && s->catch_up_max > CATCH_UP_MAX)
        rc = cdtx__fail(err, CDTX_INVALID, "catch_up_max is %u; at most %d", s->catch_up_max, CATCH_UP_MAX);
    return rc;
}

static int32_t find_start(const cdtx_env *env, struct addition *add, cdtx_error *err) {
    struct clockwork clockwork;
    add->schedule.settled_ms = cdtx__wall_ms(env);
    int32_t rc = wind(&clockwork, env, add->schedule.when, add->schedule.zone, err);
    if (rc == 0)
        rc = cdtx__cron_next(&clockwork.cron, clockwork.zone, add->schedule.settled_ms, &add->next_ms, err);
    unwind(&clockwork);
    return rc;
}

static int32_t prepare(cdtx_db *db, struct addition *add, cdtx_error *err) {
    int32_t rc = check_schedule(db->engine, &add->schedule, err);
    if (rc == 0)
        rc = find_start(db->engine->env, add, err);
    return rc != 0 ? rc : cdtx__handler_add_ours(db, ticker, tick, err);
}

int32_t cdtx_cron_add(cdtx_db *db, const char *name, const cdtx_cron_options *options, cdtx_error *err) {
    cdtx_cron_options o = {0};
    if (db == NULL)
        return cdtx__fail(err, CDTX_MISUSE, "the database is NULL");
    int32_t rc = cdtx__options(options, &o, sizeof o, sizeof o, "cdtx_cron_options", err);
    struct addition add = {.schedule = {.name = name,
                                        .when = o.when,
                                        .zone = o.zone == NULL ? "UTC" : o.zone,
                                        .handler = o.handler,
                                        .queue = o.queue == NULL ? "default" : o.queue,
                                        .concurrency_key = o.concurrency_key,
                                        .payload = o.payload,
                                        .length = o.length,
                                        .catch_up = o.catch_up,
                                        .priority = o.priority,
                                        .catch_up_max = o.catch_up_max == 0 ? 100 : o.catch_up_max,
                                        .grace_ms = o.grace_ms == 0 ? 60000 : o.grace_ms,
                                        .deadline_ms = o.deadline_ms}};
    if (rc == 0)
        rc = cdtx__enter(db->engine, err);
    if (rc != 0)
        return rc;
    rc = prepare(db, &add, err);
    cdtx__leave(db->engine);
    return rc != 0 ? rc : cdtx_local(db, run_add, &add, err);
}

/* ---- removing ---- */

static int32_t run_remove(cdtx_sql *sql, void *user, cdtx_error *err) {
    cdtx_value name = cdtx__sql_text(user);
    cdtx_value arguments[] = {cdtx__sql_text(ticker), name};
    int64_t changes = 0;
    int32_t rc = cdtx__sql_run(sql, "DELETE FROM cdtx_cron WHERE name = ?", &name, 1, NULL, &changes, err);
    if (rc == 0 && changes == 0)
        return cdtx__fail(err, CDTX_NOT_FOUND, "database '%s' has no schedule '%.120s'", sql->store->name,
                          (const char *)user);
    if (rc != 0)
        return rc;
    return cdtx__sql_run(
        sql, "DELETE FROM cdtx_job WHERE handler = ? AND unique_key = ? AND " JOB_HOLDS_KEY " AND state <> 2",
        arguments, 2, NULL, NULL, err);
}

int32_t cdtx_cron_remove(cdtx_db *db, const char *name, cdtx_error *err) {
    int32_t rc = cdtx__check_text(name, CDTX_CRON_NAME_MAX, "the schedule's name", err);
    return rc != 0 ? rc : cdtx_local(db, run_remove, (void *)(uintptr_t)name, err);
}

/* ---- list ---- */

static const char *const names[] = {"name",    "when",       "zone",    "handler", "catch_up",
                                    "next_ms", "settled_ms", "payload", NULL};
static const char *const catch_ups[] = {"skip", "once", "all"};

static int32_t run_list(struct ask *ask, cdtx_sql *sql, cdtx_error *err) {
    int32_t rc = cdtx__sql_run(
        sql,
        "SELECT name, text, zone, handler, catch_up,"
        " (SELECT CASE WHEN clock = 1 AND state <> 2 THEN due END FROM cdtx_job WHERE handler = 'cdtx.cron'"
        " AND unique_key = c.name AND " JOB_HOLDS_KEY "), settled_ms, length(payload) FROM cdtx_cron AS c"
        " ORDER BY name",
        NULL, 0, &ask->rows, NULL, err);
    for (uint32_t i = 0; rc == 0 && i < ask->rows.count; i++) {
        cdtx_value values[8];
        for (uint32_t c = 0; c < 8; c++)
            values[c] = *cdtx__rows_at(&ask->rows, i, c);
        int64_t catch_up = values[4].integer;
        values[4] = cdtx__sql_text(catch_up >= 0 && catch_up <= CDTX_CATCH_UP_ALL ? catch_ups[catch_up] : "?");
        rc = cdtx__report_add(ask->report, values, err);
    }
    return rc;
}

int32_t cdtx_cron_list(cdtx_db *db, cdtx_report **report, cdtx_error *err) {
    struct ask ask = {.run = run_list};
    return cdtx__ask_report_db(db, "cdtx_cron_list", names, &ask, report, err);
}
