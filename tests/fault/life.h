/* One life of a house: an engine on a simulated disk, with a virtual clock, a counted heap and random numbers of its
 * own. */
#ifndef FAULT_LIFE_H
#define FAULT_LIFE_H

#include "house.h"
#include "sim/disk.h"

struct life {
    struct house house; /* whoever lives it opens it */
    struct house_site site;
    struct disk_life *disk_life;
    cdtx_test_env *heap;
    cdtx_env env;
    struct ledger *ledger;
};

/* The known bug that lives in all engines; NULL: none. */
extern const char *life_mutant;
/* What every failpoint of the library that is no mutant answers; NULL: 0. */
extern int (*life_failpoint)(const char *name);

/* Random numbers are drawn by the name, so that the life can be lived again, bit by bit; it is unlike those of the
 * lives before. The clock begins so much later than that of the first. */
void life_begin(struct life *life, const char *name, struct disk *disk, int64_t later_ms, struct ledger *ledger);
/* Complains if the engine has seen something that must not happen. */
void life_check_alarms(struct life *life);
/* Closes the house, if it is open, and complains of what it has not given back. */
void life_end(struct life *life);

#endif
