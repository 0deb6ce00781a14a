/* large.c: an image of 1 MiB for rows about creating contexts, and a component that never stops
 * writing to memory that it was given.
 *
 *   large_mark() -> byte           the first byte of the ballast, which it changes
 *   large_write(address, bytes)    writes there, one word a cache line, for ever */
#include <aee_guest.h>

/* Nothing of it is zero, so that it is in the file and has to be copied. */
__asm__(".pushsection .data\n"
        ".balign 4096\n"
        "large_ballast:\n"
        ".fill 1048576, 1, 0x5a\n"
        ".popsection\n");
extern char large_ballast[];

AEE_SIGNATURE(large_mark, "i:");
AEE_EXPORT int64_t large_mark(void)
{
    const int64_t before = large_ballast[0];
    large_ballast[0] = 1;
    return before;
}

AEE_SIGNATURE(large_write, "v:ii");
AEE_EXPORT void large_write(int64_t address, int64_t bytes)
{
    enum { LINE = 64 };
    volatile uint64_t *words = (volatile uint64_t *)(uintptr_t)address;
    for (uint64_t value = 1;; value++) {
        for (int64_t i = 0; i < bytes; i += LINE) {
            words[i / 8] = value;
        }
    }
}
