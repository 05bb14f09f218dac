/* Every write and every sync of the scenarios, each with the power cut there in each way; then the same during the
 * recoveries. */
#include "images.h"

#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A life takes milliseconds, so one of many seconds hangs. */
enum { SHOWN_MAX = 3, HANGS_SECONDS = 30, DRAWN_MAX = 64, CUTS_MAX = 4 + DRAWN_MAX, SEEN_ROOM = 1 << 20 };

static struct {
    uint64_t seed;
    uint32_t drawn;   /* random subsets for each place */
    int all_ways;     /* also where a scenario takes them in turn */
    uint32_t recover; /* of so many images one has its recovery cut as well; 0: none */
    const char *only; /* one image by its place */
    const char *liar;
} plan = {.seed = 1, .drawn = 2, .recover = 300};

static struct cut cuts[CUTS_MAX];
static size_t cut_count;
static char now_running[128];

static struct {
    uint64_t digests[SEEN_ROOM];
    size_t count;
} seen;

struct tally {
    uint64_t places, images, different, recoveries, wrong;
};

static void cry(int signal_number) {
    const char *what = signal_number == SIGALRM ? " hangs\n" : " crashed\n";
    (void)!write(STDOUT_FILENO, now_running, strlen(now_running));
    (void)!write(STDOUT_FILENO, what, strlen(what));
    _exit(EXIT_FAILURE);
}

static void choose_cuts(void) {
    static char names[DRAWN_MAX][16];
    static const struct cut fixed[] = {
        {"all", DISK_KEEP_ALL}, {"none", DISK_KEEP_NONE}, {"torn-512", DISK_TEAR_512}, {"torn-4096", DISK_TEAR_4096}};
    for (cut_count = 0; cut_count < sizeof fixed / sizeof fixed[0]; cut_count++)
        cuts[cut_count] = fixed[cut_count];
    for (uint32_t i = 0; i < plan.drawn && i < DRAWN_MAX; i++) {
        (void)snprintf(names[i], sizeof names[i], "some-%u", i + 1);
        cuts[cut_count++] = (struct cut){names[i], DISK_KEEP_SOME};
    }
}

/* 1 the first time. */
static int is_new(const struct image *image) {
    uint64_t digest = image_digest(image) | 1;
    size_t at = (size_t)(digest >> 20) % SEEN_ROOM;
    while (seen.digests[at] != 0 && seen.digests[at] != digest)
        at = (at + 1) % SEEN_ROOM;
    if (seen.digests[at] == digest || seen.count > SEEN_ROOM / 2)
        return seen.digests[at] != digest;
    seen.digests[at] = digest;
    seen.count++;
    return 1;
}

/* Whether the image is asked for, or lies on the way to the one that is. */
static int is_wanted(const struct image *image) {
    size_t length = strlen(image->place);
    if (plan.only == NULL)
        return is_new(image);
    return strncmp(plan.only, image->place, length) == 0 && (plan.only[length] == '\0' || plan.only[length] == ' ');
}

static int has_recovery_cut(const struct tally *tally, const struct image *image) {
    if (plan.only != NULL)
        return strcmp(plan.only, image->place) != 0;
    if (plan.recover == 0)
        return 0;
    /* In the middle first, where much is under way. */
    uint64_t half = (plan.recover + 1) / 2, first = half - (plan.seed - 1) % half;
    return tally->different % plan.recover == first % plan.recover;
}

static void start_running(const char *place) {
    (void)snprintf(now_running, sizeof now_running, "%s", place);
    (void)alarm(HANGS_SECONDS);
    disk_reset_sqlite_random(plan.seed);
}

/* Returns 1 when the image heals. */
static int heals(const struct scenario *scenario, struct image *image, struct recording *recording,
                 struct tally *tally) {
    start_running(image->place);
    images_heal(scenario, image, recording);
    if (image->ledger.complaint[0] == '\0')
        return 1;
    if (tally->wrong++ < SHOWN_MAX && life_mutant == NULL && plan.liar == NULL)
        printf("'%s', before %s: %s\n", image->place, image->call, image->ledger.complaint);
    return 0;
}

static uint32_t ways_of(const struct scenario *scenario) {
    return plan.all_ways || scenario->ways > cut_count ? 0 : scenario->ways;
}

/* Cuts during the recovery of one image. */
static void cut_recovery(const struct scenario *scenario, struct image *image, struct tally *outer,
                         struct tally *inner) {
    struct recording recording = {
        .prefix = image->place, .cuts = cuts, .cut_count = cut_count, .ways = ways_of(scenario), .seed = plan.seed};
    outer->recoveries++;
    int healed = heals(scenario, image, &recording, outer);
    inner->places += recording.places;
    inner->images += recording.count;
    for (size_t i = 0; healed && i < recording.count && inner->wrong < SHOWN_MAX; i++) {
        if (is_wanted(&recording.images[i])) {
            inner->different++;
            (void)heals(scenario, &recording.images[i], NULL, inner);
        }
        image_free(&recording.images[i]);
        recording.images[i] = (struct image){0};
    }
    recording_free(&recording);
}

static void judge_images(const struct scenario *scenario, struct recording *recording, struct tally *outer,
                         struct tally *inner) {
    outer->places = recording->places;
    outer->images = recording->count;
    for (size_t i = 0; i < recording->count && outer->wrong + inner->wrong < SHOWN_MAX; i++) {
        struct image *image = &recording->images[i];
        if (!is_wanted(image))
            continue;
        outer->different++;
        if (has_recovery_cut(outer, image))
            cut_recovery(scenario, image, outer, inner);
        else
            (void)heals(scenario, image, NULL, outer);
        image_free(image);
        *image = (struct image){0};
    }
}

