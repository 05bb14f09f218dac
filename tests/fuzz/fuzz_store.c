/* Our tables with garbage in their cells: the engine opens the house of tests/fault and works in it, or refuses with a
 * code and a sentence; it never crashes and never hangs.
 *
 * An input is a list of edits. An edit is the file, table, column and row in one byte each, what to put there in one
 * more, and what belongs to that. */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault/story.h"
#include "fuzz.h"
#include "sim/disk.h"

enum { EDITS_MAX = 8, COLUMNS_MAX = 32, TEXT_ROOM = 512, A_WHILE_MS = 3000 };
enum { PUT_NULL, PUT_INT, PUT_LARGE, PUT_REAL, PUT_TEXT, PUT_BLOB, PUT_NO_ROW, KINDS };

static const char *const files[] = {"house/log.db", "house/orders.db", "house/stock.db"};
enum { FILES = sizeof files / sizeof files[0] };

/* With the columns by which a row is found. */
static const struct {
    const char *name, *key;
} tables[] = {{"cdtx_meta", "rowid"},
              {"cdtx_tx", "rowid"},
              {"cdtx_job", "rowid"},
              {"cdtx_guard", "log, seq, branch"},
              {"cdtx_floor", "log"}};
enum { TABLES = sizeof tables / sizeof tables[0] };

static char columns[TABLES][COLUMNS_MAX][64];
static uint32_t column_count[TABLES];

static struct disk *ground;

/* ---- the house before the damage ---- */

static int32_t knows(void *user, cdtx *engine, const char *participant) {
    (void)user;
    return cdtx_serves(engine, participant);
}

static void answer(void *user, uint64_t id, const cdtx_reply *reply) {
    cdtx_link_reply(user, id, reply);
}

/* Participants hear of tries only, so that nothing comes to its end. */
static int32_t send_tries(void *user, cdtx *engine, const cdtx_call *call, cdtx_error *err) {
    (void)user;
    return call->op == CDTX_CALL_TRY ? cdtx_serve(engine, call, answer, engine, err) : 0;
}

static struct prng stream;

static int32_t draw(void *user, void *bytes, size_t length) {
    (void)user;
    prng_bytes(&stream, bytes, length);
    return 0;
}

static cdtx_env env_of(cdtx_test_env **heap) {
    if (cdtx_test_env_new(heap, NULL) != 0)
        abort();
    cdtx_env env = *cdtx_test_env_port(*heap);
    env.log = NULL;
    env.random = draw;
    return env;
}

static void build(void) {
    static const cdtx_link deaf = {.size = sizeof deaf, .knows = knows, .send = send_tries};
    struct house house;
    struct house_site site = {.scheme = "sqlite", .folder = "house/"};
    struct ledger ledger = {0};
    cdtx_test_env *heap;
    cdtx_tx *left_open = NULL;
    cdtx_error err = {0};
    stream = prng_new(1, "ground");
    cdtx_env env = env_of(&heap);
    (void)disk_life_new(ground, &site.vfs);
    MUST(house_open(&house, &site, &(struct house_options){.env = &env, .link = &deaf}, &err) == 0);
    (void)house_deliver(&house, &ledger, "apple", 100);
    story_of_ruin(&house, &ledger, &left_open);
    disk_power_loss(ground, DISK_KEEP_NONE);
    house_close(&house);
    cdtx_tx_close(left_open);
    MUST(ledger.complaint[0] == '\0');
    ledger_free(&ledger);
    cdtx_test_env_free(heap);
}

static void must_run(sqlite3 *db, const char *statement) {
    if (sqlite3_exec(db, statement, NULL, NULL, NULL) != SQLITE_OK)
        fuzz_broken(__FILE__, __LINE__, sqlite3_errmsg(db));
}

/* A damaged cell need not have the type that its table asks for: while it is written, the table asks for none. */
static void change_schema(sqlite3 *db, const char *statement) {
    must_run(db, "PRAGMA writable_schema = ON");
    must_run(db, statement);
    must_run(db, "PRAGMA writable_schema = OFF");
}

static void soften(const char *vfs, const char *file) {
    sqlite3 *db = NULL;
    MUST(sqlite3_open_v2(file, &db, SQLITE_OPEN_READWRITE, vfs) == SQLITE_OK);
    must_run(db,
             "CREATE TABLE hard AS SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND name GLOB 'cdtx_*'");
    change_schema(db, "UPDATE sqlite_schema SET sql = replace(replace(replace(replace(replace(sql, ' STRICT, ', ' '),"
                      " ' STRICT', ''), ' NOT NULL', ''), ' INTEGER,', ','), ' CHECK (id = 1)', '')"
                      " WHERE type = 'table' AND name GLOB 'cdtx_*'");
    must_run(db, "PRAGMA wal_checkpoint(TRUNCATE)");
    MUST(sqlite3_close(db) == SQLITE_OK);
}

