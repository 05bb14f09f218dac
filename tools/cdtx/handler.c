/* cdtx handler: what jobs wait for, and holding it up. */
#include <stdio.h>

#include "act.h"
#include "command.h"
#include "listing.h"
#include "session.h"
#include "which.h"

static const struct view_column columns[] = {
    {"handler", "HANDLER", LOOK_NAMED}, {"paused_ms", "PAUSED", LOOK_AT},    {"ready", "READY", LOOK_PLAIN},
    {"due", "DUE", LOOK_PLAIN},         {"leased", "LEASED", LOOK_PLAIN},    {"waiting", "WAITING", LOOK_PLAIN},
    {"dead", "DEAD", LOOK_PLAIN},       {"oldest_ms", "OLDEST", LOOK_SINCE}, {NULL, NULL, LOOK_PLAIN},
};
static const struct view view = {.columns = columns};

enum status handler_list(const struct options *options, char **arguments) {
    (void)arguments;
    return listing_command(options, "handlers", &view, cdtx_handler_list);
}

/* A name that no job has may well be meant, and may be a slip. */
static void warn_of_none(cdtx_db *db, const char *handler) {
    cdtx_report *report = NULL;
    int64_t jobs = 0;
    if (cdtx_handler_list(db, &report, NULL) != 0)
        return;
    while (cdtx_report_next(report))
        if (view_says(report, "handler", handler))
            jobs += view_int(report, "ready") + view_int(report, "leased") + view_int(report, "waiting") +
                    view_int(report, "dead");
    if (jobs == 0)
        status_say("there is no job of '%s' now", handler);
    cdtx_report_close(report);
}

typedef int32_t (*action_fn)(cdtx_db *db, const char *handler, const char *actor, const char *reason, cdtx_error *err);

static enum status act(const struct options *options, const char *word, action_fn action, const char *what,
                       const char *sentence) {
    struct session session;
    struct which which;
    cdtx_error err;
    char subject[2 * CDTX_NAME_MAX + 2];
    enum status status = which_handler(options, word, &which);
    if (status != STATUS_DONE)
        return status;
    status = session_act(&session, options, which.database);
    cdtx_db *db = session_find(&session, which.database);
    if (status == STATUS_DONE && action(db, which.thing, act_actor(options), options->values[OPT_REASON], &err) != 0)
        status = status_failed(&err);
    if (status == STATUS_DONE) {
        (void)snprintf(subject, sizeof subject, "%s/%s", which.database, which.thing);
        act_done(options, what, subject, sentence);
        warn_of_none(db, which.thing);
    }
    session_close(&session);
    return status;
}

enum status handler_pause(const struct options *options, char **arguments) {
    return act(options, arguments[0], cdtx_handler_pause, "handler pause", "is paused: no attempt of it begins");
}

enum status handler_resume(const struct options *options, char **arguments) {
    return act(options, arguments[0], cdtx_handler_resume, "handler resume", "goes on");
}
