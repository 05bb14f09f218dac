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

/* ---- queue port: a message engine ---- */

enum {
    CDTX_QUEUE_ID_MAX = 63,      /* bytes of a message's id */
    CDTX_QUEUE_HANDLE_MAX = 256, /* room for a half's handle with its NUL */
    CDTX_QUEUE_GROUP_MAX = 56    /* bytes of a topic's or a group's name; the letters that every engine takes are
                                    A to Z, a to z, 0 to 9, '-' and '_' */
};

/* What the engine behind a port is certain of, as it is set up: a bit that holds "mostly" is not set. What is not
 * promised may happen all the same; every caller must be right without it. lib/port/README.md has it by engine. */
enum cdtx_queue_capability {
    CDTX_QUEUE_KEEPS_ID = 1,        /* a delivery has the id that its message was sent under, on every copy */
    CDTX_QUEUE_DURABLE = 2,         /* what was answered 0 outlives a power failure of the engine. Not where it confirms
                                       before it has synced: NATS 2.9, RocketMQ with ASYNC_FLUSH, Redis by default */
    CDTX_QUEUE_ORDER = 4,           /* a group subscribed in order gets messages of one key one by one, as they were
                                       stored; those of one send are stored in their order */
    CDTX_QUEUE_DROPS_REPEATS = 8,   /* an id that was stored is not stored again for repeat_ms in its topic: 0 is
                                       answered, and nothing comes of it */
    CDTX_QUEUE_DELAY = 16,          /* delay_ms of a message */
    CDTX_QUEUE_NACK_DELAY = 32,     /* delay_ms of a nack */
    CDTX_QUEUE_COUNTS = 64,         /* attempt of a delivery, exact while its subscriber lives */
    CDTX_QUEUE_KEEPS_DEAD = 128,    /* what was settled as dead is kept with its payload for a person */
    CDTX_QUEUE_HALVES = 256,        /* prepare, resolve and checker_add are there; a half is durable, as far as DURABLE
                                       goes, once it is prepared, and invisible until a commit of it */
    CDTX_QUEUE_HALVES_NATIVE = 512, /* and they are the engine's own: a commit is one step there. Without it the port
                                      takes several (NATS: publish, then delete the half), and one that broke off
                                      between them is done again, under the same id */
    CDTX_QUEUE_REMEMBERS = 1024     /* a half's first resolution is durable and stands: the same again changes nothing,
                                       the opposite is CONFLICT. Without it, as on RocketMQ, each accepted commit may
                                       make a further copy, and a commit behind a rollback may be obeyed */
};

/* A message on its way in. Frozen. */
typedef struct cdtx_queue_message {
    const char *id; /* 1 to CDTX_QUEUE_ID_MAX bytes; the same on every repeat, and on no other message */
    const char *topic;
    const char *key; /* what ORDER goes by; NULL: none */
    const void *payload;
    size_t length;
    int64_t delay_ms; /* to consumers not before so long after it was stored */
    uint64_t reserved;
} cdtx_queue_message;

/* A message on its way out. Texts and bytes are the port's, until the token is used up. Frozen. */
typedef struct cdtx_queue_delivery {
    uint64_t token; /* for settle, in this process, never 0 and never used again */
    const char *id; /* "": the engine does not keep it */
    const char *topic;
    const char *group;
    const char *key; /* NULL: none */
    const void *payload;
    size_t length;
    uint32_t attempt; /* from 1; 0: the engine does not count */
    uint32_t reserved;
} cdtx_queue_delivery;

enum cdtx_queue_answer_kind {
    CDTX_QUEUE_ACK = 1,  /* done */
    CDTX_QUEUE_NACK = 2, /* again */
    CDTX_QUEUE_DEAD = 3  /* never again for this group */
};

/* What becomes of a delivery. Frozen. */
typedef struct cdtx_queue_answer {
    uint64_t token;
    int32_t kind; /* one of cdtx_queue_answer_kind */
    uint32_t reserved;
    int64_t delay_ms;   /* of a nack: not before so long; 0: as the engine itself backs off */
    const char *reason; /* of a nack or dead one, for people; NULL: none */
} cdtx_queue_answer;

/* Sizes as for options; NULL: all defaults. */
typedef struct cdtx_queue_subscription {
    uint32_t size;
    int32_t in_order; /* 1: messages of one key one by one; needs ORDER */
    int64_t lease_ms; /* what is not settled by then may come again, to whoever fetches; default the engine's own. An
                         engine that cannot be told keeps its own */
} cdtx_queue_subscription;

/* The same numbers as cdtx_half_state of cdtx/msg.h. */
enum cdtx_queue_outcome { CDTX_QUEUE_OPEN = 1, CDTX_QUEUE_COMMIT = 2, CDTX_QUEUE_ROLLBACK = 3 };

enum cdtx_queue_applied {
    CDTX_QUEUE_APPLIED = 1, /* by this call, as far as the engine can tell */
    CDTX_QUEUE_ALREADY = 2  /* it stood like that before; only with REMEMBERS */
};

/* Did the local transaction of that half commit? Answers one of cdtx_queue_outcome, OPEN as long as it may still be
 * running; another answer counts as OPEN. Ask what is durable, by the id: handle may be another than prepare gave
 * (RocketMQ appends a half anew for each check), one id may have two halves (a prepare that was repeated), and any
 * process of the producer may be asked, about any topic. Borrowed for the call, which is made inside fetch or poll. */
