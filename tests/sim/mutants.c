#include "mutants.h"

/* Numbers are rows of the list of known bugs; the others are traps and the cells of the guard table. */
const struct mutant mutants[] = {
    {"bug-1", "the decision is written without compare-and-set", "C1 C4 C5 C6 C7"},
    {"bug-11", "settle and take ignore the epoch", "C6 C7"},
    {"bug-13", "a cancel without a guard is an error", "L1 T3"},
    {"bug-15", "the sequence is restored from the rows left", "C8"},
    {"bug-19", "a try after its cancel is answered as success", "T3"},
    {"answer-before-sync", "riders are answered before the commit", "C1 C2 C3 C4 C5 T1 T3 T4 T5 T7 T8"},
    {"sync-failure-is-no", "a failed sync counts as a definite no", "C1 C2 C3 C5 C9 T1 T2 T3 T4 T7 T8"},
    {"call-before-decision", "confirms are sent before the decision is durable", "C3"},
    {"late-register", "a branch is registered after the decision, at any epoch", "C4 C6"},
    {"end-unacked", "the end is recorded before all branches have answered", "T4"},
    {"timeout-moves-decided", "a time-out rolls back what is decided", "C1 C7"},
    {"guard-absent-try", "", "T1 T5 T8 C5 L1"},
    {"guard-tried-try", "", "T1 T5 T8 C5"},
    {"guard-rejected-try", "", "T1 T5 T8 C5"},
    {"guard-confirmed-try", "", "T1 T5 T8 C5"},
    {"guard-cancelled-try", "", "T1 T3 T5"},
    {"guard-empty-try", "", "T1 T3 T5"},
    {"guard-absent-confirm", "", "T2 T5 T7"},
    {"guard-tried-confirm", "", "T1 T4 T5 L1"},
    {"guard-rejected-confirm", "", "T2 T5 T8"},
    {"guard-confirmed-confirm", "", "T1 T4 T5 L1"},
    {"guard-cancelled-confirm", "", "T1 T2 T3 T5"},
    {"guard-empty-confirm", "", "T1 T2 T3 T5"},
    {"guard-absent-cancel", "", "T1 T2 T3 T4 T5 L1"},
    {"guard-tried-cancel", "", "T1 T4 T5 L1"},
    {"guard-rejected-cancel", "", "T1 T2 T4 T5 T8 L1"},
    {"guard-confirmed-cancel", "", "T1 T4 T5"},
    {"guard-cancelled-cancel", "", "T1 T4 T5 L1"},
    {"guard-empty-cancel", "", "T1 T2 T3 T4 T5 L1"},
};

const size_t mutant_count = sizeof mutants / sizeof mutants[0];
