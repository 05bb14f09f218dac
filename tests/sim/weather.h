/* The faults that come by themselves, at random times, while faults are on; and those of the disks. */
#ifndef SIM_WEATHER_H
#define SIM_WEATHER_H

#include "sim.h"

void weather_begin(struct sim *sim);
/* No more faults: the network flows, everybody goes on and stays up. */
void weather_heal(struct sim *sim);

/* Is a participant away for long (L2)? */
int weather_dead(const struct sim *sim);

#endif
