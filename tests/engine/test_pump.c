/* Who is woken by a post. A thread that helps sleeps in the pump meanwhile; whether it does is asked of the kernel. */
#include <pthread.h>
#include <sys/syscall.h>

#include "engine/pump.h"
#include "lab.h"

static struct pump pump;
static uint32_t ran;    /* atomic: tasks */
static uint64_t runner; /* of the last */
static int32_t tid;     /* atomic: of the helper */

static void note(struct task *task) {
    (void)task;
    __atomic_store_n(&runner, pump.env->self(pump.env->user), __ATOMIC_RELEASE);
    __atomic_add_fetch(&ran, 1, __ATOMIC_ACQ_REL);
}

static void *help(void *argument) {
    (void)argument;
    __atomic_store_n(&tid, (int32_t)syscall(SYS_gettid), __ATOMIC_RELEASE);
    cdtx__pump_until(&pump, NULL, INT64_MAX, PUMP_TASKS | PUMP_STOPS);
    return NULL;
}

static void *post(void *argument) {
    cdtx__pump_post(&pump, argument);
    return NULL;
}

static int asleep(void) {
    char path[64], line[256] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", __atomic_load_n(&tid, __ATOMIC_ACQUIRE));
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return 0;
    ck_assert_ptr_nonnull(fgets(line, sizeof line, file));
    fclose(file);
    const char *state = strrchr(line, ')');
    return state != NULL && state[1] == ' ' && state[2] == 'S';
}

static void start_helper(pthread_t *helper) {
    tid = 0;
    ran = 0;
    cdtx__pump_init(&pump, cdtx__env_posix());
    ck_assert_int_eq(pthread_create(helper, NULL, help, NULL), 0);
    while (__atomic_load_n(&tid, __ATOMIC_ACQUIRE) == 0 || !asleep())
        usleep(1000);
}

static void await_runs(uint32_t wanted) {
    while (__atomic_load_n(&ran, __ATOMIC_ACQUIRE) < wanted)
        usleep(1000);
}

static void stop_helper(pthread_t helper) {
    cdtx__pump_stop(&pump);
    pthread_join(helper, NULL);
}

START_TEST(held_posts_wake_at_the_end) {
    pthread_t helper;
    struct task first = {.run = note}, second = {.run = note};
    start_helper(&helper);
    cdtx__pump_hold(&pump);
    cdtx__pump_post(&pump, &first);
    cdtx__pump_post(&pump, &second);
    usleep(50000);
    ck_assert_uint_eq(__atomic_load_n(&ran, __ATOMIC_ACQUIRE), 0);
    ck_assert(asleep());
    cdtx__pump_let_go(&pump);
    await_runs(2);
    ck_assert_uint_ne(runner, pump.env->self(pump.env->user));
    stop_helper(helper);
}
END_TEST

START_TEST(posts_of_others_wake_at_once) {
    pthread_t helper, other;
    struct task task = {.run = note};
    start_helper(&helper);
    cdtx__pump_hold(&pump);
    ck_assert_int_eq(pthread_create(&other, NULL, post, &task), 0);
    await_runs(1);
    pthread_join(other, NULL);
    cdtx__pump_let_go(&pump);
    stop_helper(helper);
}
END_TEST

START_TEST(without_hold_each_post_wakes) {
    pthread_t helper;
    struct task first = {.run = note}, second = {.run = note};
    start_helper(&helper);
    cdtx__pump_post(&pump, &first);
    await_runs(1);
    cdtx__pump_hold(&pump);
    cdtx__pump_let_go(&pump);
    cdtx__pump_post(&pump, &second);
    await_runs(2);
    stop_helper(helper);
}
END_TEST

static void tests(TCase *tcase) {
    tcase_add_test(tcase, held_posts_wake_at_the_end);
    tcase_add_test(tcase, posts_of_others_wake_at_once);
    tcase_add_test(tcase, without_hold_each_post_wakes);
}

int main(void) {
    return lab_main("pump", tests);
}
