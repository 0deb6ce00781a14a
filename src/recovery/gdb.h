/* gdb.h: a server of gdb's remote protocol for one context (docs/debugging.md). A thread that
 * exists only while somebody listens talks to gdb; lanes wait for its word. */
#ifndef AEE_RECOVERY_GDB_H
#define AEE_RECOVERY_GDB_H

#include "isolation/context.h"

/* `desc` has no zero fields but flags and file, and its address is checked here. */
aee_result aee__gdb_listen(struct aee__context *context, const aee_debug_desc *desc,
                           aee_error *error);
/* Where it listens now. */
aee_result aee__gdb_address(struct aee__context *context, char *address, size_t capacity,
                            aee_error *error);
/* A client is let go as if it had gone. NOT_FOUND: nobody listens. */
aee_result aee__gdb_close(struct aee__context *context, aee_error *error);

extern const struct aee__debug_ops aee__gdb_ops;

#endif
