/* malloc.c: the malloc() family of a component over one heap that fills what the information page
 * describes. Owns that heap. Any lane. */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "aee_guest.h"
#include "heap.h"
#include "sdk.h"

void *memalign(size_t align, size_t size);
void *reallocarray(void *memory, size_t count, size_t size);
size_t malloc_usable_size(void *memory);

static struct aee__heap the_heap;
static bool started; /* set on lane 0 before the first call reaches any lane */

static uint64_t heap_size(void *user)
{
    (void)user;
    /* The host raises it while we run; nothing is ordered by it. */
    return __atomic_load_n(&aee_info()->heap_size, __ATOMIC_RELAXED);
}

static char *append(char *to, const char *text)
{
    const size_t size = strlen(text);
    memcpy(to, text, size + 1);
    return to + size;
}

static char *append_hex(char *to, uint64_t value)
{
    unsigned digits = 1;
    while (digits < 16 && value >> (4 * digits) != 0) {
        digits++;
    }
    while (digits-- > 0) {
        *to++ = "0123456789abcdef"[value >> (4 * digits) & 0xf];
    }
    return to;
}

/* Sentences are short. Without printf(), which takes 16 KiB of each component that has no other use
 * for it. */
static void heap_corrupt(void *user, const char *sentence, uintptr_t address)
{
    char text[AEE__TEXT_MAX];
    char *end = append(append(append(text, "heap: "), sentence), " (block at 0x");
    (void)user;
    (void)append(append_hex(end, address), ")");
    aee__abort_text(text);
}

/* Runs before the constructors of a component, whose order among themselves is their own. */
__attribute__((constructor(101))) static void start_heap(void)
{
    if (started) {
        return;
    }
    const struct aee__heap_config config = {
        .base = aee_info()->heap_base,
        .size = heap_size,
        .corrupt = heap_corrupt,
        .secret = (uint32_t)aee_seed(),
    };
    aee__heap_init(&the_heap, &config);
    started = true;
}

static struct aee__heap *heap(void)
{
    if (__builtin_expect(!started, 0)) {
        start_heap(); /* called from another early constructor */
    }
    return &the_heap;
}

static void *or_errno(void *memory)
{
    if (memory == NULL) {
        errno = ENOMEM;
    }
    return memory;
}

void *malloc(size_t size)
{
    return or_errno(aee__heap_alloc(heap(), size, AEE__HEAP_UNIT, 0));
}

void *calloc(size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        return or_errno(NULL);
    }
    return or_errno(aee__heap_alloc(heap(), bytes, AEE__HEAP_UNIT, 1));
}

void *realloc(void *memory, size_t size)
{
    return or_errno(aee__heap_realloc(heap(), memory, size));
}

void *reallocarray(void *memory, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        return or_errno(NULL);
    }
    return realloc(memory, bytes);
}

void free(void *memory)
{
    aee__heap_free(heap(), memory);
}

void *memalign(size_t align, size_t size)
{
    if (align == 0 || (align & (align - 1)) != 0) {
        errno = EINVAL;
        return NULL;
    }
    return or_errno(aee__heap_alloc(heap(), size, align, 0));
}

void *aligned_alloc(size_t align, size_t size)
{
    return memalign(align, size);
}

int posix_memalign(void **out, size_t align, size_t size)
{
    if (align < sizeof(void *) || (align & (align - 1)) != 0) {
        return EINVAL;
    }
    void *memory = aee__heap_alloc(heap(), size, align, 0);
    if (memory == NULL) {
        return ENOMEM;
    }
    *out = memory;
    return 0;
}

size_t malloc_usable_size(void *memory)
{
    return aee__heap_usable_size(heap(), memory);
}

uint64_t aee_heap_used(void)
{
    return aee__heap_used(heap());
}

uint64_t aee_heap_free(void)
{
    return aee__heap_available(heap());
}
