#include "base/lock.h"

void cdtx__lock(const cdtx_env *env, struct lock *lock) {
    uint32_t seen = 0;
    if (__atomic_compare_exchange_n(&lock->word, &seen, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        return;
    /* A wait that answers "going down" spins here: holders finish, since no holder of a lock ever waits for anything
     * else. */
    while (__atomic_exchange_n(&lock->word, 2, __ATOMIC_ACQUIRE) != 0)
        env->wait(env->user, &lock->word, 2, INT64_MAX);
}

void cdtx__unlock(const cdtx_env *env, struct lock *lock) {
    if (__atomic_exchange_n(&lock->word, 0, __ATOMIC_RELEASE) == 2)
        env->wake(env->user, &lock->word, 1);
}
