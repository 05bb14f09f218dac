/* The engine from the inside: what its files and the patterns share. */
#ifndef CDTX_ENGINE_ENGINE_H
#define CDTX_ENGINE_ENGINE_H

#include "base/gid.h"
#include "base/map.h"
#include "engine/pump.h"
#include "port/coord.h"
#include "store/sql.h"

enum { THREADS_MAX = 64, PAYLOAD_LIMIT = 16 << 20 };

struct host;

/* A database of the engine: one object for all handles of it. */
struct cdtx_db {
    struct list link; /* engine->databases */
    cdtx *engine;
    struct store *store; /* NULL once the engine is closed */
    uint32_t handles;    /* cdtx_db pointers the host holds, atomic */
    struct task lead;
    struct timer kick;
    struct timer watch;
    int watched;                 /* atomic: the timer is set */
    struct job_room *jobs;       /* job.c's part; NULL until the first handler */
    struct floor_keeper *floors; /* floor.c's part; NULL until the first participant */
    struct host *host;           /* host.c's part; NULL: the engine itself has it open */
};

struct cdtx {
    const cdtx_env *env;
    cdtx_options options; /* with defaults filled in; strings are not kept */
    uint64_t process;
    uint32_t refs; /* atomic: the host's handle and every child's */
    int closed;    /* atomic */
    struct pump pump;

    struct lock lock;         /* guards the lists below; taken before no other lock */
    struct list databases;    /* of cdtx_db */
    struct list participants; /* of struct participant */
    struct list drives;       /* of struct drive */
    struct list peers;        /* of struct peer */
    uint32_t begun_count;     /* atomic: of those, begun here, and ... */
    uint32_t adopted_count;   /* ... taken from the log: the ones must not take the room of the others (L2) */
    cdtx_db *log;             /* NULL: no log */

    struct lock calls_lock;
    struct map calls;   /* id -> its cdtx_tx: sent and not answered */
    uint64_t last_call; /* atomic */

    struct coord_port coord; /* self NULL: no log */
    struct cdtx_link link;
    struct timer scan; /* the log: due transactions */
    int scanning;      /* atomic: a TAKE is under way */
    struct timer trim; /* the log: the floor, and outcomes kept long enough */
    int trimming;      /* atomic: its timer is set, for what has ended */
    int64_t floor;     /* atomic: of our log, as calls carry it */

    uint64_t threads[THREADS_MAX];
    uint32_t thread_count;

    uint64_t begun, committed, rolled_back, reversed, parked, calls_sent, alarms; /* atomic */
    uint64_t jobs_run, jobs_failed, jobs_dead;                                    /* atomic */
    cdtx_histogram decide_us, end_us, call_us;
};

static inline void cdtx__add(uint64_t *counter) {
    __atomic_add_fetch(counter, 1, __ATOMIC_RELAXED);
}

/* When for_ms from now is over; -1 is for ever. */
static inline int64_t cdtx__until_us(const cdtx *engine, int64_t for_ms) {
    return for_ms < 0 ? INT64_MAX : cdtx__now_us(engine->env) + for_ms * 1000;
}

/* ---- check.c ---- */

/* Every public call that uses the engine stands between these two. enter: MISUSE when closed, NULL or in a forked
 * child. */
int32_t cdtx__enter(cdtx *engine, cdtx_error *err);
void cdtx__leave(cdtx *engine);
/* MISUSE when this thread is inside a closure or handler of the engine: it would wait for its own commit. */
int32_t cdtx__may_wait(cdtx *engine, const char *what, cdtx_error *err);
/* MISUSE when that database is open for reading only. */
int32_t cdtx__may_write(const cdtx_db *db, const char *what, cdtx_error *err);
void cdtx__ref(cdtx *engine);
void cdtx__unref(cdtx *engine);
/* Reads a sized option struct into *into (of `size` bytes, zeroed): INVALID when it is smaller than `least`, or its
 * unknown tail is not zero. from may be NULL. */
int32_t cdtx__options(const void *from, void *into, size_t size, size_t least, const char *what, cdtx_error *err);
/* 0 when 0 <= ms <= CDTX_TIME_MAX_MS, else INVALID. */
int32_t cdtx__check_ms(int64_t ms, const char *what, cdtx_error *err);
int32_t cdtx__check_payload(const cdtx *engine, const void *payload, size_t length, cdtx_error *err);
/* STOPPED when a database of the engine has stopped itself. */
int32_t cdtx__any_stopped(cdtx *engine, cdtx_error *err);
/* Something that must not happen was refused: counted and logged. */
void cdtx__alarm(cdtx *engine, const char *format, ...) __attribute__((format(printf, 2, 3), cold));

/* ---- open.c ---- */

/* A database without a connection; takes host over if it succeeds. *db gets a handle. Errors: CONFLICT, NO_MEMORY. */
int32_t cdtx__add_host_database(cdtx *engine, const char *name, struct host *host, cdtx_db **db, cdtx_error *err);

/* ---- host.c, lend.c: databases of the host ---- */

/* The store takes no more turns before it is prepared again. */
void cdtx__host_stopped(cdtx_db *db);
/* Alarms for what was lent and not settled. */
void cdtx__loans_noticed(cdtx_db *db, const char *when);
/* 0: a database of the host's that has no turn now, so that whoever asks it something would wait. */
int cdtx__host_lends(cdtx_db *db);
/* The engine needs the host's port no more. */
void cdtx__host_drop(cdtx_db *db);
void cdtx__host_free(const cdtx_env *env, struct host *host);

