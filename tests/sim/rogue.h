/* A caller who is no coordinator: it sends tries, confirms and cancels of gids of its own in any order, and compares
 * each answer and effect with a model of the guard table (DESIGN.md section 5). So every cell is met, those that a
 * correct coordinator never reaches too. */
#ifndef SIM_ROGUE_H
#define SIM_ROGUE_H

#include "sim.h"

void rogue_init(struct sim *sim);
/* One strand of the world's own, until the phase with faults is over. */
void rogue_begin(struct sim *sim);
/* 1 once it has finished. */
int rogue_done(const struct sim *sim);
/* Calls whose cell demands an alarm, at most. */
uint32_t rogue_alarms(const struct sim *sim);
/* The highest floor of its log that it has named. */
int64_t rogue_floor(const struct sim *sim);
int rogue_is(const struct sim *sim, const uint8_t log[16]);

#endif
