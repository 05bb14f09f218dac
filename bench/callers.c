#include "bench.h"

static void *call(void *argument) {
    struct caller *caller = argument;
    const struct callers *all = caller->all;
    int64_t number;
    while ((number = run_next(all->run)) != 0) {
        cdtx_error err = {0};
        int64_t from = now_us();
        int32_t rc = all->call(all->place, caller->index, number, &err);
        caller->ended_us = now_us();
        if (rc != 0)
            complain("number %lld: %s: %s", (long long)number, cdtx_code_name(rc), err.text);
        if (rc != 0 || !samples_add(&caller->latency, caller->ended_us - from))
            break;
        caller->done++;
    }
    __atomic_sub_fetch(&caller->all->living, 1, __ATOMIC_RELEASE);
    return NULL;
}

void callers_start(struct callers *callers, int count) {
    run_start(callers->run);
    for (int i = 0; i < count; i++) {
        struct caller *caller = &callers->each[i];
        *caller = (struct caller){.all = callers, .index = i};
        __atomic_add_fetch(&callers->living, 1, __ATOMIC_RELAXED);
        if (pthread_create(&caller->thread, NULL, call, caller) != 0) {
            __atomic_sub_fetch(&callers->living, 1, __ATOMIC_RELAXED);
            complain("no thread for caller %d", i + 1);
            break;
        }
        callers->started++;
    }
}

int callers_living(const struct callers *callers) {
    return __atomic_load_n(&callers->living, __ATOMIC_ACQUIRE);
}

static void collect(struct run *run, struct caller *caller) {
    run->done += caller->done;
    if (run->ended_us < caller->ended_us)
        run->ended_us = caller->ended_us;
    for (size_t i = 0; i < caller->latency.count; i++)
        samples_add(&run->latency, caller->latency.us[i]);
    samples_free(&caller->latency);
}

void callers_join(struct callers *callers) {
    for (int i = 0; i < callers->started; i++) {
        pthread_join(callers->each[i].thread, NULL);
        collect(callers->run, &callers->each[i]);
    }
}
