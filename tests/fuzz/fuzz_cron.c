/* Cron expressions: what is taken has slots that strictly increase, each of them a minute that the expression means, or
 * the end of a gap; what was asked for from anywhere between two slots is the later one. The text ends at a NUL; what
 * follows says from when and in which zone. */
#include <string.h>

#include "fuzz.h"
#include "pattern/retry_calendar.h"
#include "pattern/retry_cron.h"
#include "pattern/tzif.h"

enum { ZONES = 5, SLOTS = 6 };

static const struct tzif zones[ZONES] = {
    {.footer = "CET-1CEST,M3.5.0,M10.5.0/3"},
    {.footer = "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0"},
    {.footer = "IST-1GMT0,M10.5.0,M3.5.0/1"},
    {.footer = "ABC24DEF-24,J1/0,J2/0"}, /* two days forward each year, and back */
    /* Put back by a day, put forward by it soon after; odd seconds. */
    {.before = 3599, .count = 3, .changes = {{1000000007, -82801}, {1000003001, 3599}, {1500000000, -1}}},
};

static struct zone *zone_of(size_t number) {
    struct tzif_bytes file;
    struct zone *zone = NULL;
    tzif_write(&file, &zones[number % ZONES]);
    MUST(cdtx__zone_parse(fuzz_env(), file.bytes, file.length, &zone, NULL) == 0);
    return zone;
}

static int means(const struct cron *cron, int64_t local) {
    int64_t minute = local / 60, days = minute / 1440;
    struct date date = cdtx__date(days);
    int day = (cron->days >> date.day & 1) != 0, weekday = (cron->weekdays >> (days + 4) % 7 & 1) != 0;
    return local % 60 == 0 && (cron->minutes >> minute % 60 & 1) != 0 && (cron->hours >> minute / 60 % 24 & 1) != 0 &&
           (cron->months >> date.month & 1) != 0 && (cron->either_day ? day || weekday : day && weekday);
}

static void check_slot(const struct cron *cron, const struct zone *zone, int64_t slot_ms) {
    int64_t slot = slot_ms / 1000;
    struct zone_span span = cdtx__zone_span(zone, slot);
    MUST(slot_ms % 1000 == 0);
    int64_t shown = cdtx__zone_shown_before(zone, slot), at = slot + span.offset;
    if (cron->real_time || at == shown + 1)
        MUST(means(cron, at));
    if (cron->real_time)
        return;
    /* A fixed one passes a minute that it means and that was never shown, here or within the jump to here. */
    int found = 0;
    for (int64_t skipped = shown + 1; !found && skipped <= at; skipped++)
        found = means(cron, skipped);
    MUST(found);
}

static void check_slots(const struct cron *cron, const struct zone *zone, int64_t after) {
    for (int i = 0; i < SLOTS; i++) {
        int64_t slot = -77, again = -77;
        cdtx_error err = {0};
        int32_t rc = cdtx__cron_next(cron, zone, after, &slot, &err);
        if (rc != 0) {
            MUST(rc == CDTX_NOT_FOUND && cron->real_time && slot == -77);
            return;
        }
        MUST(slot > after);
        check_slot(cron, zone, slot);
        MUST(cdtx__cron_next(cron, zone, after + (slot - after) / 2, &again, &err) == 0 && again == slot);
        MUST(cdtx__cron_next(cron, zone, slot - 1, &again, &err) == 0 && again == slot);
        after = slot;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    if (length > FUZZ_LENGTH_MAX || length == 0)
        return 0;
    const char *text = fuzz_edge_text(bytes, length);
    size_t used = strlen(text);
    struct cron cron, untouched;
    cdtx_error err = {0};
    memset(&cron, 0x5a, sizeof cron);
    untouched = cron;
    int32_t rc = cdtx__cron_parse(text, &cron, &err);
    fuzz_count(rc, CDTX_INVALID, &err);
    if (rc != 0) {
        MUST(memcmp(&cron, &untouched, sizeof cron) == 0);
        return 0;
    }
    /* Seconds of 136 years, far enough behind 1970 that no zone shows 1969; and a zone. */
    uint8_t rest[5] = {0x3b, 0x9a, 0xca, 0, 0};
    size_t left = length - used;
    if (left > 1)
        memcpy(rest, bytes + used + 1, left - 1 < sizeof rest ? left - 1 : sizeof rest);
    int64_t after = (int64_t)((uint32_t)rest[0] << 24 | (uint32_t)rest[1] << 16 | (uint32_t)rest[2] << 8 | rest[3]);
    struct zone *zone = zone_of(rest[4]);
    check_slots(&cron, zone, (after + 2 * DAY_S) * 1000 + rest[3]);
    cdtx__zone_free(fuzz_env(), zone);
    fuzz_check_heap();
    return 0;
}
