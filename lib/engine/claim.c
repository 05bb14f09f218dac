/* Claiming due jobs. */
#include "engine/hook.h"
#include "store/schema.h"

/* Somebody may set the wall clock while we wait for a time of day. */
enum { WALL_LOOK_MS = 5000 };
enum { CLAIM_MAX = 512, PROBES = 2, GAP_MAX = 8, ROWS_MAX = 64 << 20 };
/* How far a handler's floor is looked for at a time; when rows are looked at again that could not be claimed. */
enum { FLOOR_STEP = 20000, FLOOR_AGAIN_MS = 10, DAMAGED_AGAIN_MS = 5000, LAST_CHANCE_AGAIN_MS = 100 };

struct claim {
    struct rider rider;
    struct job_room *room;
    struct list jobs; /* by work.link */
    cdtx_rows rows, heads;
    int64_t next_ms; /* until the next due job, INT64_MAX: none */
    uint64_t dead;   /* given up by this claim */
    int more, pullable;
};

/* What one handler may still get from this claim. */
struct share {
    struct handler *handler;
    uint32_t room;
    int few_takers;     /* it is so small because nobody takes more */
    int64_t by_rate_ms; /* it is so small because of the rate, until then; 0: it is not */
    uint32_t left;      /* rows of this level that were left alone */
    int unread;         /* there may be more that could be claimed */
};

static void come_back(struct claim *claim, int64_t in_ms) {
    if (in_ms < claim->next_ms)
        claim->next_ms = in_ms;
}

static void drop_claimed(struct claim *claim) {
    struct list *link;
    while ((link = list_pop(&claim->jobs)) != NULL) {
        struct job *job = LIST_OF(link, struct job, work.link);
        cdtx__job_let_go(job);
        cdtx__free(claim->rows.env, job, job->size);
    }
}

/* ---- one row ---- */

#define ROW_COLUMNS                                                                                                    \
    "id, attempts, token, payload, curve, deadline, unique_key, concurrency_key, msg, msg_key, msg_id,"                \
    " crashes, " SCHEMA_JOB_PLACE
enum {
    ROW_ID,
    ROW_ATTEMPTS,
    ROW_TOKEN,
    ROW_PAYLOAD,
    ROW_CURVE,
    ROW_DEADLINE,
    ROW_UNIQUE,
    ROW_KEY,
    ROW_MESSAGE,
    ROW_MESSAGE_KEY,
    ROW_MESSAGE_ID,
    ROW_CRASHES,
    ROW_PLACE
};

static size_t room_for(const cdtx_value *text) {
    return text->type == CDTX_TEXT ? (size_t)text->length + 1 : 0;
}

static const char *keep_text(char **at, const cdtx_value *text) {
    size_t room = room_for(text);
    if (room == 0)
        return NULL;
    memcpy(*at, text->bytes, room);
    *at += room;
    return *at - room;
}

static struct job *new_job(struct claim *claim, struct handler *handler, uint32_t row, int64_t after) {
    const cdtx_value *payload = cdtx__rows_at(&claim->rows, row, ROW_PAYLOAD);
    const cdtx_value *unique = cdtx__rows_at(&claim->rows, row, ROW_UNIQUE);
    const cdtx_value *key = cdtx__rows_at(&claim->rows, row, ROW_KEY);
    const cdtx_value *deadline = cdtx__rows_at(&claim->rows, row, ROW_DEADLINE);
    const cdtx_value *message_key = cdtx__rows_at(&claim->rows, row, ROW_MESSAGE_KEY);
    const cdtx_value *message_id = cdtx__rows_at(&claim->rows, row, ROW_MESSAGE_ID);
    size_t texts = room_for(unique) + room_for(key) + room_for(message_key) + room_for(message_id);
    size_t size = sizeof(struct job) + payload->length + 1 + texts;
    struct job *job = cdtx__alloc(claim->rows.env, size);
    if (job == NULL)
        return NULL;
    *job = (struct job){
        .work = {.kind = CDTX_WORK_JOB, .engine = claim->room->db->engine},
        .handler = handler,
        .id = cdtx__rows_int(&claim->rows, row, ROW_ID),
        .lane = handler->next_lane,
        .after = after,
        .attempt = (uint32_t)cdtx__rows_int(&claim->rows, row, ROW_ATTEMPTS) + 1,
        .token = MUTANT(claim->rows.env, "bug-28-token") ? 1 : cdtx__rows_int(&claim->rows, row, ROW_TOKEN) + 1,
        .curve = (uint32_t)cdtx__rows_int(&claim->rows, row, ROW_CURVE),
        .deadline = deadline->type == CDTX_INT ? deadline->integer : INT64_MAX,
        .leased_us = cdtx__now_us(claim->rows.env) + handler->options.lease_ms * 1000,
        .message = cdtx__rows_int(&claim->rows, row, ROW_MESSAGE),
        .size = size,
        .length = payload->length,
    };
    if (payload->length > 0)
        memcpy(job + 1, payload->bytes, payload->length);
    char *behind = (char *)(job + 1) + payload->length + 1;
    job->unique_key = keep_text(&behind, unique);
    job->concurrency_key = keep_text(&behind, key);
    job->message_key = keep_text(&behind, message_key);
    job->message_id = keep_text(&behind, message_id);
    cdtx__hook_gid(job->unique_key, job->gid);
    __atomic_add_fetch(&handler->claimed, 1, __ATOMIC_RELAXED);
    if (handler->options.rate_per_s > 0)
        __atomic_add_fetch(&handler->unbegun, 1, __ATOMIC_RELAXED);
    list_push(&claim->jobs, &job->work.link);
    return job;
}

