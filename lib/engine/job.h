/* Jobs from the inside. A row's life: READY -> LEASED -> gone when done, back to READY after back-off or a lost lease,
 * or DEAD. WAITING is due, but others of its concurrency key come first; NEXT is behind the live job of its unique key.
 * Every claim is one durable write of attempt, token and lease before the attempt is made (R3); every end names the
 * token, so a holder that lost its lease changes nothing (R2). */
#ifndef CDTX_ENGINE_JOB_H
#define CDTX_ENGINE_JOB_H

#include "base/digest.h"
#include "engine/engine.h"
#include "engine/work.h"

enum job_state { JOB_READY = 1, JOB_LEASED = 2, JOB_DEAD = 3, JOB_WAITING = 4, JOB_NEXT = 5 };
enum job_clock { JOB_CLOCK_DURABLE = 0, JOB_CLOCK_WALL = 1 };

enum { JOB_LINE_SIZE = 640, JOB_HISTORY_MAX = 65536 };

/* Bytes of a topic's or a group's name: with both, the name of a delivery's handler is still a name. */
enum { TOPIC_NAME_MAX = 56 };
#define DELIVERY_PREFIX "cdtx.msg/"

/* Of cdtx_job.unique_key: whose job holds the key, in the words of its unique index. */
#define JOB_HOLDS_KEY "unique_key IS NOT NULL AND state <> 3 AND state <> 5"

/* The places of a lane: bits as the schema's indexes have them. Those of one level, which differ in their due times
 * alone, follow one another. */
enum { JOB_LANES_MAX = (1 << 15) - 1, JOB_AT_ONCE_BIT = 62, JOB_LANE_BIT = 47, JOB_CLOCK_BIT = 46, JOB_LEVEL_BIT = 42 };
#define JOB_DUE_MAX  ((INT64_C(1) << JOB_LEVEL_BIT) - 1)
#define JOB_LANE_MAX ((INT64_C(1) << JOB_LANE_BIT) - 1)

/* A line more of the history, of which the last whole lines are kept; arguments: the line, and how many bytes. */
#define JOB_HISTORY_AND_LINE                                                                                           \
    "history = (SELECT CAST(CASE WHEN length(h) > m THEN substr(h, length(h) - m + 1 + instr(substr(h, -m), x'0a'))"   \
    " ELSE h END AS TEXT) FROM (SELECT CAST(coalesce(history, '') || ? AS BLOB) AS h, ? AS m))"

/* What a person gives a job back. Its deadline was for the life that has ended. */
#define JOB_NEW_LIFE "state = 1, clock = 0, attempts = 0, crashes = 0, curve = 0, died = NULL, deadline = NULL"

struct job;
/* Answers several attempts at once: code and err of each. */
typedef void (*job_many_fn)(struct job *const *jobs, uint32_t count, void *user);
enum { JOB_MANY_MAX = 64 };

struct handler {
    struct list link; /* job_room->handlers */
    struct job_room *room;
    char *name, *queue;
    cdtx_handler_options options;
    uint32_t claimed;   /* atomic: by us, and not ended */
    uint32_t successes; /* atomic: in a row, of those in a local transaction; more than a few do not matter */
    int64_t takes_us;   /* atomic: a plain attempt, on the average; 0: none was made yet */
    int64_t spent_us;   /* atomic: with a rate: attempts have spent the time up to then */
    uint32_t unbegun;   /* atomic: with a rate: claimed by us, and have not spent their part of it */
    uint8_t space[16];  /* with local_db: what stands for the log in the guards of its jobs; zero: not known yet */
    int64_t lane;       /* of its jobs in the database; 0: not known yet, or none was ever put */
    int64_t next_lane;  /* as the claim at work has found it */
    int64_t floor;      /* the lowest number of its jobs that is still there, or lower; told to local_db */
    int64_t next_floor; /* as the claim at work has found it */
    char topic[TOPIC_NAME_MAX + 1], group[TOPIC_NAME_MAX + 1]; /* of deliveries; "" for other jobs */
    int recovering;                                            /* a claim looks at leases of an earlier life, ... */
    int recovered;                                             /* ... and has */

    job_many_fn many;       /* atomic: instead of the plain function; NULL: none */
    uint32_t many_max;      /* jobs that it is given at once */
    int64_t rests_until_us; /* atomic: nothing is claimed here before, and little after; 0: no rest */
};

/* The jobs side of one database. */
struct job_room {
    cdtx_db *db;
    struct lock lock; /* guards handlers */
    struct list handlers;
    struct timer scan;
    int scanning; /* atomic */
    int again;    /* atomic: somebody rang during it */
    int more;     /* atomic: due jobs were left for want of room */
};

