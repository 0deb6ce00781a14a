/* crash_files.h: core files and reports of crashes in a directory that the engine names. Settings
 * are shared by contexts and counted; files are written on the housekeeper's thread, under a
 * temporary name first. */
#ifndef AEE_RECOVERY_CRASH_FILES_H
#define AEE_RECOVERY_CRASH_FILES_H

#include "isolation/context.h"

/* For `context`, or, where that is NULL, for all contexts that have none of their own. `desc` is
 * complete and checked; NULL: none. */
aee_result aee__crash_files_set(struct aee__core *core, struct aee__context *context,
                                const aee_crash_files_desc *desc, aee_error *error);
/* When the context or the core goes. */
void aee__crash_files_release(struct aee__core *core, struct aee__crash_files *files);

/* The instance has crashed: where files are wanted, holds it until they have been written. On the
 * thread that found the crash, with the locks of the context and of its record held. */
void aee__crash_files_hold(struct aee__context *context, struct aee__instance *instance);

#endif
