/* "./later ann" takes an order of Ann's; the mail about it is sent later, by a job that the same transaction puts. The
 * mail server is down twice. Kill it when you like: "./later" alone goes on where that was. */
#include <cdtx/admin.h>
#include <cdtx/retry.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static int32_t order(cdtx_sql *sql, void *customer, cdtx_error *err) {
    int32_t rc = cdtx_sql_exec(sql, "CREATE TABLE IF NOT EXISTS orders (customer)", NULL, err);
    if (rc != 0)
        return rc;
    cdtx_sql_bind_text(sql, customer, strlen(customer));
    rc = cdtx_sql_exec(sql, "INSERT INTO orders VALUES (?)", NULL, err);
    return rc != 0 ? rc : cdtx_job_put(sql, "mail", customer, strlen(customer), NULL, NULL, err);
}

static int32_t mail(cdtx_work *work, void *user, cdtx_error *err) {
    size_t length;
    const char *customer = cdtx_work_payload(work, &length);
    unsigned attempt = cdtx_work_attempt(work), down = attempt < 3;
    (void)user;
    printf("attempt %u at the mail to %.*s: %s\n", attempt, (int)length, customer, down ? "no answer" : "sent");
    return down ? cdtx_error_set(err, CDTX_USER, "down") : 0; /* not 0: again, after a pause */
}

static int32_t report(cdtx_work *work, void *user, cdtx_error *err) {
    (void)work, (void)user, (void)err;
    return printf("the nightly report\n") < 0 ? CDTX_IO : 0;
}

static int waiting(cdtx_db *shop) {
    cdtx_job_filter filter = {.size = sizeof filter, .handler = "mail"};
    cdtx_report *jobs = NULL;
    int some = !cdtx_job_list(shop, &filter, &jobs, NULL) && cdtx_report_next(jobs);
    cdtx_report_close(jobs);
    return some;
}

int main(int argc, char **argv) {
    cdtx *engine = NULL;
    cdtx_db *shop = NULL;
    cdtx_error err;
    cdtx_options options = {.size = sizeof options};
    cdtx_handler_options mails = {.size = sizeof mails, .handler = mail, .backoff_min_ms = 200};
    cdtx_handler_options reports = {.size = sizeof reports, .handler = report};
    cdtx_cron_options nightly = {.size = sizeof nightly, .when = "30 2 * * mon-fri", .handler = "report"};
    int64_t slot_ms = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    int ok = !cdtx_open(&options, &engine, &err) && !cdtx_db_open(engine, "shop", "sqlite:later.db", &shop, &err) &&
             !cdtx_handler_add(shop, "mail", &mails, &err) && !cdtx_handler_add(shop, "report", &reports, &err) &&
             !cdtx_cron_add(shop, "nightly", &nightly, &err) && (argc < 2 || !cdtx_local(shop, order, argv[1], &err));
    while (ok && waiting(shop)) /* a service would just say cdtx_run(engine, -1, &err) */
        ok = !cdtx_run(engine, 100, &err);
    ok = ok && !cdtx_cron_next(engine, nightly.when, NULL, (int64_t)time(NULL) * 1000, &slot_ms, &err);
    printf("%s%s", ok ? "the next report: " : err.text, ok ? asctime(gmtime(&(time_t){slot_ms / 1000})) : "\n");
    cdtx_db_close(shop);
    cdtx_close(engine);
    return ok ? 0 : 1;
}
