/* memory.c: rows about memory: first touches, and taking a region away. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/machine.h"
#include "bench/rows.h"
#include "bench/stage.h"

#define LONG_BUDGET_NS (10 * BENCH_NS_PER_SECOND)

enum { PAGE = 4096, PAGES = 1024, BLOCKS = 8 }; /* pages a sample, samples before they run out */
enum { HEAP = 64 << 20, BARE_MEMORY = 64 << 20 };

/* ---- first_touch -------------------------------------------------------------------------- */

/* Writes to each of 1024 pages, leaves, and goes on with the next ones:
 *         mov $DATA, %rbx
 *   next: mov $PAGES, %ecx
 *   page: mov %al, (%rbx); add $4096, %rbx; dec %ecx; jne page
 *         out %al, $PORT; jmp next */
static const uint8_t touch_loop[] = {0x48,       0xc7, 0xc3,
                                     0x00,       0x00, BENCH_MACHINE_DATA >> 16,
                                     0x00,       0xb9, 0x00,
                                     PAGES >> 8, 0x00, 0x00,
                                     0x88,       0x03, 0x48,
                                     0x81,       0xc3, 0x00,
                                     0x10,       0x00, 0x00,
                                     0xff,       0xc9, 0x75,
                                     0xf3,       0xe6, BENCH_MACHINE_PORT,
                                     0xeb,       0xea};
_Static_assert(BENCH_MACHINE_DATA == 0x200000 && PAGES % 256 == 0, "as the code has them");

struct touch {
    struct bench_stage stage;
    struct bench_kvm kvm;
    aee_function function;
};

static int measure_bare_touch(void *user, struct bench_samples *samples, uint32_t count,
                              struct bench_result *result)
{
    const struct touch *touch = user;
    struct bench_machine machine;
    int status = bench_machine_open(&machine, &touch->kvm, BARE_MEMORY, touch_loop,
                                    sizeof touch_loop, result);
    if (status == 0) {
        status = bench_machine_populate(&machine, result);
    }
    for (uint32_t i = 0; status == 0 && i < count; i++) {
        const uint64_t before = bench_now();
        status = bench_machine_run(&machine, result);
        bench_samples_add(samples, (double)(bench_now() - before) / PAGES);
    }
    bench_machine_close(&machine);
    return status;
}

/* A restart makes all memory fresh again. */
static int measure_touch(void *user, struct bench_samples *samples, uint32_t count,
                         struct bench_result *result)
{
    struct touch *touch = user;
    struct bench_stage *stage = &touch->stage;
    const int64_t pages = PAGES;
    aee_error error;
    aee_result status = aee_restart(stage->engine, stage->context, &error);
    for (uint32_t i = 0; status == AEE_OK && i < count; i++) {
        int64_t touched = 0;
        const uint64_t before = bench_now();
        status = aee_call_i64(stage->engine, stage->context, touch->function, &pages, 1, &touched,
                              &error);
        bench_samples_add(samples, (double)(bench_now() - before) / PAGES);
        if (status == AEE_OK && touched != PAGES) {
            return bench_skip(result, "the component ran out of memory");
        }
    }
    return bench_check(result, status, &error);
}

/* The same for memory that was not asked to be ready. */
static int add_unready(const struct bench *bench, struct bench_result *result)
{
    const struct bench_stage_plan plan = {
        .image = bench_image_compute,
        .mode = AEE_CALL_DIRECT,
        .limits = {.memory_bytes = HEAP, .call_budget_ns = LONG_BUDGET_NS}};
    struct touch touch = {.kvm = {.fd = -1}};
    struct bench_samples samples = {0};
    int status = bench_stage_open(&touch.stage, bench, &plan, result);
    if (status == 0 && bench_samples_init(&samples, BLOCKS) &&
        (status = bench_stage_find(&touch.stage, "bench_touch", &touch.function, result)) == 0) {
        status = measure_touch(&touch, &samples, BLOCKS, result);
    }
    bench_extra(result, "unready_p50_ns", bench_summarize(&samples).p50);
    bench_samples_free(&samples);
    bench_stage_close(&touch.stage);
    return status;
}

static int run_touch(struct touch *touch, struct bench *bench, bench_measure_fn floor,
                     struct bench_result *result)
{
    const struct bench_stage_plan plan = {
        .image = bench_image_compute,
        .mode = AEE_CALL_DIRECT,
        .limits = {.memory_bytes = HEAP, .ready_bytes = HEAP, .call_budget_ns = LONG_BUDGET_NS}};
    const struct bench_pair pair = {.floor = floor,
                                    .floor_user = touch,
                                    .row = measure_touch,
                                    .row_user = touch,
                                    .rounds = bench_scale(bench, 10),
                                    .floor_count = BLOCKS,
                                    .row_count = BLOCKS};
    int status = bench_stage_open(&touch->stage, bench, &plan, result);
    if (status == 0 &&
        (status = bench_stage_find(&touch->stage, "bench_touch", &touch->function, result)) == 0) {
        status = bench_interleave(&pair, result);
    }
    bench_stage_close(&touch->stage);
    return status == 0 ? add_unready(bench, result) : status;
}

