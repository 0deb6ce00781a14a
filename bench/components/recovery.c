/* recovery.c: a component for rows about recovery: it writes so many pages, falls, and has state to
 * keep.
 *
 *   recovery_touch(pages) -> pages    writes a word of each
 *   recovery_count() -> number        one more each time
 *   recovery_crash()
 *   recovery_scribble(value)          writes all of its declared state */
#include <aee_guest.h>

enum { PAGES = 256, WORDS = 512, STATE = 1 << 20 };

static int64_t pages[PAGES * WORDS] __attribute__((aligned(4096)));
static int64_t counter;
AEE_STATE static int64_t kept[STATE / 8];

AEE_SIGNATURE(recovery_touch, "i:i");
AEE_EXPORT int64_t recovery_touch(int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        *(volatile int64_t *)&pages[i % PAGES * WORDS] += 1;
    }
    return count;
}

AEE_SIGNATURE(recovery_count, "i:");
AEE_EXPORT int64_t recovery_count(void)
{
    return ++counter;
}

AEE_SIGNATURE(recovery_crash, "v:");
AEE_EXPORT void recovery_crash(void)
{
    *(volatile int64_t *)0 = 0;
}

AEE_SIGNATURE(recovery_scribble, "v:i");
AEE_EXPORT void recovery_scribble(int64_t value)
{
    for (int64_t i = 0; i < STATE / 8; i++) {
        kept[i] = value;
    }
}
