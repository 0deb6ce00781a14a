/* tracing.h: where an engine's trace goes. Part of the engine. */
#ifndef AEE_ENGINE_TRACING_H
#define AEE_ENGINE_TRACING_H

#include <pthread.h>

#include "aee_virt.h"
#include "base/new_file.h"

struct aee__tracing {
    pthread_mutex_t lock; /* starts and stops come one after the other */
    aee_trace_desc desc;  /* complete; its path is ours */
    char *path;           /* NULL: no trace, or a function takes the bytes */
    struct aee__new_file file;
    uint64_t written;
    int os_errno; /* of the write that failed */
};

/* The core's trace comes and goes with them. */
void aee__tracing_init(aee_engine *engine);
/* Stops a trace that is on. No context is left. */
void aee__tracing_destroy(aee_engine *engine);

#endif
