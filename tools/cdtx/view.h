/* How the columns of a report look: to people in a table or as fields, to programs as JSON. */
#ifndef TOOLS_VIEW_H
#define TOOLS_VIEW_H

#include <cdtx/admin.h>
#include <stdio.h>

enum look {
    LOOK_PLAIN,      /* as it is */
    LOOK_TX_STATE,   /* one of cdtx_tx_state, as a word; and whether it is parked */
    LOOK_JOB_STATE,  /* one of cdtx_job_state */
    LOOK_CASE_STATE, /* one of cdtx_case_state */
    LOOK_HALF_STATE, /* one of cdtx_half_state */
    LOOK_AT,         /* ms since 1970: "3m ago" */
    LOOK_SINCE,      /* so many ms ago */
    LOOK_SPAN,       /* so many ms: "2h" */
    LOOK_DUE,        /* so many ms from now: "in 4s", "2m late" */
    LOOK_ANSWERED,   /* "1/2": of the report's column `branches` */
    LOOK_YES,        /* yes or no */
    LOOK_BYTES,      /* text where view_is_text, else hexadecimal; cut in a table */
    LOOK_NAMED,      /* NAME/ID or NAME/HANDLER, where NAME is the report's database */
    LOOK_GROUP,      /* NAME/TOPIC/GROUP, of the report's columns `topic` and `group` */
    LOOK_COUNT
};

struct view_column {
    const char *name;  /* of the report's column */
    const char *title; /* for people; NULL, for the last: in a table it stands below the row, if there is something */
    enum look look;
};

/* What is looked at: the columns for people, in their order, up to one without a name; JSON has all of the report's. */
struct view {
    const struct view_column *columns;
    const char *database; /* of the rows, when several may be listed; else NULL */
    int whole;            /* a table is not cut to the width of a terminal */
};

/* The number of the report's column, or UINT32_MAX. */
uint32_t view_find(const cdtx_report *report, const char *name);
/* That column's value of the current row; and whether it is this text. */
int64_t view_int(const cdtx_report *report, const char *name);
const char *view_text(const cdtx_report *report, const char *name);
int view_says(const cdtx_report *report, const char *name, const char *text);
/* The current row's value. Control characters are escaped: what a participant wrote must not steer a terminal. */
void view_write(FILE *out, const struct view *view, const struct view_column *column, const cdtx_report *report);
int view_is_null(const struct view_column *column, const cdtx_report *report);
/* The same with more: times also in full, nothing is cut. */
void view_write_full(FILE *out, const struct view *view, const struct view_column *column, const cdtx_report *report);
int view_is_number(enum look look);
/* The word for a state, such as "COMMITTING"; NULL when look is no state or there is none of that number. */
const char *view_state(enum look look, int64_t number);
/* The number of a state's word, in any case, '-' for '_'; else prints which there are and answers 0. */
int32_t view_state_number(enum look look, const char *word);
/* A time in ms since 1970, as it looks to people. */
void view_write_ago(FILE *out, int64_t at_ms);
/* UTF-8; and without control characters other than tabs and line breaks. */
int view_is_utf8(const char *bytes, size_t length);
int view_is_text(const char *bytes, size_t length);
/* Text with what is not printable escaped; at most so many columns of a terminal, 0: all. */
void view_write_text(FILE *out, const char *bytes, size_t length, size_t columns_max);

#endif
