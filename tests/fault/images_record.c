#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "images.h"

struct ledger ledger_copy(const struct ledger *ledger) {
    struct ledger copy = *ledger;
    copy.list = NULL;
    copy.count = copy.room = 0;
    for (uint32_t i = 0; i < ledger->count; i++)
        ledger_hear(&copy, ledger->list[i].deed, ledger->list[i].key, ledger->list[i].code);
    return copy;
}

void image_free(struct image *image) {
    disk_free(image->disk);
    ledger_free(&image->ledger);
}

static uint64_t mix(uint64_t hash, uint64_t value) {
    hash = (hash ^ value) * UINT64_C(0x100000001B3);
    return hash ^ hash >> 29;
}

uint64_t image_digest(const struct image *image) {
    const struct witness *witness = &image->witness;
    uint64_t hash = disk_digest(image->disk, DISK_DURABLE);
    for (uint32_t i = 0; i < image->ledger.count; i++)
        hash = mix(hash, (uint64_t)(uint32_t)image->ledger.list[i].code << 8 | (uint64_t)image->ledger.list[i].deed);
    for (uint32_t i = 0; i < witness->said_count; i++)
        hash = mix(hash, (uint64_t)(uint32_t)witness->said[i].code << 1 | (uint64_t)witness->said[i].left);
    for (int i = 0; i < GIDS_MAX; i++)
        hash = mix(hash, (uint64_t)witness->state[i]);
    for (uint32_t i = 0; i < witness->effect_count; i++)
        hash = mix(hash, (uint64_t)witness->effects[i].job << 16 | (uint64_t)witness->effects[i].token);
    for (int i = 0; i < HALVES_MAX; i++)
        hash = mix(hash, (uint64_t)witness->half[i]);
    hash = mix(hash, (uint64_t)witness->letter);
    return mix(mix(hash, witness->posts), (uint64_t)witness->token);
}

static const char *what_of(const struct disk_call *call) {
    static const char *const names[DISK_OPS] = {
        [DISK_WRITE] = "write", [DISK_SYNC] = "sync", [DISK_TRUNCATE] = "truncation", [DISK_DELETE] = "removal"};
    return names[call->op];
}

static struct image *one_more(struct recording *recording) {
    if (recording->count == recording->room) {
        recording->room = recording->room == 0 ? 1024 : recording->room * 2;
        recording->images = realloc(recording->images, recording->room * sizeof *recording->images);
        if (recording->images == NULL)
            abort();
    }
    return &recording->images[recording->count++];
}

/* As the disk is before call, which is NULL at the end. */
static void take(struct recording *recording, const struct disk_call *call) {
    recording->places++;
    static uint64_t names;
    size_t ways = recording->ways == 0 ? recording->cut_count : recording->ways;
    for (size_t i = 0; i < ways; i++) {
        char name[32];
        struct image *image = one_more(recording);
        const struct cut *cut = &recording->cuts[(i + recording->places * recording->ways) % recording->cut_count];
        (void)snprintf(name, sizeof name, "image%llu", (unsigned long long)++names);
        (void)snprintf(image->place, sizeof image->place, "%s %llu %s", recording->prefix,
                       (unsigned long long)recording->places, cut->name);
        (void)snprintf(image->call, sizeof image->call, "%s%s%s", call != NULL ? what_of(call) : "the end",
                       call != NULL ? " of " : "", call != NULL ? call->file : "");
        image->disk = disk_fork_after_crash(recording->disk, cut->what, name, prng_new(recording->seed, image->place));
        image->ledger = ledger_copy(recording->ledger);
        image->witness = *recording->witness;
    }
}

static int strike(void *user, const struct disk_call *call) {
    struct recording *recording = user;
    if (what_of(call) != NULL)
        take(recording, call);
    int lies = call->op == DISK_SYNC && recording->liar != NULL && strcmp(call->file, recording->liar) == 0;
    return lies ? DISK_LIE : DISK_PASS;
}

void recording_start(struct recording *recording) {
    disk_set_fault(recording->disk, strike, recording);
}

void recording_stop(struct recording *recording) {
    take(recording, NULL);
    disk_set_fault(recording->disk, NULL, NULL);
}

void recording_free(struct recording *recording) {
    for (size_t i = 0; i < recording->count; i++)
        image_free(&recording->images[i]);
    free(recording->images);
    recording->images = NULL;
    recording->count = recording->room = 0;
}
