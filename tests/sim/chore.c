#include "chore.h"

#include <cdtx/admin.h>
#include <cdtx/retry.h>
#include <stdio.h>
#include <string.h>

#include "attempt.h"
#include "checks.h"
#include "cover.h"
#include "query.h"

enum { PUTS_MAX = 512, JOBS_MAX = 8192, KEYS = 3, NO_KEY = -1, REDRIVES_PER_S = 20, DELAY_MAX_MS = 1500 };
enum sort { IN_LOCAL, ELSEWHERE, PLAIN, PULLED, SORTS };
enum fate { OPEN, PUT, NOT_PUT };

static const char *const sorts[SORTS] = {"local", "else", "plain", "pulled"};
static const char *const policies[] = {"unique reject", "unique replace", "unique keep", "unique debounce"};

/* One put, by its number, which is the payload. */
struct put_of {
    uint8_t sort, fate, policy;
    int there;        /* its row was seen committed */
    int key, turn;    /* unique and concurrency key; NO_KEY */
    int hopeless;     /* its handler says a definite no ... */
    int poison, toil; /* ... or never yes; or goes on for long, with heartbeats */
    int killer;       /* its handler's process ends */
    uint32_t snoozes, afters, fails;
    int anew; /* somebody may have given its job another life */
    int64_t put_at, delay_ms, deadline_ms, debounce_max_ms;
    int64_t id; /* the job that stands for it; certain once it is PUT */
};

/* One job, by its number. */
struct job_of {
    struct attempts attempts;
    int yes;                /* a plain one has answered so */
    int64_t leased;         /* the last token that was seen leased */
    int64_t paced;          /* the last one under which its handler has begun */
    uint32_t leases, kills; /* seen so far, and those in which it has ended its process */
    /* At the end, by the rows of `chore`. */
    int put, sort, key;
    int64_t last_word; /* the number whose payload it has; -1: any of its key */
    int64_t back_seq;  /* taken back */
    int by_key;        /* ... by its unique key */
    int replaced;      /* a later put of its key may have become another job in its place */
    uint32_t effects;
    int64_t effect; /* with the payload of that put */
    int state;      /* of its row; 0: it has none */
};

struct limits {
    uint32_t attempts_max, crashes_max, running_max, key_running_max, rate_per_s;
    int in_order;
};

struct book_of_chores {
    struct put_of puts[PUTS_MAX];
    uint32_t count;
    struct job_of *jobs[JOBS_MAX];
    int64_t highest;
    int64_t looked; /* chore.seq, up to there */
    struct limits limits[SORTS];
    uint32_t paused; /* sorts, as the last look saw them */
    uint32_t pauses; /* asked for so far */
};

struct chores {
    struct prng prng;
    struct book_of_chores books[CLERKS];
};

struct note {
    uint32_t which, number;
};

struct handler {
    struct life *life;
    int which;
    enum sort sort;
    int64_t spent, at; /* of its rate: microseconds that its attempts have spent ahead of time, as of then */
};

static int other_of(int which) {
    return which == ORDER ? STOCK : ORDER;
}

static int is_together(const struct sim *sim) {
    return sim->knobs.topology >= ALL_IN_ONE;
}

void chore_init(struct sim *sim) {
    struct chores *chores = sim->chores = world_alloc(&sim->world, sizeof *sim->chores);
    struct prng *prng = &chores->prng;
    *prng = prng_new(sim->world.seed, "chores");
    struct prng rates = prng_new(sim->world.seed, "rates of chores");
    for (int which = 0; which < CLERKS; which++) {
        for (int sort = 0; sort < SORTS; sort++)
            chores->books[which].limits[sort] = (struct limits){
                .attempts_max = prng_chance(prng, 1, 2) ? 3 : 8,
                .crashes_max = sim->knobs.killers ? 3 : 100000,
                .running_max = (uint32_t)prng_below(prng, 3),
                .key_running_max = (uint32_t)prng_range(prng, 1, 2),
                .in_order = prng_chance(prng, 1, 2),
            };
        chores->books[which].limits[PLAIN].rate_per_s = prng_chance(&rates, 1, 2) ? 3 : 50;
        chores->books[which].limits[ELSEWHERE].rate_per_s = prng_chance(&rates, 1, 2) ? 3 : 0;
    }
}

int32_t chore_tables(cdtx_sql *sql, cdtx_error *err) {
    return cdtx_sql_exec(sql,
                         "CREATE TABLE IF NOT EXISTS chore (seq INTEGER PRIMARY KEY AUTOINCREMENT, what TEXT,"
                         " src INTEGER, number INTEGER, id INTEGER, key INTEGER, token INTEGER)",
                         NULL, err);
}

static int32_t write_row(struct sim *sim, int where, cdtx_sql *sql, const char *what, const int64_t values[5],
                         cdtx_error *err) {
    cdtx_sql_bind_text(sql, what, 1);
    for (int i = 0; i < 5; i++)
        cdtx_sql_bind_int(sql, values[i]);
    check_touched(sim, where, TOUCH_ROWS);
    return cdtx_sql_exec(sql, "INSERT INTO chore (what, src, number, id, key, token) VALUES (?, ?, ?, ?, ?, ?)", NULL,
                         err);
}

/* NULL: there are no such numbers. */
static struct job_of *job_of(struct sim *sim, int which, int64_t id) {
    struct book_of_chores *book = &sim->chores->books[which];
    if (id < 1 || id >= JOBS_MAX)
        return NULL;
    if (book->jobs[id] == NULL) {
        book->jobs[id] = world_alloc(&sim->world, sizeof *book->jobs[id]);
        book->jobs[id]->attempts = (struct attempts){.what = "chore", .which = which, .id = id};
    }
    if (id > book->highest)
        book->highest = id;
    return book->jobs[id];
}

