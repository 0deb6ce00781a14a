/* starter.c: a component whose initialiser asks the host how it should go. */
#include <aee_guest.h>

enum { GO_ON = 0, CRASH = 1, SPIN = 2 }; /* else: an address to count at for ever */

static int64_t touched;

__attribute__((constructor)) static void start(void)
{
    int64_t how = GO_ON;
    if (aee_host_call("how_to_start", &how, 0, 0) != AEE_HOST_OK) {
        return;
    }
    if (how == CRASH) {
        *(volatile int64_t *)8 = 1; // NOLINT: meant
    }
    while (how > SPIN) {
        (*(volatile int64_t *)how)++;
    }
    while (how == SPIN) {
        __atomic_store_n(&touched, 1, __ATOMIC_RELAXED);
    }
}

AEE_EXPORT int64_t answer(void)
{
    return 42;
}