static int run_first_touch(struct bench *bench, struct bench_result *result)
{
    struct touch touch = {.kvm = {.fd = -1}};
    int status = bench_kvm_open(&touch.kvm, result);
    if (status == 0) {
        status = run_touch(&touch, bench, measure_bare_touch, result);
    }
    bench_kvm_close(&touch.kvm);
    return status;
}

/* Of a memory file whose pages are there, but not yet in the tables of this process. */
static int measure_mapped_touch(void *user, struct bench_samples *samples, uint32_t count,
                                struct bench_result *result)
{
    const size_t size = (size_t)count * PAGES * PAGE;
    const int fd = memfd_create("aee-bench", MFD_CLOEXEC);
    volatile uint8_t *pages = MAP_FAILED;
    (void)user;
    if (fd >= 0 && fallocate(fd, 0, 0, (off_t)size) == 0) {
        pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    }
    const int reason = errno;
    if (fd >= 0) {
        (void)close(fd);
    }
    if (pages == MAP_FAILED) {
        return bench_skip(result, "a memory file could not be made: %s", strerror(reason));
    }
    for (uint32_t i = 0; i < count; i++) {
        volatile uint8_t *block = pages + (size_t)i * PAGES * PAGE;
        const uint64_t before = bench_now();
        for (uint32_t page = 0; page < PAGES; page++) {
            block[(size_t)page * PAGE] = 1;
        }
        bench_samples_add(samples, (double)(bench_now() - before) / PAGES);
    }
    (void)munmap((void *)(uintptr_t)pages, size);
    return 0;
}

static int run_first_touch_in_cell(struct bench *bench, struct bench_result *result)
{
    struct touch touch = {.kvm = {.fd = -1}};
    return run_touch(&touch, bench, measure_mapped_touch, result);
}

static const struct bench_row first_touch_in_cell = {
    .name = "first_touch",
    .unit = "ns",
    .floor = "mapped memory file",
    .target_text = "p50 <= 1.0 us a page",
    .how = "a component writes to 1024 fresh pages of its heap (aee_limits.ready_bytes) in one "
           "direct call, by page; floor: the same here, in a memory file that has its pages "
           "and was mapped anew",
    .target = {.p50 = 1000.0},
    .run = run_first_touch_in_cell,
};

const struct bench_row bench_row_first_touch = {
    .name = "first_touch",
    .unit = "ns",
    .floor = "populated page, A/D set",
    .target_text = "p50 <= 1.0 us a page",
    .how = "a component writes to 1024 fresh pages of its heap (aee_limits.ready_bytes) in one "
           "direct call, by page; floor: "
           "the same in a bare machine with populated memory and accessed and dirty bits set",
    .target = {.p50 = 1000.0},
    .run = run_first_touch,
    .in_cells = &first_touch_in_cell,
};

/* ---- revoke_4mib -------------------------------------------------------------------------- */

enum { REGION = 4 << 20, LINE = 64 }; /* the component writes a word of each line */

struct revoke {
    const struct bench *bench;
    struct bench_stage stage;
    aee_function writer;
    aee_region region;
    volatile uint64_t *data;
    pthread_t thread;
    /* Of the floor: native memory that a native thread writes to while it may. */
    volatile uint64_t *memory;
    atomic_bool writing;
};

static void *write_there(void *argument)
{
    struct revoke *revoke = argument;
    const int64_t args[] = {(int64_t)(uintptr_t)revoke->data, REGION};
    (void)aee_call_i64(revoke->stage.engine, revoke->stage.context, revoke->writer, args, 2, NULL,
                       NULL);
    return NULL;
}

static bool await_write(const volatile uint64_t *word)
{
    const uint64_t patience = bench_now() + BENCH_NS_PER_SECOND;
    const uint64_t seen = *word;
    while (*word == seen) {
        if (bench_now() > patience) {
            return false;
        }
        bench_pause();
    }
    return true;
}

/* Differs when a word of any line differs. */
static uint64_t sum_lines(const volatile uint64_t *words)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < REGION / 8; i += LINE / 8) {
        sum = sum * 31 + words[i];
    }
    return sum;
}

static int revoke_once(struct revoke *revoke, struct bench_samples *samples,
                       struct bench_result *result)
{
    struct bench_stage *stage = &revoke->stage;
    aee_error error;
    aee_result status = aee_wait_ready(stage->engine, stage->context, BENCH_NS_PER_SECOND, &error);
    if (status == AEE_OK) {
        status = aee_region_map(stage->engine, stage->context, revoke->region,
                                AEE_ACCESS_READ_WRITE, NULL, &error);
    }
    if (bench_check(result, status, &error) != 0) {
        return -1;
    }
    if (pthread_create(&revoke->thread, NULL, write_there, revoke) != 0) {
        return bench_skip(result, "a thread could not be started");
    }
    /* The last line: by then every page is in the guest's tables, and has to be taken out. */
    const bool writes = await_write(&revoke->data[(REGION - LINE) / 8]);
    const uint64_t before = bench_now();
    status = aee_region_unmap(stage->engine, stage->context, revoke->region, &error);
    bench_samples_add(samples, (double)(bench_now() - before));
    const uint64_t last = sum_lines(revoke->data);
    (void)pthread_join(revoke->thread, NULL); /* the write after the revoke ends its call */
    if (bench_check(result, status, &error) != 0) {
        return -1;
    }
    if (!writes || sum_lines(revoke->data) != last) {
        return bench_skip(result, writes ? "a write landed after the region was revoked"
                                         : "the component did not write");
    }
    return 0;
}