/* Returns how many images were wrong; -1 when something was wrong before any power cut. */
static int64_t run_scenario(const struct scenario *scenario) {
    struct tally outer = {0}, inner = {0};
    struct ledger ledger = {0};
    struct recording recording = {.prefix = scenario->name,
                                  .cuts = cuts,
                                  .cut_count = cut_count,
                                  .ways = ways_of(scenario),
                                  .seed = plan.seed,
                                  .liar = plan.liar,
                                  .ledger = &ledger};
    memset(&seen, 0, sizeof seen);
    start_running(scenario->name);
    int64_t wrong = -1;
    if (images_live(scenario, &recording)) {
        judge_images(scenario, &recording, &outer, &inner);
        wrong = (int64_t)(outer.wrong + inner.wrong);
    } else {
        printf("%s, before any power cut: %s\n", scenario->name, ledger.complaint);
    }
    recording_free(&recording);
    ledger_free(&ledger);
    if (wrong == 0 && recording.places < scenario->least && life_mutant == NULL && plan.liar == NULL) {
        printf("%s: expected at least %llu places\n", scenario->name, (unsigned long long)scenario->least);
        wrong = 1;
    }
    if (wrong == 0 && plan.recover != 0 && plan.only == NULL && outer.recoveries == 0) {
        printf("%s: no recovery was cut\n", scenario->name);
        wrong = 1;
    }
    if (wrong == 0 && plan.only != NULL && outer.different == 0) {
        printf("there is no image '%s'\n", plan.only);
        wrong = 1;
    }
    if (life_mutant == NULL && plan.liar == NULL)
        printf("%s: %llu places, %llu images, %llu different; %llu recoveries: %llu places, %llu images, %llu "
               "different%s\n",
               scenario->name, (unsigned long long)outer.places, (unsigned long long)outer.images,
               (unsigned long long)outer.different, (unsigned long long)outer.recoveries,
               (unsigned long long)inner.places, (unsigned long long)inner.images, (unsigned long long)inner.different,
               wrong != 0 ? ", wrong" : "");
    (void)fflush(stdout);
    return wrong;
}

/* 0: images go wrong, as they must, and nothing did without them. */
static int run_bug(const char *name) {
    static const char lies[] = "lies:";
    int64_t wrong = 0;
    if (strncmp(name, lies, strlen(lies)) == 0)
        plan.liar = name + strlen(lies);
    else
        life_mutant = name;
    for (size_t i = 0; i < images_scenario_count && wrong == 0; i++)
        wrong = run_scenario(&images_scenarios[i]);
    life_mutant = plan.liar = NULL;
    printf("%s %s\n", name, wrong > 0 ? "dies" : "survives");
    (void)fflush(stdout);
    return wrong <= 0;
}

static int run_all(void) {
    int failed = 0;
    for (size_t i = 0; i < images_scenario_count; i++) {
        size_t length = strlen(images_scenarios[i].name);
        if (plan.only == NULL ||
            (strncmp(plan.only, images_scenarios[i].name, length) == 0 && plan.only[length] == ' '))
            failed |= run_scenario(&images_scenarios[i]) != 0;
    }
    return failed;
}

static int usage(void) {
    printf("usage: fault-images [--seed S] [--drawn N] [--all-ways 1] [--recover N] [--only 'SCENARIO PLACE CUT...']\n"
           "       fault-images --mutants NAME...\n"
           "  --all-ways 1  every way of cutting at every place, where some are taken in turn otherwise\n"
           "  --drawn N     random subsets of the unsynced effects for each place, at most %d (default %u)\n"
           "  --recover N   of N images one has its recovery cut as well; 0: none (default %u)\n"
           "  --only PLACE  one image, as a complaint names it\n"
           "  --mutants     known bugs of the library, or 'lies:FILE' for a disk that syncs that file in words only\n",
           DRAWN_MAX, plan.drawn, plan.recover);
    return EXIT_FAILURE;
}

int main(int argc, char **argv) {
    int i = 1, failed = 0;
    for (; i + 1 < argc && strcmp(argv[i], "--mutants") != 0; i += 2) {
        if (strcmp(argv[i], "--seed") == 0)
            plan.seed = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--drawn") == 0)
            plan.drawn = (uint32_t)strtoul(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--recover") == 0)
            plan.recover = (uint32_t)strtoul(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--all-ways") == 0)
            plan.all_ways = argv[i + 1][0] == '1';
        else if (strcmp(argv[i], "--only") == 0)
            plan.only = argv[i + 1];
        else
            return usage();
    }
    int mutants = i + 1 < argc;
    if (i < argc && !mutants)
        return usage();
    (void)signal(SIGALRM, cry);
    (void)signal(SIGABRT, cry);
    /* There is one thread, and the lives are many: heap that was given back is asked for again at once. */
    (void)mallopt(M_TRIM_THRESHOLD, INT_MAX);
    (void)mallopt(M_MMAP_THRESHOLD, INT_MAX);
    if (sqlite3_config(SQLITE_CONFIG_SINGLETHREAD) != SQLITE_OK ||
        sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0) != SQLITE_OK)
        abort();
    choose_cuts();
    if (mutants)
        plan.recover = 0;
    else
        failed = run_all();
    while (mutants && ++i < argc)
        failed |= run_bug(argv[i]);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
