/* The simulator's command line: many seeds, one seed told as a story, all mutants, or the test of its own determinism.
 */
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
#include "mutants.h"
#include "scenario.h"
#include "sim.h"

enum { JOBS_MAX = 64, FAILURES_MAX = 20, SECONDS_MAX = 60, MUTANT_SEEDS = 800, COVER_SEEDS = 1000 };

struct arguments {
    uint64_t seeds, from, seed;
    uint32_t jobs;
    int one, trace, all_mutants, selftest, hash, shrinks;
    uint8_t fill;
    const char *mutant, *scenario;
};

struct failure {
    uint64_t seed;
    char broken[8];
    char why[600];
};

/* Between the parent and its workers. */
struct shared {
    uint64_t current[JOBS_MAX]; /* the seed that each worker is at */
    uint64_t done;
    uint64_t virtual_s;
    uint64_t events;
    uint32_t failure_count;
    struct failure failures[FAILURES_MAX];
    struct {
        uint64_t seeds; /* needed */
        struct failure failure;
    } mutants[192];
};

static struct shared *shared;

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void add_failure(uint64_t seed, const char *broken, const char *why) {
    uint32_t at = __atomic_fetch_add(&shared->failure_count, 1, __ATOMIC_RELAXED);
    if (at >= FAILURES_MAX)
        return;
    shared->failures[at].seed = seed;
    snprintf(shared->failures[at].broken, sizeof shared->failures[at].broken, "%s", broken);
    snprintf(shared->failures[at].why, sizeof shared->failures[at].why, "%s", why);
}

/* ---- one seed ---- */

static int run_one(const struct arguments *arguments) {
    struct result result = {0};
    sim_run(arguments->seed, arguments->mutant, arguments->trace, arguments->fill, &result);
    if (arguments->hash) {
        printf("%016llx\n", (unsigned long long)result.hash);
        return 0;
    }
    printf("seed %llu: %s%s%s; %.1f virtual seconds, %llu events, hash %016llx\n", (unsigned long long)arguments->seed,
           result.broken[0] == '\0' ? "ok" : result.broken, result.broken[0] == '\0' ? "" : ": ", result.why,
           (double)result.virtual_us / SECOND, (unsigned long long)result.events, (unsigned long long)result.hash);
    return result.broken[0] != '\0';
}

/* ---- one scenario ---- */

/* It violates what it says with its mutant, and nothing without. */
static int run_scenario(const struct arguments *arguments) {
    struct scenario scenario;
    struct result bad = {0}, good = {0};
    int wrong = scenario_read(&scenario, arguments->scenario);
    if (wrong != 0) {
        fprintf(stderr, "sim: %s: %s", arguments->scenario, wrong < 0 ? strerror(errno) : "wrong is line ");
        fprintf(stderr, wrong < 0 ? "\n" : "%d\n", wrong);
        return 2;
    }
    sim_play(&scenario, scenario.mutant, arguments->trace, &bad);
    if (scenario.mutant[0] != '\0')
        sim_play(&scenario, NULL, 0, &good);
    int fits = strcmp(bad.broken, scenario.mutant[0] == '\0' ? "" : scenario.violates) == 0 && good.broken[0] == '\0';
    printf("%s: with %s: %s %s, hash %016llx\n", arguments->scenario,
           scenario.mutant[0] == '\0' ? "no mutant" : scenario.mutant, bad.broken[0] == '\0' ? "ok" : bad.broken,
           bad.why, (unsigned long long)bad.hash);
    if (scenario.mutant[0] != '\0')
        printf("%s: without: %s %s\n", arguments->scenario, good.broken[0] == '\0' ? "ok" : good.broken, good.why);
    scenario_free(&scenario);
    return !fits;
}

/* ---- many seeds ---- */

static void work(const struct arguments *arguments, uint32_t worker, uint64_t first) {
    for (uint64_t seed = first; seed < arguments->from + arguments->seeds; seed += arguments->jobs) {
        struct result result = {0};
        shared->current[worker] = seed;
        alarm(SECONDS_MAX);
        sim_run(seed, arguments->mutant, 0, arguments->fill, &result);
        alarm(0);
        __atomic_add_fetch(&shared->done, 1, __ATOMIC_RELAXED);
        __atomic_add_fetch(&shared->events, result.events, __ATOMIC_RELAXED);
        __atomic_add_fetch(&shared->virtual_s, (uint64_t)(result.virtual_us / SECOND), __ATOMIC_RELAXED);
        if (result.broken[0] != '\0')
            add_failure(seed, result.broken, result.why);
    }
}

static pid_t start_worker(const struct arguments *arguments, uint32_t worker, uint64_t first) {
    fflush(stdout);
    pid_t pid = fork();
    if (pid < 0) {
        perror("sim: fork");
        exit(2);
    }
    if (pid == 0) {
        work(arguments, worker, first);
        fflush(stdout);
        _exit(0);
    }
    return pid;
}

