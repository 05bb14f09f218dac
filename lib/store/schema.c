#include "store/schema.h"

/* The statements that lead from one version to the next; a published list is never edited, only followed by another. */

static const char *const version_1[] = {
    "CREATE TABLE cdtx_guard ("
    " log BLOB NOT NULL," /* (log, seq) is the gid */
    " seq INTEGER NOT NULL,"
    " branch INTEGER NOT NULL,"
    " state INTEGER NOT NULL," /* enum guard_state */
    " answer BLOB,"            /* what the first try answered */
    " PRIMARY KEY (log, seq, branch)) STRICT, WITHOUT ROWID",

    "CREATE TABLE cdtx_job ("
    " id INTEGER PRIMARY KEY,"
    " queue TEXT NOT NULL,"
    " handler TEXT NOT NULL,"
    " state INTEGER NOT NULL," /* enum job_state */
    " priority INTEGER NOT NULL,"
    " clock INTEGER NOT NULL," /* enum job_clock: which clock due is on */
    " due INTEGER NOT NULL,"   /* ms on that clock; while leased: end of the lease on the durable clock */
    " attempts INTEGER NOT NULL,"
    " crashes INTEGER NOT NULL,"
    " token INTEGER NOT NULL," /* rises with every lease */
    " unique_key TEXT,"
    " concurrency_key TEXT,"
    " payload BLOB NOT NULL,"
    " error TEXT) STRICT",
    /* Ready rows only: a claim is one seek per priority, however many jobs wait behind. */
    "CREATE INDEX cdtx_job_due ON cdtx_job (queue, handler, clock, priority, due) WHERE state = 1",
    "CREATE INDEX cdtx_job_lease ON cdtx_job (due) WHERE state = 2",
    "CREATE INDEX cdtx_job_concurrency ON cdtx_job (concurrency_key) WHERE state = 2 AND concurrency_key IS NOT NULL",
    "CREATE UNIQUE INDEX cdtx_job_unique ON cdtx_job (handler, unique_key) WHERE unique_key IS NOT NULL AND state < 3",

    "CREATE TABLE cdtx_tx ("
    " seq INTEGER PRIMARY KEY,"
    " state INTEGER NOT NULL,"    /* enum cdtx_tx_state */
    " reason INTEGER NOT NULL,"   /* enum coord_reason: why it was rolled back */
    " epoch INTEGER NOT NULL,"    /* rises with every change by a coordinator */
    " attempts INTEGER NOT NULL," /* at phase two */
    " due INTEGER,"               /* when somebody must look again, on the durable clock; NULL: ended */
    " acked INTEGER NOT NULL,"    /* bit b: branch b has answered phase two */
    " name TEXT NOT NULL,"
    " key TEXT,"
    " branches BLOB NOT NULL) STRICT",
    "CREATE INDEX cdtx_tx_due ON cdtx_tx (due) WHERE due IS NOT NULL",
    "CREATE UNIQUE INDEX cdtx_tx_key ON cdtx_tx (key) WHERE key IS NOT NULL",
    NULL,
};

static const char *const version_2[] = {
    "CREATE TABLE cdtx_case ("
    " id INTEGER PRIMARY KEY,"
    " state INTEGER NOT NULL,"
    " subject TEXT NOT NULL," /* the gid, job or lock it is about */
    " reason TEXT NOT NULL,"
    " evidence BLOB NOT NULL,"
    " opened_ms INTEGER NOT NULL) STRICT",
    "CREATE TABLE cdtx_audit ("
    " id INTEGER PRIMARY KEY,"
    " previous BLOB NOT NULL," /* the hash of the line before: the chain */
    " actor TEXT NOT NULL,"
    " action TEXT NOT NULL,"
    " subject TEXT NOT NULL,"
    " reason TEXT NOT NULL,"
    " at_ms INTEGER NOT NULL,"
    " hash BLOB NOT NULL) STRICT",
    NULL,
};

