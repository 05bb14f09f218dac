/* Reads the tables as SQLite has them, without the library: through a life's own connection while it is at rest (so
 * that the look disturbs nobody), or in an image of the disk. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chore.h"
#include "clerk.h"
#include "cron.h"
#include "half.h"
#include "hook.h"
#include "mirror.h"
#include "post.h"
#include "query.h"
#include "rogue.h"
#include "shop.h"

/* ---- the log ---- */

static uint32_t read_u32(const uint8_t *bytes) {
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* cdtx_tx.branches: a version byte, then two blocks (u32 length, bytes, NUL) a branch. UINT32_MAX: garbled. */
static uint32_t count_branches(const uint8_t *bytes, size_t length) {
    uint32_t blocks = 0;
    size_t at = 1;
    while (at < length) {
        if (length - at < 5 || read_u32(bytes + at) > length - at - 5)
            return UINT32_MAX;
        at += 5 + read_u32(bytes + at);
        blocks++;
    }
    return length == 0 || at != length || blocks % 2 != 0 ? UINT32_MAX : blocks / 2;
}

static void look_uuid(struct sim *sim, sqlite3 *db) {
    struct book *book = &sim->checker->books[REAL];
    sqlite3_stmt *statement = query(db, "SELECT uuid FROM cdtx_meta WHERE id = 1");
    if (statement != NULL && sqlite3_step(statement) == SQLITE_ROW && sqlite3_column_bytes(statement, 0) == 16) {
        if (book->known && memcmp(book->log, sqlite3_column_blob(statement, 0), 16) != 0)
            violate(&sim->world, "C8", "the log has got another uuid");
        memcpy(book->log, sqlite3_column_blob(statement, 0), 16);
        book->known = 1;
    }
    sqlite3_finalize(statement);
}

static void look_row(struct sim *sim, sqlite3_stmt *s, const struct life *writer) {
    struct tx_row now = {
        .sequence = sqlite3_column_int64(s, 0),
        .state = sqlite3_column_int64(s, 1),
        .epoch = sqlite3_column_int64(s, 2),
        .attempts = sqlite3_column_int64(s, 3),
        .acked = sqlite3_column_int64(s, 4),
        .reason = sqlite3_column_int64(s, 5),
        .reverse_after = sqlite3_column_int64(s, 6),
        .noes = sqlite3_column_int64(s, 7),
        .parked = sqlite3_column_int(s, 8),
        .name = (const char *)sqlite3_column_text(s, 9),
        .count = count_branches(sqlite3_column_blob(s, 10), (size_t)sqlite3_column_bytes(s, 10)),
    };
    if (now.count == UINT32_MAX || now.name == NULL)
        violate(&sim->world, "C4", "the branches of gid %lld are garbled", (long long)now.sequence);
    else
        mirror_tx(sim, writer, &now);
}

static void look_cases(struct sim *sim, sqlite3 *db) {
    sqlite3_stmt *s =
        query(db, "SELECT subject, count(*), sum(state = 1) FROM cdtx_case WHERE kind = 'tx' GROUP BY subject");
    while (s != NULL && sqlite3_step(s) == SQLITE_ROW)
        mirror_case(sim, (const char *)sqlite3_column_text(s, 0), sqlite3_column_int64(s, 1),
                    sqlite3_column_int(s, 2) != 0);
    sqlite3_finalize(s);
}

/* One statement, since to prepare them is most of the work; its last row is the log's own. */
static void look_log(struct sim *sim, sqlite3 *db, const struct life *writer) {
    struct checker *checker = sim->checker;
    const struct life *by = checker->unattributed ? NULL : writer;
    sqlite3_stmt *s =
        query(db, "SELECT seq, state, epoch, attempts, acked, reason, reverse_after, noes,"
                  " parked IS NOT NULL, name, branches FROM cdtx_tx UNION ALL"
                  " SELECT seq, 0, floor, (SELECT count(*) FROM cdtx_case WHERE kind = 'tx'), 0, 0, 0, 0, 0, '', x'01'"
                  " FROM cdtx_meta");
    int64_t sequence = 0, floor = 0, cases = 0;
    int rc = SQLITE_ERROR;
    while (s != NULL && (rc = sqlite3_step(s)) == SQLITE_ROW) {
        if (sqlite3_column_int64(s, 1) != 0) {
            look_row(sim, s, by);
            continue;
        }
        sequence = sqlite3_column_int64(s, 0);
        floor = sqlite3_column_int64(s, 2);
        cases = sqlite3_column_int64(s, 3);
    }
    sqlite3_finalize(s);
    if (rc != SQLITE_DONE)
        return;
    checker->unattributed = 0;
    if (cases > 0)
        look_cases(sim, db);
    mirror_meta(sim, sequence, floor);
    mirror_log_end(sim);
}

/* ---- a participant's database ---- */

/* What was committed once must stand there for ever, in the same order. */
static void look_known(struct sim *sim, enum participant participant, int64_t seq, sqlite3_stmt *s) {
    const struct effect *effect = &sim->checker->ledgers[participant].effects[seq];
    uint8_t log[16];
    int64_t sequence = 0;
    const char *gid = (const char *)sqlite3_column_text(s, 1);
    if (gid == NULL || !gid_parts(gid, log, &sequence) || sequence != effect->gid ||
        sqlite3_column_int(s, 2) != (int)effect->branch || sqlite3_column_text(s, 3)[0] != effect->op)
        violate(&sim->world, "C2", "%s: effect %lld has changed after its commit", participant_names[participant],
                (long long)seq);
}

static void look_effects(struct sim *sim, sqlite3 *db, enum participant participant, int64_t from) {
    struct ledger *ledger = &sim->checker->ledgers[participant];
    sqlite3_stmt *s = query(db, "SELECT seq, gid, branch, op, value FROM effect_log WHERE seq > ? ORDER BY seq");
    if (s == NULL)
        return;
    sqlite3_bind_int64(s, 1, from);
    int64_t last = from;
    int rc;
    while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
        int64_t seq = sqlite3_column_int64(s, 0);
        if (seq != last + 1)
            violate(&sim->world, "C2", "%s: effect %lld is missing", participant_names[participant],
                    (long long)last + 1);
        last = seq;
        if (seq <= ledger->last)
            look_known(sim, participant, seq, s);
        else
            mirror_effect(sim, participant, (const char *)sqlite3_column_text(s, 1), (uint32_t)sqlite3_column_int(s, 2),
                          (char)sqlite3_column_text(s, 3)[0], sqlite3_column_int(s, 4));
    }
    sqlite3_finalize(s);
    if (rc == SQLITE_DONE && last < ledger->last)
        violate(&sim->world, "C2", "%s: effect %lld was committed and is lost", participant_names[participant],
                (long long)ledger->last);
}

