/* cdtx stats: how many of what there are, as the log and the databases tell it. */
#include <cdtx/msg.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "listing.h"
#include "session.h"

enum { TOLD_EVERY = 1000, TX_STATES = CDTX_TX_REVERSED + 1 };

/* ---- counting ---- */

/* Those that have not ended. */
struct tx_stats {
    int64_t by_state[TX_STATES];
    int64_t parked;
    int64_t oldest_ms; /* when the first of them began; 0: there is none */
};

/* The jobs of one handler. */
struct job_stats {
    const char *database;
    char handler[CDTX_NAME_MAX + 1];
    int64_t ready, leased, waiting, dead;
    int paused;
};

struct stats {
    struct tx_stats tx;
    cdtx_metrics gauges;
    int64_t cases, dead, paused, lag, halves;
    struct job_stats *jobs;
    uint32_t job_count;
};

struct tx_count {
    struct tx_stats *stats;
    struct progress *progress;
    int64_t done;
};

static int count_transaction(void *user, const cdtx_report *report) {
    struct tx_count *count = user;
    int64_t state = view_int(report, "state");
    count->stats->by_state[state > 0 && state < TX_STATES ? state : 0]++;
    count->stats->parked += view_text(report, "parked") != NULL;
    if (count->stats->oldest_ms == 0)
        count->stats->oldest_ms = view_int(report, "began_ms");
    if (++count->done % TOLD_EVERY == 0)
        progress_at(count->progress, count->done);
    return 0;
}

static int count_case(void *user, const cdtx_report *report) {
    (void)report;
    ++*(int64_t *)user;
    return 0;
}

static void add_handler(struct stats *stats, const char *database, const cdtx_report *report) {
    const char *handler = view_text(report, "handler");
    stats->jobs = status_memory(stats->jobs, (stats->job_count + 1) * sizeof *stats->jobs);
    struct job_stats *line = &stats->jobs[stats->job_count++];
    *line = (struct job_stats){.database = database,
                               .ready = view_int(report, "ready"),
                               .leased = view_int(report, "leased"),
                               .waiting = view_int(report, "waiting"),
                               .dead = view_int(report, "dead"),
                               .paused = cdtx_report_type(report, view_find(report, "paused_ms")) != CDTX_NULL};
    (void)snprintf(line->handler, sizeof line->handler, "%s", handler != NULL ? handler : "");
    stats->dead += line->dead;
    stats->paused += line->paused;
}

static int32_t count_jobs(struct stats *stats, const struct session_database *database, cdtx_error *err) {
    cdtx_report *report = NULL;
    int32_t rc = cdtx_handler_list(database->db, &report, err);
    while (rc == 0 && cdtx_report_next(report))
        add_handler(stats, database->name, report);
    cdtx_report_close(report);
    return rc;
}

/* Adds up one column of a question. */
static int32_t add_up(cdtx_db *db, question_fn question, const char *column, int64_t *sum, cdtx_error *err) {
    cdtx_report *report = NULL;
    int32_t rc = question(db, &report, err);
    while (rc == 0 && cdtx_report_next(report))
        *sum += view_int(report, column);
    cdtx_report_close(report);
    return rc;
}

static int32_t count_database(struct stats *stats, const struct options *options,
                              const struct session_database *database, cdtx_error *err) {
    struct pager open = {.ask = case_ask, .db = database->db, .options = options, .state = CDTX_CASE_OPEN};
    int32_t rc = pager_walk(&open, count_case, &stats->cases, NULL, err);
    if (rc == 0)
        rc = count_jobs(stats, database, err);
    if (rc == 0)
        rc = add_up(database->db, cdtx_group_list, "lag", &stats->lag, err);
    return rc != 0 ? rc : add_up(database->db, cdtx_topic_list, "halves", &stats->halves, err);
}

static int32_t count_all(struct stats *stats, const struct options *options, const struct session *session,
                         cdtx_error *err) {
    struct progress progress;
    struct pager pager = {.ask = tx_ask, .engine = session->engine, .options = options};
    struct tx_count count = {.stats = &stats->tx, .progress = &progress};
    stats->gauges = (cdtx_metrics){.size = sizeof stats->gauges, .ask = 1};
    int32_t rc = cdtx_metrics_read(session->engine, &stats->gauges, err);
    progress_start(&progress, "transactions", stats->gauges.log_open);
    if (rc == 0 && session_find(session, "log") != NULL)
        rc = pager_walk(&pager, count_transaction, &count, NULL, err);
    progress_end(&progress);
    for (uint32_t i = 0; rc == 0 && i < session->count; i++)
        rc = count_database(stats, options, &session->databases[i], err);
    return rc;
}

/* ---- telling ---- */

static int64_t sum(const int64_t *counts, int count) {
    int64_t total = 0;
    for (int i = 0; i < count; i++)
        total += counts[i];
    return total;
}

static struct json_object *json_jobs(const struct stats *stats) {
    struct json_object *array = json_new_array();
    for (uint32_t i = 0; i < stats->job_count; i++) {
        struct json_object *line = json_new_object();
        json_put_text(line, "database", stats->jobs[i].database);
        json_put_text(line, "handler", stats->jobs[i].handler);
        json_put_number(line, "READY", stats->jobs[i].ready);
        json_put_number(line, "LEASED", stats->jobs[i].leased);
        json_put_number(line, "WAITING", stats->jobs[i].waiting);
        json_put_number(line, "DEAD", stats->jobs[i].dead);
        json_put_truth(line, "paused", stats->jobs[i].paused);
        json_append(array, line);
    }
    return array;
}

