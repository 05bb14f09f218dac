/* Cron expressions: what they mean, when they come where clocks are put forward and back, and all that are none. */
#include "pattern/retry_cron.h"

#include "../base/tests.h"
#include "tzif.h"

#include <stdio.h>
#include <time.h>

static cdtx_error err;

static struct cron parsed(const char *text) {
    struct cron cron;
    memset(&cron, 0xa5, sizeof cron);
    ck_assert_msg(cdtx__cron_parse(text, &cron, &err) == 0, "%s: %s", text, err.text);
    return cron;
}

static int64_t milliseconds(const char *text) {
    struct tm tm = {0};
    ck_assert_msg(strptime(text, "%Y-%m-%d %H:%M:%S", &tm) == text + strlen(text), "%s", text);
    return timegm(&tm) * 1000;
}

static void append_time(char *text, size_t size, int64_t ms) {
    time_t at = ms / 1000;
    struct tm tm;
    size_t length = strlen(text);
    ck_assert_ptr_nonnull(gmtime_r(&at, &tm));
    ck_assert_uint_gt(strftime(text + length, size - length, length > 0 ? ", %F %T" : "%F %T", &tm), 0);
}

/* ---- the text ---- */

static int same(const struct cron *a, const struct cron *b) {
    return a->minutes == b->minutes && a->hours == b->hours && a->days == b->days && a->months == b->months &&
           a->weekdays == b->weekdays && a->either_day == b->either_day && a->real_time == b->real_time;
}

