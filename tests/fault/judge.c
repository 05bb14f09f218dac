#include "judge.h"

#include <stdio.h>
#include <string.h>

enum { PATH_ROOM = 512, LOCKED_MS = 5000 };

/* Each says a sentence about something that must not be, or "ok". */
static const char *const wrongs[] = {
    "SELECT printf('%s: free %d + held %d + sold %d, but %d were delivered', sku, free, held, sold, came)"
    " FROM (SELECT *, (SELECT total(quantity) FROM delivery d WHERE d.sku = s.sku) AS came FROM stock s)"
    " WHERE free + held + sold <> came",
    "SELECT printf('%s was delivered, but is not in stock', sku) FROM delivery"
    " WHERE sku NOT IN (SELECT sku FROM stock)",
    "SELECT printf('%s: a balance is below 0', sku) FROM stock WHERE min(free, held, sold) < 0",
    "SELECT printf('%s: %d are sold, but confirmed orders have %d', sku, sold, ordered) FROM (SELECT sku, sold,"
    " (SELECT total(quantity) FROM o.orders b WHERE b.sku = s.sku AND state = 'CONFIRMED') AS ordered FROM stock s)"
    " WHERE sold <> ordered",
    "SELECT printf('%s: %d are still held', sku, held) FROM stock WHERE held <> 0",
    "SELECT printf('a hold of %d is left over from %s', quantity, gid) FROM hold",
    "SELECT printf('order %s is still NEW', request_id) FROM o.orders WHERE state = 'NEW'",
    "SELECT printf('gid %d, %s, has not ended: its state is %d', seq, key, state) FROM l.cdtx_tx"
    " WHERE state NOT IN (4, 5)",
    "SELECT printf('job %d of %s is left over: state %d, %s', id, handler, state, error)"
    " FROM (SELECT * FROM main.cdtx_job UNION ALL SELECT * FROM o.cdtx_job)",
    "SELECT printf('a paper of %s was written %d times', key, count(*))"
    " FROM (SELECT 'parcel' AS kind, key FROM main.paper UNION ALL SELECT 'invoice', key FROM o.paper)"
    " GROUP BY kind, key HAVING count(*) > 1",
    /* Guards: enum guard_state of lib/store/guard.h. */
    "SELECT printf('gid %d is %d, but the guard of its branch %d is %d', g.seq, t.state, branch, g.state)"
    " FROM (SELECT * FROM main.cdtx_guard UNION ALL SELECT * FROM o.cdtx_guard) g LEFT JOIN l.cdtx_tx t USING (seq)"
    " WHERE (t.state = 4 AND g.state <> 3) OR (t.state = 5 AND g.state NOT IN (2, 4, 5)) OR t.seq IS NULL",
    "PRAGMA main.integrity_check",
    "PRAGMA o.integrity_check",
    "PRAGMA l.integrity_check",
};

static const struct judged deeds[DEEDS] = {
    [DEED_ORDER] = {"order", "SELECT count(*) FROM o.orders WHERE request_id = ? AND state = 'CONFIRMED'"},
    [DEED_DELIVERY] = {"delivery", "SELECT count(*) FROM delivery WHERE sku = ?"},
    [DEED_INVOICE] = {"invoice", "SELECT count(*) FROM o.paper WHERE key = ?"},
    [DEED_PARCEL] = {"parcel", "SELECT count(*) FROM main.paper WHERE key = ?"},
};

sqlite3 *judge_attach(const struct house_site *site, const char *first, const char *const others[][2], size_t count,
                      struct ledger *ledger) {
    char path[PATH_ROOM];
    sqlite3 *db = NULL;
    (void)snprintf(path, sizeof path, "%s%s", site->folder, first);
    int rc = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, site->vfs);
    if (rc == SQLITE_OK)
        rc = sqlite3_busy_timeout(db, LOCKED_MS);
    if (rc == SQLITE_OK)
        rc = sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    for (size_t i = 0; rc == SQLITE_OK && i < count; i++) {
        (void)snprintf(path, sizeof path, "ATTACH '%s%s' AS %s", site->folder, others[i][0], others[i][1]);
        rc = sqlite3_exec(db, path, NULL, NULL, NULL);
    }
    if (rc == SQLITE_OK)
        return db;
    ledger_complain(ledger, "the tables cannot be opened: %s", db != NULL ? sqlite3_errmsg(db) : "no memory");
    (void)sqlite3_close(db);
    return NULL;
}

sqlite3 *judge_open(const struct house_site *site, struct ledger *ledger) {
    static const char *const others[][2] = {{"orders.db", "o"}, {"log.db", "l"}};
    return judge_attach(site, "stock.db", others, 2, ledger);
}

void judge_find(sqlite3 *db, const char *query, struct ledger *ledger) {
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(db, query, -1, &statement, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(statement);
    const char *wrong = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(statement, 0) : NULL;
    if (rc == SQLITE_ROW && (wrong == NULL || strcmp(wrong, "ok") != 0))
        ledger_complain(ledger, "%s", wrong != NULL ? wrong : query);
    else if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        ledger_complain(ledger, "the tables cannot be read: %s", sqlite3_errmsg(db));
    (void)sqlite3_finalize(statement);
}

/* 0: it happened; a definite no: it did not; UNKNOWN: once or not at all. */
static void compare(const struct judged *deed, const struct heard *heard, int64_t times, struct ledger *ledger) {
    int32_t happened = cdtx_happened(heard->code);
    if ((happened < 0 && times > 1) || (happened >= 0 && times != happened))
        ledger_complain(ledger, "%s %s was answered %s, but is there %lld times", deed->name, heard->key,
                        cdtx_code_name(heard->code), (long long)times);
}

void judge_deeds(sqlite3 *db, const struct judged *judged, int count, struct ledger *ledger) {
    sqlite3_stmt *statements[JUDGED_MAX] = {NULL};
    int rc = SQLITE_OK;
    for (int i = 0; rc == SQLITE_OK && i < count; i++)
        if (judged[i].count != NULL)
            rc = sqlite3_prepare_v2(db, judged[i].count, -1, &statements[i], NULL);
    for (uint32_t i = 0; rc == SQLITE_OK && i < ledger->count; i++) {
        const struct judged *deed = &judged[ledger->list[i].deed];
        sqlite3_stmt *statement = statements[ledger->list[i].deed];
        if (statement == NULL)
            continue;
        rc = sqlite3_bind_text(statement, 1, ledger->list[i].key, -1, SQLITE_STATIC);
        if (rc == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW)
            compare(deed, &ledger->list[i], sqlite3_column_int64(statement, 0), ledger);
        if (rc == SQLITE_OK)
            rc = sqlite3_reset(statement);
    }
    if (rc != SQLITE_OK)
        ledger_complain(ledger, "the tables cannot be read: %s", sqlite3_errmsg(db));
    for (int i = 0; i < count; i++)
        (void)sqlite3_finalize(statements[i]);
}

void judge_tables(sqlite3 *db, struct ledger *ledger) {
    for (size_t i = 0; i < sizeof wrongs / sizeof wrongs[0]; i++)
        judge_find(db, wrongs[i], ledger);
    judge_deeds(db, deeds, DEEDS, ledger);
}

void judge(const struct house_site *site, struct ledger *ledger) {
    sqlite3 *db = judge_open(site, ledger);
    if (db == NULL)
        return;
    judge_tables(db, ledger);
    (void)sqlite3_close(db);
}
