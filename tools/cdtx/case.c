/* cdtx case: what waits for a person. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "act.h"
#include "command.h"
#include "listing.h"
#include "session.h"
#include "subject.h"

static const struct view_column list_columns[] = {
    {"id", "CASE", LOOK_PLAIN},           {"state", "STATE", LOOK_CASE_STATE},
    {"kind", "KIND", LOOK_PLAIN},         {"subject", "ABOUT", LOOK_PLAIN},
    {"assignee", "ASSIGNED", LOOK_PLAIN}, {"opened_ms", "OPENED", LOOK_AT},
    {"reason", "REASON", LOOK_PLAIN},     {NULL, NULL, LOOK_PLAIN},
};
const struct view case_view = {.columns = list_columns};

static const struct view_column show_columns[] = {
    {"id", "case", LOOK_PLAIN},       {"state", "state", LOOK_CASE_STATE}, {"kind", "kind", LOOK_PLAIN},
    {"subject", "about", LOOK_PLAIN}, {"reason", "reason", LOOK_PLAIN},    {"assignee", "assigned to", LOOK_PLAIN},
    {"opened_ms", "opened", LOOK_AT}, {"closed_ms", "closed", LOOK_AT},    {"evidence", "evidence", LOOK_PLAIN},
    {NULL, NULL, LOOK_PLAIN},
};
static const struct view show_view = {.columns = show_columns};

static int32_t ask_list(const struct pager *pager, uint32_t limit, cdtx_report **report, cdtx_error *err) {
    cdtx_case_filter filter = {.size = sizeof filter, .state = pager->state, .limit = limit, .after = pager->after};
    return cdtx_case_list(pager->engine, &filter, report, err);
}

enum status case_list(const struct options *options, char **arguments) {
    struct session session;
    struct listing listing;
    struct pager pager = {.ask = ask_list, .options = options};
    cdtx_error err;
    (void)arguments;
    if (options_have(options, OPT_STATE)) {
        pager.state = view_state_number(LOOK_CASE_STATE, options->values[OPT_STATE]);
        if (pager.state == 0)
            return STATUS_USAGE;
    }
    if (options_have(options, OPT_AFTER) &&
        options_number(options->values[OPT_AFTER], "--after", &pager.after) != STATUS_DONE)
        return STATUS_USAGE;
    listing_start(&listing, "cases", &case_view, options);
    enum status status = session_look(&session, options, 1);
    pager.engine = session.engine;
    if (status == STATUS_DONE && listing_read(&listing, &case_view, &pager, &err) != 0)
        status = status_failed(&err);
    else if (status == STATUS_DONE)
        listing_print(&listing);
    listing_free(&listing);
    session_close(&session);
    return status;
}

static void print_show(const struct options *options, const cdtx_report *report, struct subject *subject) {
    if (options_have(options, OPT_JSON)) {
        struct json_object *document = json_new_object();
        json_put(document, "case", json_row(&show_view, report));
        subject_put(subject, document);
        json_print(document);
        return;
    }
    fields_print(stdout, &show_view, report);
    subject_print(subject);
}

/* What was done about it stands under what it is about. */
static int32_t show(const struct session *session, const struct options *options, int64_t id, cdtx_error *err) {
    struct subject subject = {0};
    cdtx_report *report = NULL;
    int32_t rc = cdtx_case_show(session->engine, id, &report, err);
    if (rc == 0 && cdtx_report_next(report)) {
        const char *kind = cdtx_report_text(report, view_find(report, "kind"), NULL);
        const char *name = cdtx_report_text(report, view_find(report, "subject"), NULL);
        cdtx_db *log = session_find(session, "log");
        rc = subject_read(&subject, log, options, kind, name, err);
        if (rc == 0)
            rc = subject_read_notes(&subject, log, options, id, err);
    }
    if (rc == 0)
        print_show(options, report, &subject);
    subject_free(&subject);
    cdtx_report_close(report);
    return rc;
}

enum status case_show(const struct options *options, char **arguments) {
    struct session session;
    cdtx_error err;
    int64_t id = 0;
    enum status status = options_number(arguments[0], "the case's number", &id);
    if (status != STATUS_DONE)
        return status;
    status = session_look(&session, options, 1);
    if (status == STATUS_DONE && show(&session, options, id, &err) != 0)
        status = status_failed(&err);
    session_close(&session);
    return status;
}

enum status case_note(const struct options *options, char **arguments) {
    struct session session;
    cdtx_error err;
    int64_t id = 0;
    enum status status = options_number(arguments[0], "the case's number", &id);
    if (status != STATUS_DONE)
        return status;
    status = session_act(&session, options, "log");
    if (status == STATUS_DONE && cdtx_case_note(session.engine, id, act_actor(options), arguments[1], &err) != 0)
        status = status_failed(&err);
    else if (status == STATUS_DONE)
        act_done(options, "case note", arguments[0], "is noted");
    session_close(&session);
    return status;
}

enum status case_assign(const struct options *options, char **arguments) {
    struct session session;
    cdtx_error err;
    int64_t id = 0;
    enum status status = options_number(arguments[0], "the case's number", &id);
    if (status != STATUS_DONE)
        return status;
    status = session_act(&session, options, "log");
    if (status == STATUS_DONE &&
        cdtx_case_assign(session.engine, id, arguments[1], act_actor(options), options->values[OPT_REASON], &err) != 0)
        status = status_failed(&err);
    else if (status == STATUS_DONE)
        act_done(options, "case assign", arguments[0], "is assigned");
    session_close(&session);
    return status;
}
