#include "base/backoff.h"

int64_t cdtx__backoff_ms(const cdtx_env *env, uint32_t attempt, int64_t least_ms, int64_t cap_ms) {
    if (MUTANT(env, "bug-17-storm"))
        return 0;
    int64_t top = least_ms;
    for (uint32_t i = 0; i < attempt && top < cap_ms; i++)
        top *= 2;
    if (top > cap_ms && !MUTANT(env, "backoff-uncapped"))
        top = cap_ms;
    uint64_t dice = 0;
    if (env->random(env->user, &dice, sizeof dice) != 0)
        return top; /* late rather than all at once */
    return least_ms + (int64_t)(dice % (uint64_t)(top - least_ms + 1));
}
