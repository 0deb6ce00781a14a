#include <aee_guest.h>

AEE_EXPORT int64_t add(int64_t a, int64_t b)
{
    return a + b;
}
