/* backtrace.h: the calls that led to a crash, with files and lines, from what was captured of the
 * stack and the debuggers' information in the image, which elfutils' libdw reads. The image is not
 * trusted, and libdw was not written for such input: only on request (docs/crashes.md), never at
 * the crash. Uses malloc(); any thread that is not jailed. */
#ifndef AEE_RECOVERY_BACKTRACE_H
#define AEE_RECOVERY_BACKTRACE_H

#include "isolation/crash_record.h"
#include "isolation/image/image.h"

#define AEE__FRAMES_MAX 64u

struct aee__frame {
    uint64_t pc;     /* of a caller: behind its call */
    uint64_t offset; /* of it in the function */
    uint32_t line;   /* 0: not known */
    uint32_t column;
    bool inlined; /* part of the next frame, with the same pc */
    bool guessed; /* no rule says how its caller was found */
    char function[128];
    char file[192];
};

/* How many frames there are, innermost first; 0 where not even the first is known. *why, of
 * AEE__BACKTRACE_WHY bytes, says why the image's information was not used, or "". */
#define AEE__BACKTRACE_WHY 96u
uint32_t aee__backtrace(const struct aee__crash_record *record, struct aee__frame *frames,
                        uint32_t capacity, char *why);

/* A part of a stack, from near its pointer up. */
struct aee__stack_view {
    const uint8_t *bytes;
    uint64_t start; /* gva */
    uint64_t size;
};

/* What lies at a stack pointer, in place: of lanes that do not run. Nothing where it is wild. */
void aee__stack_view_of(const struct aee__memory *memory, uint64_t rsp,
                        struct aee__stack_view *view);
/* The registers as the component has them: of a lane that stopped in the library's code, those of
 * its caller, as far as they are known. */
aee_registers aee__backtrace_component(const struct aee__image *image,
                                       const aee_registers *registers,
                                       const struct aee__stack_view *stack);

#endif
