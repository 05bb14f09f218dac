/* A link between engines of one process that loses, doubles and holds calls on request (cdtx/test.h).
 *
 * Its lock guards the lists and is never held while an engine is called, since an engine may answer or send before its
 * function returns. Instead every use of an engine stands in `visits` while it lasts; detach takes the engine out of
 * every list and waits for its visits, so that afterwards nothing here can name it. */
#include <cdtx/test.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/lock.h"

enum { TARGETS_MAX = 16, RULES_MAX = 16 };

struct target {
    char participant[CDTX_NAME_MAX + 1];
    cdtx *engine; /* NULL: down */
};

struct rule {
    char participant[CDTX_NAME_MAX + 1]; /* "": any */
    int32_t op;                          /* 0: any */
    int32_t fault;
    uint32_t times; /* left */
};

/* An engine is in use; on the user's stack. */
struct visit {
    struct list link;
    cdtx *engine;
};

/* A served call whose answer has not come yet. */
struct delivery {
    struct list link;
    cdtx_test_link *owner;
    cdtx *sender; /* NULL: nobody wants the answer */
};

/* A call kept for later; its name and payload lie behind it. */
struct held {
    struct list link;
    cdtx *sender; /* NULL: it has closed since */
    size_t size;
    cdtx_call call;
    char bytes[];
};

struct cdtx_test_link {
    cdtx_link port;
    const cdtx_env *env;
    struct lock lock;
    uint32_t left; /* counts the visits that ended; detach waits on it */
    struct list visits, deliveries, held;
    struct target targets[TARGETS_MAX];
    struct rule rules[RULES_MAX];
    uint32_t target_count, rule_count, held_count;
};

static void lock(cdtx_test_link *link) {
    cdtx__lock(link->env, &link->lock);
}

static void unlock(cdtx_test_link *link) {
    cdtx__unlock(link->env, &link->lock);
}

/* Locked: since the engine was looked up. */
static void enter(cdtx_test_link *link, struct visit *visit, cdtx *engine) {
    *visit = (struct visit){.engine = engine};
    list_push(&link->visits, &visit->link);
}

static void leave(cdtx_test_link *link, struct visit *visit) {
    lock(link);
    list_remove(&visit->link);
    __atomic_add_fetch(&link->left, 1, __ATOMIC_RELEASE);
    unlock(link);
    link->env->wake(link->env->user, &link->left, UINT32_MAX);
}

/* Locked. The place of a participant's target, or NULL when it has none of its own. */
static struct target *find_target(cdtx_test_link *link, const char *participant) {
    for (uint32_t i = 0; i < link->target_count; i++)
        if (strcmp(link->targets[i].participant, participant) == 0)
            return &link->targets[i];
    return NULL;
}

/* Locked. The engine that serves the participant now; NULL: down. */
static cdtx *serving(cdtx_test_link *link, cdtx *sender, const char *participant) {
    const struct target *target = find_target(link, participant);
    return target == NULL ? sender : target->engine;
}

/* Locked. What the next such call meets; uses the rule up. */
static int32_t next_fault(cdtx_test_link *link, const cdtx_call *call) {
    for (uint32_t i = 0; i < link->rule_count; i++) {
        struct rule *rule = &link->rules[i];
        if (rule->times == 0 || (rule->op != 0 && rule->op != call->op))
            continue;
        if (rule->participant[0] != '\0' && strcmp(rule->participant, call->participant) != 0)
            continue;
        rule->times--;
        return rule->fault;
    }
    return CDTX_FAULT_NONE;
}

static void forward(void *user, uint64_t id, const cdtx_reply *reply) {
    struct delivery *delivery = user;
    cdtx_test_link *link = delivery->owner;
    struct visit visit;
    lock(link);
    cdtx *sender = delivery->sender;
    list_remove(&delivery->link);
    if (sender != NULL)
        enter(link, &visit, sender);
    unlock(link);
    cdtx__free(link->env, delivery, sizeof *delivery);
    if (sender != NULL) {
        cdtx_link_reply(sender, id, reply);
        leave(link, &visit);
    }
}

/* Serves one call and lets its answer find the way back, or not if mute. The caller has entered sender (NULL: closed),
 * so it stays valid even while another thread detaches it. */
