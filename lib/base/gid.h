/* A gid: the log's uuid and a durable sequence number, as 32 hexadecimal digits, '-', and decimal digits. */
#ifndef CDTX_BASE_GID_H
#define CDTX_BASE_GID_H

#include "base/error.h"

/* Sequences are never negative. */
void cdtx__gid_text(const uint8_t log[16], int64_t sequence, char text[CDTX_GID_MAX]);
/* INVALID when text is no gid. */
int32_t cdtx__gid_parse(const char *text, uint8_t log[16], int64_t *sequence, cdtx_error *err);

#endif
