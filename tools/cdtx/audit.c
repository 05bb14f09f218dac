/* cdtx audit: who did what and why, and whether somebody changed it since. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "listing.h"
#include "session.h"

/* ---- list ---- */

static const struct view_column list_columns[] = {
    {"id", "LINE", LOOK_JOB},         {"at_ms", "WHEN", LOOK_AT},       {"actor", "ACTOR", LOOK_PLAIN},
    {"action", "ACTION", LOOK_PLAIN}, {"subject", "ABOUT", LOOK_PLAIN}, {"reason", "REASON", LOOK_PLAIN},
    {NULL, NULL, LOOK_PLAIN},
};
static const struct view list_view = {.columns = list_columns};

static int32_t ask_list(const struct pager *pager, uint32_t limit, cdtx_report **report, cdtx_error *err) {
    cdtx_audit_filter filter = {
        .size = sizeof filter, .limit = limit, .subject = pager->subject, .after = pager->after};
    return cdtx_audit_list(pager->db, &filter, report, err);
}

static enum status list_all(struct listing *listing, const struct session *session, const struct options *options,
                            int64_t after) {
    cdtx_error err;
    for (uint32_t i = 0; i < session->count; i++) {
        struct view view = {.columns = list_columns, .database = session->databases[i].name};
        struct pager pager = {.ask = ask_list,
                              .engine = session->engine,
                              .db = session->databases[i].db,
                              .options = options,
                              .subject = options->values[OPT_SUBJECT],
                              .after = after};
        if (listing_read(listing, &view, &pager, &err) != 0)
            return status_failed(&err);
    }
    listing_print(listing);
    return STATUS_DONE;
}

enum status audit_list(const struct options *options, char **arguments) {
    struct session session;
    struct listing listing;
    int64_t after = 0;
    (void)arguments;
    if (options_have(options, OPT_AFTER) &&
        options_number(options->values[OPT_AFTER], "--after", &after) != STATUS_DONE)
        return STATUS_USAGE;
    listing_start(&listing, "audit", &list_view, options);
    /* Whoever says from where reads forward; else the end is what matters. */
    listing.latest = after == 0;
    enum status status = session_look(&session, options, 0);
    if (status == STATUS_DONE)
        status = list_all(&listing, &session, options, after);
    listing_free(&listing);
    session_close(&session);
    return status;
}

/* ---- verify ---- */

struct verdict {
    int64_t lines;
    char head[65];
    int32_t code; /* 0: every hash is right */
    cdtx_error err;
};

static int is_head(const cdtx_report *report, const char *head) {
    const char *hash = cdtx_report_text(report, view_find(report, "hash"), NULL);
    return hash != NULL && strcmp(hash, head) == 0;
}

/* Whether the chain once ended with that hash: a line that has it is still there. */
static int32_t find_head(cdtx_db *db, const char *head, int *found, cdtx_error *err) {
    cdtx_audit_filter filter = {.size = sizeof filter, .limit = 1000};
    for (;;) {
        cdtx_report *report = NULL;
        uint32_t rows = 0;
        int32_t rc = cdtx_audit_list(db, &filter, &report, err);
        if (rc != 0)
            return rc;
        for (; cdtx_report_next(report) && !*found; rows++) {
            *found = is_head(report, head);
            filter.after = cdtx_report_int(report, 0);
        }
        cdtx_report_close(report);
        if (*found || rows < filter.limit)
            return 0;
    }
}

static void print_verdict(const char *name, const struct verdict *verdict, struct json_object *array) {
    int good = verdict->code == 0;
    if (array == NULL) {
        if (good)
            (void)printf("%s: %" PRId64 " lines, every hash is right; the last is %s\n", name, verdict->lines,
                         verdict->head);
        else
            (void)printf("%s: %s\n", name, verdict->err.text);
        return;
    }
    struct json_object *object = json_new_object();
    json_put_text(object, "database", name);
    json_put_truth(object, "intact", good);
    json_put(object, "lines", good ? json_object_new_int64(verdict->lines) : NULL);
    json_put_text(object, "head", good ? verdict->head : NULL);
    json_put_text(object, "error", good ? NULL : verdict->err.text);
    json_append(array, object);
}

/* A broken chain is an answer, not a failure: STATUS_NO. */
static enum status verify_all(const struct session *session, const char *head, struct json_object *array) {
    enum status status = STATUS_DONE;
    int found = head == NULL;
    for (uint32_t i = 0; i < session->count; i++) {
        struct verdict verdict = {0};
        cdtx_db *db = session->databases[i].db;
        verdict.code = cdtx_audit_verify(db, &verdict.lines, verdict.head, &verdict.err);
        if (verdict.code != 0 && verdict.code != CDTX_CORRUPT)
            return status_failed(&verdict.err);
        if (verdict.code != 0)
            status = STATUS_NO;
        print_verdict(session->databases[i].name, &verdict, array);
        if (!found && find_head(db, head, &found, &verdict.err) != 0)
            return status_failed(&verdict.err);
    }
    if (found)
        return status;
    status_say("no line has the hash %s: the end of the chain was cut off, or written anew", head);
    return STATUS_NO;
}

/* All zeroes is the head of an empty chain, from which every chain comes. */
static enum status check_head(const char *head) {
    if (strlen(head) == 64 && strspn(head, "0123456789abcdef") == 64)
        return STATUS_DONE;
    return status_usage("--head '%s' is no hash of 64 hexadecimal digits", head);
}

enum status audit_verify(const struct options *options, char **arguments) {
    struct session session;
    const char *head = options->values[OPT_HEAD];
    (void)arguments;
    if (head != NULL && check_head(head) != STATUS_DONE)
        return STATUS_USAGE;
    if (head != NULL && strspn(head, "0") == 64)
        head = NULL;
    struct json_object *array = options_have(options, OPT_JSON) ? json_new_array() : NULL;
    enum status status = session_look(&session, options, 0);
    if (status == STATUS_DONE)
        status = verify_all(&session, head, array);
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
