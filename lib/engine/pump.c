#include "engine/pump.h"

struct pump_waiter {
    struct list link; /* in pump->idle */
    uint32_t word;
    unsigned what;
    int taker;
    uint64_t thread; /* known only if there are turns */
};

void cdtx__pump_init(struct pump *pump, const cdtx_env *env) {
    *pump = (struct pump){.env = env, .bell = -1, .bell_at_us = INT64_MAX};
    list_init(&pump->tasks);
    list_init(&pump->work);
    list_init(&pump->timers);
    list_init(&pump->idle);
    list_init(&pump->turns);
    list_init(&pump->inbox);
}

/* ---- waking ---- */

/* The waiter may have left by the time of the wake itself; a futex wake of a stale address wakes nobody. */
static uint32_t *rouse_locked(struct pump_waiter *waiter) {
    list_remove(&waiter->link);
    __atomic_store_n(&waiter->word, 1, __ATOMIC_RELEASE);
    return &waiter->word;
}

static uint32_t *rouse_one_locked(struct pump *pump, unsigned what) {
    for (struct list *link = pump->idle.next; link != &pump->idle; link = link->next) {
        struct pump_waiter *waiter = LIST_OF(link, struct pump_waiter, link);
        if ((waiter->what & what) == what)
            return rouse_locked(waiter);
    }
    return NULL;
}

static void wake(struct pump *pump, uint32_t *word) {
    if (word != NULL)
        pump->env->wake(pump->env->user, word, 1);
}

static int64_t next_timer_locked(const struct pump *pump) {
    return list_empty(&pump->timers) ? INT64_MAX : LIST_OF(pump->timers.next, struct timer, link)->at_us;
}

static int wants_turn_locked(const struct pump *pump) {
    for (struct list *link = pump->turns.next; link != &pump->turns; link = link->next) {
        const struct turn *turn = LIST_OF(link, struct turn, link);
        if (turn->open && turn->thread == 0 && !list_empty(&turn->tasks))
            return 1;
    }
    return 0;
}

/* The bell tells a host's event loop when to call cdtx_take, or lend a turn: now if something is there, else at the
 * next timer. */
static void set_bell_locked(struct pump *pump) {
    if (pump->bell < 0)
        return;
    int64_t at = next_timer_locked(pump);
    if (!list_empty(&pump->tasks) || !list_empty(&pump->work) || !list_empty(&pump->inbox) || pump->pullable ||
        wants_turn_locked(pump))
        at = 0;
    if (at == pump->bell_at_us)
        return;
    pump->bell_at_us = at;
    pump->env->bell(pump->env->user, pump->bell, at);
}

static void unlock_and_wake(struct pump *pump, uint32_t *word) {
    set_bell_locked(pump);
    cdtx__unlock(pump->env, &pump->lock);
    wake(pump, word);
}

void cdtx__pump_post(struct pump *pump, struct task *task) {
    cdtx__lock(pump->env, &pump->lock);
    list_push(&pump->tasks, &task->link);
    int held = pump->holder != 0 && pump->holder == pump->env->self(pump->env->user);
    unlock_and_wake(pump, held ? NULL : rouse_one_locked(pump, PUMP_TASKS));
}

void cdtx__pump_hold(struct pump *pump) {
    cdtx__lock(pump->env, &pump->lock);
    if (pump->holder == 0)
        pump->holder = pump->env->self(pump->env->user);
    cdtx__unlock(pump->env, &pump->lock);
}

void cdtx__pump_let_go(struct pump *pump) {
    cdtx__lock(pump->env, &pump->lock);
    if (pump->holder == pump->env->self(pump->env->user)) {
        pump->holder = 0;
        for (struct list *link = pump->tasks.next; link != &pump->tasks; link = link->next)
            wake(pump, rouse_one_locked(pump, PUMP_TASKS));
    }
    cdtx__unlock(pump->env, &pump->lock);
}

void cdtx__pump_post_work(struct pump *pump, struct task *task) {
    cdtx__lock(pump->env, &pump->lock);
    list_push(&pump->work, &task->link);
    unlock_and_wake(pump, rouse_one_locked(pump, PUMP_WORK));
}

uint32_t cdtx__pump_gather(struct pump *pump, int (*like)(const struct task *task, const void *that), const void *that,
                           uint32_t most, struct list *taken) {
    uint32_t count = 0;
    cdtx__lock(pump->env, &pump->lock);
    for (struct list *link = pump->work.next, *next; link != &pump->work && count < most; link = next) {
        next = link->next;
        if (!like(LIST_OF(link, struct task, link), that))
            continue;
        list_remove(link);
        list_push(taken, link);
        count++;
    }
    unlock_and_wake(pump, NULL);
    return count;
}

