#include "hand.h"

#include <stdio.h>

int hand_prepare(struct file *file, const char *text, sqlite3_stmt **statement) {
    if (sqlite3_prepare_v3(file->db, text, -1, SQLITE_PREPARE_PERSISTENT, statement, NULL) == SQLITE_OK)
        return 1;
    return complain("by hand: '%s': %s", text, sqlite3_errmsg(file->db));
}

int hand_open(struct file *file, const char *dir, const char *name) {
    enum { FLAGS = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX };
    char path[4200];
    snprintf(path, sizeof path, "%s/%s.db", dir, name);
    if (sqlite3_open_v2(path, &file->db, FLAGS, NULL) != SQLITE_OK ||
        sqlite3_exec(file->db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL", NULL, NULL, NULL) != SQLITE_OK)
        return complain("by hand: '%s': %s", path, sqlite3_errmsg(file->db));
    return hand_prepare(file, "BEGIN IMMEDIATE", &file->begin) && hand_prepare(file, "COMMIT", &file->commit);
}

void hand_close(struct file *file) {
    sqlite3_stmt *statement;
    while (file->db != NULL && (statement = sqlite3_next_stmt(file->db, NULL)) != NULL)
        sqlite3_finalize(statement);
    sqlite3_close(file->db);
}

int hand_step(struct file *file, sqlite3_stmt *statement, int rows) {
    int done = sqlite3_step(statement) == SQLITE_DONE, changes = sqlite3_changes(file->db);
    sqlite3_reset(statement);
    if (!done)
        return complain("by hand: '%s': %s", sqlite3_sql(statement), sqlite3_errmsg(file->db));
    return rows < 0 || changes == rows || complain("by hand: '%s': changed %d rows", sqlite3_sql(statement), changes);
}

int hand_begin(struct file *file) {
    return hand_step(file, file->begin, -1);
}

int hand_commit(struct file *file) {
    file->syncs++;
    return hand_step(file, file->commit, -1);
}

int hand_loop(struct run *run, int64_t most, batch_fn batch, void *hand) {
    int64_t first, count;
    run_start(run);
    while ((count = run_next_many(run, most, &first)) > 0) {
        int64_t from = now_us();
        if (!batch(hand, first, count) || !run_done(run, count, from))
            return 0;
    }
    return 1;
}
