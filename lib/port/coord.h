/* The coordinator port: who decides global transactions and remembers it. One request object a verb; submit never
 * blocks, and done is called exactly once, after what the reply says is durable, on a thread that is inside a call of
 * the engine, with no lock held. A reply with result UNKNOWN means the verb may have taken effect.
 *
 * Every verb that writes names the epoch it knows; a coordinator refuses an epoch that is not the stored one, and every
 * take raises it (DESIGN.md 4.8). */
#ifndef CDTX_PORT_COORD_H
#define CDTX_PORT_COORD_H

#include "base/list.h"
#include "base/env.h"

enum coord_verb {
    COORD_BEGIN = 1, /* name, key, timeout_ms, reverse_after, branches, hooks -> sequence, epoch, state; a known key
                        joins: found = 1, and reverse_after is answered */
    COORD_REGISTER,  /* sequence, epoch, branches[0] -> branch; REFUSED when not ACTIVE */
    COORD_HOOK,      /* sequence, epoch, hooks -> epoch: they take the place of those before; REFUSED when not ACTIVE */
    COORD_DECIDE,    /* sequence, epoch, outcome, reason, lease_ms -> state, epoch, reason; found = 1: somebody else had
                        decided. REVERSING is the second decision, from COMMITTING; CONFLICT: the epoch is stale */
    COORD_QUERY,     /* sequence or key -> sequence, state, reason, reverse_after; NOT_FOUND, EXPIRED */
    COORD_LIST,      /* state (0: all not ended), after, limit -> items without branches, by sequence */
    COORD_TAKE,      /* limit, lease_ms -> items: due ones, each now decided, at a new epoch and leased; next_due_ms */
    COORD_SETTLE,    /* sequence, epoch, outcome, acked, noes, ended or (due_in_ms, error, park) -> state; found = 1: it
                        was parked by this; CONFLICT: the epoch is stale */
    COORD_TRIM /* retention_ms, limit -> floor, next_due_ms: outcomes older than that are dropped, the floor raised */
};

enum coord_reason {
    COORD_REASON_NONE = 0,
    COORD_REASON_ASKED = 1,
    COORD_REASON_TIMEOUT = 2,
    COORD_REASON_ABANDONED = 3
};

struct coord_branch {
    const char *participant;
    const void *payload;
    uint32_t length;
};

/* One transaction as take and list give it. Borrowed from the request. */
struct coord_item {
    int64_t sequence;
    int64_t epoch;
    int64_t acked; /* bit b: branch b has answered phase two */
    int32_t state; /* cdtx_tx_state */
    int32_t reason;
    uint32_t attempts;
    uint32_t reverse_after;
    uint32_t noes;
    int32_t parked;
    int32_t hooked; /* it has hooks */
    uint32_t branch_count;
    const char *name;
    struct coord_branch *branches;
};

struct coord_request {
    struct list link; /* free for the implementation's use while submitted */
    int32_t verb;

    /* asked; text and bytes are the caller's and stay valid until done */
    const char *name;
    const char *key;
    const struct coord_branch *branches;
    uint32_t branch_count;
    uint32_t limit;
    int64_t sequence; /* also answered by BEGIN and QUERY */
    int64_t epoch;    /* also answered */
    int64_t timeout_ms;
    int64_t lease_ms;
    int64_t due_in_ms;
    int64_t acked;
    int64_t after;
    int64_t retention_ms;
    const void *hooks; /* as engine/hook.h records them; with hooks_length 0: none */
    uint32_t hooks_length;
    int32_t hooked;  /* DECIDE, SETTLE: its row has hooks, and what the new state activates of them is put with it */
    int32_t state;   /* LIST: asked; else answered */
    int32_t outcome; /* DECIDE, SETTLE: CDTX_TX_COMMITTING, CDTX_TX_ROLLING_BACK or CDTX_TX_REVERSING */
    int32_t reason;  /* DECIDE: of a rollback; else answered */
    int32_t ended;
    uint32_t reverse_after; /* also answered by BEGIN and QUERY */
    uint32_t noes;
    int32_t parked;    /* it is parked already */
    const char *error; /* the last that phase two met, or NULL */
    const char *park;  /* why it is to be parked, or NULL */

    /* answered */
    int32_t result;
    int32_t found;
    uint32_t branch;
    int64_t next_due_ms; /* TAKE, TRIM: until there is more to do, -1: never; 0: there is more now */
    int64_t floor;       /* every lower sequence has ended */
    struct coord_item *items;
    uint32_t item_count;
    cdtx_error err;

    void (*done)(struct coord_request *request);
    void *user;
    void *held; /* the implementation's, from done to release */
};

/* The answered items and what they point to are freed by release, which the asker calls once it has read them. */
struct coord_port {
    void *self;
    void (*submit)(void *self, struct coord_request *request);
    void (*release)(void *self, struct coord_request *request);
    /* The log's identity: the first half of every gid. */
    const uint8_t *(*log)(void *self);
    void (*close)(void *self);
};

#endif