static void harden(sqlite3 *db) {
    change_schema(db, "UPDATE sqlite_master SET sql = (SELECT sql FROM hard WHERE hard.name = sqlite_master.name)"
                      " WHERE type = 'table' AND name GLOB 'cdtx_*'");
}

static void learn_columns(sqlite3 *db) {
    for (int i = 0; i < TABLES; i++) {
        sqlite3_stmt *statement = NULL;
        MUST(sqlite3_prepare_v2(db, "SELECT name FROM pragma_table_info(?)", -1, &statement, NULL) == SQLITE_OK);
        MUST(sqlite3_bind_text(statement, 1, tables[i].name, -1, SQLITE_STATIC) == SQLITE_OK);
        while (sqlite3_step(statement) == SQLITE_ROW) {
            MUST(column_count[i] < COLUMNS_MAX);
            (void)snprintf(columns[i][column_count[i]++], sizeof columns[i][0], "%s",
                           (const char *)sqlite3_column_text(statement, 0));
        }
        MUST(column_count[i] > 0);
        (void)sqlite3_finalize(statement);
    }
}

static void lay_ground(void) {
    sqlite3 *db = NULL;
    const char *vfs;
    if (ground != NULL)
        return;
    MUST(sqlite3_config(SQLITE_CONFIG_SINGLETHREAD) == SQLITE_OK);
    ground = disk_new("ground", prng_new(1, "ground"));
    disk_reset_sqlite_random(1);
    build();
    (void)disk_life_new(ground, &vfs);
    for (int i = 0; i < FILES; i++)
        soften(vfs, files[i]);
    MUST(sqlite3_open_v2(files[0], &db, SQLITE_OPEN_READWRITE, vfs) == SQLITE_OK);
    learn_columns(db);
    MUST(sqlite3_close(db) == SQLITE_OK);
}

/* ---- the damage ---- */

struct input {
    const uint8_t *bytes;
    size_t length;
};

static uint8_t next(struct input *input) {
    if (input->length == 0)
        return 0;
    input->length--;
    return *input->bytes++;
}

static int64_t next_number(struct input *input) {
    uint64_t number = 0;
    for (int i = 0; i < 8; i++)
        number = number << 8 | next(input);
    return (int64_t)number;
}

static int bind_value(sqlite3_stmt *statement, int kind, struct input *input) {
    static const int64_t large[] = {
        INT64_MAX,  INT64_MIN,        -1, 0, 1, INT64_MAX - 1, INT64_MAX / 2, INT32_MAX, INT32_MIN,
        UINT32_MAX, CDTX_TIME_MAX_MS, 255};
    double real;
    int64_t number;
    size_t length;
    switch (kind) {
    case PUT_INT:
        return sqlite3_bind_int64(statement, 1, next_number(input));
    case PUT_LARGE:
        return sqlite3_bind_int64(statement, 1, large[next(input) % (sizeof large / sizeof large[0])]);
    case PUT_REAL:
        number = next_number(input);
        memcpy(&real, &number, sizeof real);
        return sqlite3_bind_double(statement, 1, real);
    case PUT_TEXT:
    case PUT_BLOB:
        length = next(input);
        length = length < input->length ? length : input->length;
        input->bytes += length;
        input->length -= length;
        return kind == PUT_TEXT
                   ? sqlite3_bind_text(statement, 1, (const char *)input->bytes - length, (int)length, SQLITE_TRANSIENT)
                   : sqlite3_bind_blob(statement, 1, input->bytes - length, (int)length, SQLITE_TRANSIENT);
    default:
        return sqlite3_bind_null(statement, 1);
    }
}

