/* create.c: rows about getting a context. */
#include <elf.h>
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/machine.h"
#include "bench/rows.h"
#include "bench/stage.h"

/* The heap that a component asks for by default, and 1 MiB of image; the bare machine gets as much.
 */
enum { BALLAST = 0x5a }; /* what components/large.c is full of */
enum { HEAP = 16 << 20, IMAGE = 1 << 20, BARE_MEMORY = 18 << 20 };

static const uint8_t out_loop[] = {0xe6, BENCH_MACHINE_PORT, 0xeb, 0xfc};

struct creation {
    const struct bench *bench;
    struct bench_stage stage;
    struct bench_kvm kvm;
    struct bench_image image;
    int program; /* of the floor in cells; -1: none */
};

static int open_creation(struct creation *creation, struct bench *bench,
                         struct bench_result *result)
{
    const struct bench_stage_plan plan = {.engine = {.pool_size = 1}};
    creation->bench = bench;
    creation->kvm.fd = creation->program = -1;
    return bench_image_large(&creation->image, result) &&
                   bench_stage_open_engine(&creation->stage, bench, &plan, result) == 0
               ? 0
               : -1;
}

static void close_creation(struct creation *creation)
{
    bench_kvm_close(&creation->kvm);
    if (creation->program >= 0) {
        (void)close(creation->program);
    }
    bench_stage_close(&creation->stage);
}

/* ---- create_cold -------------------------------------------------------------------------- */

static int measure_bare(void *user, struct bench_samples *samples, uint32_t count,
                        struct bench_result *result)
{
    const struct creation *creation = user;
    for (uint32_t i = 0; i < count; i++) {
        struct bench_machine machine;
        const uint64_t before = bench_now();
        int status = bench_machine_open(&machine, &creation->kvm, BARE_MEMORY, out_loop,
                                        sizeof out_loop, result);
        if (status == 0) {
            memcpy(machine.memory + BENCH_MACHINE_DATA, creation->image.bytes, IMAGE);
            status = bench_machine_run(&machine, result);
        }
        bench_samples_add(samples, (double)(bench_now() - before));
        bench_machine_close(&machine);
        if (status != 0) {
            return -1;
        }
    }
    return 0;
}

/* A context from nothing to its first answer; destroyed by the caller. */
static int create(struct creation *creation, aee_context *context, struct bench_result *result)
{
    const aee_context_desc desc = {.struct_size = sizeof desc,
                                   .name = "cold",
                                   .call_mode = AEE_CALL_DIRECT,
                                   .limits = {.memory_bytes = HEAP}};
    aee_error error;
    aee_result status = aee_context_create(creation->stage.engine, &desc, context, &error);
    if (status == AEE_OK) {
        status = aee_load(creation->stage.engine, *context, creation->image.bytes,
                          creation->image.size, &error);
    }
    return bench_check(result, status, &error);
}

/* One context takes the machine that the pool holds; the next one must make its own. */
static int measure_cold(void *user, struct bench_samples *samples, uint32_t count,
                        struct bench_result *result)
{
    struct creation *creation = user;
    aee_engine *engine = creation->stage.engine;
    for (uint32_t i = 0; i < count; i++) {
        aee_context warm = {0};
        aee_context cold = {0};
        int status = bench_stage_await_pool(&creation->stage, 1, result);
        if (status == 0) {
            status = create(creation, &warm, result);
        }
        const uint64_t before = bench_now();
        if (status == 0) {
            status = create(creation, &cold, result);
        }
        bench_samples_add(samples, (double)(bench_now() - before));
        (void)aee_destroy(engine, cold, NULL);
        (void)aee_destroy(engine, warm, NULL);
        if (status != 0) {
            return -1;
        }
    }
    return 0;
}

static int run_create_cold(struct bench *bench, struct bench_result *result)
{
    struct creation creation = {0};
    const struct bench_pair pair = {.floor = measure_bare,
                                    .floor_user = &creation,
                                    .row = measure_cold,
                                    .row_user = &creation,
                                    .rounds = bench_scale(bench, 20),
                                    .floor_count = 5,
                                    .row_count = 5};
    int status = open_creation(&creation, bench, result);
    if (status == 0 && (status = bench_kvm_open(&creation.kvm, result)) == 0) {
        status = bench_interleave(&pair, result);
    }
    close_creation(&creation);
    return status;
}