/* Null when it is below 0: it could not be asked, or there is none. */
static void json_put_gauge(struct json_object *object, const char *key, int64_t gauge) {
    if (gauge < 0)
        json_put(object, key, NULL);
    else
        json_put_number(object, key, gauge);
}

static void print_json(const struct stats *stats, int has_log) {
    struct json_object *document = json_new_object();
    if (has_log) {
        struct json_object *tx = json_new_object();
        json_put_number(tx, "open", sum(stats->tx.by_state, TX_STATES));
        json_put_number(tx, "parked", stats->tx.parked);
        json_put_gauge(tx, "due", stats->gauges.log_due);
        for (int state = 1; state < TX_STATES; state++)
            if (state != CDTX_TX_COMMITTED && state != CDTX_TX_ROLLED_BACK && state != CDTX_TX_REVERSED)
                json_put_number(tx, view_state(LOOK_TX_STATE, state), stats->tx.by_state[state]);
        json_put_gauge(tx, "oldest_began_ms", stats->tx.oldest_ms == 0 ? -1 : stats->tx.oldest_ms);
        json_put(document, "transactions", tx);
    }
    json_put_number(document, "cases", stats->cases);
    json_put(document, "jobs", json_jobs(stats));
    json_put_gauge(document, "jobs_due", stats->gauges.jobs_due);
    json_put_number(document, "dead", stats->dead);
    json_put_number(document, "paused", stats->paused);
    json_put_number(document, "lag", stats->lag);
    json_put_number(document, "halves", stats->halves);
    json_print(document);
}

static void print_gauge(const char *before, int64_t gauge) {
    if (gauge < 0)
        (void)printf("%snot known\n", before);
    else
        (void)printf("%s%" PRId64 "\n", before, gauge);
}

static void print_log(const struct stats *stats) {
    int64_t open = sum(stats->tx.by_state, TX_STATES);
    const char *before = ": ";
    (void)printf("transactions not ended  %" PRId64, open);
    for (int state = 1; state < TX_STATES; state++)
        if (stats->tx.by_state[state] > 0) {
            (void)printf("%s%" PRId64 " %s", before, stats->tx.by_state[state], view_state(LOOK_TX_STATE, state));
            before = ", ";
        }
    (void)printf("\nparked                  %" PRId64 "\noldest began            ", stats->tx.parked);
    if (open == 0)
        (void)fputc('-', stdout);
    else
        view_write_ago(stdout, stats->tx.oldest_ms);
    print_gauge("\ndue now                 ", stats->gauges.log_due);
}

static void print_jobs(const struct stats *stats) {
    static const struct view_column columns[] = {
        {"database", "JOBS IN", LOOK_PLAIN},
        {"handler", "HANDLER", LOOK_PLAIN},
        {"ready", "READY", LOOK_PLAIN},
        {"leased", "LEASED", LOOK_PLAIN},
        {"waiting", "WAITING", LOOK_PLAIN},
        {"dead", "DEAD", LOOK_PLAIN},
        {NULL, NULL, LOOK_PLAIN},
    };
    const struct view view = {.columns = columns};
    struct table *table = table_new(&view);
    for (uint32_t i = 0; i < stats->job_count; i++) {
        const struct job_stats *line = &stats->jobs[i];
        const int64_t counts[] = {line->ready, line->leased, line->waiting, line->dead};
        char numbers[4][24];
        for (int n = 0; n < 4; n++)
            (void)snprintf(numbers[n], sizeof numbers[n], "%" PRId64, counts[n]);
        table_add_texts(
            table, (const char *[]){line->database, line->handler, numbers[0], numbers[1], numbers[2], numbers[3]}, 2);
    }
    table_print(table, "");
    table_free(table);
}

static void print_databases(const struct stats *stats) {
    (void)printf("open cases              %" PRId64 "\n", stats->cases);
    print_gauge("jobs due now            ", stats->gauges.jobs_due);
    (void)printf("dead letters            %" PRId64 "\n", stats->dead);
    (void)printf("paused handlers         %" PRId64 "\n", stats->paused);
    (void)printf("lag of all groups       %" PRId64 "\n", stats->lag);
    (void)printf("halves not resolved     %" PRId64 "\n", stats->halves);
}

enum status stats(const struct options *options, char **arguments) {
    struct session session;
    struct stats stats = {0};
    cdtx_error err;
    (void)arguments;
    enum status status = session_look(&session, options, 0);
    if (status == STATUS_DONE && count_all(&stats, options, &session, &err) != 0)
        status = status_failed(&err);
    else if (status == STATUS_DONE && options_have(options, OPT_JSON))
        print_json(&stats, session_find(&session, "log") != NULL);
    else if (status == STATUS_DONE) {
        if (session_find(&session, "log") != NULL)
            print_log(&stats);
        print_databases(&stats);
        print_jobs(&stats);
    }
    free(stats.jobs);
    session_close(&session);
    return status;
}
