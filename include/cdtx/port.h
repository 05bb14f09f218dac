/* The holes to the world, for authors of adapters, links and environments. Users of the library need none of it.
 * Every table starts with its size; functions not marked optional are required. Rules for results and errors as in
 * cdtx/cdtx.h. No function of a port may call back into the engine unless its comment says so. */
#ifndef CDTX_PORT_H
#define CDTX_PORT_H

#include <cdtx/cdtx.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* cdtx declarations begin */

/* ---- environment ---- */

enum { CDTX_LOG_ALARM = 0, CDTX_LOG_WARNING = 1, CDTX_LOG_INFO = 2, CDTX_LOG_DEBUG = 3 };

/* Time, memory, waiting and identity. Times are microseconds; "until" values are on the monotonic clock, INT64_MAX is
 * for ever. All functions may be called from any thread at once. */
typedef struct cdtx_env {
    uint32_t size;
    uint32_t reserved;
    void *user;
    int64_t (*monotonic_us)(void *user); /* goes on during suspend; never back */
    int64_t (*wall_us)(void *user);      /* since 1970 UTC; may jump */
    int32_t (*random)(void *user, void *bytes, size_t length);
    /* One memory function: block NULL allocates, new_size 0 frees and returns NULL, else resizes; NULL: no memory.
     * old_size is always exact. Results are aligned for any type. */
    void *(*memory)(void *user, void *block, size_t old_size, size_t new_size);
    /* Futex rule: returns at once if *word != seen, else waits until a wake or the time; may return early for no
     * reason. Returns 0, or CDTX_STOPPED when this environment is going down and nobody should wait again. */
    int32_t (*wait)(void *user, uint32_t *word, uint32_t seen, int64_t until_us);
    void (*wake)(void *user, uint32_t *word, uint32_t count);
    int32_t (*spawn)(void *user, void (*body)(void *argument), void *argument, uint64_t *thread);
    void (*join)(void *user, uint64_t thread);
    uint64_t (*self)(void *user);    /* thread or fiber, never 0 */
    uint64_t (*process)(void *user); /* to notice a fork, and to name an owner */
    /* A descriptor that is readable from at_us on: fd -1 makes one and returns it; at_us INT64_MAX quiets it, -1 closes
     * it. Optional; a negative code when there is none. */
    int32_t (*bell)(void *user, int32_t fd, int64_t at_us);
    void (*log)(void *user, int32_t level, const char *line); /* optional */
    /* Test builds only, optional: reached a named point; non-zero makes the point fail or the mutant of that name live.
     */
    int32_t (*failpoint)(void *user, const char *name);
    /* Optional: the TZif file (RFC 9636) of a time zone by its IANA name, "Europe/Berlin"; never asked for "UTC", which
     * is known without a file. *length gets its bytes. 0, INVALID (no such name can be), NOT_FOUND, LIMIT (larger than
     * room), IO; with a code *bytes may hold anything. */
    int32_t (*zone)(void *user, const char *name, void *bytes, size_t room, size_t *length);
} cdtx_env;

/* ---- SQL port ---- */

/* One value. Frozen. Text and blob: bytes + length; text in rows is NUL-terminated behind its length. */
typedef struct cdtx_value {
    int32_t type;
    uint32_t length;
    int64_t integer;
    double real;
    const void *bytes;
} cdtx_value;

/* A bounded set of result rows that the library owns and the port fills. */
typedef struct cdtx_rows cdtx_rows;
/* Adds one row, copied. Every row of a set has the same count. Errors: LIMIT, NO_MEMORY; the port then ends the
 * statement and returns that code. */
int32_t cdtx_rows_add(cdtx_rows *rows, const cdtx_value *values, uint32_t count, cdtx_error *err);

enum cdtx_sql_flags {
    CDTX_SQL_OURS = 1 /* our own statement, static text; without it the port refuses what cdtx_sql_exec refuses */
};

enum cdtx_ownership {
    CDTX_OWN_NONE = 0,   /* reads only */
    CDTX_OWN_SHARED = 1, /* writes in turns with other processes; someone else checkpoints */
    CDTX_OWN_FIRST = 2,  /* the same, and checkpoints */
    CDTX_OWN_ALONE = 3,  /* the only writer */
    CDTX_OWN_HEIR = 4    /* as FIRST, beside sharers that were here before; only own answers it */
};