/* ---- turns ---- */

void cdtx__pump_add_turn(struct pump *pump, struct turn *turn) {
    list_init(&turn->tasks);
    cdtx__lock(pump->env, &pump->lock);
    list_push(&pump->turns, &turn->link);
    cdtx__unlock(pump->env, &pump->lock);
}

void cdtx__pump_open_turn(struct pump *pump, struct turn *turn, int open) {
    cdtx__lock(pump->env, &pump->lock);
    turn->open = open;
    unlock_and_wake(pump, NULL);
}

int32_t cdtx__pump_turn_begin(struct pump *pump, struct turn *turn) {
    cdtx__lock(pump->env, &pump->lock);
    int32_t rc = turn->thread != 0 ? CDTX_BUSY : 0;
    if (rc == 0)
        turn->thread = pump->env->self(pump->env->user);
    unlock_and_wake(pump, NULL);
    return rc;
}

void cdtx__pump_turn_end(struct pump *pump, struct turn *turn) {
    cdtx__lock(pump->env, &pump->lock);
    turn->thread = 0;
    unlock_and_wake(pump, NULL);
}

void cdtx__pump_post_turn(struct pump *pump, struct turn *turn, struct task *task) {
    uint32_t *word = NULL;
    cdtx__lock(pump->env, &pump->lock);
    list_push(&turn->tasks, &task->link);
    for (struct list *link = pump->idle.next; link != &pump->idle && word == NULL && turn->thread != 0;
         link = link->next) {
        struct pump_waiter *waiter = LIST_OF(link, struct pump_waiter, link);
        if (waiter->thread == turn->thread) {
            word = rouse_locked(waiter);
            break;
        }
    }
    unlock_and_wake(pump, word);
}

static struct list *turn_task_locked(struct pump *pump, uint64_t thread) {
    for (struct list *link = pump->turns.next; link != &pump->turns && thread != 0; link = link->next) {
        struct turn *turn = LIST_OF(link, struct turn, link);
        if (turn->open && turn->thread == thread && !list_empty(&turn->tasks))
            return list_pop(&turn->tasks);
    }
    return NULL;
}

static uint64_t self_if_turns_locked(const struct pump *pump) {
    return list_empty(&pump->turns) ? 0 : pump->env->self(pump->env->user);
}

void cdtx__pump_open(struct pump *pump, struct gate *gate) {
    uint32_t *word = NULL;
    cdtx__lock(pump->env, &pump->lock);
    gate->open = 1;
    if (gate->waiter != NULL && list_linked(&gate->waiter->link))
        word = rouse_locked(gate->waiter);
    cdtx__unlock(pump->env, &pump->lock);
    wake(pump, word);
}

/* ---- timers ---- */

static uint32_t *insert_locked(struct pump *pump, struct timer *timer, int64_t at_us) {
    timer->at_us = at_us;
    struct list *before = pump->timers.prev; /* most timers come later than those that are set */
    while (before != &pump->timers && LIST_OF(before, struct timer, link)->at_us > at_us)
        before = before->prev;
    list_push(before->next, &timer->link);
    return before == &pump->timers ? rouse_one_locked(pump, PUMP_TASKS) : NULL;
}

int cdtx__pump_arm(struct pump *pump, struct timer *timer, int64_t at_us) {
    cdtx__lock(pump->env, &pump->lock);
    int moved = list_linked(&timer->link);
    if (moved)
        list_remove(&timer->link);
    unlock_and_wake(pump, insert_locked(pump, timer, at_us));
    return !moved;
}

void cdtx__pump_arm_by(struct pump *pump, struct timer *timer, int64_t at_us) {
    uint32_t *word = NULL;
    cdtx__lock(pump->env, &pump->lock);
    if (!list_linked(&timer->link)) {
        word = insert_locked(pump, timer, at_us);
    } else if (at_us < timer->at_us) {
        list_remove(&timer->link);
        word = insert_locked(pump, timer, at_us);
    }
    unlock_and_wake(pump, word);
}

int cdtx__pump_disarm(struct pump *pump, struct timer *timer) {
    cdtx__lock(pump->env, &pump->lock);
    int set = list_linked(&timer->link);
    if (set)
        list_remove(&timer->link);
    cdtx__unlock(pump->env, &pump->lock);
    return set;
}

static struct timer *due_timer_locked(struct pump *pump, int64_t now) {
    if (next_timer_locked(pump) > now)
        return NULL;
    return LIST_OF(list_pop(&pump->timers), struct timer, link);
}

/* ---- threads inside ---- */

