/* state_ranges.h: which parts of an instance's memory are its component's declared state: first
 * what its image declares, then what the component added, in that order. They belong to the
 * instance and are changed under its context's lock; a thread that owns all lanes, none with a
 * call, may read them without. */
#ifndef AEE_ISOLATION_STATE_RANGES_H
#define AEE_ISOLATION_STATE_RANGES_H

#include <stdint.h>

#include "aee_virt.h"
#include "ept/memory.h"

struct aee__image;
struct aee__instance;

struct aee__state_range {
    struct aee__gva gva;
    uint64_t size; /* not 0 */
};

struct aee__state_ranges {
    uint32_t count;
    uint32_t declared; /* of them, by the image: 0 or 1 */
    struct aee__state_range ranges[1 + AEE_STATE_RANGES_MAX];
};

/* What the image declares, and nothing else. */
void aee__state_ranges_begin(struct aee__state_ranges *ranges, const struct aee__image *image);

/* What a component asks for, which may be hostile: an enum aee_abi_host_status. */
int32_t aee__state_ranges_order(struct aee__state_ranges *ranges, const struct aee__memory *memory,
                                uint64_t order, struct aee__gva gva, uint64_t size);

/* Host address of a place in a range, and in *size, which says how much is wanted, how much of that
 * follows there: a range may go over the end of a piece of the heap. NULL: there is no memory that
 * the component may write and keep. */
uint8_t *aee__state_ranges_at(const struct aee__memory *memory, struct aee__gva gva,
                              uint64_t *size);

/* The ranges of an instance: a copy; and those that another one of the same image had. */
void aee__instance_state_ranges(struct aee__instance *instance, struct aee__state_ranges *out);
void aee__instance_set_state_ranges(struct aee__instance *instance,
                                    const struct aee__state_ranges *ranges);

#endif
