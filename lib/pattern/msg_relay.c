/* Relays: a consumer group that hands each message on to an engine behind a queue port. What an answer means for the
 * message is all in `verdict`; the rest is batches. */
#include <stdio.h>

#include "base/backoff.h"
#include "pattern/msg.h"
#include "port/queue.h"

struct relay {
    cdtx_queue_port port;
    cdtx_relay_options options;
    const cdtx_env *env;
    char topic[TOPIC_NAME_MAX + 1]; /* there */
    char name[TOPIC_NAME_MAX + 1];
    uint32_t silences; /* atomic: batches in a row that met nothing else */
};

/* ---- what became of a message ---- */

enum reach { REACHED, SILENT };

/* The engine has said for good that it will not have it. */
static int is_refusal(int32_t code) {
    return code == CDTX_REFUSED || code == CDTX_INVALID || code == CDTX_LIMIT || code == CDTX_UNSUPPORTED ||
           code == CDTX_CONFLICT;
}

/* What may have happened stays UNKNOWN and is done again under the same id, whatever the port calls it. */
static enum reach verdict(const struct relay *relay, struct job *job, const cdtx_error *result) {
    int32_t code = result->code;
    if (code != 0 && cdtx_happened(code) != 0)
        code = CDTX_UNKNOWN;
    job->code = is_refusal(code) ? CDTX_REFUSED : code;
    if (code != 0)
        cdtx__fail(&job->err, job->code, "relay '%s': %s: %.440s", relay->name, cdtx_code_name(code), result->text);
    if (code == CDTX_BUSY)
        job->err.retry_after_ms = result->retry_after_ms;
    return code == 0 || is_refusal(code) ? REACHED : SILENT;
}

/* ---- batches ---- */

struct batch {
    cdtx_queue_message messages[CDTX_RELAY_BATCH_MAX];
    cdtx_error results[CDTX_RELAY_BATCH_MAX];
    char ids[CDTX_RELAY_BATCH_MAX][CDTX_GID_MAX];
    struct job *jobs[CDTX_RELAY_BATCH_MAX];
    uint32_t count;
};

/* It has waited for the batches before it so long that its lease may end while it is sent: somebody else may send it
 * then, and what comes behind it, before us. No attempt was made. */
static int is_stale(const struct relay *relay, const struct job *job) {
    return cdtx__now_us(relay->env) > job->leased_us - job->handler->options.lease_ms * 500;
}

static void put_off(struct job *job) {
    job->wish = WISH_SNOOZE;
    job->wish_ms = 0;
    job->code = cdtx__fail(&job->err, CDTX_BUSY, "it waited for longer than half its lease");
}

static void add(struct batch *batch, const struct relay *relay, struct job *job) {
    uint32_t i = batch->count++;
    cdtx_msg_id(&job->work, batch->ids[i]);
    batch->jobs[i] = job;
    batch->messages[i] = (cdtx_queue_message){
        .id = batch->ids[i], .topic = relay->topic, .key = job->message_key, .payload = job + 1, .length = job->length};
    cdtx__fail(&batch->results[i], CDTX_UNKNOWN, "the port answered nothing"); /* until it does */
}

/* From now on it is asked about a few only. One message alone does not begin that: it may be the one that the engine
 * never says a word of, and others are not to wait for it. */
static void rest(struct relay *relay, struct handler *handler, uint32_t count, enum reach reach) {
    const cdtx_handler_options *o = &handler->options;
    if (reach == REACHED) {
        __atomic_store_n(&relay->silences, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&handler->rests_until_us, 0, __ATOMIC_RELAXED);
        return;
    }
    if (count == 1 && __atomic_load_n(&relay->silences, __ATOMIC_RELAXED) == 0)
        return;
    uint32_t silences = __atomic_add_fetch(&relay->silences, 1, __ATOMIC_RELAXED);
    int64_t rest_ms = cdtx__backoff_ms(relay->env, silences, o->backoff_min_ms, o->backoff_max_ms);
    __atomic_store_n(&handler->rests_until_us, cdtx__now_us(relay->env) + rest_ms * 1000, __ATOMIC_RELAXED);
}

