/* What a customer was told, word for word, and the first thing that was wrong. The judge compares it with the
 * tables. */
#ifndef FAULT_LEDGER_H
#define FAULT_LEDGER_H

#include <cdtx/cdtx.h>

enum { LEDGER_KEY_MAX = 48, COMPLAINT_MAX = 1200 };

/* That deed (each house has its own) under that key, which is unlike all others of its kind, was answered with code. */
struct heard {
    int deed;
    int32_t code;
    uint32_t place; /* for whoever sorts them */
    char key[LEDGER_KEY_MAX];
};

struct ledger {
    struct heard *list;
    uint32_t count, room;
    char complaint[COMPLAINT_MAX]; /* "": all was right */
};

void ledger_free(struct ledger *ledger);
void ledger_hear(struct ledger *ledger, int deed, const char *key, int32_t code);
/* Only the first one is kept: the others follow from it. */
void ledger_complain(struct ledger *ledger, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Every answer is 0, or a code of the library's with a sentence. Returns code. */
int32_t ledger_check(struct ledger *ledger, const char *call, int32_t code, const cdtx_error *err);

#endif
