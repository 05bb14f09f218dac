/* Processes that are killed, on real files in a folder of their own. */
#ifndef FAULT_MORTAL_H
#define FAULT_MORTAL_H

#include <cdtx/port.h>
#include <sys/types.h>

#include "ledger.h"

enum { MORTAL_PATH = 256 };

/* The system's, but whoever sees something that must not happen ends at once, and not by a kill. */
cdtx_env mortal_env(void);
int64_t mortal_now_ms(void);

/* Runs this program anew with those arguments, its output going to that descriptor (-1: where this one's goes). It dies
 * with its parent. */
pid_t mortal_start(char *const *argv, int to);
/* Complains if `who` has died of anything but its kill. */
void mortal_end(pid_t pid, const char *who, struct ledger *ledger);

/* A new folder below TMPDIR, with a slash behind. 0: there is none, and why is printed. */
int mortal_folder_new(char folder[MORTAL_PATH]);
/* With the files in it, if nothing was wrong. */
void mortal_folder_end(const char *folder, uint64_t seed, const struct ledger *ledger);

#endif
