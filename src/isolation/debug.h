/* debug.h: where lanes meet a debugger, as far as they know one: a table of operations that
 * src/recovery fills in and src/engine connects. Lanes look at it only while somebody listens for a
 * debugger of their context (aee__instance.debugged). */
#ifndef AEE_ISOLATION_DEBUG_H
#define AEE_ISOLATION_DEBUG_H

#include <stdbool.h>

struct aee__context;
struct aee__exit;
struct aee__instance;
struct aee__lane;

/* The first two run on the thread that runs the lane, which may be jailed: it does no more than
 * wait. */
struct aee__debug_ops {
    /* The lane is about to enter the guest: returns when it may, or the instance has ended. */
    void (*enter)(struct aee__lane *lane);
    /* It has left. True: the debugger has dealt with the exit, and the lane is to go on. */
    bool (*left)(struct aee__lane *lane, const struct aee__exit *exit);
    /* The instance has ended: nobody is to be kept waiting in it. Any thread. */
    void (*ended)(struct aee__instance *instance);
    /* It has been made, and nothing of it has run yet. */
    void (*born)(struct aee__instance *instance);
    /* The context ends: nobody listens any more. Then, when no thread can be in it, all is freed.
     */
    void (*close)(struct aee__context *context);
    void (*free)(struct aee__context *context);
};

#endif
