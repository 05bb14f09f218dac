/* The kill loop of the post office: processes that put and processes that read, on the same files, each killed at drawn
 * moments and started again. Who puts writes what it asks for and what it was told to a file of its own, synced, before
 * it goes on; its next life first asks again about what was left open. At the end all of it must be true.
 *
 * PROGRAM [--kills N] [--seed S] [--writers N] [--readers N] */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mortal.h"
#include "post_judge.h"
#include "sim/prng.h"

enum { KILLS = 60, PEOPLE_MAX = 8, LINE_ROOM = COMPLAINT_MAX + 16 };
enum { OPENING_MS_MAX = 40, LIFE_MS_MAX = 700, DRAIN_MS = 1200, GUARDS_MS = 500, GUARDS_TIMES = 24 };
/* Longer than anybody can be kept waiting on a slow machine. */
enum { WAIT_MS = 10000 };

static int32_t open_house(struct house *house, const char *folder, int share, int part, cdtx_error *err) {
    static cdtx_env env;
    env = mortal_env();
    struct house_site site = {.scheme = "sqlite", .folder = folder, .share = share};
    struct house_options options = {.env = &env, .threads = share ? 1 : 0, .wait_ms = WAIT_MS};
    return post_open_part(house, &site, &options, part, err);
}

/* ---- what was told ---- */

/* A line is a deed, its key and the answer: the last one of a key counts. A line that a kill has torn is none. */
static void read_told(struct ledger *ledger, const char *path) {
    char line[LINE_ROOM], key[LEDGER_KEY_MAX];
    int deed = 0, code = 0;
    FILE *file = fopen(path, "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strchr(line, '\n') == NULL)
            break;
        if (line[0] == '!')
            ledger_complain(ledger, "%s", line + 2);
        else if (sscanf(line, "%d %47s %d", &deed, key, &code) != 3 || deed < 0 || deed >= POST_DEEDS)
            ledger_complain(ledger, "%s has the line %s", path, line);
        else
            ledger_hear(ledger, deed, key, code);
    }
    if (file != NULL && fclose(file) != 0)
        abort();
}

static int by_key(const void *left, const void *right) {
    const struct heard *a = left, *b = right;
    int order = a->deed != b->deed ? a->deed - b->deed : strcmp(a->key, b->key);
    return order != 0 ? order : (a->place > b->place) - (a->place < b->place);
}

/* Keeps the last answer to each. */
static void settle_told(struct ledger *ledger) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < ledger->count; i++)
        ledger->list[i].place = i;
    if (ledger->count > 0)
        qsort(ledger->list, ledger->count, sizeof *ledger->list, by_key);
    for (uint32_t i = 0; i < ledger->count; i++) {
        const struct heard *next = i + 1 < ledger->count ? &ledger->list[i + 1] : NULL;
        if (next == NULL || next->deed != ledger->list[i].deed || strcmp(next->key, ledger->list[i].key) != 0)
            ledger->list[kept++] = ledger->list[i];
    }
    ledger->count = kept;
}

/* ---- who puts ---- */

struct writer {
    struct house house;
    struct ledger ledger; /* of one deed */
    struct prng prng;
    const char *name; /* unlike those of all other lives */
    unsigned wishes;
    int told; /* synced with each write */
};

static void note(const struct writer *writer, int deed, const char *key, int32_t code) {
    char line[LINE_ROOM];
    int length = snprintf(line, sizeof line, "%d %s %d\n", deed, key, code);
    if (write(writer->told, line, (size_t)length) != length)
        _exit(EXIT_FAILURE);
}

static void note_answers(struct writer *writer) {
    struct ledger *ledger = &writer->ledger;
    for (uint32_t i = 0; i < ledger->count; i++)
        note(writer, ledger->list[i].deed, ledger->list[i].key, ledger->list[i].code);
    if (ledger->complaint[0] != '\0')
        (void)!dprintf(writer->told, "! %s\n", ledger->complaint);
    ledger->count = 0;
}

static void new_key(struct writer *writer, const char *what, char key[LEDGER_KEY_MAX]) {
    (void)snprintf(key, LEDGER_KEY_MAX, "%c-%s-%u%s", 'a' + (char)prng_below(&writer->prng, 3), writer->name,
                   ++writer->wishes, what);
}

