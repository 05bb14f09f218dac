/* Global transactions of clients, in every way the interface offers, and what they were told about each. */
#ifndef SIM_CLIENT_H
#define SIM_CLIENT_H

#include "sim.h"

void client_init(struct sim *sim);
/* Starts operations at random times until all knobs.ops have been issued. */
void client_begin(struct sim *sim);
/* The strands of a life that take completions. */
void client_serve(struct life *life);
/* Everything has ended: every client who does not know yet asks. Runs in a strand of the life. */
void client_ask_all(struct life *life);
/* What the histories say when all is over. */
void client_final(struct sim *sim);

#endif