/* An edit that an index refuses does not happen. */
static void edit(sqlite3 *const dbs[FILES], struct input *input) {
    char text[TEXT_ROOM];
    sqlite3_stmt *statement = NULL;
    int file = next(input) % FILES, table = next(input) % TABLES;
    uint32_t column = next(input) % column_count[table];
    int row = next(input) % 8, kind = next(input) % KINDS;
    const char *name = tables[table].name, *key = tables[table].key;
    if (kind == PUT_NO_ROW)
        (void)snprintf(text, sizeof text, "DELETE FROM %s WHERE (%s) IN (SELECT %s FROM %s LIMIT 1 OFFSET %d)", name,
                       key, key, name, row);
    else
        (void)snprintf(text, sizeof text,
                       "UPDATE OR IGNORE %s SET %.63s = ? WHERE (%s) IN (SELECT %s FROM %s LIMIT 1 OFFSET %d)", name,
                       columns[table][column], key, key, name, row);
    MUST(sqlite3_prepare_v2(dbs[file], text, -1, &statement, NULL) == SQLITE_OK);
    if (kind != PUT_NO_ROW)
        MUST(bind_value(statement, kind, input) == SQLITE_OK);
    (void)sqlite3_step(statement);
    (void)sqlite3_finalize(statement);
}

static void damage(struct disk *disk, struct input input) {
    sqlite3 *dbs[FILES] = {NULL};
    const char *vfs;
    (void)disk_life_new(disk, &vfs);
    for (int i = 0; i < FILES; i++)
        MUST(sqlite3_open_v2(files[i], &dbs[i], SQLITE_OPEN_READWRITE, vfs) == SQLITE_OK);
    for (int i = 0; i < EDITS_MAX && input.length > 0; i++)
        edit(dbs, &input);
    for (int i = 0; i < FILES; i++) {
        harden(dbs[i]);
        MUST(sqlite3_close(dbs[i]) == SQLITE_OK);
    }
}

/* ---- the house after it ---- */

static void ask(struct house *house, struct ledger *ledger, const char *key) {
    char gid[CDTX_GID_MAX];
    int32_t state = 0;
    cdtx_error err = {0};
    if (ledger_check(ledger, "cdtx_tx_find", cdtx_tx_find(house->engine, key, gid, &err), &err) == 0)
        (void)ledger_check(ledger, "cdtx_tx_query", cdtx_tx_query(house->engine, gid, &state, &err), &err);
}

static void live(struct house *house, struct ledger *ledger) {
    static const char *const keys[] = {"declared", "steps", "sold-out", "given-up", "left-open"};
    cdtx_error err = {0};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        ask(house, ledger, keys[i]);
    (void)ledger_check(ledger, "cdtx_run", cdtx_run(house->engine, A_WHILE_MS, &err), &err);
    house_pull(house, ledger, A_WHILE_MS);
    (void)house_order(house, ledger, ORDER_DECLARED, &(struct wish){"declared", 1});
    (void)house_order(house, ledger, ORDER_STEPS, &(struct wish){"after", 1});
    (void)house_invoice(house, ledger, "after");
    (void)house_parcel(house, ledger, "after");
    house_pull(house, ledger, A_WHILE_MS);
    (void)ledger_check(ledger, "cdtx_drain", cdtx_drain(house->engine, A_WHILE_MS, &err), &err);
}

/* What a damaged file may be answered with when it is opened: not everything that can be wrong is noticed there. */
static int may_refuse(int32_t rc) {
    return rc == CDTX_CORRUPT || rc == CDTX_UNSUPPORTED || rc == CDTX_CONFLICT;
}

static void open_and_live(struct disk *disk) {
    struct house house;
    struct house_site site = {.scheme = "sqlite", .folder = "house/"};
    struct ledger ledger = {0};
    cdtx_test_env *heap;
    cdtx_error err = {0};
    stream = prng_new(1, "after");
    cdtx_env env = env_of(&heap);
    struct disk_life *life = disk_life_new(disk, &site.vfs);
    int32_t rc = house_open(&house, &site, &(struct house_options){.env = &env}, &err);
    if (rc == 0)
        live(&house, &ledger);
    else if (!may_refuse(rc))
        ledger_complain(&ledger, "opening answered %s: %s", cdtx_code_name(rc), err.text);
    fuzz_count(rc, rc, &err);
    house_close(&house);
    if (ledger.complaint[0] != '\0')
        fuzz_broken(__FILE__, __LINE__, ledger.complaint);
    MUST(cdtx_test_env_bytes(heap) == 0);
    MUST(disk_life_handles(life) == 0);
    cdtx_test_env_free(heap);
    ledger_free(&ledger);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    lay_ground();
    disk_reset_sqlite_random(1);
    struct disk *disk = disk_fork_after_crash(ground, DISK_KEEP_ALL, "damaged", prng_new(1, "damaged"));
    damage(disk, (struct input){bytes, length});
    open_and_live(disk);
    disk_free(disk);
    return 0;
}
