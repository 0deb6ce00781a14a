/* window.c: the addresses that all components have, of which the process has one set. They are
 * reserved while a back end is open, and show one machine's memory at a time: whoever enters a lane
 * of another waits for its turn and until all lanes of that one have left, and maps its own files
 * there. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/sys.h"
#include "ept/pagetable.h"
#include "isolation/none/none_internal.h"

#ifndef MAP_FIXED_NOREPLACE /* Linux 4.17 */
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#define RESERVE_FLAGS (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)

#define PAGE 4096u
#define ARENA_SIZE ((uint64_t)AEE__NONE_BLOCK_SIZE * AEE__NONE_BLOCKS)

/* How long a machine keeps the window that others wait for. */
#define SLICE_NS UINT64_C(5000000)

static const struct range {
    uint64_t start;
    uint64_t end;
} ranges[] = {{AEE_GVA_SYSTEM, AEE_GVA_LANES + AEE_MAX_LANES *AEE_LANE_STRIDE},
              {AEE_GVA_HEAP, AEE_GVA_HEAP + AEE_HEAP_MAX},
              {AEE_GVA_REGIONS, AEE_GVA_REGIONS + AEE_REGIONS_SIZE}};
#define RANGES (sizeof ranges / sizeof ranges[0])

/* A thread that waits to enter; on its stack. */
struct waiter {
    struct waiter *next;
};

/* All of it under the lock, but the arena's address, which handlers read while it is there. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint32_t *alive; /* a page that reads 0 in a child of fork() */
    uint32_t users;  /* back ends */
    struct aee__vm *mapped;
    uint32_t inside;       /* lanes of `mapped` in lane_run() */
    uint64_t slice_end_ns; /* 0: nobody has waited yet */
    struct waiter *first;
    uint64_t blocks[AEE__NONE_BLOCKS / 64]; /* one bit each: taken */
} window = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

uintptr_t aee__none_arena;

static void *pointer(uint64_t address)
{
    return (void *)(uintptr_t)address; // NOLINT(performance-no-int-to-ptr)
}

/* ---- Addresses ---------------------------------------------------------------------------- */

static bool is_in_window(struct aee__gva gva, uint64_t size)
{
    for (unsigned i = 0; i < RANGES; i++) {
        if (aee__within(gva.value, size, ranges[i].start, ranges[i].end)) {
            return true;
        }
    }
    return false;
}

static void release(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        (void)aee__sys_munmap(pointer(ranges[i].start), ranges[i].end - ranges[i].start);
    }
}

/* An older kernel takes the address for a hint. */
static aee_result reserve(aee_error *error)
{
    for (unsigned i = 0; i < RANGES; i++) {
        uint64_t size = ranges[i].end - ranges[i].start;
        void *wanted = pointer(ranges[i].start);
        void *got =
            aee__sys_mmap(wanted, size, PROT_NONE, RESERVE_FLAGS | MAP_FIXED_NOREPLACE, -1, 0);
        if (got == wanted) {
            continue;
        }
        int os_errno = errno;
        if (got != MAP_FAILED) {
            (void)aee__sys_munmap(got, size);
            os_errno = EEXIST;
        }
        release(i);
        return os_errno == EEXIST
                   ? aee__fail(error, AEE_ERR_UNSUPPORTED,
                               "the process has something of its own at 0x%llx to 0x%llx, where "
                               "components lie (is the program position-dependent, or run by "
                               "a sanitizer?)",
                               (unsigned long long)ranges[i].start,
                               (unsigned long long)ranges[i].end)
                   : aee__fail_os(error, os_errno, "cannot reserve 0x%llx to 0x%llx",
                                  (unsigned long long)ranges[i].start,
                                  (unsigned long long)ranges[i].end);
    }
    return AEE_OK;
}

/* Nothing is there, and nobody else gets it. */
static int clear(uint64_t start, uint64_t size)
{
    return aee__sys_mmap(pointer(start), size, PROT_NONE, RESERVE_FLAGS | MAP_FIXED, -1, 0) ==
                   MAP_FAILED
               ? -1
               : 0;
}

