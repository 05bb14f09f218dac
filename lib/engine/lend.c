/* Transactions that the host has open and lends: one cdtx_sql each, until it tells how they ended. */
#include "engine/host.h"

enum { SPARES_MAX = 16 };

static int open_at_host(const struct loan *loan) {
    const cdtx_host_port *port = &loan->db->host->port;
    return port->in_transaction(port->user, loan->theirs) != 0;
}

/* ---- forgotten ones ---- */

/* 1 for whoever notices first, and must raise the alarm, with no lock held. */
static int notice(struct loan *loan) {
    return !__atomic_exchange_n(&loan->forgotten, 1, __ATOMIC_ACQ_REL);
}

static void raise(cdtx_db *db, int64_t lent_ms, const char *when) {
    cdtx *engine = db->engine;
    cdtx__alarm(engine,
                "database '%s': a transaction lent at %lld ms (wall clock), %lld ms ago, was not settled; noticed %s",
                db->store->name, (long long)lent_ms, (long long)(cdtx__wall_ms(engine->env) - lent_ms), when);
    cdtx__jobs_ring(db); /* it may have committed */
}

static struct loan *find_locked(struct host *host, const void *theirs) {
    for (struct list *link = host->loans.next; link != &host->loans; link = link->next) {
        struct loan *loan = LIST_OF(link, struct loan, link);
        if (loan->theirs == theirs && !__atomic_load_n(&loan->forgotten, __ATOMIC_ACQUIRE))
            return loan;
    }
    return NULL;
}

/* The loan that is in the way of another on that connection; held by `using`, unless *at_work says that somebody else
 * holds it. */
static struct loan *find_other(struct host *host, const cdtx_env *env, const void *theirs, int *at_work,
                               int *elsewhere) {
    cdtx__lock(env, &host->lock);
    struct loan *loan = find_locked(host, theirs);
    *at_work = loan != NULL && __atomic_exchange_n(&loan->using, 1, __ATOMIC_ACQ_REL);
    *elsewhere = host->turn_theirs == theirs && host->turn_thread != env->self(env->user);
    cdtx__unlock(env, &host->lock);
    return loan;
}

int32_t cdtx__loans_check(cdtx_db *db, const void *theirs, const char *what, cdtx_error *err) {
    int at_work = 0, elsewhere = 0;
    struct loan *loan = find_other(db->host, db->engine->env, theirs, &at_work, &elsewhere);
    if (at_work)
        return cdtx__fail(err, CDTX_MISUSE, "%s: a transaction lent on this connection to '%s' is in use right now",
                          what, db->store->name);
    if (loan != NULL) {
        int64_t lent_ms = loan->lent_ms;
        loan->sql->open = 0;
        if (notice(loan))
            raise(db, lent_ms, "when its connection was lent again");
        __atomic_store_n(&loan->using, 0, __ATOMIC_RELEASE);
        return cdtx__fail(err, CDTX_MISUSE,
                          "%s: a transaction on this connection to '%s' was lent at %lld ms (wall clock) and never "
                          "settled (cdtx_lent_settle); it counts as forgotten",
                          what, db->store->name, (long long)lent_ms);
    }
    if (elsewhere)
        return cdtx__fail(err, CDTX_MISUSE, "%s: another thread has lent this connection to '%s' for a turn", what,
                          db->store->name);
    return 0;
}

static int notice_next(cdtx_db *db, int64_t *lent_ms) {
    struct host *host = db->host;
    int found = 0;
    cdtx__lock(db->engine->env, &host->lock);
    for (struct list *link = host->loans.next; link != &host->loans && !found; link = link->next) {
        struct loan *loan = LIST_OF(link, struct loan, link);
        found = notice(loan);
        *lent_ms = loan->lent_ms;
    }
    cdtx__unlock(db->engine->env, &host->lock);
    return found;
}

void cdtx__loans_noticed(cdtx_db *db, const char *when) {
    int64_t lent_ms = 0;
    while (notice_next(db, &lent_ms))
        raise(db, lent_ms, when);
}

/* ---- using one ---- */

static int32_t enter_open(struct loan *loan, cdtx_error *err) {
    const char *name = loan->db->store->name;
    if (!loan->sql->open)
        return cdtx__fail(err, CDTX_MISUSE, "database '%s': this lent transaction has ended", name);
    if (loan->broken)
        return cdtx__fail(err, CDTX_SQL, "database '%s': an earlier statement ended the lent transaction", name);
    if (open_at_host(loan))
        return 0;
    loan->sql->open = 0;
    if (notice(loan))
        raise(loan->db, loan->lent_ms, "when the handle was used after the transaction's end");
    return cdtx__fail(err, CDTX_MISUSE,
                      "database '%s': the host has ended this lent transaction; settle it (cdtx_lent_settle)", name);
}

