/* Test doubles for programs that use libcdtx: a link that loses, doubles and holds calls, and an environment whose
 * clock the test moves and whose memory can run out. Rules for all functions: cdtx/cdtx.h. */
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
    CDTX_FAULT_HOLD = 4        /* kept until cdtx_test_link_release */
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
int32_t cdtx_test_env_set_zone(cdtx_test_env *env, const char *name, const void *bytes, size_t length,
                               cdtx_error *err);

/* cdtx declarations end */

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
