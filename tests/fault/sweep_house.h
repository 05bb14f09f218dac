/* The kinds of house that sweeps strike, each with its story and its judge. */
#ifndef FAULT_SWEEP_HOUSE_H
#define FAULT_SWEEP_HOUSE_H

#include "house.h"
#include "post_story.h"

struct house_kind {
    int32_t (*open)(struct house *house, const struct house_site *site, const struct house_options *options,
                    cdtx_error *err);
    void (*before)(struct house *house, struct ledger *ledger);
    void (*story)(struct house *house, struct ledger *ledger, int chapter);
    void (*ruin)(struct house *house, struct ledger *ledger, struct post_leftover *leftover);
    void (*resumed)(struct house *house, struct ledger *ledger);
    int32_t (*drain)(struct house *house, struct ledger *ledger, int64_t for_ms);
    uint32_t (*ask_again)(struct house *house, struct ledger *ledger);
    void (*judge)(const struct house_site *site, struct ledger *ledger);
    void (*check)(struct ledger *ledger);
    /* After the last reopening: goes on, and judges what only that can show. NULL: nothing. */
    void (*after)(struct house *house, const struct house_site *site, struct ledger *ledger);
    int64_t later_ms; /* how much later the house is opened again */
};

/* Chapters of the order house: all, or the brief one. */
enum { CHAPTER_FULL = 0, CHAPTER_BRIEF = 1 };

extern const struct house_kind order_house, post_office;

#endif
