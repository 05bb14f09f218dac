#include "clerk.h"

#include <stdio.h>
#include <string.h>

#include "checks.h"
#include "chore.h"
#include "cover.h"
#include "errand.h"
#include "half.h"
#include "post.h"
#include "query.h"
#include "scenario.h"

enum { PAGES = 2048 };
enum fate { OPEN, DONE, NOT_DONE }; /* OPEN: never answered, or UNKNOWN */
enum deed {
    CLOSURE,
    CLOSURE_FAILS,
    CLOSURE_BAD_SQL,
    CLOSURE_BREAKS_OUT,
    CLOSURE_WAITS,
    HANDLE,
    HANDLE_ROLLBACK,
    HANDLE_LEFT,
    DEEDS
};

/* What the clerk knows of each line it ever wrote, by number. */
struct book_of_clerk {
    uint8_t fate[PAGES];
    uint32_t count;
};

struct clerks {
    struct book_of_clerk books[CLERKS];
};

struct clerk {
    struct life *life;
    int which;
};

/* One local transaction, perhaps run several times. */
struct line {
    struct clerk *clerk;
    enum deed deed;
    uint32_t number;
};

void clerk_init(struct sim *sim) {
    sim->clerks = world_alloc(&sim->world, sizeof *sim->clerks);
}

int32_t clerk_tables(cdtx_sql *sql, cdtx_error *err) {
    int32_t rc =
        cdtx_sql_exec(sql, "CREATE TABLE IF NOT EXISTS clerk (number INTEGER PRIMARY KEY, life TEXT)", NULL, err);
    if (rc == 0)
        rc = errand_tables(sql, err);
    if (rc == 0)
        rc = chore_tables(sql, err);
    if (rc == 0)
        rc = post_tables(sql, err);
    return rc != 0 ? rc : half_tables(sql, err);
}

static int32_t write_line(cdtx_sql *sql, const struct line *line, const char *statement, cdtx_error *err) {
    cdtx_sql_bind_int(sql, line->number);
    cdtx_sql_bind_text(sql, line->clerk->life->name, strlen(line->clerk->life->name));
    return cdtx_sql_exec(sql, statement, NULL, err);
}

static int32_t nothing(cdtx_sql *sql, void *user, cdtx_error *err) {
    (void)sql;
    (void)user;
    (void)err;
    return 0;
}

static int32_t must_not_wait(const struct line *line, cdtx_error *err) {
    struct life *life = line->clerk->life;
    int32_t rc = cdtx_local(life->dbs[line->clerk->which], nothing, NULL, err);
    env_alive(life);
    if (rc != CDTX_MISUSE)
        violate(&life->sim->world, "C9", "%s: a closure waited for its own commit and was answered %s", life->name,
                cdtx_code_name(rc));
    return CDTX_USER;
}

static const char insert[] = "INSERT INTO clerk VALUES (?, ?)";

static int32_t closure(cdtx_sql *sql, void *user, cdtx_error *err) {
    struct line *line = user;
    struct life *life = line->clerk->life;
    int32_t rc = write_line(sql, line, insert, err);
    if (rc != 0)
        return rc;
    if (prng_chance(&life->sim->world.work, 1, 4))
        env_think(life, prng_range(&life->sim->world.work, 0, 5 * MS));
    if (line->deed == CLOSURE_FAILS)
        return CDTX_USER;
    if (line->deed == CLOSURE_BAD_SQL)
        return cdtx_sql_exec(sql, "INSERT INTO no_such_table VALUES (1)", NULL, err);
    if (line->deed == CLOSURE_BREAKS_OUT) /* ends the whole transaction, and with it the group */
        return write_line(sql, line, "INSERT OR ROLLBACK INTO clerk VALUES (?, ?)", err);
    if (line->deed == CLOSURE_WAITS) /* for a commit that comes only after itself */
        return must_not_wait(line, err);
    return 0;
}

