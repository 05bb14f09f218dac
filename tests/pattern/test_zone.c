/* Time zones: real ones at the moments where they do something odd, rules by hand, and every file that is none. */
#include "pattern/retry_zone.h"

#include "../base/tests.h"
#include "tzif.h"

#include <cdtx/test.h>

#include <stdio.h>
#include <time.h>

static cdtx_test_env *env;
static const cdtx_env *port;
static cdtx_error err;

static void open_env(void) {
    ck_assert_int_eq(cdtx_test_env_new(&env, NULL), 0);
    port = cdtx_test_env_port(env);
    memset(&err, 0, sizeof err);
}

static void close_env(void) {
    ck_assert_uint_eq(cdtx_test_env_bytes(env), 0);
    cdtx_test_env_free(env);
}

static struct zone *real_zone(const char *name) {
    struct zone *zone = NULL;
    ck_assert_msg(cdtx__zone_load(cdtx__env_posix(), name, &zone, &err) == 0, "%s: %s", name, err.text);
    return zone;
}

static struct zone *made_zone(const struct tzif *tzif) {
    struct tzif_bytes file;
    struct zone *zone = NULL;
    tzif_write(&file, tzif);
    ck_assert_msg(cdtx__zone_parse(port, file.bytes, file.length, &zone, &err) == 0, "%s: %s", tzif->footer, err.text);
    return zone;
}

static int64_t seconds(const char *text) {
    struct tm tm = {0};
    ck_assert_msg(strptime(text, "%Y-%m-%d %H:%M:%S", &tm) == text + strlen(text), "%s", text);
    return timegm(&tm);
}

static void write_seconds(int64_t s, char text[32]) {
    time_t at = s;
    struct tm tm;
    ck_assert_ptr_nonnull(gmtime_r(&at, &tm));
    ck_assert_uint_gt(strftime(text, 32, "%Y-%m-%d %H:%M:%S", &tm), 0);
}

/* ---- real zones ---- */

START_TEST(offsets_of_real_zones) {
    static const struct {
        const char *zone, *utc;
        int32_t offset;
    } rows[] = {
        {"UTC", "2026-07-01 00:00:00", 0},
        {"Europe/Berlin", "1970-01-01 00:00:00", 3600},
        {"Europe/Berlin", "2026-03-29 00:59:59", 3600},
        {"Europe/Berlin", "2026-03-29 01:00:00", 7200},
        {"Europe/Berlin", "2026-10-25 00:59:59", 7200},
        {"Europe/Berlin", "2026-10-25 01:00:00", 3600},
        {"Europe/Berlin", "2090-07-01 00:00:00", 7200}, /* by its rule */
        {"Europe/Berlin", "2090-12-31 23:59:59", 3600},
        {"Europe/Berlin", "1945-06-01 00:00:00", 10800},
        {"America/New_York", "2026-03-08 06:59:59", -18000},
        {"America/New_York", "2026-03-08 07:00:00", -14400},
        {"America/New_York", "2026-11-01 06:00:00", -18000},
        {"Australia/Lord_Howe", "2026-04-04 14:59:59", 39600},
        {"Australia/Lord_Howe", "2026-04-04 15:00:00", 37800},
        {"Australia/Lord_Howe", "2100-01-01 00:00:00", 39600}, /* summer there at the turn of the year */
        {"Asia/Kathmandu", "1985-12-31 18:29:59", 19800},
        {"Asia/Kathmandu", "1985-12-31 18:30:00", 20700},
        {"Africa/Casablanca", "2026-01-01 00:00:00", 3600},
        {"Africa/Casablanca", "2026-03-01 00:00:00", 0},
        {"Europe/Dublin", "2090-07-01 00:00:00", 3600}, /* standard time; saving time is behind it */
        {"Europe/Dublin", "2090-01-01 00:00:00", 0},
        {"Pacific/Apia", "2011-12-30 09:59:59", -36000},
        {"Pacific/Apia", "2011-12-30 10:00:00", 50400},
        {"America/Sao_Paulo", "2018-11-04 02:59:59", -10800},
        {"America/Sao_Paulo", "2018-11-04 03:00:00", -7200},
        {"America/Sao_Paulo", "2080-12-01 00:00:00", -10800},
        {"Africa/Monrovia", "1972-01-07 00:44:29", -2670},
        {"Africa/Monrovia", "1972-01-07 00:44:30", 0},
        {"Asia/Jerusalem", "2050-03-24 23:59:59", 7200}, /* rule M3.4.4/26 */
        {"Asia/Jerusalem", "2050-03-25 00:00:00", 10800},
        {"America/Nuuk", "2050-03-27 00:59:59", -7200}, /* rule M3.5.0/-1 */
        {"America/Nuuk", "2050-03-27 01:00:00", -3600},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct zone *zone = real_zone(rows[i].zone);
        int64_t utc = seconds(rows[i].utc);
        struct zone_span span = cdtx__zone_span(zone, utc);
        ck_assert_msg(span.offset == rows[i].offset, "%s %s: %d", rows[i].zone, rows[i].utc, span.offset);
        ck_assert(span.from <= utc && utc < span.until);
        cdtx__zone_free(cdtx__env_posix(), zone);
    }
}
END_TEST

