#include "hook.h"

#include <stdio.h>
#include <string.h>

#include "attempt.h"
#include "clerk.h"
#include "cover.h"
#include "mirror.h"
#include "query.h"

enum { HOOKS_MAX = 512 };
enum fate { OPEN, RECORDED, NOT_RECORDED };

struct hook_of {
    char name[40]; /* of its transaction */
    int commits;   /* which side it is of */
    int plain, keyed;
    enum fate fate; /* RECORDED: if its transaction is */
    uint32_t yes;
    struct attempts attempts;
};

struct hooks {
    struct prng prng;
    struct hook_of hooks[HOOKS_MAX];
    uint32_t count;
};

struct handler {
    struct life *life;
    int plain;
};

void hook_init(struct sim *sim) {
    sim->hooks = world_alloc(&sim->world, sizeof *sim->hooks);
    sim->hooks->prng = prng_new(sim->world.seed, "hooks");
}

int32_t hook_tables(cdtx_sql *sql, cdtx_error *err) {
    return cdtx_sql_exec(sql, "CREATE TABLE IF NOT EXISTS hook (number INTEGER, gid TEXT)", NULL, err);
}

/* ---- running ---- */

static int fits(const struct row *row, int commits) {
    int64_t state = row->now.state;
    if (commits)
        return state == CDTX_TX_COMMITTED || (state == CDTX_TX_COMMITTING && row->now.reverse_after == 0);
    return state == CDTX_TX_ROLLING_BACK || state == CDTX_TX_ROLLED_BACK || state == CDTX_TX_REVERSED;
}

static void check_start(struct life *life, const struct hook_of *hook, const char *gid) {
    struct sim *sim = life->sim;
    const struct row *row = gid[0] == '\0' ? NULL : mirror_gid(sim, gid);
    const char *side = hook->commits ? "commit" : "rollback";
    if (row == NULL || !row->stored || strcmp(row->name, hook->name) != 0) {
        violate(&sim->world, "hook", "a hook of %s runs as one of '%s'", hook->name, gid);
        return;
    }
    if (!fits(row, hook->commits))
        violate(&sim->world, "hook", "a %s hook of gid %lld runs; it is %s", side, (long long)row->now.sequence,
                state_names[row->now.state]);
    mirror_outcome(sim, mirror_gid(sim, gid), hook->commits ? OUTCOME_COMMIT : OUTCOME_UNDONE, "its hook");
    if (row->dropped || !prng_chance(&sim->checker->prng, 1, 8))
        return;
    struct row image = *row;
    image.now.state = dump_image_state(sim, row->now.sequence);
    if (!fits(&image, hook->commits))
        violate(&sim->world, "hook", "a %s hook of gid %lld runs; a power loss would undo the decision", side,
                (long long)row->now.sequence);
}

static int32_t run(cdtx_work *work, void *user, cdtx_error *err) {
    struct handler *handler = user;
    struct life *life = handler->life;
    struct sim *sim = life->sim;
    size_t length;
    const uint32_t *number = cdtx_work_payload(work, &length);
    if (length != sizeof *number || *number >= sim->hooks->count) {
        violate(&sim->world, "hook", "%s runs a hook that nobody put", life->name);
        strand_end(&sim->world);
    }
    struct hook_of *hook = &sim->hooks->hooks[*number];
    const char *gid = cdtx_work_gid(work);
    attempt_begin(life, &hook->attempts, work);
    if (hook->plain != handler->plain || hook->fate == NOT_RECORDED)
        violate(&sim->world, "hook", "hook %u of %s runs, and should not here", *number, hook->name);
    check_start(life, hook, gid);
    int32_t rc = 0;
    if (!handler->plain) {
        cdtx_sql_bind_int(cdtx_work_sql(work), *number);
        cdtx_sql_bind_text(cdtx_work_sql(work), gid, strlen(gid));
        rc = cdtx_sql_exec(cdtx_work_sql(work), "INSERT INTO hook VALUES (?, ?)", NULL, err);
    }
    if (rc != 0)
        return rc;
    enum answer say = sim_fault(sim, FAULT_HANDLER_ERROR, &sim->hooks->prng, 4) ? SAID_FAILED : SAID_YES;
    attempt_answer(life, &hook->attempts, work, say, 0);
    hook->yes += say == SAID_YES;
    cover(hook->commits ? "commit hook" : "rollback hook");
    return attempt_code(work, say, 0, err);
}

static const char *const handlers[] = {"hook-local", "hook-plain"};

