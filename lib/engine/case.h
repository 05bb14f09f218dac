/* Cases: what only a person can settle. Opened and closed by statements of the transaction that parks or ends their
 * subject, each with a line in the audit chain. */
#ifndef CDTX_ENGINE_CASE_H
#define CDTX_ENGINE_CASE_H

#include "store/sql.h"

/* Opens a case unless the subject has an open one; *opened gets 1 if it did. evidence is text for people. */
int32_t cdtx__case_open(cdtx_sql *sql, const char *kind, const char *subject, const char *reason, const char *evidence,
                        const char *actor, int *opened, cdtx_error *err);
/* Closes the subject's open case, if there is one. */
int32_t cdtx__case_close(cdtx_sql *sql, const char *kind, const char *subject, const char *actor, const char *reason,
                         cdtx_error *err);

#endif
