/* The queue port (cdtx/port.h) from the inside: what every engine behind one checks first, by what its table says. */
#ifndef CDTX_PORT_QUEUE_H
#define CDTX_PORT_QUEUE_H

#include <cdtx/port.h>

/* A topic's or a group's name: 1 to CDTX_QUEUE_GROUP_MAX bytes without a slash. */
int32_t cdtx__queue_check_name(const char *name, const char *what, cdtx_error *err);
/* INVALID, LIMIT (payload_max), UNSUPPORTED (a delay, without DELAY). */
int32_t cdtx__queue_check_message(const cdtx_queue_port *port, const cdtx_queue_message *message, cdtx_error *err);
/* INVALID, UNSUPPORTED (a delay, without NACK_DELAY). */
int32_t cdtx__queue_check_answer(const cdtx_queue_port *port, const cdtx_queue_answer *answer, cdtx_error *err);
/* 0 <= ms <= CDTX_TIME_MAX_MS. */
int32_t cdtx__queue_check_ms(int64_t ms, const char *what, cdtx_error *err);
/* What send checks of its arguments: a batch that is too large, or none at all, is answered for each message. */
int32_t cdtx__queue_check_batch(const cdtx_queue_port *port, const void *messages, uint32_t count, cdtx_error *results);
/* What fetch checks of its arguments. */
int32_t cdtx__queue_check_fetch(int64_t for_ms, const cdtx_queue_delivery *deliveries, uint32_t most,
                                const uint32_t *count, cdtx_error *err);
/* What a function with results answers: the first code that is not 0. */
int32_t cdtx__queue_first(const cdtx_error *results, uint32_t count);

#endif
