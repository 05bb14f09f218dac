/* The Nth failpoint of the library that is passed fails, once or from then on; at the post office each must have. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "life.h"
#include "sweep.h"

/* All, as tests/tidy checks, but for "msg.park": it raises an alarm, so it is left to the simulator. */
static const char *const points[] = {
    "call.send",        "cron.fire",       "drive.decide",       "drive.decided",       "drive.reversing", "floor.trim",
    "hook.put",         "msg.check_reply", "msg.check_send",     "msg.end_recv",        "msg.half_put",    "msg.hold",
    "msg.inbox_insert", "msg.publish",     "msg.settle",         "retry.claim",         "retry.complete",  "retry.dead",
    "retry.run",        "store.begin",     "store.commit.after", "store.commit.before", "trim.start",
};
enum { POINTS = sizeof points / sizeof points[0] };

static struct {
    struct ledger *ledger;
    uint64_t nth, seen;
    int for_ever;
} plan;
static uint64_t struck[POINTS];

static int strike(const char *name) {
    plan.seen++;
    if (plan.seen < plan.nth || (plan.seen > plan.nth && !plan.for_ever))
        return 0;
    for (size_t i = 0; i < POINTS; i++)
        if (strcmp(points[i], name) == 0) {
            struck[i]++;
            return 1;
        }
    ledger_complain(plan.ledger, "failpoint %s is not among those that shall be struck", name);
    return 1;
}

static void arm(struct run *run) {
    plan.ledger = &run->ledger;
    plan.nth = run->n;
    plan.seen = 0;
    plan.for_ever = run->sweep->for_ever;
    life_failpoint = strike;
}

static int disarm(struct run *run) {
    (void)run;
    life_failpoint = NULL;
    return plan.seen >= plan.nth;
}

static int all_struck(void) {
    int missing = 0;
    for (size_t i = 0; i < POINTS; i++)
        if (struck[i] == 0) {
            printf("failpoint %s was never struck\n", points[i]);
            missing++;
        }
    return missing == 0;
}

int main(int argc, char **argv) {
    static const struct sweep sweeps[] = {
        {.name = "failpoint once", .least = 150, .arm = arm, .disarm = disarm},
        {.name = "failpoints for ever", .least = 150, .for_ever = 1, .arm = arm, .disarm = disarm},
    };
    for (size_t i = 0; i < sizeof sweeps / sizeof sweeps[0]; i++) {
        sweep_add(&sweeps[i]);
        sweep_add_post(&sweeps[i], (uint64_t[CHAPTERS]){200, 200, 230, 180, 200});
    }
    int status = sweep_main(argc, argv);
    int whole = argc == 2 && strcmp(argv[1], "--post") == 0;
    return whole && !all_struck() ? EXIT_FAILURE : status;
}
