#include "base/sm.h"

#include "tests.h"

/* State 0 is unused, as in our tables; 3 has a gap before it. */
static const struct sm_state states[] = {
    [1] = {.name = "NEW", .to = SM_TO(1) | SM_TO(3) | SM_TO(31)},
    [3] = {.name = "DONE", .final = 1},
    [31] = {.name = "LAST", .to = SM_TO(3)},
};
static const struct sm sm = {.noun = "thing", .states = states, .count = 32};

START_TEST(only_named_states_are_known) {
    for (int64_t state = -2; state < 40; state++)
        ck_assert_int_eq(cdtx__sm_known(&sm, state), state == 1 || state == 3 || state == 31);
    ck_assert(!cdtx__sm_known(&sm, INT64_MIN));
    ck_assert(!cdtx__sm_known(&sm, INT64_MAX));
    ck_assert(!cdtx__sm_known(&sm, (INT64_C(1) << 32) + 1));
}
END_TEST

START_TEST(names) {
    ck_assert_str_eq(cdtx__sm_name(&sm, 1), "NEW");
    ck_assert_str_eq(cdtx__sm_name(&sm, 31), "LAST");
    ck_assert_str_eq(cdtx__sm_name(&sm, 0), "?");
    ck_assert_str_eq(cdtx__sm_name(&sm, 32), "?");
    ck_assert_str_eq(cdtx__sm_name(&sm, -1), "?");
}
END_TEST

START_TEST(moves) {
    for (int64_t from = -1; from < 34; from++)
        for (int64_t to = -1; to < 34; to++) {
            int allowed = (from == 1 && (to == 1 || to == 3 || to == 31)) || (from == 31 && to == 3);
            ck_assert_int_eq(cdtx__sm_allows(&sm, from, to), allowed);
        }
}
END_TEST

START_TEST(final_states) {
    ck_assert(cdtx__sm_final(&sm, 3));
    ck_assert(!cdtx__sm_final(&sm, 1));
    ck_assert(!cdtx__sm_final(&sm, 2));
    ck_assert(!cdtx__sm_final(&sm, 99));
}
END_TEST

RUN_TESTS("sm", only_named_states_are_known, names, moves, final_states)
