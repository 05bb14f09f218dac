/* libcdtx: keeps data consistent when one business step writes to more than one place.
 * This header holds the engine, databases, local and global transactions, work and errors; each pattern has its own.
 *
 * Rules that hold for every function, unless its comment says otherwise:
 *  - The result is 0 or a negative code of cdtx_code. On failure the outputs are untouched and *err, if not NULL, holds
 *    the code and one sentence naming the thing; on success *err is untouched.
 *  - Every function may be called from any thread of the process that opened the engine. In a forked child each
 *    answers CDTX_MISUSE; so does every call on a child handle (database, transaction, work) after cdtx_close.
 *  - Names are NUL-terminated UTF-8 of 1 to CDTX_NAME_MAX bytes without control characters; payloads are pointer +
 *    length. Both are copied before return. Other names, and negative or oversized numbers, answer CDTX_INVALID.
 *  - Option structs start with their size; zero in a field means its default; NULL options mean all defaults.
 *  - Times are milliseconds in int64_t, 0 <= t <= CDTX_TIME_MAX_MS.
 *  - Functions named _close, _free or _drop accept NULL; handles may be closed in any order.
 *  - "Blocks" means: until the disk has synced what the call promises. Calls not said to block do not.
 * The declarations between the two marker comments are plain C, readable by cffi as they stand. */
#ifndef CDTX_H
#define CDTX_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Ten years in milliseconds; no time-out, delay or clock difference may be larger. */
#define CDTX_TIME_MAX_MS INT64_C(315360000000)

/* cdtx declarations begin */

typedef struct cdtx cdtx;
typedef struct cdtx_db cdtx_db;
typedef struct cdtx_sql cdtx_sql;
typedef struct cdtx_tx cdtx_tx;
typedef struct cdtx_work cdtx_work;
/* Rows that a question was answered with: cdtx/admin.h says how to read them. */
typedef struct cdtx_report cdtx_report;
/* What a value of SQL or of a report is. */
enum cdtx_value_type { CDTX_NULL = 0, CDTX_INT = 1, CDTX_REAL = 2, CDTX_TEXT = 3, CDTX_BLOB = 4 };

typedef struct cdtx_job_options cdtx_job_options;

struct cdtx_env;
struct cdtx_host_port;
struct cdtx_link;
struct cdtx_sql_port;

enum {
    CDTX_NAME_MAX = 127,
    CDTX_GID_MAX = 64,
    CDTX_BRANCHES_MAX = 62,
    CDTX_PRIORITY_MAX = 9,
    CDTX_PAYLOAD_DEFAULT = 65536,
    CDTX_MANY_MAX = 4096
};

/* What the caller must do next. */
enum cdtx_code {
    CDTX_OK = 0,
    CDTX_REFUSED = -1,    /* a definite no: it did not happen and will not; do not repeat */
    CDTX_CONFLICT = -2,   /* something else stands there already; it did not happen */
    CDTX_BUSY = -3,       /* not now, it did not happen; come back after err->retry_after_ms */
    CDTX_TIMEOUT = -4,    /* its time ran out first; it did not happen */
    CDTX_UNKNOWN = -5,    /* it may have happened; ask again with the same gid or key */
    CDTX_INVALID = -6,    /* an argument is wrong; nothing was done */
    CDTX_MISUSE = -7,     /* the call is not allowed here: wrong state, closed handle, forked child, inside a closure */
    CDTX_NOT_FOUND = -8,  /* no such gid, handler, job or database */
    CDTX_EXPIRED = -9,    /* it existed; its record is no longer kept */
    CDTX_LIMIT = -10,     /* over a limit that the text names; nothing was done */
    CDTX_NO_MEMORY = -11, /* the engine's memory function said no; it did not happen */
    CDTX_IO = -12,        /* the database could not read or write (full, read-only, I/O error); it did not happen */
    CDTX_CORRUPT = -13,   /* stored or received bytes are not what they must be; look before going on */
    CDTX_UNSUPPORTED = -14, /* not in this build, or not on this database */
    CDTX_STOPPED = -15,     /* the database stopped itself (failed sync, lost ownership): reopen; it did not happen */
    CDTX_SQL = -16,         /* the database refused a statement (syntax, constraint, type); it did not happen */
    CDTX_USER = -17         /* reserved for a callback's own failure; carried through unchanged */
};

/* Filled on failure. Frozen: 512 bytes, nothing to free, may live on any stack. */
typedef struct cdtx_error {
    int32_t code;
    int32_t retry_after_ms; /* with CDTX_BUSY: when to come back; else 0 */
    char text[504];         /* NUL-terminated UTF-8, one sentence */
} cdtx_error;

