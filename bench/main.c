/* bench: what a two-branch TCC over three SQLite files, and a job in one, cost beside the same rows written by hand.
 * Every round runs each mode in a fresh folder, with its baseline before and after each; a ratio is to the mean of
 * these two, since a disk's syncs may be twice as slow a second later. The figures are medians. */
#include <errno.h>
#include <ftw.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

/* Each that is by hand is followed by those that are compared with it. */
static struct series all[] = {
    {.mode = {"baseline", "tx", "by hand, 64 in a commit", baseline, check_sold, 1}},
    {.mode = {"submitted", "tx", "declared, 64 in flight by submit and take, 1 thread", tcc_submitted, check_sold, 0}},
    {.mode = {"blocking", "tx", "declared, 64 threads", tcc_blocking, check_sold, 0}},
    {.mode = {"stepwise", "tx", "step by step, 64 threads", tcc_stepwise, check_sold, 0}},
    {.mode = {"alone", "tx", "declared, one caller", tcc_alone, check_sold, 0}},
    {.mode = {"noop", "tx", "as submitted, branches without business rows", tcc_noop, check_begun, 0}},
    {.mode = {"jobs-baseline", "job", "by hand, 512 in a commit", jobs_by_hand, check_jobs_by_hand, 1}},
    {.mode = {"jobs", "job", "put, taken and settled by 512, one thread", jobs, check_jobs, 0}},
    {.mode = {"jobs-single", "job", "put by 64 threads, handler in_local; until it runs", jobs_single, check_jobs, 0}},
    {.mode = {"msg-baseline", "msg", "outbox and inbox by hand, 512 in a commit", messages_by_hand,
              check_messages_by_hand, 1}},
    {.mode = {"messages", "msg", "outbox put by 512, consumer in_local elsewhere", messages, check_messages, 0}},
    {.mode = {"halves", "pair", "half prepared and resolved, 64 threads", halves, check_halves, 0}},
};
enum { MODES = sizeof all / sizeof all[0] };
_Static_assert((int)MODES <= (int)MODES_MAX, "a baseline runs at most as often as there are modes in every round");

/* Measured once, beside the modes; each in a folder of its own. */
static struct measured {
    struct memory idle;
    struct recovery recovery;
    struct history history;
    struct jobs_due due;
    struct jobs_backlog backlog;
} measured;
static struct singles singles;

static int run_idle(const char *dir, int64_t count) {
    (void)count;
    singles.idle = &measured.idle;
    return idle(dir, &measured.idle);
}

static int run_recovery(const char *dir, int64_t count) {
    singles.recovery = &measured.recovery;
    return recovery(dir, count, &measured.recovery);
}

static int run_history(const char *dir, int64_t count) {
    singles.history = &measured.history;
    return history(dir, count, &measured.history);
}

static int run_due(const char *dir, int64_t count) {
    singles.due = &measured.due;
    return jobs_due(dir, count, &measured.due);
}

static int run_backlog(const char *dir, int64_t count) {
    singles.backlog = &measured.backlog;
    return jobs_backlog(dir, count, &measured.backlog);
}

static const struct single {
    const char *name;
    int (*run)(const char *dir, int64_t count);
    int64_t count;  /* by default */
    int on_request; /* takes minutes */
} all_singles[] = {
    {"idle", run_idle, 0, 0},    {"recovery", run_recovery, 10000, 0},      {"history", run_history, 1000000, 1},
    {"jobs-due", run_due, 0, 0}, {"jobs-backlog", run_backlog, 1000000, 0},
};
enum { SINGLES = sizeof all_singles / sizeof all_singles[0] };

struct arguments {
    const char *dir, *json, *only;
    double seconds;
    long count, rounds, threads;
};

/* ---- trouble ---- */

static int troubled; /* atomic */
static volatile sig_atomic_t interrupted;

static void interrupt(int number) {
    (void)number;
    interrupted = 1;
}