static int32_t count_of(cdtx_sql *sql, const char *statement, const cdtx_value *arguments, uint32_t count,
                        int64_t *number, cdtx_error *err) {
    cdtx_rows *rows = &sql->store->rows;
    cdtx__rows_reset(rows);
    int32_t rc = cdtx__sql_run(sql, statement, arguments, count, rows, NULL, err);
    if (rc == 0)
        *number = cdtx__rows_int(rows, 0, 0);
    return rc;
}

/* Others of its key may come first. */
static int32_t has_turn(const struct claim *claim, cdtx_sql *sql, const struct handler *handler, uint32_t row,
                        int *turn, cdtx_error *err) {
    const cdtx_value *key = cdtx__rows_at(&claim->rows, row, ROW_KEY);
    *turn = 1;
    if (key->type != CDTX_TEXT || MUTANT(claim->rows.env, "key-ignored"))
        return 0;
    int64_t before = 0;
    cdtx_value arguments[] = {*key, *cdtx__rows_at(&claim->rows, row, ROW_ID)};
    int32_t rc = count_of(sql, "SELECT count(*) FROM cdtx_job WHERE concurrency_key = ? AND state = 2", arguments, 1,
                          &before, err);
    *turn = before < handler->options.key_running_max;
    if (rc != 0 || !*turn || !handler->options.in_order || MUTANT(claim->rows.env, "order-ignored"))
        return rc;
    rc = count_of(sql,
                  "SELECT count(*) FROM (SELECT 1 FROM cdtx_job WHERE concurrency_key = ? AND id < ?"
                  " AND state IN (1, 4) LIMIT 1)",
                  arguments, 2, &before, err);
    *turn = before == 0;
    return rc;
}

static int32_t make_wait(cdtx_sql *sql, int64_t id, cdtx_error *err) {
    cdtx_value argument = SQL_INT(id);
    return cdtx__sql_run(sql, "UPDATE cdtx_job SET state = 4 WHERE id = ? AND state = 1", &argument, 1, NULL, NULL,
                         err);
}

static int32_t bury(struct claim *claim, const struct share *share, cdtx_sql *sql, uint32_t row, cdtx_error *err) {
    const char *why = "its deadline was over before an attempt";
    int64_t id = cdtx__rows_int(&claim->rows, row, ROW_ID);
    char line[JOB_LINE_SIZE];
    cdtx__job_history_line(sql, cdtx__rows_int(&claim->rows, row, ROW_ATTEMPTS), CDTX_TIMEOUT, why, line);
    cdtx_value arguments[] = {SQL_INT(cdtx__store_stamp_ms(sql->store)), cdtx__sql_text(why), cdtx__sql_text(line),
                              SQL_INT(JOB_HISTORY_MAX), SQL_INT(id)};
    int32_t rc = cdtx__sql_run(sql,
                               "UPDATE cdtx_job SET state = 3, due = 0, clock = 0, died = ?, error = ?,"
                               " " JOB_HISTORY_AND_LINE " WHERE id = ? AND state = 1",
                               arguments, 5, NULL, NULL, err);
    if (rc == 0)
        rc = cdtx__job_pass_on(sql, share->handler->name, cdtx__rows_at(&claim->rows, row, ROW_UNIQUE)->bytes,
                               cdtx__rows_at(&claim->rows, row, ROW_KEY)->bytes, err);
    if (rc != 0)
        return rc;
    claim->dead++;
    cdtx__log(claim->rows.env, CDTX_LOG_WARNING, "job %lld of '%s' is dead: %s", (long long)id, share->handler->name,
              why);
    return 0;
}

