/* Looking in and stepping in: what a person needs at three in the morning, and what the command line is made of.
 * Questions answer with a report; actions name their actor and a reason, and leave a line in the audit chain of the
 * same database in the same commit. An engine opened only to look takes up no work with the option `passive`, and an
 * embedded file that somebody else owns alone can still be read with "?read=1" in its URL.
 * Rules for all functions: cdtx/cdtx.h. All block for their turn in the database, except those on a report. */
#ifndef CDTX_ADMIN_H
#define CDTX_ADMIN_H

#include <cdtx/cdtx.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* cdtx declarations begin */

/* ---- reports ---- */

/* A cdtx_report has the rows that a question was answered with, read at one moment; the caller frees it. One thread at
 * a time. Columns stand in the order of the question's comment; later versions may add some at the end. */

/* Steps to the next row: 1 when there is one, else 0. Before the first call no row is current. */
int32_t cdtx_report_next(cdtx_report *report);
/* How many columns, and the name of each from 0; NULL past the last; static. */
uint32_t cdtx_report_columns(const cdtx_report *report);
const char *cdtx_report_name(const cdtx_report *report, uint32_t column);
/* Of the current row: one of cdtx_value_type; integers; texts and bytes, borrowed until close, NUL-terminated. Reads 0
 * and NULL as cdtx_sql_int and cdtx_sql_text do. length may be NULL. */
int32_t cdtx_report_type(const cdtx_report *report, uint32_t column);
int64_t cdtx_report_int(const cdtx_report *report, uint32_t column);
const char *cdtx_report_text(const cdtx_report *report, uint32_t column, size_t *length);
void cdtx_report_close(cdtx_report *report);

/* ---- global transactions ---- */

typedef struct cdtx_tx_filter {
    uint32_t size;
    int32_t state;     /* one of cdtx_tx_state; 0: all that have not ended */
    int32_t parked;    /* 1: only parked ones */
    uint32_t limit;    /* rows; default 100, at most 10000 */
    const char *name;  /* only those of that name; default all */
    const char *after; /* a gid: only those begun after it, to read on where a report ended */
    int64_t older_ms;  /* begun at least so long ago by the wall clock */
} cdtx_tx_filter;

/* Oldest first. Columns: gid, state, parked (why, or NULL), name, key, branches, answered (of them, in phase two),
 * attempts, began_ms (wall clock), due_in_ms (NULL: ended), error (the last, or NULL). Errors: MISUSE (no log),
 * INVALID. */
int32_t cdtx_tx_list(cdtx *engine, const cdtx_tx_filter *filter, cdtx_report **report, cdtx_error *err);
/* One row: the columns of the list, then reason (why it was rolled back), epoch, reverse_after, noes, ended_ago_ms.
 * Errors: NOT_FOUND, EXPIRED, INVALID. */
int32_t cdtx_tx_show(cdtx *engine, const char *gid, cdtx_report **report, cdtx_error *err);
/* A row for each branch: branch, participant, answered (0 or 1), payload, database (where its guard was found among the
 * databases open here, or NULL), guard (its state, or NULL). Errors: those of show. */
int32_t cdtx_tx_branches(cdtx *engine, const char *gid, cdtx_report **report, cdtx_error *err);

/* Looks at it again at once, parked or not. Errors of all four: NOT_FOUND, EXPIRED, INVALID, MISUSE (undecided: its
 * deadline decides it; or ended already), CONFLICT (it is being changed right now: look and come again). */
int32_t cdtx_tx_retry(cdtx *engine, const char *gid, const char *actor, const char *reason, cdtx_error *err);
/* Parks a decided one: tried only rarely from now on, its guards kept, a case opened. */
int32_t cdtx_tx_park(cdtx *engine, const char *gid, const char *actor, const char *reason, cdtx_error *err);
/* Ends the parking; it is tried at once and as often as others. Closes its case. */
int32_t cdtx_tx_unpark(cdtx *engine, const char *gid, const char *actor, const char *reason, cdtx_error *err);
/* Declares a parked one ended in the way it was decided: a person has done what was left. Nobody is called any more;
 * guards of branches that have not answered stay until the floor passes them, and messages that they hold until
 * cdtx_held_settle. Closes its case. */
