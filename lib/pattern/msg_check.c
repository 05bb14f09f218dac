/* Check-backs: who answers for halves that nobody resolves, and what becomes of the answers. A check is a job of its
 * producer's handler, so it comes only to a process that has the checker, and one that was not made costs nothing. */
#include <stdio.h>
#include <stdlib.h>

#include "engine/case.h"
#include "pattern/msg_half.h"

/* A parked half is asked about on, so much more seldom. */
enum { PARKED_TIMES = 20 };

struct checker {
    cdtx_db *db; /* with the halves */
    cdtx_half_checker options;
    const cdtx_env *env;
};

/* ---- what is asked ---- */

/* One half, as a check has it in memory: a copy, since the checker runs outside any transaction. */
struct check {
    struct waited_rider waited;
    struct checker *checker;
    int64_t number;
    char handle[CDTX_GID_MAX];
    int open; /* it is still to be resolved */
    uint32_t checks;
    int parked;
    char topic[TOPIC_NAME_MAX + 1];
    uint8_t *payload;
    uint32_t length;
    int32_t answer;
    int fails; /* of a park: the alarm is to be raised */
    struct resolution resolution;
};

static void forget_payload(struct check *check, const cdtx_env *env) {
    cdtx__free(env, check->payload, (size_t)check->length + 1);
    check->payload = NULL;
}

static int32_t run_read(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    struct check *check = LIST_OF(rider, struct check, waited.rider);
    const cdtx_env *env = sql->store->env;
    struct half half;
    cdtx_rows rows;
    forget_payload(check, env);
    check->open = 0;
    cdtx__rows_init(&rows, env, PAYLOAD_LIMIT + 65536);
    int32_t rc = cdtx__half_read(sql, check->number, &rows, &half, err);
    if (rc == CDTX_EXPIRED || rc == CDTX_NOT_FOUND) {
        rc = 0;
    } else if (rc == 0 && half.state == CDTX_HALF_OPEN) {
        check->open = 1;
        check->checks = half.checks;
        check->parked = half.parked;
        snprintf(check->topic, sizeof check->topic, "%s", half.message.topic);
        check->length = (uint32_t)half.message.length;
        check->payload = cdtx__alloc(env, (size_t)check->length + 1);
        if (check->payload == NULL)
            rc = cdtx__fail(err, CDTX_NO_MEMORY, "no memory to check half message %lld", (long long)check->number);
        else
            memcpy(check->payload, half.message.payload, check->length);
    }
    cdtx__rows_free(&rows);
    return rc;
}

static int32_t run_rule_out(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    struct check *check = LIST_OF(rider, struct check, waited.rider);
    if (MUTANT(sql->store->env, "bug-18")) { /* looks, and takes an absent mark for a rollback (M6) */
        check->answer = CDTX_HALF_ROLLED_BACK;
        return 0;
    }
    return cdtx_half_rule_out(sql, check->handle, &check->answer, err);
}

static int32_t ride(struct check *check, cdtx_db *db, int32_t (*run)(struct rider *, cdtx_sql *, cdtx_error *),
                    cdtx_error *err) {
    check->waited = (struct waited_rider){.rider.run = run};
    return cdtx__ride(db->engine, db->store, &check->waited, err);
}

/* ---- what becomes of the answer ---- */

static int32_t park(struct check *check, cdtx_sql *sql, cdtx_error *err) {
    char evidence[256], reason[80];
    int opened = 0;
    snprintf(reason, sizeof reason, "%u checks without an answer", check->checks + 1);
    snprintf(evidence, sizeof evidence, "half message of topic '%s', %u bytes; every answer was that it is not known",
             check->topic, check->length);
    cdtx_value arguments[] = {cdtx__sql_text(reason), SQL_INT(check->number)};
    int32_t rc =
        cdtx__sql_run(sql, "UPDATE cdtx_half SET parked = ? WHERE id = ? AND state = 1", arguments, 2, NULL, NULL, err);
    if (rc == 0)
        rc = cdtx__case_open(sql, "half", check->handle, reason, evidence, AUDIT_ENGINE, &opened, err);
    check->fails = opened;
    return rc;
}