static void send_batch(struct relay *relay, struct batch *batch) {
    enum reach reach = SILENT;
    if (batch->count == 0)
        return;
    relay->port.send(relay->port.user, batch->messages, batch->count, batch->results);
    for (uint32_t i = 0; i < batch->count; i++) {
        batch->results[i].text[sizeof batch->results[i].text - 1] = '\0';
        if (verdict(relay, batch->jobs[i], &batch->results[i]) == REACHED)
            reach = REACHED;
    }
    rest(relay, batch->jobs[0]->handler, batch->count, reach);
}

static void run_batch(struct job *const *jobs, uint32_t count, void *user) {
    struct relay *relay = user;
    struct batch *batch = cdtx__alloc(relay->env, sizeof *batch);
    for (uint32_t i = 0; i < count; i++) {
        if (batch == NULL)
            jobs[i]->code = cdtx__fail(&jobs[i]->err, CDTX_NO_MEMORY, "relay '%s': no memory to send", relay->name);
        else if (is_stale(relay, jobs[i]))
            put_off(jobs[i]);
        else
            add(batch, relay, jobs[i]);
    }
    if (batch != NULL)
        send_batch(relay, batch);
    cdtx__free(relay->env, batch, sizeof *batch);
}

/* One that was claimed before the handler was told of batches. */
static int32_t run_one(cdtx_work *work, void *user, cdtx_error *err) {
    struct job *job = cdtx__job_of(work);
    run_batch(&job, 1, user);
    if (job->code != 0)
        *err = job->err;
    return job->code;
}

/* ---- adding ---- */

static int32_t check_port(const cdtx_queue_port *port, const cdtx_relay_options *o, const char *name, cdtx_error *err) {
    if (port->send == NULL || port->batch_max == 0 || port->batch_max > CDTX_MANY_MAX)
        return cdtx__fail(err, CDTX_INVALID, "relay '%s': the port has no send, or a batch_max of %u", name,
                          port->batch_max);
    if (!(port->capabilities & CDTX_QUEUE_KEEPS_ID))
        return cdtx__fail(err, CDTX_UNSUPPORTED,
                          "relay '%s': the engine behind the port keeps no id, so that no consumer could tell a repeat",
                          name);
    if (o->in_order && !(port->capabilities & CDTX_QUEUE_ORDER))
        return cdtx__fail(err, CDTX_UNSUPPORTED, "relay '%s': the engine behind the port keeps no order", name);
    if (!o->not_durable && !(port->capabilities & CDTX_QUEUE_DURABLE))
        return cdtx__fail(err, CDTX_UNSUPPORTED,
                          "relay '%s': the engine behind the port may lose what it confirmed; not_durable accepts that",
                          name);
    return 0;
}

static int32_t fill(cdtx_relay_options *o, const char *topic, const char *name, const cdtx_queue_port *port,
                    cdtx_error *err) {
    int32_t rc = cdtx__topic_check(topic, "the topic's name", err);
    if (rc == 0)
        rc = cdtx__topic_check(name, "the relay's name", err);
    if (o->topic == NULL)
        o->topic = topic;
    if (rc == 0)
        rc = cdtx__topic_check(o->topic, "the topic's name there", err);
    if (rc == 0)
        rc = check_port(port, o, name, err);
    if (rc == 0 && o->batch_max > CDTX_RELAY_BATCH_MAX)
        rc =
            cdtx__fail(err, CDTX_INVALID, "batch_max is %u; it must be at most %d", o->batch_max, CDTX_RELAY_BATCH_MAX);
    if (o->batch_max == 0)
        o->batch_max = CDTX_RELAY_BATCH_MAX;
    if (rc == 0 && o->batch_max > port->batch_max)
        o->batch_max = port->batch_max;
    return rc;
}

