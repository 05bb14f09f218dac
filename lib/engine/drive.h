/* Driving one global transaction: from begin through tries and decision to the first attempt at phase two, or, for one
 * that was taken from the log, one more attempt. Everything happens on events (a coordinator's answer, a participant's
 * reply, a timer), so that any number of transactions move together and share their synced commits.
 *
 * Life: NEW -> BEGINNING -> TRYING -> DECIDING -> FINISHING -> SETTLING -> OVER for a declared one; step by step goes
 * BEGINNING -> IDLE, then IDLE -> REGISTERING -> TRYING -> IDLE per branch, then DECIDING; a known key goes
 * BEGINNING -> JOINED -> OVER; a taken one starts in FINISHING. Every way may end in OVER early. */
#ifndef CDTX_ENGINE_DRIVE_H
#define CDTX_ENGINE_DRIVE_H

#include "base/buf.h"
#include "engine/engine.h"
#include "engine/work.h"

enum step {
    STEP_NEW,
    STEP_BEGINNING,
    STEP_IDLE,
    STEP_REGISTERING,
    STEP_TRYING,
    STEP_DECIDING,
    STEP_FINISHING, /* phase two */
    STEP_SETTLING,
    STEP_JOINED,
    STEP_OVER
};

struct drive_branch {
    char *participant;
    uint8_t *payload;
    uint32_t length;
    uint32_t attempt;
    uint8_t *result; /* of the try */
    uint32_t result_length;
    int answered;  /* to the operation now under way */
    uint64_t call; /* id of the call under way, 0: none */
    int64_t sent_us;
    int64_t again_us;  /* when to call again */
    int64_t expiry_us; /* of its try; INT64_MAX: before its first call */
    struct peer *peer;
    int waiting; /* counted at its peer */
};

struct cdtx_tx {
    struct list link; /* engine->drives while under way */
    cdtx *engine;
    uint32_t refs;    /* atomic: the host's handle, being under way, the timer, each call under way */
    struct lock lock; /* guards all below */
    enum step step;
    int declared;  /* run or submit: goes on to the decision by itself */
    int submitted; /* its end is a completion */
    int hosted;    /* the host holds the handle */
    int joined;
    int adopted;  /* taken from the log, not begun here */
    int answered; /* what the waiting call gets is in result and err */
    int32_t result;
    cdtx_error err;
    struct gate gate;

    char *name, *key;
    int64_t timeout_ms, branch_timeout_ms;
    uint32_t reverse_after; /* policy; 0: never */
    uint32_t noes;          /* definite ones from confirms, so far */
    int parked;
    char parking[80]; /* why it is to be parked */
    int32_t wait_for;
    uint64_t tag;

    int64_t sequence, epoch, began_us, deadline_us;
    char gid[CDTX_GID_MAX];
    int32_t outcome; /* asked for, then decided */
    int32_t refusal; /* code of the first definite no, with its text */
    cdtx_error refusal_err;
    int64_t acked;
    uint32_t attempts; /* at phase two of the outcome */
    uint32_t outstanding;
    struct drive_branch *branches;
    uint32_t branch_count, branch_room;

    struct buf hooks; /* those that its row has, or will have */
    uint32_t hook_count;
    int hooked; /* its row has some */

    struct coord_request request;
    struct coord_branch *wire; /* branches as the request wants them */
    uint32_t wire_room;
    struct timer timer;
    int recheck;     /* FINISHING: a participant was registered that may have been missing */
    int64_t poll_us; /* JOINED: pause before the next query */
    struct cdtx_work completion;
};

/* ---- drive_memory.c ---- */

/* A transaction that is not under way, with one reference. */
cdtx_tx *cdtx__tx_alloc(cdtx *engine);
int32_t cdtx__tx_add_branch(cdtx_tx *tx, const char *participant, const void *payload, uint32_t length,
                            cdtx_error *err);
/* The log's row does not have it. */
void cdtx__tx_drop_last_branch(cdtx_tx *tx);
/* What its try answered. */
int32_t cdtx__tx_keep_result(cdtx_tx *tx, struct drive_branch *b, const cdtx_reply *reply, cdtx_error *err);
void cdtx__tx_ref(cdtx_tx *tx);
void cdtx__tx_unref(cdtx_tx *tx);

/* ---- drive.c ---- */

/* Starts it: NEW -> BEGINNING, taking a reference of its own. BUSY when open_max are under way. */
int32_t cdtx__drive_begin(cdtx_tx *tx, cdtx_error *err);
/* For the branch added last; already moved to REGISTERING by the caller. */
void cdtx__drive_try(cdtx_tx *tx);
/* Records its hooks as they are now; already moved to REGISTERING by the caller. */
void cdtx__drive_hook(cdtx_tx *tx);
/* Already moved to DECIDING by the caller. */
void cdtx__drive_decide(cdtx_tx *tx, int32_t outcome);
/* One that was taken from the log: one more attempt at phase two, with a reference of its own. */
void cdtx__drive_resume(cdtx_tx *tx);
/* A joined one is given back: nothing to decide here. */
void cdtx__drive_leave(cdtx_tx *tx);

/* For one attempt: twice the time-out of a call, so that a second engine does not disturb whoever still waits for a
 * reply. */
static inline int64_t cdtx__lease_ms(const cdtx *engine) {
    return 2 * engine->options.call_timeout_ms + 1000;
}

static inline int cdtx__has_ended(int32_t state) {
    return state == CDTX_TX_COMMITTED || state == CDTX_TX_ROLLED_BACK || state == CDTX_TX_REVERSED;
}

/* Is the outcome certain in that state? Under the policy only at the end: a commit may still be taken back. */
static inline int cdtx__outcome_known(int32_t state, uint32_t reverse_after) {
    if (reverse_after > 0)
        return cdtx__has_ended(state) || state == CDTX_TX_ROLLING_BACK;
    return state != CDTX_TX_ACTIVE;
}

/* Something has ended: the floor may rise. */
void cdtx__trim_soon(cdtx *engine);

/* Somebody must look into the log by then. */
static inline void cdtx__scan_by(cdtx *engine, int64_t in_ms) {
    cdtx__pump_arm_by(&engine->pump, &engine->scan, cdtx__now_us(engine->env) + in_ms * 1000);
}

#endif
