/* cdtx group: who gets a topic's messages, and how far behind each is. */
#include <cdtx/msg.h>
#include <stdio.h>

#include "act.h"
#include "command.h"
#include "listing.h"
#include "session.h"
#include "which.h"

static const struct view_column columns[] = {
    {"topic", "GROUP", LOOK_GROUP},      {"in_order", "IN ORDER", LOOK_YES}, {"paused_ms", "PAUSED", LOOK_AT},
    {"lag", "LAG", LOOK_PLAIN},          {"leased", "LEASED", LOOK_PLAIN},   {"dead", "DEAD", LOOK_PLAIN},
    {"oldest_ms", "OLDEST", LOOK_SINCE}, {NULL, NULL, LOOK_PLAIN},
};
static const struct view list_view = {.columns = columns};

enum status group_list(const struct options *options, char **arguments) {
    (void)arguments;
    return listing_command(options, "groups", &list_view, cdtx_group_list);
}

/* ---- remove ---- */

static const struct view_column fields[] = {
    {"topic", "group", LOOK_GROUP},      {"paused_ms", "paused", LOOK_AT},     {"lag", "not consumed", LOOK_PLAIN},
    {"leased", "under way", LOOK_PLAIN}, {"dead", "dead letters", LOOK_PLAIN}, {NULL, NULL, LOOK_PLAIN},
};

static enum status show(cdtx_db *db, const struct options *options, const void *user) {
    const struct which_group *group = user;
    const struct view view = {.columns = fields, .database = group->which.database};
    cdtx_report *report = NULL;
    cdtx_error err;
    int found = 0;
    (void)options;
    if (cdtx_group_list(db, &report, &err) != 0)
        return status_failed(&err);
    while (!found && cdtx_report_next(report)) {
        found = view_says(report, "topic", group->topic) && view_says(report, "group", group->group);
        if (found)
            fields_print(stderr, &view, report);
    }
    cdtx_report_close(report);
    if (!found)
        status_say("database '%s' has no group '%s' of a topic '%s'", group->which.database, group->group,
                   group->topic);
    return found ? STATUS_DONE : STATUS_NO;
}

enum status group_remove(const struct options *options, char **arguments) {
    struct session session = {0};
    struct which_group group;
    cdtx_error err;
    char subject[2 * CDTX_NAME_MAX + 2];
    enum status status = which_group(options, arguments[0], &group);
    if (status == STATUS_DONE)
        status = act_look_first(options, &group.which, show, &group,
                                "What it has not consumed is lost to it, dead letters included. Is that meant?");
    if (status != STATUS_DONE)
        return status;
    status = session_act(&session, options, group.which.database);
    if (status == STATUS_DONE &&
        cdtx_group_remove(session_find(&session, group.which.database), group.topic, group.group, act_actor(options),
                          options->values[OPT_REASON], &err) != 0)
        status = status_failed(&err);
    if (status == STATUS_DONE) {
        (void)snprintf(subject, sizeof subject, "%s/%s", group.which.database, group.which.thing);
        act_done(options, "group remove", subject, "is removed");
    }
    session_close(&session);
    return status;
}
