#include "sweep.h"

#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "life.h"

/* Failed runs shown of one sweep; a run takes milliseconds, so one of many seconds hangs. */
enum { SHOWN_MAX = 3, HANGS_SECONDS = 30, A_WHILE_MS = 3000, SWEEPS_MAX = 128 };

/* A place that no run reaches. */
#define NOT_YET (UINT64_MAX / 1024)

static char now_running[128];
static const struct house_kind *kind = &order_house;
static int everywhere; /* strides are not looked at */

static void cry(int signal_number) {
    const char *what = signal_number == SIGALRM ? " hangs\n" : " crashed\n";
    (void)!write(STDOUT_FILENO, now_running, strlen(now_running));
    (void)!write(STDOUT_FILENO, what, strlen(what));
    _exit(EXIT_FAILURE);
}

/* ---- one life ---- */

/* The life under test. Returns 1 if its faults struck. */
static int live(struct run *run) {
    const struct sweep *sweep = run->sweep;
    struct ledger *ledger = &run->ledger;
    struct life life;
    cdtx_error err = {0};
    life_begin(&life, "under test", run->disk, kind->later_ms, ledger);
    run->heap = life.heap;
    run->options = (struct house_options){
        .env = &life.env, .clock = life.heap, .coordinator = sweep->loopback ? "loopback" : NULL};
    uint64_t n = run->n;
    if (sweep->opened)
        run->n = NOT_YET;
    sweep->arm(run);
    if (run->options.adapter != NULL)
        life.site.scheme = run->options.adapter->scheme;
    int32_t rc = ledger_check(ledger, "house_open", kind->open(&life.house, &life.site, &run->options, &err), &err);
    run->n = n;
    if (sweep->opened)
        sweep->arm(run);
    if (rc == 0 && sweep->ruins)
        kind->resumed(&life.house, ledger);
    else if (rc == 0)
        kind->story(&life.house, ledger, sweep->chapter);
    int struck = sweep->close_too ? 0 : sweep->disarm(run);
    if (rc == 0 && !sweep->close_too && !sweep->stops) {
        (void)kind->drain(&life.house, ledger, A_WHILE_MS);
        if (sweep->late != NULL && sweep->late(run, &life.house))
            (void)kind->drain(&life.house, ledger, A_WHILE_MS);
        life_check_alarms(&life);
    }
    if (sweep->crash_after_story != 0)
        disk_power_loss(run->disk, (enum disk_crash)sweep->crash_after_story);
    house_close(&life.house);
    if (sweep->close_too)
        struck = sweep->disarm(run);
    life_end(&life);
    run->heap = NULL;
    return struck;
}

/* Opens the house without faults, brings it to rest, and judges before and after asking again. */
static void recover(struct run *run, const char *name, int before, int32_t crash) {
    struct ledger *ledger = &run->ledger;
    struct life life;
    cdtx_error err = {0};
    life_begin(&life, name, run->disk, before * kind->later_ms, ledger);
    if (kind->open(&life.house, &life.site, &(struct house_options){.env = &life.env, .clock = life.heap}, &err) != 0) {
        ledger_complain(ledger, "the house does not open again: %s", err.text);
    } else {
        (void)kind->drain(&life.house, ledger, A_WHILE_MS);
        kind->judge(&life.site, ledger);
        int more = run->sweep->later != NULL && run->sweep->later(run, &life.house);
        if (kind->ask_again(&life.house, ledger) > 0 || more) {
            (void)kind->drain(&life.house, ledger, A_WHILE_MS);
            kind->judge(&life.site, ledger);
        }
        if (crash == 0 && kind->after != NULL)
            kind->after(&life.house, &life.site, ledger);
        life_check_alarms(&life);
    }
    if (crash != 0)
        disk_power_loss(run->disk, (enum disk_crash)crash);
    life_end(&life);
}

/* ---- sweeps ---- */

static struct sweep sweeps[SWEEPS_MAX];
static size_t sweep_count;

void sweep_add(const struct sweep *sweep) {
    if (sweep_count == SWEEPS_MAX)
        abort();
    sweeps[sweep_count++] = *sweep;
}

void sweep_add_post(const struct sweep *like, const uint64_t least[CHAPTERS]) {
    static const char *const names[CHAPTERS] = {"ruins", "letters", "promises", "deals", "jobs"};
    for (int chapter = 0; chapter < CHAPTERS; chapter++) {
        struct sweep sweep = *like;
        if (least[chapter] == 0)
            continue;
        (void)snprintf(sweep.name, sizeof sweep.name, "post %s, %.40s", names[chapter], like->name);
        sweep.house = &post_office;
        sweep.least = least[chapter];
        sweep.chapter = chapter;
        sweep.ruins = chapter == 0;
        sweep.opened = chapter > CHAPTER_LETTERS;
        sweep_add(&sweep);
    }
}

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
    struct life life;
    cdtx_error err = {0};
    base.disk = disk_new("base", prng_new(1, "base"));
    life_begin(&life, "base", base.disk, 0, &base.ledger);
    if (kind->open(&life.house, &life.site, &(struct house_options){.env = &life.env, .clock = life.heap}, &err) != 0)
        ledger_complain(&base.ledger, "the house does not open: %s", err.text);
    else
        kind->before(&life.house, &base.ledger);
    life_end(&life);
    kind->judge(&life.site, &base.ledger);
    kind->check(&base.ledger);
    return fits(&base, "before all");
}