/* The least program: it ends at once. */
struct program {
    Elf64_Ehdr header;
    Elf64_Phdr segment;
    uint8_t code[12];
};

static int open_program(struct creation *creation, struct bench_result *result)
{
    static const uint8_t exit_0[] = {0xb8, 60,   0, 0, 0, /* mov $__NR_exit, %eax */
                                     0x31, 0xff,          /* xor %edi, %edi */
                                     0x0f, 0x05};         /* syscall */
    const uint64_t base = 0x400000;
    struct program program = {
        .header = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, 1},
                   .e_type = ET_EXEC,
                   .e_machine = EM_X86_64,
                   .e_version = EV_CURRENT,
                   .e_entry = base + offsetof(struct program, code),
                   .e_phoff = offsetof(struct program, segment),
                   .e_ehsize = sizeof(Elf64_Ehdr),
                   .e_phentsize = sizeof(Elf64_Phdr),
                   .e_phnum = 1},
        .segment = {.p_type = PT_LOAD,
                    .p_flags = PF_R | PF_X,
                    .p_vaddr = base,
                    .p_filesz = sizeof program,
                    .p_memsz = sizeof program,
                    .p_align = 4096}};
    memcpy(program.code, exit_0, sizeof exit_0);
    creation->program = memfd_create("aee-bench", MFD_CLOEXEC);
    if (creation->program < 0 ||
        write(creation->program, &program, sizeof program) != sizeof program) {
        return bench_skip(result, "a memory file could not be made: %s", strerror(errno));
    }
    return 0;
}

/* Starts the program and waits for its end. */
static int run_program(const struct creation *creation, struct bench_result *result)
{
    char path[32];
    char *const none[] = {NULL};
    pid_t child;
    int status = -1;
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", creation->program);
    errno = posix_spawn(&child, path, NULL, NULL, none, none);
    if (errno != 0 || waitpid(child, &status, 0) != child || status != 0) {
        return bench_skip(result, "the least process could not be run: %s", strerror(errno));
    }
    return 0;
}

