/* The doctor: what is checked of each open database and of the log, as rows for a person. */
#include <stdarg.h>
#include <stdio.h>

#include "base/text.h"
#include "engine/doctor.h"
#include "store/guard.h"
#include "store/schema.h"

static const char *const names[] = {"level", "database", "check", "finding", "advice", NULL};

enum { JUMP_MS = 60000, TRIED_MAX = 100 };
/* 2020: no clock that is set is before. */
#define WALL_MIN_MS INT64_C(1577836800000)

void cdtx__doctor_say(struct doctor *d, const char *level, const char *database, const char *check, const char *advice,
                      const char *format, ...) {
    char finding[600];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(finding, sizeof finding, format, arguments);
    va_end(arguments);
    if (d->rc != 0)
        return;
    cdtx_value row[] = {cdtx__sql_text(level), cdtx__sql_text(database), cdtx__sql_text(check), cdtx__sql_text(finding),
                        cdtx__sql_text(advice)};
    d->rc = cdtx__report_add(d->report, row, d->err);
}

int cdtx__doctor_asked(struct doctor *d, struct store *store, struct ask *ask, const char *check) {
    cdtx_error why = {0};
    if (cdtx__ask_ride(d->engine, store, ask, &why) == 0)
        return 1;
    cdtx__doctor_say(d, DOCTOR_PROBLEM, store->name, check, NULL, "could not be looked at: %s", why.text);
    return 0;
}

/* ---- settings, by the adapter ---- */

struct inspect_ask {
    struct ask ask;
    uint32_t deep;
    cdtx_rows found;
};

static int32_t run_inspect(struct ask *ask, cdtx_sql *sql, cdtx_error *err) {
    struct inspect_ask *in = LIST_OF(ask, struct inspect_ask, ask);
    cdtx__rows_reset(&in->found);
    return sql->store->port->inspect(sql->store->connection, in->deep, &in->found, err);
}

static const char *text_at(const cdtx_rows *rows, uint32_t row, uint32_t column) {
    const cdtx_value *v = cdtx__rows_at(rows, row, column);
    return v->type == CDTX_TEXT ? v->bytes : NULL;
}

static void check_settings(struct doctor *d, struct store *store) {
    struct inspect_ask in = {.ask.run = run_inspect, .deep = d->deep};
    if (store->port->inspect == NULL) {
        cdtx__doctor_say(d, DOCTOR_NOTE, store->name, "settings", NULL, "the adapter for '%s:' says nothing about them",
                         store->port->scheme);
        return;
    }
    cdtx__rows_init(&in.found, d->engine->env, 1 << 20);
    if (cdtx__doctor_asked(d, store, &in.ask, "settings"))
        for (uint32_t i = 0; i < in.found.count; i++) {
            const char *level = text_at(&in.found, i, 0), *check = text_at(&in.found, i, 1);
            const char *finding = text_at(&in.found, i, 2);
            cdtx__doctor_say(d, level, store->name, check, text_at(&in.found, i, 3), "%s",
                             finding == NULL ? "" : finding);
        }
    cdtx__rows_free(&in.found);
}

void cdtx__doctor_warn(cdtx_db *db) {
    struct store *store = db->store;
    struct inspect_ask in = {.ask.run = run_inspect};
    if (store->port->inspect == NULL)
        return;
    cdtx__rows_init(&in.found, db->engine->env, 1 << 20);
    if (cdtx__ask_ride(db->engine, store, &in.ask, NULL) == 0)
        for (uint32_t i = 0; i < in.found.count; i++) {
            const char *level = text_at(&in.found, i, 0), *advice = text_at(&in.found, i, 3);
            if (level != NULL && strcmp(level, DOCTOR_OK) != 0)
                cdtx__log(db->engine->env, CDTX_LOG_WARNING, "database '%s': %s%s%s", store->name,
                          text_at(&in.found, i, 2), advice == NULL ? "" : "; ", advice == NULL ? "" : advice);
        }
    cdtx__rows_free(&in.found);
}

/* ---- owner, schema and clock ---- */

struct meta_ask {
    struct ask ask;
    char owner[CDTX_NAME_MAX + 1];
    int64_t version, clock, wall, now_clock, now_wall;
};

