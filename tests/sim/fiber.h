/* Cooperative fibers in one OS thread: a body with a stack of its own that runs until it yields or returns. Whoever
 * calls fiber_resume is the scheduler; no policy lives here. Resuming may nest: a fiber may resume another one, and
 * yield goes back to the one that resumed. Out of memory aborts. Works plain, under gcc and clang, and under ASan.
 *
 * An abandoned fiber never runs again: nothing on its stack is unwound, so what its body owned must be freed by
 * somebody else (the simulator frees a life's arena). Never yield with SQLite on the stack. */
#ifndef SIM_FIBER_H
#define SIM_FIBER_H

#include <stddef.h>

struct fiber;
typedef void (*fiber_body)(void *argument);

/* A fiber that has not run yet. stack_size is rounded up to pages, 0 means 256 KiB; a guard page lies below it, so
 * running over ends in SIGSEGV. Stacks of ended fibers are kept for the next fiber of the same size. */
struct fiber *fiber_new(fiber_body body, void *argument, size_t stack_size);
/* Runs it until it yields (returns 1) or its body returns (returns 0). Aborts on a fiber that is done, running, or an
 * ancestor of the caller. */
int fiber_resume(struct fiber *fiber);
/* Back to the one that resumed the current fiber; returns at the next resume. Aborts outside fibers. */
void fiber_yield(void);
/* The running fiber; NULL outside fibers. */
struct fiber *fiber_current(void);
/* 1 once its body has returned or it was abandoned. */
int fiber_done(const struct fiber *fiber);
/* Drops its stack; the fiber is done. Nothing happens to one that is done already. Aborts on the current one and its
 * ancestors: a fiber that must die yields, and its scheduler abandons it. */
void fiber_abandon(struct fiber *fiber);
/* Abandons it when not done, and frees it. NULL is allowed. */
void fiber_free(struct fiber *fiber);
/* Gives kept stacks back to the system. */
void fiber_trim(void);

#endif