static int32_t enter(cdtx_sql *sql, cdtx_error *err) {
    struct loan *loan = sql->engine;
    cdtx *engine = loan->db->engine;
    int32_t rc = cdtx__enter(engine, err);
    if (rc != 0)
        return rc;
    if (__atomic_exchange_n(&loan->using, 1, __ATOMIC_ACQ_REL)) {
        cdtx__leave(engine);
        return cdtx__fail(err, CDTX_MISUSE, "database '%s': another call is at work on this lent transaction",
                          loan->db->store->name);
    }
    rc = enter_open(loan, err);
    if (rc != 0) {
        __atomic_store_n(&loan->using, 0, __ATOMIC_RELEASE);
        cdtx__leave(engine);
    }
    return rc;
}

static void leave(cdtx_sql *sql) {
    struct loan *loan = sql->engine;
    cdtx *engine = loan->db->engine;
    loan->broken |= !loan->view.port->in_transaction(loan->view.connection);
    __atomic_store_n(&loan->using, 0, __ATOMIC_RELEASE);
    cdtx__leave(engine);
}

/* ---- lending ---- */

static void free_loan(const cdtx_env *env, struct loan *loan) {
    cdtx__sql_delete(loan->sql);
    cdtx__free(env, loan, sizeof *loan);
}

void cdtx__host_free(const cdtx_env *env, struct host *host) {
    struct list *link;
    while (host != NULL && (link = list_pop(&host->spare)) != NULL)
        free_loan(env, LIST_OF(link, struct loan, link));
    cdtx__free(env, host, sizeof *host);
}

/* An old one only if there are many: the younger ones still tell a second settle from a first. */
static struct loan *new_loan(cdtx_db *db, cdtx_error *err) {
    struct host *host = db->host;
    const cdtx_env *env = db->engine->env;
    struct loan *loan = NULL;
    cdtx__lock(env, &host->lock);
    if (host->spares > SPARES_MAX) {
        loan = LIST_OF(list_pop(&host->spare), struct loan, link);
        host->spares--;
    }
    cdtx__unlock(env, &host->lock);
    if (loan != NULL) {
        *loan = (struct loan){.sql = loan->sql};
    } else {
        loan = cdtx__alloc(env, sizeof *loan);
        if (loan == NULL || cdtx__sql_new(db->store, 0, &loan->sql, NULL) != 0) {
            cdtx__free(env, loan, sizeof *loan);
            cdtx__fail(err, CDTX_NO_MEMORY, "no memory for a lent transaction on '%s'", db->store->name);
            return NULL;
        }
    }
    loan->db = db;
    return loan;
}

/* Nothing points to the connection any more; the handle stays in memory for a while. */
static void put_away(struct loan *loan) {
    cdtx_db *db = loan->db;
    const cdtx_env *env = db->engine->env;
    cdtx__sql_reset(loan->sql);
    loan->sql->open = 0;
    cdtx__lent_view_free(&loan->view);
    if (loan->view.connection != NULL)
        loan->view.port->close(loan->view.connection);
    loan->view.connection = NULL;
    cdtx__lock(env, &db->host->lock);
    if (list_linked(&loan->link))
        list_remove(&loan->link);
    list_push(&db->host->spare, &loan->link);
    db->host->spares++;
    loan->settled = 1;
    cdtx__unlock(env, &db->host->lock);
}

static int32_t open_loan(struct loan *loan, void *theirs, cdtx_error *err) {
    cdtx_db *db = loan->db;
    void *connection = NULL;
    int32_t ownership;
    int32_t rc = cdtx__lent_open(db->engine->env, &db->host->port, theirs, 1, db->store->name, &connection, err);
    if (rc != 0)
        return rc;
    cdtx__lent_view(db->store, connection, &loan->view);
    rc = loan->view.port->own(connection, &ownership, err);
    if (rc == 0)
        rc = cdtx__lent_recognise(&loan->view, err);
    return rc;
}

static void begin_loan(struct loan *loan, void *theirs) {
    cdtx_db *db = loan->db;
    loan->theirs = theirs;
    loan->lent_ms = cdtx__wall_ms(db->engine->env);
    loan->view.sql = loan->sql;
    loan->sql->store = &loan->view;
    loan->sql->engine = loan;
    loan->sql->enter = enter;
    loan->sql->leave = leave;
    loan->sql->open = 1;
    cdtx__ref(db->engine);
    cdtx__lock(db->engine->env, &db->host->lock);
    list_push(&db->host->loans, &loan->link);
    cdtx__unlock(db->engine->env, &db->host->lock);
}

