/* A message engine in memory that loses confirms, holds, doubles and reorders on request (cdtx/test.h). It keeps every
 * message that it stored, so that a test may look; each group has an entry for what it has not done. */
#include <cdtx/test.h>

#include <stdio.h>

#include "base/list.h"
#include "base/lock.h"
#include "base/name.h"
#include "port/queue.h"

enum { RULES_MAX = 16, NAME_SIZE = CDTX_QUEUE_GROUP_MAX + 1 };

struct rule {
    char topic[NAME_SIZE]; /* "": any */
    char key[CDTX_NAME_MAX + 1];
    int32_t fault;
    uint32_t times; /* left */
};

/* A message that was stored, or is held; its texts and payload lie behind it. */
struct stored {
    struct list link;
    size_t size;
    int64_t at_us;
    cdtx_queue_message message;
    char bytes[];
};

/* Ids that arrived, however they were answered. */
struct arrival {
    struct list link;
    char id[CDTX_QUEUE_ID_MAX + 1];
    uint32_t times;
};

enum entry_state { READY, LEASED, DEAD };

struct entry {
    struct list link; /* of its group, in the order of delivery */
    const struct stored *stored;
    enum entry_state state;
    uint32_t attempt;
    uint64_t token, lost; /* of the lease, and of the one that was lost last */
    int64_t until_us;     /* ready from then on; or the end of the lease */
};

struct group {
    struct list link;
    char topic[NAME_SIZE], name[NAME_SIZE];
    int in_order;
    int64_t lease_us;
    struct list entries;
};

struct cdtx_test_queue {
    cdtx_queue_port port;
    cdtx_test_queue_options options;
    const cdtx_env *env;
    struct lock lock;
    uint32_t changes; /* whoever fetches waits on it */
    int down;
    uint64_t last_token;
    uint32_t log_count, rule_count;
    struct list log, held, arrivals, groups;
    struct rule rules[RULES_MAX];
};

static void lock(cdtx_test_queue *queue) {
    cdtx__lock(queue->env, &queue->lock);
}

static void unlock(cdtx_test_queue *queue) {
    cdtx__unlock(queue->env, &queue->lock);
}

static void changed(cdtx_test_queue *queue) {
    __atomic_add_fetch(&queue->changes, 1, __ATOMIC_RELEASE);
    queue->env->wake(queue->env->user, &queue->changes, UINT32_MAX);
}

static int32_t away(cdtx_error *err) {
    return cdtx__fail(err, CDTX_IO, "the engine cannot be reached");
}

static int32_t no_memory(cdtx_error *err) {
    return cdtx__fail(err, CDTX_NO_MEMORY, "the engine has no memory");
}

/* ---- storing; all of it locked ---- */

static void free_entry(cdtx_test_queue *queue, struct entry *entry) {
    list_remove(&entry->link);
    cdtx__free(queue->env, entry, sizeof *entry);
}

static void free_stored(cdtx_test_queue *queue, struct stored *stored) {
    cdtx__free(queue->env, stored, stored->size);
}

static struct stored *copy(cdtx_test_queue *queue, const cdtx_queue_message *message) {
    size_t id = strlen(message->id) + 1, topic = strlen(message->topic) + 1;
    size_t key = message->key == NULL ? 0 : strlen(message->key) + 1;
    size_t size = sizeof(struct stored) + id + topic + key + message->length + 1;
    struct stored *stored = cdtx__alloc(queue->env, size);
    if (stored == NULL)
        return NULL;
    char *at = stored->bytes;
    stored->size = size;
    stored->message = *message;
    stored->message.id = memcpy(at, message->id, id);
    stored->message.topic = memcpy(at + id, message->topic, topic);
    at += id + topic;
    stored->message.key = key == 0 ? NULL : memcpy(at, message->key, key);
    stored->message.payload = at + key;
    if (message->length > 0)
        memcpy(at + key, message->payload, message->length);
    return stored;
}

