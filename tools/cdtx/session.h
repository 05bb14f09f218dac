/* The engine that a command looks through or acts by: always passive, so it takes up nothing and decides nothing. */
#ifndef TOOLS_SESSION_H
#define TOOLS_SESSION_H

#include <cdtx/admin.h>

#include "options.h"

struct session_database {
    const char *name;
    cdtx_db *db;
};

struct session {
    cdtx *engine;
    struct session_database databases[DATABASES_MAX + 1]; /* the log first, when there is one */
    uint32_t count;
};

/* Opens all that the options name, for reading only: whoever owns the files goes on, and nothing is made by a wrong
 * path. Prints what failed; close it whatever the answer. With log_needed a missing one is a wrong command. */
enum status session_look(struct session *session, const struct options *options, int log_needed);
/* An engine without any database. */
enum status session_none(struct session *session);
/* Opens one database for writing, in turns with others; name is "log" or that of a --db, "" when there is none. */
enum status session_act(struct session *session, const struct options *options, const char *name);
/* Opens several for writing, named as a session that has looked names them. The log, where there is one, is open beside
 * them: for reading, unless it is one of them. */
enum status session_act_on(struct session *session, const struct options *options, const char *const *names,
                           uint32_t count);
void session_close(struct session *session);
/* "log" for the database with the log. NULL when there is none of that name. */
cdtx_db *session_find(const struct session *session, const char *name);

#endif
