#include "half.h"

#include <cdtx/msg.h>
#include <stdio.h>
#include <string.h>

#include "cover.h"
#include "mirror.h"
#include "post.h"
#include "query.h"

enum { HALVES_MAX = 256, NUMBERS_MAX = 8192 };
enum told { NOT_TOLD, DONE, NOT_DONE };

/* One half, in the order of all queues. */
struct half_of {
    int queue, home; /* where it stands, and where its local transaction is */
    int by_function, stubborn;
    uint32_t number;           /* of its message */
    char handle[CDTX_GID_MAX]; /* "": it was not answered */
    enum told local;
    int told[CDTX_HALF_ROLLED_BACK + 1]; /* resolutions that were answered with 0 */
    int given_up;                        /* somebody has resolved it as rolled back by himself */
    uint32_t rows;                       /* of its local transaction, seen committed */
    uint32_t asked, open_answers;        /* calls of its function, and those that it answered with OPEN */
    uint32_t deaths;                     /* of processes, before it was prepared */
    uint32_t alarms;
    /* Its row, as seen last. */
    int64_t id;
    int state, parked;
    int busy; /* a clerk is at it */
};

struct halves {
    struct prng prng;
    struct half_of all[HALVES_MAX];
    uint32_t count;
    struct half_of *by_id[CLERKS][NUMBERS_MAX];
    int64_t looked[CLERKS];
    uint32_t checks_max;
    int64_t interval_ms;
};

struct asked {
    struct life *life;
    int queue;
};

void half_init(struct sim *sim) {
    struct halves *halves = sim->halves = world_alloc(&sim->world, sizeof *sim->halves);
    halves->prng = prng_new(sim->world.seed, "halves");
    halves->checks_max = (uint32_t)prng_range(&halves->prng, 2, 4);
    halves->interval_ms = prng_range(&halves->prng, 50, 300);
}

int32_t half_tables(cdtx_sql *sql, cdtx_error *err) {
    return cdtx_sql_exec(sql, "CREATE TABLE IF NOT EXISTS half (seq INTEGER PRIMARY KEY AUTOINCREMENT, half INTEGER)",
                         NULL, err);
}

static struct half_of *half_at(struct sim *sim, int which, uint32_t number) {
    for (uint32_t i = 0; i < sim->halves->count; i++)
        if (sim->halves->all[i].queue == which && sim->halves->all[i].number == number)
            return &sim->halves->all[i];
    return NULL;
}

static uint32_t index_of(const struct sim *sim, const struct half_of *half) {
    return (uint32_t)(half - sim->halves->all);
}

static uint32_t count_deaths(const struct sim *sim) {
    uint32_t deaths = 0;
    for (const struct life *life = sim->lives; life != NULL; life = life->all)
        deaths += (uint32_t)life->owner.gone;
    return deaths;
}

/* ---- checkers ---- */

static void producer_of(int home, int by_function, char name[24]) {
    snprintf(name, 24, "%s-%d", by_function ? "function" : "marks", home);
}

struct asking {
    const char *handle;
    int32_t state;
};

static int32_t rule_out(cdtx_sql *sql, void *user, cdtx_error *err) {
    struct asking *asking = user;
    return cdtx_half_rule_out(sql, asking->handle, &asking->state, err);
}

/* What became of its local transaction, for certain; OPEN: it cannot be told now. */
static int32_t find_out(struct life *life, const struct half_of *half, const char *handle) {
    struct asking *asking = world_alloc(&life->sim->world, sizeof *asking);
    *asking = (struct asking){handle, CDTX_HALF_OPEN};
    int32_t rc = cdtx_local(life->dbs[half->home], rule_out, asking, NULL);
    env_alive(life);
    return rc == 0 ? asking->state : CDTX_HALF_OPEN;
}

static int32_t check(const char *handle, const char *topic, const void *payload, size_t length, void *user) {
    const struct asked *checker = user;
    struct life *life = checker->life;
    struct sim *sim = life->sim;
    struct half_of *half = half_at(sim, checker->queue, post_number(payload, length));
    (void)topic;
    if (half == NULL || (half->handle[0] != '\0' && strcmp(half->handle, handle) != 0)) {
        violate(&sim->world, "M8", "%s is asked about a half message that nobody prepared, %s", life->name, handle);
        return CDTX_HALF_OPEN;
    }
    half->asked++;
    int open = half->stubborn || prng_chance(&sim->halves->prng, 1, 4);
    int32_t state = open ? CDTX_HALF_OPEN : find_out(life, half, handle);
    half->open_answers += state == CDTX_HALF_OPEN;
    cover(state == CDTX_HALF_OPEN        ? "check open"
          : state == CDTX_HALF_COMMITTED ? "check committed"
                                         : "check rolled back");
    tell(&sim->world, life->name, "half %u is checked: %d", index_of(sim, half), state);
    return state;
}

