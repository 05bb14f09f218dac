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
    half_ask_fn ask; /* instead of options.check; NULL: that */
    const cdtx_env *env;
    int64_t away_until_us; /* atomic: the guard_db was held; nobody waits for it again before */
};

/* ---- what is asked ---- */

/* One half, as a check has it in memory: a copy, since the checker runs outside any transaction. */
struct check {
    struct waited_rider waited;
    struct checker *checker;
    struct job *job;
    int64_t number;
    char handle[CDTX_GID_MAX];
    int open; /* it is still to be resolved */
    int deaf; /* none of the last checks came to an end: it is not asked this time */
    uint32_t checks;
    int parked, parks; /* it is parked; it has just been, so an alarm is to be raised */
    char topic[TOPIC_NAME_MAX + 1], key[CDTX_NAME_MAX + 1], id[CDTX_GID_MAX];
    int keyed;
    uint8_t *payload;
    uint32_t length;
    int32_t answer;
    int64_t pause_ms; /* before it is asked about again */
    struct resolution resolution;
};

static void forget_payload(struct check *check, const cdtx_env *env) {
    cdtx__free(env, check->payload, (size_t)check->length + 1);
    check->payload = NULL;
}

static int32_t keep_half(struct check *check, const cdtx_env *env, const struct half *half, cdtx_error *err) {
    check->open = 1;
    check->checks = half->checks;
    check->parked = half->parked;
    check->keyed = half->message.key != NULL;
    snprintf(check->id, sizeof check->id, "%s", half->message.id == NULL ? check->handle : half->message.id);
    snprintf(check->key, sizeof check->key, "%s", check->keyed ? half->message.key : "");
    snprintf(check->topic, sizeof check->topic, "%s", half->message.topic);
    check->length = (uint32_t)half->message.length;
    check->payload = cdtx__alloc(env, (size_t)check->length + 1);
    if (check->payload == NULL)
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory to check half message %lld", (long long)check->number);
    memcpy(check->payload, half->message.payload, check->length);
    return 0;
}

static int32_t park(struct check *check, cdtx_sql *sql, const char *reason, cdtx_error *err) {
    char evidence[256];
    if (FAILPOINT(sql->store->env, "msg.park"))
        return cdtx__fail(err, CDTX_IO, "failpoint msg.park");
    snprintf(evidence, sizeof evidence, "half message of topic '%s', %u bytes", check->topic, check->length);
    cdtx_value arguments[] = {cdtx__sql_text(reason), SQL_INT(check->number)};
    int32_t rc =
        cdtx__sql_run(sql, "UPDATE cdtx_half SET parked = ? WHERE id = ? AND state = 1", arguments, 2, NULL, NULL, err);
    return rc != 0 ? rc
                   : cdtx__case_open(sql, "half", check->handle, reason, evidence, AUDIT_ENGINE, &check->parks, err);
}

/* A function of the host's may die of what it is asked. So it is written down before (R3), and after so many that came
 * to no end the half is left alone for long. */
static int32_t begin(struct check *check, cdtx_sql *sql, const struct half *half, cdtx_error *err) {
    uint32_t most = check->checker->options.checks_max;
    char reason[80];
    check->deaf = half->begun >= most;
    cdtx_value arguments[] = {SQL_INT(check->deaf ? 0 : (int64_t)half->begun + 1), SQL_INT(check->number)};
    int32_t rc =
        cdtx__sql_run(sql, "UPDATE cdtx_half SET begun = ? WHERE id = ? AND state = 1", arguments, 2, NULL, NULL, err);
    if (rc != 0 || !check->deaf || half->parked)
        return rc;
    snprintf(reason, sizeof reason, "%u checks were begun and did not end", most);
    return park(check, sql, reason, err);
}

/* It has waited for its turn, so its lease begins here: what had lost it was not asked, and is not counted. */
static int32_t run_read(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    struct check *check = LIST_OF(rider, struct check, waited.rider);
    const cdtx_env *env = sql->store->env;
    struct half half;
    cdtx_rows rows;
    forget_payload(check, env);
    check->open = check->deaf = check->parks = 0;
    int32_t rc = cdtx__job_extend(check->job, sql, err);
    if (rc != 0)
        return rc;
    cdtx__rows_init(&rows, env, PAYLOAD_LIMIT + 65536);
    rc = cdtx__half_read(sql, check->number, &rows, &half, err);
    if (rc == CDTX_EXPIRED || rc == CDTX_NOT_FOUND)
        rc = 0;
    else if (rc == 0 && half.state == CDTX_HALF_OPEN)
        rc = keep_half(check, env, &half, err);
    if (rc == 0 && check->open && check->checker->options.guard_db == NULL)
        rc = begin(check, sql, &half, err);
    cdtx__rows_free(&rows);
    return rc;
}

