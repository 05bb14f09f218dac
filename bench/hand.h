/* What all that is written by hand has in common: a file, its statements, and how one is run. */
#ifndef BENCH_HAND_H
#define BENCH_HAND_H

#include <sqlite3.h>

#include "bench.h"

struct file {
    sqlite3 *db;
    sqlite3_stmt *begin, *commit;
    uint64_t syncs; /* commits */
};

/* NAME.db in that folder, made if need be, as durable as the library's. 1, or 0 after complaining, as all here. */
int hand_open(struct file *file, const char *dir, const char *name);
void hand_close(struct file *file);
int hand_prepare(struct file *file, const char *text, sqlite3_stmt **statement);
/* Runs it; rows: how many it must change, -1: does not matter. */
int hand_step(struct file *file, sqlite3_stmt *statement, int rows);
int hand_begin(struct file *file);
int hand_commit(struct file *file);

/* A batch of so many, numbered from first on. */
typedef int (*batch_fn)(void *hand, int64_t first, int64_t count);
/* Starts the run: batch after batch, of at most so many each, until it is enough. */
int hand_loop(struct run *run, int64_t most, batch_fn batch, void *hand);

#endif
