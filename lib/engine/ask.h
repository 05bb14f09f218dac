/* Questions and actions of cdtx/admin.h: each is one rider, or a few, that somebody waits for. */
#ifndef CDTX_ENGINE_ASK_H
#define CDTX_ENGINE_ASK_H

#include "engine/audit.h"
#include "engine/engine.h"
#include "engine/report.h"

enum { LIST_DEFAULT = 100, LIST_MOST = 10000 };

struct ask {
    struct waited_rider waited;
    /* Inside the transaction; may run more than once. rows is empty before each, and so is the report. */
    int32_t (*run)(struct ask *ask, cdtx_sql *sql, cdtx_error *err);
    cdtx_report *report; /* NULL: none */
    cdtx_rows rows;
};

/* Every public function stands between these two. db NULL: the engine's log. *store gets the one to ask. MISUSE also
 * when the database is only read and writes is 1. */
int32_t cdtx__ask_enter(cdtx *engine, const cdtx_db *db, const char *what, int writes, struct store **store,
                        cdtx_error *err);
void cdtx__ask_leave(cdtx *engine);

/* Runs ask->run in a rider of that store, and waits for it. */
int32_t cdtx__ask_ride(cdtx *engine, struct store *store, struct ask *ask, cdtx_error *err);
/* A whole question with one rider: enter, a report with those names, ride, leave. */
int32_t cdtx__ask_report(cdtx *engine, const cdtx_db *db, const char *what, const char *const *names, struct ask *ask,
                         cdtx_report **report, cdtx_error *err);
/* A whole action with one rider. */
int32_t cdtx__ask_action(cdtx *engine, const cdtx_db *db, const char *what, struct ask *ask, cdtx_error *err);
/* Both for a database's handle; MISUSE when it is NULL. */
int32_t cdtx__ask_report_db(const cdtx_db *db, const char *what, const char *const *names, struct ask *ask,
                            cdtx_report **report, cdtx_error *err);
int32_t cdtx__ask_action_db(const cdtx_db *db, const char *what, struct ask *ask, cdtx_error *err);
/* cdtx_audit_verify between enter and leave. */
int32_t cdtx__audit_verify(cdtx *engine, struct store *store, uint32_t limit, int64_t *lines,
                           char head[DIGEST_HEX_SIZE], cdtx_error *err);

/* The number of a gid of this engine's log, between enter and leave. */
int32_t cdtx__ask_gid(const cdtx *engine, const char *gid, int64_t *sequence, cdtx_error *err);
/* limit as a filter says it: 0 is the default. */
int32_t cdtx__ask_limit(uint32_t given, uint32_t *limit, cdtx_error *err);

/* The next open database after db; NULL: the first, and at the end. They stay until the engine is closed. */
cdtx_db *cdtx__db_after(cdtx *engine, const cdtx_db *db);

#endif