int complain(const char *format, ...) {
    char text[2048];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fprintf(stderr, "bench: %s\n", text);
    __atomic_store_n(&troubled, 1, __ATOMIC_RELEASE);
    return 0;
}

int refused(const char *what, int32_t rc, const cdtx_error *err) {
    return complain("%s: %s: %s", what, cdtx_code_name(rc), err->text);
}

int complained(void) {
    return __atomic_load_n(&troubled, __ATOMIC_ACQUIRE);
}

/* ---- a run ---- */

int64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int samples_add(struct samples *samples, int64_t us) {
    if (samples->count == samples->room) {
        size_t room = samples->room == 0 ? 1024 : samples->room * 2;
        int64_t *bigger = realloc(samples->us, room * sizeof *bigger);
        if (bigger == NULL)
            return complain("no memory for %zu latencies", room);
        samples->us = bigger;
        samples->room = room;
    }
    samples->us[samples->count++] = us;
    return 1;
}

void samples_free(struct samples *samples) {
    free(samples->us);
    *samples = (struct samples){0};
}

void run_start(struct run *run) {
    run->started_us = run->ended_us = now_us();
}

int64_t run_next_many(struct run *run, int64_t most, int64_t *first) {
    if (complained() || interrupted)
        return 0;
    if (run->count == 0 && (double)(now_us() - run->started_us) >= run->seconds * 1e6)
        return 0;
    int64_t last = __atomic_add_fetch(&run->given, most, __ATOMIC_RELAXED);
    *first = last - most + 1;
    if (run->count != 0 && last > run->count)
        last = run->count;
    return last < *first ? 0 : last - *first + 1;
}

int64_t run_next(struct run *run) {
    int64_t number;
    return run_next_many(run, 1, &number) == 1 ? number : 0;
}

int run_done(struct run *run, int64_t count, int64_t from_us) {
    run->ended_us = now_us();
    for (int64_t i = 0; i < count; i++, run->done++)
        if (!samples_add(&run->latency, run->ended_us - from_us))
            return 0;
    return 1;
}

uint64_t syncs_of(cdtx *engine) {
    cdtx_metrics metrics = {.size = sizeof metrics};
    cdtx_error err = {0};
    int32_t rc = cdtx_metrics_read(engine, &metrics, &err);
    if (rc != 0)
        refused("cdtx_metrics_read", rc, &err);
    return metrics.groups;
}

/* ---- folders ---- */

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *walk) {
    (void)info;
    (void)kind;
    (void)walk;
    return remove(path);
}

static void remove_folder(const char *path) {
    if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0)
        complain("cannot remove '%s': %s", path, strerror(errno));
}

static int make_folder(const char *folder, char *dir, size_t size) {
    snprintf(dir, size, "%s/run", folder);
    return mkdir(dir, 0700) == 0 ? 1 : complain("cannot make '%s': %s", dir, strerror(errno));
}

static int run_mode(const struct mode *mode, const struct arguments *arguments, const char *folder,
                    struct figure *figure) {
    char dir[4096];
    if (!make_folder(folder, dir, sizeof dir))
        return 0;
    struct run run = {.dir = dir, .count = arguments->count, .seconds = arguments->seconds};
    run.threads = (uint32_t)arguments->threads;
    int ok = mode->run(&run) && !interrupted;
    if (ok && run.done == 0)
        ok = complain("%s did not finish one %s", mode->name, mode->unit);
    if (ok)
        ok = mode->check(&run);
    *figure = figure_of(&run);
    samples_free(&run.latency);
    remove_folder(dir);
    return ok;
}

/* ---- rounds ---- */

static struct figure *run_next_of(const struct arguments *arguments, const char *folder, struct series *series) {
    struct figure *figure = &series->runs[series->count];
    if (!run_mode(&series->mode, arguments, folder, figure))
        return NULL;
    series->count++;
    fprintf(stderr, "%-13s %9.0f %s/s\n", series->mode.name, figure->per_second, series->mode.unit);
    return figure;
}

