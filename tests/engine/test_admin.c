/* Looking in and stepping in: the questions and actions of cdtx/admin.h, in virtual time. */
#include <cdtx/admin.h>

#include "lab.h"

static cdtx_test_env *world;
static cdtx *engine;
static int jammed, confirm_runs;

static int32_t on_try(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)sql, (void)call, (void)user, (void)err;
    return 0;
}

static int32_t on_confirm(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)sql, (void)call, (void)user;
    confirm_runs++;
    return jammed ? cdtx_error_set(err, CDTX_USER, "the printer is jammed") : 0;
}

static void open_shop(cdtx_options options) {
    options.env = cdtx_test_env_port(world);
    engine = lab_engine(options);
    cdtx_db *db = NULL;
    cdtx_tcc_handlers three = {.size = sizeof three, .on_try = on_try, .on_confirm = on_confirm, .on_cancel = on_try};
    OK(cdtx_db_open(engine, "stock", lab_url("stock.db"), &db, &E));
    OK(cdtx_tcc_add(db, "stock", &three, &E));
    cdtx_db_close(db);
}

static void make_shop(void) {
    jammed = confirm_runs = 0;
    OK(cdtx_test_env_new(&world, &E));
    open_shop((cdtx_options){0});
}

static void free_shop(void) {
    cdtx_close(engine);
    ck_assert_uint_eq(cdtx_test_env_bytes(world), 0);
    cdtx_test_env_free(world);
}

static const char *gid_text(cdtx_tx *tx) {
    static char buffers[8][64];
    static unsigned turn;
    char *buffer = buffers[turn++ % 8];
    snprintf(buffer, sizeof buffers[0], "%s", cdtx_tx_gid(tx));
    return buffer;
}

/* Runs one with that many branches; gives its gid. */
static const char *run_tx(const char *name, const char *key, uint32_t branches) {
    cdtx_tx_options options = {.size = sizeof options, .name = name, .key = key, .wait_for = CDTX_WAIT_DECIDED};
    cdtx_tx *tx = NULL;
    OK(cdtx_tx_new(engine, &options, &tx, &E));
    for (uint32_t i = 0; i < branches; i++)
        OK(cdtx_tx_add(tx, "stock", "payload", 7, &E));
    OK(cdtx_tx_run(tx, &E));
    const char *gid = gid_text(tx);
    cdtx_tx_close(tx);
    return gid;
}

static const char *stuck_tx(void) {
    jammed = 1;
    const char *gid = run_tx("order", "key-1", 2);
    OK(cdtx_run(engine, 50, &E));
    ck_assert_int_gt(confirm_runs, 0);
    return gid;
}

static int32_t state_of(const char *gid) {
    int32_t state = 0;
    OK(cdtx_tx_query(engine, gid, &state, &E));
    return state;
}

/* ---- reading reports ---- */

static uint32_t column(const cdtx_report *report, const char *name) {
    for (uint32_t i = 0; i < cdtx_report_columns(report); i++)
        if (strcmp(cdtx_report_name(report, i), name) == 0)
            return i;
    ck_abort_msg("no column '%s'", name);
    return 0;
}

static int64_t number(const cdtx_report *report, const char *name) {
    ck_assert_msg(cdtx_report_type(report, column(report, name)) == CDTX_INT, "%s is no integer", name);
    return cdtx_report_int(report, column(report, name));
}

static const char *text(const cdtx_report *report, const char *name) {
    const char *t = cdtx_report_text(report, column(report, name), NULL);
    return t == NULL ? "NULL" : t;
}

static int is_null(const cdtx_report *report, const char *name) {
    return cdtx_report_type(report, column(report, name)) == CDTX_NULL;
}

static void has_columns(const cdtx_report *report, const char *want) {
    char names[512] = "";
    for (uint32_t i = 0; i < cdtx_report_columns(report); i++) {
        strcat(names, i == 0 ? "" : " ");
        strcat(names, cdtx_report_name(report, i));
    }
    ck_assert_str_eq(names, want);
    ck_assert_ptr_null(cdtx_report_name(report, cdtx_report_columns(report)));
}

static uint32_t count(cdtx_report *report) {
    uint32_t n = 0;
    while (cdtx_report_next(report))
        n++;
    cdtx_report_close(report);
    return n;
}

static cdtx_report *list(cdtx_tx_filter filter) {
    cdtx_report *report = NULL;
    filter.size = sizeof filter;
    OK(cdtx_tx_list(engine, &filter, &report, &E));
    return report;
}

static cdtx_report *show(const char *gid) {
    cdtx_report *report = NULL;
    OK(cdtx_tx_show(engine, gid, &report, &E));
    ck_assert_int_eq(cdtx_report_next(report), 1);
    return report;
}

static cdtx_db *log_db(void) {
    cdtx_db *db = NULL;
    OK(cdtx_db_log(engine, &db, &E));
    return db;
}

/* The actions under a subject, oldest first, as "action/actor ...". */
static const char *audit_of(const char *subject) {
    static char lines[1024];
    cdtx_db *db = log_db();
    cdtx_report *report = NULL;
    cdtx_audit_filter filter = {.size = sizeof filter, .subject = subject};
    OK(cdtx_audit_list(db, &filter, &report, &E));
    has_columns(report, "id at_ms actor action subject reason hash");
    lines[0] = '\0';
    while (cdtx_report_next(report)) {
        strcat(lines, lines[0] == '\0' ? "" : " ");
        strcat(lines, text(report, "action"));
        strcat(lines, "/");
        strcat(lines, text(report, "actor"));
        ck_assert_uint_eq(strlen(text(report, "hash")), 64);
    }
    cdtx_report_close(report);
    cdtx_db_close(db);
    return lines;
}

static const char *about(const char *what, const char *gid) {
    static char subject[128];
    snprintf(subject, sizeof subject, "%s %s", what, gid);
    return subject;
}

/* ---- reports ---- */

START_TEST(a_report_reads_null_outside_its_rows) {
    make_shop();
    run_tx("one", NULL, 1);
    cdtx_report *report = list((cdtx_tx_filter){.state = CDTX_TX_COMMITTING});
    size_t length = 77;
    ck_assert_int_eq(cdtx_report_type(report, 0), CDTX_NULL);
    ck_assert_ptr_null(cdtx_report_text(report, 0, &length));
    ck_assert_uint_eq(length, 0);
    ck_assert_int_eq(cdtx_report_next(report), 1);
    ck_assert_int_eq(cdtx_report_type(report, 99), CDTX_NULL);
    ck_assert_int_eq(cdtx_report_int(report, 0), 0);
    ck_assert_int_eq(cdtx_report_next(report), 0);
    ck_assert_int_eq(cdtx_report_next(report), 0);
    ck_assert_int_eq(cdtx_report_type(report, 0), CDTX_NULL);
    cdtx_report_close(report);
    cdtx_report_close(NULL);
    ck_assert_int_eq(cdtx_report_next(NULL), 0);
    ck_assert_uint_eq(cdtx_report_columns(NULL), 0);
    ck_assert_ptr_null(cdtx_report_name(NULL, 0));
    ck_assert_int_eq(cdtx_report_type(NULL, 0), CDTX_NULL);
    ck_assert_int_eq(cdtx_report_int(NULL, 0), 0);
    ck_assert_ptr_null(cdtx_report_text(NULL, 0, NULL));
    free_shop();
}
END_TEST

START_TEST(a_report_outlives_its_engine) {
    make_shop();
    const char *gid = run_tx("one", NULL, 1);
    cdtx_report *report = show(gid);
    cdtx_close(engine);
    ck_assert_str_eq(text(report, "gid"), gid);
    cdtx_report_close(report);
    ck_assert_uint_eq(cdtx_test_env_bytes(world), 0);
    cdtx_test_env_free(world);
}
END_TEST

/* ---- questions about transactions ---- */

START_TEST(a_stuck_one_is_listed_and_shown) {
    make_shop();
    const char *gid = stuck_tx();
    cdtx_report *report = list((cdtx_tx_filter){0});
    has_columns(report, "gid state parked name key branches answered attempts began_ms due_in_ms error");
    ck_assert_int_eq(cdtx_report_next(report), 1);
    ck_assert_str_eq(text(report, "gid"), gid);
    ck_assert_int_eq(number(report, "state"), CDTX_TX_COMMITTING);
    ck_assert(is_null(report, "parked"));
    ck_assert_str_eq(text(report, "name"), "order");
    ck_assert_str_eq(text(report, "key"), "key-1");
    ck_assert_int_eq(number(report, "branches"), 2);
    ck_assert_int_eq(number(report, "answered"), 0);
    ck_assert_int_ge(number(report, "attempts"), 1);
    ck_assert_int_ge(number(report, "due_in_ms"), 0);
    ck_assert_uint_eq(count(report), 0);

    report = show(gid);
    has_columns(report, "gid state parked name key branches answered attempts began_ms due_in_ms error reason epoch"
                        " reverse_after noes ended_ago_ms");
    ck_assert(is_null(report, "reason"));
    ck_assert_int_ge(number(report, "epoch"), 2);
    ck_assert(is_null(report, "ended_ago_ms"));
    cdtx_report_close(report);
    free_shop();
}
END_TEST

