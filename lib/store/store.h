/* One database with our tables in it: its single writing connection, and group commit over it.
 *
 * A rider is one local transaction that wants in. Riders queue; whoever leads takes those that queued while the last
 * sync ran, runs each behind a savepoint in one transaction, commits once, and only then tells any of them anything
 * (README.md, G1). There is no thread in here: the `ready` hook asks the engine to call cdtx__store_lead soon. */
#ifndef CDTX_STORE_STORE_H
#define CDTX_STORE_STORE_H

#include "base/histogram.h"
#include "base/list.h"
#include "base/lock.h"
#include "port/sql.h"

struct store;

struct store_hooks {
    void *user;
    void (*ready)(void *user, struct store *store);                   /* call cdtx__store_lead once, soon */
    void (*hold)(void *user);   /* many are told now: what they ask for is to set off together, ... */
    void (*let_go)(void *user); /* ... at this */
    void (*later)(void *user, struct store *store, int64_t delay_us); /* call cdtx__store_kick after that time */
    void (*ring)(void *user, struct store *store);                    /* a transaction that put jobs has committed */
    /* It has stopped itself: nothing more is to come; a host's database: not on this connection. */
    void (*stopped)(void *user, struct store *store);
    void (*watch)(void *user, struct store *store);            /* riders run now: call cdtx__store_watch later */
    void (*slow)(void *user, struct store *store, int64_t us); /* a rider has held everybody up for so long */
    const char *(*known)(void *user, const uint8_t uuid[16]);  /* the name this database is open under, or NULL */
};

struct store_limits {
    uint32_t group_max;
    uint32_t waiting_max; /* bounded riders in the queue */
    int64_t wait_us;
    int64_t closure_us; /* a rider's run longer than this is told by `slow` */
};

enum rider_flags {
    RIDER_LAZY = 1,    /* starts no group by itself, unless nobody else comes */
    RIDER_PLAIN = 2,   /* leaves nothing behind when it fails, so it needs no savepoint */
    RIDER_HANDLE = 4,  /* wants the whole transaction: granted by done with result 0, until cdtx__store_handle_end */
    RIDER_BOUNDED = 8, /* the host's: BUSY when too many wait already */
    RIDER_TAKEN = 16,  /* the store's own: it is in a group now */
    /* Seldom fails: in company it goes without a savepoint, and if it does fail, the whole group goes again behind
     * savepoints. Only for riders that may run more often than once without anybody being surprised. */
    RIDER_HOPEFUL = 32
};

struct rider {
    struct list link;
    uint32_t flags;
    int32_t result;
    /* Runs in the transaction, perhaps more than once, on the leader's thread. Non-zero: undone, and the result. */
    int32_t (*run)(struct rider *rider, cdtx_sql *sql, cdtx_error *err);
    /* Called exactly once, after the sync, with no lock held. The rider is its owner's again. */
    void (*done)(struct rider *rider);
    cdtx_error err;
};

/* Counters and clock as the transaction that is open sees them; written back by its commit when dirty. */
struct store_meta {
    int64_t epoch, sequence, job, floor;
    int dirty;
    int rings; /* jobs were put */
    /* A log's floor as the open transaction has read it (guard.c): asked once, not for each guard. */
    int peer_known;
    uint8_t peer_log[16];
    int64_t peer_floor;
    int held_known, held; /* asked once, too: are there messages that branches hold (engine/message.c) */
};

struct store {
    struct list link; /* the engine's */
    const cdtx_env *env;
    const cdtx_sql_port *port;
    void *connection;
    struct store_hooks hooks;
    struct store_limits limits;
    char *name;
    const char *url; /* only while it is being opened */
    uint8_t uuid[16];
    uint64_t process; /* that opened it */
    int32_t ownership;
    int64_t epoch;           /* of our ownership */
    int64_t clock_offset_ms; /* of the durable clock, from the monotonic one */
    struct store_meta meta;
    int hopeful;      /* the group at work runs its hopeful riders without savepoints */
    int disappointed; /* ... and one of them failed */
    uint32_t wary;    /* groups that still go behind savepoints */
    cdtx_sql *sql;    /* the one that riders and handles use in turn */
    cdtx_rows rows;