/* Counted once the answer is there: a check that was not made costs no quota (M5). */
static int32_t run_count(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    struct check *check = LIST_OF(rider, struct check, waited.rider);
    cdtx_value key = SQL_INT(check->number);
    int64_t changes = 0;
    check->fails = 0;
    int32_t rc = cdtx__sql_run(sql, "UPDATE cdtx_half SET checks = checks + 1 WHERE id = ? AND state = 1", &key, 1,
                               NULL, &changes, err);
    int last = changes == 1 && !check->parked && check->checks + 1 >= check->checker->options.checks_max;
    return rc == 0 && last ? park(check, sql, err) : rc;
}

static int32_t run_resolve(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    struct check *check = LIST_OF(rider, struct check, waited.rider);
    check->resolution = (struct resolution){.number = check->number, .outcome = check->answer};
    return cdtx__half_resolve(sql, &check->resolution, err);
}

static int32_t again(struct check *check, cdtx_work *work, int64_t times, const char *why, cdtx_error *err) {
    int64_t in_ms = check->checker->options.interval_ms;
    in_ms = in_ms > CDTX_TIME_MAX_MS / times ? CDTX_TIME_MAX_MS : in_ms * times;
    return cdtx_work_snooze(work, in_ms, why, err);
}

static int32_t not_known(struct check *check, cdtx_work *work, cdtx_error *err) {
    int32_t rc = ride(check, check->checker->db, run_count, err);
    if (rc != 0)
        return rc;
    if (check->fails)
        cdtx__alarm(check->checker->db->engine,
                    "half message %s is parked and has become a case: %u checks without an answer", check->handle,
                    check->checks + 1);
    return again(check, work, check->parked || check->fails ? PARKED_TIMES : 1, "its outcome is not known yet", err);
}

static int32_t known(struct check *check, cdtx_error *err) {
    cdtx_db *db = check->checker->db;
    int32_t rc = ride(check, db, run_resolve, err);
    if (rc == CDTX_EXPIRED)
        return 0;
    if (rc == 0 && check->resolution.code != 0)
        cdtx__alarm(db->engine, "a check contradicts what was resolved: %s", check->resolution.err.text);
    if (rc == 0 && check->resolution.lowest > 0)
        cdtx__half_floor(db, check->resolution.producer, check->resolution.lowest);
    return rc;
}

/* ---- one check ---- */

static int32_t ask(struct check *check, cdtx_error *err) {
    const cdtx_half_checker *o = &check->checker->options;
    if (o->guard_db != NULL)
        return ride(check, o->guard_db, run_rule_out, err);
    check->answer = o->check(check->handle, check->topic, check->payload, check->length, o->user);
    return 0;
}

static int32_t check_one(struct check *check, cdtx_work *work, cdtx_error *err) {
    int32_t rc = ride(check, check->checker->db, run_read, err);
    if (rc != 0 || !check->open)
        return rc;
    cdtx_error why = {0};
    if (ask(check, &why) != 0) /* the producer's database is held, down or away: nobody was asked */
        return again(check, work, 1, why.text, err);
    int answered = check->answer == CDTX_HALF_COMMITTED || check->answer == CDTX_HALF_ROLLED_BACK;
    return answered ? known(check, err) : not_known(check, work, err);
}

static int32_t run_check(cdtx_work *work, void *user, cdtx_error *err) {
    size_t length = 0;
    const char *text = cdtx_work_payload(work, &length);
    struct check check = {.checker = user, .number = strtoll(text, NULL, 10)};
    cdtx__gid_text(check.checker->db->store->uuid, check.number, check.handle);
    int32_t rc = check_one(&check, work, err);
    forget_payload(&check, check.checker->env);
    return rc;
}

