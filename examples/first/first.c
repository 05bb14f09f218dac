/* Moves 30 from Ann's bank to Bob's: two databases, one decision. Ann has 100, so her bank refuses the fourth run. */
#include <cdtx/tcc.h>
#include <stdio.h>
#include <string.h>

/* What try, confirm and cancel do in each bank; ?1 is the amount. */
static const char *ann[] = {"UPDATE account SET balance = balance - ?1, held = held + ?1 WHERE balance >= ?1",
                            "UPDATE account SET held = held - ?1",
                            "UPDATE account SET held = held - ?1, balance = balance + ?1"};
static const char *bob[] = {"UPDATE account SET held = held + ?1",
                            "UPDATE account SET held = held - ?1, balance = balance + ?1",
                            "UPDATE account SET held = held - ?1"};

static int32_t step(cdtx_sql *sql, cdtx_tcc_call *call, const char *statement, cdtx_error *err) {
    int64_t amount, changes;
    memcpy(&amount, cdtx_tcc_payload(call, NULL), sizeof amount);
    cdtx_sql_bind_int(sql, amount);
    int32_t rc = cdtx_sql_exec(sql, statement, &changes, err);
    return rc != 0 || changes == 1 ? rc : cdtx_error_set(err, CDTX_REFUSED, "there is not enough money");
}
static int32_t on_try(cdtx_sql *sql, cdtx_tcc_call *call, void *bank, cdtx_error *err) {
    return step(sql, call, ((const char **)bank)[0], err);
}
static int32_t on_confirm(cdtx_sql *sql, cdtx_tcc_call *call, void *bank, cdtx_error *err) {
    return step(sql, call, ((const char **)bank)[1], err);
}
static int32_t on_cancel(cdtx_sql *sql, cdtx_tcc_call *call, void *bank, cdtx_error *err) {
    return step(sql, call, ((const char **)bank)[2], err);
}
static int32_t make(cdtx_sql *sql, void *balance, cdtx_error *err) {
    int32_t rc = cdtx_sql_exec(sql, "CREATE TABLE IF NOT EXISTS account(id PRIMARY KEY, balance, held)", NULL, err);
    cdtx_sql_bind_int(sql, *(int64_t *)balance);
    return rc != 0 ? rc : cdtx_sql_exec(sql, "INSERT OR IGNORE INTO account VALUES (1, ?, 0)", NULL, err);
}

int main(void) {
    int64_t start_a = 100, start_b = 0, amount = 30;
    cdtx *engine = NULL;
    cdtx_db *a = NULL, *b = NULL;
    cdtx_tx *tx = NULL;
    cdtx_error err;
    cdtx_options options = {.size = sizeof options, .log = "sqlite:log.db"};
    cdtx_tcc_handlers in_a = {.size = sizeof in_a, .on_try = on_try, .on_confirm = on_confirm,
                              .on_cancel = on_cancel, .user = ann};
    cdtx_tcc_handlers in_b = {.size = sizeof in_b, .on_try = on_try, .on_confirm = on_confirm,
                              .on_cancel = on_cancel, .user = bob};
    int ok = !cdtx_open(&options, &engine, &err) && !cdtx_db_open(engine, "a", "sqlite:bank_a.db", &a, &err) &&
             !cdtx_db_open(engine, "b", "sqlite:bank_b.db", &b, &err) && !cdtx_local(a, make, &start_a, &err) &&
             !cdtx_local(b, make, &start_b, &err) && !cdtx_tcc_add(a, "ann.pays", &in_a, &err) &&
             !cdtx_tcc_add(b, "bob.gets", &in_b, &err);
    ok = ok && !cdtx_run(engine, 0, &err); /* ends what a killed run left open */
    ok = ok && !cdtx_tx_new(engine, NULL, &tx, &err) && !cdtx_tx_add(tx, "ann.pays", &amount, sizeof amount, &err) &&
         !cdtx_tx_add(tx, "bob.gets", &amount, sizeof amount, &err) && !cdtx_tx_run(tx, &err);
    puts(ok ? "moved 30 from Ann to Bob" : err.text);
    cdtx_tx_close(tx);
    cdtx_db_close(a), cdtx_db_close(b);
    cdtx_close(engine);
    return ok ? 0 : 1;
}
