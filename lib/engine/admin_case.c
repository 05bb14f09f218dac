/* Cases for a person: list, show, note, assign; each in the database of what it is about. */
#include <stdio.h>

#include "engine/ask.h"

static const char *const list_names[] = {"id",       "state",     "kind",      "subject", "reason",
                                         "assignee", "opened_ms", "closed_ms", NULL};
static const char *const show_names[] = {"id",       "state",     "kind",      "subject",  "reason",
                                         "assignee", "opened_ms", "closed_ms", "evidence", NULL};
#define CASE_COLUMNS "id, state, kind, subject, reason, assignee, opened_ms, closed_ms"

static int32_t copy_rows(struct ask *ask, cdtx_error *err) {
    int32_t rc = 0;
    for (uint32_t i = 0; rc == 0 && i < ask->rows.count; i++)
        rc = cdtx__report_add(ask->report, cdtx__rows_at(&ask->rows, i, 0), err);
    return rc;
}

struct list_ask {
    struct ask ask;
    const cdtx_case_filter *filter;
    uint32_t limit;
};

static int32_t run_list(struct ask *ask, cdtx_sql *sql, cdtx_error *err) {
    const struct list_ask *list = LIST_OF(ask, struct list_ask, ask);
    cdtx_value arguments[] = {SQL_INT(list->filter->state), SQL_INT(list->filter->after), SQL_INT(list->limit)};
    int32_t rc =
        cdtx__sql_run(sql, "SELECT " CASE_COLUMNS " FROM cdtx_case WHERE state = ? AND id > ? ORDER BY id LIMIT ?",
                      arguments, 3, &ask->rows, NULL, err);
    return rc != 0 ? rc : copy_rows(ask, err);
}

int32_t cdtx_case_list(cdtx_db *db, const cdtx_case_filter *filter, cdtx_report **report, cdtx_error *err) {
    cdtx_case_filter f = {0};
    struct list_ask list = {.ask.run = run_list, .filter = &f};
    int32_t rc = cdtx__options(filter, &f, sizeof f, sizeof f, "cdtx_case_filter", err);
    if (rc == 0)
        rc = cdtx__ask_limit(f.limit, &list.limit, err);
    if (rc == 0 && (f.state < 0 || f.state > CDTX_CASE_CLOSED))
        rc = cdtx__fail(err, CDTX_INVALID, "state %d is no cdtx_case_state", f.state);
    if (f.state == 0)
        f.state = CDTX_CASE_OPEN;
    return rc != 0 ? rc : cdtx__ask_report_db(db, "cdtx_case_list", list_names, &list.ask, report, err);
}

struct one_ask {
    struct ask ask;
    int64_t id;
    const char *actor, *reason, *assignee;
};

static int32_t not_found(const struct one_ask *one, cdtx_error *err) {
    return cdtx__fail(err, CDTX_NOT_FOUND, "there is no case %lld", (long long)one->id);
}

static int32_t run_show(struct ask *ask, cdtx_sql *sql, cdtx_error *err) {
    const struct one_ask *one = LIST_OF(ask, struct one_ask, ask);
    cdtx_value key = SQL_INT(one->id);
    int32_t rc = cdtx__sql_run(sql, "SELECT " CASE_COLUMNS ", evidence FROM cdtx_case WHERE id = ?", &key, 1,
                               &ask->rows, NULL, err);
    if (rc == 0 && ask->rows.count == 0)
        return not_found(one, err);
    return rc != 0 ? rc : copy_rows(ask, err);
}

int32_t cdtx_case_show(cdtx_db *db, int64_t id, cdtx_report **report, cdtx_error *err) {
    struct one_ask one = {.ask.run = run_show, .id = id};
    return cdtx__ask_report_db(db, "cdtx_case_show", show_names, &one.ask, report, err);
}

static int32_t read_state(struct one_ask *one, cdtx_sql *sql, int64_t *state, cdtx_error *err) {
    cdtx_value key = SQL_INT(one->id);
    int32_t rc = cdtx__sql_run(sql, "SELECT state FROM cdtx_case WHERE id = ?", &key, 1, &one->ask.rows, NULL, err);
    *state = cdtx__rows_int(&one->ask.rows, 0, 0);
    return rc == 0 && one->ask.rows.count == 0 ? not_found(one, err) : rc;
}

static int32_t note_line(const struct one_ask *one, cdtx_sql *sql, const char *action, const char *text,
                         cdtx_error *err) {
    char subject[32];
    snprintf(subject, sizeof subject, "case %lld", (long long)one->id);
    struct audit_line line = {.actor = one->actor, .action = action, .subject = subject, .reason = text};
    return cdtx__audit_append(sql, &line, err);
}

static int32_t run_note(struct ask *ask, cdtx_sql *sql, cdtx_error *err) {
    struct one_ask *one = LIST_OF(ask, struct one_ask, ask);
    int64_t state = 0;
    int32_t rc = read_state(one, sql, &state, err);
    return rc != 0 ? rc : note_line(one, sql, "note", one->reason, err);
}

static int32_t run_assign(struct ask *ask, cdtx_sql *sql, cdtx_error *err) {
    struct one_ask *one = LIST_OF(ask, struct one_ask, ask);
    int64_t state = 0;
    int32_t rc = read_state(one, sql, &state, err);
    if (rc == 0 && state != CDTX_CASE_OPEN)
        rc = cdtx__fail(err, CDTX_CONFLICT, "case %lld is closed", (long long)one->id);
    if (rc != 0)
        return rc;
    char text[REASON_MAX + CDTX_NAME_MAX + 16];
    snprintf(text, sizeof text, "to %s: %s", one->assignee, one->reason);
    cdtx_value arguments[] = {cdtx__sql_text(one->assignee), SQL_INT(one->id)};
    rc = cdtx__sql_run(sql, "UPDATE cdtx_case SET assignee = ? WHERE id = ?", arguments, 2, NULL, NULL, err);
    return rc != 0 ? rc : note_line(one, sql, "assign", text, err);
}

int32_t cdtx_case_note(cdtx_db *db, int64_t id, const char *actor, const char *note, cdtx_error *err) {
    struct one_ask one = {.ask.run = run_note, .id = id, .actor = actor, .reason = note};
    int32_t rc = cdtx__check_name(actor, "the actor", err);
    if (rc == 0)
        rc = cdtx__check_text(note, REASON_MAX, "the note", err);
    return rc != 0 ? rc : cdtx__ask_action_db(db, "cdtx_case_note", &one.ask, err);
}

int32_t cdtx_case_assign(cdtx_db *db, int64_t id, const char *assignee, const char *actor, const char *reason,
                         cdtx_error *err) {
    struct one_ask one = {.ask.run = run_assign, .id = id, .actor = actor, .reason = reason, .assignee = assignee};
    int32_t rc = cdtx__check_name(assignee, "the assignee", err);
    if (rc == 0)
        rc = cdtx__audit_check(actor, reason, err);
    return rc != 0 ? rc : cdtx__ask_action_db(db, "cdtx_case_assign", &one.ask, err);
}
