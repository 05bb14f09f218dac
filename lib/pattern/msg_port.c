/* The queue in a database as an engine behind a queue port: each function is what the public calls of cdtx/msg.h do, in
 * the words of cdtx/port.h. */
#include <stdio.h>

#include "pattern/msg_half.h"
#include "port/queue.h"

/* Deliveries that are out, by token. */
struct embedded {
    cdtx_queue_port port;
    cdtx_db *db;
    cdtx *engine;
    const cdtx_env *env;
    struct lock lock; /* guards what follows */
    struct map out;
    struct list list;
    uint64_t last_token;
};

struct out {
    struct list link;
    uint64_t token;
    cdtx_work *work;
    char id[CDTX_GID_MAX];
};

static struct message message_of(const cdtx_queue_message *m) {
    return (struct message){.id = m->id,
                            .topic = m->topic,
                            .key = m->key,
                            .payload = m->payload,
                            .length = m->length,
                            .delay_ms = m->delay_ms};
}

/* ---- sending ---- */

struct send_many {
    const struct embedded *to;
    const cdtx_queue_message *messages;
    uint32_t count;
    cdtx_error *results;
};

static int32_t publish(const struct send_many *send, cdtx_sql *sql, uint32_t i, cdtx_error *err) {
    struct message message = message_of(&send->messages[i]);
    cdtx_error why;
    int32_t rc = cdtx__message_publish(sql, &message, &why);
    if (rc == 0)
        send->results[i].code = 0;
    else if (rc == CDTX_NOT_FOUND) /* the others do not mind */
        send->results[i] = why;
    else
        *err = why;
    return rc == CDTX_NOT_FOUND ? 0 : rc;
}

/* May run more than once, and says each time anew what becomes of what is in order. */
static int32_t run_send(cdtx_sql *sql, void *user, cdtx_error *err) {
    const struct send_many *send = user;
    int32_t rc = 0;
    for (uint32_t i = 0; rc == 0 && i < send->count; i++)
        if (cdtx__queue_check_message(&send->to->port, &send->messages[i], &send->results[i]) == 0)
            rc = publish(send, sql, i, err);
    return rc;
}

static int32_t send_all(void *user, const cdtx_queue_message *messages, uint32_t count, cdtx_error *results) {
    struct embedded *e = user;
    struct send_many send = {.to = e, .messages = messages, .count = count, .results = results};
    cdtx_error err;
    int32_t rc = cdtx__queue_check_batch(&e->port, messages, count, results);
    if (rc != 0 || count == 0)
        return rc;
    rc = cdtx_local(e->db, run_send, &send, &err);
    for (uint32_t i = 0; rc != 0 && i < count; i++) /* together or not at all; what is no message never is */
        if (cdtx__queue_check_message(&e->port, &messages[i], &results[i]) == 0)
            results[i] = err;
    return cdtx__queue_first(results, count);
}

/* ---- halves ---- */

static int32_t prepare(void *user, const cdtx_queue_message *message, const char *producer,
                       char handle[CDTX_QUEUE_HANDLE_MAX], cdtx_error *err) {
    struct embedded *e = user;
    if (message == NULL || handle == NULL)
        return cdtx__fail(err, CDTX_INVALID, "the message, or the place for the handle, is NULL");
    int32_t rc = cdtx__queue_check_message(&e->port, message, err);
    if (rc != 0)
        return rc;
    struct message half = message_of(message);
    cdtx_half_options o = {.size = sizeof o, .producer = producer, .key = message->key, .delay_ms = message->delay_ms};
    return cdtx__half_prepare(e->db, &half, &o, handle, err);
}

static int32_t resolve(void *user, const char *handle, int32_t outcome, int32_t *applied, cdtx_error *err) {
    struct embedded *e = user;
    struct resolution resolution = {.outcome = outcome};
    if (applied == NULL)
        return cdtx__fail(err, CDTX_INVALID, "the place for what was applied is NULL");
    int32_t rc = cdtx__half_end(e->db, handle, &resolution, err);
    if (rc == 0)
        *applied = resolution.already ? CDTX_QUEUE_ALREADY : CDTX_QUEUE_APPLIED;
    return rc;
}

