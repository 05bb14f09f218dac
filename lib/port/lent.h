/* A connection that the host has open, behind the SQL port. */
#ifndef CDTX_PORT_LENT_H
#define CDTX_PORT_LENT_H

#include "port/sql.h"

/* The port for what cdtx__lent_open gives; nothing can be opened by URL. own checks the settings that make commits
 * durable, and makes a writer among others (CDTX_OWN_SHARED). */
const cdtx_sql_port *cdtx__adapter_lent(void);

/* host and name (for messages) are borrowed. borrowed: the host has its own transaction open on it, so that begin,
 * commit and rollback are not ours. Errors: NO_MEMORY. */
int32_t cdtx__lent_open(const cdtx_env *env, const cdtx_host_port *host, void *theirs, int borrowed, const char *name,
                        void **connection, cdtx_error *err);

#endif