/* ---- running ---- */

/* Whatever a policy makes of a put, its payload does not run earlier. */
static void check_delay(struct life *life, const struct put_of *put, const struct job_of *job) {
    if (job->attempts.token == 0 && !put->anew && put->debounce_max_ms == 0)
        attempt_waited(life, &job->attempts, put->put_at, put->delay_ms);
}

static struct put_of *begin(struct life *life, const cdtx_work *work, enum sort sort, struct job_of **job) {
    struct sim *sim = life->sim;
    size_t length;
    const struct note *note = cdtx_work_payload(work, &length);
    if (length != sizeof *note || note->which >= CLERKS || note->number >= sim->chores->books[note->which].count) {
        violate(&sim->world, "R1", "%s runs a chore whose payload nobody put", life->name);
        strand_end(&sim->world);
    }
    struct put_of *put = &sim->chores->books[note->which].puts[note->number];
    *job = job_of(sim, (int)note->which, cdtx_work_id(work));
    if (put->fate == NOT_PUT || !put->there)
        violate(&sim->world, "R1", "%s runs chore %u of %u, whose put %s", life->name, note->number, note->which,
                put->fate == NOT_PUT ? "had failed" : "is not durable");
    if (put->sort != sort)
        violate(&sim->world, "R1", "chore %u is for %s, but %s gets it", note->number, sorts[put->sort], sorts[sort]);
    check_delay(life, put, *job);
    attempt_begin(life, &(*job)->attempts, work);
    return put;
}

static int32_t write_effect(struct sim *sim, int where, cdtx_sql *sql, const cdtx_work *work, cdtx_error *err) {
    const struct note *note = cdtx_work_payload(work, NULL);
    int64_t values[] = {note->which, note->number, cdtx_work_id(work), 0, cdtx_work_token(work)};
    return write_row(sim, where, sql, "E", values, err);
}

static int took_one(uint32_t *left) {
    if (*left == 0)
        return 0;
    --*left;
    return 1;
}

/* R6: whoever ends its processes is dead after so many, in each life that it was given. */
static void kill_process(struct life *life, const struct put_of *put, struct job_of *job) {
    uint32_t most = life->sim->chores->books[job->attempts.which].limits[put->sort].crashes_max;
    uint32_t lives = 1 + (uint32_t)job->attempts.anew;
    if (++job->kills > lives * most)
        violate(&life->sim->world, "R6",
                "chore job %lld of %d has ended its process %u times in %u lives; %u are enough",
                (long long)job->attempts.id, job->attempts.which, job->kills, lives, most);
    cover("killer");
    life_die(life, "its chore");
    env_alive(life);
}

static int32_t answer(struct life *life, struct put_of *put, struct job_of *job, cdtx_work *work, cdtx_error *err) {
    struct sim *sim = life->sim;
    struct prng *prng = &sim->chores->prng;
    int64_t wish_ms = prng_range(prng, 50, 900);
    enum answer say = SAID_YES;
    if (put->killer && sim->faults_on)
        kill_process(life, put, job);
    if (sim_fault(sim, FAULT_HANDLER_SLOW, prng, 6))
        env_think(life, prng_range(prng, 1, 2 * ATTEMPT_LEASE_MS) * MS);
    if (put->toil && sim->faults_on && put->sort >= PLAIN &&
        attempt_toil(life, &job->attempts, work, 2 * ATTEMPT_LEASE_MS * MS, prng) != 0)
        say = SAID_FAILED; /* its lease is lost: stop */
    else if (put->hopeless || put->killer)
        say = SAID_NO;
    else if (took_one(&put->snoozes))
        say = SAID_SNOOZE;
    else if (took_one(&put->afters))
        say = SAID_AFTER;
    else if (put->poison || took_one(&put->fails) || sim_fault(sim, FAULT_HANDLER_ERROR, prng, 4))
        say = SAID_FAILED;
    attempt_answer(life, &job->attempts, work, say, wish_ms);
    return attempt_code(work, say, wish_ms, err);
}

/* No more attempts begin in any time than its rate has room for, and what a tenth of a second has, or one. Clocks may
 * be 5% off. */
static void check_rate(struct handler *handler) {
    struct world *world = &handler->life->sim->world;
    uint32_t rate = handler->life->sim->chores->books[handler->which].limits[handler->sort].rate_per_s;
    if (rate == 0)
        return;
    int64_t each = SECOND / rate, most = each > 100 * MS ? each : 100 * MS;
    int64_t passed = (world->now - handler->at) * 21 / 20;
    handler->spent = (handler->spent > passed ? handler->spent - passed : 0) + each;
    handler->at = world->now;
    if (handler->spent > most + 5 * MS)
        violate(world, "rate", "%s begins attempts that take its rate of %u a second %lld ms; %lld may be ahead",
                handler->life->name, rate, (long long)(handler->spent / MS), (long long)(most / MS));
    if (handler->spent > each)
        cover("at its rate");
}

static int32_t run(cdtx_work *work, void *user, cdtx_error *err) {
    struct handler *handler = user;
    struct life *life = handler->life;
    struct job_of *job = NULL;
    struct put_of *put = begin(life, work, handler->sort, &job);
    if (job->paced != job->attempts.token)
        check_rate(handler);
    job->paced = job->attempts.token;
    int where = handler->sort == ELSEWHERE ? other_of(handler->which) : handler->which;
    int32_t rc = handler->sort == PLAIN ? 0 : write_effect(life->sim, where, cdtx_work_sql(work), work, err);
    if (rc != 0)
        return rc;
    rc = answer(life, put, job, work, err);
    job->yes |= rc == 0;
    return rc;
}

