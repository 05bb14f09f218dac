/* cdtx tx: looking at global transactions and stepping in. */
#include <stdio.h>
#include <string.h>

#include "act.h"
#include "command.h"
#include "listing.h"
#include "session.h"
#include "subject.h"

/* ---- list ---- */

static const struct view_column list_columns[] = {
    {"gid", "GID", LOOK_PLAIN},     {"state", "STATE", LOOK_TX_STATE},   {"name", "NAME", LOOK_PLAIN},
    {"key", "KEY", LOOK_PLAIN},     {"answered", "DONE", LOOK_ANSWERED}, {"attempts", "TRIES", LOOK_PLAIN},
    {"began_ms", "BEGAN", LOOK_AT}, {"due_in_ms", "NEXT", LOOK_DUE},     {"error", "LAST ERROR", LOOK_PLAIN},
    {NULL, NULL, LOOK_PLAIN},
};
static const struct view list_view = {.columns = list_columns};

int32_t tx_ask(const struct pager *pager, uint32_t limit, cdtx_report **report, cdtx_error *err) {
    const struct options *options = pager->options;
    cdtx_tx_filter filter = {.size = sizeof filter,
                             .state = pager->state,
                             .parked = options_have(options, OPT_PARKED),
                             .limit = limit,
                             .name = options->values[OPT_NAME],
                             .after = pager_after_gid(pager),
                             .older_ms = options->older_ms};
    return cdtx_tx_list(pager->engine, &filter, report, err);
}

/* For the estimate of how long a long list takes; 0 where the log does not know. */
static int64_t expect(cdtx *engine, const struct options *options) {
    cdtx_metrics metrics = {.size = sizeof metrics, .ask = 1};
    uint32_t filters = OPT_BIT(OPT_STATE) | OPT_BIT(OPT_NAME) | OPT_BIT(OPT_OLDER) | OPT_BIT(OPT_AFTER);
    if (options->limit <= ROWS_DEFAULT || (options->given & filters) != 0)
        return 0;
    if (cdtx_metrics_read(engine, &metrics, NULL) != 0)
        return 0;
    int64_t total = options_have(options, OPT_PARKED) ? metrics.log_parked : metrics.log_open;
    return total < options->limit ? total : options->limit;
}

enum status tx_list(const struct options *options, char **arguments) {
    struct session session;
    struct listing listing;
    struct pager pager = {.ask = tx_ask, .options = options};
    cdtx_error err;
    (void)arguments;
    enum status status = pager_state(&pager, LOOK_TX_STATE);
    if (status != STATUS_DONE)
        return status;
    listing_start(&listing, "transactions", &list_view, options);
    status = session_look(&session, options, 1);
    if (status != STATUS_DONE)
        goto out;
    pager.engine = session.engine;
    pager.total = expect(session.engine, options);
    if (listing_read(&listing, &list_view, &pager, &err) != 0)
        status = status_failed(&err);
    else
        listing_print(&listing);
out:
    listing_free(&listing);
    session_close(&session);
    return status;
}

/* ---- show ---- */

static const struct view_column show_columns[] = {
    {"gid", "gid", LOOK_PLAIN},
    {"state", "state", LOOK_TX_STATE},
    {"parked", "parked", LOOK_PLAIN},
    {"name", "name", LOOK_PLAIN},
    {"key", "key", LOOK_PLAIN},
    {"answered", "branches done", LOOK_ANSWERED},
    {"attempts", "attempts", LOOK_PLAIN},
    {"began_ms", "began", LOOK_AT},
    {"due_in_ms", "next attempt", LOOK_DUE},
    {"ended_ago_ms", "ended", LOOK_SINCE},
    {"error", "last error", LOOK_PLAIN},
    {"reason", "rolled back for", LOOK_PLAIN},
    {"epoch", "epoch", LOOK_PLAIN},
    {"reverse_after", "reverse after", LOOK_PLAIN},
    {"noes", "definite noes", LOOK_PLAIN},
    {NULL, NULL, LOOK_PLAIN},
};
static const struct view show_view = {.columns = show_columns};

static const struct view_column branch_columns[] = {
    {"branch", "BRANCH", LOOK_PLAIN}, {"participant", "PARTICIPANT", LOOK_PLAIN},
    {"answered", "DONE", LOOK_YES},   {"guard", "GUARD", LOOK_PLAIN},
    {"database", "IN", LOOK_PLAIN},   {"payload", "PAYLOAD", LOOK_BYTES},
    {NULL, NULL, LOOK_PLAIN},
};
static const struct view branch_view = {.columns = branch_columns};

/* What is written like a gid but is none of this log's is told so, not looked for as a key in vain. */
static int is_like_gid(const char *word) {
    return strspn(word, "0123456789abcdef") == 32 && word[32] == '-';
}

