/* Known bugs of this class, one at a time, in the library's test build: the library asks MUTANT(env, name) where it
 * would go wrong. Each must be found, and by an invariant that it breaks. */
#ifndef SIM_MUTANTS_H
#define SIM_MUTANTS_H

#include <stddef.h>

struct mutant {
    const char *name;
    const char *breaks;     /* what it does */
    const char *invariants; /* of which one must notice, separated by spaces */
};

extern const struct mutant mutants[];
extern const size_t mutant_count;

#endif