static int clear_all(void)
{
    int status = 0;
    window.mapped = NULL;
    for (unsigned i = 0; i < RANGES; i++) {
        status |= clear(ranges[i].start, ranges[i].end - ranges[i].start);
    }
    return status;
}

/* A child of fork() does not get it, as with all memory of components. */
static void keep_from_children(void)
{
    for (unsigned i = 0; i < RANGES; i++) {
        (void)aee__sys_madvise(pointer(ranges[i].start), ranges[i].end - ranges[i].start,
                               MADV_DONTFORK);
    }
}

/* Code is mapped privately: a debugger can write breakpoints only there. */
static int show(const struct aee__vm *vm, const struct aee__none_mapping *mapping)
{
    const struct aee__file_map *map = &mapping->map;
    int protection = PROT_READ | (map->rights & AEE__PT_WRITE ? PROT_WRITE : 0) |
                     (map->rights & AEE__PT_EXECUTE ? PROT_EXEC : 0);
    int sharing = protection == (PROT_READ | PROT_EXEC) ? MAP_PRIVATE : MAP_SHARED;
    void *got = aee__sys_mmap(pointer(map->gva.value), map->size, protection,
                              sharing | MAP_NORESERVE | MAP_FIXED, vm->files[mapping->file].fd,
                              (off_t)map->offset);
    return got == MAP_FAILED ? -1 : 0;
}

static int show_all(struct aee__vm *vm)
{
    int status = clear_all();
    for (unsigned i = 0; i < AEE__NONE_MAPPINGS && status == 0; i++) {
        if (vm->mappings[i].map.size > 0) {
            status = show(vm, &vm->mappings[i]);
        }
    }
    if (status != 0) {
        int error = errno;
        (void)clear_all();
        errno = error;
        return status;
    }
    keep_from_children();
    window.mapped = vm;
    return 0;
}

/* ---- Blocks ------------------------------------------------------------------------------- */

static aee_result open_arena(aee_error *error)
{
    const uint64_t size = ARENA_SIZE;
    uint8_t *got =
        aee__sys_mmap(NULL, size + AEE__NONE_BLOCK_SIZE, PROT_NONE, RESERVE_FLAGS, -1, 0);
    if (got == MAP_FAILED) {
        return aee__fail_os(error, errno, "cannot reserve addresses for signal stacks");
    }
    uint64_t before = -(uintptr_t)got & (AEE__NONE_BLOCK_SIZE - 1);
    if (before > 0) {
        (void)aee__sys_munmap(got, before);
    }
    (void)aee__sys_munmap(got + before + size, AEE__NONE_BLOCK_SIZE - before);
    (void)aee__sys_madvise(got + before, size, MADV_DONTFORK);
    __atomic_store_n(&aee__none_arena, (uintptr_t)got + before, __ATOMIC_RELEASE);
    return AEE_OK;
}

static void close_arena(void)
{
    void *arena = pointer(aee__none_arena);
    __atomic_store_n(&aee__none_arena, 0, __ATOMIC_RELEASE);
    (void)aee__sys_munmap(arena, ARENA_SIZE);
}

static uint32_t find_free(void)
{
    for (uint32_t i = 0; i < AEE__NONE_BLOCKS / 64; i++) {
        if (window.blocks[i] != UINT64_MAX) {
            return i * 64 + (uint32_t)__builtin_ctzll(~window.blocks[i]);
        }
    }
    return AEE__NONE_BLOCKS;
}

struct aee__none_block *aee__none_block_take(void)
{
    struct aee__none_block *block = NULL;
    (void)pthread_mutex_lock(&window.lock);
    uint32_t index = find_free();
    if (index < AEE__NONE_BLOCKS) {
        block = pointer(aee__none_arena + (uint64_t)index * AEE__NONE_BLOCK_SIZE);
        if (aee__sys_protect(block, AEE__NONE_BLOCK_SIZE, 1) == 0) {
            window.blocks[index / 64] |= UINT64_C(1) << (index % 64);
        } else {
            block = NULL;
        }
    } else {
        errno = ENOMEM;
    }
    (void)pthread_mutex_unlock(&window.lock);
    return block;
}

