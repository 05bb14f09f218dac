/* The kill loop: a process takes orders on real files until it is killed at a drawn moment, and another takes over,
 * many times. Whatever any of them said must be true at the end; what one did not live to answer, the next is asked
 * again. Companions are further processes on the same files, killed only at the end.
 *
 * PROGRAM [--kills N] [--seed S] [--companions N] */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "judge.h"
#include "mortal.h"
#include "sim/prng.h"

enum { KILLS = 60, CUSTOMERS = 4, COMPANIONS_MAX = 4, STOCK = 100000000, LINE_ROOM = 1024, DRAIN_MS = 1500 };
enum { PULL_MS = 5, PULLS_MAX = 400 };
/* Some die while they open; all others some time after. */
enum { OPENING_MS_MAX = 30, LIFE_MS_MAX = 450 };

/* ---- in the life that is killed ---- */

struct customer {
    pthread_t thread;
    struct house *house;
    struct prng prng;
    const char *life;
    unsigned number, wishes;
    struct ledger ledger;
    FILE *unanswered; /* keys that an earlier life left open; NULL: none */
};

/* One write is one line: nothing is torn by a kill or by another thread. */
static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...) {
    char line[LINE_ROOM];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (length < 0 || write(STDOUT_FILENO, line, (size_t)length) != length)
        _exit(EXIT_FAILURE);
}

static void order(struct customer *customer, enum order_way way, const char *key, int64_t quantity) {
    say("? %d %s\n", DEED_ORDER, key);
    int32_t code = house_order(customer->house, &customer->ledger, way, &(struct wish){key, quantity});
    say("= %d %s %d\n", DEED_ORDER, key, code);
}

/* Its completion comes to the same customer, who is the only one that pulls. */
static void submit(struct customer *customer) {
    struct ledger *ledger = &customer->ledger;
    uint32_t place = ledger->count;
    char key[LEDGER_KEY_MAX];
    (void)snprintf(key, sizeof key, "%s-%u-%u", customer->life, customer->number, ++customer->wishes);
    say("? %d %s\n", DEED_ORDER, key);
    (void)house_order(customer->house, ledger, ORDER_SUBMITTED, &(struct wish){key, 1});
    for (int i = 0; i < PULLS_MAX && ledger->list[place].code == CDTX_UNKNOWN; i++)
        house_pull(customer->house, ledger, PULL_MS);
    say("= %d %s %d\n", DEED_ORDER, key, ledger->list[place].code);
}

static void local(struct customer *customer, enum deed deed, const char *key) {
    struct house *house = customer->house;
    struct ledger *ledger = &customer->ledger;
    say("? %d %s\n", deed, key);
    int32_t code = deed == DEED_INVOICE  ? house_invoice(house, ledger, key)
                   : deed == DEED_PARCEL ? house_parcel(house, ledger, key)
                                         : house_deliver(house, ledger, key, 5);
    say("= %d %s %d\n", deed, key, code);
}

static void wish(struct customer *customer) {
    char key[LEDGER_KEY_MAX];
    uint64_t dice = prng_below(&customer->prng, 100);
    int sold_out = prng_chance(&customer->prng, 1, 10);
    int64_t quantity = sold_out ? HOUSE_TOO_MANY : prng_range(&customer->prng, 1, 3);
    (void)snprintf(key, sizeof key, "%s-%u-%u%s", customer->life, customer->number, ++customer->wishes,
                   sold_out ? "-sold-out" : "");
    if (dice < 45) {
        order(customer, ORDER_DECLARED, key, quantity);
    } else if (dice < 70) {
        order(customer, ORDER_STEPS, key, quantity);
    } else if (dice < 80) {
        say("? %d %s\n", DEED_ORDER, key);
        house_give_up(customer->house, &customer->ledger, &(struct wish){key, 1});
        say("= %d %s %d\n", DEED_ORDER, key, CDTX_REFUSED);
    } else {
        local(customer, dice < 85 ? DEED_DELIVERY : dice < 93 ? DEED_INVOICE : DEED_PARCEL, key);
    }
}

