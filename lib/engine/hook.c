#include "engine/hook.h"

#include <stdio.h>

enum { HOOK_VERSION = 1, HOOK_RECORD_MAX = 16 << 20 };

/* ---- the record ---- */

static void write_hook(struct buf *record, enum hook_when when, const struct job_put *put) {
    const cdtx_job_options *o = &put->options;
    const char *key = o->concurrency_key == NULL ? "" : o->concurrency_key;
    cdtx__buf_u8(record, (uint8_t)when);
    cdtx__buf_block(record, put->handler, strlen(put->handler));
    cdtx__buf_block(record, o->queue, strlen(o->queue));
    cdtx__buf_block(record, key, strlen(key));
    cdtx__buf_u32(record, (uint32_t)o->priority);
    cdtx__buf_u64(record, (uint64_t)o->delay_ms);
    cdtx__buf_u64(record, (uint64_t)o->deadline_ms);
    cdtx__buf_block(record, put->payload, put->length);
}

int32_t cdtx__hook_append(struct buf *record, enum hook_when when, const struct job_put *put, cdtx_error *err) {
    size_t before = record->length;
    if (before == 0)
        cdtx__buf_u8(record, HOOK_VERSION);
    write_hook(record, when, put);
    if (record->failed == 0)
        return 0;
    int32_t why = record->failed;
    record->failed = 0;
    record->length = before;
    return why == CDTX_LIMIT
               ? cdtx__fail(err, why, "the hooks of one transaction are together over %zu bytes", record->max)
               : cdtx__fail(err, why, "no memory for a hook '%s'", put->handler);
}

static enum hook_when read_hook(struct reader *reader, struct job_put *put) {
    cdtx_job_options *o = &put->options;
    uint32_t length = 0;
    *put = (struct job_put){.options.size = sizeof *o};
    uint8_t when = cdtx__read_u8(reader);
    put->handler = cdtx__read_name(reader);
    o->queue = cdtx__read_name(reader);
    const char *key = cdtx__read_block(reader, &length);
    o->concurrency_key = length == 0 ? NULL : key;
    o->priority = (int32_t)cdtx__read_u32(reader);
    o->delay_ms = (int64_t)cdtx__read_u64(reader);
    o->deadline_ms = (int64_t)cdtx__read_u64(reader);
    put->payload = cdtx__read_block(reader, &length);
    put->length = length;
    if (when != HOOK_COMMIT && when != HOOK_ROLLBACK)
        reader->failed = 1;
    return (enum hook_when)when;
}

/* ---- activation ---- */

/* What a row that comes into that state activates; 0: nothing. */
static int activated(int32_t state, int64_t reverse_after) {
    switch (state) {
    case CDTX_TX_COMMITTING:
        return reverse_after == 0 ? HOOK_COMMIT : 0;
    case CDTX_TX_COMMITTED:
        return reverse_after == 0 ? 0 : HOOK_COMMIT;
    case CDTX_TX_ROLLING_BACK:
    case CDTX_TX_REVERSED:
        return HOOK_ROLLBACK;
    default:
        return 0;
    }
}

/* The key says whose hook it is (cdtx_work_gid). There can be no live job that has it. */
static int32_t put_hook(cdtx_sql *sql, const char *gid, uint32_t number, struct job_put *put, cdtx_error *err) {
    char key[CDTX_GID_MAX + 16];
    int64_t id = 0;
    snprintf(key, sizeof key, "%s#%u", gid, number);
    put->options.unique_key = key;
    put->options.unique_policy = CDTX_UNIQUE_KEEP;
    return cdtx__job_insert(sql, put, &id, err);
}

void cdtx__hook_gid(const char *unique_key, char gid[CDTX_GID_MAX]) {
    const char *mark = unique_key == NULL ? NULL : strchr(unique_key, '#');
    size_t length = mark == NULL ? 0 : (size_t)(mark - unique_key);
    uint8_t log[16];
    int64_t sequence;
    gid[0] = '\0';
    if (length == 0 || length >= CDTX_GID_MAX)
        return;
    memcpy(gid, unique_key, length);
    gid[length] = '\0';
    if (cdtx__gid_parse(gid, log, &sequence, NULL) != 0)
        gid[0] = '\0';
}

/* All before any is put: what is garbled at its end must not be half done. */
static int is_sound(const cdtx_value *record) {
    struct reader reader = cdtx__reader(record->bytes, record->length);
    struct job_put put;
    if (cdtx__read_u8(&reader) != HOOK_VERSION)
        return 0;
    while (!reader.failed && !cdtx__read_done(&reader))
        (void)read_hook(&reader, &put);
    return !reader.failed;
}

static int32_t put_hooks(cdtx_sql *sql, int64_t sequence, const cdtx_value *record, int when, cdtx_error *err) {
    struct reader reader = cdtx__reader(record->bytes, record->length);
    char gid[CDTX_GID_MAX];
    struct job_put put;
    int32_t rc = 0;
    cdtx__gid_text(sql->store->uuid, sequence, gid);
    if (!is_sound(record)) {
        cdtx__log(sql->store->env, CDTX_LOG_ALARM, "%s: its hooks cannot be read, and none is put", gid);
        return 0;
    }
    if (FAILPOINT(sql->store->env, "hook.put"))
        return cdtx__fail(err, CDTX_IO, "failpoint hook.put");
    (void)cdtx__read_u8(&reader);
    for (uint32_t number = 0; rc == 0 && !cdtx__read_done(&reader); number++)
        if (read_hook(&reader, &put) == (enum hook_when)when || MUTANT(sql->store->env, "hook-both-ways"))
            rc = put_hook(sql, gid, number, &put, err);
    return rc;
}

int32_t cdtx__hooks_run(cdtx_sql *sql, int64_t sequence, int32_t state, cdtx_error *err) {
    cdtx_value key = SQL_INT(sequence);
    cdtx_rows rows;
    cdtx__rows_init(&rows, sql->store->env, HOOK_RECORD_MAX + 65536);
    int32_t rc = cdtx__sql_run(sql, "SELECT hooks, reverse_after FROM cdtx_tx WHERE seq = ? AND hooks IS NOT NULL",
                               &key, 1, &rows, NULL, err);
    int when = 0;
    if (rc == 0 && rows.count == 1)
        when = activated(state, MUTANT(sql->store->env, "hook-early") ? 0 : cdtx__rows_int(&rows, 0, 1));
    if (when != 0)
        rc = put_hooks(sql, sequence, cdtx__rows_at(&rows, 0, 0), when, err);
    cdtx__rows_free(&rows);
    return rc;
}