void aee__none_block_give(struct aee__none_block *block)
{
    if (!block) {
        return;
    }
    (void)pthread_mutex_lock(&window.lock);
    uint64_t index = ((uintptr_t)block - aee__none_arena) / AEE__NONE_BLOCK_SIZE;
    window.blocks[index / 64] &= ~(UINT64_C(1) << (index % 64));
    (void)aee__sys_madvise(block, AEE__NONE_BLOCK_SIZE, MADV_DONTNEED);
    (void)aee__sys_protect(block, AEE__NONE_BLOCK_SIZE, 0);
    (void)pthread_mutex_unlock(&window.lock);
}

/* ---- Opening ------------------------------------------------------------------------------ */

/* In a child of fork() all of it is the parent's, perhaps half done; the addresses are free, and
 * the handlers are there. */
static void forget_parent(void)
{
    if (!window.alive || *window.alive != 0) {
        return;
    }
    (void)aee__sys_munmap(window.alive, PAGE);
    release(RANGES);
    memset(&window, 0, sizeof window);
    (void)pthread_mutex_init(&window.lock, NULL);
    (void)pthread_cond_init(&window.changed, NULL);
    __atomic_store_n(&aee__none_arena, 0, __ATOMIC_RELEASE);
    aee__none_handlers_forget();
}

static aee_result mark_process(aee_error *error)
{
    void *page =
        aee__sys_mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        return aee__fail_os(error, errno, "cannot get a page");
    }
    if (aee__sys_madvise(page, PAGE, MADV_WIPEONFORK) != 0) {
        int os_errno = errno;
        (void)aee__sys_munmap(page, PAGE);
        return aee__fail_os(error, os_errno, "MADV_WIPEONFORK");
    }
    window.alive = page;
    *window.alive = 1;
    return AEE_OK;
}

static void close_last(void)
{
    window.mapped = NULL;
    if (window.alive) {
        (void)aee__sys_munmap(window.alive, PAGE);
        window.alive = NULL;
    }
    close_arena();
    release(RANGES);
}

static aee_result open_first(aee_error *error)
{
    aee_result result = reserve(error);
    if (result != AEE_OK) {
        return result;
    }
    keep_from_children();
    result = open_arena(error);
    if (result != AEE_OK) {
        release(RANGES);
        return result;
    }
    result = mark_process(error);
    if (result != AEE_OK) {
        close_last();
    }
    return result;
}

aee_result aee__none_window_open(int kick_signal, aee_error *error)
{
    forget_parent();
    (void)pthread_mutex_lock(&window.lock);
    aee_result result = window.users == 0 ? open_first(error) : AEE_OK;
    if (result == AEE_OK) {
        result = aee__none_handlers_install(kick_signal, error);
        window.users += result == AEE_OK;
        if (window.users == 0) {
            close_last();
        }
    }
    (void)pthread_mutex_unlock(&window.lock);
    return result;
}

void aee__none_window_close(int kick_signal)
{
    (void)pthread_mutex_lock(&window.lock);
    aee__none_handlers_remove(kick_signal);
    if (--window.users == 0) {
        close_last();
    }
    (void)pthread_mutex_unlock(&window.lock);
}

/* ---- Turns -------------------------------------------------------------------------------- */

static bool is_usable(const struct aee__vm *vm)
{
    return window.mapped == vm || window.inside == 0;
}

static void enqueue(struct waiter *waiter)
{
    struct waiter **end = &window.first;
    while (*end) {
        end = &(*end)->next;
    }
    *end = waiter;
}

static void dequeue(const struct waiter *waiter)
{
    struct waiter **at = &window.first;
    while (*at != waiter) {
        at = &(*at)->next;
    }
    *at = waiter->next;
    (void)pthread_cond_broadcast(&window.changed);
}

static void kick(struct aee__vm *vm, struct aee__none_lane *lane)
{
    atomic_store(&lane->block->kicked, 1);
    if (lane->running && !lane->signalled) {
        lane->signalled = aee__sys_signal_thread(lane->runner, vm->backend->kick_signal) == 0;
    }
}

/* Lanes that have been there for a slice leave, and come back when it is their turn again. */
static void make_room(void)
{
    for (uint32_t lane = 0; lane < AEE_MAX_LANES; lane++) {
        if (window.mapped->lanes[lane].running) {
            kick(window.mapped, &window.mapped->lanes[lane]);
        }
    }
}

