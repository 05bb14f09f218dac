#include "store/guard.h"

#include "base/digest.h"

#define KEY(key) cdtx__sql_blob((key)->log, 16), SQL_INT((key)->sequence), SQL_INT((key)->branch)

int32_t cdtx__guard_space(const char kind[16], const uint8_t uuid[16], const char *name, uint8_t space[16],
                          cdtx_error *err) {
    uint8_t bytes[32 + CDTX_NAME_MAX], digest[DIGEST_SIZE];
    size_t length = name == NULL ? 0 : strlen(name);
    memcpy(bytes, kind, 16);
    memcpy(bytes + 16, uuid, 16);
    if (length > 0)
        memcpy(bytes + 32, name, length);
    int32_t rc = cdtx__digest(bytes, 32 + length, digest, err);
    if (rc == 0)
        memcpy(space, digest, 16);
    return rc;
}

/* The transaction that is open excludes every other writer, so what it has read of the floor holds until its end,
 * unless it moves the floor itself. */
static int32_t floor_here(cdtx_sql *sql, const uint8_t *log, int64_t *floor, cdtx_error *err) {
    struct store_meta *meta = &sql->store->meta;
    if (!meta->peer_known || memcmp(meta->peer_log, log, sizeof meta->peer_log) != 0) {
        int32_t rc = cdtx__guard_floor(sql, log, &meta->peer_floor, err);
        meta->peer_known = rc == 0;
        memcpy(meta->peer_log, log, sizeof meta->peer_log);
        if (rc != 0)
            return rc;
    }
    *floor = meta->peer_floor;
    return 0;
}

int32_t cdtx__guard_insert(cdtx_sql *sql, const struct guard_key *key, int32_t state, const void *answer, size_t length,
                           int *done, cdtx_error *err) {
    int64_t changes = 0, floor = 0;
    int32_t rc = floor_here(sql, key->log, &floor, err);
    if (rc != 0)
        return rc;
    *done = 0;
    if (key->sequence < floor && !MUTANT(sql->store->env, "trap-19-below"))
        return 0;
    cdtx_value arguments[] = {KEY(key), SQL_INT(state), length == 0 ? SQL_NULL : cdtx__sql_blob(answer, length)};
    rc = cdtx__sql_run(sql,
                       "INSERT INTO cdtx_guard (log, seq, branch, state, answer) VALUES (?, ?, ?, ?, ?)"
                       " ON CONFLICT DO NOTHING",
                       arguments, 5, NULL, &changes, err);
    if (rc == 0)
        *done = changes == 1;
    return rc;
}

int32_t cdtx__guard_move(cdtx_sql *sql, const struct guard_key *key, int32_t from, int32_t to, int *done,
                         cdtx_error *err) {
    int64_t changes = 0;
    cdtx_value arguments[] = {SQL_INT(to), KEY(key), SQL_INT(from)};
    int32_t rc =
        cdtx__sql_run(sql, "UPDATE cdtx_guard SET state = ? WHERE log = ? AND seq = ? AND branch = ? AND state = ?",
                      arguments, 5, NULL, &changes, err);
    if (rc == 0)
        *done = changes == 1;
    return rc;
}

int32_t cdtx__guard_set_answer(cdtx_sql *sql, const struct guard_key *key, const void *answer, size_t length,
                               cdtx_error *err) {
    cdtx_value arguments[] = {cdtx__sql_blob(answer, length), KEY(key)};
    return cdtx__sql_run(sql, "UPDATE cdtx_guard SET answer = ? WHERE log = ? AND seq = ? AND branch = ?", arguments, 4,
                         NULL, NULL, err);
}

