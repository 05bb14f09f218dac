/* What can happen next in a small world, and how two states are seen to be the same.
 *
 * A process is sequential here: it takes its next message, or hears its next timer, when none of its threads has
 * anything left to do. So two steps depend on each other only if they are of one process, or of the two coordinators,
 * which share the log's file. */
#include <stdio.h>
#include <string.h>

#include "checks.h"
#include "explore.h"
#include "net.h"
#include "shop.h"

enum fate { FATE_NEW, FATE_PROMPT, FATE_HELD };
/* A participant comes back before the third poll of the log after its death: later nothing would be new. */
enum { SOON = 10, DOWN_MAX = 700 * MS, FOREVER = 200 * SECOND };
static const int64_t NEVER = 1000000 * (int64_t)SECOND;

/* ---- nodes and their files ---- */

static uint32_t node_of_life(const struct explorer *explorer, const struct life *life) {
    return (uint32_t)(life->node - explorer->sim.nodes);
}

static uint32_t file_of(const struct node *node) {
    return node->coordinator ? 0 : node->serves >> ORDER & 1 ? 1 + ORDER : 1 + STOCK;
}

static const char *file_name(uint32_t file) {
    return file == 0 ? "log.db" : shop_file((enum participant)(file - 1));
}

static uint64_t hash_table(sqlite3 *db, const char *table, uint64_t hash) {
    char query[200];
    sqlite3_stmt *statement = NULL;
    /* Its clocks change with every commit, and say nothing. */
    const char *columns = strcmp(table, "cdtx_meta") == 0 ? "seq, job, floor" : "*";
    snprintf(query, sizeof query, "SELECT %s FROM \"%s\"", columns, table);
    if (sqlite3_prepare_v2(db, query, -1, &statement, NULL) == SQLITE_OK)
        while (sqlite3_step(statement) == SQLITE_ROW)
            for (int i = 0; i < sqlite3_column_count(statement); i++) {
                const void *bytes = sqlite3_column_blob(statement, i);
                hash = explore_mix_bytes(hash, bytes, bytes == NULL ? 0 : (size_t)sqlite3_column_bytes(statement, i));
            }
    sqlite3_finalize(statement);
    return hash;
}

static uint64_t hash_rows(sqlite3 *db) {
    uint64_t hash = 1;
    sqlite3_stmt *tables = NULL;
    if (sqlite3_prepare_v2(db, "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name", -1, &tables,
                           NULL) == SQLITE_OK)
        while (sqlite3_step(tables) == SQLITE_ROW)
            hash = hash_table(db, (const char *)sqlite3_column_text(tables, 0), explore_mix(hash, 7));
    sqlite3_finalize(tables);
    return hash;
}

/* Has this node committed anything? */
static void look(struct explorer *explorer, uint32_t n) {
    struct life *life = explorer->sim.nodes[n].life;
    uint32_t file = file_of(&explorer->sim.nodes[n]);
    for (struct connection *c = life == NULL ? NULL : life->connections; c != NULL; c = c->next) {
        const char *name = sqlite3_db_filename(c->db, "main");
        if (name == NULL || strcmp(name, file_name(file)) != 0 || !sqlite3_get_autocommit(c->db))
            continue;
        int changes = sqlite3_total_changes(c->db);
        if (changes == explorer->changes[n])
            continue;
        explorer->changes[n] = changes;
        explorer->sim.looking = 1;
        uint64_t rows = hash_rows(c->db);
        explorer->sim.looking = 0;
        if (rows == explorer->rows[file])
            continue;
        explorer->rows[file] = rows;
        explorer->effects[n]++;
    }
}

/* ---- events ---- */

static size_t find(const struct world *world, uint64_t sequence) {
    size_t at = 0;
    while (at < world->count && world->heap[at].sequence != sequence)
        at++;
    return at;
}

static struct owner *owner_of(const struct event *event) {
    int stale = 0;
    const struct strand *strand = event_strand(event, &stale);
    return strand == NULL ? NULL : strand->owner;
}

static uint32_t node_of(const struct explorer *explorer, const struct event *event) {
    const cdtx_reply *reply;
    const struct letter *letter = net_in_flight(event, &reply);
    if (letter != NULL)
        return (uint32_t)((reply == NULL ? letter->to : letter->from->node) - explorer->sim.nodes);
    const struct owner *owner = owner_of(event);
    return owner == NULL ? NODES_MAX : node_of_life(explorer, (const struct life *)(const void *)owner);
}

