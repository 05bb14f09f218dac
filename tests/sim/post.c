#include "post.h"

#include <cdtx/admin.h>
#include <cdtx/msg.h>
#include <stdio.h>
#include <string.h>

#include "attempt.h"
#include "cover.h"
#include "half.h"
#include "mirror.h"
#include "query.h"

enum { POSTS_MAX = 1024, KEYS = 3, NO_KEY = -1, GROUPS = 2, ATTEMPTS_MAX = 5 };
enum kind { BY_CLERK, IN_TRY, IN_CONFIRM, IN_CANCEL, BY_HALF };
enum form { IN_LOCAL, ELSEWHERE, PLAIN, PULLED, FORMS };
enum fate { OPEN, PUT, NOT_PUT };
enum { POSTS_IN_TRY = 1, POSTS_IN_END = 2 };

static const char topic[] = "news";
static const char *const groups[GROUPS] = {"order", "any"}; /* the first one goes by key */
static const char *const forms[FORMS] = {"consumer in local", "consumer elsewhere", "consumer plain",
                                         "consumer pulled"};
static const char *const kinds[] = {"message of a clerk", "message of a try", "message of a confirm",
                                    "message of a cancel", "message of a half"};

/* What one group did with one message. */
struct delivery_of {
    struct attempts attempts;
    int hopeless, poison;
    uint32_t fails, snoozes;
    uint32_t yes, effects;
    int state; /* of its row at the end; 0: it has none */
};

/* One message, by its number, which is the payload. */
struct post_of {
    uint8_t kind, fate;
    int key;
    int64_t put_at, delay_ms;
    char gid[CDTX_GID_MAX], id[CDTX_GID_MAX]; /* of the branch; of the message */
    int there;                                /* its P was seen committed ... */
    int64_t visible;                          /* ... and post.seq from which it is visible; 0: it is held */
    struct delivery_of deliveries[GROUPS];
};

struct book_of_posts {
    struct post_of posts[POSTS_MAX];
    uint32_t count;
    int64_t looked, read; /* post.seq and letter.seq, up to there */
    enum form forms[GROUPS];
    int64_t retention_ms;
    int anew; /* somebody has given dead ones another life */
};

struct posts {
    struct prng prng;
    struct book_of_posts books[CLERKS];
};

struct consumer {
    struct life *life;
    int which, group;
    enum form form;
};

static int other_of(int which) {
    return which == ORDER ? STOCK : ORDER;
}

void post_init(struct sim *sim) {
    struct posts *posts = sim->posts = world_alloc(&sim->world, sizeof *sim->posts);
    posts->prng = prng_new(sim->world.seed, "posts");
    for (int which = 0; which < CLERKS; which++) {
        struct book_of_posts *book = &posts->books[which];
        book->retention_ms = prng_chance(&posts->prng, 1, 2) ? 0 : prng_range(&posts->prng, 500, 5000);
        for (int group = 0; group < GROUPS; group++)
            do
                book->forms[group] = (enum form)prng_below(&posts->prng, FORMS);
            while (book->forms[group] == ELSEWHERE && sim->knobs.topology < ALL_IN_ONE);
    }
}

int32_t post_tables(cdtx_sql *sql, cdtx_error *err) {
    int32_t rc = cdtx_sql_exec(sql,
                               "CREATE TABLE IF NOT EXISTS post (seq INTEGER PRIMARY KEY AUTOINCREMENT, what TEXT,"
                               " number INTEGER, kind INTEGER, gid TEXT, branch INTEGER)",
                               NULL, err);
    return rc != 0 ? rc
                   : cdtx_sql_exec(sql,
                                   "CREATE TABLE IF NOT EXISTS letter (seq INTEGER PRIMARY KEY AUTOINCREMENT, team"
                                   " INTEGER, src INTEGER, number INTEGER)",
                                   NULL, err);
}

/* ---- putting ---- */

