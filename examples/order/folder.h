/* The folder with the shop's files: a given one that stays, or a fresh temporary one that goes away again. */
#ifndef FOLDER_H
#define FOLDER_H

#include <cdtx/cdtx.h>

struct folder {
    char path[4000];
    int temporary;
    int lock; /* held while we use it, and given up by the kernel if we are killed */
};

/* path NULL: a temporary one. Errors: BUSY when another demo uses it, IO, INVALID. */
int32_t folder_take(struct folder *folder, const char *path, cdtx_error *err);
/* Gives it back; a temporary one is removed with what is in it. */
void folder_drop(struct folder *folder);

#endif
