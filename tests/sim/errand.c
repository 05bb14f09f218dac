#include "errand.h"

#include <cdtx/admin.h>
#include <stdio.h>
#include <string.h>

#include "attempt.h"
#include "cover.h"
#include "query.h"

enum { ERRANDS_MAX = 1024, HANDFUL = 20 };
enum sort { IN_LOCAL, PLAIN, PULLED, TAKEN, SORTS };
enum fate { OPEN, PUT, NOT_PUT };

static const char *const handlers[SORTS] = {"errand-local", "errand-plain", "errand-pulled", "errand-taken"};

/* What is known of one job, by its number. */
struct errand {
    uint8_t sort, fate;
    struct attempts attempts;
    int hopeless;  /* its handler says a definite no */
    int done;      /* one without effects has answered yes */
    int64_t id;    /* its number, once put */
    int cancelled; /* by a person: 1 acknowledged, 2 perhaps */
    const struct host *host;
    int64_t put_at, delay_ms, at_ms; /* virtual time; what was asked for */
};

struct errands {
    struct errand known[CLERKS][ERRANDS_MAX];
    uint32_t count[CLERKS];
    int64_t opened[CLERKS]; /* when a database that nobody had open was opened last */
};

struct note {
    uint32_t which, number;
};

struct handler {
    struct life *life;
    int which;
};

void errand_init(struct sim *sim) {
    sim->errands = world_alloc(&sim->world, sizeof *sim->errands);
}

int32_t errand_tables(cdtx_sql *sql, cdtx_error *err) {
    return cdtx_sql_exec(sql, "CREATE TABLE IF NOT EXISTS errand (number INTEGER, token INTEGER)", NULL, err);
}

/* ---- running ---- */

/* A database's clock follows the wall clock while nobody has it open, so a jump then is an honest reason to be early.
 */
int errand_clock_moved(const struct life *life, int which, int64_t since) {
    return life->sim->errands->opened[which] >= since && host_jumped_ahead(life->node->host, since);
}

/* R4: not before its time. */
static void check_time(struct life *life, const struct errand *errand) {
    const struct attempts *attempts = &errand->attempts;
    if (attempts->token != 0 || attempts->anew)
        return;
    attempt_waited(life, attempts, errand->put_at, errand->delay_ms);
    if (errand->at_ms > host_wall_peak_us(errand->host, errand->put_at) / MS)
        violate(&life->sim->world, "R4", "errand job %lld of database %d starts before its time of day, %lld ms",
                (long long)attempts->id, attempts->which, (long long)errand->at_ms);
}

static struct errand *begin(struct life *life, const cdtx_work *work, enum sort sort) {
    struct sim *sim = life->sim;
    size_t length;
    const struct note *note = cdtx_work_payload(work, &length);
    if (length != sizeof *note || note->which >= CLERKS || note->number >= sim->errands->count[note->which]) {
        violate(&sim->world, "R1", "%s runs a job that nobody put", life->name);
        strand_end(&sim->world);
    }
    struct errand *errand = &sim->errands->known[note->which][note->number];
    if (errand->fate == NOT_PUT)
        violate(&sim->world, "R1", "%s runs job %u, whose put had failed", life->name, note->number);
    if (errand->sort != sort)
        violate(&sim->world, "R1", "job %u is for %s, but %s gets it", note->number, handlers[errand->sort],
                handlers[sort]);
    if (errand->cancelled == 1 && sort == IN_LOCAL) /* others may have been given out before */
        violate(&sim->world, "R5", "job %u of database %u starts after it was cancelled", note->number, note->which);
    check_time(life, errand);
    attempt_begin(life, &errand->attempts, work);
    return errand;
}

static int32_t write_effect(cdtx_sql *sql, const cdtx_work *work, cdtx_error *err) {
    const struct note *note = cdtx_work_payload(work, NULL);
    cdtx_sql_bind_int(sql, note->number);
    cdtx_sql_bind_int(sql, cdtx_work_token(work));
    return cdtx_sql_exec(sql, "INSERT INTO errand VALUES (?, ?)", NULL, err);
}

