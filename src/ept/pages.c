#include "ept/pages.h"

#include <string.h>

#include "base/checked.h"

bool aee__pages_create(struct aee__pages *pages, const struct aee__alloc *alloc, uint64_t file_size)
{
    pages->count =
        (file_size / AEE__PAGE_SIZE + AEE__PAGES_WORD - 1) / AEE__PAGES_WORD * AEE__PAGES_WORD;
    pages->bits = aee__alloc_zero(alloc, aee__pages_words(pages), sizeof *pages->bits);
    return pages->bits != NULL;
}

void aee__pages_destroy(struct aee__pages *pages, const struct aee__alloc *alloc)
{
    aee__alloc_free(alloc, pages->bits, aee__pages_words(pages) * sizeof *pages->bits);
    *pages = (struct aee__pages){0};
}

void aee__pages_clear(struct aee__pages *pages, uint64_t from, uint64_t to)
{
    while (from < to && from % AEE__PAGES_WORD != 0) {
        pages->bits[from / AEE__PAGES_WORD] &= ~(UINT64_C(1) << (from % AEE__PAGES_WORD));
        from++;
    }
    if (from < to) {
        memset(&pages->bits[from / AEE__PAGES_WORD], 0,
               (to - from) / AEE__PAGES_WORD * sizeof(uint64_t));
        from += (to - from) / AEE__PAGES_WORD * AEE__PAGES_WORD;
    }
    while (from < to) {
        pages->bits[from / AEE__PAGES_WORD] &= ~(UINT64_C(1) << (from % AEE__PAGES_WORD));
        from++;
    }
}
