/* pages.h: sets of pages of a memory file. */
#ifndef AEE_EPT_PAGES_H
#define AEE_EPT_PAGES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/alloc.h"

#define AEE__PAGES_WORD 64u

/* Set bits name pages. */
struct aee__pages {
    uint64_t *bits;
    uint64_t count; /* of pages: a multiple of 64 */
};

/* An empty set for a file of that size; false: out of memory. */
bool aee__pages_create(struct aee__pages *pages, const struct aee__alloc *alloc,
                       uint64_t file_size);
void aee__pages_destroy(struct aee__pages *pages, const struct aee__alloc *alloc);
/* Takes the pages from `from` up to `to` out. */
void aee__pages_clear(struct aee__pages *pages, uint64_t from, uint64_t to);

static inline uint64_t aee__pages_words(const struct aee__pages *pages)
{
    return pages->count / AEE__PAGES_WORD;
}

static inline void aee__pages_mark(struct aee__pages *pages, uint64_t page)
{
    pages->bits[page / AEE__PAGES_WORD] |= UINT64_C(1) << (page % AEE__PAGES_WORD);
}

static inline bool aee__pages_has(const struct aee__pages *pages, uint64_t page)
{
    return (pages->bits[page / AEE__PAGES_WORD] >> (page % AEE__PAGES_WORD)) & 1;
}

/* The first page of the set at or after `from`, or AEE__PAGES_END. */
#define AEE__PAGES_END UINT64_MAX
static inline uint64_t aee__pages_next(const struct aee__pages *pages, uint64_t from)
{
    uint64_t mask = UINT64_MAX << (from % AEE__PAGES_WORD);
    for (uint64_t i = from / AEE__PAGES_WORD; i < aee__pages_words(pages); i++) {
        uint64_t left = pages->bits[i] & mask;
        if (left != 0) {
            return i * AEE__PAGES_WORD + (uint64_t)__builtin_ctzll(left);
        }
        mask = UINT64_MAX;
    }
    return AEE__PAGES_END;
}

/* For each page of the set, which may be taken out of it meanwhile. */
#define AEE__EACH_PAGE(pages, page)                                         \
    for (uint64_t page = aee__pages_next(pages, 0); page != AEE__PAGES_END; \
         page = aee__pages_next(pages, page + 1))

#endif