START_TEST(spans_of_real_zones) {
    static const struct {
        const char *zone, *utc, *from, *until;
    } rows[] = {
        {"Europe/Berlin", "2026-07-01 00:00:00", "2026-03-29 01:00:00", "2026-10-25 01:00:00"},
        {"Europe/Berlin", "2066-01-01 00:00:00", "2065-10-25 01:00:00", "2066-03-28 01:00:00"},
        {"Australia/Lord_Howe", "2099-12-31 23:59:59", "2099-10-03 15:30:00", "2100-04-03 15:00:00"},
        {"Pacific/Apia", "2011-12-30 10:00:00", "2011-12-30 10:00:00", "2012-03-31 14:00:00"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char from[32], until[32];
        struct zone *zone = real_zone(rows[i].zone);
        struct zone_span span = cdtx__zone_span(zone, seconds(rows[i].utc));
        write_seconds(span.from, from);
        write_seconds(span.until, until);
        ck_assert_str_eq(from, rows[i].from);
        ck_assert_str_eq(until, rows[i].until);
        cdtx__zone_free(cdtx__env_posix(), zone);
    }
    struct zone *utc = real_zone("UTC");
    struct zone_span span = cdtx__zone_span(utc, 0);
    ck_assert(span.from == INT64_MIN && span.until == INT64_MAX && span.offset == 0);
    cdtx__zone_free(cdtx__env_posix(), utc);
}
END_TEST

START_TEST(instants_of_real_zones) {
    static const struct {
        const char *zone, *local;
        int count;
        const char *first, *last;
    } rows[] = {
        {"UTC", "2026-03-29 02:30:00", 1, "2026-03-29 02:30:00", "2026-03-29 02:30:00"},
        {"Europe/Berlin", "2026-03-29 01:59:59", 1, "2026-03-29 00:59:59", "2026-03-29 00:59:59"},
        {"Europe/Berlin", "2026-03-29 02:00:00", 0, "2026-03-29 01:00:00", "2026-03-29 01:00:00"},
        {"Europe/Berlin", "2026-03-29 02:59:59", 0, "2026-03-29 01:00:00", "2026-03-29 01:00:00"},
        {"Europe/Berlin", "2026-03-29 03:00:00", 1, "2026-03-29 01:00:00", "2026-03-29 01:00:00"},
        {"Europe/Berlin", "2026-10-25 01:59:59", 1, "2026-10-24 23:59:59", "2026-10-24 23:59:59"},
        {"Europe/Berlin", "2026-10-25 02:00:00", 2, "2026-10-25 00:00:00", "2026-10-25 01:00:00"},
        {"Europe/Berlin", "2026-10-25 02:59:59", 2, "2026-10-25 00:59:59", "2026-10-25 01:59:59"},
        {"Europe/Berlin", "2026-10-25 03:00:00", 1, "2026-10-25 02:00:00", "2026-10-25 02:00:00"},
        {"Europe/Berlin", "2088-03-28 02:30:00", 0, "2088-03-28 01:00:00", "2088-03-28 01:00:00"},
        {"America/New_York", "2026-03-08 02:30:00", 0, "2026-03-08 07:00:00", "2026-03-08 07:00:00"},
        {"America/New_York", "2026-11-01 01:30:00", 2, "2026-11-01 05:30:00", "2026-11-01 06:30:00"},
        {"Australia/Lord_Howe", "2026-10-04 02:15:00", 0, "2026-10-03 15:30:00", "2026-10-03 15:30:00"},
        {"Australia/Lord_Howe", "2026-10-04 02:30:00", 1, "2026-10-03 15:30:00", "2026-10-03 15:30:00"},
        {"Australia/Lord_Howe", "2026-04-05 01:45:00", 2, "2026-04-04 14:45:00", "2026-04-04 15:15:00"},
        {"Asia/Kathmandu", "1986-01-01 00:10:00", 0, "1985-12-31 18:30:00", "1985-12-31 18:30:00"},
        {"Africa/Casablanca", "2026-02-15 02:30:00", 2, "2026-02-15 01:30:00", "2026-02-15 02:30:00"},
        {"Africa/Casablanca", "2026-03-22 02:30:00", 0, "2026-03-22 02:00:00", "2026-03-22 02:00:00"},
        {"Pacific/Apia", "2011-12-29 23:59:59", 1, "2011-12-30 09:59:59", "2011-12-30 09:59:59"},
        {"Pacific/Apia", "2011-12-30 00:00:00", 0, "2011-12-30 10:00:00", "2011-12-30 10:00:00"},
        {"Pacific/Apia", "2011-12-30 23:59:59", 0, "2011-12-30 10:00:00", "2011-12-30 10:00:00"},
        {"Pacific/Apia", "2011-12-31 00:00:00", 1, "2011-12-30 10:00:00", "2011-12-30 10:00:00"},
        {"America/Sao_Paulo", "2018-11-04 00:30:00", 0, "2018-11-04 03:00:00", "2018-11-04 03:00:00"},
        {"America/Sao_Paulo", "2018-02-17 23:30:00", 2, "2018-02-18 01:30:00", "2018-02-18 02:30:00"},
        {"Pacific/Kwajalein", "1993-08-21 12:00:00", 0, "1993-08-21 12:00:00", "1993-08-21 12:00:00"},
        {"Asia/Manila", "1844-12-31 12:00:00", 0, "1844-12-31 15:56:08", "1844-12-31 15:56:08"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char first[32], last[32];
        int64_t at[2] = {0};
        struct zone *zone = real_zone(rows[i].zone);
        int count = cdtx__zone_instants(zone, seconds(rows[i].local), at);
        write_seconds(at[0], first);
        write_seconds(at[1], last);
        ck_assert_msg(count == rows[i].count && strcmp(first, rows[i].first) == 0 && strcmp(last, rows[i].last) == 0,
                      "%s %s: %d, %s, %s", rows[i].zone, rows[i].local, count, first, last);
        cdtx__zone_free(cdtx__env_posix(), zone);
    }
}
END_TEST

START_TEST(what_was_shown_before) {
    static const struct {
        const char *zone, *utc, *shown;
    } rows[] = {
        {"Europe/Berlin", "2026-07-01 00:00:00", "2026-07-01 01:59:59"},
        {"Europe/Berlin", "2026-03-29 01:00:00", "2026-03-29 01:59:59"},
        {"Europe/Berlin", "2026-10-25 01:00:00", "2026-10-25 02:59:59"},
        {"Europe/Berlin", "2026-10-25 01:59:59", "2026-10-25 02:59:59"},
        {"Europe/Berlin", "2026-10-25 02:00:01", "2026-10-25 03:00:00"},
        {"America/Juneau", "1867-10-19 12:00:00", "1867-10-19 15:33:31"}, /* put back by a day when it was sold */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char shown[32];
        struct zone *zone = real_zone(rows[i].zone);
        write_seconds(cdtx__zone_shown_before(zone, seconds(rows[i].utc)), shown);
        ck_assert_msg(strcmp(shown, rows[i].shown) == 0, "%s %s: %s", rows[i].zone, rows[i].utc, shown);
        cdtx__zone_free(cdtx__env_posix(), zone);
    }
}
END_TEST

/* ---- rules by hand ---- */

START_TEST(rules) {
    static const struct {
        const char *rule, *utc;
        int32_t offset;
    } rows[] = {
        {"", "2026-01-01 00:00:00", 0}, /* no rule: type 0 */
        {"CET-1", "2026-01-01 00:00:00", 3600},
        {"<+0545>-5:45", "2026-01-01 00:00:00", 20700},
        {"<-00>0", "2026-01-01 00:00:00", 0},
        {"ABC+24:59:59", "2026-01-01 00:00:00", -89999},
        {"ABC-24:59:59", "2026-01-01 00:00:00", 89999},
        {"ABC-24:59:59DEF,0,1", "2025-12-31 12:00:00", 93599},
        {"ABC0DEF,M3.5.0,M10.5.0", "2026-03-29 01:59:59", 0},
        {"ABC0DEF,M3.5.0,M10.5.0", "2026-03-29 02:00:00", 3600},
        {"ABC0DEF,M3.5.0,M10.5.0", "2026-10-25 00:59:59", 3600},
        {"ABC0DEF,M3.5.0,M10.5.0", "2026-10-25 01:00:00", 0},
        {"ABC0DEF,M3.1.0,M10.1.0/3:30:15", "2026-10-04 02:30:14", 3600},
        {"ABC0DEF,M3.1.0,M10.1.0/3:30:15", "2026-10-04 02:30:15", 0},
        {"<A1+>5<B2->4:30,M3.2.6/0,M11.1.3/24", "2026-07-01 00:00:00", -16200},
        {"ABC0DEF,M2.5.0/0,M12.1.0/0", "2026-02-22 00:00:00", 3600}, /* the last one may be the fourth */
        {"ABC0DEF,M2.5.4/0,M12.1.0/0", "2024-02-28 23:59:59", 0},
        {"ABC0DEF,M2.5.4/0,M12.1.0/0", "2024-02-29 00:00:00", 3600},
        /* Jn never counts 29 February, n does. */
        {"ABC0DEF,J59/0,J365/0", "2024-02-28 00:00:00", 3600},
        {"ABC0DEF,J60/0,J365/0", "2024-02-29 23:59:59", 0},
        {"ABC0DEF,J60/0,J365/0", "2024-03-01 00:00:00", 3600},
        {"ABC0DEF,J60/0,J365/0", "2023-03-01 00:00:00", 3600},
        {"ABC0DEF,59/0,364/0", "2024-02-28 23:59:59", 0},
        {"ABC0DEF,59/0,364/0", "2024-02-29 00:00:00", 3600},
        {"ABC0DEF,59/0,364/0", "2023-03-01 00:00:00", 3600},
        /* Hours beyond the day, and beyond the year. */
        {"ABC0DEF,M3.4.4/50,M10.4.4/50", "2026-03-28 01:59:59", 0},
        {"ABC0DEF,M3.4.4/50,M10.4.4/50", "2026-03-28 02:00:00", 3600},
        {"ABC0DEF,J1/-167,J2/-167", "2025-12-25 00:59:59", 0},
        {"ABC0DEF,J1/-167,J2/-167", "2025-12-25 01:00:00", 3600},
        {"ABC0DEF,J1/-167,J2/-167", "2025-12-25 23:59:59", 3600},
        {"ABC0DEF,J1/-167,J2/-167", "2025-12-26 00:00:00", 0},
        {"ABC0DEF,J1/-167,J2/-167", "2025-12-31 00:00:00", 0},
        {"ABC0DEF,J364/167,J365/167", "2026-01-05 22:59:59", 0},
        {"ABC0DEF,J364/167,J365/167", "2026-01-05 23:00:00", 3600},
        {"ABC0DEF,J364/167,J365/167", "2026-01-06 22:00:00", 0},
        /* South, and saving time behind standard time. */
        {"ABC0DEF,M10.1.0,M4.1.0", "2026-01-01 00:00:00", 3600},
        {"ABC0DEF,M10.1.0,M4.1.0", "2026-07-01 00:00:00", 0},
        {"IST-1GMT0,M10.5.0,M3.5.0/1", "2026-01-01 00:00:00", 0},
        {"IST-1GMT0,M10.5.0,M3.5.0/1", "2026-07-01 00:00:00", 3600},
        /* All year: RFC 9636, section 3.3.2; and when it starts as it ends. */
        {"XXX3EDT4,0/0,J365/23", "2026-01-01 03:00:00", -14400},
        {"XXX3EDT4,0/0,J365/23", "2024-12-31 23:59:59", -14400},
        {"XXX3EDT4,0/0,J365/23", "2026-07-01 00:00:00", -14400},
        {"ABC0DEF,J100/0,J100/1", "2026-01-01 00:00:00", 3600},
    };
    open_env();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct zone *zone = made_zone(&(struct tzif){.footer = rows[i].rule});
        int64_t utc = seconds(rows[i].utc);
        struct zone_span span = cdtx__zone_span(zone, utc);
        ck_assert_msg(span.offset == rows[i].offset, "%s %s: %d", rows[i].rule, rows[i].utc, span.offset);
        ck_assert(span.from <= utc && utc < span.until);
        cdtx__zone_free(port, zone);
    }
    close_env();
}
END_TEST

START_TEST(a_rule_begins_behind_the_last_transition) {
    open_env();
    struct tzif tzif = {.before = 60, .count = 2, .footer = "ABC0DEF,M3.5.0,M10.5.0"};
    tzif.changes[0].at = seconds("2020-01-01 00:00:00");
    tzif.changes[0].offset = 7200;
    tzif.changes[1].at = seconds("2026-01-01 00:00:00");
    struct zone *zone = made_zone(&tzif);
    struct zone_span span = cdtx__zone_span(zone, tzif.changes[0].at - 1);
    ck_assert(span.from == INT64_MIN && span.until == tzif.changes[0].at && span.offset == 60);
    span = cdtx__zone_span(zone, tzif.changes[1].at - 1);
    ck_assert(span.from == tzif.changes[0].at && span.until == tzif.changes[1].at && span.offset == 7200);
    span = cdtx__zone_span(zone, tzif.changes[1].at);
    ck_assert(span.from == tzif.changes[1].at && span.until == seconds("2026-03-29 02:00:00") && span.offset == 0);
    span = cdtx__zone_span(zone, seconds("2026-12-31 00:00:00"));
    ck_assert(span.from == seconds("2026-10-25 01:00:00") && span.until == seconds("2027-03-28 02:00:00"));
    cdtx__zone_free(port, zone);
    close_env();
}
END_TEST

START_TEST(versions) {
    open_env();
    struct tzif tzif = {.count = 1};
    tzif.changes[0].at = 1000;
    tzif.changes[0].offset = -60;
    for (tzif.version = '1'; tzif.version <= '4'; tzif.version++) {
        struct zone *zone = made_zone(&tzif);
        ck_assert_int_eq(cdtx__zone_span(zone, 999).offset, 0);
        struct zone_span span = cdtx__zone_span(zone, 1000); /* without a rule the last one stays */
        ck_assert(span.from == 1000 && span.until == INT64_MAX && span.offset == -60);
        cdtx__zone_free(port, zone);
    }
    tzif.version = '1';
    tzif.changes[0].at = -1000;
    struct zone *zone = made_zone(&tzif);
    ck_assert_int_eq(cdtx__zone_span(zone, -1001).offset, 0);
    ck_assert_int_eq(cdtx__zone_span(zone, -1000).offset, -60);
    cdtx__zone_free(port, zone);
    close_env();
}
END_TEST

START_TEST(a_local_time_may_come_more_than_twice) {
    open_env();
    struct tzif tzif = {.count = 3};
    for (int32_t i = 0; i < 3; i++) {
        tzif.changes[i].at = 10000 + 100 * i;
        tzif.changes[i].offset = -100 * (i + 1);
    }
    struct zone *zone = made_zone(&tzif);
    int64_t at[2];
    ck_assert_int_eq(cdtx__zone_instants(zone, 9950, at), 2);
    ck_assert(at[0] == 9950 && at[1] == 9950 + 300);
    ck_assert(cdtx__zone_shown_before(zone, 10250) == 9999);
    cdtx__zone_free(port, zone);
    close_env();
}
END_TEST

/* ---- what is no time zone ---- */

static void refused(const struct tzif_bytes *file, int32_t code, const char *text) {
    struct zone *zone = NULL;
    memset(&err, 0, sizeof err);
    int32_t rc = cdtx__zone_parse(port, file->bytes, file->length, &zone, &err);
    ck_assert_msg(rc == code && strcmp(err.text, text) == 0, "%d '%s', not '%s'", rc, err.text, text);
    ck_assert_ptr_null(zone);
}

START_TEST(bad_rules) {
    /* The footer's text begins at byte 109 of these. */
    static const struct {
        char version;
        const char *rule;
        int at;
        const char *text;
    } rows[] = {
        {'3', "C", 109, "the footer needs the name of a local time here, of 3 letters or more"},
        {'3', "AB-1", 109, "the footer needs the name of a local time here, of 3 letters or more"},
        {'3', "<AB>1", 109, "the footer needs the name of a local time here, of 3 letters or more"},
        {'3', "<ABC1", 109, "the footer needs the name of a local time here, of 3 letters or more"},
        {'3', "A1C1", 109, "the footer needs the name of a local time here, of 3 letters or more"},
        {'3', ":CET-1", 109, "the footer needs the name of a local time here, of 3 letters or more"},
        {'3', "CET", 112, "the footer needs an hour from 0 to 24 here"},
        {'3', "CET-", 113, "the footer needs an hour from 0 to 24 here"},
        {'3', "CET25", 112, "the footer needs an hour from 0 to 24 here"},
        {'3', "CET1000", 112, "the footer needs an hour from 0 to 24 here"},
        {'3', "CET1:60", 114, "the footer needs a minute from 0 to 59 here"},
        {'3', "CET1:", 114, "the footer needs a minute from 0 to 59 here"},
        {'3', "CET1:00:60", 117, "the footer needs a second from 0 to 59 here"},
        {'3', "CET1 ", 113, "the footer needs the name of a local time here, of 3 letters or more"},
        {'3', "CET1X", 113, "the footer needs the name of a local time here, of 3 letters or more"},
        {'3', "CET1CES", 116, "the footer needs a ',' and a day here"},
        {'3', "CET1CES0", 117, "the footer needs a ',' and a day here"},
        {'3', "CET1CES25", 116, "the footer needs an hour from 0 to 24 here"},
        {'3', "CET1CES,", 117, "the footer needs a day from 0 to 365 here"},
        {'3', "CET1CES,366,1", 117, "the footer needs a day from 0 to 365 here"},
        {'3', "CET1CES,J0,1", 118, "the footer needs a day from 1 to 365 here"},
        {'3', "CET1CES,J366,1", 118, "the footer needs a day from 1 to 365 here"},
        {'3', "CET1CES,M0.1.0,1", 118, "the footer needs a month from 1 to 12 here"},
        {'3', "CET1CES,M13.1.0,1", 118, "the footer needs a month from 1 to 12 here"},
        {'3', "CET1CES,M1,1", 119, "the footer needs a '.' and a week here"},
        {'3', "CET1CES,M1.0.0,1", 120, "the footer needs a week from 1 to 5 here"},
        {'3', "CET1CES,M1.6.0,1", 120, "the footer needs a week from 1 to 5 here"},
        {'3', "CET1CES,M1.1,1", 121, "the footer needs a '.' and a weekday here"},
        {'3', "CET1CES,M1.1.7,1", 122, "the footer needs a weekday from 0 to 6 here"},
        {'3', "CET1CES,1", 118, "the footer needs a ',' and a day here"},
        {'3', "CET1CES,1/,2", 119, "the footer needs an hour from -167 to 167 here"},
        {'3', "CET1CES,1/168,2", 119, "the footer needs an hour from -167 to 167 here"},
        {'4', "CET1CES,1/-168,2", 120, "the footer needs an hour from -167 to 167 here"},
        {'2', "CET1CES,1/25,2", 119, "the footer needs an hour from 0 to 24 here"},
        {'2', "CET1CES,1/-1,2", 119, "the footer needs an hour from 0 to 24 here"},
        {'2', "CET1CES,1/+1,2", 119, "the footer needs an hour from 0 to 24 here"},
        {'3', "CET1CES,1,2,3", 120, "the footer goes on where its rule has ended"},
        {'3', "CET1CES,1,2/3x", 122, "the footer goes on where its rule has ended"},
    };
    char text[200];
    struct tzif_bytes file;
    open_env();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        tzif_write(&file, &(struct tzif){.version = rows[i].version, .footer = rows[i].rule});
        snprintf(text, sizeof text, "the time-zone file is wrong at byte %d: %s", rows[i].at, rows[i].text);
        refused(&file, CDTX_CORRUPT, text);
    }
    close_env();
}
END_TEST

