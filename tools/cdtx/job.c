/* cdtx job: looking at durable work and stepping in. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "act.h"
#include "command.h"
#include "listing.h"
#include "session.h"
#include "subject.h"

/* ---- list ---- */

static const struct view_column list_columns[] = {
    {"id", "JOB", LOOK_JOB},
    {"handler", "HANDLER", LOOK_PLAIN},
    {"queue", "QUEUE", LOOK_PLAIN},
    {"state", "STATE", LOOK_JOB_STATE},
    {"priority", "PRIORITY", LOOK_PLAIN},
    {"attempts", "TRIES", LOOK_PLAIN},
    {"crashes", "CRASHES", LOOK_PLAIN},
    {"due_in_ms", "DUE", LOOK_DUE},
    {"error", "LAST ERROR", LOOK_PLAIN},
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

static enum status list_all(struct listing *listing, const struct session *session, const struct options *options,
                            int32_t state) {
    cdtx_error err;
    for (uint32_t i = 0; i < session->count; i++) {
        struct view view = {.columns = list_columns, .database = session->databases[i].name};
        struct pager pager = {.ask = ask_list,
                              .engine = session->engine,
                              .db = session->databases[i].db,
                              .options = options,
                              .state = state};
        if (listing_read(listing, &view, &pager, &err) != 0)
            return status_failed(&err);
    }
    listing_print(listing);
    return STATUS_DONE;
}

enum status job_list(const struct options *options, char **arguments) {
    struct session session;
    struct listing listing;
    int32_t state = 0;
    (void)arguments;
    if (options_have(options, OPT_STATE)) {
        state = view_state_number(LOOK_JOB_STATE, options->values[OPT_STATE]);
        if (state == 0)
            return STATUS_USAGE;
    }
    listing_start(&listing, "jobs", &list_view, options);
    enum status status = session_look(&session, options, 0);
    if (status == STATUS_DONE)
        status = list_all(&listing, &session, options, state);
    listing_free(&listing);
    session_close(&session);
    return status;
}

/* ---- which job ---- */

struct job_name {
    char database[CDTX_NAME_MAX + 1];
    int64_t id;
};

/* NAME/ID, or ID where only one database can be meant. */
static enum status read_name(const struct options *options, const char *word, struct job_name *name) {
    const char *slash = strrchr(word, '/');
    const char *only = options->log != NULL ? "log" : NULL;
    if (options->database_count == 1)
        only = options->log == NULL ? options->databases[0].name : NULL;
    else if (options->database_count > 1)
        only = NULL;
    if (slash == NULL && only == NULL && (options->log != NULL || options->database_count > 0))
        return status_usage("job '%s' may be in several databases: say NAME/%s, as 'cdtx job list' shows it", word,
                            word);
    if (slash != NULL && (size_t)(slash - word) > CDTX_NAME_MAX)
        return status_usage("'%s' is no NAME/ID", word);
    if (slash != NULL)
        (void)snprintf(name->database, sizeof name->database, "%.*s", (int)(slash - word), word);
    else
        (void)snprintf(name->database, sizeof name->database, "%s", only != NULL ? only : "");
    return options_number(slash != NULL ? slash + 1 : word, "the job's number", &name->id);
}

static enum status find_database(const struct session *session, const struct job_name *name, cdtx_db **db) {
    *db = session_find(session, name->database);
    if (*db != NULL)
        return STATUS_DONE;
    if (strcmp(name->database, "log") == 0)
        return status_usage("no log: say --log URL, or set CDTX_LOG");
    return status_usage("no database is named '%s': say --db %s=URL", name->database, name->database);
}

/* ---- show ---- */

static const struct view_column show_columns[] = {
    {"id", "job", LOOK_JOB},
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

static enum status show(const struct session *session, const struct options *options, const struct job_name *name) {
    struct view view = {.columns = show_columns, .database = name->database};
    struct subject subject = {0};
    cdtx_report *report = NULL;
    cdtx_db *db = NULL;
    cdtx_error err;
    char number[24];
    (void)snprintf(number, sizeof number, "%" PRId64, name->id);
    enum status status = find_database(session, name, &db);
    if (status != STATUS_DONE)
        return status;
    int32_t rc = cdtx_job_show(db, name->id, &report, &err);
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
    struct job_name name;
    enum status status = read_name(options, arguments[0], &name);
    if (status != STATUS_DONE)
        return status;
    status = session_look(&session, options, 0);
    if (status == STATUS_DONE)
        status = show(&session, options, &name);
    session_close(&session);
    return status;
}

/* ---- actions ---- */

typedef int32_t (*action_fn)(cdtx_db *db, int64_t id, const char *actor, const char *reason, cdtx_error *err);

static enum status act(const struct options *options, const struct job_name *name, action_fn action, const char *what,
                       const char *sentence) {
    struct session session;
    cdtx_error err;
    char subject[CDTX_NAME_MAX + 24];
    enum status status = session_act(&session, options, name->database);
    if (status == STATUS_DONE) {
        cdtx_db *db = session_find(&session, name->database);
        (void)snprintf(subject, sizeof subject, "%s/%" PRId64, name->database, name->id);
        if (action(db, name->id, act_actor(options), options->values[OPT_REASON], &err) != 0)
            status = status_failed(&err);
        else
            act_done(options, what, subject, sentence);
    }
    session_close(&session);
    return status;
}

enum status job_retry(const struct options *options, char **arguments) {
    struct job_name name;
    enum status status = read_name(options, arguments[0], &name);
    return status != STATUS_DONE ? status : act(options, &name, cdtx_job_retry, "job retry", "is due now");
}

enum status job_cancel(const struct options *options, char **arguments) {
    struct job_name name;
    char question[CDTX_NAME_MAX + 80];
    enum status status = read_name(options, arguments[0], &name);
    if (status == STATUS_DONE)
        status = act_can_confirm(options);
    if (status != STATUS_DONE)
        return status;
    (void)snprintf(question, sizeof question, "Job %s/%" PRId64 " is taken away for good. Is that meant?",
                   name.database, name.id);
    status = act_confirm(options, question);
    return status != STATUS_DONE ? status : act(options, &name, cdtx_job_cancel, "job cancel", "is taken away");
}