static int add_entry(cdtx_test_queue *queue, struct group *group, const struct stored *stored, int first) {
    struct entry *entry = cdtx__alloc(queue->env, sizeof *entry);
    if (entry == NULL)
        return 0;
    *entry = (struct entry){.stored = stored, .until_us = stored->at_us + stored->message.delay_ms * 1000};
    if (first)
        list_push_front(&group->entries, &entry->link);
    else
        list_push(&group->entries, &entry->link);
    return 1;
}

static void forget_entries(cdtx_test_queue *queue, const struct stored *stored) {
    for (struct list *at = queue->groups.next; at != &queue->groups; at = at->next) {
        struct group *group = LIST_OF(at, struct group, link);
        for (struct list *one = group->entries.next, *next; one != &group->entries; one = next) {
            next = one->next;
            if (LIST_OF(one, struct entry, link)->stored == stored)
                free_entry(queue, LIST_OF(one, struct entry, link));
        }
    }
}

static int deliver_to_all(cdtx_test_queue *queue, const struct stored *stored, int32_t fault) {
    int copies = fault == CDTX_FAULT_DOUBLE ? 2 : 1;
    for (struct list *at = queue->groups.next; at != &queue->groups; at = at->next) {
        struct group *group = LIST_OF(at, struct group, link);
        for (int i = 0; i < copies && strcmp(group->topic, stored->message.topic) == 0; i++)
            if (!add_entry(queue, group, stored, fault == CDTX_FAULT_OVERTAKE))
                return 0;
    }
    return 1;
}

static int is_repeat(const cdtx_test_queue *queue, const cdtx_queue_message *message) {
    int64_t since = cdtx__now_us(queue->env) - queue->options.repeat_ms * 1000;
    for (struct list *at = queue->log.next; at != &queue->log; at = at->next) {
        const struct stored *stored = LIST_OF(at, struct stored, link);
        if (stored->at_us > since && strcmp(stored->message.id, message->id) == 0 &&
            strcmp(stored->message.topic, message->topic) == 0)
            return 1;
    }
    return 0;
}

/* Takes it over if it answers 0. */
static int32_t store(cdtx_test_queue *queue, struct stored *stored, int32_t fault, cdtx_error *err) {
    if (queue->options.repeat_ms > 0 && is_repeat(queue, &stored->message)) {
        free_stored(queue, stored);
        return 0;
    }
    if (queue->log_count == queue->options.messages_max)
        return cdtx__fail(err, CDTX_LIMIT, "the engine is full");
    stored->at_us = cdtx__now_us(queue->env);
    if (!deliver_to_all(queue, stored, fault)) {
        forget_entries(queue, stored);
        return no_memory(err);
    }
    if (fault == CDTX_FAULT_OVERTAKE)
        list_push_front(&queue->log, &stored->link);
    else
        list_push(&queue->log, &stored->link);
    queue->log_count++;
    return 0;
}

/* ---- sending ---- */

static int32_t next_fault(cdtx_test_queue *queue, const cdtx_queue_message *message) {
    for (uint32_t i = 0; i < queue->rule_count; i++) {
        struct rule *rule = &queue->rules[i];
        if (rule->times == 0 || (rule->topic[0] != '\0' && strcmp(rule->topic, message->topic) != 0))
            continue;
        if (rule->key[0] != '\0' && (message->key == NULL || strcmp(rule->key, message->key) != 0))
            continue;
        if (rule->times != UINT32_MAX)
            rule->times--;
        return rule->fault;
    }
    return CDTX_FAULT_NONE;
}

static struct arrival *find_arrival(const cdtx_test_queue *queue, const char *id) {
    for (struct list *at = queue->arrivals.next; at != &queue->arrivals; at = at->next)
        if (strcmp(LIST_OF(at, struct arrival, link)->id, id) == 0)
            return LIST_OF(at, struct arrival, link);
    return NULL;
}

static int note_arrival(cdtx_test_queue *queue, const char *id) {
    struct arrival *arrival = find_arrival(queue, id);
    if (arrival == NULL) {
        arrival = cdtx__alloc(queue->env, sizeof *arrival);
        if (arrival == NULL)
            return 0;
        strcpy(arrival->id, id);
        list_push(&queue->arrivals, &arrival->link);
    }
    arrival->times++;
    return 1;
}

