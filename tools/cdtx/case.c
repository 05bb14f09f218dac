/* cdtx case: what waits for a person. A case stands in the database of what it is about. */
#include <inttypes.h>
#include <stdio.h>

#include "act.h"
#include "command.h"
#include "listing.h"
#include "session.h"
#include "subject.h"
#include "which.h"

/* ---- list ---- */

static const struct view_column list_columns[] = {
    {"id", "CASE", LOOK_NAMED},           {"state", "STATE", LOOK_CASE_STATE},
    {"kind", "KIND", LOOK_PLAIN},         {"subject", "ABOUT", LOOK_PLAIN},
    {"assignee", "ASSIGNED", LOOK_PLAIN}, {"opened_ms", "OPENED", LOOK_AT},
    {"reason", "REASON", LOOK_PLAIN},     {NULL, NULL, LOOK_PLAIN},
};
const struct view case_view = {.columns = list_columns};

int32_t case_ask(const struct pager *pager, uint32_t limit, cdtx_report **report, cdtx_error *err) {
    cdtx_case_filter filter = {.size = sizeof filter, .state = pager->state, .limit = limit, .after = pager->after};
    return cdtx_case_list(pager->db, &filter, report, err);
}

enum status case_list(const struct options *options, char **arguments) {
    struct pager pager = {.ask = case_ask, .options = options};
    (void)arguments;
    enum status status = pager_after(&pager);
    if (status == STATUS_DONE)
        status = pager_state(&pager, LOOK_CASE_STATE);
    return status != STATUS_DONE ? status : listing_pages(options, "cases", &case_view, &pager);
}

/* ---- show ---- */

static const struct view_column show_columns[] = {
    {"id", "case", LOOK_NAMED},       {"state", "state", LOOK_CASE_STATE}, {"kind", "kind", LOOK_PLAIN},
    {"subject", "about", LOOK_PLAIN}, {"reason", "reason", LOOK_PLAIN},    {"assignee", "assigned to", LOOK_PLAIN},
    {"opened_ms", "opened", LOOK_AT}, {"closed_ms", "closed", LOOK_AT},    {"evidence", "evidence", LOOK_PLAIN},
    {NULL, NULL, LOOK_PLAIN},
};

static void print_show(const struct options *options, const struct view *view, const cdtx_report *report,
                       struct subject *subject) {
    if (options_have(options, OPT_JSON)) {
        struct json_object *document = json_new_object();
        json_put(document, "case", json_row(view, report));
        subject_put(subject, document);
        json_print(document);
        return;
    }
    fields_print(stdout, view, report);
    subject_print(subject);
}

/* What was done about it stands under what it is about. */
static int32_t show(cdtx_db *db, const struct options *options, const struct which *which, cdtx_error *err) {
    struct view view = {.columns = show_columns, .database = which->database};
    struct subject subject = {0};
    cdtx_report *report = NULL;
    int32_t rc = cdtx_case_show(db, which->id, &report, err);
    if (rc == 0 && cdtx_report_next(report)) {
        const char *kind = view_text(report, "kind");
        const char *name = view_text(report, "subject");
        rc = subject_read(&subject, db, options, kind, name, err);
        if (rc == 0)
            rc = subject_read_notes(&subject, db, options, which->id, err);
    }
    if (rc == 0)
        print_show(options, &view, report, &subject);
    subject_free(&subject);
    cdtx_report_close(report);
    return rc;
}

enum status case_show(const struct options *options, char **arguments) {
    struct session session;
    struct which which;
    cdtx_db *db = NULL;
    cdtx_error err;
    enum status status = which_number(options, arguments[0], "case", &which);
    if (status != STATUS_DONE)
        return status;
    status = session_look(&session, options, 0);
    if (status == STATUS_DONE)
        status = which_find(&session, &which, &db);
    if (status == STATUS_DONE && show(db, options, &which, &err) != 0)
        status = status_failed(&err);
    session_close(&session);
    return status;
}

/* ---- actions ---- */

/* One of them, on a case that is open for writing. */
typedef int32_t (*action_fn)(cdtx_db *db, int64_t id, const struct options *options, const char *text, cdtx_error *err);

static int32_t note(cdtx_db *db, int64_t id, const struct options *options, const char *text, cdtx_error *err) {
    return cdtx_case_note(db, id, act_actor(options), text, err);
}

static int32_t assign(cdtx_db *db, int64_t id, const struct options *options, const char *text, cdtx_error *err) {
    return cdtx_case_assign(db, id, text, act_actor(options), options->values[OPT_REASON], err);
}

static enum status act(const struct options *options, char **arguments, action_fn action, const char *what,
                       const char *sentence) {
    struct session session;
    struct which which;
    cdtx_error err;
    char subject[CDTX_NAME_MAX + 24];
    enum status status = which_number(options, arguments[0], "case", &which);
    if (status != STATUS_DONE)
        return status;
    status = session_act(&session, options, which.database);
    (void)snprintf(subject, sizeof subject, "%s/%" PRId64, which.database, which.id);
    if (status == STATUS_DONE &&
        action(session_find(&session, which.database), which.id, options, arguments[1], &err) != 0)
        status = status_failed(&err);
    else if (status == STATUS_DONE)
        act_done(options, what, subject, sentence);
    session_close(&session);
    return status;
}

enum status case_note(const struct options *options, char **arguments) {
    return act(options, arguments, note, "case note", "is noted");
}

enum status case_assign(const struct options *options, char **arguments) {
    return act(options, arguments, assign, "case assign", "is assigned");
}
