/* What a seed switches on, and how hard: a random subset of the kinds of fault, and random settings of the library. */
#ifndef SIM_KNOBS_H
#define SIM_KNOBS_H

#include <stdint.h>

struct world;

enum fault_kind {
    FAULT_CRASH_POINT, /* a process dies at a failpoint */
    FAULT_CRASH_TIME,  /* a process is killed at a random moment */
    FAULT_POWER,       /* a host loses power: unsynced writes are kept, lost or torn */
    FAULT_DIE_WRITING, /* a process dies just before or after one disk operation */
    FAULT_DISK_ERROR,  /* EIO */
    FAULT_DISK_FULL,   /* no space, short writes */
    FAULT_SYNC,        /* a failed sync, once, with lost pages */
    FAULT_MEMORY,      /* the process gets no memory, now and then */
    FAULT_RESTART,     /* a clean end and a new start */
    FAULT_LOSS,
    FAULT_DOUBLE,
    FAULT_REORDER,       /* some copies take far longer */
    FAULT_CLOG,          /* nothing passes between two nodes for a while */
    FAULT_REPLAY,        /* copies of old calls come again much later */
    FAULT_SEND,          /* the link says no at once */
    FAULT_PAUSE,         /* a process stands still for longer than a lease */
    FAULT_CLOCK,         /* the wall clock jumps by up to a day */
    FAULT_DRIFT,         /* hosts' clocks run at different speeds */
    FAULT_SPURIOUS,      /* waits end for no reason */
    FAULT_HANDLER_ERROR, /* handlers fail without a definite answer */
    FAULT_HANDLER_SLOW,  /* handlers take long inside their local transaction */
    FAULT_CLIENT_SLOW,   /* clients think longer than their time-out */
    FAULT_ABANDON,       /* clients leave without a decision */
    FAULT_YIELD,         /* long stops at failpoints */
    FAULT_KINDS
};

enum topology {
    SHARED_LOG, /* two coordinators on one log file, participants on hosts of their own */
    ONE_LOG,    /* one coordinator that owns its log alone, participants on hosts of their own */
    ALL_IN_ONE, /* one engine with everything, calls stay inside */
    ALL_SHARED, /* two engines that share the log and both participants' files, calls stay inside */
    TOPOLOGIES
};

struct knobs {
    uint32_t faults; /* bit by fault_kind */
    int topology;
    int loopback;
    int person; /* somebody steps in */
    int rogue;  /* a caller of its own who breaks the protocol */
    uint32_t pumps, clients, ops;
    uint32_t group_max;
    int64_t call_timeout_ms, backoff_min_ms, backoff_max_ms, wait_ms;
    int64_t timeout_min_ms, timeout_max_ms; /* of global transactions */
    int64_t latency_min, latency_max;       /* microseconds */
    int64_t run;                            /* length of the phase with faults, microseconds */
    uint32_t crash_in, fault_in, loss_in;   /* one in so many */
    uint32_t stock;                         /* of each of the few articles */
    int64_t retention_ms, park_retry_ms;
    uint32_t park_attempts;
    uint32_t policy_in; /* one transaction in so many may be taken back; 0: none */
    uint32_t open_max;  /* 0: the library's own */
    int64_t night;      /* half way all processes end, and go on so much later; 0: they do not */
    int dead;           /* one participant is gone for most of the run; 0: none, else 1 + which */
    /* Patterns beside TCC; each has a stream of its own, so that what was there before goes on as it did. */
    int chores;        /* jobs with keys that wait, deadlines, heartbeats, and people who pause and redrive them */
    uint32_t hooks_in; /* one transaction in so many has hooks; 0: none */
    int posts;         /* messages and consumer groups */
    int halves;        /* half messages and check-backs */
    int cron;          /* a schedule */
    int killers;       /* some chores end the process that runs them */
};

void knobs_draw(struct knobs *knobs, uint64_t seed);
void knobs_tell(struct world *world, const struct knobs *knobs);
static inline int knobs_have(const struct knobs *knobs, enum fault_kind kind) {
    return (knobs->faults >> kind & 1) != 0;
}
/* Does nothing go wrong that the workload itself does not do? */
static inline int knobs_are_calm(const struct knobs *knobs) {
    return knobs->faults == 0 && knobs->night == 0;
}
/* Are there guards of others than global transactions? */
static inline int knobs_have_patterns(const struct knobs *knobs) {
    return knobs->chores || knobs->posts || knobs->halves;
}
const char *fault_name(enum fault_kind kind);
const char *topology_name(int topology);

/* The longest that anything may take to end once all faults are over, in microseconds. */
int64_t knobs_bound(const struct knobs *knobs);

#endif
