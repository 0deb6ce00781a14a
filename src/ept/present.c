/* present.c: which pages of an instance have memory. */
#include <errno.h>

#include "base/checked.h"
#include "base/sys.h"
#include "ept/frozen.h"
#include "ept/memory.h"

static aee_result find_in_file(const struct aee__memory *memory, struct aee__pages *pages,
                               aee_error *error)
{
    int64_t at = 0;
    for (;;) {
        int64_t end;
        int64_t start = aee__sys_find_data(memory->fd, at, &end);
        if (start == -1) {
            return aee__fail_os(error, errno, "cannot find the pages of a memory file");
        }
        if (start < 0 || (uint64_t)start >= memory->file_size) {
            return AEE_OK;
        }
        for (at = start; at < end && (uint64_t)at < memory->file_size;
             at += (int64_t)AEE__PAGE_SIZE) {
            aee__pages_mark(pages, (uint64_t)at / AEE__PAGE_SIZE);
        }
    }
}

/* The next pages of a fork's chunk from `at` on: one bit each in *own, for those that are its own
 * by now; how many were looked at, 0 on failure. */
static uint32_t look_at_own(const struct aee__memory_chunk *chunk, uint64_t at, uint64_t *own)
{
    uint64_t left = (chunk->size - at) / AEE__PAGE_SIZE;
    uint32_t count = left < AEE__PAGES_WORD ? (uint32_t)left : AEE__PAGES_WORD;
    return aee__sys_private_pages(chunk->host + at, count, own) == 0 ? count : 0;
}

static aee_result find_in_fork(const struct aee__memory *memory, struct aee__pages *pages,
                               aee_error *error)
{
    for (uint32_t i = 0; i < memory->chunk_count; i++) {
        const struct aee__memory_chunk *chunk = &memory->chunks[i];
        uint64_t first = (chunk->gpa.value - AEE__GPA_PRIVATE) / AEE__PAGE_SIZE;
        for (uint64_t at = 0; at < chunk->size;) {
            uint64_t own;
            uint32_t count = look_at_own(chunk, at, &own);
            if (count == 0) {
                return aee__fail_os(error, errno, "cannot find the pages of a fork");
            }
            pages->bits[(first + at / AEE__PAGE_SIZE) / AEE__PAGES_WORD] |= own;
            at += count * AEE__PAGE_SIZE;
        }
    }
    for (uint64_t i = 0; i < aee__pages_words(&memory->frozen->has); i++) {
        pages->bits[i] |= memory->frozen->has.bits[i];
    }
    return AEE_OK;
}

aee_result aee__memory_find_present(const struct aee__memory *memory, struct aee__pages *pages,
                                    aee_error *error)
{
    return memory->fd >= 0 ? find_in_file(memory, pages, error)
                           : find_in_fork(memory, pages, error);
}

static uint64_t resident_of_fork(const struct aee__memory *memory)
{
    uint64_t pages = 0;
    for (uint32_t i = 0; i < memory->chunk_count; i++) {
        uint32_t count = 0;
        for (uint64_t at = 0; at < memory->chunks[i].size; at += count * AEE__PAGE_SIZE) {
            uint64_t own;
            count = look_at_own(&memory->chunks[i], at, &own);
            if (count == 0) {
                break;
            }
            pages += (uint64_t)__builtin_popcountll(own);
        }
    }
    return pages * AEE__PAGE_SIZE;
}

uint64_t aee__memory_resident(const struct aee__memory *memory)
{
    return memory->fd >= 0 ? aee__sys_file_resident(memory->fd) : resident_of_fork(memory);
}
