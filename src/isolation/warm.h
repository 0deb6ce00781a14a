/* warm.h: lanes that are called by ring in every frame are woken when the frame begins, so that its
 * first call finds them awake. Any thread notes a call; the engine's frame thread wakes. */
#ifndef AEE_ISOLATION_WARM_H
#define AEE_ISOLATION_WARM_H

#include <stdatomic.h>
#include <stdint.h>

#include "runtime/workers.h"

struct aee__core;
struct aee__lane;

/* A lane that is called later in the frame than this is not woken: it would only spin. */
#define AEE__WARM_LATEST_NS UINT64_C(2000000)

struct aee__warm {
    _Atomic uint64_t begin_ns;                   /* of the frame */
    _Atomic uint32_t frame;                      /* counts frames, from 1; 0: there are none */
    _Atomic uint32_t count;                      /* of contexts, may exceed the room for them */
    _Atomic uint64_t contexts[AEE__WORKERS_MAX]; /* handles: called by ring in this frame */
};

/* The lane's owner makes a ring call: the first one in a frame is remembered. */
void aee__warm_note(struct aee__core *core, struct aee__lane *lane);
/* A frame begins: wakes the lanes that were called in the last one, as far as workers are free. */
void aee__warm_begin_frame(struct aee__core *core, uint64_t now_ns);

#endif
