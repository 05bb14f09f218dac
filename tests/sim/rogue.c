#include "rogue.h"

#include <stdio.h>
#include <string.h>

#include "checks.h"
#include "cover.h"
#include "net.h"
#include "shop.h"
#include "weather.h"

enum { OLD_MAX = 12 };

/* One branch and what the model thinks of it. */
struct subject {
    struct sim *sim;
    enum participant participant;
    int64_t sequence;
    uint32_t branch;
    uint8_t mode;
    uint32_t possible; /* bit by enum mark: a lost answer leaves more than one */
    char *first;       /* answer of the try; NULL: none yet */
    uint32_t first_length;
    int32_t first_code;
    int expired; /* it was said */
};

struct rogue {
    uint8_t log[16];
    int64_t sequence, floor;
    uint64_t calls;
    uint32_t alarms;
    int done;
    struct subject old[OLD_MAX]; /* those that it has finished with */
    uint32_t old_count;
};

/* What the letter's answer function saw. */
struct seen {
    int came;
    int32_t code;
    char *result;
    uint32_t length;
    uint32_t alarms_before, alarms_after;
};

/* The guard table. alarm: the cell must raise one. */
struct cell {
    int32_t code;
    enum mark next;
    int alarm;
    const char *invariant;
};

/* By what arrives; the first try's answer is the service's, see first_try. */
static const struct cell cells[CDTX_CALL_REVERSE + 1][MARKS] =
    {
        [CDTX_CALL_TRY] =
            {
                [MARK_ABSENT] = {0, MARK_TRIED, 0, "T8"},
                [MARK_TRIED] = {0, MARK_TRIED, 0, "T8"},
                [MARK_REJECTED] = {CDTX_REFUSED, MARK_REJECTED, 0, "T8"},
                [MARK_CONFIRMED] = {0, MARK_CONFIRMED, 0, "T8"},
                [MARK_CANCELLED] = {CDTX_REFUSED, MARK_CANCELLED, 0, "T3"},
                [MARK_EMPTY] = {CDTX_REFUSED, MARK_EMPTY, 0, "T3"},
                [MARK_REVERSED] = {CDTX_REFUSED, MARK_REVERSED, 0, "T3"},
            },
        [CDTX_CALL_CONFIRM] =
            {
                [MARK_ABSENT] = {CDTX_NOT_FOUND, MARK_ABSENT, 1, "T7"},
                [MARK_TRIED] = {0, MARK_CONFIRMED, 0, "T4"},
                [MARK_REJECTED] = {CDTX_CONFLICT, MARK_REJECTED, 1, "T2"},
                [MARK_CONFIRMED] = {0, MARK_CONFIRMED, 0, "T1"},
                [MARK_CANCELLED] = {CDTX_REFUSED, MARK_CANCELLED, 1, "T1"},
                [MARK_EMPTY] = {CDTX_REFUSED, MARK_EMPTY, 1, "T2"},
                [MARK_REVERSED] = {CDTX_REFUSED, MARK_REVERSED, 0, "T1"},
            },
        [CDTX_CALL_CANCEL] =
            {
                [MARK_ABSENT] = {0, MARK_EMPTY, 0, "T3"},
                [MARK_TRIED] = {0, MARK_CANCELLED, 0, "T4"},
                [MARK_REJECTED] = {0, MARK_REJECTED, 0, "T2"},
                [MARK_CONFIRMED] = {CDTX_REFUSED, MARK_CONFIRMED, 1, "T1"},
                [MARK_CANCELLED] = {0, MARK_CANCELLED, 0, "T1"},
                [MARK_EMPTY] = {0, MARK_EMPTY, 0, "T3"},
                [MARK_REVERSED] = {0, MARK_REVERSED, 0, "T1"},
            },
        [CDTX_CALL_REVERSE] =
            {
                [MARK_ABSENT] = {CDTX_NOT_FOUND, MARK_ABSENT, 1, "T7"},
                [MARK_TRIED] = {0, MARK_REVERSED, 0, "T4"},
                [MARK_REJECTED] = {0, MARK_REJECTED, 0, "T2"},
                [MARK_CONFIRMED] = {0, MARK_REVERSED, 0, "T4"},
                [MARK_CANCELLED] = {0, MARK_CANCELLED, 0, "T1"},
                [MARK_EMPTY] = {0, MARK_EMPTY, 0, "T2"},
                [MARK_REVERSED] = {0, MARK_REVERSED, 0, "T1"},
            },
};

/* Codes that say nothing about the guard, only that the service could not answer now. */
static int no_answer(int32_t code) {
    return code == CDTX_BUSY || code == CDTX_UNKNOWN || code == CDTX_IO || code == CDTX_STOPPED || code == CDTX_USER ||
           code == CDTX_TIMEOUT || code == CDTX_MISUSE || code == CDTX_NO_MEMORY;
}