static int is_message(const struct event *event) {
    const cdtx_reply *reply;
    return net_in_flight(event, &reply) != NULL;
}

static int is_ready(const struct explorer *explorer, const struct event *event) {
    return !is_message(event) && event->at <= explorer->sim.world.now + SOON;
}

static void unhold(struct explorer *explorer, uint64_t sequence) {
    for (uint32_t i = 0; i < explorer->held_count; i++)
        if (explorer->held[i].event == sequence) {
            explorer->held[i] = explorer->held[--explorer->held_count];
            return;
        }
}

/* What would do nothing: resumes of threads that went on by other ways, and replies to the dead. */
static void drop_stale(struct explorer *explorer) {
    struct world *world = &explorer->sim.world;
    for (size_t at = 0; at < world->count;) {
        const struct event *event = &world->heap[at];
        const cdtx_reply *reply;
        int stale = 0;
        const struct strand *strand = event_strand(event, &stale);
        const struct letter *letter = net_in_flight(event, &reply);
        if (strand == NULL && reply != NULL)
            stale = letter->from->owner.gone;
        if (!stale) {
            at++;
            continue;
        }
        unhold(explorer, event->sequence);
        world_drop_at(world, at);
        at = 0;
    }
}

static int earlier(const struct event *a, const struct event *b) {
    return b == NULL || a->at < b->at || (a->at == b->at && a->sequence < b->sequence);
}

static const struct event *next_step(const struct explorer *explorer, uint32_t n) {
    const struct world *world = &explorer->sim.world;
    const struct event *next = NULL;
    for (size_t i = 0; i < world->count; i++)
        if (is_ready(explorer, &world->heap[i]) && node_of(explorer, &world->heap[i]) == n &&
            earlier(&world->heap[i], next))
            next = &world->heap[i];
    return next;
}

static const struct event *next_timer(const struct explorer *explorer) {
    const struct world *world = &explorer->sim.world;
    const struct event *next = NULL;
    for (size_t i = 0; i < world->count; i++)
        if (!is_message(&world->heap[i]) && earlier(&world->heap[i], next))
            next = &world->heap[i];
    return next;
}

/* Where a message comes from and goes to. */
static uint32_t way_of(const struct explorer *explorer, const struct event *event) {
    const cdtx_reply *reply;
    const struct letter *letter = net_in_flight(event, &reply);
    uint32_t from = node_of_life(explorer, letter->from), to = (uint32_t)(letter->to - explorer->sim.nodes);
    return reply == NULL ? from * NODES_MAX + to : NODES_MAX * NODES_MAX + to * NODES_MAX + from;
}

/* The first on its way, of those that are not held back. */
static int is_head(const struct explorer *explorer, const struct event *event) {
    const struct world *world = &explorer->sim.world;
    for (size_t i = 0; i < world->count; i++)
        if (is_message(&world->heap[i]) && world->heap[i].mark == FATE_PROMPT &&
            world->heap[i].sequence < event->sequence && way_of(explorer, &world->heap[i]) == way_of(explorer, event))
            return 0;
    return 1;
}

static struct event *first_new(const struct explorer *explorer) {
    const struct world *world = &explorer->sim.world;
    struct event *first = NULL;
    for (size_t i = 0; i < world->count; i++)
        if (is_message(&world->heap[i]) && world->heap[i].mark == FATE_NEW &&
            (first == NULL || world->heap[i].sequence < first->sequence))
            first = &world->heap[i];
    return first;
}

/* ---- states ---- */

static int is_up(const struct explorer *explorer, uint32_t n) {
    return explorer->sim.nodes[n].life != NULL;
}

/* Once nothing is going on, what a life has seen is replaced by what it remembers. */
static void forget(struct explorer *explorer, uint32_t n) {
    struct node *node = &explorer->sim.nodes[n];
    uint64_t memory;
    if (explorer->plain || node_up(node) == NULL || next_step(explorer, n) != NULL ||
        !explore_memory(node->life->engine, host_monotonic_us(node->host), &memory))
        return;
    memory = explore_mix(memory, node->life->number);
    for (uint32_t i = 0; i < explorer->customer_count; i++)
        if (node->coordinator && explorer->customers[i].side == (int)n)
            memory = explore_mix(explore_mix(memory, explorer->customers[i].told), explorer->customers[i].phase);
    explorer->past[n] = memory;
}

