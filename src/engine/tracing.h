/* tracing.h: where an engine's trace goes. Part of the engine. */
#ifndef AEE_ENGINE_TRACING_H
#define AEE_ENGINE_TRACING_H

#include <pthread.h>

#include "aee_virt.h"

struct aee__tracing {
    pthread_mutex_t lock; /* starts and stops come one after the other */
    aee_trace_desc desc;  /* complete; its path is paths[0] */
    char *paths;          /* the file's and behind it the one that is written; NULL: no trace */
    size_t paths_size;
    int fd;       /* of the file that is written; -1: a function takes the bytes */
    int os_errno; /* of the write that failed */
};

/* The core's trace comes and goes with them. */
void aee__tracing_init(aee_engine *engine);
/* Stops a trace that is on. No context is left. */
void aee__tracing_destroy(aee_engine *engine);

#endif
