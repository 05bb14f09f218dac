/* Messages from the inside. A message that is visible is a job for each group of its topic, put in one commit with what
 * made it visible; while a branch holds it, it is a row of cdtx_msg, and so it is kept for groups that come later. The
 * pattern (lib/pattern/msg*.c) decides when; this file is what a branch's end must know. */
#ifndef CDTX_ENGINE_MESSAGE_H
#define CDTX_ENGINE_MESSAGE_H

#include "engine/job.h"

struct message {
    int64_t number; /* of the message, the same on every copy; 0: not given out yet */
    const char *id; /* that it comes under from elsewhere: visible once only; NULL: the number is its id */
    const char *topic;
    const char *key; /* NULL: none */
    const void *payload;
    size_t length;
    int32_t priority;
    int64_t delay_ms; /* from when it is visible */
};

/* The handler whose jobs are the deliveries to that group. */
void cdtx__delivery_handler(const char *topic, const char *group, char name[CDTX_NAME_MAX + 1]);

/* Gives out the number of a message that has none. */
int32_t cdtx__message_number(cdtx_sql *sql, int64_t *number, cdtx_error *err);
/* Visible with the open transaction's commit: a delivery for each group, and kept if its topic keeps them or has no
 * group. Gives out the number if it has none. A repeat of an id that is remembered changes nothing. NOT_FOUND: no such
 * topic. */
int32_t cdtx__message_publish(cdtx_sql *sql, struct message *message, cdtx_error *err);
/* To one group only. */
int32_t cdtx__message_deliver(cdtx_sql *sql, const struct message *message, const char *group, int in_order,
                              cdtx_error *err);
/* Held by the branch that sql belongs to. NOT_FOUND. */
int32_t cdtx__message_hold(cdtx_sql *sql, struct message *message, cdtx_error *err);
/* After a branch has served a call of phase two: what it held is published, or dropped. */
int32_t cdtx__messages_settle(cdtx_sql *sql, const cdtx_call *call, cdtx_error *err);

#endif
