/* The doctor on what waits in a database: jobs and their handlers, schedules, messages, cases. */
#include <stdio.h>

#include "base/text.h"
#include "engine/doctor.h"
#include "engine/job.h"

enum { ROWS_MAX = 100, LOOK_BYTES = 1 << 20, LATE_MS = 60000, DAY_MS = 86400000, ADVICE_SIZE = 480 };

/* ---- looking ---- */

/* One statement, whose rows are kept when its transaction is over. */
struct look {
    struct ask ask;
    const char *statement;
    cdtx_value arguments[4];
    uint32_t count;
    int clocked; /* the first two arguments are the durable clock and the wall clock as of now */
    cdtx_rows found;
    int64_t clock, wall;
};

static int32_t run_look(struct ask *ask, cdtx_sql *sql, cdtx_error *err) {
    struct look *look = LIST_OF(ask, struct look, ask);
    look->clock = cdtx__store_clock_ms(sql->store);
    look->wall = cdtx__wall_ms(sql->store->env);
    if (look->clocked) {
        look->arguments[0] = SQL_INT(look->clock);
        look->arguments[1] = SQL_INT(look->wall);
    }
    cdtx__rows_reset(&look->found);
    return cdtx__sql_run(sql, look->statement, look->arguments, look->count, &look->found, NULL, err);
}

/* 1 when the rows are there; to be freed either way. */
static int see(struct doctor *d, struct store *store, struct look *look, const char *check) {
    look->ask.run = run_look;
    cdtx__rows_init(&look->found, d->engine->env, LOOK_BYTES);
    return cdtx__doctor_asked(d, store, &look->ask, check);
}

static int64_t int_at(const struct look *look, uint32_t row, uint32_t column) {
    return cdtx__rows_int(&look->found, row, column);
}

static int is_null(const struct look *look, uint32_t row, uint32_t column) {
    return cdtx__rows_at(&look->found, row, column)->type == CDTX_NULL;
}

/* What others wrote into the file, so that it fits into a sentence. */
static const char *name_at(const struct look *look, uint32_t row, uint32_t column, char name[CDTX_NAME_MAX + 1]) {
    const cdtx_value *value = cdtx__rows_at(&look->found, row, column);
    cdtx__clean_text(name, CDTX_NAME_MAX + 1, value->type == CDTX_TEXT ? value->bytes : "");
    return name;
}

/* A name as it may stand in a command that is copied into a shell. */
static const char *word(const char *name) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/@:+-";
    for (const char *at = name; *at != '\0'; at++)
        if (strchr(plain, *at) == NULL)
            return "NAME";
    return name[0] == '\0' || name[0] == '-' ? "NAME" : name;
}

/* ---- jobs ---- */

/* How people call a handler: some are a group's, or a checker's. */
struct called {
    const char *jobs;
    char owner[CDTX_NAME_MAX + 40];
};

static void call(const char *handler, struct called *called) {
    static const char group[] = DELIVERY_PREFIX, checker[] = "cdtx.half/";
    called->jobs = "jobs";
    if (strncmp(handler, group, sizeof group - 1) == 0) {
        called->jobs = "deliveries";
        snprintf(called->owner, sizeof called->owner, "group '%s'", handler + sizeof group - 1);
    } else if (strncmp(handler, checker, sizeof checker - 1) == 0) {
        called->jobs = "checks";
        snprintf(called->owner, sizeof called->owner, "the checker of producer '%s'", handler + sizeof checker - 1);
    } else {
        snprintf(called->owner, sizeof called->owner, "handler '%s'", handler);
    }
}

/* How long the first of a row's jobs has been due, whose columns 2 and 3 are the least due of each clock. */
static int64_t late_ms(const struct look *look, uint32_t row) {
    int64_t by_clock = is_null(look, row, 2) ? 0 : look->clock - int_at(look, row, 2);
    int64_t by_wall = is_null(look, row, 3) ? 0 : look->wall - int_at(look, row, 3);
    return by_clock > by_wall ? by_clock : by_wall;
}

