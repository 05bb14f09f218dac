/* Encoded records: the branches of a transaction as cdtx_tx.branches keeps them. Version byte 1, then for each branch
 * its participant and payload as blocks; so a branch is added by appending. */
#ifndef CDTX_STORE_RECORD_H
#define CDTX_STORE_RECORD_H

#include "base/buf.h"
#include "port/coord.h"

void cdtx__record_branches(struct buf *buf, const struct coord_branch *branches, uint32_t count);
void cdtx__record_append_branch(struct buf *buf, const struct coord_branch *branch);
/* Reads them; the branches borrow from bytes, and room is CDTX_BRANCHES_MAX. CORRUPT when it is no such record. */
int32_t cdtx__record_read(const void *bytes, size_t length, struct coord_branch *branches, uint32_t *count,
                          cdtx_error *err);

#endif