/* Version 3: the first block's header at 0, its data from 44; the second header at 54, its data from 98: 2 transitions
 * (16 bytes, 2 indices), 3 types, a name of 4 bytes; the footer at 138. */
static void good_file(struct tzif_bytes *file) {
    struct tzif tzif = {.count = 2, .footer = "CET-1"};
    tzif.changes[0].at = 1000;
    tzif.changes[0].offset = 7200;
    tzif.changes[1].at = 2000;
    tzif.changes[1].offset = 3600;
    tzif_write(file, &tzif);
    ck_assert_uint_eq(file->length, 145);
}

START_TEST(bad_bytes) {
    static const struct {
        size_t place;
        uint8_t byte;
        int at;
        const char *text;
    } rows[] = {
        {0, 't', 0, "a header must begin with 'TZif'"},
        {4, '1', 4, "this is no version"},
        {4, 'x', 4, "this is no version"},
        {4, '2', 58, "both headers must have the same version"},
        {4, 0, 54, "the file goes on where its data has ended"},
        {32, 1, 145, "it ends within its data"},    /* 2^24 transitions in the first block */
        {39, 3, 54 + 12, "a header must begin with 'TZif'"}, /* 2 types more in the first block */
        {54, 0, 54, "a header must begin with 'TZif'"},
        {58, 0, 58, "both headers must have the same version"},
        {77, 2, 74, "there must be as many UT indicators as types, or none"},
        {81, 2, 78, "there must be as many standard indicators as types, or none"},
        {86, 0xff, 145, "it ends within its data"},
        {93, 0, 90, "there must be from 1 to 256 types"},
        {97, 0, 94, "there must be a name"},
        {98, 0x80, 98, "a transition must be within 2^59 seconds of 1970"},
        {98, 0x7f, 98, "a transition must be within 2^59 seconds of 1970"},
        {112, 3, 106, "a transition must be after the one before it"},
        {112, 0, 106, "a transition must be after the one before it"},
        {115, 3, 115, "a transition must be to a type that there is"},
        {116, 0x80, 116, "an offset must be from -24:59:59 to 25:59:59"},
        {117, 2, 116, "an offset must be from -24:59:59 to 25:59:59"},
        {120, 2, 120, "whether it is daylight saving time must be 0 or 1"},
        {121, 4, 121, "a name must begin within the names"},
        {137, 'x', 137, "the last name must end with a NUL"},
        {138, ' ', 138, "the footer must begin with a newline"},
        {142, '.', 142, "the footer needs an hour from 0 to 24 here"},
        {143, '2', 138, "the footer's rule must agree with the last transition"},
        {144, ' ', 145, "the footer must end with a newline"},
        {143, '\n', 144, "the file goes on where its footer has ended"},
        {140, '\0', 139, "the footer needs the name of a local time here, of 3 letters or more"},
    };
    char text[200];
    struct tzif_bytes file;
    open_env();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        good_file(&file);
        file.bytes[rows[i].place] = rows[i].byte;
        snprintf(text, sizeof text, "the time-zone file is wrong at byte %d: %s", rows[i].at, rows[i].text);
        refused(&file, CDTX_CORRUPT, text);
    }
    close_env();
}
END_TEST

