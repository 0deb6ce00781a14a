/* host_call.h: serving what a component asks of the engine. Runs on the thread that owns the lane:
 * one that waits for the component's answer, or a worker, or a server where the workers are jailed:
 * the engine's functions may need any system call. */
#ifndef AEE_ISOLATION_HOST_CALL_H
#define AEE_ISOLATION_HOST_CALL_H

#include "isolation/instance.h"

/* Serves the lane's pending host call, if there is one; true when it did. `seen`: when it was, in
 * ticks; 0: just now. */
bool aee__lane_serve_host_call(struct aee__lane *lane, uint64_t seen);

/* Where the workers are jailed: a server will look at the lane. False where they are not, and when
 * there is no thread for it. */
bool aee__lane_hand_over(struct aee__lane *lane);
/* On a server. */
void aee__lane_serve(struct aee__runnable *runnable);

#endif