static void letter(struct writer *writer, uint64_t dice) {
    static const char *const kinds[] = {"", "", "", "", "-slow", "-poison"};
    char key[LEDGER_KEY_MAX];
    enum letter_way way = dice < 40 ? LETTER_SENT : dice < 44 ? LETTER_BY_HAND : LETTER_TORN;
    new_key(writer, kinds[prng_below(&writer->prng, 6)], key);
    note(writer, DEED_LETTER, key, way == LETTER_TORN ? CDTX_REFUSED : CDTX_UNKNOWN);
    (void)post_letter(&writer->house, &writer->ledger, way, key);
}

static void promise(struct writer *writer) {
    static const struct {
        enum promise_way way;
        const char *what;
        int32_t code;
    } kinds[] = {{PROMISE_DECLARED, "", CDTX_UNKNOWN},           {PROMISE_STEPS, "-late", CDTX_UNKNOWN},
                 {PROMISE_DECLARED, "-refuse", CDTX_REFUSED},    {PROMISE_GIVEN_UP, "", CDTX_REFUSED},
                 {PROMISE_FORGOTTEN, "", CDTX_REFUSED},          {PROMISE_STEPS, "", CDTX_UNKNOWN},
                 {PROMISE_DECLARED, "-taken-back", CDTX_REFUSED}};
    uint64_t kind = prng_below(&writer->prng, sizeof kinds / sizeof kinds[0]);
    char key[LEDGER_KEY_MAX];
    new_key(writer, kinds[kind].what, key);
    note(writer, DEED_PROMISE, key, kinds[kind].code);
    (void)post_promise(&writer->house, &writer->ledger, kinds[kind].way, key);
}

static void deal(struct writer *writer) {
    char key[LEDGER_KEY_MAX], handle[CDTX_GID_MAX];
    enum deal_way way = (enum deal_way)prng_below(&writer->prng, DEAL_FORGOTTEN + 1);
    new_key(writer, "-deal", key);
    note(writer, DEED_DEAL, key, way == DEAL_TOLD || way == DEAL_UNTOLD ? CDTX_UNKNOWN : CDTX_REFUSED);
    (void)post_deal(&writer->house, &writer->ledger, way, key, handle);
    if (way == DEAL_TOLD)
        post_contradict(&writer->house, &writer->ledger, key, handle);
}

static void chore(struct writer *writer, uint64_t dice) {
    const cdtx_job_options later = {.size = sizeof later, .delay_ms = 200};
    const cdtx_job_options doomed = {.size = sizeof doomed, .deadline_ms = 100};
    char key[LEDGER_KEY_MAX];
    int64_t id = 0;
    int off = dice < 92, doom = dice == 99;
    new_key(writer, doom ? "-doom" : dice < 96 ? "" : "-snooze", key);
    note(writer, doom ? DEED_DOOM : DEED_CHORE, key, CDTX_UNKNOWN);
    (void)post_chore(&writer->house, &writer->ledger, doom ? DEED_DOOM : DEED_CHORE, key,
                     doom  ? &doomed
                     : off ? &later
                           : NULL,
                     &id);
    if (!off || id == 0)
        return;
    note_answers(writer);
    note(writer, DEED_OFF, key, CDTX_UNKNOWN);
    post_call_off(&writer->house, &writer->ledger, key, id, (int)prng_below(&writer->prng, 2));
}

static void wish(struct writer *writer) {
    uint64_t dice = prng_below(&writer->prng, 100);
    if (dice < 50)
        letter(writer, dice);
    else if (dice < 72)
        promise(writer);
    else if (dice < 88)
        deal(writer);
    else
        chore(writer, dice);
    note_answers(writer);
}

static int write_for_ever(const char *folder, const char *name, const char *path, uint64_t seed) {
    struct writer writer = {.name = name, .prng = prng_new(seed, name)};
    cdtx_error err = {0};
    writer.told = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_DSYNC, 0600);
    if (writer.told < 0)
        return EXIT_FAILURE;
    read_told(&writer.ledger, path);
    settle_told(&writer.ledger);
    if (open_house(&writer.house, folder, 1, POST_PUTS, &err) != 0) {
        (void)!dprintf(writer.told, "! the house does not open: %s\n", err.text);
        return EXIT_FAILURE;
    }
    (void)post_ask_again(&writer.house, &writer.ledger);
    note_answers(&writer);
    for (;;)
        wish(&writer);
}

