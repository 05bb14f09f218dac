/* Cutting out of a scenario what does not matter: kinds of fault, then whoever else is about, then clients, then single
 * faults, then time, over and over until nothing more can go. Each trial is a run in a process of its own. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "scenario.h"
#include "sim.h"

enum { TRIAL_SECONDS = 20, TRIALS_MAX = 4000, ROUNDS_MAX = 4 };

struct shrinker {
    struct scenario best;
    struct result *result; /* of the last trial, from its process */
    uint32_t trials;
};

/* Does it violate the same invariant? */
static int still_fails(struct shrinker *shrinker, struct scenario *scenario) {
    if (shrinker->trials == TRIALS_MAX)
        return 0;
    shrinker->trials++;
    memset(shrinker->result, 0, sizeof *shrinker->result);
    pid_t pid = fork();
    if (pid < 0) {
        perror("sim: fork");
        exit(2);
    }
    if (pid == 0) {
        alarm(TRIAL_SECONDS);
        sim_play(scenario, scenario->mutant, 0, shrinker->result);
        _exit(0);
    }
    int status;
    waitpid(pid, &status, 0);
    return status == 0 && strcmp(shrinker->result->broken, shrinker->best.violates) == 0;
}

/* Takes it over if it still fails; frees the loser. 1: taken. */
static int try_it(struct shrinker *shrinker, struct scenario *scenario) {
    if (!still_fails(shrinker, scenario)) {
        scenario_free(scenario);
        return 0;
    }
    scenario_free(&shrinker->best);
    shrinker->best = *scenario;
    return 1;
}

static void drop_kind(struct scenario *scenario, enum fault_kind kind) {
    uint32_t kept = 0;
    scenario->knobs.faults &= ~(UINT32_C(1) << kind);
    for (uint32_t i = 0; i < scenario->count; i++)
        if (scenario->happenings[i].kind != kind)
            scenario->happenings[kept++] = scenario->happenings[i];
    scenario->count = kept;
}

static int cut_kinds(struct shrinker *shrinker) {
    int any = 0;
    for (uint32_t kind = 0; kind < FAULT_KINDS; kind++) {
        if (!knobs_have(&shrinker->best.knobs, kind))
            continue;
        struct scenario trial = scenario_copy(&shrinker->best);
        drop_kind(&trial, (enum fault_kind)kind);
        any |= try_it(shrinker, &trial);
    }
    return any;
}

/* Whoever else is about, and what makes the run less simple than it could be. 0: no such thing; 1: it is small. */
static int simplify(struct scenario *scenario, int what, int *changed) {
    struct knobs *knobs = &scenario->knobs;
    struct scenario before = *scenario;
    switch (what) {
    case 0:
        scenario->clerks = 0;
        break;
    case 1:
        knobs->rogue = 0;
        break;
    case 2:
        knobs->person = 0;
        break;
    case 3:
        knobs->night = 0;
        break;
    case 4:
        knobs->dead = 0;
        break;
    case 5:
        knobs->loopback = 0;
        break;
    case 6:
        knobs->policy_in = 0;
        break;
    case 7:
        knobs->pumps = 1;
        break;
    case 8:
        knobs->chores = 0;
        break;
    case 9:
        knobs->hooks_in = 0;
        break;
    case 10:
        knobs->posts = 0;
        break;
    case 11:
        knobs->halves = 0;
        break;
    case 12:
        knobs->cron = 0;
        break;
    default:
        return 0;
    }
    *changed = scenario->clerks != before.clerks || memcmp(knobs, &before.knobs, sizeof *knobs) != 0;
    return 1;
}

static int cut_company(struct shrinker *shrinker) {
    int any = 0;
    for (int what = 0;; what++) {
        int changed = 0;
        struct scenario trial = scenario_copy(&shrinker->best);
        int there = simplify(&trial, what, &changed);
        if (changed)
            any |= try_it(shrinker, &trial);
        else
            scenario_free(&trial);
        if (!there)
            return any;
    }
}

/* Halves, quarters and so on down to single ones, of `count` things; without takes some of them out. */
static int cut_in_parts(struct shrinker *shrinker, uint32_t count,
                        int (*without)(struct shrinker *shrinker, uint32_t from, uint32_t to)) {
    int any = 0;
    for (uint32_t part = count / 2 + (count == 1); part > 0; part /= 2) {
        for (uint32_t from = count; from > 0;) {
            uint32_t to = from;
            from = from > part ? from - part : 0;
            any |= without(shrinker, from, to);
        }
    }
    return any;
}

