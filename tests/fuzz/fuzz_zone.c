/* Time zones: a file that is taken has one offset at each moment, in spans without holes, and answers for local times
 * what its spans say. An input that does not begin as a file does is the rule in the footer of one. */
#include <string.h>

#include "fuzz.h"
#include "pattern/retry_zone.h"
#include "pattern/tzif.h"

/* Around the moments that a file may have rules for, and far from them. */
static const int64_t moments[] = {-ZONE_TIME_MAX_S + 1000000, -4000000000,     -1,         0, 951782400, 1774746000,
                                  INT64_C(4102444800),        INT64_C(1) << 40, ZONE_TIME_MAX_S - 1000000};

static void check_instants(const struct zone *zone, int64_t local) {
    int64_t at[2] = {0};
    int count = cdtx__zone_instants(zone, local, at);
    MUST(count >= 0 && count <= 2 && at[0] <= at[1] && (at[0] < at[1]) == (count == 2));
    struct zone_span span = cdtx__zone_span(zone, at[0]);
    if (count > 0) {
        MUST(at[0] + span.offset == local);
        MUST(at[1] + cdtx__zone_span(zone, at[1]).offset == local);
        MUST(cdtx__zone_shown_before(zone, at[0]) != local);
        return;
    }
    MUST(at[0] == span.from && at[0] + span.offset > local);
    MUST(at[0] - 1 + cdtx__zone_span(zone, at[0] - 1).offset < local);
}

static void check_moment(const struct zone *zone, int64_t utc) {
    struct zone_span span = cdtx__zone_span(zone, utc);
    MUST(span.from <= utc && utc < span.until);
    MUST(span.offset >= ZONE_OFFSET_MIN_S && span.offset <= ZONE_OFFSET_MAX_S);
    check_instants(zone, utc + span.offset);
    int64_t at[2] = {0};
    cdtx__zone_instants(zone, utc + span.offset, at);
    MUST(at[0] <= utc && utc <= at[1]);
    MUST(cdtx__zone_shown_before(zone, utc) >= utc - 1 + cdtx__zone_span(zone, utc - 1).offset);
}

/* From span to span; their ends are where something can go wrong. */
static void walk(const struct zone *zone, int64_t from) {
    for (int i = 0; i < 6; i++) {
        struct zone_span span = cdtx__zone_span(zone, from), last;
        check_moment(zone, from);
        if (span.until > ZONE_TIME_MAX_S - 1000000)
            return;
        last = cdtx__zone_span(zone, span.until - 1);
        MUST(last.offset == span.offset && last.from == span.from && last.until == span.until);
        check_moment(zone, span.until - 1);
        check_instants(zone, span.until + span.offset);
        check_instants(zone, span.until + cdtx__zone_span(zone, span.until).offset - 1);
        from = span.until;
    }
}

static void check_file(const uint8_t *bytes, size_t length) {
    cdtx_error err = {0};
    struct zone *zone = NULL;
    int32_t rc = cdtx__zone_parse(fuzz_env(), fuzz_edge(bytes, length), length, &zone, &err);
    fuzz_count(rc, rc == CDTX_UNSUPPORTED ? rc : CDTX_CORRUPT, &err);
    MUST((rc == 0) == (zone != NULL));
    if (rc != 0)
        (void)fuzz_place(&err, length, 0);
    for (size_t i = 0; rc == 0 && i < sizeof moments / sizeof moments[0]; i++)
        walk(zone, moments[i]);
    cdtx__zone_free(fuzz_env(), zone);
    fuzz_check_heap();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    if (length > FUZZ_LENGTH_MAX)
        return 0;
    if (length >= 4 && memcmp(bytes, "TZif", 4) == 0) {
        check_file(bytes, length);
        return 0;
    }
    char rule[TZIF_ROOM / 2] = "";
    struct tzif_bytes file;
    memcpy(rule, bytes, length < sizeof rule ? length : sizeof rule - 1);
    tzif_write(&file, &(struct tzif){.footer = rule});
    check_file(file.bytes, file.length);
    return 0;
}
