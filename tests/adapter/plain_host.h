/* A host with plain sqlite3 connections: the two functions that it writes, and ways to make them fail. */
#ifndef TESTS_ADAPTER_PLAIN_HOST_H
#define TESTS_ADAPTER_PLAIN_HOST_H

#include <cdtx/port.h>
#include <sqlite3.h>

struct plain_host {
    cdtx_host_port port;
    uint64_t calls; /* of exec */
    /* The nth exec from now answers that, without having run, or with `after` behind having run; 0: none. */
    uint64_t fail_nth;
    int32_t fail_code;
    int fail_after;
    int fail_for_ever;
    const char *only; /* only statements that begin so are counted and fail; NULL: all */
    int silent;       /* a failure comes without a sentence */
    int crowded; /* many threads call at once: nothing is written down, nothing fails */
    int dropped;
    char last[512]; /* the last statement */
    uint32_t last_count;
    uint64_t thread; /* of the last call */
};

void plain_host_init(struct plain_host *host);
/* A connection as a careful host opens it: WAL, synchronous = FULL, no waiting. */
sqlite3 *plain_host_open(const char *path);

#endif