/* ---- local.c ---- */

/* A rider that a thread waits for; may be on its stack. Only run (and flags) are set by the caller. */
struct waited_rider {
    struct rider rider;
    struct gate gate;
    cdtx *engine;
};
/* Submits it, helps until it is done, and answers its result; BUSY when its turn did not come within wait_ms. */
int32_t cdtx__ride(cdtx *engine, struct store *store, struct waited_rider *waited, cdtx_error *err);

/* ---- participant.c: those who serve calls ---- */

/* One incoming call on its way through a local transaction. */
struct served {
    struct rider rider;
    cdtx *engine;
    struct participant *participant;
    cdtx_call call; /* its own copy */
    cdtx_answer_fn answer;
    void *user;
    int32_t code; /* what the participant says; counts only if the rider committed */
    cdtx_error refusal;
    int alarm; /* somebody must know of the refusal; said once, when it is durable, however often it ran */
    struct buf result;
    size_t size; /* of this allocation */
};

struct participant {
    struct list link;
    char *name;
    cdtx_db *db;
    /* Inside a local transaction of db; may run more than once. 0: call->code (and result, refusal) is the durable
     * answer; other codes: undone, no answer yet. */
    int32_t (*serve)(struct served *call, cdtx_sql *sql, cdtx_error *err);
    void (*drop)(struct participant *participant);
    void *state;
};

int32_t cdtx__participant_add(cdtx_db *db, const char *name,
                              int32_t (*serve)(struct served *, cdtx_sql *, cdtx_error *),
                              void (*drop)(struct participant *), void *state, cdtx_error *err);
void cdtx__participants_free(cdtx *engine);

/* ---- call.c: calls we send ---- */

/* Gives out an id, so that the caller knows it before a reply can come. The reply goes to tx, at most once, and never
 * after cdtx__call_forget answered 1. */
int32_t cdtx__call_register(cdtx *engine, cdtx_tx *tx, uint64_t *id, cdtx_error *err);
/* Hands the call, with its registered id, to the link. */
int32_t cdtx__call_send(cdtx *engine, const cdtx_call *call, cdtx_error *err);
/* 1: no reply will come any more; 0: it came, or is coming now. */
int cdtx__call_forget(cdtx *engine, uint64_t id);
void cdtx__calls_close(cdtx *engine);
/* The default link: the participants of the sending engine itself. */
const cdtx_link *cdtx__link_local(void);

/* ---- peer.c: the participants that calls go to ---- */

struct peer;
/* The one of that name, made at first use and kept until the engine closes; NULL: no memory. */
struct peer *cdtx__peer(cdtx *engine, const char *name);
/* BUSY when it leaves participant_max calls unanswered already: what is begun with it would only wait behind them, and
 * take the room of others. */
int32_t cdtx__peer_has_room(const cdtx *engine, const struct peer *peer, cdtx_error *err);
/* A branch waits for its answer, from its first call on, or waits no more. */
void cdtx__peer_waits(struct peer *peer, int by);
void cdtx__peers_free(cdtx *engine);

/* ---- floor.c: guards that nobody will ask for again ---- */

/* Everything of that log below floor has ended: db's guards of it may go. Cheap; the work is done later. */
void cdtx__floor_heard(cdtx_db *db, const uint8_t *log, int64_t floor);
int32_t cdtx__floor_keep(cdtx_db *db, cdtx_error *err);
void cdtx__floor_close(cdtx_db *db);

/* ---- coord_local.c, coord_loopback.c ---- */

/* The coordinator on that database. Blocks for recovery: undecided transactions of a dead owner become due at once. */
int32_t cdtx__coord_local_open(cdtx_db *log, struct coord_port *port, cdtx_error *err);
/* The same coordinator behind encoded calls; takes inner over. */
int32_t cdtx__coord_loopback_open(const cdtx_env *env, size_t message_max, const struct coord_port *inner,
                                  struct coord_port *port, cdtx_error *err);
/* After opening a database: never gives out sequences that its guards have seen (a restored log). Blocks. */
int32_t cdtx__coord_outrun_guards(cdtx_db *log, cdtx_db *db, cdtx_error *err);

/* ---- drive.c, scan.c: driving global transactions ---- */

/* The reply to a call of tx came; the call's reference to tx passes along. */
void cdtx__drive_replied(cdtx_tx *tx, uint64_t id, const cdtx_reply *reply);
void cdtx__scan_fire(struct timer *timer);
void cdtx__trim_fire(struct timer *timer);
/* A participant was registered: what waits for one is called again. */
void cdtx__drives_recheck(cdtx *engine);
void cdtx__drives_close(cdtx *engine);

/* ---- doctor.c ---- */

/* After opening a database that is shared: logs what its adapter has to say that is not ok. */
void cdtx__doctor_warn(cdtx_db *db);

/* ---- job.c, work.c ---- */

/* Looks for due jobs of that database soon. */
void cdtx__jobs_ring(cdtx_db *db);
/* Gives back what was claimed and nobody has taken or run. */
void cdtx__inbox_close(cdtx *engine);
/* The handlers' users are not needed any more; work that is still out may ask for their names until ... */
void cdtx__jobs_close(cdtx_db *db);
/* ... it is gone, too. */
void cdtx__jobs_free(cdtx_db *db);

#endif