/* Is that guard or floor of a log, the real one or the rogue's? */
static int is_log(const struct sim *sim, sqlite3_stmt *s) {
    const struct book *book = &sim->checker->books[REAL];
    const void *log = sqlite3_column_blob(s, 0);
    return !knobs_have_patterns(&sim->knobs) || rogue_is(sim, log) ||
           (book->known && memcmp(book->log, log, sizeof book->log) == 0);
}

/* Floors, which come first, and guards. -1: they could not be read. */
static int64_t look_guards(struct sim *sim, sqlite3 *db, enum participant participant) {
    sqlite3_stmt *s = query(db, "SELECT log, floor, 0, 0 FROM cdtx_floor UNION ALL"
                                " SELECT log, seq, branch, state FROM cdtx_guard");
    int64_t rows = 0;
    int rc = SQLITE_ERROR;
    while (s != NULL && (rc = sqlite3_step(s)) == SQLITE_ROW) {
        if (!is_log(sim, s)) /* of jobs and halves */
            continue;
        if (sqlite3_column_int(s, 3) == 0) {
            mirror_floor(sim, participant, sqlite3_column_blob(s, 0), sqlite3_column_int64(s, 1));
            continue;
        }
        rows++;
        mirror_mark(sim, participant, sqlite3_column_blob(s, 0), sqlite3_column_int64(s, 1),
                    (uint32_t)sqlite3_column_int(s, 2), sqlite3_column_int64(s, 3));
    }
    sqlite3_finalize(s);
    return rc == SQLITE_DONE ? rows : -1;
}

