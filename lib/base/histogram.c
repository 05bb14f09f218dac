#include "base/histogram.h"

void cdtx__histogram_merge(cdtx_histogram *into, const cdtx_histogram *from) {
    for (uint32_t i = 0; i < CDTX_HISTOGRAM_BUCKETS; i++) {
        uint64_t n = __atomic_load_n(&from->buckets[i], __ATOMIC_RELAXED);
        into->buckets[i] += n;
        into->count += n;
    }
    into->sum += __atomic_load_n(&from->sum, __ATOMIC_RELAXED);
    uint64_t max = __atomic_load_n(&from->max, __ATOMIC_RELAXED);
    if (max > into->max)
        into->max = max;
}

uint64_t cdtx_histogram_quantile(const cdtx_histogram *histogram, double share) {
    if (histogram == NULL || histogram->count == 0)
        return 0;
    /* NaN and all below 0 count as 0: the smallest. */
    double wanted = share >= 1.0 ? (double)histogram->count : share > 0.0 ? share * (double)histogram->count : 0.0;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < CDTX_HISTOGRAM_BUCKETS - 1; i++) {
        seen += histogram->buckets[i];
        uint64_t top = (UINT64_C(1) << i) - 1;
        if (seen > 0 && (double)seen >= wanted)
            return top < histogram->max ? top : histogram->max;
    }
    return histogram->max;
}