static int32_t meet(cdtx_test_queue *queue, const cdtx_queue_message *message, int32_t fault, cdtx_error *err) {
    if (fault == CDTX_FAULT_AWAY)
        return away(err);
    if (fault == CDTX_FAULT_REFUSE)
        return cdtx__fail(err, CDTX_REFUSED, "the engine refuses message %s", message->id);
    struct stored *stored = fault == CDTX_FAULT_LOSE_CALL ? NULL : copy(queue, message);
    if (stored == NULL && fault != CDTX_FAULT_LOSE_CALL)
        return no_memory(err);
    if (fault == CDTX_FAULT_HOLD)
        list_push(&queue->held, &stored->link);
    else if (stored != NULL) {
        int32_t rc = store(queue, stored, fault, err);
        if (rc != 0)
            free_stored(queue, stored);
        if (rc != 0 || fault != CDTX_FAULT_LOSE_REPLY)
            return rc;
    }
    return cdtx__fail(err, CDTX_UNKNOWN, "no confirm came for message %s", message->id);
}

static int32_t send_one(cdtx_test_queue *queue, const cdtx_queue_message *message, cdtx_error *err) {
    int32_t rc = queue->down ? away(err) : cdtx__queue_check_message(&queue->port, message, err);
    if (rc != 0)
        return rc;
    return note_arrival(queue, message->id) ? meet(queue, message, next_fault(queue, message), err) : no_memory(err);
}

static int32_t send_many(void *user, const cdtx_queue_message *messages, uint32_t count, cdtx_error *results) {
    cdtx_test_queue *queue = user;
    int32_t rc = cdtx__queue_check_batch(&queue->port, messages, count, results);
    if (rc != 0)
        return rc;
    lock(queue);
    for (uint32_t i = 0; i < count; i++)
        if (send_one(queue, &messages[i], &results[i]) == 0)
            results[i].code = 0;
    changed(queue);
    unlock(queue);
    return cdtx__queue_first(results, count);
}

/* ---- consuming ---- */

static struct group *find_group(const cdtx_test_queue *queue, const char *topic, const char *name) {
    for (struct list *at = queue->groups.next; at != &queue->groups; at = at->next) {
        struct group *group = LIST_OF(at, struct group, link);
        if (strcmp(group->topic, topic) == 0 && strcmp(group->name, name) == 0)
            return group;
    }
    return NULL;
}

static void free_group(cdtx_test_queue *queue, struct group *group) {
    while (!list_empty(&group->entries))
        free_entry(queue, LIST_OF(group->entries.next, struct entry, link));
    cdtx__free(queue->env, group, sizeof *group);
}

static int32_t new_group(cdtx_test_queue *queue, const char *topic, const char *name, const cdtx_queue_subscription *o,
                         cdtx_error *err) {
    if (find_group(queue, topic, name) != NULL)
        return cdtx__fail(err, CDTX_CONFLICT, "this port takes part in group '%s' of '%s' already", name, topic);
    struct group *group = cdtx__alloc(queue->env, sizeof *group);
    if (group == NULL)
        return no_memory(err);
    snprintf(group->topic, sizeof group->topic, "%s", topic);
    snprintf(group->name, sizeof group->name, "%s", name);
    group->in_order = o->in_order;
    group->lease_us = (o->lease_ms > 0 ? o->lease_ms : queue->options.lease_ms) * 1000;
    list_init(&group->entries);
    for (struct list *at = queue->log.next; at != &queue->log; at = at->next) {
        const struct stored *stored = LIST_OF(at, struct stored, link);
        if (strcmp(stored->message.topic, topic) == 0 && !add_entry(queue, group, stored, 0)) {
            free_group(queue, group);
            return no_memory(err);
        }
    }
    list_push(&queue->groups, &group->link);
    return 0;
}

