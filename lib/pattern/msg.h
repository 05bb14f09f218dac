/* What the files of this pattern share. */
#ifndef CDTX_PATTERN_MSG_H
#define CDTX_PATTERN_MSG_H

#include <cdtx/msg.h>

#include "engine/message.h"

/* A topic's or a group's name: a name of at most TOPIC_NAME_MAX bytes without a slash. */
int32_t cdtx__topic_check(const char *name, const char *what, cdtx_error *err);
/* All that is asked of a message before it is put. */
int32_t cdtx__msg_check(const cdtx *engine, const struct message *message, cdtx_error *err);
/* The keeper of a database's messages: an internal job that forgets what was kept long enough. Registers it here. */
int32_t cdtx__msg_keeper_add(cdtx_db *db, cdtx_error *err);
/* Puts its next run, unless it is on its way already. */
int32_t cdtx__msg_keeper_put(cdtx_sql *sql, int64_t in_ms, cdtx_error *err);

/* The engine of a rider's or handle's database. */
static inline cdtx *cdtx__engine_of(const cdtx_sql *sql) {
    return ((cdtx_db *)sql->store->owner)->engine;
}

#endif