/* The library's version, "major.minor.patch"; static. */
const char *cdtx_version(void);
/* "CDTX_REFUSED" and so on; "CDTX_?" for a number that is no code; static. */
const char *cdtx_code_name(int32_t code);
/* Did the thing that answered this code happen? 1 yes, 0 no, -1 it may have (UNKNOWN, USER, and numbers that are no
 * code). */
int32_t cdtx_happened(int32_t code);
/* For closures and handlers, whose err is never NULL: fills *err (may be NULL) with code and text, cut to what fits at
 * a UTF-8 boundary, and returns code. */
int32_t cdtx_error_set(cdtx_error *err, int32_t code, const char *text);
/* 1 when this build can open URLs of that scheme ("sqlite"), else 0. */
int32_t cdtx_has(const char *scheme);

/* ---- engine ---- */

/* Where the engine keeps its log and what it may use. */
typedef struct cdtx_options {
    uint32_t size;
    uint32_t threads;             /* threads that only do cdtx_run, 0 to 64; default none: the host lends its own */
    const char *log;              /* URL of the database with the log; NULL: this engine only serves participants */
    const struct cdtx_env *env;   /* time, memory, waiting; default the operating system's (cdtx/port.h) */
    const struct cdtx_link *link; /* how calls reach participants; default: those of this engine (cdtx/port.h) */
    const struct cdtx_sql_port *const *adapters; /* further adapters by URL scheme, asked before the built-in ones */
    uint32_t adapter_count;
    uint32_t payload_max;     /* bytes of one payload, result or job; default CDTX_PAYLOAD_DEFAULT, at most 16 MiB */
    uint32_t open_max;        /* global transactions begun here and in work at once; default 10000; more is BUSY */
    uint32_t group_max;       /* local transactions in one synced commit; default 512 */
    int64_t call_timeout_ms;  /* one call to a participant; default 2000; then it is repeated */
    int64_t wait_ms;          /* longest wait for a database that an open handle holds; default 10000; then BUSY */
    int64_t backoff_min_ms;   /* phase two, first repeat at the earliest; default 100 */
    int64_t backoff_max_ms;   /* phase two, cap of the exponential back-off; default 30000 */
    const char *coordinator;  /* "local" (default) or "loopback", its twin behind encoded calls */
    uint32_t passive;         /* 1: looks and steps in only (cdtx/admin.h): begins nothing, takes up nothing */
    uint32_t participant_max; /* of open_max, those that one participant may hold while it does not answer; default
                                 half; more is BUSY, so that a dead participant leaves room for the others */
    uint32_t park_attempts;   /* at phase two without an end; default 30; then it is parked and becomes a case */
    uint32_t waiting_max;     /* local transactions that wait for one database; default 20000; more is BUSY */
    int64_t park_retry_ms;    /* between attempts at a parked one; default 600000 */
    int64_t retention_ms;     /* the outcome of an ended one can be asked for so long; default 7 days; then EXPIRED */
    int64_t closure_ms;       /* a closure or handler that holds its database longer raises an alarm; default 1000 */
} cdtx_options;

/* Opens an engine; with a log it opens that database, brings its tables up to date and takes up what a dead
 * process left: undecided global transactions are rolled back, decided ones are driven to their end by cdtx_run.
 * Blocks. Errors: BUSY (another process owns the log; the text names it), IO, CORRUPT, UNSUPPORTED (no adapter for the
 * URL, or a schema newer than this library), INVALID, NO_MEMORY. */
int32_t cdtx_open(const cdtx_options *options, cdtx **engine, cdtx_error *err);
/* Ends the engine: cdtx_run and cdtx_take return, waiting calls answer UNKNOWN or STOPPED, own threads are joined, all
 * databases are closed. Blocks until every call inside the engine has returned, so never call it from a callback. Child
 * handles stay valid to close. */
void cdtx_close(cdtx *engine);

/* Does the engine's work on the calling thread for for_ms (0: just what is due now; -1: until cdtx_stop): commits
 * groups, runs handlers, drives global transactions, repeats what failed. Any number of threads may do so. Errors:
 * STOPPED when a database of the engine has stopped itself. */
int32_t cdtx_run(cdtx *engine, int64_t for_ms, cdtx_error *err);
/* Makes every cdtx_run and cdtx_take that is inside return soon; later ones work again. May be called from a signal
 * handler's thread, but not from a signal handler. */
void cdtx_stop(cdtx *engine);

