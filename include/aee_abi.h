/* SPDX-License-Identifier: Apache-2.0
 *
 * aee_abi.h: every byte that host and guest share. Both sides compile this file; each offset is
 * frozen by a static assert. Guest-writable fields are hostile to the host: it keeps its own
 * indices, loads each field once and validates the copy.
 */
#ifndef AEE_ABI_H
#define AEE_ABI_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define AEE_ABI_ASSERT(condition, text) static_assert(condition, text)
#else
#define AEE_ABI_ASSERT(condition, text) _Static_assert(condition, text)
#endif

/* ---- Versions ----------------------------------------------------------------------------- */

#define AEE_ABI_MAGIC 0x31564545u /* "EEV1" */
#define AEE_ABI_VERSION 1u

/* Every image carries an ELF note with this owner and type; its descriptor is one uint32_t, the
 * ABI version that the image was built against. An image without it is refused. */
#define AEE_ABI_NOTE_SECTION ".note.aee"
#define AEE_ABI_NOTE_OWNER "AEE"
#define AEE_ABI_NOTE_TYPE 1u

/* Functions in this section are what a component exports. An image without such a section (made
 * by a foreign toolchain) exports all its global functions. */
#define AEE_ABI_EXPORT_SECTION "aee_export"
/* NUL-terminated "name=result:arguments" strings, i = 64-bit integer, d = double, v = nothing,
 * b = byte payload; "add=i:ii". Zero bytes between entries are skipped. */
#define AEE_ABI_SIGNATURE_SECTION "aee_signature"
/* Variables in this section are the component's declared state. It lies in one writable segment. */
#define AEE_ABI_STATE_SECTION "aee_state"

/* ---- Guest virtual address map ------------------------------------------------------------ */

#define AEE_GVA_NULL_GUARD_END UINT64_C(0x00200000) /* nothing is mapped below */
#define AEE_GVA_SYSTEM UINT64_C(0x00200000)         /* supervisor only: GDT, IDT, TSS, stubs */
#define AEE_GVA_VDSO UINT64_C(0x00300000)           /* user read/execute: our guest code */
#define AEE_GVA_INFO UINT64_C(0x00310000)           /* user read-only: struct aee_abi_info */
#define AEE_GVA_IMAGE UINT64_C(0x00400000)          /* image segments; ET_DYN is placed here */
#define AEE_GVA_IMAGE_END UINT64_C(0x20000000)
#define AEE_GVA_STACKS UINT64_C(0x20000000) /* lane i: [i, i+1) * AEE_STACK_STRIDE */
#define AEE_STACK_STRIDE UINT64_C(0x02000000)
#define AEE_STACK_GUARD UINT64_C(0x00010000) /* unmapped on both sides of stack and TLS block */
#define AEE_STACK_MAX UINT64_C(0x01000000)
#define AEE_TLS_MAX UINT64_C(0x00100000)
#define AEE_GVA_LANES UINT64_C(0x3fe00000) /* lane i at i * AEE_LANE_STRIDE */
#define AEE_GVA_HEAP UINT64_C(0x100000000)
#define AEE_HEAP_MAX UINT64_C(0x300000000) /* 12 GiB */
#define AEE_GVA_REGIONS UINT64_C(0x1000000000)
#define AEE_REGIONS_SIZE UINT64_C(0x400000000) /* 16 GiB: offsets of the arena */

#define AEE_MAX_LANES 8u
#define AEE_MAX_ARGS 6u
#define AEE_MAX_PAYLOAD 65536u /* bytes of one inline payload, each way */

/* ---- Hypercalls --------------------------------------------------------------------------- */

/* `out %eax, $AEE_PORT_HYPERCALL` with the number in EAX. Only the four ports from
 * AEE_PORT_HYPERCALL and the one at AEE_PORT_SYSCALL are open in the I/O permission bitmap. */