static int wanted(const struct arguments *arguments, const char *name, int by_default) {
    return arguments->only == NULL ? by_default : strcmp(arguments->only, name) == 0;
}

/* The modes behind a baseline, each between two runs of it. */
static int run_family(const struct arguments *arguments, const char *folder, int first) {
    const struct figure *before = NULL;
    for (int mode = first + 1; mode < MODES && !all[mode].mode.by_hand; mode++) {
        if (!wanted(arguments, all[mode].mode.name, 1))
            continue;
        if (before == NULL && (before = run_next_of(arguments, folder, &all[first])) == NULL)
            return 0;
        struct figure *figure = run_next_of(arguments, folder, &all[mode]);
        const struct figure *after = figure == NULL ? NULL : run_next_of(arguments, folder, &all[first]);
        if (after == NULL)
            return 0;
        figure->ratio = 2 * figure->per_second / (before->per_second + after->per_second);
        before = after;
    }
    return before != NULL || !wanted(arguments, all[first].mode.name, 0) ||
           run_next_of(arguments, folder, &all[first]) != NULL;
}

static int run_round(const struct arguments *arguments, const char *folder) {
    int ok = 1;
    for (int mode = 0; ok && mode < MODES; mode++)
        if (all[mode].mode.by_hand)
            ok = run_family(arguments, folder, mode);
    return ok;
}

/* ---- single measurements ---- */

static int run_single(const struct arguments *arguments, const char *folder, const struct single *single) {
    char dir[4096];
    fprintf(stderr, "%s\n", single->name);
    if (!make_folder(folder, dir, sizeof dir))
        return 0;
    int mine = arguments->only != NULL && arguments->count != 0;
    int ok = single->run(dir, mine ? arguments->count : single->count);
    remove_folder(dir);
    return ok;
}

static int run_singles(const struct arguments *arguments, const char *folder) {
    int ok = 1;
    for (int i = 0; ok && !interrupted && i < SINGLES; i++)
        if (wanted(arguments, all_singles[i].name, !all_singles[i].on_request))
            ok = run_single(arguments, folder, &all_singles[i]);
    return ok && !interrupted;
}

static int is_single(const char *name) {
    for (int single = 0; name != NULL && single < SINGLES; single++)
        if (strcmp(all_singles[single].name, name) == 0)
            return 1;
    return 0;
}

/* Baselines are compared with their own median. */
static void compare_by_hand(struct series *series) {
    double limit = figure_median(series).per_second;
    for (int run = 0; run < series->count; run++)
        series->runs[run].ratio = series->runs[run].per_second / limit;
}

/* Moves what ran to the front. */
static int pack(void) {
    int shown = 0;
    for (int mode = 0; mode < MODES; mode++) {
        if (all[mode].count == 0)
            continue;
        if (all[mode].mode.by_hand)
            compare_by_hand(&all[mode]);
        all[shown++] = all[mode];
    }
    return shown;
}

static int run_all(const struct arguments *arguments, const char *folder) {
    struct conditions conditions = {.rounds = arguments->rounds, .threads = arguments->threads};
    int ok = conditions_read(folder, &conditions);
    for (long round = 0; ok && !is_single(arguments->only) && round < arguments->rounds; round++)
        ok = run_round(arguments, folder);
    if (!ok || !run_singles(arguments, folder))
        return 0;
    int shown = pack();
    report_conditions(&conditions);
    report_table(all, shown);
    report_singles(&singles);
    return arguments->json == NULL || report_json(arguments->json, &conditions, all, shown, &singles);
}

/* ---- arguments ---- */