static struct post_of *new_post(struct sim *sim, int which, enum kind kind, uint32_t *number) {
    struct book_of_posts *book = &sim->posts->books[which];
    struct prng *prng = &sim->posts->prng;
    if (book->count == POSTS_MAX)
        return NULL;
    *number = book->count++;
    struct post_of *post = &book->posts[*number];
    post->kind = (uint8_t)kind;
    post->put_at = sim->world.now;
    post->key = prng_chance(prng, 2, 3) ? (int)prng_below(prng, KEYS) : NO_KEY;
    post->delay_ms = prng_chance(prng, 1, 5) ? prng_range(prng, 1, 1000) : 0;
    for (int group = 0; group < GROUPS; group++) {
        struct delivery_of *delivery = &post->deliveries[group];
        delivery->attempts = (struct attempts){.what = groups[group], .which = which, .id = *number};
        delivery->hopeless = prng_chance(prng, 1, 16);
        delivery->poison = prng_chance(prng, 1, 10);
        delivery->fails = prng_chance(prng, 1, 3) ? 1 : 0;
        delivery->snoozes = prng_chance(prng, 1, 6) ? 2 : 0;
    }
    return post;
}

/* Message and line, in one local transaction. */
static int32_t write_post(struct sim *sim, int which, uint32_t number, cdtx_sql *sql, const char *gid, uint32_t branch,
                          cdtx_error *err) {
    struct post_of *post = &sim->posts->books[which].posts[number];
    struct post_note note = {(uint32_t)which, number};
    char key[16];
    snprintf(key, sizeof key, "key-%d", post->key);
    cdtx_msg_options options = {
        .size = sizeof options, .priority = 0, .key = post->key == NO_KEY ? NULL : key, .delay_ms = post->delay_ms};
    cdtx_sql_bind_int(sql, number);
    cdtx_sql_bind_int(sql, post->kind);
    cdtx_sql_bind_text(sql, gid, strlen(gid));
    cdtx_sql_bind_int(sql, branch);
    check_touched(sim, which, TOUCH_ROWS);
    int32_t rc =
        cdtx_sql_exec(sql, "INSERT INTO post (what, number, kind, gid, branch) VALUES ('P', ?, ?, ?, ?)", NULL, err);
    return rc != 0 ? rc : cdtx_msg_put(sql, topic, &note, sizeof note, &options, post->id, err);
}

int post_new_half(struct sim *sim, int which, struct post_note *note) {
    struct post_of *post = new_post(sim, which, BY_HALF, &note->number);
    note->which = (uint32_t)which;
    if (post == NULL)
        return 0;
    post->key = NO_KEY;
    post->delay_ms = 0;
    return 1;
}

uint32_t post_number(const void *payload, size_t length) {
    const struct post_note *note = payload;
    return length == sizeof *note ? note->number : UINT32_MAX;
}

struct putting {
    struct life *life;
    int which, fails;
    uint32_t number;
};

static int32_t closure(cdtx_sql *sql, void *user, cdtx_error *err) {
    const struct putting *putting = user;
    struct sim *sim = putting->life->sim;
    int32_t rc = write_post(sim, putting->which, putting->number, sql, "", 0, err);
    if (rc == 0 && prng_chance(&sim->posts->prng, 1, 6))
        env_think(putting->life, prng_range(&sim->posts->prng, 0, 5 * MS));
    return rc != 0 ? rc : putting->fails ? CDTX_USER : 0;
}

static int32_t by_handle(struct life *life, const struct putting *putting, cdtx_error *err) {
    cdtx_sql *sql = NULL;
    int32_t rc = cdtx_sql_begin(life->dbs[putting->which], &sql, err);
    env_alive(life);
    if (rc != 0)
        return rc;
    rc = write_post(life->sim, putting->which, putting->number, sql, "", 0, err);
    env_think(life, prng_range(&life->sim->posts->prng, 0, 20 * MS));
    if (rc == 0)
        rc = putting->fails ? CDTX_USER : cdtx_sql_commit(sql, err);
    env_alive(life);
    cdtx_sql_close(sql);
    env_alive(life);
    return rc;
}

static void put(struct life *life, int which) {
    struct sim *sim = life->sim;
    struct prng *prng = &sim->posts->prng;
    uint32_t number = 0;
    struct post_of *post = new_post(sim, which, BY_CLERK, &number);
    if (post == NULL)
        return;
    struct putting *putting = world_alloc(&sim->world, sizeof *putting);
    *putting = (struct putting){life, which, prng_chance(prng, 1, 4), number};
    cdtx_error err = {0};
    int32_t rc =
        prng_chance(prng, 1, 4) ? by_handle(life, putting, &err) : cdtx_local(life->dbs[which], closure, putting, &err);
    env_alive(life);
    int32_t happened = rc == CDTX_USER ? 0 : cdtx_happened(rc);
    post->fate = happened == 1 ? PUT : happened == 0 ? NOT_PUT : OPEN;
    tell(&sim->world, life->name, "puts message %u of %d, key %d: %s", number, which, post->key, cdtx_code_name(rc));
}

