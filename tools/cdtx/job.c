/* cdtx job: looking at durable work and stepping in. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "act.h"
#include "command.h"
#include "listing.h"
#include "session.h"
#include "subject.h"
#include "which.h"

/* ---- list ---- */

static const struct view_column list_columns[] = {
    {"id", "JOB", LOOK_NAMED},
    {"handler", "HANDLER", LOOK_PLAIN},
    {"queue", "QUEUE", LOOK_PLAIN},
    {"state", "STATE", LOOK_JOB_STATE},
    {"priority", "PRIORITY", LOOK_PLAIN},
    {"attempts", "TRIES", LOOK_PLAIN},
    {"crashes", "CRASHES", LOOK_PLAIN},
    {"due_in_ms", "DUE", LOOK_DUE},
    {"age_ms", "PUT", LOOK_SINCE},
    {"error", "LAST ERROR", LOOK_PLAIN},
    {NULL, NULL, LOOK_PLAIN},
};
static const struct view list_view = {.columns = list_columns};

static int32_t ask_list(const struct pager *pager, uint32_t limit, cdtx_report **report, cdtx_error *err) {
    cdtx_job_filter filter = {
        .size = sizeof filter, .state = pager->state, .limit = limit, .handler = pager->subject, .after = pager->after};
    return cdtx_job_list(pager->db, &filter, report, err);
}

/* What schedules and topics live by is no work of the host's; deliveries and checks, which have a name behind a slash,
 * are. A dead one is somebody's business, whosever it is. */
static int is_of_the_library(const cdtx_report *report) {
    const char *handler = view_text(report, "handler");
    return handler != NULL && strncmp(handler, "cdtx.", 5) == 0 && strchr(handler, '/') == NULL &&
           view_int(report, "state") != CDTX_JOB_DEAD;
}

enum status job_list(const struct options *options, char **arguments) {
    struct pager pager = {.ask = ask_list, .options = options, .subject = options->values[OPT_HANDLER]};
    (void)arguments;
    if (!options_have(options, OPT_ALL) && !options_have(options, OPT_HANDLER))
        pager.leaves_out = is_of_the_library;
    enum status status = pager_after(&pager);
    if (status == STATUS_DONE)
        status = pager_state(&pager, LOOK_JOB_STATE);
    return status != STATUS_DONE ? status : listing_pages(options, "jobs", &list_view, &pager);
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
    {"deadline_in_ms", "deadline", LOOK_DUE},
    {"age_ms", "put", LOOK_SINCE},
    {"unique_key", "unique key", LOOK_PLAIN},
    {"concurrency_key", "concurrency key", LOOK_PLAIN},
    {"token", "token", LOOK_PLAIN},
    {"error", "last error", LOOK_PLAIN},
    {"payload", "payload", LOOK_BYTES},
    {NULL, NULL, LOOK_PLAIN},
};

static const struct view_column history_columns[] = {
    {"at_ms", "WHEN", LOOK_AT},     {"attempt", "ATTEMPT", LOOK_PLAIN}, {"code", "CODE", LOOK_PLAIN},
    {"error", "ERROR", LOOK_PLAIN}, {NULL, NULL, LOOK_PLAIN},
};
static const struct view history_view = {.columns = history_columns};

static int32_t read_history(struct listing *history, cdtx_db *db, const struct options *options, int64_t id,
                            cdtx_error *err) {
    cdtx_report *report = NULL;
    listing_start(history, "attempts", &history_view, options);
    int32_t rc = cdtx_job_history(db, id, &report, err);
    while (rc == 0 && cdtx_report_next(report))
        listing_add(history, &history_view, report);
    listing_keep_last(history);
    cdtx_report_close(report);
    return rc;
}

static void print_show(const struct options *options, const struct view *view, const cdtx_report *report,
                       struct listing *history, struct subject *subject) {
    if (options_have(options, OPT_JSON)) {
        struct json_object *document = json_new_object();
        json_put(document, "job", json_row(view, report));
        json_put(document, "history", listing_take(history));
        subject_put(subject, document);
        json_print(document);
        return;
    }
    fields_print(stdout, view, report);
    if (history->count > 0) {
        (void)printf("\nAttempts that ended badly%s\n", history->more ? ", the latest" : "");
        table_print(history->table, "  ");
    }
    subject_print(subject);
}

