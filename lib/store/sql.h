/* A local transaction from the inside: what cdtx_sql is, and our own statements in it. */
#ifndef CDTX_STORE_SQL_H
#define CDTX_STORE_SQL_H

#include <cdtx/port.h>

#include "base/buf.h"
#include "store/store.h"

enum { SQL_ARGUMENTS_MAX = 64 };

struct cdtx_sql {
    struct store *store;
    int open;   /* statements are allowed */
    int handle; /* of cdtx_sql_begin; else a rider's */
    cdtx_value arguments[SQL_ARGUMENTS_MAX];
    size_t offsets[SQL_ARGUMENTS_MAX]; /* of text and blobs in bytes, which may move while it grows */
    uint32_t argument_count;
    int32_t bind_failed;
    struct buf bytes;
    cdtx_rows rows;
    void *engine;    /* of a handle: what it keeps alive */
    /* Of a lent transaction, else NULL: what stands between enter and leave instead of the store's lock. */
    int32_t (*enter)(cdtx_sql *sql, cdtx_error *err);
    void (*leave)(cdtx_sql *sql);
    uint32_t cursor; /* row number from 1; 0 before the first */
    const cdtx_call *branch; /* that it belongs to; NULL: none */
    /* What was read of one thing, to be read once for many uses in this transaction (engine/message.c); forgotten with
     * it, and when some of it is undone. */
    char memo_of[64];
    cdtx_rows memo;
};

/* Every use of a cdtx_sql by its host stands between these two: nobody closes the database meanwhile. enter: MISUSE
 * when sql is NULL, has ended, or is a handle of the parent of this forked process. */
int32_t cdtx__sql_enter(cdtx_sql *sql, cdtx_error *err);
void cdtx__sql_leave(cdtx_sql *sql);
/* Our own statement; text must be static. changes and rows may be NULL. */
int32_t cdtx__sql_run(cdtx_sql *sql, const char *statement, const cdtx_value *arguments, uint32_t count,
                      cdtx_rows *rows, int64_t *changes, cdtx_error *err);
/* Undoes everything of this rider so far and goes on in it. */
int32_t cdtx__sql_undo(cdtx_sql *sql, cdtx_error *err);

int32_t cdtx__sql_new(struct store *store, int handle, cdtx_sql **sql, cdtx_error *err);
void cdtx__sql_delete(cdtx_sql *sql);
/* Ready for a new rider: no arguments, no rows. */
void cdtx__sql_reset(cdtx_sql *sql);

#endif
