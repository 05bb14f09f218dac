#include "engine/case.h"

#include <stdio.h>

#include "base/text.h"
#include "engine/audit.h"

enum { EVIDENCE_MAX = 4000, SUBJECT_MAX = 2 * CDTX_NAME_MAX + 2, TEXT_MAX = REASON_MAX + 64 };

static int32_t find_open(cdtx_sql *sql, const cdtx_value key[2], int64_t *id, cdtx_error *err) {
    cdtx_rows rows;
    cdtx__rows_init(&rows, sql->store->env, 4096);
    int32_t rc = cdtx__sql_run(sql, "SELECT id FROM cdtx_case WHERE kind = ? AND subject = ? AND state = 1", key, 2,
                               &rows, NULL, err);
    *id = cdtx__rows_int(&rows, 0, 0);
    cdtx__rows_free(&rows);
    return rc;
}

/* The line stands under the subject, so that one question shows all that happened to it; its text names the case. */
static int32_t write_line(cdtx_sql *sql, const cdtx_value key[2], int64_t id, const char *actor, const char *action,
                          const char *reason, cdtx_error *err) {
    char subject[SUBJECT_MAX], text[TEXT_MAX];
    snprintf(subject, sizeof subject, "%s %s", (const char *)key[0].bytes, (const char *)key[1].bytes);
    snprintf(text, sizeof text, "case %lld: %s", (long long)id, reason);
    return cdtx__audit_append(
        sql, &(struct audit_line){.actor = actor, .action = action, .subject = subject, .reason = text}, err);
}

int32_t cdtx__case_open(cdtx_sql *sql, const char *kind, const char *subject, const char *reason, const char *evidence,
                        const char *actor, int *opened, cdtx_error *err) {
    char clean_reason[REASON_MAX + 1], clean_evidence[EVIDENCE_MAX + 1];
    cdtx__clean_text(clean_reason, sizeof clean_reason, reason);
    cdtx__clean_text(clean_evidence, sizeof clean_evidence, evidence);
    cdtx_value arguments[] = {cdtx__sql_text(kind), cdtx__sql_text(subject), cdtx__sql_text(clean_reason),
                              cdtx__sql_text(clean_evidence), SQL_INT(cdtx__wall_ms(sql->store->env))};
    int64_t changes = 0, id = 0;
    int32_t rc = cdtx__sql_run(sql,
                               "INSERT INTO cdtx_case (state, kind, subject, reason, evidence, opened_ms)"
                               " VALUES (1, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                               arguments, 5, NULL, &changes, err);
    if (rc != 0)
        return rc;
    *opened = changes == 1;
    if (!*opened)
        return 0;
    rc = find_open(sql, arguments, &id, err);
    return rc != 0 ? rc : write_line(sql, arguments, id, actor, "case-open", clean_reason, err);
}

int32_t cdtx__case_close(cdtx_sql *sql, const char *kind, const char *subject, const char *actor, const char *reason,
                         cdtx_error *err) {
    cdtx_value key[] = {cdtx__sql_text(kind), cdtx__sql_text(subject)};
    int64_t id = 0;
    int32_t rc = find_open(sql, key, &id, err);
    if (rc != 0 || id == 0)
        return rc;
    cdtx_value arguments[] = {SQL_INT(cdtx__wall_ms(sql->store->env)), SQL_INT(id)};
    rc =
        cdtx__sql_run(sql, "UPDATE cdtx_case SET state = 2, closed_ms = ? WHERE id = ?", arguments, 2, NULL, NULL, err);
    return rc != 0 ? rc : write_line(sql, key, id, actor, "case-close", reason, err);
}
