#include "sweep.h"

#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>


/* Failed runs shown of one sweep; a run takes milliseconds, so one of many seconds hangs. */
enum { SHOWN_MAX = 3, HANGS_SECONDS = 30, A_WHILE_MS = 3000 };

/* A place that no run reaches. */
#define NOT_YET (UINT64_MAX / 1024)

static char now_running[128];
static const char *mutant; /* the known bug that lives; NULL: none */
static int no_floor;       /* of the sweep that runs */
static const struct house_kind *kind = &order_house;
static int everywhere; /* strides are not looked at */

static void cry(int signal_number) {
    const char *what = signal_number == SIGALRM ? " hangs\n" : " crashed\n";
    (void)!write(STDOUT_FILENO, now_running, strlen(now_running));
    (void)!write(STDOUT_FILENO, what, strlen(what));
    _exit(EXIT_FAILURE);
}

static int32_t failpoint(void *user, const char *name) {
    static const char prefix[] = "mutant:";
    (void)user;
    if (no_floor && strcmp(name, "trim.start") == 0)
        return 1;
    return mutant != NULL && strncmp(name, prefix, strlen(prefix)) == 0 && strcmp(name + strlen(prefix), mutant) == 0;
}

/* ---- one life ---- */

static struct house_site site_of(struct disk *disk, struct disk_life **life) {
    struct house_site site = {.scheme = "sqlite", .folder = "house/"};
    *life = disk_life_new(disk, &site.vfs);
    return site;
}

static cdtx_env quiet(cdtx_test_env *heap) {
    cdtx_env env = *cdtx_test_env_port(heap);
    env.log = NULL;
    env.failpoint = failpoint;
    return env;
}

/* So many lives of the same house came before. */
static cdtx_test_env *new_heap(int before) {
    cdtx_test_env *heap = NULL;
    if (cdtx_test_env_new(&heap, NULL) != 0)
        abort();
    cdtx_test_env_advance(heap, before * kind->later_ms);
    return heap;
}

static void check_nothing_left(struct ledger *ledger, cdtx_test_env *heap, const struct disk_life *life) {
    if (cdtx_test_env_bytes(heap) != 0)
        ledger_complain(ledger, "%llu bytes are left after closing", (unsigned long long)cdtx_test_env_bytes(heap));
    if (disk_life_handles(life) != 0)
        ledger_complain(ledger, "%u files are left open after closing", disk_life_handles(life));
}

static void check_alarms(struct house *house, struct ledger *ledger) {
    cdtx_metrics metrics = {.size = sizeof metrics};
    cdtx_error err = {0};
    if (ledger_check(ledger, "cdtx_metrics_read", cdtx_metrics_read(house->engine, &metrics, &err), &err) == 0 &&
        metrics.alarms != 0)
        ledger_complain(ledger, "%llu things that must not happen were tried", (unsigned long long)metrics.alarms);
}

/* The life under test. Returns 1 if its faults struck. */
static int live(struct run *run) {
    const struct sweep *sweep = run->sweep;
    struct ledger *ledger = &run->ledger;
    struct disk_life *life = NULL;
    struct house house = {0};
    cdtx_error err = {0};
    struct house_site site = site_of(run->disk, &life);
    run->heap = new_heap(1);
    cdtx_env env = quiet(run->heap);
    run->options =
        (struct house_options){.env = &env, .clock = run->heap, .coordinator = sweep->loopback ? "loopback" : NULL};
    uint64_t n = run->n;
    if (sweep->opened)
        run->n = NOT_YET;
    sweep->arm(run);
    if (run->options.adapter != NULL)
        site.scheme = run->options.adapter->scheme;
    int32_t rc = ledger_check(ledger, "house_open", kind->open(&house, &site, &run->options, &err), &err);
    run->n = n;
    if (sweep->opened)
        sweep->arm(run);
    if (rc == 0 && sweep->ruins)
        kind->resumed(&house, ledger);
    else if (rc == 0)
        kind->story(&house, ledger, sweep->chapter);
    int struck = sweep->close_too ? 0 : sweep->disarm(run);
    if (rc == 0 && !sweep->close_too && !sweep->stops) {
        (void)kind->drain(&house, ledger, A_WHILE_MS);
        if (sweep->late != NULL && sweep->late(run, &house))
            (void)kind->drain(&house, ledger, A_WHILE_MS);
        check_alarms(&house, ledger);
    }
    if (sweep->crash_after_story != 0)
        disk_power_loss(run->disk, (enum disk_crash)sweep->crash_after_story);
    house_close(&house);
    if (sweep->close_too)
        struck = sweep->disarm(run);
    check_nothing_left(ledger, run->heap, life);
    cdtx_test_env_free(run->heap);
    run->heap = NULL;
    return struck;
}