static int32_t add_checker(struct life *life, int queue, int home, int by_function, cdtx_error *err) {
    struct asked *checker = world_alloc(&life->sim->world, sizeof *checker);
    *checker = (struct asked){life, queue};
    char producer[24];
    producer_of(home, by_function, producer);
    cdtx_half_checker options = {
        .size = sizeof options,
        .checks_max = life->sim->halves->checks_max,
        .guard_db = by_function ? NULL : life->dbs[home],
        .check = by_function ? check : NULL,
        .user = checker,
        .interval_ms = life->sim->halves->interval_ms,
    };
    return cdtx_half_checker_add(life->dbs[queue], producer, &options, err);
}

int32_t half_register(struct life *life, cdtx_error *err) {
    int32_t rc = 0;
    for (int queue = 0; queue < CLERKS && life->sim->knobs.halves; queue++)
        for (int home = 0; home < CLERKS && life->dbs[queue] != NULL; home++)
            for (int by_function = 0; rc == 0 && by_function < 2 && life->dbs[home] != NULL; by_function++)
                rc = add_checker(life, queue, home, by_function, err);
    return rc;
}

/* ---- the way of one ---- */

struct marking {
    struct life *life;
    struct half_of *half;
    int fails;
};

static int32_t mark(cdtx_sql *sql, void *user, cdtx_error *err) {
    const struct marking *marking = user;
    struct sim *sim = marking->life->sim;
    int32_t rc = cdtx_half_mark(sql, marking->half->handle, err);
    if (rc != 0)
        return rc;
    cdtx_sql_bind_int(sql, index_of(sim, marking->half));
    check_touched(sim, marking->half->home, TOUCH_ROWS);
    rc = cdtx_sql_exec(sql, "INSERT INTO half (half) VALUES (?)", NULL, err);
    return rc != 0 ? rc : marking->fails ? CDTX_USER : 0;
}

static int32_t mark_by_handle(const struct marking *marking, cdtx_error *err) {
    struct life *life = marking->life;
    struct prng *prng = &life->sim->halves->prng;
    cdtx_sql *sql = NULL;
    int32_t rc = cdtx_sql_begin(life->dbs[marking->half->home], &sql, err);
    env_alive(life);
    if (rc != 0)
        return rc;
    if (prng_chance(prng, 1, 2))
        env_think(life, prng_range(prng, 0, 600 * MS)); /* it may be ruled out meanwhile, or it is not yet marked */
    rc = mark(sql, (void *)(uintptr_t)marking, err);
    const struct knobs *knobs = &life->sim->knobs;
    int64_t wait = knobs->wait_ms * MS, left = knobs->run + knobs->night - life->sim->world.now;
    int64_t most = 3 * wait < left ? 3 * wait : left;
    if (wait < 6 * SECOND && most > wait && prng_chance(prng, 1, 2)) /* so long that nobody can be asked */
        env_think(life, prng_range(prng, wait, most));
    else
        env_think(life, prng_range(prng, 0, prng_chance(prng, 1, 3) ? 900 * MS : 20 * MS));
    if (rc == 0)
        rc = cdtx_sql_commit(sql, err);
    env_alive(life);
    cdtx_sql_close(sql);
    env_alive(life);
    return rc;
}

static void do_local(struct life *life, struct half_of *half) {
    struct sim *sim = life->sim;
    struct prng *prng = &sim->halves->prng;
    struct marking *marking = world_alloc(&sim->world, sizeof *marking);
    *marking = (struct marking){life, half, prng_chance(prng, 1, 4)};
    cdtx_error err = {0};
    int apart = half->home != half->queue && !half->by_function;
    int32_t rc = prng_chance(prng, apart ? 2 : 1, 3) ? mark_by_handle(marking, &err)
                                                     : cdtx_local(life->dbs[half->home], mark, marking, &err);
    env_alive(life);
    int32_t happened = rc == CDTX_USER ? 0 : cdtx_happened(rc);
    half->local = happened == 1 ? DONE : happened == 0 ? NOT_DONE : NOT_TOLD;
    if (rc == CDTX_REFUSED)
        cover("mark refused");
    tell(&sim->world, life->name, "half %u, its local transaction: %s", index_of(sim, half), cdtx_code_name(rc));
}