static int measure_process(void *user, struct bench_samples *samples, uint32_t count,
                           struct bench_result *result)
{
    const struct creation *creation = user;
    int status = 0;
    for (uint32_t i = 0; status == 0 && i < count; i++) {
        const uint64_t before = bench_now();
        const int fd = memfd_create("aee-bench", MFD_CLOEXEC);
        void *memory = fd >= 0 && ftruncate(fd, BARE_MEMORY) == 0
                           ? mmap(NULL, BARE_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
                           : MAP_FAILED;
        if (memory == MAP_FAILED) {
            status = bench_skip(result, "a memory file could not be made: %s", strerror(errno));
        } else {
            memcpy(memory, creation->image.bytes, IMAGE);
            status = run_program(creation, result);
        }
        bench_samples_add(samples, (double)(bench_now() - before));
        if (memory != MAP_FAILED) {
            (void)munmap(memory, BARE_MEMORY);
        }
        if (fd >= 0) {
            (void)close(fd);
        }
    }
    return status;
}

static int run_create_cold_in_cell(struct bench *bench, struct bench_result *result)
{
    struct creation creation = {0};
    const struct bench_pair pair = {.floor = measure_process,
                                    .floor_user = &creation,
                                    .row = measure_cold,
                                    .row_user = &creation,
                                    .rounds = bench_scale(bench, 20),
                                    .floor_count = 5,
                                    .row_count = 5};
    int status = open_creation(&creation, bench, result);
    if (status == 0 && (status = open_program(&creation, result)) == 0) {
        status = bench_interleave(&pair, result);
    }
    close_creation(&creation);
    return status;
}

static const struct bench_row create_cold_in_cell = {
    .name = "create_cold",
    .unit = "ns",
    .floor = "bare process",
    .target_text = "",
    .how = "aee_context_create() and aee_load() of a 1 MiB image, 16 MiB heap, with an empty pool "
           "that is being filled meanwhile; floor: a memory file with a copy of the image, and a "
           "static program of nine bytes started, run and reaped",
    .run = run_create_cold_in_cell,
};

const struct bench_row bench_row_create_cold = {
    .name = "create_cold",
    .unit = "ns",
    .floor = "bare KVM",
    .target_text = "p50 <= 1.3x",
    .how = "aee_context_create() and aee_load() of a 1 MiB image, 16 MiB heap, with an empty pool "
           "that is being filled meanwhile; floor: VM, vCPU, CPUID, slot, copy, registers, first "
           "exit by raw ioctls",
    .target = {.p50_ratio = 1.3},
    .run = run_create_cold,
    .in_cells = &create_cold_in_cell,
};

/* ---- acquire_pooled ----------------------------------------------------------------------- */

struct acquisition {
    struct bench_stage stage;
    aee_function mark;
};

/* Waits for an instance that was built ahead, and leaves a mark in the one that it will replace. */
static int prepare(struct acquisition *acquisition, struct bench_result *result)
{
    struct bench_stage *stage = &acquisition->stage;
    const uint64_t patience = bench_now() + 10 * BENCH_NS_PER_SECOND;
    aee_context_info info;
    do {
        bench_sleep(BENCH_NS_PER_MS); /* what the last one left is freed meanwhile */
        if (bench_stage_info(stage, &info, result) != 0) {
            return -1;
        }
    } while (info.spares_ready == 0 && bench_now() < patience);
    if (info.spares_ready == 0) {
        return bench_skip(result, "no spare was ready after 10 s");
    }
    aee_error error;
    const aee_result status =
        aee_call_i64(stage->engine, stage->context, acquisition->mark, NULL, 0, NULL, &error);
    return bench_check(result, status, &error);
}

/* The mark must not be in the new instance: its memory is its own. */
static int check_clean(struct acquisition *acquisition, struct bench_result *result)
{
    struct bench_stage *stage = &acquisition->stage;
    aee_error error;
    int64_t before = 0;
    const aee_result status =
        aee_call_i64(stage->engine, stage->context, acquisition->mark, NULL, 0, &before, &error);
    if (status != AEE_OK) {
        return bench_check(result, status, &error);
    }
    return before == BALLAST ? 0 : bench_skip(result, "memory of the old instance is in the new");
}

static int measure_acquire(void *user, struct bench_samples *samples, uint32_t count,
                           struct bench_result *result)
{
    struct acquisition *acquisition = user;
    struct bench_stage *stage = &acquisition->stage;
    for (uint32_t i = 0; i < count; i++) {
        aee_error error;
        if (prepare(acquisition, result) != 0) {
            return -1;
        }
        const uint64_t before = bench_now();
        const aee_result status = aee_restart(stage->engine, stage->context, &error);
        bench_samples_add(samples, (double)(bench_now() - before));
        if (bench_check(result, status, &error) != 0 || check_clean(acquisition, result) != 0) {
            return -1;
        }
    }
    return 0;
}

static int run_acquire_pooled(struct bench *bench, struct bench_result *result)
{
    const struct bench_stage_plan plan = {.image = bench_image_large,
                                          .mode = AEE_CALL_DIRECT,
                                          .limits = {.memory_bytes = HEAP, .spares = 1}};
    struct acquisition acquisition = {0};
    const struct bench_pair pair = {.row = measure_acquire,
                                    .row_user = &acquisition,
                                    .rounds = bench_scale(bench, 20),
                                    .row_count = 10};
    int status = bench_stage_open(&acquisition.stage, bench, &plan, result);
    if (status == 0 && (status = bench_stage_find(&acquisition.stage, "large_mark",
                                                  &acquisition.mark, result)) == 0) {
        status = bench_interleave(&pair, result);
    }
    bench_stage_close(&acquisition.stage);
    return status;
}

const struct bench_row bench_row_acquire_pooled = {
    .name = "acquire_pooled",
    .unit = "ns",
    .target_text = "p50 <= 60 us",
    .how = "aee_restart() of a context with a 1 MiB image while a spare is ready; a mark left in "
           "the old "
           "instance must not be in the new one",
    .target = {.p50 = 60000.0},
    .run = run_acquire_pooled,
};