static const char *const version_3[] = {
    /* The monotonic clock, ms, when the durable clock was saved: processes that share a file share this one too. */
    "ALTER TABLE cdtx_meta ADD COLUMN mono INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE cdtx_tx ADD COLUMN began INTEGER NOT NULL DEFAULT 0", /* wall clock, ms, for people */
    "ALTER TABLE cdtx_tx ADD COLUMN ended INTEGER", /* on the durable clock; its outcome is kept for a while */
    "ALTER TABLE cdtx_tx ADD COLUMN parked TEXT",   /* why; NULL: it is not */
    "ALTER TABLE cdtx_tx ADD COLUMN error TEXT",    /* the last that phase two met */
    "ALTER TABLE cdtx_tx ADD COLUMN reverse_after INTEGER NOT NULL DEFAULT 0", /* policy; 0: never */
    "ALTER TABLE cdtx_tx ADD COLUMN noes INTEGER NOT NULL DEFAULT 0",          /* definite ones, from confirms */
    "UPDATE cdtx_tx SET ended = (SELECT clock FROM cdtx_meta) WHERE due IS NULL",
    "CREATE INDEX cdtx_tx_parked ON cdtx_tx (seq) WHERE parked IS NOT NULL",
    /* What participants know of each log: guards below the floor are gone, and work below it is refused. */
    "CREATE TABLE cdtx_floor ("
    " log BLOB PRIMARY KEY,"
    " floor INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    "DROP TABLE cdtx_case",
    "CREATE TABLE cdtx_case ("
    " id INTEGER PRIMARY KEY,"
    " state INTEGER NOT NULL," /* enum cdtx_case_state */
    " kind TEXT NOT NULL,"
    " subject TEXT NOT NULL,"
    " reason TEXT NOT NULL,"
    " evidence TEXT NOT NULL,"
    " assignee TEXT,"
    " opened_ms INTEGER NOT NULL,"
    " closed_ms INTEGER) STRICT",
    "CREATE UNIQUE INDEX cdtx_case_open ON cdtx_case (kind, subject) WHERE state = 1",
    NULL,
};

