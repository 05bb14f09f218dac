#include <check.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "disk.h"
#include "disk_bytes.h"

/* ---- a small bank of SQL: every transaction gives all rows one new value, so half a transaction shows ---- */

enum { ROWS = 24 };

static sqlite3 *open_db(const char *vfs) {
    sqlite3 *db = NULL;
    int code = sqlite3_open_v2("bank.db", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, vfs);
    if (code != SQLITE_OK) {
        sqlite3_close(db);
        return NULL;
    }
    sqlite3_extended_result_codes(db, 1);
    return db;
}

static int run(sqlite3 *db, const char *sql) {
    return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

static void must(sqlite3 *db, const char *sql) {
    int code = run(db, sql);
    ck_assert_msg(code == SQLITE_OK, "%s: %d %s", sql, code, sqlite3_errmsg(db));
}

/* One integer; -1: no row, or an error that *code tells. */
static int64_t ask_int(sqlite3 *db, const char *sql, int *code) {
    sqlite3_stmt *statement = NULL;
    int64_t value = -1;
    *code = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
    if (*code == SQLITE_OK && (*code = sqlite3_step(statement)) == SQLITE_ROW) {
        value = sqlite3_column_int64(statement, 0);
        *code = SQLITE_OK;
    }
    sqlite3_finalize(statement);
    return value;
}

static int64_t must_int(sqlite3 *db, const char *sql) {
    int code;
    int64_t value = ask_int(db, sql, &code);
    ck_assert_msg(code == SQLITE_OK, "%s: %d %s", sql, code, sqlite3_errmsg(db));
    return value;
}

struct mode {
    const char *journal, *synchronous;
    int may_take_back; /* acknowledged transactions that a power loss may undo */
};

static int configure(sqlite3 *db, const struct mode *mode) {
    char sql[200];
    snprintf(sql, sizeof sql,
             "PRAGMA journal_mode=%s; PRAGMA synchronous=%s; PRAGMA wal_autocheckpoint=0;"
             "PRAGMA cache_size=12;",
             mode->journal, mode->synchronous);
    return run(db, sql);
}

static int create(sqlite3 *db) {
    char sql[300];
    snprintf(sql, sizeof sql,
             "CREATE TABLE IF NOT EXISTS bank(id INTEGER PRIMARY KEY, value INT, pad BLOB);"
             "INSERT INTO bank WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
             " SELECT i, 0, randomblob(900) FROM n",
             ROWS);
    return run(db, sql);
}

static int set_all(sqlite3 *db, int64_t value) {
    char sql[120];
    snprintf(sql, sizeof sql, "UPDATE bank SET value=%lld, pad=randomblob(900)", (long long)value);
    return run(db, sql);
}

/* The one value that all rows have. Every check of every image goes through here. */
static int64_t sound_value(sqlite3 *db) {
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &statement, NULL);
    ck_assert_msg(code == SQLITE_OK, "integrity check: %s", sqlite3_errmsg(db));
    ck_assert_int_eq(sqlite3_step(statement), SQLITE_ROW);
    ck_assert_str_eq((const char *)sqlite3_column_text(statement, 0), "ok");
    sqlite3_finalize(statement);
    if (must_int(db, "SELECT count(*) FROM sqlite_schema WHERE name='bank'") == 0)
        return -1;
    if (must_int(db, "SELECT count(*) FROM bank") == 0)
        return -1;
    ck_assert_int_eq(must_int(db, "SELECT count(*) FROM bank"), ROWS);
    ck_assert_int_eq(must_int(db, "SELECT min(value)=max(value) FROM bank"), 1);
    return must_int(db, "SELECT value FROM bank LIMIT 1");
}

/* What a new process finds: -1 when the table was never filled. */
static int64_t reopened_value(struct disk *disk) {
    const char *vfs;
    struct disk_life *life = disk_life_new(disk, &vfs);
    sqlite3 *db = open_db(vfs);
    ck_assert_ptr_nonnull(db);
    int64_t value = sound_value(db);
    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
    ck_assert_uint_eq(disk_life_handles(life), 0);
    return value;
}

static int64_t image_value(const struct disk *disk, enum disk_crash what, uint64_t seed) {
    struct disk *image = disk_fork_after_crash(disk, what, "image", prng_new(seed, "image"));
    int64_t value = reopened_value(image);
    disk_free(image);
    return value;
}

/* A test that fails leaves its disk behind, so every disk has a name of its own. */
static struct disk *disk_of(uint64_t seed) {
    static int made;
    char name[32];
    snprintf(name, sizeof name, "disk-%d", ++made);
    disk_reset_sqlite_random(seed);
    return disk_new(name, prng_new(seed, "disk"));
}

/* ---- the workload under faults ---- */

/* Where, of the calls that change something, what happens. */
struct plan {
    uint64_t at; /* 0: never */
    int verdict;
    int all;   /* of all calls */
    int power; /* cut the power there */
    enum disk_crash what;
    struct disk *disk;
    uint64_t seen;
};

static int fault_at(void *user, const struct disk_call *call) {
    struct plan *plan = user;
    int changes = call->op != DISK_READ && call->op != DISK_SHM_MAP;
    if ((!changes && !plan->all) || ++plan->seen != plan->at)
        return DISK_PASS;
    if (plan->power)
        disk_power_loss(plan->disk, plan->what);
    return plan->verdict;
}

struct history {
    int64_t acked; /* the last value that COMMIT said yes to; -1: not even the first rows */
    int64_t asked; /* the last value tried */
    int failed;    /* statements that failed */
};

/* Transactions with checkpoints between them; goes on after errors, as a stubborn program would. */
static struct history work(const char *vfs, const struct mode *mode, int transactions, struct prng *prng) {
    struct history history = {.acked = -1, .asked = -1};
    sqlite3 *db = open_db(vfs);
    if (db == NULL || configure(db, mode) != SQLITE_OK) {
        sqlite3_close(db);
        history.failed = 1;
        return history;
    }
    history.asked = 0;
    if (create(db) == SQLITE_OK)
        history.acked = 0;
    for (int64_t value = 1; value <= transactions; value++) {
        if (prng_chance(prng, 1, 4) && run(db, "PRAGMA wal_checkpoint(PASSIVE)") != SQLITE_OK)
            history.failed++;
        if (history.acked < 0) {
            history.failed++;
            if (create(db) == SQLITE_OK)
                history.acked = 0;
            continue;
        }
        history.asked = value;
        if (set_all(db, value) == SQLITE_OK)
            history.acked = value;
        else
            history.failed++;
        if (!sqlite3_get_autocommit(db))
            run(db, "ROLLBACK");
    }
    if (sqlite3_close(db) != SQLITE_OK)
        ck_abort_msg("close");
    return history;
}