/* Runs one thing if there is one, with the lock released meanwhile; 0: nothing to do. */
static int step_locked(struct pump *pump, unsigned what, uint64_t thread) {
    struct timer *timer = due_timer_locked(pump, cdtx__now_us(pump->env));
    struct list *link = timer != NULL ? NULL : turn_task_locked(pump, thread);
    if (timer == NULL && link == NULL)
        link = list_pop(&pump->tasks);
    if (timer == NULL && link == NULL && (what & PUMP_WORK))
        link = list_pop(&pump->work);
    if (timer == NULL && link == NULL)
        return 0;
    cdtx__unlock(pump->env, &pump->lock);
    if (timer != NULL) {
        timer->fire(timer);
    } else {
        struct task *task = LIST_OF(link, struct task, link);
        task->run(task);
    }
    cdtx__lock(pump->env, &pump->lock);
    return 1;
}

static int32_t sleep_locked(struct pump *pump, struct pump_waiter *waiter, int64_t until_us) {
    if (pump->broken && (waiter->what & PUMP_STOPS))
        return CDTX_STOPPED;
    int64_t timer = next_timer_locked(pump);
    waiter->word = 0;
    list_push(&pump->idle, &waiter->link);
    set_bell_locked(pump);
    cdtx__unlock(pump->env, &pump->lock);
    int32_t rc = pump->env->wait(pump->env->user, &waiter->word, 0, timer < until_us ? timer : until_us);
    cdtx__lock(pump->env, &pump->lock);
    if (list_linked(&waiter->link))
        list_remove(&waiter->link);
    return rc;
}

/* Whoever leaves passes on what it was woken for. */
static void leave_locked(struct pump *pump) {
    uint32_t *word = NULL;
    if (!list_empty(&pump->work))
        word = rouse_one_locked(pump, PUMP_WORK);
    else if (!list_empty(&pump->tasks) || !list_empty(&pump->timers))
        word = rouse_one_locked(pump, PUMP_TASKS);
    unlock_and_wake(pump, word);
}

static int32_t over_locked(const struct pump *pump, const struct gate *gate, uint32_t stops, unsigned what) {
    if (gate != NULL && gate->open)
        return 0;
    if (pump->closing && !(what & PUMP_FIRM))
        return CDTX_STOPPED;
    if ((what & PUMP_STOPS) && pump->stops != stops)
        return CDTX_STOPPED;
    return CDTX_BUSY;
}

int32_t cdtx__pump_until(struct pump *pump, struct gate *gate, int64_t until_us, unsigned what) {
    struct pump_waiter waiter = {.what = what};
    cdtx__lock(pump->env, &pump->lock);
    waiter.thread = self_if_turns_locked(pump);
    uint32_t stops = pump->stops;
    int bounded = until_us > cdtx__now_us(pump->env); /* else: until nothing is left to do */
    if (gate != NULL)
        gate->waiter = &waiter;
    int32_t rc;
    for (;;) {
        rc = over_locked(pump, gate, stops, what);
        if (rc != CDTX_BUSY)
            break;
        if (step_locked(pump, what, waiter.thread) && !(bounded && cdtx__now_us(pump->env) >= until_us))
            continue;
        if (cdtx__now_us(pump->env) >= until_us) {
            rc = CDTX_TIMEOUT;
            break;
        }
        if (sleep_locked(pump, &waiter, until_us) != 0) {
            rc = CDTX_STOPPED;
            break;
        }
    }
    if (gate != NULL)
        gate->waiter = NULL;
    leave_locked(pump);
    return rc;
}

void cdtx__pump_deliver(struct pump *pump, struct list *link) {
    uint32_t *word = NULL;
    cdtx__lock(pump->env, &pump->lock);
    list_push(&pump->inbox, link);
    for (struct list *idle = pump->idle.next; idle != &pump->idle && word == NULL; idle = idle->next) {
        struct pump_waiter *waiter = LIST_OF(idle, struct pump_waiter, link);
        if (waiter->taker) {
            word = rouse_locked(waiter);
            break;
        }
    }
    unlock_and_wake(pump, word);
}

void cdtx__pump_want(struct pump *pump, uint32_t count) {
    cdtx__lock(pump->env, &pump->lock);
    pump->wanted += count;
    pump->pullable = 0;
    cdtx__unlock(pump->env, &pump->lock);
}

void cdtx__pump_take(struct pump *pump, uint32_t count, int64_t until_us, struct list *taken) {
    struct pump_waiter waiter = {.what = PUMP_TASKS | PUMP_WORK | PUMP_STOPS, .taker = 1};
    cdtx__lock(pump->env, &pump->lock);
    waiter.thread = self_if_turns_locked(pump);
    uint32_t stops = pump->stops;
    struct list *link;
    while (list_empty(&pump->inbox)) {
        if (over_locked(pump, NULL, stops, PUMP_STOPS) != CDTX_BUSY)
            break;
        if (step_locked(pump, waiter.what, waiter.thread))
            continue;
        if (cdtx__now_us(pump->env) >= until_us || sleep_locked(pump, &waiter, until_us) != 0)
            break;
    }
    for (uint32_t n = 0; n < count && (link = list_pop(&pump->inbox)) != NULL; n++)
        list_push(taken, link);
    pump->wanted -= count;
    leave_locked(pump);
}

