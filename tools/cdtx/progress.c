#include "progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

void progress_start(struct progress *progress, const char *what, int64_t total) {
    *progress = (struct progress){.what = what, .total = total};
    (void)clock_gettime(CLOCK_MONOTONIC, &progress->start);
}

static double seconds_since(const struct timespec *start) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - start->tv_sec) + (double)(now.tv_nsec - start->tv_nsec) / 1e9;
}

void progress_at(struct progress *progress, int64_t done) {
    if (!isatty(STDERR_FILENO) || done <= 0)
        return;
    progress->shown = 1;
    if (progress->total < done) {
        (void)fprintf(stderr, "\r%" PRId64 " %s\033[K", done, progress->what);
        return;
    }
    double left = seconds_since(&progress->start) * (double)(progress->total - done) / (double)done;
    (void)fprintf(stderr, "\r%" PRId64 " of %" PRId64 " %s, %d%%, about %.0f s left\033[K", done, progress->total,
                  progress->what, (int)((double)done * 100 / (double)progress->total), left);
}

void progress_end(struct progress *progress) {
    if (progress->shown)
        (void)fputs("\r\033[K", stderr);
    progress->shown = 0;
}