/* With a rate: the time that each attempt spends. */
static inline int64_t cdtx__rate_part_us(const struct handler *handler) {
    return handler->options.rate_per_s > 1000000 ? 1 : 1000000 / (int64_t)handler->options.rate_per_s;
}
/* Up to when it is spent, or has been lost: what is saved up is a tenth of a second, or time for one. */
static inline int64_t cdtx__rate_gone_us(const struct handler *handler, int64_t spent, int64_t now) {
    int64_t part = cdtx__rate_part_us(handler), saved = now - (part > 100000 ? part : 100000);
    return spent > saved ? spent : saved;
}

/* What a handler asked for instead of the usual back-off. */
enum job_wish { WISH_NONE, WISH_AFTER, WISH_SNOOZE };

/* One claimed job in memory. */
struct job {
    struct cdtx_work work;
    struct task task;
    struct rider rider;
    struct handler *handler;
    int64_t id, token, lane;
    int64_t after; /* the number of the one that was leased by the same statement just before it; 0: there is none */
    uint32_t attempt, curve;
    int64_t deadline;    /* on the durable clock; INT64_MAX: none */
    int64_t leased_us;   /* until when at least, on the monotonic clock */
    struct batch *batch; /* it is being settled with (work.c) */
    enum job_wish wish;
    int64_t wish_ms;
    int begun;                     /* with a rate: it has spent its part of it */
    int answered;                  /* in_local: the handler ran, and code is its word */
    int tried;                     /* its local_db let it in */
    int ended;                     /* its row's end is in a transaction of the host's */
    int dead;                      /* what its end made of it */
    struct job *with_it;           /* the next whose end is its rider's, too; NULL: there is none */
    int leads;                     /* the rider is its own */
    int32_t outcome;               /* of its own end, when the ride of all has succeeded */
    void (*told)(struct job *job); /* what to do when its end is durable, or has failed */
    cdtx_sql *sql;
    int32_t code; /* what the attempt answered */
    cdtx_error err;
    size_t size;
    uint32_t length;        /* of the payload behind this struct */
    const char *unique_key; /* behind the payload; NULL: none */
    const char *concurrency_key;
    char gid[CDTX_GID_MAX]; /* whose hook it is; "" for other jobs */
    int64_t message;        /* that it delivers, by number; 0: none */
    const char *message_key;
    const char *message_id; /* that it came under from elsewhere; NULL: its number is its id */
};

/* Names that hosts can neither register nor put for. */
static inline int cdtx__handler_is_ours(const char *name) {
    return strncmp(name, "cdtx.", 5) == 0;
}

/* Made at first use. */
struct job_room *cdtx__job_room(cdtx_db *db, cdtx_error *err);
struct handler *cdtx__handler_find_locked(struct job_room *room, const char *name);
/* Handlers are never taken out while the engine is open, so they outlive the lock; a host's connection may not be
 * called with it held. NULL: there is none of that name. */
struct handler *cdtx__handler_find(struct job_room *room, const char *name);
/* Is one of that name (NULL: none) registered on db? */
int cdtx__handler_is_here(cdtx_db *db, const char *name);

/* Which columns of a list of handlers are these. */
struct handler_columns {
    uint32_t handler, here, oldest, count;
};
enum { HANDLER_COLUMNS_MAX = 10 };
struct ask;
/* Adds the rows that were found to the ask's report; here becomes whether the handler is registered here, and oldest,
 * which is when a job was put, how long ago that is. */
int32_t cdtx__handler_report(struct ask *ask, cdtx_db *db, const struct handler_columns *at, int64_t now,
                             cdtx_error *err);
/* Finds the handler's space; its database is known by now. */
int32_t cdtx__handler_space(struct handler *handler, cdtx_error *err);
/* The next one; NULL: the first, and at the end. */
struct handler *cdtx__handler_after(struct job_room *room, struct handler *handler);
/* What registering it checks first; fills the options' defaults in. Between enter and leave, as is the next. */
int32_t cdtx__handler_check(const cdtx_db *db, const char *name, cdtx_handler_options *options, cdtx_error *err);
/* Registers one of any name. */
int32_t cdtx__handler_add(cdtx_db *db, const char *name, const cdtx_handler_options *options, cdtx_error *err);
/* One that runs for ever inside local transactions, whatever its attempts meet; 0 also when it is there already. */
int32_t cdtx__handler_add_ours(cdtx_db *db, const char *name, cdtx_handler_fn run, cdtx_error *err);
/* From now on attempts of a plain handler go to many, up to most (of JOB_MANY_MAX) that are there at a time, and about
 * twice as many are claimed. */
