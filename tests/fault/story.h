/* What happens in the house while faults strike: one of each kind of thing that a customer can do. */
#ifndef FAULT_STORY_H
#define FAULT_STORY_H

#include "house.h"

/* What is there before the story begins. */
void story_before(struct house *house, struct ledger *ledger);
void story_full(struct house *house, struct ledger *ledger);
/* Two orders. */
void story_brief(struct house *house, struct ledger *ledger);

/* Leaves one of each kind of unfinished thing behind, if the participants hear of tries only. */
void story_of_ruin(struct house *house, struct ledger *ledger, cdtx_tx **left_open);
/* Comes to rest on ruins, and goes on. */
void story_resumed(struct house *house, struct ledger *ledger);
/* Without faults every answer is yes, but for the order that is too big and those that are given up. */
void story_check(struct ledger *ledger);

#endif
