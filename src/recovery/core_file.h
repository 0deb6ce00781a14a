/* core_file.h: a crashed instance as an ELF core file, which gdb opens beside the image: its
 * private memory, the regions that are mapped now, its lanes as threads, the crashed one first, and
 * the report as a note. Reads the memory files, not mappings, so that holes stay holes. On the
 * housekeeper's thread; the instance is held meanwhile. */
#ifndef AEE_RECOVERY_CORE_FILE_H
#define AEE_RECOVERY_CORE_FILE_H

#include "isolation/context.h"

/* The note with the report: owner and type. */
#define AEE__CORE_NOTE_OWNER "AEE"
#define AEE__CORE_NOTE_TYPE 0x41454501u

struct aee__core_content {
    struct aee__instance *instance;
    const struct aee__crash_record *record;
    const char *report; /* JSON */
    size_t report_size;
    uint64_t max_bytes; /* of memory: what comes on top is left out, regions and heap first */
};

/* Writes it from the start of an empty file; *left_out (bytes) receives what did not fit. */
aee_result aee__core_write(int fd, const struct aee__core_content *content, uint64_t *left_out,
                           aee_error *error);

#endif
