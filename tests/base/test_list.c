#include "base/list.h"

#include "tests.h"

struct thing {
    int number;
    struct list link;
};

static struct list head;
static struct thing things[5];

static void fill(void) {
    list_init(&head);
    for (int i = 0; i < 5; i++) {
        things[i] = (struct thing){.number = i};
        list_push(&head, &things[i].link);
    }
}

/* The numbers in the list as decimal digits, forwards; -1 if backwards disagrees. */
static int digits(void) {
    int forwards = 0, backwards = 0, place = 1;
    for (struct list *at = head.next; at != &head; at = at->next)
        forwards = forwards * 10 + LIST_OF(at, struct thing, link)->number;
    for (struct list *at = head.prev; at != &head; at = at->prev, place *= 10)
        backwards += place * LIST_OF(at, struct thing, link)->number;
    return forwards == backwards ? forwards : -1;
}

START_TEST(pushed_at_the_end_popped_at_the_front) {
    fill();
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(LIST_OF(list_pop(&head), struct thing, link)->number, i);
    ck_assert(list_empty(&head));
    ck_assert_ptr_null(list_pop(&head));
}
END_TEST

START_TEST(pushed_at_the_front) {
    list_init(&head);
    for (int i = 0; i < 5; i++) {
        things[i] = (struct thing){.number = i};
        list_push_front(&head, &things[i].link);
    }
    ck_assert_int_eq(digits(), 43210);
}
END_TEST

START_TEST(removed_anywhere) {
    fill();
    list_remove(&things[2].link);
    ck_assert_int_eq(digits(), 134);
    list_remove(&things[4].link);
    ck_assert_int_eq(digits(), 13);
    list_remove(&things[0].link);
    list_remove(&things[1].link);
    ck_assert_int_eq(digits(), 3);
    list_remove(&things[3].link);
    ck_assert(list_empty(&head));
}
END_TEST

START_TEST(a_link_knows_whether_it_is_in_a_list) {
    struct thing lone = {0};
    ck_assert(!list_linked(&lone.link));
    fill();
    list_push(&head, &lone.link);
    ck_assert(list_linked(&lone.link));
    list_remove(&lone.link);
    ck_assert(!list_linked(&lone.link));
    struct list *first = list_pop(&head);
    ck_assert(!list_linked(first));
}
END_TEST

RUN_TESTS("list", pushed_at_the_end_popped_at_the_front, pushed_at_the_front, removed_anywhere,
          a_link_knows_whether_it_is_in_a_list)