static const struct mode wal_full = {"wal", "FULL", 0};
static const struct mode wal_normal = {"wal", "NORMAL", INT32_MAX};
static const struct mode delete_extra = {"delete", "EXTRA", 0};
static const struct mode delete_full = {"delete", "FULL", 1};
static const struct mode delete_off = {"delete", "OFF", INT32_MAX};

static void check_value(int64_t value, const struct history *history, const struct mode *mode, uint64_t seed) {
    int64_t least = history->acked - mode->may_take_back;
    ck_assert_msg((value >= least || mode->may_take_back == INT32_MAX) && value <= history->asked,
                  "%s %s seed %llu: found %lld, acknowledged %lld, asked %lld", mode->journal, mode->synchronous,
                  (unsigned long long)seed, (long long)value, (long long)history->acked, (long long)history->asked);
}

/* One run that loses power at a drawn moment; how far the value found lies behind the acknowledged one. */
static int64_t power_loss_run(const struct mode *mode, uint64_t seed) {
    struct disk *disk = disk_of(seed);
    struct prng prng = prng_new(seed, "test");
    struct plan plan = {.disk = disk, .power = 1, .what = DISK_KEEP_SOME};
    plan.at = 1 + prng_below(&prng, 260);
    disk_set_fault(disk, fault_at, &plan);
    const char *vfs;
    disk_life_new(disk, &vfs);
    struct history history = work(vfs, mode, 8, &prng);
    if (plan.seen < plan.at)
        disk_power_loss(disk, DISK_KEEP_SOME);
    disk_set_fault(disk, NULL, NULL);
    int64_t value = reopened_value(disk);
    check_value(value, &history, mode, seed);
    ck_assert_uint_eq(disk_count(disk).power_losses, 1);
    disk_free(disk);
    return history.acked - value;
}

START_TEST(power_loss_keeps_what_was_synced) {
    static const struct mode *const modes[] = {&wal_full, &delete_extra, &delete_full};
    static const int seeds[] = {400, 150, 150};
    for (int m = 0; m < 3; m++)
        for (int seed = 1; seed <= seeds[m]; seed++)
            power_loss_run(modes[m], (uint64_t)seed);
}
END_TEST

/* The proof that the disk does lose things: without a sync at every commit acknowledged work goes, though whole. */
START_TEST(power_loss_loses_what_was_not_synced) {
    int lost = 0;
    for (uint64_t seed = 1; seed <= 60; seed++)
        lost += power_loss_run(&wal_normal, seed) > 0;
    ck_assert_int_gt(lost, 5);
}
END_TEST

/* Without any syncs a rollback-journal database is damaged sooner or later: writes are really kept out of order. */
START_TEST(power_loss_damages_without_syncs) {
    int damaged = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct disk *disk = disk_of(seed);
        struct prng prng = prng_new(seed, "test");
        const char *vfs;
        disk_life_new(disk, &vfs);
        work(vfs, &delete_off, 8, &prng);
        disk_power_loss(disk, DISK_KEEP_SOME);
        disk_life_new(disk, &vfs);
        sqlite3 *db = open_db(vfs);
        int code;
        int64_t whole = ask_int(db, "SELECT count(*)=24 AND min(value)=max(value) FROM bank", &code);
        damaged += code != SQLITE_OK || whole != 1;
        sqlite3_close(db);
        disk_free(disk);
    }
    ck_assert_int_gt(damaged, 5);
}
END_TEST

/* How many calls a run without faults makes: all, or those that change something. */
static uint64_t calls_of(const struct mode *mode, uint64_t seed, int all) {
    struct disk *disk = disk_of(seed);
    struct prng prng = prng_new(seed, "test");
    struct plan plan = {.disk = disk, .all = all};
    disk_set_fault(disk, fault_at, &plan);
    const char *vfs;
    disk_life_new(disk, &vfs);
    struct history history = work(vfs, mode, 3, &prng);
    ck_assert_int_eq(history.failed, 0);
    ck_assert_int_eq(history.acked, 3);
    disk_free(disk);
    return plan.seen;
}

/* The process dies at every call; every image that it may leave is sound. */
static void die_everywhere(const struct mode *mode, int verdict, int all) {
    uint64_t calls = calls_of(mode, 3, all);
    ck_assert_uint_gt(calls, 40);
    for (uint64_t at = 1; at <= calls; at++) {
        struct disk *disk = disk_of(3);
        struct prng prng = prng_new(3, "test");
        struct plan plan = {.disk = disk, .at = at, .verdict = verdict, .all = all};
        disk_set_fault(disk, fault_at, &plan);
        const char *vfs;
        struct disk_life *life = disk_life_new(disk, &vfs);
        struct history history = work(vfs, mode, 3, &prng);
        ck_assert_int_eq(disk_life_dead(life), 1);
        disk_set_fault(disk, NULL, NULL);
        check_value(image_value(disk, DISK_KEEP_NONE, at), &history, mode, at);
        check_value(image_value(disk, DISK_KEEP_SOME, at), &history, mode, at);
        int64_t killed = image_value(disk, DISK_KEEP_ALL, at);
        ck_assert_int_ge(killed, history.acked);
        ck_assert_int_eq(killed, reopened_value(disk));
        disk_free(disk);
    }
}

START_TEST(dies_at_every_call) {
    die_everywhere(&wal_full, DISK_DIE_BEFORE, 1);
    die_everywhere(&wal_full, DISK_DIE_AFTER, 1);
    die_everywhere(&delete_full, DISK_DIE_AFTER, 0);
}
END_TEST

/* An error that is no crash: SQLite goes on, and nothing acknowledged is lost. */
static void fail_everywhere(int verdict, int all) {
    uint64_t calls = calls_of(&wal_full, 3, all);
    int failed = 0;
    for (uint64_t at = 1; at <= calls; at++) {
        struct disk *disk = disk_of(3);
        struct prng prng = prng_new(3, "test");
        struct plan plan = {.disk = disk, .at = at, .verdict = verdict, .all = all};
        disk_set_fault(disk, fault_at, &plan);
        const char *vfs;
        disk_life_new(disk, &vfs);
        struct history history = work(vfs, &wal_full, 3, &prng);
        failed += history.failed;
        disk_set_fault(disk, NULL, NULL);
        ck_assert_uint_eq(disk_count(disk).faults, 1);
        check_value(reopened_value(disk), &history, &wal_full, at);
        disk_free(disk);
    }
    ck_assert_int_gt(failed, (int)calls / 4);
}

START_TEST(fails_at_every_call) {
    fail_everywhere(DISK_FAIL_IO, 1);
    fail_everywhere(DISK_FAIL_FULL, 0);
    fail_everywhere(DISK_SHORT_WRITE, 0);
}
END_TEST