#define AEE_PORT_HYPERCALL 0x10
#define AEE_PORT_SYSCALL 0x14   /* a component executed SYSCALL */
#define AEE_PORT_EXCEPTION 0x20 /* + vector; from CPL0 stubs only */

enum aee_abi_hypercall {
    AEE_HC_PARK = 1,      /* nothing to do: give the lane back until the next request */
    AEE_HC_NOTIFY = 2,    /* a reply was written and the host asked to be told */
    AEE_HC_HOST_CALL = 3, /* levels[] holds a host-call request */
    AEE_HC_ABORT = 4,     /* the component gave up; NUL-terminated text in the host-call arena */
    AEE_HC_OUT_OF_MEMORY = 5, /* the same, because its heap is full */
};

/* ---- Information page (guest: read-only) -------------------------------------------------- */

#define AEE_FEATURE_AVX2 (UINT64_C(1) << 0)   /* the guest may execute AVX2 and FMA */
#define AEE_FEATURE_AVX512 (UINT64_C(1) << 1) /* the guest may execute AVX-512F */

struct aee_abi_info {
    uint32_t magic;
    uint32_t abi_version;
    uint64_t features;   /* AEE_FEATURE_* that were proved on this host */
    uint64_t context_id; /* the engine's handle for this context; a name, grants nothing */
    uint32_t lane_count;
    uint32_t reserved0;
    uint64_t heap_base; /* gva */
    uint64_t heap_size; /* bytes; grows when the engine gives the context more memory */
    uint64_t stack_size;
    uint8_t seed[32];        /* random, different in each instance */
    uint64_t vdso_host_call; /* gva of aee_vdso_host_call() */
    uint64_t vdso_abort;     /* gva of aee_vdso_abort() */
    uint64_t frame;          /* of the engine, as is the next one: written by the host before the */
    uint64_t time_ns;        /* first call of a frame, so that both stand still in a call */
};
AEE_ABI_ASSERT(offsetof(struct aee_abi_info, context_id) == 16, "frozen");
AEE_ABI_ASSERT(offsetof(struct aee_abi_info, heap_base) == 32, "frozen");
AEE_ABI_ASSERT(offsetof(struct aee_abi_info, seed) == 56, "frozen");
AEE_ABI_ASSERT(offsetof(struct aee_abi_info, vdso_host_call) == 88, "frozen");
AEE_ABI_ASSERT(offsetof(struct aee_abi_info, frame) == 104, "frozen");
AEE_ABI_ASSERT(sizeof(struct aee_abi_info) == 120, "frozen");

/* ---- Call ring: one per lane ----------------------------------------------------------------
 * Request n (n counts from 0) uses slot n % AEE_RING_SLOTS. The host fills the request line and
 * stores seq = n + 1 with release order; the guest's acquire load of seq pairs with it. The guest
 * answers in the reply line in the same way. A slot is used again only after its reply was
 * consumed. Neither side stores an index that the other depends on. Up to AEE_RING_SLOTS requests
 * may be outstanding; the guest serves them in order. While a function waits for a host call, it
 * serves requests in the `nested` slot of that level in the same way. */

#define AEE_RING_SLOTS 64u

enum aee_abi_call_kind {
    AEE_CALL_ARGS = 0,  /* up to six integer or double arguments */
    AEE_CALL_BYTES = 1, /* args: request gva, request size, reply gva, reply capacity */
};

#define AEE_CALL_KIND_MASK 0xffu /* bits 0-7 of flags */
#define AEE_CALL_DOUBLE_SHIFT 8  /* bits 8-13: argument i is a double */
#define AEE_CALL_COUNT_SHIFT 16  /* bits 16-19: number of arguments */

