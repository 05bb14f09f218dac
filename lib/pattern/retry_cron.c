#include "pattern/retry_cron.h"

#include <stdio.h>

#include "pattern/retry_calendar.h"

#define YEAR_1_MS    INT64_C(-62135596800000)
#define YEAR_9999_MS INT64_C(253402300799999)

enum { DAY_MINUTES = 1440, HORIZON_DAYS = 36525 };

/* ---- fields ---- */

struct kind {
    const char *name;
    int32_t min, max;
    int32_t values; /* different ones, and the largest step */
    const char *const *names;
    size_t name_count;
    const char *no_value; /* what to say of something that is none */
};

static const char *const months[] = {"JAN", "FEB", "MAR", "APR", "MAY", "JUN",
                                     "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"};
static const char *const weekdays[] = {"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"};

enum { MINUTE, HOUR, DAY, MONTH, WEEKDAY, FIELDS };

static const struct kind kinds[FIELDS] = {
    {"minute", 0, 59, 60, NULL, 0, "is no number"},
    {"hour", 0, 23, 24, NULL, 0, "is no number"},
    {"day-of-month", 1, 31, 31, NULL, 0, "is no number"},
    {"month", 1, 12, 12, months, 12, "is neither a number nor one of JAN to DEC"},
    {"day-of-week", 0, 7, 7, weekdays, 7, "is neither a number nor one of SUN to SAT"},
};

struct field {
    const struct kind *kind;
    const char *line; /* columns count from here */
    const char *text, *end;
    uint64_t set;
};

/* What is wrong at that place, with the text from there to there. */
static int32_t wrong_at(const struct field *field, const char *at, const char *from, const char *end, const char *what,
                        cdtx_error *err) {
    int length = end - from < 40 ? (int)(end - from) : 40;
    return cdtx__fail(err, CDTX_INVALID, "the %s field, '%.*s' at column %lld: %s", field->kind->name, length, from,
                      (long long)(at - field->line + 1), what);
}

static int32_t wrong(const struct field *field, const char *from, const char *end, const char *what, cdtx_error *err) {
    return wrong_at(field, from, from, end, what, err);
}

static int32_t out_of_range(const struct field *field, const char *from, const char *end, const char *what, int32_t min,
                            int32_t max, cdtx_error *err) {
    char text[64];
    snprintf(text, sizeof text, "%smust be from %d to %d", what, min, max);
    return wrong(field, from, end, text, err);
}

/* -1 when it is no number; large ones stay large. */
static int32_t number_in(const char *from, const char *end) {
    int32_t number = 0;
    for (const char *at = from; at < end; at++) {
        if (*at < '0' || *at > '9')
            return -1;
        number = number > 1000 ? number : number * 10 + (*at - '0');
    }
    return number;
}

static int same_letters(const char *text, const char *capitals, size_t length) {
    for (size_t i = 0; i < length; i++)
        if (text[i] != capitals[i] && text[i] != capitals[i] - 'A' + 'a')
            return 0;
    return 1;
}

/* -1 when the field has no such name. */
static int32_t named(const struct kind *kind, const char *from, const char *end) {
    for (size_t i = 0; end - from == 3 && i < kind->name_count; i++)
        if (same_letters(from, kind->names[i], 3))
            return (int32_t)i + kind->min;
    return -1;
}

/* The value from *at to the next separator. */
static int32_t read_value(const struct field *field, const char **at, int32_t *value, cdtx_error *err) {
    const char *from = *at, *end = from;
    while (end < field->end && *end != '-' && *end != '/' && *end != ',')
        end++;
    *at = end;
    if (end == from)
        return wrong_at(field, from, field->text, field->end, "a value is missing here", err);
    *value = named(field->kind, from, end);
    if (*value >= 0)
        return 0;
    *value = number_in(from, end);
    if (*value < 0)
        return wrong(field, from, end, field->kind->no_value, err);
    if (*value < field->kind->min || *value > field->kind->max)
        return out_of_range(field, from, end, "", field->kind->min, field->kind->max, err);
    return 0;
}

static int32_t read_step(const struct field *field, const char **at, int32_t *step, cdtx_error *err) {
    const char *from = *at;
    while (*at < field->end && **at != ',')
        ++*at;
    if (*at == from)
        return wrong_at(field, from, field->text, field->end, "a step is missing here", err);
    *step = number_in(from, *at);
    if (*step < 1 || *step > field->kind->values)
        return out_of_range(field, from, *at, "a step ", 1, field->kind->values, err);
    return 0;
}

