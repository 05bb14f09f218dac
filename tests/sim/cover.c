#include "cover.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static const char *const names[] = {
    /* kinds of fault */
    "crash-point",
    "crash-time",
    "power",
    "die-writing",
    "disk-error",
    "disk-full",
    "sync",
    "memory",
    "restart",
    "loss",
    "double",
    "reorder",
    "clog",
    "replay",
    "send",
    "pause",
    "clock",
    "drift",
    "spurious",
    "handler-error",
    "handler-slow",
    "client-slow",
    "abandon",
    "yield",
    /* shapes */
    "shared-log",
    "one-log",
    "all-in-one",
    "all-shared",
    "loopback",
    "rogue",
    "echo",
    "night",
    "replay hours later",
    "dead participant",
    "compared with the dead",
    /* failpoints of the library */
    "store.begin",
    "store.commit.before",
    "store.commit.after",
    "call.send",
    "retry.claim",
    "retry.run",
    "retry.complete",
    "retry.dead",
    "msg.inbox_insert",
    "drive.decide",
    "drive.decided",
    "drive.reversing",
    "floor.trim",
    "trim.start",
    /* moves of a global transaction */
    "ACTIVE>COMMITTING",
    "ACTIVE>ROLLING_BACK",
    "COMMITTING>COMMITTED",
    "ROLLING_BACK>ROLLED_BACK",
    "COMMITTING>REVERSING",
    "REVERSING>REVERSED",
    "parked",
    "outcome dropped",
    "floor raised",
    /* what clients were answered */
    "client CDTX_OK",
    "client CDTX_REFUSED",
    "client CDTX_TIMEOUT",
    "client CDTX_UNKNOWN",
    "client CDTX_STOPPED",
    "client CDTX_EXPIRED",
    /* what the clerks do */
    "closure",
    "closure fails",
    "closure bad sql",
    "closure breaks out",
    "closure waits",
    "handle",
    "handle rollback",
    "handle left",
    "errand-local",
    "errand-plain",
    "errand-pulled",
    "errand-taken",
    "settled together",
    "local",
    "else",
    "plain",
    "pulled",
    "unique reject",
    "unique replace",
    "unique keep",
    "unique debounce",
    "cancel in a transaction",
    "cancel by key",
    "redrive",
    "pause a handler",
    "resume a handler",
    "as many as may run",
    "in order",
    "at its rate",
    "dead chore",
    "killer",
    "dead of its crashes",
    "last chance",
    "job done",
    "job failed",
    "job retries after",
    "job snoozes",
    "job refused",
    "heartbeat",
    "heartbeat lost",
    "consumer in local",
    "consumer elsewhere",
    "consumer plain",
    "consumer pulled",
    "message of a clerk",
    "message of a try",
    "message of a confirm",
    "message of a cancel",
    "delivered in order",
    "dead letter",
    "dead letter, refused",
    "redrive messages",
    "msg.publish",
    "msg.hold",
    "msg.settle",
    "message of a half",
    "half at home",
    "half elsewhere",
    "half resolved",
    "half resolved the other way",
    "half ended by another",
    "half parked",
    "mark refused",
    "check open",
    "check committed",
    "check rolled back",
    "msg.half_put",
    "msg.end_recv",
    "msg.check_send",
    "msg.check_reply",
    "msg.park",
    "cron",
    "slot left out",
    "schedule replaced",
    "cron.fire",
    "commit hook",
    "rollback hook",
    "hook before begin",
    "hook behind begin",
    "hook.put",
    "person retries",
    "person parks",
    "person unparks",
    "person resolves",
    "person cancels a job",
    "person retries a job",
    /* cells of the guard table */
    "guard-absent-try",
    "guard-tried-try",
    "guard-rejected-try",
    "guard-confirmed-try",
    "guard-cancelled-try",
    "guard-empty-try",
    "guard-absent-confirm",
    "guard-tried-confirm",
    "guard-rejected-confirm",
    "guard-confirmed-confirm",
    "guard-cancelled-confirm",
    "guard-empty-confirm",
    "guard-absent-cancel",
    "guard-tried-cancel",
    "guard-rejected-cancel",
    "guard-confirmed-cancel",
    "guard-cancelled-cancel",
    "guard-empty-cancel",
    "guard-reversed-try",
    "guard-reversed-confirm",
    "guard-reversed-cancel",
    "guard-absent-reverse",
    "guard-tried-reverse",
    "guard-rejected-reverse",
    "guard-confirmed-reverse",
    "guard-cancelled-reverse",
    "guard-empty-reverse",
    "guard-reversed-reverse",
    "below the floor",
};

enum { NAMES = sizeof names / sizeof names[0], SLOTS = 512 };

static uint64_t *counts;      /* shared between processes */
static uint16_t slots[SLOTS]; /* index + 1 by hash */

static uint32_t slot_of(const char *name) {
    uint32_t hash = 2166136261U;
    for (; *name != '\0'; name++)
        hash = (hash ^ (uint8_t)*name) * 16777619U;
    return hash % SLOTS;
}

void cover_init(void) {
    counts = mmap(NULL, sizeof(uint64_t) * NAMES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (counts == MAP_FAILED) {
        perror("sim: mmap");
        exit(2);
    }
    for (uint16_t i = 0; i < NAMES; i++) {
        uint32_t at = slot_of(names[i]);
        while (slots[at] != 0)
            at = (at + 1) % SLOTS;
        slots[at] = (uint16_t)(i + 1);
    }
}

void cover(const char *name) {
    for (uint32_t at = slot_of(name); slots[at] != 0; at = (at + 1) % SLOTS)
        if (strcmp(names[slots[at] - 1], name) == 0) {
            __atomic_add_fetch(&counts[slots[at] - 1], 1, __ATOMIC_RELAXED);
            return;
        }
}

uint32_t cover_report(void) {
    uint32_t missed = 0;
    puts("coverage (times seen):");
    for (uint32_t i = 0; i < NAMES; i++) {
        printf("  %-26s %10llu%s", names[i], (unsigned long long)counts[i], i % 3 == 2 || i == NAMES - 1 ? "\n" : "");
        missed += counts[i] == 0;
    }
    for (uint32_t i = 0; i < NAMES; i++)
        if (counts[i] == 0)
            printf("never seen: %s\n", names[i]);
    return missed;
}
