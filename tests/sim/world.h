/* The simulated world's time and its strands of execution: an event heap ordered by (time, sequence), virtual
 * microseconds, and fibers that belong to an owner who may be paused or die. Everything that happens is a line of the
 * story; the hash over all lines is the run's fingerprint. */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include <stddef.h>
#include <stdint.h>

#include "fiber.h"
#include "prng.h"

enum { MS = 1000, SECOND = 1000 * 1000 };

struct world;
struct strand;

/* Whose strands run: a life of a process. */
struct owner {
    int gone;             /* its strands never run again */
    int64_t paused_until; /* as if stopped by SIGSTOP */
    struct strand *strands;
    uint64_t born; /* strands so far */
};

struct strand {
    struct strand *next; /* of the owner's, while alive */
    struct strand **before;
    struct strand *all; /* of the world's, for the end */
    struct world *world;
    struct owner *owner; /* NULL: the world's own */
    struct fiber *fiber;
    uint64_t id;
    uint64_t number;      /* among its owner's, from 1 */
    const char *role;     /* for people */
    uint64_t turn;        /* counts resumes: an event for an older turn is stale */
    const uint32_t *word; /* what it waits for, see env.c */
    const char *at;       /* the failpoint that it stands at; NULL: none */
    void (*body)(void *argument);
    void *argument;
    int done;
};

typedef void (*world_fire)(struct world *world, void *argument, uint64_t number);

struct event {
    int64_t at;
    uint64_t sequence;
    world_fire fire;
    void *argument;
    uint64_t number;
    uint32_t mark; /* of whoever orders events himself */
};

struct world {
    uint64_t seed;
    int tell;    /* print the story */
    int64_t now; /* microseconds since the start */
    uint64_t sequence;
    struct event *heap;
    size_t count, room;
    struct strand *strands;
    struct strand *current; /* NULL: the scheduler */
    uint64_t strand_count;
    uint64_t hash;
    uint64_t events; /* fired so far */
    uint64_t still;  /* of them, without time going on */
    struct prng schedule, net, disk, work, faults;
    void (*after)(struct world *world, void *user); /* called outside of all fibers after each event */
    void *user;
    struct chunk *chunks;
    char broken[8]; /* the invariant that was violated first, "" while none */
    char why[600];
};

void world_init(struct world *world, uint64_t seed, int tell);
void world_free(struct world *world);

/* Memory that lives as long as the world; zeroed. */
void *world_alloc(struct world *world, size_t size);
char *world_copy(struct world *world, const void *bytes, size_t length);

void world_post(struct world *world, int64_t delay, world_fire fire, void *argument, uint64_t number);
/* Runs events until `until`, or a violation. Returns 0 when the world is broken. */
int world_run(struct world *world, int64_t until);

/* Fires the event at that place of the heap, whatever its turn is; time goes on to its time, never back. */
void world_fire_at(struct world *world, size_t at);
void world_drop_at(struct world *world, size_t at);
/* The strand that an event would resume; NULL: it is of another kind. *stale: it would do nothing. */
struct strand *event_strand(const struct event *event, int *stale);

/* A new strand that starts after delay. Its body may return. */
struct strand *strand_new(struct world *world, struct owner *owner, const char *role, void (*body)(void *argument),
                          void *argument, int64_t delay);
/* For the current strand: sleep; or wait until somebody calls strand_resume. */
void strand_sleep(struct world *world, int64_t delay);
void strand_park(struct world *world);
void strand_resume(struct strand *strand, int64_t delay);
/* The current strand never runs again. */
_Noreturn void strand_end(struct world *world);

/* One line of the story: who, and what happened. */
void tell(struct world *world, const char *who, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* An invariant does not hold. The first one counts and ends the run at the next event. */
void violate(struct world *world, const char *invariant, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
