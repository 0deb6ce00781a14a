/* trace_json.h: writes a trace that has ended in the Chrome trace event format (JSON), which the
 * Perfetto UI and chrome://tracing open. Names are untrusted text. One thread at a time. */
#ifndef AEE_MONITOR_TRACE_JSON_H
#define AEE_MONITOR_TRACE_JSON_H

#include "monitor/trace.h"

struct aee__trace_output {
    /* Takes the next bytes; not 0: no more. */
    int (*write)(void *user, const void *bytes, size_t size);
    void *user;
    uint64_t max_bytes; /* at least AEE__TRACE_BYTES_LEAST */
    int process;        /* number of the process */
    const char *title;  /* of the engine */
    const char *(*host_name)(const void *owner, int32_t function);
    const void *host_names;
};
/* So that all notes have room. */
#define AEE__TRACE_BYTES_LEAST (UINT64_C(2) << 20)

/* Where not all fits into max_bytes, the oldest calls of every track are left out, and counted. On
 * AEE_ERR_SYSTEM, `write` took no more; error->text is for the caller to fill. */
aee_result aee__trace_write(const struct aee__trace *trace, const struct aee__trace_output *output,
                            aee_error *error);

#endif