/* ---- single files ---- */

/* The unix VFS looks for URI parameters behind the name of a main database, and keeps the pointer. */
static const char *kept_name(const char *name) {
    static const char *names[16];
    int i = 0;
    while (i < 16 && names[i] != NULL && strcmp(names[i], name) != 0)
        i++;
    ck_assert_int_lt(i, 16);
    if (names[i] == NULL)
        names[i] = sqlite3_create_filename(name, "", "", 0, NULL);
    ck_assert_ptr_nonnull(names[i]);
    return names[i];
}

static sqlite3_file *raw_open(const char *vfs_name, const char *name, int flags, int *code) {
    sqlite3_vfs *vfs = sqlite3_vfs_find(vfs_name);
    ck_assert_ptr_nonnull(vfs);
    sqlite3_file *file = calloc(1, (size_t)vfs->szOsFile);
    ck_assert_ptr_nonnull(file);
    *code = vfs->xOpen(vfs, name == NULL ? NULL : kept_name(name), file, flags, NULL);
    ck_assert_int_eq(*code == SQLITE_OK, file->pMethods != NULL);
    if (*code == SQLITE_OK)
        return file;
    free(file);
    return NULL;
}

static const int main_flags = SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
static const int wal_flags = SQLITE_OPEN_WAL | SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;

static sqlite3_file *raw(const char *vfs_name, const char *name, int flags) {
    int code;
    sqlite3_file *file = raw_open(vfs_name, name, flags, &code);
    ck_assert_int_eq(code, SQLITE_OK);
    return file;
}

static void raw_close(sqlite3_file *file) {
    ck_assert_int_eq(file->pMethods->xClose(file), SQLITE_OK);
    free(file);
}

static void raw_write(sqlite3_file *file, const char *text, sqlite3_int64 at) {
    ck_assert_int_eq(file->pMethods->xWrite(file, text, (int)strlen(text), at), SQLITE_OK);
}

/* Text of a file in a view; "(none)" without one. Static. */
static const char *seen(const struct disk *disk, enum disk_view view, const char *name) {
    static char text[2][64];
    size_t length = 0;
    uint8_t *bytes = disk_export(disk, view, name, &length);
    if (bytes == NULL)
        return "(none)";
    ck_assert_uint_lt(length, sizeof text[0]);
    memcpy(text[view == DISK_CACHED], bytes, length);
    text[view == DISK_CACHED][length] = '\0';
    free(bytes);
    return text[view == DISK_CACHED];
}

START_TEST(cached_and_durable) {
    struct disk *disk = disk_of(1);
    const char *vfs;
    disk_life_new(disk, &vfs);
    sqlite3_file *db = raw(vfs, "a", main_flags), *wal = raw(vfs, "a-wal", wal_flags);
    raw_write(db, "hello", 0);
    ck_assert_str_eq(seen(disk, DISK_CACHED, "a"), "hello");
    ck_assert_str_eq(seen(disk, DISK_DURABLE, "a"), "(none)");
    ck_assert_int_eq(db->pMethods->xSync(db, SQLITE_SYNC_NORMAL), SQLITE_OK);
    /* The bytes are safe, the name is not: a main database's own sync does not sync the directory. */
    ck_assert_str_eq(seen(disk, DISK_DURABLE, "a"), "(none)");
    ck_assert_int_eq(wal->pMethods->xSync(wal, SQLITE_SYNC_NORMAL), SQLITE_OK);
    ck_assert_str_eq(seen(disk, DISK_DURABLE, "a"), "hello");
    ck_assert_str_eq(seen(disk, DISK_DURABLE, "a-wal"), "");
    raw_write(db, "j", 0);
    ck_assert_int_eq(db->pMethods->xTruncate(db, 4), SQLITE_OK);
    ck_assert_str_eq(seen(disk, DISK_CACHED, "a"), "jell");
    ck_assert_str_eq(seen(disk, DISK_DURABLE, "a"), "hello");
    disk_power_loss(disk, DISK_KEEP_NONE);
    ck_assert_str_eq(seen(disk, DISK_CACHED, "a"), "hello");
    ck_assert_int_eq(db->pMethods->xSync(db, SQLITE_SYNC_NORMAL), SQLITE_IOERR_FSYNC);
    raw_close(db);
    raw_close(wal);
    disk_free(disk);
}
END_TEST

START_TEST(deletes_may_come_back) {
    struct disk *disk = disk_of(1);
    const char *name;
    disk_life_new(disk, &name);
    sqlite3_vfs *vfs = sqlite3_vfs_find(name);
    disk_import(disk, "a", "old", 3);
    disk_import(disk, "b", "old", 3);
    ck_assert_int_eq(vfs->xDelete(vfs, "a", 0), SQLITE_OK);
    ck_assert_int_eq(vfs->xDelete(vfs, "a", 0), SQLITE_IOERR_DELETE_NOENT);
    sqlite3_file *again = raw(name, "a", main_flags);
    raw_write(again, "new", 0);
    ck_assert_int_eq(again->pMethods->xSync(again, SQLITE_SYNC_NORMAL), SQLITE_OK);
    int old = 0, new = 0, none = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct disk *image = disk_fork_after_crash(disk, DISK_KEEP_SOME, "image", prng_new(seed, "image"));
        const char *text = seen(image, DISK_CACHED, "a");
        old += strcmp(text, "old") == 0;
        new += strcmp(text, "new") == 0;
        none += strcmp(text, "(none)") == 0;
        disk_free(image);
    }
    ck_assert(old > 5 && new > 5 && none > 3 && old + new + none == 60);
    ck_assert_int_eq(vfs->xDelete(vfs, "b", 1), SQLITE_OK);
    ck_assert_str_eq(seen(disk, DISK_DURABLE, "b"), "(none)");
    ck_assert_str_eq(seen(disk, DISK_DURABLE, "a"), "new");
    raw_close(again);
    disk_free(disk);
}
END_TEST

START_TEST(tears_at_sectors) {
    int whole = 0, gone = 0, torn = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct disk *disk = disk_of(seed);
        const char *vfs;
        disk_life_new(disk, &vfs);
        static const uint8_t zeros[8192];
        disk_import(disk, "a", zeros, sizeof zeros);
        sqlite3_file *file = raw(vfs, "a", main_flags);
        uint8_t ones[5000], after[8192];
        memset(ones, 1, sizeof ones);
        ck_assert_int_eq(file->pMethods->xWrite(file, ones, sizeof ones, 300), SQLITE_OK);
        disk_power_loss(disk, DISK_KEEP_SOME);
        raw_close(file);
        size_t length;
        uint8_t *bytes = disk_export(disk, DISK_CACHED, "a", &length);
        ck_assert_uint_eq(length, sizeof after);
        memcpy(after, bytes, sizeof after);
        free(bytes);
        int sum = 0, outside = 0, within = 0;
        for (int i = 0; i < 8192; i++) {
            sum += after[i];
            outside += after[i] != 0 && (i < 300 || i >= 5300);
            within += i > 300 && i < 5300 && i % 512 != 0 && after[i] != after[i - 1];
        }
        ck_assert_int_eq(outside, 0);
        ck_assert_int_eq(within, 0);
        whole += sum == 5000;
        gone += sum == 0;
        torn += sum != 0 && sum != 5000;
        disk_free(disk);
    }
    ck_assert(whole > 40 && gone > 40 && torn > 8);
}
END_TEST