static int say_waiting(struct doctor *d, cdtx_db *db, const struct look *look, uint32_t row) {
    char name[CDTX_NAME_MAX + 1], since[64] = "none is due yet";
    struct called called;
    const char *handler = name_at(look, row, 0, name);
    if (cdtx__handler_is_here(db, handler))
        return 0;
    int64_t late = late_ms(look, row);
    /* Whoever only looks has no handlers; that nobody else has this one is seen by what it leaves undone. */
    int problem = !d->engine->options.passive || late > DOCTOR_OLD_MS;
    if (late > 0)
        snprintf(since, sizeof since, "the first has been due for %lld s", (long long)late / 1000);
    call(handler, &called);
    cdtx__doctor_say(d, problem ? DOCTOR_PROBLEM : DOCTOR_NOTE, db->store->name, "handlers",
                     "make sure that some process on this database has it; cdtx handler list shows how many wait",
                     "%lld %s wait for %s, which nobody has here; %s", (long long)int_at(look, row, 1), called.jobs,
                     called.owner, since);
    return 1;
}

/* What the library itself puts comes with what it does: schedules are looked at below. */
static void check_handlers(struct doctor *d, cdtx_db *db) {
    struct look look = {.statement = "SELECT handler, count(*), min(CASE clock WHEN 0 THEN due END),"
                                     " min(CASE clock WHEN 1 THEN due END)"
                                     " FROM cdtx_job INDEXED BY cdtx_job_due WHERE state = 1"
                                     " AND handler NOT IN ('cdtx.cron', 'cdtx.msg.keep')"
                                     " AND handler NOT IN (SELECT handler FROM cdtx_pause)"
                                     " GROUP BY handler ORDER BY handler LIMIT ?",
                        .arguments = {SQL_INT(ROWS_MAX)},
                        .count = 1};
    int missing = 0, there = see(d, db->store, &look, "handlers");
    for (uint32_t i = 0; there && i < look.found.count; i++)
        missing += say_waiting(d, db, &look, i);
    if (there && missing == 0)
        cdtx__doctor_say(d, DOCTOR_OK, db->store->name, "handlers", NULL, "every ready job has its handler here");
    cdtx__rows_free(&look.found);
}

static void say_paused(struct doctor *d, const struct store *store, const struct look *look, uint32_t row) {
    char name[CDTX_NAME_MAX + 1], advice[ADVICE_SIZE];
    struct called called;
    const char *handler = name_at(look, row, 0, name);
    int64_t since = look->wall - int_at(look, row, 1);
    call(handler, &called);
    snprintf(advice, sizeof advice, "when its cause is over: cdtx handler resume %s/%s --reason TEXT", store->name,
             word(handler));
    cdtx__doctor_say(d, since > DAY_MS ? DOCTOR_PROBLEM : DOCTOR_NOTE, store->name, "pauses", advice,
                     "%s has been paused for %lld s; %lld %s are ready for it", called.owner,
                     (long long)(since < 0 ? 0 : since) / 1000, (long long)int_at(look, row, 2), called.jobs);
}

static void check_pauses(struct doctor *d, struct store *store) {
    struct look look = {.statement = "SELECT handler, since_ms, (SELECT count(*) FROM cdtx_job AS j"
                                     " WHERE j.handler = p.handler AND j.state = 1)"
                                     " FROM cdtx_pause AS p ORDER BY handler LIMIT ?",
                        .arguments = {SQL_INT(ROWS_MAX)},
                        .count = 1};
    int there = see(d, store, &look, "pauses");
    for (uint32_t i = 0; there && i < look.found.count; i++)
        say_paused(d, store, &look, i);
    if (there && look.found.count == 0)
        cdtx__doctor_say(d, DOCTOR_OK, store->name, "pauses", NULL, "no handler is paused");
    cdtx__rows_free(&look.found);
}

static void say_dead(struct doctor *d, const struct store *store, const struct look *look, uint32_t row) {
    char name[CDTX_NAME_MAX + 1], error[CDTX_NAME_MAX + 1], advice[ADVICE_SIZE];
    struct called called;
    const char *handler = name_at(look, row, 0, name);
    call(handler, &called);
    snprintf(advice, sizeof advice,
             "cdtx job list --state dead --handler %s shows them; mend the cause, then cdtx job redrive --handler %s/%s"
             " --reason TEXT",
             word(handler), store->name, word(handler));
    cdtx__doctor_say(d, DOCTOR_PROBLEM, store->name, "dead letters", advice, "%lld %s of %s are dead; the last one: %s",
                     (long long)int_at(look, row, 1), called.jobs, called.owner, name_at(look, row, 2, error));
}

