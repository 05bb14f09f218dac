/* Which thing of which database an argument names: NAME/THING, as the lists show it; THING alone where only one
 * database can be meant. */
#ifndef TOOLS_WHICH_H
#define TOOLS_WHICH_H

#include "session.h"

struct which {
    char database[CDTX_NAME_MAX + 1]; /* "" when no database is given at all, which session_look tells */
    const char *thing;                /* what stands behind its name; borrowed from the word */
    int64_t id;                       /* of a numbered thing */
};

/* A number; what is "job" or "case". */
enum status which_number(const struct options *options, const char *word, const char *what, struct which *which);
/* A handler, whose name may have slashes: what stands before the first is the database only if one has that name. */
enum status which_handler(const struct options *options, const char *word, struct which *which);
/* TOPIC/GROUP, neither of which has a slash. */
struct which_group {
    struct which which;
    char topic[CDTX_NAME_MAX + 1];
    const char *group;
};
enum status which_group(const struct options *options, const char *word, struct which_group *group);

/* The database among those that are open; else prints how to give it. */
enum status which_find(const struct session *session, const struct which *which, cdtx_db **db);

#endif
