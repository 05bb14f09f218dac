/* Messages through the library: an outbox in one file, put in batches with a business row each, delivered by the engine
 * to a consumer whose effects, with their guard, are in another file. And halves, resolved one after the other. */
#include <cdtx/msg.h>
#include <stdio.h>

#include "messages.h"

struct post {
    cdtx *engine;
    cdtx_db *orders, *stock;
    int64_t came, numbers; /* deliveries of this batch, and their sum */
};

static int32_t make_table(cdtx_sql *sql, void *user, cdtx_error *err) {
    return cdtx_sql_exec(sql, user, NULL, err);
}

/* Its effect is in the transaction of the guard; another run of the same delivery would be seen in the table. */
static int32_t consume(cdtx_work *work, void *user, cdtx_error *err) {
    struct post *post = user;
    int64_t number = note_in(work).number;
    cdtx_sql *sql = cdtx_work_sql(work);
    cdtx_sql_bind_int(sql, number);
    int32_t rc = cdtx_sql_exec(sql, message_effect, NULL, err);
    post->came += rc == 0;
    post->numbers += rc == 0 ? number : 0;
    return rc;
}

static int32_t open_post(const struct run *run, struct post *post, cdtx_error *err) {
    char url[4200];
    cdtx_options options = {.size = sizeof options, .threads = run->threads};
    cdtx_consumer_options consumer = {.size = sizeof consumer, .in_local = 1, .handler = consume, .user = post};
    int32_t rc = cdtx_open(&options, &post->engine, err);
    snprintf(url, sizeof url, "sqlite:%s/orders.db", run->dir);
    if (rc == 0)
        rc = cdtx_db_open(post->engine, "orders", url, &post->orders, err);
    snprintf(url, sizeof url, "sqlite:%s/stock.db", run->dir);
    if (rc == 0)
        rc = cdtx_db_open(post->engine, "stock", url, &post->stock, err);
    if (rc == 0)
        rc = cdtx_local(post->orders, make_table, (void *)message_orders, err);
    if (rc == 0)
        rc = cdtx_local(post->stock, make_table, (void *)message_effects, err);
    if (rc == 0)
        rc = cdtx_topic_add(post->orders, "closed", NULL, err);
    consumer.local_db = post->stock;
    return rc != 0 ? rc : cdtx_consumer_add(post->orders, "closed", "stock", &consumer, err);
}

static int make_post(const struct run *run, struct post *post) {
    cdtx_error err = {0};
    int32_t rc = open_post(run, post, &err);
    return rc == 0 ? 1 : refused("opening the files", rc, &err);
}

static void close_post(struct post *post) {
    cdtx_db_close(post->orders);
    cdtx_db_close(post->stock);
    cdtx_close(post->engine);
}

/* ---- the outbox ---- */

struct batch {
    int64_t first, count;
};

static int32_t put_batch(cdtx_sql *sql, void *user, cdtx_error *err) {
    const struct batch *batch = user;
    int32_t rc = 0;
    for (int64_t n = batch->first; rc == 0 && n < batch->first + batch->count; n++) {
        struct note note = {.number = n};
        cdtx_sql_bind_int(sql, n);
        rc = cdtx_sql_exec(sql, message_order, NULL, err);
        if (rc == 0)
            rc = cdtx_msg_put(sql, "closed", &note, sizeof note, NULL, NULL, err);
    }
    return rc;
}

static int flow_batch(struct run *run, struct post *post, struct batch batch) {
    cdtx_error err = {0};
    int64_t from = now_us();
    post->came = post->numbers = 0;
    int32_t rc = cdtx_local(post->orders, put_batch, &batch, &err);
    while (rc == 0 && post->came < batch.count && now_us() < from + PATIENCE_MS * INT64_C(1000))
        rc = cdtx_run(post->engine, 0, &err);
    if (rc != 0)
        return refused("messages", rc, &err);
    if (post->numbers != sum_of(batch.first, batch.count))
        return complain("%lld of %lld messages came, or others than were put", (long long)post->came,
                        (long long)batch.count);
    return run_done(run, batch.count, from);
}

int messages(struct run *run) {
    struct post post = {0};
    struct batch batch;
    int ok = make_post(run, &post);
    uint64_t before = ok ? syncs_of(post.engine) : 0;
    run_start(run);
    while (ok && (batch.count = run_next_many(run, BATCH, &batch.first)) > 0)
        ok = flow_batch(run, &post, batch);
    if (ok)
        run->syncs = syncs_of(post.engine) - before;
    close_post(&post);
    return ok && !complained();
}

int check_messages(const struct run *run) {
    return expect(run->dir, "stock", "SELECT count(DISTINCT number) * 2 - count(*) FROM effect", run->done) &&
           expect(run->dir, "orders", "SELECT count(*) FROM cdtx_job WHERE msg IS NOT NULL AND state <> 2", 0);
}

/* ---- halves ---- */

static int32_t half(void *place, int caller, int64_t number, cdtx_error *err) {
    struct post *post = place;
    struct note note = {.number = number};
    cdtx_half_options options = {.size = sizeof options, .producer = "bench", .immunity_ms = PATIENCE_MS};
    char handle[CDTX_GID_MAX];
    (void)caller;
    int32_t rc = cdtx_half_prepare(post->orders, "closed", &note, sizeof note, &options, handle, err);
    return rc != 0 ? rc : cdtx_half_resolve(post->orders, handle, CDTX_HALF_COMMITTED, err);
}

int halves(struct run *run) {
    struct post post = {0};
    struct callers callers = {.run = run, .call = half, .place = &post};
    if (!make_post(run, &post)) {
        close_post(&post);
        return 0;
    }
    uint64_t before = syncs_of(post.engine);
    callers_start(&callers, GROUP);
    callers_join(&callers);
    run->syncs = syncs_of(post.engine) - before;
    close_post(&post);
    return !complained();
}

int check_halves(const struct run *run) {
    return expect(run->dir, "orders", "SELECT count(*) FROM cdtx_half WHERE state = 2", run->done);
}
