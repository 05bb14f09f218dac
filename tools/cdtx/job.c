/* cdtx job: looking at durable work and stepping in. */
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
    {"id", "JOB", LOOK_NAMED},          {"handler", "HANDLER", LOOK_PLAIN},   {"queue", "QUEUE", LOOK_PLAIN},
    {"state", "STATE", LOOK_JOB_STATE}, {"priority", "PRIORITY", LOOK_PLAIN}, {"attempts", "TRIES", LOOK_PLAIN},
    {"crashes", "CRASHES", LOOK_PLAIN}, {"due_in_ms", "DUE", LOOK_DUE},       {"error", "LAST ERROR", LOOK_PLAIN},
    {NULL, NULL, LOOK_PLAIN},
};
static const struct view list_view = {.columns = list_columns};

static int32_t ask_list(const struct pager *pager, uint32_t limit, cdtx_report **report, cdtx_error *err) {
    cdtx_job_filter filter = {.size = sizeof filter,
                              .state = pager->state,
                              .limit = limit,
                              .handler = pager->options->values[OPT_HANDLER],
                              .after = pager->after};
    return cdtx_job_list(pager->db, &filter, report, err);
}

enum status job_list(const struct options *options, char **arguments) {
    struct session session;
    struct listing listing;
    struct pager pager = {.ask = ask_list, .options = options};
    cdtx_error err;
    (void)arguments;
    if (options_have(options, OPT_STATE)) {
        pager.state = view_state_number(LOOK_JOB_STATE, options->values[OPT_STATE]);
        if (pager.state == 0)
            return STATUS_USAGE;
    }
    listing_start(&listing, "jobs", &list_view, options);
    enum status status = session_look(&session, options, 0);
    if (status == STATUS_DONE && listing_read_all(&listing, &list_view, &pager, &session, &err) != 0)
        status = status_failed(&err);
    else if (status == STATUS_DONE)
        listing_print(&listing);
    listing_free(&listing);
    session_close(&session);
    return status;
}

/* ---- show ---- */

static const struct view_column show_columns[] = {
    {"id", "job", LOOK_NAMED},
    {"handler", "handler", LOOK_PLAIN},
    {"queue", "queue", LOOK_PLAIN},
    {"state", "state", LOOK_JOB_STATE},
    {"priority", "priority", LOOK_PLAIN},
    {"attempts", "attempts", LOOK_PLAIN},
    {"crashes", "crashes", LOOK_PLAIN},
    {"due_in_ms", "due", LOOK_DUE},
    {"unique_key", "unique key", LOOK_PLAIN},
    {"concurrency_key", "concurrency key", LOOK_PLAIN},
    {"token", "token", LOOK_PLAIN},
    {"error", "last error", LOOK_PLAIN},
    {"payload", "payload", LOOK_BYTES},
    {NULL, NULL, LOOK_PLAIN},
};

static void print_show(const struct options *options, const struct view *view, const cdtx_report *report,
                       struct subject *subject) {
    if (options_have(options, OPT_JSON)) {
        struct json_object *document = json_new_object();
        json_put(document, "job", json_row(view, report));
        subject_put(subject, document);
        json_print(document);
        return;
    }
    fields_print(stdout, view, report);
    subject_print(subject);
}

static enum status show(const struct session *session, const struct options *options, const struct which *which) {
    struct view view = {.columns = show_columns, .database = which->database};
    struct subject subject = {0};
    cdtx_report *report = NULL;
    cdtx_db *db = NULL;
    cdtx_error err;
    char number[24];
    (void)snprintf(number, sizeof number, "%" PRId64, which->id);
    enum status status = which_find(session, which, &db);
    if (status != STATUS_DONE)
        return status;
    int32_t rc = cdtx_job_show(db, which->id, &report, &err);
    if (rc == 0)
        rc = subject_read(&subject, db, options, "job", number, &err);
    if (rc != 0)
        status = status_failed(&err);
    else if (cdtx_report_next(report))
        print_show(options, &view, report, &subject);
    subject_free(&subject);
    cdtx_report_close(report);
    return status;
}

enum status job_show(const struct options *options, char **arguments) {
    struct session session;
    struct which which;
    enum status status = which_number(options, arguments[0], "job", &which);
    if (status != STATUS_DONE)
        return status;
    status = session_look(&session, options, 0);
    if (status == STATUS_DONE)
        status = show(&session, options, &which);
    session_close(&session);
    return status;
}

/* ---- actions ---- */

typedef int32_t (*action_fn)(cdtx_db *db, int64_t id, const char *actor, const char *reason, cdtx_error *err);

static enum status act(const struct options *options, const struct which *which, action_fn action, const char *what,
                       const char *sentence) {
    struct session session;
    cdtx_error err;
    char subject[CDTX_NAME_MAX + 24];
    enum status status = session_act(&session, options, which->database);
    if (status == STATUS_DONE) {
        cdtx_db *db = session_find(&session, which->database);
        (void)snprintf(subject, sizeof subject, "%s/%" PRId64, which->database, which->id);
        if (action(db, which->id, act_actor(options), options->values[OPT_REASON], &err) != 0)
            status = status_failed(&err);
        else
            act_done(options, what, subject, sentence);
    }
    session_close(&session);
    return status;
}

enum status job_retry(const struct options *options, char **arguments) {
    struct which which;
    enum status status = which_number(options, arguments[0], "job", &which);
    return status != STATUS_DONE ? status : act(options, &which, cdtx_job_retry, "job retry", "is due now");
}

enum status job_cancel(const struct options *options, char **arguments) {
    struct which which;
    char question[CDTX_NAME_MAX + 80];
    enum status status = which_number(options, arguments[0], "job", &which);
    if (status == STATUS_DONE)
        status = act_can_confirm(options);
    if (status != STATUS_DONE)
        return status;
    (void)snprintf(question, sizeof question, "Job %s/%" PRId64 " is taken away for good. Is that meant?",
                   which.database, which.id);
    status = act_confirm(options, question);
    return status != STATUS_DONE ? status : act(options, &which, cdtx_job_cancel, "job cancel", "is taken away");
}
