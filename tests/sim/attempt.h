/* The attempts at one job, of whatever kind: what R2, R3, R4 and L4 say of each start, by what its handlers were given
 * and what they answered. */
#ifndef SIM_ATTEMPT_H
#define SIM_ATTEMPT_H

#include "sim.h"

enum answer { UNANSWERED, SAID_YES, SAID_FAILED, SAID_AFTER, SAID_SNOOZE, SAID_NO };

struct attempts {
    const char *what; /* for people */
    int which;        /* its database, by clerk.h's numbers */
    int64_t id;
    uint32_t number; /* of the highest lease that came to a start: its attempt, token and holder */
    int64_t token;
    const struct life *life;
    enum answer answer; /* to it */
    int64_t answered_at, wish_ms;
    int64_t lease_until;       /* by its last heartbeat; 0: none */
    int ended;                 /* it was settled with a yes, and that was written */
    int anew;                  /* a person or a put may have made them count from 1, and due at once */
    uint32_t leases, failures; /* starts under new tokens, and those that were answered with a failure */
};

enum { ATTEMPT_LEASE_MS = 1500, ATTEMPT_BACKOFF_MIN_MS = 40, ATTEMPT_BACKOFF_MAX_MS = 400 };

/* A handler starts. 1: under the highest token; 0: late, its end will be refused. */
int attempt_begin(struct life *life, struct attempts *attempts, const cdtx_work *work);
/* R4: a job that was put then with that delay is not begun before it. */
void attempt_waited(struct life *life, const struct attempts *attempts, int64_t put_at, int64_t delay_ms);
void attempt_answer(struct life *life, struct attempts *attempts, const cdtx_work *work, enum answer answer,
                    int64_t wish_ms);
/* Does something long, with heartbeats, of which some come too late; 0, or what one was answered: then it must stop. */
int32_t attempt_toil(struct life *life, struct attempts *attempts, cdtx_work *work, int64_t for_us, struct prng *prng);
/* How a handler's answer is given. */
int32_t attempt_code(cdtx_work *work, enum answer answer, int64_t wish_ms, cdtx_error *err);

#endif