static void describe_death(int status, char *text, size_t size) {
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        snprintf(text, size, "it took longer than %d real seconds", SECONDS_MAX);
    else if (WIFSIGNALED(status))
        snprintf(text, size, "the program died of signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(text, size, "the program ended with status %d", WEXITSTATUS(status));
}

static int run_many(const struct arguments *arguments) {
    pid_t pids[JOBS_MAX];
    double start = seconds();
    uint32_t left = arguments->jobs;
    for (uint32_t w = 0; w < arguments->jobs; w++)
        pids[w] = start_worker(arguments, w, arguments->from + w);
    while (left > 0) {
        int status;
        pid_t pid = waitpid(-1, &status, 0);
        uint32_t w = 0;
        while (w < arguments->jobs && pids[w] != pid)
            w++;
        if (pid < 0 || w == arguments->jobs)
            continue;
        if (status == 0) {
            left--;
            continue;
        }
        char why[100];
        describe_death(status, why, sizeof why);
        add_failure(shared->current[w], "death", why);
        shared->done++;
        pids[w] = start_worker(arguments, w, shared->current[w] + arguments->jobs);
    }
    uint32_t missed = cover_report();
    for (uint32_t i = 0; i < shared->failure_count && i < FAILURES_MAX; i++) {
        const struct failure *failure = &shared->failures[i];
        printf("seed %llu violates %s: %s\n  again: sim --seed %llu --trace\n", (unsigned long long)failure->seed,
               failure->broken, failure->why, (unsigned long long)failure->seed);
    }
    printf("sim: %llu seeds from %llu, %u violations, %llu virtual hours, %llu million events, %.1f s\n",
           (unsigned long long)shared->done, (unsigned long long)arguments->from, shared->failure_count,
           (unsigned long long)(shared->virtual_s / 3600), (unsigned long long)(shared->events / 1000000),
           seconds() - start);
    if (arguments->seeds >= COVER_SEEDS && missed > 0) {
        printf("sim: %u things of the list above were never seen in %llu seeds\n", missed,
               (unsigned long long)shared->done);
        return 1;
    }
    return shared->failure_count > 0;
}

/* ---- mutants ---- */

static int expected(const struct mutant *mutant, const char *invariant) {
    size_t length = strlen(invariant);
    for (const char *at = strstr(mutant->invariants, invariant); at != NULL; at = strstr(at + 1, invariant))
        if ((at == mutant->invariants || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0'))
            return 1;
    return 0;
}

static void hunt(size_t m, const struct arguments *arguments) {
    for (uint64_t seed = arguments->from; seed < arguments->from + MUTANT_SEEDS; seed++) {
        struct result result = {0};
        shared->mutants[m].seeds = seed - arguments->from + 1;
        alarm(SECONDS_MAX);
        sim_run(seed, mutants[m].name, 0, 0, &result);
        alarm(0);
        if (result.broken[0] == '\0')
            continue;
        struct failure *failure = &shared->mutants[m].failure;
        failure->seed = seed;
        snprintf(failure->broken, sizeof failure->broken, "%s", result.broken);
        snprintf(failure->why, sizeof failure->why, "%s", result.why);
        _exit(0);
    }
    _exit(1);
}

static int judge(size_t m, int status) {
    const struct failure *failure = &shared->mutants[m].failure;
    char why[100];
    int killed = WIFEXITED(status) && WEXITSTATUS(status) == 0 && expected(&mutants[m], failure->broken);
    if (WIFSIGNALED(status))
        describe_death(status, why, sizeof why);
    printf("%-24s %s after %3llu seeds%s%s: %s\n", mutants[m].name, killed ? "killed  " : "SURVIVED",
           (unsigned long long)shared->mutants[m].seeds, failure->broken[0] == '\0' ? "" : " by ", failure->broken,
           WIFSIGNALED(status) ? why : failure->why);
    fflush(stdout);
    return !killed;
}

static int hunt_all(const struct arguments *arguments) {
    pid_t pids[192] = {0};
    size_t next = 0, running = 0;
    uint32_t survivors = 0;
    double start = seconds();
    while (next < mutant_count || running > 0) {
        while (running < arguments->jobs && next < mutant_count) {
            fflush(stdout);
            if ((pids[next] = fork()) == 0)
                hunt(next, arguments);
            next++;
            running++;
        }
        int status;
        pid_t pid = waitpid(-1, &status, 0);
        for (size_t m = 0; m < next; m++)
            if (pids[m] == pid && pid > 0) {
                running--;
                survivors += (uint32_t)judge(m, status);
            }
    }
    printf("sim: %zu mutants, %u survived, %.1f s\n", mutant_count, survivors, seconds() - start);
    return survivors > 0;
}

/* ---- determinism ---- */

/* The seed's hash from a process of its own, with its own addresses and its own fill of fresh memory. */
static int child_hash(uint64_t seed, uint8_t fill, char hash[17]) {
    char command[200], path[120];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = '\0';
    snprintf(command, sizeof command, "'%s' --seed %llu --hash --fill %u", path, (unsigned long long)seed, fill);
    FILE *pipe = popen(command, "r");
    if (pipe == NULL)
        return 0;
    int got = fscanf(pipe, "%16s", hash) == 1;
    return pclose(pipe) == 0 && got;
}

static int selftest(const struct arguments *arguments) {
    uint64_t step = arguments->seeds >= 100 ? 100 : 1, tried = 0, wrong = 0;
    for (uint64_t seed = arguments->from; seed < arguments->from + arguments->seeds; seed += step, tried++) {
        char first[17] = "", second[17] = "";
        struct result here = {0};
        char own[17];
        sim_run(seed, NULL, 0, 0x33, &here);
        snprintf(own, sizeof own, "%016llx", (unsigned long long)here.hash);
        if (child_hash(seed, 0x00, first) && child_hash(seed, 0xA5, second) && strcmp(first, second) == 0 &&
            strcmp(first, own) == 0)
            continue;
        wrong++;
        printf("seed %llu is not deterministic: %s, %s, %s\n", (unsigned long long)seed, first, second, own);
    }
    printf("sim: %llu seeds run three times, %llu differ\n", (unsigned long long)tried, (unsigned long long)wrong);
    return wrong > 0;
}

/* ---- arguments ---- */

static int usage(const char *what) {
    fprintf(stderr,
            "sim: %s\nusage: sim --seeds N [--from S] [--jobs J]\n       sim --seed S [--trace] [--mutant NAME]\n"
            "       sim --mutants [--from S] [--jobs J]\n       sim --selftest [--seeds N] [--from S]\n"
            "       sim --seed S [--mutant NAME] --shrink\n       sim --scenario FILE [--trace]\n",
            what);
    return 2;
}

static int number(const char *text, uint64_t *value) {
    char *end;
    errno = 0;
    if (text == NULL || *text < '0' || *text > '9')
        return 0;
    *value = strtoull(text, &end, 10);
    return errno == 0 && *end == '\0';
}

static int flag(struct arguments *a, const char *name) {
    if (strcmp(name, "--trace") == 0)
        return a->trace = 1;
    if (strcmp(name, "--hash") == 0)
        return a->hash = 1;
    if (strcmp(name, "--mutants") == 0)
        return a->all_mutants = 1;
    if (strcmp(name, "--selftest") == 0)
        return a->selftest = 1;
    if (strcmp(name, "--shrink") == 0)
        return a->shrinks = 1;
    return 0;
}

static int valued(struct arguments *a, const char *name, const char *text) {
    uint64_t value = 0;
    if (strcmp(name, "--mutant") == 0)
        return (a->mutant = text) != NULL;
    if (strcmp(name, "--scenario") == 0)
        return (a->scenario = text) != NULL;
    if (!number(text, &value))
        return 0;
    if (strcmp(name, "--seeds") == 0)
        a->seeds = value;
    else if (strcmp(name, "--from") == 0)
        a->from = value;
    else if (strcmp(name, "--seed") == 0)
        a->seed = value, a->one = 1;
    else if (strcmp(name, "--jobs") == 0 && value >= 1 && value <= JOBS_MAX)
        a->jobs = (uint32_t)value;
    else if (strcmp(name, "--fill") == 0 && value <= UINT8_MAX)
        a->fill = (uint8_t)value;
    else
        return 0;
    return 1;
}

static int known_mutant(const char *name) {
    for (size_t m = 0; m < mutant_count; m++)
        if (strcmp(mutants[m].name, name) == 0)
            return 1;
    return 0;
}

int main(int argc, char **argv) {
    struct arguments a = {.seeds = 1000, .from = 1, .jobs = 2};
    for (int i = 1; i < argc; i++) {
        if (flag(&a, argv[i]))
            continue;
        if (!valued(&a, argv[i], argv[i + 1]))
            return usage(argv[i]);
        i++;
    }
    if (argc == 1)
        return usage("what to do?");
    if (a.mutant != NULL && !known_mutant(a.mutant))
        return usage("no such mutant");
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        perror("sim: mmap");
        return 2;
    }
    /* One thread of the system: no mutexes, no statistics. */
    sqlite3_config(SQLITE_CONFIG_SINGLETHREAD);
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    cover_init();
    life_watch_connections();
    if (a.scenario != NULL)
        return run_scenario(&a);
    if (a.one && a.shrinks)
        return shrink(a.seed, a.mutant, stdout);
    if (a.one)
        return run_one(&a);
    if (a.all_mutants)
        return hunt_all(&a);
    return a.selftest ? selftest(&a) : run_many(&a);
}