/* One of "*", value, value-value; the last two ends are the same without a '-'. */
static int32_t read_range(const struct field *field, const char **at, int32_t *low, int32_t *high, cdtx_error *err) {
    const char *from = *at;
    *low = field->kind->min;
    *high = field->kind->max;
    if (*from == '*' && (from + 1 == field->end || from[1] == ',' || from[1] == '/')) {
        *at = from + 1;
        return 0;
    }
    int32_t rc = read_value(field, at, low, err);
    *high = *low;
    if (rc != 0 || *at == field->end || **at != '-')
        return rc;
    const char *second = ++*at;
    rc = read_value(field, at, high, err);
    /* By its name Sunday ends a week as well as it begins one. */
    if (rc == 0 && field->kind == &kinds[WEEKDAY] && *high < *low && named(field->kind, second, *at) == 0)
        *high = 7;
    if (rc == 0 && *high < *low)
        return wrong(field, from, *at, "ends before it begins", err);
    return rc;
}

static int32_t read_item(struct field *field, const char **at, cdtx_error *err) {
    int32_t low = 0, high = 0, step = 1;
    const char *from = *at;
    int32_t rc = read_range(field, at, &low, &high, err);
    if (rc != 0)
        return rc;
    const char *end = *at;
    if (end < field->end && *end == '/') {
        ++*at;
        rc = read_step(field, at, &step, err);
        if (rc == 0 && *from != '*' && memchr(from, '-', (size_t)(end - from)) == NULL)
            rc = wrong(field, from, *at, "a step needs '*' or a range before it", err);
    }
    if (rc == 0 && *at < field->end && **at != ',')
        rc = wrong(field, *at, *at + 1, "does not belong here", err);
    for (int32_t value = low; rc == 0 && value <= high; value += step)
        field->set |= UINT64_C(1) << value;
    return rc;
}

static int32_t read_field(struct field *field, cdtx_error *err) {
    const char *at = field->text;
    for (;;) {
        int32_t rc = read_item(field, &at, err);
        if (rc != 0 || at == field->end)
            return rc;
        at++; /* the comma */
    }
}

/* ---- the whole text ---- */

