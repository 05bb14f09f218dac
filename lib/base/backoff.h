/* How long to wait before the next attempt: capped exponential back-off with full jitter above a stated minimum
 * (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015). */
#ifndef CDTX_BASE_BACKOFF_H
#define CDTX_BASE_BACKOFF_H

#include "base/env.h"

/* After attempt number `attempt` (from 1): uniform in [least, min(cap, least * 2^attempt)], in ms; 0 < least <= cap. */
int64_t cdtx__backoff_ms(const cdtx_env *env, uint32_t attempt, int64_t least_ms, int64_t cap_ms);

#endif