/* What can tell whether a message comes now or came before: its receiver, and the coordinators, who would meet the
 * answer. */
static uint64_t receiver(const struct explorer *explorer, uint32_t n) {
    uint64_t hash = explore_mix(explorer->past[n], is_up(explorer, n) ? 1 : 2);
    for (uint32_t other = 0; other < explorer->sim.node_count; other++)
        if (explorer->sim.nodes[other].coordinator)
            hash = explore_mix(hash, explorer->past[other]);
    return explore_mix(hash, explorer->rows[file_of(&explorer->sim.nodes[n])]);
}

/* What a node would find if it started now. */
static uint64_t found(const struct explorer *explorer, uint32_t n) {
    return explore_mix(explorer->rows[file_of(&explorer->sim.nodes[n])], explorer->down[n].lost);
}

static int is_awaited(const struct letter *letter) {
    const struct life *life = letter->from;
    return !life->owner.gone && life->open && explore_awaits(life->engine, letter->call.id);
}

static uint64_t hash_message(const struct explorer *explorer, const struct event *event) {
    const cdtx_reply *reply;
    const struct letter *letter = net_in_flight(event, &reply);
    const cdtx_call *call = &letter->call;
    uint64_t hash = explore_mix(way_of(explorer, event), letter->from->number);
    hash = explore_mix(explore_mix(hash, (uint64_t)call->op << 32 | call->branch), (uint64_t)call->sequence);
    hash = explore_mix(explore_mix(hash, (uint64_t)call->epoch), call->attempt);
    hash = explore_mix(explore_mix(hash, (uint64_t)call->floor), (uint64_t)is_awaited(letter));
    if (reply != NULL) {
        hash = explore_mix_bytes(explore_mix(hash, (uint64_t)(uint32_t)reply->code), reply->result, reply->length);
        if (reply->text != NULL)
            hash = explore_mix_bytes(hash, reply->text, strlen(reply->text));
    }
    return hash;
}

/* Messages that take the ordinary way count in their order on it; those held back in any. */
static uint64_t hash_messages(const struct explorer *explorer) {
    const struct world *world = &explorer->sim.world;
    uint64_t sum = 0;
    for (size_t i = 0; i < world->count; i++) {
        const struct event *event = &world->heap[i];
        if (!is_message(event))
            continue;
        uint64_t before = 0, put_off = 0;
        for (size_t j = 0; j < world->count && event->mark == FATE_PROMPT; j++)
            before += is_message(&world->heap[j]) && world->heap[j].mark == FATE_PROMPT &&
                      world->heap[j].sequence < event->sequence &&
                      way_of(explorer, &world->heap[j]) == way_of(explorer, event);
        for (uint32_t h = 0; h < explorer->held_count; h++)
            if (explorer->held[h].event == event->sequence)
                put_off = explorer->held[h].put_off == receiver(explorer, node_of(explorer, event));
        sum += explore_mix(explore_mix(explore_mix(hash_message(explorer, event), event->mark), before), put_off);
    }
    return sum;
}

/* The order of the events of one node is part of its past; of timers only the time matters. */
static uint64_t hash_threads(const struct explorer *explorer, uint32_t n) {
    const struct world *world = &explorer->sim.world;
    uint64_t sum = 0;
    for (size_t i = 0; i < world->count; i++) {
        const struct event *event = &world->heap[i];
        int stale = 0;
        const struct strand *strand = event_strand(event, &stale);
        if (strand == NULL || node_of(explorer, event) != n)
            continue;
        int64_t in = event->at > world->now ? event->at - world->now : 0;
        sum += explore_mix(explore_mix(1, (uint64_t)in), (uint64_t)strand->role[0]);
    }
    return sum;
}

