#include "post_judge.h"

#include <stdio.h>
#include <string.h>

/* What may be seen, by key: its local transaction committed (M1). */
#define VISIBLE                                                                                                        \
    "(SELECT key FROM main.sent UNION ALL SELECT key FROM main.promise WHERE state = 'KEPT'"                           \
    " UNION ALL SELECT key FROM s.deal)"
#define ALL_JOBS "(SELECT * FROM main.cdtx_job UNION ALL SELECT * FROM s.cdtx_job UNION ALL SELECT * FROM l.cdtx_job)"
/* The number at the end of a gid or a handle. */
#define NUMBER(id) "CAST(substr(" id ", 34) AS INTEGER)"
#define DEALS      "(SELECT " NUMBER("handle") " AS id, count(*) AS deals FROM s.deal GROUP BY 1)"
/* How often each key is in a table. */
#define TIMES(table) "(SELECT key, count(*) AS times FROM " table " GROUP BY key)"

#define UNGUARDED(database, name)                                                                                      \
    "SELECT printf('promise %s has neither a guard in the " name " nor a floor above it', gid) FROM " database         \
    ".promise p WHERE NOT EXISTS (SELECT 1 FROM " database ".cdtx_guard WHERE log = (SELECT uuid FROM l.cdtx_meta)"    \
    " AND seq = " NUMBER("p.gid") ") AND NOT EXISTS (SELECT 1 FROM " database ".cdtx_floor"                            \
                                  " WHERE log = (SELECT uuid FROM l.cdtx_meta) AND floor > " NUMBER("p.gid") ")"

