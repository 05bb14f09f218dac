/* A shop takes orders in one database, and an office writes a letter about each in another. The order and the message
 * that tells of it are one commit; the letter and the mark that the message has been read are another. So each order
 * has one letter, though the office stumbles. Kill it when you like and run it again: the numbers agree at the end. */
#include <cdtx/msg.h>
#include <stdio.h>
#include <string.h>

static int32_t make(cdtx_sql *sql, void *statement, cdtx_error *err) {
    return cdtx_sql_exec(sql, statement, NULL, err);
}

/* In the shop's database: an order, and the message in its outbox. */
static int32_t order(cdtx_sql *sql, void *customer, cdtx_error *err) {
    cdtx_msg_options options = {.size = sizeof options, .key = customer};
    cdtx_sql_bind_text(sql, customer, strlen(customer));
    int32_t rc = cdtx_sql_exec(sql, "INSERT INTO orders VALUES (?)", NULL, err);
    return rc != 0 ? rc : cdtx_msg_put(sql, "ordered", customer, strlen(customer), &options, NULL, err);
}

/* In the office's database: a letter. */
static int32_t write_letter(cdtx_work *work, void *user, cdtx_error *err) {
    size_t length;
    const char *customer = cdtx_work_payload(work, &length);
    (void)user;
    cdtx_sql_bind_text(cdtx_work_sql(work), customer, length);
    int32_t rc = cdtx_sql_exec(cdtx_work_sql(work), "INSERT INTO letter VALUES (?)", NULL, err);
    if (rc == 0 && cdtx_work_attempt(work) == 1)
        return cdtx_error_set(err, CDTX_USER, "the ink is spilt over the letter"); /* it is undone; once more */
    return rc;
}

struct count {
    const char *query;
    int64_t rows;
};

static int32_t count(cdtx_sql *sql, void *user, cdtx_error *err) {
    struct count *c = user;
    int32_t rc = cdtx_sql_query(sql, c->query, err);
    if (rc == 0 && cdtx_sql_next(sql))
        c->rows = cdtx_sql_int(sql, 0);
    return rc;
}

int main(void) {
    char *customers[] = {(char[]){"ann"}, (char[]){"bob"}, (char[]){"cem"}};
    struct count orders = {.query = "SELECT count(*) FROM orders"}, letters = {.query = "SELECT count(*) FROM letter"};
    cdtx *engine = NULL;
    cdtx_db *shop = NULL, *office = NULL;
    cdtx_error err;
    cdtx_options options = {.size = sizeof options};
    int ok = !cdtx_open(&options, &engine, &err) && !cdtx_db_open(engine, "shop", "sqlite:shop.db", &shop, &err) &&
             !cdtx_db_open(engine, "office", "sqlite:office.db", &office, &err) &&
             !cdtx_local(shop, make, (char[]){"CREATE TABLE IF NOT EXISTS orders (customer)"}, &err) &&
             !cdtx_local(office, make, (char[]){"CREATE TABLE IF NOT EXISTS letter (customer)"}, &err);
    /* The messages wait in the shop's database; the group "office" takes effect in the office's. */
    cdtx_consumer_options reader = {.size = sizeof reader,
                                    .in_local = 1,
                                    .local_db = office,
                                    .handler = write_letter,
                                    .in_order = 1,
                                    .backoff_min_ms = 50};
    ok = ok && !cdtx_topic_add(shop, "ordered", NULL, &err) &&
         !cdtx_consumer_add(shop, "ordered", "office", &reader, &err);
    for (int i = 0; i < 3; i++)
        ok = ok && !cdtx_local(shop, order, customers[i], &err);
    do
        ok = ok && !cdtx_run(engine, 50, &err) && !cdtx_local(shop, count, &orders, &err) &&
             !cdtx_local(office, count, &letters, &err);
    while (ok && letters.rows < orders.rows);
    if (ok)
        printf("%lld orders, %lld letters\n", (long long)orders.rows, (long long)letters.rows);
    else
        puts(err.text);
    cdtx_db_close(shop), cdtx_db_close(office);
    cdtx_close(engine);
    return ok && letters.rows == orders.rows ? 0 : 1;
}