/* M4: the first resolution wins, and a contradiction is told. */
static void resolve(struct life *life, struct half_of *half, int32_t outcome) {
    struct sim *sim = life->sim;
    int32_t other = outcome == CDTX_HALF_COMMITTED ? CDTX_HALF_ROLLED_BACK : CDTX_HALF_COMMITTED;
    half->given_up |= outcome == CDTX_HALF_ROLLED_BACK;
    cdtx_error err = {0};
    int32_t rc = prng_chance(&sim->halves->prng, 1, 6)
                     ? cdtx_half_settle(life->dbs[half->queue], half->handle, outcome, life->name, "it is so", &err)
                     : cdtx_half_resolve(life->dbs[half->queue], half->handle, outcome, &err);
    env_alive(life);
    tell(&sim->world, life->name, "half %u is resolved, %d: %s", index_of(sim, half), outcome, cdtx_code_name(rc));
    half->told[outcome] |= rc == 0;
    int wrong = rc == 0 ? half->told[other] || half->state == other
                        : (rc == CDTX_CONFLICT && half->state != other) || (rc == CDTX_EXPIRED && half->state < 2);
    if (wrong || rc == CDTX_NOT_FOUND)
        violate(&sim->world, "M4", "half %u is resolved as %d and answered %s; it was %d, told %d %d",
                index_of(sim, half), outcome, cdtx_code_name(rc), half->state, half->told[CDTX_HALF_COMMITTED],
                half->told[CDTX_HALF_ROLLED_BACK]);
    if (rc == 0 || rc == CDTX_CONFLICT)
        cover(rc == 0 ? "half resolved" : "half resolved the other way");
}

/* As its local transaction went; the other way only once that is told. */
static void end(struct life *life, struct half_of *half) {
    struct prng *prng = &life->sim->halves->prng;
    if (half->local == NOT_TOLD)
        return;
    int32_t right = half->local == DONE ? CDTX_HALF_COMMITTED : CDTX_HALF_ROLLED_BACK;
    resolve(life, half, right);
    if (half->told[right] && life->open && prng_chance(prng, 1, 2))
        resolve(life, half, right == CDTX_HALF_COMMITTED ? CDTX_HALF_ROLLED_BACK : CDTX_HALF_COMMITTED);
    if (life->open && prng_chance(prng, 1, 4))
        resolve(life, half, right);
}

static void begin(struct life *life, int queue) {
    struct sim *sim = life->sim;
    struct halves *halves = sim->halves;
    struct prng *prng = &halves->prng;
    struct post_note note;
    if (halves->count == HALVES_MAX || !post_new_half(sim, queue, &note))
        return;
    struct half_of *half = &halves->all[halves->count++];
    *half = (struct half_of){.queue = queue, .home = queue, .number = note.number, .busy = 1};
    if (sim->knobs.topology >= ALL_IN_ONE)
        half->home = (int)prng_below(prng, CLERKS);
    half->deaths = count_deaths(sim);
    half->by_function = prng_chance(prng, 1, 2);
    half->stubborn = prng_chance(prng, 1, 6);
    char producer[24], handle[CDTX_GID_MAX] = "";
    producer_of(half->home, half->by_function, producer);
    cdtx_half_options options = {.size = sizeof options, .producer = producer, .immunity_ms = prng_range(prng, 1, 700)};
    int32_t rc = cdtx_half_prepare(life->dbs[queue], "news", &note, sizeof note, &options, handle, NULL);
    env_alive(life);
    tell(&sim->world, life->name, "prepares half %u in %d for %s: %s", index_of(sim, half), queue, producer,
         cdtx_code_name(rc));
    if (rc == 0)
        memcpy(half->handle, handle, sizeof handle);
    if (rc == 0 && prng_chance(prng, 1, 2))
        env_think(life, prng_range(prng, 0, 500 * MS));
    if (rc == 0 && life->open && !prng_chance(prng, 1, 10))
        do_local(life, half);
    if (rc == 0 && life->open && prng_chance(prng, 1, 2))
        end(life, half);
    half->busy = 0;
    cover(half->home == queue ? "half at home" : "half elsewhere");
}

