#include "pattern/retry_zone.h"

#include "base/buf.h"
#include "pattern/retry_calendar.h"

/* Transitions beyond this, either way, are no time at all (RFC 9636, section 3.2, has it as the lower bound). */
#define CHANGE_MAX_S (INT64_C(1) << 59)

enum { HEADER = 44, TYPE = 6 }; /* bytes */

/* A day of each year: the n-th without 29 February ever counted (Jn), from 0 with it (n), or a weekday of a month, the
 * last one being the fifth (Mm.w.d); and the local time of that day, in seconds, which may be some days off. */
struct day_rule {
    char form; /* 'J', 'n' or 'M' */
    int32_t month, week, day;
    int32_t time;
};

struct rule {
    int known;
    int32_t offset; /* of standard time */
    int has_saving; /* daylight saving time, which may also be behind standard time */
    int32_t saving;
    struct day_rule start, end; /* of saving; start is in standard time, end in saving time */
};

struct change {
    int64_t at;
    int32_t offset; /* from then on */
};

struct zone {
    size_t size;
    int32_t offset;   /* before the first change */
    struct rule rule; /* after the last */
    size_t count;
    struct change changes[]; /* by time */
};

/* ---- the rule ---- */

static int64_t day_of(const struct day_rule *rule, int64_t year) {
    int64_t first = cdtx__day_number(year, rule->form == 'M' ? rule->month : 1, 1);
    if (rule->form == 'n')
        return first + rule->day;
    if (rule->form == 'J')
        return first + rule->day - 1 + (rule->day >= 60 && cdtx__is_leap(year));
    int64_t day = (rule->day - cdtx__weekday(first) + 7) % 7 + (rule->week - 1) * 7;
    return first + (day < cdtx__month_days(year, rule->month) ? day : day - 7);
}

static int64_t start_of(const struct rule *rule, int64_t year) {
    return day_of(&rule->start, year) * DAY_S + rule->start.time - rule->offset;
}

/* Of the saving time that starts in that year. South of the equator, and where it lasts all year, in the next. */
static int64_t end_of(const struct rule *rule, int64_t year) {
    int64_t end = day_of(&rule->end, year) * DAY_S + rule->end.time - rule->saving;
    if (end > start_of(rule, year))
        return end;
    return day_of(&rule->end, year + 1) * DAY_S + rule->end.time - rule->saving;
}

static void cut_span(struct zone_span *span, int64_t utc_s, int64_t at) {
    if (at <= utc_s)
        span->from = at > span->from ? at : span->from;
    else
        span->until = at < span->until ? at : span->until;
}

/* The times of a rule may lie a week outside its year, hence two years to both sides. Each start and end cuts, also one
 * within the saving time of another year, so that spans never overlap. */
static struct zone_span rule_span(const struct rule *rule, int64_t utc_s) {
    struct zone_span span = {INT64_MIN, INT64_MAX, rule->offset};
    if (!rule->has_saving)
        return span;
    int64_t year = cdtx__date(cdtx__floor_div(utc_s, DAY_S)).year;
    for (int64_t y = year - 2; y <= year + 2; y++) {
        int64_t start = start_of(rule, y), end = end_of(rule, y);
        cut_span(&span, utc_s, start);
        cut_span(&span, utc_s, end);
        if (start <= utc_s && utc_s < end)
            span.offset = rule->saving;
    }
    return span;
}

/* ---- questions ---- */

