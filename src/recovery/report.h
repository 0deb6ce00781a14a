/* report.h: crash reports in words: what happened, where, and what lies at the address. */
#ifndef AEE_RECOVERY_REPORT_H
#define AEE_RECOVERY_REPORT_H

#include "isolation/context.h"

/* aee__recovery_ops.describe */
void aee__report_describe(struct aee__context *context, const struct aee__instance *instance,
                          const char *detail, aee_crash *crash);

#define AEE__HEAP_WORDS 80u
/* "inside a freed block of 48 bytes at +8"; "" where nothing is known. */
void aee__report_heap(const struct aee__heap_place *place, char words[AEE__HEAP_WORDS]);
/* What an area of private memory is, in one word. */
const char *aee__report_area(const struct aee__memory_area *area);
/* "exception", "hung" and so on. */
const char *aee__report_cause(aee_crash_cause cause);

#endif