int32_t cdtx_tx_resolve(cdtx *engine, const char *gid, const char *actor, const char *reason, cdtx_error *err);

/* ---- jobs ---- */

enum cdtx_job_state {
    CDTX_JOB_READY = 1,
    CDTX_JOB_LEASED = 2,  /* an attempt is under way */
    CDTX_JOB_DEAD = 3,    /* given up; kept until somebody acts, or for its handler's dead_retention_ms */
    CDTX_JOB_WAITING = 4, /* due, behind others of its concurrency key */
    CDTX_JOB_NEXT = 5     /* behind the live job of its unique key */
};

typedef struct cdtx_job_filter {
    uint32_t size;
    int32_t state;  /* one of cdtx_job_state; 0: all */
    uint32_t limit; /* rows; default 100, at most 10000 */
    uint32_t reserved;
    const char *handler; /* only of that handler; default all */
    int64_t after;       /* only numbers above it */
} cdtx_job_filter;

/* By number. Columns: id, handler, queue, state, priority, attempts, crashes, due_in_ms (till due, or till the lease
 * ends; NULL: dead), unique_key, concurrency_key, error, age_ms (since it was put). */
int32_t cdtx_job_list(cdtx_db *db, const cdtx_job_filter *filter, cdtx_report **report, cdtx_error *err);
/* One row: the columns of the list, then token, payload, deadline_in_ms (or NULL). Errors: NOT_FOUND. */
int32_t cdtx_job_show(cdtx_db *db, int64_t id, cdtx_report **report, cdtx_error *err);
/* A row for each attempt that ended badly, oldest first, of the last 64 KiB of them. Columns: at_ms (wall clock),
 * attempt, code (its name), error. Errors: NOT_FOUND. */
int32_t cdtx_job_history(cdtx_db *db, int64_t id, cdtx_report **report, cdtx_error *err);
/* Makes a ready or dead one due now, with its attempts and crashes counted from 0. Errors of both: NOT_FOUND, CONFLICT
 * (it is leased: somebody works on it; it is behind another of its key; or a live job has its unique key). */
int32_t cdtx_job_retry(cdtx_db *db, int64_t id, const char *actor, const char *reason, cdtx_error *err);
/* Takes a ready or dead one away for good; its payload goes into the audit line's reason only by length. */
int32_t cdtx_job_cancel(cdtx_db *db, int64_t id, const char *actor, const char *reason, cdtx_error *err);

typedef struct cdtx_redrive_filter {
    uint32_t size;
    uint32_t per_s;      /* they become due one after the other, so many a second; default 0: all at once */
    const char *handler; /* only of that handler; required */
    const char *error;   /* only those whose last error contains this text; default all */
    int64_t after, upto; /* only numbers above after, and up to upto; default all */
    int64_t most;        /* so many at most; default all */
} cdtx_redrive_filter;
/* Gives dead jobs another life, as cdtx_job_retry does for one; in steps of 1000, each one commit with its audit line.
 * *count gets how many, also when a later step fails. Those whose unique key a live job has stay dead. */
int32_t cdtx_job_redrive(cdtx_db *db, const cdtx_redrive_filter *filter, const char *actor, const char *reason,
                         int64_t *count, cdtx_error *err);

/* No attempt of that handler begins any more, in any process, until it is resumed; those under way go on. Pausing twice
 * is no error, nor is resuming what runs; the name need not be registered here. */
int32_t cdtx_handler_pause(cdtx_db *db, const char *handler, const char *actor, const char *reason, cdtx_error *err);
int32_t cdtx_handler_resume(cdtx_db *db, const char *handler, const char *actor, const char *reason, cdtx_error *err);
/* By name, all that jobs or pauses name. Columns: handler, here (1: registered in this engine), paused_ms (wall clock,
 * since when; NULL: not), ready, due (of them, now), leased, waiting (for a key of either kind), dead, oldest_ms (age
 * of the oldest that is neither done nor dead, NULL: none). Reads every job. */
