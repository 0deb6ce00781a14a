/* escape.h: one attempt of a component to call the kernel, as the test asks for it. */
#ifndef AEE_HOSTILE_ESCAPE_H
#define AEE_HOSTILE_ESCAPE_H

#include <stdint.h>

enum escape_way { ESCAPE_SYSCALL = 0, ESCAPE_INTERRUPT_80, ESCAPE_WAYS };

/* As an argument: the address of `data` in the component. */
#define ESCAPE_DATA INT64_C(0x5eedda7a)
#define ESCAPE_X32 INT64_C(0x40000000)

struct escape {
    int64_t way;
    int64_t number;
    int64_t args[6];
    char data[128];
};

#endif