/* The first try: the service may say yes or no as its state has it, unless it is told to. */
static uint32_t first_try(const struct subject *subject, const struct seen *seen) {
    uint32_t yes = UINT32_C(1) << MARK_TRIED, no = UINT32_C(1) << MARK_REJECTED;
    if (!seen->came || no_answer(seen->code))
        return seen->came && cdtx_happened(seen->code) == 0 ? 0 : (subject->mode == SHOP_NO ? 0 : yes) | no;
    return seen->code == 0 && subject->mode != SHOP_NO ? yes : seen->code == CDTX_REFUSED ? no : 0;
}

/* Which marks may stand after the call, given those that may have stood before. */
static uint32_t step(const struct subject *subject, int32_t op, const struct seen *seen, const char **invariant,
                     int *alarm) {
    uint32_t next = 0;
    *alarm = 1;
    for (enum mark mark = MARK_ABSENT; mark < MARKS; mark++) {
        if (!(subject->possible >> mark & 1))
            continue;
        struct cell cell = cells[op][mark];
        *invariant = cell.invariant;
        if (mark == MARK_ABSENT && op == CDTX_CALL_TRY) {
            *alarm = 0;
            next |= first_try(subject, seen) | (seen->came && !no_answer(seen->code) ? 0 : UINT32_C(1) << mark);
            continue;
        }
        if (seen->came && !no_answer(seen->code)) {
            if (seen->code != cell.code)
                continue;
            next |= UINT32_C(1) << cell.next;
            *alarm &= cell.alarm;
            continue;
        }
        *alarm = 0;
        next |= UINT32_C(1) << mark;
        if (!seen->came || cdtx_happened(seen->code) != 0)
            next |= UINT32_C(1) << cell.next;
    }
    return next;
}

static void answered(struct letter *letter, const cdtx_reply *reply) {
    struct seen *seen = letter->user;
    struct life *life = sim_life(letter->sim);
    seen->came = 1;
    seen->code = reply->code;
    seen->result = world_copy(&letter->sim->world, reply->result, reply->length);
    seen->length = reply->length;
    seen->alarms_after = life->alarms;
}

/* Sends one call and waits for its answer, or for the death of the life that it went to. */
static void call(struct subject *subject, int32_t op, struct seen *seen) {
    struct sim *sim = subject->sim;
    struct rogue *rogue = sim->rogue;
    struct shop_order order = {.article = (uint8_t)(subject->sequence % ARTICLES),
                               .quantity = (uint8_t)(1 + subject->sequence % 5),
                               .mode = subject->mode};
    cdtx_call c = {
        .sequence = subject->sequence,
        .id = ++rogue->calls,
        .epoch = 1,
        .branch = subject->branch,
        .op = op,
        .attempt = 1,
        .length = sizeof order,
        .floor = rogue->floor,
        .participant = participant_names[subject->participant],
        .payload = &order,
    };
    memcpy(c.log, rogue->log, sizeof c.log);
    for (int64_t waited = 0;; waited++) {
        struct node *home = net_home(sim, c.participant);
        struct life *life = node_up(home);
        if (life != NULL) {
            struct letter *letter = net_letter(sim, NULL, home, &c);
            letter->answered = answered;
            letter->user = seen;
            seen->alarms_before = life->alarms;
            net_deliver(letter, 0);
            for (int64_t naps = 0; !seen->came && !letter->dropped && !life->owner.gone; naps++) {
                strand_sleep(&sim->world, 2 * MS);
                if (naps == 120 * SECOND / (2 * MS))
                    violate(&sim->world, "L1", "%s does not answer the rogue's call", life->name);
            }
            if (!letter->dropped)
                return;
        }
        strand_sleep(&sim->world, sim->asleep ? weather_morning(sim) + MS : 20 * MS);
    }
}

static void look(struct subject *subject, int32_t op, const struct seen *seen) {
    struct sim *sim = subject->sim;
    const char *invariant = "T1";
    int alarm = 0;
    char text[80];
    uint32_t before = subject->possible;
    subject->possible = step(subject, op, seen, &invariant, &alarm);
    for (enum mark mark = MARK_ABSENT; seen->came && mark < MARKS; mark++)
        if (before == UINT32_C(1) << mark) {
            snprintf(text, sizeof text, "guard-%s-%s", mark_names[mark], call_name(op));
            cover(text);
        }
    if (subject->possible == 0) {
        violate(&sim->world, invariant,
                "the rogue's %s of gid %lld answered %s, against the guard table (marks before: %x)", call_name(op),
                (long long)subject->sequence, cdtx_code_name(seen->code), before);
        return;
    }
    if (!seen->came || no_answer(seen->code))
        return;
    if (alarm && seen->alarms_after == seen->alarms_before)
        violate(&sim->world, invariant, "the rogue's %s of gid %lld raised no alarm", call_name(op),
                (long long)subject->sequence);
    uint32_t over = UINT32_C(1) << MARK_CANCELLED | UINT32_C(1) << MARK_EMPTY | UINT32_C(1) << MARK_REVERSED;
    if (op != CDTX_CALL_TRY || (before & over) != 0)
        return;
    if (subject->first == NULL) {
        subject->first = seen->result;
        subject->first_length = seen->length;
        subject->first_code = seen->code;
    } else if (subject->first_code != seen->code || subject->first_length != seen->length ||
               memcmp(subject->first, seen->result, seen->length) != 0) {
        violate(&sim->world, "T8", "the try of the rogue's gid %lld answered '%s' first and '%s' later",
                (long long)subject->sequence, subject->first, seen->result);
    }
}