START_TEST(a_part_of_a_file_is_none) {
    struct tzif_bytes file;
    char text[200];
    open_env();
    good_file(&file);
    while (file.length-- > 0) {
        const char *what = file.length < 44 || (file.length >= 54 && file.length < 98)
                               ? "it ends within a header"
                               : file.length < 138 ? "it ends within its data"
                                                   : file.length == 138 ? "the footer must begin with a newline"
                                                                        : "the footer must end with a newline";
        snprintf(text, sizeof text, "the time-zone file is wrong at byte %zu: %s", file.length, what);
        refused(&file, CDTX_CORRUPT, text);
        if (file.length == 0)
            break;
    }
    good_file(&file);
    file.bytes[file.length++] = '\n';
    refused(&file, CDTX_CORRUPT,
            "the time-zone file is wrong at byte 145: the file goes on where its footer has ended");
    close_env();
}
END_TEST

/* Indicators, 1 standard and 1 UT one behind the names of a version 1 file with 1 type. */
static void indicate(struct tzif_bytes *file, uint8_t standard, uint8_t ut) {
    tzif_write(file, &(struct tzif){.version = '1'});
    file->bytes[23] = file->bytes[27] = 1;
    file->bytes[file->length++] = standard;
    file->bytes[file->length++] = ut;
}