uint8_t post_draw(struct sim *sim) {
    struct prng *prng = &sim->posts->prng;
    if (!sim->knobs.posts)
        return 0;
    return (uint8_t)((prng_chance(prng, 1, 2) ? POSTS_IN_TRY : 0) | (prng_chance(prng, 1, 3) ? POSTS_IN_END : 0));
}

/* What the try held is visible with the confirm, behind what that puts itself. */
static int32_t note_visible(struct sim *sim, int which, cdtx_sql *sql, const char *gid, uint32_t branch,
                            cdtx_error *err) {
    cdtx_sql_bind_text(sql, gid, strlen(gid));
    cdtx_sql_bind_int(sql, branch);
    cdtx_sql_bind_int(sql, IN_TRY);
    check_touched(sim, which, TOUCH_ROWS);
    return cdtx_sql_exec(sql,
                         "INSERT INTO post (what, number) SELECT 'V', number FROM post WHERE what = 'P' AND gid = ?"
                         " AND branch = ? AND kind = ? ORDER BY seq",
                         NULL, err);
}

int32_t post_in_branch(struct life *life, int which, cdtx_sql *sql, const char *gid, uint32_t branch, char op,
                       uint8_t posts, cdtx_error *err) {
    struct sim *sim = life->sim;
    uint32_t number = 0;
    int32_t rc = 0;
    enum kind kind = op == 'T' ? IN_TRY : op == 'C' ? IN_CONFIRM : IN_CANCEL;
    if (posts & (op == 'T' ? POSTS_IN_TRY : POSTS_IN_END)) {
        struct post_of *post = new_post(sim, which, kind, &number);
        if (post == NULL)
            return 0;
        snprintf(post->gid, sizeof post->gid, "%s", gid);
        rc = write_post(sim, which, number, sql, gid, branch, err);
    }
    if (rc == 0 && op == 'C' && (posts & POSTS_IN_TRY))
        rc = note_visible(sim, which, sql, gid, branch, err);
    return rc;
}

/* ---- consuming ---- */

/* Is that group through with it? */
static int is_closed(const struct book_of_posts *book, const struct delivery_of *delivery, int group) {
    const struct attempts *a = &delivery->attempts;
    uint32_t done = book->forms[group] == PLAIN ? delivery->yes : delivery->effects;
    return done > 0 || a->answer == SAID_NO || a->number >= ATTEMPTS_MAX;
}

/* M9: those of its key that became visible before it are done, or dead letters. */
static void check_order(struct sim *sim, int which, const struct post_of *post, int group) {
    const struct book_of_posts *book = &sim->posts->books[which];
    if (group != 0 || post->key == NO_KEY || book->anew)
        return;
    for (uint32_t i = 0; i < book->count; i++) {
        const struct post_of *earlier = &book->posts[i];
        if (earlier->key != post->key || earlier->visible == 0 || earlier->visible >= post->visible)
            continue;
        cover("delivered in order");
        if (!is_closed(book, &earlier->deliveries[group], group))
            violate(&sim->world, "M9",
                    "message %d of %d is delivered to the group in order; message %u of its key is not done",
                    (int)(post - book->posts), which, i);
    }
}

/* M1 in an image of the disk, as a power loss would leave it. */
static void check_image(struct sim *sim, int which, uint32_t number) {
    if (prng_chance(&sim->checker->prng, 1, 30) &&
        dump_image_count(sim, which, "SELECT count(*) FROM post WHERE what = 'P' AND number = ?", number) == 0)
        violate(&sim->world, "M1", "message %u of %d is delivered; a power loss would undo its local transaction",
                number, which);
}