/* Like cdtx_run, until no global transaction of this engine's log is open: for tests and for an orderly end. Blocks.
 * Errors: TIMEOUT (some are still open after for_ms), STOPPED, MISUSE (no log, or inside a closure). */
int32_t cdtx_drain(cdtx *engine, int64_t for_ms, cdtx_error *err);

enum { CDTX_HISTOGRAM_BUCKETS = 40 };

/* How often values came: buckets[0] counts zeroes, buckets[i] those from 2^(i-1) to below 2^i, the last one all above.
 * Frozen. */
typedef struct cdtx_histogram {
    uint64_t count;
    uint64_t sum;
    uint64_t max;
    uint64_t buckets[40];
} cdtx_histogram;
/* A value that at least that share (0.0 to 1.0) of all was not above: the top of a bucket, and never above max. 0 when
 * nothing came. */
uint64_t cdtx_histogram_quantile(const cdtx_histogram *histogram, double share);

/* What the engine counts, since it was opened, and what is there now. Snapshots; they need not fit each other exactly.
 * Microseconds in histograms ending in _us. */
typedef struct cdtx_metrics {
    uint32_t size;
    uint32_t ask;   /* set by the caller; 1: waits for its turn in each database to fill the gauges of databases */
    uint64_t begun; /* global transactions, by this engine */
    uint64_t committed;
    uint64_t rolled_back;
    uint64_t reversed;
    uint64_t parked;
    uint64_t groups;      /* synced commits */
    uint64_t riders;      /* local transactions in them */
    uint64_t calls;       /* calls sent to participants */
    uint64_t alarms;      /* things that must not happen and were refused; each also a log line */
    uint64_t jobs_run;    /* attempts begun here */
    uint64_t jobs_failed; /* of them, ended with another answer than 0 */
    uint64_t jobs_dead;   /* jobs given up */
    uint64_t in_work;     /* global transactions in work here now */
    /* Gauges of databases; -1 when not asked, or when one could not be asked in time. */
    int64_t log_open;          /* global transactions that have not ended */
    int64_t log_decided;       /* of them, decided */
    int64_t log_parked;        /* of them, parked */
    int64_t log_due;           /* of them, due now: waiting for an engine to take them up */
    int64_t oldest_ms;         /* age of the oldest that has not ended, by the wall clock; 0: none */
    int64_t jobs_due;          /* ready jobs that are due now, in all databases open here; counted to 100000 in each */
    cdtx_histogram sync_us;    /* the commit of a group */
    cdtx_histogram group_size; /* its riders */
    cdtx_histogram decide_us;  /* a global transaction from begin to its durable decision */
    cdtx_histogram end_us;     /* from begin to the last answer of phase two, if its first attempt was enough */
    cdtx_histogram call_us;    /* a call to a participant, from sending to its answer */
} cdtx_metrics;
/* Blocks only with ask. Errors: INVALID (the size). */
int32_t cdtx_metrics_read(cdtx *engine, cdtx_metrics *metrics, cdtx_error *err);

/* ---- databases and local transactions ---- */

/* Opens the database at url ("sqlite:/path/file.db", with "?share=1" to let other processes take turns) under a name of
 * the engine's. Creates our tables in it if missing. Blocks. Errors: BUSY (owned by another process, named), CONFLICT
 * (this name, or this very database under another name, is open here already), IO, CORRUPT (no database, or damaged),
 * UNSUPPORTED, INVALID. */
int32_t cdtx_db_open(cdtx *engine, const char *name, const char *url, cdtx_db **db, cdtx_error *err);
/* The database with the log, named "log"; business tables may live in it too. Close it like any handle.
 * Errors: NOT_FOUND when the engine has no log. */
int32_t cdtx_db_log(cdtx *engine, cdtx_db **db, cdtx_error *err);
/* Gives the handle back; the engine itself keeps the database open until cdtx_close, since handlers may need it. */
void cdtx_db_close(cdtx_db *db);

/* One local transaction as a closure: called with an open transaction; 0 commits, another code rolls back and is
 * returned by cdtx_local with the closure's err. It may share its synced commit with others, so it may be run more than
 * once and on any thread that is inside a call of this engine; it must have no effect outside sql and must
 * not call anything that waits for a commit (that answers MISUSE). sql and err are never NULL. */
typedef int32_t (*cdtx_local_fn)(cdtx_sql *sql, void *user, cdtx_error *err);
/* Runs it and blocks until it is durable. Errors: the closure's; UNKNOWN when the sync failed (the database stops
 * itself); BUSY (held by an open handle for wait_ms), STOPPED, IO, SQL. */
int32_t cdtx_local(cdtx_db *db, cdtx_local_fn closure, void *user, cdtx_error *err);

