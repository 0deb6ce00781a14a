/* attacker_escape.c: calls the kernel, which a component must not be able to do. */
#include "attacker.h"
#include "escape.h"

#include <string.h>

static int64_t call_64(int64_t number, const int64_t *args)
{
    register int64_t r10 __asm__("r10") = args[3];
    register int64_t r8 __asm__("r8") = args[4];
    register int64_t r9 __asm__("r9") = args[5];
    __asm__ volatile("syscall"
                     : "+a"(number), "+r"(r10), "+r"(r8), "+r"(r9)
                     : "D"(args[0]), "S"(args[1]), "d"(args[2])
                     : "rcx", "r11", "memory");
    return number;
}

/* The entry for 32-bit programs, which works from 64-bit code too. */
static int64_t call_32(int64_t number, const int64_t *args)
{
    __asm__ volatile("pushq %%rbp; movq %6, %%rbp; int $0x80; popq %%rbp"
                     : "+a"(number)
                     : "b"(args[0]), "c"(args[1]), "d"(args[2]), "S"(args[3]), "D"(args[4]),
                       "r"(args[5])
                     : "r8", "r9", "r10", "r11", "memory");
    return number;
}

/* The request is a struct escape. Whatever the kernel answered: that it did is too much. */
AEE_SIGNATURE(escape, "b");
AEE_EXPORT int64_t escape(const void *request, size_t size, void *reply, size_t capacity)
{
    static struct escape attempt;
    if (size != sizeof attempt || capacity < sizeof(int64_t)) {
        return -1;
    }
    memcpy(&attempt, request, size);
    for (unsigned i = 0; i < 6; i++) {
        if (attempt.args[i] == ESCAPE_DATA) {
            attempt.args[i] = (int64_t)(uintptr_t)attempt.data;
        }
    }
    const int64_t answer = attempt.way == ESCAPE_SYSCALL ? call_64(attempt.number, attempt.args)
                                                         : call_32(attempt.number, attempt.args);
    memcpy(reply, &answer, sizeof answer);
    return (int64_t)sizeof answer;
}
