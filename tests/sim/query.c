#include "query.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

sqlite3_stmt *query(sqlite3 *db, const char *text) {
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(db, text, -1, &statement, NULL);
    if (rc == SQLITE_ERROR && strncmp(sqlite3_errmsg(db), "no such table", 13) != 0) {
        fprintf(stderr, "sim: %s: %s\n", text, sqlite3_errmsg(db));
        abort();
    }
    return statement;
}

int64_t query_number(sqlite3_stmt *statement) {
    int64_t number =
        statement != NULL && sqlite3_step(statement) == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 0;
    sqlite3_finalize(statement);
    return number;
}

void query_count(sqlite3_stmt *statement, uint32_t *counts, uint32_t most) {
    while (statement != NULL && sqlite3_step(statement) == SQLITE_ROW) {
        int64_t number = sqlite3_column_int64(statement, 0);
        if (number >= 0 && number < most)
            counts[number]++;
    }
    sqlite3_finalize(statement);
}