static int32_t check_subscription(const cdtx_test_queue *queue, const cdtx_queue_subscription *options,
                                  cdtx_queue_subscription *o, cdtx_error *err) {
    if (options == NULL)
        return 0;
    if (options->size < sizeof *o)
        return cdtx__fail(err, CDTX_INVALID, "cdtx_queue_subscription: its size is %u; set it to sizeof",
                          options->size);
    *o = *options;
    if (o->in_order && !queue->options.in_order)
        return cdtx__fail(err, CDTX_UNSUPPORTED, "this engine keeps no order");
    return cdtx__queue_check_ms(o->lease_ms, "lease_ms", err);
}

static int32_t subscribe(void *user, const char *topic, const char *group, const cdtx_queue_subscription *options,
                         cdtx_error *err) {
    cdtx_test_queue *queue = user;
    cdtx_queue_subscription o = {0};
    int32_t rc = cdtx__queue_check_name(topic, "the topic's name", err);
    if (rc == 0)
        rc = cdtx__queue_check_name(group, "the group's name", err);
    if (rc == 0)
        rc = check_subscription(queue, options, &o, err);
    if (rc != 0)
        return rc;
    lock(queue);
    rc = queue->down ? away(err) : new_group(queue, topic, group, &o, err);
    unlock(queue);
    return rc;
}

/* Is another of its key before it? */
static int has_turn(const struct group *group, const struct entry *entry) {
    const char *key = entry->stored->message.key;
    for (const struct list *at = group->entries.next; group->in_order && key != NULL && at != &entry->link;
         at = at->next) {
        const struct entry *before = LIST_OF(at, struct entry, link);
        const char *other = before->stored->message.key;
        if (before->state != DEAD && other != NULL && strcmp(other, key) == 0)
            return 0;
    }
    return 1;
}

static void hand_out(cdtx_test_queue *queue, const struct group *group, struct entry *entry, int64_t now,
                     cdtx_queue_delivery *delivery) {
    const cdtx_queue_message *message = &entry->stored->message;
    entry->state = LEASED;
    entry->token = ++queue->last_token;
    entry->attempt++;
    entry->until_us = now + group->lease_us;
    *delivery = (cdtx_queue_delivery){.token = entry->token,
                                      .id = queue->options.forgets_id ? "" : message->id,
                                      .topic = message->topic,
                                      .group = group->name,
                                      .key = message->key,
                                      .payload = message->payload,
                                      .length = message->length,
                                      .attempt = entry->attempt};
}

/* What there is now; *next_us gets the time at which there may be more. */
static uint32_t take(cdtx_test_queue *queue, cdtx_queue_delivery *deliveries, uint32_t most, int64_t *next_us) {
    int64_t now = cdtx__now_us(queue->env);
    uint32_t count = 0;
    for (struct list *at = queue->groups.next; at != &queue->groups; at = at->next) {
        struct group *group = LIST_OF(at, struct group, link);
        for (struct list *one = group->entries.next; one != &group->entries && count < most; one = one->next) {
            struct entry *entry = LIST_OF(one, struct entry, link);
            if (entry->state == LEASED && entry->until_us <= now) {
                entry->state = READY;
                entry->lost = entry->token;
                entry->token = 0;
            }
            if (entry->state == READY && entry->until_us <= now && has_turn(group, entry))
                hand_out(queue, group, entry, now, &deliveries[count++]);
            else if (entry->state != DEAD && entry->until_us > now && entry->until_us < *next_us)
                *next_us = entry->until_us;
        }
    }
    return count;
}

static int32_t fetch(void *user, int64_t for_ms, cdtx_queue_delivery *deliveries, uint32_t most, uint32_t *count,
                     cdtx_error *err) {
    cdtx_test_queue *queue = user;
    int32_t rc = cdtx__queue_check_fetch(for_ms, deliveries, most, count, err);
    if (rc != 0)
        return rc;
    int64_t until = cdtx__now_us(queue->env) + for_ms * 1000;
    uint32_t taken = 0;
    lock(queue);
    for (;;) {
        int64_t next = until;
        uint32_t seen = __atomic_load_n(&queue->changes, __ATOMIC_ACQUIRE);
        if (queue->down)
            rc = away(err);
        else
            taken = take(queue, deliveries, most, &next);
        if (rc != 0 || taken > 0 || cdtx__now_us(queue->env) >= until)
            break;
        unlock(queue);
        queue->env->wait(queue->env->user, &queue->changes, seen, next);
        lock(queue);
    }
    unlock(queue);
    if (rc == 0)
        *count = taken;
    return rc;
}

