/* The Nth call of SQLite to its file system fails, or the power is cut there; then the house opens again on what the
 * disk has. */
#include <string.h>

#include "sweep.h"

enum { ANY = 0, CUT = 100 /* the power, before the call; CUT + enum disk_crash */ };

static struct {
    struct disk *disk;
    int fault, op, for_ever, struck;
    uint64_t nth, seen;
} plan;

static int strike(void *user, const struct disk_call *call) {
    (void)user;
    if (plan.op != ANY && (int)call->op != plan.op)
        return DISK_PASS;
    plan.seen++;
    if (plan.seen < plan.nth || (plan.seen > plan.nth && !plan.for_ever))
        return DISK_PASS;
    plan.struck = 1;
    if (plan.fault < CUT)
        return plan.fault;
    disk_power_loss(plan.disk, (enum disk_crash)(plan.fault - CUT));
    return DISK_PASS;
}

static void arm(struct run *run) {
    const struct sweep *sweep = run->sweep;
    memset(&plan, 0, sizeof plan);
    plan.disk = run->disk;
    plan.fault = sweep->fault;
    plan.op = sweep->kind;
    plan.for_ever = sweep->for_ever;
    plan.nth = run->n;
    disk_set_fault(run->disk, strike, NULL);
}

static int disarm(struct run *run) {
    disk_set_fault(run->disk, NULL, NULL);
    return plan.struck;
}

#define SWEEP .arm = arm, .disarm = disarm, .stops = 1

int main(int argc, char **argv) {
    static const struct sweep sweeps[] = {
        {.name = "disk fails once", .fault = DISK_FAIL_IO, .kind = ANY, .least = 300, SWEEP},
        {.name = "disk fails for ever", .fault = DISK_FAIL_IO, .kind = ANY, .for_ever = 1, .least = 300, SWEEP},
        {.name = "disk full once", .fault = DISK_FAIL_FULL, .kind = DISK_WRITE, .least = 100, SWEEP},
        {.name = "disk full for ever", .fault = DISK_FAIL_FULL, .kind = DISK_WRITE, .for_ever = 1, .least = 100, SWEEP},
        {.name = "short write once", .fault = DISK_SHORT_WRITE, .kind = DISK_WRITE, .least = 100, SWEEP},
        {.name = "sync fails, restart", .fault = DISK_FAIL_SYNC, .kind = DISK_SYNC, .least = 40, SWEEP},
        {.name = "sync fails, power loss", .fault = DISK_FAIL_SYNC, .kind = DISK_SYNC, .least = 40,
         .crash_after_story = DISK_KEEP_NONE, SWEEP},
        {.name = "sync fails, restart, power loss", .fault = DISK_FAIL_SYNC, .kind = DISK_SYNC, .least = 40,
         .crash_after_recovery = DISK_KEEP_NONE, SWEEP},
        {.name = "sync fails for ever", .fault = DISK_FAIL_SYNC, .kind = DISK_SYNC, .for_ever = 1, .least = 40,
         .crash_after_story = DISK_KEEP_SOME, SWEEP},
        {.name = "write fails, power loss", .fault = DISK_FAIL_IO, .kind = DISK_WRITE, .least = 100,
         .crash_after_story = DISK_KEEP_SOME, SWEEP},
        {.name = "kill", .fault = DISK_DIE_BEFORE, .kind = ANY, .least = 300, SWEEP},
        {.name = "power cut, none kept", .fault = CUT + DISK_KEEP_NONE, .kind = DISK_WRITE, .least = 100, SWEEP},
        {.name = "power cut, some kept", .fault = CUT + DISK_KEEP_SOME, .kind = ANY, .least = 300, SWEEP},
        {.name = "disk fails once, on ruins", .fault = DISK_FAIL_IO, .kind = ANY, .ruins = 1, .least = 100, SWEEP},
        {.name = "sync fails, power loss, on ruins", .fault = DISK_FAIL_SYNC, .kind = DISK_SYNC, .ruins = 1,
         .least = 10, .crash_after_story = DISK_KEEP_NONE, SWEEP},
        {.name = "power cut, some kept, on ruins", .fault = CUT + DISK_KEEP_SOME, .kind = ANY, .ruins = 1, .least = 100,
         SWEEP},
        {.name = "power cut twice", .fault = CUT + DISK_KEEP_SOME, .kind = DISK_SYNC, .least = 40,
         .crash_after_recovery = DISK_KEEP_SOME, SWEEP},
    };
    static const struct sweep posts[] = {
        {.name = "disk fails once", .fault = DISK_FAIL_IO, .kind = ANY, .stride = 5, SWEEP},
        {.name = "sync fails, power loss", .fault = DISK_FAIL_SYNC, .kind = DISK_SYNC,
         .crash_after_story = DISK_KEEP_NONE, SWEEP},
        {.name = "kill", .fault = DISK_DIE_BEFORE, .kind = DISK_WRITE, .stride = 4, SWEEP},
        {.name = "power cut, some kept", .fault = CUT + DISK_KEEP_SOME, .kind = DISK_WRITE, .stride = 4,
         .phase = 2, SWEEP},
        {.name = "power cut twice", .fault = CUT + DISK_KEEP_SOME, .kind = DISK_SYNC,
         .crash_after_recovery = DISK_KEEP_SOME, SWEEP},
    };
    static const uint64_t least[CHAPTERS] = {20, 20, 20, 15, 25};
    for (size_t i = 0; i < sizeof sweeps / sizeof sweeps[0]; i++)
        sweep_add(&sweeps[i]);
    for (size_t i = 0; i < sizeof posts / sizeof posts[0]; i++)
        sweep_add_post(&posts[i], least);
    return sweep_main(argc, argv);
}
