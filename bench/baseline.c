/* The limit: what somebody would write by hand who knows all transactions beforehand, never fails and never shares. The
 * same rows as a two-branch TCC, in the same three files with the same tables, GROUP transactions in each commit:
 *
 *   log: begin, and the end of the group before
 *   order: try        stock: try
 *   log: decision
 *   order: confirm    stock: confirm */
#include <string.h>

#include "hand.h"

struct hand {
    struct file log, order, stock;
    sqlite3_stmt *tx_insert, *tx_decide, *tx_end, *meta;
    sqlite3_stmt *order_try, *order_guard, *order_move, *order_confirm;
    sqlite3_stmt *stock_try, *stock_guard, *stock_move, *stock_confirm;
    uint8_t uuid[16];
    int64_t decided; /* the first number of the group before, whose end is still to be written */
};

static const char guard_insert[] = "INSERT INTO cdtx_guard (log, seq, branch, state, answer) VALUES (?, ?, ?, 1, NULL)";
static const char guard_confirm[] =
    "UPDATE cdtx_guard SET state = 3 WHERE log = ? AND seq = ? AND branch = ? AND state = 1";

/* ---- opening ---- */

static int read_uuid(struct hand *hand) {
    sqlite3_stmt *statement = NULL;
    if (!hand_prepare(&hand->log, "SELECT uuid FROM cdtx_meta", &statement))
        return 0;
    int found = sqlite3_step(statement) == SQLITE_ROW && sqlite3_column_bytes(statement, 0) == sizeof hand->uuid;
    if (found)
        memcpy(hand->uuid, sqlite3_column_blob(statement, 0), sizeof hand->uuid);
    sqlite3_finalize(statement);
    return found ? 1 : complain("by hand: the log has no uuid");
}

static int open_hand(struct hand *hand, const char *dir) {
    return hand_open(&hand->log, dir, "log") && hand_open(&hand->order, dir, "order") &&
           hand_open(&hand->stock, dir, "stock") && read_uuid(hand) &&
           hand_prepare(&hand->log,
                        "INSERT INTO cdtx_tx (seq, state, reason, epoch, attempts, due, acked, name, key, branches)"
                        " VALUES (?, 1, 0, 1, 0, ?, 0, ?, ?, ?)",
                        &hand->tx_insert) &&
           hand_prepare(&hand->log,
                        "UPDATE cdtx_tx SET state = 2, epoch = epoch + 1, attempts = 1, due = ?"
                        " WHERE seq = ? AND state = 1 AND epoch = 1",
                        &hand->tx_decide) &&
           hand_prepare(&hand->log,
                        "UPDATE cdtx_tx SET state = 4, due = NULL, acked = 3, epoch = epoch + 1"
                        " WHERE seq = ? AND epoch = 2",
                        &hand->tx_end) &&
           hand_prepare(&hand->log, "UPDATE cdtx_meta SET seq = ?, clock = ? WHERE id = 1", &hand->meta) &&
           hand_prepare(&hand->order, order_insert, &hand->order_try) &&
           hand_prepare(&hand->order, guard_insert, &hand->order_guard) &&
           hand_prepare(&hand->order, order_confirm, &hand->order_confirm) &&
           hand_prepare(&hand->order, guard_confirm, &hand->order_move) &&
           hand_prepare(&hand->stock, stock_hold, &hand->stock_try) &&
           hand_prepare(&hand->stock, guard_insert, &hand->stock_guard) &&
           hand_prepare(&hand->stock, stock_sell, &hand->stock_confirm) &&
           hand_prepare(&hand->stock, guard_confirm, &hand->stock_move);
}

/* ---- statements ---- */

/* A guard statement of one branch, then the business statement that goes with it. */
static int guard(struct hand *hand, struct file *file, sqlite3_stmt *statement, int64_t sequence, int branch) {
    sqlite3_bind_blob(statement, 1, hand->uuid, sizeof hand->uuid, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 2, sequence);
    sqlite3_bind_int(statement, 3, branch);
    return hand_step(file, statement, 1);
}

static int move_one(struct file *file, sqlite3_stmt *statement, int64_t value) {
    sqlite3_bind_int64(statement, 1, value);
    return hand_step(file, statement, 1);
}

/* ---- the record of branches, byte for byte as the library keeps it ---- */

static size_t put_block(uint8_t *at, const void *bytes, size_t length) {
    const uint8_t head[4] = {0, 0, (uint8_t)(length >> 8), (uint8_t)length};
    memcpy(at, head, 4);
    memcpy(at + 4, bytes, length);
    at[4 + length] = 0;
    return length + 5;
}

