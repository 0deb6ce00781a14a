/* images.c: the component images in this program (images.S), where the build could make them. */
#include "bench/stage.h"

#ifdef BENCH_HAS_IMAGES

#define DEFINE_IMAGE(name)                                                          \
    extern const char bench_##name##_start[];                                       \
    extern const char bench_##name##_end[];                                         \
    bool bench_image_##name(struct bench_image *image, struct bench_result *result) \
    {                                                                               \
        (void)result;                                                               \
        image->bytes = bench_##name##_start;                                        \
        image->size = (size_t)(bench_##name##_end - bench_##name##_start);          \
        return true;                                                                \
    }

#else

#define DEFINE_IMAGE(name)                                                          \
    bool bench_image_##name(struct bench_image *image, struct bench_result *result) \
    {                                                                               \
        image->bytes = NULL;                                                        \
        image->size = 0;                                                            \
        (void)bench_skip(result, "built without components: musl-dev was missing"); \
        return false;                                                               \
    }

#endif

DEFINE_IMAGE(compute)
DEFINE_IMAGE(particles)
DEFINE_IMAGE(large)
DEFINE_IMAGE(recovery)
