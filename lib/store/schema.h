/* Our tables, by version. Every database carries the same ones, so that any of them can be the log. */
#ifndef CDTX_STORE_SCHEMA_H
#define CDTX_STORE_SCHEMA_H

#include "port/sql.h"

enum { SCHEMA_VERSION = 4 };

/* What the indexes of jobs are over, in these words: where a ready one stands, and when a leased one's lease ends. A
 * bit that is set for what was put to be done at once, 15 of lane, one of clock, four of priority, 42 of due; 15 of
 * lane, and 42 of due. What is to be done at once stands behind all that waits for its time, and the urgent behind the
 * less urgent: most puts then go to the end of the index, and no backlog makes them dearer. */
#define SCHEMA_JOB_DUE "(due & 4398046511103)"
#define SCHEMA_JOB_PLACE                                                                                               \
    "(((due <= put AND clock = 0) << 62) + (lane << 47) + (clock << 46) + (priority << 42) + " SCHEMA_JOB_DUE ")"
#define SCHEMA_JOB_LEASE "((lane << 47) + " SCHEMA_JOB_DUE ")"

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