/* A connection to one database. The library calls a connection from one thread at a time. No function waits for other
 * writers: BUSY is an answer. A connection has at most one transaction, and in it at most one savepoint, open. */
typedef struct cdtx_sql_port {
    uint32_t size;
    uint32_t reserved;
    const char *scheme; /* of the URL, static */
    /* Opens and checks durable settings. Errors: NOT_FOUND (no such folder), IO, CORRUPT, UNSUPPORTED, NO_MEMORY. */
    int32_t (*open)(const cdtx_env *env, const char *url, void **connection, cdtx_error *err);
    /* Rolls back what is open, gives up ownership, frees. */
    void (*close)(void *connection);
    /* Becomes a writer as the URL asks, and repairs what a failed sync of an earlier process may have left; or stays a
     * reader if the URL asks for that. *ownership gets one of cdtx_ownership. Errors: BUSY (retry_after_ms below 100:
     * only for a moment, try again; else it is somebody else's), IO. */
    int32_t (*own)(void *connection, int32_t *ownership, cdtx_error *err);
    /* Opens a write transaction; for a reader one that only reads, and statements that write are MISUSE. Errors: BUSY
     * (another writer's turn), IO, CORRUPT, STOPPED. */
    int32_t (*begin)(void *connection, cdtx_error *err);
    /* One statement; rows (may be NULL) gets its rows, *changes (may be NULL) its changed rows. Errors: SQL (the
     * statement's fault; it had no effect), IO, CORRUPT, LIMIT, NO_MEMORY, MISUSE (refused statement). */
    int32_t (*exec)(void *connection, uint32_t flags, const char *statement, const cdtx_value *arguments,
                    uint32_t count, cdtx_rows *rows, int64_t *changes, cdtx_error *err);
    /* 1 while the transaction that begin opened is still open: a failed statement may have ended it. */
    int32_t (*in_transaction)(void *connection);
    int32_t (*savepoint)(void *connection, cdtx_error *err);
    /* Keeps what was done since the savepoint. Errors: SQL when deferred constraints opened since then are unmet. */
    int32_t (*release)(void *connection, cdtx_error *err);
    /* Undoes what was done since the savepoint, which stays open. */
    int32_t (*undo)(void *connection, cdtx_error *err);
    /* Commits durably. 0 it did; UNKNOWN it may have (the connection only answers STOPPED from then on); other codes:
     * it did not, and the transaction is rolled back. */
    int32_t (*commit)(void *connection, cdtx_error *err);
    void (*rollback)(void *connection);
    /* Housekeeping when nobody waits (checkpoint). Errors: STOPPED, IO. */
    int32_t (*tidy)(void *connection, cdtx_error *err);
    /* Optional: what a person should know of this connection's settings, versions and file, inside a transaction: rows
     * of level, check, finding and advice, as cdtx_doctor has them. deep: 1 also reads the whole file. Errors: IO,
     * CORRUPT only when nothing can be said at all. */
    int32_t (*inspect)(void *connection, uint32_t deep, cdtx_rows *rows, cdtx_error *err);
} cdtx_sql_port;

/* ---- host port: connections that the host has open ---- */

enum cdtx_dialect { CDTX_DIALECT_SQLITE = 1, CDTX_DIALECT_POSTGRES = 2, CDTX_DIALECT_MARIADB = 3 };

/* How a statement marks its arguments. The library rewrites its marks, outside quotes and comments; where a mark has no
 * number, the values come in the order of the marks, one for each. */
enum cdtx_parameters {
    CDTX_PARAMETERS_QUESTION = 0, /* ? */
    CDTX_PARAMETERS_NUMBERED = 1, /* ?1 */
    CDTX_PARAMETERS_DOLLAR = 2,   /* $1 */
    CDTX_PARAMETERS_FORMAT = 3,   /* %s; every other % is doubled, also in a statement without arguments */
    CDTX_PARAMETERS_COLON = 4     /* :1 */
};

/* How the engine uses a connection that the host has open: with cdtx_db_host, copied. connection is whatever the host
 * gives to cdtx_lend, cdtx_host_run and cdtx_host_prepare. Both functions are called only inside those calls and calls
 * on what cdtx_lend gave, on the calling thread, with no lock of ours held; they must not call the engine, except
 * cdtx_rows_add. */
