#include "engine/audit.h"

#include "base/text.h"

enum { TEXTS = 4, LINE_MAX = 65536 };

int32_t cdtx__audit_check(const char *actor, const char *reason, cdtx_error *err) {
    int32_t rc = cdtx__check_name(actor, "the actor", err);
    return rc != 0 ? rc : cdtx__check_text(reason, REASON_MAX, "the reason", err);
}

static void field(struct buf *buf, const void *bytes, size_t length) {
    cdtx__buf_u32(buf, (uint32_t)length);
    cdtx__buf_bytes(buf, bytes, length);
}

static void number(struct buf *buf, int64_t value) {
    cdtx__buf_u32(buf, sizeof value);
    cdtx__buf_u64(buf, (uint64_t)value);
}

int32_t cdtx__audit_hash(const cdtx_env *env, const struct audit_bytes *line, uint8_t hash[DIGEST_SIZE],
                         cdtx_error *err) {
    struct buf buf;
    cdtx__buf_init(&buf, env, LINE_MAX);
    field(&buf, line->previous, DIGEST_SIZE);
    number(&buf, line->id);
    for (uint32_t i = 0; i < TEXTS; i++)
        field(&buf, line->texts[i].bytes, line->texts[i].length);
    number(&buf, line->at_ms);
    int32_t rc;
    if (buf.failed == CDTX_LIMIT)
        rc = cdtx__fail(err, CDTX_CORRUPT, "audit line %lld is larger than %d bytes", (long long)line->id, LINE_MAX);
    else if (buf.failed != 0)
        rc = cdtx__fail(err, CDTX_NO_MEMORY, "no memory to hash audit line %lld", (long long)line->id);
    else
        rc = cdtx__digest(buf.bytes, buf.length, hash, err);
    cdtx__buf_free(&buf);
    return rc;
}

/* *id and previous get the last line's; 0 and zeroes when there is none. */
static int32_t read_last(cdtx_sql *sql, int64_t *id, uint8_t previous[DIGEST_SIZE], cdtx_error *err) {
    cdtx_rows rows;
    cdtx__rows_init(&rows, sql->store->env, 4096);
    int32_t rc =
        cdtx__sql_run(sql, "SELECT id, hash FROM cdtx_audit ORDER BY id DESC LIMIT 1", NULL, 0, &rows, NULL, err);
    *id = cdtx__rows_int(&rows, 0, 0);
    memset(previous, 0, DIGEST_SIZE);
    const cdtx_value *hash = cdtx__rows_at(&rows, 0, 1);
    if (rc == 0 && rows.count == 1 && hash->length != DIGEST_SIZE)
        rc = cdtx__fail(err, CDTX_CORRUPT, "database '%s': the hash of audit line %lld has %u bytes", sql->store->name,
                        (long long)*id, hash->length);
    else if (rc == 0 && rows.count == 1)
        memcpy(previous, hash->bytes, DIGEST_SIZE);
    cdtx__rows_free(&rows);
    return rc;
}

int32_t cdtx__audit_append(cdtx_sql *sql, const struct audit_line *line, cdtx_error *err) {
    char actor[CDTX_NAME_MAX + 1], reason[REASON_MAX + 1];
    uint8_t previous[DIGEST_SIZE], hash[DIGEST_SIZE];
    int64_t id = 0, at_ms = cdtx__wall_ms(sql->store->env);
    int32_t rc = read_last(sql, &id, previous, err);
    if (rc != 0)
        return rc;
    cdtx__clean_text(actor, sizeof actor, line->actor);
    cdtx__clean_text(reason, sizeof reason, line->reason);
    cdtx_value texts[TEXTS] = {cdtx__sql_text(actor), cdtx__sql_text(line->action), cdtx__sql_text(line->subject),
                               cdtx__sql_text(reason)};
    rc = cdtx__audit_hash(sql->store->env,
                          &(struct audit_bytes){.previous = previous, .id = id + 1, .at_ms = at_ms, .texts = texts},
                          hash, err);
    if (rc != 0)
        return rc;
    cdtx_value arguments[] = {
        SQL_INT(id + 1), cdtx__sql_blob(previous, sizeof previous), texts[0], texts[1], texts[2], texts[3],
        SQL_INT(at_ms),  cdtx__sql_blob(hash, sizeof hash)};
    return cdtx__sql_run(sql,
                         "INSERT INTO cdtx_audit (id, previous, actor, action, subject, reason, at_ms, hash)"
                         " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                         arguments, 8, NULL, NULL, err);
}