/* Until something has changed; at the end of the slice, which begins when somebody waits, the lanes
 * that are there must leave. */
static void await_change(const struct aee__vm *vm)
{
    if (window.slice_end_ns == 0) {
        window.slice_end_ns = aee__now_ns() + SLICE_NS;
    }
    const struct timespec deadline = {.tv_sec = (time_t)(window.slice_end_ns / 1000000000u),
                                      .tv_nsec = (long)(window.slice_end_ns % 1000000000u)};
    (void)pthread_cond_clockwait(&window.changed, &window.lock, CLOCK_MONOTONIC, &deadline);
    if (window.slice_end_ns != 0 && aee__now_ns() >= window.slice_end_ns) {
        window.slice_end_ns = 0;
        if (!is_usable(vm)) {
            make_room();
        }
    }
}

/* In the order of arrival, also for lanes of the machine that is there: else it could stay for
 * ever. */
static void await_turn(const struct aee__vm *vm, const struct aee__none_block *block)
{
    struct waiter me = {.next = NULL};
    if (!window.first && is_usable(vm)) {
        return;
    }
    enqueue(&me);
    while (!atomic_load(&block->kicked) && (window.first != &me || !is_usable(vm))) {
        await_change(vm);
    }
    dequeue(&me);
}

enum aee__window_turn aee__none_window_enter(struct aee__vm *vm, struct aee__none_lane *lane)
{
    enum aee__window_turn turn = AEE__WINDOW_IN;
    (void)pthread_mutex_lock(&window.lock);
    await_turn(vm, lane->block);
    if (atomic_load(&lane->block->kicked)) {
        atomic_store(&lane->block->kicked, 0);
        turn = AEE__WINDOW_KICKED;
    } else if (window.mapped != vm && show_all(vm) != 0) {
        turn = AEE__WINDOW_FAILED;
    } else {
        aee__none_handlers_check();
        window.inside++;
        lane->running = true;
        lane->signalled = false;
        lane->runner = pthread_self();
    }
    int error = errno;
    (void)pthread_mutex_unlock(&window.lock);
    errno = error;
    return turn;
}

/* After this no kick is under way, and none is left in the thread. */
void aee__none_window_leave(struct aee__vm *vm, struct aee__none_lane *lane)
{
    (void)pthread_mutex_lock(&window.lock);
    bool signalled = lane->signalled;
    lane->running = false;
    atomic_store(&lane->block->kicked, 0);
    if (--window.inside == 0) {
        window.slice_end_ns = 0;
        if (window.first) {
            (void)pthread_cond_broadcast(&window.changed);
        }
    }
    (void)pthread_mutex_unlock(&window.lock);
    if (signalled) {
        aee__sys_consume_signal(vm->backend->kick_signal);
    }
}

/* The flag stops a lane that has not entered the component yet, the signal one that has. */
void aee__none_lane_kick(struct aee__vm *vm, uint32_t lane)
{
    struct aee__none_lane *mine = &vm->lanes[lane];
    if (!mine->block) {
        return;
    }
    (void)pthread_mutex_lock(&window.lock);
    kick(vm, mine);
    if (!mine->running) {
        (void)pthread_cond_broadcast(&window.changed); /* it may wait for its turn */
    }
    (void)pthread_mutex_unlock(&window.lock);
}

/* ---- What a machine sees ------------------------------------------------------------------ */

static void forget(struct aee__vm *vm, struct aee__none_mapping *mapping)
{
    struct aee__none_file *file = &vm->files[mapping->file];
    mapping->map.size = 0;
    if (--file->uses == 0) {
        (void)aee__sys_close(file->fd);
    }
}

static void forget_range(struct aee__vm *vm, struct aee__gva gva, uint64_t size)
{
    for (uint32_t i = 0; i < AEE__NONE_MAPPINGS; i++) {
        struct aee__none_mapping *mapping = &vm->mappings[i];
        if (mapping->map.size > 0 &&
            aee__within(mapping->map.gva.value, mapping->map.size, gva.value, gva.value + size)) {
            forget(vm, mapping);
        }
    }
}

