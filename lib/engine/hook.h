/* Hooks: jobs that the decision of a global transaction puts, in the same commit. Until then they are bytes in its row,
 * so that whoever decides it, or finds it past its deadline, has them at hand. */
#ifndef CDTX_ENGINE_HOOK_H
#define CDTX_ENGINE_HOOK_H

#include "base/buf.h"
#include "engine/job.h"

enum hook_when { HOOK_COMMIT = 1, HOOK_ROLLBACK = 2 };

/* Adds one to the record; what was there stays as it is after a failure. LIMIT, NO_MEMORY. */
int32_t cdtx__hook_append(struct buf *record, enum hook_when when, const struct job_put *put, cdtx_error *err);
/* The gid whose hook has that unique key; "" when it is no hook's. */
void cdtx__hook_gid(const char *unique_key, char gid[CDTX_GID_MAX]);
/* The row of that number has just come into state: puts the jobs that this activates. Under the policy a commit is
 * certain only at its end (trap 18). A record that cannot be read is an alarm and stops nothing. */
int32_t cdtx__hooks_run(cdtx_sql *sql, int64_t sequence, int32_t state, cdtx_error *err);

#endif