struct pulled {
    cdtx_work *work;
    struct life *life;
    int which;
};

static int32_t finish_pulled(cdtx_sql *sql, void *user, cdtx_error *err) {
    struct pulled *pulled = user;
    int32_t rc = write_effect(pulled->life->sim, pulled->which, sql, pulled->work, err);
    return rc != 0 ? rc : cdtx_work_done(pulled->work, sql, err);
}

int32_t chore_pulled(struct life *life, cdtx_work *work) {
    struct job_of *job = NULL;
    cdtx_error err = {0};
    struct put_of *put = begin(life, work, PULLED, &job);
    struct pulled pulled = {work, life, job->attempts.which};
    int32_t rc = answer(life, put, job, work, &err);
    if (rc == 0) {
        rc = cdtx_local(life->dbs[pulled.which], finish_pulled, &pulled, &err);
        env_alive(life);
    }
    return rc;
}

static void name_of(int sort, int which, char name[40]) {
    snprintf(name, 40, "chore-%s-%d", sorts[sort], which);
}

static int32_t register_one(struct life *life, int which, int sort, cdtx_error *err) {
    const struct limits *limits = &life->sim->chores->books[which].limits[sort];
    struct handler *handler = world_alloc(&life->sim->world, sizeof *handler);
    char name[40];
    *handler = (struct handler){.life = life, .which = which, .sort = (enum sort)sort};
    name_of(sort, which, name);
    cdtx_handler_options options = {
        .size = sizeof options,
        .in_local = sort == IN_LOCAL || sort == ELSEWHERE,
        .handler = sort == PULLED ? NULL : run,
        .user = handler,
        .local_db = sort == ELSEWHERE ? life->dbs[other_of(which)] : NULL,
        .attempts_max = limits->attempts_max,
        .crashes_max = limits->crashes_max,
        .lease_ms = ATTEMPT_LEASE_MS,
        .backoff_min_ms = ATTEMPT_BACKOFF_MIN_MS,
        .backoff_max_ms = ATTEMPT_BACKOFF_MAX_MS,
        .running_max = limits->running_max,
        .key_running_max = limits->key_running_max,
        .in_order = limits->in_order,
        .rate_per_s = limits->rate_per_s,
    };
    return cdtx_handler_add(life->dbs[which], name, &options, err);
}

int32_t chore_register(struct life *life, cdtx_error *err) {
    int32_t rc = 0;
    for (int which = 0; which < CLERKS && life->sim->knobs.chores; which++)
        for (int sort = 0; rc == 0 && sort < SORTS && life->dbs[which] != NULL; sort++)
            if (sort != ELSEWHERE || is_together(life->sim))
                rc = register_one(life, which, sort, err);
    return rc;
}

/* ---- putting ---- */

struct putting {
    struct sim *sim;
    struct note note;
    cdtx_job_options options;
    char unique_key[24], concurrency_key[32];
    int fails;
};

static int32_t put_one(cdtx_sql *sql, void *user, cdtx_error *err) {
    struct putting *putting = user;
    struct sim *sim = putting->sim;
    int which = (int)putting->note.which;
    struct put_of *put = &sim->chores->books[which].puts[putting->note.number];
    char name[40];
    int64_t id = 0;
    name_of(put->sort, which, name);
    int32_t rc = cdtx_job_put(sql, name, &putting->note, sizeof putting->note, &putting->options, &id, err);
    if (rc != 0)
        return rc;
    struct job_of *job = job_of(sim, which, id);
    put->id = id;
    if (job != NULL)
        job->sort = put->sort;
    if (job != NULL && put->policy != CDTX_UNIQUE_KEEP)
        job->attempts.anew += put->policy != CDTX_UNIQUE_REJECT; /* its attempts count from 0 */
    int64_t values[] = {which, putting->note.number, id, put->key, put->policy};
    rc = write_row(sim, which, sql, "P", values, err);
    return rc != 0 ? rc : putting->fails ? CDTX_USER : 0;
}

static void draw_behaviour(struct sim *sim, struct put_of *put) {
    struct prng *prng = &sim->chores->prng;
    put->hopeless = prng_chance(prng, 1, 12);
    put->poison = prng_chance(prng, 1, 12);
    put->toil = prng_chance(prng, 1, 5);
    put->snoozes = prng_chance(prng, 1, 3) ? (uint32_t)prng_range(prng, 1, 4) : 0;
    put->afters = prng_chance(prng, 1, 4) ? 1 : 0;
    put->fails = prng_chance(prng, 1, 4) ? 1 : 0;
    put->killer = sim->knobs.killers && prng_chance(prng, 1, 10);
}

static void draw_options(struct sim *sim, int which, struct put_of *put, struct putting *putting) {
    struct prng *prng = &sim->chores->prng;
    cdtx_job_options *o = &putting->options;
    o->size = sizeof *o;
    o->priority = (int32_t)prng_below(prng, 3);
    if (prng_chance(prng, 1, 3))
        o->delay_ms = put->delay_ms = prng_range(prng, 0, DELAY_MAX_MS);
    put->key = put->turn = NO_KEY;
    if (prng_chance(prng, 1, 2)) {
        put->key = (int)prng_below(prng, KEYS);
        put->policy = (uint8_t)prng_below(prng, 4);
        snprintf(putting->unique_key, sizeof putting->unique_key, "unique-%d", put->key);
        o->unique_key = putting->unique_key;
        o->unique_policy = put->policy;
        if (put->policy == CDTX_UNIQUE_DEBOUNCE && prng_chance(prng, 1, 2))
            o->debounce_max_ms = put->debounce_max_ms = prng_range(prng, 100, 3000);
    } else if (prng_chance(prng, 2, 3)) {
        put->turn = (int)prng_below(prng, sim->chores->books[which].limits[put->sort].in_order ? 1 : 2);
        snprintf(putting->concurrency_key, sizeof putting->concurrency_key, "turn-%s-%d-%d", sorts[put->sort], which,
                 put->turn);
        o->concurrency_key = putting->concurrency_key;
    }
    if (prng_chance(prng, 1, 6))
        o->deadline_ms = put->deadline_ms = put->delay_ms + prng_range(prng, 100, 2000);
}