/* A gid, or the business key of one; *report gets its row, on which it stands. */
static enum status find(const struct session *session, const char *word, char gid[CDTX_GID_MAX], cdtx_report **report) {
    cdtx_error err, by_key;
    int32_t rc = cdtx_tx_show(session->engine, word, report, &err);
    (void)snprintf(gid, CDTX_GID_MAX, "%s", word);
    if (rc == CDTX_INVALID && cdtx_tx_find(session->engine, word, gid, &by_key) == 0)
        rc = cdtx_tx_show(session->engine, gid, report, &err);
    else if (rc == CDTX_INVALID && by_key.code == CDTX_NOT_FOUND && !is_like_gid(word)) {
        status_say("no transaction has the gid or the key '%s'", word);
        return STATUS_NO;
    }
    if (rc != 0)
        return status_failed(&err);
    (void)cdtx_report_next(*report);
    return STATUS_DONE;
}

static int32_t read_branches(struct listing *listing, const struct session *session, const char *gid, cdtx_error *err) {
    cdtx_report *report = NULL;
    int32_t rc = cdtx_tx_branches(session->engine, gid, &report, err);
    while (rc == 0 && cdtx_report_next(report))
        listing_add(listing, &branch_view, report);
    cdtx_report_close(report);
    return rc;
}

static void print_show(const struct options *options, const cdtx_report *report, struct listing *branches,
                       struct subject *subject) {
    if (options_have(options, OPT_JSON)) {
        struct json_object *document = json_new_object();
        json_put(document, "transaction", json_row(&show_view, report));
        json_put(document, "branches", listing_take(branches));
        subject_put(subject, document);
        json_print(document);
        return;
    }
    fields_print(stdout, &show_view, report);
    (void)printf("\nBranches%s\n", branches->count == 0 ? ": none" : "");
    table_print(branches->table, "  ");
    subject_print(subject);
}

enum status tx_show(const struct options *options, char **arguments) {
    struct session session;
    struct listing branches = {0};
    struct subject subject = {0};
    cdtx_report *report = NULL;
    char gid[CDTX_GID_MAX];
    cdtx_error err;
    enum status status = session_look(&session, options, 1);
    if (status == STATUS_DONE)
        status = find(&session, arguments[0], gid, &report);
    if (status != STATUS_DONE)
        goto out;
    listing_start(&branches, "branches", &branch_view, options);
    int32_t rc = read_branches(&branches, &session, gid, &err);
    if (rc == 0)
        rc = subject_read(&subject, session_find(&session, "log"), options, "tx", gid, &err);
    if (rc == 0)
        rc = subject_read_case(&subject, &session.databases[0], options, "tx", gid, &err);
    if (rc == 0)
        print_show(options, report, &branches, &subject);
    else
        status = status_failed(&err);
out:
    subject_free(&subject);
    listing_free(&branches);
    cdtx_report_close(report);
    session_close(&session);
    return status;
}

/* ---- actions ---- */

typedef int32_t (*action_fn)(cdtx *engine, const char *gid, const char *actor, const char *reason, cdtx_error *err);

/* Looks first: a wrong name or a no costs nothing then, and what is to be confirmed can be shown. */
static enum status look_first(const struct options *options, const char *word, const char *question,
                              char gid[CDTX_GID_MAX]) {
    struct session session;
    cdtx_report *report = NULL;
    enum status status = question != NULL ? act_can_confirm(options) : STATUS_DONE;
    if (status != STATUS_DONE)
        return status;
    status = session_look(&session, options, 1);
    if (status == STATUS_DONE)
        status = find(&session, word, gid, &report);
    if (status == STATUS_DONE && question != NULL) {
        if (!options_have(options, OPT_YES))
            fields_print(stderr, &show_view, report);
        status = act_confirm(options, question);
    }
    cdtx_report_close(report);
    session_close(&session);
    return status;
}

static enum status act(const struct options *options, const char *word, const char *question, action_fn action,
                       const char *what, const char *sentence) {
    struct session session = {0};
    char gid[CDTX_GID_MAX];
    cdtx_error err;
    enum status status = look_first(options, word, question, gid);
    if (status == STATUS_DONE)
        status = session_act(&session, options, "log");
    if (status == STATUS_DONE) {
        if (action(session.engine, gid, act_actor(options), options->values[OPT_REASON], &err) != 0)
            status = status_failed(&err);
        else
            act_done(options, what, gid, sentence);
    }
    session_close(&session);
    return status;
}

enum status tx_retry(const struct options *options, char **arguments) {
    return act(options, arguments[0], NULL, cdtx_tx_retry, "tx retry", "is due now");
}

enum status tx_park(const struct options *options, char **arguments) {
    return act(options, arguments[0], NULL, cdtx_tx_park, "tx park", "is parked, and has a case");
}

enum status tx_unpark(const struct options *options, char **arguments) {
    return act(options, arguments[0], NULL, cdtx_tx_unpark, "tx unpark", "is no longer parked and due now");
}

enum status tx_resolve(const struct options *options, char **arguments) {
    return act(options, arguments[0], "Nobody will be called for it any more. Is everything done that was left?",
               cdtx_tx_resolve, "tx resolve", "is ended");
}