static const char *const version_4[] = {
    "ALTER TABLE cdtx_job ADD COLUMN curve INTEGER NOT NULL DEFAULT 0", /* failures that the back-off grows by */
    "ALTER TABLE cdtx_job ADD COLUMN deadline INTEGER",                 /* on the durable clock; NULL: none */
    "ALTER TABLE cdtx_job ADD COLUMN put INTEGER NOT NULL DEFAULT 0",   /* when, on the durable clock */
    "ALTER TABLE cdtx_job ADD COLUMN died INTEGER",                     /* on the durable clock */
    "ALTER TABLE cdtx_job ADD COLUMN history TEXT", /* a line a failed attempt: wall ms, attempt, code, sentence */
    "UPDATE cdtx_job SET curve = attempts",
    "UPDATE cdtx_job SET died = (SELECT clock FROM cdtx_meta) WHERE state = 3",
    /* A queue's jobs of one handler. One number says where a ready job stands: lane, clock, priority, due; so the
     * index of due ones is small, and finding a place in it compares integers, however many wait. */
    "CREATE TABLE cdtx_lane ("
    " id INTEGER PRIMARY KEY," /* at most 15 bits */
    " queue TEXT NOT NULL,"
    " handler TEXT NOT NULL) STRICT",
    "CREATE UNIQUE INDEX cdtx_lane_of ON cdtx_lane (handler, queue)",
    "ALTER TABLE cdtx_job ADD COLUMN lane INTEGER NOT NULL DEFAULT 0",
    "INSERT INTO cdtx_lane (queue, handler) SELECT DISTINCT queue, handler FROM cdtx_job",
    "UPDATE cdtx_job SET lane = (SELECT id FROM cdtx_lane AS l WHERE l.handler = cdtx_job.handler"
    " AND l.queue = cdtx_job.queue)",
    "DROP INDEX cdtx_job_due",
    "CREATE INDEX cdtx_job_due ON cdtx_job (" SCHEMA_JOB_PLACE ") WHERE state = 1",
    "DROP INDEX cdtx_job_lease",
    "CREATE INDEX cdtx_job_lease ON cdtx_job (" SCHEMA_JOB_LEASE ") WHERE state = 2",
    "DROP INDEX cdtx_job_concurrency",
    /* Of one key: who runs, who is first, who waits. */
    "CREATE INDEX cdtx_job_key ON cdtx_job (concurrency_key, state, id) WHERE concurrency_key IS NOT NULL",
    "DROP INDEX cdtx_job_unique",
    "CREATE UNIQUE INDEX cdtx_job_unique ON cdtx_job (handler, unique_key)"
    " WHERE unique_key IS NOT NULL AND state <> 3 AND state <> 5",
    "CREATE UNIQUE INDEX cdtx_job_next ON cdtx_job (handler, unique_key) WHERE state = 5",
    "CREATE INDEX cdtx_job_dead ON cdtx_job (handler, died) WHERE state = 3",
    "ALTER TABLE cdtx_tx ADD COLUMN hooks BLOB", /* jobs that its decision puts; NULL: none */
    "CREATE TABLE cdtx_pause ("                  /* handlers of which nothing is begun */
    " handler TEXT PRIMARY KEY,"
    " since_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID",

    "CREATE TABLE cdtx_cron ("
    " name TEXT PRIMARY KEY,"
    " text TEXT NOT NULL,"
    " zone TEXT NOT NULL,"
    " handler TEXT NOT NULL,"
    " queue TEXT NOT NULL,"
    " concurrency_key TEXT,"
    " payload BLOB NOT NULL,"
    " catch_up INTEGER NOT NULL," /* enum cdtx_catch_up */
    " priority INTEGER NOT NULL,"
    " catch_up_max INTEGER NOT NULL,"
    " grace_ms INTEGER NOT NULL,"
    " deadline_ms INTEGER NOT NULL,"
    " settled_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID", /* slots up to then are never fired again; wall clock */

    /* A delivery is a job of its group: the message's number and key, and the id that it came under from elsewhere;
     * NULL: the number is its id. */
    "ALTER TABLE cdtx_job ADD COLUMN msg INTEGER",
    "ALTER TABLE cdtx_job ADD COLUMN msg_key TEXT",
    "ALTER TABLE cdtx_job ADD COLUMN msg_id TEXT",
    "CREATE TABLE cdtx_topic ("
    " name TEXT PRIMARY KEY,"
    " retention_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE TABLE cdtx_group ("
    " topic TEXT NOT NULL,"
    " name TEXT NOT NULL,"
    " in_order INTEGER NOT NULL,"
    " PRIMARY KEY (topic, name)) STRICT, WITHOUT ROWID",
    /* Messages that are not, or not only, deliveries: kept for groups to come, or held until a gid is decided. */
    "CREATE TABLE cdtx_msg ("
    " id INTEGER PRIMARY KEY," /* the message's number */
    " topic TEXT NOT NULL,"
    " key TEXT,"
    " priority INTEGER NOT NULL,"
    " delay_ms INTEGER NOT NULL," /* from when it is visible */
    " payload BLOB NOT NULL,"
    " visible INTEGER," /* since when, on the durable clock; NULL: held by the branch of ... */
    " log BLOB,"        /* ... (log, seq), the gid */
    " seq INTEGER,"
    " branch INTEGER,"
    " msg_id TEXT) STRICT",
    "CREATE INDEX cdtx_msg_kept ON cdtx_msg (topic, visible) WHERE visible IS NOT NULL",
    "CREATE INDEX cdtx_msg_held ON cdtx_msg (log, seq, branch) WHERE visible IS NULL",
    "CREATE TABLE cdtx_half ("
    " id INTEGER PRIMARY KEY," /* the message's number */
    " state INTEGER NOT NULL," /* enum cdtx_half_state */
    " topic TEXT NOT NULL,"
    " key TEXT,"
    " priority INTEGER NOT NULL,"
    " delay_ms INTEGER NOT NULL,"
    " payload BLOB NOT NULL,"
    " producer TEXT NOT NULL,"      /* whose checker answers for it */
    " checks INTEGER NOT NULL,"     /* answered with 'unknown' */
    " begun INTEGER NOT NULL,"      /* since the last that was answered; whoever made them died */
    " parked TEXT,"                 /* why; NULL: it is not */
    " at INTEGER NOT NULL,"         /* since when it is in its state, on the durable clock */
    " msg_id TEXT) STRICT",
    "CREATE INDEX cdtx_half_open ON cdtx_half (id) WHERE state = 1",
    "CREATE INDEX cdtx_half_ended ON cdtx_half (at) WHERE state > 1",
    /* Ids that messages came under from elsewhere: none takes effect twice while it is remembered. */
    "CREATE TABLE cdtx_msg_once ("
    " topic TEXT NOT NULL,"
    " msg_id TEXT NOT NULL,"
    " at INTEGER NOT NULL," /* when it became visible, on the durable clock */
    " PRIMARY KEY (topic, msg_id)) STRICT, WITHOUT ROWID",
    "CREATE INDEX cdtx_msg_once_at ON cdtx_msg_once (at)",
    NULL,
};

static const char *const *const versions[SCHEMA_VERSION] = {version_1, version_2, version_3, version_4};

/* The one table that must be readable before its version is known; so its columns only get more. */
static const char meta_table[] = "CREATE TABLE IF NOT EXISTS cdtx_meta ("
                                 " id INTEGER PRIMARY KEY CHECK (id = 1),"
                                 " uuid BLOB NOT NULL,"
                                 " version INTEGER NOT NULL,"
                                 " owner TEXT NOT NULL,"    /* who may write, for people */
                                 " epoch INTEGER NOT NULL," /* rises with every owner: a fenced one notices */
                                 " seq INTEGER NOT NULL,"   /* last gid sequence given out */
                                 " job INTEGER NOT NULL,"   /* last job number given out */
                                 " floor INTEGER NOT NULL," /* every gid below has ended */
                                 " clock INTEGER NOT NULL," /* the durable clock, ms, and ... */
                                 " wall INTEGER NOT NULL)"  /* ... the wall clock at that moment */
                                 " STRICT";

