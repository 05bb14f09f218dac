/* Our tables, by version. Every database carries the same ones, so that any of them can be the log. */
#ifndef CDTX_STORE_SCHEMA_H
#define CDTX_STORE_SCHEMA_H

#include "port/sql.h"

enum { SCHEMA_VERSION = 4 };

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
