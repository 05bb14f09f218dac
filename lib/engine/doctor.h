/* The doctor's findings between its files. */
#ifndef CDTX_ENGINE_DOCTOR_H
#define CDTX_ENGINE_DOCTOR_H

#include "engine/ask.h"

#define DOCTOR_OK      "ok"
#define DOCTOR_NOTE    "note"
#define DOCTOR_PROBLEM "problem"

/* What takes longer than this is stuck. */
enum { DOCTOR_OLD_MS = 600000 };

struct doctor {
    cdtx *engine;
    cdtx_report *report;
    uint32_t deep;
    int32_t rc; /* the first failure to write a row */
    cdtx_error *err;
};

/* Adds a row; database and advice may be NULL. */
void cdtx__doctor_say(struct doctor *d, const char *level, const char *database, const char *check, const char *advice,
                      const char *format, ...) __attribute__((format(printf, 6, 7)));
/* Rides, and makes a row of a failure: 1 when the answer is there. */
int cdtx__doctor_asked(struct doctor *d, struct store *store, struct ask *ask, const char *check);

/* What waits in a database: jobs, schedules, messages. */
void cdtx__doctor_work(struct doctor *d, cdtx_db *db);

#endif