START_TEST(branches_show_their_guards) {
    make_shop();
    const char *gid = stuck_tx();
    cdtx_report *report = NULL;
    OK(cdtx_tx_branches(engine, gid, &report, &E));
    has_columns(report, "branch participant answered payload database guard");
    for (int64_t i = 0; i < 2; i++) {
        size_t length = 0;
        ck_assert_int_eq(cdtx_report_next(report), 1);
        ck_assert_int_eq(number(report, "branch"), i);
        ck_assert_str_eq(text(report, "participant"), "stock");
        ck_assert_int_eq(number(report, "answered"), 0);
        ck_assert_int_eq(cdtx_report_type(report, 3), CDTX_BLOB);
        ck_assert_str_eq(cdtx_report_text(report, 3, &length), "payload");
        ck_assert_uint_eq(length, 7);
        ck_assert_str_eq(text(report, "database"), "stock");
        ck_assert_str_eq(text(report, "guard"), "TRIED");
    }
    ck_assert_uint_eq(count(report), 0);
    free_shop();
}
END_TEST

START_TEST(an_ended_one_says_why_and_when) {
    make_shop();
    cdtx_tx *tx = NULL;
    OK(cdtx_tx_new(engine, NULL, &tx, &E));
    OK(cdtx_tx_begin(tx, &E));
    const char *gid = gid_text(tx);
    OK(cdtx_tx_rollback(tx, &E));
    cdtx_tx_close(tx);
    OK(cdtx_drain(engine, 10000, &E));
    cdtx_report *report = show(gid);
    ck_assert_int_eq(number(report, "state"), CDTX_TX_ROLLED_BACK);
    ck_assert_str_eq(text(report, "reason"), "asked");
    ck_assert(is_null(report, "due_in_ms"));
    cdtx_report_close(report);
    free_shop();
}
END_TEST

START_TEST(a_list_is_filtered) {
    make_shop();
    for (int i = 0; i < 3; i++)
        run_tx("early", NULL, 1);
    OK(cdtx_drain(engine, 10000, &E));
    cdtx_test_env_advance(world, 60000);
    jammed = 1;
    const char *first = run_tx("late", NULL, 1);
    run_tx("other", NULL, 1);
    run_tx("late", NULL, 1);
    ck_assert_uint_eq(count(list((cdtx_tx_filter){0})), 3);
    ck_assert_uint_eq(count(list((cdtx_tx_filter){.name = "late"})), 2);
    ck_assert_uint_eq(count(list((cdtx_tx_filter){.limit = 1})), 1);
    ck_assert_uint_eq(count(list((cdtx_tx_filter){.after = first})), 2);
    ck_assert_uint_eq(count(list((cdtx_tx_filter){.state = CDTX_TX_COMMITTED})), 3);
    ck_assert_uint_eq(count(list((cdtx_tx_filter){.state = CDTX_TX_COMMITTED, .older_ms = 30000})), 3);
    ck_assert_uint_eq(count(list((cdtx_tx_filter){.older_ms = 30000})), 0);
    ck_assert_uint_eq(count(list((cdtx_tx_filter){.parked = 1})), 0);
    OK(cdtx_tx_park(engine, first, "ann", "waiting for the supplier", &E));
    ck_assert_uint_eq(count(list((cdtx_tx_filter){.parked = 1})), 1);
    ck_assert_uint_eq(count(list((cdtx_tx_filter){.parked = 1, .name = "other"})), 0);
    ck_assert_uint_eq(count(list((cdtx_tx_filter){0})), 3);
    free_shop();
}
END_TEST

START_TEST(a_long_list_comes_in_pages) {
    make_shop();
    jammed = 1;
    char after[64] = "";
    uint32_t seen = 0;
    for (int i = 0; i < 230; i++)
        run_tx("many", NULL, 1);
    for (uint32_t got = 1; got > 0;) {
        cdtx_report *report = list((cdtx_tx_filter){.limit = 110, .after = after[0] == '\0' ? NULL : after});
        for (got = 0; cdtx_report_next(report); got++)
            snprintf(after, sizeof after, "%s", text(report, "gid"));
        cdtx_report_close(report);
        seen += got;
    }
    ck_assert_uint_eq(seen, 230);
    ck_assert_uint_eq(count(list((cdtx_tx_filter){.limit = 10000})), 230);
    free_shop();
}
END_TEST

START_TEST(bad_filters_are_refused) {
    make_shop();
    cdtx_report *report = NULL;
    cdtx_tx_filter small = {.size = 4}, f = {.size = sizeof f};
    FAILS(CDTX_INVALID, "cdtx_tx_filter", cdtx_tx_list(engine, &small, &report, &E));
    f.limit = 10001;
    FAILS(CDTX_INVALID, "10000", cdtx_tx_list(engine, &f, &report, &E));
    f = (cdtx_tx_filter){.size = sizeof f, .state = 8};
    FAILS(CDTX_INVALID, "state 8", cdtx_tx_list(engine, &f, &report, &E));
    f = (cdtx_tx_filter){.size = sizeof f, .parked = 2};
    FAILS(CDTX_INVALID, "parked", cdtx_tx_list(engine, &f, &report, &E));
    f = (cdtx_tx_filter){.size = sizeof f, .older_ms = -1};
    FAILS(CDTX_INVALID, "older_ms", cdtx_tx_list(engine, &f, &report, &E));
    f = (cdtx_tx_filter){.size = sizeof f, .name = "a\nb"};
    FAILS(CDTX_INVALID, "control", cdtx_tx_list(engine, &f, &report, &E));
    f = (cdtx_tx_filter){.size = sizeof f, .after = "no gid"};
    FAILS(CDTX_INVALID, "no gid", cdtx_tx_list(engine, &f, &report, &E));
    FAILS(CDTX_INVALID, "report", cdtx_tx_list(engine, NULL, NULL, &E));
    ck_assert_ptr_null(report);
    free_shop();
}
END_TEST

/* ---- actions on transactions ---- */

static const char *other_log(const char *gid) {
    static char other[64];
    snprintf(other, sizeof other, "%s", gid);
    other[0] = other[0] == '0' ? '1' : '0';
    return other;
}

static const char *never_begun(const char *gid) {
    static char other[64];
    snprintf(other, sizeof other, "%.32s-999999", gid);
    return other;
}

START_TEST(questions_name_what_they_do_not_find) {
    make_shop();
    const char *gid = run_tx("one", NULL, 1);
    cdtx_report *report = NULL;
    FAILS(CDTX_NOT_FOUND, "999999", cdtx_tx_show(engine, never_begun(gid), &report, &E));
    FAILS(CDTX_INVALID, "another log", cdtx_tx_show(engine, other_log(gid), &report, &E));
    FAILS(CDTX_INVALID, "NULL", cdtx_tx_show(engine, NULL, &report, &E));
    FAILS(CDTX_INVALID, "report", cdtx_tx_show(engine, gid, NULL, &E));
    FAILS(CDTX_NOT_FOUND, "999999", cdtx_tx_branches(engine, never_begun(gid), &report, &E));
    FAILS(CDTX_INVALID, "another log", cdtx_tx_branches(engine, other_log(gid), &report, &E));
    FAILS(CDTX_INVALID, "report", cdtx_tx_branches(engine, gid, NULL, &E));
    OK(cdtx_drain(engine, 10000, &E));
    lab_sql("log.db", "DELETE FROM cdtx_tx");
    FAILS(CDTX_EXPIRED, "no longer kept", cdtx_tx_show(engine, gid, &report, &E));
    FAILS(CDTX_EXPIRED, "no longer kept", cdtx_tx_branches(engine, gid, &report, &E));
    FAILS(CDTX_EXPIRED, "no longer kept", cdtx_tx_retry(engine, gid, "ann", "again", &E));
    ck_assert_ptr_null(report);
    free_shop();
}
END_TEST

