/* What happens in the post office while faults strike, in chapters: a fault at each place of each of four short ones
 * costs a quarter of a fault at each place of all together. */
#ifndef FAULT_POST_STORY_H
#define FAULT_POST_STORY_H

#include "post.h"

enum post_chapter { CHAPTER_LETTERS = 1, CHAPTER_PROMISES, CHAPTER_DEALS, CHAPTER_JOBS, CHAPTERS };

void post_story_before(struct house *house, struct ledger *ledger);
void post_story(struct house *house, struct ledger *ledger, int chapter);

/* What is in the customer's hands when the house dies; given back after it was closed. */
struct post_leftover {
    cdtx_tx *tx;
    cdtx_work *work;
};
/* Leaves one of each kind of unfinished thing behind, if the participants hear of tries only. */
void post_story_of_ruin(struct house *house, struct ledger *ledger, struct post_leftover *leftover);
void post_leftover_free(struct post_leftover *leftover);
/* Comes to rest on ruins, and goes on. */
void post_story_resumed(struct house *house, struct ledger *ledger);
/* One more of whatever leaves guards in the shop, and the time that it takes until they go. */
void post_story_after(struct house *house, struct ledger *ledger);
/* Without faults every answer is yes, but for those that can never be. */
void post_story_check(struct ledger *ledger);

#endif
