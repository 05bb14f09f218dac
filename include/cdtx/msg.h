/* Transactional messages: topics and consumer groups on a durable queue inside any database of an engine. A message is
 * delivered to every group of its topic at least once, under the same id; a consumer that runs in a local transaction
 * takes effect once. A delivery is a job (cdtx/cdtx.h), so attempts, back-off, dead letters, pausing and redriving are
 * those of jobs. Three ways in, and when to use which, are in cdtx-msg(7). Rules for all functions: cdtx/cdtx.h. */
#ifndef CDTX_MSG_H
#define CDTX_MSG_H

#include <cdtx/cdtx.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* cdtx declarations begin */

enum { CDTX_TOPIC_NAME_MAX = 56, CDTX_PRODUCER_NAME_MAX = 100, CDTX_GROUPS_MAX = 64 };

/* ---- topics ---- */

typedef struct cdtx_topic_options {
    uint32_t size;
    uint32_t reserved;
    int64_t retention_ms; /* a message stays for groups that come later so long; default 0: until its groups have it. A
                             topic without groups keeps all until the first one comes */
} cdtx_topic_options;

/* Adds a topic, or changes its retention. Names of topics and groups are 1 to 56 bytes without a slash. Blocks. Errors:
 * INVALID, and those of cdtx_local. */
int32_t cdtx_topic_add(cdtx_db *db, const char *topic, const cdtx_topic_options *options, cdtx_error *err);
/* By name. Columns: topic, retention_ms, groups, kept (messages), held (by branches that are not decided), halves (not
 * resolved). Blocks for its turn in the database, as do all lists here. */
int32_t cdtx_topic_list(cdtx_db *db, cdtx_report **report, cdtx_error *err);

/* ---- putting: the outbox ---- */

typedef struct cdtx_msg_options {
    uint32_t size;
    int32_t priority; /* 0 to CDTX_PRIORITY_MAX, higher first */
    const char *key;  /* groups in order get messages of one key one by one; default none */
    int64_t delay_ms; /* not before so long after it is visible, by the database's own durable clock */
} cdtx_msg_options;

/* Puts a message into the caller's local transaction: it is visible exactly when that commits. In a branch's try it is
 * held until the decision, and visible with the branch's confirm or never; in a confirm, cancel or reverse it is
 * visible with that. id, if not NULL, gets the message's id, the same on every copy. Errors: NOT_FOUND (no such topic),
 * UNSUPPORTED (in a try or confirm that may be taken back by its policy: use cdtx_tx_after_commit), INVALID, LIMIT,
 * MISUSE, and those of cdtx_sql_exec. */
int32_t cdtx_msg_put(cdtx_sql *sql, const char *topic, const void *payload, size_t length,
                     const cdtx_msg_options *options, char id[64], cdtx_error *err);
/* The same in a local transaction of its own. Blocks. Errors: those of put and of cdtx_local. */
int32_t cdtx_msg_send(cdtx_db *db, const char *topic, const void *payload, size_t length,
                      const cdtx_msg_options *options, char id[64], cdtx_error *err);

/* What branches hold here, by number: until the branch hears of the decision, or for good once a person has declared
 * its gid ended (cdtx_tx_resolve). Columns: id, topic, key (NULL: none), gid, branch, payload (its length). At most
 * limit rows (0: 100; 10000 at most), numbers above that of the message after (NULL: all). */
int32_t cdtx_held_list(cdtx_db *db, const char *after, uint32_t limit, cdtx_report **report, cdtx_error *err);
/* Of a gid that has ended without its branches here: what they hold becomes visible (CDTX_TX_COMMITTED) or is dropped
 * (CDTX_TX_ROLLED_BACK, CDTX_TX_REVERSED), with a line in the audit chain. count (or NULL) gets how many. Blocks.
 * Errors: NOT_FOUND (none is held of it), MISUSE (this engine's log says that it has not ended), CONFLICT (that it has
 * ended otherwise), INVALID, UNKNOWN. Of a gid of another log, the caller has asked there. */
int32_t cdtx_held_settle(cdtx_db *db, const char *gid, int32_t outcome, const char *actor, const char *reason,
                         int64_t *count, cdtx_error *err);

/* ---- consuming ---- */

/* Where a new group begins among the messages that are kept. */
enum cdtx_group_start {
    CDTX_START_FIRST = 0, /* with the oldest */
    CDTX_START_LAST = 1,  /* behind them */
    CDTX_START_TIME = 2   /* with the first that became visible at start_ms or later */
};

/* Fields as in cdtx_handler_options unless said otherwise. */
typedef struct cdtx_consumer_options {
    uint32_t size;
    int32_t in_local;        /* 1: inside a local transaction, of local_db if that is not NULL: it takes effect once */
    cdtx_handler_fn handler; /* NULL: pulled by cdtx_take; 0 acknowledges, REFUSED makes it a dead letter at once */
    void *user;
    void (*drop)(void *user);
    cdtx_db *local_db;
    int32_t in_order; /* 1: messages of one key one by one in the order they became visible; a dead letter lets the
                         next go on */
    int32_t start;    /* of a new group: one of cdtx_group_start */
    int64_t start_ms; /* CDTX_START_TIME: wall clock, ms since 1970 UTC */
    uint32_t attempts_max;
    uint32_t crashes_max;
    int64_t lease_ms;
    int64_t backoff_min_ms;
    int64_t backoff_max_ms;
    int64_t dead_retention_ms;
    uint32_t running_max;
    uint32_t rate_per_s;
} cdtx_consumer_options;

