#include "disk_bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE = 4096 };

struct bytes_page {
    uint32_t shares;
    uint8_t bytes[PAGE]; /* zeros behind the end of the file, so that growing is free */
};

void *bytes_alloc(size_t size) {
    void *block = calloc(1, size);
    if (block == NULL) {
        fprintf(stderr, "simulated disk: no memory for %zu bytes\n", size);
        abort();
    }
    return block;
}

static size_t pages_of(int64_t size) {
    return (size_t)((size + PAGE - 1) / PAGE);
}

static void drop(struct bytes_page *page) {
    if (page != NULL && --page->shares == 0)
        free(page);
}

/* The page to write to: this file's alone. */
static struct bytes_page *own(struct bytes *bytes, size_t number) {
    struct bytes_page *page = bytes->pages[number];
    if (page != NULL && page->shares == 1)
        return page;
    struct bytes_page *copy = bytes_alloc(sizeof *copy);
    if (page != NULL)
        memcpy(copy->bytes, page->bytes, PAGE);
    copy->shares = 1;
    drop(page);
    bytes->pages[number] = copy;
    return copy;
}

static void reserve(struct bytes *bytes, size_t pages) {
    if (pages <= bytes->room)
        return;
    size_t room = bytes->room * 2 > pages ? bytes->room * 2 : pages;
    struct bytes_page **bigger = bytes_alloc(room * sizeof(struct bytes_page *));
    if (bytes->room > 0)
        memcpy(bigger, bytes->pages, bytes->room * sizeof(struct bytes_page *));
    free(bytes->pages);
    bytes->pages = bigger;
    bytes->room = room;
}

/* How much of length at `at` lies in one page. */
static size_t span(int64_t at, size_t length) {
    size_t left = PAGE - (size_t)(at % PAGE);
    return length < left ? length : left;
}

void bytes_read(const struct bytes *bytes, int64_t at, void *into, size_t length) {
    for (uint8_t *to = into; length > 0;) {
        size_t part = span(at, length), number = (size_t)(at / PAGE);
        const struct bytes_page *page = number < bytes->room ? bytes->pages[number] : NULL;
        if (page != NULL)
            memcpy(to, page->bytes + at % PAGE, part);
        else
            memset(to, 0, part);
        at += (int64_t)part;
        to += part;
        length -= part;
    }
}

void bytes_write(struct bytes *bytes, int64_t at, const void *from, size_t length) {
    int64_t end = at + (int64_t)length;
    if (length == 0)
        return;
    reserve(bytes, pages_of(end));
    if (end > bytes->size)
        bytes->size = end;
    for (const uint8_t *next = from; length > 0;) {
        size_t part = span(at, length);
        memcpy(own(bytes, (size_t)(at / PAGE))->bytes + at % PAGE, next, part);
        at += (int64_t)part;
        next += part;
        length -= part;
    }
}

void bytes_truncate(struct bytes *bytes, int64_t size) {
    reserve(bytes, pages_of(size));
    for (size_t i = pages_of(size); i < pages_of(bytes->size); i++) {
        drop(bytes->pages[i]);
        bytes->pages[i] = NULL;
    }
    if (size < bytes->size && size % PAGE != 0 && bytes->pages[size / PAGE] != NULL)
        memset(own(bytes, (size_t)(size / PAGE))->bytes + size % PAGE, 0, PAGE - (size_t)(size % PAGE));
    bytes->size = size;
}

struct bytes bytes_share(const struct bytes *from) {
    struct bytes to = {.size = from->size};
    reserve(&to, pages_of(from->size));
    for (size_t i = 0; i < to.room; i++) {
        to.pages[i] = from->pages[i];
        if (to.pages[i] != NULL)
            to.pages[i]->shares++;
    }
    return to;
}

void bytes_free(struct bytes *bytes) {
    for (size_t i = 0; i < bytes->room; i++)
        drop(bytes->pages[i]);
    free(bytes->pages);
    *bytes = (struct bytes){0};
}

/* FNV-1a over 64-bit words: quick, and only ever compared with itself. A hole is the same as zeros. */
uint64_t bytes_digest(const struct bytes *bytes, uint64_t hash) {
    hash = (hash ^ (uint64_t)bytes->size) * UINT64_C(0x100000001B3);
    for (int64_t at = 0; at < bytes->size; at += PAGE) {
        uint64_t words[PAGE / sizeof(uint64_t)];
        bytes_read(bytes, at, words, sizeof words);
        for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
            hash = (hash ^ words[i]) * UINT64_C(0x100000001B3);
            hash ^= hash >> 29;
        }
    }
    return hash;
}
