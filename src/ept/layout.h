/* layout.h: where things lie in guest physical memory. Guest virtual addresses are in aee_abi.h.
 *
 * The private memory of a context is one file, one host mapping and one memory slot; page tables
 * translate. It starts at 4 GiB, above every address that KVM reserves on Intel processors without
 * unrestricted guest mode (identity map and TSS around 0xfffbc000, KVM api.rst 4.42 and 4.20).
 * All addresses fit 36 bits, the least physical address width of x86-64 processors (SDM vol. 3A,
 * 4.1.4: MAXPHYADDR is 36 where CPUID does not say). */
#ifndef AEE_EPT_LAYOUT_H
#define AEE_EPT_LAYOUT_H

#include <stdint.h>

#include "aee_abi.h"

#define AEE__GPA_PRIVATE UINT64_C(0x100000000)
#define AEE__GPA_PRIVATE_END UINT64_C(0x800000000)
#define AEE__GPA_REGIONS UINT64_C(0x800000000)
#define AEE__GPA_END UINT64_C(0x1000000000)

_Static_assert(AEE__GPA_REGIONS + AEE_REGIONS_SIZE <= AEE__GPA_END, "regions fit 36 bits");
_Static_assert(AEE__GPA_PRIVATE + AEE_HEAP_MAX < AEE__GPA_PRIVATE_END, "the heap fits");

/* The system area at AEE_GVA_SYSTEM, in pages: tables that are only read, stubs that run at CPL0,
 * and the stacks onto which the processor pushes exception frames. */
#define AEE__SYSTEM_TABLE_PAGES 1u
#define AEE__SYSTEM_CODE_PAGES 1u
#define AEE__SYSTEM_STACK_PAGES 2u
#define AEE__SYSTEM_PAGES \
    (AEE__SYSTEM_TABLE_PAGES + AEE__SYSTEM_CODE_PAGES + AEE__SYSTEM_STACK_PAGES)

/* Guest addresses are types of their own: they cannot be used as host pointers by mistake. */
struct aee__gva {
    uint64_t value;
};
struct aee__gpa {
    uint64_t value;
};

#endif
