/* core_library.h: what tells a debugger of the library's code in a component (the vDSO), which is
 * no ELF file there: a small one that a core file has beside it, as Linux has its vDSO. It names
 * the code, and says that a stack ends where it was entered. Pure. */
#ifndef AEE_RECOVERY_CORE_LIBRARY_H
#define AEE_RECOVERY_CORE_LIBRARY_H

#include <stdint.h>

#include "aee_abi.h"

#define AEE__CORE_LIBRARY_SIZE 4096u
/* Where nothing is mapped in a component: right below the code. */
#define AEE__CORE_LIBRARY_GVA (AEE_GVA_VDSO - AEE__CORE_LIBRARY_SIZE)

void aee__core_library(uint8_t page[AEE__CORE_LIBRARY_SIZE]);

#endif
