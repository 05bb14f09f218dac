#include "world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STILL_MAX = 200000, STACK_SIZE = 192 * 1024 };

struct chunk {
    struct chunk *next;
    max_align_t bytes[];
};

static void *need(void *block) {
    if (block == NULL) {
        fputs("sim: out of memory\n", stderr);
        abort();
    }
    return block;
}

void world_init(struct world *world, uint64_t seed, int tell_it) {
    *world = (struct world){
        .seed = seed,
        .tell = tell_it,
        .hash = UINT64_C(0xCBF29CE484222325),
        .schedule = prng_new(seed, "schedule"),
        .net = prng_new(seed, "net"),
        .disk = prng_new(seed, "disk"),
        .work = prng_new(seed, "work"),
        .faults = prng_new(seed, "faults"),
    };
}

void world_free(struct world *world) {
    for (struct strand *strand = world->strands; strand != NULL;) {
        struct strand *next = strand->all;
        fiber_free(strand->fiber);
        strand->fiber = NULL;
        strand = next;
    }
    while (world->chunks != NULL) {
        struct chunk *next = world->chunks->next;
        free(world->chunks);
        world->chunks = next;
    }
    free(world->heap);
    world->heap = NULL;
}

void *world_alloc(struct world *world, size_t size) {
    struct chunk *chunk = need(calloc(1, sizeof *chunk + size));
    chunk->next = world->chunks;
    world->chunks = chunk;
    return chunk->bytes;
}

char *world_copy(struct world *world, const void *bytes, size_t length) {
    char *copy = world_alloc(world, length + 1);
    if (length > 0)
        memcpy(copy, bytes, length);
    return copy;
}

/* ---- events ---- */

static int earlier(const struct event *a, const struct event *b) {
    return a->at != b->at ? a->at < b->at : a->sequence < b->sequence;
}

void world_post(struct world *world, int64_t delay, world_fire fire, void *argument, uint64_t number) {
    if (world->count == world->room) {
        world->room = world->room == 0 ? 256 : 2 * world->room;
        world->heap = need(realloc(world->heap, world->room * sizeof *world->heap));
    }
    struct event event = {world->now + (delay > 0 ? delay : 0), world->sequence++, fire, argument, number, 0};
    size_t at = world->count++;
    for (; at > 0 && earlier(&event, &world->heap[(at - 1) / 2]); at = (at - 1) / 2)
        world->heap[at] = world->heap[(at - 1) / 2];
    world->heap[at] = event;
}

static struct event take_at(struct world *world, size_t at) {
    struct event taken = world->heap[at];
    struct event last = world->heap[--world->count];
    if (at == world->count)
        return taken;
    for (; at > 0 && earlier(&last, &world->heap[(at - 1) / 2]); at = (at - 1) / 2)
        world->heap[at] = world->heap[(at - 1) / 2];
    for (size_t child = 2 * at + 1; child < world->count; child = 2 * at + 1) {
        if (child + 1 < world->count && earlier(&world->heap[child + 1], &world->heap[child]))
            child++;
        if (!earlier(&world->heap[child], &last))
            break;
        world->heap[at] = world->heap[child];
        at = child;
    }
    world->heap[at] = last;
    return taken;
}

void world_drop_at(struct world *world, size_t at) {
    (void)take_at(world, at);
}

void world_fire_at(struct world *world, size_t at) {
    struct event event = take_at(world, at);
    world->still = event.at <= world->now ? world->still + 1 : 0;
    if (event.at > world->now)
        world->now = event.at;
    world->events++;
    event.fire(world, event.argument, event.number);
    if (world->after != NULL)
        world->after(world, world->user);
    if (world->still > STILL_MAX)
        violate(world, "L1", "%d events without time going on: somebody spins", STILL_MAX);
}

int world_run(struct world *world, int64_t until) {
    while (world->broken[0] == '\0' && world->count > 0 && world->heap[0].at <= until)
        world_fire_at(world, 0);
    if (world->now < until && world->broken[0] == '\0')
        world->now = until;
    return world->broken[0] == '\0';
}

