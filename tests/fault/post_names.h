/* Names that the files of the post office share. */
#ifndef FAULT_POST_NAMES_H
#define FAULT_POST_NAMES_H

#define TOPIC           "letters"
#define PRODUCER        "shop"
#define IN_POST         "post.promise"
#define IN_SHOP         "shop.promise"
#define CHORE           "chore"
#define ERRAND          "errand"
#define STROKE          "stroke"
#define CLOCK           "clock"
#define HOOK_COMMIT_JOB "hook.commit"
#define HOOK_LATE_JOB   "hook.late"
#define HOOK_UNDO_JOB   "hook.undo"

#endif