static struct entry *find_entry(const cdtx_test_queue *queue, uint64_t token) {
    for (struct list *at = queue->groups.next; at != &queue->groups && token != 0; at = at->next) {
        struct group *group = LIST_OF(at, struct group, link);
        for (struct list *one = group->entries.next; one != &group->entries; one = one->next) {
            struct entry *entry = LIST_OF(one, struct entry, link);
            if (entry->token == token || entry->lost == token)
                return entry;
        }
    }
    return NULL;
}

static int32_t settle_one(cdtx_test_queue *queue, const cdtx_queue_answer *answer, cdtx_error *err) {
    int64_t now = cdtx__now_us(queue->env);
    int32_t rc = cdtx__queue_check_answer(&queue->port, answer, err);
    struct entry *entry = rc == 0 ? find_entry(queue, answer->token) : NULL;
    if (rc == 0 && entry == NULL)
        rc = cdtx__fail(err, CDTX_NOT_FOUND, "token %llu was never given out, or is used up",
                        (unsigned long long)answer->token);
    if (rc != 0)
        return rc;
    int lost = entry->lost == answer->token || entry->until_us <= now;
    if (entry->lost == answer->token)
        entry->lost = 0;
    else
        entry->token = 0;
    if (queue->down)
        return away(err);
    if (lost)
        return cdtx__fail(err, CDTX_CONFLICT, "token %llu: its lease was lost", (unsigned long long)answer->token);
    if (answer->kind == CDTX_QUEUE_ACK) {
        free_entry(queue, entry);
        return 0;
    }
    entry->state = answer->kind == CDTX_QUEUE_NACK ? READY : DEAD;
    entry->until_us = now + answer->delay_ms * 1000;
    return 0;
}

static int32_t settle(void *user, const cdtx_queue_answer *answers, uint32_t count, cdtx_error *results) {
    cdtx_test_queue *queue = user;
    lock(queue);
    for (uint32_t i = 0; i < count; i++)
        if (settle_one(queue, &answers[i], &results[i]) == 0)
            results[i].code = 0;
    changed(queue);
    unlock(queue);
    return cdtx__queue_first(results, count);
}

static void close_port(void *user) {
    (void)user; /* the test's own handle goes on */
}

/* ---- the test's side ---- */

static void fill_table(cdtx_test_queue *queue) {
    const cdtx_test_queue_options *o = &queue->options;
    uint32_t capabilities = CDTX_QUEUE_COUNTS | CDTX_QUEUE_KEEPS_DEAD;
    capabilities |= o->forgets_id ? 0 : CDTX_QUEUE_KEEPS_ID;
    capabilities |= o->not_durable ? 0 : CDTX_QUEUE_DURABLE;
    capabilities |= o->in_order ? CDTX_QUEUE_ORDER : 0;
    capabilities |= o->repeat_ms > 0 ? CDTX_QUEUE_DROPS_REPEATS : 0;
    capabilities |= o->no_delay ? 0 : CDTX_QUEUE_DELAY | CDTX_QUEUE_NACK_DELAY;
    queue->port = (cdtx_queue_port){.size = sizeof queue->port,
                                    .capabilities = capabilities,
                                    .user = queue,
                                    .batch_max = o->batch_max,
                                    .payload_max = o->payload_max,
                                    .repeat_ms = o->repeat_ms,
                                    .send = send_many,
                                    .subscribe = subscribe,
                                    .fetch = fetch,
                                    .settle = settle,
                                    .close = close_port};
}