static void put_chore(struct life *life, int which) {
    struct sim *sim = life->sim;
    struct prng *prng = &sim->chores->prng;
    struct book_of_chores *book = &sim->chores->books[which];
    if (book->count == PUTS_MAX)
        return;
    uint32_t number = book->count++;
    struct put_of *put = &book->puts[number];
    do
        put->sort = (uint8_t)prng_below(prng, SORTS);
    while (put->sort == ELSEWHERE && !is_together(sim));
    struct putting *putting = world_alloc(&sim->world, sizeof *putting);
    *putting = (struct putting){.sim = sim, .note = {(uint32_t)which, number}, .fails = prng_chance(prng, 1, 6)};
    draw_behaviour(sim, put);
    draw_options(sim, which, put, putting);
    put->put_at = sim->world.now;
    cdtx_error err = {0};
    int32_t rc = cdtx_local(life->dbs[which], put_one, putting, &err);
    env_alive(life);
    int32_t happened = cdtx_happened(rc);
    put->fate = rc == CDTX_USER || happened == 0 ? NOT_PUT : happened == 1 ? PUT : OPEN;
    cover(sorts[put->sort]);
    if (put->key != NO_KEY)
        cover(policies[put->policy]);
    tell(&sim->world, life->name, "puts chore %u of %d for %s%s%s: %s", number, which, sorts[put->sort],
         put->key == NO_KEY ? "" : ", ", put->key == NO_KEY ? "" : policies[put->policy], cdtx_code_name(rc));
}

/* ---- taking back ---- */

struct taking {
    struct sim *sim;
    int which, sort, key; /* key: NO_KEY, then it is by number */
    int64_t id;
    int fails;
};

static int32_t take_back(cdtx_sql *sql, void *user, cdtx_error *err) {
    const struct taking *taking = user;
    char name[40], key[24];
    name_of(taking->sort, taking->which, name);
    snprintf(key, sizeof key, "unique-%d", taking->key);
    int32_t rc =
        taking->key == NO_KEY ? cdtx_retry_cancel(sql, taking->id, err) : cdtx_retry_cancel_key(sql, name, key, err);
    int64_t values[] = {taking->which, taking->sort, taking->id, taking->key, 0};
    if (rc == 0)
        rc = write_row(taking->sim, taking->which, sql, taking->key == NO_KEY ? "X" : "K", values, err);
    return rc != 0 ? rc : taking->fails ? CDTX_USER : 0;
}

static void cancel(struct life *life, int which) {
    struct sim *sim = life->sim;
    struct prng *prng = &sim->chores->prng;
    const struct book_of_chores *book = &sim->chores->books[which];
    struct taking *taking = world_alloc(&sim->world, sizeof *taking);
    *taking = (struct taking){sim, which, IN_LOCAL, NO_KEY, 0, prng_chance(prng, 1, 4)};
    if (prng_chance(prng, 1, 2)) {
        taking->key = (int)prng_below(prng, KEYS);
    } else {
        const struct put_of *put =
            &book->puts[book->count == 0 ? 0 : book->count - 1 - prng_below(prng, book->count) % 6];
        if (put->fate != PUT)
            return;
        taking->id = put->id;
    }
    int32_t rc = cdtx_local(life->dbs[which], take_back, taking, NULL);
    env_alive(life);
    tell(&sim->world, life->name, "takes back chore job %lld, key %d of %d: %s", (long long)taking->id, taking->key,
         which, cdtx_code_name(rc));
    if (rc == 0)
        cover(taking->key == NO_KEY ? "cancel in a transaction" : "cancel by key");
}

/* ---- a person steps in ---- */

/* From now on any job of that sort may have got another life. */
static void mark_anew(struct sim *sim, int which, int sort) {
    struct book_of_chores *book = &sim->chores->books[which];
    for (int64_t id = 1; id <= book->highest; id++)
        if (book->jobs[id] != NULL && book->jobs[id]->sort == sort)
            book->jobs[id]->attempts.anew++;
    for (uint32_t i = 0; i < book->count; i++)
        book->puts[i].anew |= book->puts[i].sort == sort;
}

/* How many were dead. */
static int64_t redrive_sort(struct life *life, int which, int sort) {
    char name[40];
    int64_t count = 0;
    name_of(sort, which, name);
    cdtx_redrive_filter filter = {.size = sizeof filter, .handler = name};
    filter.per_s = prng_chance(&life->sim->chores->prng, 1, 2) ? REDRIVES_PER_S : 0;
    mark_anew(life->sim, which, sort);
    int32_t rc = cdtx_job_redrive(life->dbs[which], &filter, life->name, "it is mended", &count, NULL);
    env_alive(life);
    mark_anew(life->sim, which, sort);
    tell(&life->sim->world, life->name, "redrives %s: %s, %lld", name, cdtx_code_name(rc), (long long)count);
    return rc == 0 ? count : 0;
}

/* Of one that has dead jobs, beginning with that. */
static void redrive(struct life *life, int which, int sort) {
    int64_t count = 0;
    for (int i = 0; i < SORTS && count == 0 && life->open; i++)
        count = redrive_sort(life, which, (sort + i) % SORTS);
    if (count > 0)
        cover("redrive");
}