void cdtx__handler_set_many(struct handler *handler, job_many_fn many, uint32_t most);
/* Fires the room's scan. */
void cdtx__claim_fire(struct timer *timer);
/* Looks for due jobs after that time at the latest. A passive engine claims none. */
static inline void cdtx__job_ring(struct job_room *room, int64_t in_us) {
    cdtx *engine = room->db->engine;
    if (engine->options.passive)
        return;
    cdtx__pump_arm_by(&engine->pump, &room->scan, cdtx__now_us(engine->env) + in_us);
}

/* ---- job.c ---- */

/* Sends a claimed job to its handler, or to cdtx_take. */
void cdtx__job_start(struct job *job);
/* The handler is about to have it. */
void cdtx__job_begin(struct job *job);

/* ---- job_end.c ---- */

/* Writes the ends of claimed jobs, linked by work.link, by code and err of each: gone, ready again later, or dead. Each
 * is told once, with rider.result and rider.err as it went; CONFLICT: its lease was lost. */
void cdtx__jobs_end(struct list *jobs, void (*told)(struct job *job));
/* Takes it back with those that ride with it, unless they have set off: they are told BUSY. */
void cdtx__job_withdraw_end(struct job *job);
/* Told, for jobs that nobody waits for: logs, counts and frees. */
void cdtx__job_ended(struct job *job);
/* Deletes the row if the token still holds; CONFLICT otherwise. */
int32_t cdtx__job_delete(struct job *job, cdtx_sql *sql, cdtx_error *err);
/* The lease ends lease_ms from now; CONFLICT: it was lost. */
int32_t cdtx__job_extend(struct job *job, cdtx_sql *sql, cdtx_error *err);
/* Counts that end, once it is durable. */
void cdtx__job_count(const struct job *job);
void cdtx__job_free(struct job *job);
/* It is among those claimed no longer, whatever has become of it. */
void cdtx__job_let_go(const struct job *job);
/* Back to READY as if never claimed. */
void cdtx__job_give_back(struct job *job);

/* ---- work.c ---- */

/* NULL when it is none. */
struct job *cdtx__job_of(const cdtx_work *work);

/* ---- job_put.c ---- */

struct job_put {
    const char *handler;
    const void *payload;
    size_t length;
    cdtx_job_options options; /* filled in and checked */
    int64_t lane;             /* of its handler and queue; 0: to be looked up */
    int64_t message;          /* a delivery: the message's number, key and id; 0: it is none */
    const char *message_key;
    const char *message_id;
};

/* Fills the options' defaults in and checks all of it. */
int32_t cdtx__job_check(const cdtx *engine, struct job_put *put, cdtx_error *err);
/* One row, or what the unique policy makes of it. */
int32_t cdtx__job_insert(cdtx_sql *sql, struct job_put *put, int64_t *id, cdtx_error *err);

/* ---- job_row.c ---- */

/* The lane of a handler's jobs in a queue; 0: there is none. */
int32_t cdtx__job_lane(cdtx_sql *sql, const char *handler, const char *queue, int64_t *lane, cdtx_error *err);

/* What a row let go of: whoever stands behind it in that unique key, or that concurrency key, may go on. NULL: it has
 * none, or keeps it. */
int32_t cdtx__job_pass_on(cdtx_sql *sql, const char *handler, const char *unique_key, const char *concurrency_key,
                          cdtx_error *err);
/* The first that waits for a turn of that concurrency key, and can take it, may go on. */
int32_t cdtx__job_pass_turn(cdtx_sql *sql, const char *concurrency_key, cdtx_error *err);
/* Whose turn of some key it is, of that handler, will not take it: others of the key go on. */
int32_t cdtx__job_pass_turns_of(cdtx_sql *sql, const char *handler, cdtx_error *err);
/* What an attempt that ended badly adds to the row's history. */
void cdtx__job_history_line(const cdtx_sql *sql, int64_t attempt, int32_t code, const char *text,
                            char line[JOB_LINE_SIZE]);
/* Takes it away unless somebody works on it (CONFLICT); *gone gets 0 when there is none. */
int32_t cdtx__job_withdraw(cdtx_sql *sql, int64_t id, int *gone, cdtx_error *err);
/* An id without a row: it is done, cancelled, or was never put. */
int32_t cdtx__job_absent(cdtx_sql *sql, int64_t id, cdtx_error *err);

/* ---- job_expire.c ---- */

/* What time has done to jobs, for a claim. */
struct old_jobs {
    cdtx_rows *rows;
    int64_t next_ms; /* when there is more to do */
    uint64_t dead;
};

/* Gives jobs of the handler back whose holder lost them. */
int32_t cdtx__job_expire(struct handler *handler, cdtx_sql *sql, struct old_jobs *old, cdtx_error *err);
/* Forgets dead ones past the handler's dead_retention_ms. */
int32_t cdtx__job_forget(struct handler *handler, cdtx_sql *sql, struct old_jobs *old, cdtx_error *err);

#endif