START_TEST(indicators) {
    struct tzif_bytes file;
    struct zone *zone = NULL;
    open_env();
    for (uint8_t i = 0; i < 3; i++) {
        indicate(&file, i > 0, i > 1);
        ck_assert_int_eq(cdtx__zone_parse(port, file.bytes, file.length, &zone, &err), 0);
        cdtx__zone_free(port, zone);
        zone = NULL;
    }
    indicate(&file, 2, 0);
    refused(&file, CDTX_CORRUPT, "the time-zone file is wrong at byte 54: an indicator must be 0 or 1");
    indicate(&file, 1, 2);
    refused(&file, CDTX_CORRUPT, "the time-zone file is wrong at byte 55: an indicator must be 0 or 1");
    indicate(&file, 0, 1);
    refused(&file, CDTX_CORRUPT, "the time-zone file is wrong at byte 55: a type in UT must be one in standard time");
    close_env();
}
END_TEST

START_TEST(what_we_do_not_read) {
    static uint8_t large[ZONE_FILE_MAX + 1];
    struct tzif_bytes file;
    struct zone *zone = NULL;
    open_env();
    good_file(&file);
    file.bytes[4] = '5';
    refused(&file, CDTX_UNSUPPORTED, "the time-zone file is of version 5, at byte 4; known are 1 to 4");
    tzif_write(&file, &(struct tzif){.version = '1'});
    file.bytes[31] = 1;
    memset(file.bytes + file.length, 0, 8);
    file.length += 8;
    refused(&file, CDTX_UNSUPPORTED,
            "the time-zone file counts leap seconds, at byte 28, as those below right/ do; take the one of the same "
            "name that does not");
    ck_assert_int_eq(cdtx__zone_parse(port, large, sizeof large, &zone, &err), CDTX_LIMIT);
    ck_assert_str_eq(err.text, "a time-zone file of 65537 bytes is larger than 65536");
    ck_assert_int_eq(cdtx__zone_parse(port, large, sizeof large - 1, &zone, NULL), CDTX_CORRUPT);
    close_env();
}
END_TEST

