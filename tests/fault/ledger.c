#include "ledger.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void ledger_free(struct ledger *ledger) {
    free(ledger->list);
    memset(ledger, 0, sizeof *ledger);
}

void ledger_hear(struct ledger *ledger, int deed, const char *key, int32_t code) {
    if (ledger->count == ledger->room) {
        ledger->room = ledger->room == 0 ? 32 : ledger->room * 2;
        ledger->list = realloc(ledger->list, ledger->room * sizeof *ledger->list);
        if (ledger->list == NULL)
            abort();
    }
    struct heard *heard = &ledger->list[ledger->count++];
    *heard = (struct heard){.deed = deed, .code = code};
    (void)snprintf(heard->key, sizeof heard->key, "%s", key);
}

void ledger_complain(struct ledger *ledger, const char *format, ...) {
    va_list arguments;
    if (ledger->complaint[0] != '\0')
        return;
    va_start(arguments, format);
    (void)vsnprintf(ledger->complaint, sizeof ledger->complaint, format, arguments);
    va_end(arguments);
}

int32_t ledger_check(struct ledger *ledger, const char *call, int32_t code, const cdtx_error *err) {
    if (code == 0)
        return 0;
    if (code > 0 || code < CDTX_USER)
        ledger_complain(ledger, "%s answered %d, which is no code", call, code);
    else if (err->code != code)
        ledger_complain(ledger, "%s answered %s, but its error says %d", call, cdtx_code_name(code), err->code);
    else if (strnlen(err->text, sizeof err->text) == 0)
        ledger_complain(ledger, "%s answered %s without a text", call, cdtx_code_name(code));
    return code;
}