static void check_dead(struct doctor *d, struct store *store) {
    struct look look = {.statement = "SELECT handler, count(*), (SELECT error FROM cdtx_job AS j WHERE j.state = 3"
                                     " AND j.handler = cdtx_job.handler ORDER BY died DESC LIMIT 1)"
                                     " FROM cdtx_job INDEXED BY cdtx_job_dead WHERE state = 3"
                                     " GROUP BY handler ORDER BY handler LIMIT ?",
                        .arguments = {SQL_INT(ROWS_MAX)},
                        .count = 1};
    int there = see(d, store, &look, "dead letters");
    for (uint32_t i = 0; there && i < look.found.count; i++)
        say_dead(d, store, &look, i);
    if (there && look.found.count == 0)
        cdtx__doctor_say(d, DOCTOR_OK, store->name, "dead letters", NULL, "no job is dead");
    cdtx__rows_free(&look.found);
}

/* ---- schedules ---- */

enum { TICK_NAME, TICK_STATE, TICK_CLOCK, TICK_DUE };

static void say_schedule(struct doctor *d, const struct store *store, const struct look *look, uint32_t row) {
    char name[CDTX_NAME_MAX + 1];
    name_at(look, row, TICK_NAME, name);
    int wall = int_at(look, row, TICK_STATE) == JOB_READY && int_at(look, row, TICK_CLOCK) == JOB_CLOCK_WALL;
    int64_t late = (wall ? look->wall : look->clock) - int_at(look, row, TICK_DUE);
    if (is_null(look, row, TICK_STATE))
        cdtx__doctor_say(d, DOCTOR_PROBLEM, store->name, "schedules",
                         "let a process add it again (cdtx_cron_add); cdtx cron list shows it",
                         "schedule '%s' will not fire: the job that does it is missing", name);
    else
        cdtx__doctor_say(d, DOCTOR_PROBLEM, store->name, "schedules",
                         "make sure that a process which adds a schedule (cdtx_cron_add) is up and cdtx.cron is not"
                         " paused; cdtx cron list shows them",
                         "schedule '%s' should have fired %lld s ago", name, (long long)late / 1000);
}

static void check_schedules(struct doctor *d, struct store *store, int64_t schedules) {
    struct look look = {.statement = "WITH now (clock, wall, grace) AS (VALUES (?, ?, ?))"
                                     " SELECT c.name, j.state, j.clock, j.due FROM now, cdtx_cron AS c"
                                     " LEFT JOIN cdtx_job AS j ON j.handler = 'cdtx.cron' AND j.unique_key = c.name"
                                     " AND j." JOB_HOLDS_KEY " WHERE j.id IS NULL OR j.due + now.grace <"
                                     " CASE WHEN j.state = 1 AND j.clock = 1 THEN now.wall ELSE now.clock END"
                                     " ORDER BY c.name LIMIT ?",
                        .arguments = {SQL_NULL, SQL_NULL, SQL_INT(LATE_MS), SQL_INT(ROWS_MAX)},
                        .count = 4,
                        .clocked = 1};
    int there = see(d, store, &look, "schedules");
    for (uint32_t i = 0; there && i < look.found.count; i++)
        say_schedule(d, store, &look, i);
    if (there && look.found.count == 0)
        cdtx__doctor_say(d, DOCTOR_OK, store->name, "schedules", NULL, "%lld, each has its next run",
                         (long long)schedules);
    cdtx__rows_free(&look.found);
}

/* ---- messages ---- */

static void say_halves(struct doctor *d, const struct store *store, int64_t open, int64_t parked, int64_t old_ms) {
    if (parked > 0)
        cdtx__doctor_say(d, DOCTOR_PROBLEM, store->name, "halves",
                         "cdtx half list shows them; ask the producer, then cdtx half commit HANDLE or cdtx half"
                         " rollback HANDLE",
                         "%lld half messages are parked: nobody could say whether they committed", (long long)parked);
    if (old_ms > DOCTOR_OLD_MS)
        cdtx__doctor_say(d, DOCTOR_PROBLEM, store->name, "halves",
                         "make sure that some process has a checker of its producer; cdtx half list shows which",
                         "%lld half messages are not resolved; the oldest that is not parked was prepared %lld s ago",
                         (long long)open, (long long)old_ms / 1000);
    else if (parked == 0)
        cdtx__doctor_say(d, DOCTOR_OK, store->name, "halves", NULL, "%lld are not resolved, none for long",
                         (long long)open);
}

