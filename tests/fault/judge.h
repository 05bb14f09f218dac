/* The judge: reads the raw tables with a connection of its own, never asking the library, and compares them with each
 * other and with what customers were told. Everything must have come to rest. */
#ifndef FAULT_JUDGE_H
#define FAULT_JUDGE_H

#include "house.h"

/* Complains in the ledger. The scheme of site is not looked at. */
void judge(const struct house_site *site, struct ledger *ledger);

#endif
