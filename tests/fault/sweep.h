/* Fail the Nth: the same story again and again, each time with a fault at the next place, until the fault finds no
 * place any more. Each run has a simulated disk, a virtual clock and a counted heap of its own, ends with a reopening
 * without faults, and is judged. */
#ifndef FAULT_SWEEP_H
#define FAULT_SWEEP_H

#include <cdtx/test.h>

#include "sweep_house.h"
#include "sim/disk.h"

struct sweep;

struct run {
    const struct sweep *sweep;
    uint64_t n; /* from 1; of a sweep with a stride the place that it struck */
    struct disk *disk;
    cdtx_test_env *heap;          /* of the life under test */
    struct house_options options; /* its link and adapter, set by arm */
    struct ledger ledger;
};

struct sweep {
    char name[64];
    uint64_t least; /* fewer runs: the story no longer goes where it should */
    uint64_t runs;  /* tried; 0: until the fault finds no place */
    int fault;      /* what the fault is, in the words of the sweep's file */
    int kind;       /* and where */
    int for_ever;
    int close_too;  /* the fault lasts until the house is closed */
    int stops;      /* a database may stop itself: only a reopening brings the house to rest */
    int chapter;    /* of the story */
    int opened;     /* faults begin only once the house is open */
    int ruins;      /* begins on what a power loss left of unfinished things */
    int loopback;   /* the coordinator behind encoded calls */
    int harmless;   /* customers notice nothing but the delay */
    int no_floor;   /* the log does not raise its floor: what comes late finds its guard */
    const struct house_kind *house;                  /* NULL: the order house */
    uint32_t stride, phase;                          /* of so many places only the one behind phase; 0: all */
    int32_t crash_after_story, crash_after_recovery; /* enum disk_crash, 0: none */

    void (*arm)(struct run *run); /* before the opening; with `opened`, then in vain, and again after it */
    /* Faults are over. Returns 1 if they struck. */
    int (*disarm)(struct run *run);
    /* Optional: what comes late, into the same house once it has come to rest, and into the house that was opened next.
     * Returns 1 if something came. */
    int (*late)(struct run *run, struct house *house);
    int (*later)(struct run *run, struct house *house);
};

/* One more for sweep_main; copied. */
void sweep_add(const struct sweep *sweep);
/* The same sweep over chapters of the post office's story, and over its ruins (0); least[chapter] 0: not over that one.
 * Only the first chapter begins with the opening. */
void sweep_add_post(const struct sweep *like, const uint64_t least[CHAPTERS]);

/* PROGRAM [--post] [--all] [NAME [N]] runs all sweeps over one kind of house, or one, or one run of one; with --all at
 * every place, whatever the stride. PROGRAM [--post] --mutants NAME... demands of each known bug that some run goes
 * wrong while the library has it. Returns the exit status. */
int sweep_main(int argc, char **argv);

#endif
