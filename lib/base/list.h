/* A circular doubly linked list with its links inside the elements. A zeroed link is in no list; a list head must be
 * initialised. Not locked. */
#ifndef CDTX_BASE_LIST_H
#define CDTX_BASE_LIST_H

#include <stddef.h>

struct list {
    struct list *next, *prev;
};

#define LIST_OF(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

static inline void list_init(struct list *head) {
    head->next = head->prev = head;
}

static inline int list_empty(const struct list *head) {
    return head->next == head;
}

static inline int list_linked(const struct list *link) {
    return link->next != NULL;
}

static inline void list_push(struct list *head, struct list *link) {
    link->prev = head->prev;
    link->next = head;
    head->prev->next = link;
    head->prev = link;
}

static inline void list_push_front(struct list *head, struct list *link) {
    list_push(head->next, link);
}

static inline void list_remove(struct list *link) {
    link->prev->next = link->next;
    link->next->prev = link->prev;
    link->next = link->prev = NULL;
}

/* The first element's link, removed; NULL when empty. */
static inline struct list *list_pop(struct list *head) {
    if (list_empty(head))
        return NULL;
    struct list *link = head->next;
    list_remove(link);
    return link;
}

#endif