static void set_pause(struct life *life, int which, int sort, int pauses) {
    char name[40];
    name_of(sort, which, name);
    check_touched(life->sim, which, TOUCH_ALL);
    life->sim->chores->books[which].pauses += (uint32_t)pauses;
    int32_t rc = pauses ? cdtx_handler_pause(life->dbs[which], name, life->name, "enough", NULL)
                        : cdtx_handler_resume(life->dbs[which], name, life->name, "go on", NULL);
    check_touched(life->sim, which, TOUCH_ALL);
    env_alive(life);
    if (rc == 0)
        cover(pauses ? "pause a handler" : "resume a handler");
    tell(&life->sim->world, life->name, "%s %s: %s", pauses ? "pauses" : "resumes", name, cdtx_code_name(rc));
}

void chore_step(struct life *life, int which) {
    struct prng *prng = &life->sim->chores->prng;
    uint64_t draw = prng_below(prng, 16);
    int sort = (int)prng_below(prng, SORTS);
    if (draw < 10)
        put_chore(life, which);
    else if (draw < 12)
        cancel(life, which);
    else if (draw < 15)
        redrive(life, which, sort);
    else
        set_pause(life, which, sort, prng_chance(prng, 1, 2));
}

static void resume_all(void *argument) {
    struct life *life = argument;
    for (int which = 0; which < CLERKS; which++)
        for (int sort = 0; sort < SORTS && life->open && life->dbs[which] != NULL; sort++) {
            char name[40];
            name_of(sort, which, name);
            for (int i = 0; i < 20 && life->open; i++) {
                int32_t rc = cdtx_handler_resume(life->dbs[which], name, life->name, "all is well again", NULL);
                env_alive(life);
                if (rc == 0)
                    break;
                env_think(life, 200 * MS);
            }
        }
}

void chore_heal(struct sim *sim) {
    for (uint32_t i = 0; i < sim->node_count && sim->knobs.chores; i++)
        if (node_up(&sim->nodes[i]) != NULL)
            strand_new(&sim->world, &sim->nodes[i].life->owner, "resume", resume_all, sim->nodes[i].life, 0);
}

/* ---- the rows as they stand ---- */

static void look_puts(struct sim *sim, int which, sqlite3 *db) {
    struct book_of_chores *book = &sim->chores->books[which];
    sqlite3_stmt *s = query(db, "SELECT seq, what, number FROM chore WHERE seq > ? ORDER BY seq");
    sqlite3_bind_int64(s, 1, book->looked);
    while (s != NULL && sqlite3_step(s) == SQLITE_ROW) {
        book->looked = sqlite3_column_int64(s, 0);
        if (sqlite3_column_text(s, 1)[0] == 'P')
            book->puts[sqlite3_column_int64(s, 2) % PUTS_MAX].there = 1;
    }
    sqlite3_finalize(s);
}

static uint32_t look_pauses(int which, sqlite3 *db) {
    uint32_t paused = 0;
    sqlite3_stmt *s = query(db, "SELECT handler FROM cdtx_pause");
    while (s != NULL && sqlite3_step(s) == SQLITE_ROW)
        for (int sort = 0; sort < SORTS; sort++) {
            char name[40];
            name_of(sort, which, name);
            if (strcmp(name, (const char *)sqlite3_column_text(s, 0)) == 0)
                paused |= 1U << sort;
        }
    sqlite3_finalize(s);
    return paused;
}

static int sort_of(const char *handler) {
    for (int sort = 0; sort < SORTS; sort++)
        if (strncmp(handler, "chore-", 6) == 0 && strncmp(handler + 6, sorts[sort], strlen(sorts[sort])) == 0)
            return sort;
    return SORTS;
}

enum { COL_ID, COL_HANDLER, COL_TOKEN, COL_TURN, COL_DUE, COL_DEADLINE, COL_PUT, COL_PAYLOAD, COL_CRASHES };

static int64_t count_named(sqlite3 *db, const char *text, const char *name) {
    sqlite3_stmt *s = query(db, text);
    sqlite3_bind_text(s, 1, name, -1, SQLITE_STATIC);
    return query_number(s);
}

static void check_running(struct sim *sim, sqlite3 *db, const char *handler, uint32_t most) {
    int64_t running = count_named(db, "SELECT count(*) FROM cdtx_job WHERE handler = ? AND state = 2", handler);
    if (running > most)
        violate(&sim->world, "limit", "%lld jobs of %s run; at most %u may", (long long)running, handler, most);
    if (running == most)
        cover("as many as may run");
}

static void check_order(struct sim *sim, int which, sqlite3 *db, const char *turn, int64_t id) {
    sqlite3_stmt *s =
        query(db, "SELECT min(id) FROM cdtx_job WHERE concurrency_key = ? AND id < ? AND state IN (1, 4)");
    sqlite3_bind_text(s, 1, turn, -1, SQLITE_STATIC);
    sqlite3_bind_int64(s, 2, id);
    int64_t before = query_number(s);
    const struct job_of *earlier = before == 0 ? NULL : job_of(sim, which, before);
    if (earlier != NULL && !earlier->attempts.anew)
        violate(&sim->world, "order", "job %lld of the key %s is leased; job %lld comes before it", (long long)id, turn,
                (long long)before);
    cover("in order");
}

