#include "subject.h"

#include <inttypes.h>
#include <stdio.h>

static const struct view_column lines_columns[] = {
    {"at_ms", "WHEN", LOOK_AT},       {"actor", "ACTOR", LOOK_PLAIN}, {"action", "ACTION", LOOK_PLAIN},
    {"reason", "REASON", LOOK_PLAIN}, {NULL, NULL, LOOK_PLAIN},
};
static const struct view lines_view = {.columns = lines_columns};

struct about {
    const char *kind, *name;
};

static int is_about(void *user, const cdtx_report *report) {
    const struct about *about = user;
    return view_says(report, "kind", about->kind) && view_says(report, "subject", about->name);
}

static int32_t read_lines(struct listing *listing, cdtx_db *db, const struct options *options, const char *subject,
                          cdtx_error *err) {
    struct pager pager = {.ask = audit_ask, .db = db, .options = options, .subject = subject, .latest = 1};
    listing_start(listing, "audit lines", &lines_view, options);
    return listing_read(listing, &lines_view, &pager, err);
}

int32_t subject_read(struct subject *subject, cdtx_db *db, const struct options *options, const char *kind,
                     const char *name, cdtx_error *err) {
    char about[2 * CDTX_NAME_MAX];
    (void)snprintf(about, sizeof about, "%s %s", kind, name);
    return read_lines(&subject->audit, db, options, about, err);
}

int32_t subject_read_notes(struct subject *subject, cdtx_db *db, const struct options *options, int64_t id,
                           cdtx_error *err) {
    char about[32];
    (void)snprintf(about, sizeof about, "case %" PRId64, id);
    return read_lines(&subject->notes, db, options, about, err);
}

int32_t subject_read_case(struct subject *subject, const struct session_database *database,
                          const struct options *options, const char *kind, const char *name, cdtx_error *err) {
    struct pager pager = {.ask = case_ask, .db = database->db, .options = options, .state = CDTX_CASE_OPEN};
    struct about about = {kind, name};
    subject->database = database->name;
    int32_t rc = pager_walk(&pager, is_about, &about, &subject->open_case, err);
    if (rc != 0 || subject->open_case == NULL)
        return rc;
    return subject_read_notes(subject, database->db, options, view_int(subject->open_case, "id"), err);
}

static void print_case(const char *database, const cdtx_report *report) {
    static const struct view_column id = {"id", "", LOOK_NAMED}, opened = {"opened_ms", "", LOOK_AT},
                                    reason = {"reason", "", LOOK_PLAIN}, assignee = {"assignee", "", LOOK_PLAIN};
    const struct view view = {.database = database};
    (void)printf("\nCase ");
    view_write(stdout, &view, &id, report);
    (void)printf(", opened ");
    view_write(stdout, &view, &opened, report);
    if (view_text(report, "assignee") == NULL) {
        (void)fputs(", assigned to nobody", stdout);
    } else {
        (void)fputs(", assigned to ", stdout);
        view_write(stdout, &view, &assignee, report);
    }
    (void)fputs(": ", stdout);
    view_write(stdout, &view, &reason, report);
    (void)fputc('\n', stdout);
}

static void print_lines(const struct listing *listing, const char *title) {
    if (listing->count == 0)
        return;
    (void)printf("\n%s%s\n", title, listing->more ? ", the latest lines" : "");
    table_print(listing->table, "  ");
}

void subject_print(const struct subject *subject) {
    if (subject->open_case != NULL)
        print_case(subject->database, subject->open_case);
    print_lines(&subject->notes, "Notes");
    print_lines(&subject->audit, "Audit");
}

void subject_put(struct subject *subject, struct json_object *document) {
    struct view view = case_view;
    view.database = subject->database;
    if (subject->open_case != NULL)
        json_put(document, "case", json_row(&view, subject->open_case));
    if (subject->notes.array != NULL)
        json_put(document, "notes", listing_take(&subject->notes));
    json_put(document, "audit", listing_take(&subject->audit));
}

void subject_free(struct subject *subject) {
    cdtx_report_close(subject->open_case);
    listing_free(&subject->audit);
    listing_free(&subject->notes);
    *subject = (struct subject){0};
}