struct asked {
    const cdtx_env *env;
    cdtx_queue_checker checker;
};

static int32_t ask(const char *handle, const char *id, const struct message *half, void *user) {
    const struct asked *asked = user;
    cdtx_queue_message message = {
        .id = id, .topic = half->topic, .key = half->key, .payload = half->payload, .length = half->length};
    return asked->checker.check(handle, &message, asked->checker.user);
}

static void drop_asked(void *user) {
    struct asked *asked = user;
    if (asked->checker.drop != NULL)
        asked->checker.drop(asked->checker.user);
    cdtx__free(asked->env, asked, sizeof *asked);
}

static int32_t checker_add(void *user, const char *producer, const cdtx_queue_checker *checker, cdtx_error *err) {
    struct embedded *e = user;
    cdtx_queue_checker o = {0};
    int32_t rc = cdtx__options(checker, &o, sizeof o, sizeof o, "cdtx_queue_checker", err);
    if (rc == 0 && o.check == NULL)
        rc = cdtx__fail(err, CDTX_INVALID, "the checker has no function");
    if (rc != 0)
        return rc;
    struct asked *asked = cdtx__alloc(e->env, sizeof *asked);
    if (asked == NULL)
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory for a checker");
    *asked = (struct asked){.env = e->env, .checker = o};
    cdtx_half_checker half = {.size = sizeof half, .user = asked, .drop = drop_asked};
    rc = cdtx__half_checker_add(e->db, producer, &half, ask, err);
    if (rc != 0)
        cdtx__free(e->env, asked, sizeof *asked);
    return rc;
}

/* ---- consuming ---- */

static int32_t subscribe(void *user, const char *topic, const char *group, const cdtx_queue_subscription *options,
                         cdtx_error *err) {
    struct embedded *e = user;
    cdtx_queue_subscription o = {0};
    int32_t rc = cdtx__options(options, &o, sizeof o, sizeof o, "cdtx_queue_subscription", err);
    if (rc != 0)
        return rc;
    cdtx_consumer_options consumer = {.size = sizeof consumer, .in_order = o.in_order, .lease_ms = o.lease_ms};
    return cdtx_consumer_add(e->db, topic, group, &consumer, err);
}

static int is_ours(const struct embedded *e, const cdtx_work *work) {
    const struct job *job = cdtx__job_of(work);
    return job != NULL && job->message != 0 && job->handler->room->db == e->db;
}

/* Somebody else's: as if it had not been taken. */
static void put_back(struct embedded *e, cdtx_work *work) {
    cdtx__pump_deliver(&e->engine->pump, &work->link);
    cdtx__unref(e->engine);
}

/* Not given out for want of memory: it comes again, and no attempt has been made. */
static void give_back(cdtx_work *work) {
    cdtx_error err;
    int32_t rc = cdtx_work_snooze(work, 0, "nobody took it", &err);
    cdtx_settle(work, rc, "nobody took it", &err);
}

static int note(struct embedded *e, struct out *out, cdtx_work *work) {
    cdtx__lock(e->env, &e->lock);
    *out = (struct out){.token = ++e->last_token, .work = work};
    int32_t rc = cdtx__map_put(e->env, &e->out, out->token, out);
    if (rc == 0)
        list_push(&e->list, &out->link);
    cdtx__unlock(e->env, &e->lock);
    return rc == 0;
}

static int give_out(struct embedded *e, cdtx_work *work, cdtx_queue_delivery *delivery) {
    struct out *out = cdtx__alloc(e->env, sizeof *out);
    if (out == NULL || !note(e, out, work)) {
        cdtx__free(e->env, out, sizeof *out);
        return 0;
    }
    cdtx_msg_id(work, out->id);
    *delivery = (cdtx_queue_delivery){.token = out->token,
                                      .id = out->id,
                                      .topic = cdtx_msg_topic(work),
                                      .group = cdtx_msg_group(work),
                                      .key = cdtx_msg_key(work),
                                      .attempt = cdtx_work_attempt(work)};
    delivery->payload = cdtx_work_payload(work, &delivery->length);
    return 1;
}

