/* The Nth call of each kind to the SQL port fails, once or from then on, in every way that the port allows. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "port/sql.h"
#include "sweep.h"

#define SCHEME "faulty"

enum place { COMMIT, OPEN, OWN, BEGIN, SAVEPOINT, RELEASE, UNDO, EXEC, PLACES };

/* Codes of the library, and what only a port can do. */
enum { FAULTS_MAX = 6, FOR_EVER_MAX = 1 /* the first so many faults of a place also strike for ever */ };
enum { ENDS = 1 /* the whole transaction */, UNKNOWN_DID, UNKNOWN_DID_NOT };

/* Where the fault strikes; there is one story at a time. */
static struct {
    enum place place;
    int fault, for_ever, struck;
    uint64_t nth, seen;
} plan;

struct faulty {
    const cdtx_sql_port *real;
    void *connection;
    int stopped;
};

/* The fault that this call meets, 0: none. */
static int meets(enum place place) {
    if (plan.place != place)
        return 0;
    plan.seen++;
    if (plan.seen < plan.nth || (plan.seen > plan.nth && !plan.for_ever))
        return 0;
    plan.struck = 1;
    return plan.fault;
}

static int32_t fail(int32_t code, cdtx_error *err) {
    if (code == CDTX_BUSY)
        return cdtx__busy(err, 5, "the faulty port is busy");
    return cdtx__fail(err, code, "the faulty port answers %s", cdtx_code_name(code));
}

/* Before the real call: 0 when it shall be made. */
static int32_t before(struct faulty *self, enum place place, cdtx_error *err) {
    if (self->stopped)
        return fail(CDTX_STOPPED, err);
    int fault = meets(place);
    if (fault == 0)
        return 0;
    if (fault == ENDS) {
        self->real->rollback(self->connection);
        fault = CDTX_SQL;
    }
    return fail(fault, err);
}

static int32_t faulty_open(const cdtx_env *env, const char *url, void **connection, cdtx_error *err) {
    char real_url[512];
    int fault = meets(OPEN);
    if (fault != 0)
        return fail(fault, err);
    struct faulty *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    (void)snprintf(real_url, sizeof real_url, "sqlite%s", url + strlen(SCHEME));
    self->real = cdtx__adapter_builtin(real_url);
    int32_t rc = self->real->open(env, real_url, &self->connection, err);
    if (rc == 0)
        *connection = self;
    else
        free(self);
    return rc;
}

static void faulty_close(void *connection) {
    struct faulty *self = connection;
    self->real->close(self->connection);
    free(self);
}

static int32_t faulty_own(void *connection, int32_t *ownership, cdtx_error *err) {
    struct faulty *self = connection;
    int32_t rc = before(self, OWN, err);
    return rc != 0 ? rc : self->real->own(self->connection, ownership, err);
}

static int32_t faulty_begin(void *connection, cdtx_error *err) {
    struct faulty *self = connection;
    int32_t rc = before(self, BEGIN, err);
    return rc != 0 ? rc : self->real->begin(self->connection, err);
}

static int32_t faulty_exec(void *connection, uint32_t flags, const char *statement, const cdtx_value *arguments,
                           uint32_t count, cdtx_rows *rows, int64_t *changes, cdtx_error *err) {
    struct faulty *self = connection;
    int32_t rc = before(self, EXEC, err);
    if (rc == 0)
        rc = self->real->exec(self->connection, flags, statement, arguments, count, rows, changes, err);
    return rc;
}

static int32_t faulty_in_transaction(void *connection) {
    struct faulty *self = connection;
    return self->real->in_transaction(self->connection);
}

static int32_t faulty_savepoint(void *connection, cdtx_error *err) {
    struct faulty *self = connection;
    int32_t rc = before(self, SAVEPOINT, err);
    return rc != 0 ? rc : self->real->savepoint(self->connection, err);
}

static int32_t faulty_release(void *connection, cdtx_error *err) {
    struct faulty *self = connection;
    int32_t rc = before(self, RELEASE, err);
    return rc != 0 ? rc : self->real->release(self->connection, err);
}

static int32_t faulty_undo(void *connection, cdtx_error *err) {
    struct faulty *self = connection;
    int32_t rc = before(self, UNDO, err);
    return rc != 0 ? rc : self->real->undo(self->connection, err);
}

/* A definite no has rolled back; after an UNKNOWN the connection only answers STOPPED. */
static int32_t faulty_commit(void *connection, cdtx_error *err) {
    struct faulty *self = connection;
    if (self->stopped)
        return fail(CDTX_STOPPED, err);
    int fault = meets(COMMIT);
    if (fault == 0)
        return self->real->commit(self->connection, err);
    if (fault == UNKNOWN_DID && self->real->commit(self->connection, err) != 0)
        abort();
    if (fault != UNKNOWN_DID)
        self->real->rollback(self->connection);
    self->stopped = fault == UNKNOWN_DID || fault == UNKNOWN_DID_NOT;
    return fail(self->stopped ? CDTX_UNKNOWN : fault, err);
}

static void faulty_rollback(void *connection) {
    struct faulty *self = connection;
    self->real->rollback(self->connection);
}

static int32_t faulty_tidy(void *connection, cdtx_error *err) {
    struct faulty *self = connection;
    return self->stopped ? fail(CDTX_STOPPED, err) : self->real->tidy(self->connection, err);
}

