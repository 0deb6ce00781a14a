/* sandbox.h: what the elsewhere_process_ rows and the process that they start share. */
#ifndef AEE_BENCH_SANDBOX_H
#define AEE_BENCH_SANDBOX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Descriptors that the child begins with. */
enum { SANDBOX_MEMORY = 3, SANDBOX_REQUESTS = 4, SANDBOX_REPLIES = 5 };

/* Shared memory of both. A call is a new number in `request`; the answer is the same in `reply`. */
struct sandbox {
    _Alignas(64) _Atomic uint32_t request;
    _Alignas(64) _Atomic uint32_t reply;
    _Alignas(64) int32_t cpu; /* where the child that spins is pinned */
};

#define SANDBOX_END UINT32_MAX

/* Any thread: futexes on shared memory. */
/* False: a second has passed. */
bool sandbox_wait(_Atomic uint32_t *word, uint32_t value);
void sandbox_wake(_Atomic uint32_t *word);

#endif
