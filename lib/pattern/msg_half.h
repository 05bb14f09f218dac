/* Half messages between the files that prepare and resolve them, and the one that asks about them. */
#ifndef CDTX_PATTERN_MSG_HALF_H
#define CDTX_PATTERN_MSG_HALF_H

#include "engine/audit.h"
#include "pattern/msg.h"

/* A half that stands in the open transaction; texts and bytes are borrowed from rows. */
struct half {
    int64_t number;
    int32_t state;
    uint32_t checks, begun;
    int parked;
    const char *producer;
    struct message message;
};

/* NOT_FOUND and EXPIRED when there is none of that number. */
int32_t cdtx__half_read(cdtx_sql *sql, int64_t number, cdtx_rows *rows, struct half *half, cdtx_error *err);

/* One resolution, as a statement of the open transaction. */
struct resolution {
    int64_t number;
    int32_t outcome;
    const char *actor; /* for the audit chain; NULL: nobody but the program itself */
    const char *reason;
    int32_t code; /* answered: 0, or CONFLICT with err, which is recorded and committed */
    int already;  /* answered: it was resolved so before */
    cdtx_error err;
    char producer[CDTX_PRODUCER_NAME_MAX + 1];
    int64_t lowest; /* answered: below it no half is open, so that nobody asks for their marks */
};
int32_t cdtx__half_resolve(cdtx_sql *sql, struct resolution *resolution, cdtx_error *err);
/* The same as cdtx_half_resolve or cdtx_half_settle. */
int32_t cdtx__half_end(cdtx_db *db, const char *handle, struct resolution *resolution, cdtx_error *err);

/* As cdtx_half_prepare, for a message that may have an id from elsewhere. */
int32_t cdtx__half_prepare(cdtx_db *db, const struct message *message, const cdtx_half_options *options,
                           char handle[CDTX_GID_MAX], cdtx_error *err);

/* A checker that is told more: the message's id as consumers get it, and its key. */
typedef int32_t (*half_ask_fn)(const char *handle, const char *id, const struct message *message, void *user);
/* As cdtx_half_checker_add; ask, if not NULL, is asked instead of options->check. */
int32_t cdtx__half_checker_add(cdtx_db *db, const char *producer, const cdtx_half_checker *options, half_ask_fn ask,
                               cdtx_error *err);

/* The handler that checks halves of that producer. */
void cdtx__half_handler(const char *producer, char name[CDTX_NAME_MAX + 1]);
/* What stands for the log in the marks of that queue's halves. */
int32_t cdtx__half_space(const uint8_t uuid[16], uint8_t space[16], cdtx_error *err);
/* After a resolution is durable: marks that nobody asks for any more may go. */
void cdtx__half_floor(cdtx_db *db, const char *producer, int64_t lowest);
/* COMMITTED or ROLLED_BACK. */
int32_t cdtx__half_check_outcome(int32_t outcome, cdtx_error *err);

#endif