uint64_t explore_hash(struct explorer *explorer) {
    uint64_t hash = explore_mix(hash_messages(explorer), (uint64_t)explorer->ended);
    if (!explorer->ended) /* rows and timers name times */
        hash = explore_mix(hash, (uint64_t)explorer->sim.world.now);
    for (uint32_t n = 0; n < explorer->sim.node_count; n++) {
        const struct node *node = &explorer->sim.nodes[n];
        hash = explore_mix(explore_mix(hash, explorer->past[n]), hash_threads(explorer, n));
        hash = explore_mix(hash, node->lives * 4 + (uint64_t)is_up(explorer, n) * 2 +
                                     (explorer->effects[n] != explorer->offered[n]));
        if (!is_up(explorer, n))
            hash = explore_mix(hash, explorer->down[n].put_off == found(explorer, n));
    }
    for (uint32_t file = 0; file < FILES; file++)
        hash = explore_mix(hash, explorer->rows[file]);
    for (uint32_t i = 0; i < explorer->customer_count; i++)
        hash = explore_mix(explore_mix(hash, explorer->customers[i].told), (uint64_t)explorer->customers[i].done);
    const struct budget *left = &explorer->left;
    return explore_mix(hash, ((left->crashes * 16 + left->copies) * 16 + left->holds) * 16 + left->faults);
}

/* ---- what can happen ---- */

static void add(struct move *moves, uint32_t *count, enum move_kind kind, uint32_t node, uint64_t event) {
    if (*count < MOVES_MAX)
        moves[(*count)++] = (struct move){kind, node, event};
}

/* A crash right after an effect stands for all until the node's next one: in between nobody can tell. */
static int offer_crash(struct explorer *explorer, struct move *moves, uint32_t *count) {
    for (uint32_t n = 0; n < explorer->sim.node_count; n++) {
        if (explorer->effects[n] == explorer->offered[n])
            continue;
        if (!is_up(explorer, n) || explorer->left.crashes == 0 || explorer->left.faults == 0) {
            explorer->offered[n] = explorer->effects[n];
            continue;
        }
        add(moves, count, MOVE_CRASH, n, 0);
        add(moves, count, MOVE_GO_ON, n, 0);
        return 1;
    }
    return 0;
}

static int offer_fate(struct explorer *explorer, struct move *moves, uint32_t *count) {
    struct event *event;
    while ((event = first_new(explorer)) != NULL) {
        const struct budget *left = &explorer->left;
        int room = left->faults > 0 && explorer->held_count < HELD_MAX;
        if (!room || (left->holds == 0 && left->copies == 0)) {
            event->mark = FATE_PROMPT;
            continue;
        }
        uint32_t n = node_of(explorer, event);
        if (left->holds > 0)
            add(moves, count, MOVE_HOLD, n, event->sequence);
        if (left->copies > 0)
            add(moves, count, MOVE_COPY, n, event->sequence);
        add(moves, count, MOVE_PROMPT, n, event->sequence);
        return 1;
    }
    return 0;
}

/* Does this step touch the file that the coordinators share? Before every transaction stands a failpoint, and another
 * before its commit; what a thread does from elsewhere to the next failpoint is its process' own business. */
static int touches_log(const struct explorer *explorer, uint32_t n, const struct event *step) {
    int stale = 0;
    const struct strand *strand = event_strand(step, &stale);
    const struct node *node = &explorer->sim.nodes[n];
    if (!node->coordinator)
        return 0;
    return !node->life->open || (strand->at != NULL && strncmp(strand->at, "store.", 6) == 0 &&
                                 strcmp(strand->at, "store.commit.after") != 0);
}

/* A step that touches nothing shared is made at once: the order in which others move makes no difference to it. The
 * coordinators' steps in the log are made in every order, and while one is at it, messages may come to the other. */
static int offer_steps(struct explorer *explorer, struct move *moves, uint32_t *count) {
    const struct world *world = &explorer->sim.world;
    int busy = 0;
    for (uint32_t n = 0; n < explorer->sim.node_count; n++) {
        const struct event *step = next_step(explorer, n);
        if (step == NULL)
            continue;
        if (!explorer->plain && !touches_log(explorer, n, step)) {
            *count = 0;
            add(moves, count, MOVE_STEP, n, step->sequence);
            return 1;
        }
        add(moves, count, MOVE_STEP, n, step->sequence);
        busy |= 1 << n;
    }
    for (size_t i = 0; i < world->count && busy != 0; i++) {
        const struct event *event = &world->heap[i];
        uint32_t n = node_of(explorer, event);
        if (is_message(event) && event->mark == FATE_PROMPT && explorer->sim.nodes[n].coordinator && !(busy >> n & 1) &&
            is_head(explorer, event))
            add(moves, count, MOVE_DELIVER, n, event->sequence);
    }
    return busy != 0;
}

