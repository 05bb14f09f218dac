/* What it costs at the head of a queue that many jobs wait behind: those that are not due yet, or due ones of lower
 * priority. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "bench.h"

enum { LANES = 3, SLICES = 60, SLICE = 4 * BATCH, WARM = 2, LATER_MS = 3600000 };

struct lane {
    const char *name;
    cdtx_job_options behind; /* of its backlog */
    int64_t backlog;
    char dir[4200];
    struct queue queue;
    struct run run;
    int64_t strays;
    struct samples us; /* of its slices */
};

static int fill(struct lane *lane) {
    for (int64_t left = lane->backlog; left > 0; left -= CDTX_MANY_MAX)
        if (!queue_put(&lane->queue, 0, left < CDTX_MANY_MAX ? (uint32_t)left : CDTX_MANY_MAX, &lane->behind))
            return 0;
    return 1;
}

static int lane_open(struct lane *lane, const char *dir) {
    snprintf(lane->dir, sizeof lane->dir, "%s/%s", dir, lane->name);
    if (mkdir(lane->dir, 0700) != 0)
        return complain("cannot make '%s': %s", lane->dir, strerror(errno));
    lane->run = (struct run){.dir = lane->dir, .count = (SLICES + WARM) * SLICE};
    lane->behind.size = sizeof lane->behind;
    return queue_open(lane->dir, 0, &lane->queue) && fill(lane) && queue_handle(&lane->queue, NULL, NULL);
}

static void lane_close(struct lane *lane) {
    if (lane->queue.engine != NULL)
        queue_close(&lane->queue);
    samples_free(&lane->run.latency);
    samples_free(&lane->us);
}

static int slice(struct lane *lane, int counts) {
    static const cdtx_job_options ahead = {.size = sizeof ahead, .priority = 1};
    int64_t from = now_us(), before = lane->run.done;
    int ok = queue_flow(&lane->run, &lane->queue, SLICE, &ahead, &lane->strays);
    if (ok && lane->run.done != before + SLICE)
        return 0; /* interrupted */
    return ok && (!counts || samples_add(&lane->us, now_us() - from));
}

/* Slice by slice in turn, each as often the first, so that a disk that changes its pace changes it for all. */
static int side_by_side(struct lane *lanes) {
    int ok = 1;
    for (int i = 0; ok && i < SLICES + WARM; i++)
        for (int k = 0; ok && k < LANES; k++)
            ok = slice(&lanes[(i + k) % LANES], i >= WARM);
    return ok;
}

static double rate(struct lane *lane) {
    return SLICE * 1000 / percentile_ms(&lane->us, 50);
}

static int lane_check(const struct lane *lane) {
    return queue_check(lane->dir, "cdtx_job", lane->backlog - lane->strays);
}

int jobs_backlog(const char *dir, int64_t count, struct jobs_backlog *backlog) {
    struct lane lanes[LANES] = {
        {.name = "none"},
        {.name = "later", .backlog = count, .behind = {.priority = 1, .delay_ms = LATER_MS}},
        {.name = "lower", .backlog = count},
    };
    int ok = 1;
    for (int i = 0; ok && i < LANES; i++)
        ok = lane_open(&lanes[i], dir);
    ok = ok && side_by_side(lanes);
    if (ok)
        *backlog = (struct jobs_backlog){.jobs = count,
                                         .none_per_second = rate(&lanes[0]),
                                         .later_per_second = rate(&lanes[1]),
                                         .lower_per_second = rate(&lanes[2])};
    for (int i = 0; i < LANES; i++)
        lane_close(&lanes[i]);
    return ok && lane_check(&lanes[0]) && lane_check(&lanes[1]) && lane_check(&lanes[2]);
}
