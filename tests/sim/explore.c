/* The search: depth first, one process for each way that is gone. A state that was seen is not gone on from again. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cover.h"
#include "explore.h"
#include "mutants.h"

enum { PATH_MAX_MOVES = 2000, SEEN_ROOM = 1 << 24, CHILDREN_MAX = 4096 };

struct arguments {
    struct budget budget;
    uint32_t jobs;
    int all_mutants, plain, compares;
    const char *world, *mutant, *path;
};

/* Between all processes of a search. */
struct shared {
    uint64_t states, cut, ends, different, sum, steps;
    uint32_t longest;
    int32_t tokens; /* how many more may run at the same time */
    int stop;
    int failed;
    char broken[8];
    char why[600];
    uint32_t path_length;
    uint8_t path[PATH_MAX_MOVES];
    uint64_t seen[SEEN_ROOM], seen_ends[SEEN_ROOM];
};

static struct shared *shared;
static struct explorer explorer;
static uint8_t path[PATH_MAX_MOVES];
static uint32_t path_length;
static pid_t children[CHILDREN_MAX]; /* that run beside this process */
static uint32_t child_count;
static int holds_token;

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void add(uint64_t *counter) {
    __atomic_add_fetch(counter, 1, __ATOMIC_RELAXED);
}

/* ---- what all know ---- */

