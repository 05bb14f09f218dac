#include <check.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fiber.h"
#include "prng.h"

struct counting {
    struct fiber *self;
    int steps, done;
    int order[16];
    int *log, *logged, id;
};

static void count_up(void *argument) {
    struct counting *counting = argument;
    ck_assert_ptr_eq(fiber_current(), counting->self);
    for (int i = 0; i < counting->steps; i++) {
        counting->done++;
        if (counting->log != NULL)
            counting->log[(*counting->logged)++] = counting->id;
        fiber_yield();
    }
}

START_TEST(yields_and_ends) {
    struct counting counting = {.steps = 3};
    struct fiber *fiber = counting.self = fiber_new(count_up, &counting, 0);
    ck_assert_int_eq(counting.done, 0);
    for (int i = 1; i <= 3; i++) {
        ck_assert_int_eq(fiber_resume(fiber), 1);
        ck_assert_int_eq(counting.done, i);
        ck_assert_ptr_null(fiber_current());
        ck_assert_int_eq(fiber_done(fiber), 0);
    }
    ck_assert_int_eq(fiber_resume(fiber), 0);
    ck_assert_int_eq(fiber_done(fiber), 1);
    fiber_free(fiber);
    fiber_free(NULL);
}
END_TEST

START_TEST(interleaves) {
    int log[32], logged = 0;
    struct counting a = {.steps = 5, .log = log, .logged = &logged, .id = 1};
    struct counting b = {.steps = 2, .log = log, .logged = &logged, .id = 2};
    a.self = fiber_new(count_up, &a, 64 * 1024);
    b.self = fiber_new(count_up, &b, 64 * 1024);
    while (!fiber_done(a.self) || !fiber_done(b.self)) {
        if (!fiber_done(a.self))
            fiber_resume(a.self);
        if (!fiber_done(b.self))
            fiber_resume(b.self);
    }
    static const int expected[] = {1, 2, 1, 2, 1, 1, 1};
    ck_assert_int_eq(logged, 7);
    ck_assert_mem_eq(log, expected, sizeof expected);
    fiber_free(a.self);
    fiber_free(b.self);
}
END_TEST

/* Deep frames with values in registers and on the stack must come back as they were. */
static uint64_t dig(unsigned depth, uint64_t value, double real) {
    volatile char pad[200];
    pad[depth % 200] = (char)depth;
    if (depth == 0) {
        fiber_yield();
        return value + (uint64_t)real;
    }
    uint64_t below = dig(depth - 1, value * 31 + depth, real + 0.5);
    fiber_yield();
    ck_assert_int_eq(pad[depth % 200], (char)depth);
    return below ^ (value + depth);
}

struct digging {
    uint64_t seed, result;
};

static void dig_body(void *argument) {
    struct digging *digging = argument;
    digging->result = dig(60, digging->seed, 1.0);
}

static uint64_t dig_alone(unsigned depth, uint64_t value, double real) {
    if (depth == 0)
        return value + (uint64_t)real;
    return dig_alone(depth - 1, value * 31 + depth, real + 0.5) ^ (value + depth);
}

START_TEST(keeps_frames) {
    enum { FIBERS = 40 };
    struct digging work[FIBERS];
    struct fiber *fibers[FIBERS];
    struct prng prng = prng_new(1, "test");
    for (int i = 0; i < FIBERS; i++) {
        work[i] = (struct digging){.seed = prng_next(&prng)};
        fibers[i] = fiber_new(dig_body, &work[i], 0);
    }
    for (int left = FIBERS; left > 0;) {
        struct fiber *fiber = fibers[prng_below(&prng, FIBERS)];
        if (!fiber_done(fiber) && !fiber_resume(fiber))
            left--;
    }
    for (int i = 0; i < FIBERS; i++) {
        ck_assert_uint_eq(work[i].result, dig_alone(60, work[i].seed, 1.0));
        fiber_free(fibers[i]);
    }
}
END_TEST

static void nest(void *argument) {
    int *deepest = argument;
    int depth = ++*deepest;
    if (depth < 8) {
        struct fiber *self = fiber_current();
        struct fiber *inner = fiber_new(nest, deepest, 0);
        ck_assert_int_eq(fiber_resume(inner), 1);
        ck_assert_ptr_eq(fiber_current(), self);
        fiber_yield();
        ck_assert_int_eq(fiber_resume(inner), 0);
        fiber_free(inner);
    } else {
        fiber_yield();
    }
    --*deepest;
}

START_TEST(nests) {
    int deepest = 0;
    struct fiber *fiber = fiber_new(nest, &deepest, 0);
    ck_assert_int_eq(fiber_resume(fiber), 1);
    ck_assert_int_eq(deepest, 8);
    ck_assert_int_eq(fiber_resume(fiber), 0);
    ck_assert_int_eq(deepest, 0);
    fiber_free(fiber);
}
END_TEST

