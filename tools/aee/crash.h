/* crash.h: shows a crash report. Owns nothing; one thread. */
#ifndef AEE_TOOLS_CRASH_H
#define AEE_TOOLS_CRASH_H

#include "aee_virt.h"
#include "json.h"
#include "term.h"

/* The sentence, and the registers if asked for. */
void crash_print(const struct term *term, const aee_crash *crash, bool registers);

/* The object "crash"; null where `crash` is NULL. */
void crash_json(struct json *json, const aee_crash *crash);

#endif