/* Opens the house without faults, brings it to rest, and judges before and after asking again. */
static void recover(struct run *run, int before, int32_t crash) {
    struct ledger *ledger = &run->ledger;
    struct disk_life *life = NULL;
    struct house house = {0};
    cdtx_error err = {0};
    struct house_site site = site_of(run->disk, &life);
    cdtx_test_env *heap = new_heap(before);
    cdtx_env env = quiet(heap);
    if (kind->open(&house, &site, &(struct house_options){.env = &env, .clock = heap}, &err) != 0) {
        ledger_complain(ledger, "the house does not open again: %s", err.text);
    } else {
        (void)kind->drain(&house, ledger, A_WHILE_MS);
        kind->judge(&site, ledger);
        int more = run->sweep->later != NULL && run->sweep->later(run, &house);
        if (kind->ask_again(&house, ledger) > 0 || more) {
            (void)kind->drain(&house, ledger, A_WHILE_MS);
            kind->judge(&site, ledger);
        }
        if (crash == 0 && kind->after != NULL)
            kind->after(&house, &site, ledger);
        check_alarms(&house, ledger);
    }
    if (crash != 0)
        disk_power_loss(run->disk, (enum disk_crash)crash);
    house_close(&house);
    check_nothing_left(ledger, heap, life);
    cdtx_test_env_free(heap);
}

/* ---- sweeps ---- */

/* A disk on which runs begin, and what was said until then. */
struct ground {
    struct disk *disk;
    struct ledger ledger;
};

static struct ground base, ruins;

static int32_t knows(void *user, cdtx *engine, const char *participant) {
    (void)user;
    return cdtx_serves(engine, participant);
}

static void answer(void *user, uint64_t id, const cdtx_reply *reply) {
    cdtx_link_reply(user, id, reply);
}

static int32_t send_tries(void *user, cdtx *engine, const cdtx_call *call, cdtx_error *err) {
    (void)user;
    return call->op == CDTX_CALL_TRY ? cdtx_serve(engine, call, answer, engine, err) : 0;
}

static int fits(struct ground *ground, const char *name) {
    if (ground->ledger.complaint[0] != '\0')
        printf("%s: %s\n", name, ground->ledger.complaint);
    return ground->ledger.complaint[0] == '\0';
}

static int lay_base(void) {
    struct house house = {0};
    struct disk_life *life = NULL;
    cdtx_error err = {0};
    base.disk = disk_new("base", prng_new(1, "base"));
    struct house_site site = site_of(base.disk, &life);
    cdtx_test_env *heap = new_heap(0);
    cdtx_env env = quiet(heap);
    if (kind->open(&house, &site, &(struct house_options){.env = &env, .clock = heap}, &err) != 0)
        ledger_complain(&base.ledger, "the house does not open: %s", err.text);
    else
        kind->before(&house, &base.ledger);
    house_close(&house);
    check_nothing_left(&base.ledger, heap, life);
    cdtx_test_env_free(heap);
    kind->judge(&site, &base.ledger);
    kind->check(&base.ledger);
    return fits(&base, "before all");
}

/* The judge, who wants everything at rest, must find something. */
static int is_ruined(const struct ground *ground) {
    struct ledger ledger = {0};
    struct disk_life *life = NULL;
    struct disk *copy = disk_fork_after_crash(ground->disk, DISK_KEEP_ALL, "look", prng_new(1, "look"));
    struct house_site site = site_of(copy, &life);
    kind->judge(&site, &ledger);
    disk_free(copy);
    return ledger.complaint[0] != '\0';
}