/* C11: nothing lost and nothing made, and the pieces stand where the effects say. */
static void look_stock(struct sim *sim, sqlite3 *db) {
    const struct ledger *ledger = &sim->checker->ledgers[STOCK];
    int64_t all = ARTICLES * (int64_t)sim->knobs.stock;
    sqlite3_stmt *s = query(db, "SELECT count(*), sum(free), sum(held), sum(sold), min(free), min(held) FROM stock");
    if (s == NULL)
        return;
    if (sqlite3_step(s) == SQLITE_ROW && sqlite3_column_int(s, 0) != 0) {
        int64_t free = sqlite3_column_int64(s, 1), held = sqlite3_column_int64(s, 2), sold = sqlite3_column_int64(s, 3);
        int low = sqlite3_column_int64(s, 4) < 0 || sqlite3_column_int64(s, 5) < 0;
        if (free + held + sold != all || held != ledger->held || sold != ledger->sold || low)
            violate(&sim->world, "C11",
                    "stock: %lld free, %lld held, %lld sold of %lld; by the effects it is %lld held, %lld sold",
                    (long long)free, (long long)held, (long long)sold, (long long)all, (long long)ledger->held,
                    (long long)ledger->sold);
    }
    sqlite3_finalize(s);
}

static int which_of(const char *file) {
    return strcmp(file, "log.db") == 0 ? CLERK_LOG : strcmp(file, shop_file(ORDER)) == 0 ? (int)ORDER : (int)STOCK;
}

/* Does somebody have a transaction open in that file? Then the next look is to see it too. */
static int is_open(const struct sim *sim, const char *file) {
    for (const struct node *node = sim->nodes; node < sim->nodes + sim->node_count; node++)
        for (const struct connection *c = node->life == NULL ? NULL : node->life->connections; c != NULL; c = c->next) {
            const char *name = sqlite3_db_filename(c->db, "main");
            if (!sqlite3_get_autocommit(c->db) && name != NULL && strcmp(name, file) == 0)
                return 1;
        }
    return 0;
}

static void look_patterns(struct sim *sim, sqlite3 *db, const char *file, uint32_t touched) {
    int which = which_of(file);
    if (!is_open(sim, file))
        sim->touched[which] = 0;
    chore_look(sim, which, db, touched);
    post_look(sim, which, db, touched);
    half_look(sim, which, db, touched);
}

void dump_look(struct sim *sim, sqlite3 *db, const char *file, const struct life *writer, int first) {
    uint32_t touched = first ? TOUCH_ALL : sim->touched[which_of(file)];
    if (touched != 0)
        look_patterns(sim, db, file, touched);
    if (strcmp(file, "log.db") == 0) {
        if (first)
            look_uuid(sim, db);
        look_log(sim, db, writer);
        return;
    }
    for (enum participant p = ORDER; p < PARTICIPANTS; p++) {
        if (strcmp(file, shop_file(p)) != 0)
            continue;
        int64_t before = sim->checker->ledgers[p].last;
        look_effects(sim, db, p, first ? 0 : before);
        int64_t guards = look_guards(sim, db, p);
        if (guards >= 0)
            mirror_participant_end(sim, p, before, guards);
        if (p == STOCK)
            look_stock(sim, db);
    }
}

/* Marks of one commit are told apart from those of the next, even if that one changes nothing. */
static void count_commit(struct sim *sim, const char *file) {
    for (enum participant p = ORDER; p < PARTICIPANTS; p++)
        if (strcmp(file, shop_file(p)) == 0)
            sim->checker->ledgers[p].commits++;
}

