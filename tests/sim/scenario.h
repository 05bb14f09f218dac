/* One run as a text: the seed, what it switched on, which clients came, and which faults happened when. A run is
 * recorded on a tape, what does not matter is cut out (shrink.c), and what is left is played again, bit by bit, for
 * good. */
#ifndef SIM_SCENARIO_H
#define SIM_SCENARIO_H

#include <stdio.h>

#include "knobs.h"

struct sim;

/* A fault that happens. */
struct happening {
    int64_t at;    /* virtual microseconds */
    uint32_t skip; /* how many times it could have happened at that very moment before */
    enum fault_kind kind;
};

struct scenario {
    uint64_t seed;
    char mutant[40]; /* "": none */
    char violates[8];
    struct knobs knobs;
    int64_t heal;     /* when faults end, at most knobs.run + knobs.night */
    uint64_t clients; /* bit n: number n + 1 comes */
    int clerks;       /* local transactions and jobs go on beside */
    struct happening *happenings;
    uint32_t count, room;
};

/* How a run uses one. */
struct tape {
    struct scenario *scenario;
    int records;
    uint32_t next[FAULT_KINDS]; /* to happen, if it is of that kind */
    int64_t asked_at[FAULT_KINDS];
    uint32_t asked[FAULT_KINDS]; /* at that moment */
};

/* A fault of that kind was drawn to happen, or not: does it? */
int tape_happens(struct sim *sim, enum fault_kind kind, int drawn);
/* Does that client come? */
int tape_client(const struct sim *sim, uint32_t number);
/* Are there clerks? */
int tape_clerks(const struct sim *sim);

/* Before it is recorded: of this seed, with everything. */
void scenario_init(struct scenario *scenario, uint64_t seed, const char *mutant);
struct scenario scenario_copy(const struct scenario *from);
void scenario_free(struct scenario *scenario);
void scenario_write(const struct scenario *scenario, FILE *out);
/* 0, or the number of the line that is wrong; -1: the file cannot be read. */
int scenario_read(struct scenario *scenario, const char *path);

/* shrink.c: looks for the smallest scenario that violates the same invariant as that seed, and prints it. Returns an
 * exit status. */
int shrink(uint64_t seed, const char *mutant, FILE *out);

#endif