/* Who dies of one crash more is not at work beside another of whom that holds, who may be the one that crashes. */
static void check_last_chance(struct sim *sim, sqlite3 *db, sqlite3_stmt *s, uint32_t crashes_max) {
    if (sqlite3_column_int64(s, COL_CRASHES) != crashes_max - 1)
        return;
    sqlite3_stmt *others =
        query(db, "SELECT count(*) FROM cdtx_job WHERE handler GLOB 'chore-*' AND state = 2 AND crashes = ?");
    sqlite3_bind_int64(others, 1, crashes_max - 1);
    int64_t count = query_number(others);
    if (count > 1)
        violate(&sim->world, "limit", "job %lld is leased; of those that die of the next crash %lld are at work",
                (long long)sqlite3_column_int64(s, COL_ID), (long long)count);
    cover("last chance");
}

/* Limits and order, at the first look at a lease. */
static void check_new_lease(struct sim *sim, int which, sqlite3 *db, sqlite3_stmt *s, enum sort sort) {
    const struct limits *limits = &sim->chores->books[which].limits[sort];
    const char *turn = (const char *)sqlite3_column_text(s, COL_TURN);
    check_last_chance(sim, db, s, limits->crashes_max);
    if (limits->running_max > 0)
        check_running(sim, db, (const char *)sqlite3_column_text(s, COL_HANDLER), limits->running_max);
    if (turn == NULL)
        return;
    int64_t running = count_named(db, "SELECT count(*) FROM cdtx_job WHERE concurrency_key = ? AND state = 2", turn);
    uint32_t most = limits->in_order ? 1 : limits->key_running_max;
    if (running > most)
        violate(&sim->world, "limit", "%lld jobs of the key %s run; at most %u may", (long long)running, turn, most);
    if (limits->in_order)
        check_order(sim, which, db, turn, sqlite3_column_int64(s, COL_ID));
}

/* A job is not begun after its deadline, which is what was asked for. */
static void check_deadline(struct sim *sim, int which, sqlite3_stmt *s) {
    const struct note *note = sqlite3_column_blob(s, COL_PAYLOAD);
    int64_t deadline = sqlite3_column_int64(s, COL_DEADLINE), put = sqlite3_column_int64(s, COL_PUT);
    if (sqlite3_column_bytes(s, COL_PAYLOAD) != (int)sizeof *note || note->number >= sim->chores->books[which].count)
        return;
    const struct put_of *asked = &sim->chores->books[which].puts[note->number];
    int has = sqlite3_column_type(s, COL_DEADLINE) == SQLITE_INTEGER;
    if (asked->key == NO_KEY && !asked->anew && (has ? deadline - put : 0) != asked->deadline_ms)
        violate(&sim->world, "R4", "chore %u of %d asks for a deadline of %lld ms and has %lld", note->number, which,
                (long long)asked->deadline_ms, (long long)(has ? deadline - put : 0));
    if (has && sqlite3_column_int64(s, COL_DUE) - ATTEMPT_LEASE_MS > deadline)
        violate(&sim->world, "R4", "job %lld of %d is begun %lld ms after its deadline",
                (long long)sqlite3_column_int64(s, COL_ID), which,
                (long long)(sqlite3_column_int64(s, COL_DUE) - ATTEMPT_LEASE_MS - deadline));
}

static void look_leases(struct sim *sim, int which, sqlite3 *db) {
    struct book_of_chores *book = &sim->chores->books[which];
    uint32_t paused = book->pauses == 0 ? 0 : look_pauses(which, db);
    sqlite3_stmt *s = query(db, "SELECT id, handler, token, concurrency_key, due, deadline, put, payload, crashes"
                                " FROM cdtx_job WHERE state = 2");
    while (s != NULL && sqlite3_step(s) == SQLITE_ROW) {
        int sort = sort_of((const char *)sqlite3_column_text(s, COL_HANDLER));
        struct job_of *job = sort == SORTS ? NULL : job_of(sim, which, sqlite3_column_int64(s, COL_ID));
        int64_t token = sqlite3_column_int64(s, COL_TOKEN);
        if (job == NULL || token == job->leased)
            continue;
        job->leased = token;
        job->leases++;
        check_new_lease(sim, which, db, s, (enum sort)sort);
        check_deadline(sim, which, s);
        if (paused & book->paused & 1U << sort)
            violate(&sim->world, "pause", "job %lld of %s is leased; its handler is paused",
                    (long long)sqlite3_column_int64(s, COL_ID), (const char *)sqlite3_column_text(s, COL_HANDLER));
    }
    sqlite3_finalize(s);
    book->paused = paused;
}

/* R4: what a job waits for at the most: its delay, or its longest back-off, or what its handler asked for; what is
 * redriven at a rate, until its turn in that. */
static int64_t longest_wait_ms(const struct book_of_chores *book, const struct job_of *job, const struct put_of *put,
                               int begun) {
    const struct attempts *a = &job->attempts;
    int asked = begun && (a->answer == SAID_AFTER || a->answer == SAID_SNOOZE);
    int64_t longest = put->key == NO_KEY ? put->delay_ms : DELAY_MAX_MS; /* its payload may stand for another put */
    if (begun && longest < ATTEMPT_BACKOFF_MAX_MS)
        longest = ATTEMPT_BACKOFF_MAX_MS;
    if (asked && longest < a->wish_ms)
        longest = a->wish_ms;
    return put->anew ? longest + book->highest * 1000 / REDRIVES_PER_S : longest;
}