int32_t hook_register(struct life *life, cdtx_error *err) {
    int32_t rc = 0;
    for (int plain = 0; plain < 2 && rc == 0 && life->sim->knobs.hooks_in > 0 && life->dbs[CLERK_LOG] != NULL;
         plain++) {
        struct handler *handler = world_alloc(&life->sim->world, sizeof *handler);
        *handler = (struct handler){life, plain};
        cdtx_handler_options options = {
            .size = sizeof options,
            .in_local = !plain,
            .handler = run,
            .user = handler,
            .attempts_max = 100000,
            .crashes_max = 100000,
            .lease_ms = ATTEMPT_LEASE_MS,
            .backoff_min_ms = ATTEMPT_BACKOFF_MIN_MS,
            .backoff_max_ms = ATTEMPT_BACKOFF_MAX_MS,
        };
        rc = cdtx_handler_add(life->dbs[CLERK_LOG], handlers[plain], &options, err);
    }
    return rc;
}

/* ---- putting ---- */

static void attach_one(struct life *life, cdtx_tx *tx, const char *name, int keyed) {
    struct hooks *hooks = life->sim->hooks;
    struct prng *prng = &hooks->prng;
    if (hooks->count == HOOKS_MAX)
        return;
    uint32_t number = hooks->count++;
    struct hook_of *hook = &hooks->hooks[number];
    hook->commits = prng_chance(prng, 1, 2);
    hook->plain = prng_chance(prng, 1, 3);
    hook->keyed = keyed;
    hook->attempts = (struct attempts){.what = "hook", .which = CLERK_LOG, .id = number};
    snprintf(hook->name, sizeof hook->name, "%s", name);
    int begun = cdtx_tx_gid(tx)[0] != '\0';
    cdtx_job_options options = {.size = sizeof options, .priority = (int32_t)prng_below(prng, 3)};
    if (prng_chance(prng, 1, 4))
        options.delay_ms = prng_range(prng, 1, 800);
    int32_t rc = (hook->commits ? cdtx_tx_after_commit : cdtx_tx_after_rollback)(tx, handlers[hook->plain], &number,
                                                                                 sizeof number, &options, NULL);
    env_alive(life);
    int32_t happened = cdtx_happened(rc);
    hook->fate = happened == 1 ? RECORDED : happened == 0 ? NOT_RECORDED : OPEN;
    if (rc == 0)
        cover(begun ? "hook behind begin" : "hook before begin");
    tell(&life->sim->world, name, "hook %u, of a %s: %s", number, hook->commits ? "commit" : "rollback",
         cdtx_code_name(rc));
}

void hook_attach(struct life *life, cdtx_tx *tx, const char *name, int keyed) {
    struct prng *prng = &life->sim->hooks->prng;
    if (life->sim->knobs.hooks_in == 0 || !prng_chance(prng, 1, life->sim->knobs.hooks_in))
        return;
    for (int64_t left = prng_range(prng, 1, 3); left > 0; left--)
        attach_one(life, tx, name, keyed);
}

/* ---- the end ---- */

static const struct row *row_named(const struct sim *sim, const char *name) {
    const struct book *book = &sim->checker->books[REAL];
    for (int64_t i = 1; i <= book->highest; i++)
        if (book->rows[i] != NULL && book->rows[i]->stored && strcmp(book->rows[i]->name, name) == 0)
            return book->rows[i];
    return NULL;
}

static void check_hook(struct sim *sim, uint32_t number, uint32_t effects) {
    const struct hook_of *hook = &sim->hooks->hooks[number];
    const struct row *row = row_named(sim, hook->name);
    uint32_t most = hook->plain ? UINT32_MAX : 1;
    uint32_t count = hook->plain ? hook->yes : effects;
    int side = row != NULL && fits(row, hook->commits);
    if (count > most)
        violate(&sim->world, "hook", "hook %u of %s has had its effect %u times", number, hook->name, count);
    if (hook->keyed || hook->fate == OPEN)
        return;
    if (count > 0 && !side)
        violate(&sim->world, "hook", "a %s hook of %s has run; it is %s", hook->commits ? "commit" : "rollback",
                hook->name, row == NULL ? "not begun" : state_names[row->now.state]);
    else if (count == 0 && side && hook->fate == RECORDED)
        violate(&sim->world, "hook", "the %s hook %u of gid %lld, which is %s, has not run",
                hook->commits ? "commit" : "rollback", number, (long long)row->now.sequence,
                state_names[row->now.state]);
}

void hook_final(struct sim *sim, sqlite3 *db) {
    uint32_t effects[HOOKS_MAX] = {0};
    query_count(query(db, "SELECT number FROM hook"), effects, HOOKS_MAX);
    int64_t left = query_number(query(db, "SELECT count(*) FROM cdtx_job WHERE handler GLOB 'hook-*'"));
    if (left != 0)
        violate(&sim->world, "L1", "%lld hooks are still there when all has ended", (long long)left);
    for (uint32_t i = 0; i < sim->hooks->count; i++)
        check_hook(sim, i, effects[i]);
}
