/* Text from outside. Uses nothing, not even errors, whose sentences go through it. */
#ifndef CDTX_BASE_TEXT_H
#define CDTX_BASE_TEXT_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of the UTF-8 character that text starts with (RFC 3629); 0 when it is none. */
size_t cdtx__utf8_length(const char *text);
/* Is it U+0000 to U+001F or U+007F to U+009F? */
int cdtx__is_control(const char *text);
/* Made fit for names and sentences: what is not UTF-8 and control characters become '?', and what does not fit into
 * room with its NUL is cut between characters. */
void cdtx__clean_text(char *clean, size_t room, const char *text);

#endif
