/* Jobs through the library: put, pulled and settled in batches by one thread. */
#include <stdio.h>
#include <string.h>

#include "bench.h"

/* ---- the queue ---- */

int queue_open(const char *dir, uint32_t threads, struct queue *queue) {
    char url[4200];
    cdtx_options options = {.size = sizeof options, .threads = threads};
    cdtx_error err = {0};
    *queue = (struct queue){0};
    snprintf(url, sizeof url, "sqlite:%s/jobs.db", dir);
    int32_t rc = cdtx_open(&options, &queue->engine, &err);
    if (rc == 0)
        rc = cdtx_db_open(queue->engine, "jobs", url, &queue->db, &err);
    if (rc == 0)
        return 1;
    queue_close(queue);
    return refused("opening the queue", rc, &err);
}

void queue_close(struct queue *queue) {
    cdtx_db_close(queue->db);
    cdtx_close(queue->engine);
    *queue = (struct queue){0};
}

int queue_handle(struct queue *queue, cdtx_handler_fn handler, void *user) {
    cdtx_handler_options options = {
        .size = sizeof options, .in_local = handler != NULL, .handler = handler, .user = user};
    cdtx_error err = {0};
    int32_t rc = cdtx_handler_add(queue->db, JOB_NOOP, &options, &err);
    return rc == 0 ? 1 : refused("cdtx_handler_add", rc, &err);
}

int queue_check(const char *dir, const char *table, int64_t left) {
    char query[128];
    snprintf(query, sizeof query, "SELECT count(*) FROM %s", table);
    return expect(dir, "jobs", query, left);
}

/* ---- putting ---- */

struct batch {
    const cdtx_job_options *options;
    uint32_t count;
    struct note notes[CDTX_MANY_MAX];
    cdtx_bytes payloads[CDTX_MANY_MAX];
};

static int32_t put_batch(cdtx_sql *sql, void *user, cdtx_error *err) {
    const struct batch *batch = user;
    return cdtx_job_put_many(sql, JOB_NOOP, batch->payloads, batch->count, batch->options, NULL, err);
}

int queue_put(struct queue *queue, int64_t first, uint32_t count, const cdtx_job_options *options) {
    struct batch batch;
    cdtx_error err = {0};
    batch.options = options;
    batch.count = count;
    for (uint32_t i = 0; i < count; i++) {
        batch.notes[i] = (struct note){.number = first == 0 ? 0 : first + i};
        batch.payloads[i] = (cdtx_bytes){.bytes = &batch.notes[i], .length = sizeof batch.notes[i]};
    }
    int32_t rc = cdtx_local(queue->db, put_batch, &batch, &err);
    return rc == 0 ? 1 : refused("putting jobs", rc, &err);
}

/* ---- running and ending ---- */

struct note note_in(const cdtx_work *work) {
    struct note note = {0};
    size_t length = 0;
    const void *payload = cdtx_work_payload(work, &length);
    if (length == sizeof note)
        memcpy(&note, payload, sizeof note);
    return note;
}

/* What is still to come of a batch. */
struct awaited {
    int64_t first, count, left, numbers; /* the sum of those that came */
};

/* Runs them, which does nothing but to look who came; how many were awaited, or -1 after complaining. */
static int64_t look(struct awaited *awaited, cdtx_work *const *works, uint32_t count) {
    int64_t came = 0;
    for (uint32_t i = 0; i < count; i++) {
        int64_t number = note_in(works[i]).number;
        if (number == 0)
            continue;
        if (number < awaited->first || number >= awaited->first + awaited->count || cdtx_work_attempt(works[i]) != 1) {
            complain("job %lld came again", (long long)number);
            return -1;
        }
        awaited->numbers += number;
        came++;
    }
    awaited->left -= came;
    return came;
}

/* As many as there are of those that are awaited; how many came, or -1 after complaining. */
static int64_t take_and_settle(struct queue *queue, struct awaited *awaited, int64_t *strays) {
    cdtx_work *works[BATCH];
    cdtx_error err = {0};
    uint32_t count = 0;
    int32_t rc = cdtx_take_many(queue->engine, PATIENCE_MS, works, (uint32_t)awaited->left, &count, &err);
    if (rc == 0 && count == 0)
        complain("no job within %d ms", PATIENCE_MS);
    if (rc != 0)
        refused("cdtx_take_many", rc, &err);
    if (rc != 0 || count == 0)
        return -1;
    int64_t came = look(awaited, works, count);
    rc = cdtx_settle_many(works, NULL, NULL, count, NULL, &err);
    if (rc != 0)
        refused("cdtx_settle_many", rc, &err);
    *strays += came < 0 ? 0 : count - came;
    return rc == 0 ? came : -1;
}

static int flow_batch(struct run *run, struct queue *queue, struct awaited awaited, const cdtx_job_options *options,
                      int64_t *strays) {
    int64_t from = now_us();
    if (!queue_put(queue, awaited.first, (uint32_t)awaited.count, options))
        return 0;
    while (awaited.left > 0) {
        int64_t came = take_and_settle(queue, &awaited, strays);
        if (came < 0 || !run_done(run, came, from))
            return 0;
    }
    if (awaited.numbers != sum_of(awaited.first, awaited.count))
        return complain("a job of %lld from %lld on came twice", (long long)awaited.count, (long long)awaited.first);
    return 1;
}

int queue_flow(struct run *run, struct queue *queue, int64_t most, const cdtx_job_options *options, int64_t *strays) {
    int64_t first, count;
    for (int64_t done = 0; done < most && (count = run_next_many(run, BATCH, &first)) > 0; done += count)
        if (!flow_batch(run, queue, (struct awaited){first, count, count, 0}, options, strays))
            return 0;
    return 1;
}

/* ---- the mode ---- */

int jobs(struct run *run) {
    struct queue queue;
    int64_t strays = 0;
    if (!queue_open(run->dir, run->threads, &queue))
        return 0;
    int ok = queue_handle(&queue, NULL, NULL);
    uint64_t before = syncs_of(queue.engine);
    run_start(run);
    ok = ok && queue_flow(run, &queue, INT64_MAX, NULL, &strays);
    run->syncs = syncs_of(queue.engine) - before;
    queue_close(&queue);
    return ok && !complained();
}

int check_jobs(const struct run *run) {
    return queue_check(run->dir, "cdtx_job", 0);
}
