#include "view.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <wchar.h>
#include <wctype.h>

#include "status.h"

enum { BYTES_SHOWN = 40, SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR };

/* ---- states ---- */

static const char *const tx_states[] = {"ACTIVE",      "COMMITTING", "ROLLING_BACK", "COMMITTED",
                                        "ROLLED_BACK", "REVERSING",  "REVERSED",     NULL};
static const char *const job_states[] = {"READY", "LEASED", "DEAD", "WAITING", "NEXT", NULL};
static const char *const case_states[] = {"OPEN", "CLOSED", NULL};
static const char *const half_states[] = {"OPEN", "COMMITTED", "ROLLED_BACK", NULL};
static const char *const *const states[LOOK_COUNT] = {[LOOK_TX_STATE] = tx_states,
                                                      [LOOK_JOB_STATE] = job_states,
                                                      [LOOK_CASE_STATE] = case_states,
                                                      [LOOK_HALF_STATE] = half_states};

const char *view_state(enum look look, int64_t number) {
    for (int64_t i = 1; states[look] != NULL && states[look][i - 1] != NULL; i++)
        if (i == number)
            return states[look][i - 1];
    return NULL;
}

static int same_word(const char *word, const char *state) {
    while (*word != '\0' && (strncasecmp(word, state, 1) == 0 || (*word == '-' && *state == '_')))
        word++, state++;
    return *word == *state;
}

int32_t view_state_number(enum look look, const char *word) {
    char known[160] = "";
    for (int32_t i = 1; states[look][i - 1] != NULL; i++) {
        if (same_word(word, states[look][i - 1]))
            return i;
        size_t length = strlen(known);
        (void)snprintf(known + length, sizeof known - length, "%s%s", i == 1 ? "" : ", ", states[look][i - 1]);
    }
    status_say("unknown state '%s'; there are %s", word, known);
    return 0;
}

/* ---- times ---- */

static void write_span(FILE *out, int64_t ms) {
    if (ms < SECOND)
        (void)fprintf(out, "%" PRId64 "ms", ms);
    else if (ms < 2 * MINUTE)
        (void)fprintf(out, "%" PRId64 "s", ms / SECOND);
    else if (ms < 2 * HOUR)
        (void)fprintf(out, "%" PRId64 "m", ms / MINUTE);
    else if (ms < 2 * DAY)
        (void)fprintf(out, "%" PRId64 "h", ms / HOUR);
    else
        (void)fprintf(out, "%" PRId64 "d", ms / DAY);
}

static int64_t now_ms(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * SECOND + now.tv_nsec / 1000000;
}

static void write_ago(FILE *out, int64_t ms) {
    if (ms < 0) {
        /* The clock was ahead when it was written, or is behind now. */
        (void)fputs("in ", out);
        write_span(out, -ms);
    } else if (ms < SECOND) {
        (void)fputs("now", out);
    } else {
        write_span(out, ms);
        (void)fputs(" ago", out);
    }
}

void view_write_ago(FILE *out, int64_t at_ms) {
    write_ago(out, now_ms() - at_ms);
}

static void write_due(FILE *out, int64_t ms) {
    if (ms > 0)
        (void)fputs("in ", out);
    if (ms > -SECOND && ms <= 0)
        (void)fputs("now", out);
    else
        write_span(out, ms < 0 ? -ms : ms);
    if (ms <= -SECOND)
        (void)fputs(" late", out);
}

static void write_date(FILE *out, int64_t ms) {
    struct tm date;
    char text[32];
    time_t seconds = (time_t)(ms / SECOND);
    if (gmtime_r(&seconds, &date) != NULL && strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &date) > 0)
        (void)fprintf(out, "%s, ", text);
}

/* ---- texts ---- */

/* The length of the character, 0 when the bytes begin none. */
static size_t read_character(const char *bytes, size_t length, wchar_t *character) {
    mbstate_t state = {0};
    size_t got = mbrtowc(character, bytes, length, &state);
    if (got == (size_t)-1 || got == (size_t)-2)
        return 0;
    return got == 0 ? 1 : got;
}

static int is_utf8(const char *bytes, size_t length, int control) {
    wchar_t character = 0;
    for (size_t at = 0, got; at < length; at += got) {
        got = read_character(bytes + at, length - at, &character);
        if (got == 0)
            return 0;
        if (!control && iswcntrl((wint_t)character) && character != L'\t' && character != L'\r' && character != L'\n')
            return 0;
    }
    return 1;
}

int view_is_utf8(const char *bytes, size_t length) {
    return is_utf8(bytes, length, 1);
}

int view_is_text(const char *bytes, size_t length) {
    return is_utf8(bytes, length, 0);
}

void view_write_text(FILE *out, const char *bytes, size_t length, size_t columns_max) {
    size_t columns = 0;
    for (size_t at = 0, got; at < length; at += got) {
        wchar_t character = 0;
        got = read_character(bytes + at, length - at, &character);
        int width = got == 0 ? -1 : character == 0 ? -1 : wcwidth(character);
        columns += width < 0 ? 4 * (got == 0 ? 1 : got) : (size_t)width;
        if (columns_max != 0 && columns > columns_max) {
            (void)fputs("\u2026", out);
            return;
        }
        if (width >= 0) {
            (void)fwrite(bytes + at, 1, got, out);
            continue;
        }
        got = got == 0 ? 1 : got;
        for (size_t i = 0; i < got; i++)
            (void)fprintf(out, "\\x%02x", (unsigned char)bytes[at + i]);
    }
}