/* In order, each may have come to wait for an earlier one that waits too: when nobody of the key is ready or at work,
 * nobody would ever let one go. */
static int32_t keep_moving(const struct claim *claim, cdtx_sql *sql, uint32_t row, cdtx_error *err) {
    const cdtx_value *key = cdtx__rows_at(&claim->rows, row, ROW_KEY);
    int64_t others = 0;
    if (MUTANT(claim->rows.env, "order-deadlock"))
        return 0;
    int32_t rc = count_of(sql, "SELECT EXISTS (SELECT 1 FROM cdtx_job WHERE concurrency_key = ? AND state IN (1, 2))",
                          key, 1, &others, err);
    return rc != 0 || others != 0 ? rc : cdtx__job_pass_turn(sql, key->bytes, err);
}

#define LEASE(counted)                                                                                                 \
    "UPDATE cdtx_job SET state = 2, " counted ", due = ? WHERE id BETWEEN ? AND ? AND state = 1 AND lane = ?"          \
    " AND +" SCHEMA_JOB_PLACE " BETWEEN ? AND ? AND (? OR (unique_key IS NULL AND concurrency_key IS NULL))"

/* Of the rows that were read from that one on. Between the first and the last of these, in number and in place, none is
 * ready but they: it would have been read, and what this claim itself made ready has a key. */
static int32_t write_leases(const struct claim *claim, cdtx_sql *sql, const struct handler *handler, uint32_t row,
                            uint32_t count, int64_t *changes, cdtx_error *err) {
    uint32_t last = row + count - 1;
    cdtx_value arguments[] = {SQL_INT(cdtx__store_stamp_ms(sql->store) + handler->options.lease_ms),
                              *cdtx__rows_at(&claim->rows, row, ROW_ID),
                              *cdtx__rows_at(&claim->rows, last, ROW_ID),
                              SQL_INT(handler->next_lane),
                              *cdtx__rows_at(&claim->rows, row, ROW_PLACE),
                              *cdtx__rows_at(&claim->rows, last, ROW_PLACE),
                              SQL_INT(count == 1)};
    const char *statement = LEASE("attempts = attempts + 1, token = token + 1");
    if (MUTANT(claim->rows.env, "trap-24"))
        statement = LEASE("token = token + 1");
    if (MUTANT(claim->rows.env, "bug-28-token"))
        statement = LEASE("attempts = attempts + 1, token = 1");
    return cdtx__sql_run(sql, statement, arguments, 7, NULL, changes, err);
}

/* A damaged row must not hold up the others, nor those of its key; who is let go now is looked at when this one is
 * looked at again, and not at once, or the two would keep each other busy. */
static int32_t leave_alone(struct claim *claim, struct share *share, cdtx_sql *sql, uint32_t row, const char *why,
                           cdtx_error *err) {
    const cdtx_value *key = cdtx__rows_at(&claim->rows, row, ROW_KEY);
    int rings = sql->store->meta.rings;
    share->left++;
    cdtx__log(claim->rows.env, CDTX_LOG_ALARM, "job %lld of '%s' is left alone, its row is damaged: %s",
              (long long)cdtx__rows_int(&claim->rows, row, ROW_ID), share->handler->name, why);
    int32_t rc = key->type == CDTX_TEXT ? cdtx__job_pass_turn(sql, key->bytes, err) : 0;
    sql->store->meta.rings = rings;
    return rc;
}

/* Rows that follow one another, by one statement: most of what a row costs is the statement around it. */
static int32_t lease(struct claim *claim, struct share *share, cdtx_sql *sql, uint32_t row, uint32_t count,
                     cdtx_error *err) {
    struct handler *handler = share->handler;
    int64_t changes = 0;
    if (MUTANT(claim->rows.env, "trap-23"))
        handler = LIST_OF(claim->room->handlers.next, struct handler, link);
    cdtx_error why = {0};
    int32_t rc = write_leases(claim, sql, share->handler, row, count, &changes, &why);
    if (rc == CDTX_SQL && count == 1) /* our statement has no fault, so the row has */
        return leave_alone(claim, share, sql, row, why.text, err);
    if (rc == CDTX_SQL) { /* one of them has, so each by itself */
        rc = 0;
        for (uint32_t i = 0; rc == 0 && i < count; i++)
            rc = lease(claim, share, sql, row + i, 1, err);
        return rc;
    }
    if (rc != 0 && err != NULL)
        *err = why;
    if (rc != 0 || changes == 0)
        return rc;
    INVARIANT(changes == (int64_t)count); /* all were read as ready in this very transaction */
    for (uint32_t i = 0; i < count; i++) {
        int64_t after = i == 0 ? 0 : cdtx__rows_int(&claim->rows, row + i - 1, ROW_ID);
        if (new_job(claim, handler, row + i, after) == NULL)
            return cdtx__fail(err, CDTX_NO_MEMORY, "no memory for a job of '%s'", handler->name);
    }
    share->room -= count;
    come_back(claim, handler->options.lease_ms); /* somebody must look when it ends */
    return 0;
}

