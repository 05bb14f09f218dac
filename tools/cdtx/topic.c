/* cdtx topic: where messages are put. */
#include <cdtx/msg.h>

#include "command.h"
#include "listing.h"

static const struct view_column columns[] = {
    {"topic", "TOPIC", LOOK_NAMED}, {"retention_ms", "KEEPS", LOOK_SPAN}, {"groups", "GROUPS", LOOK_PLAIN},
    {"kept", "KEPT", LOOK_PLAIN},   {"held", "HELD", LOOK_PLAIN},         {"halves", "HALVES", LOOK_PLAIN},
    {NULL, NULL, LOOK_PLAIN},
};
static const struct view view = {.columns = columns};

enum status topic_list(const struct options *options, char **arguments) {
    (void)arguments;
    return listing_command(options, "topics", &view, cdtx_topic_list);
}
