/* host_call.h: serving what a component asks of the engine. Runs on the thread that owns the lane:
 * one that waits for the component's answer, or a worker. */
#ifndef AEE_ISOLATION_HOST_CALL_H
#define AEE_ISOLATION_HOST_CALL_H

#include "isolation/instance.h"

/* Serves the lane's pending host call, if there is one; true when it did. */
bool aee__lane_serve_host_call(struct aee__lane *lane);

#endif