/* Joins this engine to a group, which is made if it is new: each message of the topic goes to one of the engines that
 * have joined. Blocks. Errors: NOT_FOUND (no such topic), CONFLICT (joined already, or the group is not of the order
 * that in_order says), LIMIT (CDTX_GROUPS_MAX), those of cdtx_handler_add and cdtx_local. */
int32_t cdtx_consumer_add(cdtx_db *db, const char *topic, const char *group, const cdtx_consumer_options *options,
                          cdtx_error *err);
/* Forgets a group with all that it has not consumed, dead letters included. Blocks. Errors: NOT_FOUND, CONFLICT (a
 * delivery is under way). */
int32_t cdtx_group_remove(cdtx_db *db, const char *topic, const char *group, const char *actor, const char *reason,
                          cdtx_error *err);
/* By topic and name. Columns: topic, group, here (1: this engine has joined it), in_order, paused_ms (since when, wall
 * clock; NULL: not), lag (deliveries that are neither done nor dead), leased (of them), dead, oldest_ms (age of the
 * oldest of the lag, NULL: none), handler (as jobs name it). */
int32_t cdtx_group_list(cdtx_db *db, cdtx_report **report, cdtx_error *err);

/* Of a delivery: the message's id, its topic and group, and its key (NULL: none). Texts are borrowed until settle. id
 * gets ""; the others answer NULL for work that is no delivery. */
void cdtx_msg_id(const cdtx_work *work, char id[64]);
const char *cdtx_msg_topic(const cdtx_work *work);
const char *cdtx_msg_group(const cdtx_work *work);
const char *cdtx_msg_key(const cdtx_work *work);

/* ---- half messages ---- */

enum cdtx_half_state {
    CDTX_HALF_OPEN = 1,       /* prepared, not resolved */
    CDTX_HALF_COMMITTED = 2,  /* visible */
    CDTX_HALF_ROLLED_BACK = 3 /* never visible */
};

typedef struct cdtx_half_options {
    uint32_t size;
    int32_t priority;     /* as in cdtx_msg_options, as are key and delay_ms */
    const char *key;      /* of the message */
    const char *producer; /* whose checker answers for it; required, 1 to CDTX_PRODUCER_NAME_MAX bytes */
    int64_t delay_ms;
    int64_t immunity_ms; /* not checked so long after it was prepared; default 6000 */
} cdtx_half_options;

/* Stores a message that is visible only once it is resolved: for local transactions in another database than the
 * queue's. handle is a text for cdtx_half_mark and cdtx_half_resolve, in this process or another. Blocks. Errors:
 * NOT_FOUND (no such topic), INVALID, LIMIT, and those of cdtx_local. */
int32_t cdtx_half_prepare(cdtx_db *db, const char *topic, const void *payload, size_t length,
                          const cdtx_half_options *options, char handle[64], cdtx_error *err);
/* Inside the local transaction that the half stands for, before its effects: marks it, so that its commit is the
 * half's. Errors: REFUSED (a check has ruled it out, or it is resolved: roll back), CONFLICT (one that committed had
 * marked it already), INVALID (no handle). */
int32_t cdtx_half_mark(cdtx_sql *sql, const char *handle, cdtx_error *err);
/* CDTX_HALF_COMMITTED or CDTX_HALF_ROLLED_BACK; the first resolution wins, and the same again is 0. Blocks. Errors:
 * CONFLICT (it was resolved the other way), NOT_FOUND (never prepared here), EXPIRED (resolved; no longer kept),
 * INVALID, and those of cdtx_local. */
int32_t cdtx_half_resolve(cdtx_db *db, const char *handle, int32_t outcome, cdtx_error *err);
/* The same by a person, with a line in the audit chain; closes its case. */
int32_t cdtx_half_settle(cdtx_db *db, const char *handle, int32_t outcome, const char *actor, const char *reason,
                         cdtx_error *err);
/* One of cdtx_half_state. Blocks for its turn. Errors: NOT_FOUND, EXPIRED, INVALID. */
int32_t cdtx_half_query(cdtx_db *db, const char *handle, int32_t *state, cdtx_error *err);

/* What a checker is asked: did the local transaction of that half commit? Answers one of cdtx_half_state; OPEN when it
 * cannot be told yet, which it must be as long as the local transaction may still be running: ROLLED_BACK is right only
 * once nothing can commit any more (cdtx_half_rule_out). Another answer counts as OPEN. Borrowed for the call. Runs on
 * a thread that is inside the engine, outside any local transaction. */
typedef int32_t (*cdtx_half_check_fn)(const char *handle, const char *topic, const void *payload, size_t length,
                                      void *user);

