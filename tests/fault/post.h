/* The other system under test, a post office: letters are messages of one topic, put in every way there is, and four
 * groups read them: `here` in order in the queue's own database, `away` in another one, `plain` by an effect with a
 * token, and `pulled` by taking several at once. Beside them there are hooks of global transactions, jobs with all
 * their policies, and a clock's strokes. Its databases are log.db, post.db with the queue, and shop.db. */
#ifndef FAULT_POST_H
#define FAULT_POST_H

#include "house.h"

enum post_deed {
    DEED_LETTER,  /* an outbox message beside the row `sent` */
    DEED_PROMISE, /* a global transaction that holds a message, with hooks */
    DEED_DEAL,    /* a local transaction in the shop that a half message stands for */
    DEED_CHORE,   /* a job that cdtx_run does */
    DEED_OFF,     /* taking one back */
    DEED_DOOM,    /* a job that never works out and has a deadline */
    DEED_ERRAND,  /* a job that post_pull does; each replaces the one before */
    DEED_KEPT,    /* the same, but the one before stays */
    DEED_DONE,    /* a pulled job, by its number, whose end was answered */
    POST_DEEDS
};

/* What of it is there. Who only puts letters has no consumers. */
enum { POST_PUTS = 1, POST_READS = 2, POST_ALL = 3 };

/* Reads and puts. */
int32_t post_open(struct house *house, const struct house_site *site, const struct house_options *options,
                  cdtx_error *err);
int32_t post_open_part(struct house *house, const struct house_site *site, const struct house_options *options,
                       int part, cdtx_error *err);

/* ---- deeds: announced before they are done, as UNKNOWN or, when they can never happen, as REFUSED ---- */

/* Keys begin with one letter that is the message's key, so order is kept among keys with the same first letter. One
 * with "poison" in it is refused by `here` and `pulled`, one with "slow" fails there once, one with "refuse" is a
 * promise that the shop refuses, one with "late" is a promise with a hook that is recorded behind its begin, one with
 * "taken-back" is a promise that the shop refuses to confirm, and whose policy then takes it back; such a one may hold
 * no message. */

enum letter_way { LETTER_SENT, LETTER_BY_HAND, LETTER_TORN, LETTER_TORN_BY_HAND };
/* Torn ones are rolled back by their own closure, or by hand. The same key again is sent once. */
int32_t post_letter(struct house *house, struct ledger *ledger, enum letter_way way, const char *key);

enum promise_way { PROMISE_DECLARED, PROMISE_STEPS, PROMISE_GIVEN_UP, PROMISE_FORGOTTEN };
int32_t post_promise(struct house *house, struct ledger *ledger, enum promise_way way, const char *key);
/* Tried, and neither decided nor closed. *tx must be closed after the house. */
void post_leave_open(struct house *house, struct ledger *ledger, const char *key, cdtx_tx **tx);

enum deal_way {
    DEAL_TOLD,     /* resolved as its local transaction ended */
    DEAL_UNTOLD,   /* left to the check */
    DEAL_BROKEN,   /* rolled back, and told */
    DEAL_FORGOTTEN /* prepared only */
};
/* *handle, if not NULL, gets the half's handle, "" if there is none. */
int32_t post_deal(struct house *house, struct ledger *ledger, enum deal_way way, const char *key,
                  char handle[CDTX_GID_MAX]);
/* The local transaction of a forgotten one comes after all: too late if it was checked. */
void post_deal_late(struct house *house, struct ledger *ledger, const char *key, const char *handle);
/* Tells a resolved half the opposite, which must be refused, and the same again. */
void post_contradict(struct house *house, struct ledger *ledger, const char *key, const char *handle);

int32_t post_chore(struct house *house, struct ledger *ledger, enum post_deed deed, const char *key,
                   const cdtx_job_options *options, int64_t *id);
/* Takes a chore back beside a row of its own, or, torn, thinks better of it. */
void post_call_off(struct house *house, struct ledger *ledger, const char *key, int64_t id, int torn);
/* An errand that replaces, or keeps, the one before. */
void post_errand(struct house *house, struct ledger *ledger, enum post_deed deed, const char *key);
/* One thing that is pulled; NULL: none came. */
cdtx_work *post_take(struct house *house, struct ledger *ledger, int64_t for_ms);
void post_run_errand(struct house *house, struct ledger *ledger, cdtx_work *work);
/* Takes, does and settles what comes, until nothing does for that long. */
void post_pull(struct house *house, struct ledger *ledger, int64_t for_ms);
/* Takes what comes and keeps it longer than its lease, so that it comes again before it is settled. */
void post_dawdle(struct house *house, struct ledger *ledger, int64_t for_ms);

/* As house_drain. */
int32_t post_drain(struct house *house, struct ledger *ledger, int64_t for_ms);
/* Whoever was not told yes or a definite no asks again with the same key. Returns how many did. */
uint32_t post_ask_again(struct house *house, struct ledger *ledger);

#endif
