/* process.h: back ends without virtualization: a component runs in a cell, a process that can do
 * nothing but compute (level process), in empty namespaces if wanted (level container). */
#ifndef AEE_ISOLATION_PROCESS_PROCESS_H
#define AEE_ISOLATION_PROCESS_PROCESS_H

#include "isolation/backend.h"

extern const struct aee__backend_ops aee__process_backend;
extern const struct aee__backend_ops aee__container_backend;

#endif