static int lay_ruins(void) {
    static const cdtx_link deaf = {.size = sizeof deaf, .knows = knows, .send = send_tries};
    struct house house = {0};
    struct disk_life *life = NULL;
    struct post_leftover leftover = {0};
    cdtx_error err = {0};
    ruins.disk = disk_fork_after_crash(base.disk, DISK_KEEP_ALL, "ruins", prng_new(1, "ruins"));
    struct house_site site = site_of(ruins.disk, &life);
    cdtx_test_env *heap = new_heap(0);
    cdtx_env env = quiet(heap);
    struct house_options options = {.env = &env, .link = &deaf, .clock = heap};
    if (kind->open(&house, &site, &options, &err) != 0)
        ledger_complain(&ruins.ledger, "the house does not open: %s", err.text);
    else
        kind->ruin(&house, &ruins.ledger, &leftover);
    kind->check(&ruins.ledger);
    disk_power_loss(ruins.disk, DISK_KEEP_NONE);
    house_close(&house);
    post_leftover_free(&leftover);
    check_nothing_left(&ruins.ledger, heap, life);
    cdtx_test_env_free(heap);
    if (!is_ruined(&ruins))
        ledger_complain(&ruins.ledger, "nothing is unfinished");
    return fits(&ruins, "ruins");
}

static void stand_on(struct run *run, const struct ground *ground) {
    run->disk = disk_fork_after_crash(ground->disk, DISK_KEEP_ALL, "run", prng_new(run->n, run->sweep->name));
    for (uint32_t i = 0; i < ground->ledger.count; i++)
        ledger_hear(&run->ledger, ground->ledger.list[i].deed, ground->ledger.list[i].key, ground->ledger.list[i].code);
}

enum verdict { RUN_WRONG = -1, RUN_MISSED = 0, RUN_STRUCK = 1 };

static enum verdict run_one(const struct sweep *sweep, uint64_t n) {
    no_floor = sweep->no_floor;
    struct run run = {.sweep = sweep, .n = n};
    if (sweep->stride > 1 && !everywhere)
        run.n = (n - 1) * sweep->stride + sweep->phase + 1;
    (void)snprintf(now_running, sizeof now_running, "%s, run %llu", sweep->name, (unsigned long long)n);
    (void)alarm(HANGS_SECONDS);
    disk_reset_sqlite_random(n);
    stand_on(&run, sweep->ruins ? &ruins : &base);
    int struck = live(&run);
    if (!struck || sweep->harmless)
        kind->check(&run.ledger);
    recover(&run, 2, sweep->crash_after_recovery);
    if (sweep->crash_after_recovery != 0)
        recover(&run, 3, 0);
    disk_free(run.disk);
    int wrong = run.ledger.complaint[0] != '\0';
    if (wrong)
        printf("%s: %s\n", now_running, run.ledger.complaint);
    ledger_free(&run.ledger);
    return wrong ? RUN_WRONG : struck ? RUN_STRUCK : RUN_MISSED;
}

static int run_sweep(const struct sweep *sweep) {
    uint64_t runs = 0;
    int wrong = 0;
    for (uint64_t n = 1; wrong < SHOWN_MAX && (sweep->runs == 0 || n <= sweep->runs); n++) {
        enum verdict verdict = run_one(sweep, n);
        if (verdict == RUN_WRONG)
            wrong++;
        else if (verdict == RUN_MISSED && sweep->runs == 0)
            break;
        runs++;
    }
    printf("%s: %llu runs%s\n", sweep->name, (unsigned long long)runs, wrong > 0 ? ", wrong" : "");
    (void)fflush(stdout);
    if (wrong == 0 && runs < sweep->least)
        printf("%s: expected at least %llu runs\n", sweep->name, (unsigned long long)sweep->least);
    return wrong > 0 || runs < sweep->least;
}

