#include "listing.h"

#include <stdio.h>

#include "session.h"

enum { PAGE = 1000 };

void listing_start(struct listing *listing, const char *what, const struct view *view, const struct options *options) {
    *listing = (struct listing){.what = what, .limit = options->limit};
    if (options_have(options, OPT_JSON))
        listing->array = json_new_array();
    else
        listing->table = table_new(view);
}

void listing_add(struct listing *listing, const struct view *view, const cdtx_report *report) {
    if (listing->array != NULL)
        json_append(listing->array, json_row(view, report));
    else
        table_add(listing->table, view, report);
    listing->count++;
}

void listing_keep_last(struct listing *listing) {
    uint32_t read = listing->count - listing->first;
    if (read <= listing->limit)
        return;
    uint32_t gone = read - listing->limit;
    if (listing->array != NULL)
        (void)json_object_array_del_idx(listing->array, listing->first, gone);
    else
        table_forget(listing->table, listing->first, gone);
    listing->count -= gone;
    listing->more = 1;
}

static void move_on(struct pager *pager, const cdtx_report *report) {
    const char *gid = cdtx_report_text(report, 0, NULL);
    if (gid != NULL)
        (void)snprintf(pager->after_gid, sizeof pager->after_gid, "%s", gid);
    else
        pager->after = cdtx_report_int(report, 0);
}

enum status pager_state(struct pager *pager, enum look look) {
    if (!options_have(pager->options, OPT_STATE))
        return STATUS_DONE;
    pager->state = view_state_number(look, pager->options->values[OPT_STATE]);
    return pager->state != 0 ? STATUS_DONE : STATUS_USAGE;
}

enum status pager_after(struct pager *pager) {
    if (!options_have(pager->options, OPT_AFTER))
        return STATUS_DONE;
    return options_number(pager->options->values[OPT_AFTER], "--after", &pager->after);
}

const char *pager_after_gid(const struct pager *pager) {
    return pager->after_gid[0] != '\0' ? pager->after_gid : pager->options->values[OPT_AFTER];
}

int32_t pager_walk(struct pager *pager, row_fn see, void *user, cdtx_report **found, cdtx_error *err) {
    uint32_t rows;
    if (found != NULL)
        *found = NULL;
    do {
        cdtx_report *report = NULL;
        int32_t rc = pager->ask(pager, PAGE, &report, err);
        if (rc != 0)
            return rc;
        for (rows = 0; cdtx_report_next(report); rows++) {
            move_on(pager, report);
            if (!see(user, report))
                continue;
            *found = report;
            return 0;
        }
        cdtx_report_close(report);
    } while (rows == PAGE);
    return 0;
}

/* One page; *got gets how many rows it had. */
static int32_t read_page(struct listing *listing, const struct view *view, struct pager *pager, uint32_t wanted,
                         uint32_t *got, cdtx_error *err) {
    cdtx_report *report = NULL;
    int32_t rc = pager->ask(pager, wanted, &report, err);
    if (rc != 0)
        return rc;
    for (*got = 0; cdtx_report_next(report); (*got)++) {
        move_on(pager, report);
        if (pager->leaves_out != NULL && pager->leaves_out(report))
            continue;
        if (!listing->latest && listing->count == listing->limit) {
            listing->more = 1;
            break;
        }
        listing_add(listing, view, report);
    }
    if (listing->latest)
        listing_keep_last(listing);
    cdtx_report_close(report);
    return 0;
}

int32_t listing_read(struct listing *listing, const struct view *view, struct pager *pager, cdtx_error *err) {
    struct progress progress;
    int64_t done = 0;
    uint32_t got = 0, wanted = 0;
    int32_t rc = 0;
    listing->latest = pager->latest;
    progress_start(&progress, listing->what, pager->total);
    do {
        /* One more than fits, which tells that there is more. */
        wanted = PAGE;
        if (!listing->latest && listing->limit - listing->count < PAGE)
            wanted = listing->limit - listing->count + 1;
        rc = read_page(listing, view, pager, wanted, &got, err);
        done += got;
        if (rc == 0 && got == PAGE)
            progress_at(&progress, done);
    } while (rc == 0 && got == wanted && !(listing->more && !listing->latest));
    progress_end(&progress);
    return rc;
}

static int32_t read_at_once(struct listing *listing, const struct view *view, const struct pager *pager,
                            cdtx_error *err) {
    cdtx_report *report = NULL;
    int32_t rc = pager->question(pager->db, &report, err);
    while (rc == 0 && cdtx_report_next(report))
        listing_add(listing, view, report);
    cdtx_report_close(report);
    return rc;
}

/* From each database of the session, one after the other. */
static int32_t read_all(struct listing *listing, const struct view *view, const struct pager *pager,
                        const struct session *session, cdtx_error *err) {
    int32_t rc = 0;
    for (uint32_t i = 0; rc == 0 && i < session->count; i++) {
        struct view named = *view;
        struct pager own = *pager;
        named.database = session->databases[i].name;
        own.db = session->databases[i].db;
        listing->first = pager->latest ? listing->count : 0;
        rc = own.question != NULL ? read_at_once(listing, &named, &own, err) : listing_read(listing, &named, &own, err);
    }
    return rc;
}

enum status listing_pages(const struct options *options, const char *what, const struct view *view,
                          const struct pager *pager) {
    struct session session;
    struct listing listing;
    cdtx_error err;
    listing_start(&listing, what, view, options);
    enum status status = session_look(&session, options, 0);
    if (status == STATUS_DONE && read_all(&listing, view, pager, &session, &err) != 0)
        status = status_failed(&err);
    else if (status == STATUS_DONE)
        listing_print(&listing);
    listing_free(&listing);
    session_close(&session);
    return status;
}

enum status listing_command(const struct options *options, const char *what, const struct view *view,
                            question_fn question) {
    struct pager pager = {.question = question, .options = options};
    return listing_pages(options, what, view, &pager);
}

void listing_print(struct listing *listing) {
    if (listing->array != NULL) {
        struct json_object *document = json_new_object();
        int more = listing->more;
        json_put(document, listing->what, listing_take(listing));
        json_put_truth(document, "more", more);
        json_print(document);
        return;
    }
    table_print(listing->table, "");
    if (listing->count == 0)
        status_say("no %s", listing->what);
    if (listing->more)
        status_say(listing->latest ? "there are older ones; --limit N shows more"
                                   : "there are more; --limit N shows them");
}

struct json_object *listing_take(struct listing *listing) {
    struct json_object *array = listing->array;
    listing->array = NULL;
    return array;
}

void listing_free(struct listing *listing) {
    table_free(listing->table);
    json_object_put(listing->array);
    *listing = (struct listing){0};
}