/* Could this node send anything before a message of the ordinary way arrives or time goes on? */
static int is_silent(struct explorer *explorer, uint32_t n) {
    const struct life *life = node_up(&explorer->sim.nodes[n]);
    return life != NULL && explore_idle(life->engine);
}

/* Who has sent the node what is on the ordinary way to it. */
static uint32_t senders_to(const struct explorer *explorer, uint32_t n) {
    const struct world *world = &explorer->sim.world;
    uint32_t senders = 0;
    for (size_t i = 0; i < world->count; i++) {
        const cdtx_reply *reply;
        const struct letter *letter = net_in_flight(&world->heap[i], &reply);
        if (letter != NULL && reply == NULL && node_of(explorer, &world->heap[i]) == n &&
            world->heap[i].mark == FATE_PROMPT)
            senders |= 1U << node_of_life(explorer, letter->from);
    }
    return senders;
}

/* A participant whose messages come from one coordinator only, while the other is silent: whoever else moved first
 * could not change what it gets, so nobody else needs to move first. That holds only when nothing sent later can
 * overtake what is on its way already. NODES_MAX: none. */
static uint32_t find_apart(struct explorer *explorer) {
    uint32_t loud = 0;
    const struct budget *left = &explorer->left;
    if (explorer->plain || (left->faults > 0 && left->holds + left->copies > 0))
        return NODES_MAX;
    for (uint32_t n = 0; n < explorer->sim.node_count; n++)
        if (explorer->sim.nodes[n].coordinator && !is_silent(explorer, n))
            loud |= 1U << n;
    for (uint32_t n = 0; n < explorer->sim.node_count; n++) {
        uint32_t senders = explorer->sim.nodes[n].coordinator ? 0 : senders_to(explorer, n);
        uint32_t all = senders | loud;
        if (senders != 0 && (all & (all - 1)) == 0)
            return n;
    }
    return NODES_MAX;
}

/* In all of these, only: the one node that it is about; NODES_MAX: every node. */
static int offer_messages(struct explorer *explorer, struct move *moves, uint32_t *count, uint32_t only) {
    const struct world *world = &explorer->sim.world;
    int prompt = 0;
    for (size_t i = 0; i < world->count; i++) {
        const struct event *event = &world->heap[i];
        if (!is_message(event) || event->mark != FATE_PROMPT)
            continue;
        prompt = 1;
        uint32_t n = node_of(explorer, event);
        if (is_head(explorer, event) && (only == NODES_MAX || only == n))
            add(moves, count, MOVE_DELIVER, n, event->sequence);
    }
    return prompt;
}

/* What was put off stays so until its receiver could make something else of it. */
static void offer_held(struct explorer *explorer, struct move *moves, uint32_t *count, uint32_t only) {
    const struct world *world = &explorer->sim.world;
    for (uint32_t h = 0; h < explorer->held_count; h++) {
        const struct held *held = &explorer->held[h];
        uint32_t n = node_of(explorer, &world->heap[find(world, held->event)]);
        if ((only == NODES_MAX || only == n) && (explorer->ended || held->put_off != receiver(explorer, n)))
            add(moves, count, MOVE_DELIVER, n, held->event);
    }
}

/* 1: it must be now. */
static int offer_restarts(struct explorer *explorer, struct move *moves, uint32_t *count, uint32_t only, int over) {
    for (uint32_t n = 0; n < explorer->sim.node_count; n++) {
        const struct down *down = &explorer->down[n];
        if (is_up(explorer, n))
            continue;
        if (over || (!explorer->sim.nodes[n].coordinator && explorer->sim.world.now - down->since > DOWN_MAX)) {
            *count = 0;
            add(moves, count, MOVE_RESTART, n, 0);
            return 1;
        }
        if ((only == NODES_MAX || only == n) && down->put_off != found(explorer, n))
            add(moves, count, MOVE_RESTART, n, 0);
    }
    return 0;
}

