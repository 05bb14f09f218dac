/* Test doubles for programs that use libcdtx: a link that loses, doubles and holds calls, a message engine that does
 * the same to messages, and an environment whose clock the test moves and whose memory can run out. Rules for all
 * functions: cdtx/cdtx.h. */
#ifndef CDTX_TEST_H
#define CDTX_TEST_H

#include <cdtx/port.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* cdtx declarations begin */

/* ---- a link with mishaps ---- */

typedef struct cdtx_test_link cdtx_test_link;

enum cdtx_test_fault {
    CDTX_FAULT_NONE = 0,
    CDTX_FAULT_LOSE_CALL = 1,  /* the participant never hears of it */
    CDTX_FAULT_LOSE_REPLY = 2, /* it happened, the caller never hears */
    CDTX_FAULT_DOUBLE = 3,     /* delivered twice */
    CDTX_FAULT_HOLD = 4,       /* kept until cdtx_test_link_release or cdtx_test_queue_release */
    /* Message engines only. */
    CDTX_FAULT_REFUSE = 5,  /* a definite no */
    CDTX_FAULT_AWAY = 6,    /* cannot be reached: IO, nothing happened */
    CDTX_FAULT_OVERTAKE = 7 /* stored, but before all that waits; not where order is promised */
};

/* A link to the participants of one engine, other than the sender if wanted: set_target says whose (default: the
 * sender's own). Must outlive the engines that use it. */
int32_t cdtx_test_link_new(cdtx_test_link **link, cdtx_error *err);
void cdtx_test_link_free(cdtx_test_link *link);
const cdtx_link *cdtx_test_link_port(cdtx_test_link *link);
/* Calls to that participant go to engine; with engine NULL it is down: known, but a call cannot be sent. An engine that
 * is only a target must be taken out this way before it is closed. Errors: NO_MEMORY, LIMIT (16 targets). */
int32_t cdtx_test_link_set_target(cdtx_test_link *link, const char *participant, cdtx *engine, cdtx_error *err);
/* The next `times` calls of that participant (NULL: any) and op (0: any) meet the fault. Rules are tried in the order
 * they were added. Errors: LIMIT (16 rules), NO_MEMORY, INVALID. */
int32_t cdtx_test_link_rule(cdtx_test_link *link, const char *participant, int32_t op, int32_t fault, uint32_t times,
                            cdtx_error *err);
/* Delivers what is held, oldest first; returns how many. */
uint32_t cdtx_test_link_release(cdtx_test_link *link);

/* ---- a message engine with mishaps ---- */

typedef struct cdtx_test_queue cdtx_test_queue;

typedef struct cdtx_test_queue_options {
    uint32_t size;
    int32_t in_order;      /* 1: it promises ORDER */
    const cdtx_env *env;   /* its clock and memory; default the operating system's */
    int64_t repeat_ms;     /* it drops repeats of an id for so long, restarts included; default 0: never */
    int64_t lease_ms;      /* default 30000; a subscription may say otherwise */
    int32_t not_durable;   /* 1: it does not promise DURABLE */
    int32_t forgets_id;    /* 1: its deliveries have no id */
    uint32_t batch_max;    /* default 64 */
    uint32_t payload_max;  /* default CDTX_PAYLOAD_DEFAULT */
    uint32_t no_delay;     /* 1: neither DELAY nor NACK_DELAY */
    uint32_t messages_max; /* copies that it holds, the done ones too; default 100000; then sends are LIMIT */
} cdtx_test_queue_options;

/* An engine in memory, behind a queue port: it has no halves, counts attempts, keeps what is dead, makes topics at
 * their first use, and gives a new group all that it holds. Its port's close does nothing; free frees it, behind
 * everything that uses it. Errors: INVALID, NO_MEMORY. */
int32_t cdtx_test_queue_new(const cdtx_test_queue_options *options, cdtx_test_queue **queue, cdtx_error *err);
void cdtx_test_queue_free(cdtx_test_queue *queue);
const cdtx_queue_port *cdtx_test_queue_port(cdtx_test_queue *queue);
/* The next `times` messages that are sent to that topic (NULL: any) with that key (NULL: any) meet the fault: LOSE_CALL
 * not stored, LOSE_REPLY stored, HOLD stored only by release, all three answered UNKNOWN; DOUBLE delivered twice.
 * UINT32_MAX times is for ever. Rules are tried in the order they were added. Errors: LIMIT (16 rules), INVALID. */
int32_t cdtx_test_queue_rule(cdtx_test_queue *queue, const char *topic, const char *key, int32_t fault, uint32_t times,
                             cdtx_error *err);
/* 1: every call answers IO and nothing happens, until 0. */
void cdtx_test_queue_set_down(cdtx_test_queue *queue, int32_t down);
/* Stores what is held, oldest first; returns how many. */
uint32_t cdtx_test_queue_release(cdtx_test_queue *queue);
/* It forgets what it gave out, and what is held: tokens are used up, and what was not settled comes again at once. */
void cdtx_test_queue_restart(cdtx_test_queue *queue);
/* Messages that arrived under that id (NULL: any), however they were answered; those of them that were stored. */
uint32_t cdtx_test_queue_arrived(cdtx_test_queue *queue, const char *id);
uint32_t cdtx_test_queue_stored(cdtx_test_queue *queue, const char *id);
/* Deliveries to that group that are dead, and that are neither done nor dead. */
uint32_t cdtx_test_queue_dead(cdtx_test_queue *queue, const char *topic, const char *group);
uint32_t cdtx_test_queue_lag(cdtx_test_queue *queue, const char *topic, const char *group);
/* The message that was stored in a topic as number index from 0, in its order; borrowed until free. NOT_FOUND: there
 * are no more. */
int32_t cdtx_test_queue_at(cdtx_test_queue *queue, const char *topic, uint32_t index, cdtx_queue_message *message,
                           cdtx_error *err);

/* ---- an environment under the test's hand ---- */

typedef struct cdtx_test_env cdtx_test_env;

/* One thread, virtual time: waiting until a time moves the clock there at once; waiting for ever on a word that nobody
 * can change answers CDTX_STOPPED. Must outlive the engines that use it. */
int32_t cdtx_test_env_new(cdtx_test_env **env, cdtx_error *err);
void cdtx_test_env_free(cdtx_test_env *env);
const cdtx_env *cdtx_test_env_port(cdtx_test_env *env);
/* Moves both clocks forward. */
void cdtx_test_env_advance(cdtx_test_env *env, int64_t ms);
/* Moves only the wall clock, forward or back. */
void cdtx_test_env_step_wall(cdtx_test_env *env, int64_t ms);
/* The nth allocation from now (1 is the next) fails, and with for_ever all after it; 0 switches it off. */
void cdtx_test_env_fail_memory(cdtx_test_env *env, uint64_t nth, int32_t for_ever);
/* Allocations made, and bytes now in use. */
uint64_t cdtx_test_env_allocations(cdtx_test_env *env);
uint64_t cdtx_test_env_bytes(cdtx_test_env *env);
/* This environment has that time zone from now on: bytes is its TZif file, copied; NULL takes the zone away. Without it
 * there is no zone but UTC. Errors: INVALID (no name), LIMIT (16 zones), NO_MEMORY. */
int32_t cdtx_test_env_set_zone(cdtx_test_env *env, const char *name, const void *bytes, size_t length, cdtx_error *err);

/* cdtx declarations end */

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