static int32_t run_rule_out(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    struct check *check = LIST_OF(rider, struct check, waited.rider);
    if (MUTANT(sql->store->env, "bug-18")) { /* looks, and takes an absent mark for a rollback (N3) */
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

/* Counted once the answer is there: a check that was not made costs no quota (N4). */
static int32_t run_count(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    struct check *check = LIST_OF(rider, struct check, waited.rider);
    cdtx_value key = SQL_INT(check->number);
    int64_t changes = 0;
    char reason[80];
    check->parks = 0;
    int32_t rc = cdtx__sql_run(sql, "UPDATE cdtx_half SET checks = checks + 1, begun = 0 WHERE id = ? AND state = 1",
                               &key, 1, NULL, &changes, err);
    uint32_t checks = check->checks + (MUTANT(sql->store->env, "bug-22") ? 2 : 1); /* the pass while it was immune */
    int last = changes == 1 && !check->parked && checks >= check->checker->options.checks_max;
    if (rc != 0 || !last)
        return rc;
    snprintf(reason, sizeof reason, "%u checks without an answer", check->checks + 1);
    return park(check, sql, reason, err);
}

static int32_t run_resolve(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    struct check *check = LIST_OF(rider, struct check, waited.rider);
    check->resolution = (struct resolution){.number = check->number, .outcome = check->answer};
    return cdtx__half_resolve(sql, &check->resolution, err);
}

static int32_t again(const struct check *check, cdtx_work *work, const char *why, cdtx_error *err) {
    return cdtx_work_snooze(work, check->pause_ms, why, err);
}

static int32_t not_known(struct check *check, cdtx_work *work, cdtx_error *err) {
    int rarely = check->deaf || check->parked || check->parks;
    if (check->parks)
        cdtx__alarm(check->checker->db->engine,
                    "half message %s is parked and has become a case: nobody can tell its outcome", check->handle);
    if (rarely)
        check->pause_ms =
            check->pause_ms > CDTX_TIME_MAX_MS / PARKED_TIMES ? CDTX_TIME_MAX_MS : check->pause_ms * PARKED_TIMES;
    return again(check, work, "its outcome is not known yet", err);
}

static int32_t count(struct check *check, cdtx_work *work, cdtx_error *err) {
    int32_t rc = ride(check, check->checker->db, run_count, err);
    return rc != 0 ? rc : not_known(check, work, err);
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

/* Whoever waits for a database holds a thread, so of many halves only one does; and for a turn of the host's nobody
 * waits, but looks again soon. Where its marks are gone, nobody can tell any more. */
static int32_t ask_marks(struct check *check, cdtx_error *err) {
    struct checker *checker = check->checker;
    if (!cdtx__host_lends(checker->options.guard_db)) {
        check->pause_ms = check->pause_ms / 10 + 1;
        return cdtx__busy(err, 0, "the producer's database is lent no turn now");
    }
    if (cdtx__now_us(checker->env) < __atomic_load_n(&checker->away_until_us, __ATOMIC_RELAXED))
        return cdtx__busy(err, 0, "the producer's database was held a moment ago");
    int32_t rc = ride(check, checker->options.guard_db, run_rule_out, err);
    if (rc == CDTX_BUSY)
        __atomic_store_n(&checker->away_until_us, cdtx__now_us(checker->env) + check->pause_ms * 1000,
                         __ATOMIC_RELAXED);
    if (rc == CDTX_EXPIRED)
        check->answer = CDTX_HALF_OPEN;
    return rc == CDTX_EXPIRED ? 0 : rc;
}

static int32_t ask(struct check *check, cdtx_error *err) {
    const cdtx_half_checker *o = &check->checker->options;
    if (o->guard_db != NULL)
        return ask_marks(check, err);
    struct message message = {.topic = check->topic,
                              .key = check->keyed ? check->key : NULL,
                              .payload = check->payload,
                              .length = check->length};
    check->answer = check->checker->ask != NULL
                        ? check->checker->ask(check->handle, check->id, &message, o->user)
                        : o->check(check->handle, check->topic, check->payload, check->length, o->user);
    return 0;
}

static int32_t check_one(struct check *check, cdtx_work *work, cdtx_error *err) {
    int32_t rc = ride(check, check->checker->db, run_read, err);
    check->pause_ms = check->checker->options.interval_ms;
    if (rc != 0 || !check->open)
        return rc;
    if (check->deaf)
        return not_known(check, work, err);
    cdtx_error why = {0};
    const cdtx_env *env = check->checker->env;
    (void)FAILPOINT(env, "msg.check_send");
    if (ask(check, &why) != 0) { /* the producer's database is held, down or away: nobody was asked */
        if (!MUTANT(env, "bug-24"))
            return MUTANT(env, "bug-22") ? count(check, work, err) : again(check, work, why.text, err);
        check->answer = CDTX_HALF_ROLLED_BACK;
    }
    (void)FAILPOINT(env, "msg.check_reply");
    int answered = check->answer == CDTX_HALF_COMMITTED || check->answer == CDTX_HALF_ROLLED_BACK;
    return answered ? known(check, err) : count(check, work, err);
}

static int32_t run_check(cdtx_work *work, void *user, cdtx_error *err) {
    size_t length = 0;
    const char *text = cdtx_work_payload(work, &length);
    struct check check = {.checker = user, .job = cdtx__job_of(work), .number = strtoll(text, NULL, 10)};
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

static int32_t fill(cdtx_db *db, const char *producer, cdtx_half_checker *o, half_ask_fn asked, cdtx_error *err) {
    int32_t rc = cdtx__check_text(producer, CDTX_PRODUCER_NAME_MAX, "the producer's name", err);
    if (rc == 0)
        rc = cdtx__check_ms(o->interval_ms, "interval_ms", err);
    if (rc != 0)
        return rc;
    if ((o->guard_db == NULL) == (o->check == NULL && asked == NULL))
        return cdtx__fail(err, CDTX_INVALID, "a checker of '%s' has a guard_db or a function, not %s", producer,
                          o->check == NULL ? "neither" : "both");
    if (o->guard_db != NULL && o->guard_db->engine != db->engine)
        return cdtx__fail(err, CDTX_MISUSE, "the guard_db of '%s' is a database of another engine", producer);
    rc = o->guard_db == NULL ? 0 : cdtx__may_write(o->guard_db, "keeping marks", err);
    if (rc != 0)
        return rc;
    if (o->checks_max == 0)
        o->checks_max = 15;
    if (o->interval_ms == 0)
        o->interval_ms = 30000;
    if (o->rate_per_s == 0)
        o->rate_per_s = 100;
    return 0;
}

static int32_t add(cdtx_db *db, const char *producer, const cdtx_half_checker *o, half_ask_fn asked, cdtx_error *err) {
    char name[CDTX_NAME_MAX + 1];
    struct checker *checker = cdtx__alloc(db->engine->env, sizeof *checker);
    if (checker == NULL)
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory for the checker of '%s'", producer);
    *checker = (struct checker){.db = db, .options = *o, .ask = asked, .env = db->engine->env};
    cdtx__half_handler(producer, name);
    cdtx_handler_options handler = {
        .size = sizeof handler,
        .handler = run_check,
        .user = checker,
        .drop = drop,
        .attempts_max = UINT32_MAX,
        .crashes_max = UINT32_MAX,
        .backoff_min_ms = o->interval_ms,
        .backoff_max_ms = o->interval_ms,
        .rate_per_s = o->rate_per_s,
        .in_order = MUTANT(db->engine->env, "bug-25"),
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

int32_t cdtx__half_checker_add(cdtx_db *db, const char *producer, const cdtx_half_checker *options, half_ask_fn asked,
                               cdtx_error *err) {
    cdtx_half_checker o = {0};
    if (db == NULL)
        return cdtx__fail(err, CDTX_MISUSE, "the database is NULL");
    int32_t rc = cdtx__options(options, &o, sizeof o, sizeof o, "cdtx_half_checker", err);
    if (rc == 0)
        rc = cdtx__enter(db->engine, err);
    if (rc != 0)
        return rc;
    rc = fill(db, producer, &o, asked, err);
    if (rc == 0)
        rc = add(db, producer, &o, asked, err);
    cdtx__leave(db->engine);
    return rc;
}

int32_t cdtx_half_checker_add(cdtx_db *db, const char *producer, const cdtx_half_checker *checker, cdtx_error *err) {
    return cdtx__half_checker_add(db, producer, checker, NULL, err);
}
