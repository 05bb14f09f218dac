/* A file's bytes in pages that copies share until one of them writes. Zeroed memory is an empty file. Out of memory
 * aborts. */
#ifndef SIM_DISK_BYTES_H
#define SIM_DISK_BYTES_H

#include <stddef.h>
#include <stdint.h>

struct bytes_page;

struct bytes {
    struct bytes_page **pages; /* NULL: a hole, reads as zeros */
    size_t room;
    int64_t size;
};

/* calloc that aborts instead of returning NULL. */
void *bytes_alloc(size_t size);

/* Past the end reads as zeros. */
void bytes_read(const struct bytes *bytes, int64_t at, void *into, size_t length);
/* Grows the file as needed; a gap is zeros. */
void bytes_write(struct bytes *bytes, int64_t at, const void *from, size_t length);
/* Shorter or longer, with zeros. */
void bytes_truncate(struct bytes *bytes, int64_t size);
/* A copy that costs one pointer a page. */
struct bytes bytes_share(const struct bytes *from);
void bytes_free(struct bytes *bytes);
uint64_t bytes_digest(const struct bytes *bytes, uint64_t hash);

#endif