void half_step(struct life *life, int which) {
    struct halves *halves = life->sim->halves;
    struct half_of *left = halves->count == 0 ? NULL : &halves->all[prng_below(&halves->prng, halves->count)];
    if (left != NULL && left->queue == which && !left->busy && left->handle[0] != '\0' &&
        prng_chance(&halves->prng, 1, 3)) {
        cover("half ended by another");
        end(life, left);
    } else {
        begin(life, which);
    }
}

/* ---- what is seen ---- */

void half_parked(struct sim *sim, const char *line) {
    for (uint32_t i = 0; i < sim->halves->count; i++) {
        struct half_of *half = &sim->halves->all[i];
        const char *at = half->handle[0] == '\0' ? NULL : strstr(line, half->handle);
        if (at == NULL || at[strlen(half->handle)] != ' ') /* it may be the beginning of another's */
            continue;
        cover("half parked");
        if (++half->alarms > 1)
            violate(&sim->world, "C10", "%u alarms about half %u, which was parked once", half->alarms, i);
    }
}

/* M6: what was ruled out has no effect; what is committed has one. Who resolves it himself must know. */
static void check_pair(struct sim *sim, const struct half_of *half) {
    if (half->rows > 1)
        violate(&sim->world, "M6", "half %u stands for %u local transactions", index_of(sim, half), half->rows);
    if (half->state == CDTX_HALF_ROLLED_BACK && half->rows > 0 && !half->given_up)
        violate(&sim->world, "M6", "half %u is rolled back by a check, and its local transaction is committed",
                index_of(sim, half));
    if (half->state == CDTX_HALF_COMMITTED && half->rows == 0)
        violate(&sim->world, "M1", "half %u is committed, and its local transaction is not", index_of(sim, half));
}

static void look_effects(struct sim *sim, int which, sqlite3 *db) {
    struct halves *halves = sim->halves;
    sqlite3_stmt *s = query(db, "SELECT seq, half FROM half WHERE seq > ? ORDER BY seq");
    sqlite3_bind_int64(s, 1, halves->looked[which]);
    while (s != NULL && sqlite3_step(s) == SQLITE_ROW) {
        struct half_of *half = &halves->all[sqlite3_column_int64(s, 1) % HALVES_MAX];
        halves->looked[which] = sqlite3_column_int64(s, 0);
        half->rows++;
        check_pair(sim, half);
    }
    sqlite3_finalize(s);
}

/* M5: it was asked so many times. A check is written down before it is made, so a process may have died between. */
static void check_parking(struct sim *sim, const struct half_of *half) {
    uint32_t most = sim->halves->checks_max, deaths = count_deaths(sim) - half->deaths;
    int disks = knobs_have(&sim->knobs, FAULT_SYNC) || knobs_have(&sim->knobs, FAULT_DISK_ERROR);
    if (half->open_answers >= most || (half->by_function && (half->asked + deaths >= most || disks)))
        return;
    violate(&sim->world, "M5", "half %u is parked; %u checks were asked, of %u", index_of(sim, half), half->asked,
            most);
}

/* M4 and M5 of one row. */
static void look_row(struct sim *sim, int which, int64_t id, sqlite3_stmt *s) {
    struct halves *halves = sim->halves;
    int state = sqlite3_column_int(s, 1), parked = sqlite3_column_int(s, 2);
    if (id < 1 || id >= NUMBERS_MAX)
        return;
    if (halves->by_id[which][id] == NULL && state == CDTX_HALF_OPEN)
        halves->by_id[which][id] =
            half_at(sim, which, post_number(sqlite3_column_blob(s, 3), (size_t)sqlite3_column_bytes(s, 3)));
    struct half_of *half = halves->by_id[which][id];
    if (half == NULL)
        return;
    if (half->id != 0 && half->id != id)
        violate(&sim->world, "C8", "half %u has the numbers %lld and %lld", index_of(sim, half), (long long)half->id,
                (long long)id);
    if (half->state > CDTX_HALF_OPEN && state != half->state)
        violate(&sim->world, "M4", "half %u was resolved as %d, and is %d now", index_of(sim, half), half->state,
                state);
    if (parked && !half->parked)
        check_parking(sim, half);
    half->id = id;
    int changed = state != half->state;
    half->state = state;
    half->parked |= parked;
    if (changed)
        check_pair(sim, half);
}