static const char usage[] =
    "usage: bench [--seconds S | --count N] [--rounds N] [--threads N] [--mode NAME] [--dir DIR] [--json FILE]\n"
    "  --seconds S   of each run (1)\n"
    "  --count N     transactions or jobs of each run, instead; with --mode recovery those in doubt,\n"
    "                with jobs-backlog those behind\n"
    "  --rounds N    1 to 51 (3)\n"
    "  --threads N   the engine's own threads beside the callers, 0 to 64 (0)\n"
    "  --mode NAME   only this one, and the baseline beside it: submitted, blocking, stepwise, alone, noop,\n"
    "                jobs, jobs-single, messages, halves; or by itself: idle, recovery, jobs-due, jobs-backlog,\n"
    "                history (a million transactions: minutes, so only on request)\n"
    "  --dir DIR     where the temporary folder is made (TMPDIR, or /var/tmp)\n"
    "  --json FILE   the figures with their conditions\n";

static int read_number(const char *name, const char *text, double least, double most, double *number) {
    char *end = NULL;
    *number = text == NULL ? 0 : strtod(text, &end);
    if (text == NULL || end == text || *end != '\0' || !(*number >= least && *number <= most))
        return complain("%s needs a number from %g to %g", name, least, most);
    return 1;
}

static int read_whole(const char *name, const char *text, double least, double most, long *number) {
    double value;
    if (!read_number(name, text, least, most, &value))
        return 0;
    *number = (long)value;
    return (double)*number == value ? 1 : complain("%s needs a whole number", name);
}

static int read_path(const char *name, const char *text) {
    return text != NULL && text[0] != '\0' ? 1 : complain("%s needs a path", name);
}

static int read_mode(const char *name) {
    for (int mode = 0; name != NULL && mode < MODES; mode++)
        if (strcmp(all[mode].mode.name, name) == 0)
            return 1;
    return is_single(name) ? 1 : complain("--mode: there is no '%s'\n%s", name == NULL ? "" : name, usage);
}

static int read_arguments(int count, char **texts, struct arguments *a) {
    for (int i = 1; i < count; i += 2) {
        const char *name = texts[i], *value = texts[i + 1]; /* NULL behind the last */
        int ok = 1;
        if (strcmp(name, "--seconds") == 0)
            ok = read_number(name, value, 0.01, 3600, &a->seconds);
        else if (strcmp(name, "--count") == 0)
            ok = read_whole(name, value, 1, 1e7, &a->count);
        else if (strcmp(name, "--rounds") == 0)
            ok = read_whole(name, value, 1, ROUNDS_MAX, &a->rounds);
        else if (strcmp(name, "--threads") == 0)
            ok = read_whole(name, value, 0, 64, &a->threads);
        else if (strcmp(name, "--mode") == 0)
            ok = read_mode(a->only = value);
        else if (strcmp(name, "--dir") == 0)
            ok = read_path(name, a->dir = value);
        else if (strcmp(name, "--json") == 0)
            ok = read_path(name, a->json = value);
        else
            ok = complain("what is '%s'?\n%s", name, usage);
        if (!ok)
            return 0;
    }
    return 1;
}

int main(int count, char **texts) {
    struct arguments arguments = {.dir = getenv("TMPDIR"), .seconds = 1, .rounds = 3};
    if (count == 2 && strcmp(texts[1], "--help") == 0) {
        fputs(usage, stdout);
        return 0;
    }
    if (arguments.dir == NULL || arguments.dir[0] == '\0')
        arguments.dir = "/var/tmp";
    if (!read_arguments(count, texts, &arguments))
        return 2;
    char folder[2048];
    if (snprintf(folder, sizeof folder, "%s/cdtx-bench-XXXXXX", arguments.dir) >= (int)sizeof folder) {
        complain("the folder's name is too long: '%.100s...'", arguments.dir);
        return 2;
    }
    if (mkdtemp(folder) == NULL) {
        complain("cannot make a folder in '%s': %s", arguments.dir, strerror(errno));
        return 1;
    }
    struct sigaction action = {.sa_handler = interrupt};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    int ok = run_all(&arguments, folder);
    if (interrupted)
        complain("interrupted");
    remove_folder(folder);
    return ok && !complained() ? 0 : 1;
}
