/* Jobs one by one: each caller puts one in a local transaction of its own and waits until its handler has run, in the
 * local transaction that ends it. The engine runs on whoever is inside: callers that put, and the thread that measures.
 */
#include <semaphore.h>
#include <time.h>

#include "bench.h"

struct slot {
    sem_t ran;
    int64_t number; /* atomic: of the job that ran last */
};

struct place {
    struct queue queue;
    struct slot slots[GROUP];
};

static int32_t on_job(cdtx_work *work, void *user, cdtx_error *err) {
    (void)err;
    struct place *place = user;
    struct note note = note_in(work);
    struct slot *slot = &place->slots[note.value];
    __atomic_store_n(&slot->number, note.number, __ATOMIC_RELEASE);
    sem_post(&slot->ran);
    return 0;
}

static int32_t put_one(cdtx_sql *sql, void *user, cdtx_error *err) {
    return cdtx_job_put(sql, JOB_NOOP, user, sizeof(struct note), NULL, NULL, err);
}

/* A handler may run again, when the commit that it shares with others fails: its post may be a stale one. */
static int32_t wait_for(struct slot *slot, int64_t number, cdtx_error *err) {
    struct timespec until;
    for (int seconds = 0; seconds < PATIENCE_MS / 1000 && !complained(); seconds++) {
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec++;
        while (sem_timedwait(&slot->ran, &until) == 0)
            if (__atomic_load_n(&slot->number, __ATOMIC_ACQUIRE) == number)
                return 0;
    }
    return cdtx_error_set(err, CDTX_TIMEOUT, "the job was not run");
}

static int32_t put_and_wait(void *user, int caller, int64_t number, cdtx_error *err) {
    struct place *place = user;
    struct note note = {.number = number, .value = caller};
    int32_t rc = cdtx_local(place->queue.db, put_one, &note, err);
    return rc != 0 ? rc : wait_for(&place->slots[caller], number, err);
}

static void flow(struct run *run, struct place *place) {
    struct callers callers = {.run = run, .call = put_and_wait, .place = place};
    cdtx_error err = {0};
    int32_t rc = 0;
    callers_start(&callers, GROUP);
    while (rc == 0 && callers_living(&callers) > 0)
        rc = cdtx_run(place->queue.engine, 10, &err);
    if (rc == 0)
        rc = cdtx_run(place->queue.engine, 0, &err); /* the last ones' commit */
    if (rc != 0)
        refused("cdtx_run", rc, &err);
    callers_join(&callers);
}

int jobs_single(struct run *run) {
    struct place place = {0};
    if (!queue_open(run->dir, run->threads, &place.queue))
        return 0;
    for (int i = 0; i < GROUP; i++)
        sem_init(&place.slots[i].ran, 0, 0);
    if (queue_handle(&place.queue, on_job, &place)) {
        uint64_t before = syncs_of(place.queue.engine);
        flow(run, &place);
        run->syncs = syncs_of(place.queue.engine) - before;
    }
    queue_close(&place.queue);
    for (int i = 0; i < GROUP; i++)
        sem_destroy(&place.slots[i].ran);
    return !complained();
}