static int32_t run_meta(struct ask *ask, cdtx_sql *sql, cdtx_error *err) {
    struct meta_ask *meta = LIST_OF(ask, struct meta_ask, ask);
    int32_t rc = cdtx__sql_run(sql, "SELECT owner, version, clock, wall FROM cdtx_meta WHERE id = 1", NULL, 0,
                               &ask->rows, NULL, err);
    const char *owner = text_at(&ask->rows, 0, 0);
    cdtx__clean_text(meta->owner, sizeof meta->owner, owner == NULL ? "" : owner);
    meta->version = cdtx__rows_int(&ask->rows, 0, 1);
    meta->clock = cdtx__rows_int(&ask->rows, 0, 2);
    meta->wall = cdtx__rows_int(&ask->rows, 0, 3);
    meta->now_clock = cdtx__store_clock_ms(sql->store);
    meta->now_wall = cdtx__wall_ms(sql->store->env);
    return rc;
}

static void check_clock(struct doctor *d, const struct store *store, const struct meta_ask *meta) {
    int64_t by_clock = meta->now_clock - meta->clock, by_wall = meta->now_wall - meta->wall;
    int64_t jump = by_wall - by_clock;
    if (meta->now_wall < WALL_MIN_MS)
        cdtx__doctor_say(d, DOCTOR_PROBLEM, store->name, "clock",
                         "set the machine's clock; jobs put for a wall-clock time wait for it",
                         "the wall clock says %lld ms since 1970", (long long)meta->now_wall);
    else if (jump > JUMP_MS || jump < -JUMP_MS)
        cdtx__doctor_say(d, DOCTOR_PROBLEM, store->name, "clock",
                         "look at the machine's time service; only jobs put for a wall-clock time follow such a jump",
                         "the wall clock has moved %+lld s against the durable clock since the last commit",
                         (long long)jump / 1000);
    else
        cdtx__doctor_say(d, DOCTOR_OK, store->name, "clock", NULL,
                         "the wall clock and the durable clock agree to %lld ms", (long long)(jump < 0 ? -jump : jump));
}

static void check_meta(struct doctor *d, struct store *store) {
    static const char *const ways[] = {[CDTX_OWN_NONE] = "read only here",
                                       [CDTX_OWN_SHARED] = "shared; another process checkpoints",
                                       [CDTX_OWN_FIRST] = "shared; this process checkpoints",
                                       [CDTX_OWN_ALONE] = "alone"};
    struct meta_ask meta = {.ask.run = run_meta};
    if (!cdtx__doctor_asked(d, store, &meta.ask, "owner"))
        return;
    cdtx__doctor_say(d, DOCTOR_OK, store->name, "owner", NULL, "last signed in: %s; %s", meta.owner,
                     ways[store->ownership & 3]);
    int current = meta.version == SCHEMA_VERSION;
    cdtx__doctor_say(d, current ? DOCTOR_OK : DOCTOR_PROBLEM, store->name, "schema",
                     current ? NULL : "reopen it with the newest library", "version %lld; this library has %d",
                     (long long)meta.version, SCHEMA_VERSION);
    check_clock(d, store, &meta);
}

/* ---- guards against the log ---- */

struct tried {
    int64_t sequence, branch;
    int suspect; /* its transaction has ended, or never was */
};

struct guards_ask {
    struct ask ask;
    const uint8_t *log;
    int64_t highest;
    struct tried tried[TRIED_MAX];
    uint32_t count;
    int again; /* the second look */
};

static int32_t run_tried(struct ask *ask, cdtx_sql *sql, cdtx_error *err) {
    struct guards_ask *guards = LIST_OF(ask, struct guards_ask, ask);
    cdtx_value arguments[] = {cdtx__sql_blob(guards->log, 16), SQL_INT(TRIED_MAX)};
    int32_t rc = cdtx__guard_highest(sql, guards->log, &guards->highest, err);
    if (rc == 0)
        rc = cdtx__sql_run(sql, "SELECT seq, branch FROM cdtx_guard WHERE log = ? AND state = 1 ORDER BY seq LIMIT ?",
                           arguments, 2, &ask->rows, NULL, err);
    if (rc != 0)
        return rc;
    if (!guards->again) {
        guards->count = ask->rows.count;
        for (uint32_t i = 0; i < guards->count; i++)
            guards->tried[i] = (struct tried){.sequence = cdtx__rows_int(&ask->rows, i, 0),
                                              .branch = cdtx__rows_int(&ask->rows, i, 1)};
        return 0;
    }
    for (uint32_t i = 0; i < guards->count; i++) {
        int still = 0;
        for (uint32_t j = 0; j < ask->rows.count; j++)
            still |= cdtx__rows_int(&ask->rows, j, 0) == guards->tried[i].sequence &&
                     cdtx__rows_int(&ask->rows, j, 1) == guards->tried[i].branch;
        guards->tried[i].suspect &= still;
    }
    return 0;
}

