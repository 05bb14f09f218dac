/* The limit for jobs: the loop of somebody who has one queue and one process. The same row, as durable in the same
 * three steps, BATCH jobs in each commit: put; attempt and token recorded before the attempt; gone. */
#include <string.h>

#include "hand.h"

enum { LEASE_MS = 30000 };

struct claimed {
    int64_t id, token;
    struct note note;
};

struct hand {
    struct file file;
    sqlite3_stmt *insert, *claim, *end;
    struct claimed claimed[BATCH];
};

static const char tables[] =
    "CREATE TABLE job (id INTEGER PRIMARY KEY, queue TEXT NOT NULL, handler TEXT NOT NULL, state INTEGER NOT NULL,"
    " priority INTEGER NOT NULL, due INTEGER NOT NULL, attempts INTEGER NOT NULL, token INTEGER NOT NULL,"
    " payload BLOB NOT NULL) STRICT;"
    "CREATE INDEX job_due ON job (queue, handler, priority DESC, due) WHERE state = 1";

/* ---- opening ---- */

/* Who works and on what never changes. */
static void bind_names(sqlite3_stmt *statement) {
    sqlite3_bind_text(statement, 1, "default", -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 2, JOB_NOOP, -1, SQLITE_STATIC);
}

static int open_hand(struct hand *hand, const char *dir) {
    struct file *file = &hand->file;
    if (!hand_open(file, dir, "jobs"))
        return 0;
    if (sqlite3_exec(file->db, tables, NULL, NULL, NULL) != SQLITE_OK)
        return complain("by hand: '%s': %s", tables, sqlite3_errmsg(file->db));
    int ok = hand_prepare(file,
                          "INSERT INTO job (queue, handler, state, priority, due, attempts, token, payload)"
                          " VALUES (?, ?, 1, 0, ?, 0, 0, ?)",
                          &hand->insert) &&
             hand_prepare(file,
                          "UPDATE job SET state = 2, attempts = attempts + 1, token = token + 1, due = ?5"
                          " WHERE id IN (SELECT id FROM job WHERE queue = ?1 AND handler = ?2 AND state = 1"
                          " AND due <= ?3 ORDER BY priority DESC, due LIMIT ?4) RETURNING id, token, payload",
                          &hand->claim) &&
             hand_prepare(file, "DELETE FROM job WHERE id = ? AND token = ? AND state = 2", &hand->end);
    if (ok) {
        bind_names(hand->insert);
        bind_names(hand->claim);
    }
    return ok;
}

/* ---- the three commits of a batch ---- */

static int put(struct hand *hand, int64_t first, int64_t count) {
    int ok = hand_begin(&hand->file);
    for (int64_t n = first; ok && n < first + count; n++) {
        struct note note = {.number = n};
        sqlite3_bind_int64(hand->insert, 3, now_us() / 1000);
        sqlite3_bind_blob(hand->insert, 4, &note, sizeof note, SQLITE_STATIC);
        ok = hand_step(&hand->file, hand->insert, 1);
    }
    return ok && hand_commit(&hand->file);
}

static int claim(struct hand *hand, int64_t count) {
    int64_t clock = now_us() / 1000, claimed = 0;
    if (!hand_begin(&hand->file))
        return 0;
    sqlite3_bind_int64(hand->claim, 3, clock);
    sqlite3_bind_int(hand->claim, 4, BATCH);
    sqlite3_bind_int64(hand->claim, 5, clock + LEASE_MS);
    for (; claimed < BATCH && sqlite3_step(hand->claim) == SQLITE_ROW; claimed++) {
        struct claimed *job = &hand->claimed[claimed];
        job->id = sqlite3_column_int64(hand->claim, 0);
        job->token = sqlite3_column_int64(hand->claim, 1);
        if (sqlite3_column_bytes(hand->claim, 2) == sizeof job->note)
            memcpy(&job->note, sqlite3_column_blob(hand->claim, 2), sizeof job->note);
    }
    if (sqlite3_reset(hand->claim) != SQLITE_OK || claimed != count)
        return complain("by hand: %lld of %lld jobs were claimed: %s", (long long)claimed, (long long)count,
                        sqlite3_errmsg(hand->file.db));
    return hand_commit(&hand->file);
}

/* Which does nothing but to look who came. */
static int run_all(const struct hand *hand, int64_t first, int64_t count) {
    int64_t numbers = 0;
    for (int64_t i = 0; i < count; i++)
        numbers += hand->claimed[i].note.number;
    return numbers == sum_of(first, count) || complain("by hand: other jobs came than were put");
}

static int end(struct hand *hand, int64_t count) {
    int ok = hand_begin(&hand->file);
    for (int64_t i = 0; ok && i < count; i++) {
        sqlite3_bind_int64(hand->end, 1, hand->claimed[i].id);
        sqlite3_bind_int64(hand->end, 2, hand->claimed[i].token);
        ok = hand_step(&hand->file, hand->end, 1);
    }
    return ok && hand_commit(&hand->file);
}

static int batch(void *user, int64_t first, int64_t count) {
    struct hand *hand = user;
    return put(hand, first, count) && claim(hand, count) && run_all(hand, first, count) && end(hand, count);
}

int jobs_by_hand(struct run *run) {
    struct hand hand = {0};
    int ok = open_hand(&hand, run->dir) && hand_loop(run, BATCH, batch, &hand);
    run->syncs = hand.file.syncs;
    hand_close(&hand.file);
    return ok;
}

int check_jobs_by_hand(const struct run *run) {
    return queue_check(run->dir, "job", 0);
}