/* Two writes wait; the first comes whole, of the second one side of a boundary. */
static void tear_second(enum disk_crash what, int unit, int sides[2]) {
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct disk *disk = disk_of(seed);
        const char *vfs;
        disk_life_new(disk, &vfs);
        sqlite3_file *file = raw(vfs, "a", main_flags);
        uint8_t block[9000];
        memset(block, 'x', 100);
        ck_assert_int_eq(file->pMethods->xWrite(file, block, 100, 0), SQLITE_OK);
        memset(block, 'y', sizeof block);
        ck_assert_int_eq(file->pMethods->xWrite(file, block, sizeof block, 100), SQLITE_OK);
        disk_power_loss(disk, what);
        raw_close(file);
        size_t length, here = 0;
        uint8_t *bytes = disk_export(disk, DISK_CACHED, "a", &length);
        ck_assert_uint_ge(length, 100);
        ck_assert_int_eq(bytes[0] == 'x' && bytes[99] == 'x', 1);
        for (size_t i = 100; i < length; i++)
            here += bytes[i] == 'y';
        int tail = bytes[100] != 'y';
        size_t edge = tail ? 9100 - here : 100 + here;
        ck_assert_uint_eq(length, tail ? 9100 : edge);
        ck_assert_uint_eq(edge % (size_t)unit, 0);
        sides[tail]++;
        free(bytes);
        disk_free(disk);
    }
}

START_TEST(tears_the_last_write) {
    int sides[2] = {0};
    tear_second(DISK_TEAR_512, 512, sides);
    tear_second(DISK_TEAR_4096, 4096, sides);
    ck_assert(sides[0] > 50 && sides[1] > 50);
}
END_TEST

static int lie_on_sync(void *user, const struct disk_call *call) {
    (void)user;
    return call->op == DISK_SYNC ? DISK_LIE : DISK_PASS;
}

START_TEST(lying_sync_is_no_sync) {
    struct disk *disk = disk_of(1);
    const char *vfs;
    disk_life_new(disk, &vfs);
    disk_import(disk, "a", "old", 3);
    sqlite3_file *file = raw(vfs, "a", main_flags);
    disk_set_fault(disk, lie_on_sync, NULL);
    raw_write(file, "new", 0);
    ck_assert_int_eq(file->pMethods->xSync(file, SQLITE_SYNC_NORMAL), SQLITE_OK);
    ck_assert_str_eq(seen(disk, DISK_DURABLE, "a"), "old");
    disk_set_fault(disk, NULL, NULL);
    ck_assert_int_eq(file->pMethods->xSync(file, SQLITE_SYNC_NORMAL), SQLITE_OK);
    ck_assert_str_eq(seen(disk, DISK_DURABLE, "a"), "new");
    raw_close(file);
    disk_free(disk);
}
END_TEST

static int fail_next_sync(void *user, const struct disk_call *call) {
    int *left = user;
    return call->op == DISK_SYNC && *left > 0 && (*left)-- == 1 ? DISK_FAIL_SYNC : DISK_PASS;
}

START_TEST(failed_sync_makes_lost_bytes_clean) {
    int lost = 0;
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct disk *disk = disk_of(seed);
        const char *vfs;
        disk_life_new(disk, &vfs);
        disk_import(disk, "a", "old", 3);
        sqlite3_file *file = raw(vfs, "a", main_flags);
        int left = 1;
        disk_set_fault(disk, fail_next_sync, &left);
        raw_write(file, "new", 0);
        ck_assert_int_eq(file->pMethods->xSync(file, SQLITE_SYNC_NORMAL), SQLITE_IOERR_FSYNC);
        ck_assert_int_eq(file->pMethods->xSync(file, SQLITE_SYNC_NORMAL), SQLITE_OK);
        ck_assert_str_eq(seen(disk, DISK_CACHED, "a"), "new");
        lost += strcmp(seen(disk, DISK_DURABLE, "a"), "old") == 0;
        raw_write(file, "new", 0);
        ck_assert_int_eq(file->pMethods->xSync(file, SQLITE_SYNC_NORMAL), SQLITE_OK);
        ck_assert_str_eq(seen(disk, DISK_DURABLE, "a"), "new");
        raw_close(file);
        disk_free(disk);
    }
    ck_assert(lost >= 20 && lost < 40);
}
END_TEST

/* What a failed sync does to a database: its commit is visible after a restart, then gone after a power loss, unless
 * the WAL was written anew before anybody read it. */
static int failed_commit_survives(uint64_t seed, int rewrite) {
    struct disk *disk = disk_of(seed);
    const char *vfs;
    struct disk_life *life = disk_life_new(disk, &vfs);
    sqlite3 *db = open_db(vfs);
    configure(db, &wal_full);
    ck_assert_int_eq(create(db), SQLITE_OK);
    int left = 1;
    disk_set_fault(disk, fail_next_sync, &left);
    ck_assert_int_eq(set_all(db, 1), SQLITE_IOERR_FSYNC);
    disk_kill_life(life);
    sqlite3_close(db);
    disk_set_fault(disk, NULL, NULL);
    disk_life_new(disk, &vfs);
    size_t length;
    uint8_t *bytes = disk_export(disk, DISK_CACHED, "bank.db-wal", &length);
    if (rewrite) {
        sqlite3_file *wal = raw(vfs, "bank.db-wal", wal_flags);
        ck_assert_int_eq(wal->pMethods->xWrite(wal, bytes, (int)length, 0), SQLITE_OK);
        ck_assert_int_eq(wal->pMethods->xSync(wal, SQLITE_SYNC_NORMAL), SQLITE_OK);
        raw_close(wal);
    }
    free(bytes);
    int64_t seen_first = image_value(disk, DISK_KEEP_ALL, seed);
    disk_power_loss(disk, DISK_KEEP_NONE);
    int64_t seen_then = reopened_value(disk);
    disk_free(disk);
    ck_assert_int_ge(seen_first, seen_then);
    ck_assert_int_ge(seen_then, 0);
    return seen_first == seen_then;
}

