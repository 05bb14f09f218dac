/* One simulated installation: hosts with a disk and a clock, nodes that run on them, and each node's present life: one
 * process with one engine. Module by module: knobs (what a seed switches on), env (a life's cdtx_env), life (start,
 * crash, end), net (calls between nodes), shop (what the participants do), client (global transactions), rogue (a
 * caller who breaks the protocol), clerk and errand (local transactions and jobs beside them), chore, hook, post, half
 * and cron (the other patterns), attempt (what holds for attempts at any job), checks (the invariants), cover (what a
 * run has seen). */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include <cdtx/port.h>
#include <cdtx/tcc.h>
#include <sqlite3.h>

#include "disk.h"
#include "knobs.h"
#include "world.h"

enum { NODES_MAX = 4, HOSTS_MAX = 3 };
enum participant { ORDER, STOCK, PARTICIPANTS };
extern const char *const participant_names[PARTICIPANTS];

struct sim;

struct jump {
    struct jump *next;
    int64_t at, step, wall; /* what it showed before */
};

struct host {
    struct sim *sim;
    const char *name;
    struct disk *disk;
    int64_t boot; /* when the monotonic clock was 0 */
    int64_t ppm;  /* its drift */
    int64_t wall_offset;
    struct jump *jumps; /* of the wall clock, the last first */
};

struct node {
    struct sim *sim;
    const char *name;
    struct host *host;
    int coordinator;   /* has a log */
    int shared;        /* takes turns on its files with the other node */
    uint32_t serves;   /* bit by participant */
    struct life *life; /* NULL: down */
    uint32_t lives;
    int clogged[NODES_MAX];
    int starting; /* a start is under way */
    int away;     /* it stays down */
};

/* A connection of a life, known by sqlite3_auto_extension. */
struct connection {
    struct connection *next, **before;
    sqlite3 *db;
    int changes; /* rows it had changed at the last look */
    int scanned; /* by mirror.c: the first look compares everything */
};

struct block;

struct life {
    struct owner owner;
    struct sim *sim;
    struct node *node;
    uint32_t number;
    char name[24];
    struct disk_life *disk_life;
    const char *vfs;
    cdtx_env env;
    cdtx_link link;
    cdtx *engine;
    uint32_t engines;               /* opened so far: an opening may fail half way and be repeated */
    cdtx_db *dbs[PARTICIPANTS + 1]; /* its databases by clerk.h's numbers */
    int open;                       /* the engine may be called */
    int attached;                   /* the link may name the engine */
    int quit;                       /* asked to end cleanly */
    struct strand *main;            /* waits for that; NULL: not yet, or no more */
    int reaped;
    int sync_fails; /* the next one */
    int doubtful;   /* a write of its failed: what it committed last may show later */
    struct prng random;
    struct block *blocks;
    size_t block_count;
    struct connection *connections;
    uint32_t alarms;   /* of the guards, see env.c */
    uint64_t spins;    /* clock readings since the last yield */
    struct life *dead; /* the next that waits to be reaped */
    struct life *all;
};

struct checker;
struct history;
struct rogue;
struct net;
struct clerks;
struct errands;
struct persons;
struct chores;
struct hooks;
struct posts;
struct halves;
struct crons;

struct sim {
    struct world world;
    struct knobs knobs;
    const char *mutant; /* NULL: none */
    struct tape *tape;  /* NULL: none; see scenario.h */
    uint8_t fill;       /* what fresh memory holds: must not matter */
    struct host hosts[HOSTS_MAX];
    uint32_t host_count;
    struct node nodes[NODES_MAX];
    uint32_t node_count;
    int faults_on;
    int looking;       /* a checker reads: nothing may go wrong */
    int asked;         /* every client knows how its operations ended */
    int ending;        /* no restarts any more */
    int asleep;        /* no restarts before the morning */
    struct life *dead; /* to be reaped when no fiber runs */
    struct life *lives;
    struct net *net;
    struct checker *checker;
    struct history *history;
    struct rogue *rogue;
    struct clerks *clerks;
    struct errands *errands;
    struct persons *persons;
    struct chores *chores;
    struct hooks *hooks;
    struct posts *posts;
    struct halves *halves;
    struct crons *crons;
    uint32_t images;
    uint32_t
        touched[PARTICIPANTS + 1]; /* bits of enum touch: what may have changed in a database since the last look */
};

/* Faults are on, of this kind, and this time it happens: one in `in`. */
int sim_fault(struct sim *sim, enum fault_kind kind, struct prng *prng, uint64_t in);
struct life *sim_life(struct sim *sim); /* of the current strand; NULL */

/* ---- env.c ---- */
void env_init(struct life *life);
void env_free(struct life *life);
int64_t host_monotonic_us(const struct host *host);
int64_t host_wall_us(const struct host *host);
void host_jump(struct host *host, int64_t step);
/* The latest that its wall clock has shown since then; has it jumped ahead since? */
int64_t host_wall_peak_us(const struct host *host, int64_t since);
int host_jumped_ahead(const struct host *host, int64_t since);
/* If the life has died: the current strand never returns from here. */
void env_alive(struct life *life);
/* Clients and handlers think: a pause inside the process. */
void env_think(struct life *life, int64_t delay);

/* ---- life.c ---- */
void life_watch_connections(void); /* once a process */
void life_start(struct node *node, int64_t delay);
/* The process is gone at this moment; its memory is freed when no fiber runs. */
void life_die(struct life *life, const char *why);
void life_power_loss(struct host *host);
void life_reap(struct world *world, void *user);
/* A clean end; returns at once, the life ends by itself. */
void life_quit(struct life *life);
struct life *node_up(struct node *node); /* whose engine may be called; NULL */

/* ---- run.c ---- */
struct result {
    char broken[8];
    char why[600];
    uint64_t hash;
    int64_t virtual_us;
    uint64_t events;
};
/* An installation whose knobs are to be set; then its modules, hosts and nodes, which start at once. */
void sim_init(struct sim *sim, uint64_t seed, const char *mutant, int tell_it, uint8_t fill);
void sim_build(struct sim *sim);
int sim_all_up(struct sim *sim);
/* Every process dies, and none starts any more. */
void sim_kill_all(struct sim *sim, const char *why);
/* T7: no alarm that the rogue does not explain. */
void sim_check_alarms(struct sim *sim);
struct scenario;
/* The scenario's seed once more, with its faults and clients only. */
void sim_play(struct scenario *scenario, const char *mutant, int tell_it, struct result *result);
/* A seed's run, whose faults are put into the scenario. */
void sim_record(struct scenario *scenario, const char *mutant, struct result *result);
void sim_run(uint64_t seed, const char *mutant, int tell_it, uint8_t fill, struct result *result);

#endif
