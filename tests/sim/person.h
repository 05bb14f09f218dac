/* A person who looks in and steps in (cdtx/admin.h): lists, shows, and retries, parks, unparks and resolves
 * transactions at any moment, also wrong ones; retries and cancels jobs. */
#ifndef SIM_PERSON_H
#define SIM_PERSON_H

#include "sim.h"

void person_init(struct sim *sim);
/* The strand of a coordinator's life. */
void person_serve(struct life *life);
/* All has ended: each acknowledged action has its line in the chain. Runs in a strand of the life. */
void person_ask(struct life *life);

#endif
