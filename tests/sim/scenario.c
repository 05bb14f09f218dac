#include "scenario.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

/* ---- the tape ---- */

static void record(struct scenario *scenario, struct happening happening) {
    if (scenario->count == scenario->room) {
        scenario->room = scenario->room == 0 ? 64 : 2 * scenario->room;
        scenario->happenings = realloc(scenario->happenings, scenario->room * sizeof *scenario->happenings);
        if (scenario->happenings == NULL)
            abort();
    }
    scenario->happenings[scenario->count++] = happening;
}

/* What was missed, because things went another way since something was cut out, happens as soon as it can. */
static int is_due(struct tape *tape, enum fault_kind kind, int64_t now, uint32_t asked) {
    const struct scenario *scenario = tape->scenario;
    uint32_t *next = &tape->next[kind];
    while (*next < scenario->count && scenario->happenings[*next].kind != kind)
        ++*next;
    if (*next == scenario->count)
        return 0;
    const struct happening *happening = &scenario->happenings[*next];
    if (happening->at > now || (happening->at == now && happening->skip > asked))
        return 0;
    ++*next;
    return 1;
}

int tape_happens(struct sim *sim, enum fault_kind kind, int drawn) {
    struct tape *tape = sim->tape;
    int64_t now = sim->world.now;
    if (tape == NULL)
        return drawn;
    if (tape->asked_at[kind] != now)
        tape->asked[kind] = 0;
    tape->asked_at[kind] = now;
    uint32_t asked = tape->asked[kind]++;
    if (!tape->records)
        return is_due(tape, kind, now, asked);
    if (drawn)
        record(tape->scenario, (struct happening){now, asked, kind});
    return drawn;
}

int tape_client(const struct sim *sim, uint32_t number) {
    return sim->tape == NULL || number == 0 || number > 64 || (sim->tape->scenario->clients >> (number - 1) & 1);
}

int tape_clerks(const struct sim *sim) {
    return sim->tape == NULL || sim->tape->scenario->clerks;
}

/* ---- scenarios ---- */

void scenario_init(struct scenario *scenario, uint64_t seed, const char *mutant) {
    *scenario = (struct scenario){.seed = seed, .clients = UINT64_MAX, .clerks = 1};
    snprintf(scenario->mutant, sizeof scenario->mutant, "%s", mutant == NULL ? "" : mutant);
    knobs_draw(&scenario->knobs, seed);
    scenario->heal = scenario->knobs.run + scenario->knobs.night;
}

struct scenario scenario_copy(const struct scenario *from) {
    struct scenario copy = *from;
    copy.happenings = NULL;
    copy.count = copy.room = 0;
    for (uint32_t i = 0; i < from->count; i++)
        record(&copy, from->happenings[i]);
    return copy;
}

void scenario_free(struct scenario *scenario) {
    free(scenario->happenings);
    scenario->happenings = NULL;
    scenario->count = scenario->room = 0;
}

/* ---- as text ---- */