/* How many changes were made until then. */
static size_t changes_until(const struct zone *zone, int64_t utc_s) {
    size_t low = 0, high = zone->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (zone->changes[middle].at <= utc_s)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct zone_span cdtx__zone_span(const struct zone *zone, int64_t utc_s) {
    INVARIANT(utc_s >= -CHANGE_MAX_S && utc_s <= CHANGE_MAX_S);
    size_t made = changes_until(zone, utc_s);
    struct zone_span span = {INT64_MIN, INT64_MAX, zone->offset};
    if (made < zone->count)
        span.until = zone->changes[made].at;
    else if (zone->rule.known)
        span = rule_span(&zone->rule, utc_s);
    if (made == 0)
        return span;
    const struct change *last = &zone->changes[made - 1];
    if (made < zone->count || !zone->rule.known)
        span.offset = last->offset;
    if (span.from < last->at)
        span.from = last->at;
    return span;
}

int cdtx__zone_instants(const struct zone *zone, int64_t local_s, int64_t at[2]) {
    INVARIANT(local_s >= -ZONE_TIME_MAX_S && local_s <= ZONE_TIME_MAX_S);
    int count = 0, skipped = 0;
    int64_t passed = 0;
    /* The wall shows nothing later than local_s before the first of these spans, nothing earlier behind the last. */
    struct zone_span span = cdtx__zone_span(zone, local_s - ZONE_OFFSET_MAX_S);
    for (;;) {
        int64_t utc = local_s - span.offset;
        if (span.from <= utc && utc < span.until) {
            at[count > 0] = utc;
            count++;
        }
        if (span.until > local_s - ZONE_OFFSET_MIN_S)
            break;
        int64_t next = span.until;
        span = cdtx__zone_span(zone, next);
        if (!skipped && next + span.offset > local_s) {
            skipped = 1;
            passed = next;
        }
    }
    INVARIANT(count > 0 || skipped);
    if (count == 0)
        at[0] = at[1] = passed;
    if (count == 1)
        at[1] = at[0];
    return count < 2 ? count : 2;
}

int64_t cdtx__zone_shown_before(const struct zone *zone, int64_t utc_s) {
    INVARIANT(utc_s >= -ZONE_TIME_MAX_S && utc_s <= ZONE_TIME_MAX_S);
    int64_t latest = INT64_MIN, at = utc_s - 1;
    /* What was shown before that, under whatever offset, is earlier than what is shown under any other now. */
    const int64_t oldest = utc_s - 1 - (ZONE_OFFSET_MAX_S - ZONE_OFFSET_MIN_S);
    while (at >= oldest) {
        struct zone_span span = cdtx__zone_span(zone, at);
        if (at + span.offset > latest)
            latest = at + span.offset;
        if (span.from == INT64_MIN)
            break;
        at = span.from - 1;
    }
    return latest;
}

/* ---- reading the footer's rule ---- */

static int32_t corrupt(size_t at, const char *what, cdtx_error *err) {
    return cdtx__fail(err, CDTX_CORRUPT, "the time-zone file is wrong at byte %zu: %s", at, what);
}

struct footer {
    const uint8_t *bytes; /* of the file */
    size_t at, end;
    int extended; /* version 3 and later: hours of a rule from -167 to 167 */
};

/* 0 at the end; a NUL within is as wrong as the end is. */
static char peek(const struct footer *footer) {
    return footer->at < footer->end ? (char)footer->bytes[footer->at] : '\0';
}

static int skip(struct footer *footer, char wanted) {
    if (peek(footer) != wanted || wanted == '\0')
        return 0;
    footer->at++;
    return 1;
}

static int is_digit(char c) {
    return c >= '0' && c <= '9';
}

static int is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static int32_t skip_name(struct footer *footer, cdtx_error *err) {
    size_t from = footer->at;
    int quoted = skip(footer, '<');
    size_t first = footer->at;
    for (char c = peek(footer); is_letter(c) || (quoted && (is_digit(c) || c == '+' || c == '-')); c = peek(footer))
        footer->at++;
    size_t length = footer->at - first;
    if (length < 3 || (quoted && !skip(footer, '>')))
        return corrupt(from, "the footer needs the name of a local time here, of 3 letters or more", err);
    return 0;
}

/* want is the sentence if there is no number of three digits at most, or it is not from min to max. */
static int32_t read_number(struct footer *footer, int32_t min, int32_t max, const char *want, int32_t *number,
                           cdtx_error *err) {
    size_t from = footer->at;
    *number = 0;
    for (; is_digit(peek(footer)) && footer->at - from < 3; footer->at++)
        *number = *number * 10 + (peek(footer) - '0');
    if (footer->at == from || is_digit(peek(footer)) || *number < min || *number > max)
        return corrupt(from, want, err);
    return 0;
}

/* [+-]hh[:mm[:ss]] in seconds. */
static int32_t read_time(struct footer *footer, int32_t hours_max, const char *want, int32_t *seconds,
                         cdtx_error *err) {
    int negative = skip(footer, '-');
    if (!negative)
        skip(footer, '+');
    int32_t hour = 0, minute = 0, second = 0;
    int32_t rc = read_number(footer, 0, hours_max, want, &hour, err);
    if (rc == 0 && skip(footer, ':')) {
        rc = read_number(footer, 0, 59, "the footer needs a minute from 0 to 59 here", &minute, err);
        if (rc == 0 && skip(footer, ':'))
            rc = read_number(footer, 0, 59, "the footer needs a second from 0 to 59 here", &second, err);
    }
    *seconds = hour * 3600 + minute * 60 + second;
    *seconds = negative ? -*seconds : *seconds;
    return rc;
}

/* The time that must be added to local time to get UTC: the other way round than an offset. */
static int32_t read_offset(struct footer *footer, int32_t *offset, cdtx_error *err) {
    int32_t west = 0;
    int32_t rc = read_time(footer, 24, "the footer needs an hour from 0 to 24 here", &west, err);
    *offset = -west;
    return rc;
}

static int32_t read_weekday(struct footer *footer, struct day_rule *rule, cdtx_error *err) {
    rule->form = 'M';
    int32_t rc = read_number(footer, 1, 12, "the footer needs a month from 1 to 12 here", &rule->month, err);
    if (rc == 0 && !skip(footer, '.'))
        rc = corrupt(footer->at, "the footer needs a '.' and a week here", err);
    if (rc == 0)
        rc = read_number(footer, 1, 5, "the footer needs a week from 1 to 5 here", &rule->week, err);
    if (rc == 0 && !skip(footer, '.'))
        rc = corrupt(footer->at, "the footer needs a '.' and a weekday here", err);
    if (rc == 0)
        rc = read_number(footer, 0, 6, "the footer needs a weekday from 0 to 6 here", &rule->day, err);
    return rc;
}

static int32_t read_day(struct footer *footer, struct day_rule *rule, cdtx_error *err) {
    *rule = (struct day_rule){.form = 'n', .time = 2 * 3600};
    int32_t rc;
    if (!skip(footer, ','))
        return corrupt(footer->at, "the footer needs a ',' and a day here", err);
    if (skip(footer, 'M')) {
        rc = read_weekday(footer, rule, err);
    } else if (skip(footer, 'J')) {
        rule->form = 'J';
        rc = read_number(footer, 1, 365, "the footer needs a day from 1 to 365 here", &rule->day, err);
    } else {
        rc = read_number(footer, 0, 365, "the footer needs a day from 0 to 365 here", &rule->day, err);
    }
    if (rc != 0 || !skip(footer, '/'))
        return rc;
    if (footer->extended)
        return read_time(footer, 167, "the footer needs an hour from -167 to 167 here", &rule->time, err);
    if (!is_digit(peek(footer)))
        return corrupt(footer->at, "the footer needs an hour from 0 to 24 here", err);
    return read_time(footer, 24, "the footer needs an hour from 0 to 24 here", &rule->time, err);
}

/* std offset [dst [offset] , start [/time] , end [/time]] */
static int32_t read_rule(struct footer *footer, struct rule *rule, cdtx_error *err) {
    rule->known = 1;
    int32_t rc = skip_name(footer, err);
    if (rc == 0)
        rc = read_offset(footer, &rule->offset, err);
    if (rc == 0 && footer->at < footer->end) {
        rule->has_saving = 1;
        rule->saving = rule->offset + 3600;
        rc = skip_name(footer, err);
        if (rc == 0 && footer->at < footer->end && peek(footer) != ',')
            rc = read_offset(footer, &rule->saving, err);
        if (rc == 0)
            rc = read_day(footer, &rule->start, err);
        if (rc == 0)
            rc = read_day(footer, &rule->end, err);
    }
    if (rc == 0 && footer->at < footer->end)
        rc = corrupt(footer->at, "the footer goes on where its rule has ended", err);
    return rc;
}

static int32_t read_footer(const struct reader *file, char version, struct rule *rule, cdtx_error *err) {
    struct footer footer = {file->bytes, file->at, file->length, version >= '3'};
    if (!skip(&footer, '\n'))
        return corrupt(footer.at, "the footer must begin with a newline", err);
    const uint8_t *newline = memchr(footer.bytes + footer.at, '\n', footer.end - footer.at);
    if (newline == NULL)
        return corrupt(footer.end, "the footer must end with a newline", err);
    size_t end = (size_t)(newline - footer.bytes);
    if (end + 1 < footer.end)
        return corrupt(end + 1, "the file goes on where its footer has ended", err);
    footer.end = end;
    return footer.at == end ? 0 : read_rule(&footer, rule, err);
}

/* ---- reading the blocks ---- */

/* A header's counts, and where its data is. */
struct block {
    char version;     /* '1' for the NUL of version 1 */
    size_t time_size; /* of a transition */
    uint32_t ut_count, std_count, leap_count, time_count, type_count, text_length;
    size_t header, times, indices, types, texts, indicators, end;
};

/* A reader that goes on from there; blocks are checked to lie within the file before any of their parts is read. */
static struct reader part(const struct reader *file, size_t at) {
    struct reader reader = *file;
    reader.at = at;
    return reader;
}

static int32_t read_version(uint8_t byte, size_t at, char *version, cdtx_error *err) {
    *version = byte == 0 ? '1' : (char)byte;
    if (*version >= '1' && *version <= '4' && byte != '1')
        return 0;
    if (byte >= '5' && byte <= '9')
        return cdtx__fail(err, CDTX_UNSUPPORTED, "the time-zone file is of version %c, at byte %zu; known are 1 to 4",
                          byte, at);
    return corrupt(at, "this is no version", err);
}

static int32_t read_header(struct reader *file, size_t time_size, struct block *block, cdtx_error *err) {
    *block = (struct block){.time_size = time_size, .header = file->at};
    if (file->length - file->at < HEADER)
        return corrupt(file->length, "it ends within a header", err);
    if (memcmp(file->bytes + file->at, "TZif", 4) != 0)
        return corrupt(file->at, "a header must begin with 'TZif'", err);
    file->at += 4;
    int32_t rc = read_version(cdtx__read_u8(file), block->header + 4, &block->version, err);
    file->at += 15; /* reserved */
    uint32_t *counts[] = {&block->ut_count,   &block->std_count,  &block->leap_count,
                          &block->time_count, &block->type_count, &block->text_length};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        *counts[i] = cdtx__read_u32(file);
    if (rc != 0)
        return rc;
    /* Counts have 32 bits, so that these products cannot wrap. */
    uint64_t data = block->time_count * (uint64_t)(time_size + 1) + block->type_count * (uint64_t)TYPE +
                    block->text_length + block->leap_count * (uint64_t)(time_size + 4) + block->std_count +
                    block->ut_count;
    if (data > file->length - file->at)
        return corrupt(file->length, "it ends within its data", err);
    block->times = file->at;
    block->indices = block->times + block->time_count * time_size;
    block->types = block->indices + block->time_count;
    block->texts = block->types + block->type_count * (size_t)TYPE;
    block->indicators = block->texts + block->text_length + block->leap_count * (time_size + 4);
    block->end = block->indicators + block->std_count + block->ut_count;
    file->at = block->end;
    return 0;
}

static int32_t check_counts(const struct block *block, cdtx_error *err) {
    if (block->leap_count != 0)
        return cdtx__fail(err, CDTX_UNSUPPORTED,
                          "the time-zone file counts leap seconds, at byte %zu, as those below right/ do; take the one "
                          "of the same name that does not",
                          block->header + 28);
    if (block->ut_count != 0 && block->ut_count != block->type_count)
        return corrupt(block->header + 20, "there must be as many UT indicators as types, or none", err);
    if (block->std_count != 0 && block->std_count != block->type_count)
        return corrupt(block->header + 24, "there must be as many standard indicators as types, or none", err);
    if (block->type_count == 0 || block->type_count > 256)
        return corrupt(block->header + 36, "there must be from 1 to 256 types", err);
    if (block->text_length == 0)
        return corrupt(block->header + 40, "there must be a name", err);
    return 0;
}

static int32_t read_type(const struct reader *file, const struct block *block, uint32_t index, int32_t *offset,
                         cdtx_error *err) {
    struct reader type = part(file, block->types + (size_t)index * TYPE);
    *offset = (int32_t)cdtx__read_u32(&type);
    if (*offset < ZONE_OFFSET_MIN_S || *offset > ZONE_OFFSET_MAX_S)
        return corrupt(type.at - 4, "an offset must be from -24:59:59 to 25:59:59", err);
    if (cdtx__read_u8(&type) > 1)
        return corrupt(type.at - 1, "whether it is daylight saving time must be 0 or 1", err);
    if (cdtx__read_u8(&type) >= block->text_length)
        return corrupt(type.at - 1, "a name must begin within the names", err);
    return 0;
}

/* What is not needed later must be right too: a file that is wrong anywhere is not believed elsewhere. */
static int32_t check_types(const struct reader *file, const struct block *block, cdtx_error *err) {
    int32_t offset, rc = 0;
    for (uint32_t i = 0; rc == 0 && i < block->type_count; i++)
        rc = read_type(file, block, i, &offset, err);
    if (rc != 0)
        return rc;
    size_t last = block->texts + block->text_length - 1;
    if (file->bytes[last] != 0)
        return corrupt(last, "the last name must end with a NUL", err);
    for (size_t at = block->indicators; at < block->end; at++)
        if (file->bytes[at] > 1)
            return corrupt(at, "an indicator must be 0 or 1", err);
    size_t ut = block->indicators + block->std_count;
    for (size_t i = 0; i < block->ut_count; i++)
        if (file->bytes[ut + i] == 1 && (block->std_count == 0 || file->bytes[block->indicators + i] == 0))
            return corrupt(ut + i, "a type in UT must be one in standard time", err);
    return 0;
}

static int64_t read_time_value(struct reader *times, size_t time_size) {
    return time_size == 8 ? (int64_t)cdtx__read_u64(times) : (int32_t)cdtx__read_u32(times);
}

static int32_t read_changes(const struct reader *file, const struct block *block, struct zone *zone,
                            cdtx_error *err) {
    struct reader times = part(file, block->times), indices = part(file, block->indices);
    for (size_t i = 0; i < block->time_count; i++) {
        struct change *change = &zone->changes[i];
        change->at = read_time_value(&times, block->time_size);
        if (change->at < -CHANGE_MAX_S || change->at > CHANGE_MAX_S)
            return corrupt(times.at - block->time_size, "a transition must be within 2^59 seconds of 1970", err);
        if (i > 0 && change->at <= change[-1].at)
            return corrupt(times.at - block->time_size, "a transition must be after the one before it", err);
        uint8_t index = cdtx__read_u8(&indices);
        if (index >= block->type_count)
            return corrupt(indices.at - 1, "a transition must be to a type that there is", err);
        int32_t rc = read_type(file, block, index, &change->offset, err);
        if (rc != 0)
            return rc;
    }
    zone->count = block->time_count;
    return read_type(file, block, 0, &zone->offset, err);
}

/* RFC 9636, section 3.3: a rule must give the type of the last transition at its time. */
static int32_t check_rule(const struct zone *zone, size_t at, cdtx_error *err) {
    if (!zone->rule.known || zone->count == 0)
        return 0;
    const struct change *last = &zone->changes[zone->count - 1];
    if (rule_span(&zone->rule, last->at).offset != last->offset)
        return corrupt(at, "the footer's rule must agree with the last transition", err);
    return 0;
}

static int32_t fill(struct zone *zone, struct reader *file, const struct block *block, cdtx_error *err) {
    int32_t rc = check_types(file, block, err);
    if (rc == 0)
        rc = read_changes(file, block, zone, err);
    if (rc == 0 && block->version != '1')
        rc = read_footer(file, block->version, &zone->rule, err);
    else if (rc == 0 && file->at < file->length)
        rc = corrupt(file->at, "the file goes on where its data has ended", err);
    return rc == 0 ? check_rule(zone, file->at, err) : rc;
}

int32_t cdtx__zone_parse(const cdtx_env *env, const void *bytes, size_t length, struct zone **out, cdtx_error *err) {
    if (length > ZONE_FILE_MAX)
        return cdtx__fail(err, CDTX_LIMIT, "a time-zone file of %zu bytes is larger than %d", length, ZONE_FILE_MAX);
    struct reader file = cdtx__reader(bytes, length);
    struct block block;
    int32_t rc = read_header(&file, 4, &block, err);
    /* The 32-bit block is there for readers of version 1 only; the file's truth is in the second. */
    char version = block.version;
    if (rc == 0 && version != '1')
        rc = read_header(&file, 8, &block, err);
    if (rc == 0 && block.version != version)
        rc = corrupt(block.header + 4, "both headers must have the same version", err);
    if (rc == 0)
        rc = check_counts(&block, err);
    if (rc != 0)
        return rc;
    size_t size = sizeof(struct zone) + block.time_count * sizeof(struct change);
    struct zone *zone = cdtx__alloc(env, size);
    if (zone == NULL)
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory for a time zone");
    zone->size = size;
    rc = fill(zone, &file, &block, err);
    if (rc != 0)
        cdtx__zone_free(env, zone);
    else
        *out = zone;
    return rc;
}

int32_t cdtx__zone_load(const cdtx_env *env, const char *name, struct zone **zone, cdtx_error *err) {
    void *bytes = cdtx__alloc(env, ZONE_FILE_MAX);
    if (bytes == NULL)
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory for the file of a time zone");
    size_t length = 0;
    cdtx_error why = {0};
    int32_t rc = cdtx__env_zone(env, name, bytes, ZONE_FILE_MAX, &length, err);
    if (rc == 0) {
        rc = cdtx__zone_parse(env, bytes, length, zone, &why);
        if (rc != 0)
            cdtx__fail(err, rc, "time zone '%s': %s", name, why.text);
    }
    cdtx__free(env, bytes, ZONE_FILE_MAX);
    return rc;
}

void cdtx__zone_free(const cdtx_env *env, struct zone *zone) {
    if (zone != NULL)
        cdtx__free(env, zone, zone->size);
}
