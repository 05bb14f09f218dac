/* The judge: reads the raw tables with a connection of its own, never asking the library, and compares them with each
 * other and with what customers were told. Everything must have come to rest. */
#ifndef FAULT_JUDGE_H
#define FAULT_JUDGE_H

#include <sqlite3.h>

#include "house.h"

/* The tables of the house for raw reading: stock.db as main, orders.db as o, log.db as l. NULL, with a complaint, when
 * they cannot be opened. */
sqlite3 *judge_open(const struct house_site *site, struct ledger *ledger);
/* The same as judge, on such a connection. */
void judge_tables(sqlite3 *db, struct ledger *ledger);

/* Complains in the ledger. The scheme of site is not looked at. */
void judge(const struct house_site *site, struct ledger *ledger);

#endif
