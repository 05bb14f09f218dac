/* What messages through the library and by hand share: the business rows on both sides. */
#ifndef BENCH_MESSAGES_H
#define BENCH_MESSAGES_H

#include "bench.h"

extern const char message_orders[], message_order[], message_effects[], message_effect[];

#endif