static void check_visible(struct life *life, const struct consumer *consumer, const struct post_of *post,
                          const cdtx_work *work) {
    struct sim *sim = life->sim;
    uint32_t number = (uint32_t)(post - sim->posts->books[consumer->which].posts);
    char id[CDTX_GID_MAX];
    cdtx_msg_id(work, id);
    if (post->kind == BY_HALF) {
        half_delivered(sim, consumer->which, number);
        return;
    }
    if (post->fate == NOT_PUT)
        violate(&sim->world, "M3", "message %u of %d is delivered; its local transaction was rolled back", number,
                consumer->which);
    else if (!post->there)
        violate(&sim->world, "M1", "message %u of %d is delivered; its local transaction has not committed", number,
                consumer->which);
    else if (strcmp(id, post->id) != 0)
        violate(&sim->world, "M7", "message %u of %d has the id %s; it was put under %s", number, consumer->which, id,
                post->id);
    if (post->kind == IN_TRY) {
        const struct row *row = mirror_gid(sim, post->gid);
        if (row == NULL || post->visible == 0 || mirror_says(row->now.state, row->now.reverse_after) != OUTCOME_COMMIT)
            violate(&sim->world, "M1", "message %u of %d, of the try of gid %lld, is delivered; that is %s", number,
                    consumer->which, row == NULL ? 0LL : (long long)row->now.sequence,
                    row == NULL ? "nothing" : state_names[row->now.state]);
    }
    check_image(sim, consumer->which, number);
    attempt_waited(life, &post->deliveries[consumer->group].attempts, post->put_at, post->delay_ms);
}

static struct post_of *begin(const struct consumer *consumer, const cdtx_work *work) {
    struct life *life = consumer->life;
    struct sim *sim = life->sim;
    size_t length;
    const struct post_note *note = cdtx_work_payload(work, &length);
    if (length != sizeof *note || (int)note->which != consumer->which ||
        note->number >= sim->posts->books[note->which].count) {
        violate(&sim->world, "M8", "%s gets a message that nobody put", life->name);
        strand_end(&sim->world);
    }
    struct post_of *post = &sim->posts->books[note->which].posts[note->number];
    struct delivery_of *delivery = &post->deliveries[consumer->group];
    if (delivery->attempts.token == 0) {
        check_visible(life, consumer, post, work);
        check_order(sim, consumer->which, post, consumer->group);
        cover(kinds[post->kind]);
        cover(forms[consumer->form]);
    }
    attempt_begin(life, &delivery->attempts, work);
    return post;
}

static int32_t write_letter(const struct consumer *consumer, cdtx_sql *sql, const cdtx_work *work, cdtx_error *err) {
    const struct post_note *note = cdtx_work_payload(work, NULL);
    cdtx_sql_bind_int(sql, consumer->group);
    cdtx_sql_bind_int(sql, note->which);
    cdtx_sql_bind_int(sql, note->number);
    check_touched(consumer->life->sim, consumer->form == ELSEWHERE ? other_of(consumer->which) : consumer->which,
                  TOUCH_ROWS);
    return cdtx_sql_exec(sql, "INSERT INTO letter (team, src, number) VALUES (?, ?, ?)", NULL, err);
}

static int took_one(uint32_t *left) {
    if (*left == 0)
        return 0;
    --*left;
    return 1;
}

static int32_t answer(const struct consumer *consumer, struct delivery_of *delivery, cdtx_work *work, cdtx_error *err) {
    struct sim *sim = consumer->life->sim;
    struct prng *prng = &sim->posts->prng;
    int64_t wish_ms = prng_range(prng, 50, 600);
    enum answer say = SAID_YES;
    if (sim_fault(sim, FAULT_HANDLER_SLOW, prng, 8))
        env_think(consumer->life, prng_range(prng, 1, 2 * ATTEMPT_LEASE_MS) * MS);
    else if (sim->faults_on && consumer->form >= PLAIN && prng_chance(prng, 1, 2)) /* it holds no database */
        env_think(consumer->life, prng_range(prng, 0, 500 * MS));
    if (delivery->hopeless)
        say = SAID_NO;
    else if (took_one(&delivery->snoozes))
        say = prng_chance(prng, 1, 2) ? SAID_SNOOZE : SAID_AFTER;
    else if (delivery->poison || took_one(&delivery->fails) || sim_fault(sim, FAULT_HANDLER_ERROR, prng, 5))
        say = SAID_FAILED;
    attempt_answer(consumer->life, &delivery->attempts, work, say, wish_ms);
    delivery->yes += say == SAID_YES;
    return attempt_code(work, say, wish_ms, err);
}

static int32_t consume(cdtx_work *work, void *user, cdtx_error *err) {
    const struct consumer *consumer = user;
    struct post_of *post = begin(consumer, work);
    int32_t rc = consumer->form == PLAIN ? 0 : write_letter(consumer, cdtx_work_sql(work), work, err);
    return rc != 0 ? rc : answer(consumer, &post->deliveries[consumer->group], work, err);
}