static int64_t last_chance_of(const struct handler *handler) {
    return handler->options.crashes_max > 2 ? (int64_t)handler->options.crashes_max - 1 : 1;
}

static int has_last_chance(const struct claim *claim, const struct handler *handler, uint32_t row) {
    return cdtx__rows_int(&claim->rows, row, ROW_CRASHES) >= last_chance_of(handler);
}

/* Whoever is leased beside a job that ends its process loses its lease with it. So of those that one crash more makes
 * dead, one is at work at a time: each is dead of its own. */
static int32_t may_take_chance(struct claim *claim, cdtx_sql *sql, int *may, cdtx_error *err) {
    int64_t least = INT64_MAX, at_work = 0;
    struct handler *handler = NULL;
    *may = 1;
    if (MUTANT(sql->store->env, "last-chance-shared"))
        return 0;
    while ((handler = cdtx__handler_after(claim->room, handler)) != NULL)
        least = last_chance_of(handler) < least ? last_chance_of(handler) : least;
    cdtx_value argument = SQL_INT(least);
    int32_t rc = count_of(sql, "SELECT EXISTS (SELECT 1 FROM cdtx_job WHERE state = 2 AND crashes >= ?)", &argument, 1,
                          &at_work, err);
    *may = at_work == 0;
    return rc;
}

static int is_plain(const struct claim *claim, const struct handler *handler, uint32_t row) {
    static const int columns[] = {ROW_UNIQUE, ROW_KEY, ROW_DEADLINE};
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
        if (cdtx__rows_at(&claim->rows, row, (uint32_t)columns[i])->type != CDTX_NULL)
            return 0;
    return !has_last_chance(claim, handler, row);
}

/* How many from that row on follow one another by number, with few of others between, and have nothing that must be
 * looked at one by one. */
static uint32_t run_length(const struct claim *claim, const struct share *share, uint32_t row) {
    uint32_t count = 0;
    int64_t before = 0;
    for (; row + count < claim->rows.count && count < share->room && is_plain(claim, share->handler, row + count);
         count++) {
        int64_t id = cdtx__rows_int(&claim->rows, row + count, ROW_ID);
        if (count > 0 && (id <= before || id > before + GAP_MAX))
            break;
        before = id;
    }
    return count;
}

static int32_t claim_row(struct claim *claim, struct share *share, cdtx_sql *sql, uint32_t row, cdtx_error *err) {
    const cdtx_value *deadline = cdtx__rows_at(&claim->rows, row, ROW_DEADLINE);
    if (deadline->type == CDTX_INT && deadline->integer <= cdtx__store_clock_ms(sql->store) &&
        !MUTANT(sql->store->env, "deadline-ignored"))
        return bury(claim, share, sql, row, err);
    int turn = 1;
    int32_t rc = has_last_chance(claim, share->handler, row) ? may_take_chance(claim, sql, &turn, err) : 0;
    if (rc != 0 || !turn) {
        share->left++;
        come_back(claim, LAST_CHANCE_AGAIN_MS);
        return rc;
    }
    rc = has_turn(claim, sql, share->handler, row, &turn, err);
    if (rc != 0)
        return rc;
    if (turn)
        return lease(claim, share, sql, row, 1, err);
    rc = make_wait(sql, cdtx__rows_int(&claim->rows, row, ROW_ID), err);
    return rc != 0 ? rc : keep_moving(claim, sql, row, err);
}

/* ---- one handler ---- */

static int64_t now_on(const cdtx_sql *sql, int64_t clock) {
    return clock == JOB_CLOCK_WALL || MUTANT(sql->store->env, "bug-17") ? cdtx__wall_ms(sql->store->env)
                                                                        : cdtx__store_clock_ms(sql->store);
}