static enum status show(const struct session *session, const struct options *options, const struct which *which) {
    struct view view = {.columns = show_columns, .database = which->database};
    struct subject subject = {0};
    struct listing history = {0};
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
        rc = read_history(&history, db, options, which->id, &err);
    if (rc == 0)
        rc = subject_read(&subject, db, options, "job", number, &err);
    if (rc != 0)
        status = status_failed(&err);
    else if (cdtx_report_next(report))
        print_show(options, &view, report, &history, &subject);
    subject_free(&subject);
    listing_free(&history);
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

static enum status show_doomed(cdtx_db *db, const struct options *options, const void *user) {
    const struct which *which = user;
    const struct view view = {.columns = show_columns, .database = which->database};
    cdtx_report *report = NULL;
    cdtx_error err;
    (void)options;
    if (cdtx_job_show(db, which->id, &report, &err) != 0)
        return status_failed(&err);
    if (cdtx_report_next(report))
        fields_print(stderr, &view, report);
    cdtx_report_close(report);
    return STATUS_DONE;
}

enum status job_cancel(const struct options *options, char **arguments) {
    struct which which;
    enum status status = which_number(options, arguments[0], "job", &which);
    if (status == STATUS_DONE)
        status = act_look_first(options, &which, show_doomed, &which, "It is taken away for good. Is that meant?");
    return status != STATUS_DONE ? status : act(options, &which, cdtx_job_cancel, "job cancel", "is taken away");
}

/* ---- redrive ---- */

static enum status read_filter(const struct options *options, cdtx_redrive_filter *filter) {
    const struct {
        enum option_id id;
        const char *name;
        int64_t *number;
    } numbers[] = {{OPT_AFTER, "--after", &filter->after},
                   {OPT_UPTO, "--upto", &filter->upto},
                   {OPT_MOST, "--most", &filter->most}};
    int64_t rate = 0;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (options_have(options, numbers[i].id) &&
            options_number(options->values[numbers[i].id], numbers[i].name, numbers[i].number) != STATUS_DONE)
            return STATUS_USAGE;
    if (options_have(options, OPT_RATE)) {
        if (options_number(options->values[OPT_RATE], "--rate", &rate) != STATUS_DONE)
            return STATUS_USAGE;
        if (rate > UINT32_MAX)
            return status_usage("--rate %s is too large", options->values[OPT_RATE]);
    }
    filter->per_s = (uint32_t)rate;
    filter->error = options->values[OPT_ERROR];
    return STATUS_DONE;
}

struct count {
    const cdtx_redrive_filter *filter;
    int64_t jobs;
};

static int count_one(void *user, const cdtx_report *report) {
    struct count *count = user;
    const char *error = view_text(report, "error"), *wanted = count->filter->error;
    count->jobs += (count->filter->upto == 0 || view_int(report, "id") <= count->filter->upto) &&
                   (wanted == NULL || (error != NULL && strstr(error, wanted) != NULL));
    return 0;
}

/* How many it would be now. */
static int32_t count_dead(cdtx_db *db, const struct options *options, const cdtx_redrive_filter *filter, int64_t *jobs,
                          cdtx_error *err) {
    struct pager dead = {.ask = ask_list,
                         .db = db,
                         .options = options,
                         .state = CDTX_JOB_DEAD,
                         .subject = filter->handler,
                         .after = filter->after};
    struct count count = {.filter = filter};
    int32_t rc = pager_walk(&dead, count_one, &count, NULL, err);
    *jobs = filter->most > 0 && count.jobs > filter->most ? filter->most : count.jobs;
    return rc;
}

static enum status none_dead(const char *handler) {
    status_say("no dead job of '%s' is like that", handler);
    return STATUS_NO;
}

static enum status show_dead(cdtx_db *db, const struct options *options, const void *user) {
    const cdtx_redrive_filter *filter = user;
    cdtx_error err;
    int64_t count = 0;
    if (count_dead(db, options, filter, &count, &err) != 0)
        return status_failed(&err);
    if (count == 0)
        return none_dead(filter->handler);
    (void)fprintf(stderr, "%" PRId64 " dead jobs of '%s'\n", count, filter->handler);
    return STATUS_DONE;
}

static enum status redrive(const struct options *options, const struct which *which,
                           const cdtx_redrive_filter *filter) {
    struct session session;
    cdtx_error err;
    int64_t count = 0;
    char subject[2 * CDTX_NAME_MAX + 2];
    enum status status = session_act(&session, options, which->database);
    if (status == STATUS_DONE && cdtx_job_redrive(session_find(&session, which->database), filter, act_actor(options),
                                                  options->values[OPT_REASON], &count, &err) != 0) {
        status = status_failed(&err);
        if (count > 0) {
            status_say("%" PRId64 " dead jobs had another life before that", count);
            status = STATUS_UNKNOWN;
        }
    } else if (status == STATUS_DONE && count == 0) {
        status = none_dead(filter->handler);
    } else if (status == STATUS_DONE) {
        (void)snprintf(subject, sizeof subject, "%s/%s", which->database, filter->handler);
        act_done_many(options, "job redrive", subject, count, "dead jobs have another life");
    }
    session_close(&session);
    return status;
}

enum status job_redrive(const struct options *options, char **arguments) {
    struct which which;
    cdtx_redrive_filter filter = {.size = sizeof filter};
    (void)arguments;
    if (!options_have(options, OPT_HANDLER))
        return status_usage("'job redrive' needs --handler [NAME/]HANDLER");
    enum status status = which_handler(options, options->values[OPT_HANDLER], &which);
    filter.handler = which.thing;
    if (status == STATUS_DONE)
        status = read_filter(options, &filter);
    if (status == STATUS_DONE)
        status = act_look_first(options, &which, show_dead, &filter, "They get another life. Is that meant?");
    return status != STATUS_DONE ? status : redrive(options, &which, &filter);
}