START_TEST(retry_looks_again_at_once) {
    make_shop();
    const char *gid = stuck_tx();
    OK(cdtx_tx_park(engine, gid, "ann", "the printer", &E));
    OK(cdtx_run(engine, 100, &E));
    int before = confirm_runs;
    jammed = 0;
    OK(cdtx_tx_retry(engine, gid, "bob", "the printer is repaired", &E));
    OK(cdtx_run(engine, 100, &E));
    ck_assert_int_gt(confirm_runs, before);
    ck_assert_int_eq(state_of(gid), CDTX_TX_COMMITTED);
    ck_assert_str_eq(audit_of(about("tx", gid)), "park/ann case-open/ann retry/bob case-close/cdtx");
    free_shop();
}
END_TEST

START_TEST(parked_is_quiet_and_a_case_and_unpark_ends_both) {
    make_shop();
    cdtx_db *db = log_db();
    const char *gid = stuck_tx();
    OK(cdtx_tx_park(engine, gid, "ann", "waiting for the supplier", &E));
    OK(cdtx_run(engine, 0, &E)); /* what was under way when it was parked */
    OK(cdtx_run(engine, 3000, &E));
    int before = confirm_runs;
    OK(cdtx_run(engine, 300000, &E));
    ck_assert_int_eq(confirm_runs, before);
    cdtx_report *report = show(gid);
    ck_assert_str_eq(text(report, "parked"), "waiting for the supplier");
    ck_assert_int_eq(number(report, "state"), CDTX_TX_COMMITTING);
    cdtx_report_close(report);

    OK(cdtx_case_list(db, NULL, &report, &E));
    has_columns(report, "id state kind subject reason assignee opened_ms closed_ms");
    ck_assert_int_eq(cdtx_report_next(report), 1);
    ck_assert_int_eq(number(report, "id"), 1);
    ck_assert_int_eq(number(report, "state"), CDTX_CASE_OPEN);
    ck_assert_str_eq(text(report, "kind"), "tx");
    ck_assert_str_eq(text(report, "subject"), gid);
    ck_assert_str_eq(text(report, "reason"), "waiting for the supplier");
    ck_assert(is_null(report, "assignee"));
    ck_assert(is_null(report, "closed_ms"));
    ck_assert_uint_eq(count(report), 0);

    jammed = 0;
    OK(cdtx_tx_unpark(engine, gid, "bob", "the supplier is back", &E));
    OK(cdtx_run(engine, 100, &E));
    ck_assert_int_eq(state_of(gid), CDTX_TX_COMMITTED);
    OK(cdtx_case_show(db, 1, &report, &E));
    has_columns(report, "id state kind subject reason assignee opened_ms closed_ms evidence");
    ck_assert_int_eq(cdtx_report_next(report), 1);
    ck_assert_int_eq(number(report, "state"), CDTX_CASE_CLOSED);
    ck_assert(!is_null(report, "closed_ms"));
    ck_assert_msg(strstr(text(report, "evidence"), "COMMITTING") != NULL, "%s", text(report, "evidence"));
    cdtx_report_close(report);
    ck_assert_str_eq(audit_of(about("tx", gid)), "park/ann case-open/ann unpark/bob case-close/bob");
    cdtx_db_close(db);
    free_shop();
}
END_TEST

START_TEST(unpark_gives_all_its_attempts_again) {
    OK(cdtx_test_env_new(&world, &E));
    jammed = 1;
    confirm_runs = 0;
    open_shop((cdtx_options){.park_attempts = 4});
    cdtx_db *db = log_db();
    const char *gid = run_tx("order", NULL, 1);
    OK(cdtx_run(engine, 100000, &E));
    ck_assert_int_eq(confirm_runs, 4);
    ck_assert_uint_eq(count(list((cdtx_tx_filter){.parked = 1})), 1);
    OK(cdtx_tx_unpark(engine, gid, "bob", "the printer is repaired", &E));
    OK(cdtx_run(engine, 100000, &E));
    ck_assert_int_eq(confirm_runs, 4 + 3); /* the first was made when it was decided */
    ck_assert_uint_eq(count(list((cdtx_tx_filter){.parked = 1})), 1);
    ck_assert_str_eq(audit_of(about("tx", gid)), "case-open/cdtx unpark/bob case-close/bob case-open/cdtx");
    cdtx_report *report = NULL;
    OK(cdtx_case_show(db, 2, &report, &E));
    ck_assert_int_eq(cdtx_report_next(report), 1);
    ck_assert_msg(strstr(text(report, "evidence"), "jammed") != NULL, "%s", text(report, "evidence"));
    cdtx_report_close(report);
    cdtx_db_close(db);
    free_shop();
}
END_TEST

START_TEST(resolve_ends_it_as_decided) {
    make_shop();
    cdtx_db *db = log_db();
    const char *gid = stuck_tx();
    FAILS(CDTX_MISUSE, "not parked", cdtx_tx_resolve(engine, gid, "ann", "done by hand", &E));
    OK(cdtx_tx_park(engine, gid, "ann", "waiting", &E));
    FAILS(CDTX_MISUSE, "parked already", cdtx_tx_park(engine, gid, "ann", "waiting", &E));
    OK(cdtx_tx_resolve(engine, gid, "ann", "done by hand", &E));
    int before = confirm_runs;
    ck_assert_int_eq(state_of(gid), CDTX_TX_COMMITTED);
    OK(cdtx_run(engine, 2000000, &E));
    ck_assert_int_eq(confirm_runs, before);
    cdtx_report *report = show(gid);
    ck_assert(is_null(report, "parked"));
    ck_assert(is_null(report, "due_in_ms"));
    ck_assert_int_ge(number(report, "ended_ago_ms"), 2000000);
    cdtx_report_close(report);
    OK(cdtx_case_list(db, NULL, &report, &E));
    ck_assert_uint_eq(count(report), 0);
    FAILS(CDTX_MISUSE, "ended already", cdtx_tx_resolve(engine, gid, "ann", "again", &E));
    ck_assert_str_eq(audit_of(about("tx", gid)), "park/ann case-open/ann resolve/ann case-close/ann");
    cdtx_db_close(db);
    free_shop();
}
END_TEST

START_TEST(an_attempt_under_way_is_taken_over) {
    make_shop();
    const char *gid = stuck_tx();
    cdtx_report *report = show(gid);
    int64_t epoch = number(report, "epoch");
    cdtx_report_close(report);
    OK(cdtx_tx_park(engine, gid, "ann", "first", &E));
    OK(cdtx_tx_resolve(engine, gid, "ann", "second", &E));
    report = show(gid);
    ck_assert_int_eq(number(report, "epoch"), epoch + 2);
    cdtx_report_close(report);
    jammed = 0;
    OK(cdtx_run(engine, 60000, &E)); /* whoever drove it comes too late to write */
    report = show(gid);
    ck_assert_int_eq(number(report, "epoch"), epoch + 2);
    ck_assert_int_eq(number(report, "state"), CDTX_TX_COMMITTED);
    cdtx_report_close(report);
    free_shop();
}
END_TEST

typedef int32_t (*action)(cdtx *, const char *, const char *, const char *, cdtx_error *);
static const action actions[] = {cdtx_tx_retry, cdtx_tx_park, cdtx_tx_unpark, cdtx_tx_resolve};

START_TEST(actions_refuse_what_they_may_not_touch) {
    char long_reason[1002];
    memset(long_reason, 'x', sizeof long_reason - 1);
    long_reason[sizeof long_reason - 1] = '\0';
    make_shop();
    action act = actions[_i];
    const char *ended = run_tx("ended", NULL, 1);
    OK(cdtx_drain(engine, 10000, &E));
    cdtx_tx *tx = NULL;
    OK(cdtx_tx_new(engine, NULL, &tx, &E));
    OK(cdtx_tx_begin(tx, &E));
    FAILS(CDTX_MISUSE, "undecided", act(engine, cdtx_tx_gid(tx), "ann", "why", &E));
    FAILS(CDTX_MISUSE, "ended", act(engine, ended, "ann", "why", &E));
    FAILS(CDTX_NOT_FOUND, "999999", act(engine, never_begun(ended), "ann", "why", &E));
    FAILS(CDTX_INVALID, "another log", act(engine, other_log(ended), "ann", "why", &E));
    FAILS(CDTX_INVALID, "'x' is no gid", act(engine, "x", "ann", "why", &E));
    FAILS(CDTX_INVALID, "gid is NULL", act(engine, NULL, "ann", "why", &E));
    FAILS(CDTX_INVALID, "actor", act(engine, ended, NULL, "why", &E));
    FAILS(CDTX_INVALID, "actor", act(engine, ended, "", "why", &E));
    FAILS(CDTX_INVALID, "actor has a control", act(engine, ended, "a\x07", "why", &E));
    FAILS(CDTX_INVALID, "reason is empty", act(engine, ended, "ann", NULL, &E));
    FAILS(CDTX_INVALID, "reason is empty", act(engine, ended, "ann", "", &E));
    FAILS(CDTX_INVALID, "reason is longer", act(engine, ended, "ann", long_reason, &E));
    FAILS(CDTX_INVALID, "not UTF-8", act(engine, ended, "ann", "\xff", &E));
    FAILS(CDTX_MISUSE, "engine is NULL", act(NULL, ended, "ann", "why", &E));
    ck_assert_str_eq(audit_of(NULL), "");
    OK(cdtx_tx_rollback(tx, &E));
    cdtx_tx_close(tx);
    free_shop();
}
END_TEST

