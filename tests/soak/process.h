/* process.h: clock and size of this process, for soak_crashes. Owns nothing; any thread. */
#ifndef AEE_TESTS_SOAK_PROCESS_H
#define AEE_TESTS_SOAK_PROCESS_H

#include <stdint.h>

#define NS_PER_SECOND UINT64_C(1000000000)

struct process_size {
    uint64_t kib; /* of memory that is backed */
    uint64_t descriptors;
};

uint64_t now_ns(void);
void sleep_until(uint64_t at_ns);
uint64_t process_resident_kib(void);
/* Fallen machines are taken apart in the background, and those of the pool made: when descriptors
 * stay as many for a while, that is over. */
struct process_size process_settled_size(void);

#endif