typedef struct cdtx_half_checker {
    uint32_t size;
    uint32_t checks_max; /* answers of OPEN; default 15; then it is parked and becomes a case, and is asked on rarely */
    cdtx_db *guard_db;   /* the producer's database: its marks answer, and check is not needed */
    cdtx_half_check_fn check;
    void *user;
    void (*drop)(void *user);
    int64_t interval_ms; /* between two checks of one half; default 30000 */
    uint32_t rate_per_s; /* checks begun here in a second; default 100 */
    uint32_t reserved;
} cdtx_half_checker;

/* Answers for the halves of a producer in db that nobody resolves. Any of the processes that have it is asked; where
 * none has it, no check is counted. Errors: CONFLICT (registered already), INVALID (neither or both of guard_db and
 * check), MISUSE, NO_MEMORY. */
int32_t cdtx_half_checker_add(cdtx_db *db, const char *producer, const cdtx_half_checker *checker, cdtx_error *err);
/* For checkers with databases of their own: in a local transaction where cdtx_half_mark would be, *state gets
 * COMMITTED if it was marked; else it is ruled out by a mark that cdtx_half_mark then meets, and *state gets
 * ROLLED_BACK, which is the answer once this transaction has committed. Errors: EXPIRED (resolved long ago), INVALID.
 */
int32_t cdtx_half_rule_out(cdtx_sql *sql, const char *handle, int32_t *state, cdtx_error *err);
/* Those not resolved, by number. Columns: handle, topic, producer, checks (answered with OPEN), parked (why, or NULL),
 * age_ms, payload (its length). At most limit rows (0: 100; 10000 at most), numbers above that of the handle after
 * (NULL: all). */
int32_t cdtx_half_list(cdtx_db *db, const char *after, uint32_t limit, cdtx_report **report, cdtx_error *err);

/* ---- other message engines (cdtx/port.h) ---- */

struct cdtx_queue_port;

/* Fills port, whose size the caller has set, with the queue in db as a message engine that has all capabilities. Topics
 * are added by cdtx_topic_add; a send is one local transaction; an id is stored once in a topic for the engine's
 * retention_ms; handles of halves are those of cdtx_half_mark and cdtx_half_resolve; a subscription is a consumer group
 * that is pulled, and its groups and checkers stay until the engine is closed. Its fetch and poll also do the engine's
 * work, as cdtx_take and cdtx_run do. fetch takes deliveries of db only. Other pulled work (deliveries elsewhere,
 * pulled jobs, completions of cdtx_tx_submit) stays for cdtx_take; while some is there fetch answers MISUSE if it has
 * no delivery at hand, so an engine behind a port should have none. Call port->close, also after cdtx_close. Errors:
 * INVALID, MISUSE, NO_MEMORY. */
int32_t cdtx_queue_embedded(cdtx_db *db, struct cdtx_queue_port *port, cdtx_error *err);

enum { CDTX_RELAY_BATCH_MAX = 64 };

/* Fields as in cdtx_consumer_options unless said otherwise. */
typedef struct cdtx_relay_options {
    uint32_t size;
    int32_t in_order;  /* needs CDTX_QUEUE_ORDER of the engine behind the port */
    const char *topic; /* its name there; default the same */
    int32_t start;
    int32_t not_durable; /* 1: also where CDTX_QUEUE_DURABLE is not promised: what that engine has confirmed may be lost
                            with it, and is not here any more either */
    int64_t start_ms;
    uint32_t attempts_max; /* default: no limit. A message that is dead by it may have been stored all the same: its
                              history tells */
    uint32_t crashes_max;  /* default: no limit */
    int64_t lease_ms;      /* longer than the engine takes for a batch; default 60000 */
    int64_t backoff_min_ms;
    int64_t backoff_max_ms; /* default 60000 */
    int64_t dead_retention_ms;
    uint32_t running_max;
    uint32_t rate_per_s;
    uint32_t batch_max; /* messages in one send; default the port's, at most CDTX_RELAY_BATCH_MAX */
    uint32_t reserved;
    void (*drop)(void *user); /* called once with the port's user when it is no longer needed: the port's close, or NULL
                                 where somebody else closes it, after the engine */
} cdtx_relay_options;

/* A consumer group that hands each message of the topic on to the engine behind the port, under its id, until that
 * confirms it: at least once there, each copy with the same id. port is copied. What the engine may or may not have
 * stored (UNKNOWN) and what it could not take yet comes again after back-off; what it refuses for good (REFUSED,
 * INVALID, LIMIT, UNSUPPORTED, CONFLICT) is a dead letter. When a whole batch meets nothing but silence the relay rests
 * for a back-off. A half becomes visible to it exactly if it is resolved to commit, so an engine without halves gets
 * exactly the committed ones. Errors: UNSUPPORTED (the port keeps no id, no order, or is not durable), INVALID, and
 * those of cdtx_consumer_add. */
int32_t cdtx_relay_add(cdtx_db *db, const char *topic, const char *name, const struct cdtx_queue_port *port,
                       const cdtx_relay_options *options, cdtx_error *err);

/* cdtx declarations end */

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