static void look_waits(struct sim *sim, int which, sqlite3 *db) {
    struct book_of_chores *book = &sim->chores->books[which];
    sqlite3_stmt *s = query(db, "SELECT id, token > 0, payload, due - (SELECT clock FROM cdtx_meta) FROM cdtx_job"
                                " WHERE state = 1 AND clock = 0 AND handler GLOB 'chore-*'");
    while (s != NULL && sqlite3_step(s) == SQLITE_ROW) {
        const struct note *note = sqlite3_column_blob(s, 2);
        const struct job_of *job = job_of(sim, which, sqlite3_column_int64(s, 0));
        int64_t wait = sqlite3_column_int64(s, 3);
        if (job == NULL || sqlite3_column_bytes(s, 2) != (int)sizeof *note || note->number >= book->count)
            continue;
        int64_t longest = longest_wait_ms(book, job, &book->puts[note->number], sqlite3_column_int(s, 1));
        if (wait > longest)
            violate(&sim->world, "R4", "chore %u of %d, job %lld, waits for %lld ms more; the longest is %lld",
                    note->number, which, (long long)job->attempts.id, (long long)wait, (long long)longest);
    }
    sqlite3_finalize(s);
}

void chore_look(struct sim *sim, int which, sqlite3 *db, uint32_t touched) {
    if (!sim->knobs.chores)
        return;
    if (touched & TOUCH_ROWS)
        look_puts(sim, which, db);
    if (touched & TOUCH_LEASES) {
        look_leases(sim, which, db);
        look_waits(sim, which, db);
    }
}

/* ---- the end ---- */

/* A begun one that is replaced becomes a job of another number. */
static void mark_replaced(struct book_of_chores *book, const struct put_of *put, const struct job_of *by) {
    for (int64_t id = 1; id <= book->highest; id++) {
        struct job_of *job = book->jobs[id];
        if (job != NULL && job != by && job->put && job->key == put->key && job->sort == put->sort)
            job->replaced = 1;
    }
}

/* R1, what each policy promises: the job that stands for a put was there, and has the payload of the last put that
 * replaced it. */
static void read_put(struct sim *sim, int which, sqlite3_stmt *s, struct job_of *job) {
    struct book_of_chores *book = &sim->chores->books[which];
    int64_t number = sqlite3_column_int64(s, 3);
    const struct put_of *put = &book->puts[number % PUTS_MAX];
    if (job->effects > 0 && put->sort != ELSEWHERE)
        violate(&sim->world, "R1", "chore %lld of %d is told that job %lld stands for it, which was done before",
                (long long)number, which, (long long)job->attempts.id);
    int keeps = put->policy == CDTX_UNIQUE_KEEP;
    if (!job->put)
        job->last_word = keeps && put->key != NO_KEY ? -1 : number;
    else if (!keeps)
        job->last_word = number;
    job->put = 1;
    job->sort = put->sort;
    job->key = put->key;
    if (put->key != NO_KEY && (put->policy == CDTX_UNIQUE_REPLACE || put->policy == CDTX_UNIQUE_DEBOUNCE))
        mark_replaced(book, put, job);
}

static void read_effect(struct sim *sim, int which, sqlite3_stmt *s) {
    int src = sqlite3_column_int(s, 2);
    int64_t number = sqlite3_column_int64(s, 3), id = sqlite3_column_int64(s, 4);
    struct job_of *job = job_of(sim, src, id);
    const struct put_of *put = &sim->chores->books[src].puts[number % PUTS_MAX];
    if (job == NULL)
        return;
    job->effect = number;
    if (++job->effects > 1)
        violate(&sim->world, "R1", "chore job %lld of %d has taken effect %u times", (long long)id, src, job->effects);
    if (which != src)
        return;
    if (job->last_word >= 0 && job->last_word != number)
        violate(&sim->world, "R1", "chore job %lld of %d ran with the payload of put %lld; the last one was %lld",
                (long long)id, src, (long long)number, (long long)job->last_word);
    if (job->back_seq != 0 && !(job->by_key && put->anew))
        violate(&sim->world, "R5", "chore job %lld of %d took effect after it was taken back", (long long)id, src);
}

/* Of a key only the live one was taken back, and what was behind it. */
static void read_key_back(struct sim *sim, int which, sqlite3_stmt *s) {
    struct book_of_chores *book = &sim->chores->books[which];
    for (int64_t id = 1; id <= book->highest; id++) {
        struct job_of *job = book->jobs[id];
        if (job == NULL || !job->put || job->effects > 0 || job->back_seq != 0 || job->sort != IN_LOCAL ||
            job->key != sqlite3_column_int(s, 5))
            continue;
        job->back_seq = sqlite3_column_int64(s, 0);
        job->by_key = 1;
    }
}

enum { DEAD_ID, DEAD_STATE, DEAD_PAYLOAD, DEAD_ERROR, DEAD_ATTEMPTS, DEAD_HISTORY, DEAD_CRASHES };

/* Died of crashes: it had so many leases. */
static void check_crashed(struct sim *sim, sqlite3_stmt *s, const struct put_of *put, const struct job_of *job) {
    uint32_t most = sim->chores->books[job->attempts.which].limits[put->sort].crashes_max;
    if (sqlite3_column_int64(s, DEAD_CRASHES) != most || job->leases < most)
        violate(&sim->world, "R6", "chore job %lld of %d died of %lld crashes in %u leases; it takes %u",
                (long long)job->attempts.id, job->attempts.which, (long long)sqlite3_column_int64(s, DEAD_CRASHES),
                job->leases, most);
    cover(put->killer ? "dead of its crashes" : "dead of crashes");
}

/* Without a deadline and without another's payload it is known what ends it. */
static void check_reason(struct sim *sim, int which, sqlite3_stmt *s, const struct put_of *put) {
    uint32_t most = sim->chores->books[which].limits[put->sort].attempts_max;
    int64_t attempts = sqlite3_column_int64(s, DEAD_ATTEMPTS);
    if (!put->hopeless && !put->killer && put->deadline_ms == 0 && put->key == NO_KEY && attempts < most)
        violate(&sim->world, "R1", "chore job %lld of %d is dead after %lld attempts, of %u: %s",
                (long long)sqlite3_column_int64(s, DEAD_ID), which, (long long)attempts, most,
                (const char *)sqlite3_column_text(s, DEAD_ERROR));
}