static const cdtx_sql_port port = {
    .size = sizeof port,
    .scheme = SCHEME,
    .open = faulty_open,
    .close = faulty_close,
    .own = faulty_own,
    .begin = faulty_begin,
    .exec = faulty_exec,
    .in_transaction = faulty_in_transaction,
    .savepoint = faulty_savepoint,
    .release = faulty_release,
    .undo = faulty_undo,
    .commit = faulty_commit,
    .rollback = faulty_rollback,
    .tidy = faulty_tidy,
};

static void arm(struct run *run) {
    memset(&plan, 0, sizeof plan);
    plan.place = (enum place)run->sweep->kind;
    plan.fault = run->sweep->fault;
    plan.for_ever = run->sweep->for_ever;
    plan.nth = run->n;
    run->options.adapter = &port;
}

static int disarm(struct run *run) {
    (void)run;
    plan.place = PLACES;
    return plan.struck;
}

static const struct {
    const char *name;
    uint64_t least; /* calls in the whole story */
    int faults[FAULTS_MAX];  /* up to the first 0 */
} places[PLACES] = {
    [OPEN] = {"open", 3, {CDTX_IO, CDTX_BUSY, CDTX_NO_MEMORY}},
    [OWN] = {"own", 3, {CDTX_IO, CDTX_BUSY}},
    [BEGIN] = {"begin", 30, {CDTX_BUSY, CDTX_IO, CDTX_NO_MEMORY}},
    [EXEC] = {"exec", 150, {CDTX_IO, ENDS, CDTX_SQL}},
    [SAVEPOINT] = {"savepoint", 10, {CDTX_IO, ENDS, CDTX_NO_MEMORY}},
    [RELEASE] = {"release", 10, {CDTX_IO, ENDS, CDTX_NO_MEMORY, CDTX_SQL}},
    [UNDO] = {"undo", 1, {CDTX_IO, ENDS, CDTX_NO_MEMORY}},
    [COMMIT] = {"commit", 30, {UNKNOWN_DID, UNKNOWN_DID_NOT, CDTX_IO, CDTX_BUSY, CDTX_NO_MEMORY}},
};

/* At the post office, whose chapters are many: each place in the ways that differ there. */
static const struct {
    enum place place;
    int fault;
    uint32_t stride, phase;
    uint64_t least[CHAPTERS];
} posts[] = {
    {COMMIT, UNKNOWN_DID, 1, 0, {30, 30, 30, 25, 35}},
    {COMMIT, UNKNOWN_DID_NOT, 1, 0, {30, 30, 30, 25, 35}},
    {COMMIT, CDTX_IO, 1, 0, {30, 30, 30, 25, 35}},
    {COMMIT, CDTX_BUSY, 3, 0, {10, 10, 10, 8, 12}},
    {BEGIN, CDTX_BUSY, 3, 1, {10, 10, 10, 8, 12}},
    {SAVEPOINT, ENDS, 2, 0, {20, 20, 20, 16, 24}},
    {RELEASE, CDTX_IO, 2, 0, {20, 20, 20, 16, 24}},
    {RELEASE, ENDS, 2, 1, {20, 20, 20, 16, 24}},
    {EXEC, CDTX_IO, 6, 0, {80, 80, 70, 70, 150}},
    {EXEC, ENDS, 6, 3, {80, 80, 70, 70, 150}},
};

static const char *fault_name(int fault) {
    return fault == ENDS              ? "ends its transaction"
           : fault == UNKNOWN_DID     ? "UNKNOWN but did"
           : fault == UNKNOWN_DID_NOT ? "UNKNOWN and did not"
                                      : cdtx_code_name(fault) + strlen("CDTX_");
}

static struct sweep struck(enum place place, int fault, uint64_t least) {
    return (struct sweep){.least = least,
                          .kind = (int)place,
                          .fault = fault,
                          .stops = fault == UNKNOWN_DID || fault == UNKNOWN_DID_NOT,
                          .arm = arm,
                          .disarm = disarm};
}

static void name(struct sweep *sweep, const char *when) {
    (void)snprintf(sweep->name, sizeof sweep->name, "sql %s %s %s", places[sweep->kind].name, fault_name(sweep->fault),
                   when);
}

static void add_orders(enum place place, int fault, int for_ever) {
    struct sweep sweep = struck(place, fault, places[place].least);
    sweep.for_ever = for_ever;
    name(&sweep, for_ever ? "for ever" : "once");
    sweep_add(&sweep);
}

static void add_ruins(enum place place, int fault, uint64_t least) {
    struct sweep sweep = struck(place, fault, least);
    sweep.ruins = 1;
    name(&sweep, "once, on ruins");
    sweep_add(&sweep);
}

int main(int argc, char **argv) {
    for (int place = 0; place < PLACES; place++)
        for (int i = 0; i < FAULTS_MAX && places[place].faults[i] != 0; i++)
            for (int for_ever = 0; for_ever < (i < FOR_EVER_MAX ? 2 : 1); for_ever++)
                add_orders((enum place)place, places[place].faults[i], for_ever);
    add_ruins(EXEC, CDTX_IO, 100);
    add_ruins(EXEC, ENDS, 100);
    add_ruins(COMMIT, UNKNOWN_DID, 10);
    add_ruins(COMMIT, UNKNOWN_DID_NOT, 10);
    for (size_t i = 0; i < sizeof posts / sizeof posts[0]; i++) {
        struct sweep like = struck(posts[i].place, posts[i].fault, 0);
        like.stride = posts[i].stride;
        like.phase = posts[i].phase;
        name(&like, "once");
        sweep_add_post(&like, posts[i].least);
    }
    return sweep_main(argc, argv);
}
