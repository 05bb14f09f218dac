/* A store whose connections are the host's. Its riders queue as anywhere; the store itself has a connection only during
 * a turn. A *view* is the store as one lent connection sees it: for preparing, and for each lent transaction, since
 * many of these may be open at once. */
#ifndef CDTX_STORE_LENT_H
#define CDTX_STORE_LENT_H

#include "store/sql.h"

/* How cdtx_meta names an owner that lends: there may be many on one file. */
#define STORE_HOST_OWNER "host "

/* Makes a new store (cdtx__store_new) such a one. */
void cdtx__lent_begin(struct store *store);
/* The store as that connection of the port will see it; name and hooks are shared. */
void cdtx__lent_view(struct store *store, void *connection, struct store *view);
void cdtx__lent_view_free(struct store *view);
/* After cdtx__store_set_up on the view: the store knows its database now. The caller has made sure that no other store
 * knows it. CONFLICT when it is another database than before. */
int32_t cdtx__lent_publish(struct store *store, const struct store *view, cdtx_error *err);
/* Was it ever, and did an UNKNOWN commit end that? */
int cdtx__lent_in_doubt(struct store *store);

/* Is that the database that the store knows, and is its owner still one that lends? Errors: CONFLICT, STOPPED, those of
 * the port. */
int32_t cdtx__lent_recognise(struct store *view, cdtx_error *err);
/* The turn begins on that connection, and ends with NULL. */
void cdtx__lent_turn(struct store *store, void *connection);

/* The turn has made a gap for other writers and goes on by itself soon. */
int cdtx__lent_pauses(struct store *store);

/* In the transaction of a turn that sees another epoch: another process that lends (0), or an owner (STOPPED). */
int32_t cdtx__lent_owner(struct store *store, cdtx_error *err);
/* Nothing more on this connection, and nothing at all before the database is published again. */
void cdtx__lent_stop(struct store *store, const char *why);
/* In err: why. */
int32_t cdtx__lent_stopped(struct store *store, cdtx_error *err);

/* The number of the next job, and the clock saved with it. In a lent transaction the counters are written at once, for
 * we do not see its commit. */
int32_t cdtx__lent_next_job(cdtx_sql *sql, int64_t *number, cdtx_error *err);

#endif
