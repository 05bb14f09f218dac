/* Names, as the public rules want them: UTF-8 without control characters. */
#ifndef CDTX_BASE_NAME_H
#define CDTX_BASE_NAME_H

#include <cdtx/cdtx.h>

/* 0 when text is a name, 1 to CDTX_NAME_MAX bytes, else INVALID; what says whose name it is. */
int32_t cdtx__check_name(const char *text, const char *what, cdtx_error *err);
/* The same rule for texts of another length: 1 to max bytes. */
int32_t cdtx__check_text(const char *text, size_t max, const char *what, cdtx_error *err);

#endif