static const char *const always[] = {
    "SELECT printf('%s took effect, and was never sent', key)"
    " FROM (SELECT key FROM main.got UNION ALL SELECT key FROM s.got UNION ALL SELECT key FROM s.plain UNION ALL"
    " SELECT key FROM main.pulled)"
    " WHERE key NOT IN " VISIBLE,
    "SELECT printf('%s is delivered by job %d, and was never sent', CAST(payload AS TEXT), id) FROM main.cdtx_job"
    " WHERE msg IS NOT NULL AND CAST(payload AS TEXT) NOT IN " VISIBLE,
    "SELECT printf('%s took effect %d times in one group', key, count(*))"
    " FROM (SELECT 1 AS part, key FROM main.got UNION ALL SELECT 2, key FROM s.got) GROUP BY part, key"
    " HAVING count(*) > 1",
    "SELECT printf('%s took effect twice under the token %d', key, token)"
    " FROM (SELECT * FROM s.plain UNION ALL SELECT * FROM main.pulled) GROUP BY job, token HAVING count(*) > 1",
    "SELECT printf('%s took effect, although it was refused', key)"
    " FROM (SELECT key FROM main.got UNION ALL SELECT key FROM main.pulled) WHERE key LIKE '%poison%'",
    "SELECT printf('%s has two ids', key) FROM (SELECT * FROM main.got UNION ALL SELECT * FROM s.got) GROUP BY key"
    " HAVING count(DISTINCT message) > 1",
    "SELECT printf('the promise of %s is %s, and holds %d messages', gid, state, held) FROM (SELECT gid, key, state,"
    " coalesce(held, 0) AS held FROM main.promise p LEFT JOIN (SELECT seq, count(*) AS held FROM main.cdtx_msg"
    " WHERE visible IS NULL GROUP BY seq) m ON m.seq = " NUMBER(
        "p.gid") ") WHERE held <> (state = 'HELD' AND key NOT LIKE '%taken-back%')",
    "SELECT printf('promise %s is %s, but the log says %d', p.gid, p.state, t.state)"
    " FROM (SELECT * FROM main.promise UNION ALL SELECT * FROM s.promise) p"
    " LEFT JOIN l.cdtx_tx t ON t.seq = " NUMBER(
        "p.gid") " WHERE t.seq IS NULL"
                 " OR (p.state = 'KEPT' AND t.state NOT IN (2, 4)) OR (p.state = 'BROKEN' AND t.state NOT IN (3, 5, 6, "
                 "7)) OR (p.state = 'CONFIRMED' AND t.state NOT IN (2, 6))",
    /* Guards and what they guard are one commit; guards go with a floor (T6). */
    UNGUARDED("main", "post"),
    UNGUARDED("s", "shop"),
    /* Hooks, done or still jobs. */
    "SELECT printf('a %s of %s is there, but the log says %d', kind, h.gid, t.state) FROM (SELECT kind, gid FROM l.hook"
    " UNION ALL SELECT handler, substr(unique_key, 1, instr(unique_key, '#') - 1) FROM l.cdtx_job"
    " WHERE handler GLOB 'hook.*') h LEFT JOIN l.cdtx_tx t ON t.seq = " NUMBER(
        "h.gid") " WHERE t.seq IS NULL"
                 " OR (kind = 'hook.undo' AND t.state NOT IN (3, 5, 7)) OR (kind <> 'hook.undo' AND t.state NOT IN (2, "
                 "4))",
    "SELECT printf('%s of %s ran %d times', kind, gid, count(*)) FROM l.hook GROUP BY kind, gid HAVING count(*) > 1",
    /* Halves: enum cdtx_half_state. */
    "SELECT printf('half %d is %d, but %d deals stand for it', id, state, coalesce(deals, 0))"
    " FROM main.cdtx_half LEFT JOIN " DEALS " USING (id)"
    " WHERE deals > 1 OR (state = 2 AND deals IS NULL) OR (state = 3 AND deals > 0)",
    "SELECT printf('the deal %s stands for no half', key) FROM s.deal WHERE " NUMBER(
        "handle") " NOT IN"
                  " (SELECT id FROM main.cdtx_half)",
    /* Jobs: enum job_state. */
    "SELECT printf('job %d of %s waits for nobody', id, handler) FROM " ALL_JOBS " j WHERE state = 4 AND NOT EXISTS"
    " (SELECT 1 FROM " ALL_JOBS " b WHERE b.concurrency_key = j.concurrency_key AND b.state IN (1, 2))",
    "SELECT printf('job %d of %s comes after nobody', id, handler) FROM " ALL_JOBS " j WHERE state = 5 AND NOT EXISTS"
    " (SELECT 1 FROM " ALL_JOBS " b WHERE b.handler = j.handler AND b.unique_key = j.unique_key"
    " AND b.state NOT IN (3, 5))",
    "SELECT printf('%s was done after it had been called off', key) FROM main.chore WHERE key IN"
    " (SELECT key FROM main.cancelled)",
    "SELECT printf('%s was done %d times', key, count(*)) FROM main.chore WHERE key NOT LIKE '%kept%' GROUP BY key"
    " HAVING count(*) > 1",
    "SELECT printf('slot %d was struck %d times', slot, count(*)) FROM main.stroke GROUP BY slot HAVING count(*) > 1",
    "SELECT printf('no slot is at %d', slot) FROM main.stroke WHERE slot % 60000 <> 0",
};

/* A letter that was acknowledged is on its way to a group, or has arrived. */
#define RELEASED                                                                                                       \
    "(SELECT key FROM main.sent UNION ALL SELECT key FROM main.promise WHERE state = 'KEPT' UNION ALL"                 \
    " SELECT key FROM s.deal WHERE " NUMBER("handle") " IN (SELECT id FROM main.cdtx_half WHERE state = 2))"
#define ON_ITS_WAY(group, table)                                                                                       \
    "SELECT printf('%s was lost on its way to %s', key, '" group "') FROM " RELEASED " WHERE key NOT IN"               \
    " (SELECT key FROM " table " UNION ALL SELECT CAST(payload AS TEXT) FROM main.cdtx_job"                            \
    " WHERE handler = 'cdtx.msg/letters/" group "')"

static const char *const on_their_way[] = {
    ON_ITS_WAY("here", "main.got"),
    ON_ITS_WAY("away", "s.got"),
    ON_ITS_WAY("plain", "s.plain"),
    ON_ITS_WAY("pulled", "main.pulled"),
};