struct aee_abi_request {
    uint32_t seq;
    uint32_t flags;
    uint64_t function; /* gva */
    uint64_t args[AEE_MAX_ARGS];
};
struct aee_abi_reply {
    uint32_t seq;
    uint32_t reserved0;
    uint64_t value;        /* RAX */
    uint64_t double_value; /* low half of XMM0 */
    uint64_t reserved1[5];
};
struct aee_abi_slot {
    struct aee_abi_request request; /* written by the host */
    struct aee_abi_reply reply;     /* written by the guest */
};
AEE_ABI_ASSERT(sizeof(struct aee_abi_request) == 64, "one cache line");
AEE_ABI_ASSERT(sizeof(struct aee_abi_reply) == 64, "one cache line");
AEE_ABI_ASSERT(offsetof(struct aee_abi_request, args) == 16, "frozen");
AEE_ABI_ASSERT(offsetof(struct aee_abi_reply, value) == 8, "frozen");
AEE_ABI_ASSERT(offsetof(struct aee_abi_slot, reply) == 64, "frozen");

/* ---- Host calls: guest to host ------------------------------------------------------------ */

enum aee_abi_host_call_kind {
    AEE_HOST_CALL_INVOKE = 0, /* args[] and payload go to the function named in the arena */
    AEE_HOST_CALL_LOG = 1,    /* payload is one log line; args[0] is its level */
    AEE_HOST_CALL_STATE = 2,  /* args: enum aee_abi_state_order, gva and size of a range */
};

/* What is to happen to a range of declared state. */
enum aee_abi_state_order {
    AEE_STATE_ORDER_ADD = 1,
    AEE_STATE_ORDER_REMOVE = 2, /* the one that begins at gva; no size */
};
#define AEE_STATE_RANGES_MAX 64u                 /* ranges that a component may add */
#define AEE_STATE_BYTES_MAX UINT64_C(0x10000000) /* and their bytes together */

/* Statuses of a host-call reply; 0 is success. */
enum aee_abi_host_status {
    AEE_HOST_OK = 0,
    AEE_HOST_NOT_FOUND = -1, /* no such function, or not granted to this context */
    AEE_HOST_BAD = -2,       /* sizes or name out of range */
    AEE_HOST_FAILED = -3,    /* the function reported failure; value holds its code */
    AEE_HOST_LIMIT = -4,     /* too deep, or over a rate limit */
};

#define AEE_HOST_NAME_MAX 56u /* bytes of a host function's name, terminator included */

/* The name travels in the request; the payload in the lane's host-call arena. */
struct aee_abi_host_request {
    uint32_t seq;
    uint32_t kind;
    uint32_t payload_size;     /* bytes in the arena */
    uint32_t payload_capacity; /* bytes of reply the guest takes */
    uint64_t args[AEE_MAX_ARGS];
    char name[AEE_HOST_NAME_MAX];
    uint64_t reserved0;
};
struct aee_abi_host_reply {
    uint32_t seq;
    int32_t status;
    int64_t value;
    uint32_t payload_size; /* bytes written to the arena */
    uint32_t reserved0[11];
};
struct aee_abi_level {
    struct aee_abi_host_request request; /* written by the guest */
    struct aee_abi_host_reply reply;     /* written by the host */
    struct aee_abi_slot nested;          /* engine to component, while the component waits here */
};
#define AEE_HOST_CALL_DEPTH 8u
AEE_ABI_ASSERT(sizeof(struct aee_abi_host_request) == 128, "two cache lines");
AEE_ABI_ASSERT(offsetof(struct aee_abi_host_request, args) == 16, "frozen");
AEE_ABI_ASSERT(offsetof(struct aee_abi_host_request, name) == 64, "frozen");
AEE_ABI_ASSERT(sizeof(struct aee_abi_host_reply) == 64, "one cache line");
AEE_ABI_ASSERT(sizeof(struct aee_abi_level) == 320, "frozen");

/* The two functions of the vDSO that components call, at the addresses in struct aee_abi_info. GS
 * base of each lane is its struct aee_abi_lane; FS base is its thread control block. */

/* Sends `request` (seq is filled in) with request->payload_size bytes of `payload`, waits for the
 * host's answer, copies at most request->payload_capacity bytes of reply. Returns enum
 * aee_abi_host_status; *value and *reply_size are set on AEE_HOST_OK and AEE_HOST_FAILED. */