/* ---- without a log, or from inside ---- */

static int32_t ask_inside(cdtx_sql *sql, void *user, cdtx_error *err) {
    cdtx_report *report = NULL;
    (void)sql;
    FAILS(CDTX_MISUSE, "inside a local transaction", cdtx_tx_list(engine, NULL, &report, &E));
    FAILS(CDTX_MISUSE, "inside a local transaction", cdtx_case_show(user, 1, &report, &E));
    return cdtx_error_set(err, CDTX_USER, "asked");
}

START_TEST(questions_need_a_log_and_no_closure) {
    cdtx_report *report = NULL;
    make_shop();
    cdtx_db *db = log_db();
    FAILS(CDTX_USER, "asked", cdtx_local(db, ask_inside, db, &E));
    cdtx_close(engine);
    FAILS(CDTX_MISUSE, "closed", cdtx_job_list(db, NULL, &report, &E));
    FAILS(CDTX_MISUSE, "closed", cdtx_case_list(db, NULL, &report, &E));
    cdtx_db_close(db);
    cdtx_options options = {.size = sizeof options, .env = cdtx_test_env_port(world)};
    OK(cdtx_open(&options, &engine, &E));
    FAILS(CDTX_MISUSE, "without a log", cdtx_tx_list(engine, NULL, &report, &E));
    FAILS(CDTX_MISUSE, "without a log", cdtx_tx_show(engine, "x", &report, &E));
    FAILS(CDTX_MISUSE, "without a log", cdtx_tx_branches(engine, "x", &report, &E));
    FAILS(CDTX_MISUSE, "without a log", cdtx_tx_park(engine, "x", "ann", "why", &E));
    free_shop();
}
END_TEST

/* ---- cases ---- */

START_TEST(a_case_is_noted_and_assigned_until_it_is_closed) {
    make_shop();
    cdtx_db *db = log_db();
    const char *gid = stuck_tx();
    cdtx_report *report = NULL;
    OK(cdtx_tx_park(engine, gid, "ann", "waiting", &E));
    OK(cdtx_case_assign(db, 1, "bob", "ann", "he knows the supplier", &E));
    OK(cdtx_case_note(db, 1, "bob", "called them: tomorrow", &E));
    OK(cdtx_case_show(db, 1, &report, &E));
    ck_assert_int_eq(cdtx_report_next(report), 1);
    ck_assert_str_eq(text(report, "assignee"), "bob");
    cdtx_report_close(report);
    ck_assert_str_eq(audit_of("case 1"), "assign/ann note/bob");
    OK(cdtx_tx_resolve(engine, gid, "bob", "done", &E));
    FAILS(CDTX_CONFLICT, "closed", cdtx_case_assign(db, 1, "ann", "bob", "again", &E));
    OK(cdtx_case_note(db, 1, "bob", "for the record", &E));
    cdtx_case_filter closed = {.size = sizeof closed, .state = CDTX_CASE_CLOSED};
    OK(cdtx_case_list(db, &closed, &report, &E));
    ck_assert_uint_eq(count(report), 1);
    closed.after = 1;
    OK(cdtx_case_list(db, &closed, &report, &E));
    ck_assert_uint_eq(count(report), 0);
    cdtx_db_close(db);
    free_shop();
}
END_TEST

START_TEST(case_calls_refuse_bad_input) {
    make_shop();
    cdtx_db *db = log_db();
    cdtx_report *report = NULL;
    cdtx_case_filter f = {.size = sizeof f, .state = 3};
    FAILS(CDTX_INVALID, "state 3", cdtx_case_list(db, &f, &report, &E));
    f = (cdtx_case_filter){.size = sizeof f, .limit = 10001};
    FAILS(CDTX_INVALID, "limit", cdtx_case_list(db, &f, &report, &E));
    FAILS(CDTX_INVALID, "report", cdtx_case_list(db, NULL, NULL, &E));
    FAILS(CDTX_NOT_FOUND, "case 9", cdtx_case_show(db, 9, &report, &E));
    FAILS(CDTX_NOT_FOUND, "case 9", cdtx_case_note(db, 9, "ann", "note", &E));
    FAILS(CDTX_NOT_FOUND, "case 9", cdtx_case_assign(db, 9, "bob", "ann", "why", &E));
    FAILS(CDTX_INVALID, "assignee", cdtx_case_assign(db, 9, NULL, "ann", "why", &E));
    FAILS(CDTX_INVALID, "actor", cdtx_case_assign(db, 9, "bob", "", "why", &E));
    FAILS(CDTX_INVALID, "reason", cdtx_case_assign(db, 9, "bob", "ann", "", &E));
    FAILS(CDTX_INVALID, "note", cdtx_case_note(db, 9, "ann", NULL, &E));
    FAILS(CDTX_INVALID, "actor", cdtx_case_note(db, 9, NULL, "note", &E));
    FAILS(CDTX_MISUSE, "database is NULL", cdtx_case_list(NULL, NULL, &report, &E));
    FAILS(CDTX_MISUSE, "database is NULL", cdtx_case_show(NULL, 1, &report, &E));
    FAILS(CDTX_MISUSE, "database is NULL", cdtx_case_note(NULL, 1, "ann", "note", &E));
    FAILS(CDTX_MISUSE, "database is NULL", cdtx_case_assign(NULL, 1, "bob", "ann", "why", &E));
    ck_assert_str_eq(audit_of(NULL), "");
    cdtx_db_close(db);
    free_shop();
}
END_TEST

/* As a half message leaves one in the database of its queue. */
START_TEST(each_database_has_its_own_cases) {
    make_shop();
    cdtx_db *db = log_db(), *queue = NULL;
    cdtx_report *report = NULL;
    OK(cdtx_tx_park(engine, stuck_tx(), "ann", "waiting", &E));
    OK(cdtx_db_open(engine, "queue", lab_url("queue.db"), &queue, &E));
    lab_sql("queue.db", "INSERT INTO cdtx_case (state, kind, subject, reason, evidence, opened_ms)"
                        " VALUES (1, 'half', 'h-1', 'no answer', 'topic orders', 7), (1, 'half', 'h-2', '', '', 8)");
    OK(cdtx_case_list(db, NULL, &report, &E));
    ck_assert_uint_eq(count(report), 1);
    OK(cdtx_case_list(queue, NULL, &report, &E));
    ck_assert_uint_eq(count(report), 2);
    OK(cdtx_case_assign(queue, 1, "bob", "ann", "his topic", &E));
    OK(cdtx_case_note(queue, 1, "bob", "asked the shop", &E));
    OK(cdtx_case_show(queue, 1, &report, &E));
    ck_assert_int_eq(cdtx_report_next(report), 1);
    ck_assert_str_eq(text(report, "kind"), "half");
    ck_assert_str_eq(text(report, "subject"), "h-1");
    ck_assert_str_eq(text(report, "assignee"), "bob");
    ck_assert_str_eq(text(report, "evidence"), "topic orders");
    cdtx_report_close(report);
    FAILS(CDTX_NOT_FOUND, "case 2", cdtx_case_show(db, 2, &report, &E));
    ck_assert_int_eq(lab_sql("queue.db", "SELECT count(*) FROM cdtx_audit WHERE subject = 'case 1'"), 2);
    ck_assert_int_eq(lab_sql("log.db", "SELECT count(*) FROM cdtx_audit WHERE subject = 'case 1'"), 0);
    cdtx_db_close(queue);
    cdtx_db_close(db);
    free_shop();
}
END_TEST

/* ---- jobs ---- */

