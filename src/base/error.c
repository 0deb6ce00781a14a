#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *aee_result_name(aee_result result)
{
    switch (result) {
#define NAME(name, value, text) \
    case name:                  \
        return #name;
        AEE_RESULTS(NAME)
#undef NAME
    }
    return "unknown result";
}

const char *aee_result_text(aee_result result)
{
    switch (result) {
#define TEXT(name, value, text) \
    case name:                  \
        return text;
        AEE_RESULTS(TEXT)
#undef TEXT
    }
    return "unknown result";
}

const char *aee_version(void)
{
    return AEE_VERSION_STRING;
}

static aee_result set(aee_error *error, aee_result code, int os_errno)
{
    error->code = code;
    error->os_errno = os_errno;
    return code;
}

aee_result aee__fail(aee_error *error, aee_result code, const char *format, ...)
{
    if (!error) {
        return code;
    }
    va_list args;
    va_start(args, format);
    (void)vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    return set(error, code, 0);
}

static aee_result code_of_errno(int os_errno)
{
    switch (os_errno) {
    case ENOMEM:
        return AEE_ERR_NO_MEMORY;
    case EMFILE:
    case ENFILE:
    case EAGAIN:
    case ENOSPC:
        return AEE_ERR_LIMIT;
    case EACCES:
    case EPERM:
        return AEE_ERR_DENIED;
    default:
        return AEE_ERR_SYSTEM;
    }
}

/* The kernel's words, and which limit it was where that is known. */
static const char *text_of_errno(int os_errno)
{
    switch (os_errno) {
    case EMFILE:
        return "Too many open files (RLIMIT_NOFILE of the process)";
    case ENFILE:
        return "Too many open files in system (fs.file-max)";
    default:
        break;
    }
    const char *text = strerrordesc_np(os_errno);
    return text ? text : "unknown error";
}

aee_result aee__fail_os(aee_error *error, int os_errno, const char *format, ...)
{
    aee_result code = code_of_errno(os_errno);
    if (!error) {
        return code;
    }
    va_list args;
    va_start(args, format);
    int used = vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    if (used >= 0 && (size_t)used < sizeof error->text) {
        (void)snprintf(error->text + used, sizeof error->text - (size_t)used, ": %s",
                       text_of_errno(os_errno));
    }
    return set(error, code, os_errno);
}