int32_t cdtx__guard_read(cdtx_sql *sql, const struct guard_key *key, cdtx_rows *rows, int32_t *state, cdtx_error *err) {
    cdtx_value arguments[] = {KEY(key)};
    cdtx__rows_reset(rows);
    int32_t rc = cdtx__sql_run(sql, "SELECT state, answer FROM cdtx_guard WHERE log = ? AND seq = ? AND branch = ?",
                               arguments, 3, rows, NULL, err);
    if (rc != 0)
        return rc;
    int64_t found = cdtx__rows_int(rows, 0, 0);
    if (rows->count != 0 && (found <= GUARD_ABSENT || found >= GUARD_STATES))
        return cdtx__fail(err, CDTX_CORRUPT, "database '%s': the guard of branch %u of gid %lld has state %lld",
                          sql->store->name, key->branch, (long long)key->sequence, (long long)found);
    *state = rows->count == 0 ? GUARD_ABSENT : (int32_t)found;
    return 0;
}

/* One number that a statement over one log answers, 0 when it answers none. */
static int32_t ask_number(cdtx_sql *sql, const char *statement, const cdtx_value *arguments, uint32_t count,
                          int64_t *number, cdtx_error *err) {
    cdtx_rows rows;
    cdtx__rows_init(&rows, sql->store->env, 4096);
    int32_t rc = cdtx__sql_run(sql, statement, arguments, count, &rows, NULL, err);
    if (rc == 0)
        *number = cdtx__rows_int(&rows, 0, 0);
    cdtx__rows_free(&rows);
    return rc;
}

int32_t cdtx__guard_highest(cdtx_sql *sql, const uint8_t *log, int64_t *sequence, cdtx_error *err) {
    cdtx_value argument = cdtx__sql_blob(log, 16);
    int64_t highest = 0, floor = 0;
    int32_t rc = ask_number(sql, "SELECT max(seq) FROM cdtx_guard WHERE log = ?", &argument, 1, &highest, err);
    if (rc == 0)
        rc = cdtx__guard_floor(sql, log, &floor, err);
    if (rc == 0)
        *sequence = highest >= floor ? highest : floor - 1;
    return rc;
}

int32_t cdtx__guard_floor(cdtx_sql *sql, const uint8_t *log, int64_t *floor, cdtx_error *err) {
    cdtx_value argument = cdtx__sql_blob(log, 16);
    return ask_number(sql, "SELECT floor FROM cdtx_floor WHERE log = ?", &argument, 1, floor, err);
}

int32_t cdtx__guard_trim(cdtx_sql *sql, const uint8_t *log, int64_t floor, uint32_t most, int64_t *reached,
                         cdtx_error *err) {
    int64_t known = 0, next = 0;
    int32_t rc = cdtx__guard_floor(sql, log, &known, err);
    if (rc != 0)
        return rc;
    *reached = known;
    if (known >= floor)
        return 0;
    cdtx_value range[] = {cdtx__sql_blob(log, 16), SQL_INT(floor), SQL_INT(most)};
    rc = ask_number(sql, "SELECT seq FROM cdtx_guard WHERE log = ? AND seq < ? ORDER BY seq LIMIT 1 OFFSET ?", range, 3,
                    &next, err);
    if (rc != 0)
        return rc;
    cdtx_value reach[] = {cdtx__sql_blob(log, 16), SQL_INT(next == 0 ? floor : next)};
    rc = cdtx__sql_run(sql, "DELETE FROM cdtx_guard WHERE log = ? AND seq < ?", reach, 2, NULL, NULL, err);
    sql->store->meta.peer_known = 0;
    /* In the same transaction: no moment at which a guard is gone and its work not refused (trap 19). */
    if (rc == 0 && !MUTANT(sql->store->env, "trap-19"))
        rc = cdtx__sql_run(sql,
                           "INSERT INTO cdtx_floor (log, floor) VALUES (?, ?)"
                           " ON CONFLICT (log) DO UPDATE SET floor = excluded.floor",
                           reach, 2, NULL, NULL, err);
    if (rc == 0)
        *reached = reach[1].integer;
    return rc;
}