static int any_prompt(const struct explorer *explorer) {
    const struct world *world = &explorer->sim.world;
    for (size_t i = 0; i < world->count; i++)
        if (is_message(&world->heap[i]) && world->heap[i].mark == FATE_PROMPT)
            return 1;
    return 0;
}

/* Nobody has anything to do but to take a message or to hear a timer. What may be put off is offered first. */
static uint32_t moves_at_rest(struct explorer *explorer, struct move *moves) {
    uint32_t count = 0, only = find_apart(explorer);
    int prompt = any_prompt(explorer);
    int over = !prompt && explore_is_over(explorer);
    if (offer_restarts(explorer, moves, &count, only, over))
        return count;
    if (over && !explorer->ended) {
        explorer->ended = 1;
        memset(&explorer->left, 0, sizeof explorer->left);
        explore_settle(explorer);
        return explore_moves(explorer, moves);
    }
    offer_held(explorer, moves, &count, only);
    offer_messages(explorer, moves, &count, only);
    if (explorer->ended) /* other moments for the latecomers were offered before */
        return count > 1 ? 1 : count;
    const struct event *timer = prompt ? NULL : next_timer(explorer);
    if (timer != NULL)
        add(moves, &count, MOVE_TIME, node_of(explorer, timer), timer->sequence);
    if (count == 0)
        violate(&explorer->sim.world, "L1", "nothing will ever happen again, and not everything has ended");
    return count;
}

uint32_t explore_moves(struct explorer *explorer, struct move *moves) {
    struct world *world = &explorer->sim.world;
    uint32_t count = 0;
    drop_stale(explorer);
    explorer->at_rest = 0;
    if (world->broken[0] == '\0' && (world->now > FOREVER || ++explorer->steps > STEPS_MAX))
        violate(world, "L1", "no end after %lld virtual seconds and %u steps", (long long)(world->now / SECOND),
                explorer->steps);
    if (world->broken[0] != '\0')
        return 0;
    for (uint32_t n = 0; n < explorer->sim.node_count; n++)
        forget(explorer, n);
    if (offer_crash(explorer, moves, &count) || offer_fate(explorer, moves, &count) ||
        offer_steps(explorer, moves, &count))
        return count;
    explorer->at_rest = 1;
    return moves_at_rest(explorer, moves);
}

/* ---- doing it ---- */

static void fire(struct explorer *explorer, const struct move *move) {
    struct world *world = &explorer->sim.world;
    uint64_t before = world->sequence;
    world_fire_at(world, find(world, move->event));
    for (size_t i = 0; i < world->count; i++)
        if (is_message(&world->heap[i]) && world->heap[i].sequence >= before)
            explorer->effects[move->node]++;
    look(explorer, move->node);
}

static void resume(struct explorer *explorer, const struct move *move) {
    const struct world *world = &explorer->sim.world;
    uint32_t n = move->node;
    int stale = 0;
    const struct event *event = &world->heap[find(world, move->event)];
    const struct strand *strand = event_strand(event, &stale);
    uint64_t *past = &explorer->past[n];
    *past = explore_mix(*past, strand->number);
    if (move->kind == MOVE_TIME)
        *past = explore_mix(*past, (uint64_t)event->at);
    if (explorer->sim.nodes[n].coordinator && explorer->seen[n] != explorer->rows[0]) {
        explorer->seen[n] = explorer->rows[0];
        *past = explore_mix(*past, explorer->rows[0]);
    }
    fire(explorer, move);
    if (explorer->sim.nodes[n].coordinator)
        explorer->seen[n] = explorer->rows[0];
}

/* An event like that one, at another time; its sequence. */
static uint64_t repeat(struct explorer *explorer, const struct event *event, int64_t delay, uint32_t mark) {
    struct world *world = &explorer->sim.world;
    uint64_t sequence = world->sequence;
    struct event copy = *event;
    world_post(world, delay, copy.fire, copy.argument, copy.number);
    world->heap[find(world, sequence)].mark = mark;
    return sequence;
}