int32_t cdtx__schema_exec(const cdtx_sql_port *port, void *connection, const char *statement,
                          const cdtx_value *arguments, uint32_t count, cdtx_rows *rows, cdtx_error *err) {
    return port->exec(connection, CDTX_SQL_OURS, statement, arguments, count, rows, NULL, err);
}

/* Tables without their row were damaged by somebody: a new uuid would make strangers of all its guards. */
static int32_t check_new(const cdtx_sql_port *port, void *connection, const char *name, cdtx_rows *rows,
                         cdtx_error *err) {
    if (cdtx__schema_exec(port, connection, "SELECT 1 FROM cdtx_guard LIMIT 1", NULL, 0, rows, NULL) == 0)
        return cdtx__fail(err, CDTX_CORRUPT, "database '%s' has our tables, but its cdtx_meta has no row", name);
    return 0;
}

static int32_t first_row(const cdtx_sql_port *port, void *connection, const cdtx_env *env, cdtx_error *err) {
    uint8_t uuid[16];
    if (env->random(env->user, uuid, sizeof uuid) != 0)
        return cdtx__fail(err, CDTX_IO, "no random bytes for a new database's uuid");
    cdtx_value arguments[] = {cdtx__sql_blob(uuid, sizeof uuid), SQL_INT(cdtx__wall_ms(env))};
    return cdtx__schema_exec(port, connection, "INSERT INTO cdtx_meta VALUES (1, ?, 0, '', 0, 0, 0, 1, 0, ?)",
                             arguments, 2, NULL, err);
}

static int32_t read_version(const cdtx_sql_port *port, void *connection, cdtx_rows *rows, cdtx_error *err) {
    cdtx__rows_reset(rows);
    return cdtx__schema_exec(port, connection, "SELECT version FROM cdtx_meta WHERE id = 1", NULL, 0, rows, err);
}

static int32_t apply(const cdtx_sql_port *port, void *connection, int64_t from, cdtx_error *err) {
    for (int64_t v = from; v < SCHEMA_VERSION; v++)
        for (const char *const *statement = versions[v]; *statement != NULL; statement++) {
            int32_t rc = cdtx__schema_exec(port, connection, *statement, NULL, 0, NULL, err);
            if (rc != 0)
                return rc;
        }
    cdtx_value version = SQL_INT(SCHEMA_VERSION);
    return cdtx__schema_exec(port, connection, "UPDATE cdtx_meta SET version = ? WHERE id = 1", &version, 1, NULL, err);
}

int32_t cdtx__schema_upgrade(const cdtx_sql_port *port, void *connection, const cdtx_env *env, const char *name,
                             cdtx_error *err) {
    cdtx_rows rows;
    cdtx__rows_init(&rows, env, 4096);
    int32_t rc = cdtx__schema_exec(port, connection, meta_table, NULL, 0, NULL, err);
    if (rc == 0)
        rc = read_version(port, connection, &rows, err);
    if (rc == 0 && rows.count == 0) {
        rc = check_new(port, connection, name, &rows, err);
        if (rc == 0)
            rc = first_row(port, connection, env, err);
        if (rc == 0)
            rc = read_version(port, connection, &rows, err);
    }
    if (rc != 0)
        goto out;
    const cdtx_value *version = cdtx__rows_at(&rows, 0, 0);
    if (version->type != CDTX_INT || version->integer < 0)
        rc = cdtx__fail(err, CDTX_CORRUPT, "database '%s': its cdtx_meta row has no version", name);
    else if (version->integer > SCHEMA_VERSION)
        rc = cdtx__fail(err, CDTX_UNSUPPORTED, "database '%s' has schema version %lld; this library knows up to %d",
                        name, (long long)version->integer, SCHEMA_VERSION);
    else if (version->integer < SCHEMA_VERSION)
        rc = apply(port, connection, version->integer, err);
out:
    cdtx__rows_free(&rows);
    return rc;
}

int32_t cdtx__schema_check(const cdtx_sql_port *port, void *connection, const cdtx_env *env, const char *name,
                           cdtx_error *err) {
    cdtx_rows rows;
    cdtx__rows_init(&rows, env, 4096);
    int32_t rc = read_version(port, connection, &rows, err);
    if (rc == CDTX_SQL)
        rc = cdtx__fail(err, CDTX_UNSUPPORTED, "database '%s' has none of our tables to read", name);
    else if (rc == 0 && cdtx__rows_int(&rows, 0, 0) != SCHEMA_VERSION)
        rc =
            cdtx__fail(err, CDTX_UNSUPPORTED,
                       "database '%s' has schema version %lld; to be only read it must have %d: its owner brings it up",
                       name, (long long)cdtx__rows_int(&rows, 0, 0), SCHEMA_VERSION);
    cdtx__rows_free(&rows);
    return rc;
}