typedef int32_t (*cdtx_queue_check_fn)(const char *handle, const cdtx_queue_message *message, void *user);

typedef struct cdtx_queue_checker {
    uint32_t size;
    uint32_t reserved;
    cdtx_queue_check_fn check;
    void *user;
    void (*drop)(void *user); /* called once when the port no longer needs user; not if it was not added; optional */
} cdtx_queue_checker;

/* One message engine, or a connection to one. Whoever got it fills or copies the table, and calls close once. Functions
 * may be called from any thread, several at once; those said to block do so for as long as the engine takes, within
 * time-outs of the port's own, and none may be called inside a local transaction. err and results are never NULL.
 * Messages, names and payloads given to a function are borrowed for its length.
 *
 * What a code says is the same everywhere. UNKNOWN: it may have happened, and only a repeat under the same id tells;
 * every answer that was lost is UNKNOWN, never a no. IO, BUSY, TIMEOUT, NO_MEMORY, STOPPED, NOT_FOUND (no such topic
 * yet): it did not happen and may yet. REFUSED, INVALID, LIMIT, UNSUPPORTED: it did not and never will. */
typedef struct cdtx_queue_port {
    uint32_t size;
    uint32_t capabilities; /* of cdtx_queue_capability */
    void *user;
    uint32_t batch_max;   /* messages that one send takes in one round trip; 1 to CDTX_MANY_MAX, more are LIMIT */
    uint32_t payload_max; /* bytes; more are LIMIT; 0: not known before */
    int64_t repeat_ms;    /* of DROPS_REPEATS, from when it was first stored */
    /* Stores each message; results[i] gets a code and, with another than 0, a sentence. What one meets does not keep
     * the others from being stored, but without ORDER any order may come of them. UNKNOWN is also what was stored less
     * safely than it should be (RocketMQ: the flush, or the replica, was late). Blocks. Answers 0 when all are stored,
     * else the first other code. */
    int32_t (*send)(void *user, const cdtx_queue_message *messages, uint32_t count, cdtx_error *results);
    /* Stores a half of that producer; handle gets a text that names it in any process, for a caller to keep beside its
     * data. Blocks. UNKNOWN: it may be there without a handle; the checker will be asked for it, so answer for the id
     * and prepare anew (RocketMQ counts such a one as a second half). Optional, with HALVES only. */
    int32_t (*prepare)(void *user, const cdtx_queue_message *message, const char *producer, char handle[256],
                       cdtx_error *err);
    /* Resolves a half to COMMIT or ROLLBACK. Blocks. 0: *applied gets one of cdtx_queue_applied. UNKNOWN: nobody knows;
     * with REMEMBERS ask again, without it leave it to the checker, for a second commit may make a second copy.
     * CONFLICT: it was resolved the other way (only with REMEMBERS). EXPIRED, NOT_FOUND: no longer kept; never there.
     * Optional, with HALVES only. */
    int32_t (*resolve)(void *user, const char *handle, int32_t outcome, int32_t *applied, cdtx_error *err);
    /* Answers from now on, in this process, for halves of that producer that nobody resolves. Add it before the first
     * prepare, after each start. Some engines give a half up in the end (RocketMQ: after 15 checks, made or not, or 72
     * hours, without a word). CONFLICT: the producer has one here. Optional, with HALVES only. */
    int32_t (*checker_add)(void *user, const char *producer, const cdtx_queue_checker *checker, cdtx_error *err);
    /* This port takes part in a group, which is made if it is new and then gets what is stored from now on, perhaps
     * older messages too. Blocks. CONFLICT (it takes part already, or the group is of another order), UNSUPPORTED
     * (in_order without ORDER). */
    int32_t (*subscribe)(void *user, const char *topic, const char *group, const cdtx_queue_subscription *options,
                         cdtx_error *err);
    /* Waits up to for_ms (0: not at all) until a subscription has something, and takes with it what else is there, at
     * most `most` (1 to CDTX_MANY_MAX). *count is 0 when nothing came. Blocks. Every token must be settled. */
    int32_t (*fetch)(void *user, int64_t for_ms, cdtx_queue_delivery *deliveries, uint32_t most, uint32_t *count,
                     cdtx_error *err);
    /* Answers deliveries; results[i] as in send. Blocks. INVALID, UNSUPPORTED (delay_ms of a nack without NACK_DELAY):
     * the token stays. NOT_FOUND: it is used up, of an earlier life of the port, or lost for long. Everything else uses
     * it up: 0; CONFLICT (its lease was lost: another may have it, and nothing changed); UNKNOWN and what did not
     * happen: it may come again. Where an engine acknowledges only up to a place in a stream (Kafka), the port holds
     * later answers back until the earlier ones are there, and repeats more. */
    int32_t (*settle)(void *user, const cdtx_queue_answer *answers, uint32_t count, cdtx_error *results);
    /* Does for for_ms (0: what is due now) what no caller waits for: heart-beats, checks, confirms. fetch does it too;
     * who does not fetch calls this at least once a second. No thread of the port's own does it behind anybody's back.
     * Optional: there is nothing to do. */
    int32_t (*poll)(void *user, int64_t for_ms, cdtx_error *err);
    /* Frees it; nobody may be inside, and deliveries that are not settled come again. */
    void (*close)(void *user);
} cdtx_queue_port;

/* cdtx declarations end */

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