/* One local transaction as a handle, alone in its commit; everybody else on that database waits. Blocks for its turn.
 * Not inside a closure. Errors: BUSY, STOPPED, MISUSE, IO. */
int32_t cdtx_sql_begin(cdtx_db *db, cdtx_sql **sql, cdtx_error *err);
/* Blocks. Errors: UNKNOWN (failed sync), MISUSE (ended already, or not a handle), IO, SQL (a deferred constraint);
 * after an error other than MISUSE the transaction has ended. */
int32_t cdtx_sql_commit(cdtx_sql *sql, cdtx_error *err);
int32_t cdtx_sql_rollback(cdtx_sql *sql, cdtx_error *err);
/* Frees the handle; one still open is rolled back. Only for handles of cdtx_sql_begin. */
void cdtx_sql_close(cdtx_sql *sql);

/* Arguments for the next cdtx_sql_exec or cdtx_sql_query, in order of its ? marks; copied. A failed bind is
 * reported by that next call. Text and blob are pointer + length; a NULL pointer binds NULL. */
void cdtx_sql_bind_null(cdtx_sql *sql);
void cdtx_sql_bind_int(cdtx_sql *sql, int64_t value);
void cdtx_sql_bind_real(cdtx_sql *sql, double value);
void cdtx_sql_bind_text(cdtx_sql *sql, const char *text, size_t length);
void cdtx_sql_bind_blob(cdtx_sql *sql, const void *bytes, size_t length);
/* Runs one statement; *changes, if not NULL, gets the number of rows it changed. Transaction statements, ATTACH,
 * settings, and writes to tables named cdtx_* answer MISUSE. Other errors: SQL, INVALID (the number of arguments), IO,
 * LIMIT, NO_MEMORY, CORRUPT, MISUSE after the transaction was ended, and SQL after a failed statement has ended it. */
int32_t cdtx_sql_exec(cdtx_sql *sql, const char *statement, int64_t *changes, cdtx_error *err);
/* Runs one statement and keeps its rows, at most 16 MiB (LIMIT), until the next exec, query or end of sql. */
int32_t cdtx_sql_query(cdtx_sql *sql, const char *statement, cdtx_error *err);
/* Steps to the next row: 1 when there is one, else 0. Before the first call no row is current. */
int32_t cdtx_sql_next(cdtx_sql *sql);
/* Columns of the current row from 0; NULL, a missing column and no row read as 0, 0.0 and NULL with length 0. Pointers
 * are borrowed and live as long as the rows; text is NUL-terminated. length may be NULL. */
int64_t cdtx_sql_int(cdtx_sql *sql, uint32_t column);
double cdtx_sql_real(cdtx_sql *sql, uint32_t column);
const char *cdtx_sql_text(cdtx_sql *sql, uint32_t column, size_t *length);
const void *cdtx_sql_blob(cdtx_sql *sql, uint32_t column, size_t *length);
int32_t cdtx_sql_is_null(cdtx_sql *sql, uint32_t column);

/* ---- databases of the host: it lends connections ---- */

/* Names a database that the host itself opens; the engine never opens that file, and works in it only on connections
 * that the host lends (port, copied: cdtx/port.h). Nothing is done in it yet. Close the handle with cdtx_db_close.
 * Participants and handlers may be registered at once; what comes for them waits for a lent turn. Errors: CONFLICT (the
 * name is taken), UNSUPPORTED (a dialect not served yet), INVALID, NO_MEMORY. */
int32_t cdtx_db_host(cdtx *engine, const char *name, const struct cdtx_host_port *port, cdtx_db **db, cdtx_error *err);
/* Makes our tables in it, or brings them up to date, in a transaction of its own on that connection; once in the
 * engine's life, and again after a turn has answered STOPPED. Whoever had opened that file as its only owner stops
 * itself. Blocks. Errors: CONFLICT (it is this engine's log, or open here under another name, or not the database that
 * was prepared before), UNSUPPORTED (a setting that would lose commits; the text says what to set), MISUSE (not a
 * host's database, a transaction is open on the connection, inside a closure), BUSY (its lock, for wait_ms; or another
 * thread has the turn), UNKNOWN, STOPPED, IO, SQL, CORRUPT. */
int32_t cdtx_host_prepare(cdtx_db *db, void *connection, cdtx_error *err);
/* A lent turn: like cdtx_run, and besides the engine's own work in that database is done on that connection, on this
 * thread: participants' calls, claims and ends of jobs, closures of cdtx_local. No transaction may be open on it, and
 * the host keeps its hands off it meanwhile, except in handlers that are not in_local. Without turns that work waits,
 * as for a database that is down, and nothing else waits with it. Errors: BUSY (another thread has the turn), CONFLICT
 * (not the database that was prepared), STOPPED (a commit may or may not have happened, the connection is lost, or
 * somebody opened the file as its owner: prepare it again on a new connection), UNSUPPORTED, MISUSE, INVALID. */