/* Stacks of abandoned fibers are used again, whatever was on them. */
START_TEST(abandons) {
    struct digging digging = {.seed = 7};
    for (int i = 0; i < 2000; i++) {
        struct fiber *fiber = fiber_new(dig_body, &digging, 0);
        for (int steps = i % 70; steps > 0; steps--)
            if (!fiber_resume(fiber))
                break;
        int ended = fiber_done(fiber);
        fiber_abandon(fiber);
        fiber_abandon(fiber);
        ck_assert_int_eq(fiber_done(fiber), 1);
        ck_assert_int_eq(ended, i % 70 > 61);
        fiber_free(fiber);
    }
}
END_TEST

static void resume_self(void *argument) {
    (void)argument;
    fiber_resume(fiber_current());
}

static void abandon_self(void *argument) {
    (void)argument;
    fiber_abandon(fiber_current());
}

static void run_once(fiber_body body) {
    struct fiber *fiber = fiber_new(body, NULL, 0);
    fiber_resume(fiber);
    fiber_free(fiber);
}

static void nothing(void *argument) {
    (void)argument;
}

static void resume_done(void) {
    struct fiber *fiber = fiber_new(nothing, NULL, 0);
    fiber_resume(fiber);
    fiber_resume(fiber);
}

static int overrun(volatile char *above, int depth) {
    volatile char page[4096];
    page[0] = above == NULL ? 1 : above[0];
    return depth == 0 ? page[0] : overrun(page, depth - 1) + page[0];
}

static void overrun_stack(void *argument) {
    *(int *)argument = overrun(NULL, 40);
}

/* The signal that ended a child which did what must not be done. */
static int signal_of(int wrong) {
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        if (freopen("/dev/null", "w", stderr) == NULL)
            _exit(1);
        int sink = 0;
        if (wrong == 0)
            fiber_yield();
        else if (wrong == 1)
            run_once(resume_self);
        else if (wrong == 2)
            run_once(abandon_self);
        else if (wrong == 3)
            resume_done();
        else
            fiber_resume(fiber_new(overrun_stack, &sink, 64 * 1024));
        _exit(0);
    }
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

START_TEST(stops_misuse) {
    for (int wrong = 0; wrong < 4; wrong++)
        ck_assert_int_eq(signal_of(wrong), SIGABRT);
    int overran = signal_of(4);
    /* ASan turns the SIGSEGV of the guard page into an exit of its own. */
    ck_assert(overran == SIGSEGV || overran == SIGBUS || overran < 0);
}
END_TEST

START_TEST(prng_is_the_published_one) {
    /* The well-known test vector of splitmix64: the first outputs from state 1234567. */
    static const uint64_t expected[] = {UINT64_C(6457827717110365317), UINT64_C(3203168211198807973),
                                        UINT64_C(9817491932198370423), UINT64_C(4593380528125082431),
                                        UINT64_C(16408922859458223821)};
    uint64_t state = 1234567;
    for (int i = 0; i < 5; i++)
        ck_assert_uint_eq(prng_splitmix(&state), expected[i]);
    /* xoshiro256** from state 1, 2, 3, 4. */
    static const uint64_t stars[] = {UINT64_C(11520), UINT64_C(0), UINT64_C(1509978240), UINT64_C(1215971899390074240)};
    struct prng prng = {.s = {1, 2, 3, 4}};
    for (int i = 0; i < 4; i++)
        ck_assert_uint_eq(prng_next(&prng), stars[i]);
}
END_TEST

START_TEST(prng_streams) {
    struct prng a = prng_new(5, "disk"), again = prng_new(5, "disk");
    struct prng other = prng_new(5, "net"), seed = prng_new(6, "disk");
    int same_other = 0, same_seed = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t value = prng_next(&a);
        ck_assert_uint_eq(value, prng_next(&again));
        same_other += value == prng_next(&other);
        same_seed += value == prng_next(&seed);
    }
    ck_assert_int_eq(same_other, 0);
    ck_assert_int_eq(same_seed, 0);
    int seen[6] = {0};
    for (int i = 0; i < 6000; i++)
        seen[prng_range(&a, -2, 3) + 2]++;
    for (int i = 0; i < 6; i++)
        ck_assert(seen[i] > 800 && seen[i] < 1200);
    ck_assert_uint_eq(prng_below(&a, 0), 0);
    ck_assert_uint_eq(prng_below(&a, 1), 0);
    uint8_t few[11] = {0}, more[11] = {0};
    struct prng b = prng_new(5, "bytes"), c = prng_new(5, "bytes");
    prng_bytes(&b, few, 3);
    prng_bytes(&c, more, sizeof more);
    ck_assert_mem_eq(few, more, 3);
    ck_assert_uint_eq(few[3], 0);
}
END_TEST

static void trim(void) {
    fiber_trim();
}

int main(void) {
    Suite *suite = suite_create("fiber");
    TCase *fibers = tcase_create("fiber");
    tcase_add_checked_fixture(fibers, NULL, trim);
    tcase_add_test(fibers, yields_and_ends);
    tcase_add_test(fibers, interleaves);
    tcase_add_test(fibers, keeps_frames);
    tcase_add_test(fibers, nests);
    tcase_add_test(fibers, abandons);
    tcase_add_test(fibers, stops_misuse);
    suite_add_tcase(suite, fibers);
    TCase *prng = tcase_create("prng");
    tcase_add_test(prng, prng_is_the_published_one);
    tcase_add_test(prng, prng_streams);
    suite_add_tcase(suite, prng);
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
