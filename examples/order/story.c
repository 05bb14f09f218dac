#include "story.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *bold = "", *faint = "", *red = "", *green = "", *yellow = "", *plain = "";

void story_start(void) {
    const char *no_color = getenv("NO_COLOR");
    const char *terminal = getenv("TERM");
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    if (!isatty(STDOUT_FILENO) || (no_color != NULL && no_color[0] != '\0') || terminal == NULL ||
        strcmp(terminal, "dumb") == 0)
        return;
    bold = "\033[1m";
    faint = "\033[2m";
    red = "\033[31m";
    green = "\033[32m";
    yellow = "\033[33m";
    plain = "\033[0m";
}

static void __attribute__((format(printf, 2, 0))) line(const char *color, const char *format, va_list arguments) {
    (void)printf("   %s", color);
    (void)vprintf(format, arguments);
    (void)printf("%s\n", *color != '\0' ? plain : "");
}

void story_title(int number, const char *title) {
    if (number > 0)
        (void)printf("\n%s%d. %s%s\n", bold, number, title, plain);
    else
        (void)printf("\n%s%s%s\n", bold, title, plain);
}

void story_event(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    line("", format, arguments);
    va_end(arguments);
}

void story_why(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    line(faint, format, arguments);
    va_end(arguments);
}

/* What waits for a decision stands out. */
static void amount(int64_t count, const char *what, int open, const char *end) {
    const char *color = open && count != 0 ? yellow : "";
    (void)printf("%s%6" PRId64 " %s%s%s", color, count, what, *color != '\0' ? plain : "", end);
}

void story_balance(const char *moment, const struct balance *balance) {
    (void)printf("   %-8s stock ", moment);
    amount(balance->free, "free", 0, "");
    amount(balance->held, "held", 1, "");
    amount(balance->sold, "sold", 0, "   | orders ");
    amount(balance->fresh, "new", 1, "");
    amount(balance->confirmed, "confirmed", 0, "");
    amount(balance->cancelled, "cancelled", 0, "");
    if (balance->closed > 0)
        amount(balance->closed, "closed", 0, "");
    (void)printf("\n");
}

void story_verdict(int consistent, const char *format, ...) {
    va_list arguments;
    (void)printf("   %s%s%s: ", consistent ? green : red, consistent ? "consistent" : "NOT CONSISTENT", plain);
    va_start(arguments, format);
    (void)vprintf(format, arguments);
    va_end(arguments);
    (void)printf("\n");
}

void story_end(int consistent, int count) {
    const char *color = consistent == count ? green : red;
    (void)printf("\n%sdemo: %d of %d scenarios consistent%s\n", color, consistent, count, plain);
}