static void check_halves(struct doctor *d, struct store *store) {
    struct look look = {.statement = "SELECT count(*), count(parked), min(CASE WHEN parked IS NULL THEN at END)"
                                     " FROM cdtx_half WHERE state = 1"};
    if (see(d, store, &look, "halves"))
        say_halves(d, store, int_at(&look, 0, 0), int_at(&look, 0, 1),
                   is_null(&look, 0, 2) ? 0 : look.clock - int_at(&look, 0, 2));
    cdtx__rows_free(&look.found);
}

static void say_topic(struct doctor *d, const struct store *store, const struct look *look, uint32_t row) {
    char name[CDTX_NAME_MAX + 1];
    int64_t old_ms = look->clock - int_at(look, row, 2);
    cdtx__doctor_say(d, old_ms > DAY_MS ? DOCTOR_PROBLEM : DOCTOR_NOTE, store->name, "topics",
                     "let a consumer join (cdtx_consumer_add): until then all is kept; cdtx topic list shows how much",
                     "topic '%s' has no group, and keeps %lld messages, the oldest for %lld s",
                     name_at(look, row, 0, name), (long long)int_at(look, row, 1), (long long)old_ms / 1000);
}

static void check_topics(struct doctor *d, struct store *store) {
    struct look look = {.statement = "SELECT m.topic, count(*), min(m.visible) FROM cdtx_msg AS m"
                                     " WHERE m.visible IS NOT NULL"
                                     " AND NOT EXISTS (SELECT 1 FROM cdtx_group AS g WHERE g.topic = m.topic)"
                                     " GROUP BY m.topic ORDER BY m.topic LIMIT ?",
                        .arguments = {SQL_INT(ROWS_MAX)},
                        .count = 1};
    int there = see(d, store, &look, "topics");
    for (uint32_t i = 0; there && i < look.found.count; i++)
        say_topic(d, store, &look, i);
    if (there && look.found.count == 0)
        cdtx__doctor_say(d, DOCTOR_OK, store->name, "topics", NULL, "whatever is kept has a group");
    cdtx__rows_free(&look.found);
}

/* ---- messages that branches hold ---- */

/* The gids of this log for which messages are held, lowest first, and how many. */
struct held {
    struct look look;
    struct store *log;
    int64_t sequences[ROWS_MAX], messages[ROWS_MAX];
    int suspect[ROWS_MAX]; /* its transaction has ended, or never was */
    uint32_t count;
};

static int see_held(struct doctor *d, struct store *store, struct held *held) {
    held->look = (struct look){.statement = "SELECT seq, count(*) FROM cdtx_msg INDEXED BY cdtx_msg_held"
                                            " WHERE visible IS NULL AND log = ? GROUP BY seq ORDER BY seq LIMIT ?",
                               .arguments = {cdtx__sql_blob(held->log->uuid, 16), SQL_INT(ROWS_MAX)},
                               .count = 2};
    return see(d, store, &held->look, "held messages");
}

struct open_ask {
    struct ask ask;
    struct held *held;
};

static int32_t run_open(struct ask *ask, cdtx_sql *sql, cdtx_error *err) {
    struct held *held = LIST_OF(ask, struct open_ask, ask)->held;
    for (uint32_t i = 0; i < held->count; i++) {
        cdtx_value key = SQL_INT(held->sequences[i]);
        cdtx__rows_reset(&ask->rows);
        int32_t rc = cdtx__sql_run(sql, "SELECT 1 FROM cdtx_tx WHERE seq = ? AND due IS NOT NULL", &key, 1, &ask->rows,
                                   NULL, err);
        if (rc != 0)
            return rc;
        held->suspect[i] = ask->rows.count == 0;
    }
    return 0;
}

static int still_held(const struct look *look, int64_t sequence) {
    for (uint32_t i = 0; i < look->found.count; i++)
        if (int_at(look, i, 0) == sequence)
            return 1;
    return 0;
}

