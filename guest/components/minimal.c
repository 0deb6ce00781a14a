/* minimal.c: the smallest useful component. */
#include <aee_guest.h>

AEE_SIGNATURE(add, "i:ii");
AEE_EXPORT int64_t add(int64_t a, int64_t b)
{
    return a + b;
}
