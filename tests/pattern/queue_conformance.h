/* What every message engine behind a queue port must do, by what its table promises. The tests of an engine run it
 * beside their own. */
#ifndef TESTS_PATTERN_QUEUE_CONFORMANCE_H
#define TESTS_PATTERN_QUEUE_CONFORMANCE_H

#include <check.h>

#include <cdtx/port.h>

struct queue_conformance {
    /* An engine that is empty, with topics "orders" and "bills"; each test opens and closes one. */
    const cdtx_queue_port *(*open)(void);
    void (*close)(void);
    /* Lets that much of the engine's time go by. */
    void (*advance)(int64_t ms);
    /* How many deliveries to that group are kept as dead; NULL: the engine keeps none. */
    uint32_t (*dead)(const char *topic, const char *group);
};

/* Runs it all; how many failed. */
int queue_conformance_run(const char *name, const struct queue_conformance *target);

#endif
