#include "subject.h"

#include <inttypes.h>
#include <stdio.h>

enum { CASES_READ = 1000 };

static const struct view_column lines_columns[] = {
    {"at_ms", "WHEN", LOOK_AT},       {"actor", "ACTOR", LOOK_PLAIN}, {"action", "ACTION", LOOK_PLAIN},
    {"reason", "REASON", LOOK_PLAIN}, {NULL, NULL, LOOK_PLAIN},
};
static const struct view lines_view = {.columns = lines_columns};

/* Stands on the case's row when it is found. */
static int32_t find_case(struct subject *subject, cdtx_db *db, const char *kind, const char *name, cdtx_error *err) {
    cdtx_case_filter filter = {.size = sizeof filter, .state = CDTX_CASE_OPEN, .limit = CASES_READ};
    for (;;) {
        cdtx_report *report = NULL;
        uint32_t rows = 0;
        int32_t rc = cdtx_case_list(db, &filter, &report, err);
        if (rc != 0)
            return rc;
        for (; cdtx_report_next(report); rows++) {
            if (view_says(report, "kind", kind) && view_says(report, "subject", name)) {
                subject->open_case = report;
                return 0;
            }
            filter.after = cdtx_report_int(report, 0);
        }
        cdtx_report_close(report);
        if (rows < CASES_READ)
            return 0;
    }
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
    subject->database = database->name;
    int32_t rc = find_case(subject, database->db, kind, name, err);
    if (rc != 0 || subject->open_case == NULL)
        return rc;
    return subject_read_notes(subject, database->db, options,
                              cdtx_report_int(subject->open_case, view_find(subject->open_case, "id")), err);
}

static void print_case(const char *database, const cdtx_report *report) {
    static const struct view_column id = {"id", "", LOOK_NAMED}, opened = {"opened_ms", "", LOOK_AT},
                                    reason = {"reason", "", LOOK_PLAIN}, assignee = {"assignee", "", LOOK_PLAIN};
    const struct view view = {.database = database};
    (void)printf("\nCase ");
    view_write(stdout, &view, &id, report);
    (void)printf(", opened ");
    view_write(stdout, &view, &opened, report);
    if (cdtx_report_type(report, view_find(report, "assignee")) == CDTX_NULL) {
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