static int without_clients(struct shrinker *shrinker, uint32_t from, uint32_t to) {
    uint64_t mask = to - from == 64 ? UINT64_MAX : ((UINT64_C(1) << (to - from)) - 1) << from;
    if ((shrinker->best.clients & mask) == 0)
        return 0;
    struct scenario trial = scenario_copy(&shrinker->best);
    trial.clients &= ~mask;
    return try_it(shrinker, &trial);
}

/* From the last to the first, so that those still to be tried keep their places. */
static int without_happenings(struct shrinker *shrinker, uint32_t from, uint32_t to) {
    if (from >= shrinker->best.count)
        return 0;
    to = to > shrinker->best.count ? shrinker->best.count : to;
    struct scenario trial = scenario_copy(&shrinker->best);
    memmove(&trial.happenings[from], &trial.happenings[to], (trial.count - to) * sizeof *trial.happenings);
    trial.count -= to - from;
    return try_it(shrinker, &trial);
}

/* Faults end earlier: the earliest moment, as far as halving finds it. */
static int cut_time(struct shrinker *shrinker) {
    int any = 0;
    int64_t low = 0;
    while (shrinker->best.heal - low > 50 * MS) {
        struct scenario trial = scenario_copy(&shrinker->best);
        int64_t heal = trial.heal = low + (shrinker->best.heal - low) / 2;
        if (try_it(shrinker, &trial))
            any = 1;
        else
            low = heal;
    }
    return any;
}

static uint32_t clients_of(const struct scenario *scenario) {
    return (uint32_t)__builtin_popcountll(scenario->clients);
}

static void tell_size(const struct shrinker *shrinker, const char *when) {
    uint32_t kinds = (uint32_t)__builtin_popcount(shrinker->best.knobs.faults);
    fprintf(stderr, "%s: %u kinds of fault, %u faults, %u clients, faults for %.3f s; %u trials\n", when, kinds,
            shrinker->best.count, clients_of(&shrinker->best), (double)shrinker->best.heal / SECOND, shrinker->trials);
}

/* The seed's own run, and then the same from its tape: bit by bit. */
static int begin(struct shrinker *shrinker, uint64_t seed, const char *mutant) {
    struct result first = {0};
    scenario_init(&shrinker->best, seed, mutant);
    sim_record(&shrinker->best, mutant, &first);
    if (first.broken[0] == '\0') {
        fprintf(stderr, "sim: seed %llu violates nothing\n", (unsigned long long)seed);
        return 0;
    }
    if (shrinker->best.knobs.ops < 64)
        shrinker->best.clients = (UINT64_C(1) << shrinker->best.knobs.ops) - 1;
    memcpy(shrinker->best.violates, first.broken, sizeof first.broken);
    if (still_fails(shrinker, &shrinker->best) && shrinker->result->hash == first.hash)
        return 1;
    fprintf(stderr, "sim: seed %llu does not come out of its tape as it went in\n", (unsigned long long)seed);
    return 0;
}

int shrink(uint64_t seed, const char *mutant, FILE *out) {
    struct shrinker shrinker = {0};
    shrinker.result = mmap(NULL, sizeof *shrinker.result, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shrinker.result == MAP_FAILED) {
        perror("sim: mmap");
        return 2;
    }
    int status = 2;
    if (!begin(&shrinker, seed, mutant))
        goto out;
    tell_size(&shrinker, "recorded");
    for (int round = 0, more = 1; more && round < ROUNDS_MAX; round++) {
        more = cut_kinds(&shrinker);
        more |= cut_company(&shrinker);
        more |= cut_in_parts(&shrinker, 64, without_clients);
        more |= cut_in_parts(&shrinker, shrinker.best.count, without_happenings);
        more |= cut_time(&shrinker);
        tell_size(&shrinker, "shrunk");
    }
    status = still_fails(&shrinker, &shrinker.best) ? 0 : 2;
    fprintf(out, "# %s: %s\n", shrinker.best.violates, shrinker.result->why);
    scenario_write(&shrinker.best, out);
out:
    scenario_free(&shrinker.best);
    munmap(shrinker.result, sizeof *shrinker.result);
    return status;
}
