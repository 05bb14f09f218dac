/* A fortified longjmp takes the jump to another stack for an attack and aborts; switching stacks is what this file is
 * for. */
#undef _FORTIFY_SOURCE

#include "fiber.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#ifdef WITH_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

enum { STACK_DEFAULT = 256 * 1024 };

enum fiber_state { FRESH, SUSPENDED, RUNNING, DONE };

struct stack {
    struct stack *next;
    size_t size; /* without the guard page, which lies below bottom */
    char *bottom;
};

struct fiber {
    fiber_body body;
    void *argument;
    struct stack *stack; /* NULL once done */
    struct fiber *resumer;
    enum fiber_state state;
    jmp_buf inside, outside;
#ifdef WITH_ASAN
    void *fake_inside, *fake_outside; /* ASan's own stacks of locals */
    const void *outside_bottom;
    size_t outside_size;
#endif
};

static struct fiber *current;
static struct stack *kept;

static _Noreturn void broken(const char *what) {
    fprintf(stderr, "fiber: %s\n", what);
    abort();
}

static struct stack *stack_take(size_t size) {
    for (struct stack **at = &kept; *at != NULL; at = &(*at)->next) {
        struct stack *stack = *at;
        if (stack->size != size)
            continue;
        *at = stack->next;
#ifdef WITH_ASAN
        /* An abandoned body left its red zones here. */
        __asan_unpoison_memory_region(stack->bottom, stack->size);
#endif
        return stack;
    }
    size_t guard = (size_t)sysconf(_SC_PAGESIZE);
    struct stack *stack = malloc(sizeof *stack);
    char *map = mmap(NULL, guard + size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stack == NULL || map == MAP_FAILED || mprotect(map, guard, PROT_NONE) != 0)
        broken("no memory for a stack");
    *stack = (struct stack){.size = size, .bottom = map + guard};
    return stack;
}

static void stack_keep(struct stack *stack) {
    stack->next = kept;
    kept = stack;
}

void fiber_trim(void) {
    size_t guard = (size_t)sysconf(_SC_PAGESIZE);
    while (kept != NULL) {
        struct stack *stack = kept;
        kept = stack->next;
        munmap(stack->bottom - guard, guard + stack->size);
        free(stack);
    }
}

struct fiber *fiber_new(fiber_body body, void *argument, size_t stack_size) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    struct fiber *fiber = calloc(1, sizeof *fiber);
    if (fiber == NULL)
        broken("no memory");
    fiber->body = body;
    fiber->argument = argument;
    fiber->stack = stack_take(((stack_size == 0 ? STACK_DEFAULT : stack_size) + page - 1) / page * page);
    return fiber;
}

/* ASan must hear of every switch: leave before it, arrive after it. */
static void leave_outside(struct fiber *fiber) {
#ifdef WITH_ASAN
    __sanitizer_start_switch_fiber(&fiber->fake_outside, fiber->stack->bottom, fiber->stack->size);
#else
    (void)fiber;
#endif
}

static void arrive_inside(struct fiber *fiber) {
#ifdef WITH_ASAN
    __sanitizer_finish_switch_fiber(fiber->fake_inside, &fiber->outside_bottom, &fiber->outside_size);
#else
    (void)fiber;
#endif
}

static void leave_inside(struct fiber *fiber, int for_ever) {
#ifdef WITH_ASAN
    __sanitizer_start_switch_fiber(for_ever ? NULL : &fiber->fake_inside, fiber->outside_bottom, fiber->outside_size);
#else
    (void)fiber;
    (void)for_ever;
#endif
}

static void arrive_outside(struct fiber *fiber) {
#ifdef WITH_ASAN
    __sanitizer_finish_switch_fiber(fiber->fake_outside, NULL, NULL);
#else
    (void)fiber;
#endif
}

static void first_frame(void) {
    struct fiber *fiber = current;
    arrive_inside(fiber);
    fiber->body(fiber->argument);
    fiber->state = DONE;
    leave_inside(fiber, 1);
    _longjmp(fiber->outside, 1);
}

/* The one place that pays for signal masks: a context made by makecontext can only be entered through ucontext. All
 * later switches are jumps. This frame is never returned from, so it must hold nothing that ASan would fence with red
 * zones. */
static _Noreturn void enter(struct fiber *fiber) {
    static ucontext_t context;
    if (getcontext(&context) != 0)
        broken("getcontext failed");
    context.uc_stack.ss_sp = fiber->stack->bottom;
    context.uc_stack.ss_size = fiber->stack->size;
    context.uc_link = NULL;
    makecontext(&context, first_frame, 0);
    setcontext(&context);
    broken("setcontext failed");
}

int fiber_resume(struct fiber *fiber) {
    if (fiber->state == DONE || fiber->state == RUNNING)
        broken(fiber->state == DONE ? "resumed a fiber that is done" : "resumed a running fiber");
    int fresh = fiber->state == FRESH;
    fiber->resumer = current;
    fiber->state = RUNNING;
    current = fiber;
    leave_outside(fiber);
    if (_setjmp(fiber->outside) == 0) {
        if (fresh)
            enter(fiber);
        _longjmp(fiber->inside, 1);
    }
    arrive_outside(fiber);
    current = fiber->resumer;
    if (fiber->state != DONE)
        return 1;
    stack_keep(fiber->stack);
    fiber->stack = NULL;
    return 0;
}

void fiber_yield(void) {
    struct fiber *fiber = current;
    if (fiber == NULL)
        broken("yield outside a fiber");
    fiber->state = SUSPENDED;
    leave_inside(fiber, 0);
    if (_setjmp(fiber->inside) == 0)
        _longjmp(fiber->outside, 1);
    arrive_inside(fiber);
}

struct fiber *fiber_current(void) {
    return current;
}

int fiber_done(const struct fiber *fiber) {
    return fiber->state == DONE;
}

void fiber_abandon(struct fiber *fiber) {
    if (fiber->state == DONE)
        return;
    if (fiber->state == RUNNING)
        broken("abandoned a running fiber");
    fiber->state = DONE;
    stack_keep(fiber->stack);
    fiber->stack = NULL;
}

void fiber_free(struct fiber *fiber) {
    if (fiber == NULL)
        return;
    fiber_abandon(fiber);
    free(fiber);
}
