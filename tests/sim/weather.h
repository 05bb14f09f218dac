/* The faults that come by themselves, at random times, while faults are on; and those of the disks. */
#ifndef SIM_WEATHER_H
#define SIM_WEATHER_H

#include "sim.h"

void weather_begin(struct sim *sim);
/* No more faults: the network flows, everybody goes on and stays up. */
void weather_heal(struct sim *sim);

/* Is a participant away for long (L2)? */
int weather_dead(const struct sim *sim);

/* All processes end, hours pass, all start again. Returns 0 when the world is broken. */
int weather_night(struct sim *sim);
/* How long until the night is over; 0: it is, or there is none. */
int64_t weather_morning(const struct sim *sim);

#endif
