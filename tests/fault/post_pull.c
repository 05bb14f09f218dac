/* Who pulls: letters of the group `pulled`, and errands, several at once where several are there. */
#include <cdtx/msg.h>
#include <stdio.h>
#include <string.h>

#include "post.h"
#include "post_names.h"

enum { BATCH_MAX = 8, JOB_ROOM = 24, LONGER_THAN_A_LEASE_MS = 1500 };

/* What is taken together, and what each of it is answered. */
struct batch {
    struct house *house;
    struct ledger *ledger;
    cdtx_work *works[BATCH_MAX];
    int32_t codes[BATCH_MAX];
    int lost[BATCH_MAX]; /* another has it by now */
    uint32_t count;
};

static int is_letter(const cdtx_work *work) {
    return cdtx_msg_group(work) != NULL;
}

/* ---- taking ---- */

static void job_text(const cdtx_work *work, char text[JOB_ROOM]) {
    (void)snprintf(text, JOB_ROOM, "%lld", (long long)cdtx_work_id(work));
}

static void check_new(const cdtx_work *work, struct ledger *ledger) {
    char job[JOB_ROOM];
    job_text(work, job);
    for (uint32_t i = 0; i < ledger->count; i++)
        if (ledger->list[i].deed == DEED_DONE && ledger->list[i].code == 0 && strcmp(ledger->list[i].key, job) == 0)
            ledger_complain(ledger, "job %s came again after it had been answered done", job);
}

static void take(struct batch *batch, int64_t for_ms, uint32_t most) {
    cdtx_error err = {0};
    batch->count = 0;
    memset(batch->lost, 0, sizeof batch->lost);
    int32_t rc = cdtx_take_many(batch->house->engine, for_ms, batch->works, most, &batch->count, &err);
    (void)ledger_check(batch->ledger, "cdtx_take_many", rc, &err);
    for (uint32_t i = 0; i < batch->count; i++)
        check_new(batch->works[i], batch->ledger);
}

cdtx_work *post_take(struct house *house, struct ledger *ledger, int64_t for_ms) {
    struct batch batch = {.house = house, .ledger = ledger};
    take(&batch, for_ms, 1);
    return batch.count == 1 ? batch.works[0] : NULL;
}

/* ---- working ---- */

/* The effects of all letters that are accepted are one commit; their jobs end behind it. */
static int32_t write_letters(cdtx_sql *sql, void *user, cdtx_error *err) {
    const struct batch *batch = user;
    int32_t rc = 0;
    for (uint32_t i = 0; rc == 0 && i < batch->count; i++)
        if (is_letter(batch->works[i]) && batch->codes[i] == 0)
            rc = post_write_done(sql, "INSERT INTO pulled VALUES (?, ?, ?)", batch->works[i], err);
    return rc;
}

/* Once they are done there, the world has seen them. */
static void read_letters(struct batch *batch) {
    struct house *house = batch->house;
    cdtx_error err = {0};
    uint32_t accepted = 0;
    for (uint32_t i = 0; i < batch->count; i++)
        if (is_letter(batch->works[i])) {
            batch->codes[i] = post_verdict(batch->works[i], &err);
            accepted += batch->codes[i] == 0;
        }
    if (accepted == 0)
        return;
    int32_t rc = cdtx_local(house->post, write_letters, batch, &err);
    (void)ledger_check(batch->ledger, "the pulled letters' cdtx_local", rc, &err);
    for (uint32_t i = 0; i < batch->count; i++)
        if (is_letter(batch->works[i]) && batch->codes[i] == 0) {
            batch->codes[i] = rc;
            if (rc == 0 && house->left != NULL)
                house->left(house->witness, LEFT_EFFECT, cdtx_work_id(batch->works[i]),
                            cdtx_work_token(batch->works[i]));
        }
}

/* The errand and the end of its job are one commit. */
static int32_t write_errand(cdtx_sql *sql, void *user, cdtx_error *err) {
    char key[LEDGER_KEY_MAX];
    post_key(user, key);
    post_bind(sql, key);
    int32_t rc = cdtx_sql_exec(sql, "INSERT INTO chore VALUES (?)", NULL, err);
    return rc != 0 ? rc : cdtx_work_done(user, sql, err);
}

static void run_errands(struct batch *batch) {
    for (uint32_t i = 0; i < batch->count; i++) {
        cdtx_error err = {0};
        if (is_letter(batch->works[i]))
            continue;
        int32_t rc = cdtx_local(batch->house->post, write_errand, batch->works[i], &err);
        batch->codes[i] = ledger_check(batch->ledger, "an errand's cdtx_local", rc, &err);
    }
}

/* ---- settling ---- */

static int32_t first_of(const int32_t *codes, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (codes[i] != 0)
            return codes[i];
    return 0;
}

/* What was answered done never comes again, once that answer is told to be durable. */
static void settle(struct batch *batch) {
    struct ledger *ledger = batch->ledger;
    char jobs[BATCH_MAX][JOB_ROOM];
    int32_t results[BATCH_MAX] = {0};
    cdtx_error err = {0};
    for (uint32_t i = 0; i < batch->count; i++)
        job_text(batch->works[i], jobs[i]);
    int32_t rc = cdtx_settle_many(batch->works, batch->codes, "not done", batch->count, results, &err);
    (void)ledger_check(ledger, "cdtx_settle_many", rc, &err);
    if (rc != first_of(results, batch->count))
        ledger_complain(ledger, "cdtx_settle_many answered %s, which is not its first failure", cdtx_code_name(rc));
    for (uint32_t i = 0; i < batch->count; i++)
        if (batch->lost[i] && results[i] == 0)
            ledger_complain(ledger, "job %s was settled by one whose lease was over, while another had it", jobs[i]);
        else if (batch->codes[i] == 0 && !batch->lost[i])
            ledger_hear(ledger, DEED_DONE, jobs[i], results[i] == 0 ? 0 : CDTX_UNKNOWN);
}

static void work_on(struct batch *batch) {
    read_letters(batch);
    run_errands(batch);
    settle(batch);
}

void post_run_errand(struct house *house, struct ledger *ledger, cdtx_work *work) {
    struct batch batch = {.house = house, .ledger = ledger, .works = {work}, .count = 1};
    if (work != NULL)
        work_on(&batch);
}

void post_pull(struct house *house, struct ledger *ledger, int64_t for_ms) {
    static const uint32_t sizes[] = {BATCH_MAX, 1, 3, 2};
    struct batch batch = {.house = house, .ledger = ledger};
    for (size_t i = 0;; i = (i + 1) % (sizeof sizes / sizeof sizes[0])) {
        take(&batch, for_ms, sizes[i]);
        if (batch.count == 0)
            return;
        work_on(&batch);
    }
}

void post_dawdle(struct house *house, struct ledger *ledger, int64_t for_ms) {
    cdtx_error err = {0};
    struct batch late = {.house = house, .ledger = ledger}, next = {.house = house, .ledger = ledger};
    take(&late, for_ms, BATCH_MAX);
    if (late.count == 0)
        return;
    int32_t rc = cdtx_run(house->engine, LONGER_THAN_A_LEASE_MS, &err);
    (void)ledger_check(ledger, "cdtx_run", rc, &err);
    take(&next, for_ms, BATCH_MAX);
    for (uint32_t i = 0; i < late.count; i++)
        for (uint32_t k = 0; k < next.count; k++)
            late.lost[i] |= cdtx_work_id(late.works[i]) == cdtx_work_id(next.works[k]);
    work_on(&late);
    if (next.count > 0)
        work_on(&next);
}