/* The judge, who wants everything at rest, must find something. */
static int is_ruined(const struct ground *ground) {
    struct ledger ledger = {0};
    struct house_site site = {.folder = "house/"};
    struct disk *copy = disk_fork_after_crash(ground->disk, DISK_KEEP_ALL, "look", prng_new(1, "look"));
    (void)disk_life_new(copy, &site.vfs);
    kind->judge(&site, &ledger);
    disk_free(copy);
    return ledger.complaint[0] != '\0';
}

static int lay_ruins(void) {
    static const cdtx_link deaf = {.size = sizeof deaf, .knows = knows, .send = send_tries};
    struct life life;
    struct post_leftover leftover = {0};
    cdtx_error err = {0};
    ruins.disk = disk_fork_after_crash(base.disk, DISK_KEEP_ALL, "ruins", prng_new(1, "ruins"));
    life_begin(&life, "ruins", ruins.disk, 0, &ruins.ledger);
    struct house_options options = {.env = &life.env, .link = &deaf, .clock = life.heap};
    if (kind->open(&life.house, &life.site, &options, &err) != 0)
        ledger_complain(&ruins.ledger, "the house does not open: %s", err.text);
    else
        kind->ruin(&life.house, &ruins.ledger, &leftover);
    kind->check(&ruins.ledger);
    disk_power_loss(ruins.disk, DISK_KEEP_NONE);
    house_close(&life.house);
    post_leftover_free(&leftover);
    life_end(&life);
    if (!is_ruined(&ruins))
        ledger_complain(&ruins.ledger, "nothing is unfinished");
    return fits(&ruins, "ruins");
}

static void stand_on(struct run *run, const struct ground *ground) {
    run->disk = disk_fork_after_crash(ground->disk, DISK_KEEP_ALL, "run", prng_new(run->n, run->sweep->name));
    for (uint32_t i = 0; i < ground->ledger.count; i++)
        ledger_hear(&run->ledger, ground->ledger.list[i].deed, ground->ledger.list[i].key, ground->ledger.list[i].code);
}

static int keep_floor(const char *name) {
    return strcmp(name, "trim.start") == 0;
}

enum verdict { RUN_WRONG = -1, RUN_MISSED = 0, RUN_STRUCK = 1 };

static enum verdict run_one(const struct sweep *sweep, uint64_t n) {
    life_failpoint = sweep->no_floor ? keep_floor : NULL;
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
    recover(&run, "recovery", 2, sweep->crash_after_recovery);
    if (sweep->crash_after_recovery != 0)
        recover(&run, "second recovery", 3, 0);
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
        if (verdict == RUN_MISSED && sweep->runs == 0)
            break;
        wrong += verdict == RUN_WRONG;
        runs += verdict != RUN_MISSED;
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

static int goes_on(const struct sweep *sweep, enum verdict verdict) {
    return verdict == RUN_STRUCK || (verdict == RUN_MISSED && sweep->runs != 0);
}

static enum verdict run_all(uint64_t most) {
    enum verdict verdict = RUN_STRUCK;
    for (size_t i = 0; i < sweep_count && verdict != RUN_WRONG; i++) {
        uint64_t runs = sweeps[i].runs == 0 || sweeps[i].runs > most ? most : sweeps[i].runs;
        if (!is_ours(&sweeps[i]))
            continue;
        verdict = RUN_STRUCK;
        for (uint64_t n = 1; goes_on(&sweeps[i], verdict) && n <= runs; n++)
            verdict = run_one(&sweeps[i], n);
    }
    return verdict;
}

/* 0: some run went wrong, as it must. Many bugs show in any run, so a few are tried first. */
static int run_mutant(const char *name) {
    life_mutant = name;
    enum verdict verdict = run_all(2);
    if (verdict != RUN_WRONG)
        verdict = run_all(UINT64_MAX);
    life_mutant = NULL;
    printf("mutant %s %s\n", name, verdict == RUN_WRONG ? "dies" : "survives");
    (void)fflush(stdout);
    return verdict != RUN_WRONG;
}

int sweep_main(int argc, char **argv) {
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
        failed |= run_mutant(argv[i]);
    }
    for (size_t i = 0; i < sweep_count && !mutants; i++) {
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