#define READY_BETWEEN "SELECT " SCHEMA_JOB_PLACE " FROM cdtx_job WHERE state = 1 AND " SCHEMA_JOB_PLACE " BETWEEN "
#define FIRST_OF_THEM " ORDER BY " SCHEMA_JOB_PLACE " LIMIT 1"

/* The first of every level that has ready jobs, the most urgent first, and of one priority what is overdue longest: as
 * many seeks in the index of due ones as there are such levels, however long the queue. A paused handler has none. */
static int32_t read_heads(struct claim *claim, cdtx_sql *sql, const struct handler *handler, cdtx_error *err) {
    int64_t first = handler->next_lane << JOB_LANE_BIT, first_at_once = first + (INT64_C(1) << JOB_AT_ONCE_BIT);
    cdtx_value arguments[] = {SQL_INT(first),
                              SQL_INT(first + JOB_LANE_MAX),
                              SQL_INT(first_at_once),
                              SQL_INT(first_at_once + JOB_LANE_MAX),
                              cdtx__sql_text(MUTANT(sql->store->env, "pause-ignored") ? "" : handler->name),
                              SQL_INT(now_on(sql, JOB_CLOCK_WALL)),
                              SQL_INT(now_on(sql, JOB_CLOCK_DURABLE))};
    cdtx__rows_reset(&claim->heads);
    return cdtx__sql_run(
        sql,
        "WITH RECURSIVE range (first, last) AS (VALUES (?, ?), (?, ?)),"
        " head (place, last) AS (SELECT (" READY_BETWEEN "range.first AND range.last" FIRST_OF_THEM "), last FROM range"
        " WHERE NOT EXISTS (SELECT 1 FROM cdtx_pause WHERE handler = ?)"
        " UNION ALL"
        " SELECT (" READY_BETWEEN "((head.place >> 42) + 1) << 42 AND head.last" FIRST_OF_THEM "), last FROM head"
        " WHERE place IS NOT NULL)"
        " SELECT place FROM head WHERE place IS NOT NULL"
        " ORDER BY (place >> 42) & 15 DESC,"
        " CASE (place >> 46) & 1 WHEN 1 THEN ? ELSE ? END - (place & 4398046511103) DESC",
        arguments, 7, &claim->heads, NULL, err);
}

static int64_t place_of(const struct claim *claim, uint32_t head) {
    return cdtx__rows_int(&claim->heads, head, 0);
}

static int64_t place_clock(int64_t place) {
    return (place >> JOB_CLOCK_BIT) & 1;
}

/* On its clock. */
static int64_t due_in(const cdtx_sql *sql, int64_t place) {
    return (place & JOB_DUE_MAX) - now_on(sql, place_clock(place));
}

static int32_t read_level(struct claim *claim, cdtx_sql *sql, const cdtx_value *arguments, cdtx_error *err) {
    cdtx__rows_reset(&claim->rows);
    return cdtx__sql_run(sql,
                         "SELECT " ROW_COLUMNS " FROM cdtx_job WHERE state = 1"
                         " AND " SCHEMA_JOB_PLACE " BETWEEN ? AND ? AND lane = ?"
                         " ORDER BY " SCHEMA_JOB_PLACE ", id LIMIT ? OFFSET ?",
                         arguments, 5, &claim->rows, NULL, err);
}

/* As many rows as there is room for; *full: there were so many. */
static int32_t claim_page(struct claim *claim, struct share *share, cdtx_sql *sql, uint32_t head, int *full,
                          cdtx_error *err) {
    int64_t first = place_of(claim, head) & ~JOB_DUE_MAX, now = now_on(sql, place_clock(first));
    cdtx_value arguments[] = {SQL_INT(first), SQL_INT(first + (now < JOB_DUE_MAX ? now : JOB_DUE_MAX)),
                              SQL_INT(share->handler->next_lane), SQL_INT(share->room), SQL_INT(share->left)};
    int32_t rc = read_level(claim, sql, arguments, err);
    *full = claim->rows.count == share->room;
    if (rc == CDTX_LIMIT) { /* large payloads: one always fits, and one at a time is enough */
        arguments[3] = SQL_INT(1);
        rc = read_level(claim, sql, arguments, err);
        *full = 0;
        share->unread = 1;
    }
    for (uint32_t i = 0, step; rc == 0 && i < claim->rows.count && share->room > 0; i += step) {
        uint32_t run = run_length(claim, share, i);
        step = run > 1 ? run : 1;
        rc = run > 1 ? lease(claim, share, sql, i, run, err) : claim_row(claim, share, sql, i, err);
    }
    return rc;
}