static void look_halves(struct sim *sim, int which, sqlite3 *db) {
    struct halves *halves = sim->halves;
    uint8_t seen[HALVES_MAX] = {0};
    sqlite3_stmt *s = query(db, "SELECT id, state, parked IS NOT NULL, payload FROM cdtx_half");
    int rc = SQLITE_ERROR;
    while (s != NULL && (rc = sqlite3_step(s)) == SQLITE_ROW) {
        int64_t id = sqlite3_column_int64(s, 0);
        look_row(sim, which, id, s);
        if (id < NUMBERS_MAX && halves->by_id[which][id] != NULL)
            seen[index_of(sim, halves->by_id[which][id])] = 1;
    }
    sqlite3_finalize(s);
    for (uint32_t i = 0; i < halves->count && rc == SQLITE_DONE; i++)
        if (halves->all[i].queue == which && halves->all[i].state == CDTX_HALF_OPEN && !seen[i])
            violate(&sim->world, "M5", "half %u is discarded; nobody had resolved it", i);
}

void half_look(struct sim *sim, int which, sqlite3 *db, uint32_t touched) {
    if (!sim->knobs.halves)
        return;
    if (touched & TOUCH_ROWS)
        look_effects(sim, which, db);
    if (touched != 0)
        look_halves(sim, which, db);
}

void half_delivered(struct sim *sim, int which, uint32_t number) {
    const struct half_of *half = half_at(sim, which, number);
    if (half == NULL)
        return;
    if (half->told[CDTX_HALF_ROLLED_BACK] && !half->told[CDTX_HALF_COMMITTED])
        violate(&sim->world, "M4", "half %u is delivered; it was resolved as rolled back", index_of(sim, half));
    else if (half->local == NOT_DONE)
        violate(&sim->world, "M3", "half %u is delivered; its local transaction was rolled back", index_of(sim, half));
    else if (half->rows == 0)
        violate(&sim->world, "M1", "half %u is delivered; its local transaction has not committed",
                index_of(sim, half));
    else if (prng_chance(&sim->checker->prng, 1, 8) &&
             dump_image_count(sim, half->home, "SELECT count(*) FROM half WHERE half = ?", index_of(sim, half)) == 0)
        violate(&sim->world, "M1", "half %u is delivered; a power loss would undo its local transaction",
                index_of(sim, half));
}

/* ---- the end ---- */

/* Nobody answers for it, ever; so it is parked, and stays. */
static int is_left(const struct half_of *half) {
    return half->stubborn && half->by_function && half->state == CDTX_HALF_OPEN && half->parked;
}

int64_t half_left(const struct sim *sim, int which) {
    int64_t count = 0;
    for (uint32_t i = 0; i < sim->halves->count; i++)
        count += sim->halves->all[i].queue == which && is_left(&sim->halves->all[i]);
    return count;
}

int half_is_visible(const struct sim *sim, int which, uint32_t number) {
    const struct half_of *half = half_at((struct sim *)(uintptr_t)sim, which, number);
    return half != NULL && half->rows > 0 &&
           (half->state == CDTX_HALF_COMMITTED || (!half->given_up && !is_left(half)));
}

/* C10: what is parked is a case, and nothing else is. */
void half_read(struct sim *sim, int which, sqlite3 *db) {
    if (!sim->knobs.halves)
        return;
    int64_t cases = query_number(query(db, "SELECT count(*) FROM cdtx_case WHERE kind = 'half' AND state = 1"));
    int64_t parked = query_number(query(db, "SELECT count(*) FROM cdtx_half WHERE state = 1 AND parked IS NOT NULL"));
    if (cases != parked)
        violate(&sim->world, "C10", "%lld cases of half messages are open in %d; %lld are parked", (long long)cases,
                which, (long long)parked);
}

void half_final(struct sim *sim) {
    for (uint32_t i = 0; i < sim->halves->count; i++) {
        const struct half_of *half = &sim->halves->all[i];
        if (half->handle[0] != '\0' && half->id == 0)
            violate(&sim->world, "C2", "half %u was prepared, and its row is gone", i);
        if (half->state == CDTX_HALF_OPEN && !is_left(half))
            violate(&sim->world, "M5", "half %u is still not resolved; its producer %s", i,
                    half->by_function ? "answers" : "has marks");
        if (half->local != NOT_TOLD && (half->local == DONE) != (half->rows > 0))
            violate(&sim->world, half->rows > 0 ? "C9" : "C2", "the local transaction of half %u was %stold, and is %s",
                    i, half->local == DONE ? "" : "not ", half->rows > 0 ? "there" : "gone");
        check_pair(sim, half);
    }
}