struct known_ask {
    struct ask ask;
    struct guards_ask *guards;
    int64_t sequence; /* the last that the log gave out */
};

static int32_t run_known(struct ask *ask, cdtx_sql *sql, cdtx_error *err) {
    struct known_ask *known = LIST_OF(ask, struct known_ask, ask);
    known->sequence = sql->store->meta.sequence;
    for (uint32_t i = 0; i < known->guards->count; i++) {
        struct tried *tried = &known->guards->tried[i];
        cdtx_value key = SQL_INT(tried->sequence);
        cdtx__rows_reset(&ask->rows);
        int32_t rc = cdtx__sql_run(sql, "SELECT 1 FROM cdtx_tx WHERE seq = ? AND due IS NOT NULL", &key, 1, &ask->rows,
                                   NULL, err);
        if (rc != 0)
            return rc;
        tried->suspect = ask->rows.count == 0;
    }
    return 0;
}

static void say_guards(struct doctor *d, const struct store *store, const struct guards_ask *guards,
                       const struct known_ask *known) {
    int found = 0;
    if (guards->highest > known->sequence && ++found)
        cdtx__doctor_say(d, DOCTOR_PROBLEM, store->name, "guards",
                         "the log was restored from a backup: reopen it for writing before use",
                         "there are guards up to gid number %lld, and the log has given out only %lld",
                         (long long)guards->highest, (long long)known->sequence);
    for (uint32_t i = 0; i < guards->count; i++) {
        char gid[CDTX_GID_MAX];
        if (!guards->tried[i].suspect)
            continue;
        found++;
        cdtx__gid_text(guards->log, guards->tried[i].sequence, gid);
        cdtx__doctor_say(
            d, DOCTOR_PROBLEM, store->name, "guards",
            "look at what its try reserved: it was resolved by hand, or a database was restored from a backup",
            "branch %lld of %s stands tried, and the log does not have it open", (long long)guards->tried[i].branch,
            gid);
    }
    if (!found)
        cdtx__doctor_say(d, DOCTOR_OK, store->name, "guards", NULL, "%s",
                         guards->highest == 0 ? "none of this log" : "all known to the log");
}

/* Guards first, then the log, then the guards again: what has only gone on meanwhile is no finding. */
static void look_at_guards(struct doctor *d, struct store *store, struct guards_ask *guards) {
    struct store *log = d->engine->log->store;
    struct known_ask known = {.ask.run = run_known, .guards = guards};
    guards->ask.run = run_tried;
    guards->log = log->uuid;
    if (!cdtx__doctor_asked(d, store, &guards->ask, "guards") || !cdtx__doctor_asked(d, log, &known.ask, "guards"))
        return;
    guards->again = 1;
    if (guards->count == 0 || cdtx__doctor_asked(d, store, &guards->ask, "guards"))
        say_guards(d, store, guards, &known);
}

static void check_guards(struct doctor *d, struct store *store) {
    if (d->engine->log == NULL)
        return;
    struct guards_ask *guards = cdtx__alloc(d->engine->env, sizeof *guards);
    if (guards == NULL) {
        d->rc = d->rc != 0 ? d->rc : cdtx__fail(d->err, CDTX_NO_MEMORY, "no memory to look at the guards");
        return;
    }
    look_at_guards(d, store, guards);
    cdtx__free(d->engine->env, guards, sizeof *guards);
}

/* ---- the log ---- */

struct log_ask {
    struct ask ask;
    int64_t open, parked, oldest_ms;
};

static int32_t run_log(struct ask *ask, cdtx_sql *sql, cdtx_error *err) {
    struct log_ask *log = LIST_OF(ask, struct log_ask, ask);
    int32_t rc = cdtx__sql_run(sql,
                               "SELECT count(*), sum(parked IS NOT NULL), min(CASE WHEN began > 0 AND parked IS NULL"
                               " THEN began END) FROM cdtx_tx INDEXED BY cdtx_tx_due WHERE due IS NOT NULL",
                               NULL, 0, &ask->rows, NULL, err);
    log->open = cdtx__rows_int(&ask->rows, 0, 0);
    log->parked = cdtx__rows_int(&ask->rows, 0, 1);
    const cdtx_value *began = cdtx__rows_at(&ask->rows, 0, 2);
    log->oldest_ms = began->type == CDTX_INT ? cdtx__wall_ms(sql->store->env) - began->integer : 0;
    return rc;
}

