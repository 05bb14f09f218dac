/* Databases of the host from the inside: turns in host.c, lent transactions in lend.c. */
#ifndef CDTX_ENGINE_HOST_H
#define CDTX_ENGINE_HOST_H

#include "engine/engine.h"
#include "port/lent.h"
#include "store/lent.h"

/* What a database of the host has besides a store. Lives as long as its cdtx_db. */
struct host {
    cdtx_host_port port;
    struct turn turn;
    struct gate *over;       /* of the turn's thread: opened when its connection is of no more use */
    struct lock lock;        /* guards all below; never held while the host is called */
    const void *turn_theirs; /* the connection that a turn has, NULL: none */
    uint64_t turn_thread;
    struct list loans; /* of struct loan: not settled */
    struct list spare; /* settled ones, oldest first: a second settle meets memory that is still there */
    uint32_t spares;
};

/* One lent transaction. */
struct loan {
    struct list link; /* host->loans or host->spare */
    cdtx_db *db;
    struct store view;
    cdtx_sql *sql;
    void *theirs;
    int64_t lent_ms; /* wall clock */
    uint32_t using;  /* atomic: a call is at work on it */
    int broken;      /* a statement ended the transaction */
    int forgotten;   /* told as an alarm; atomic */
    int settled;     /* under the lock */
};

/* MISUSE unless db is a database of the host's and connection is one; then enters the engine. */
int32_t cdtx__host_enter(cdtx_db *db, const void *connection, const char *what, cdtx_error *err);
/* MISUSE when a lent transaction on that connection was not settled; it counts as forgotten from then on, and is an
 * alarm. */
int32_t cdtx__loans_check(cdtx_db *db, const void *theirs, const char *what, cdtx_error *err);

#endif