typedef int32_t aee_vdso_host_call_fn(const struct aee_abi_host_request *request,
                                      const void *payload, void *reply, int64_t *value,
                                      uint32_t *reply_size);
/* Ends the instance: hypercall is AEE_HC_ABORT or AEE_HC_OUT_OF_MEMORY. Does not return. */
typedef void aee_vdso_abort_fn(uint32_t hypercall, const char *text, uint64_t text_size);

/* The first words of the vDSO, at AEE_GVA_VDSO: how the host starts lanes and finds functions. */
struct aee_abi_vdso {
    uint64_t lane_entry; /* first RIP of every lane */
    uint64_t syscall;    /* LSTAR: one OUT to AEE_PORT_SYSCALL */
    uint64_t host_call;  /* aee_vdso_host_call_fn */
    uint64_t abort;      /* aee_vdso_abort_fn */
};
AEE_ABI_ASSERT(sizeof(struct aee_abi_vdso) == 32, "frozen");

/* ---- Lane area (guest: read/write) -------------------------------------------------------- */

struct aee_abi_lane_control { /* written by the host, one line, and only when something changes */
    uint32_t lane_index;
    uint32_t spin;   /* loop turns to wait for a request before AEE_HC_PARK; 0: none */
    uint32_t notify; /* non-zero: AEE_HC_NOTIFY after a reply; seen at the latest after the last */
    uint32_t reserved0[13];
};

struct aee_abi_lane_private { /* the guest's own, one line */
    uint32_t depth;           /* host calls that wait for their answer, one inside the other */
    uint32_t reserved0;
    uint64_t gate; /* level none only: where a hypercall leads, void (uint32_t, uint64_t) */
    uint64_t gate_argument; /* and its second argument; written by the host */
    /* Of the registers only these live between calls (System V ABI, 3.2.3): saved when the lane
     * parks, loaded when it goes on or begins, where `controls` is set. */
    uint32_t controls;
    uint32_t mxcsr;
    uint32_t x87_control;
    uint32_t reserved1[7];
};

struct aee_abi_lane {
    struct aee_abi_lane_control control;
    struct aee_abi_lane_private own;
    uint8_t pad0[4096 - sizeof(struct aee_abi_lane_control) - sizeof(struct aee_abi_lane_private)];
    struct aee_abi_slot slots[AEE_RING_SLOTS];
    struct aee_abi_level levels[AEE_HOST_CALL_DEPTH];
    uint8_t pad1[65536 - 4096 - sizeof(struct aee_abi_slot) * AEE_RING_SLOTS -
                 sizeof(struct aee_abi_level) * AEE_HOST_CALL_DEPTH];
    uint8_t request_arena[AEE_MAX_PAYLOAD];
    uint8_t reply_arena[AEE_MAX_PAYLOAD];
    uint8_t host_arena[AEE_MAX_PAYLOAD];
};
#define AEE_LANE_STRIDE UINT64_C(0x40000)
AEE_ABI_ASSERT(sizeof(struct aee_abi_lane_control) == 64, "one cache line");
AEE_ABI_ASSERT(sizeof(struct aee_abi_lane_private) == 64, "one cache line");
AEE_ABI_ASSERT(offsetof(struct aee_abi_lane, own) == 64, "frozen");
AEE_ABI_ASSERT(offsetof(struct aee_abi_lane, slots) == 4096, "frozen");
AEE_ABI_ASSERT(offsetof(struct aee_abi_lane, levels) == 12288, "frozen");
AEE_ABI_ASSERT(offsetof(struct aee_abi_lane, request_arena) == 65536, "frozen");
AEE_ABI_ASSERT(offsetof(struct aee_abi_lane, host_arena) == 196608, "frozen");
AEE_ABI_ASSERT(sizeof(struct aee_abi_lane) == AEE_LANE_STRIDE, "frozen");

#endif