#define DEAD_WELL                                                                                                      \
    "(state = 3 AND ((handler IN ('cdtx.msg/letters/here', 'cdtx.msg/letters/pulled')"                                 \
    " AND CAST(payload AS TEXT) LIKE '%poison%')"                                                                      \
    " OR (handler = 'chore' AND CAST(payload AS TEXT) LIKE '%doom%')))"

/* A dead letter has arrived too. */
#define ARRIVED(group, table, wrong)                                                                                   \
    "SELECT printf('%s was sent, and is there %d times for " group "', key, times) FROM (SELECT v.key AS key,"         \
    " coalesce(t.times, 0) + coalesce(d.times, 0) AS times FROM " VISIBLE                                              \
    " v LEFT JOIN " TIMES(table) " t"                                                                                  \
                                 " ON t.key = v.key LEFT JOIN (SELECT CAST(payload AS TEXT) AS key, count(*) AS "      \
                                 "times FROM main.cdtx_job"                                                            \
                                 " WHERE state = 3 AND handler = 'cdtx.msg/letters/" group                             \
                                 "' GROUP BY 1) d ON d.key = v.key) WHERE times " wrong

static const char *const at_rest[] = {
    ARRIVED("here", "main.got", "<> 1"),
    ARRIVED("away", "s.got", "<> 1"),
    ARRIVED("plain", "s.plain", "< 1"),
    ARRIVED("pulled", "main.pulled", "< 1"),
    /* Its numbers say in which order letters became visible (M9). */
    "SELECT printf('%s was overtaken', key) FROM (SELECT key, g.id AS now, max(g.id) OVER (PARTITION BY"
    " substr(key, 1, 1) ORDER BY s.id) AS latest FROM main.sent s JOIN main.got g USING (key)) WHERE now < latest",
    "SELECT printf('gid %d, %s, has not ended: its state is %d', seq, key, state) FROM l.cdtx_tx"
    " WHERE state NOT IN (4, 5, 7)",
    "SELECT printf('promise %s of %s is still held', gid, key)"
    " FROM (SELECT * FROM main.promise UNION ALL SELECT * FROM s.promise) WHERE state IN ('HELD', 'CONFIRMED')",
    "SELECT printf('gid %d, %s, has ended in %d, but the promise is kept in %d places', seq, key, state,"
    " coalesce(kept, 0)) FROM l.cdtx_tx LEFT JOIN (SELECT " NUMBER(
        "gid") " AS seq, count(*) AS kept FROM (SELECT *"
               " FROM main.promise UNION ALL SELECT * FROM s.promise) WHERE state = 'KEPT' GROUP BY 1) USING (seq)"
               " WHERE coalesce(kept, 0) <> CASE state WHEN 4 THEN 2 ELSE 0 END",
    "SELECT printf('gid %d, %s, has ended in %d, but its hooks are %s', seq, key, state, kinds)"
    " FROM l.cdtx_tx t LEFT JOIN (SELECT key, group_concat(kind) AS kinds, sum(kind = 'hook.commit') AS done,"
    " sum(kind = 'hook.late') AS late, sum(kind = 'hook.undo') AS undone FROM l.hook GROUP BY key) h USING (key)"
    " WHERE coalesce(done, 0) <> (state = 4) OR coalesce(undone, 0) <> (state IN (5, 7))"
    " OR coalesce(late, 0) <> (state = 4 AND key LIKE '%late%')",
    "SELECT printf('job %d of %s is left over: state %d, %s', id, handler, state, error) FROM " ALL_JOBS
    " WHERE handler NOT IN ('cdtx.msg.keep', 'cdtx.cron') AND NOT " DEAD_WELL,
    "SELECT printf('there are %d keepers and %d ticks', keepers, ticks) FROM (SELECT"
    " (SELECT count(*) FROM main.cdtx_job WHERE handler = 'cdtx.msg.keep' AND state = 1) AS keepers,"
    " (SELECT count(*) FROM main.cdtx_job WHERE handler = 'cdtx.cron' AND state = 1) AS ticks)"
    " WHERE keepers <> 1 OR ticks <> (SELECT count(*) FROM main.cdtx_cron)",
    "SELECT printf('the clock is settled up to %d, its last stroke was at %d of %d, and its next is due at %d',"
    " settled_ms, last, strokes, due) FROM (SELECT *, (SELECT due FROM main.cdtx_job WHERE handler = 'cdtx.cron')"
    " AS due, (SELECT max(slot) FROM main.stroke) AS last, (SELECT count(*) FROM main.stroke) AS strokes,"
    " (SELECT min(slot) FROM main.stroke) AS first FROM main.cdtx_cron)"
    " WHERE due - settled_ms > 60000 OR (strokes > 0 AND (last <> settled_ms OR last - first <> (strokes - 1) * "
    "60000))",
    "SELECT printf('message %d is left over', id) FROM main.cdtx_msg",
    "SELECT printf('half %d is not resolved', id) FROM main.cdtx_half WHERE state = 1",
    "SELECT printf('gid %d is %d, but the guard of its branch %d is %d', g.seq, t.state, branch, g.state)"
    " FROM (SELECT * FROM main.cdtx_guard UNION ALL SELECT * FROM s.cdtx_guard) g LEFT JOIN l.cdtx_tx t USING (seq)"
    " WHERE log = (SELECT uuid FROM l.cdtx_meta) AND"
    " ((t.state = 4 AND g.state <> 3) OR (t.state = 5 AND g.state NOT IN (2, 4, 5)) OR (t.state = 7 AND g.state <> 6) "
    "OR t.seq IS NULL)",
    "PRAGMA main.integrity_check",
    "PRAGMA s.integrity_check",
    "PRAGMA l.integrity_check",
};

