/* The limit for messages: the loop of somebody who has an outbox in one file, a consumer with an inbox in another, and
 * one process. BATCH messages in each commit: put with the business row; the attempt recorded before it is made, so
 * that a poisonous one can be told; the inbox mark and the effect; gone. */
#include <string.h>

#include "hand.h"
#include "messages.h"

const char message_orders[] = "CREATE TABLE closed_order (number INTEGER PRIMARY KEY, state TEXT NOT NULL) STRICT";
const char message_order[] = "INSERT INTO closed_order VALUES (?, 'CLOSED')";
const char message_effects[] = "CREATE TABLE effect (number INTEGER NOT NULL) STRICT";
const char message_effect[] = "INSERT INTO effect VALUES (?)";

static const char outbox[] = "CREATE TABLE outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL,"
                             " attempts INTEGER NOT NULL, payload BLOB NOT NULL) STRICT";
static const char inbox[] = "CREATE TABLE inbox (id INTEGER PRIMARY KEY) STRICT";

struct hand {
    struct file orders, stock;
    sqlite3_stmt *order, *put, *next, *mark, *effect, *gone;
    int64_t ids[BATCH];
    struct note notes[BATCH];
};

static int make(struct file *file, const char *text) {
    return sqlite3_exec(file->db, text, NULL, NULL, NULL) == SQLITE_OK ||
           complain("by hand: '%s': %s", text, sqlite3_errmsg(file->db));
}

static int open_hand(struct hand *hand, const char *dir) {
    return hand_open(&hand->orders, dir, "orders") && hand_open(&hand->stock, dir, "stock") &&
           make(&hand->orders, message_orders) && make(&hand->orders, outbox) && make(&hand->stock, message_effects) &&
           make(&hand->stock, inbox) && hand_prepare(&hand->orders, message_order, &hand->order) &&
           hand_prepare(&hand->orders, "INSERT INTO outbox (topic, attempts, payload) VALUES ('closed', 0, ?)",
                        &hand->put) &&
           hand_prepare(
               &hand->orders,
               "UPDATE outbox SET attempts = attempts + 1 WHERE id IN (SELECT id FROM outbox ORDER BY id LIMIT ?)"
               " RETURNING id, payload",
               &hand->next) &&
           hand_prepare(&hand->stock, "INSERT OR IGNORE INTO inbox VALUES (?)", &hand->mark) &&
           hand_prepare(&hand->stock, message_effect, &hand->effect) &&
           hand_prepare(&hand->orders, "DELETE FROM outbox WHERE id = ?", &hand->gone);
}

static int put(struct hand *hand, int64_t first, int64_t count) {
    int ok = hand_begin(&hand->orders);
    for (int64_t n = first; ok && n < first + count; n++) {
        struct note note = {.number = n};
        sqlite3_bind_int64(hand->order, 1, n);
        sqlite3_bind_blob(hand->put, 1, &note, sizeof note, SQLITE_STATIC);
        ok = hand_step(&hand->orders, hand->order, 1) && hand_step(&hand->orders, hand->put, 1);
    }
    return ok && hand_commit(&hand->orders);
}

static int read_next(struct hand *hand, int64_t count) {
    int64_t read = 0;
    if (!hand_begin(&hand->orders))
        return 0;
    sqlite3_bind_int64(hand->next, 1, BATCH);
    for (; read < BATCH && sqlite3_step(hand->next) == SQLITE_ROW; read++) {
        hand->ids[read] = sqlite3_column_int64(hand->next, 0);
        if (sqlite3_column_bytes(hand->next, 1) == sizeof hand->notes[read])
            memcpy(&hand->notes[read], sqlite3_column_blob(hand->next, 1), sizeof hand->notes[read]);
    }
    sqlite3_reset(hand->next);
    if (read != count)
        return complain("by hand: %lld of %lld messages came", (long long)read, (long long)count);
    return hand_commit(&hand->orders);
}

static int consume(struct hand *hand, int64_t count) {
    int ok = hand_begin(&hand->stock);
    for (int64_t i = 0; ok && i < count; i++) {
        sqlite3_bind_int64(hand->mark, 1, hand->ids[i]);
        sqlite3_bind_int64(hand->effect, 1, hand->notes[i].number);
        ok = hand_step(&hand->stock, hand->mark, 1) && hand_step(&hand->stock, hand->effect, 1);
    }
    return ok && hand_commit(&hand->stock);
}

static int forget(struct hand *hand, int64_t count) {
    int ok = hand_begin(&hand->orders);
    for (int64_t i = 0; ok && i < count; i++) {
        sqlite3_bind_int64(hand->gone, 1, hand->ids[i]);
        ok = hand_step(&hand->orders, hand->gone, 1);
    }
    return ok && hand_commit(&hand->orders);
}

static int batch(void *user, int64_t first, int64_t count) {
    struct hand *hand = user;
    return put(hand, first, count) && read_next(hand, count) && consume(hand, count) && forget(hand, count);
}

int messages_by_hand(struct run *run) {
    struct hand hand = {0};
    int ok = open_hand(&hand, run->dir) && hand_loop(run, BATCH, batch, &hand);
    run->syncs = hand.orders.syncs + hand.stock.syncs;
    hand_close(&hand.orders);
    hand_close(&hand.stock);
    return ok;
}

int check_messages_by_hand(const struct run *run) {
    return expect(run->dir, "stock", "SELECT count(*) FROM effect", run->done) &&
           expect(run->dir, "orders", "SELECT count(*) FROM outbox", 0);
}
