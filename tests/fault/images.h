/* Images of a power cut: one life of the house is recorded, with an image of the disk for every place at which the
 * power can go and every way in which it can leave the disk. Then a new life begins on each image, heals it, and is
 * judged; and some of these lives are recorded as well, for cuts during recovery. */
#ifndef FAULT_IMAGES_H
#define FAULT_IMAGES_H

#include "life.h"
#include "witness.h"

/* A way of cutting the power: what becomes of the effects that are not synced. */
struct cut {
    const char *name;
    enum disk_crash what;
};

/* A house as it may be found after a power cut, and all that must still be true in it. */
struct image {
    struct disk *disk;
    struct ledger ledger;
    struct witness witness;
    char place[96]; /* names the image: the scenario, then number and cut of each power cut that led here */
    char call[96];  /* that the last cut came before */
};

struct scenario {
    const char *name;
    const char *coordinator;
    int share;
    int birth;      /* recorded from an empty disk on; else after what the day before leaves */
    int chapter;    /* of the post office's story */
    uint32_t ways;  /* of cutting at each place, in turn; 0: all */
    uint64_t least; /* fewer places: the story no longer goes where it should */
};

/* ---- images_record.c ---- */

/* A recording: from start on, every call that changes the disk makes one image for each cut, or for so many in turn. */
struct recording {
    struct disk *disk;
    const char *prefix; /* of the places: what led here */
    const struct cut *cuts;
    size_t cut_count;
    uint32_t ways; /* of them at each place, in turn; 0: all */
    uint64_t seed;
    struct ledger *ledger; /* of the life that is recorded */
    struct witness *witness;
    const char *liar; /* a file whose syncs do nothing; NULL: none */
    struct image *images;
    size_t count, room;
    uint64_t places;
};

void recording_start(struct recording *recording);
/* One image more at the end. */
void recording_stop(struct recording *recording);
void recording_free(struct recording *recording);
/* A copy of what was heard; what an image is judged by. */
struct ledger ledger_copy(const struct ledger *ledger);
void image_free(struct image *image);
/* Equal numbers: judging both would tell the same. */
uint64_t image_digest(const struct image *image);

/* ---- images_life.c ---- */

/* Lives the whole story on a disk: makes the recording, which the caller frees. 0: something was wrong without any
 * power cut; the ledger says what. */
int images_live(const struct scenario *scenario, struct recording *recording);
/* Begins a new life on the image, recorded or not, and complains in the image's ledger of what is wrong. */
void images_heal(const struct scenario *scenario, struct image *image, struct recording *recording);

typedef void (*images_story)(struct house *house, const struct scenario *scenario, struct recording *recording);
/* One life of the house under that name and that number, from 0. */
void images_day(const char *name, int number, const struct scenario *scenario, struct recording *recording,
                images_story story);

/* ---- images_orders.c, or images_post.c: the house that is linked ---- */

extern const struct scenario images_scenarios[];
extern const size_t images_scenario_count;
extern const int64_t images_later_ms; /* from the beginning of a life to that of the next */

int32_t images_open(struct life *life, const struct scenario *scenario, struct witness *witness, cdtx_error *err);
/* The days; starts the recording where it shall begin. */
void images_tell(const struct scenario *scenario, struct recording *recording);
/* Without a power cut every answer is yes, but for those that can never be. */
void images_check(struct ledger *ledger);
int32_t images_drain(struct house *house, struct ledger *ledger, int64_t for_ms);
uint32_t images_ask_again(struct house *house, struct ledger *ledger);
/* Complains if the tables, at rest or not, contradict what was heard or what the witness knows. */
void images_look(const struct house_site *site, struct witness *witness, struct ledger *ledger, int at_rest);

#endif