#define JOB_GONE "SELECT NOT EXISTS (SELECT 1 FROM main.cdtx_job WHERE id = CAST(? AS INTEGER))"

static const struct judged deeds[POST_DEEDS] = {
    [DEED_LETTER] = {"letter", "SELECT count(*) FROM main.sent WHERE key = ?"},
    [DEED_PROMISE] = {"promise", "SELECT count(*) FROM main.promise WHERE key = ? AND state = 'KEPT'"},
    [DEED_DEAL] = {"deal", "SELECT count(*) FROM s.deal WHERE key = ?"},
    [DEED_CHORE] = {"chore", "SELECT (SELECT count(*) FROM main.chore WHERE key = ?1)"
                             " + (SELECT count(*) FROM main.cancelled WHERE key = ?1)"},
    [DEED_OFF] = {"calling off", "SELECT count(*) FROM main.cancelled WHERE key = ?"},
    [DEED_DOOM] = {"doomed chore", "SELECT count(*) FROM main.cdtx_job WHERE state = 3 AND payload = CAST(? AS BLOB)"},
    [DEED_DONE] = {"the end of job", JOB_GONE},
};

/* Those that are there, or not, as soon as they are answered. */
static const struct judged deeds_at_once[POST_DEEDS] = {
    [DEED_LETTER] = {"letter", "SELECT count(*) FROM main.sent WHERE key = ?"},
    [DEED_PROMISE] = {"promise", "SELECT count(*) FROM l.cdtx_tx WHERE key = ?"
                                 " AND (state = 4 OR (state = 2 AND reverse_after = 0))"},
    [DEED_DEAL] = {"deal", "SELECT count(*) FROM s.deal WHERE key = ?"},
    [DEED_OFF] = {"calling off", "SELECT count(*) FROM main.cancelled WHERE key = ?"},
    [DEED_DONE] = {"the end of job", JOB_GONE},
};

sqlite3 *post_judge_open(const struct house_site *site, struct ledger *ledger) {
    static const char *const others[][2] = {{"shop.db", "s"}, {"log.db", "l"}};
    return judge_attach(site, "post.db", others, 2, ledger);
}

