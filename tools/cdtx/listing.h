/* Rows read page by page into one table or one JSON array. */
#ifndef TOOLS_LISTING_H
#define TOOLS_LISTING_H

#include "json.h"
#include "options.h"
#include "progress.h"
#include "table.h"

struct pager;
struct session;
typedef int32_t (*pager_fn)(const struct pager *pager, uint32_t limit, cdtx_report **report, cdtx_error *err);
typedef int32_t (*question_fn)(cdtx_db *db, cdtx_report **report, cdtx_error *err);

/* A question asked again and again, each time for what is behind the last row; or one that is answered at once. */
struct pager {
    pager_fn ask;
    question_fn question;                         /* instead */
    int (*leaves_out)(const cdtx_report *report); /* rows that are no part of it; NULL: none */
    cdtx *engine;
    cdtx_db *db;
    const struct options *options;
    int32_t state;                /* as --state says; 0: not given */
    const char *subject;          /* what it is about: a handler, an audit line's subject; NULL: all */
    int64_t total;                /* how many rows are expected; 0: not known */
    int64_t after;                /* moved on by the first column of the last row, whichever it is */
    char after_gid[CDTX_GID_MAX]; /* "" at the beginning */
    int latest;                   /* all pages are read and the last rows of each database kept */
};

/* Takes --state, where it is given, as one of that look; and --after as a number. */
enum status pager_state(struct pager *pager, enum look look);
enum status pager_after(struct pager *pager);
/* Behind which gid or handle the next page begins: at first what --after says; NULL: at the first. */
const char *pager_after_gid(const struct pager *pager);
/* Lets see look at row after row of all pages, up to the first that it answers 1 for: *found is then the report that
 * stands on it, for the caller to close; else NULL. found may be NULL when that never happens. */
typedef int (*row_fn)(void *user, const cdtx_report *report);
int32_t pager_walk(struct pager *pager, row_fn see, void *user, cdtx_report **found, cdtx_error *err);

/* What can be asked page by page, in the file of its noun. */
int32_t tx_ask(const struct pager *pager, uint32_t limit, cdtx_report **report, cdtx_error *err);
int32_t case_ask(const struct pager *pager, uint32_t limit, cdtx_report **report, cdtx_error *err);
/* The lines about the pager's subject; NULL: all. */
int32_t audit_ask(const struct pager *pager, uint32_t limit, cdtx_report **report, cdtx_error *err);

struct listing {
    const char *what; /* "transactions": the array's name, and for people */
    struct table *table;
    struct json_object *array; /* instead of the table */
    uint32_t limit;
    uint32_t count;
    uint32_t first; /* row of the database that is being read, of which the latest are kept */
    int latest;
    int more; /* rows that the limit left out */
};

void listing_start(struct listing *listing, const char *what, const struct view *view, const struct options *options);
/* Reads on until the limit. */
int32_t listing_read(struct listing *listing, const struct view *view, struct pager *pager, cdtx_error *err);
/* Adds the report's current row. */
void listing_add(struct listing *listing, const struct view *view, const cdtx_report *report);
/* Forgets all but the last rows of this database, as many as the limit says. */
void listing_keep_last(struct listing *listing);

/* A whole command: the pager's question, asked of each database that the options give. */
enum status listing_pages(const struct options *options, const char *what, const struct view *view,
                          const struct pager *pager);
/* The same for a question that is answered at once. */
enum status listing_command(const struct options *options, const char *what, const struct view *view,
                            question_fn question);
/* Prints it: a table, or a document of its own. */
void listing_print(struct listing *listing);
/* The JSON array, for a larger document. */
struct json_object *listing_take(struct listing *listing);
void listing_free(struct listing *listing);

#endif