/* Rows that cannot be claimed, because they wait for their key or are damaged, give their place to those behind. */
static int32_t claim_level(struct claim *claim, struct share *share, cdtx_sql *sql, uint32_t head, cdtx_error *err) {
    int32_t rc = 0;
    int full = 1;
    share->left = 0;
    for (uint32_t looked = 0; rc == 0 && full && share->room > 0; looked += claim->rows.count) {
        if (looked >= CLAIM_MAX) {
            share->unread = share->left < CLAIM_MAX;
            break;
        }
        rc = claim_page(claim, share, sql, head, &full, err);
    }
    return rc;
}

/* When the next job is due, and whether due ones are left. */
static int32_t look_ahead(struct claim *claim, const struct share *share, cdtx_sql *sql, cdtx_error *err) {
    int left = 0;
    int32_t rc = read_heads(claim, sql, share->handler, err);
    for (uint32_t i = 0; rc == 0 && i < claim->heads.count; i++) {
        int64_t place = place_of(claim, i), in = due_in(sql, place);
        if (in <= 0) {
            left = 1;
            continue;
        }
        if (place_clock(place) == JOB_CLOCK_WALL && in > WALL_LOOK_MS && !MUTANT(claim->rows.env, "at-late"))
            in = WALL_LOOK_MS;
        come_back(claim, in < CDTX_TIME_MAX_MS ? in : CDTX_TIME_MAX_MS);
    }
    if (!left)
        return rc;
    claim->more = 1;
    if (share->by_rate_ms > 0)
        come_back(claim, share->by_rate_ms);
    else if (share->room > 0)
        come_back(claim, share->unread ? 0 : DAMAGED_AGAIN_MS);
    /* Not when too many claimed ones or a limit hold it back: another taker would not change that. */
    claim->pullable |= share->few_takers && share->room == 0;
    return rc;
}

/* What waits for a thread until the rate has room again would begin together with those that are claimed then, so it
 * counts as begun. */
static void by_rate(struct share *share, const cdtx_env *env) {
    struct handler *handler = share->handler;
    if (handler->options.rate_per_s == 0 || MUTANT(env, "rate-ignored"))
        return;
    int64_t unbegun = MUTANT(env, "rate-at-claim") ? 0 : __atomic_load_n(&handler->unbegun, __ATOMIC_ACQUIRE);
    int64_t now = cdtx__now_us(env), part = cdtx__rate_part_us(handler);
    int64_t spent = __atomic_load_n(&handler->spent_us, __ATOMIC_RELAXED);
    int64_t left = now - cdtx__rate_gone_us(handler, spent, now), allowed = left / part - unbegun;
    if (allowed >= share->room)
        return;
    share->room = allowed > 0 ? (uint32_t)allowed : 0;
    share->by_rate_ms = (unbegun > 0 && part < 100000 ? 100000 : part - left % part) / 1000 + 1;
}

/* After a rest a few find out whether it is over. */
static void by_rest(struct share *share, const cdtx_env *env) {
    int64_t until_us = __atomic_load_n(&share->handler->rests_until_us, __ATOMIC_RELAXED);
    int64_t left_us = until_us - cdtx__now_us(env);
    uint32_t claimed = __atomic_load_n(&share->handler->claimed, __ATOMIC_RELAXED);
    if (until_us == 0)
        return;
    uint32_t most = left_us > 0 || claimed >= PROBES ? 0 : PROBES - claimed;
    if (most >= share->room)
        return;
    share->room = most;
    if (left_us > 0)
        share->by_rate_ms = left_us / 1000 + 1;
}

static int32_t by_running(cdtx_sql *sql, const struct handler *handler, uint32_t *room, cdtx_error *err) {
    int64_t running = 0, most = handler->options.running_max;
    if (most == 0 || MUTANT(sql->store->env, "running-ignored"))
        return 0;
    int64_t first = handler->next_lane << JOB_LANE_BIT;
    cdtx_value arguments[] = {SQL_INT(first), SQL_INT(first + JOB_LANE_MAX)};
    int32_t rc = count_of(sql, "SELECT count(*) FROM cdtx_job WHERE state = 2 AND " SCHEMA_JOB_LEASE " BETWEEN ? AND ?",
                          arguments, 2, &running, err);
    int64_t left = running < most ? most - running : 0;
    if (left < *room)
        *room = (uint32_t)left;
    return rc;
}

