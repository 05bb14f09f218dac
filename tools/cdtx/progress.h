/* How far it is, on a terminal, for what takes longer than a page. */
#ifndef TOOLS_PROGRESS_H
#define TOOLS_PROGRESS_H

#include <stdint.h>
#include <time.h>

struct progress {
    const char *what; /* "audit lines" */
    int64_t total;    /* 0: not known */
    struct timespec start;
    int shown;
};

void progress_start(struct progress *progress, const char *what, int64_t total);
void progress_at(struct progress *progress, int64_t done);
/* Wipes it away. */
void progress_end(struct progress *progress);

#endif