    struct lock handle_lock; /* held for each use of the open handle, so that closing cannot come between */
    cdtx_sql *handle;        /* that holds the turn, or NULL */
    uint32_t refs;           /* atomic: the engine's and each handle's, which may outlive the connection */

    struct lock lock; /* guards all below */
    struct list queue;
    uint32_t eager;        /* riders in the queue that are not lazy */
    uint32_t waiting;      /* and those that are bounded */
    int scheduled;         /* ready was called, or a leader or a handle is at work, or busy */
    int busy;              /* another process has the turn; `later` will kick */
    int64_t busy_since_us; /* first BUSY of the present row of them; 0: none */
    int64_t busy_pause_us; /* before the next look */
    /* Of a shared file, only the leader's: since when we have had turn behind turn, when the last ended, and how long
     * such a run may be before it makes a gap for the others. */
    int64_t run_since_us, turn_ended_us, yield_us;
    int32_t stopped; /* 0 or CDTX_STOPPED, which every later rider gets */
    cdtx_error stop_err;
    uint64_t groups, riders; /* atomic */
    cdtx_histogram sync_us, group_size;

    uint64_t closure_thread;  /* atomic: who runs a rider right now, 0: nobody */
    int64_t closure_since_us; /* atomic: since when, 0: nobody; told once when it takes too long */
    int lent_ready;           /* under lock: prepared, so that turns and loans are taken */
    int lent;                 /* the host's: it has a connection only while a turn is lent (store/lent.h) */
    void *owner;              /* how higher rooms find theirs from a cdtx_sql */
};

/* Opens url with the adapter, becomes its writer, brings the tables up to date. Blocks. Errors as cdtx_db_open. */
int32_t cdtx__store_open(const cdtx_env *env, const cdtx_sql_port *port, const char *name, const char *url,
                         const struct store_hooks *hooks, const struct store_limits *limits, struct store **store,
                         cdtx_error *err);
/* Ends it: what still queues gets STOPPED, as does what comes later. Nobody may be inside. */
void cdtx__store_shut(struct store *store);
/* Closes the connection of a store that is shut, and gives up the engine's reference. */
void cdtx__store_close(struct store *store);
void cdtx__store_unref(struct store *store);
/* Becomes a writer on the store's connection, makes our tables there and signs in. Blocks. */
int32_t cdtx__store_set_up(struct store *store, cdtx_error *err);
/* The parts of a store that need no connection. port and hooks are borrowed as in cdtx__store_open. */
int32_t cdtx__store_new(const cdtx_env *env, const cdtx_sql_port *port, const char *name,
                        const struct store_hooks *hooks, const struct store_limits *limits, struct store **store,
                        cdtx_error *err);

void cdtx__store_submit(struct store *store, struct rider *rider);
/* Takes a rider back that has not been started; 1 if so (done will not be called), 0 if it is too late. */
int cdtx__store_withdraw(struct store *store, struct rider *rider);
/* Runs one group on the calling thread; only in answer to `ready`. */
void cdtx__store_lead(struct store *store);
/* Tells of a rider that runs too long; the time until one may, 0: none runs. */
int64_t cdtx__store_watch(struct store *store);
/* Starts a group for lazy riders, or again after BUSY. */
void cdtx__store_kick(struct store *store);
/* The turn that was granted is this handle's now; it gets a reference. */
void cdtx__store_handle_begin(struct store *store, cdtx_sql *sql);
/* Ends its turn: commits or rolls back, and lets the next group go. Blocks. MISUSE when it has ended already. */
int32_t cdtx__store_handle_end(cdtx_sql *sql, int commit, cdtx_error *err);

/* The durable clock: runs with the monotonic clock while somebody has the database open, with the wall clock between,
 * and never goes back. */
int64_t cdtx__store_clock_ms(const struct store *store);
/* The same for a time that goes into a row of the open transaction: the clock is saved in the same commit, so that no
 * restart can find itself before what was measured by it. */
int64_t cdtx__store_stamp_ms(struct store *store);

/* Other processes may write the file, too. */
static inline int cdtx__store_is_shared(const struct store *store) {
    return store->ownership == CDTX_OWN_SHARED || store->ownership == CDTX_OWN_FIRST;
}

#endif