START_TEST(failed_commit_may_be_seen_and_lost) {
    int changed = 0;
    for (uint64_t seed = 0; seed < 20; seed++) {
        changed += !failed_commit_survives(seed, 0);
        ck_assert_int_eq(failed_commit_survives(seed, 1), 1);
    }
    ck_assert_int_gt(changed, 5);
}
END_TEST

START_TEST(opens_and_names) {
    struct disk *disk = disk_new("disk", prng_new(1, "disk"));
    const char *name;
    struct disk_life *life = disk_life_new(disk, &name);
    ck_assert_str_eq(name, "disk/1");
    ck_assert_uint_eq(disk_life_number(life), 1);
    sqlite3_vfs *vfs = sqlite3_vfs_find(name);
    int code, there;
    ck_assert_ptr_null(raw_open(name, "a", SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_READWRITE, &code));
    ck_assert_int_eq(code, SQLITE_CANTOPEN);
    sqlite3_file *file = raw(name, "a", main_flags);
    ck_assert_ptr_null(raw_open(name, "a", main_flags | SQLITE_OPEN_EXCLUSIVE, &code));
    ck_assert_int_eq(vfs->xAccess(vfs, "a", SQLITE_ACCESS_EXISTS, &there), SQLITE_OK);
    ck_assert_int_eq(there, 0);
    ck_assert_int_eq(vfs->xAccess(vfs, "a", SQLITE_ACCESS_READWRITE, &there), SQLITE_OK);
    ck_assert_int_eq(there, 1);
    raw_write(file, "abc", 6000);
    sqlite3_int64 size = 0;
    ck_assert_int_eq(file->pMethods->xFileSize(file, &size), SQLITE_OK);
    ck_assert_int_eq(size, 6003);
    char read[5] = "zzzz";
    ck_assert_int_eq(file->pMethods->xRead(file, read, 4, 6001), SQLITE_IOERR_SHORT_READ);
    ck_assert_mem_eq(read, "bc\0\0", 4);
    int moved = 1;
    ck_assert_int_eq(file->pMethods->xFileControl(file, SQLITE_FCNTL_HAS_MOVED, &moved), SQLITE_OK);
    ck_assert_int_eq(moved, 0);
    ck_assert_int_eq(vfs->xDelete(vfs, "a", 0), SQLITE_OK);
    ck_assert_int_eq(file->pMethods->xFileControl(file, SQLITE_FCNTL_HAS_MOVED, &moved), SQLITE_OK);
    ck_assert_int_eq(moved, 1);
    ck_assert_int_eq(file->pMethods->xRead(file, read, 3, 6000), SQLITE_OK);
    ck_assert_mem_eq(read, "abc", 3);
    sqlite3_file *unnamed =
        raw(name, NULL, SQLITE_OPEN_TEMP_DB | SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_DELETEONCLOSE);
    raw_write(unnamed, "x", 0);
    ck_assert_uint_eq(disk_life_handles(life), 2);
    raw_close(unnamed);
    raw_close(file);
    ck_assert_uint_eq(disk_life_handles(life), 0);
    disk_free(disk);
    disk_free(NULL);
    ck_assert_ptr_null(sqlite3_vfs_find("disk/1"));
}
END_TEST

static int64_t fixed_clock(void *user) {
    return *(int64_t *)user;
}

START_TEST(tells_virtual_time) {
    struct disk *disk = disk_of(1);
    const char *vfs;
    disk_life_new(disk, &vfs);
    sqlite3 *db = open_db(vfs);
    ck_assert_int_eq(must_int(db, "SELECT strftime('%s', 'now')"), 946684800);
    int64_t now = INT64_C(1700000000123456);
    disk_set_clock(disk, fixed_clock, &now);
    ck_assert_int_eq(must_int(db, "SELECT strftime('%s', 'now')"), 1700000000);
    now -= INT64_C(86400000000);
    ck_assert_int_eq(must_int(db, "SELECT strftime('%s', 'now')"), 1699913600);
    sqlite3_close(db);
    disk_free(disk);
}
END_TEST

/* ---- lives ---- */

START_TEST(lives_take_turns) {
    struct disk *disk = disk_of(1);
    const char *first, *second;
    disk_life_new(disk, &first);
    disk_life_new(disk, &second);
    ck_assert_str_ne(first, second);
    sqlite3 *a = open_db(first);
    configure(a, &wal_full);
    ck_assert_int_eq(create(a), SQLITE_OK);
    sqlite3 *b = open_db(second);
    for (int64_t value = 1; value <= 40; value++) {
        sqlite3 *writer = value % 2 ? a : b, *other = value % 2 ? b : a;
        must(writer, "BEGIN IMMEDIATE");
        ck_assert_int_eq(run(other, "BEGIN IMMEDIATE"), SQLITE_BUSY);
        must(other, "BEGIN");
        ck_assert_int_eq(sound_value(other), value - 1);
        ck_assert_int_eq(set_all(writer, value), SQLITE_OK);
        must(writer, "COMMIT");
        /* A snapshot stays what it was, and cannot become a writer. */
        ck_assert_int_eq(sound_value(other), value - 1);
        ck_assert_int_eq(set_all(other, 99), SQLITE_BUSY_SNAPSHOT);
        if (value % 7 == 0)
            must(writer, "PRAGMA wal_checkpoint(PASSIVE)");
        must(other, "COMMIT");
        if (value % 5 == 0)
            must(writer, "PRAGMA wal_checkpoint(RESTART)");
        ck_assert_int_eq(sound_value(other), value);
    }
    ck_assert_int_eq(sqlite3_close(a), SQLITE_OK);
    ck_assert_int_eq(sound_value(b), 40);
    ck_assert_int_eq(sqlite3_close(b), SQLITE_OK);
    disk_free(disk);
}
END_TEST

/* A dies inside a transaction whose pages are already in the WAL and its index; B goes on. Closing A's connection only
 * then, with its rollback, must not reach into the index that B uses. */
