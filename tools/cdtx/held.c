/* cdtx held: messages that branches hold, and settling by hand those that nobody will call for any more. What a gid's
 * branches hold may be in several databases, which are settled one after the other. */
#include <cdtx/msg.h>
#include <inttypes.h>
#include <stdio.h>

#include "act.h"
#include "command.h"
#include "listing.h"
#include "session.h"

/* ---- list ---- */

static const struct view_column list_columns[] = {
    {"id", "MESSAGE", LOOK_PLAIN}, {"topic", "TOPIC", LOOK_PLAIN},   {"key", "KEY", LOOK_PLAIN},
    {"gid", "GID", LOOK_PLAIN},    {"branch", "BRANCH", LOOK_PLAIN}, {"payload", "BYTES", LOOK_PLAIN},
    {NULL, NULL, LOOK_PLAIN},
};
static const struct view list_view = {.columns = list_columns};

static int32_t ask_list(const struct pager *pager, uint32_t limit, cdtx_report **report, cdtx_error *err) {
    return cdtx_held_list(pager->db, pager_after_gid(pager), limit, report, err);
}

enum status held_list(const struct options *options, char **arguments) {
    struct pager pager = {.ask = ask_list, .options = options};
    (void)arguments;
    return listing_pages(options, "messages", &list_view, &pager);
}

/* ---- what is held of a gid ---- */

struct held {
    const char *gid;
    int32_t state; /* as the log has it; 0: not known here */
    const char *databases[DATABASES_MAX + 1];
    int64_t messages[DATABASES_MAX + 1];
    uint32_t count;
};

struct count {
    const char *gid;
    int64_t messages;
};

static int count_one(void *user, const cdtx_report *report) {
    struct count *count = user;
    count->messages += view_says(report, "gid", count->gid);
    return 0;
}

/* A gid of another log, or of a transaction that the log has forgotten, is not known. */
static int32_t ask_state(const struct session *session, struct held *held, cdtx_error *err) {
    if (session_find(session, "log") == NULL)
        return 0;
    int32_t rc = cdtx_tx_query(session->engine, held->gid, &held->state, err);
    if (rc == 0 || (rc != CDTX_INVALID && rc != CDTX_NOT_FOUND && rc != CDTX_EXPIRED))
        return rc;
    held->state = 0;
    return 0;
}

static enum status find(const struct session *session, const struct options *options, const char *gid,
                        struct held *held) {
    cdtx_error err;
    *held = (struct held){.gid = gid};
    for (uint32_t i = 0; i < session->count; i++) {
        struct pager pager = {.ask = ask_list, .db = session->databases[i].db, .options = options};
        struct count count = {.gid = gid};
        if (pager_walk(&pager, count_one, &count, NULL, &err) != 0)
            return status_failed(&err);
        if (count.messages == 0)
            continue;
        held->databases[held->count] = session->databases[i].name;
        held->messages[held->count++] = count.messages;
    }
    if (held->count == 0) {
        status_say("none of the databases given holds messages of '%s'", gid);
        return STATUS_NO;
    }
    return ask_state(session, held, &err) == 0 ? STATUS_DONE : status_failed(&err);
}

/* ---- settling ---- */

struct settlement {
    int32_t outcome;
    const char *what, *question, *sentence;
};

static void print_fields(const struct held *held) {
    static const struct view_column columns[] = {{"state", "state", LOOK_TX_STATE}, {NULL, NULL, LOOK_PLAIN}};
    static const struct view view = {.columns = columns};
    char text[CDTX_NAME_MAX + 64];
    fields_print_text(stderr, &view, "gid", held->gid);
    if (held->state != 0)
        fields_print_text(stderr, &view, "state", view_state(LOOK_TX_STATE, held->state));
    for (uint32_t i = 0; i < held->count; i++) {
        (void)snprintf(text, sizeof text, "%" PRId64 " messages in '%s'", held->messages[i], held->databases[i]);
        fields_print_text(stderr, &view, "held", text);
    }
}