int32_t cdtx_host_run(cdtx_db *db, void *connection, int64_t for_ms, cdtx_error *err);
/* A local transaction that the host has open on that connection: *sql serves cdtx_sql_exec and the rest, cdtx_job_put
 * and cdtx_work_done until the host commits or rolls back, from one thread at a time. What it does there is durable
 * exactly when the host's commit is. Lend behind the transaction's first write (BEGIN IMMEDIATE), or a later write may
 * be BUSY. Errors: MISUSE (not prepared, no transaction open, lent already: what was lent before counts as forgotten),
 * CONFLICT, UNSUPPORTED (as cdtx_host_prepare), STOPPED (the file has another owner now), NO_MEMORY, IO, SQL. */
int32_t cdtx_lend(cdtx_db *db, void *connection, cdtx_sql **sql, cdtx_error *err);
/* Tells how a lent transaction ended, after it did and before the connection is used again, and frees the handle:
 * outcome 0 committed, CDTX_REFUSED rolled back, CDTX_UNKNOWN nobody knows. A settle that is forgotten is an alarm as
 * soon as it is noticed. Errors: MISUSE (the transaction is still open, the handle is in use, or not lent: it stays;
 * settled already or too late; committed after a statement had ended the transaction), INVALID (it stays). */
int32_t cdtx_lent_settle(cdtx_sql *sql, int32_t outcome, cdtx_error *err);

/* ---- global transactions ---- */

enum cdtx_tx_state {
    CDTX_TX_ACTIVE = 1,       /* begun, undecided; its deadline rolls it back */
    CDTX_TX_COMMITTING = 2,   /* decided; branches are being confirmed */
    CDTX_TX_ROLLING_BACK = 3, /* decided; branches are being cancelled */
    CDTX_TX_COMMITTED = 4,    /* ended */
    CDTX_TX_ROLLED_BACK = 5,  /* ended */
    CDTX_TX_REVERSING = 6,    /* decided again, by its policy: confirms said no, what was confirmed is being reversed */
    CDTX_TX_REVERSED = 7      /* ended */
};

enum cdtx_tx_wait_for {
    CDTX_WAIT_ENDED = 0,  /* also for the first attempt at all confirms or cancels */
    CDTX_WAIT_DECIDED = 1 /* only for the durable decision; the rest goes on in cdtx_run */
};

typedef struct cdtx_tx_options {
    uint32_t size;
    int32_t wait_for;          /* what run, commit and rollback wait for; CDTX_WAIT_ENDED */
    const char *name;          /* what kind of business step, for people; default "tx" */
    const char *key;           /* business key: the same key joins the same global transaction; default none */
    int64_t timeout_ms;        /* global: from begin to decision; default 10000; then it is rolled back */
    uint64_t tag;              /* comes back with the completion of cdtx_tx_submit */
    int64_t branch_timeout_ms; /* from a branch's first try to its answer; default timeout_ms; then it is rolled back */
    uint32_t reverse_after;    /* policy: after so many definite noes from confirms, take it back: what was confirmed
                                  is reversed, and the outcome is REVERSED. Every participant needs on_reverse.
                                  COMMITTED is answered only at the end, so wait_for must be CDTX_WAIT_ENDED.
                                  Default 0: never */
    uint32_t reserved;
} cdtx_tx_options;

/* A handle for one global transaction; nothing is durable yet. Errors: MISUSE (the engine has no log), INVALID,
 * NO_MEMORY. */
int32_t cdtx_tx_new(cdtx *engine, const cdtx_tx_options *options, cdtx_tx **tx, cdtx_error *err);
/* Frees the handle. One begun step by step and undecided is rolled back by cdtx_run; a submitted one goes on. */
void cdtx_tx_close(cdtx_tx *tx);

/* Declared: name all branches first, then run or submit. A branch is a participant's name and what it gets as payload.
 * Errors: MISUSE (begun already), LIMIT (payload, CDTX_BRANCHES_MAX), INVALID, NO_MEMORY. */