static int is_ours(const struct sweep *sweep) {
    return (sweep->house == NULL ? &order_house : sweep->house) == kind;
}

static enum verdict run_all(const struct sweep *sweeps, size_t count, uint64_t most) {
    enum verdict verdict = RUN_STRUCK;
    for (size_t i = 0; i < count && verdict != RUN_WRONG; i++) {
        uint64_t runs = sweeps[i].runs == 0 || sweeps[i].runs > most ? most : sweeps[i].runs;
        if (!is_ours(&sweeps[i]))
            continue;
        verdict = RUN_STRUCK;
        for (uint64_t n = 1; verdict == RUN_STRUCK && n <= runs; n++)
            verdict = run_one(&sweeps[i], n);
    }
    return verdict;
}

/* 0: some run went wrong, as it must. Many bugs show in any run, so a few are tried first. */
static int run_mutant(const char *name, const struct sweep *sweeps, size_t count) {
    mutant = name;
    enum verdict verdict = run_all(sweeps, count, 2);
    if (verdict != RUN_WRONG)
        verdict = run_all(sweeps, count, UINT64_MAX);
    mutant = NULL;
    printf("mutant %s %s\n", name, verdict == RUN_WRONG ? "dies" : "survives");
    (void)fflush(stdout);
    return verdict != RUN_WRONG;
}

size_t sweep_post(struct sweep *sweeps, const struct sweep *like, const uint64_t least[CHAPTERS]) {
    static const char *const names[CHAPTERS] = {"ruins", "letters", "promises", "deals", "jobs"};
    size_t count = 0;
    for (int chapter = 0; chapter < CHAPTERS; chapter++) {
        struct sweep *sweep = &sweeps[count];
        if (least[chapter] == 0)
            continue;
        *sweep = *like;
        (void)snprintf(sweep->name, sizeof sweep->name, "post %s, %.40s", names[chapter], like->name);
        sweep->house = &post_office;
        sweep->least = least[chapter];
        sweep->chapter = chapter;
        sweep->ruins = chapter == 0;
        sweep->opened = chapter > CHAPTER_LETTERS;
        count++;
    }
    return count;
}

int sweep_main(int argc, char **argv, const struct sweep *sweeps, size_t count) {
    int failed = 0, found = 0;
    (void)signal(SIGALRM, cry);
    (void)signal(SIGABRT, cry);
    /* There is one thread, and the runs are many: heap that was given back is asked for again at once. */
    (void)mallopt(M_TRIM_THRESHOLD, INT_MAX);
    (void)mallopt(M_MMAP_THRESHOLD, INT_MAX);
    if (sqlite3_config(SQLITE_CONFIG_SINGLETHREAD) != SQLITE_OK ||
        sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0) != SQLITE_OK)
        abort();
    if (argc > 1 && strcmp(argv[1], "--post") == 0) {
        kind = &post_office;
        argc--;
        argv++;
    }
    if (argc > 1 && strcmp(argv[1], "--all") == 0) {
        everywhere = 1;
        argc--;
        argv++;
    }
    if (!lay_base() || !lay_ruins())
        return EXIT_FAILURE;
    int mutants = argc > 1 && strcmp(argv[1], "--mutants") == 0;
    for (int i = 2; mutants && i < argc; i++) {
        found = 1;
        failed |= run_mutant(argv[i], sweeps, count);
    }
    for (size_t i = 0; i < count && !mutants; i++) {
        if (!is_ours(&sweeps[i]) || (argc > 1 && strcmp(argv[1], sweeps[i].name) != 0))
            continue;
        found = 1;
        failed |= argc > 2 ? run_one(&sweeps[i], strtoull(argv[2], NULL, 10)) == RUN_WRONG : run_sweep(&sweeps[i]);
    }
    disk_free(ruins.disk);
    disk_free(base.disk);
    ledger_free(&ruins.ledger);
    ledger_free(&base.ledger);
    if (!found)
        printf("there is no sweep '%s'\n", argv[1]);
    return failed || !found ? EXIT_FAILURE : EXIT_SUCCESS;
}