static int32_t lend(cdtx_db *db, void *theirs, cdtx_sql **sql, cdtx_error *err) {
    const cdtx_host_port *port = &db->host->port;
    int32_t rc = cdtx__loans_check(db, theirs, "cdtx_lend", err);
    if (rc == 0)
        rc = cdtx__lent_stopped(db->store, err);
    if (rc == 0 && port->in_transaction(port->user, theirs) == 0)
        rc = cdtx__fail(err, CDTX_MISUSE, "cdtx_lend: no transaction is open on the connection to '%s'; BEGIN first",
                        db->store->name);
    if (rc != 0)
        return rc;
    struct loan *loan = new_loan(db, err);
    if (loan == NULL)
        return CDTX_NO_MEMORY;
    rc = open_loan(loan, theirs, err);
    if (rc != 0) {
        put_away(loan);
        return rc;
    }
    begin_loan(loan, theirs);
    *sql = loan->sql;
    return 0;
}

int32_t cdtx_lend(cdtx_db *db, void *connection, cdtx_sql **sql, cdtx_error *err) {
    if (sql == NULL)
        return cdtx__fail(err, CDTX_INVALID, "the place for the lent transaction's handle is NULL");
    int32_t rc = cdtx__host_enter(db, connection, "cdtx_lend", err);
    if (rc != 0)
        return rc;
    rc = lend(db, connection, sql, err);
    cdtx__leave(db->engine);
    return rc;
}

/* ---- settling ---- */

/* What is known of the transaction, against what the host says of it. */
static int32_t judge(struct loan *loan, int32_t outcome, cdtx_error *err) {
    const char *name = loan->db->store->name;
    if (__atomic_load_n(&loan->forgotten, __ATOMIC_ACQUIRE))
        return cdtx__fail(err, CDTX_MISUSE,
                          "cdtx_lent_settle comes too late for a transaction on '%s' that was lent at %lld ms (wall "
                          "clock): an alarm was raised",
                          name, (long long)loan->lent_ms);
    if (outcome != 0 || !loan->broken)
        return 0;
    cdtx__alarm(loan->db->engine,
                "database '%s': a lent transaction is told to be committed that a failed statement had ended", name);
    return cdtx__fail(err, CDTX_MISUSE,
                      "database '%s': a failed statement had ended this transaction, so it cannot have committed",
                      name);
}

static int32_t settle(struct loan *loan, int32_t outcome, cdtx_error *err) {
    cdtx *engine = loan->db->engine;
    int forgotten = __atomic_load_n(&loan->forgotten, __ATOMIC_ACQUIRE);
    if (outcome != CDTX_UNKNOWN && !forgotten && !loan->broken && open_at_host(loan)) {
        __atomic_store_n(&loan->using, 0, __ATOMIC_RELEASE);
        return cdtx__fail(err, CDTX_MISUSE, "the lent transaction on '%s' is still open: commit or roll it back first",
                          loan->db->store->name);
    }
    int32_t rc = judge(loan, outcome, err);
    if (outcome != CDTX_REFUSED && loan->view.meta.rings)
        cdtx__jobs_ring(loan->db);
    put_away(loan);
    __atomic_store_n(&loan->using, 0, __ATOMIC_RELEASE);
    cdtx__unref(engine);
    return rc;
}

/* The engine is closed, and the alarm was raised then: only memory is left. */
static int32_t settle_late(struct loan *loan, cdtx_error *err) {
    cdtx *engine = loan->db->engine;
    cdtx__fail(err, CDTX_MISUSE,
               "cdtx_lent_settle: the engine is closed; how the transaction ended is the host's to know");
    put_away(loan);
    __atomic_store_n(&loan->using, 0, __ATOMIC_RELEASE);
    cdtx__unref(engine);
    return CDTX_MISUSE;
}

int32_t cdtx_lent_settle(cdtx_sql *sql, int32_t outcome, cdtx_error *err) {
    if (sql == NULL || sql->enter != enter)
        return cdtx__fail(err, CDTX_MISUSE, "cdtx_lent_settle is only for what cdtx_lend gave");
    if (outcome != 0 && outcome != CDTX_REFUSED && outcome != CDTX_UNKNOWN)
        return cdtx__fail(err, CDTX_INVALID,
                          "the outcome is %d; it is 0 (committed), CDTX_REFUSED (rolled back) or CDTX_UNKNOWN",
                          outcome);
    struct loan *loan = sql->engine;
    cdtx *engine = loan->db->engine;
    const cdtx_env *env = engine->env;
    if (env->process(env->user) != engine->process)
        return cdtx__fail(err, CDTX_MISUSE, "this lent transaction belongs to the parent of a forked process");
    if (__atomic_exchange_n(&loan->using, 1, __ATOMIC_ACQ_REL))
        return cdtx__fail(err, CDTX_MISUSE, "another call is at work on this lent transaction");
    if (loan->settled) {
        __atomic_store_n(&loan->using, 0, __ATOMIC_RELEASE);
        return cdtx__fail(err, CDTX_MISUSE, "this lent transaction was settled already");
    }
    if (cdtx__enter(engine, NULL) != 0)
        return settle_late(loan, err);
    cdtx__ref(engine);
    int32_t rc = settle(loan, outcome, err);
    cdtx__leave(engine);
    cdtx__unref(engine);
    return rc;
}
