/* How late a job starts that was put to be due a little later, under half of the load that jobs one by one can bear. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "bench.h"

/* Longer than a put takes. */
enum { DELAY_MS = 20, SPREAD_MS = 20 };
enum { SECONDS = 3 };

struct place {
    struct queue queue;
    struct run run;
    double per_second; /* to be put */
    int64_t *late_us;  /* by number; -1: has not run yet */
    int64_t left;      /* atomic: that have not run */
};

struct timed {
    struct note note;
    int64_t delay_ms;
};

static int32_t on_job(cdtx_work *work, void *user, cdtx_error *err) {
    (void)err;
    struct place *place = user;
    struct note note = note_in(work);
    int64_t late = now_us() - note.value, *seen = &place->late_us[note.number - 1];
    if (*seen == -1)
        __atomic_sub_fetch(&place->left, 1, __ATOMIC_RELEASE);
    *seen = late < 0 ? 0 : late; /* the library's clock has milliseconds */
    return 0;
}

static int32_t put_timed(cdtx_sql *sql, void *user, cdtx_error *err) {
    struct timed *timed = user;
    cdtx_job_options options = {.size = sizeof options, .delay_ms = timed->delay_ms};
    timed->note.value = now_us() + timed->delay_ms * 1000;
    return cdtx_job_put(sql, JOB_NOOP, &timed->note, sizeof timed->note, &options, NULL, err);
}

static int32_t put_in_time(void *user, int caller, int64_t number, cdtx_error *err) {
    (void)caller;
    struct place *place = user;
    int64_t at = place->run.started_us + (int64_t)((double)number * 1e6 / place->per_second);
    struct timespec until = {.tv_sec = at / 1000000, .tv_nsec = at % 1000000 * 1000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) {
    }
    struct timed timed = {.note.number = number, .delay_ms = DELAY_MS + number % SPREAD_MS};
    return cdtx_local(place->queue.db, put_timed, &timed, err);
}

static int run_engine(struct place *place) {
    struct callers callers = {.run = &place->run, .call = put_in_time, .place = place};
    cdtx_error err = {0};
    int32_t rc = 0;
    callers_start(&callers, GROUP);
    while (rc == 0 && callers_living(&callers) > 0)
        rc = cdtx_run(place->queue.engine, 10, &err);
    callers_join(&callers);
    /* Numbers that an interrupt left over never come. */
    int64_t never = place->run.count - place->run.done;
    for (int i = 0; rc == 0 && i < PATIENCE_MS / 10 && __atomic_load_n(&place->left, __ATOMIC_ACQUIRE) > never; i++)
        rc = cdtx_run(place->queue.engine, 10, &err);
    if (rc != 0)
        return refused("cdtx_run", rc, &err);
    return place->left <= never ? 1 : complain("%lld jobs have not run", (long long)place->left);
}

static int run_paced(const char *dir, struct place *place, struct jobs_due *due) {
    struct samples late = {.us = place->late_us, .count = (size_t)place->run.count};
    if (!queue_open(dir, 0, &place->queue))
        return 0;
    int ok = queue_handle(&place->queue, on_job, place) && run_engine(place);
    queue_close(&place->queue);
    if (!ok || !queue_check(dir, "cdtx_job", 0))
        return 0;
    due->jobs = place->run.done;
    due->per_second = (double)place->run.done * 1e6 / (double)(place->run.ended_us - place->run.started_us);
    due->put_p99_ms = percentile_ms(&place->run.latency, 99);
    due->p50_ms = percentile_ms(&late, 50);
    due->p99_ms = percentile_ms(&late, 99);
    return 1;
}

/* The rate that the load is half of. */
static int measure_single(const char *dir, struct jobs_due *due) {
    char inner[4200];
    snprintf(inner, sizeof inner, "%s/single", dir);
    if (mkdir(inner, 0700) != 0)
        return complain("cannot make '%s': %s", inner, strerror(errno));
    struct run run = {.dir = inner, .seconds = 1};
    int ok = jobs_single(&run);
    due->single_per_second = figure_of(&run).per_second;
    samples_free(&run.latency);
    return ok;
}

int jobs_due(const char *dir, int64_t count, struct jobs_due *due) {
    if (!measure_single(dir, due))
        return 0;
    struct place place = {.per_second = due->single_per_second / 2};
    place.run.count = place.left = count != 0 ? count : (int64_t)(place.per_second * SECONDS) + 1;
    place.late_us = malloc((size_t)place.run.count * sizeof *place.late_us);
    if (place.late_us == NULL)
        return complain("no memory for %lld latencies", (long long)place.run.count);
    for (int64_t i = 0; i < place.run.count; i++)
        place.late_us[i] = -1;
    int ok = run_paced(dir, &place, due);
    samples_free(&place.run.latency);
    free(place.late_us);
    return ok;
}
