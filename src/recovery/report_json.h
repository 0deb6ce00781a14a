/* report_json.h: the whole report of a crash as JSON (docs/crashes.md has its fields). Of a copy of
 * the record; any thread that is not jailed. */
#ifndef AEE_RECOVERY_REPORT_JSON_H
#define AEE_RECOVERY_REPORT_JSON_H

#include "isolation/context.h"
#include "recovery/json_text.h"

/* `trace`: with the stack trace, for which the image's debugging information is read. */
void aee__report_json(struct aee__context *context, const struct aee__crash_record *record,
                      bool trace, struct aee__json *json);

/* The API's: the last crash of the context, the document to be freed by the caller. NOT_FOUND: it
 * never crashed, or nothing was captured. */
aee_result aee__report_last(struct aee__context *context, bool trace, struct aee__json *json,
                            aee_error *error);

#endif