static int32_t verdict(struct life *life, struct errand *errand, const cdtx_work *work) {
    struct sim *sim = life->sim;
    if (sim_fault(sim, FAULT_HANDLER_SLOW, &sim->world.faults, 6))
        env_think(life, prng_range(&sim->world.faults, 1, 2 * ATTEMPT_LEASE_MS) * MS);
    enum answer say = errand->hopeless                                             ? SAID_NO
                      : sim_fault(sim, FAULT_HANDLER_ERROR, &sim->world.faults, 3) ? SAID_FAILED
                                                                                   : SAID_YES;
    attempt_answer(life, &errand->attempts, work, say, 0);
    return say == SAID_NO ? CDTX_REFUSED : say == SAID_FAILED ? CDTX_USER : 0;
}

static int32_t run_in_local(cdtx_work *work, void *user, cdtx_error *err) {
    struct handler *handler = user;
    struct errand *errand = begin(handler->life, work, IN_LOCAL);
    int32_t rc = write_effect(cdtx_work_sql(work), work, err);
    return rc != 0 ? rc : verdict(handler->life, errand, work);
}

static int32_t run_plain(cdtx_work *work, void *user, cdtx_error *err) {
    struct handler *handler = user;
    (void)err;
    struct errand *errand = begin(handler->life, work, PLAIN);
    int32_t rc = verdict(handler->life, errand, work);
    errand->done |= rc == 0;
    return rc;
}

struct pulled {
    cdtx_work *work;
    struct life *life;
};

static int32_t finish_pulled(cdtx_sql *sql, void *user, cdtx_error *err) {
    struct pulled *pulled = user;
    int32_t rc = write_effect(sql, pulled->work, err);
    return rc != 0 ? rc : cdtx_work_done(pulled->work, sql, err);
}

int32_t errand_pulled(struct life *life, cdtx_work *work, struct errand **which) {
    struct pulled pulled = {work, life};
    const struct note *note = cdtx_work_payload(work, NULL);
    int taken = strncmp(cdtx_work_handler(work), handlers[TAKEN], strlen(handlers[TAKEN])) == 0;
    struct errand *errand = *which = begin(life, work, taken ? TAKEN : PULLED);
    int32_t rc = verdict(life, errand, work);
    errand->done |= taken && rc == 0;
    if (rc == 0 && !taken) {
        rc = cdtx_local(life->dbs[note->which], finish_pulled, &pulled, NULL);
        env_alive(life);
    }
    return rc;
}

void errand_settled(struct errand *errand, int32_t code, int32_t result) {
    errand->attempts.ended |= errand->sort == TAKEN && code == 0 && result == 0;
}

/* Has another process had the database open all the time? */
static int others_have(const struct life *life, int which) {
    for (const struct life *other = life->sim->lives; other != NULL; other = other->all)
        if (other != life && other->dbs[which] != NULL && !other->owner.gone)
            return 1;
    return 0;
}

int32_t errand_register(struct life *life, int which, cdtx_error *err) {
    if (!others_have(life, which))
        life->sim->errands->opened[which] = life->sim->world.now;
    struct handler *handler = world_alloc(&life->sim->world, sizeof *handler);
    *handler = (struct handler){life, which};
    int32_t rc = 0;
    for (int sort = 0; rc == 0 && sort < SORTS; sort++) {
        cdtx_handler_options options = {
            .size = sizeof options,
            .in_local = sort == IN_LOCAL,
            .handler = sort == IN_LOCAL ? run_in_local
                       : sort == PLAIN  ? run_plain
                                        : NULL,
            .user = handler,
            .attempts_max = 100000,
            .crashes_max = 100000,
            .lease_ms = ATTEMPT_LEASE_MS,
            .backoff_min_ms = ATTEMPT_BACKOFF_MIN_MS,
            .backoff_max_ms = ATTEMPT_BACKOFF_MAX_MS,
        };
        char name[40];
        snprintf(name, sizeof name, "%s-%d", handlers[sort], which); /* one name, one database */
        rc = cdtx_handler_add(life->dbs[which], name, &options, err);
    }
    return rc;
}

/* ---- putting ---- */

struct put {
    struct sim *sim;
    struct note notes[HANDFUL];
    uint32_t count;
    cdtx_job_options options;
    char unique_key[24], concurrency_key[24];
    int64_t first; /* the others' numbers follow */
    int fails;
};