static void write_bytes(FILE *out, const char *bytes, size_t length, size_t columns_max) {
    if (bytes == NULL) {
        (void)fputc('-', out);
        return;
    }
    if (view_is_text(bytes, length)) {
        view_write_text(out, bytes, length, columns_max);
        return;
    }
    size_t shown = columns_max != 0 && length * 2 > columns_max ? columns_max / 2 : length;
    (void)fputs("0x", out);
    for (size_t i = 0; i < shown; i++)
        (void)fprintf(out, "%02x", (unsigned char)bytes[i]);
    if (shown < length)
        (void)fputs("\u2026", out);
}

/* ---- values ---- */

uint32_t view_find(const cdtx_report *report, const char *name) {
    const char *at;
    for (uint32_t i = 0; (at = cdtx_report_name(report, i)) != NULL; i++)
        if (strcmp(at, name) == 0)
            return i;
    return UINT32_MAX;
}

int64_t view_int(const cdtx_report *report, const char *name) {
    return cdtx_report_int(report, view_find(report, name));
}

const char *view_text(const cdtx_report *report, const char *name) {
    return cdtx_report_text(report, view_find(report, name), NULL);
}

int view_says(const cdtx_report *report, const char *name, const char *text) {
    const char *says = view_text(report, name);
    return says != NULL && strcmp(says, text) == 0;
}

int view_is_number(enum look look) {
    return look == LOOK_ANSWERED;
}

static void write_plain(FILE *out, const cdtx_report *report, uint32_t column) {
    size_t length = 0;
    const char *text = cdtx_report_text(report, column, &length);
    switch (cdtx_report_type(report, column)) {
    case CDTX_INT:
        (void)fprintf(out, "%" PRId64, cdtx_report_int(report, column));
        break;
    case CDTX_TEXT:
        view_write_text(out, text, length, 0);
        break;
    case CDTX_BLOB:
        write_bytes(out, text, length, 0);
        break;
    default:
        (void)fputc('-', out);
    }
}

static void write_time(FILE *out, enum look look, int64_t ms) {
    if (look == LOOK_AT)
        view_write_ago(out, ms);
    else if (look == LOOK_SINCE)
        write_ago(out, ms);
    else if (look == LOOK_SPAN)
        write_span(out, ms);
    else
        write_due(out, ms);
}

void view_write(FILE *out, const struct view *view, const struct view_column *column, const cdtx_report *report) {
    uint32_t at = view_find(report, column->name);
    int64_t number = cdtx_report_int(report, at);
    int is_number = cdtx_report_type(report, at) == CDTX_INT;
    const char *state = is_number ? view_state(column->look, number) : NULL;
    size_t length = 0;
    const char *text = cdtx_report_text(report, at, &length);
    if (state != NULL) {
        uint32_t parked = column->look == LOOK_TX_STATE ? view_find(report, "parked") : UINT32_MAX;
        (void)fprintf(out, "%s%s", state, cdtx_report_type(report, parked) == CDTX_TEXT ? ", parked" : "");
    } else if (is_number && column->look >= LOOK_AT && column->look <= LOOK_DUE)
        write_time(out, column->look, number);
    else if (is_number && column->look == LOOK_ANSWERED)
        (void)fprintf(out, "%" PRId64 "/%" PRId64, number, cdtx_report_int(report, view_find(report, "branches")));
    else if (is_number && column->look == LOOK_YES)
        (void)fputs(number != 0 ? "yes" : "no", out);
    else if (column->look == LOOK_NAMED && view->database != NULL) {
        (void)fprintf(out, "%s/", view->database);
        write_plain(out, report, at);
    } else if (column->look == LOOK_GROUP) {
        (void)fprintf(out, "%s/", view->database);
        write_plain(out, report, view_find(report, "topic"));
        (void)fputc('/', out);
        write_plain(out, report, view_find(report, "group"));
    } else if (column->look == LOOK_BYTES)
        write_bytes(out, text, length, BYTES_SHOWN);
    else
        write_plain(out, report, at);
}

int view_is_null(const struct view_column *column, const cdtx_report *report) {
    return cdtx_report_type(report, view_find(report, column->name)) == CDTX_NULL;
}

void view_write_full(FILE *out, const struct view *view, const struct view_column *column, const cdtx_report *report) {
    uint32_t at = view_find(report, column->name);
    size_t length = 0;
    const char *text = cdtx_report_text(report, at, &length);
    if (column->look == LOOK_BYTES) {
        write_bytes(out, text, length, 0);
        (void)fprintf(out, " (%zu bytes)", length);
        return;
    }
    if (column->look == LOOK_AT && cdtx_report_type(report, at) == CDTX_INT)
        write_date(out, cdtx_report_int(report, at));
    view_write(out, view, column, report);
}