typedef struct cdtx_host_port {
    uint32_t size;
    int32_t dialect;    /* one of cdtx_dialect; only SQLite is served today */
    int32_t parameters; /* one of cdtx_parameters */
    uint32_t reserved;
    void *user;
    /* Runs one statement as it stands, transaction statements too, and never waits for another writer's lock. rows, if
     * not NULL, gets its rows; *changes the rows it changed or matched, if the driver knows. 0, or by what became of
     * it: SQL (refused; no effect), BUSY (another writer has the lock; no effect), CONFLICT (deadlock or serialization
     * failure: the local transaction is over), IO (could not read or write), UNKNOWN (the connection is lost),
     * NO_MEMORY, and what cdtx_rows_add answered; with a sentence in *err, which like changes is never NULL. */
    int32_t (*exec)(void *user, void *connection, const char *statement, const cdtx_value *values, uint32_t count,
                    cdtx_rows *rows, int64_t *changes, cdtx_error *err);
    /* 1 while a transaction is open on it, whoever opened it; else 0. */
    int32_t (*in_transaction)(void *user, void *connection);
    void (*drop)(void *user); /* optional: called once when the engine no longer needs user */
} cdtx_host_port;

/* ---- link port: deliver a call ---- */

enum cdtx_call_op { CDTX_CALL_TRY = 1, CDTX_CALL_CONFIRM = 2, CDTX_CALL_CANCEL = 3, CDTX_CALL_REVERSE = 4 };

enum cdtx_call_flags {
    CDTX_CALL_REVERSIBLE = 1 /* may be reversed after its confirm; who cannot must refuse the try */
};

/* One call from a coordinator's engine to a participant. Everything is borrowed for the length of the function it is
 * given to. (log, sequence) is the gid. */
typedef struct cdtx_call {
    uint8_t log[16];
    int64_t sequence;
    uint64_t id;   /* of this delivery, for cdtx_link_reply; unique in the sending engine's life, from a random start */
    int64_t epoch; /* of the gid when sent */
    uint32_t branch;
    int32_t op;       /* one of cdtx_call_op */
    uint32_t attempt; /* from 1 */
    uint32_t length;  /* of payload */
    uint32_t flags;   /* of cdtx_call_flags */
    uint32_t reserved;
    int64_t floor; /* every gid of this log with a lower sequence has ended; the participant may forget them */
    const char *participant;
    const void *payload;
} cdtx_call;

/* code: 0 done, or what the participant answered; result: the try's answer. text: one sentence with a code other than
 * 0. */
typedef struct cdtx_reply {
    int32_t code;
    uint32_t length;
    const void *result;
    const char *text;
} cdtx_reply;

/* Delivers calls. Losing, delaying, doubling and reordering are allowed; changing is not. */
typedef struct cdtx_link {
    uint32_t size;
    uint32_t reserved;
    void *user;
    /* 0 when it is certain that nobody serves that name, so that nothing need be begun; else 1. */
    int32_t (*knows)(void *user, cdtx *engine, const char *participant);
    /* Takes one call on its way, never blocking. It may call cdtx_serve or cdtx_link_reply. Errors: IO, NO_MEMORY,
     * BUSY: not sent, the engine sends again after back-off. */
    int32_t (*send)(void *user, cdtx *engine, const cdtx_call *call, cdtx_error *err);
    /* Optional: the engine is closing; the link must not name it again after this returns. */
    void (*detach)(void *user, cdtx *engine);
} cdtx_link;

/* Hands the reply to call id to the engine that sent it. A reply that comes late or twice, or to an unknown id, is
 * dropped. */
void cdtx_link_reply(cdtx *engine, uint64_t id, const cdtx_reply *reply);

/* Called once, when the call's effect and answer are durable, on a thread that is inside a call of the engine. */
typedef void (*cdtx_answer_fn)(void *user, uint64_t id, const cdtx_reply *reply);
/* Serves one incoming call with this engine's participants; answer is called with the given user and the call's id,
 * perhaps before this returns. Errors (answer is not called): NO_MEMORY, STOPPED, INVALID. */
int32_t cdtx_serve(cdtx *engine, const cdtx_call *call, cdtx_answer_fn answer, void *user, cdtx_error *err);
/* 1 when this engine has a participant of that name, else 0. */
int32_t cdtx_serves(cdtx *engine, const char *participant);

/* cdtx declarations end */

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
