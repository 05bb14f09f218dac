/* The Gregorian calendar as numbers of days, 1970-01-01 being 0, for any year. Howard Hinnant: "chrono-Compatible
 * Low-Level Date Algorithms" (howardhinnant.github.io/date_algorithms.html): a year begins in March there, so that the
 * leap day is its last. */
#ifndef CDTX_PATTERN_RETRY_CALENDAR_H
#define CDTX_PATTERN_RETRY_CALENDAR_H

#include <stdint.h>

enum { DAY_S = 86400, DAYS_OF_400_YEARS = 146097, DAYS_BEFORE_1970 = 719468 /* from 0000-03-01 */ };

struct date {
    int64_t year;
    int32_t month, day; /* from 1 */
};

/* Rounded down, also below zero; b is positive. */
static inline int64_t cdtx__floor_div(int64_t a, int64_t b) {
    return a / b - (a % b < 0);
}

static inline int64_t cdtx__day_number(int64_t year, int32_t month, int32_t day) {
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = cdtx__floor_div(y, 400), year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * DAYS_OF_400_YEARS + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
           DAYS_BEFORE_1970;
}

static inline struct date cdtx__date(int64_t day_number) {
    int64_t days = day_number + DAYS_BEFORE_1970;
    int64_t era = cdtx__floor_div(days, DAYS_OF_400_YEARS), day_of_era = days - era * DAYS_OF_400_YEARS;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int32_t from_march = (int32_t)((5 * day_of_year + 2) / 153);
    struct date date = {.year = year_of_era + era * 400,
                        .month = from_march < 10 ? from_march + 3 : from_march - 9,
                        .day = (int32_t)(day_of_year - (153 * from_march + 2) / 5 + 1)};
    date.year += date.month <= 2;
    return date;
}

/* 0 is Sunday. */
static inline int32_t cdtx__weekday(int64_t day_number) {
    return (int32_t)(day_number + 4 - cdtx__floor_div(day_number + 4, 7) * 7);
}

static inline int cdtx__is_leap(int64_t year) {
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static inline int32_t cdtx__month_days(int64_t year, int32_t month) {
    static const int8_t days[] = {0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return days[month] + (month == 2 && cdtx__is_leap(year));
}

#endif
