/* Time zones: what a clock on the wall shows, read from TZif files (RFC 9636, versions 1 to 4, with the rule of their
 * footer, which goes on for ever). Times are whole seconds since 1970; "local" ones are what the wall shows, counted as
 * if it were UTC. Nothing here looks at the process's own zone. */
#ifndef CDTX_PATTERN_RETRY_ZONE_H
#define CDTX_PATTERN_RETRY_ZONE_H

#include "base/env.h"

/* How far a wall may be from UTC (RFC 9636, section 3.2), and times that functions here take on either side of 1970. */
#define ZONE_OFFSET_MIN_S (-89999)
#define ZONE_OFFSET_MAX_S 93599
#define ZONE_TIME_MAX_S   (INT64_C(1) << 58)
/* The largest file that is read; those of the zone database have less than 4 KiB. */
#define ZONE_FILE_MAX 65536

struct zone;

/* From a file's bytes, which are not needed afterwards. Errors: CORRUPT (says at which byte and why), UNSUPPORTED (the
 * file counts leap seconds, or is of a later version), LIMIT, NO_MEMORY. */
int32_t cdtx__zone_parse(const cdtx_env *env, const void *bytes, size_t length, struct zone **zone, cdtx_error *err);
/* By its IANA name, from the environment; "UTC" always works. Errors: those of cdtx__zone_parse and cdtx__env_zone. */
int32_t cdtx__zone_load(const cdtx_env *env, const char *name, struct zone **zone, cdtx_error *err);
void cdtx__zone_free(const cdtx_env *env, struct zone *zone);

/* local = UTC + offset, for from <= UTC < until. The span next to it may have the same offset. INT64_MIN and INT64_MAX
 * are for ever. */
struct zone_span {
    int64_t from, until;
    int32_t offset;
};
struct zone_span cdtx__zone_span(const struct zone *zone, int64_t utc_s);

/* How often the wall shows that local time: 0, 1, or 2 for more than once. at gets the first and the last instant; with
 * 0 both are the instant of the transition that skipped it. */
int cdtx__zone_instants(const struct zone *zone, int64_t local_s, int64_t at[2]);
/* The latest local time that the wall showed before that instant: more than a second before utc_s's own when the clock
 * was put back shortly before. */
int64_t cdtx__zone_shown_before(const struct zone *zone, int64_t utc_s);

#endif