/* What other work keeps fetch from waiting; its name is borrowed from its handler. */
static int32_t other_work(const cdtx_work *work, cdtx_error *err) {
    const struct job *job = cdtx__job_of(work);
    return cdtx__fail(err, CDTX_MISUSE,
                      "pulled work that is no delivery of this port waits for cdtx_take: %s; an engine behind a queue "
                      "port has no other",
                      job == NULL ? "the completion of a transaction" : job->handler->name);
}

/* works has room for most. */
static int32_t fetch_into(struct embedded *e, int64_t for_ms, cdtx_work **works, cdtx_queue_delivery *deliveries,
                          uint32_t most, uint32_t *count, cdtx_error *err) {
    uint32_t taken = 0, given = 0;
    int32_t other = 0, full = 0;
    int32_t rc = cdtx_take_many(e->engine, for_ms, works, most, &taken, err);
    for (uint32_t i = 0; rc == 0 && i < taken; i++) {
        if (!is_ours(e, works[i])) {
            other = other_work(works[i], err);
            put_back(e, works[i]);
        } else if (give_out(e, works[i], &deliveries[given])) {
            given++;
        } else {
            full = 1;
            give_back(works[i]);
        }
    }
    if (rc == 0 && given == 0 && full)
        rc = cdtx__fail(err, CDTX_NO_MEMORY, "no memory for a delivery");
    else if (rc == 0 && given == 0)
        rc = other;
    if (rc == 0)
        *count = given;
    return rc;
}

static int32_t fetch(void *user, int64_t for_ms, cdtx_queue_delivery *deliveries, uint32_t most, uint32_t *count,
                     cdtx_error *err) {
    struct embedded *e = user;
    cdtx_error why;
    int32_t rc = cdtx__queue_check_fetch(for_ms, deliveries, most, count, err);
    if (rc != 0)
        return rc;
    cdtx_work **works = cdtx__alloc(e->env, most * sizeof(cdtx_work *));
    if (works == NULL)
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory to fetch %u deliveries", most);
    rc = fetch_into(e, for_ms, works, deliveries, most, count, &why);
    cdtx__free(e->env, works, most * sizeof(cdtx_work *));
    if (rc != 0)
        *err = why;
    return rc;
}

/* ---- settling ---- */

/* The token is used up. */
static cdtx_work *take_out(struct embedded *e, uint64_t token) {
    cdtx__lock(e->env, &e->lock);
    struct out *out = cdtx__map_take(&e->out, token);
    if (out != NULL)
        list_remove(&out->link);
    cdtx__unlock(e->env, &e->lock);
    cdtx_work *work = out == NULL ? NULL : out->work;
    cdtx__free(e->env, out, sizeof *out);
    return work;
}

static int32_t code_of(const cdtx_queue_answer *answer, cdtx_work *work) {
    cdtx_error err;
    if (answer->kind == CDTX_QUEUE_NACK && answer->delay_ms > 0)
        return cdtx_work_retry_after(work, answer->delay_ms, answer->reason, &err);
    return answer->kind == CDTX_QUEUE_ACK ? 0 : answer->kind == CDTX_QUEUE_DEAD ? CDTX_REFUSED : CDTX_USER;
}

enum { PAGE = 64 };

/* Answers with one reason, that share a commit. */
struct page {
    cdtx_work *works[PAGE];
    int32_t codes[PAGE];
    uint32_t at[PAGE]; /* of results */
    uint32_t count;
    const char *reason;
};

static void settle_page(struct page *page, cdtx_error *results) {
    int32_t codes[PAGE];
    cdtx_error err;
    int32_t first = cdtx_settle_many(page->works, page->codes, page->reason, page->count, codes, &err);
    for (uint32_t i = 0; i < page->count; i++) {
        cdtx_error *result = &results[page->at[i]];
        if (codes[i] == first && first != 0)
            *result = err;
        else if (codes[i] != 0)
            cdtx__fail(result, codes[i], "the delivery was not settled: %s", cdtx_code_name(codes[i]));
        else
            result->code = 0;
    }
    page->count = 0;
}