void check_commit(struct life *life) {
    for (struct connection *c = life->connections; c != NULL; c = c->next) {
        const char *file = sqlite3_db_filename(c->db, "main");
        if (file == NULL || !sqlite3_get_autocommit(c->db))
            continue;
        count_commit(life->sim, file);
        int changes = sqlite3_total_changes(c->db);
        if (c->scanned && changes == c->changes && !(life->sim->touched[which_of(file)] & TOUCH_ROWS))
            continue; /* it only read */
        c->changes = changes;
        life->sim->looking = 1;
        dump_look(life->sim, c->db, file, life, !c->scanned);
        life->sim->looking = 0;
        c->scanned = 1;
    }
}

/* ---- images ---- */

struct image {
    struct disk *disk;
    sqlite3 *db;
};

static struct host *host_of(struct sim *sim, const char *file) {
    uint32_t bit = strcmp(file, "log.db") == 0 ? 0 : strcmp(file, shop_file(ORDER)) == 0 ? 1U << ORDER : 1U << STOCK;
    for (uint32_t i = 0; i < sim->node_count; i++)
        if (bit == 0 ? sim->nodes[i].coordinator : (sim->nodes[i].serves & bit) != 0)
            return sim->nodes[i].host;
    return NULL;
}

static int open_file(struct disk *disk, const char *file, sqlite3 **db) {
    const char *vfs;
    disk_life_new(disk, &vfs);
    return sqlite3_open_v2(file, db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, vfs) == SQLITE_OK;
}

/* The disk as a power loss would leave it now, with the file open and recovered. */
static int open_image(struct sim *sim, const char *file, struct image *image) {
    char name[40];
    snprintf(name, sizeof name, "image-%u", ++sim->images);
    enum disk_crash what = prng_chance(&sim->checker->prng, 1, 2) ? DISK_KEEP_NONE : DISK_KEEP_SOME;
    image->db = NULL;
    image->disk = disk_fork_after_crash(host_of(sim, file)->disk, what, name, prng_new(sim->world.seed, name));
    struct strand *current = sim->world.current; /* its connections are nobody's */
    sim->world.current = NULL;
    int opened = open_file(image->disk, file, &image->db);
    sim->world.current = current;
    return opened;
}

static void close_image(struct image *image) {
    sqlite3_close(image->db);
    disk_free(image->disk);
}

int64_t dump_image_state(struct sim *sim, int64_t sequence) {
    struct image image;
    int64_t state = 0;
    if (open_image(sim, "log.db", &image)) {
        sqlite3_stmt *s = query(image.db, "SELECT state FROM cdtx_tx WHERE seq = ?");
        sqlite3_bind_int64(s, 1, sequence);
        state = query_number(s);
    }
    close_image(&image);
    return state;
}

int64_t dump_image_effects(struct sim *sim, enum participant participant, const char *gid, uint32_t branch, char op) {
    struct image image;
    int64_t count = 0;
    if (open_image(sim, shop_file(participant), &image)) {
        sqlite3_stmt *s = query(image.db, "SELECT count(*) FROM effect_log WHERE gid = ? AND branch = ? AND op = ?");
        sqlite3_bind_text(s, 1, gid, -1, SQLITE_STATIC);
        sqlite3_bind_int64(s, 2, branch);
        sqlite3_bind_text(s, 3, &op, 1, SQLITE_STATIC);
        count = query_number(s);
    }
    close_image(&image);
    return count;
}

int64_t dump_image_count(struct sim *sim, int which, const char *text, int64_t number) {
    struct image image;
    int64_t count = 0;
    if (open_image(sim, which == CLERK_LOG ? "log.db" : shop_file((enum participant)which), &image)) {
        sqlite3_stmt *s = query(image.db, text);
        sqlite3_bind_int64(s, 1, number);
        count = query_number(s);
    }
    close_image(&image);
    return count;
}