static int32_t fill_options(cdtx_test_queue_options *o, cdtx_error *err) {
    if (o->env == NULL)
        o->env = cdtx__env_posix();
    if (o->lease_ms == 0)
        o->lease_ms = 30000;
    if (o->batch_max == 0)
        o->batch_max = 64;
    if (o->payload_max == 0)
        o->payload_max = CDTX_PAYLOAD_DEFAULT;
    if (o->messages_max == 0)
        o->messages_max = 100000;
    if (o->batch_max > CDTX_MANY_MAX)
        return cdtx__fail(err, CDTX_INVALID, "batch_max is %u; it must be at most %d", o->batch_max, CDTX_MANY_MAX);
    int32_t rc = cdtx__queue_check_ms(o->repeat_ms, "repeat_ms", err);
    return rc != 0 ? rc : cdtx__queue_check_ms(o->lease_ms, "lease_ms", err);
}

int32_t cdtx_test_queue_new(const cdtx_test_queue_options *options, cdtx_test_queue **out, cdtx_error *err) {
    cdtx_test_queue_options o = {0};
    if (out == NULL)
        return cdtx__fail(err, CDTX_INVALID, "no place for the new test queue");
    if (options != NULL && options->size < sizeof o)
        return cdtx__fail(err, CDTX_INVALID, "cdtx_test_queue_options: its size is %u; set it to sizeof",
                          options->size);
    if (options != NULL)
        o = *options;
    int32_t rc = fill_options(&o, err);
    if (rc != 0)
        return rc;
    cdtx_test_queue *queue = cdtx__alloc(o.env, sizeof *queue);
    if (queue == NULL)
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory for a test queue");
    queue->options = o;
    queue->env = o.env;
    list_init(&queue->log);
    list_init(&queue->held);
    list_init(&queue->arrivals);
    list_init(&queue->groups);
    fill_table(queue);
    *out = queue;
    return 0;
}

static void free_list(cdtx_test_queue *queue, struct list *head) {
    struct list *at;
    while ((at = list_pop(head)) != NULL)
        free_stored(queue, LIST_OF(at, struct stored, link));
}

void cdtx_test_queue_free(cdtx_test_queue *queue) {
    struct list *at;
    if (queue == NULL)
        return;
    while ((at = list_pop(&queue->groups)) != NULL)
        free_group(queue, LIST_OF(at, struct group, link));
    while ((at = list_pop(&queue->arrivals)) != NULL)
        cdtx__free(queue->env, LIST_OF(at, struct arrival, link), sizeof(struct arrival));
    free_list(queue, &queue->log);
    free_list(queue, &queue->held);
    cdtx__free(queue->env, queue, sizeof *queue);
}

const cdtx_queue_port *cdtx_test_queue_port(cdtx_test_queue *queue) {
    return &queue->port;
}

/* Locked. Rules that are used up make room. */
static void tidy_rules(cdtx_test_queue *queue) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < queue->rule_count; i++)
        if (queue->rules[i].times > 0)
            queue->rules[kept++] = queue->rules[i];
    queue->rule_count = kept;
}

int32_t cdtx_test_queue_rule(cdtx_test_queue *queue, const char *topic, const char *key, int32_t fault, uint32_t times,
                             cdtx_error *err) {
    int32_t rc = topic == NULL ? 0 : cdtx__queue_check_name(topic, "the topic's name", err);
    if (rc == 0 && key != NULL)
        rc = cdtx__check_name(key, "the message's key", err);
    if (rc != 0)
        return rc;
    if (fault < CDTX_FAULT_NONE || fault > CDTX_FAULT_OVERTAKE)
        return cdtx__fail(err, CDTX_INVALID, "rule with fault %d: there is no such fault", fault);
    if (fault == CDTX_FAULT_OVERTAKE && queue->options.in_order)
        return cdtx__fail(err, CDTX_INVALID, "rule with CDTX_FAULT_OVERTAKE: this engine promises order");
    lock(queue);
    tidy_rules(queue);
    int full = queue->rule_count == RULES_MAX;
    if (!full) {
        struct rule *rule = &queue->rules[queue->rule_count++];
        *rule = (struct rule){.fault = fault, .times = times};
        strcpy(rule->topic, topic == NULL ? "" : topic);
        strcpy(rule->key, key == NULL ? "" : key);
    }
    unlock(queue);
    return full ? cdtx__fail(err, CDTX_LIMIT, "a test queue has at most %d unused rules", RULES_MAX) : 0;
}