static void *shop_for_ever(void *argument) {
    struct customer *customer = argument;
    char key[LEDGER_KEY_MAX];
    while (customer->unanswered != NULL && fscanf(customer->unanswered, "%47s", key) == 1)
        order(customer, ORDER_DECLARED, key, strstr(key, "sold-out") != NULL ? HOUSE_TOO_MANY : 1);
    for (;;) {
        if (customer->number == 0)
            submit(customer);
        else
            wish(customer);
        if (customer->ledger.complaint[0] != '\0')
            say("! %s\n", customer->ledger.complaint);
        if (customer->number != 0)
            customer->ledger.count = 0; /* a completion's tag is a place in it */
    }
    return NULL;
}

static int live(const char *folder, const char *life, uint64_t seed, int share) {
    struct customer customers[CUSTOMERS] = {0};
    char path[MORTAL_PATH];
    struct house house;
    cdtx_error err = {0};
    cdtx_env env = mortal_env();
    struct house_site site = {.scheme = "sqlite", .folder = folder, .share = share};
    (void)snprintf(path, sizeof path, "%sunanswered", folder);
    FILE *unanswered = fopen(path, "r");
    int32_t rc = house_open(&house, &site, &(struct house_options){.env = &env, .threads = 2}, &err);
    if (rc != 0) {
        say("! the house does not open: %s\n", err.text);
        return EXIT_FAILURE;
    }
    say("open\n");
    for (unsigned i = 0; i < CUSTOMERS; i++) {
        struct customer *customer = &customers[i];
        customer->house = &house;
        customer->life = life;
        customer->number = i;
        customer->prng = prng_new(seed + i, life);
        customer->unanswered = i == 1 ? unanswered : NULL;
        if (pthread_create(&customer->thread, NULL, shop_for_ever, customer) != 0)
            return EXIT_FAILURE;
    }
    for (;;)
        (void)pause();
}

/* ---- in the parent ---- */

struct loop {
    char folder[MORTAL_PATH]; /* with a slash behind */
    uint64_t seed;
    struct prng prng;
    struct ledger ledger;
    unsigned kills, asked_again, companions;
    pid_t companion[COMPANIONS_MAX];
    int open; /* the life said so */
};

static struct heard *find(struct ledger *ledger, int deed, const char *key) {
    for (uint32_t i = ledger->count; i > 0; i--) /* from the latest */
        if (ledger->list[i - 1].deed == deed && strcmp(ledger->list[i - 1].key, key) == 0)
            return &ledger->list[i - 1];
    return NULL;
}

static void hear(struct loop *loop, const char *line) {
    struct ledger *ledger = &loop->ledger;
    char key[LEDGER_KEY_MAX];
    unsigned deed;
    int code;
    if (strcmp(line, "open") == 0) {
        loop->open = 1;
    } else if (sscanf(line, "? %u %47s", &deed, key) == 2 && deed < DEEDS) {
        if (find(ledger, (int)deed, key) == NULL)
            ledger_hear(ledger, (int)deed, key, CDTX_UNKNOWN);
        else
            loop->asked_again++;
    } else if (sscanf(line, "= %u %47s %d", &deed, key, &code) == 3 && deed < DEEDS) {
        struct heard *heard = find(ledger, (int)deed, key);
        if (heard == NULL)
            ledger_complain(ledger, "%s was answered and never asked", key);
        else
            heard->code = code;
    } else {
        ledger_complain(ledger, "life %u said: %s", loop->kills + 1, line);
    }
}

/* Takes whole lines from the front of the buffer; returns what is left. */
static size_t hear_lines(struct loop *loop, char *buffer, size_t length) {
    char *from = buffer, *end;
    while ((end = memchr(from, '\n', length)) != NULL) {
        *end = '\0';
        hear(loop, from);
        length -= (size_t)(end + 1 - from);
        from = end + 1;
    }
    memmove(buffer, from, length);
    return length;
}

