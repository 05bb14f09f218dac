/* The transaction that a group of riders, or one handle, shares. Between store.c's queue and the port. */
#ifndef CDTX_STORE_GROUP_H
#define CDTX_STORE_GROUP_H

#include "store/store.h"

/* So large that no counter or clock comes there, so small that nothing added to it overflows. */
#define META_MAX (INT64_C(1) << 53)

/* CORRUPT unless these columns of the first of the store's rows are numbers of cdtx_meta. */
int32_t cdtx__meta_check(const struct store *store, uint32_t first, uint32_t last, cdtx_error *err);
/* Opens the transaction and reads cdtx_meta in it; STOPPED when another owner has fenced us. */
int32_t cdtx__group_open(struct store *store, cdtx_error *err);
/* Writes cdtx_meta back if dirty and commits. On every failure the transaction is over; UNKNOWN also stops the store.
 */
int32_t cdtx__group_commit(struct store *store, cdtx_error *err);
/* Runs the riders of group and tells each its result. Those that must wait for another process' turn stay in group, and
 * the result is CDTX_BUSY; otherwise group is empty afterwards and the result 0. */
int32_t cdtx__group_run(struct store *store, struct list *group, cdtx_error *err);
/* Ends the store: every later rider gets STOPPED with this reason. */
void cdtx__group_stop(struct store *store, const char *why);

#endif
