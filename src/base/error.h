/* error.h: results and error sentences. Owns nothing; any thread. */
#ifndef AEE_BASE_ERROR_H
#define AEE_BASE_ERROR_H

#include <stddef.h>

#include "aee_virt.h"

/* Fills *error (may be NULL) with the code, os_errno and the sentence; returns the code. */
aee_result aee__fail(aee_error *error, aee_result code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same for a failed system call: appends strerror(os_errno) to the sentence and picks the code
 * (NO_MEMORY for ENOMEM, LIMIT for EMFILE/ENFILE/EAGAIN/ENOSPC, DENIED for EACCES/EPERM, else
 * SYSTEM). */
aee_result aee__fail_os(aee_error *error, int os_errno, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Clears *error (may be NULL); returns AEE_OK. */
static inline aee_result aee__ok(aee_error *error)
{
    if (error) {
        error->code = AEE_OK;
        error->os_errno = 0;
        error->text[0] = '\0';
    }
    return AEE_OK;
}

#endif