static int64_t put_job(cdtx_db *db, const char *handler, cdtx_job_options options) {
    cdtx_sql *sql = NULL;
    int64_t id = 0;
    options.size = sizeof options;
    OK(cdtx_sql_begin(db, &sql, &E));
    OK(cdtx_job_put(sql, handler, "12345", 5, &options, &id, &E));
    OK(cdtx_sql_commit(sql, &E));
    cdtx_sql_close(sql);
    return id;
}

START_TEST(jobs_are_listed_and_shown) {
    make_shop();
    cdtx_db *db = log_db();
    cdtx_report *report = NULL;
    int64_t first = put_job(db, "mail", (cdtx_job_options){.delay_ms = 5000, .unique_key = "u", .priority = 3});
    const cdtx_env *env = cdtx_test_env_port(world);
    put_job(db, "print", (cdtx_job_options){.at_ms = env->wall_us(env->user) / 1000 + 7000, .concurrency_key = "c"});
    OK(cdtx_job_list(db, NULL, &report, &E));
    has_columns(report,
                "id handler queue state priority attempts crashes due_in_ms unique_key concurrency_key error age_ms");
    ck_assert_int_eq(cdtx_report_next(report), 1);
    ck_assert_int_eq(number(report, "id"), first);
    ck_assert_str_eq(text(report, "handler"), "mail");
    ck_assert_str_eq(text(report, "queue"), "default");
    ck_assert_int_eq(number(report, "state"), CDTX_JOB_READY);
    ck_assert_int_eq(number(report, "priority"), 3);
    ck_assert_int_eq(number(report, "due_in_ms"), 5000);
    ck_assert_str_eq(text(report, "unique_key"), "u");
    ck_assert(is_null(report, "concurrency_key"));
    ck_assert_int_eq(cdtx_report_next(report), 1);
    ck_assert_int_eq(number(report, "due_in_ms"), 7000);
    ck_assert_str_eq(text(report, "concurrency_key"), "c");
    ck_assert_uint_eq(count(report), 0);
    cdtx_job_filter f = {.size = sizeof f, .handler = "print"};
    OK(cdtx_job_list(db, &f, &report, &E));
    ck_assert_uint_eq(count(report), 1);
    f = (cdtx_job_filter){.size = sizeof f, .after = first};
    OK(cdtx_job_list(db, &f, &report, &E));
    ck_assert_uint_eq(count(report), 1);
    f = (cdtx_job_filter){.size = sizeof f, .state = CDTX_JOB_DEAD};
    OK(cdtx_job_list(db, &f, &report, &E));
    ck_assert_uint_eq(count(report), 0);
    f = (cdtx_job_filter){.size = sizeof f, .limit = 1};
    OK(cdtx_job_list(db, &f, &report, &E));
    ck_assert_uint_eq(count(report), 1);

    OK(cdtx_job_show(db, first, &report, &E));
    has_columns(report,
                "id handler queue state priority attempts crashes due_in_ms unique_key concurrency_key error age_ms"
                " token payload deadline_in_ms");
    ck_assert_int_eq(cdtx_report_next(report), 1);
    ck_assert_int_eq(number(report, "token"), 0);
    ck_assert_str_eq(text(report, "payload"), "12345");
    cdtx_report_close(report);
    cdtx_db_close(db);
    free_shop();
}
END_TEST

static int job_runs;

static int32_t refuse(cdtx_work *work, void *user, cdtx_error *err) {
    (void)work;
    job_runs++;
    return *(int *)user ? cdtx_error_set(err, CDTX_REFUSED, "no such address") : 0;
}

START_TEST(a_dead_job_is_retried) {
    make_shop();
    cdtx_db *db = log_db();
    cdtx_report *report = NULL;
    int refusing = 1;
    job_runs = 0;
    cdtx_handler_options o = {.size = sizeof o, .handler = refuse, .user = &refusing};
    OK(cdtx_handler_add(db, "mail", &o, &E));
    int64_t id = put_job(db, "mail", (cdtx_job_options){.unique_key = "u"});
    OK(cdtx_run(engine, 100, &E));
    ck_assert_int_eq(job_runs, 1);
    OK(cdtx_job_show(db, id, &report, &E));
    ck_assert_int_eq(cdtx_report_next(report), 1);
    ck_assert_int_eq(number(report, "state"), CDTX_JOB_DEAD);
    ck_assert(is_null(report, "due_in_ms"));
    ck_assert_str_eq(text(report, "error"), "no such address");
    cdtx_report_close(report);

    int64_t live = put_job(db, "mail", (cdtx_job_options){.unique_key = "u", .delay_ms = 1000});
    FAILS(CDTX_CONFLICT, "unique key", cdtx_job_retry(db, id, "ann", "the address exists now", &E));
    OK(cdtx_job_cancel(db, live, "ann", "put twice", &E));
    refusing = 0;
    OK(cdtx_job_retry(db, id, "ann", "the address exists now", &E));
    OK(cdtx_run(engine, 100, &E));
    ck_assert_int_eq(job_runs, 2);
    FAILS(CDTX_NOT_FOUND, "done or cancelled", cdtx_job_show(db, id, &report, &E));
    ck_assert_str_eq(audit_of(NULL), "cancel/ann retry/ann");
    cdtx_db_close(db);
    free_shop();
}
END_TEST

START_TEST(a_cancelled_job_never_runs) {
    make_shop();
    cdtx_db *db = log_db();
    int refusing = 0;
    job_runs = 0;
    cdtx_handler_options o = {.size = sizeof o, .handler = refuse, .user = &refusing};
    OK(cdtx_handler_add(db, "mail", &o, &E));
    int64_t id = put_job(db, "mail", (cdtx_job_options){.delay_ms = 1000});
    OK(cdtx_job_cancel(db, id, "ann", "not wanted", &E));
    OK(cdtx_run(engine, 10000, &E));
    ck_assert_int_eq(job_runs, 0);
    char subject[32];
    snprintf(subject, sizeof subject, "job %lld", (long long)id);
    cdtx_report *report = NULL;
    cdtx_audit_filter filter = {.size = sizeof filter, .subject = subject};
    OK(cdtx_audit_list(db, &filter, &report, &E));
    ck_assert_int_eq(cdtx_report_next(report), 1);
    ck_assert_str_eq(text(report, "reason"), "of 'mail', ready, payload 5 bytes: not wanted");
    cdtx_report_close(report);
    cdtx_db_close(db);
    free_shop();
}
END_TEST

/* The second waits for the first of its unique key, the third, which is due, for the first of its concurrency key. */
START_TEST(who_waits_for_a_key_is_due_by_its_own_clock) {
    make_shop();
    cdtx_db *db = log_db();
    const cdtx_env *env = cdtx_test_env_port(world);
    int64_t now = env->wall_us(env->user) / 1000;
    cdtx_handler_options o = {.size = sizeof o};
    OK(cdtx_handler_add(db, "mail", &o, &E));
    put_job(db, "mail", (cdtx_job_options){.unique_key = "u", .concurrency_key = "c"});
    cdtx_work *work = NULL;
    OK(cdtx_take(engine, 0, &work, &E));
    ck_assert_ptr_nonnull(work);
    cdtx_job_options behind = {.unique_key = "u", .unique_policy = CDTX_UNIQUE_REPLACE, .at_ms = now + 7000};
    int64_t next = put_job(db, "mail", behind);
    int64_t waiting = put_job(db, "mail", (cdtx_job_options){.concurrency_key = "c", .at_ms = now - 7000});
    cdtx_work *other = NULL;
    OK(cdtx_take(engine, 100, &other, &E));
    ck_assert_ptr_null(other);
    cdtx_report *report = NULL;
    OK(cdtx_job_show(db, next, &report, &E));
    ck_assert_int_eq(cdtx_report_next(report), 1);
    ck_assert_int_eq(number(report, "state"), CDTX_JOB_NEXT);
    ck_assert_int_gt(number(report, "due_in_ms"), 6000);
    ck_assert_int_le(number(report, "due_in_ms"), 7000);
    cdtx_report_close(report);
    OK(cdtx_job_show(db, waiting, &report, &E));
    ck_assert_int_eq(cdtx_report_next(report), 1);
    ck_assert_int_eq(number(report, "state"), CDTX_JOB_WAITING);
    ck_assert_int_eq(number(report, "due_in_ms"), 0);
    cdtx_report_close(report);
    OK(cdtx_job_cancel(db, waiting, "ann", "not wanted", &E));
    OK(cdtx_audit_list(db, NULL, &report, &E));
    ck_assert_int_eq(cdtx_report_next(report), 1);
    ck_assert_str_eq(text(report, "reason"), "of 'mail', waiting, payload 5 bytes: not wanted");
    cdtx_report_close(report);
    OK(cdtx_settle(work, 0, NULL, &E));
    cdtx_db_close(db);
    free_shop();
}
END_TEST

