/* count_instructions.c: how many instructions of the library one call costs the calling thread, by
 * executing it one instruction at a time (ptrace). The figure depends on compiler and source only,
 * neither on the machine's speed nor on its load: instructions of libc and of the kernel's vDSO do
 * not count, and of many calls the one with the least waiting does.
 *
 *   count_instructions IMAGE direct|ring     prints "<instructions> <system calls>"
 *
 * Exits with 77 where there is no back end, or where ptrace is forbidden. */
#include <link.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "aee_virt.h"

enum { WARM_UP = 100, CALLS = 40, SKIPPED = 77 };
#define LONG_NS UINT64_C(10000000000)
/* The lane must still be spinning when a call comes that is executed step by step. */
#define SPIN_NS UINT64_C(10000000)

/* ---- The process that is watched ---------------------------------------------------------- */

/* Its address ends the counting. */
static __attribute__((noinline)) void end_of_call(void)
{
    __asm__ volatile("");
}

static void complain(const aee_error *error)
{
    (void)fprintf(stderr, "count_instructions: %s\n", error->text);
    _exit(error->code == AEE_ERR_NO_BACKEND ? SKIPPED : 1);
}

static void check(aee_result result, const aee_error *error)
{
    if (result != AEE_OK) {
        complain(error);
    }
}

static void make_calls(const char *image, aee_call_mode mode)
{
    const aee_engine_desc engine_desc = {
        .struct_size = sizeof engine_desc, .pool_size = 1, .spin_ns = SPIN_NS};
    const aee_context_desc desc = {.struct_size = sizeof desc,
                                   .name = "counted",
                                   .call_mode = mode,
                                   .limits = {.call_budget_ns = LONG_NS}};
    aee_error error;
    aee_engine *engine;
    aee_context context;
    aee_function function;
    check(aee_engine_create(&engine_desc, &engine, &error), &error);
    check(aee_context_create(engine, &desc, &context, &error), &error);
    check(aee_load_file(engine, context, image, &error), &error);
    check(aee_find_function(engine, context, "bench_empty", &function, &error), &error);
    for (int i = 0; i < WARM_UP + CALLS; i++) {
        /* Waits for the lane to spin again, without being counted. */
        check(aee_call_i64(engine, context, function, NULL, 0, NULL, &error), &error);
        if (i >= WARM_UP) {
            __asm__ volatile("int3");
        }
        const aee_result result = aee_call_i64(engine, context, function, NULL, 0, NULL, &error);
        end_of_call();
        check(result, &error);
    }
    aee_engine_destroy(engine);
}

/* ---- The process that counts -------------------------------------------------------------- */

struct range {
    uintptr_t begin;
    uintptr_t end;
};

/* Where the library's code lies; the child is a copy of this process, so there too. */
static int find_library(struct dl_phdr_info *info, size_t size, void *user)
{
    struct range *range = user;
    (void)size;
    if (!strstr(info->dlpi_name, "libaee_virt")) {
        return 0;
    }
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        if (header->p_type == PT_LOAD && (header->p_flags & PF_X)) {
            range->begin = info->dlpi_addr + header->p_vaddr;
            range->end = range->begin + header->p_memsz;
        }
    }
    return 1;
}

struct counts {
    unsigned long instructions;
    unsigned long system_calls;
};

static uintptr_t next_instruction(pid_t child)
{
    return (uintptr_t)ptrace(PTRACE_PEEKUSER, child, offsetof(struct user_regs_struct, rip), NULL);
}

/* Reading the clock is a system call only where the vDSO cannot do it: the machine's business. */
static bool is_system_call(pid_t child, uintptr_t at)
{
    const long word = ptrace(PTRACE_PEEKTEXT, child, at, NULL);
    return (word & 0xffff) == 0x050f &&
           ptrace(PTRACE_PEEKUSER, child, offsetof(struct user_regs_struct, rax), NULL) !=
               SYS_clock_gettime;
}

/* Continues the child until it stops. False: it has ended, with *status. */
static bool go_on(pid_t child, enum __ptrace_request how, int signal, int *status)
{
    return ptrace(how, child, NULL, (long)signal) == 0 && waitpid(child, status, __WALL) == child &&
           WIFSTOPPED(*status);
}

/* From the marker to end_of_call(). */
static bool count_call(pid_t child, const struct range *library, struct counts *counts, int *status)
{
    *counts = (struct counts){0};
    for (;;) {
        const uintptr_t at = next_instruction(child);
        if (at == (uintptr_t)end_of_call) {
            return true;
        }
        counts->instructions += at >= library->begin && at < library->end;
        counts->system_calls += is_system_call(child, at);
        do {
            const int signal = WSTOPSIG(*status) == SIGTRAP ? 0 : WSTOPSIG(*status);
            if (!go_on(child, PTRACE_SINGLESTEP, signal, status)) {
                return false;
            }
        } while (WSTOPSIG(*status) != SIGTRAP);
    }
}

static int count_calls(pid_t child, const struct range *library)
{
    struct counts least = {0};
    struct counts counts;
    int status;
    if (waitpid(child, &status, __WALL) != child || !WIFSTOPPED(status)) {
        return SKIPPED;
    }
    int signal = 0;
    while (go_on(child, PTRACE_CONT, signal, &status)) {
        signal = WSTOPSIG(status);
        if (signal != SIGTRAP) {
            continue;
        }
        signal = 0;
        if (!count_call(child, library, &counts, &status)) {
            break;
        }
        if (least.instructions == 0 || counts.instructions < least.instructions) {
            least = counts;
        }
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
    }
    (void)printf("%lu %lu\n", least.instructions, least.system_calls);
    return least.instructions > 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct range library = {0};
    if (argc != 3 || (strcmp(argv[2], "direct") != 0 && strcmp(argv[2], "ring") != 0)) {
        (void)fputs("usage: count_instructions IMAGE direct|ring\n", stderr);
        return 2;
    }
    if (dl_iterate_phdr(find_library, &library) == 0) {
        (void)fputs("count_instructions: libaee_virt.so is not there\n", stderr);
        return 1;
    }
    const pid_t child = fork();
    if (child == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) {
            _exit(SKIPPED);
        }
        (void)raise(SIGSTOP);
        make_calls(argv[1], argv[2][0] == 'd' ? AEE_CALL_DIRECT : AEE_CALL_RING);
        _exit(0);
    }
    return child > 0 ? count_calls(child, &library) : 1;
}
