/* cdtx half: messages that wait for their local transaction, and resolving one by hand. A half is named by its handle,
 * which says which database it is in. */
#include <cdtx/msg.h>
#include <stdio.h>

#include "act.h"
#include "command.h"
#include "listing.h"
#include "session.h"
#include "subject.h"

/* ---- list ---- */

static const struct view_column list_columns[] = {
    {"handle", "HALF", LOOK_PLAIN},   {"topic", "TOPIC", LOOK_PLAIN},     {"producer", "PRODUCER", LOOK_PLAIN},
    {"checks", "CHECKS", LOOK_PLAIN}, {"age_ms", "PREPARED", LOOK_SINCE}, {"payload", "BYTES", LOOK_PLAIN},
    {"parked", "PARKED", LOOK_PLAIN}, {NULL, NULL, LOOK_PLAIN},
};
static const struct view list_view = {.columns = list_columns};

static int32_t ask_list(const struct pager *pager, uint32_t limit, cdtx_report **report, cdtx_error *err) {
    return cdtx_half_list(pager->db, pager_after_gid(pager), limit, report, err);
}

enum status half_list(const struct options *options, char **arguments) {
    struct pager pager = {.ask = ask_list, .options = options};
    (void)arguments;
    return listing_pages(options, "halves", &list_view, &pager);
}

/* ---- which half ---- */

struct half {
    const char *handle;
    const struct session_database *database;
    int32_t state;
    cdtx_report *row; /* on its row; NULL: it is resolved */
};

/* Every database but its own says that the handle is of another. */
static enum status find(const struct session *session, const char *handle, struct half *half) {
    cdtx_error err = {0};
    *half = (struct half){.handle = handle};
    for (uint32_t i = 0; i < session->count; i++) {
        int32_t rc = cdtx_half_query(session->databases[i].db, handle, &half->state, &err);
        half->database = &session->databases[i];
        if (rc == 0)
            return STATUS_DONE;
        if (rc != CDTX_INVALID)
            return status_failed(&err);
    }
    if (session->count == 1)
        return status_failed(&err);
    return status_usage("'%s' is a half message of none of the databases given", handle);
}

static int is_it(void *user, const cdtx_report *report) {
    const struct half *half = user;
    return view_says(report, "handle", half->handle);
}

/* Stands on its row when it is not resolved. */
static int32_t read_row(struct half *half, const struct options *options, cdtx_error *err) {
    struct pager pager = {.ask = ask_list, .db = half->database->db, .options = options};
    return pager_walk(&pager, is_it, half, &half->row, err);
}

/* ---- show ---- */

static const struct view_column show_columns[] = {
    {"topic", "topic", LOOK_PLAIN},   {"producer", "producer", LOOK_PLAIN}, {"checks", "checks", LOOK_PLAIN},
    {"parked", "parked", LOOK_PLAIN}, {"age_ms", "prepared", LOOK_SINCE},   {"payload", "bytes", LOOK_PLAIN},
    {NULL, NULL, LOOK_PLAIN},
};
static const struct view show_view = {.columns = show_columns};

static void print_fields(FILE *out, const struct half *half) {
    fields_print_text(out, &show_view, "half", half->handle);
    fields_print_text(out, &show_view, "in", half->database->name);
    fields_print_text(out, &show_view, "state", view_state(LOOK_HALF_STATE, half->state));
    if (half->row != NULL)
        fields_print(out, &show_view, half->row);
}

/* Of a resolved one only its state is known. */
static struct json_object *json_half(const struct half *half) {
    struct json_object *object = json_new_object();
    json_put_text(object, "database", half->database->name);
    json_put_text(object, "handle", half->handle);
    json_put_text(object, "state", view_state(LOOK_HALF_STATE, half->state));
    for (const struct view_column *column = show_columns; column->name != NULL; column++)
        json_put(object, column->name, half->row == NULL ? NULL : json_value(&show_view, half->row, column->name));
    return object;
}

static void print_show(const struct options *options, const struct half *half, struct subject *subject) {
    if (options_have(options, OPT_JSON)) {
        struct json_object *document = json_new_object();
        json_put(document, "half", json_half(half));
        subject_put(subject, document);
        json_print(document);
        return;
    }
    print_fields(stdout, half);
    subject_print(subject);
}

enum status half_show(const struct options *options, char **arguments) {
    struct session session;
    struct subject subject = {0};
    struct half half = {0};
    cdtx_error err;
    enum status status = session_look(&session, options, 0);
    if (status == STATUS_DONE)
        status = find(&session, arguments[0], &half);
    if (status != STATUS_DONE)
        goto out;
    int32_t rc = read_row(&half, options, &err);
    if (rc == 0)
        rc = subject_read(&subject, half.database->db, options, "half", half.handle, &err);
    if (rc == 0)
        rc = subject_read_case(&subject, half.database, options, "half", half.handle, &err);
    if (rc == 0)
        print_show(options, &half, &subject);
    else
        status = status_failed(&err);
out:
    subject_free(&subject);
    cdtx_report_close(half.row);
    session_close(&session);
    return status;
}

/* ---- resolving ---- */

struct resolution {
    int32_t outcome;
    const char *what, *question, *sentence;
};

/* Looks first: it says in which database the half is, and shows what is to be confirmed. */
static enum status look_first(const struct options *options, const char *handle, const char *question,
                              char database[CDTX_NAME_MAX + 1]) {
    struct session session;
    struct half half = {0};
    cdtx_error err;
    enum status status = act_can_confirm(options);
    if (status != STATUS_DONE)
        return status;
    status = session_look(&session, options, 0);
    if (status == STATUS_DONE)
        status = find(&session, handle, &half);
    if (status == STATUS_DONE && read_row(&half, options, &err) != 0)
        status = status_failed(&err);
    if (status == STATUS_DONE) {
        (void)snprintf(database, CDTX_NAME_MAX + 1, "%s", half.database->name);
        if (!options_have(options, OPT_YES))
            print_fields(stderr, &half);
        status = act_confirm(options, question);
    }
    cdtx_report_close(half.row);
    session_close(&session);
    return status;
}

static enum status settle(const struct options *options, const char *handle, const struct resolution *resolution) {
    struct session session = {0};
    char database[CDTX_NAME_MAX + 1];
    cdtx_error err;
    enum status status = look_first(options, handle, resolution->question, database);
    if (status == STATUS_DONE)
        status = session_act(&session, options, database);
    if (status == STATUS_DONE && cdtx_half_settle(session_find(&session, database), handle, resolution->outcome,
                                                  act_actor(options), options->values[OPT_REASON], &err) != 0)
        status = status_failed(&err);
    else if (status == STATUS_DONE)
        act_done(options, resolution->what, handle, resolution->sentence);
    session_close(&session);
    return status;
}

enum status half_commit(const struct options *options, char **arguments) {
    const struct resolution resolution = {CDTX_HALF_COMMITTED, "half commit",
                                          "Its message goes to every group. Is its local transaction committed?",
                                          "is committed, and its message is visible"};
    return settle(options, arguments[0], &resolution);
}

enum status half_rollback(const struct options *options, char **arguments) {
    const struct resolution resolution = {
        CDTX_HALF_ROLLED_BACK, "half rollback",
        "Its message is gone for good. Is it certain that its local transaction can no longer commit?",
        "is rolled back, and its message will never be visible"};
    return settle(options, arguments[0], &resolution);
}
