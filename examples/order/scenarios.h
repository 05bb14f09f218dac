/* The scenarios, by the file that plays them, and the lives that some of them start. */
#ifndef SCENARIOS_H
#define SCENARIOS_H

#include "stage.h"

/* scenario_orders.c */
int32_t play_ordinary(struct stage *stage, cdtx_error *err);
int32_t play_sold_out(struct stage *stage, cdtx_error *err);
int32_t play_doubled(struct stage *stage, cdtx_error *err);
/* scenario_late.c */
int32_t play_late_answer(struct stage *stage, cdtx_error *err);
int32_t play_late_try(struct stage *stage, cdtx_error *err);
/* scenario_morning.c */
int32_t play_morning(struct stage *stage, cdtx_error *err);
/* scenario_kill.c */
int32_t play_kill_undecided(struct stage *stage, cdtx_error *err);
int32_t play_kill_decided(struct stage *stage, cdtx_error *err);
/* Opens the shop in argv[1] and places order argv[3], an order line; when argv[2] is reached, "undecided" or "decided",
 * prints a line and waits to be killed. Returns only on failure. */
int32_t live_until(char **argv, cdtx_error *err);
/* scenario_close.c */
int32_t play_close(struct stage *stage, cdtx_error *err);
/* Opens the shop in argv[1] and places order argv[2], an order line, which nobody pays; when its pieces came back and
 * nobody knows yet, prints a line and waits to be killed. Returns only on failure. */
int32_t live_and_close(char **argv, cdtx_error *err);
/* scenario_mint.c */
int32_t play_mint(struct stage *stage, cdtx_error *err);
/* Opens the shop in argv[1] with the chain at argv[2], places order argv[3], an order line, and works on until it is
 * killed. Returns only on failure. */
int32_t live_and_mint(char **argv, cdtx_error *err);
/* scenario_storm.c */
int32_t play_storm(struct stage *stage, cdtx_error *err);
/* Opens the shop in argv[1] and places orders for sku argv[3] whose requests start with argv[2]; prints a line, then
 * each answer, "yes REQUEST", "no REQUEST" or "perhaps REQUEST", until it is killed. Returns only on failure. */
int32_t live_and_sell(char **argv, cdtx_error *err);

#endif
