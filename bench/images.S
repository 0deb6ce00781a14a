/* images.S: component images that the bench carries, so that `aee bench` needs no file. */
    .section .rodata

#define IMAGE(name, file)        \
    .balign 16;                  \
    .globl bench_##name##_start; \
    .hidden bench_##name##_start; \
bench_##name##_start:;           \
    .incbin file;                \
    .globl bench_##name##_end;   \
    .hidden bench_##name##_end;  \
bench_##name##_end:

IMAGE(compute, BENCH_COMPUTE)
IMAGE(particles, BENCH_PARTICLES)
IMAGE(large, BENCH_LARGE)
IMAGE(recovery, BENCH_RECOVERY)
    .section .note.GNU-stack,"",@progbits
