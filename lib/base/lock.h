/* A mutual-exclusion lock on the environment's wait and wake, after Drepper, "Futexes Are Tricky" (2011), mutex 3:
 * 0 free, 1 held, 2 held and somebody may wait. Not recursive. Zeroed memory is a free lock. */
#ifndef CDTX_BASE_LOCK_H
#define CDTX_BASE_LOCK_H

#include "base/env.h"

struct lock {
    uint32_t word;
};

void cdtx__lock(const cdtx_env *env, struct lock *lock);
void cdtx__unlock(const cdtx_env *env, struct lock *lock);

#endif
