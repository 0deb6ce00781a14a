/* report.h: crash reports in words: what happened, where, and what lies at the address. */
#ifndef AEE_RECOVERY_REPORT_H
#define AEE_RECOVERY_REPORT_H

#include "isolation/context.h"

/* aee__recovery_ops.describe */
void aee__report_describe(struct aee__context *context, const struct aee__instance *instance,
                          const char *detail, aee_crash *crash);

#endif