static int32_t by_handle(struct line *line, cdtx_error *err) {
    struct life *life = line->clerk->life;
    cdtx_sql *sql = NULL;
    int32_t rc = cdtx_sql_begin(life->dbs[line->clerk->which], &sql, err);
    env_alive(life);
    if (rc != 0)
        return rc;
    rc = write_line(sql, line, insert, err);
    int64_t most = prng_chance(&life->sim->world.work, 1, 8) && life->sim->knobs.dead == 0 ? 2 * SECOND : 20 * MS;
    env_think(life, prng_range(&life->sim->world.work, 0, most));
    if (rc == 0 && line->deed == HANDLE)
        rc = cdtx_sql_commit(sql, err);
    else if (rc == 0)
        rc = line->deed == HANDLE_ROLLBACK ? cdtx_sql_rollback(sql, err) : 0;
    env_alive(life);
    cdtx_sql_close(sql);
    env_alive(life);
    return rc != 0 ? rc : line->deed == HANDLE ? 0 : CDTX_USER;
}

static void write_one(struct clerk *clerk) {
    struct sim *sim = clerk->life->sim;
    struct book_of_clerk *book = &sim->clerks->books[clerk->which];
    if (book->count == PAGES)
        return;
    struct line *line = world_alloc(&sim->world, sizeof *line);
    *line = (struct line){clerk, (enum deed)prng_below(&sim->world.work, DEEDS), book->count++};
    static const char *const deeds[DEEDS] = {"closure",       "closure fails", "closure bad sql", "closure breaks out",
                                             "closure waits", "handle",        "handle rollback", "handle left"};
    cdtx_error err = {0};
    int32_t rc =
        line->deed < HANDLE ? cdtx_local(clerk->life->dbs[clerk->which], closure, line, &err) : by_handle(line, &err);
    env_alive(clerk->life);
    cover(deeds[line->deed]);
    tell(&sim->world, clerk->life->name, "clerk of %d: line %u, %s: %s %.80s", clerk->which, line->number,
         deeds[line->deed], cdtx_code_name(rc), rc == 0 ? "" : err.text);
    int32_t happened = rc == CDTX_USER ? 0 : cdtx_happened(rc);
    book->fate[line->number] = happened == 1 ? DONE : happened == 0 ? NOT_DONE : OPEN;
    if (rc == 0 && line->deed != CLOSURE && line->deed != HANDLE)
        violate(&sim->world, "C9", "%s: a local transaction that fails (%s) answered success", clerk->life->name,
                deeds[line->deed]);
    if (rc == CDTX_MISUSE && clerk->life->open)
        violate(&sim->world, "C9", "%s: %s: %s", clerk->life->name, deeds[line->deed], err.text);
}

static void clerk_live(void *argument) {
    struct clerk *clerk = argument;
    struct life *life = clerk->life;
    struct prng *work = &life->sim->world.work;
    while (!life->quit && life->sim->faults_on && tape_clerks(life->sim)) {
        env_think(life, prng_range(work, 1 * MS, 2 * SECOND));
        if (life->open && prng_chance(work, 2, 3))
            write_one(clerk);
        if (life->open && prng_chance(work, 2, 3))
            errand_put(life, clerk->which);
        if (life->open && life->sim->knobs.chores)
            chore_step(life, clerk->which);
        if (life->open && life->sim->knobs.posts)
            post_step(life, clerk->which);
        if (life->open && life->sim->knobs.halves)
            half_step(life, clerk->which);
    }
}

int32_t clerk_serve(struct life *life, int which, cdtx_error *err) {
    int32_t rc = errand_register(life, which, err);
    if (rc != 0)
        return rc;
    struct clerk *clerk = world_alloc(&life->sim->world, sizeof *clerk);
    *clerk = (struct clerk){life, which};
    strand_new(&life->sim->world, &life->owner, "clerk", clerk_live, clerk, 1 * MS);
    return 0;
}

void clerk_final(struct sim *sim, int which, sqlite3 *db) {
    const struct book_of_clerk *book = &sim->clerks->books[which];
    uint32_t there[PAGES] = {0};
    query_count(query(db, "SELECT number FROM clerk"), there, PAGES);
    for (uint32_t i = 0; i < book->count; i++) {
        if (book->fate[i] == DONE && !there[i])
            violate(&sim->world, "C2", "line %u of clerk %d was committed and is gone", i, which);
        if (book->fate[i] == NOT_DONE && there[i])
            violate(&sim->world, "C9", "line %u of clerk %d is there, though it was told not to have happened", i,
                    which);
    }
    errand_final(sim, which, db);
}
