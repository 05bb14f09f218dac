/* Histograms with power-of-two buckets, added to without a lock. */
#ifndef CDTX_BASE_HISTOGRAM_H
#define CDTX_BASE_HISTOGRAM_H

#include <cdtx/cdtx.h>

static inline void cdtx__histogram_add(cdtx_histogram *h, int64_t value) {
    uint64_t v = value < 0 ? 0 : (uint64_t)value;
    uint32_t bucket = v == 0 ? 0 : 64 - (uint32_t)__builtin_clzll(v);
    if (bucket >= CDTX_HISTOGRAM_BUCKETS)
        bucket = CDTX_HISTOGRAM_BUCKETS - 1;
    __atomic_add_fetch(&h->buckets[bucket], 1, __ATOMIC_RELAXED);
    __atomic_add_fetch(&h->sum, v, __ATOMIC_RELAXED);
    uint64_t max = __atomic_load_n(&h->max, __ATOMIC_RELAXED);
    while (v > max && !__atomic_compare_exchange_n(&h->max, &max, v, 1, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
}

/* Adds what from has now to into, which is nobody else's; its count fits its buckets. */
void cdtx__histogram_merge(cdtx_histogram *into, const cdtx_histogram *from);

#endif