/* Numbers of struct knobs by name; topology and faults have words of their own. */
static const struct {
    const char *name;
    size_t at, size;
} fields[] = {
#define FIELD(name)                                                                                                    \
    { #name, offsetof(struct knobs, name), sizeof(((struct knobs *)NULL)->name) }
    FIELD(loopback),
    FIELD(rogue),
    FIELD(pumps),
    FIELD(clients),
    FIELD(ops),
    FIELD(group_max),
    FIELD(call_timeout_ms),
    FIELD(backoff_min_ms),
    FIELD(backoff_max_ms),
    FIELD(wait_ms),
    FIELD(timeout_min_ms),
    FIELD(timeout_max_ms),
    FIELD(latency_min),
    FIELD(latency_max),
    FIELD(run),
    FIELD(crash_in),
    FIELD(fault_in),
    FIELD(loss_in),
    FIELD(stock),
    FIELD(retention_ms),
    FIELD(park_retry_ms),
    FIELD(park_attempts),
    FIELD(policy_in),
    FIELD(open_max),
    FIELD(dead),
    FIELD(person),
    FIELD(night),
    FIELD(chores),
    FIELD(hooks_in),
    FIELD(posts),
    FIELD(halves),
    FIELD(cron),
    FIELD(killers),
#undef FIELD
};

/* A new knob needs its FIELD: what a scenario does not say is 0. */
_Static_assert(sizeof(struct knobs) == 200, "struct knobs has changed");

enum { FIELDS = sizeof fields / sizeof fields[0], WORDS_MAX = 80 };

static int64_t get_field(const struct knobs *knobs, size_t i) {
    const char *at = (const char *)knobs + fields[i].at;
    int64_t wide = 0;
    int32_t narrow = 0;
    if (fields[i].size == sizeof wide) {
        memcpy(&wide, at, sizeof wide);
        return wide;
    }
    memcpy(&narrow, at, sizeof narrow);
    return narrow;
}

static void set_field(struct knobs *knobs, size_t i, int64_t value) {
    char *at = (char *)knobs + fields[i].at;
    int32_t narrow = (int32_t)value;
    if (fields[i].size == sizeof value)
        memcpy(at, &value, sizeof value);
    else
        memcpy(at, &narrow, sizeof narrow);
}

static void write_happenings(const struct scenario *scenario, FILE *out) {
    for (uint32_t i = 0; i < scenario->count; i++) {
        const struct happening *happening = &scenario->happenings[i];
        fprintf(out, "at %" PRId64 ".%06" PRId64 " %s", happening->at / SECOND, happening->at % SECOND,
                fault_name(happening->kind));
        if (happening->skip > 0)
            fprintf(out, " skip %" PRIu32, happening->skip);
        fputc('\n', out);
    }
}

void scenario_write(const struct scenario *scenario, FILE *out) {
    fprintf(out, "seed %" PRIu64 "\n", scenario->seed);
    if (scenario->mutant[0] != '\0')
        fprintf(out, "mutant %s\n", scenario->mutant);
    if (scenario->violates[0] != '\0')
        fprintf(out, "violates %s\n", scenario->violates);
    fprintf(out, "topology %s\n", topology_name(scenario->knobs.topology));
    for (size_t i = 0; i < FIELDS; i++)
        fprintf(out, "%s%s %" PRId64 "%s", i % 5 == 0 ? "set " : " ", fields[i].name, get_field(&scenario->knobs, i),
                i % 5 == 4 || i == FIELDS - 1 ? "\n" : "");
    fprintf(out, "heal %" PRId64 "\nclerks %d\n", scenario->heal, scenario->clerks);
    fputs("come", out);
    for (uint32_t i = 0; i < 64; i++)
        if (scenario->clients >> i & 1)
            fprintf(out, " %u", i + 1);
    fputs("\nfaults", out);
    for (uint32_t kind = 0; kind < FAULT_KINDS; kind++)
        if (knobs_have(&scenario->knobs, kind))
            fprintf(out, " %s", fault_name(kind));
    fputc('\n', out);
    write_happenings(scenario, out);
}

static int read_number(const char *word, int64_t *value) {
    char *end;
    errno = 0;
    *value = strtoll(word, &end, 10);
    return *word != '\0' && *end == '\0' && errno == 0;
}

static int read_kind(const char *word, enum fault_kind *kind) {
    for (uint32_t i = 0; i < FAULT_KINDS; i++)
        if (strcmp(word, fault_name(i)) == 0) {
            *kind = (enum fault_kind)i;
            return 1;
        }
    return 0;
}

static int read_sets(struct scenario *scenario, char **words, uint32_t count) {
    enum fault_kind kind;
    int64_t value;
    int clients = strcmp(words[0], "come") == 0;
    if (clients)
        scenario->clients = 0;
    for (uint32_t i = 1; i < count; i++) {
        if (clients && read_number(words[i], &value) && value >= 1 && value <= 64)
            scenario->clients |= UINT64_C(1) << (value - 1);
        else if (!clients && read_kind(words[i], &kind))
            scenario->knobs.faults |= UINT32_C(1) << kind;
        else
            return 0;
    }
    return 1;
}

static int read_fields(struct knobs *knobs, char **words, uint32_t count) {
    for (uint32_t i = 1; i < count; i += 2) {
        int64_t value;
        size_t field = 0;
        while (field < FIELDS && strcmp(words[i], fields[field].name) != 0)
            field++;
        if (field == FIELDS || i + 1 == count || !read_number(words[i + 1], &value))
            return 0;
        set_field(knobs, field, value);
    }
    return 1;
}

static int read_happening(struct scenario *scenario, char **words, uint32_t count) {
    struct happening happening = {0};
    int64_t seconds, micros, skip = 0;
    char *dot = strchr(words[1], '.');
    if (dot == NULL || strlen(dot) != 7 || (count != 3 && (count != 5 || strcmp(words[3], "skip") != 0)))
        return 0;
    *dot = '\0';
    if (!read_number(words[1], &seconds) || !read_number(dot + 1, &micros) || !read_kind(words[2], &happening.kind) ||
        (count == 5 && !read_number(words[4], &skip)))
        return 0;
    happening.at = seconds * SECOND + micros;
    happening.skip = (uint32_t)skip;
    record(scenario, happening);
    return 1;
}

static int read_text(struct scenario *scenario, char **words) {
    if (strcmp(words[0], "mutant") == 0)
        snprintf(scenario->mutant, sizeof scenario->mutant, "%s", words[1]);
    else if (strcmp(words[0], "violates") == 0)
        snprintf(scenario->violates, sizeof scenario->violates, "%s", words[1]);
    else if (strcmp(words[0], "topology") == 0)
        for (int i = 0; i < TOPOLOGIES; i++)
            scenario->knobs.topology = strcmp(words[1], topology_name(i)) == 0 ? i : scenario->knobs.topology;
    else
        return 0;
    return 1;
}

static int read_words(struct scenario *scenario, char **words, uint32_t count) {
    int64_t value;
    if (strcmp(words[0], "come") == 0 || strcmp(words[0], "faults") == 0)
        return read_sets(scenario, words, count);
    if (strcmp(words[0], "at") == 0)
        return count >= 3 && read_happening(scenario, words, count);
    if (strcmp(words[0], "set") == 0)
        return read_fields(&scenario->knobs, words, count);
    if (count != 2)
        return 0;
    if (read_text(scenario, words))
        return 1;
    if (!read_number(words[1], &value))
        return 0;
    if (strcmp(words[0], "seed") == 0)
        scenario->seed = (uint64_t)value;
    else if (strcmp(words[0], "heal") == 0)
        scenario->heal = value;
    else if (strcmp(words[0], "clerks") == 0)
        scenario->clerks = value != 0;
    else
        return 0;
    return 1;
}

int scenario_read(struct scenario *scenario, const char *path) {
    char line[1000];
    int number = 0, wrong = 0;
    FILE *in = fopen(path, "r");
    if (in == NULL)
        return -1;
    *scenario = (struct scenario){0};
    while (wrong == 0 && fgets(line, sizeof line, in) != NULL) {
        char *words[WORDS_MAX], *rest = line;
        uint32_t count = 0;
        number++;
        while (count < WORDS_MAX && (words[count] = strtok_r(rest, " \n", &rest)) != NULL)
            count++;
        if (count > 0 && words[0][0] != '#' && !read_words(scenario, words, count))
            wrong = number;
    }
    fclose(in);
    return wrong;
}