/* Nothing checks what no log here knows, so whoever asks for it must say that there is none to ask. */
static enum status check_known(const struct options *options, const struct held *held) {
    if (held->state != 0)
        return STATUS_DONE;
    if (!options_have(options, OPT_WITHOUT_LOG))
        return status_usage("no log here knows how %s has ended: give it by --log, or say --without-log if it is lost"
                            " or has forgotten it",
                            held->gid);
    status_say("no log here knows how %s has ended: nothing checks it", held->gid);
    return STATUS_DONE;
}

/* Looks first: it says which databases there are to open, and shows what is to be confirmed. */
static enum status look_first(const struct options *options, const char *gid, const char *question, struct held *held) {
    struct session session;
    enum status status = act_can_confirm(options);
    if (status != STATUS_DONE)
        return status;
    status = session_look(&session, options, 0);
    if (status == STATUS_DONE)
        status = find(&session, options, gid, held);
    if (status == STATUS_DONE && !options_have(options, OPT_YES))
        print_fields(held);
    if (status == STATUS_DONE)
        status = check_known(options, held);
    if (status == STATUS_DONE)
        status = act_confirm(options, question);
    session_close(&session);
    return status;
}

/* One document for all that was done, also when more was to be. */
static void tell_json(const struct settlement *settlement, const struct held *held, uint32_t settled) {
    struct json_object *document = json_new_object(), *databases = json_new_array();
    int64_t count = 0;
    for (uint32_t i = 0; i < settled; i++) {
        struct json_object *database = json_new_object();
        json_put_text(database, "database", held->databases[i]);
        json_put_number(database, "count", held->messages[i]);
        json_append(databases, database);
        count += held->messages[i];
    }
    json_put_text(document, "done", settlement->what);
    json_put_text(document, "subject", held->gid);
    json_put_number(document, "count", count);
    json_put(document, "databases", databases);
    json_print(document);
}

/* In all that hold some of it, up to the first that fails; *settled gets how many it was done in. */
static enum status settle_each(const struct session *session, const struct options *options,
                               const struct settlement *settlement, struct held *held, uint32_t *settled) {
    cdtx_error err;
    for (uint32_t i = 0; i < held->count; i++) {
        if (cdtx_held_settle(session_find(session, held->databases[i]), held->gid, settlement->outcome,
                             act_actor(options), options->values[OPT_REASON], &held->messages[i], &err) != 0)
            return status_failed(&err);
        *settled = i + 1;
        if (!options_have(options, OPT_JSON))
            (void)printf("%s: %" PRId64 " messages in '%s' %s\n", held->gid, held->messages[i], held->databases[i],
                         settlement->sentence);
    }
    return STATUS_DONE;
}

static enum status settle(const struct options *options, const char *gid, const struct settlement *settlement) {
    struct session session = {0};
    struct held held;
    uint32_t settled = 0;
    enum status status = look_first(options, gid, settlement->question, &held);
    if (status != STATUS_DONE)
        return status;
    status = session_act_on(&session, options, held.databases, held.count);
    if (status == STATUS_DONE)
        status = settle_each(&session, options, settlement, &held, &settled);
    session_close(&session);
    if (settled > 0 && options_have(options, OPT_JSON))
        tell_json(settlement, &held, settled);
    if (status == STATUS_DONE || settled == 0)
        return status;
    status_say("it was done in %u of %u databases, and stopped at '%s'; the same command does what is left", settled,
               held.count, held.databases[settled]);
    return STATUS_UNKNOWN;
}

enum status held_commit(const struct options *options, char **arguments) {
    const struct settlement settlement = {CDTX_TX_COMMITTED, "held commit",
                                          "What is held goes to every group. Has it ended committed?", "are visible"};
    return settle(options, arguments[0], &settlement);
}

enum status held_rollback(const struct options *options, char **arguments) {
    const struct settlement settlement = {CDTX_TX_ROLLED_BACK, "held rollback",
                                          "What is held is gone for good. Has it ended rolled back or reversed?",
                                          "are dropped"};
    return settle(options, arguments[0], &settlement);
}