struct pulled {
    struct consumer consumer;
    cdtx_work *work;
};

static int32_t finish_pulled(cdtx_sql *sql, void *user, cdtx_error *err) {
    struct pulled *pulled = user;
    int32_t rc = write_letter(&pulled->consumer, sql, pulled->work, err);
    return rc != 0 ? rc : cdtx_work_done(pulled->work, sql, err);
}

int32_t post_pulled(struct life *life, cdtx_work *work) {
    const struct post_note *note = cdtx_work_payload(work, NULL);
    struct pulled pulled = {{life, (int)note->which, strcmp(cdtx_msg_group(work), groups[0]) != 0, PULLED}, work};
    cdtx_error err = {0};
    struct post_of *post = begin(&pulled.consumer, work);
    int32_t rc = answer(&pulled.consumer, &post->deliveries[pulled.consumer.group], work, &err);
    if (rc == 0) {
        rc = cdtx_local(life->dbs[pulled.consumer.which], finish_pulled, &pulled, &err);
        env_alive(life);
    }
    return rc;
}

static int32_t join(struct life *life, int which, int group, cdtx_error *err) {
    struct consumer *consumer = world_alloc(&life->sim->world, sizeof *consumer);
    enum form form = life->sim->posts->books[which].forms[group];
    *consumer = (struct consumer){life, which, group, form};
    cdtx_consumer_options options = {
        .size = sizeof options,
        .in_local = form == IN_LOCAL || form == ELSEWHERE,
        .handler = form == PULLED ? NULL : consume,
        .user = consumer,
        .local_db = form == ELSEWHERE ? life->dbs[other_of(which)] : NULL,
        .in_order = group == 0,
        .attempts_max = ATTEMPTS_MAX,
        .crashes_max = 100000,
        .lease_ms = ATTEMPT_LEASE_MS,
        .backoff_min_ms = ATTEMPT_BACKOFF_MIN_MS,
        .backoff_max_ms = ATTEMPT_BACKOFF_MAX_MS,
    };
    return cdtx_consumer_add(life->dbs[which], topic, groups[group], &options, err);
}

int32_t post_register(struct life *life, cdtx_error *err) {
    int32_t rc = 0;
    for (int which = 0; which < CLERKS && life->sim->knobs.posts; which++) {
        if (life->dbs[which] == NULL || rc != 0)
            continue;
        cdtx_topic_options options = {.size = sizeof options,
                                      .retention_ms = life->sim->posts->books[which].retention_ms};
        rc = cdtx_topic_add(life->dbs[which], topic, &options, err);
        env_alive(life);
        for (int group = 0; rc == 0 && group < GROUPS; group++) {
            rc = join(life, which, group, err);
            env_alive(life);
        }
    }
    return rc;
}

/* ---- a person steps in ---- */

static void name_of(int group, char name[80]) {
    snprintf(name, 80, "cdtx.msg/%s/%s", topic, groups[group]);
}

static void mark_anew(struct book_of_posts *book) {
    book->anew = 1;
    for (uint32_t i = 0; i < book->count; i++)
        for (int group = 0; group < GROUPS; group++)
            book->posts[i].deliveries[group].attempts.anew = 1;
}

static void redrive(struct life *life, int which, int group) {
    char name[80];
    int64_t count = 0;
    name_of(group, name);
    cdtx_redrive_filter filter = {.size = sizeof filter, .handler = name};
    mark_anew(&life->sim->posts->books[which]);
    int32_t rc = cdtx_job_redrive(life->dbs[which], &filter, life->name, "it is mended", &count, NULL);
    env_alive(life);
    mark_anew(&life->sim->posts->books[which]);
    if (rc == 0 && count > 0)
        cover("redrive messages");
    tell(&life->sim->world, life->name, "redrives %s of %d: %s, %lld", name, which, cdtx_code_name(rc),
         (long long)count);
}

static int32_t set_pause(struct life *life, int which, int group, int pauses) {
    char name[80];
    name_of(group, name);
    int32_t rc = pauses ? cdtx_handler_pause(life->dbs[which], name, life->name, "enough", NULL)
                        : cdtx_handler_resume(life->dbs[which], name, life->name, "go on", NULL);
    env_alive(life);
    tell(&life->sim->world, life->name, "%s %s of %d: %s", pauses ? "pauses" : "resumes", name, which,
         cdtx_code_name(rc));
    return rc;
}