/* ---- strands ---- */

static void run_strand(void *argument) {
    struct strand *strand = argument;
    strand->body(strand->argument);
}

static void unlink_strand(struct strand *strand) {
    if (strand->before == NULL)
        return;
    *strand->before = strand->next;
    if (strand->next != NULL)
        strand->next->before = strand->before;
    strand->before = NULL;
}

static void fire_strand(struct world *world, void *argument, uint64_t turn) {
    struct strand *strand = argument;
    if (strand->done || strand->turn != turn)
        return;
    if (strand->owner != NULL && strand->owner->gone) {
        strand->done = 1;
        return;
    }
    if (strand->owner != NULL && strand->owner->paused_until > world->now) {
        world_post(world, strand->owner->paused_until - world->now, fire_strand, strand, turn);
        return;
    }
    strand->turn++;
    world->current = strand;
    int alive = fiber_resume(strand->fiber);
    world->current = NULL;
    if (alive)
        return;
    strand->done = 1;
    unlink_strand(strand);
    fiber_free(strand->fiber);
    strand->fiber = NULL;
}

struct strand *event_strand(const struct event *event, int *stale) {
    if (event->fire != fire_strand)
        return NULL;
    struct strand *strand = event->argument;
    *stale = strand->done || strand->turn != event->number || (strand->owner != NULL && strand->owner->gone);
    return strand;
}

struct strand *strand_new(struct world *world, struct owner *owner, const char *role, void (*body)(void *argument),
                          void *argument, int64_t delay) {
    struct strand *strand = world_alloc(world, sizeof *strand);
    strand->world = world;
    strand->owner = owner;
    strand->body = body;
    strand->argument = argument;
    strand->role = role;
    strand->id = ++world->strand_count;
    strand->all = world->strands;
    world->strands = strand;
    strand->fiber = fiber_new(run_strand, strand, STACK_SIZE);
    if (owner != NULL) {
        strand->number = ++owner->born;
        struct strand **last = &owner->strands; /* in order of creation, so that wakes are in that order */
        while (*last != NULL)
            last = &(*last)->next;
        *last = strand;
        strand->before = last;
    }
    world_post(world, delay, fire_strand, strand, strand->turn);
    return strand;
}

void strand_park(struct world *world) {
    struct strand *self = world->current;
    fiber_yield();
    world->current = self;
}

void strand_resume(struct strand *strand, int64_t delay) {
    world_post(strand->world, delay, fire_strand, strand, strand->turn);
}

void strand_sleep(struct world *world, int64_t delay) {
    strand_resume(world->current, delay);
    strand_park(world);
}

_Noreturn void strand_end(struct world *world) {
    struct strand *self = world->current;
    self->turn++; /* nothing that is posted for it may wake it */
    for (;;)
        fiber_yield();
}

/* ---- the story ---- */

static void hash_bytes(struct world *world, const char *bytes, size_t length) {
    for (size_t i = 0; i < length; i++)
        world->hash = (world->hash ^ (uint8_t)bytes[i]) * UINT64_C(0x100000001B3);
}

void tell(struct world *world, const char *who, const char *format, ...) {
    char line[700];
    va_list arguments;
    int head = snprintf(line, sizeof line, "%11.6f %-8s ", (double)world->now / SECOND, who);
    va_start(arguments, format);
    int body = vsnprintf(line + head, sizeof line - (size_t)head, format, arguments);
    va_end(arguments);
    size_t length = (size_t)head + (body > 0 ? (size_t)body : 0);
    if (length >= sizeof line)
        length = sizeof line - 1;
    hash_bytes(world, line, length);
    if (world->tell)
        puts(line);
}

void violate(struct world *world, const char *invariant, const char *format, ...) {
    if (world->broken[0] != '\0')
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(world->why, sizeof world->why, format, arguments);
    va_end(arguments);
    snprintf(world->broken, sizeof world->broken, "%s", invariant);
    tell(world, "VIOLATED", "%s: %s", invariant, world->why);
}
