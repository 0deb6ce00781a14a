/* switch.h: numbers that C and switch_x86_64.S share: offsets in struct aee__none_block, its size
 * and where blocks lie. */
#ifndef AEE_ISOLATION_NONE_SWITCH_H
#define AEE_ISOLATION_NONE_SWITCH_H

#define AEE__NONE_HOST_RSP 0
#define AEE__NONE_HOST_FS 8
#define AEE__NONE_HOST_GS 16
#define AEE__NONE_RSP 24
#define AEE__NONE_FS 32
#define AEE__NONE_GS 40
#define AEE__NONE_INSIDE 48
#define AEE__NONE_IS_KICKED 52
#define AEE__NONE_KIND 56
#define AEE__NONE_NUMBER 60
#define AEE__NONE_HAS_FSGSBASE 64

#define AEE__NONE_KIND_KICKED 0
#define AEE__NONE_KIND_HYPERCALL 1

/* Blocks lie side by side in the arena, each at a multiple of its size. */
#define AEE__NONE_BLOCK_SIZE 65536
#define AEE__NONE_BLOCKS 8192
#define AEE__NONE_ARENA_SIZE (AEE__NONE_BLOCK_SIZE * AEE__NONE_BLOCKS)

#endif