START_TEST(a_leased_job_is_left_to_its_holder) {
    make_shop();
    cdtx_db *db = log_db();
    cdtx_handler_options o = {.size = sizeof o};
    OK(cdtx_handler_add(db, "mail", &o, &E));
    int64_t id = put_job(db, "mail", (cdtx_job_options){0});
    cdtx_work *work = NULL;
    OK(cdtx_take(engine, 1000, &work, &E));
    ck_assert_ptr_nonnull(work);
    FAILS(CDTX_CONFLICT, "leased", cdtx_job_retry(db, id, "ann", "why", &E));
    FAILS(CDTX_CONFLICT, "leased", cdtx_job_cancel(db, id, "ann", "why", &E));
    cdtx_report *report = NULL;
    OK(cdtx_job_show(db, id, &report, &E));
    ck_assert_int_eq(cdtx_report_next(report), 1);
    ck_assert_int_eq(number(report, "state"), CDTX_JOB_LEASED);
    ck_assert_int_gt(number(report, "due_in_ms"), 0);
    cdtx_report_close(report);
    OK(cdtx_settle(work, 0, NULL, &E));
    cdtx_db_close(db);
    free_shop();
}
END_TEST

START_TEST(job_calls_refuse_bad_input) {
    make_shop();
    cdtx_db *db = log_db();
    cdtx_report *report = NULL;
    cdtx_job_filter f = {.size = sizeof f, .state = 6};
    FAILS(CDTX_INVALID, "state 6", cdtx_job_list(db, &f, &report, &E));
    f = (cdtx_job_filter){.size = sizeof f, .limit = 10001};
    FAILS(CDTX_INVALID, "limit", cdtx_job_list(db, &f, &report, &E));
    f = (cdtx_job_filter){.size = sizeof f, .handler = ""};
    FAILS(CDTX_INVALID, "handler", cdtx_job_list(db, &f, &report, &E));
    FAILS(CDTX_INVALID, "report", cdtx_job_list(db, NULL, NULL, &E));
    FAILS(CDTX_MISUSE, "database is NULL", cdtx_job_list(NULL, NULL, &report, &E));
    FAILS(CDTX_NOT_FOUND, "never put", cdtx_job_show(db, 9, &report, &E));
    FAILS(CDTX_NOT_FOUND, "never put", cdtx_job_show(db, -1, &report, &E));
    FAILS(CDTX_NOT_FOUND, "job 9", cdtx_job_retry(db, 9, "ann", "why", &E));
    FAILS(CDTX_NOT_FOUND, "job 9", cdtx_job_cancel(db, 9, "ann", "why", &E));
    FAILS(CDTX_INVALID, "actor", cdtx_job_retry(db, 9, NULL, "why", &E));
    FAILS(CDTX_INVALID, "reason", cdtx_job_cancel(db, 9, "ann", NULL, &E));
    FAILS(CDTX_MISUSE, "database is NULL", cdtx_job_retry(NULL, 9, "ann", "why", &E));
    FAILS(CDTX_MISUSE, "database is NULL", cdtx_job_show(NULL, 9, &report, &E));
    ck_assert_str_eq(audit_of(NULL), "");
    cdtx_db_close(db);
    free_shop();
}
END_TEST

START_TEST(a_job_behind_another_is_left_there) {
    make_shop();
    cdtx_db *db = log_db();
    cdtx_report *report = NULL;
    cdtx_work *work = NULL;
    cdtx_handler_options o = {.size = sizeof o};
    OK(cdtx_handler_add(db, "mail", &o, &E));
    put_job(db, "mail", (cdtx_job_options){.unique_key = "u", .concurrency_key = "c"});
    OK(cdtx_take(engine, 1000, &work, &E));
    int64_t next = put_job(db, "mail", (cdtx_job_options){.unique_key = "u", .unique_policy = CDTX_UNIQUE_KEEP});
    int64_t waits = put_job(db, "mail", (cdtx_job_options){.concurrency_key = "c", .deadline_ms = 60000});
    cdtx_work *none = NULL;
    OK(cdtx_take(engine, 1000, &none, &E));
    ck_assert_ptr_null(none);
    FAILS(CDTX_CONFLICT, "behind another", cdtx_job_retry(db, next, "ann", "why", &E));
    FAILS(CDTX_CONFLICT, "behind another", cdtx_job_retry(db, waits, "ann", "why", &E));
    cdtx_job_filter f = {.size = sizeof f, .state = CDTX_JOB_WAITING};
    OK(cdtx_job_list(db, &f, &report, &E));
    ck_assert_int_eq(cdtx_report_next(report), 1);
    ck_assert_int_eq(number(report, "id"), waits);
    ck_assert_int_eq(number(report, "due_in_ms"), 0);
    ck_assert_int_eq(number(report, "age_ms"), 1000);
    ck_assert_uint_eq(count(report), 0);
    f.state = CDTX_JOB_NEXT;
    OK(cdtx_job_list(db, &f, &report, &E));
    ck_assert_uint_eq(count(report), 1);
    OK(cdtx_job_show(db, waits, &report, &E));
    ck_assert_int_eq(cdtx_report_next(report), 1);
    ck_assert_int_eq(number(report, "deadline_in_ms"), 59000);
    cdtx_report_close(report);
    OK(cdtx_job_show(db, next, &report, &E));
    ck_assert_int_eq(cdtx_report_next(report), 1);
    ck_assert(is_null(report, "deadline_in_ms"));
    ck_assert_str_eq(text(report, "payload"), "12345");
    cdtx_report_close(report);
    OK(cdtx_job_cancel(db, next, "ann", "why", &E));
    OK(cdtx_job_cancel(db, waits, "ann", "why", &E));
    OK(cdtx_settle(work, 0, NULL, &E));
    ck_assert_str_eq(audit_of(NULL), "cancel/ann cancel/ann");
    ck_assert_int_eq(lab_sql("log.db", "SELECT count(*) FROM cdtx_audit WHERE (id = 1 AND reason LIKE '%, next, %')"
                                       " OR (id = 2 AND reason LIKE '%, waiting, %')"),
                     2);
    cdtx_db_close(db);
    free_shop();
}
END_TEST

/* ---- handlers ---- */

static cdtx_report *handlers(cdtx_db *db) {
    cdtx_report *report = NULL;
    OK(cdtx_handler_list(db, &report, &E));
    has_columns(report, "handler here paused_ms ready due leased waiting dead oldest_ms");
    return report;
}

/* The numbers between the name and the age. */
static void check_handler(cdtx_report *report, const char *name, const char *counts) {
    char seen[100];
    ck_assert_int_eq(cdtx_report_next(report), 1);
    ck_assert_str_eq(text(report, "handler"), name);
    snprintf(seen, sizeof seen, "%lld %lld %lld %lld %lld %lld", (long long)number(report, "here"),
             (long long)number(report, "ready"), (long long)number(report, "due"), (long long)number(report, "leased"),
             (long long)number(report, "waiting"), (long long)number(report, "dead"));
    ck_assert_str_eq(seen, counts);
}