static int32_t put_all(cdtx_sql *sql, void *user, cdtx_error *err) {
    struct put *put = user;
    const struct errand *errand = &put->sim->errands->known[put->notes[0].which][put->notes[0].number];
    cdtx_bytes payloads[HANDFUL];
    char name[40];
    snprintf(name, sizeof name, "%s-%u", handlers[errand->sort], put->notes[0].which);
    for (uint32_t i = 0; i < put->count; i++)
        payloads[i] = (cdtx_bytes){&put->notes[i], sizeof put->notes[i]};
    int32_t rc = cdtx_job_put_many(sql, name, payloads, put->count, &put->options, &put->first, err);
    return rc != 0 ? rc : put->fails ? CDTX_USER : 0;
}

/* A delay, a time of day (perhaps past), or at once. */
static void draw_time(struct life *life, struct errand *errand, cdtx_job_options *options) {
    struct prng *work = &life->sim->world.work;
    errand->host = life->node->host;
    errand->put_at = life->sim->world.now;
    if (prng_chance(work, 1, 3))
        options->delay_ms = errand->delay_ms = prng_range(work, 0, 2000);
    else if (prng_chance(work, 1, 4))
        options->at_ms = errand->at_ms = host_wall_us(errand->host) / MS + prng_range(work, -200, 3000) +
                                         (prng_chance(work, 1, 2) ? prng_range(work, 0, 12 * 3600) * 1000 : 0);
}

static void draw_keys(struct prng *work, struct put *put) {
    uint32_t number = put->notes[0].number;
    if (prng_chance(work, 1, 4)) {
        snprintf(put->unique_key, sizeof put->unique_key, "unique-%u", number % 3);
        put->options.unique_key = put->unique_key;
    }
    if (prng_chance(work, 1, 4)) {
        snprintf(put->concurrency_key, sizeof put->concurrency_key, "turn-%u", number % 2);
        put->options.concurrency_key = put->concurrency_key;
    }
}

static void add_note(struct sim *sim, struct put *put, uint32_t which, uint32_t number) {
    struct errand *errand = &sim->errands->known[which][number];
    if (put->count > 0)
        *errand = sim->errands->known[which][put->notes[0].number];
    errand->attempts = (struct attempts){.what = "errand", .which = (int)which, .id = number};
    errand->hopeless = prng_chance(&sim->world.work, 1, 10);
    put->notes[put->count++] = (struct note){which, number};
}

static void learn_put(struct errand *errand, int32_t rc, int64_t id) {
    int32_t happened = cdtx_happened(rc);
    errand->fate = rc == CDTX_USER || happened == 0 ? NOT_PUT : happened == 1 ? PUT : OPEN;
    errand->id = errand->fate == PUT ? id : 0;
}

void errand_put(struct life *life, int which) {
    struct sim *sim = life->sim;
    struct prng *work = &sim->world.work;
    uint32_t *count = &sim->errands->count[which], first = *count;
    if (first == ERRANDS_MAX)
        return;
    struct errand *errands = &sim->errands->known[which][first];
    struct put *put = world_alloc(&sim->world, sizeof *put);
    *put = (struct put){.sim = sim, .fails = prng_chance(work, 1, 5)};
    errands->sort = (uint8_t)prng_below(work, SORTS);
    put->options.size = sizeof put->options;
    put->options.priority = (int32_t)prng_below(work, CDTX_PRIORITY_MAX + 1);
    draw_time(life, errands, &put->options);
    add_note(sim, put, (uint32_t)which, (*count)++);
    if (errands->sort != TAKEN)
        draw_keys(work, put);
    else
        for (uint64_t more = prng_below(work, HANDFUL); more > 0 && *count < ERRANDS_MAX; more--)
            add_note(sim, put, (uint32_t)which, (*count)++);
    cdtx_error err = {0};
    int32_t rc = cdtx_local(life->dbs[which], put_all, put, &err);
    env_alive(life);
    for (uint32_t i = 0; i < put->count; i++)
        learn_put(&errands[i], rc, put->first + i);
    cover(handlers[errands->sort]);
    tell(&sim->world, life->name, "puts errand %u of %d for %s, and %u more: %s", first, which, handlers[errands->sort],
         put->count - 1, cdtx_code_name(rc));
}