static int32_t deliver(cdtx_test_link *link, cdtx *sender, int mute, const cdtx_call *call, cdtx_error *err) {
    struct delivery *delivery = cdtx__alloc(link->env, sizeof *delivery);
    if (delivery == NULL)
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory to deliver a call to '%s'", call->participant);
    *delivery = (struct delivery){.owner = link, .sender = mute ? NULL : sender};
    int32_t rc = CDTX_IO;
    struct visit visit;
    lock(link);
    list_push(&link->deliveries, &delivery->link);
    cdtx *engine = serving(link, sender, call->participant);
    if (engine != NULL)
        enter(link, &visit, engine);
    unlock(link);
    if (engine != NULL) {
        rc = cdtx_serve(engine, call, forward, delivery, err);
        leave(link, &visit);
    } else {
        cdtx__fail(err, CDTX_IO, "the engine that serves '%s' is down", call->participant);
    }
    if (rc == 0)
        return 0;
    lock(link);
    list_remove(&delivery->link);
    unlock(link);
    cdtx__free(link->env, delivery, sizeof *delivery);
    return rc == CDTX_NO_MEMORY ? rc : CDTX_IO;
}

static int32_t hold(cdtx_test_link *link, cdtx *sender, const cdtx_call *call, cdtx_error *err) {
    size_t name = strlen(call->participant) + 1;
    size_t size = sizeof(struct held) + name + call->length;
    struct held *held = cdtx__alloc(link->env, size);
    if (held == NULL)
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory to hold a call to '%s'", call->participant);
    held->sender = sender;
    held->size = size;
    held->call = *call;
    held->call.participant = memcpy(held->bytes, call->participant, name);
    if (call->length > 0)
        held->call.payload = memcpy(held->bytes + name, call->payload, call->length);
    lock(link);
    list_push(&link->held, &held->link);
    link->held_count++;
    unlock(link);
    return 0;
}

static int32_t meet(cdtx_test_link *link, int32_t fault, cdtx *sender, const cdtx_call *call, cdtx_error *err) {
    if (fault == CDTX_FAULT_LOSE_CALL)
        return 0;
    if (fault == CDTX_FAULT_HOLD)
        return hold(link, sender, call, err);
    int32_t rc = deliver(link, sender, fault == CDTX_FAULT_LOSE_REPLY, call, err);
    if (rc == 0 && fault == CDTX_FAULT_DOUBLE)
        deliver(link, sender, 0, call, NULL);
    return rc;
}

static int32_t send_call(void *user, cdtx *sender, const cdtx_call *call, cdtx_error *err) {
    cdtx_test_link *link = user;
    struct visit visit;
    lock(link);
    enter(link, &visit, sender);
    int32_t fault = next_fault(link, call);
    unlock(link);
    int32_t rc = meet(link, fault, sender, call, err);
    leave(link, &visit);
    return rc;
}

/* A participant whose engine is down may come back, so it counts as known. */
static int32_t knows(void *user, cdtx *sender, const char *participant) {
    cdtx_test_link *link = user;
    struct visit visit;
    lock(link);
    cdtx *engine = serving(link, sender, participant);
    if (engine != NULL)
        enter(link, &visit, engine);
    unlock(link);
    if (engine == NULL)
        return 1;
    int32_t known = cdtx_serves(engine, participant);
    leave(link, &visit);
    return known;
}

/* Locked. */
static int visited(const cdtx_test_link *link, const cdtx *engine) {
    for (const struct list *at = link->visits.next; at != &link->visits; at = at->next)
        if (LIST_OF(at, struct visit, link)->engine == engine)
            return 1;
    return 0;
}

/* Locked. */
static void forget(cdtx_test_link *link, const cdtx *engine) {
    for (uint32_t i = 0; i < link->target_count; i++)
        if (link->targets[i].engine == engine)
            link->targets[i].engine = NULL;
    for (struct list *at = link->deliveries.next; at != &link->deliveries; at = at->next)
        if (LIST_OF(at, struct delivery, link)->sender == engine)
            LIST_OF(at, struct delivery, link)->sender = NULL;
    for (struct list *at = link->held.next; at != &link->held; at = at->next)
        if (LIST_OF(at, struct held, link)->sender == engine)
            LIST_OF(at, struct held, link)->sender = NULL;
}

/* A visit that goes on may still add to the lists, so they are gone through again after each. */
static void detach(void *user, cdtx *engine) {
    cdtx_test_link *link = user;
    lock(link);
    forget(link, engine);
    while (visited(link, engine)) {
        uint32_t seen = link->left;
        unlock(link);
        link->env->wait(link->env->user, &link->left, seen, INT64_MAX);
        lock(link);
        forget(link, engine);
    }
    unlock(link);
}