START_TEST(handlers_are_listed) {
    make_shop();
    cdtx_db *db = log_db();
    const cdtx_env *env = cdtx_test_env_port(world);
    cdtx_report *report = handlers(db);
    ck_assert_uint_eq(count(report), 0);
    cdtx_handler_options o = {.size = sizeof o};
    OK(cdtx_handler_add(db, "mail", &o, &E));
    OK(cdtx_handler_add(db, "idle", &o, &E));
    cdtx_work *work = NULL, *dead = NULL, *none = NULL;
    put_job(db, "mail", (cdtx_job_options){.unique_key = "u", .concurrency_key = "c"});
    OK(cdtx_take(engine, 0, &work, &E));
    put_job(db, "mail", (cdtx_job_options){.unique_key = "u", .unique_policy = CDTX_UNIQUE_REPLACE});
    put_job(db, "mail", (cdtx_job_options){.concurrency_key = "c"});
    put_job(db, "mail", (cdtx_job_options){0});
    OK(cdtx_take(engine, 0, &dead, &E));
    OK(cdtx_settle(dead, CDTX_REFUSED, NULL, &E));
    OK(cdtx_take(engine, 100, &none, &E));
    ck_assert_ptr_null(none);
    put_job(db, "mail", (cdtx_job_options){0});
    put_job(db, "mail", (cdtx_job_options){.delay_ms = 60000});
    put_job(db, "mail", (cdtx_job_options){.at_ms = env->wall_us(env->user) / 1000 + 60000});
    cdtx_test_env_advance(world, 5000);
    put_job(db, "away", (cdtx_job_options){0});
    OK(cdtx_handler_pause(db, "nobody", "ann", "not before Monday", &E));
    OK(cdtx_handler_pause(db, "away", "ann", "not before Monday", &E));
    int64_t paused = env->wall_us(env->user) / 1000;
    cdtx_test_env_advance(world, 1000);
    report = handlers(db);
    check_handler(report, "away", "0 1 1 0 0 0");
    ck_assert_int_eq(number(report, "paused_ms"), paused);
    ck_assert_int_eq(number(report, "oldest_ms"), 1000);
    check_handler(report, "mail", "1 3 1 1 2 1");
    ck_assert(is_null(report, "paused_ms"));
    ck_assert_int_eq(number(report, "oldest_ms"), 6100);
    check_handler(report, "nobody", "0 0 0 0 0 0");
    ck_assert_int_eq(number(report, "paused_ms"), paused);
    ck_assert(is_null(report, "oldest_ms"));
    ck_assert_uint_eq(count(report), 0);
    OK(cdtx_settle(work, 0, NULL, &E));
    FAILS(CDTX_INVALID, "report", cdtx_handler_list(db, NULL, &E));
    FAILS(CDTX_MISUSE, "database is NULL", cdtx_handler_list(NULL, &report, &E));
    cdtx_db_close(db);
    free_shop();
}
END_TEST

START_TEST(pauses_leave_a_line_each) {
    make_shop();
    cdtx_db *db = log_db();
    char head[65];
    int64_t lines = 0;
    OK(cdtx_handler_pause(db, "mail", "ann", "the server is down", &E));
    OK(cdtx_handler_pause(db, "mail", "bob", "so I hear", &E)); /* it was paused already */
    OK(cdtx_handler_resume(db, "mail", "bob", "it is up", &E));
    OK(cdtx_handler_resume(db, "mail", "ann", "it is up", &E));
    OK(cdtx_handler_resume(db, "other", "ann", "was it ever paused", &E));
    ck_assert_str_eq(audit_of("handler mail"), "pause/ann resume/bob");
    ck_assert_str_eq(audit_of("handler other"), "");
    OK(cdtx_audit_verify(db, 0, &lines, head, &E));
    ck_assert_int_eq(lines, 2);
    FAILS(CDTX_INVALID, "handler", cdtx_handler_pause(db, "", "ann", "why", &E));
    FAILS(CDTX_INVALID, "handler", cdtx_handler_resume(db, NULL, "ann", "why", &E));
    FAILS(CDTX_INVALID, "actor", cdtx_handler_pause(db, "mail", NULL, "why", &E));
    FAILS(CDTX_INVALID, "reason", cdtx_handler_resume(db, "mail", "ann", "", &E));
    FAILS(CDTX_MISUSE, "database is NULL", cdtx_handler_pause(NULL, "mail", "ann", "why", &E));
    FAILS(CDTX_MISUSE, "database is NULL", cdtx_handler_resume(NULL, "mail", "ann", "why", &E));
    cdtx_db_close(db);
    free_shop();
}
END_TEST

/* ---- redrive ---- */

static const char *mail_answer;

static int32_t refuse_mail(cdtx_work *work, void *user, cdtx_error *err) {
    (void)user;
    job_runs++;
    if (mail_answer == NULL)
        return 0;
    return cdtx_error_set(err, CDTX_REFUSED, cdtx_work_id(work) % 2 == 0 ? mail_answer : "no such address");
}

/* That many dead ones, from number 1; the even ones with another error. */
static cdtx_db *dead_mail(uint32_t many) {
    static cdtx_bytes payloads[CDTX_MANY_MAX];
    cdtx_sql *sql = NULL;
    make_shop();
    cdtx_db *db = log_db();
    cdtx_handler_options o = {.size = sizeof o, .handler = refuse_mail};
    OK(cdtx_handler_add(db, "mail", &o, &E));
    OK(cdtx_sql_begin(db, &sql, &E));
    for (uint32_t i = 0; i < many; i++)
        payloads[i] = (cdtx_bytes){"x", 1};
    OK(cdtx_job_put_many(sql, "mail", payloads, many, NULL, NULL, &E));
    OK(cdtx_sql_commit(sql, &E));
    cdtx_sql_close(sql);
    mail_answer = "the server is down";
    OK(cdtx_run(engine, 1000, &E));
    ck_assert_int_eq(lab_sql("log.db", "SELECT count(*) FROM cdtx_job WHERE state = 3"), many);
    mail_answer = NULL;
    job_runs = 0;
    return db;
}

static int64_t redrive(cdtx_db *db, cdtx_redrive_filter filter) {
    int64_t redriven = -9;
    filter.size = sizeof filter;
    if (filter.handler == NULL)
        filter.handler = "mail";
    OK(cdtx_job_redrive(db, &filter, "ann", "the server is up", &redriven, &E));
    return redriven;
}

START_TEST(dead_jobs_are_redriven_by_filter) {
    cdtx_db *db = dead_mail(20);
    ck_assert_int_eq(redrive(db, (cdtx_redrive_filter){.handler = "other"}), 0);
    ck_assert_int_eq(redrive(db, (cdtx_redrive_filter){.error = "something else"}), 0);
    ck_assert_str_eq(audit_of(NULL), ""); /* nothing was done */
    ck_assert_int_eq(redrive(db, (cdtx_redrive_filter){.error = "server is", .after = 4, .upto = 10}), 3);
    OK(cdtx_run(engine, 100, &E));
    ck_assert_int_eq(job_runs, 3);
    ck_assert_int_eq(redrive(db, (cdtx_redrive_filter){.most = 2}), 2);
    OK(cdtx_run(engine, 100, &E));
    ck_assert_int_eq(lab_sql("log.db", "SELECT min(id) FROM cdtx_job"), 3); /* the first ones first */
    ck_assert_int_eq(redrive(db, (cdtx_redrive_filter){.error = "100% such"}), 0);
    ck_assert_int_eq(redrive(db, (cdtx_redrive_filter){0}), 15);
    OK(cdtx_run(engine, 100, &E));
    ck_assert_int_eq(job_runs, 20);
    ck_assert_int_eq(lab_sql("log.db", "SELECT count(*) FROM cdtx_job"), 0);
    ck_assert_str_eq(audit_of("handler mail"), "redrive/ann redrive/ann redrive/ann");
    cdtx_db_close(db);
    free_shop();
}
END_TEST

START_TEST(redrive_goes_in_steps) {
    cdtx_db *db = dead_mail(2500);
    char head[65];
    int64_t lines = 0;
    ck_assert_int_eq(redrive(db, (cdtx_redrive_filter){.most = 2200}), 2200);
    ck_assert_str_eq(audit_of("handler mail"), "redrive/ann redrive/ann redrive/ann");
    ck_assert_int_eq(lab_sql("log.db",
                             "SELECT count(*) FROM cdtx_audit WHERE reason = '1000 dead jobs: the server is up'"
                             " AND id < 3"),
                     2);
    ck_assert_int_eq(lab_sql("log.db", "SELECT count(*) FROM cdtx_audit WHERE reason LIKE '200 dead jobs:%'"), 1);
    OK(cdtx_audit_verify(db, 0, &lines, head, &E));
    ck_assert_int_eq(lines, 3);
    OK(cdtx_run(engine, 1000, &E));
    ck_assert_int_eq(job_runs, 2200);
    ck_assert_int_eq(lab_sql("log.db", "SELECT count(*) FROM cdtx_job WHERE state = 3 AND id > 2200"), 300);
    cdtx_db_close(db);
    free_shop();
}
END_TEST

START_TEST(redriven_at_a_rate) {
    cdtx_db *db = dead_mail(1500);
    OK(cdtx_handler_pause(db, "mail", "ann", "to look at the times", &E));
    ck_assert_int_eq(redrive(db, (cdtx_redrive_filter){.per_s = 200}), 1500);
    ck_assert_int_eq(lab_sql("log.db", "SELECT max(due) - min(due) FROM cdtx_job"), 1499 * 5); /* over both steps */
    ck_assert_int_eq(lab_sql("log.db", "SELECT count(DISTINCT due) FROM cdtx_job"), 1500);
    OK(cdtx_handler_resume(db, "mail", "ann", "seen", &E));
    OK(cdtx_run(engine, 2000, &E));
    ck_assert_int_ge(job_runs, 390);
    ck_assert_int_le(job_runs, 410);
    OK(cdtx_run(engine, 6000, &E));
    ck_assert_int_eq(job_runs, 1500);
    cdtx_db_close(db);
    free_shop();
}
END_TEST

