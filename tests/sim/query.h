/* What the checkers ask SQLite itself, past the library. */
#ifndef SIM_QUERY_H
#define SIM_QUERY_H

#include <sqlite3.h>
#include <stdint.h>

/* To be stepped and finalized. NULL: the file cannot be read now, or its tables are not there yet. A question with a
 * fault in it ends the program, for what is judged by its rows would pass for ever. */
sqlite3_stmt *query(sqlite3 *db, const char *text);
/* The first number of the first row, 0 if there is none; finalizes. */
int64_t query_number(sqlite3_stmt *statement);
/* How often each number comes, of those below most. */
void query_count(sqlite3_stmt *statement, uint32_t *counts, uint32_t most);

#endif