/* 1 when it is new. */
static int enter(uint64_t *seen, uint64_t hash) {
    hash += hash == 0;
    for (uint64_t i = 0; i < SEEN_ROOM; i++) {
        uint64_t *slot = &seen[(hash + i) % SEEN_ROOM];
        uint64_t there = 0;
        if (__atomic_compare_exchange_n(slot, &there, hash, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            return 1;
        if (there == hash)
            return 0;
    }
    fputs("explore: more states than there is room for\n", stderr);
    abort();
}

static void report(const char *broken, const char *why) {
    int none = 0;
    if (!__atomic_compare_exchange_n(&shared->failed, &none, 1, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
        return;
    snprintf(shared->broken, sizeof shared->broken, "%s", broken);
    snprintf(shared->why, sizeof shared->why, "%s", why);
    memcpy(shared->path, path, sizeof path);
    shared->path_length = path_length;
    __atomic_store_n(&shared->stop, 1, __ATOMIC_RELEASE);
}

/* ---- processes ---- */

static void wait_for(pid_t pid) {
    int status;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    char why[100];
    if (WIFSIGNALED(status)) {
        snprintf(why, sizeof why, "the program died of signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
        report("death", why);
    }
}

/* This way is at its end; those that were parted from it may not be. */
_Noreturn static void leave(void) {
    if (holds_token)
        __atomic_add_fetch(&shared->tokens, 1, __ATOMIC_RELEASE);
    for (uint32_t i = 0; i < child_count; i++)
        wait_for(children[i]);
    fflush(stdout);
    _exit(0);
}

static int take_token(void) {
    int32_t left = __atomic_load_n(&shared->tokens, __ATOMIC_RELAXED);
    while (left > 0 && child_count < CHILDREN_MAX)
        if (__atomic_compare_exchange_n(&shared->tokens, &left, left - 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
            return 1;
    return 0;
}

/* 1 in the child. The parent waits for it, unless there is a processor for both. */
static int branch(void) {
    for (uint32_t i = 0; i < explorer.sim.host_count; i++)
        disk_before_fork(explorer.sim.hosts[i].disk);
    int beside = take_token();
    fflush(stdout);
    pid_t pid = fork();
    if (pid < 0) {
        perror("explore: fork");
        exit(2);
    }
    if (pid == 0) {
        child_count = 0;
        holds_token = beside;
        for (uint32_t i = 0; i < explorer.sim.host_count; i++)
            disk_in_child(explorer.sim.hosts[i].disk);
        return 1;
    }
    if (beside)
        children[child_count++] = pid;
    else
        wait_for(pid);
    return 0;
}

/* ---- one way ---- */

_Noreturn static void finish(void) {
    uint64_t end = explore_end(&explorer);
    if (enter(shared->seen_ends, end)) {
        add(&shared->different);
        __atomic_add_fetch(&shared->sum, end, __ATOMIC_RELAXED);
    }
    if (explorer.sim.world.broken[0] == '\0')
        explore_judge(&explorer);
    if (explorer.sim.world.broken[0] != '\0')
        report(explorer.sim.world.broken, explorer.sim.world.why);
    add(&shared->ends);
    if (explorer.steps > shared->longest)
        shared->longest = explorer.steps;
    leave();
}

static void choose(uint32_t choice) {
    if (path_length == PATH_MAX_MOVES) {
        fputs("explore: a way with more choices than there is room for\n", stderr);
        abort();
    }
    path[path_length++] = (uint8_t)choice;
}

_Noreturn static void search(void) {
    struct move moves[MOVES_MAX];
    for (;;) {
        uint32_t count = __atomic_load_n(&shared->stop, __ATOMIC_ACQUIRE) ? 0 : explore_moves(&explorer, moves);
        if (__atomic_load_n(&shared->stop, __ATOMIC_ACQUIRE))
            leave();
        uint32_t chosen = 0;
        if ((count > 1 || explorer.at_rest) && explorer.sim.world.broken[0] == '\0') {
            if (!enter(shared->seen, explore_hash(&explorer))) {
                add(&shared->cut);
                leave();
            }
            add(&shared->states);
        }
        if (count == 0)
            finish();
        if (count > 1) {
            while (chosen < count - 1 && !branch())
                chosen++;
            choose(chosen);
        }
        add(&shared->steps);
        explore_put_off(&explorer, moves, chosen);
        explore_apply(&explorer, &moves[chosen]);
    }
}

/* ---- one world ---- */

static int new_search(const struct arguments *arguments) {
    if (shared != NULL)
        munmap(shared, sizeof *shared);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (shared == MAP_FAILED) {
        perror("explore: mmap");
        exit(2);
    }
    shared->tokens = (int32_t)arguments->jobs - 1;
    path_length = 0;
    return 0;
}

static char digit(uint8_t choice) {
    return (char)(choice < 10 ? '0' + choice : 'a' + choice - 10);
}

static void tell_path(FILE *out, const char *world, const char *mutant) {
    fprintf(out, "  again: explore --world %s%s%s --path ", world, mutant == NULL ? "" : " --mutant ",
            mutant == NULL ? "" : mutant);
    for (uint32_t i = 0; i < shared->path_length; i++)
        fputc(digit(shared->path[i]), out);
    fputc('\n', out);
}

/* Goes every way of that world. 1: one of them breaks an invariant. */
static int explore_one(const struct arguments *arguments, const struct explore_world *world, const char *mutant) {
    new_search(arguments);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        explore_build(&explorer, world, mutant, 0);
        explore_begin(&explorer);
        explorer.left = arguments->budget;
        explorer.plain = arguments->plain;
        search();
    }
    wait_for(pid);
    return shared->failed;
}

/* Does leaving orders out lose any end? */
static int differs(const struct arguments *arguments, const struct explore_world *world) {
    struct arguments plain = *arguments;
    uint64_t sum = shared->sum, different = shared->different;
    plain.plain = 1;
    explore_one(&plain, world, arguments->mutant);
    if (shared->sum == sum)
        return 0;
    printf("  %llu different ends; with nothing left out they are %llu\n", (unsigned long long)different,
           (unsigned long long)shared->different);
    return 1;
}

static int explore_all(const struct arguments *arguments) {
    int failed = 0;
    for (uint32_t w = 0; w < explore_world_count; w++) {
        const struct explore_world *world = &explore_worlds[w];
        if (arguments->world != NULL && strcmp(arguments->world, world->name) != 0)
            continue;
        double start = seconds();
        int broken = explore_one(arguments, world, arguments->mutant);
        printf("%-8s %s: %llu states, %llu seen before, %llu steps, at most %u in a row; %llu ends, %llu different "
               "(%016llx);"
               " %.1f s\n",
               world->name, world->what, (unsigned long long)shared->states, (unsigned long long)shared->cut,
               (unsigned long long)shared->steps, shared->longest, (unsigned long long)shared->ends,
               (unsigned long long)shared->different, (unsigned long long)shared->sum, seconds() - start);
        if (broken) {
            printf("  violates %s: %s\n", shared->broken, shared->why);
            tell_path(stdout, world->name, arguments->mutant);
        }
        failed |= broken || (arguments->compares && differs(arguments, world));
    }
    return failed;
}

static const struct explore_world *find_world(const char *name) {
    for (uint32_t w = 0; name != NULL && w < explore_world_count; w++)
        if (strcmp(name, explore_worlds[w].name) == 0)
            return &explore_worlds[w];
    return NULL;
}

/* One way, told as a story. */
static int follow(const struct arguments *arguments) {
    const struct explore_world *world = find_world(arguments->world);
    struct move moves[MOVES_MAX];
    const char *at = arguments->path;
    uint32_t count;
    if (world == NULL) {
        fputs("explore: --path needs the --world that it leads through\n", stderr);
        return 2;
    }
    explore_build(&explorer, world, arguments->mutant, 1);
    explore_begin(&explorer);
    explorer.left = arguments->budget;
    explorer.plain = arguments->plain;
    while ((count = explore_moves(&explorer, moves)) > 0) {
        uint32_t chosen = 0;
        if (count > 1 && *at != '\0') {
            chosen = *at <= '9' ? (uint32_t)(*at - '0') : (uint32_t)(*at - 'a') + 10;
            at++;
        } else if (count > 1) {
            chosen = count - 1;
        }
        if (chosen >= count) {
            fprintf(stderr, "explore: the path asks for choice %u of %u\n", chosen, count);
            return 2;
        }
        explore_put_off(&explorer, moves, chosen);
        explore_apply(&explorer, &moves[chosen]);
    }
    if (explorer.sim.world.broken[0] == '\0')
        explore_judge(&explorer);
    printf("%s%s%s\n", explorer.sim.world.broken[0] == '\0' ? "ok" : explorer.sim.world.broken,
           explorer.sim.world.broken[0] == '\0' ? "" : ": ", explorer.sim.world.why);
    return explorer.sim.world.broken[0] != '\0';
}

/* ---- mutants ---- */

/* The world to look for a mutant in, and how many faults must come together. Not listed: it lies outside of the bounds
 * (a failed disk, a caller who breaks the protocol, more transactions than one). */
static const struct {
    const char *mutant, *world;
    uint32_t faults;
} hunting[] = {
    {"bug-1", "pause", 1},
    {"bug-11", "commit", 1},
    {"bug-13", "commit", 1},
    {"bug-19", "refused", 1},
    {"answer-before-sync", "commit", 1},
    {"call-before-decision", "commit", 1},
    {"late-register", "late", 1},
    {"end-unacked", "commit", 1},
    {"timeout-moves-decided", "commit", 1},
    {"guard-absent-try", "commit", 1},
    {"guard-tried-try", "commit", 1},
    {"guard-rejected-try", "rivals", 1},
    {"guard-confirmed-try", "commit", 1},
    {"guard-cancelled-try", "refused", 1},
    {"guard-empty-try", "refused", 1},
    {"guard-tried-confirm", "commit", 1},
    {"guard-confirmed-confirm", "commit", 1},
    {"guard-absent-cancel", "refused", 1},
    {"guard-tried-cancel", "refused", 1},
    {"guard-rejected-cancel", "refused", 1},
    {"guard-cancelled-cancel", "refused", 1},
    {"guard-empty-cancel", "refused", 2},
};

/* Mutants that take two faults need no crash, which multiplies the states. */
static const struct explore_world *hunting_ground(const char *mutant, struct budget *budget) {
    for (size_t i = 0; i < sizeof hunting / sizeof hunting[0]; i++)
        if (strcmp(hunting[i].mutant, mutant) == 0) {
            *budget = (struct budget){hunting[i].faults == 1, 1, 1, hunting[i].faults};
            return find_world(hunting[i].world);
        }
    return NULL;
}

static int kill_all(const struct arguments *arguments) {
    uint32_t survivors = 0, hunted = 0;
    double start = seconds();
    for (size_t m = 0; m < mutant_count; m++) {
        struct arguments hunt = *arguments;
        const struct explore_world *world = hunting_ground(mutants[m].name, &hunt.budget);
        if (world == NULL)
            continue;
        int killed = explore_one(&hunt, world, mutants[m].name);
        hunted++;
        survivors += !killed;
        printf("%-24s %s in %6llu states of world %s%s%s%s%s\n", mutants[m].name, killed ? "killed  " : "SURVIVED",
               (unsigned long long)shared->states, world->name, killed ? ", by " : "", shared->broken,
               killed ? ": " : "", shared->why);
        fflush(stdout);
    }
    printf("explore: %u of %zu mutants are within the bounds, %u survived, %.1f s\n", hunted, mutant_count, survivors,
           seconds() - start);
    return survivors > 0;
}

/* ---- arguments ---- */

static int usage(const char *what) {
    fprintf(stderr,
            "explore: %s\nusage: explore [--world NAME] [--mutant NAME] [--crashes N] [--copies N] [--holds N]"
            " [--faults N] [--jobs J] [--plain] [--compare]\n       explore --mutants [...]\n"
            "       explore --world NAME [--mutant NAME] [bounds as in the search] --path PATH\n",
            what);
    return 2;
}

static int valued(struct arguments *a, const char *name, const char *text) {
    if (text == NULL)
        return 0;
    if (strcmp(name, "--world") == 0)
        return (a->world = text) != NULL;
    if (strcmp(name, "--mutant") == 0)
        return (a->mutant = text) != NULL;
    if (strcmp(name, "--path") == 0)
        return (a->path = text) != NULL;
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || value > 64)
        return 0;
    if (strcmp(name, "--crashes") == 0)
        a->budget.crashes = (uint32_t)value;
    else if (strcmp(name, "--copies") == 0)
        a->budget.copies = (uint32_t)value;
    else if (strcmp(name, "--holds") == 0)
        a->budget.holds = (uint32_t)value;
    else if (strcmp(name, "--faults") == 0)
        a->budget.faults = (uint32_t)value;
    else if (strcmp(name, "--jobs") == 0 && value >= 1)
        a->jobs = (uint32_t)value;
    else
        return 0;
    return 1;
}

static int flag(struct arguments *a, const char *name) {
    if (strcmp(name, "--mutants") == 0)
        return a->all_mutants = 1;
    if (strcmp(name, "--plain") == 0)
        return a->plain = 1;
    return strcmp(name, "--compare") == 0 ? (a->compares = 1) : 0;
}

int main(int argc, char **argv) {
    struct arguments a = {.budget = {.crashes = 1, .copies = 1, .holds = 1, .faults = 1}, .jobs = 1};
    for (int i = 1; i < argc; i++) {
        if (flag(&a, argv[i]))
            continue;
        if (!valued(&a, argv[i], argv[i + 1]))
            return usage(argv[i]);
        i++;
    }
    sqlite3_config(SQLITE_CONFIG_SINGLETHREAD);
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    cover_init();
    life_watch_connections();
    if (a.path != NULL)
        return follow(&a);
    return a.all_mutants ? kill_all(&a) : explore_all(&a);
}
