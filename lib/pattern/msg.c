/* Putting messages, and what a delivery says of itself. */
#include "pattern/msg.h"

#include <stdio.h>

int32_t cdtx__topic_check(const char *name, const char *what, cdtx_error *err) {
    int32_t rc = cdtx__check_text(name, TOPIC_NAME_MAX, what, err);
    if (rc == 0 && strchr(name, '/') != NULL)
        rc = cdtx__fail(err, CDTX_INVALID, "%s '%s' has a slash", what, name);
    return rc;
}

int32_t cdtx__msg_check(const cdtx *engine, const struct message *message, cdtx_error *err) {
    int32_t rc = cdtx__topic_check(message->topic, "the topic's name", err);
    if (rc == 0)
        rc = cdtx__check_payload(engine, message->payload, message->length, err);
    if (rc == 0 && message->key != NULL)
        rc = cdtx__check_name(message->key, "the message's key", err);
    if (rc == 0)
        rc = cdtx__check_ms(message->delay_ms, "delay_ms", err);
    if (rc == 0 && (message->priority < 0 || message->priority > CDTX_PRIORITY_MAX))
        rc = cdtx__fail(err, CDTX_INVALID, "priority is %d; it must be from 0 to %d", message->priority,
                        CDTX_PRIORITY_MAX);
    return rc;
}

/* ---- putting ---- */

/* A branch's own decision is still to come in its try; in a confirm it has come, but for the policy. */
static int32_t put(cdtx_sql *sql, struct message *message, cdtx_error *err) {
    const cdtx_call *branch = sql->branch;
    int forward = branch != NULL && (branch->op == CDTX_CALL_TRY || branch->op == CDTX_CALL_CONFIRM);
    if (forward && (branch->flags & CDTX_CALL_REVERSIBLE))
        return cdtx__fail(err, CDTX_UNSUPPORTED,
                          "a message to '%s' in a branch that may be taken back (reverse_after): put it by "
                          "cdtx_tx_after_commit",
                          message->topic);
    int held = branch != NULL && branch->op == CDTX_CALL_TRY && !MUTANT(sql->store->env, "message-at-try");
    return held ? cdtx__message_hold(sql, message, err) : cdtx__message_publish(sql, message, err);
}

int32_t cdtx_msg_put(cdtx_sql *sql, const char *topic, const void *payload, size_t length,
                     const cdtx_msg_options *options, char id[CDTX_GID_MAX], cdtx_error *err) {
    cdtx_msg_options o = {0};
    int32_t rc = cdtx__options(options, &o, sizeof o, sizeof o, "cdtx_msg_options", err);
    if (rc == 0)
        rc = cdtx__sql_enter(sql, err);
    if (rc != 0)
        return rc;
    struct message message = {.topic = topic,
                              .key = o.key,
                              .payload = payload,
                              .length = length,
                              .priority = o.priority,
                              .delay_ms = o.delay_ms};
    rc = cdtx__msg_check(cdtx__engine_of(sql), &message, err);
    if (rc == 0)
        rc = put(sql, &message, err);
    if (rc == 0 && id != NULL)
        cdtx__gid_text(sql->store->uuid, message.number, id);
    cdtx__sql_leave(sql);
    return rc;
}

struct send {
    const char *topic;
    const void *payload;
    size_t length;
    const cdtx_msg_options *options;
    char id[CDTX_GID_MAX];
};

static int32_t run_send(cdtx_sql *sql, void *user, cdtx_error *err) {
    struct send *send = user;
    return cdtx_msg_put(sql, send->topic, send->payload, send->length, send->options, send->id, err);
}

int32_t cdtx_msg_send(cdtx_db *db, const char *topic, const void *payload, size_t length,
                      const cdtx_msg_options *options, char id[CDTX_GID_MAX], cdtx_error *err) {
    struct send send = {.topic = topic, .payload = payload, .length = length, .options = options};
    int32_t rc = cdtx_local(db, run_send, &send, err);
    if (rc == 0 && id != NULL)
        memcpy(id, send.id, sizeof send.id);
    return rc;
}

/* ---- deliveries ---- */

static const struct job *delivery(const cdtx_work *work) {
    const struct job *job = cdtx__job_of(work);
    return job == NULL || job->message == 0 ? NULL : job;
}

void cdtx_msg_id(const cdtx_work *work, char id[CDTX_GID_MAX]) {
    const struct job *job = delivery(work);
    id[0] = '\0';
    if (job == NULL)
        return;
    const struct store *store = job->handler->room->db->store;
    if (job->message_id != NULL)
        snprintf(id, CDTX_GID_MAX, "%s", job->message_id);
    else if (store != NULL) /* else the engine is closed */
        cdtx__gid_text(store->uuid, job->message, id);
}

const char *cdtx_msg_topic(const cdtx_work *work) {
    const struct job *job = delivery(work);
    return job == NULL ? NULL : job->handler->topic;
}

const char *cdtx_msg_group(const cdtx_work *work) {
    const struct job *job = delivery(work);
    return job == NULL ? NULL : job->handler->group;
}

const char *cdtx_msg_key(const cdtx_work *work) {
    const struct job *job = delivery(work);
    return job == NULL ? NULL : job->message_key;
}