static void kill_beside(int close_late) {
    struct disk *disk = disk_of(1);
    const char *first, *second;
    struct disk_life *life = disk_life_new(disk, &first);
    disk_life_new(disk, &second);
    sqlite3 *a = open_db(first);
    configure(a, &wal_full);
    ck_assert_int_eq(create(a), SQLITE_OK);
    sqlite3 *b = open_db(second);
    ck_assert_int_eq(sound_value(b), 0);
    must(a, "PRAGMA cache_size=1; BEGIN IMMEDIATE");
    ck_assert_int_eq(set_all(a, 1), SQLITE_OK);
    ck_assert_int_eq(set_all(b, 2), SQLITE_BUSY);
    disk_kill_life(life);
    disk_kill_life(life);
    ck_assert_int_eq(disk_life_dead(life), 1);
    if (!close_late)
        ck_assert_int_eq(sqlite3_close(a), SQLITE_OK);
    ck_assert_int_eq(sound_value(b), 0);
    ck_assert_int_eq(set_all(b, 2), SQLITE_OK);
    must(b, "BEGIN IMMEDIATE");
    ck_assert_int_eq(set_all(b, 3), SQLITE_OK);
    if (close_late) {
        ck_assert_int_ne(set_all(a, 4), SQLITE_OK);
        ck_assert_int_eq(sqlite3_close(a), SQLITE_OK);
    }
    must(b, "COMMIT");
    ck_assert_int_eq(sound_value(b), 3);
    ck_assert_ptr_null(open_db(first));
    ck_assert_int_eq(sqlite3_close(b), SQLITE_OK);
    ck_assert_int_eq(reopened_value(disk), 3);
    disk_free(disk);
}

START_TEST(kill_frees_locks_and_spares_others) {
    kill_beside(0);
    kill_beside(1);
}
END_TEST

START_TEST(killed_transaction_is_rolled_back) {
    struct disk *disk = disk_of(1);
    const char *vfs;
    struct disk_life *life = disk_life_new(disk, &vfs);
    sqlite3 *db = open_db(vfs);
    configure(db, &wal_full);
    ck_assert_int_eq(create(db), SQLITE_OK);
    ck_assert_int_eq(set_all(db, 1), SQLITE_OK);
    must(db, "PRAGMA cache_size=1; BEGIN IMMEDIATE");
    ck_assert_int_eq(set_all(db, 2), SQLITE_OK);
    disk_kill_life(life);
    ck_assert_int_ne(run(db, "COMMIT"), SQLITE_OK);
    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
    ck_assert_int_eq(reopened_value(disk), 1);
    disk_free(disk);
}
END_TEST

START_TEST(owner_lock) {
    struct disk *disk = disk_of(1);
    const char *first, *second;
    struct disk_life *life = disk_life_new(disk, &first);
    disk_life_new(disk, &second);
    sqlite3_file *a = raw(first, "bank.db-owner", main_flags), *same = raw(first, "bank.db-owner", main_flags);
    sqlite3_file *b = raw(second, "bank.db-owner", main_flags);
    ck_assert_int_eq(a->pMethods->xLock(a, SQLITE_LOCK_SHARED), SQLITE_OK);
    ck_assert_int_eq(a->pMethods->xLock(a, SQLITE_LOCK_RESERVED), SQLITE_OK);
    ck_assert_int_eq(a->pMethods->xLock(a, SQLITE_LOCK_EXCLUSIVE), SQLITE_OK);
    ck_assert_int_eq(b->pMethods->xLock(b, SQLITE_LOCK_SHARED), SQLITE_BUSY);
    ck_assert_int_eq(same->pMethods->xLock(same, SQLITE_LOCK_SHARED), SQLITE_BUSY);
    disk_kill_life(life);
    ck_assert_int_eq(a->pMethods->xLock(a, SQLITE_LOCK_EXCLUSIVE), SQLITE_IOERR_LOCK);
    ck_assert_int_eq(b->pMethods->xLock(b, SQLITE_LOCK_SHARED), SQLITE_OK);
    ck_assert_int_eq(b->pMethods->xLock(b, SQLITE_LOCK_RESERVED), SQLITE_OK);
    ck_assert_int_eq(b->pMethods->xLock(b, SQLITE_LOCK_EXCLUSIVE), SQLITE_OK);
    raw_close(a);
    raw_close(same);
    raw_close(b);
    disk_free(disk);
}
END_TEST

static uint8_t volatile *map_of(sqlite3_file *file, int extend) {
    void volatile *map = NULL;
    ck_assert_int_eq(file->pMethods->xShmMap(file, 0, 32768, extend, &map), SQLITE_OK);
    return map;
}

/* Shared memory is one for all while somebody uses it, stays with the survivors after a kill, goes with the last. */
START_TEST(shared_memory) {
    struct disk *disk = disk_of(1);
    const char *first, *second;
    struct disk_life *life = disk_life_new(disk, &first);
    struct disk_life *other = disk_life_new(disk, &second);
    sqlite3_file *a = raw(first, "f", main_flags), *b = raw(second, "f", main_flags);
    ck_assert_ptr_null((void *)(uintptr_t)map_of(a, 0));
    uint8_t volatile *of_a = map_of(a, 1), *of_b = map_of(b, 0);
    of_a[100] = 7;
    ck_assert_uint_eq(of_b[100], 7);
    disk_kill_life(life);
    of_a[100] = 8;
    of_b[101] = 9;
    ck_assert_uint_eq(of_b[100], 7);
    ck_assert_uint_eq(of_a[101], 0);
    raw_close(a);
    sqlite3_file *c = raw(second, "f", main_flags);
    map_of(c, 0);
    ck_assert_int_eq(b->pMethods->xShmLock(b, 3, 2, SQLITE_SHM_LOCK | SQLITE_SHM_EXCLUSIVE), SQLITE_OK);
    ck_assert_int_eq(c->pMethods->xShmLock(c, 4, 1, SQLITE_SHM_LOCK | SQLITE_SHM_SHARED), SQLITE_BUSY);
    ck_assert_int_eq(b->pMethods->xShmUnmap(b, 0), SQLITE_OK);
    ck_assert_int_eq(c->pMethods->xShmLock(c, 4, 1, SQLITE_SHM_LOCK | SQLITE_SHM_SHARED), SQLITE_OK);
    of_b = map_of(b, 0);
    raw_close(c);
    disk_kill_life(other);
    ck_assert_uint_eq(of_b[101], 9);
    disk_life_new(disk, &first);
    a = raw(first, "f", main_flags);
    ck_assert_ptr_null((void *)(uintptr_t)map_of(a, 0));
    ck_assert_uint_eq(map_of(a, 1)[100], 0);
    raw_close(a);
    raw_close(b);
    disk_free(disk);
}
END_TEST

/* ---- the model against the unix VFS: the same commands, the same answers ---- */

enum verb { VERB_END, VERB_LOCK, VERB_UNLOCK, VERB_RESERVED, VERB_SHM_MAP, VERB_SHM_LOCK };

struct command {
    int32_t verb, which, a, b, c;
};

static int perform(sqlite3_file *file, const struct command *command) {
    const sqlite3_io_methods *methods = file->pMethods;
    int out = 0;
    volatile void *map = NULL;
    switch (command->verb) {
    case VERB_LOCK:
        return methods->xLock(file, command->a);
    case VERB_UNLOCK:
        return methods->xUnlock(file, command->a);
    case VERB_RESERVED:
        return methods->xCheckReservedLock(file, &out) == SQLITE_OK ? out : -1;
    case VERB_SHM_MAP:
        return methods->xShmMap(file, command->a, 32768, command->b, &map) * 2 + (map != NULL);
    default:
        return methods->xShmLock(file, command->a, command->b, command->c);
    }
}