static void drop(void *user) {
    struct relay *relay = user;
    if (relay->options.drop != NULL)
        relay->options.drop(relay->port.user);
    cdtx__free(relay->env, relay, sizeof *relay);
}

/* A relay gives no message up by itself: that an engine was away says nothing of what it was sent. */
static cdtx_consumer_options consumer_of(struct relay *relay) {
    const cdtx_relay_options *o = &relay->options;
    int64_t backoff_max = o->backoff_min_ms > 60000 ? o->backoff_min_ms : 60000;
    return (cdtx_consumer_options){
        .size = sizeof(cdtx_consumer_options),
        .handler = run_one,
        .user = relay,
        .drop = drop,
        .in_order = o->in_order,
        .start = o->start,
        .start_ms = o->start_ms,
        .attempts_max = o->attempts_max == 0 ? UINT32_MAX : o->attempts_max,
        .crashes_max = o->crashes_max == 0 ? UINT32_MAX : o->crashes_max,
        .lease_ms = o->lease_ms == 0 ? 60000 : o->lease_ms,
        .backoff_min_ms = o->backoff_min_ms,
        .backoff_max_ms = o->backoff_max_ms == 0 ? backoff_max : o->backoff_max_ms,
        .dead_retention_ms = o->dead_retention_ms,
        .running_max = o->running_max,
        .rate_per_s = o->rate_per_s,
    };
}

static int32_t join(cdtx_db *db, const char *topic, struct relay *relay, cdtx_error *err) {
    cdtx_consumer_options consumer = consumer_of(relay);
    uint32_t most = relay->options.batch_max;
    char name[CDTX_NAME_MAX + 1];
    cdtx__delivery_handler(topic, relay->name, name);
    int32_t rc = cdtx_consumer_add(db, topic, relay->name, &consumer, err);
    if (rc == 0)
        cdtx__handler_set_many(cdtx__handler_find(cdtx__job_room(db, NULL), name), run_batch, most);
    return rc;
}

static int32_t add_relay(cdtx_db *db, const char *topic, const char *name, const cdtx_queue_port *port,
                         const cdtx_relay_options *o, cdtx_error *err) {
    const cdtx_env *env = db->engine->env;
    struct relay *relay = cdtx__alloc(env, sizeof *relay);
    if (relay == NULL)
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory for the relay '%s'", name);
    *relay = (struct relay){.port = *port, .options = *o, .env = env};
    snprintf(relay->topic, sizeof relay->topic, "%s", o->topic);
    snprintf(relay->name, sizeof relay->name, "%s", name);
    relay->options.topic = relay->topic;
    int32_t rc = join(db, topic, relay, err);
    if (rc != 0)
        cdtx__free(env, relay, sizeof *relay);
    return rc;
}

int32_t cdtx_relay_add(cdtx_db *db, const char *topic, const char *name, const cdtx_queue_port *port,
                       const cdtx_relay_options *options, cdtx_error *err) {
    cdtx_relay_options o = {0};
    cdtx_queue_port copy = {0};
    if (db == NULL)
        return cdtx__fail(err, CDTX_MISUSE, "the database is NULL");
    if (port == NULL)
        return cdtx__fail(err, CDTX_INVALID, "the queue port is NULL");
    int32_t rc = cdtx__options(options, &o, sizeof o, sizeof o, "cdtx_relay_options", err);
    if (rc == 0)
        rc = cdtx__options(port, &copy, sizeof copy, sizeof copy, "cdtx_queue_port", err);
    if (rc == 0)
        rc = fill(&o, topic, name, &copy, err);
    if (rc == 0)
        rc = cdtx__enter(db->engine, err);
    if (rc != 0)
        return rc;
    rc = add_relay(db, topic, name, &copy, &o, err);
    cdtx__leave(db->engine);
    return rc;
}
