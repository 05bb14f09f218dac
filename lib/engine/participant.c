#include <stdio.h>

#include "engine/message.h"

static struct participant *find(cdtx *engine, const char *name) {
    struct participant *found = NULL;
    cdtx__lock(engine->env, &engine->lock);
    for (struct list *link = engine->participants.next; link != &engine->participants && found == NULL;
         link = link->next) {
        struct participant *participant = LIST_OF(link, struct participant, link);
        if (strcmp(participant->name, name) == 0)
            found = participant;
    }
    cdtx__unlock(engine->env, &engine->lock);
    return found;
}

int32_t cdtx__participant_add(cdtx_db *db, const char *name,
                              int32_t (*serve)(struct served *, cdtx_sql *, cdtx_error *),
                              void (*drop)(struct participant *), void *state, cdtx_error *err) {
    cdtx *engine = db->engine;
    int32_t rc = cdtx__may_write(db, "registering a participant", err);
    if (rc != 0)
        return rc;
    if (find(engine, name) != NULL)
        return cdtx__fail(err, CDTX_CONFLICT, "a participant named '%s' is registered already", name);
    rc = cdtx__floor_keep(db, err);
    if (rc != 0)
        return rc;
    struct participant *participant = cdtx__alloc(engine->env, sizeof *participant);
    char *copy = cdtx__copy_text(engine->env, name);
    if (participant == NULL || copy == NULL) {
        cdtx__free_text(engine->env, copy);
        cdtx__free(engine->env, participant, sizeof *participant);
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory to register participant '%s'", name);
    }
    *participant = (struct participant){.name = copy, .db = db, .serve = serve, .drop = drop, .state = state};
    cdtx__lock(engine->env, &engine->lock);
    list_push(&engine->participants, &participant->link);
    cdtx__unlock(engine->env, &engine->lock);
    cdtx__drives_recheck(engine);
    return 0;
}

void cdtx__participants_free(cdtx *engine) {
    struct list *link;
    while ((link = list_pop(&engine->participants)) != NULL) {
        struct participant *participant = LIST_OF(link, struct participant, link);
        participant->drop(participant);
        cdtx__free_text(engine->env, participant->name);
        cdtx__free(engine->env, participant, sizeof *participant);
    }
}

int32_t cdtx_serves(cdtx *engine, const char *name) {
    if (name == NULL || cdtx__enter(engine, NULL) != 0)
        return 0;
    int32_t found = find(engine, name) != NULL;
    cdtx__leave(engine);
    return found;
}

static int32_t run(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    struct served *served = LIST_OF(rider, struct served, rider);
    served->code = 0;
    served->alarm = 0;
    served->result.length = 0;
    served->result.failed = 0;
    sql->branch = &served->call;
    int32_t rc = served->participant->serve(served, sql, err);
    sql->branch = NULL;
    int settles = rc == 0 && served->code == 0 && served->call.op != CDTX_CALL_TRY;
    return settles ? cdtx__messages_settle(sql, &served->call, err) : rc;
}

/* After the sync: what the participant answered is durable now, so it may be said. */
static void done(struct rider *rider) {
    struct served *served = LIST_OF(rider, struct served, rider);
    cdtx *engine = served->engine;
    cdtx_reply reply = {.code = rider->result};
    if (rider->result == 0 && served->alarm)
        cdtx__alarm(engine, "%s", served->refusal.text);
    if (rider->result != 0) {
        reply.text = rider->err.text;
    } else {
        reply.code = served->code;
        reply.text = served->code == 0 ? "" : served->refusal.text;
        reply.result = served->result.bytes;
        reply.length = (uint32_t)served->result.length;
    }
    served->answer(served->user, served->call.id, &reply);
    cdtx__floor_heard(served->participant->db, served->call.log, served->call.floor);
    cdtx__buf_free(&served->result);
    cdtx__free(engine->env, served, served->size);
}

static int32_t check(cdtx *engine, const cdtx_call *call, cdtx_answer_fn answer, cdtx_error *err) {
    if (call == NULL || answer == NULL)
        return cdtx__fail(err, CDTX_INVALID, "the call or its answer function is NULL");
    if (call->op < CDTX_CALL_TRY || call->op > CDTX_CALL_REVERSE)
        return cdtx__fail(err, CDTX_INVALID, "a call with the unknown operation %d", call->op);
    if (call->sequence <= 0 || call->branch >= CDTX_BRANCHES_MAX)
        return cdtx__fail(err, CDTX_INVALID, "a call for branch %u of gid %lld, which cannot be", call->branch,
                          (long long)call->sequence);
    int32_t rc = cdtx__check_name(call->participant, "the participant's name", err);
    return rc != 0 ? rc : cdtx__check_payload(engine, call->payload, call->length, err);
}

static int32_t submit(cdtx *engine, struct participant *participant, const cdtx_call *call, cdtx_answer_fn answer,
                      void *user, cdtx_error *err) {
    size_t size = sizeof(struct served) + call->length + 1;
    struct served *served = engine->env->memory(engine->env->user, NULL, 0, size);
    if (served == NULL)
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory to serve a call of '%s'", participant->name);
    memset(served, 0, sizeof *served);
    served->engine = engine;
    served->participant = participant;
    served->call = *call;
    served->call.participant = participant->name;
    char *payload = (char *)(served + 1);
    if (call->length > 0)
        memcpy(payload, call->payload, call->length);
    payload[call->length] = '\0';
    served->call.payload = payload;
    served->answer = answer;
    served->user = user;
    served->size = size;
    served->rider.flags = RIDER_BOUNDED | RIDER_HOPEFUL;
    served->rider.run = run;
    served->rider.done = done;
    cdtx__buf_init(&served->result, engine->env, engine->options.payload_max);
    cdtx__store_submit(participant->db->store, &served->rider);
    return 0;
}

int32_t cdtx_serve(cdtx *engine, const cdtx_call *call, cdtx_answer_fn answer, void *user, cdtx_error *err) {
    int32_t rc = cdtx__enter(engine, err);
    if (rc != 0)
        return rc;
    rc = check(engine, call, answer, err);
    if (rc == 0) {
        struct participant *participant = find(engine, call->participant);
        if (participant != NULL) {
            rc = submit(engine, participant, call, answer, user, err);
        } else {
            char text[CDTX_NAME_MAX + 64];
            snprintf(text, sizeof text, "no participant '%s' is registered here", call->participant);
            answer(user, call->id, &(cdtx_reply){.code = CDTX_NOT_FOUND, .text = text});
        }
    }
    cdtx__leave(engine);
    return rc;
}
