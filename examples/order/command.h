/* The cdtx command as a person types it: run for real, in the shop's folder, its answer told in the story. */
#ifndef COMMAND_H
#define COMMAND_H

#include <cdtx/cdtx.h>

/* words: behind "cdtx", a list that ends with NULL. Errors: REFUSED when its exit status is not 0; IO. */
int32_t command_run(const char *folder, const char *const *words, cdtx_error *err);

#endif
