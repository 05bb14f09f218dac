#include "port/queue.h"

#include "base/env.h"
#include "base/name.h"

int32_t cdtx__queue_check_name(const char *name, const char *what, cdtx_error *err) {
    int32_t rc = cdtx__check_text(name, CDTX_QUEUE_GROUP_MAX, what, err);
    if (rc == 0 && strchr(name, '/') != NULL)
        rc = cdtx__fail(err, CDTX_INVALID, "%s '%s' has a slash", what, name);
    return rc;
}

int32_t cdtx__queue_check_ms(int64_t ms, const char *what, cdtx_error *err) {
    if (ms >= 0 && ms <= CDTX_TIME_MAX_MS)
        return 0;
    return cdtx__fail(err, CDTX_INVALID, "%s is %lld ms; it must be from 0 to ten years", what, (long long)ms);
}

static int32_t check_payload(const cdtx_queue_port *port, const cdtx_queue_message *message, cdtx_error *err) {
    if (message->payload == NULL && message->length > 0)
        return cdtx__fail(err, CDTX_INVALID, "message %s: a payload of %zu bytes at NULL", message->id,
                          message->length);
    if (port->payload_max > 0 && message->length > port->payload_max)
        return cdtx__fail(err, CDTX_LIMIT, "message %s: its %zu bytes are over payload_max, %u", message->id,
                          message->length, port->payload_max);
    return 0;
}

int32_t cdtx__queue_check_message(const cdtx_queue_port *port, const cdtx_queue_message *message, cdtx_error *err) {
    int32_t rc = cdtx__check_text(message->id, CDTX_QUEUE_ID_MAX, "the message's id", err);
    if (rc == 0)
        rc = cdtx__queue_check_name(message->topic, "the topic's name", err);
    if (rc == 0 && message->key != NULL)
        rc = cdtx__check_name(message->key, "the message's key", err);
    if (rc == 0)
        rc = check_payload(port, message, err);
    if (rc == 0)
        rc = cdtx__queue_check_ms(message->delay_ms, "delay_ms", err);
    if (rc == 0 && message->delay_ms > 0 && !(port->capabilities & CDTX_QUEUE_DELAY))
        rc = cdtx__fail(err, CDTX_UNSUPPORTED, "message %s: this engine delays none", message->id);
    return rc;
}

int32_t cdtx__queue_check_answer(const cdtx_queue_port *port, const cdtx_queue_answer *answer, cdtx_error *err) {
    if (answer->kind < CDTX_QUEUE_ACK || answer->kind > CDTX_QUEUE_DEAD)
        return cdtx__fail(err, CDTX_INVALID, "%d is no answer to a delivery", answer->kind);
    int32_t rc = cdtx__queue_check_ms(answer->delay_ms, "delay_ms", err);
    if (rc == 0 && answer->delay_ms > 0 && answer->kind != CDTX_QUEUE_NACK)
        rc = cdtx__fail(err, CDTX_INVALID, "delay_ms is for a nack");
    if (rc == 0 && answer->delay_ms > 0 && !(port->capabilities & CDTX_QUEUE_NACK_DELAY))
        rc = cdtx__fail(err, CDTX_UNSUPPORTED, "this engine delays no nack");
    return rc;
}

static int32_t fail_all(cdtx_error *results, uint32_t count, int32_t code, const char *text) {
    for (uint32_t i = 0; i < count; i++)
        cdtx__fail(&results[i], code, "%s", text);
    return code;
}

int32_t cdtx__queue_check_batch(const cdtx_queue_port *port, const void *messages, uint32_t count,
                                cdtx_error *results) {
    if (count > port->batch_max)
        return fail_all(results, count, CDTX_LIMIT, "more messages at once than the port's batch_max");
    if (messages == NULL && count > 0)
        return fail_all(results, count, CDTX_INVALID, "the messages are NULL");
    return 0;
}

int32_t cdtx__queue_check_fetch(int64_t for_ms, const cdtx_queue_delivery *deliveries, uint32_t most,
                                const uint32_t *count, cdtx_error *err) {
    if (deliveries == NULL || count == NULL)
        return cdtx__fail(err, CDTX_INVALID, "the place for the deliveries or for their count is NULL");
    if (most == 0 || most > CDTX_MANY_MAX)
        return cdtx__fail(err, CDTX_INVALID, "%u deliveries at once; it must be from 1 to %d", most, CDTX_MANY_MAX);
    return cdtx__queue_check_ms(for_ms, "for_ms", err);
}

int32_t cdtx__queue_first(const cdtx_error *results, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (results[i].code != 0)
            return results[i].code;
    return 0;
}