enum { FILES = 3 };

/* Real files, spread over processes. */
struct servants {
    int processes;
    pid_t child[FILES];
    int line[FILES];
};

static void serve(int line, const char *path) {
    alarm(60); /* should the test fail and forget this process */
    sqlite3_file *file[FILES];
    int code = 0;
    for (int i = 0; i < FILES; i++)
        file[i] = raw_open("unix", path, main_flags, &code);
    struct command command;
    while (code == SQLITE_OK && read(line, &command, sizeof command) == sizeof command && command.verb != VERB_END) {
        int32_t answer = perform(file[command.which], &command);
        if (write(line, &answer, sizeof answer) != sizeof answer)
            break;
    }
    _exit(0);
}

static void servants_start(struct servants *servants, const char *path) {
    for (int i = 0; i < servants->processes; i++) {
        int ends[2];
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
        servants->child[i] = fork();
        ck_assert_int_ge(servants->child[i], 0);
        if (servants->child[i] == 0) {
            close(ends[0]);
            serve(ends[1], path);
        }
        close(ends[1]);
        servants->line[i] = ends[0];
    }
}

static int servants_do(const struct servants *servants, const struct command *command) {
    int line = servants->line[command->which % servants->processes];
    int32_t answer = 0;
    ck_assert_int_eq(write(line, command, sizeof *command), sizeof *command);
    ck_assert_int_eq(read(line, &answer, sizeof answer), sizeof answer);
    return answer;
}

