/* Exhaustive exploration: a small world of the simulator in which nothing is drawn. Every choice of what happens next
 * is taken in turn, each in a process of its own that is forked where the ways part.
 *
 * explore_world.c builds the worlds and judges their ends, explore_moves.c says what can happen next and does it,
 * explore.c searches. README.md says what the bounds are, and why leaving orders out loses nothing. */
#ifndef SIM_EXPLORE_H
#define SIM_EXPLORE_H

#include "explore_memory.h"
#include "sim.h"

enum { HELD_MAX = 8, MOVES_MAX = 36, FILES = PARTICIPANTS + 1, CUSTOMERS_MAX = 2, STEPS_MAX = 4000 };

/* How often each thing may still go wrong, and all of them together. */
struct budget {
    uint32_t crashes, copies, holds, faults;
};

enum move_kind {
    MOVE_GO_ON,   /* no crash here */
    MOVE_CRASH,   /* kill -9 of a node */
    MOVE_PROMPT,  /* a message just sent takes the ordinary way */
    MOVE_HOLD,    /* it is held back: it may come at any later moment, or when all is over */
    MOVE_COPY,    /* a copy of it is held back */
    MOVE_STEP,    /* a thread runs on */
    MOVE_DELIVER, /* a message arrives */
    MOVE_RESTART, /* a node that is down starts */
    MOVE_TIME     /* nothing else is to be done: time goes on to the next timer */
};

struct move {
    enum move_kind kind;
    uint32_t node;
    uint64_t event; /* sequence */
};

/* A message that was held back, and what its receiver was when its arrival was last put off. */
struct held {
    uint64_t event;
    uint64_t put_off;
};

struct customer {
    struct explorer *explorer;
    int side; /* of the coordinators */
    int done;
    uint32_t phase; /* how far he is */
    uint64_t told;  /* a hash of all answers */
};

struct down {
    int64_t since;
    uint32_t lost;    /* messages that came meanwhile */
    uint64_t put_off; /* what it would have found when its start was last put off */
};

struct explorer {
    struct sim sim;
    const struct explore_world *world;
    struct budget left;
    uint64_t past[NODES_MAX]; /* all that this life has seen, in its order: its memory is a function of that */
    uint64_t seen[NODES_MAX]; /* the log's rows when it last looked */
    uint64_t rows[FILES];     /* of each database, as committed */
    int changes[NODES_MAX];   /* sqlite3_total_changes at the last look */
    uint64_t effects[NODES_MAX], offered[NODES_MAX];
    struct down down[NODES_MAX];
    struct held held[HELD_MAX];
    uint32_t held_count;
    struct customer customers[CUSTOMERS_MAX];
    uint32_t customer_count;
    int plain;   /* nothing is left out but states that were seen */
    int at_rest; /* nobody had anything to do but to take a message or to hear a timer */
    int ended;   /* only what was held back is still to come */
    uint32_t steps;
};

struct explore_world {
    const char *name, *what;
    int64_t timeout_ms;
    uint32_t customers;
    void (*play)(struct customer *customer, struct life *life);
};
extern const struct explore_world explore_worlds[];
extern const uint32_t explore_world_count;

/* ---- explore_world.c ---- */

/* All nodes up and at rest, and the customers about to begin. */
void explore_build(struct explorer *explorer, const struct explore_world *world, const char *mutant, int tell_it);
/* Every customer has his answer or is gone, and every transaction its end. */
int explore_is_over(struct explorer *explorer);
/* All has ended: time for what is tidied up afterwards. */
void explore_settle(struct explorer *explorer);
/* How it has ended: rows, marks, effects, and what customers were told. */
uint64_t explore_end(const struct explorer *explorer);
/* Asks once more, cuts the power, and looks at what is left. */
void explore_judge(struct explorer *explorer);

/* ---- explore_moves.c ---- */

void explore_begin(struct explorer *explorer);
/* What can happen now. None: the end, or a violation. */
uint32_t explore_moves(struct explorer *explorer, struct move *moves);
void explore_apply(struct explorer *explorer, const struct move *move);
/* Before that one is made: those before it are gone elsewhere, and need not be offered again soon. */
void explore_put_off(struct explorer *explorer, const struct move *moves, uint32_t chosen);
/* Two explorers with the same hash go the same ways from here. */
uint64_t explore_hash(struct explorer *explorer);

#endif