/* R6: the dead keep payload, last error and history, and are so for a reason. */
static void check_dead(struct sim *sim, int which, sqlite3_stmt *s, const struct job_of *job) {
    const struct book_of_chores *book = &sim->chores->books[which];
    const char *error = (const char *)sqlite3_column_text(s, DEAD_ERROR),
               *history = (const char *)sqlite3_column_text(s, DEAD_HISTORY);
    const struct note *note = sqlite3_column_blob(s, DEAD_PAYLOAD);
    long long id = sqlite3_column_int64(s, DEAD_ID);
    if (sqlite3_column_bytes(s, DEAD_PAYLOAD) != (int)sizeof *note || note->number >= book->count ||
        (job->last_word >= 0 && job->last_word != (int64_t)note->number)) {
        violate(&sim->world, "R6", "chore job %lld of %d is dead and has not kept its payload", id, which);
        return;
    }
    const struct put_of *put = &book->puts[note->number];
    if (error == NULL || error[0] == '\0' || history == NULL || strstr(history, error) == NULL)
        violate(&sim->world, "R6", "chore job %lld of %d is dead with the error '%s' and the history '%s'", id, which,
                error == NULL ? "" : error, history == NULL ? "" : history);
    else if (strcmp(error, "its holder crashed or lost its lease") == 0)
        check_crashed(sim, s, put, job);
    else
        check_reason(sim, which, s, put);
    cover("dead chore");
}

static void read_rows(struct sim *sim, int which, sqlite3 *db) {
    sqlite3_stmt *s = query(db, "SELECT id, state, payload, error, attempts, history, crashes FROM cdtx_job"
                                " WHERE handler GLOB 'chore-*'");
    while (s != NULL && sqlite3_step(s) == SQLITE_ROW) {
        struct job_of *job = job_of(sim, which, sqlite3_column_int64(s, DEAD_ID));
        if (job == NULL)
            continue;
        job->state = sqlite3_column_int(s, DEAD_STATE);
        if (job->state == CDTX_JOB_DEAD)
            check_dead(sim, which, s, job);
    }
    sqlite3_finalize(s);
}

void chore_read(struct sim *sim, int which, sqlite3 *db) {
    if (!sim->knobs.chores)
        return;
    sqlite3_stmt *s = query(db, "SELECT seq, what, src, number, id, key FROM chore ORDER BY seq");
    while (s != NULL && sqlite3_step(s) == SQLITE_ROW) {
        char what = (char)sqlite3_column_text(s, 1)[0];
        struct job_of *job = job_of(sim, sqlite3_column_int(s, 2), sqlite3_column_int64(s, 4));
        if (what == 'E')
            read_effect(sim, which, s);
        else if (what == 'K')
            read_key_back(sim, which, s);
        else if (what == 'P' && job != NULL)
            read_put(sim, which, s, job);
        else if (job != NULL)
            job->back_seq = sqlite3_column_int64(s, 0);
    }
    sqlite3_finalize(s);
    read_rows(sim, which, db);
}

static void check_job(struct sim *sim, int which, const struct job_of *job) {
    long long id = job->attempts.id;
    if (job->state == CDTX_JOB_WAITING || job->state == CDTX_JOB_NEXT)
        violate(&sim->world, "C10", "chore job %lld of %d still waits for another of its key", id, which);
    else if (job->state == CDTX_JOB_READY || job->state == CDTX_JOB_LEASED)
        violate(&sim->world, "L1", "chore job %lld of %d has not ended, after %u leases", id, which,
                job->attempts.leases);
    else if (job->back_seq != 0 && !job->by_key && job->state != 0)
        violate(&sim->world, "R5", "chore job %lld of %d was taken back and is still there", id, which);
    if (job->back_seq != 0)
        return;
    uint32_t wanted = job->state == 0 && job->sort != PLAIN;
    if (job->replaced && job->state == 0 && job->effects == 0)
        return;                                                          /* what replaced it is judged for it */
    int perhaps = job->sort == ELSEWHERE && job->state == CDTX_JOB_DEAD; /* its last attempt was never answered */
    if (job->effects != wanted && !(perhaps && job->effects == 1))
        violate(&sim->world, "R1", "chore job %lld of %d (%s) %s and has %u effects after %u leases", id, which,
                sorts[job->sort], job->state == 0 ? "is gone" : "is dead", job->effects, job->attempts.leases);
    else if (job->effects == 1 && job->last_word >= 0 && job->effect != job->last_word)
        violate(&sim->world, "R1", "chore job %lld of %d ran with the payload of put %lld; the last one was %lld", id,
                which, (long long)job->effect, (long long)job->last_word);
    else if (job->state == 0 && job->sort == PLAIN && !job->yes)
        violate(&sim->world, "R1", "plain chore job %lld of %d is gone, but no handler said yes", id, which);
}

void chore_final(struct sim *sim) {
    for (int which = 0; which < CLERKS && sim->knobs.chores; which++) {
        const struct book_of_chores *book = &sim->chores->books[which];
        for (uint32_t i = 0; i < book->count; i++)
            if (book->puts[i].fate != OPEN && (book->puts[i].fate == PUT) != book->puts[i].there)
                violate(&sim->world, book->puts[i].there ? "C9" : "C2", "chore %u of %d was %sput, and its row is %s",
                        i, which, book->puts[i].fate == PUT ? "" : "not ", book->puts[i].there ? "there" : "gone");
        for (int64_t id = 1; id <= book->highest; id++)
            if (book->jobs[id] != NULL && book->jobs[id]->put)
                check_job(sim, which, book->jobs[id]);
    }
}