/* Listens until the drawn moment: some time after the start, or after the house was opened. 0: it ended by itself. */
static int listen_and_kill(struct loop *loop, pid_t pid, int from) {
    static char buffer[1 << 16];
    size_t length = 0;
    int opening = prng_chance(&loop->prng, 1, 6), killed = 0;
    int64_t until = opening ? mortal_now_ms() + prng_range(&loop->prng, 0, OPENING_MS_MAX) : INT64_MAX;
    for (;;) {
        if (until == INT64_MAX && loop->open)
            until = mortal_now_ms() + prng_range(&loop->prng, 1, LIFE_MS_MAX);
        int64_t left = until == INT64_MAX ? 10000 : until - mortal_now_ms();
        if (!killed && left <= 0)
            killed = kill(pid, SIGKILL) == 0;
        struct pollfd ready = {.fd = from, .events = POLLIN};
        int heard = poll(&ready, 1, killed || left > 10000 ? 10000 : (int)(left > 0 ? left : 0));
        if (heard == 0 && (killed || until == INT64_MAX)) {
            ledger_complain(&loop->ledger, "life %u says nothing any more", loop->kills + 1);
            killed = kill(pid, SIGKILL) == 0;
        }
        if (heard <= 0)
            continue;
        ssize_t got = read(from, buffer + length, sizeof buffer - length);
        if (got <= 0)
            return killed;
        length = hear_lines(loop, buffer, length + (size_t)got);
    }
}

static void write_unanswered(const struct loop *loop) {
    char path[MORTAL_PATH + 32];
    (void)snprintf(path, sizeof path, "%sunanswered", loop->folder);
    FILE *file = fopen(path, "w");
    if (file == NULL)
        abort();
    for (uint32_t i = 0; i < loop->ledger.count; i++) {
        const struct heard *heard = &loop->ledger.list[i];
        if (heard->deed == DEED_ORDER && heard->code == CDTX_UNKNOWN)
            (void)fprintf(file, "%s\n", heard->key);
    }
    if (fclose(file) != 0)
        abort();
}

static pid_t start_life(struct loop *loop, char *life, int to) {
    char seed[24], share[2] = {loop->companions > 0 ? '1' : '0', '\0'};
    (void)snprintf(seed, sizeof seed, "%llu", (unsigned long long)loop->seed);
    char *argv[] = {(char[]){"fault-kill"}, (char[]){"--life"}, loop->folder, life, seed, share, NULL};
    pid_t pid = mortal_start(argv, to);
    (void)close(to);
    return pid;
}