/* ---- who reads ---- */

static int read_for_ever(const char *folder, const char *path) {
    struct house house = {0};
    struct ledger ledger = {0};
    cdtx_error err = {0};
    int told = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (told < 0)
        return EXIT_FAILURE;
    if (open_house(&house, folder, 1, POST_ALL, &err) != 0) {
        (void)!dprintf(told, "! the house does not open: %s\n", err.text);
        return EXIT_FAILURE;
    }
    for (;;) {
        post_pull(&house, &ledger, 1000);
        if (ledger.complaint[0] != '\0')
            (void)!dprintf(told, "! %s\n", ledger.complaint);
    }
}

/* ---- in the parent ---- */

struct person {
    pid_t pid;
    int64_t until_ms;
    unsigned lives;
    char path[MORTAL_PATH + 32]; /* of what it was told */
};

struct loop {
    char folder[MORTAL_PATH]; /* with a slash behind */
    uint64_t seed;
    struct prng prng;
    struct ledger ledger;
    unsigned kills, writers, readers;
    struct person people[PEOPLE_MAX];
};

/* Some die while they open; all others some time after. */
static void start(struct loop *loop, unsigned number) {
    struct person *person = &loop->people[number];
    char name[16], seed[24];
    (void)snprintf(name, sizeof name, "%u-%u", number, ++person->lives);
    (void)snprintf(seed, sizeof seed, "%llu", (unsigned long long)loop->seed);
    char *argv[] = {(char[]){"fault-kill-post"},
                    number < loop->writers ? (char[]){"--write"} : (char[]){"--read"},
                    loop->folder,
                    name,
                    person->path,
                    seed,
                    NULL};
    person->pid = mortal_start(argv, -1);
    int opening = prng_chance(&loop->prng, 1, 6);
    person->until_ms = mortal_now_ms() + (opening ? prng_range(&loop->prng, 0, OPENING_MS_MAX)
                                                  : prng_range(&loop->prng, OPENING_MS_MAX, LIFE_MS_MAX));
}

static void end(struct loop *loop, const struct person *person) {
    char who[48];
    (void)snprintf(who, sizeof who, "life %u of person %ld", person->lives, (long)(person - loop->people));
    mortal_end(person->pid, who, &loop->ledger);
    loop->kills++;
}

static void kill_until(struct loop *loop, unsigned kills) {
    unsigned people = loop->writers + loop->readers;
    for (unsigned i = 0; i < people; i++) {
        (void)snprintf(loop->people[i].path, sizeof loop->people[i].path, "%stold%u", loop->folder, i);
        start(loop, i);
    }
    while (loop->kills < kills && loop->ledger.complaint[0] == '\0') {
        struct person *next = &loop->people[0];
        for (unsigned i = 1; i < people; i++)
            if (loop->people[i].until_ms < next->until_ms)
                next = &loop->people[i];
        int64_t left = next->until_ms - mortal_now_ms();
        if (left > 0)
            (void)usleep((useconds_t)left * 1000);
        end(loop, next);
        start(loop, (unsigned)(next - loop->people));
    }
    for (unsigned i = 0; i < people; i++)
        end(loop, &loop->people[i]);
    struct ledger told = {0}; /* what they complain of says more than that they ended */
    for (unsigned i = 0; i < people; i++)
        read_told(&told, loop->people[i].path);
    if (told.complaint[0] == '\0')
        memcpy(told.complaint, loop->ledger.complaint, sizeof told.complaint);
    loop->ledger = told;
    settle_told(&loop->ledger);
}

/* A message goes to the groups that are there. */
static void found_groups(struct loop *loop) {
    struct house house = {0};
    cdtx_error err = {0};
    if (open_house(&house, loop->folder, 0, POST_ALL, &err) != 0)
        ledger_complain(&loop->ledger, "the house does not open: %s", err.text);
    house_close(&house);
}

