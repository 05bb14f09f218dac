#include "attempt.h"

#include <stdio.h>

#include "cover.h"
#include "errand.h"

/* Clocks may be 5% off, and threads may stand between a look at the clock and what follows. */
enum { SLACK = 5 * MS };

static int64_t at_least(int64_t us) {
    return us * 19 / 20 - SLACK;
}

/* Where disks fail, an answer may have been written as the failure that its commit met. */
static int is_sure(const struct sim *sim) {
    static const enum fault_kind kinds[] = {FAULT_DISK_ERROR, FAULT_DISK_FULL, FAULT_SYNC, FAULT_MEMORY};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (knobs_have(&sim->knobs, kinds[i]))
            return 0;
    return 1;
}

/* R4 and L4: what an end was answered with says when the next attempt may come at the earliest. */
static void check_rest(struct life *life, const struct attempts *a) {
    struct sim *sim = life->sim;
    int64_t least = a->answer == SAID_FAILED || (!is_sure(sim) && a->wish_ms > ATTEMPT_BACKOFF_MIN_MS)
                        ? ATTEMPT_BACKOFF_MIN_MS
                        : a->wish_ms;
    int64_t rested = sim->world.now - a->answered_at;
    int waits = a->answer == SAID_FAILED || a->answer == SAID_AFTER || a->answer == SAID_SNOOZE;
    if (!waits || rested >= at_least(least * MS) || errand_clock_moved(life, a->which, a->answered_at))
        return;
    violate(&sim->world, a->answer == SAID_FAILED ? "L4" : "R4",
            "%s job %lld of database %d is tried again %lld ms after %s; the least is %lld ms", a->what,
            (long long)a->id, a->which, (long long)(rested / MS),
            a->answer == SAID_FAILED ? "it failed" : "it asked for a pause", (long long)least);
}

void attempt_waited(struct life *life, const struct attempts *a, int64_t put_at, int64_t delay_ms) {
    int64_t waited = life->sim->world.now - put_at;
    if (waited < at_least(delay_ms * MS) && !errand_clock_moved(life, a->which, put_at))
        violate(&life->sim->world, "R4",
                "%s job %lld of database %d starts %lld ms after it was put with a delay of %lld ms", a->what,
                (long long)a->id, a->which, (long long)(waited / MS), (long long)delay_ms);
}

/* R3: an attempt is counted before it is made, and a snooze is none. */
static void check_number(struct life *life, const struct attempts *a, const cdtx_work *work) {
    uint32_t number = cdtx_work_attempt(work);
    int next = cdtx_work_token(work) == a->token + 1;
    int snoozed = a->answer == SAID_SNOOZE;
    int fits = number > a->number ? !snoozed || !next || !is_sure(life->sim) : snoozed && number == a->number;
    if (!fits)
        violate(&life->sim->world, "R3",
                "%s job %lld of database %d starts with attempt %u, token %lld after %u, %lld%s", a->what,
                (long long)a->id, a->which, number, (long long)cdtx_work_token(work), a->number, (long long)a->token,
                snoozed ? ", which it snoozed" : "");
}

/* R2: a lease that a heartbeat has prolonged is nobody else's before it ends. */
static void check_lease(struct life *life, const struct attempts *a) {
    struct sim *sim = life->sim;
    int holds = a->lease_until > sim->world.now && a->answer == UNANSWERED && a->life->open && !a->life->owner.gone;
    if (holds && !errand_clock_moved(life, a->which, a->lease_until - ATTEMPT_LEASE_MS * MS))
        violate(&sim->world, "R2", "%s job %lld of database %d goes to %s; %s has its lease for %lld ms more", a->what,
                (long long)a->id, a->which, life->name, a->life->name,
                (long long)((a->lease_until - sim->world.now) / MS));
}

int attempt_begin(struct life *life, struct attempts *a, const cdtx_work *work) {
    struct sim *sim = life->sim;
    int64_t token = cdtx_work_token(work);
    tell(&sim->world, life->name, "%s job %lld of %d, attempt %u, token %lld", a->what, (long long)a->id, a->which,
         cdtx_work_attempt(work), (long long)token);
    if (token == a->token && a->life != life)
        violate(&sim->world, "R2", "%s job %lld of database %d is given to %s and to %s under the same token %lld",
                a->what, (long long)a->id, a->which, a->life->name, life->name, (long long)token);
    if (token <= a->token) /* run again with its group, or late after a pause */
        return token == a->token;
    if (a->ended)
        violate(&sim->world, "R2", "%s job %lld of database %d starts after it was settled", a->what, (long long)a->id,
                a->which);
    if (a->token != 0 && !a->anew) {
        if (token == a->token + 1)
            check_rest(life, a);
        check_number(life, a, work);
    }
    check_lease(life, a);
    a->number = cdtx_work_attempt(work);
    a->token = token;
    a->life = life;
    a->answer = UNANSWERED;
    a->lease_until = 0;
    a->leases++;
    return 1;
}

void attempt_answer(struct life *life, struct attempts *a, const cdtx_work *work, enum answer answer, int64_t wish_ms) {
    static const char *const names[] = {"",           "job done", "job failed", "job retries after", "job snoozes",
                                        "job refused"};
    if (cdtx_work_token(work) != a->token)
        return;
    cover(names[answer]);
    a->failures += answer == SAID_FAILED || answer == SAID_AFTER;
    a->answer = answer;
    a->answered_at = life->sim->world.now;
    a->wish_ms = wish_ms;
}

int32_t attempt_code(cdtx_work *work, enum answer answer, int64_t wish_ms, cdtx_error *err) {
    switch (answer) {
    case SAID_FAILED:
        return cdtx_error_set(err, CDTX_USER, "it failed");
    case SAID_AFTER:
        return cdtx_work_retry_after(work, wish_ms, "it asks for a pause", err);
    case SAID_SNOOZE:
        return cdtx_work_snooze(work, wish_ms, "it is not yet time", err);
    case SAID_NO:
        return cdtx_error_set(err, CDTX_REFUSED, "it is refused for good");
    default:
        return 0;
    }
}

static int32_t beat(struct life *life, struct attempts *a, cdtx_work *work) {
    struct sim *sim = life->sim;
    int64_t before = sim->world.now, highest = a->token, token = cdtx_work_token(work);
    int32_t rc = cdtx_work_heartbeat(work, NULL);
    env_alive(life);
    if (rc == 0 && token < highest)
        violate(&sim->world, "R2",
                "%s job %lld of database %d: a heartbeat under token %lld is taken; it was %lld then", a->what,
                (long long)a->id, a->which, (long long)token, (long long)highest);
    cover(rc == 0 ? "heartbeat" : rc == CDTX_CONFLICT ? "heartbeat lost" : "heartbeat failed");
    if (rc == 0 && token == a->token)
        a->lease_until = before + at_least(ATTEMPT_LEASE_MS * MS);
    return rc;
}

int32_t attempt_toil(struct life *life, struct attempts *a, cdtx_work *work, int64_t for_us, struct prng *prng) {
    int64_t until = life->sim->world.now + for_us;
    int32_t rc = 0;
    while (rc != CDTX_CONFLICT && life->sim->world.now < until) {
        env_think(life, prng_chance(prng, 1, 12) ? 2 * ATTEMPT_LEASE_MS * MS : ATTEMPT_LEASE_MS * MS / 3);
        rc = beat(life, a, work);
    }
    return rc == CDTX_CONFLICT ? rc : 0;
}