void post_step(struct life *life, int which) {
    struct prng *prng = &life->sim->posts->prng;
    uint64_t draw = prng_below(prng, 24);
    int group = (int)prng_below(prng, GROUPS);
    if (draw <= 2)
        redrive(life, which, group);
    else if (draw <= 4)
        (void)set_pause(life, which, group, draw == 3);
    else
        put(life, which);
}

static void resume_all(void *argument) {
    struct life *life = argument;
    for (int which = 0; which < CLERKS; which++)
        for (int group = 0; group < GROUPS && life->dbs[which] != NULL; group++)
            for (int i = 0; i < 20 && life->open && set_pause(life, which, group, 0) != 0; i++)
                env_think(life, 200 * MS);
}

void post_heal(struct sim *sim) {
    for (uint32_t i = 0; i < sim->node_count && sim->knobs.posts; i++)
        if (node_up(&sim->nodes[i]) != NULL)
            strand_new(&sim->world, &sim->nodes[i].life->owner, "resume", resume_all, sim->nodes[i].life, 0);
}

/* ---- the rows as they stand ---- */

static void look_posts(struct sim *sim, int which, sqlite3 *db) {
    struct book_of_posts *book = &sim->posts->books[which];
    sqlite3_stmt *s = query(db, "SELECT seq, what, number FROM post WHERE seq > ? ORDER BY seq");
    sqlite3_bind_int64(s, 1, book->looked);
    while (s != NULL && sqlite3_step(s) == SQLITE_ROW) {
        struct post_of *post = &book->posts[sqlite3_column_int64(s, 2) % POSTS_MAX];
        book->looked = sqlite3_column_int64(s, 0);
        int put = sqlite3_column_text(s, 1)[0] == 'P';
        post->there |= put;
        if (!put || post->kind != IN_TRY)
            post->visible = book->looked;
    }
    sqlite3_finalize(s);
}

/* M7 */
static void look_letters(struct sim *sim, int which, sqlite3 *db) {
    struct book_of_posts *book = &sim->posts->books[which];
    sqlite3_stmt *s = query(db, "SELECT seq, team, src, number FROM letter WHERE seq > ? ORDER BY seq");
    sqlite3_bind_int64(s, 1, book->read);
    while (s != NULL && sqlite3_step(s) == SQLITE_ROW) {
        int group = sqlite3_column_int(s, 1) % GROUPS, src = sqlite3_column_int(s, 2) % CLERKS;
        int64_t number = sqlite3_column_int64(s, 3);
        struct delivery_of *delivery = &sim->posts->books[src].posts[number % POSTS_MAX].deliveries[group];
        book->read = sqlite3_column_int64(s, 0);
        if (++delivery->effects > 1)
            violate(&sim->world, "M7", "message %lld of %d has taken effect %u times in the group '%s'",
                    (long long)number, src, delivery->effects, groups[group]);
    }
    sqlite3_finalize(s);
}

void post_look(struct sim *sim, int which, sqlite3 *db, uint32_t touched) {
    if (!sim->knobs.posts)
        return;
    if (touched & TOUCH_ROWS) {
        look_posts(sim, which, db);
        look_letters(sim, which, db);
    }
}

/* ---- the end ---- */

/* M8: a dead letter is so for a reason, within its attempts, and its bytes are what they were. */
static void check_dead(struct sim *sim, int which, sqlite3_stmt *s, const struct delivery_of *delivery) {
    int64_t attempts = sqlite3_column_int64(s, 3), crashes = sqlite3_column_int64(s, 4);
    const char *error = (const char *)sqlite3_column_text(s, 5);
    if (attempts - crashes > ATTEMPTS_MAX || (attempts < ATTEMPTS_MAX && !delivery->hopeless))
        violate(&sim->world, "M8", "message %lld of %d is a dead letter after %lld attempts, %lld crashes; %d may be",
                (long long)delivery->attempts.id, which, (long long)attempts, (long long)crashes, ATTEMPTS_MAX);
    else if (error == NULL || error[0] == '\0')
        violate(&sim->world, "R6", "message %lld of %d is a dead letter without an error",
                (long long)delivery->attempts.id, which);
    cover(delivery->hopeless ? "dead letter, refused" : "dead letter");
}

