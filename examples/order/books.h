/* The books: what the raw tables of both services, of the log and of the chain say, read by a connection of our own and
 * judged without asking the library. Looks only: never writes, never checkpoints. */
#ifndef BOOKS_H
#define BOOKS_H

#include <cdtx/cdtx.h>

struct books;

struct balance {
    int64_t delivered, free, held, sold; /* pieces */
    int64_t fresh, confirmed, cancelled; /* orders that are NEW, CONFIRMED, CANCELLED */
    int64_t confirmed_pieces;
    int64_t closed, given_back; /* orders that are CLOSED, and how often pieces came back */
    int64_t tokens;             /* minted by the chain */
    int64_t jobs, dead;         /* of all articles: still to be done, and given up */
};

/* *books is NULL with result 0 while the folder has no tables yet. */
int32_t books_open(const char *folder, struct books **books, cdtx_error *err);
void books_close(struct books *books);
/* Of one sku, or of all with NULL. */
int32_t books_balance(struct books *books, const char *sku, struct balance *balance, cdtx_error *err);
/* 0 when every sku is right and quiet; REFUSED with the first thing that is wrong. */
int32_t books_check(struct books *books, cdtx_error *err);
/* *confirmed: is there a CONFIRMED order of that request? */
int32_t books_confirmed(struct books *books, const char *request, int *confirmed, cdtx_error *err);
/* *given_back: did its pieces come back? */
int32_t books_given_back(struct books *books, const char *request, int *given_back, cdtx_error *err);
/* The number of the first job of that handler that was given up; 0: none. */
int32_t books_dead_job(struct books *books, const char *handler, int64_t *id, cdtx_error *err);

#endif