static int same_reason(const char *a, const char *b) {
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static int32_t settle(void *user, const cdtx_queue_answer *answers, uint32_t count, cdtx_error *results) {
    struct embedded *e = user;
    struct page page = {.count = 0};
    for (uint32_t i = 0; i < count; i++) {
        const cdtx_queue_answer *answer = &answers[i];
        if (cdtx__queue_check_answer(&e->port, answer, &results[i]) != 0)
            continue;
        cdtx_work *work = take_out(e, answer->token);
        if (work == NULL) {
            cdtx__fail(&results[i], CDTX_NOT_FOUND, "token %llu was never given out, or is used up",
                       (unsigned long long)answer->token);
            continue;
        }
        if (page.count == PAGE || (page.count > 0 && !same_reason(page.reason, answer->reason)))
            settle_page(&page, results);
        page.reason = answer->reason;
        page.works[page.count] = work;
        page.at[page.count] = i;
        page.codes[page.count++] = code_of(answer, work);
    }
    if (page.count > 0)
        settle_page(&page, results);
    return cdtx__queue_first(results, count);
}

/* ---- the rest ---- */

static int32_t poll_for(void *user, int64_t for_ms, cdtx_error *err) {
    struct embedded *e = user;
    int32_t rc = cdtx__queue_check_ms(for_ms, "for_ms", err);
    return rc != 0 ? rc : cdtx_run(e->engine, for_ms, err);
}

static void close_port(void *user) {
    struct embedded *e = user;
    while (!list_empty(&e->list))
        give_back(take_out(e, LIST_OF(e->list.next, struct out, link)->token));
    cdtx__map_free(e->env, &e->out);
    cdtx *engine = e->engine;
    cdtx__free(e->env, e, sizeof *e);
    cdtx__unref(engine);
}

static const cdtx_queue_port table = {
    .size = sizeof(cdtx_queue_port),
    .capabilities = CDTX_QUEUE_KEEPS_ID | CDTX_QUEUE_DURABLE | CDTX_QUEUE_ORDER | CDTX_QUEUE_DROPS_REPEATS |
                    CDTX_QUEUE_DELAY | CDTX_QUEUE_NACK_DELAY | CDTX_QUEUE_COUNTS | CDTX_QUEUE_KEEPS_DEAD |
                    CDTX_QUEUE_HALVES | CDTX_QUEUE_HALVES_NATIVE | CDTX_QUEUE_REMEMBERS,
    .batch_max = CDTX_MANY_MAX,
    .send = send_all,
    .prepare = prepare,
    .resolve = resolve,
    .checker_add = checker_add,
    .subscribe = subscribe,
    .fetch = fetch,
    .settle = settle,
    .poll = poll_for,
    .close = close_port,
};

static int32_t make(cdtx_db *db, cdtx_queue_port *port, cdtx_error *err) {
    cdtx *engine = db->engine;
    int32_t rc = cdtx__may_write(db, "a queue port", err);
    if (rc == 0) /* ids are forgotten here too, where no topic is added and no group joined */
        rc = cdtx__msg_keeper_add(db, err);
    if (rc != 0)
        return rc;
    struct embedded *e = cdtx__alloc(engine->env, sizeof *e);
    if (e == NULL)
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory for a queue port");
    *e = (struct embedded){.port = table, .db = db, .engine = engine, .env = engine->env};
    list_init(&e->list);
    e->port.user = e;
    e->port.payload_max = engine->options.payload_max;
    e->port.repeat_ms = engine->options.retention_ms;
    cdtx__ref(engine);
    *port = e->port;
    return 0;
}

int32_t cdtx_queue_embedded(cdtx_db *db, cdtx_queue_port *port, cdtx_error *err) {
    if (db == NULL)
        return cdtx__fail(err, CDTX_MISUSE, "the database is NULL");
    if (port == NULL)
        return cdtx__fail(err, CDTX_INVALID, "the place for the port is NULL");
    if (port->size < sizeof *port)
        return cdtx__fail(err, CDTX_INVALID, "cdtx_queue_port: its size is %u; set it to sizeof", port->size);
    int32_t rc = cdtx__enter(db->engine, err);
    if (rc != 0)
        return rc;
    rc = make(db, port, err);
    cdtx__leave(db->engine);
    return rc;
}