/* ---- registering ---- */

void cdtx__half_floor(cdtx_db *db, const char *producer, int64_t lowest) {
    char name[CDTX_NAME_MAX + 1];
    uint8_t space[16];
    struct job_room *room = cdtx__job_room(db, NULL);
    cdtx__half_handler(producer, name);
    struct handler *handler = room == NULL ? NULL : cdtx__handler_find(room, name);
    if (handler == NULL)
        return;
    const struct checker *checker = handler->options.user;
    if (checker->options.guard_db != NULL && cdtx__half_space(db->store->uuid, space, NULL) == 0)
        cdtx__floor_heard(checker->options.guard_db, space, lowest);
}

static void drop(void *user) {
    struct checker *checker = user;
    if (checker->options.drop != NULL)
        checker->options.drop(checker->options.user);
    cdtx__free(checker->env, checker, sizeof *checker);
}

static int32_t fill(cdtx_db *db, const char *producer, cdtx_half_checker *o, cdtx_error *err) {
    int32_t rc = cdtx__check_text(producer, CDTX_PRODUCER_NAME_MAX, "the producer's name", err);
    if (rc == 0)
        rc = cdtx__check_ms(o->interval_ms, "interval_ms", err);
    if (rc != 0)
        return rc;
    if ((o->guard_db == NULL) == (o->check == NULL))
        return cdtx__fail(err, CDTX_INVALID, "a checker of '%s' has a guard_db or a function, not %s", producer,
                          o->check == NULL ? "neither" : "both");
    if (o->guard_db != NULL && o->guard_db->engine != db->engine)
        return cdtx__fail(err, CDTX_MISUSE, "the guard_db of '%s' is a database of another engine", producer);
    if (o->checks_max == 0)
        o->checks_max = 15;
    if (o->interval_ms == 0)
        o->interval_ms = 30000;
    if (o->rate_per_s == 0)
        o->rate_per_s = 100;
    return 0;
}

static int32_t add(cdtx_db *db, const char *producer, const cdtx_half_checker *o, cdtx_error *err) {
    char name[CDTX_NAME_MAX + 1];
    struct checker *checker = cdtx__alloc(db->engine->env, sizeof *checker);
    if (checker == NULL)
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory for the checker of '%s'", producer);
    *checker = (struct checker){.db = db, .options = *o, .env = db->engine->env};
    cdtx__half_handler(producer, name);
    cdtx_handler_options handler = {
        .size = sizeof handler,
        .handler = run_check,
        .user = checker,
        .drop = drop,
        .attempts_max = UINT32_MAX,
        .crashes_max = o->checks_max < 3 ? 3 : o->checks_max,
        .backoff_min_ms = o->interval_ms,
        .backoff_max_ms = o->interval_ms,
        .rate_per_s = o->rate_per_s,
    };
    int32_t rc = cdtx__msg_keeper_add(db, err);
    if (rc == 0 && o->guard_db != NULL)
        rc = cdtx__floor_keep(o->guard_db, err);
    if (rc == 0)
        rc = cdtx__handler_add(db, name, &handler, err);
    if (rc != 0)
        cdtx__free(db->engine->env, checker, sizeof *checker);
    return rc;
}

int32_t cdtx_half_checker_add(cdtx_db *db, const char *producer, const cdtx_half_checker *checker, cdtx_error *err) {
    cdtx_half_checker o = {0};
    if (db == NULL)
        return cdtx__fail(err, CDTX_MISUSE, "the database is NULL");
    int32_t rc = cdtx__options(checker, &o, sizeof o, sizeof o, "cdtx_half_checker", err);
    if (rc == 0)
        rc = fill(db, producer, &o, err);
    if (rc == 0)
        rc = cdtx__enter(db->engine, err);
    if (rc != 0)
        return rc;
    rc = add(db, producer, &o, err);
    cdtx__leave(db->engine);
    return rc;
}
