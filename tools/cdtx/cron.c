/* cdtx cron: schedules, and when a text would fire. */
#include <cdtx/retry.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "command.h"
#include "listing.h"
#include "session.h"

static const struct view_column columns[] = {
    {"name", "SCHEDULE", LOOK_NAMED}, {"when", "WHEN", LOOK_PLAIN},         {"zone", "ZONE", LOOK_PLAIN},
    {"handler", "PUTS", LOOK_PLAIN},  {"catch_up", "CATCH UP", LOOK_PLAIN}, {"next_ms", "NEXT", LOOK_AT},
    {NULL, NULL, LOOK_PLAIN},
};
static const struct view view = {.columns = columns};

enum status cron_list(const struct options *options, char **arguments) {
    (void)arguments;
    return listing_command(options, "schedules", &view, cdtx_cron_list);
}

/* ---- next ---- */

enum { TIMES_DEFAULT = 5, TIMES_MAX = 1000, TIME_SIZE = 48 };

static const struct view_column slot_columns[] = {
    {"utc", "SLOT", LOOK_PLAIN},
    {"local", "LOCAL TIME", LOOK_PLAIN},
    {"in", "DUE", LOOK_PLAIN},
    {NULL, NULL, LOOK_PLAIN},
};
static const struct view slot_view = {.columns = slot_columns};

static int64_t now_ms(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

enum { FOR_PEOPLE, FOR_PROGRAMS, IN_UTC };

static void write_time(int64_t slot_ms, int how, char text[TIME_SIZE]) {
    time_t seconds = (time_t)(slot_ms / 1000);
    struct tm date = {0};
    size_t written = 0;
    if ((how == IN_UTC ? gmtime_r(&seconds, &date) : localtime_r(&seconds, &date)) == NULL)
        written = 0;
    else if (how == IN_UTC)
        written = strftime(text, TIME_SIZE, "%Y-%m-%d %H:%M UTC", &date);
    else if (how == FOR_PEOPLE)
        written = strftime(text, TIME_SIZE, "%a %Y-%m-%d %H:%M %z", &date);
    else
        written = strftime(text, TIME_SIZE, "%Y-%m-%dT%H:%M:%S%z", &date);
    if (written == 0)
        (void)snprintf(text, TIME_SIZE, "-");
}

/* As the wall shows it there: this process's local time is the zone's from now on. */
static void enter_zone(const char *zone) {
    char name[CDTX_NAME_MAX + 2];
    (void)snprintf(name, sizeof name, ":%s", zone);
    if (setenv("TZ", name, 1) != 0)
        status_no_memory();
    tzset();
}

static void add_slot(struct listing *listing, int64_t slot_ms) {
    char utc[TIME_SIZE], local[TIME_SIZE], *in = NULL;
    size_t length = 0;
    if (listing->array != NULL) {
        struct json_object *slot = json_new_object();
        write_time(slot_ms, FOR_PROGRAMS, local);
        json_put_number(slot, "slot_ms", slot_ms);
        json_put_text(slot, "local", local);
        json_append(listing->array, slot);
        return;
    }
    FILE *out = open_memstream(&in, &length);
    if (out == NULL)
        status_no_memory();
    view_write_ago(out, slot_ms);
    if (fclose(out) != 0)
        status_no_memory();
    write_time(slot_ms, IN_UTC, utc);
    write_time(slot_ms, FOR_PEOPLE, local);
    table_add_texts(listing->table, (const char *[]){utc, local, in}, UINT32_MAX);
    free(in);
}

static enum status list_slots(struct listing *listing, cdtx *engine, const char *when, const char *zone) {
    cdtx_error err;
    int64_t slot_ms = now_ms();
    for (uint32_t i = 0; i < listing->limit; i++) {
        if (cdtx_cron_next(engine, when, zone, slot_ms, &slot_ms, &err) != 0)
            return status_failed(&err);
        if (i == 0)
            enter_zone(zone);
        add_slot(listing, slot_ms);
        listing->count++;
    }
    listing->more = 0;
    if (listing->array == NULL) {
        listing_print(listing);
        return STATUS_DONE;
    }
    struct json_object *document = json_new_object();
    json_put_text(document, "when", when);
    json_put_text(document, "zone", zone);
    json_put(document, "slots", listing_take(listing));
    json_print(document);
    return STATUS_DONE;
}

enum status cron_next(const struct options *options, char **arguments) {
    struct session session;
    struct listing listing;
    int64_t times = TIMES_DEFAULT;
    const char *zone = options_have(options, OPT_ZONE) ? options->values[OPT_ZONE] : "UTC";
    if (options_have(options, OPT_TIMES)) {
        if (options_number(options->values[OPT_TIMES], "--count", &times) != STATUS_DONE)
            return STATUS_USAGE;
        if (times > TIMES_MAX)
            return status_usage("--count %s is too large: at most %d", options->values[OPT_TIMES], TIMES_MAX);
    }
    listing_start(&listing, "slots", &slot_view, options);
    listing.limit = (uint32_t)times;
    enum status status = session_none(&session);
    if (status == STATUS_DONE)
        status = list_slots(&listing, session.engine, arguments[0], zone);
    listing_free(&listing);
    session_close(&session);
    return status;
}