int32_t cdtx_handler_list(cdtx_db *db, cdtx_report **report, cdtx_error *err);

/* ---- cases ---- */

enum cdtx_case_state { CDTX_CASE_OPEN = 1, CDTX_CASE_CLOSED = 2 };

typedef struct cdtx_case_filter {
    uint32_t size;
    int32_t state;  /* one of cdtx_case_state; 0: open ones */
    uint32_t limit; /* rows; default 100, at most 10000 */
    uint32_t reserved;
    int64_t after; /* only numbers above it */
} cdtx_case_filter;

/* What waits for a person, by number. A transaction's case is in the log (cdtx_db_log), a half message's in the
 * database of its queue. Columns: id, state, kind ("tx" or "half"), subject (the gid or handle), reason, assignee (or
 * NULL), opened_ms, closed_ms (or NULL). A case is closed by what ends its cause: unpark, resolve, settle, or the end
 * itself.
 */
int32_t cdtx_case_list(cdtx_db *db, const cdtx_case_filter *filter, cdtx_report **report, cdtx_error *err);
/* One row: the columns of the list, then evidence. Errors: NOT_FOUND. */
int32_t cdtx_case_show(cdtx_db *db, int64_t id, cdtx_report **report, cdtx_error *err);
/* Adds a note for whoever comes next. Errors: NOT_FOUND. */
int32_t cdtx_case_note(cdtx_db *db, int64_t id, const char *actor, const char *note, cdtx_error *err);
/* Says who looks after it. Errors: NOT_FOUND, CONFLICT (it is closed). */
int32_t cdtx_case_assign(cdtx_db *db, int64_t id, const char *assignee, const char *actor, const char *reason,
                         cdtx_error *err);

/* ---- audit ---- */

typedef struct cdtx_audit_filter {
    uint32_t size;
    uint32_t limit;      /* rows; default 100, at most 10000 */
    const char *subject; /* "tx GID", "job ID", "handler NAME", "half HANDLE", "group TOPIC/GROUP", "case ID" */
    int64_t after;       /* only numbers above it */
} cdtx_audit_filter;

/* By number. Columns: id, at_ms, actor, action, subject, reason, hash (hexadecimal). */
int32_t cdtx_audit_list(cdtx_db *db, const cdtx_audit_filter *filter, cdtx_report **report, cdtx_error *err);
/* Recomputes the chain behind line *lines, whose hash is head, and moves both on: each line's SHA-256 over the hash
 * before it and its own columns. With *lines 0 it begins at the start, whatever head holds; limit is how many lines to
 * go at most, 0: to the end, where *lines is how many there are and head the last hash in hexadecimal (all zeroes when
 * there is none). Both kept elsewhere, and given again later, they also show whether the end was cut off or written
 * anew. Errors: CORRUPT (the first broken line is named; or line *lines is not there with that hash), INVALID. */
int32_t cdtx_audit_verify(cdtx_db *db, uint32_t limit, int64_t *lines, char head[65], cdtx_error *err);

/* ---- doctor ---- */

/* Looks at everything this engine has open. Columns: level ("ok", "note" or "problem"), database (or NULL), check,
 * finding, advice (or NULL). Checks: settings, version of SQLite and its WAL bug, schema, clock, owner; handlers,
 * groups and checkers that jobs wait for and nobody has here, pauses, dead letters, schedules that do not fire, half
 * messages that are parked or not resolved for long, messages held for a gid that is not open, topics that keep
 * messages without a group; guards whose gid is not in this log, transactions that are open for long or parked, cases,
 * audit chain. deep: 1 also reads every page of each database, which holds it for as long as that takes. What cannot be
 * looked at is a problem in the report, not an error. */
int32_t cdtx_doctor(cdtx *engine, uint32_t deep, cdtx_report **report, cdtx_error *err);

/* cdtx declarations end */

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
