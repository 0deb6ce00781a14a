/* changes.h: which pages of an instance's memory may have changed since a copy of it was made. Part
 * of a context's checkpoints; under its life-cycle operation. */
#ifndef AEE_RECOVERY_CHANGES_H
#define AEE_RECOVERY_CHANGES_H

#include "ept/shadow.h"
#include "isolation/instance.h"

struct aee__changes {
    uint64_t known; /* the machine whose written pages are told since the copy was made; 0: none */
    bool again;     /* what was told last was to hold what was told before */
    bool kept;      /* what is told next will */
    uint32_t since; /* times that such pages were not compared since */
    uint32_t wait;  /* times until pages are kept again */
};

/* Marks in shadow->work the pages that may have changed; false: nobody knows them. */
bool aee__changes_find(struct aee__changes *changes, struct aee__shadow *shadow,
                       const struct aee__instance *instance);
/* Takes out of those what is no state and, where it is to be compared or that is worth while, what
 * has not changed. */
void aee__changes_narrow(struct aee__changes *changes, struct aee__shadow *shadow,
                         const struct aee__memory *memory, bool compare);
/* The copy is of this moment: from now on the host tells what is written, where it can. */
void aee__changes_follow(struct aee__changes *changes, struct aee__shadow *shadow,
                         const struct aee__instance *instance);

#endif
