/* cdtx doctor: everything that can be seen to be wrong. */
#include "command.h"
#include "listing.h"
#include "session.h"

static const struct view_column columns[] = {
    {"level", "LEVEL", LOOK_PLAIN},     {"database", "IN", LOOK_PLAIN}, {"check", "CHECK", LOOK_PLAIN},
    {"finding", "FINDING", LOOK_PLAIN}, {"advice", NULL, LOOK_PLAIN},   {NULL, NULL, LOOK_PLAIN},
};
static const struct view view = {.columns = columns, .whole = 1};

static void print_findings(struct listing *listing, int64_t problems) {
    if (listing->array != NULL) {
        struct json_object *document = json_new_object();
        json_put(document, "findings", listing_take(listing));
        json_put_number(document, "problems", problems);
        json_print(document);
        return;
    }
    table_print(listing->table, "");
    if (problems > 0)
        status_say("%lld problem%s", (long long)problems, problems == 1 ? "" : "s");
}

enum status doctor(const struct options *options, char **arguments) {
    struct session session;
    struct listing listing;
    cdtx_report *report = NULL;
    cdtx_error err;
    int64_t problems = 0;
    (void)arguments;
    listing_start(&listing, "findings", &view, options);
    enum status status = session_look(&session, options, 0);
    if (status != STATUS_DONE)
        goto out;
    struct progress progress;
    uint32_t deep = (uint32_t)options_have(options, OPT_DEEP);
    progress_start(&progress, "databases, every page of them: this takes a while", 0);
    if (deep)
        progress_at(&progress, session.count);
    int32_t rc = cdtx_doctor(session.engine, deep, &report, &err);
    progress_end(&progress);
    if (rc != 0) {
        status = status_failed(&err);
        goto out;
    }
    while (cdtx_report_next(report)) {
        problems += view_says(report, "level", "problem");
        listing_add(&listing, &view, report);
    }
    print_findings(&listing, problems);
    status = problems == 0 ? STATUS_DONE : STATUS_NO;
out:
    cdtx_report_close(report);
    listing_free(&listing);
    session_close(&session);
    return status;
}