START_TEST(a_unique_key_that_a_live_one_has) {
    make_shop();
    cdtx_db *db = log_db();
    cdtx_handler_options o = {.size = sizeof o};
    OK(cdtx_handler_add(db, "mail", &o, &E));
    for (int i = 0; i < 3; i++) {
        cdtx_work *work = NULL;
        put_job(db, "mail", (cdtx_job_options){.unique_key = i < 2 ? "u" : "v", .deadline_ms = 1000});
        OK(cdtx_take(engine, 100, &work, &E));
        OK(cdtx_settle(work, CDTX_REFUSED, "no such address", &E));
    }
    int64_t live = put_job(db, "mail", (cdtx_job_options){.unique_key = "v", .delay_ms = 5000});
    ck_assert_int_eq(redrive(db, (cdtx_redrive_filter){0}), 1); /* one of the two, and not the third */
    ck_assert_int_eq(lab_sql("log.db", "SELECT count(*) FROM cdtx_job WHERE state = 3 AND id IN (2, 3)"), 2);
    ck_assert_int_eq(lab_sql("log.db", "SELECT count(*) FROM cdtx_job WHERE state = 1 AND id = 1 AND attempts = 0"
                                       " AND deadline IS NULL AND history IS NOT NULL AND error IS NOT NULL"),
                     1);
    OK(cdtx_job_cancel(db, live, "ann", "why", &E));
    ck_assert_int_eq(redrive(db, (cdtx_redrive_filter){0}), 1);
    cdtx_db_close(db);
    free_shop();
}
END_TEST

START_TEST(redrive_is_checked) {
    make_shop();
    cdtx_db *db = log_db();
    int64_t redriven = -9;
    cdtx_redrive_filter f = {.size = sizeof f};
    FAILS(CDTX_INVALID, "handler to redrive", cdtx_job_redrive(db, &f, "ann", "why", &redriven, &E));
    FAILS(CDTX_INVALID, "handler to redrive", cdtx_job_redrive(db, NULL, "ann", "why", &redriven, &E));
    f.handler = "mail";
    f.after = -1;
    FAILS(CDTX_INVALID, "negative", cdtx_job_redrive(db, &f, "ann", "why", &redriven, &E));
    f.after = 0;
    f.most = -1;
    FAILS(CDTX_INVALID, "negative", cdtx_job_redrive(db, &f, "ann", "why", &redriven, &E));
    f.most = 0;
    f.upto = INT64_MIN;
    FAILS(CDTX_INVALID, "negative", cdtx_job_redrive(db, &f, "ann", "why", &redriven, &E));
    f.upto = INT64_MAX;
    f.most = INT64_MAX;
    FAILS(CDTX_INVALID, "actor", cdtx_job_redrive(db, &f, "", "why", &redriven, &E));
    FAILS(CDTX_INVALID, "reason", cdtx_job_redrive(db, &f, "ann", NULL, &redriven, &E));
    FAILS(CDTX_MISUSE, "database is NULL", cdtx_job_redrive(NULL, &f, "ann", "why", &redriven, &E));
    ck_assert_int_eq(redriven, 0);
    OK(cdtx_job_redrive(db, &f, "ann", "why", NULL, &E));
    ck_assert_str_eq(audit_of(NULL), "");
    cdtx_db_close(db);
    free_shop();
}
END_TEST

/* ---- when memory ends ---- */

struct errand {
    const char *gid;
    cdtx_db *db;
};

static int32_t ask_all(const struct errand *errand, uint32_t what) {
    cdtx_report *report = NULL;
    cdtx_metrics metrics = {.size = sizeof metrics, .ask = 1};
    int64_t lines = 0;
    char head[65];
    int32_t rc = 0;
    switch (what) {
    case 0:
        rc = cdtx_tx_list(engine, NULL, &report, &E);
        break;
    case 1:
        rc = cdtx_tx_branches(engine, errand->gid, &report, &E);
        break;
    case 2:
        rc = cdtx_doctor(engine, 1, &report, &E);
        break;
    case 3:
        rc = cdtx_metrics_read(engine, &metrics, &E);
        break;
    case 4:
        rc = cdtx_audit_verify(errand->db, 0, &lines, head, &E);
        break;
    default:
        rc = cdtx_tx_park(engine, errand->gid, "ann", "waiting", &E);
        break;
    }
    cdtx_report_close(report);
    return rc;
}

/* At whatever allocation memory ends, the answer is an honest no or the whole thing, and nothing leaks. */
START_TEST(memory_may_end_anywhere) {
    make_shop();
    struct errand errand = {.gid = stuck_tx(), .db = log_db()};
    for (uint64_t nth = 1;; nth++) {
        uint64_t before = cdtx_test_env_allocations(world);
        cdtx_test_env_fail_memory(world, nth, 0);
        int32_t rc = ask_all(&errand, (uint32_t)_i);
        cdtx_test_env_fail_memory(world, 0, 0);
        int parked = lab_sql("log.db", "SELECT parked IS NOT NULL FROM cdtx_tx") == 1;
        int64_t lines = lab_sql("log.db", "SELECT count(*) FROM cdtx_audit");
        ck_assert_int_eq(lab_sql("log.db", "SELECT count(*) FROM cdtx_case"), parked);
        ck_assert_int_eq(lines, parked ? 2 : 0);
        ck_assert_int_eq(parked, rc == 0 && _i == 5);
        if (rc == 0 && cdtx_test_env_allocations(world) - before < nth)
            break;
        if (rc != 0)
            ck_assert_msg(rc == CDTX_NO_MEMORY, "allocation %d: %s: %s", (int)nth, cdtx_code_name(rc), E.text);
        if (parked)
            break;
    }
    cdtx_db_close(errand.db);
    free_shop();
}
END_TEST

static void tests(TCase *tcase) {
    tcase_add_test(tcase, a_report_reads_null_outside_its_rows);
    tcase_add_test(tcase, a_report_outlives_its_engine);
    tcase_add_test(tcase, a_stuck_one_is_listed_and_shown);
    tcase_add_test(tcase, branches_show_their_guards);
    tcase_add_test(tcase, an_ended_one_says_why_and_when);
    tcase_add_test(tcase, a_list_is_filtered);
    tcase_add_test(tcase, a_long_list_comes_in_pages);
    tcase_add_test(tcase, bad_filters_are_refused);
    tcase_add_test(tcase, questions_name_what_they_do_not_find);
    tcase_add_test(tcase, retry_looks_again_at_once);
    tcase_add_test(tcase, parked_is_quiet_and_a_case_and_unpark_ends_both);
    tcase_add_test(tcase, unpark_gives_all_its_attempts_again);
    tcase_add_test(tcase, resolve_ends_it_as_decided);
    tcase_add_test(tcase, an_attempt_under_way_is_taken_over);
    tcase_add_loop_test(tcase, actions_refuse_what_they_may_not_touch, 0, 4);
    tcase_add_test(tcase, questions_need_a_log_and_no_closure);
    tcase_add_test(tcase, a_case_is_noted_and_assigned_until_it_is_closed);
    tcase_add_test(tcase, case_calls_refuse_bad_input);
    tcase_add_test(tcase, each_database_has_its_own_cases);
    tcase_add_test(tcase, jobs_are_listed_and_shown);
    tcase_add_test(tcase, a_dead_job_is_retried);
    tcase_add_test(tcase, a_cancelled_job_never_runs);
    tcase_add_test(tcase, who_waits_for_a_key_is_due_by_its_own_clock);
    tcase_add_test(tcase, a_leased_job_is_left_to_its_holder);
    tcase_add_test(tcase, job_calls_refuse_bad_input);
    tcase_add_test(tcase, a_job_behind_another_is_left_there);
    tcase_add_test(tcase, handlers_are_listed);
    tcase_add_test(tcase, pauses_leave_a_line_each);
    tcase_add_test(tcase, dead_jobs_are_redriven_by_filter);
    tcase_add_test(tcase, redrive_goes_in_steps);
    tcase_add_test(tcase, redriven_at_a_rate);
    tcase_add_test(tcase, a_unique_key_that_a_live_one_has);
    tcase_add_test(tcase, redrive_is_checked);
    tcase_add_loop_test(tcase, memory_may_end_anywhere, 0, 6);
}

int main(void) {
    return lab_main("engine-admin", tests);
}
