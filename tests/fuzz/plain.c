/* A target without libFuzzer: PROGRAM CORPUS [MUTATIONS [SEED]] runs every line of the corpus and that many inputs made
 * from them, the same ones each time. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz.h"
#include "sim/prng.h"

enum { INPUT_MAX = 2048, CORPUS_MAX = 512, LINE_MAX_BYTES = 4 * INPUT_MAX + 2, HANGS_SECONDS = 20, CHANGES_MAX = 6 };

struct input {
    size_t length;
    uint8_t bytes[INPUT_MAX];
};

static struct input corpus[CORPUS_MAX], now;
static size_t corpus_count;

/* ---- telling which input it was ---- */

/* A line for the corpus. Only calls that a signal handler may make. */
static void tell_input(void) {
    static char line[LINE_MAX_BYTES];
    size_t at = 0;
    for (size_t i = 0; i < now.length; i++) {
        uint8_t byte = now.bytes[i];
        if (byte > ' ' && byte < 0x7f && byte != '\\' && byte != '#') {
            line[at++] = (char)byte;
            continue;
        }
        line[at++] = '\\';
        line[at++] = 'x';
        line[at++] = "0123456789abcdef"[byte >> 4];
        line[at++] = "0123456789abcdef"[byte & 15];
    }
    line[at++] = '\n';
    (void)!write(STDERR_FILENO, "the input was:\n", 15);
    (void)!write(STDERR_FILENO, line, at);
}

static void cry(int signal_number) {
    if (signal_number == SIGALRM)
        (void)!write(STDERR_FILENO, "hangs\n", 6);
    tell_input();
    _exit(EXIT_FAILURE);
}

/* A sanitizer ends the process by itself. */
extern void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void watch(void) {
    static const int signals[] = {SIGALRM, SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        (void)signal(signals[i], cry);
    if (__sanitizer_set_death_callback != NULL)
        __sanitizer_set_death_callback(tell_input);
}

static void run_input(const struct input *input) {
    now = *input;
    (void)alarm(HANGS_SECONDS);
    (void)LLVMFuzzerTestOneInput(now.bytes, now.length);
}

/* ---- the corpus ---- */

/* \xHH is a byte, all else itself. Returns 0 for a line that is too long or has another \. */
static int read_line(const char *line, struct input *input) {
    input->length = 0;
    while (*line != '\0' && *line != '\n') {
        char digits[3] = {0};
        if (input->length == INPUT_MAX)
            return 0;
        if (*line != '\\') {
            input->bytes[input->length++] = (uint8_t)*line++;
            continue;
        }
        if (line[1] != 'x' || line[2] == '\0' || line[3] == '\0')
            return 0;
        memcpy(digits, line + 2, 2);
        char *end = NULL;
        input->bytes[input->length++] = (uint8_t)strtoul(digits, &end, 16);
        if (*end != '\0')
            return 0;
        line += 4;
    }
    return 1;
}

static int read_corpus(const char *path) {
    static char line[LINE_MAX_BYTES];
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        (void)fprintf(stderr, "no corpus %s\n", path);
        return 0;
    }
    int good = 1;
    for (int number = 1; good && fgets(line, sizeof line, file) != NULL; number++) {
        if (line[0] == '#')
            continue;
        good = corpus_count < CORPUS_MAX && read_line(line, &corpus[corpus_count++]);
        if (!good)
            (void)fprintf(stderr, "%s:%d: cannot be read\n", path, number);
    }
    (void)fclose(file);
    return good && corpus_count > 0;
}

/* ---- mutations ---- */

static void cut(struct input *input, size_t at, size_t length) {
    memmove(input->bytes + at, input->bytes + at + length, input->length - at - length);
    input->length -= length;
}

static void insert(struct input *input, size_t at, const uint8_t *bytes, size_t length) {
    if (length > INPUT_MAX - input->length)
        length = INPUT_MAX - input->length;
    memmove(input->bytes + at + length, input->bytes + at, input->length - at);
    memmove(input->bytes + at, bytes, length);
    input->length += length;
}

static uint8_t telling_byte(struct prng *prng) {
    static const uint8_t telling[] = {0,    1,    0x7f, 0x80, 0xff, 0xc2, 0xe0, 0xed,
                                      0xf0, 0xf4, '%',  '-',  '?',  '&',  '=',  '0'};
    return prng_chance(prng, 1, 2) ? (uint8_t)prng_next(prng) : telling[prng_below(prng, sizeof telling)];
}

static void change(struct input *input, struct prng *prng) {
    uint8_t some[8];
    const struct input *other = &corpus[prng_below(prng, corpus_count)];
    size_t at = (size_t)prng_below(prng, input->length + 1), left = input->length - at;
    size_t length = (size_t)prng_below(prng, left < 16 ? left + 1 : 16);
    switch (prng_below(prng, 7)) {
    case 0:
        if (left > 0)
            input->bytes[at] ^= (uint8_t)(1U << prng_below(prng, 8));
        break;
    case 1:
        if (left > 0)
            input->bytes[at] = telling_byte(prng);
        break;
    case 2:
        cut(input, at, length);
        break;
    case 3: /* twice */
        memcpy(some, input->bytes + at, length < sizeof some ? length : sizeof some);
        insert(input, at, some, length < sizeof some ? length : sizeof some);
        break;
    case 4:
        for (size_t i = 0; i < sizeof some; i++)
            some[i] = telling_byte(prng);
        insert(input, at, some, (size_t)prng_range(prng, 1, sizeof some));
        break;
    case 5: /* the rest of another one */
        input->length = at;
        length = (size_t)prng_below(prng, other->length + 1);
        insert(input, at, other->bytes + length, other->length - length);
        break;
    default:
        input->length = at;
        break;
    }
}

static void mutate(struct prng *prng) {
    static struct input input;
    input = corpus[prng_below(prng, corpus_count)];
    for (int64_t changes = prng_range(prng, 1, CHANGES_MAX); changes > 0; changes--)
        change(&input, prng);
    run_input(&input);
}

int main(int argc, char **argv) {
    watch();
    if (argc < 2 || !read_corpus(argv[1]))
        return EXIT_FAILURE;
    uint64_t mutations = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
    struct prng prng = prng_new(argc > 3 ? strtoull(argv[3], NULL, 10) : 1, "mutations");
    for (size_t i = 0; i < corpus_count; i++)
        run_input(&corpus[i]);
    int both = fuzz_accepted > 0 && fuzz_refused > 0;
    if (!both)
        printf("the corpus has no input that is %s\n", fuzz_accepted == 0 ? "accepted" : "refused");
    for (uint64_t i = 0; i < mutations; i++)
        mutate(&prng);
    printf("%zu inputs and %llu mutations: %llu accepted, %llu refused\n", corpus_count, (unsigned long long)mutations,
           (unsigned long long)fuzz_accepted, (unsigned long long)fuzz_refused);
    return both ? EXIT_SUCCESS : EXIT_FAILURE;
}
