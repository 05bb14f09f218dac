/* Cron expressions: which minutes of a wall clock they mean, and at which instants these come in a time zone.
 *
 * The text is that of crontab(5) of Vixie's cron: minute, hour, day-of-month, month, day-of-week; "*", numbers, ranges,
 * lists, steps behind "*" or a range, names of three letters for months and weekdays in either case, 0 and 7 both
 * Sunday; or @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually. Two things are wider: a range may end
 * in SUN ("FRI-SUN"), and names may stand in lists and ranges.
 *
 * When both day fields are restricted, a day is meant that matches either of them, else one that matches both;
 * restricted is a field that does not begin with "*" (crontab(5), "either field matches"; DOM_STAR and DOW_STAR in
 * entry.c and find_jobs of cron.c of Vixie's cron, which look at the first character only, so "*" with a step counts
 * as not restricted).
 *
 * When the wall clock is put forward or back (cron(8) of Debian's cron; MIN_STAR and HR_STAR in cron.c of Vixie's):
 *  - An expression whose minute or hour field begins with "*" goes by real time: each minute that the wall shows counts
 *    as often as it is shown, and one that is skipped does not.
 *  - Any other is fixed: its minute counts once, at the first instant at which the wall shows it or something later. So
 *    a minute shown twice counts the first time, and all that were skipped count together at the instant of the jump.
 * Those crons take a jump of three hours or more for a correction of the clock; here a jump comes from the rules of
 * the zone, where it never is one, so it has no limit: Samoa's skipped 30 December 2011 counts at its end.
 *
 * A minute is shown when its second 0 is. */
#ifndef CDTX_PATTERN_RETRY_CRON_H
#define CDTX_PATTERN_RETRY_CRON_H

#include "pattern/retry_zone.h"

/* Sets of bits by number. */
struct cron {
    uint64_t minutes;
    uint32_t hours, days, months, weekdays; /* days and months from 1; Sunday is 0 */
    int either_day;                         /* day or weekday, not both */
    int real_time;
};

/* Errors: INVALID, with the field, the column and what is wrong, also when the expression can never come true
 * ("0 0 30 2 *"). *cron is left alone then. */
int32_t cdtx__cron_parse(const char *text, struct cron *cron, cdtx_error *err);

/* The first slot strictly after after_ms, both in milliseconds since 1970 UTC; a slot is a whole second. Errors:
 * INVALID (after_ms is not in the years 1 to 9999), NOT_FOUND (none within 100 years: only a zone that skips every
 * minute of a real-time expression has none; the longest wait otherwise is 40 years, for a 29 February on one weekday).
 */
int32_t cdtx__cron_next(const struct cron *cron, const struct zone *zone, int64_t after_ms, int64_t *slot_ms,
                        cdtx_error *err);

#endif
