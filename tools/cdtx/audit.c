/* cdtx audit: who did what and why, and whether somebody changed it since. */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "listing.h"
#include "session.h"

/* ---- list ---- */

static const struct view_column list_columns[] = {
    {"id", "LINE", LOOK_NAMED},       {"at_ms", "WHEN", LOOK_AT},       {"actor", "ACTOR", LOOK_PLAIN},
    {"action", "ACTION", LOOK_PLAIN}, {"subject", "ABOUT", LOOK_PLAIN}, {"reason", "REASON", LOOK_PLAIN},
    {NULL, NULL, LOOK_PLAIN},
};
static const struct view list_view = {.columns = list_columns};

int32_t audit_ask(const struct pager *pager, uint32_t limit, cdtx_report **report, cdtx_error *err) {
    cdtx_audit_filter filter = {
        .size = sizeof filter, .limit = limit, .subject = pager->subject, .after = pager->after};
    return cdtx_audit_list(pager->db, &filter, report, err);
}

enum status audit_list(const struct options *options, char **arguments) {
    struct pager pager = {.ask = audit_ask, .options = options, .subject = options->values[OPT_SUBJECT]};
    (void)arguments;
    enum status status = pager_after(&pager);
    /* Whoever says from where reads forward; else the end is what matters. */
    pager.latest = pager.after == 0;
    return status != STATUS_DONE ? status : listing_pages(options, "audit", &list_view, &pager);
}

/* ---- verify ---- */

enum { STEP = 1000 };

struct verdict {
    int64_t lines;
    char head[65];
    int32_t code; /* 0: every hash is right */
    cdtx_error err;
};

/* The last line as it was kept elsewhere. */
struct kept {
    char database[CDTX_NAME_MAX + 1]; /* "": there is none */
    int64_t line;
    char head[65];
};

/* NAME/LINE:HASH; without the name the log's, or that of the only database. */
static enum status read_kept(const struct options *options, const char *text, struct kept *kept) {
    const char *slash = strrchr(text, '/'), *colon = strrchr(text, ':');
    const char *name = options->log != NULL || options->database_count == 0 ? "log" : options->databases[0].name;
    char number[24];
    const char *first = slash != NULL ? slash + 1 : text;
    if (colon == NULL || colon <= first || colon - first >= (ptrdiff_t)sizeof number || strlen(colon + 1) != 64 ||
        strspn(colon + 1, "0123456789abcdef") != 64 ||
        (slash != NULL && (slash == text || slash - text > CDTX_NAME_MAX)))
        return status_usage("--head '%s' is not LINE:HASH, as 'cdtx audit verify' prints it", text);
    if (slash == NULL && options->log == NULL && options->database_count > 1)
        return status_usage("--head '%s' may be of several databases: say NAME/LINE:HASH", text);
    int length = slash != NULL ? (int)(slash - text) : (int)strlen(name);
    (void)snprintf(kept->database, sizeof kept->database, "%.*s", length, slash != NULL ? text : name);
    (void)snprintf(kept->head, sizeof kept->head, "%s", colon + 1);
    (void)snprintf(number, sizeof number, "%.*s", (int)(colon - first), first);
    /* Line 0 is the beginning, behind which everything stands. */
    return strcmp(number, "0") == 0 ? STATUS_DONE : options_number(number, "the line of --head", &kept->line);
}

/* Lines are numbered without a gap, so those that there are can be found by halving. 0 when it cannot be known. */
static int64_t count_lines(cdtx_db *db) {
    int64_t none_from = INT64_MAX - 1, some_at = 0;
    for (int64_t at = STEP; some_at + 1 < none_from; at = none_from == INT64_MAX - 1 ? at * 2 : at) {
        if (none_from != INT64_MAX - 1)
            at = some_at + (none_from - some_at) / 2;
        cdtx_audit_filter filter = {.size = sizeof filter, .limit = 1, .after = at - 1};
        cdtx_report *report = NULL;
        if (at > INT64_MAX / 4 || cdtx_audit_list(db, &filter, &report, NULL) != 0)
            return 0;
        if (cdtx_report_next(report))
            some_at = at;
        else
            none_from = at;
        cdtx_report_close(report);
    }
    return some_at;
}

static void verify(cdtx_db *db, struct verdict *verdict) {
    struct progress progress;
    int64_t before = 0;
    progress_start(&progress, "audit lines", count_lines(db));
    do {
        before = verdict->lines;
        verdict->code = cdtx_audit_verify(db, STEP, &verdict->lines, verdict->head, &verdict->err);
        if (verdict->lines - before == STEP)
            progress_at(&progress, verdict->lines);
    } while (verdict->code == 0 && verdict->lines - before == STEP);
    progress_end(&progress);
}

static void compare(cdtx_db *db, const struct kept *kept, struct verdict *verdict) {
    int64_t line = kept->line;
    char head[65];
    (void)snprintf(head, sizeof head, "%s", kept->head);
    if (verdict->code == 0 && line > 0)
        verdict->code = cdtx_audit_verify(db, 1, &line, head, &verdict->err);
}

static void print_verdict(const char *name, const struct verdict *verdict, struct json_object *array) {
    int good = verdict->code == 0;
    if (array == NULL) {
        if (good)
            (void)printf("%s: %" PRId64 " lines, every hash is right; head %" PRId64 ":%s\n", name, verdict->lines,
                         verdict->lines, verdict->head);
        else
            (void)printf("%s: %s\n", name, verdict->err.text);
        return;
    }
    struct json_object *object = json_new_object();
    json_put_text(object, "database", name);
    json_put_truth(object, "intact", good);
    if (good)
        json_put_number(object, "lines", verdict->lines);
    else
        json_put(object, "lines", NULL);
    json_put_text(object, "head", good ? verdict->head : NULL);
    json_put_text(object, "error", good ? NULL : verdict->err.text);
    json_append(array, object);
}

/* A broken chain is an answer, not a failure: STATUS_NO. */
static enum status verify_all(const struct session *session, const struct kept *kept, struct json_object *array) {
    enum status status = STATUS_DONE;
    if (kept->database[0] != '\0' && session_find(session, kept->database) == NULL)
        return status_usage("no database is named '%s': say --db %s=URL", kept->database, kept->database);
    for (uint32_t i = 0; i < session->count; i++) {
        struct verdict verdict = {0};
        const struct session_database *database = &session->databases[i];
        verify(database->db, &verdict);
        if (strcmp(database->name, kept->database) == 0)
            compare(database->db, kept, &verdict);
        if (verdict.code != 0 && verdict.code != CDTX_CORRUPT)
            return status_failed(&verdict.err);
        if (verdict.code != 0)
            status = STATUS_NO;
        print_verdict(database->name, &verdict, array);
    }
    return status;
}

enum status audit_verify(const struct options *options, char **arguments) {
    struct session session;
    struct kept kept = {0};
    (void)arguments;
    if (options_have(options, OPT_HEAD) && read_kept(options, options->values[OPT_HEAD], &kept) != STATUS_DONE)
        return STATUS_USAGE;
    struct json_object *array = options_have(options, OPT_JSON) ? json_new_array() : NULL;
    enum status status = session_look(&session, options, 0);
    if (status == STATUS_DONE)
        status = verify_all(&session, &kept, array);
    if (array != NULL && (status == STATUS_DONE || status == STATUS_NO)) {
        struct json_object *document = json_new_object();
        json_put(document, "chains", array);
        json_put_truth(document, "intact", status == STATUS_DONE);
        json_print(document);
    } else {
        json_object_put(array);
    }
    session_close(&session);
    return status;
}