static void deliver(struct explorer *explorer, const struct move *move) {
    const struct world *world = &explorer->sim.world;
    uint32_t n = move->node;
    const struct event *event = &world->heap[find(world, move->event)];
    unhold(explorer, event->sequence);
    if (is_up(explorer, n))
        explorer->past[n] = explore_mix(explorer->past[n], hash_message(explorer, event));
    else
        explorer->down[n].lost++;
    int was_held = event->mark == FATE_HELD;
    tell(&explorer->sim.world, "explore", "a message %s%s", was_held ? "held back " : "",
         is_up(explorer, n) ? "arrives" : "finds nobody");
    if (!was_held) {
        fire(explorer, move);
        return;
    }
    struct move now = *move;
    now.event = repeat(explorer, event, 0, FATE_PROMPT);
    world_drop_at(&explorer->sim.world, find(world, move->event));
    fire(explorer, &now);
}

static void crash(struct explorer *explorer, uint32_t n) {
    explorer->left.crashes--;
    explorer->left.faults--;
    explorer->offered[n] = explorer->effects[n];
    explorer->past[n] = 0;
    explorer->changes[n] = -1;
    explorer->down[n] = (struct down){.since = explorer->sim.world.now};
    for (uint32_t i = 0; i < explorer->customer_count; i++)
        if (explorer->customers[i].side == (int)n)
            explorer->customers[i].done = 1;
    life_die(explorer->sim.nodes[n].life, "kill -9");
    life_reap(&explorer->sim.world, &explorer->sim);
}

static void restart(struct explorer *explorer, uint32_t n) {
    struct world *world = &explorer->sim.world;
    explorer->sim.ending = 0;
    uint64_t start = world->sequence;
    life_start(&explorer->sim.nodes[n], 0);
    world_fire_at(world, find(world, start));
    explorer->sim.ending = 1;
    explorer->past[n] = explore_mix(explorer->sim.nodes[n].lives, (uint64_t)world->now);
    explorer->seen[n] = 0;
}

static void hold(struct explorer *explorer, const struct move *move) {
    struct world *world = &explorer->sim.world;
    size_t at = find(world, move->event);
    explorer->left.faults--;
    uint64_t held = repeat(explorer, &world->heap[at], NEVER, FATE_HELD);
    at = find(world, move->event);
    if (move->kind == MOVE_HOLD) {
        explorer->left.holds--;
        world_drop_at(world, at);
    } else {
        explorer->left.copies--;
        world->heap[at].mark = FATE_PROMPT;
    }
    tell(world, "explore", "%s to %s is held back", move->kind == MOVE_HOLD ? "the message" : "a copy of the message",
         explorer->sim.nodes[move->node].name);
    explorer->held[explorer->held_count++] = (struct held){.event = held};
}

void explore_put_off(struct explorer *explorer, const struct move *moves, uint32_t chosen) {
    for (uint32_t i = 0; i < chosen && !explorer->plain; i++) {
        const struct move *move = &moves[i];
        if (move->kind == MOVE_RESTART)
            explorer->down[move->node].put_off = found(explorer, move->node);
        for (uint32_t h = 0; move->kind == MOVE_DELIVER && h < explorer->held_count; h++)
            if (explorer->held[h].event == move->event)
                explorer->held[h].put_off = receiver(explorer, move->node);
    }
}

void explore_apply(struct explorer *explorer, const struct move *move) {
    struct world *world = &explorer->sim.world;
    switch (move->kind) {
    case MOVE_GO_ON:
        explorer->offered[move->node] = explorer->effects[move->node];
        break;
    case MOVE_CRASH:
        crash(explorer, move->node);
        break;
    case MOVE_PROMPT:
        world->heap[find(world, move->event)].mark = FATE_PROMPT;
        break;
    case MOVE_HOLD:
    case MOVE_COPY:
        hold(explorer, move);
        break;
    case MOVE_STEP:
        resume(explorer, move);
        break;
    case MOVE_DELIVER:
        deliver(explorer, move);
        break;
    case MOVE_RESTART:
        restart(explorer, move->node);
        break;
    case MOVE_TIME:
        resume(explorer, move);
        break;
    }
}

void explore_begin(struct explorer *explorer) {
    for (uint32_t n = 0; n < explorer->sim.node_count; n++) {
        explorer->changes[n] = -1;
        look(explorer, n);
        explorer->effects[n] = 1;
        explorer->past[n] = explore_mix(explorer->sim.nodes[n].lives, n);
    }
    for (uint32_t n = 0; n < explorer->sim.node_count; n++)
        explorer->seen[n] = explorer->rows[0];
}