static void check_log(struct doctor *d) {
    struct log_ask log = {.ask.run = run_log};
    if (d->engine->log == NULL) {
        cdtx__doctor_say(d, DOCTOR_NOTE, NULL, "log", NULL,
                         "this engine was opened without a log: it only serves participants");
        return;
    }
    struct store *store = d->engine->log->store;
    if (!cdtx__doctor_asked(d, store, &log.ask, "transactions"))
        return;
    int old = log.oldest_ms > DOCTOR_OLD_MS;
    cdtx__doctor_say(d, old ? DOCTOR_PROBLEM : DOCTOR_OK, store->name, "transactions",
                     old ? "cdtx tx list shows the oldest, cdtx tx show GID which participant does not answer" : NULL,
                     "%lld have not ended; the oldest that is not parked began %lld s ago", (long long)log.open,
                     (long long)(log.oldest_ms < 0 ? 0 : log.oldest_ms / 1000));
    cdtx__doctor_say(d, log.parked > 0 ? DOCTOR_PROBLEM : DOCTOR_OK, store->name, "parked",
                     log.parked > 0 ? "each has a case: end its cause, then cdtx tx unpark GID; or cdtx tx resolve GID"
                                    : NULL,
                     "%lld are parked", (long long)log.parked);
}

static void check_audit(struct doctor *d, struct store *store) {
    int64_t lines = 0;
    char head[DIGEST_HEX_SIZE];
    cdtx_error why = {0};
    int32_t rc = cdtx__audit_verify(d->engine, store, 0, &lines, head, &why);
    if (rc == 0)
        cdtx__doctor_say(d, DOCTOR_OK, store->name, "audit", NULL, "%lld lines, unbroken; head %s", (long long)lines,
                         head);
    else
        cdtx__doctor_say(d, DOCTOR_PROBLEM, store->name, "audit",
                         rc == CDTX_CORRUPT ? "somebody changed the file: keep a copy, and compare with one from before"
                                            : NULL,
                         "%s", why.text);
}

static int is_stopped(struct doctor *d, struct store *store) {
    cdtx__lock(d->engine->env, &store->lock);
    int32_t stopped = store->stopped;
    cdtx_error why = store->stop_err;
    cdtx__unlock(d->engine->env, &store->lock);
    if (stopped != 0)
        cdtx__doctor_say(d, DOCTOR_PROBLEM, store->name, "running",
                         "close the engine and open it again; see what the disk says", "%s", why.text);
    return stopped != 0;
}

static int32_t examine(struct doctor *d) {
    if (d->engine->options.passive)
        cdtx__doctor_say(d, DOCTOR_NOTE, NULL, "engine", NULL, "passive: it takes up nothing and begins nothing");
    for (cdtx_db *db = cdtx__db_after(d->engine, NULL); db != NULL; db = cdtx__db_after(d->engine, db)) {
        if (is_stopped(d, db->store))
            continue;
        if (!cdtx__host_lends(db)) {
            cdtx__doctor_say(d, DOCTOR_NOTE, db->store->name, "turn", "ask again while a turn is lent (cdtx_host_run)",
                             "the host lends no turn now, so nothing can be looked at");
            continue;
        }
        check_settings(d, db->store);
        check_meta(d, db->store);
        cdtx__doctor_work(d, db);
        check_guards(d, db->store);
        check_audit(d, db->store);
    }
    check_log(d);
    return d->rc;
}

int32_t cdtx_doctor(cdtx *engine, uint32_t deep, cdtx_report **report, cdtx_error *err) {
    struct doctor d = {.engine = engine, .deep = deep, .err = err};
    if (report == NULL)
        return cdtx__fail(err, CDTX_INVALID, "cdtx_doctor: the place for the report is NULL");
    if (deep > 1)
        return cdtx__fail(err, CDTX_INVALID, "cdtx_doctor: deep is %u; it is 0 or 1", deep);
    int32_t rc = cdtx__enter(engine, err);
    if (rc != 0)
        return rc;
    rc = cdtx__may_wait(engine, "cdtx_doctor", err);
    if (rc == 0)
        rc = cdtx__report_new(engine->env, names, &d.report, err);
    if (rc == 0)
        rc = examine(&d);
    if (rc == 0)
        *report = d.report;
    else
        cdtx_report_close(d.report);
    cdtx__leave(engine);
    return rc;
}