int32_t cdtx_tx_add(cdtx_tx *tx, const char *participant, const void *payload, size_t length, cdtx_error *err);
/* Hooks: a job that is put into the log's database by the decision itself, in the same commit, so it runs exactly if
 * the transaction was committed, or rolled back (taken back by its policy counts as that; under the policy a commit is
 * certain, and its hooks are put, only at the end). What becomes of the job never touches the transaction. Register its
 * handler on the database of cdtx_db_log; there cdtx_work_gid tells whose hook it is. options as for cdtx_job_put,
 * without unique_key and at_ms; delay_ms counts from the decision. Before run, submit or begin it is kept for them and
 * goes with them; behind begin it blocks until it is recorded, and after an error the transaction can only be rolled
 * back. A transaction that joined another by its key keeps that one's hooks. Errors: LIMIT (16 hooks, payload), REFUSED
 * (decided already, or joined), MISUSE, INVALID, NO_MEMORY; behind begin also those of cdtx_tx_try. */
int32_t cdtx_tx_after_commit(cdtx_tx *tx, const char *handler, const void *payload, size_t length,
                             const cdtx_job_options *options, cdtx_error *err);
int32_t cdtx_tx_after_rollback(cdtx_tx *tx, const char *handler, const void *payload, size_t length,
                               const cdtx_job_options *options, cdtx_error *err);

/* Begins, calls every try, decides, and by default waits for the first attempt at phase two. Blocks. 0: committed,
 * durably. Errors: REFUSED or what else a try said (rolled back), TIMEOUT (rolled back), NOT_FOUND (no such
 * participant, nothing begun), UNKNOWN (ask with cdtx_tx_wait), BUSY (open_max), MISUSE, IO, STOPPED. With a key that
 * is known already it waits for that transaction's decision and answers its outcome. */
int32_t cdtx_tx_run(cdtx_tx *tx, cdtx_error *err);
/* The same without waiting: work is done by cdtx_run or cdtx_take, and one completion with the tag comes from
 * cdtx_take. Errors that come at once: NOT_FOUND, BUSY, MISUSE, INVALID. */
int32_t cdtx_tx_submit(cdtx_tx *tx, cdtx_error *err);

/* Step by step: begin, then call tries one at a time, then decide. Blocks. After begin with a known key the handle has
 * joined: cdtx_tx_try and commit answer by that transaction's state. */
int32_t cdtx_tx_begin(cdtx_tx *tx, cdtx_error *err);
/* Registers one branch durably, then calls its try and waits for the answer. 0: the try succeeded. Errors: REFUSED (the
 * participant's definite no, or the transaction is decided already), TIMEOUT, NOT_FOUND, LIMIT, MISUSE, UNKNOWN. After
 * any of them the transaction can only be rolled back. */
int32_t cdtx_tx_try(cdtx_tx *tx, const char *participant, const void *payload, size_t length, cdtx_error *err);
/* Decides. Blocks. commit: 0 committed; REFUSED (a try failed, so it was rolled back), TIMEOUT (the deadline came
 * first, rolled back), UNKNOWN, MISUSE (not begun, or decided by an earlier call on this handle). rollback: 0 rolled
 * back; REFUSED when it is committed already. */
int32_t cdtx_tx_commit(cdtx_tx *tx, cdtx_error *err);
int32_t cdtx_tx_rollback(cdtx_tx *tx, cdtx_error *err);

/* The gid as text, borrowed until close; "" before it is begun. */
const char *cdtx_tx_gid(cdtx_tx *tx);
/* What the try of branch i (from 0, in the order added) answered; borrowed until close; NULL and 0 while none. */
const void *cdtx_tx_result(cdtx_tx *tx, uint32_t branch, size_t *length);

/* The state of a gid now, one of cdtx_tx_state. Blocks. Errors: NOT_FOUND (never begun), EXPIRED (ended, no longer
 * kept), INVALID (no gid of this log), UNKNOWN (the log could not be asked). */
int32_t cdtx_tx_query(cdtx *engine, const char *gid, int32_t *state, cdtx_error *err);
/* Waits up to for_ms until the gid has ended, helping on the calling thread; *state is its last known state either way.
 * Errors: TIMEOUT (not ended in time), and those of query. */
int32_t cdtx_tx_wait(cdtx *engine, const char *gid, int64_t for_ms, int32_t *state, cdtx_error *err);
/* The gid that a business key belongs to. Errors: NOT_FOUND, INVALID, UNKNOWN. */
int32_t cdtx_tx_find(cdtx *engine, const char *key, char gid[64], cdtx_error *err);

/* ---- work: jobs and completions ---- */

/* Answers one job: 0 done; REFUSED: never try again, the job is dead; another code: again after back-off. With in_local
 * the handler runs inside a local transaction of the job's database (cdtx_work_sql), under the rules of cdtx_local_fn,
 * and what it wrote is durable exactly when the job is done; else it runs alone, at least once. */
