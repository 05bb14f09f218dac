/* The story on standard output: coloured on a terminal, plain elsewhere or when NO_COLOR is set. */
#ifndef STORY_H
#define STORY_H

#include "books.h"

void story_start(void);
void story_title(int number, const char *title);
/* One event, and one explanation. */
void story_event(const char *format, ...) __attribute__((format(printf, 1, 2)));
void story_why(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* What the tables say at some moment. */
void story_balance(const char *moment, const struct balance *balance);
void story_verdict(int consistent, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The last line. */
void story_end(int consistent, int count);

#endif
