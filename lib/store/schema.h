/* Our tables, by version. Every database carries the same ones, so that any of them can be the log. */
#ifndef CDTX_STORE_SCHEMA_H
#define CDTX_STORE_SCHEMA_H

#include "port/sql.h"

enum { SCHEMA_VERSION = 4 };

/* What the indexes of jobs are over, in these words: where a ready one stands, and when a leased one's lease ends. 15
 * bits of lane, one of clock, four of priority, 43 of due; 15 of lane, and 43 of due. A due time that is damaged stays
 * in its lane, as the first or last. */
#define SCHEMA_JOB_DUE   "min(max(due, 0), 8796093022207)"
#define SCHEMA_JOB_PLACE "((lane << 48) + (clock << 47) + ((9 - priority) << 43) + " SCHEMA_JOB_DUE ")"
#define SCHEMA_JOB_LEASE "((lane << 48) + " SCHEMA_JOB_DUE ")"

/* One statement of ours on a connection with an open transaction. */
int32_t cdtx__schema_exec(const cdtx_sql_port *port, void *connection, const char *statement,
                          const cdtx_value *arguments, uint32_t count, cdtx_rows *rows, cdtx_error *err);

/* Brings the tables to SCHEMA_VERSION inside the open transaction; a new database gets a uuid. name is for messages.
 * Errors: UNSUPPORTED (newer schema), CORRUPT (no version row worth the name), those of the port. */
int32_t cdtx__schema_upgrade(const cdtx_sql_port *port, void *connection, const cdtx_env *env, const char *name,
                             cdtx_error *err);

/* For a reader, which changes nothing: UNSUPPORTED when the tables are not those of SCHEMA_VERSION. */
int32_t cdtx__schema_check(const cdtx_sql_port *port, void *connection, const cdtx_env *env, const char *name,
                           cdtx_error *err);

#endif
