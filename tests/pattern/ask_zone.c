/* Time zones and cron expressions for test_zones.py. A question a line, an answer a line; "zone" and "cron" say what
 * the later ones are about. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "pattern/retry_cron.h"

static struct zone *zone;
static struct cron cron;

static void answer(const char *question, const char *argument) {
    cdtx_error err = {0};
    int32_t rc = 0;
    int64_t number = strtoll(argument, NULL, 10), at[2] = {0}, slot = 0;
    if (strcmp(question, "zone") == 0) {
        cdtx__zone_free(cdtx__env_posix(), zone);
        zone = NULL;
        rc = cdtx__zone_load(cdtx__env_posix(), argument, &zone, &err);
        puts(rc == 0 ? "ok" : err.text);
    } else if (strcmp(question, "span") == 0) {
        struct zone_span span = cdtx__zone_span(zone, number);
        printf("%" PRId64 " %" PRId64 " %" PRId32 "\n", span.from, span.until, span.offset);
    } else if (strcmp(question, "instants") == 0) {
        int count = cdtx__zone_instants(zone, number, at);
        printf("%d %" PRId64 " %" PRId64 "\n", count, at[0], at[1]);
    } else if (strcmp(question, "cron") == 0) {
        rc = cdtx__cron_parse(argument, &cron, &err);
        puts(rc == 0 ? "ok" : err.text);
    } else if (strcmp(question, "next") == 0) {
        rc = cdtx__cron_next(&cron, zone, number, &slot, &err);
        rc == 0 ? printf("%" PRId64 "\n", slot) : puts(err.text);
    }
}

int main(void) {
    char line[256];
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *argument = strchr(line, ' ');
        if (argument == NULL)
            return EXIT_FAILURE;
        *argument++ = '\0';
        answer(line, argument);
    }
    cdtx__zone_free(cdtx__env_posix(), zone);
    return EXIT_SUCCESS;
}