/* ---- errands ---- */

static int64_t count_of(sqlite3 *db, const char *key, struct ledger *ledger) {
    sqlite3_stmt *statement = NULL;
    int64_t count = -1;
    if (sqlite3_prepare_v2(db, "SELECT count(*) FROM main.chore WHERE key = ?", -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_bind_text(statement, 1, key, -1, SQLITE_STATIC) == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW)
        count = sqlite3_column_int64(statement, 0);
    else
        ledger_complain(ledger, "the chores cannot be read: %s", sqlite3_errmsg(db));
    (void)sqlite3_finalize(statement);
    return count;
}

/* Each runs once at most; the last that was promised has run, or one that may have replaced it. */
static void compare_errands(sqlite3 *db, struct ledger *ledger) {
    int64_t since = 0;
    const char *last = NULL;
    for (uint32_t i = 0; i < ledger->count; i++) {
        const struct heard *heard = &ledger->list[i];
        if (heard->deed != DEED_ERRAND)
            continue;
        int64_t times = count_of(db, heard->key, ledger);
        int32_t happened = cdtx_happened(heard->code);
        if (times > 1 || (happened == 0 && times > 0))
            ledger_complain(ledger, "errand %s was answered %s, and was run %lld times", heard->key,
                            cdtx_code_name(heard->code), (long long)times);
        if (happened == 1) {
            last = heard->key;
            since = times;
        } else {
            since += times;
        }
    }
    if (last != NULL && since == 0)
        ledger_complain(ledger, "errand %s was answered yes, and neither it nor a later one was run", last);
}

/* All under one key: while one is under way, one more may come behind it. */
static void compare_kept(sqlite3 *db, struct ledger *ledger) {
    int64_t most = 0, least = 0, times = 0;
    for (uint32_t i = 0; i < ledger->count; i++) {
        const struct heard *heard = &ledger->list[i];
        if (heard->deed != DEED_KEPT)
            continue;
        times = count_of(db, heard->key, ledger);
        most += cdtx_happened(heard->code) != 0;
        if (cdtx_happened(heard->code) == 1)
            least = 1;
    }
    if (times < least || times > most)
        ledger_complain(ledger, "an errand that is kept was run %lld times, not %lld to %lld", (long long)times,
                        (long long)least, (long long)most);
}

/* ---- judging ---- */

void post_judge_always(sqlite3 *db, struct ledger *ledger) {
    for (size_t i = 0; i < sizeof always / sizeof always[0]; i++)
        judge_find(db, always[i], ledger);
}

void post_judge_ruins(sqlite3 *db, struct ledger *ledger) {
    post_judge_always(db, ledger);
    for (size_t i = 0; i < sizeof on_their_way / sizeof on_their_way[0]; i++)
        judge_find(db, on_their_way[i], ledger);
    judge_deeds(db, deeds_at_once, POST_DEEDS, ledger);
}

void post_judge_rest(sqlite3 *db, struct ledger *ledger) {
    post_judge_always(db, ledger);
    for (size_t i = 0; i < sizeof at_rest / sizeof at_rest[0]; i++)
        judge_find(db, at_rest[i], ledger);
    judge_deeds(db, deeds, POST_DEEDS, ledger);
    compare_errands(db, ledger);
    compare_kept(db, ledger);
}

void post_judge_guards(sqlite3 *db, struct ledger *ledger) {
    judge_find(db,
               "SELECT printf('a guard of number %d is left over', seq)"
               " FROM (SELECT * FROM main.cdtx_guard UNION ALL SELECT * FROM s.cdtx_guard)"
               " WHERE log <> (SELECT uuid FROM l.cdtx_meta)",
               ledger);
}

void post_judge(const struct house_site *site, struct ledger *ledger) {
    sqlite3 *db = post_judge_open(site, ledger);
    if (db == NULL)
        return;
    post_judge_rest(db, ledger);
    (void)sqlite3_close(db);
}