static void one_life(struct loop *loop) {
    char life[16];
    int ends[2], status = 0;
    (void)snprintf(life, sizeof life, "%u", loop->kills + 1);
    write_unanswered(loop);
    loop->open = 0;
    if (pipe2(ends, O_CLOEXEC) != 0)
        abort();
    pid_t pid = start_life(loop, life, ends[1]);
    int killed = listen_and_kill(loop, pid, ends[0]);
    (void)close(ends[0]);
    (void)waitpid(pid, &status, 0);
    if (!killed || !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        ledger_complain(&loop->ledger, "life %s ended by itself, with status %d", life, status);
    else
        loop->kills++;
}

static void companion_path(const struct loop *loop, unsigned number, char path[MORTAL_PATH + 32]) {
    (void)snprintf(path, MORTAL_PATH + 32, "%scompanion%u", loop->folder, number);
}

static void start_companions(struct loop *loop) {
    char path[MORTAL_PATH + 32], life[16];
    for (unsigned i = 0; i < loop->companions; i++) {
        companion_path(loop, i, path);
        (void)snprintf(life, sizeof life, "c%u", i);
        int to = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (to < 0)
            abort();
        loop->companion[i] = start_life(loop, life, to);
    }
}

/* What they said is read from their files. */
static void end_companions(struct loop *loop) {
    char path[MORTAL_PATH + 32], line[LINE_ROOM];
    for (unsigned i = 0; i < loop->companions; i++) {
        char who[24];
        (void)snprintf(who, sizeof who, "companion %u", i);
        mortal_end(loop->companion[i], who, &loop->ledger);
        companion_path(loop, i, path);
        FILE *file = fopen(path, "r");
        while (file != NULL && fgets(line, sizeof line, file) != NULL) {
            char *end = strchr(line, '\n');
            if (end == NULL)
                break; /* it did not live to finish it */
            *end = '\0';
            hear(loop, line);
        }
        if (file == NULL || fclose(file) != 0)
            abort();
        (void)unlink(path);
    }
}

/* Opens the house in this process, brings it to rest, and judges, before and after asking what is still unknown. */
static void close_books(struct loop *loop, int first) {
    struct ledger *ledger = &loop->ledger;
    struct house house;
    cdtx_error err = {0};
    cdtx_env env = mortal_env();
    struct house_site site = {.scheme = "sqlite", .folder = loop->folder};
    if (house_open(&house, &site, &(struct house_options){.env = &env}, &err) != 0) {
        ledger_complain(ledger, "the house does not open: %s", err.text);
        return;
    }
    if (first)
        (void)house_deliver(&house, ledger, HOUSE_SKU, STOCK);
    (void)house_drain(&house, ledger, first ? 0 : DRAIN_MS);
    judge(&site, ledger);
    loop->asked_again += house_ask_again(&house, ledger);
    (void)house_drain(&house, ledger, 0);
    judge(&site, ledger);
    house_close(&house);
}

static unsigned count_orders(const struct ledger *ledger, int32_t happened) {
    unsigned found = 0;
    for (uint32_t i = 0; i < ledger->count; i++)
        found += ledger->list[i].deed == DEED_ORDER && cdtx_happened(ledger->list[i].code) == happened;
    return found;
}

static int run_loop(unsigned kills, uint64_t seed, unsigned companions) {
    struct loop loop = {.seed = seed, .prng = prng_new(seed, "kills"), .companions = companions};
    if (!mortal_folder_new(loop.folder))
        return EXIT_FAILURE;
    close_books(&loop, 1);
    start_companions(&loop);
    while (loop.kills < kills && loop.ledger.complaint[0] == '\0')
        one_life(&loop);
    end_companions(&loop);
    if (loop.ledger.complaint[0] == '\0')
        close_books(&loop, 0);
    unsigned yes = count_orders(&loop.ledger, 1), no = count_orders(&loop.ledger, 0);
    if (yes + no < loop.kills)
        ledger_complain(&loop.ledger, "fewer orders than kills: nothing was tried");
    printf("kills: %u, orders acknowledged: %u (%u confirmed, %u not), asked again: %u\n", loop.kills, yes + no, yes,
           no, loop.asked_again);
    int wrong = loop.ledger.complaint[0] != '\0';
    mortal_folder_end(loop.folder, seed, &loop.ledger);
    ledger_free(&loop.ledger);
    return wrong ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv) {
    unsigned kills = KILLS, companions = 0;
    uint64_t seed = 1;
    if (argc == 6 && strcmp(argv[1], "--life") == 0)
        return live(argv[2], argv[3], strtoull(argv[4], NULL, 10), argv[5][0] == '1');
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--kills") == 0)
            kills = (unsigned)strtoul(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--seed") == 0)
            seed = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--companions") == 0)
            companions = (unsigned)strtoul(argv[i + 1], NULL, 10);
        else
            kills = 0;
    }
    if (kills == 0 || companions > COMPANIONS_MAX || argc % 2 == 0) {
        printf("usage: %s [--kills N] [--seed S] [--companions N]\n", argv[0]);
        return EXIT_FAILURE;
    }
    return run_loop(kills, seed, companions);
}