static void read_row(struct sim *sim, int which, sqlite3_stmt *s) {
    const char *handler = (const char *)sqlite3_column_text(s, 0);
    const struct post_note *note = sqlite3_column_blob(s, 2);
    const char *slash = strrchr(handler, '/');
    int group = slash != NULL && strcmp(slash + 1, groups[0]) != 0;
    if (sqlite3_column_bytes(s, 2) != (int)sizeof *note || (int)note->which != which ||
        note->number >= sim->posts->books[which].count) {
        violate(&sim->world, "M8", "a delivery of %s in %d has not kept its payload", handler, which);
        return;
    }
    struct delivery_of *delivery = &sim->posts->books[which].posts[note->number].deliveries[group];
    delivery->state = sqlite3_column_int(s, 1);
    if (delivery->state == CDTX_JOB_DEAD)
        check_dead(sim, which, s, delivery);
}

/* C10: no message is held by a branch whose transaction has ended. */
static void read_held(struct sim *sim, int which, sqlite3 *db) {
    const struct book *book = &sim->checker->books[REAL];
    sqlite3_stmt *s = query(db, "SELECT seq, branch FROM cdtx_msg WHERE visible IS NULL");
    while (s != NULL && sqlite3_step(s) == SQLITE_ROW) {
        int64_t gid = sqlite3_column_int64(s, 0);
        if (gid < 0 || gid >= GIDS_MAX || book->rows[gid] == NULL || !book->rows[gid]->resolved)
            violate(&sim->world, "C10", "database %d: branch %lld of gid %lld still holds a message", which,
                    (long long)sqlite3_column_int64(s, 1), (long long)gid);
    }
    sqlite3_finalize(s);
}

void post_read(struct sim *sim, int which, sqlite3 *db) {
    if (!sim->knobs.posts)
        return;
    sqlite3_stmt *s = query(db, "SELECT handler, state, payload, attempts, crashes, error FROM cdtx_job"
                                " WHERE handler GLOB 'cdtx.msg/news/*'");
    while (s != NULL && sqlite3_step(s) == SQLITE_ROW)
        read_row(sim, which, s);
    sqlite3_finalize(s);
    read_held(sim, which, db);
}

static void check_delivery(struct sim *sim, int which, const struct post_of *post, int group) {
    const struct book_of_posts *book = &sim->posts->books[which];
    const struct delivery_of *delivery = &post->deliveries[group];
    int number = (int)(post - book->posts);
    uint32_t done = book->forms[group] == PLAIN ? delivery->yes : delivery->effects;
    int dead = delivery->state == CDTX_JOB_DEAD;
    int visible = post->kind == BY_HALF ? half_is_visible(sim, which, (uint32_t)number) : post->visible != 0;
    if (!visible) {
        if (delivery->attempts.leases > 0 || delivery->effects > 0 || delivery->state != 0)
            violate(&sim->world, "M3", "message %d of %d was never to be seen; the group '%s' got it %u times", number,
                    which, groups[group], delivery->attempts.leases);
        return;
    }
    if (delivery->state != 0 && !dead)
        violate(&sim->world, "L1",
                "message %d of %d is still to be delivered to the group '%s', after %u leases; its row is in state %d",
                number, which, groups[group], delivery->attempts.leases, delivery->state);
    else if (done == 0 && !dead)
        violate(&sim->world, "M2", "message %d of %d was put, and the group '%s' never got it; %u leases", number,
                which, groups[group], delivery->attempts.leases);
    else if (dead && done > 0 && book->forms[group] != PLAIN && book->forms[group] != ELSEWHERE)
        violate(&sim->world, "M8", "message %d of %d is done and a dead letter of the group '%s'", number, which,
                groups[group]);
}

void post_final(struct sim *sim) {
    for (int which = 0; which < CLERKS && sim->knobs.posts; which++) {
        const struct book_of_posts *book = &sim->posts->books[which];
        for (uint32_t i = 0; i < book->count; i++) {
            const struct post_of *post = &book->posts[i];
            if (post->kind == BY_CLERK && post->fate != OPEN && (post->fate == PUT) != post->there)
                violate(&sim->world, post->there ? "C9" : "C2", "message %u of %d was %sput, and its row is %s", i,
                        which, post->fate == PUT ? "" : "not ", post->there ? "there" : "gone");
            for (int group = 0; group < GROUPS; group++)
                check_delivery(sim, which, post, group);
        }
    }
}
