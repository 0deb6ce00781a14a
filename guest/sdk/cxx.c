/* cxx.c: what compiled C++ refers to when it is built without exceptions and RTTI. In C, with the
 * mangled names of the Itanium C++ ABI, so that the SDK needs no C++ compiler. Any lane. */
#include <stdbool.h>
#include <stdlib.h>

#include "aee_guest.h"
#include "sdk.h"

/* ---- operator new and delete ---- */

static void *new_or_give_up(size_t size, size_t align)
{
    void *memory = align == 0 ? malloc(size) : aligned_alloc(align, size);
    if (memory == NULL) {
        aee_out_of_memory();
    }
    return memory;
}

#define NEW(function, symbol)                    \
    void *function(size_t size) __asm__(symbol); \
    void *function(size_t size)                  \
    {                                            \
        return new_or_give_up(size, 0);          \
    }
#define NEW_NOTHROW(function, symbol)                             \
    void *function(size_t size, const void *tag) __asm__(symbol); \
    void *function(size_t size, const void *tag)                  \
    {                                                             \
        (void)tag;                                                \
        return malloc(size);                                      \
    }
#define NEW_ALIGNED(function, symbol)                          \
    void *function(size_t size, size_t align) __asm__(symbol); \
    void *function(size_t size, size_t align)                  \
    {                                                          \
        return new_or_give_up(size, align);                    \
    }
#define DELETE(function, symbol, ...)                           \
    void function(void *memory, ##__VA_ARGS__) __asm__(symbol); \
    void function(void *memory, ##__VA_ARGS__)                  \
    {                                                           \
        free(memory);                                           \
    }

NEW(new_object, "_Znwm")
NEW(new_array, "_Znam")
NEW_NOTHROW(new_object_nothrow, "_ZnwmRKSt9nothrow_t")
NEW_NOTHROW(new_array_nothrow, "_ZnamRKSt9nothrow_t")
NEW_ALIGNED(new_object_aligned, "_ZnwmSt11align_val_t")
NEW_ALIGNED(new_array_aligned, "_ZnamSt11align_val_t")

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
DELETE(delete_object, "_ZdlPv")
DELETE(delete_array, "_ZdaPv")
DELETE(delete_object_sized, "_ZdlPvm", size_t size)
DELETE(delete_array_sized, "_ZdaPvm", size_t size)
DELETE(delete_object_nothrow, "_ZdlPvRKSt9nothrow_t", const void *tag)
DELETE(delete_array_nothrow, "_ZdaPvRKSt9nothrow_t", const void *tag)
DELETE(delete_object_aligned, "_ZdlPvSt11align_val_t", size_t align)
DELETE(delete_array_aligned, "_ZdaPvSt11align_val_t", size_t align)
DELETE(delete_object_sized_aligned, "_ZdlPvmSt11align_val_t", size_t size, size_t align)
DELETE(delete_array_sized_aligned, "_ZdaPvmSt11align_val_t", size_t size, size_t align)
#pragma GCC diagnostic pop

const char std_nothrow __asm__("_ZSt7nothrow") = 0;

/* ---- Objects with static storage ---- */

/* Components are never unloaded: destructors of static objects do not run. */
void *__dso_handle = &__dso_handle;

int __cxa_atexit(void (*destructor)(void *), void *object, void *dso);
int __cxa_atexit(void (*destructor)(void *), void *object, void *dso)
{
    (void)destructor;
    (void)object;
    (void)dso;
    return 0;
}

int __cxa_thread_atexit(void (*destructor)(void *), void *object, void *dso);
int __cxa_thread_atexit(void (*destructor)(void *), void *object, void *dso)
{
    return __cxa_atexit(destructor, object, dso);
}

/* Guards of function-local statics. Byte 0: initialised, as the ABI demands; byte 1: some lane is
 * at it. */
struct guard {
    uint8_t done;
    uint8_t busy;
    uint8_t unused[6];
};

int __cxa_guard_acquire(struct guard *guard);
int __cxa_guard_acquire(struct guard *guard)
{
    /* Acquire pairs with the releases below. */
    while (__atomic_load_n(&guard->done, __ATOMIC_ACQUIRE) == 0) {
        if (__atomic_exchange_n(&guard->busy, 1u, __ATOMIC_ACQUIRE) == 0) {
            if (__atomic_load_n(&guard->done, __ATOMIC_ACQUIRE) == 0) {
                return 1;
            }
            __atomic_store_n(&guard->busy, 0u, __ATOMIC_RELEASE);
        }
        __builtin_ia32_pause();
    }
    return 0;
}

void __cxa_guard_release(struct guard *guard);
void __cxa_guard_release(struct guard *guard)
{
    __atomic_store_n(&guard->done, 1u, __ATOMIC_RELEASE);
    __atomic_store_n(&guard->busy, 0u, __ATOMIC_RELEASE);
}

void __cxa_guard_abort(struct guard *guard);
void __cxa_guard_abort(struct guard *guard)
{
    __atomic_store_n(&guard->busy, 0u, __ATOMIC_RELEASE);
}

/* ---- Ends that would be exceptions ---- */

#define DIES(function, symbol, text)               \
    _Noreturn void function(void) __asm__(symbol); \
    _Noreturn void function(void)                  \
    {                                              \
        aee__abort_text(text);                     \
    }
#define DIES_WITH(function, symbol, kind)                      \
    _Noreturn void function(const char *what) __asm__(symbol); \
    _Noreturn void function(const char *what)                  \
    {                                                          \
        aee_abort("%s: %s", kind, what);                       \
    }

DIES(pure_virtual, "__cxa_pure_virtual", "a pure virtual function was called")
DIES(deleted_virtual, "__cxa_deleted_virtual", "a deleted virtual function was called")
DIES(terminate, "_ZSt9terminatev", "std::terminate() was called")
DIES(bad_array_new_length, "_ZSt28__throw_bad_array_new_lengthv", "std::bad_array_new_length")
DIES(bad_function_call, "_ZSt25__throw_bad_function_callv", "std::bad_function_call")
DIES_WITH(length_error, "_ZSt20__throw_length_errorPKc", "std::length_error")
DIES_WITH(logic_error, "_ZSt19__throw_logic_errorPKc", "std::logic_error")
DIES_WITH(invalid_argument, "_ZSt24__throw_invalid_argumentPKc", "std::invalid_argument")
DIES_WITH(out_of_range, "_ZSt20__throw_out_of_rangePKc", "std::out_of_range")
DIES_WITH(out_of_range_format, "_ZSt24__throw_out_of_range_fmtPKcz", "std::out_of_range")

_Noreturn void bad_alloc(void) __asm__("_ZSt17__throw_bad_allocv");
_Noreturn void bad_alloc(void)
{
    aee_out_of_memory();
}
