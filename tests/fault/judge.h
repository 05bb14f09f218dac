/* The judge: reads the raw tables with a connection of its own, never asking the library, and compares them with each
 * other and with what customers were told. Everything must have come to rest. */
#ifndef FAULT_JUDGE_H
#define FAULT_JUDGE_H

#include <sqlite3.h>

#include "house.h"

/* A deed and how often it is there, by its key; count NULL: the house has another way to tell. */
struct judged {
    const char *name, *count;
};
enum { JUDGED_MAX = 16 };

/* The database `first` as main, and others by {file, name}; NULL, with a complaint, when they cannot be opened. */
sqlite3 *judge_attach(const struct house_site *site, const char *first, const char *const others[][2], size_t count,
                      struct ledger *ledger);
/* Complains of the first row: a sentence about something that must not be, or "ok". */
void judge_find(sqlite3 *db, const char *query, struct ledger *ledger);
/* Compares what was heard of each deed with how often it is there. */
void judge_deeds(sqlite3 *db, const struct judged *judged, int count, struct ledger *ledger);

/* The tables of the house for raw reading: stock.db as main, orders.db as o, log.db as l. NULL, with a complaint, when
 * they cannot be opened. */
sqlite3 *judge_open(const struct house_site *site, struct ledger *ledger);
/* The same as judge, on such a connection. */
void judge_tables(sqlite3 *db, struct ledger *ledger);

/* Complains in the ledger. The scheme of site is not looked at. */
void judge(const struct house_site *site, struct ledger *ledger);

#endif