static void judge_guards(struct loop *loop, struct house *house, const struct house_site *site) {
    struct ledger found = {0};
    cdtx_error err = {0};
    for (int i = 0; i < GUARDS_TIMES; i++) {
        memset(&found, 0, sizeof found);
        sqlite3 *db = post_judge_open(site, &found);
        if (db != NULL)
            post_judge_guards(db, &found);
        (void)sqlite3_close(db);
        if (found.complaint[0] == '\0')
            return;
        (void)ledger_check(&loop->ledger, "cdtx_run", cdtx_run(house->engine, GUARDS_MS, &err), &err);
    }
    ledger_complain(&loop->ledger, "%s", found.complaint);
}

/* Opens the house in this process, brings it to rest, and judges, before and after asking what is still unknown. */
static void close_books(struct loop *loop) {
    struct ledger *ledger = &loop->ledger;
    struct house house = {0};
    cdtx_error err = {0};
    struct house_site site = {.scheme = "sqlite", .folder = loop->folder};
    if (open_house(&house, loop->folder, 0, POST_ALL, &err) != 0) {
        ledger_complain(ledger, "the house does not open: %s", err.text);
        return;
    }
    (void)post_drain(&house, ledger, DRAIN_MS);
    post_judge(&site, ledger);
    (void)post_ask_again(&house, ledger);
    (void)post_letter(&house, ledger, LETTER_SENT, "z-after");
    (void)post_deal(&house, ledger, DEAL_TOLD, "z-after-deal", NULL);
    (void)post_drain(&house, ledger, DRAIN_MS);
    post_judge(&site, ledger);
    judge_guards(loop, &house, &site);
    house_close(&house);
}

static unsigned count_told(const struct ledger *ledger, int32_t happened) {
    unsigned found = 0;
    for (uint32_t i = 0; i < ledger->count; i++)
        found += cdtx_happened(ledger->list[i].code) == happened;
    return found;
}

static int run_loop(struct loop *loop, unsigned kills) {
    loop->prng = prng_new(loop->seed, "kills");
    if (!mortal_folder_new(loop->folder))
        return EXIT_FAILURE;
    found_groups(loop);
    kill_until(loop, kills);
    unsigned yes = count_told(&loop->ledger, 1), no = count_told(&loop->ledger, 0),
             unknown = count_told(&loop->ledger, -1);
    if (loop->ledger.complaint[0] == '\0')
        close_books(loop);
    if (yes < loop->kills)
        ledger_complain(&loop->ledger, "fewer deeds than kills: nothing was tried");
    printf("kills: %u, deeds acknowledged: %u (%u done, %u not), unknown: %u\n", loop->kills, yes + no, yes, no,
           unknown);
    int wrong = loop->ledger.complaint[0] != '\0';
    mortal_folder_end(loop->folder, loop->seed, &loop->ledger);
    ledger_free(&loop->ledger);
    return wrong ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv) {
    static struct loop loop = {.seed = 1, .writers = 2, .readers = 2};
    unsigned kills = KILLS;
    if (argc == 6 && strcmp(argv[1], "--write") == 0)
        return write_for_ever(argv[2], argv[3], argv[4], strtoull(argv[5], NULL, 10));
    if (argc == 6 && strcmp(argv[1], "--read") == 0)
        return read_for_ever(argv[2], argv[4]);
    for (int i = 1; i + 1 < argc; i += 2) {
        unsigned number = (unsigned)strtoul(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--kills") == 0)
            kills = number;
        else if (strcmp(argv[i], "--seed") == 0)
            loop.seed = number;
        else if (strcmp(argv[i], "--writers") == 0)
            loop.writers = number;
        else if (strcmp(argv[i], "--readers") == 0)
            loop.readers = number;
        else
            kills = 0;
    }
    if (kills == 0 || loop.writers == 0 || loop.writers + loop.readers > PEOPLE_MAX || argc % 2 == 0) {
        printf("usage: %s [--kills N] [--seed S] [--writers N] [--readers N]\n", argv[0]);
        return EXIT_FAILURE;
    }
    return run_loop(&loop, kills);
}