START_TEST(the_same_in_other_words) {
    static const char *const pairs[][2] = {
        {"0 0 1 1 *", "@yearly"},
        {"0 0 1 1 *", "@annually"},
        {"0 0 1 * *", "@monthly"},
        {"0 0 * * 0", "@weekly"},
        {"0 0 * * *", "@daily"},
        {"0 0 * * *", " \t@midnight "},
        {"0 * * * *", "@hourly"},
        {"1 2 3 4 5", "  1\t2 \t 3 4  5\t "},
        {"1 2 3 4 5", "01 002 03 APR FRI"},
        {"1 2 3 4 5", "1 2 3 apr fRi"},
        {"0 0 * * 0", "0 0 * * 7"},
        {"0 0 * * 0", "0 0 * * SUN"},
        {"0 0 * * 0,1,2,3,4,5,6", "0 0 * * 1-7"},
        {"0 0 * * 0,5,6", "0 0 * * 5-7"},
        {"0 0 * * 0,5,6", "0 0 * * FRI-SUN"},
        {"0 0 * * 0,5,6", "0 0 * * 5-sun"},
        {"0 0 * * 1,3,5,0", "0 0 * * MON-SUN/2"},
        {"0 0 * * 0,1,2", "0 0 * * SUN-TUE"},
        {"0 0 * * 0", "0 0 * * SUN-SUN"},
        {"0 0 1 JAN,MAR-MAY,DEC *", "0 0 1 1,3,4,5,12 *"},
        {"0,15,30,45 3 * * *", "0-59/15 3 * * *"},
        {"10,15,20 3 * * *", "10-24/5 3 * * *"},
        {"1,2,3 3 * * *", "3,2-3,1,2 3 * * *"},
        {"* * * * *", "*/1 */1 */1 */1 */1"},
        {"* * * * *", "*,0-59/7 * * * *"},
        {"*/60 */24 */31 */12 */7", "*/60 0,*/24 */31 */12 */7"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        struct cron a = parsed(pairs[i][0]), b = parsed(pairs[i][1]);
        ck_assert_msg(same(&a, &b), "%s is not %s", pairs[i][0], pairs[i][1]);
    }
}
END_TEST

/* Only the first character of a field says whether it is restricted, and whether the whole goes by real time. */
START_TEST(stars) {
    static const struct {
        const char *text;
        int either_day, real_time;
    } rows[] = {
        {"0 0 1 * 1", 1, 0},   {"0 0 * * 1", 0, 0},  {"0 0 1 * *", 0, 0},  {"0 0 */2 * 1", 0, 0},
        {"0 0 1-31 * 1", 1, 0}, {"0 0 1 * */2", 0, 0}, {"0 0 1,* * 1", 1, 0}, {"* 0 * * *", 0, 1},
        {"0 * * * *", 0, 1},   {"*/5 0 * * *", 0, 1}, {"0 */2 * * *", 0, 1}, {"0,* 0-23 * * *", 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct cron cron = parsed(rows[i].text);
        ck_assert_msg(cron.either_day == rows[i].either_day && cron.real_time == rows[i].real_time, "%s", rows[i].text);
    }
}
END_TEST

#define NEEDS "; it needs minute, hour, day-of-month, month and day-of-week"
#define NONE  " is none of @yearly, @annually, @monthly, @weekly, @daily, @midnight and @hourly"

static const struct {
    const char *text, *error;
} bad_texts[] = {
    {NULL, "the cron text is NULL"},
    {"", "the cron text ends before the minute field" NEEDS},
    {"  \t", "the cron text ends before the minute field" NEEDS},
    {"5", "the cron text ends before the hour field" NEEDS},
    {"5 4", "the cron text ends before the day-of-month field" NEEDS},
    {"5 4 * ", "the cron text ends before the month field" NEEDS},
    {"5 4 * *", "the cron text ends before the day-of-week field" NEEDS},
    {"5 4 * * * 2026", "the cron text goes on behind its fifth field: '2026' at column 11"},
    {"5 4 * * *\n", "the day-of-week field, '*?' at column 9: is neither a number nor one of SUN to SAT"},
    {"10 25 * * *", "the hour field, '25' at column 4: must be from 0 to 23"},
    {"60 4 * * *", "the minute field, '60' at column 1: must be from 0 to 59"},
    {"0 4 0 * *", "the day-of-month field, '0' at column 5: must be from 1 to 31"},
    {"0 4 32 * *", "the day-of-month field, '32' at column 5: must be from 1 to 31"},
    {"0 4 1 0 *", "the month field, '0' at column 7: must be from 1 to 12"},
    {"0 4 1 13 *", "the month field, '13' at column 7: must be from 1 to 12"},
    {"0 4 * * 8", "the day-of-week field, '8' at column 9: must be from 0 to 7"},
    {"99999999999999999999 4 * * *",
     "the minute field, '99999999999999999999' at column 1: must be from 0 to 59"},
    {"4294967296 4 * * *", "the minute field, '4294967296' at column 1: must be from 0 to 59"},
    {"1,2,99 4 * * *", "the minute field, '99' at column 5: must be from 0 to 59"},
    {"1-99 4 * * *", "the minute field, '99' at column 3: must be from 0 to 59"},
    {"x 4 * * *", "the minute field, 'x' at column 1: is no number"},
    {"-5 4 * * *", "the minute field, '-5' at column 1: a value is missing here"},
    {"+5 4 * * *", "the minute field, '+5' at column 1: is no number"},
    {"0x5 4 * * *", "the minute field, '0x5' at column 1: is no number"},
    {"5. 4 * * *", "the minute field, '5.' at column 1: is no number"},
    {"? 4 * * *", "the minute field, '?' at column 1: is no number"},
    {"0 4 L * *", "the day-of-month field, 'L' at column 5: is no number"},
    {"0 4 MON * *", "the day-of-month field, 'MON' at column 5: is no number"},
    {"0 4 1 MON *", "the month field, 'MON' at column 7: is neither a number nor one of JAN to DEC"},
    {"0 4 1 JANUARY *", "the month field, 'JANUARY' at column 7: is neither a number nor one of JAN to DEC"},
    {"0 4 1 JA *", "the month field, 'JA' at column 7: is neither a number nor one of JAN to DEC"},
    {"0 4 * * JAN", "the day-of-week field, 'JAN' at column 9: is neither a number nor one of SUN to SAT"},
    {"0 4 * * 5#2", "the day-of-week field, '5#2' at column 9: is neither a number nor one of SUN to SAT"},
    {"1, 4 * * *", "the minute field, '1,' at column 3: a value is missing here"},
    {"1,,2 4 * * *", "the minute field, '1,,2' at column 3: a value is missing here"},
    {",1 4 * * *", "the minute field, ',1' at column 1: a value is missing here"},
    {"1- 4 * * *", "the minute field, '1-' at column 3: a value is missing here"},
    {"0 4- * * *", "the hour field, '4-' at column 5: a value is missing here"},
    {"1-2-3 4 * * *", "the minute field, '-' at column 4: does not belong here"},
    {"0 20-4 * * *", "the hour field, '20-4' at column 3: ends before it begins"},
    {"0 4 * * 5-0", "the day-of-week field, '5-0' at column 9: ends before it begins"},
    {"0 4 * * SAT-MON", "the day-of-week field, 'SAT-MON' at column 9: ends before it begins"},
    {"0 4 * DEC-JAN *", "the month field, 'DEC-JAN' at column 7: ends before it begins"},
    {"** 4 * * *", "the minute field, '**' at column 1: is no number"},
    {"*5 4 * * *", "the minute field, '*5' at column 1: is no number"},
    {"*-5 4 * * *", "the minute field, '*' at column 1: is no number"},
    {"5-* 4 * * *", "the minute field, '*' at column 3: is no number"},
    {"*/ 4 * * *", "the minute field, '*/' at column 3: a step is missing here"},
    {"*/,1 4 * * *", "the minute field, '*/,1' at column 3: a step is missing here"},
    {"*/0 4 * * *", "the minute field, '0' at column 3: a step must be from 1 to 60"},
    {"*/61 4 * * *", "the minute field, '61' at column 3: a step must be from 1 to 60"},
    {"0 */25 * * *", "the hour field, '25' at column 5: a step must be from 1 to 24"},
    {"0 4 * * */8", "the day-of-week field, '8' at column 11: a step must be from 1 to 7"},
    {"*/x 4 * * *", "the minute field, 'x' at column 3: a step must be from 1 to 60"},
    {"*/2/2 4 * * *", "the minute field, '2/2' at column 3: a step must be from 1 to 60"},
    {"*/-1 4 * * *", "the minute field, '-1' at column 3: a step must be from 1 to 60"},
    {"5/15 4 * * *", "the minute field, '5/15' at column 1: a step needs '*' or a range before it"},
    {"0 4 * * MON/2", "the day-of-week field, 'MON/2' at column 9: a step needs '*' or a range before it"},
    {"@reboot", "'@reboot' at column 1" NONE},
    {" @Daily", "'@Daily' at column 2" NONE},
    {"@daily 5", "'@daily 5' at column 1" NONE},
    {"@", "'@' at column 1" NONE},
    {"0 0 30 2 *", "the day-of-month field, '30' at column 5: no month of the month field has such a day"},
    {"0 0 30,31 FEB *", "the day-of-month field, '30,31' at column 5: no month of the month field has such a day"},
    {"0 0 31 4,6,9,11 *", "the day-of-month field, '31' at column 5: no month of the month field has such a day"},
    {"0 0 30 2 */2", "the day-of-month field, '30' at column 5: no month of the month field has such a day"},
    {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 4 * * *",
     "the minute field, 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' at column 1: is no number"},
};

START_TEST(what_is_no_cron_text) {
    for (size_t i = 0; i < sizeof bad_texts / sizeof bad_texts[0]; i++) {
        struct cron cron, before;
        memset(&cron, 0x5a, sizeof cron);
        before = cron;
        memset(&err, 0, sizeof err);
        int32_t rc = cdtx__cron_parse(bad_texts[i].text, &cron, &err);
        ck_assert_msg(rc == CDTX_INVALID && err.code == rc, "'%s': %d", bad_texts[i].text, rc);
        ck_assert_str_eq(err.text, bad_texts[i].error);
        ck_assert(same(&cron, &before));
        ck_assert_int_eq(cdtx__cron_parse(bad_texts[i].text, &cron, NULL), CDTX_INVALID);
    }
}
END_TEST

/* ---- slots ---- */

struct row {
    const char *zone, *text, *after, *slots; /* UTC */
};

static void check_rows(const struct row *rows, size_t count) {
    for (size_t i = 0; i < count; i++) {
        char found[400] = "";
        struct zone *zone = NULL;
        struct cron cron = parsed(rows[i].text);
        ck_assert_msg(cdtx__zone_load(cdtx__env_posix(), rows[i].zone, &zone, &err) == 0, "%s", err.text);
        int64_t at = milliseconds(rows[i].after);
        while (strlen(found) < strlen(rows[i].slots)) {
            int64_t before = at;
            ck_assert_int_eq(cdtx__cron_next(&cron, zone, before, &at, &err), 0);
            ck_assert(at > before);
            append_time(found, sizeof found, at);
        }
        ck_assert_msg(strcmp(found, rows[i].slots) == 0, "%s, '%s' after %s: %s, not %s", rows[i].zone, rows[i].text,
                      rows[i].after, found, rows[i].slots);
        cdtx__zone_free(cdtx__env_posix(), zone);
    }
}

#define CHECK_ROWS(rows) check_rows(rows, sizeof rows / sizeof rows[0])

START_TEST(days_and_dates) {
    static const struct row rows[] = {
        {"UTC", "* * * * *", "2026-12-31 23:58:59", "2026-12-31 23:59:00, 2027-01-01 00:00:00"},
        {"UTC", "*/15 9-17 * * MON-FRI", "2026-07-31 17:30:00", "2026-07-31 17:45:00, 2026-08-03 09:00:00"},
        {"UTC", "10-40/5 0 1 1 *", "2026-01-01 00:35:00", "2026-01-01 00:40:00, 2027-01-01 00:10:00"},
        {"UTC", "@hourly", "2026-01-01 00:00:00", "2026-01-01 01:00:00, 2026-01-01 02:00:00"},
        {"UTC", "@daily", "2026-02-27 00:00:00", "2026-02-28 00:00:00, 2026-03-01 00:00:00"},
        {"UTC", "@weekly", "2026-07-01 00:00:00", "2026-07-05 00:00:00, 2026-07-12 00:00:00"},
        {"UTC", "@monthly", "2026-11-30 00:00:00", "2026-12-01 00:00:00, 2027-01-01 00:00:00"},
        {"UTC", "@yearly", "2026-01-01 00:00:00", "2027-01-01 00:00:00, 2028-01-01 00:00:00"},
        {"UTC", "0 0 31 * *", "2026-01-31 00:00:00", "2026-03-31 00:00:00, 2026-05-31 00:00:00"},
        /* Either of two restricted days; both where one begins with a star. */
        {"UTC", "0 0 13 * FRI", "2026-02-01 00:00:00", "2026-02-06 00:00:00, 2026-02-13 00:00:00, 2026-02-20 00:00:00"},
        {"UTC", "0 0 13 3 FRI", "2026-03-10 00:00:00", "2026-03-13 00:00:00, 2026-03-20 00:00:00"},
        {"UTC", "0 0 */13 * 5", "2026-01-01 00:00:00", "2026-02-27 00:00:00, 2026-03-27 00:00:00, 2026-05-01 00:00:00"},
        {"UTC", "0 0 30 2 1", "2026-01-01 00:00:00", "2026-02-02 00:00:00, 2026-02-09 00:00:00"},
        {"UTC", "0 0 29 2 *", "2026-01-01 00:00:00", "2028-02-29 00:00:00, 2032-02-29 00:00:00"},
        {"UTC", "0 0 29 2 *", "2096-02-29 00:00:00", "2104-02-29 00:00:00, 2108-02-29 00:00:00"},
        {"UTC", "0 0 29 2 *", "1996-02-29 00:00:00", "2000-02-29 00:00:00"},
        {"UTC", "0 0 29 2 */7", "2088-02-29 00:00:00", "2128-02-29 00:00:00"},
        {"UTC", "0 0 1 1 *", "1901-06-01 00:00:00", "1902-01-01 00:00:00, 1903-01-01 00:00:00"},
        {"Asia/Kathmandu", "0 0 * * *", "2026-07-01 00:00:00", "2026-07-01 18:15:00, 2026-07-02 18:15:00"},
        {"Asia/Kathmandu", "*/30 * * * *", "2026-07-01 00:00:00", "2026-07-01 00:15:00, 2026-07-01 00:45:00"},
    };
    CHECK_ROWS(rows);
}
END_TEST

/* The clock is put forward: 02:00 is 03:00 in Berlin and New York, 02:30 on Lord Howe. */
START_TEST(skipped_minutes) {
    static const struct row rows[] = {
        {"Europe/Berlin", "30 2 * * *", "2026-03-27 12:00:00",
         "2026-03-28 01:30:00, 2026-03-29 01:00:00, 2026-03-30 00:30:00"},
        {"Europe/Berlin", "0,15,30 2 * * *", "2026-03-28 12:00:00", "2026-03-29 01:00:00, 2026-03-30 00:00:00"},
        {"Europe/Berlin", "0 2,3 * * *", "2026-03-28 12:00:00",
         "2026-03-29 01:00:00, 2026-03-30 00:00:00, 2026-03-30 01:00:00"},
        {"Europe/Berlin", "30 1-4 * * *", "2026-03-28 12:00:00",
         "2026-03-29 00:30:00, 2026-03-29 01:00:00, 2026-03-29 01:30:00, 2026-03-29 02:30:00"},
        {"Europe/Berlin", "59 1 * * *", "2026-03-28 12:00:00", "2026-03-29 00:59:00, 2026-03-29 23:59:00"},
        {"Europe/Berlin", "30 2 29 3 *", "2026-01-01 00:00:00", "2026-03-29 01:00:00, 2027-03-29 00:30:00"},
        {"Europe/Berlin", "*/30 2 * * *", "2026-03-28 00:00:00",
         "2026-03-28 01:00:00, 2026-03-28 01:30:00, 2026-03-30 00:00:00"},
        {"Europe/Berlin", "30 * * * *", "2026-03-29 00:00:00",
         "2026-03-29 00:30:00, 2026-03-29 01:30:00, 2026-03-29 02:30:00"},
        {"Europe/Berlin", "*/30 2 29 3 *", "2026-01-01 00:00:00", "2027-03-29 00:00:00, 2027-03-29 00:30:00"},
        {"Europe/Berlin", "30 2 * * *", "2087-03-29 12:00:00", "2087-03-30 01:00:00"}, /* by its rule */
        {"Europe/Berlin", "30 2 * * *", "2088-03-27 12:00:00", "2088-03-28 01:00:00, 2088-03-29 00:30:00"},
        {"America/New_York", "30 2 * * *", "2026-03-08 00:00:00", "2026-03-08 07:00:00, 2026-03-09 06:30:00"},
        {"America/New_York", "*/20 2 * * *", "2026-03-08 00:00:00", "2026-03-09 06:00:00, 2026-03-09 06:20:00"},
        {"Australia/Lord_Howe", "15 2 * * *", "2026-10-03 12:00:00", "2026-10-03 15:30:00, 2026-10-04 15:15:00"},
        {"Australia/Lord_Howe", "45 2 * * *", "2026-10-03 12:00:00", "2026-10-03 15:45:00"},
        {"Australia/Lord_Howe", "*/15 2 * * *", "2026-10-03 12:00:00", "2026-10-03 15:30:00, 2026-10-03 15:45:00"},
        {"Asia/Kathmandu", "0 0 * * *", "1985-12-31 00:00:00", "1985-12-31 18:30:00, 1986-01-01 18:15:00"},
        {"Africa/Casablanca", "30 2 * * *", "2026-03-21 12:00:00", "2026-03-22 02:00:00, 2026-03-23 01:30:00"},
        {"America/Sao_Paulo", "0 0 * * *", "2018-11-03 12:00:00", "2018-11-04 03:00:00, 2018-11-05 02:00:00"},
        {"America/Sao_Paulo", "*/20 0 4 11 *", "2018-01-01 00:00:00", "2019-11-04 03:00:00, 2019-11-04 03:20:00"},
    };
    CHECK_ROWS(rows);
}
END_TEST

START_TEST(minutes_shown_twice) {
    static const struct row rows[] = {
        {"Europe/Berlin", "30 2 * * *", "2026-10-24 12:00:00", "2026-10-25 00:30:00, 2026-10-26 01:30:00"},
        {"Europe/Berlin", "30 2 * * *", "2026-10-25 01:00:00", "2026-10-26 01:30:00"},
        {"Europe/Berlin", "0 3 * * *", "2026-10-24 12:00:00", "2026-10-25 02:00:00"},
        {"Europe/Berlin", "0,30 1-3 25 10 *", "2026-10-24 23:00:00",
         "2026-10-24 23:30:00, 2026-10-25 00:00:00, 2026-10-25 00:30:00, 2026-10-25 02:00:00, 2026-10-25 02:30:00"},
        {"Europe/Berlin", "*/30 2 * * *", "2026-10-24 12:00:00",
         "2026-10-25 00:00:00, 2026-10-25 00:30:00, 2026-10-25 01:00:00, 2026-10-25 01:30:00, 2026-10-26 01:00:00"},
        {"Europe/Berlin", "30 * * * *", "2026-10-25 00:00:00",
         "2026-10-25 00:30:00, 2026-10-25 01:30:00, 2026-10-25 02:30:00"},
        {"America/New_York", "30 1 * * *", "2026-11-01 00:00:00", "2026-11-01 05:30:00, 2026-11-02 06:30:00"},
        {"America/New_York", "@hourly", "2026-11-01 04:00:00",
         "2026-11-01 05:00:00, 2026-11-01 06:00:00, 2026-11-01 07:00:00"},
        {"Australia/Lord_Howe", "45 1 * * *", "2026-04-04 12:00:00", "2026-04-04 14:45:00, 2026-04-05 15:15:00"},
        {"Australia/Lord_Howe", "*/15 1 5 4 *", "2026-04-04 14:20:00",
         "2026-04-04 14:30:00, 2026-04-04 14:45:00, 2026-04-04 15:00:00, 2026-04-04 15:15:00"},
        {"Africa/Casablanca", "30 2 * * *", "2026-02-14 12:00:00", "2026-02-15 01:30:00, 2026-02-16 02:30:00"},
        {"America/Sao_Paulo", "30 23 * * *", "2018-02-17 12:00:00", "2018-02-18 01:30:00, 2018-02-19 02:30:00"},
        {"America/Sao_Paulo", "30 */23 17 2 *", "2018-02-17 12:00:00", "2018-02-18 01:30:00, 2018-02-18 02:30:00"},
    };
    CHECK_ROWS(rows);
}
END_TEST

START_TEST(whole_days_skipped_or_repeated) {
    static const struct row rows[] = {
        {"Pacific/Apia", "0 12 * * *", "2011-12-29 12:00:00",
         "2011-12-29 22:00:00, 2011-12-30 10:00:00, 2011-12-30 22:00:00"},
        {"Pacific/Apia", "0 0 * * *", "2011-12-29 00:00:00",
         "2011-12-29 10:00:00, 2011-12-30 10:00:00, 2011-12-31 10:00:00"},
        {"Pacific/Apia", "0 12 30 12 *", "2011-01-01 00:00:00", "2011-12-30 10:00:00, 2012-12-29 22:00:00"},
        {"Pacific/Apia", "0 * 30 12 *", "2011-01-01 00:00:00", "2012-12-29 10:00:00, 2012-12-29 11:00:00"},
        {"Pacific/Kwajalein", "0 6 * * SAT", "1993-08-20 00:00:00", "1993-08-21 12:00:00, 1993-08-27 18:00:00"},
        /* Alaska had a day twice when it was sold; its fixed minutes came once. */
        {"America/Juneau", "0 12 * * *", "1867-10-17 12:00:00", "1867-10-17 20:57:41, 1867-10-18 20:57:41"},
    };
    static const struct row seconds[] = {
        /* 44 minutes and 30 seconds behind, until 7 January 1972. */
        {"Africa/Monrovia", "0 0 * * *", "1972-01-05 12:00:00",
         "1972-01-06 00:44:30, 1972-01-07 00:44:30, 1972-01-08 00:00:00"},
        {"Africa/Monrovia", "*/15 * * * *", "1972-01-07 00:20:00", "1972-01-07 00:29:30, 1972-01-07 00:45:00"},
    };
    CHECK_ROWS(rows);
    CHECK_ROWS(seconds);
}
END_TEST

START_TEST(strictly_after) {
    struct cron cron = parsed("30 4 * * *");
    struct zone *zone = NULL;
    int64_t slot = milliseconds("2026-07-01 04:30:00"), day = INT64_C(86400000), found = 0;
    ck_assert_int_eq(cdtx__zone_load(cdtx__env_posix(), "UTC", &zone, &err), 0);
    static const struct {
        int64_t after, days;
    } rows[] = {{-1, 0}, {-999, 0}, {-1000, 0}, {-1001, 0}, {0, 1}, {1, 1}, {999, 1}, {1000, 1}, {86399999, 1}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        ck_assert_int_eq(cdtx__cron_next(&cron, zone, slot + rows[i].after, &found, &err), 0);
        ck_assert_msg(found == slot + rows[i].days * day, "%zu", i);
    }
    cron = parsed("* * * * *");
    ck_assert(cdtx__cron_next(&cron, zone, -1, &found, &err) == 0 && found == 0);
    ck_assert(cdtx__cron_next(&cron, zone, -60001, &found, &err) == 0 && found == -60000);
    cdtx__zone_free(cdtx__env_posix(), zone);
}
END_TEST

START_TEST(times_without_a_slot) {
    struct tzif_bytes file;
    struct zone *zone = NULL;
    int64_t slot = 77;
    /* The two hours that are skipped every year are the ones that are asked for; fixed minutes come at their end. */
    tzif_write(&file, &(struct tzif){.footer = "ABC0DEF-2,J1/2,J200/2"});
    ck_assert_int_eq(cdtx__zone_parse(cdtx__env_posix(), file.bytes, file.length, &zone, &err), 0);
    struct cron cron = parsed("* 2-3 1 1 *");
    ck_assert_int_eq(cdtx__cron_next(&cron, zone, 0, &slot, &err), CDTX_NOT_FOUND);
    ck_assert_str_eq(err.text, "the cron expression has no slot in the 100 years after 0");
    static const int64_t outside[] = {INT64_MIN, INT64_C(-62135596800001), INT64_C(253402300800000), INT64_MAX};
    for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++)
        ck_assert_int_eq(cdtx__cron_next(&cron, zone, outside[i], &slot, &err), CDTX_INVALID);
    ck_assert_str_eq(err.text, "the time 9223372036854775807 is not in the years 1 to 9999");
    ck_assert_int_eq(slot, 77);
    cron = parsed("0-59 2-3 1 1 *");
    ck_assert_int_eq(cdtx__cron_next(&cron, zone, 0, &slot, &err), 0);
    ck_assert_int_eq(slot, 7200000);
    ck_assert_int_eq(cdtx__cron_next(&cron, zone, outside[2] - 1, &slot, &err), 0);
    ck_assert_int_eq(cdtx__cron_next(&cron, zone, outside[1] + 1, &slot, &err), 0);
    cdtx__zone_free(cdtx__env_posix(), zone);
}
END_TEST

RUN_TESTS("cron", the_same_in_other_words, stars, what_is_no_cron_text, days_and_dates, skipped_minutes,
          minutes_shown_twice, whole_days_skipped_or_repeated, strictly_after, times_without_a_slot)
