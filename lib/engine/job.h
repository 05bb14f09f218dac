/* Jobs from the inside. A row's life: READY -> LEASED -> gone when done, back to READY after back-off or a lost lease,
 * or DEAD. Every claim is one durable write of attempt, token and lease before the attempt is made (R3); every end
 * names the token, so a holder that lost its lease changes nothing (R2). */
#ifndef CDTX_ENGINE_JOB_H
#define CDTX_ENGINE_JOB_H

#include "engine/engine.h"
#include "engine/work.h"

enum job_state { JOB_READY = 1, JOB_LEASED = 2, JOB_DEAD = 3 };
enum job_clock { JOB_CLOCK_DURABLE = 0, JOB_CLOCK_WALL = 1 };

struct handler {
    struct list link; /* job_room->handlers */
    struct job_room *room;
    char *name, *queue;
    cdtx_handler_options options;
    uint32_t claimed; /* atomic: by us, and not ended */
};

/* The jobs side of one database. */
struct job_room {
    cdtx_db *db;
    struct lock lock; /* guards handlers */
    struct list handlers;
    struct timer scan;
    int scanning;  /* atomic */
    int again;     /* atomic: somebody rang during it */
    int recovered; /* leases of an earlier life were looked at */
    int more;      /* atomic: due jobs were left for want of room or because of a concurrency key */
};

/* One claimed job in memory. */
struct job {
    struct cdtx_work work;
    struct task task;
    struct rider rider;
    struct handler *handler;
    int64_t id, token;
    uint32_t attempt;
    struct batch *batch; /* it is being settled with (work.c) */
    int answered;        /* in_local: the handler ran, and code is its word */
    int ended;           /* its row's end is in a transaction of the host's */
    int dead;            /* what its end made of it */
    cdtx_sql *sql;
    int32_t code; /* what the attempt answered */
    cdtx_error err;
    size_t size;
    uint32_t length; /* of the payload behind this struct */
};

/* Made at first use. */
struct job_room *cdtx__job_room(cdtx_db *db, cdtx_error *err);
struct handler *cdtx__handler_find_locked(struct job_room *room, const char *name);
/* Fires the room's scan. */
void cdtx__claim_fire(struct timer *timer);
/* Looks for due jobs after that time at the latest. A passive engine claims none. */
static inline void cdtx__job_ring(struct job_room *room, int64_t in_us) {
    cdtx *engine = room->db->engine;
    if (engine->options.passive)
        return;
    cdtx__pump_arm_by(&engine->pump, &room->scan, cdtx__now_us(engine->env) + in_us);
}

/* Sends a claimed job to its handler, or to cdtx_take. */
void cdtx__job_start(struct job *job);
/* Writes the end of a claimed job by its code and err: gone, ready again later, or dead. CONFLICT: the lease was lost.
 */
int32_t cdtx__job_write_end(struct job *job, cdtx_sql *sql, cdtx_error *err);
/* Deletes the row if the token still holds; CONFLICT otherwise. */
int32_t cdtx__job_delete(struct job *job, cdtx_sql *sql, cdtx_error *err);
/* Counts that end, once it is durable. */
void cdtx__job_count(const struct job *job);
void cdtx__job_free(struct job *job);
/* Back to READY as if never claimed. */
void cdtx__job_give_back(struct job *job);

#endif
