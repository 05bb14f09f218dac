/* The pump: short tasks, timers and handlers' work, run on whatever threads are inside the engine. A thread that waits
 * for something of its own helps meanwhile with tasks and timers; only cdtx_run and cdtx_take also run work. */
#ifndef CDTX_ENGINE_PUMP_H
#define CDTX_ENGINE_PUMP_H

#include "base/list.h"
#include "base/lock.h"

struct pump;

struct task {
    struct list link;
    void (*run)(struct task *task);
};

/* Fires once, on a pump thread, with no lock held. */
struct timer {
    struct list link;
    int64_t at_us;
    void (*fire)(struct timer *timer);
};

/* Tasks of a host's database: only on the thread that has its turn. */
struct turn {
    struct list link; /* pump->turns */
    struct list tasks;
    uint64_t thread; /* 0: nobody lends one */
    int open;        /* turns may be taken */
};

/* What a thread waits for. Zeroed is closed. */
struct gate {
    int open;
    struct pump_waiter *waiter;
};

enum pump_what {
    PUMP_TASKS = 1, /* groups and timers */
    PUMP_WORK = 2,  /* and handlers */
    PUMP_STOPS = 4, /* ends with cdtx__pump_stop */
    PUMP_FIRM = 8   /* does not end with cdtx__pump_close: what it waits for is certain to come */
};

struct pump {
    const cdtx_env *env;
    struct lock lock;
    struct list tasks;
    struct list work;
    struct list timers; /* by time */
    struct list idle;   /* of pump_waiter */
    struct list turns;  /* of struct turn, all that there are */
    struct list inbox;  /* what cdtx_take hands out; see work.c */
    uint32_t inside;    /* API calls in progress */
    uint32_t wanted;    /* pieces of work that those in cdtx_take still want */
    int pullable;       /* something would be claimed if there were a taker */
    uint32_t stops;     /* counts cdtx__pump_stop */
    int closing;
    int broken;      /* something has stopped itself: nobody with PUMP_STOPS sleeps any more */
    uint64_t holder; /* thread whose posts wake nobody until it lets go; 0: none */
    int32_t bell;    /* descriptor, -1: none */
    int64_t bell_at_us;
};

void cdtx__pump_init(struct pump *pump, const cdtx_env *env);
/* Puts a task that is in no list. */
void cdtx__pump_post(struct pump *pump, struct task *task);
/* What this thread posts between these two wakes nobody before the second: many events in a row then find each other in
 * one group, where the first of them would have set off alone. One thread at a time; for others it changes nothing. */
void cdtx__pump_hold(struct pump *pump);
void cdtx__pump_let_go(struct pump *pump);
void cdtx__pump_post_work(struct pump *pump, struct task *task);
/* Takes out of the posted work what is like that, oldest first: at most `most` tasks, put into taken. */
uint32_t cdtx__pump_gather(struct pump *pump, int (*like)(const struct task *task, const void *that), const void *that,
                           uint32_t most, struct list *taken);
/* Sets the timer (1), or moves it when set already (0). */
int cdtx__pump_arm(struct pump *pump, struct timer *timer, int64_t at_us);
/* Moves it only to an earlier time. */
void cdtx__pump_arm_by(struct pump *pump, struct timer *timer, int64_t at_us);
/* 1: it was set and will not fire; 0: not set, or firing now. */
int cdtx__pump_disarm(struct pump *pump, struct timer *timer);
void cdtx__pump_add_turn(struct pump *pump, struct turn *turn);
/* From now on turns may be taken (1), or none (0): one that is under way runs no more tasks. */
void cdtx__pump_open_turn(struct pump *pump, struct turn *turn, int open);
/* The calling thread has it until turn_end; BUSY: another has. open is not looked at. */
int32_t cdtx__pump_turn_begin(struct pump *pump, struct turn *turn);
void cdtx__pump_turn_end(struct pump *pump, struct turn *turn);
void cdtx__pump_post_turn(struct pump *pump, struct turn *turn, struct task *task);
/* Opens the gate and wakes who waits for it. */
void cdtx__pump_open(struct pump *pump, struct gate *gate);

/* Helps until the gate is open (0), the time has come (CDTX_TIMEOUT), or the pump is closing or stopped (CDTX_STOPPED).
 * gate may be NULL. */
int32_t cdtx__pump_until(struct pump *pump, struct gate *gate, int64_t until_us, unsigned what);

/* The list that cdtx_take hands out from: put wakes a taker, take waits for one. */
void cdtx__pump_deliver(struct pump *pump, struct list *link);
/* A taker says how much it wants before it asks for claims, so that a claim that runs meanwhile knows of it. */
void cdtx__pump_want(struct pump *pump, uint32_t count);
/* Waits for one, moves what is there, at most count, into taken, and no longer wants anything. */
void cdtx__pump_take(struct pump *pump, uint32_t count, int64_t until_us, struct list *taken);
/* How much is wanted and not there yet. With none, and something there to pull, the bell rings until a taker comes. */
uint32_t cdtx__pump_hungry(struct pump *pump);
void cdtx__pump_pullable(struct pump *pump);
/* Pops a piece of work that was posted and not run; NULL: none. For closing. */
struct task *cdtx__pump_unrun(struct pump *pump);
struct list *cdtx__pump_untaken(struct pump *pump);

/* Counts a call in; CDTX_STOPPED when the pump is closing. */
int32_t cdtx__pump_enter(struct pump *pump);
void cdtx__pump_leave(struct pump *pump);
void cdtx__pump_stop(struct pump *pump);
/* Something has stopped itself: whoever sits in cdtx_run or cdtx_take must learn of it, now and later. */
void cdtx__pump_break(struct pump *pump);
/* Sends everybody home and waits until they have gone. */
void cdtx__pump_close(struct pump *pump);
/* Runs the tasks that are left, and closes the bell. Nobody may be inside. */
void cdtx__pump_drain(struct pump *pump);
/* The descriptor, made at the first call; negative: there is none. */
int32_t cdtx__pump_bell(struct pump *pump);

#endif