int dump_quiet(struct sim *sim) {
    if (!knobs_have_patterns(&sim->knobs) && sim->knobs.hooks_in == 0 && !sim->knobs.cron)
        return 1;
    for (int which = 0; which < CLERKS; which++)
        if (dump_image_count(sim, which,
                             "SELECT (SELECT count(*) FROM cdtx_job WHERE state <> 3 AND (msg IS NOT NULL OR handler"
                             " GLOB 'chore-*' OR handler GLOB 'hook-*' OR handler GLOB 'cron-*' OR (handler GLOB "
                             "'cdtx.half/*' AND state = 2)"
                             " OR (handler = 'cdtx.cron' AND state = 2)))"
                             " + (SELECT count(*) FROM cdtx_half WHERE state = 1)",
                             0) != half_left(sim, which))
            return 0;
    return 1;
}

/* ---- the end ---- */

/* C10: what belongs to something that has ended. */
static void look_residue(struct sim *sim, sqlite3 *db, const char *file) {
    const struct book *book = &sim->checker->books[REAL];
    /* What runs by the clock for ever may just have been claimed when all ended. */
    int64_t leased = query_number(query(db, "SELECT count(*) FROM cdtx_job WHERE state = 2"
                                            " AND handler NOT IN ('cdtx.msg.keep', 'cdtx.cron')"));
    int64_t due = query_number(query(db, "SELECT count(*) FROM cdtx_tx WHERE due IS NOT NULL"));
    if (leased != 0 || due != 0)
        violate(&sim->world, "C10", "%s: %lld jobs are leased and %lld transactions are due when all has ended", file,
                (long long)leased, (long long)due);
    int64_t lag = query_number(query(db, "SELECT seq + 1 - floor FROM cdtx_meta WHERE id = 1"));
    if (lag != 0 && strcmp(file, "log.db") == 0)
        violate(&sim->world, "C10", "the floor is %lld short of the end when all has ended", (long long)lag);
    sqlite3_stmt *s = query(db, "SELECT seq, branch FROM cdtx_guard WHERE state = 1 AND log = ?");
    sqlite3_bind_blob(s, 1, book->log, sizeof book->log, SQLITE_STATIC);
    while (s != NULL && sqlite3_step(s) == SQLITE_ROW) {
        int64_t gid = sqlite3_column_int64(s, 0);
        if (gid >= GIDS_MAX || book->rows[gid] == NULL || !book->rows[gid]->resolved)
            violate(&sim->world, "C10", "%s: gid %lld, branch %lld is still TRIED when all has ended", file,
                    (long long)gid, (long long)sqlite3_column_int64(s, 1));
    }
    sqlite3_finalize(s);
}

static void look_file(struct sim *sim, const char *file, int clerk) {
    sqlite3 *db = NULL;
    sqlite3_stmt *s;
    if (open_file(host_of(sim, file)->disk, file, &db)) {
        s = query(db, "PRAGMA integrity_check");
        if (s == NULL || sqlite3_step(s) != SQLITE_ROW || strcmp((const char *)sqlite3_column_text(s, 0), "ok") != 0)
            violate(&sim->world, "C2", "%s is damaged: %s", file, sqlite3_errmsg(db));
        sqlite3_finalize(s);
        dump_look(sim, db, file, NULL, 1);
        look_residue(sim, db, file);
        clerk_final(sim, clerk, db);
        chore_read(sim, clerk, db);
        post_read(sim, clerk, db);
        half_read(sim, clerk, db);
        if (clerk == CLERK_LOG)
            hook_final(sim, db), cron_final(sim, db);
    } else {
        violate(&sim->world, "C2", "%s cannot be opened at the end: %s", file, sqlite3_errmsg(db));
    }
    sqlite3_close(db);
}

void dump_final(struct sim *sim) {
    look_file(sim, "log.db", CLERK_LOG);
    look_file(sim, shop_file(ORDER), ORDER);
    look_file(sim, shop_file(STOCK), STOCK);
    chore_final(sim);
    half_final(sim);
    post_final(sim);
}