/* ---- a person steps in ---- */

void errand_step_in(struct life *life, int which) {
    struct sim *sim = life->sim;
    struct prng *work = &sim->world.work;
    if (sim->errands->count[which] == 0)
        return;
    uint32_t number = (uint32_t)prng_below(work, sim->errands->count[which]);
    struct errand *errand = &sim->errands->known[which][number];
    int cancels = prng_chance(work, 1, 2);
    if (errand->id == 0 || errand->cancelled)
        return;
    errand->attempts.anew |= !cancels;
    if (cancels)
        errand->cancelled = 2; /* perhaps, should this life die before the answer */
    cdtx_error err = {0};
    int32_t rc = cancels ? cdtx_job_cancel(life->dbs[which], errand->id, life->name, "not wanted", &err)
                         : cdtx_job_retry(life->dbs[which], errand->id, life->name, "again", &err);
    env_alive(life);
    tell(&sim->world, life->name, "person %s errand %u of %d: %s", cancels ? "cancels" : "retries", number, which,
         cdtx_code_name(rc));
    if (rc == 0)
        cover(cancels ? "person cancels a job" : "person retries a job");
    int32_t happened = cdtx_happened(rc);
    if (cancels && happened >= 0)
        errand->cancelled = happened;
}

/* ---- the end ---- */

static void count_jobs(sqlite3 *db, const char *text, uint32_t *counts) {
    sqlite3_stmt *s = query(db, text);
    while (s != NULL && sqlite3_step(s) == SQLITE_ROW) {
        struct note note;
        memcpy(&note, sqlite3_column_blob(s, 0), sizeof note);
        counts[note.number % ERRANDS_MAX]++;
    }
    sqlite3_finalize(s);
}

void errand_final(struct sim *sim, int which, sqlite3 *db) {
    uint32_t effects[ERRANDS_MAX] = {0}, live[ERRANDS_MAX] = {0}, dead[ERRANDS_MAX] = {0};
    query_count(query(db, "SELECT number FROM errand"), effects, ERRANDS_MAX);
    count_jobs(db, "SELECT payload FROM cdtx_job WHERE state <> 3 AND handler GLOB 'errand-*'", live);
    count_jobs(db, "SELECT payload FROM cdtx_job WHERE state = 3 AND handler GLOB 'errand-*'", dead);
    for (uint32_t i = 0; i < sim->errands->count[which]; i++) {
        const struct errand *errand = &sim->errands->known[which][i];
        /* A time of day that the last jumps of the clock have moved away from may still be to come. */
        if (live[i] != 0 && errand->at_ms + 8000 > host_wall_us(errand->host) / MS)
            continue;
        if (errand->cancelled == 2)
            continue;
        if (errand->cancelled == 1 && (live[i] != 0 || dead[i] != 0))
            violate(&sim->world, "R5", "job %u of database %d was cancelled and is still there", i, which);
        if (errand->cancelled == 1)
            continue;
        int put = errand->fate == PUT || (errand->fate == OPEN && errand->attempts.leases > 0);
        int has_effect = errand->sort != PLAIN && errand->sort != TAKEN;
        uint32_t wanted = put && !errand->hopeless && has_effect;
        if (live[i] != 0)
            violate(&sim->world, "L1", "job %u of database %d is still waiting after %u starts", i, which,
                    errand->attempts.leases);
        else if (effects[i] != wanted)
            violate(&sim->world, "R1", "job %u of database %d (%s) has %u effects after %u starts; it should have %u",
                    i, which, handlers[errand->sort], effects[i], errand->attempts.leases, wanted);
        else if (put && (dead[i] != 0) != errand->hopeless)
            violate(&sim->world, "R6", "job %u of database %d is %s, though its handler %s", i, which,
                    dead[i] ? "dead" : "gone", errand->hopeless ? "refused" : "did not refuse");
        else if (put && !has_effect && !errand->hopeless && !errand->done)
            violate(&sim->world, "R1", "plain job %u of database %d is gone, but no handler said yes", i, which);
    }
}
