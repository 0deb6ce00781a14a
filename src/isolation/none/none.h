/* none.h: the back end without isolation: components run in the engine's own address space and on
 * its threads, for debuggers and as a last resort. */
#ifndef AEE_ISOLATION_NONE_NONE_H
#define AEE_ISOLATION_NONE_NONE_H

#include "isolation/backend.h"

extern const struct aee__backend_ops aee__none_backend;

#endif