static void say_held(struct doctor *d, const struct store *store, const struct held *held) {
    int found = 0;
    for (uint32_t i = 0; i < held->count; i++) {
        char gid[CDTX_GID_MAX], advice[ADVICE_SIZE];
        if (!held->suspect[i] || !still_held(&held->look, held->sequences[i]))
            continue;
        found++;
        cdtx__gid_text(held->log->uuid, held->sequences[i], gid);
        snprintf(
            advice, sizeof advice,
            "cdtx tx show %s: it was resolved by hand, or a database was restored; nobody will get the messages until"
            " cdtx held commit or cdtx held rollback settles them; cdtx held list shows them",
            gid);
        cdtx__doctor_say(d, DOCTOR_PROBLEM, store->name, "held messages", advice,
                         "%lld messages are held by branches of %s, and the log does not have it open",
                         (long long)held->messages[i], gid);
    }
    if (!found)
        cdtx__doctor_say(d, DOCTOR_OK, store->name, "held messages", NULL, "%s",
                         held->count == 0 ? "none of this log" : "every gid is open");
}

/* As with guards: the database, the log, the database again. */
static void look_at_held(struct doctor *d, struct store *store, struct held *held) {
    struct open_ask open = {.ask.run = run_open, .held = held};
    int there = see_held(d, store, held);
    held->count = there ? held->look.found.count : 0;
    for (uint32_t i = 0; i < held->count; i++) {
        held->sequences[i] = int_at(&held->look, i, 0);
        held->messages[i] = int_at(&held->look, i, 1);
    }
    cdtx__rows_free(&held->look.found);
    if (!there || !cdtx__doctor_asked(d, held->log, &open.ask, "held messages"))
        return;
    if (see_held(d, store, held))
        say_held(d, store, held);
    cdtx__rows_free(&held->look.found);
}

static void check_held(struct doctor *d, struct store *store) {
    if (d->engine->log == NULL)
        return;
    struct held *held = cdtx__alloc(d->engine->env, sizeof *held);
    if (held == NULL) {
        d->rc = d->rc != 0 ? d->rc : cdtx__fail(d->err, CDTX_NO_MEMORY, "no memory to look at held messages");
        return;
    }
    held->log = d->engine->log->store;
    look_at_held(d, store, held);
    struct look other = {.statement = "SELECT count(*) FROM cdtx_msg WHERE visible IS NULL AND log <> ?",
                         .arguments = {cdtx__sql_blob(held->log->uuid, 16)},
                         .count = 1};
    if (see(d, store, &other, "held messages") && int_at(&other, 0, 0) > 0)
        cdtx__doctor_say(d, DOCTOR_NOTE, store->name, "held messages", "run cdtx doctor with that log, too",
                         "%lld messages are held by branches of another log, which is not open here",
                         (long long)int_at(&other, 0, 0));
    cdtx__rows_free(&other.found);
    cdtx__free(d->engine->env, held, sizeof *held);
}

/* ---- all of it ---- */

enum { THERE_CASES, THERE_SCHEDULES, THERE_TOPICS };

/* Who has no schedules and no topics need not read of them. */
static void check_there(struct doctor *d, struct store *store, const struct look *there) {
    int64_t cases = int_at(there, 0, THERE_CASES), schedules = int_at(there, 0, THERE_SCHEDULES);
    cdtx__doctor_say(d, cases > 0 ? DOCTOR_NOTE : DOCTOR_OK, store->name, "cases",
                     cases > 0 ? "cdtx case list shows them, cdtx case assign says who looks after one" : NULL,
                     "%lld are open", (long long)cases);
    if (schedules > 0)
        check_schedules(d, store, schedules);
    if (int_at(there, 0, THERE_TOPICS) == 0)
        return;
    check_halves(d, store);
    check_held(d, store);
    check_topics(d, store);
}

void cdtx__doctor_work(struct doctor *d, cdtx_db *db) {
    struct look there = {.statement = "SELECT (SELECT count(*) FROM cdtx_case WHERE state = 1),"
                                      " (SELECT count(*) FROM cdtx_cron), (SELECT count(*) FROM cdtx_topic)"};
    check_handlers(d, db);
    check_pauses(d, db->store);
    check_dead(d, db->store);
    if (see(d, db->store, &there, "cases"))
        check_there(d, db->store, &there);
    cdtx__rows_free(&there.found);
}