static struct aee__none_mapping *note(struct aee__vm *vm, uint32_t file,
                                      const struct aee__file_map *map)
{
    for (uint32_t i = 0; i < AEE__NONE_MAPPINGS; i++) {
        if (vm->mappings[i].map.size == 0) {
            vm->mappings[i] = (struct aee__none_mapping){.map = *map, .file = file};
            vm->files[file].uses++;
            return &vm->mappings[i];
        }
    }
    return NULL;
}

/* Its own descriptor: the caller's may be closed. */
static uint32_t keep_file(struct aee__vm *vm, int fd, aee_result *result, aee_error *error)
{
    uint32_t file = 0;
    while (file < AEE__NONE_FILES && vm->files[file].uses > 0) {
        file++;
    }
    if (file == AEE__NONE_FILES) {
        *result = aee__fail(error, AEE_ERR_LIMIT, "cannot map memory: more than %u files",
                            AEE__NONE_FILES);
        return file;
    }
    int copy = aee__sys_dup(fd);
    *result = copy >= 0 ? AEE_OK : aee__fail_os(error, errno, "cannot map memory");
    vm->files[file] = (struct aee__none_file){.fd = copy, .uses = copy >= 0};
    return file;
}

static void drop_file(struct aee__vm *vm, uint32_t file)
{
    if (--vm->files[file].uses == 0) {
        (void)aee__sys_close(vm->files[file].fd);
    }
}

/* A region at the engine's own address is there already, with the engine's rights. */
static aee_result map_one(struct aee__vm *vm, uint32_t file, const struct aee__file_map *map,
                          aee_error *error)
{
    if (!is_in_window(map->gva, map->size)) {
        return AEE_OK;
    }
    forget_range(vm, map->gva, map->size);
    struct aee__none_mapping *mapping = note(vm, file, map);
    if (!mapping) {
        return aee__fail(error, AEE_ERR_LIMIT, "cannot map memory at 0x%llx: more than %u mappings",
                         (unsigned long long)map->gva.value, AEE__NONE_MAPPINGS);
    }
    if (window.mapped == vm && show(vm, mapping) != 0) {
        int os_errno = errno;
        forget(vm, mapping);
        (void)clear(map->gva.value, map->size);
        return aee__fail_os(error, os_errno, "cannot map memory at 0x%llx",
                            (unsigned long long)map->gva.value);
    }
    return AEE_OK;
}

aee_result aee__none_map(struct aee__vm *vm, int fd, const struct aee__file_map *list,
                         uint32_t count, aee_error *error)
{
    aee_result result;
    (void)pthread_mutex_lock(&window.lock);
    uint32_t file = keep_file(vm, fd, &result, error);
    for (uint32_t i = 0; i < count && result == AEE_OK; i++) {
        result = map_one(vm, file, &list[i], error);
    }
    if (file < AEE__NONE_FILES && vm->files[file].uses > 0) {
        drop_file(vm, file);
    }
    if (window.mapped == vm) {
        keep_from_children();
    }
    (void)pthread_mutex_unlock(&window.lock);
    return result;
}

aee_result aee__none_unmap(struct aee__vm *vm, struct aee__gva gva, uint64_t size, aee_error *error)
{
    aee_result result = AEE_OK;
    (void)pthread_mutex_lock(&window.lock);
    if (is_in_window(gva, size)) {
        forget_range(vm, gva, size);
        if (window.mapped == vm && clear(gva.value, size) != 0) {
            result = aee__fail_os(error, errno, "cannot unmap memory at 0x%llx",
                                  (unsigned long long)gva.value);
        }
    }
    (void)pthread_mutex_unlock(&window.lock);
    return result;
}

void aee__none_window_drop(struct aee__vm *vm)
{
    (void)pthread_mutex_lock(&window.lock);
    if (window.mapped == vm) {
        (void)clear_all();
    }
    for (uint32_t i = 0; i < AEE__NONE_MAPPINGS; i++) {
        if (vm->mappings[i].map.size > 0) {
            forget(vm, &vm->mappings[i]);
        }
    }
    (void)pthread_mutex_unlock(&window.lock);
}
