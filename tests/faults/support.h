/* support.h: what tests with a whole engine share: components, an allocator that counts and fails
 * on demand, and counts of what the process holds. Include after cmocka.h. One file per test
 * program, so everything is static. */
#ifndef AEE_TESTS_FAULTS_SUPPORT_H
#define AEE_TESTS_FAULTS_SUPPORT_H

#include <dirent.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "aee_virt.h"
#include "level.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

#define MS UINT64_C(1000000)

/* ---- Time --------------------------------------------------------------------------------------- */

static inline uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline void sleep_ns(uint64_t ns)
{
    struct timespec delay = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
    (void)nanosleep(&delay, NULL);
}

static inline uint64_t scale(void)
{
    const char *text = getenv("AEE_TEST_TIMEOUT_SCALE");
    long factor = text ? strtol(text, NULL, 10) : 1;
    return (factor > 0 ? (uint64_t)factor : 1) * (SANITIZED ? 4 : 1);
}

/* Joins within a bounded time; false: the thread is stuck. */
static inline bool join_within(pthread_t thread, uint64_t ns)
{
    struct timespec until;
    ns *= scale();
    (void)clock_gettime(CLOCK_REALTIME, &until);
    uint64_t end = (uint64_t)until.tv_sec * 1000000000u + (uint64_t)until.tv_nsec + ns;
    until = (struct timespec){(time_t)(end / 1000000000u), (long)(end % 1000000000u)};
    return pthread_timedjoin_np(thread, NULL, &until) == 0;
}

/* ---- Components --------------------------------------------------------------------------------- */

struct file {
    uint8_t *bytes;
    size_t size;
};

static inline struct file read_component(const char *name)
{
    char path[512];
    struct file file = {NULL, 0};
    (void)snprintf(path, sizeof path, "%s/%s.elf", AEE_COMPONENT_DIR, name);
    FILE *stream = fopen(path, "rb");
    if (stream) {
        file.bytes = malloc(1u << 22);
        file.size = file.bytes ? fread(file.bytes, 1, 1u << 22, stream) : 0;
        (void)fclose(stream);
    }
    return file;
}

/* ---- Skipping ----------------------------------------------------------------------------------- */

/* 0 where engines of the level that is to be tested can be made; otherwise prints why not. */
static inline int skip_without_engine(void)
{
    struct file file = read_component("minimal");
    bool built = file.size > 0;
    free(file.bytes);
    (void)mallopt(M_ARENA_MAX, 1); /* so that the C library's own mappings do not come and go */
    if (!built) {
        (void)printf("SKIP: the components are not built\n");
        return 77;
    }
    return skip_without_level();
}

/* ---- Allocator ---------------------------------------------------------------------------------- */

/* Counts bytes, checks the sizes that are given back, fails the n-th request. */
struct ledger {
    _Atomic size_t live;
    _Atomic size_t requests;
    _Atomic size_t wrong;
    _Atomic size_t fail_at; /* 0: never */
    _Atomic bool fail_on;   /* and every later one */
};

static inline void *ledger_alloc(void *user, void *old, size_t old_size, size_t size)
{
    struct ledger *ledger = user;
    size_t *head = old ? (size_t *)old - 2 : NULL;
    if (head && head[0] != old_size) {
        (void)atomic_fetch_add(&ledger->wrong, 1);
    }
    if (size == 0) {
        if (head) {
            (void)atomic_fetch_sub(&ledger->live, head[0]);
        }
        free(head);
        return NULL;
    }
    size_t number = atomic_fetch_add(&ledger->requests, 1) + 1;
    size_t fail_at = atomic_load(&ledger->fail_at);
    if (number == fail_at || (ledger->fail_on && fail_at > 0 && number > fail_at)) {
        return NULL;
    }
    size_t *grown = realloc(head, size + 2 * sizeof *head);
    if (grown) {
        (void)atomic_fetch_add(&ledger->live, size - (old ? old_size : 0));
        grown[0] = size;
    }
    return grown ? grown + 2 : NULL;
}

/* ---- What the process holds --------------------------------------------------------------------- */

struct resources {
    int fds;
    int threads;
    int named;         /* mappings of guest memory, regions and vCPUs */
    uint64_t reserved; /* bytes of large reservations without access */
    int mappings;      /* all of them */
};

static inline int count_entries(const char *path)
{
    int count = 0;
    DIR *directory = opendir(path);
    while (directory && readdir(directory)) {
        count++;
    }
    if (directory) {
        (void)closedir(directory);
    }
    return count;
}

static inline struct resources count_resources(void)
{
    struct resources held = {.fds = count_entries("/proc/self/fd"),
                             .threads = count_entries("/proc/self/task")};
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps)) {
        char *after;
        uint64_t start = strtoull(line, &after, 16);
        uint64_t end = strtoull(after + 1, &after, 16);
        held.mappings++;
        if (strstr(line, "memfd:aee") || strstr(line, "kvm")) {
            held.named++;
        } else if (strstr(after, "---p") && end - start >= (UINT64_C(16) << 20) &&
                   !strchr(line, '/') && !strchr(line, '[')) {
            held.reserved += end - start;
        }
    }
    if (maps) {
        (void)fclose(maps);
    }
    return held;
}

static inline bool same_resources(const struct resources *a, const struct resources *b)
{
    return a->fds == b->fds && a->threads == b->threads && a->named == b->named &&
           (SANITIZED || a->reserved == b->reserved);
}

/* The kernel drops a joined thread's entry a moment later: waits for it. */
static inline bool back_to(const struct resources *before, struct resources *now)
{
    uint64_t end = now_ns() + 2000 * MS * scale();
    for (;;) {
        *now = count_resources();
        if (same_resources(before, now)) {
            return true;
        }
        if (now_ns() > end) {
            (void)printf("held before: %d fds, %d threads, %d named mappings, %llu reserved\n"
                         "held now:    %d fds, %d threads, %d named mappings, %llu reserved\n",
                         before->fds, before->threads, before->named,
                         (unsigned long long)before->reserved, now->fds, now->threads, now->named,
                         (unsigned long long)now->reserved);
            return false;
        }
        sleep_ns(MS);
    }
}

/* ---- Errors ------------------------------------------------------------------------------------- */

/* What is wrong with the error of a call that returned `result`, or NULL. */
static inline const char *fault_of_error(aee_result result, const aee_error *error)
{
    if (error->code != result) {
        return "code differs from the result";
    }
    if (result == AEE_OK) {
        return error->text[0] ? "text after success" : NULL;
    }
    if (!memchr(error->text, '\0', sizeof error->text) || strlen(error->text) < 12) {
        return "no sentence";
    }
    return strcmp(aee_result_name(result), "unknown result") == 0 ? "unknown code" : NULL;
}

#endif