void cdtx_test_queue_set_down(cdtx_test_queue *queue, int32_t down) {
    lock(queue);
    queue->down = down != 0;
    changed(queue);
    unlock(queue);
}

/* What there is no room for is lost, as a late packet is. */
uint32_t cdtx_test_queue_release(cdtx_test_queue *queue) {
    uint32_t count = 0;
    struct list *at;
    lock(queue);
    while ((at = list_pop(&queue->held)) != NULL) {
        struct stored *stored = LIST_OF(at, struct stored, link);
        if (store(queue, stored, CDTX_FAULT_NONE, NULL) == 0)
            count++;
        else
            free_stored(queue, stored);
    }
    changed(queue);
    unlock(queue);
    return count;
}

void cdtx_test_queue_restart(cdtx_test_queue *queue) {
    lock(queue);
    free_list(queue, &queue->held);
    for (struct list *at = queue->groups.next; at != &queue->groups; at = at->next) {
        struct group *group = LIST_OF(at, struct group, link);
        for (struct list *one = group->entries.next; one != &group->entries; one = one->next) {
            struct entry *entry = LIST_OF(one, struct entry, link);
            entry->token = entry->lost = 0;
            if (entry->state != LEASED)
                continue;
            entry->state = READY;
            entry->until_us = cdtx__now_us(queue->env);
        }
    }
    changed(queue);
    unlock(queue);
}

/* ---- looking ---- */

uint32_t cdtx_test_queue_arrived(cdtx_test_queue *queue, const char *id) {
    uint32_t count = 0;
    lock(queue);
    for (struct list *at = queue->arrivals.next; at != &queue->arrivals; at = at->next) {
        const struct arrival *arrival = LIST_OF(at, struct arrival, link);
        if (id == NULL || strcmp(arrival->id, id) == 0)
            count += arrival->times;
    }
    unlock(queue);
    return count;
}

uint32_t cdtx_test_queue_stored(cdtx_test_queue *queue, const char *id) {
    uint32_t count = 0;
    lock(queue);
    for (struct list *at = queue->log.next; at != &queue->log; at = at->next)
        count += id == NULL || strcmp(LIST_OF(at, struct stored, link)->message.id, id) == 0;
    unlock(queue);
    return count;
}

static uint32_t count_entries(cdtx_test_queue *queue, const char *topic, const char *name, int dead) {
    uint32_t count = 0;
    lock(queue);
    struct group *group = find_group(queue, topic, name);
    for (struct list *at = group == NULL ? NULL : group->entries.next; group != NULL && at != &group->entries;
         at = at->next)
        count += (LIST_OF(at, struct entry, link)->state == DEAD) == dead;
    unlock(queue);
    return count;
}

uint32_t cdtx_test_queue_dead(cdtx_test_queue *queue, const char *topic, const char *group) {
    return count_entries(queue, topic, group, 1);
}

uint32_t cdtx_test_queue_lag(cdtx_test_queue *queue, const char *topic, const char *group) {
    return count_entries(queue, topic, group, 0);
}

int32_t cdtx_test_queue_at(cdtx_test_queue *queue, const char *topic, uint32_t index, cdtx_queue_message *message,
                           cdtx_error *err) {
    const struct stored *found = NULL;
    uint32_t before = 0;
    if (topic == NULL || message == NULL)
        return cdtx__fail(err, CDTX_INVALID, "the topic, or the place for the message, is NULL");
    lock(queue);
    for (struct list *at = queue->log.next; at != &queue->log && found == NULL; at = at->next) {
        const struct stored *stored = LIST_OF(at, struct stored, link);
        if (strcmp(stored->message.topic, topic) == 0 && before++ == index)
            found = stored;
    }
    unlock(queue);
    if (found == NULL)
        return cdtx__fail(err, CDTX_NOT_FOUND, "topic '%s' has no message %u", topic, index);
    *message = found->message;
    return 0;
}