static const struct {
    const char *name, *text;
} nicknames[] = {
    {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"}, {"@weekly", "0 0 * * 0"},
    {"@daily", "0 0 * * *"},  {"@midnight", "0 0 * * *"}, {"@hourly", "0 * * * *"},
};

static const char *skip_blanks(const char *at) {
    return at + strspn(at, " \t");
}

/* The five fields that a nickname stands for; NULL: there is no such name. */
static const char *full_text(const char *name) {
    size_t length = strcspn(name, " \t");
    for (size_t i = 0; i < sizeof nicknames / sizeof nicknames[0]; i++)
        if (strlen(nicknames[i].name) == length && memcmp(nicknames[i].name, name, length) == 0 &&
            *skip_blanks(name + length) == '\0')
            return nicknames[i].text;
    return NULL;
}

static int32_t read_fields(const char *line, struct field fields[FIELDS], cdtx_error *err) {
    const char *at = skip_blanks(line);
    for (size_t i = 0; i < FIELDS; i++) {
        fields[i] = (struct field){.kind = &kinds[i], .line = line, .text = at, .end = at + strcspn(at, " \t")};
        if (*at == '\0')
            return cdtx__fail(err, CDTX_INVALID,
                              "the cron text ends before the %s field; it needs minute, hour, day-of-month, month and "
                              "day-of-week",
                              kinds[i].name);
        int32_t rc = read_field(&fields[i], err);
        if (rc != 0)
            return rc;
        at = skip_blanks(fields[i].end);
    }
    if (*at != '\0')
        return cdtx__fail(err, CDTX_INVALID, "the cron text goes on behind its fifth field: '%.40s' at column %lld", at,
                          (long long)(at - line + 1));
    return 0;
}

/* Each date falls on each weekday in some year, so that only dates that no month has never come. */
static int32_t check_days(const struct cron *cron, const struct field fields[FIELDS], cdtx_error *err) {
    if (cron->either_day)
        return 0;
    for (int32_t month = 1; month <= 12; month++)
        for (int32_t day = 1; day <= cdtx__month_days(2000, month); day++)
            if ((cron->months >> month & 1) != 0 && (cron->days >> day & 1) != 0)
                return 0;
    return wrong(&fields[DAY], fields[DAY].text, fields[DAY].end, "no month of the month field has such a day", err);
}

int32_t cdtx__cron_parse(const char *text, struct cron *cron, cdtx_error *err) {
    if (text == NULL)
        return cdtx__fail(err, CDTX_INVALID, "the cron text is NULL");
    const char *line = text;
    const char *first = skip_blanks(text);
    if (*first == '@')
        line = full_text(first);
    if (line == NULL)
        return cdtx__fail(err, CDTX_INVALID,
                          "'%.40s' at column %lld is none of @yearly, @annually, @monthly, @weekly, @daily, @midnight "
                          "and @hourly",
                          first, (long long)(first - text + 1));
    struct field fields[FIELDS];
    int32_t rc = read_fields(line, fields, err);
    if (rc != 0)
        return rc;
    struct cron read = {.minutes = fields[MINUTE].set,
                        .hours = (uint32_t)fields[HOUR].set,
                        .days = (uint32_t)fields[DAY].set,
                        .months = (uint32_t)fields[MONTH].set,
                        .weekdays = (uint32_t)(fields[WEEKDAY].set | fields[WEEKDAY].set >> 7) & 0x7f,
                        .either_day = *fields[DAY].text != '*' && *fields[WEEKDAY].text != '*',
                        .real_time = *fields[MINUTE].text == '*' || *fields[HOUR].text == '*'};
    rc = check_days(&read, fields, err);
    if (rc == 0)
        *cron = read;
    return rc;
}

/* ---- the next slot; local minutes are counted from 1970, as the wall shows them ---- */

static int is_day(const struct cron *cron, const struct date *date, int32_t weekday) {
    int day = (cron->days >> date->day & 1) != 0, of_week = (cron->weekdays >> weekday & 1) != 0;
    return (cron->months >> date->month & 1) != 0 && (cron->either_day ? day || of_week : day && of_week);
}

/* The first minute of a day that is meant, not before from; -1: none is left. */
static int32_t minute_of_day(const struct cron *cron, int32_t from) {
    for (int32_t hour = from / 60; hour < 24; hour++) {
        int32_t first = hour == from / 60 ? from % 60 : 0;
        uint64_t left = cron->minutes >> first << first;
        if ((cron->hours >> hour & 1) != 0 && left != 0)
            return hour * 60 + __builtin_ctzll(left);
    }
    return -1;
}

/* The first local minute that is meant, from that one on and before limit; limit: there is none. */
static int64_t next_minute(const struct cron *cron, int64_t from, int64_t limit) {
    int64_t day = cdtx__floor_div(from, DAY_MINUTES);
    int32_t rest = (int32_t)(from - day * DAY_MINUTES);
    while (day * DAY_MINUTES < limit) {
        struct date date = cdtx__date(day);
        int32_t minute = is_day(cron, &date, cdtx__weekday(day)) ? minute_of_day(cron, rest) : -1;
        if (minute >= 0)
            return day * DAY_MINUTES + minute < limit ? day * DAY_MINUTES + minute : limit;
        int month_meant = (cron->months >> date.month & 1) != 0;
        day += month_meant ? 1 : cdtx__month_days(date.year, date.month) - date.day + 1;
        rest = 0;
    }
    return limit;
}

int32_t cdtx__cron_next(const struct cron *cron, const struct zone *zone, int64_t after_ms, int64_t *slot_ms,
                        cdtx_error *err) {
    if (after_ms < YEAR_1_MS || after_ms > YEAR_9999_MS)
        return cdtx__fail(err, CDTX_INVALID, "the time %lld is not in the years 1 to 9999", (long long)after_ms);
    int64_t now = cdtx__floor_div(after_ms, 1000) + 1, end = now + (int64_t)HORIZON_DAYS * DAY_S;
    /* A fixed minute that the wall has shown, or passed, is not to come any more. */
    int64_t shown = cron->real_time ? INT64_MIN : cdtx__zone_shown_before(zone, now);
    while (now < end) {
        struct zone_span span = cdtx__zone_span(zone, now);
        int64_t until = span.until < end ? span.until : end;
        int64_t from = cron->real_time ? now + span.offset : shown + 1;
        int64_t limit = -cdtx__floor_div(-(until + span.offset), 60);
        int64_t minute = next_minute(cron, -cdtx__floor_div(-from, 60), limit);
        if (minute < limit) {
            int64_t slot = minute * 60 - span.offset;
            *slot_ms = (slot > now ? slot : now) * 1000;
            return 0;
        }
        if (shown < until - 1 + span.offset)
            shown = until - 1 + span.offset;
        now = until;
    }
    return cdtx__fail(err, CDTX_NOT_FOUND, "the cron expression has no slot in the 100 years after %lld",
                      (long long)after_ms);
}