/* So many plain jobs as one thread gets through in a quarter of their lease, and others might begin meanwhile; one, as
 * long as nobody knows how long they take. What is given out in batches waits for the one batch before it. */
static uint32_t claim_at_most(const struct handler *handler) {
    int64_t takes = __atomic_load_n(&handler->takes_us, __ATOMIC_RELAXED);
    if (handler->options.handler == NULL || handler->options.in_local)
        return CLAIM_MAX;
    if (__atomic_load_n(&handler->many, __ATOMIC_ACQUIRE) != NULL)
        return 2 * handler->many_max;
    int64_t count = takes == 0 ? 1 : handler->options.lease_ms * 250 / takes;
    return count < 1 ? 1 : count < CLAIM_MAX ? (uint32_t)count : CLAIM_MAX;
}

static int32_t find_share(struct claim *claim, cdtx_sql *sql, struct share *share, cdtx_error *err) {
    struct handler *handler = share->handler;
    uint32_t claimed = __atomic_load_n(&handler->claimed, __ATOMIC_RELAXED);
    uint32_t most = claim_at_most(handler);
    share->room = claimed < most ? most - claimed : 0;
    if (handler->options.handler == NULL) {
        uint32_t hungry = cdtx__pump_hungry(&claim->room->db->engine->pump);
        share->few_takers = hungry < share->room;
        if (share->few_takers)
            share->room = hungry;
    }
    uint32_t before = share->room;
    by_rate(share, claim->rows.env);
    by_rest(share, claim->rows.env);
    int32_t rc = by_running(sql, handler, &share->room, err);
    share->few_takers &= share->room == before;
    return rc;
}

static int32_t claim_handler(struct claim *claim, cdtx_sql *sql, struct handler *handler, cdtx_error *err) {
    struct share share = {.handler = handler};
    int32_t rc = find_share(claim, sql, &share, err);
    if (rc == 0)
        rc = read_heads(claim, sql, handler, err);
    for (uint32_t i = 0; rc == 0 && i < claim->heads.count && share.room > 0; i++)
        if (due_in(sql, place_of(claim, i)) <= 0)
            rc = claim_level(claim, &share, sql, i, err);
    return rc != 0 ? rc : look_ahead(claim, &share, sql, err);
}

/* ---- guards in other databases ---- */

/* A number below which no job of the handler is left, so that none of their guards is asked for any more: found from
 * where it stood, and told once this claim is durable. */
static int32_t raise_floor(struct claim *claim, cdtx_sql *sql, struct handler *handler, cdtx_error *err) {
    static const uint8_t unknown[sizeof handler->space];
    if (handler->options.local_db == NULL)
        return 0;
    if (memcmp(handler->space, unknown, sizeof unknown) == 0) {
        int32_t rc = cdtx__handler_space(handler, err);
        if (rc != 0)
            return rc;
    }
    int64_t end = sql->store->meta.job + 1,
            upto = handler->floor + FLOOR_STEP < end ? handler->floor + FLOOR_STEP : end;
    cdtx_value arguments[] = {SQL_INT(handler->floor), SQL_INT(upto), cdtx__sql_text(handler->name)};
    cdtx__rows_reset(&claim->rows);
    int32_t rc = cdtx__sql_run(sql,
                               "SELECT id FROM cdtx_job NOT INDEXED WHERE id >= ? AND id < ? AND handler = ?"
                               " ORDER BY id LIMIT 1",
                               arguments, 3, &claim->rows, NULL, err);
    if (rc != 0)
        return rc;
    handler->next_floor = claim->rows.count == 1 && !MUTANT(sql->store->env, "job-floor-high")
                              ? cdtx__rows_int(&claim->rows, 0, 0)
                              : upto;
    if (claim->rows.count == 0 && upto < end)
        come_back(claim, FLOOR_AGAIN_MS);
    return 0;
}

/* What the claim found holds, now that it is durable. */
static void keep_findings(struct job_room *room) {
    struct handler *handler = NULL;
    while ((handler = cdtx__handler_after(room, handler)) != NULL) {
        handler->recovered = handler->recovering;
        handler->lane = handler->next_lane;
        if (handler->options.local_db == NULL || handler->next_floor <= handler->floor)
            continue;
        handler->floor = handler->next_floor;
        cdtx__floor_heard(handler->options.local_db, handler->space, handler->floor);
    }
}

/* ---- the claim ---- */