/* A call about a gid below the floor: it gets the cell's answer while the guard stands, and EXPIRED once it is gone;
 * then for ever, and it never has an effect. */
static void look_back(struct subject *subject) {
    struct sim *sim = subject->sim;
    struct prng *work = &sim->world.work;
    int32_t op = (int32_t)prng_range(work, CDTX_CALL_TRY, CDTX_CALL_REVERSE);
    struct seen *seen = world_alloc(&sim->world, sizeof *seen);
    sim->rogue->alarms++;
    call(subject, op, seen);
    if (seen->came && seen->code == CDTX_EXPIRED) {
        subject->expired = 1;
        cover("below the floor");
    } else if (subject->expired && seen->came && !no_answer(seen->code)) {
        violate(&sim->world, "T6", "the rogue's %s of gid %lld answered %s after EXPIRED", call_name(op),
                (long long)subject->sequence, cdtx_code_name(seen->code));
    } else if (!subject->expired) {
        look(subject, op, seen);
    }
}

static void raise_floor(struct sim *sim, const struct subject *last) {
    struct rogue *rogue = sim->rogue;
    struct prng *work = &sim->world.work;
    if (rogue->old_count < OLD_MAX)
        rogue->old[rogue->old_count++] = *last;
    if (prng_chance(work, 1, 3))
        rogue->floor = rogue->sequence + 1;
    for (uint32_t i = 0; i < rogue->old_count && sim->faults_on; i++)
        if (rogue->old[i].sequence < rogue->floor && prng_chance(work, 1, 1 + rogue->old_count))
            look_back(&rogue->old[i]);
}

static void play(struct sim *sim) {
    struct rogue *rogue = sim->rogue;
    struct prng *work = &sim->world.work;
    struct subject subject = {
        .sim = sim,
        .participant = (enum participant)prng_below(work, PARTICIPANTS),
        .sequence = ++rogue->sequence,
        .branch = (uint32_t)prng_below(work, 3),
        .mode = prng_chance(work, 1, 5) ? SHOP_NO : SHOP_BY_STATE,
        .possible = UINT32_C(1) << MARK_ABSENT,
    };
    int64_t calls = prng_range(work, 2, 6);
    for (int64_t i = 0; i < calls && sim->faults_on; i++) {
        int32_t op = (int32_t)prng_range(work, CDTX_CALL_TRY, CDTX_CALL_REVERSE);
        if (op != CDTX_CALL_TRY)
            rogue->alarms++;
        struct seen seen = {0};
        struct seen *kept = world_alloc(&sim->world, sizeof *kept); /* an answer may come after we have gone */
        *kept = seen;
        call(&subject, op, kept);
        look(&subject, op, kept);
        strand_sleep(&sim->world, prng_range(work, 0, 200 * MS));
    }
    raise_floor(sim, &subject);
}

static void rogue_live(void *argument) {
    struct sim *sim = argument;
    while (sim->faults_on) {
        play(sim);
        strand_sleep(&sim->world, prng_range(&sim->world.work, 0, 300 * MS));
    }
    sim->rogue->done = 1;
}

void rogue_init(struct sim *sim) {
    sim->rogue = world_alloc(&sim->world, sizeof *sim->rogue);
    struct prng prng = prng_new(sim->world.seed, "rogue");
    prng_bytes(&prng, sim->rogue->log, sizeof sim->rogue->log);
    sim->rogue->done = !sim->knobs.rogue;
}

void rogue_begin(struct sim *sim) {
    if (sim->knobs.rogue)
        strand_new(&sim->world, NULL, "rogue", rogue_live, sim, 100 * MS);
}

int rogue_done(const struct sim *sim) {
    return sim->rogue->done;
}

uint32_t rogue_alarms(const struct sim *sim) {
    return sim->rogue->alarms;
}

int64_t rogue_floor(const struct sim *sim) {
    return sim->rogue->floor;
}

int rogue_is(const struct sim *sim, const uint8_t log[16]) {
    return memcmp(sim->rogue->log, log, 16) == 0;
}