/* ---- by name ---- */

static void load_refused(const char *name, int32_t code, const char *text) {
    struct zone *zone = NULL;
    memset(&err, 0, sizeof err);
    int32_t rc = cdtx__zone_load(port, name, &zone, &err);
    ck_assert_msg(rc == code && strcmp(err.text, text) == 0, "%d '%s', not '%s'", rc, err.text, text);
    ck_assert_ptr_null(zone);
}

START_TEST(by_name) {
    static uint8_t large[ZONE_FILE_MAX + 1];
    struct tzif_bytes file;
    struct zone *zone = NULL;
    open_env();
    ck_assert_int_eq(cdtx__zone_load(port, "UTC", &zone, &err), 0);
    ck_assert_int_eq(cdtx__zone_span(zone, 0).offset, 0);
    cdtx__zone_free(port, zone);
    tzif_write(&file, &(struct tzif){.footer = "MST-1"});
    ck_assert_int_eq(cdtx_test_env_set_zone(env, "Mars/Base", file.bytes, file.length, &err), 0);
    ck_assert_int_eq(cdtx__zone_load(port, "Mars/Base", &zone, &err), 0);
    ck_assert_int_eq(cdtx__zone_span(zone, 0).offset, 3600);
    cdtx__zone_free(port, zone);
    ck_assert_int_eq(cdtx_test_env_set_zone(env, "Mars/Base", file.bytes, 44, &err), 0);
    load_refused("Mars/Base", CDTX_CORRUPT,
                 "time zone 'Mars/Base': the time-zone file is wrong at byte 44: it ends within its data");
    ck_assert_int_eq(cdtx_test_env_set_zone(env, "Mars/Base", large, sizeof large, &err), 0);
    load_refused("Mars/Base", CDTX_LIMIT, "the file of time zone 'Mars/Base' is larger than 65536 bytes");
    load_refused("Europe/Berlin", CDTX_NOT_FOUND, "there is no time zone 'Europe/Berlin' here");
    load_refused("", CDTX_INVALID, "the time zone is empty");
    cdtx__zone_free(port, NULL);
    close_env();
}
END_TEST

START_TEST(no_memory) {
    struct zone *zone = NULL;
    open_env();
    cdtx_test_env_fail_memory(env, 1, 0);
    load_refused("UTC", CDTX_NO_MEMORY, "no memory for the file of a time zone");
    cdtx_test_env_fail_memory(env, 2, 0);
    load_refused("UTC", CDTX_NO_MEMORY, "time zone 'UTC': no memory for a time zone");
    cdtx_test_env_fail_memory(env, 3, 0);
    ck_assert_int_eq(cdtx__zone_load(port, "UTC", &zone, &err), 0);
    cdtx__zone_free(port, zone);
    close_env();
}
END_TEST

RUN_TESTS("zone", offsets_of_real_zones, spans_of_real_zones, instants_of_real_zones, what_was_shown_before, rules,
          a_rule_begins_behind_the_last_transition, versions, a_local_time_may_come_more_than_twice, bad_rules,
          bad_bytes, a_part_of_a_file_is_none, indicators, what_we_do_not_read, by_name, no_memory)
