/* What must have been seen at least once over a long run: kinds of fault, failpoints, moves of a global transaction,
 * cells of the guard table, kinds of answer. Shared by the worker processes. */
#ifndef SIM_COVER_H
#define SIM_COVER_H

#include <stdint.h>

void cover_init(void); /* before the first fork */
void cover(const char *name);
/* Prints the table; returns how many were never seen. */
uint32_t cover_report(void);

#endif
