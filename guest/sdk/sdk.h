/* sdk.h: what the files of the guest SDK share. Nothing here is for components. */
#ifndef AEE_GUEST_SDK_H
#define AEE_GUEST_SDK_H

#include <stddef.h>
#include <stdint.h>

#define AEE__TEXT_MAX 512u /* bytes of one log line or abort text, terminator included */

/* Levels of a log line, as the host counts them (enum aee_log_level of aee_virt.h). */
enum { AEE__LOG_DEBUG = 0, AEE__LOG_INFO, AEE__LOG_WARNING, AEE__LOG_ERROR };

/* Sends `size` bytes as one line. */
void aee__log_line(int level, const char *line, size_t size);

/* aee_abort() for callers that have their text ready: needs no printf and no stack to speak of. */
_Noreturn void aee__abort_text(const char *text);

#endif