static void servants_end(struct servants *servants) {
    for (int i = 0; i < servants->processes; i++) {
        static const struct command end = {.verb = VERB_END};
        ck_assert_int_eq(write(servants->line[i], &end, sizeof end), sizeof end);
        close(servants->line[i]);
        int status;
        ck_assert_int_eq(waitpid(servants->child[i], &status, 0), servants->child[i]);
        ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
}

/* A step that SQLite itself could take from here. */
static struct command draw_lock(struct prng *prng, int which, int level) {
    struct command command = {.verb = VERB_LOCK, .which = which};
    uint64_t dice = prng_below(prng, 8);
    if (level == SQLITE_LOCK_NONE)
        command.a = SQLITE_LOCK_SHARED;
    else if (dice == 0)
        command.verb = VERB_RESERVED;
    else if (dice < 3)
        command.verb = VERB_UNLOCK, command.a = dice == 1 ? SQLITE_LOCK_NONE : SQLITE_LOCK_SHARED;
    else if (level == SQLITE_LOCK_SHARED && dice < 6)
        command.a = SQLITE_LOCK_RESERVED;
    else
        command.a = SQLITE_LOCK_EXCLUSIVE;
    return command;
}

static struct command draw_shm(struct prng *prng, int which, const int held[8]) {
    struct command command = {.verb = VERB_SHM_LOCK, .which = which, .a = (int)prng_below(prng, 8), .b = 1};
    int first = held[command.a];
    if (first != 0) {
        command.c = SQLITE_SHM_UNLOCK | first;
        while (first == SQLITE_SHM_EXCLUSIVE && command.a + command.b < 8 && held[command.a + command.b] == first &&
               prng_chance(prng, 1, 2))
            command.b++;
        return command;
    }
    command.c = SQLITE_SHM_LOCK | (prng_chance(prng, 1, 2) ? SQLITE_SHM_SHARED : SQLITE_SHM_EXCLUSIVE);
    while ((command.c & SQLITE_SHM_EXCLUSIVE) && command.a + command.b < 8 && held[command.a + command.b] == 0 &&
           prng_chance(prng, 1, 2))
        command.b++;
    return command;
}

struct model {
    struct disk *disk;
    sqlite3_file *file[FILES];
    int held[FILES][8];
};

static void model_open(struct model *model, int lives) {
    *model = (struct model){.disk = disk_of(1)};
    const char *vfs[FILES];
    for (int i = 0; i < lives; i++)
        disk_life_new(model->disk, &vfs[i]);
    for (int i = 0; i < FILES; i++)
        model->file[i] = raw(vfs[i % lives], "f", main_flags);
}

static void model_close(struct model *model) {
    for (int i = 0; i < FILES; i++)
        raw_close(model->file[i]);
    disk_free(model->disk);
}

static struct command draw_command(struct model *model, struct prng *prng, int shm) {
    int which = (int)prng_below(prng, FILES), level = 0;
    if (shm)
        return draw_shm(prng, which, model->held[which]);
    model->file[which]->pMethods->xFileControl(model->file[which], SQLITE_FCNTL_LOCKSTATE, &level);
    return draw_lock(prng, which, level);
}

static void same_answer(struct model *model, const struct servants *servants, const struct command *command,
                        int *busy) {
    int modelled = perform(model->file[command->which], command);
    int real = servants_do(servants, command);
    ck_assert_msg(modelled == real, "verb %d file %d (%d %d %d) of %d processes: model %d, unix %d", command->verb,
                  command->which, command->a, command->b, command->c, servants->processes, modelled, real);
    *busy += modelled == SQLITE_BUSY;
    if (command->verb == VERB_SHM_LOCK && modelled == SQLITE_OK)
        for (int i = 0; i < command->b; i++)
            model->held[command->which][command->a + i] =
                (command->c & SQLITE_SHM_UNLOCK) ? 0 : command->c & (SQLITE_SHM_SHARED | SQLITE_SHM_EXCLUSIVE);
}

static void compare_with_unix(const char *path, int processes, int shm) {
    struct servants servants = {.processes = processes};
    struct model model;
    struct prng prng = prng_new((uint64_t)processes, shm ? "shm" : "lock");
    int busy = 0;
    servants_start(&servants, path);
    model_open(&model, processes);
    for (int i = 0; shm && i < FILES; i++) {
        /* Not there yet, then made by whoever extends. */
        struct command looks = {.verb = VERB_SHM_MAP, .which = i};
        same_answer(&model, &servants, &looks, &busy);
        looks.b = 1;
        same_answer(&model, &servants, &looks, &busy);
    }
    for (int step = 0; step < 4000; step++) {
        struct command command = draw_command(&model, &prng, shm);
        same_answer(&model, &servants, &command, &busy);
    }
    ck_assert_int_gt(busy, 300);
    model_close(&model);
    servants_end(&servants);
}

START_TEST(locks_agree_with_unix) {
    const char *folder = getenv("TMPDIR");
    char path[300];
    snprintf(path, sizeof path, "%s/cdtx-disk-XXXXXX", folder == NULL ? "/tmp" : folder);
    ck_assert_ptr_nonnull(mkdtemp(path));
    size_t length = strlen(path);
    for (int processes = 1; processes <= FILES; processes++)
        for (int shm = 0; shm <= 1; shm++) {
            strcpy(path + length, "/f");
            compare_with_unix(path, processes, shm);
            unlink(path);
            strcpy(path + length, "/f-shm");
            unlink(path);
        }
    path[length] = '\0';
    ck_assert_int_eq(rmdir(path), 0);
}
END_TEST

/* ---- forks, determinism, bytes ---- */

static uint64_t run_digest(uint64_t seed) {
    struct disk *disk = disk_of(seed);
    struct prng prng = prng_new(seed, "test");
    struct plan plan = {.disk = disk, .at = 90, .power = 1, .what = DISK_KEEP_SOME};
    disk_set_fault(disk, fault_at, &plan);
    const char *vfs;
    for (int life = 0; life < 3; life++) {
        disk_life_new(disk, &vfs);
        work(vfs, &wal_full, 6, &prng);
    }
    struct disk_counts counts = disk_count(disk);
    uint64_t digest = disk_digest(disk, DISK_CACHED) ^ (disk_digest(disk, DISK_DURABLE) << 1);
    for (int i = 0; i < DISK_OPS; i++)
        digest = digest * 31 + counts.calls[i];
    disk_free(disk);
    return digest;
}

START_TEST(runs_repeat) {
    uint64_t first = run_digest(11);
    void *shift = malloc(12345);
    ck_assert_uint_eq(run_digest(11), first);
    ck_assert_uint_ne(run_digest(12), first);
    ck_assert_uint_eq(run_digest(11), first);
    free(shift);
}
END_TEST

START_TEST(forks_disturb_nothing) {
    struct disk *disk = disk_of(1);
    const char *vfs;
    disk_life_new(disk, &vfs);
    sqlite3 *db = open_db(vfs);
    configure(db, &wal_full);
    ck_assert_int_eq(create(db), SQLITE_OK);
    for (int64_t value = 1; value <= 12; value++) {
        must(db, "BEGIN IMMEDIATE");
        ck_assert_int_eq(set_all(db, value), SQLITE_OK);
        uint64_t cached = disk_digest(disk, DISK_CACHED), durable = disk_digest(disk, DISK_DURABLE);
        struct disk_counts before = disk_count(disk);
        ck_assert_int_eq(image_value(disk, DISK_KEEP_NONE, 1), value - 1);
        ck_assert_int_eq(image_value(disk, DISK_KEEP_SOME, (uint64_t)value), value - 1);
        struct disk_counts after = disk_count(disk);
        ck_assert_mem_eq(&before, &after, sizeof before);
        ck_assert_uint_eq(disk_digest(disk, DISK_CACHED), cached);
        ck_assert_uint_eq(disk_digest(disk, DISK_DURABLE), durable);
        must(db, "COMMIT");
        ck_assert_int_eq(image_value(disk, DISK_KEEP_NONE, 1), value);
        if (value % 4 == 0)
            must(db, "PRAGMA wal_checkpoint(TRUNCATE)");
    }
    sqlite3_close(db);
    disk_free(disk);
}
END_TEST

START_TEST(bytes_are_as_written) {
    enum { ROOM = 40000, COPIES = 3 };
    static uint8_t flat[COPIES][ROOM], buffer[ROOM];
    int64_t size[COPIES] = {0};
    struct bytes bytes[COPIES] = {{0}};
    struct prng prng = prng_new(1, "bytes");
    for (int step = 0; step < 6000; step++) {
        int which = (int)prng_below(&prng, COPIES);
        int64_t at = prng_range(&prng, 0, ROOM - 9001);
        size_t length = (size_t)prng_below(&prng, 9000);
        uint64_t dice = prng_below(&prng, 10);
        if (dice < 5) {
            prng_bytes(&prng, buffer, length);
            bytes_write(&bytes[which], at, buffer, length);
            memcpy(flat[which] + at, buffer, length);
            if (length > 0 && at + (int64_t)length > size[which])
                size[which] = at + (int64_t)length;
        } else if (dice < 7) {
            bytes_truncate(&bytes[which], at);
            memset(flat[which] + at, 0, (size_t)(ROOM - at));
            size[which] = at;
        } else if (dice == 7) {
            int from = (int)prng_below(&prng, COPIES);
            struct bytes copy = bytes_share(&bytes[from]);
            bytes_free(&bytes[which]);
            bytes[which] = copy;
            size[which] = size[from];
            memmove(flat[which], flat[from], ROOM);
            ck_assert_uint_eq(bytes_digest(&copy, 1), bytes_digest(&bytes[from], 1));
        }
        ck_assert_int_eq(bytes[which].size, size[which]);
        bytes_read(&bytes[which], at, buffer, length);
        ck_assert_mem_eq(buffer, flat[which] + at, length);
    }
    for (int i = 0; i < COPIES; i++)
        bytes_free(&bytes[i]);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("disk");
    TCase *model = tcase_create("model");
    tcase_add_test(model, bytes_are_as_written);
    tcase_add_test(model, cached_and_durable);
    tcase_add_test(model, deletes_may_come_back);
    tcase_add_test(model, tears_at_sectors);
    tcase_add_test(model, tears_the_last_write);
    tcase_add_test(model, lying_sync_is_no_sync);
    tcase_add_test(model, failed_sync_makes_lost_bytes_clean);
    tcase_add_test(model, opens_and_names);
    tcase_add_test(model, tells_virtual_time);
    suite_add_tcase(suite, model);
    TCase *lives = tcase_create("lives");
    tcase_add_test(lives, lives_take_turns);
    tcase_add_test(lives, kill_frees_locks_and_spares_others);
    tcase_add_test(lives, killed_transaction_is_rolled_back);
    tcase_add_test(lives, owner_lock);
    tcase_add_test(lives, shared_memory);
    tcase_add_test(lives, locks_agree_with_unix);
    suite_add_tcase(suite, lives);
    TCase *crashes = tcase_create("crashes");
    tcase_set_timeout(crashes, 60);
    tcase_add_test(crashes, power_loss_keeps_what_was_synced);
    tcase_add_test(crashes, power_loss_loses_what_was_not_synced);
    tcase_add_test(crashes, power_loss_damages_without_syncs);
    tcase_add_test(crashes, dies_at_every_call);
    tcase_add_test(crashes, fails_at_every_call);
    tcase_add_test(crashes, failed_commit_may_be_seen_and_lost);
    tcase_add_test(crashes, forks_disturb_nothing);
    tcase_add_test(crashes, runs_repeat);
    suite_add_tcase(suite, crashes);
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