static int measure_revoke(void *user, struct bench_samples *samples, uint32_t count,
                          struct bench_result *result)
{
    for (uint32_t i = 0; i < count; i++) {
        if (revoke_once(user, samples, result) != 0) {
            return -1;
        }
    }
    return 0;
}

/* A native holder would die of the revoke; this one is told first, and writes to the end. */
static void *write_here(void *argument)
{
    struct revoke *revoke = argument;
    for (uint64_t value = 1; atomic_load_explicit(&revoke->writing, memory_order_relaxed);
         value++) {
        revoke->memory[REGION / 8] = value; /* the page behind the region, which stays */
        revoke->memory[REGION / 8 + 1] = value;
    }
    return NULL;
}

static int measure_mprotect(void *user, struct bench_samples *samples, uint32_t count,
                            struct bench_result *result)
{
    struct revoke *revoke = user;
    void *memory = (void *)(uintptr_t)revoke->memory;
    atomic_store(&revoke->writing, true);
    if (pthread_create(&revoke->thread, NULL, write_here, revoke) != 0) {
        return bench_skip(result, "a thread could not be started");
    }
    const bool writes = await_write(&revoke->memory[REGION / 8]);
    bool fine = writes;
    for (uint32_t i = 0; fine && i < count; i++) {
        memset(memory, (int)i + 1, REGION);
        const uint64_t before = bench_now();
        fine = mprotect(memory, REGION, PROT_NONE) == 0;
        bench_samples_add(samples, (double)(bench_now() - before));
        fine = mprotect(memory, REGION, PROT_READ | PROT_WRITE) == 0 && fine;
    }
    atomic_store(&revoke->writing, false);
    (void)pthread_join(revoke->thread, NULL);
    return fine ? 0 : bench_skip(result, "mprotect() failed: %s", strerror(errno));
}

static int open_revoke(struct revoke *revoke, struct bench_result *result)
{
    const struct bench_stage_plan plan = {
        .image = bench_image_large,
        .mode = AEE_CALL_DIRECT,
        .limits = {.call_budget_ns = LONG_BUDGET_NS, .restarts = 63, .restart_window_ns = 1}};
    const aee_region_desc desc = {.struct_size = sizeof desc,
                                  .flags = AEE_REGION_SAME_ADDRESS,
                                  .name = "revoked",
                                  .size_bytes = REGION};
    void *data = NULL;
    aee_error error;
    void *memory =
        mmap(NULL, REGION + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return bench_skip(result, "there is no memory for the floor");
    }
    revoke->memory = memory;
    if (bench_stage_open(&revoke->stage, revoke->bench, &plan, result) != 0 ||
        bench_stage_find(&revoke->stage, "large_write", &revoke->writer, result) != 0) {
        return -1;
    }
    aee_result status = aee_region_create(revoke->stage.engine, &desc, &revoke->region, &error);
    if (status == AEE_OK) {
        status = aee_region_data(revoke->stage.engine, revoke->region, &data, NULL, &error);
    }
    revoke->data = data;
    return bench_check(result, status, &error);
}

static int run_revoke(struct bench *bench, struct bench_result *result)
{
    struct revoke revoke = {.bench = bench};
    const struct bench_pair pair = {.floor = measure_mprotect,
                                    .floor_user = &revoke,
                                    .row = measure_revoke,
                                    .row_user = &revoke,
                                    .rounds = bench_scale(bench, 20),
                                    .floor_count = 10,
                                    .row_count = 10};
    int status = bench_need_two_cpus(bench, result);
    if (status == 0 && (status = open_revoke(&revoke, result)) == 0) {
        status = bench_interleave(&pair, result);
    }
    bench_stage_close(&revoke.stage);
    if (revoke.memory) {
        (void)munmap((void *)(uintptr_t)revoke.memory, REGION + PAGE);
    }
    return status;
}

const struct bench_row bench_row_revoke_4mib = {
    .name = "revoke_4mib",
    .unit = "ns",
    .floor = "mprotect",
    .target_text = "mean <= 150 us, and no write afterwards",
    .how = "aee_region_unmap() of 4 MiB that the component is writing to; floor: mprotect() of 4 "
           "MiB of this process while another thread writes beside it",
    .target = {.mean = 150000.0},
    .run = run_revoke,
};