/* Once known for good it stays; before that the row may be of a put that this very group may yet lose. */
static int32_t find_lane(cdtx_sql *sql, struct handler *handler, cdtx_error *err) {
    handler->next_lane = handler->lane;
    return handler->lane != 0 ? 0 : cdtx__job_lane(sql, handler->name, handler->queue, &handler->next_lane, err);
}

static int32_t run_claim(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    struct claim *claim = LIST_OF(rider, struct claim, rider);
    struct job_room *room = claim->room;
    drop_claimed(claim);
    claim->next_ms = INT64_MAX;
    claim->more = claim->pullable = 0;
    claim->dead = 0;
    struct old_jobs old = {.rows = &claim->rows, .next_ms = INT64_MAX};
    struct handler *handler = NULL;
    int32_t rc = 0;
    if (FAILPOINT(claim->rows.env, "retry.claim"))
        return cdtx__fail(err, CDTX_IO, "failpoint retry.claim");
    while (rc == 0 && (handler = cdtx__handler_after(room, handler)) != NULL) {
        rc = find_lane(sql, handler, err);
        if (rc == 0)
            rc = cdtx__job_expire(handler, sql, &old, err);
        if (rc == 0 && handler->next_lane != 0)
            rc = claim_handler(claim, sql, handler, err);
        if (rc == 0)
            rc = cdtx__job_forget(handler, sql, &old, err);
        if (rc == 0)
            rc = raise_floor(claim, sql, handler, err);
    }
    claim->dead += old.dead;
    come_back(claim, old.next_ms);
    return rc;
}

static void claim_done(struct rider *rider) {
    struct claim *claim = LIST_OF(rider, struct claim, rider);
    struct job_room *room = claim->room;
    cdtx *engine = room->db->engine;
    int64_t next_ms = rider->result == 0 ? claim->next_ms : 1000;
    if (rider->result != 0) {
        drop_claimed(claim);
        if (rider->result != CDTX_STOPPED)
            cdtx__log(engine->env, CDTX_LOG_WARNING, "jobs of '%s': %s", room->db->store->name, rider->err.text);
    } else {
        __atomic_add_fetch(&engine->jobs_dead, claim->dead, __ATOMIC_RELAXED);
        __atomic_store_n(&room->more, claim->more, __ATOMIC_RELAXED);
        keep_findings(room);
    }
    __atomic_store_n(&room->scanning, 0, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&room->again, __ATOMIC_SEQ_CST))
        next_ms = 0;
    if (room->db->store->ownership != CDTX_OWN_ALONE && next_ms > 500)
        next_ms = 500; /* other processes do not ring here */
    if (next_ms != INT64_MAX && rider->result != CDTX_STOPPED)
        cdtx__job_ring(room, next_ms * 1000);
    struct list *link;
    while ((link = list_pop(&claim->jobs)) != NULL)
        cdtx__job_start(LIST_OF(link, struct job, work.link));
    if (claim->pullable)
        cdtx__pump_pullable(&engine->pump);
    if (claim->pullable && cdtx__pump_hungry(&engine->pump) > 0)
        cdtx__job_ring(room, 0); /* a taker came while we claimed without it */
    cdtx__rows_free(&claim->rows);
    cdtx__rows_free(&claim->heads);
    cdtx__free(engine->env, claim, sizeof *claim);
}

void cdtx__claim_fire(struct timer *timer) {
    struct job_room *room = LIST_OF(timer, struct job_room, scan);
    cdtx *engine = room->db->engine;
    if (__atomic_exchange_n(&room->scanning, 1, __ATOMIC_ACQ_REL)) {
        /* It may have looked too early for what rang now; and it may wait long, for a turn in its database. */
        __atomic_store_n(&room->again, 1, __ATOMIC_SEQ_CST);
        if (!__atomic_load_n(&room->scanning, __ATOMIC_SEQ_CST))
            cdtx__job_ring(room, 0);
        return;
    }
    __atomic_store_n(&room->again, 0, __ATOMIC_SEQ_CST);
    struct claim *claim = cdtx__alloc(engine->env, sizeof *claim);
    if (claim == NULL) {
        __atomic_store_n(&room->scanning, 0, __ATOMIC_RELEASE);
        cdtx__job_ring(room, 1000000);
        return;
    }
    claim->room = room;
    claim->rider.run = run_claim;
    claim->rider.done = claim_done;
    list_init(&claim->jobs);
    cdtx__rows_init(&claim->rows, engine->env, ROWS_MAX);
    cdtx__rows_init(&claim->heads, engine->env, 65536);
    cdtx__store_submit(room->db->store, &claim->rider);
}
