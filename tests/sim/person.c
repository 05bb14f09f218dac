#include "person.h"

#include <cdtx/admin.h>
#include <stdio.h>
#include <string.h>

#include "checks.h"
#include "clerk.h"
#include "cover.h"
#include "errand.h"

struct persons {
    int64_t lines; /* of the log's audit chain, for actions that were answered with success */
};

typedef int32_t (*tx_action)(cdtx *engine, const char *gid, const char *actor, const char *reason, cdtx_error *err);

static const struct {
    const char *name;
    tx_action act;
    enum step_in kind;
} actions[] = {
    {"person retries", cdtx_tx_retry, STEP_RETRY},
    {"person parks", cdtx_tx_park, STEP_PARK},
    {"person unparks", cdtx_tx_unpark, STEP_UNPARK},
    {"person resolves", cdtx_tx_resolve, STEP_RESOLVE},
};

enum { ACTIONS = sizeof actions / sizeof actions[0] };

void person_init(struct sim *sim) {
    sim->persons = world_alloc(&sim->world, sizeof *sim->persons);
}

/* Codes that an action may answer whatever it found. */
static int is_expected(int32_t code) {
    return code != CDTX_CORRUPT && code != CDTX_INVALID && code != CDTX_LIMIT && code != CDTX_NOT_FOUND &&
           code != CDTX_UNSUPPORTED && code != CDTX_TIMEOUT && code != CDTX_REFUSED;
}

/* One row of a list, chosen evenly; what it says about the outcome must be true. */
static int choose(struct life *life, cdtx_report *report, char gid[CDTX_GID_MAX]) {
    struct sim *sim = life->sim;
    uint64_t seen = 0;
    while (cdtx_report_next(report)) {
        const char *text = cdtx_report_text(report, 0, NULL);
        check_told(sim, text, OUTCOME_ANY, "list");
        if (prng_chance(&sim->world.work, 1, ++seen))
            snprintf(gid, CDTX_GID_MAX, "%s", text);
    }
    return seen > 0;
}

static void step_in(struct life *life, const char *gid, uint64_t which) {
    struct sim *sim = life->sim;
    cdtx_error err = {0};
    check_steps_in(sim, gid, actions[which].kind);
    int32_t rc = actions[which].act(life->engine, gid, life->name, "it looked wrong", &err);
    env_alive(life);
    tell(&sim->world, life->name, "%s %s: %s %.100s", actions[which].name, gid, cdtx_code_name(rc),
         rc == 0 ? "" : err.text);
    sim->persons->lines += rc == 0;
    if (rc == 0)
        cover(actions[which].name);
    if (!is_expected(rc) || (rc == CDTX_EXPIRED && !check_dropped(sim, gid)))
        violate(&sim->world, "C9", "%s %s is answered %s: %s", actions[which].name, gid, cdtx_code_name(rc), err.text);
}

static void look_and_step_in(struct life *life) {
    struct sim *sim = life->sim;
    struct prng *work = &sim->world.work;
    cdtx_tx_filter filter = {.size = sizeof filter, .parked = prng_chance(work, 1, 2)};
    cdtx_report *report = NULL;
    char gid[CDTX_GID_MAX];
    int32_t rc = cdtx_tx_list(life->engine, &filter, &report, NULL);
    env_alive(life);
    if (rc != 0)
        return;
    int found = choose(life, report, gid);
    cdtx_report_close(report);
    if (!found)
        return;
    if (prng_chance(work, 1, 3))
        env_think(life, prng_range(work, 0, 300 * MS)); /* meanwhile it goes on */
    if (life->open)
        step_in(life, gid, prng_below(work, ACTIONS));
}

static void person_live(void *argument) {
    struct life *life = argument;
    struct prng *work = &life->sim->world.work;
    while (!life->quit && life->sim->faults_on) {
        env_think(life, prng_range(work, 50 * MS, 1500 * MS));
        if (life->open)
            look_and_step_in(life);
        if (life->open && prng_chance(work, 1, 2))
            errand_step_in(life, CLERK_LOG);
    }
}

void person_serve(struct life *life) {
    if (life->sim->knobs.person && life->node->coordinator)
        strand_new(&life->sim->world, &life->owner, "person", person_live, life, 2 * MS);
}

void person_ask(struct life *life) {
    struct sim *sim = life->sim;
    int64_t lines = 0;
    char head[65] = "";
    cdtx_error err = {0};
    int32_t rc = cdtx_audit_verify(life->dbs[CLERK_LOG], 0, &lines, head, &err);
    env_alive(life);
    if (rc != 0 || lines < sim->persons->lines)
        violate(&sim->world, "C2", "the audit chain: %s %s, %lld lines after %lld actions", cdtx_code_name(rc),
                err.text, (long long)lines, (long long)sim->persons->lines);
}
