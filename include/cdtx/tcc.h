/* TCC: a branch is tried first, and confirmed or cancelled after the global decision.
 * Every handler runs inside a local transaction of the participant's database together with its guard row (gid,
 * branch), so empty cancels, tries that come after their cancel, and repeats are settled before the handler is asked.
 * The table of what a guard answers is in cdtx-tcc(7). Rules for all functions: cdtx/cdtx.h. */
#ifndef CDTX_TCC_H
#define CDTX_TCC_H

#include <cdtx/cdtx.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* cdtx declarations begin */

typedef struct cdtx_tcc_call cdtx_tcc_call;

/* Runs under the rules of cdtx_local_fn. on_try: 0 reserves; CDTX_REFUSED is a definite no that is remembered with
 * err's text, and whatever the handler wrote is undone; another code is no answer, and the try is repeated until the
 * deadline. on_confirm, on_cancel and on_reverse: 0 done; any other code undoes what they wrote and they are called
 * again later. CDTX_REFUSED from on_confirm is a definite no, which counts for the policy reverse_after. */
typedef int32_t (*cdtx_tcc_fn)(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err);

typedef struct cdtx_tcc_handlers {
    uint32_t size;
    uint32_t reserved;
    cdtx_tcc_fn on_try;
    cdtx_tcc_fn on_confirm;
    cdtx_tcc_fn on_cancel;
    cdtx_tcc_fn on_reverse; /* undoes a confirm; only for transactions with reverse_after; may be NULL */
    void *user;
    void (*drop)(void *user); /* called once when the engine no longer needs user; may be NULL */
} cdtx_tcc_handlers;

/* Registers a participant whose effects are in db. on_try, on_confirm and on_cancel are required. Errors: CONFLICT
 * (name taken in this engine), INVALID, NO_MEMORY. */
int32_t cdtx_tcc_add(cdtx_db *db, const char *participant, const cdtx_tcc_handlers *handlers, cdtx_error *err);

/* What a handler can ask; pointers are borrowed for the handler's run. */
const char *cdtx_tcc_gid(const cdtx_tcc_call *call);
uint32_t cdtx_tcc_branch(const cdtx_tcc_call *call);
const void *cdtx_tcc_payload(const cdtx_tcc_call *call, size_t *length);
/* In on_confirm and on_cancel: what this branch's on_try answered. */
const void *cdtx_tcc_try_result(const cdtx_tcc_call *call, size_t *length);
/* In on_try: the answer that the caller gets with success; copied; the last one counts. Errors: LIMIT (payload_max),
 * MISUSE (not in on_try), NO_MEMORY. */
int32_t cdtx_tcc_answer(cdtx_tcc_call *call, const void *result, size_t length, cdtx_error *err);

/* cdtx declarations end */

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