typedef int32_t (*cdtx_handler_fn)(cdtx_work *work, void *user, cdtx_error *err);

typedef struct cdtx_handler_options {
    uint32_t size;
    int32_t in_local;        /* 1: inside a local transaction; 0: plain */
    const char *queue;       /* default "default" */
    cdtx_handler_fn handler; /* NULL: pulled by cdtx_take */
    void *user;
    void (*drop)(void *user);  /* called once when the engine no longer needs user; may be NULL */
    uint32_t attempts_max;     /* default 20; then the job is dead */
    uint32_t crashes_max;      /* attempts whose process died or lost its lease; default 3; then the job is dead */
    int64_t lease_ms;          /* default 30000; a job not settled by then may be given to another */
    int64_t backoff_min_ms;    /* default 1000 */
    int64_t backoff_max_ms;    /* default 600000 */
    int64_t dead_retention_ms; /* dead ones are kept so long; default 0: until a person acts */
    uint32_t running_max;      /* attempts under way at a time, of all engines; default 0: no limit */
    uint32_t key_running_max;  /* the same for jobs of one concurrency key; default 1 */
    uint32_t rate_per_s;       /* attempts that this engine begins in a second; default 0: no limit */
    int32_t in_order;          /* 1: jobs of one concurrency key run one by one in the order of their numbers; one
                                  that waits for its next attempt holds the later ones up, a dead one does not */
    cdtx_db *local_db;         /* with in_local: the database of that local transaction; default the job's own. In
                                  another one a once-only mark makes sure that it takes effect once; while
                                  that lets nothing in, no attempt is counted */
} cdtx_handler_options;

/* Registers a handler for jobs in db by name; jobs of other names are left alone. Names that begin with "cdtx." are the
 * library's own. Errors: CONFLICT (name taken), INVALID, MISUSE (a local_db of another engine), NO_MEMORY. */
int32_t cdtx_handler_add(cdtx_db *db, const char *name, const cdtx_handler_options *options, cdtx_error *err);

/* What becomes of a put whose unique key a live job has already. While an attempt at that job is under way, what the
 * last three ask for is a job of its own behind it, which runs when it is done or dead; there is at most one, and it
 * goes when the live one is replaced between attempts. A replaced one that has been attempted gets a new number. */
enum cdtx_unique_policy {
    CDTX_UNIQUE_REJECT = 0,  /* CONFLICT */
    CDTX_UNIQUE_REPLACE = 1, /* payload, times and priority are those of the new put; attempts count from 0 */
    CDTX_UNIQUE_KEEP = 2,    /* the live one stays as it is */
    CDTX_UNIQUE_DEBOUNCE = 3 /* like REPLACE: with delay_ms it runs once, so long after the last put */
};

struct cdtx_job_options {
    uint32_t size;
    int32_t priority;            /* 0 to CDTX_PRIORITY_MAX, higher first */
    const char *queue;           /* default "default" */
    int64_t delay_ms;            /* not before so long from now, by the database's own durable clock */
    int64_t at_ms;               /* not before this wall-clock time, ms since 1970 UTC; not both */
    const char *unique_key;      /* at most one live job of a handler has it */
    const char *concurrency_key; /* at most key_running_max jobs with it run at a time */
    int32_t unique_policy;       /* one of cdtx_unique_policy */
    uint32_t reserved;
    int64_t deadline_ms;     /* not done so long from now: dead; default 0: none */
    int64_t debounce_max_ms; /* with DEBOUNCE and delay_ms: put off until so long after the first put at most; default
                                no end */
};

/* Puts a job; it exists exactly when sql commits. *id, if not NULL, is its number in that database, or that of the live
 * job which stands for it by its unique_policy. Errors: CONFLICT (the unique key), INVALID, LIMIT, MISUSE, and those of
 * cdtx_sql_exec. */
int32_t cdtx_job_put(cdtx_sql *sql, const char *handler, const void *payload, size_t length,
                     const cdtx_job_options *options, int64_t *id, cdtx_error *err);

/* Many jobs of one handler with the same options, numbered from *first_id on without a gap; count is 1 to
 * CDTX_MANY_MAX. Of more than one none may have a unique_key, for the second would conflict with the first. After an
 * error roll sql back. */
typedef struct cdtx_bytes {
    const void *bytes;
    size_t length;
} cdtx_bytes;
int32_t cdtx_job_put_many(cdtx_sql *sql, const char *handler, const cdtx_bytes *payloads, uint32_t count,
                          const cdtx_job_options *options, int64_t *first_id, cdtx_error *err);