int32_t cdtx_test_link_new(cdtx_test_link **out, cdtx_error *err) {
    if (out == NULL)
        return cdtx__fail(err, CDTX_INVALID, "no place for the new test link");
    const cdtx_env *env = cdtx__env_posix();
    cdtx_test_link *link = cdtx__alloc(env, sizeof *link);
    if (link == NULL)
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory for a test link");
    link->env = env;
    link->port = (cdtx_link){
        .size = sizeof link->port,
        .user = link,
        .knows = knows,
        .send = send_call,
        .detach = detach,
    };
    list_init(&link->visits);
    list_init(&link->deliveries);
    list_init(&link->held);
    *out = link;
    return 0;
}

/* The engines are closed, so no answer can come any more to a delivery that is left. */
void cdtx_test_link_free(cdtx_test_link *link) {
    if (link == NULL)
        return;
    INVARIANT(list_empty(&link->visits));
    struct list *at;
    while ((at = list_pop(&link->deliveries)) != NULL)
        cdtx__free(link->env, LIST_OF(at, struct delivery, link), sizeof(struct delivery));
    while ((at = list_pop(&link->held)) != NULL)
        cdtx__free(link->env, LIST_OF(at, struct held, link), LIST_OF(at, struct held, link)->size);
    cdtx__free(link->env, link, sizeof *link);
}

const cdtx_link *cdtx_test_link_port(cdtx_test_link *link) {
    return &link->port;
}

int32_t cdtx_test_link_set_target(cdtx_test_link *link, const char *participant, cdtx *engine, cdtx_error *err) {
    int32_t rc = cdtx__check_name(participant, "participant", err);
    if (rc != 0)
        return rc;
    lock(link);
    struct target *target = find_target(link, participant);
    if (target == NULL && link->target_count < TARGETS_MAX) {
        target = &link->targets[link->target_count++];
        strcpy(target->participant, participant);
    }
    if (target != NULL)
        target->engine = engine;
    unlock(link);
    if (target == NULL)
        return cdtx__fail(err, CDTX_LIMIT, "target for '%s': a test link has at most %d", participant, TARGETS_MAX);
    return 0;
}

/* Locked. Rules that are used up make room. */
static void tidy_rules(cdtx_test_link *link) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < link->rule_count; i++)
        if (link->rules[i].times > 0)
            link->rules[kept++] = link->rules[i];
    link->rule_count = kept;
}

int32_t cdtx_test_link_rule(cdtx_test_link *link, const char *participant, int32_t op, int32_t fault, uint32_t times,
                            cdtx_error *err) {
    int32_t rc = participant == NULL ? 0 : cdtx__check_name(participant, "participant", err);
    if (rc != 0)
        return rc;
    if (op < 0 || op > CDTX_CALL_CANCEL)
        return cdtx__fail(err, CDTX_INVALID, "rule for op %d: there is no such op", op);
    if (fault < CDTX_FAULT_NONE || fault > CDTX_FAULT_HOLD)
        return cdtx__fail(err, CDTX_INVALID, "rule with fault %d: there is no such fault", fault);
    lock(link);
    tidy_rules(link);
    int full = link->rule_count == RULES_MAX;
    if (!full) {
        struct rule *rule = &link->rules[link->rule_count++];
        *rule = (struct rule){.op = op, .fault = fault, .times = times};
        strcpy(rule->participant, participant == NULL ? "" : participant);
    }
    unlock(link);
    return full ? cdtx__fail(err, CDTX_LIMIT, "a test link has at most %d unused rules", RULES_MAX) : 0;
}

/* What is held anew meanwhile waits for the next release. A call whose sender has closed still goes to its target: the
 * late call of a dead coordinator. */
uint32_t cdtx_test_link_release(cdtx_test_link *link) {
    uint32_t delivered = 0;
    lock(link);
    for (uint32_t left = link->held_count; left > 0 && !list_empty(&link->held); left--) {
        struct held *held = LIST_OF(list_pop(&link->held), struct held, link);
        struct visit visit;
        link->held_count--;
        enter(link, &visit, held->sender);
        unlock(link);
        delivered += deliver(link, visit.engine, 0, &held->call, NULL) == 0;
        leave(link, &visit);
        cdtx__free(link->env, held, held->size);
        lock(link);
    }
    unlock(link);
    return delivered;
}