static uint32_t length(const struct list *head) {
    uint32_t n = 0;
    for (const struct list *link = head->next; link != head; link = link->next)
        n++;
    return n;
}

uint32_t cdtx__pump_hungry(struct pump *pump) {
    cdtx__lock(pump->env, &pump->lock);
    uint32_t served = pump->wanted == 0 ? 0 : length(&pump->inbox);
    uint32_t hungry = pump->wanted > served ? pump->wanted - served : 0;
    cdtx__unlock(pump->env, &pump->lock);
    return hungry;
}

void cdtx__pump_pullable(struct pump *pump) {
    cdtx__lock(pump->env, &pump->lock);
    pump->pullable = pump->wanted == 0;
    set_bell_locked(pump);
    cdtx__unlock(pump->env, &pump->lock);
}

struct task *cdtx__pump_unrun(struct pump *pump) {
    cdtx__lock(pump->env, &pump->lock);
    struct list *link = list_pop(&pump->work);
    cdtx__unlock(pump->env, &pump->lock);
    return link == NULL ? NULL : LIST_OF(link, struct task, link);
}

struct list *cdtx__pump_untaken(struct pump *pump) {
    cdtx__lock(pump->env, &pump->lock);
    struct list *link = list_pop(&pump->inbox);
    cdtx__unlock(pump->env, &pump->lock);
    return link;
}

int32_t cdtx__pump_enter(struct pump *pump) {
    cdtx__lock(pump->env, &pump->lock);
    int32_t rc = pump->closing ? CDTX_STOPPED : 0;
    if (rc == 0)
        pump->inside++;
    cdtx__unlock(pump->env, &pump->lock);
    return rc;
}

void cdtx__pump_leave(struct pump *pump) {
    uint32_t *word = NULL;
    cdtx__lock(pump->env, &pump->lock);
    pump->inside--;
    if (pump->closing && pump->inside == 0)
        word = &pump->inside;
    cdtx__unlock(pump->env, &pump->lock);
    wake(pump, word);
}

static void rouse_all_locked(struct pump *pump) {
    while (!list_empty(&pump->idle)) {
        struct pump_waiter *waiter = LIST_OF(pump->idle.next, struct pump_waiter, link);
        wake(pump, rouse_locked(waiter));
    }
}

void cdtx__pump_stop(struct pump *pump) {
    cdtx__lock(pump->env, &pump->lock);
    pump->stops++;
    rouse_all_locked(pump);
    cdtx__unlock(pump->env, &pump->lock);
}

void cdtx__pump_break(struct pump *pump) {
    cdtx__lock(pump->env, &pump->lock);
    pump->broken = 1;
    rouse_all_locked(pump);
    cdtx__unlock(pump->env, &pump->lock);
}

void cdtx__pump_close(struct pump *pump) {
    cdtx__lock(pump->env, &pump->lock);
    pump->closing = 1;
    rouse_all_locked(pump);
    while (pump->inside > 0) {
        uint32_t inside = pump->inside;
        cdtx__unlock(pump->env, &pump->lock);
        pump->env->wait(pump->env->user, &pump->inside, inside, INT64_MAX);
        cdtx__lock(pump->env, &pump->lock);
    }
    cdtx__unlock(pump->env, &pump->lock);
}

void cdtx__pump_drain(struct pump *pump) {
    struct list *link;
    cdtx__lock(pump->env, &pump->lock);
    while ((link = list_pop(&pump->tasks)) != NULL) {
        struct task *task = LIST_OF(link, struct task, link);
        cdtx__unlock(pump->env, &pump->lock);
        task->run(task);
        cdtx__lock(pump->env, &pump->lock);
    }
    if (pump->bell >= 0)
        pump->env->bell(pump->env->user, pump->bell, -1);
    pump->bell = -1;
    cdtx__unlock(pump->env, &pump->lock);
}

int32_t cdtx__pump_bell(struct pump *pump) {
    cdtx__lock(pump->env, &pump->lock);
    if (pump->bell < 0 && pump->env->bell != NULL) {
        pump->bell = pump->env->bell(pump->env->user, -1, INT64_MAX);
        pump->bell_at_us = INT64_MAX;
        set_bell_locked(pump);
    }
    int32_t bell = pump->bell;
    cdtx__unlock(pump->env, &pump->lock);
    return bell;
}