static size_t put_record(uint8_t *at, const struct line *line) {
    size_t n = 0;
    at[n++] = 1;
    n += put_block(at + n, ORDER_PLACE, strlen(ORDER_PLACE));
    n += put_block(at + n, line, sizeof *line);
    n += put_block(at + n, STOCK_RESERVE, strlen(STOCK_RESERVE));
    n += put_block(at + n, line, sizeof *line);
    return n;
}

/* ---- the six commits of a group; first to last are its numbers ---- */

static int insert_tx(struct hand *hand, int64_t number, int64_t due) {
    uint8_t record[256];
    struct line line = line_of(number);
    size_t length = put_record(record, &line);
    sqlite3_bind_int64(hand->tx_insert, 1, number);
    sqlite3_bind_int64(hand->tx_insert, 2, due);
    sqlite3_bind_text(hand->tx_insert, 3, "bench", -1, SQLITE_STATIC);
    sqlite3_bind_null(hand->tx_insert, 4);
    sqlite3_bind_blob(hand->tx_insert, 5, record, (int)length, SQLITE_STATIC);
    return hand_step(&hand->log, hand->tx_insert, 1);
}

static int log_begin(struct hand *hand, int64_t first, int64_t last) {
    int64_t clock = now_us() / 1000;
    int ok = hand_begin(&hand->log);
    for (int64_t n = hand->decided; ok && n < first; n++)
        ok = move_one(&hand->log, hand->tx_end, n);
    for (int64_t n = first; ok && n <= last; n++)
        ok = insert_tx(hand, n, clock + 10000);
    if (!ok)
        return 0;
    sqlite3_bind_int64(hand->meta, 1, last);
    sqlite3_bind_int64(hand->meta, 2, clock);
    return hand_step(&hand->log, hand->meta, 1) && hand_commit(&hand->log);
}

static int log_decide(struct hand *hand, int64_t first, int64_t last) {
    int ok = hand_begin(&hand->log);
    for (int64_t n = first; ok && n <= last; n++) {
        sqlite3_bind_int64(hand->tx_decide, 1, now_us() / 1000 + 2000);
        sqlite3_bind_int64(hand->tx_decide, 2, n);
        ok = hand_step(&hand->log, hand->tx_decide, 1);
    }
    return ok && hand_commit(&hand->log);
}

static int order_try(struct hand *hand, int64_t first, int64_t last) {
    int ok = hand_begin(&hand->order);
    for (int64_t n = first; ok && n <= last; n++) {
        sqlite3_bind_int64(hand->order_try, 2, line_of(n).sku);
        ok = guard(hand, &hand->order, hand->order_guard, n, 0) && move_one(&hand->order, hand->order_try, n);
    }
    return ok && hand_commit(&hand->order);
}

static int stock_try(struct hand *hand, int64_t first, int64_t last) {
    int ok = hand_begin(&hand->stock);
    for (int64_t n = first; ok && n <= last; n++)
        ok = guard(hand, &hand->stock, hand->stock_guard, n, 1) &&
             move_one(&hand->stock, hand->stock_try, line_of(n).sku);
    return ok && hand_commit(&hand->stock);
}

static int confirm_order(struct hand *hand, int64_t first, int64_t last) {
    int ok = hand_begin(&hand->order);
    for (int64_t n = first; ok && n <= last; n++)
        ok = guard(hand, &hand->order, hand->order_move, n, 0) && move_one(&hand->order, hand->order_confirm, n);
    return ok && hand_commit(&hand->order);
}

static int confirm_stock(struct hand *hand, int64_t first, int64_t last) {
    int ok = hand_begin(&hand->stock);
    for (int64_t n = first; ok && n <= last; n++)
        ok = guard(hand, &hand->stock, hand->stock_move, n, 1) &&
             move_one(&hand->stock, hand->stock_confirm, line_of(n).sku);
    return ok && hand_commit(&hand->stock);
}

static int group(void *user, int64_t first, int64_t count) {
    struct hand *hand = user;
    int64_t last = first + count - 1;
    int ok = log_begin(hand, first, last) && order_try(hand, first, last) && stock_try(hand, first, last) &&
             log_decide(hand, first, last) && confirm_order(hand, first, last) && confirm_stock(hand, first, last);
    hand->decided = first;
    return ok;
}

static int loop(struct hand *hand, struct run *run) {
    hand->decided = 1;
    return hand_loop(run, GROUP, group, hand) && log_begin(hand, run->done + 1, run->done);
}

int baseline(struct run *run) {
    struct shop shop;
    if (!shop_open(run->dir, (cdtx_options){0}, &shop))
        return 0;
    shop_close(&shop);
    struct hand hand = {0};
    int ok = open_hand(&hand, run->dir) && loop(&hand, run);
    run->syncs = hand.log.syncs + hand.order.syncs + hand.stock.syncs;
    hand_close(&hand.log);
    hand_close(&hand.order);
    hand_close(&hand.stock);
    return ok;
}