/* One piece of work: a job for a handler registered without a function, or the completion of a submitted transaction.
 * Does the engine's work meanwhile, up to for_ms (0: what is there now; -1: until cdtx_stop). *work is NULL when none
 * came. Every work must go to cdtx_settle. Blocks. Errors: STOPPED (none came, and a database of the engine has stopped
 * itself), MISUSE. */
int32_t cdtx_take(cdtx *engine, int64_t for_ms, cdtx_work **work, cdtx_error *err);
/* The same for many: waits for the first, and takes with it what else is there, at most `most` (1 to CDTX_MANY_MAX).
 * *count is 0 when none came. */
int32_t cdtx_take_many(cdtx *engine, int64_t for_ms, cdtx_work **works, uint32_t most, uint32_t *count,
                       cdtx_error *err);
/* Readable when cdtx_take(engine, 0, ...) has something to do; for poll or epoll, never to be read. Owned by the
 * engine. Errors: UNSUPPORTED when the environment has no such descriptor. */
int32_t cdtx_fd(cdtx *engine, int32_t *fd, cdtx_error *err);
/* Answers the work and frees it, whatever the result. code as for cdtx_handler_fn; reason (or NULL) is kept as the last
 * error. Blocks. Errors: CONFLICT (lease lost: another has the job; nothing changed), BUSY (the database was held for
 * wait_ms: nothing is written, and the lease runs out), UNKNOWN, STOPPED. */
int32_t cdtx_settle(cdtx_work *work, int32_t code, const char *reason, cdtx_error *err);
/* The same for many of one engine: their ends share a synced commit. codes NULL: all 0; reason is that of every one;
 * results (may be NULL) gets what each met. The first failure is also answered; the others are settled all the same.
 * INVALID and MISUSE (a NULL, two engines) settle nothing. */
int32_t cdtx_settle_many(cdtx_work *const *works, const int32_t *codes, const char *reason, uint32_t count,
                         int32_t *results, cdtx_error *err);
/* Marks a job done inside the caller's own local transaction on the job's database, so that its effects and its end
 * commit together; settle with 0 afterwards only frees. Errors: CONFLICT (lease lost: roll back), MISUSE (other
 * database, no job). */
int32_t cdtx_work_done(cdtx_work *work, cdtx_sql *sql, cdtx_error *err);

/* The attempt goes on: its lease ends lease_ms from now. For plain and pulled jobs, from any thread until it is
 * settled; call it every third of lease_ms. Blocks. Errors: CONFLICT (the lease was lost: stop, somebody else may have
 * the job), MISUSE (inside a local transaction, or no job), UNKNOWN, STOPPED. */
int32_t cdtx_work_heartbeat(cdtx_work *work, cdtx_error *err);
/* For a handler that knows better than the back-off when to try again ("Retry-After: 30"): fills err with reason and
 * answers CDTX_BUSY, which the handler returns, or cdtx_settle is given. The next attempt is due delay_ms after the end
 * of this one, and the back-off does not grow by it; the attempt counts. Errors: INVALID, MISUSE (no job). */
int32_t cdtx_work_retry_after(cdtx_work *work, int64_t delay_ms, const char *reason, cdtx_error *err);
/* The same for "not yet", which is no failure: the attempt does not count. Until the job's deadline at most. */
int32_t cdtx_work_snooze(cdtx_work *work, int64_t delay_ms, const char *reason, cdtx_error *err);

enum cdtx_work_kind { CDTX_WORK_JOB = 1, CDTX_WORK_COMPLETION = 2 };
int32_t cdtx_work_kind(const cdtx_work *work);
/* Jobs: handler, payload, number, attempt from 1, and a token that rises with every lease: an idempotency fence for
 * effects outside any database of ours. Pointers are borrowed until settle. */
const char *cdtx_work_handler(const cdtx_work *work);
const void *cdtx_work_payload(const cdtx_work *work, size_t *length);
int64_t cdtx_work_id(const cdtx_work *work);
uint32_t cdtx_work_attempt(const cdtx_work *work);
int64_t cdtx_work_token(const cdtx_work *work);
/* The local transaction of an in_local handler; else NULL. */
cdtx_sql *cdtx_work_sql(cdtx_work *work);
/* Completions: the tag given at begin, the result as cdtx_tx_run would have answered, and the gid; of a hook's job also
 * the gid, else "". */
uint64_t cdtx_work_tag(const cdtx_work *work);
int32_t cdtx_work_result(const cdtx_work *work, cdtx_error *err);
const char *cdtx_work_gid(const cdtx_work *work);

/* cdtx declarations end */

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
