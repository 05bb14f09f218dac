/* A small seeded generator with named streams, so that one part of a simulation can draw more or fewer numbers without
 * shifting another's. xoshiro256** 1.0 by Blackman and Vigna, seeded by splitmix64 by Steele, Lea and Flood as Vigna
 * published it (prng.di.unimi.it, public domain); names are hashed with 64-bit FNV-1a. Not for secrets. */
#ifndef SIM_PRNG_H
#define SIM_PRNG_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct prng {
    uint64_t s[4];
};

static inline uint64_t prng_splitmix(uint64_t *state) {
    uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

/* The stream called name of that seed; other names or seeds give unrelated streams. */
static inline struct prng prng_new(uint64_t seed, const char *name) {
    uint64_t hash = UINT64_C(0xCBF29CE484222325);
    for (; *name != '\0'; name++)
        hash = (hash ^ (uint8_t)*name) * UINT64_C(0x100000001B3);
    uint64_t state = prng_splitmix(&seed) ^ hash;
    struct prng prng;
    for (int i = 0; i < 4; i++)
        prng.s[i] = prng_splitmix(&state);
    return prng;
}

static inline uint64_t prng_next(struct prng *prng) {
    uint64_t *s = prng->s;
    uint64_t five = s[1] * 5;
    uint64_t result = ((five << 7) | (five >> 57)) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = (s[3] << 45) | (s[3] >> 19);
    return result;
}

/* A zeroed generator draws nothing: always the lowest number, and every chance comes true. For those who enumerate what
 * others draw. */
static inline int prng_is_dull(const struct prng *prng) {
    return (prng->s[0] | prng->s[1] | prng->s[2] | prng->s[3]) == 0;
}

/* Evenly one of 0 .. bound - 1; 0 when bound is 0 or 1. */
static inline uint64_t prng_below(struct prng *prng, uint64_t bound) {
    if (bound < 2 || prng_is_dull(prng))
        return 0;
    uint64_t skew = (0 - bound) % bound; /* 2^64 mod bound: draws below it would favour small results */
    uint64_t draw;
    do
        draw = prng_next(prng);
    while (draw < skew);
    return draw % bound;
}

/* Evenly one of low .. high, both included; low <= high. */
static inline int64_t prng_range(struct prng *prng, int64_t low, int64_t high) {
    uint64_t span = (uint64_t)high - (uint64_t)low + 1; /* 0: all 2^64 */
    uint64_t draw = span == 0 ? prng_next(prng) : prng_below(prng, span);
    return (int64_t)((uint64_t)low + draw);
}

/* 1 in `times` out of `of` draws. */
static inline int prng_chance(struct prng *prng, uint64_t times, uint64_t of) {
    return prng_below(prng, of) < times;
}

static inline void prng_bytes(struct prng *prng, void *bytes, size_t length) {
    uint8_t *at = bytes;
    while (length > 0) {
        uint64_t word = prng_next(prng);
        for (size_t i = 0; i < 8 && length > 0; i++, length--, word >>= 8)
            *at++ = (uint8_t)word;
    }
}

#endif
