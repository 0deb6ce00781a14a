/* kvm_internal.h: shared by the files of the KVM back end. */
#ifndef AEE_ISOLATION_KVM_KVM_INTERNAL_H
#define AEE_ISOLATION_KVM_KVM_INTERNAL_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>

#include "aee_abi.h"
#include "isolation/backend.h"

#define AEE__KVM_MAX_CPUID 256u

struct aee__backend {
    const struct aee__alloc *alloc;
    int fd;
    int kick_signal;
    uint32_t run_size; /* bytes of a vCPU's shared page */
    uint8_t tr_type;   /* 11, busy 64-bit TSS: what VMX accepts (SDM vol. 3C, 27.3.1.2) */
    bool sync_regs;
    bool exit_on_emulation_failure;
    bool log_stays; /* a machine can be asked for its dirty log without clearing it */
    bool hardware;
    bool nested_paging;
    uint64_t features;
    uint64_t xcr0; /* 0: the guest's XCR0 cannot be set here */
    struct kvm_cpuid2 *cpuid;
    size_t cpuid_size;
    struct aee__facts *facts; /* of the opener, while the back end is being opened; may be NULL */
};

struct aee__vcpu {
    int fd; /* -1: not created */
    struct kvm_run *run;
    pthread_mutex_t kick_lock; /* orders kicks with leaving KVM_RUN */
    pthread_t runner;          /* thread in lane_run(), while `running`; under kick_lock */
    uint64_t kick_at_ns;       /* when the next run is to be kicked; 0: never; under kick_lock */
    uint64_t
        timed_ns;  /* of this run: the earliest time that the timer was set to; under kick_lock */
    timer_t timer; /* kept for the next run; under kick_lock */
    pid_t timer_thread; /* whom it signals; 0: there is no timer; under kick_lock */
    bool running;
    bool signalled;       /* a signal was sent to runner; under kick_lock */
    bool kick_pending;    /* the next lane_run() returns at once; under kick_lock */
    bool io_pending;      /* the last exit's OUT must be finished before registers are set */
    bool at_syscall_gate; /* the last exit was made by the code at LSTAR */
    int vector_in_stub;   /* vector whose stub made the last exit, or -1 */
};

/* A memory slot of private memory. */
struct aee__kvm_slot {
    uint32_t number;
    struct aee__gpa gpa;
    uint64_t size;
    void *host;
};
#define AEE__KVM_PRIVATE_SLOTS 32u

struct aee__vm {
    struct aee__backend *backend;
    int fd;
    uint32_t slot_count;
    bool tracked;   /* private slots log dirty pages */
    bool log_stays; /* until it is cleared */
    uint32_t private_count;
    struct aee__kvm_slot slots[AEE__KVM_PRIVATE_SLOTS];
    uint8_t *system; /* host address of the system area */
    struct aee__vcpu vcpus[AEE_MAX_LANES];
};

/* vm.c */
aee_result aee__kvm_vm_create(struct aee__backend *backend, struct aee__vm **out, aee_error *error);
void aee__kvm_vm_destroy(struct aee__vm *vm);
aee_result aee__kvm_vm_add_memory(struct aee__vm *vm, struct aee__gpa gpa, void *host,
                                  uint64_t size, aee_error *error);
aee_result aee__kvm_vm_track(struct aee__vm *vm, aee_error *error);
aee_result aee__kvm_vm_written(struct aee__vm *vm, uint64_t *bitmap, uint64_t pages, bool keep,
                               aee_error *error);

/* vcpu_x86_64.c */
bool aee__kvm_lane_restart(struct aee__vm *vm, uint32_t lane, const struct aee__lane_start *start);
aee_result aee__kvm_vcpu_create(struct aee__vm *vm, uint32_t lane, aee_error *error);
void aee__kvm_vcpu_destroy(struct aee__vm *vm, uint32_t lane);
aee_result aee__kvm_lane_start(struct aee__vm *vm, uint32_t lane,
                               const struct aee__lane_start *start, aee_error *error);
void aee__kvm_lane_registers(struct aee__vm *vm, uint32_t lane, aee_registers *registers);
bool aee__kvm_lane_set_registers(struct aee__vm *vm, uint32_t lane, const aee_registers *registers);
bool aee__kvm_lane_vectors(struct aee__vm *vm, uint32_t lane, uint8_t fxsave[AEE__FXSAVE_SIZE]);
bool aee__kvm_lane_set_vectors(struct aee__vm *vm, uint32_t lane,
                               const uint8_t fxsave[AEE__FXSAVE_SIZE]);

/* run_x86_64.c */
void aee__kvm_drop_timer(struct aee__vcpu *vcpu); /* while it does not run */
void aee__kvm_lane_run(struct aee__vm *vm, uint32_t lane, struct aee__exit *exit);
void aee__kvm_lane_kick(struct aee__vm *vm, uint32_t lane);
bool aee__kvm_lane_kick_at(struct aee__vm *vm, uint32_t lane, uint64_t at_ns);

/* system_x86_64.c: descriptor tables, task state and exception stubs, at AEE_GVA_SYSTEM. The
 * tables share one page, because every instance has one of its own. */
#define AEE__KVM_GDT UINT64_C(0x0)
#define AEE__KVM_IDT UINT64_C(0x400)
#define AEE__KVM_TSS UINT64_C(0x800)
#define AEE__KVM_TSS_STRIDE UINT64_C(0x100)
#define AEE__KVM_TSS_LIMIT UINT32_C(0x8b) /* 0x68 bytes, 32 of I/O bitmap and its end byte, - 1 */
#define AEE__KVM_STUBS UINT64_C(0x1000)
#define AEE__KVM_IST UINT64_C(0x2000) /* one 1 KiB stack per lane */
#define AEE__KVM_IST_SIZE UINT64_C(0x400)
#define AEE__KVM_IDT_LIMIT UINT16_C(0x1ff) /* vectors 0 to 31 */
#define AEE__KVM_GDT_LIMIT UINT16_C(0xff)
#define AEE__KVM_CS_USER UINT16_C(0x2b)
#define AEE__KVM_SS_USER UINT16_C(0x23)
#define AEE__KVM_TR(lane) ((uint16_t)(0x30 + 16 * (lane)))

/* What the processor pushed on the lane's exception stack (SDM vol. 3A, 6.14.2). */
struct aee__kvm_frame {
    uint64_t error_code;
    uint64_t rip;
    uint64_t cs;
    uint64_t rflags;
    uint64_t rsp;
    uint64_t ss;
};

void aee__kvm_system_write(uint8_t *system, uint64_t size, uint32_t lanes);
/* The frame of the exception `vector` that a lane is in. */
void aee__kvm_system_frame(const uint8_t *system, uint32_t lane, uint32_t vector,
                           struct aee__kvm_frame *frame);

/* cpuid_x86_64.c */
aee_result aee__kvm_cpuid_load(struct aee__backend *backend, aee_error *error);
aee_result aee__kvm_cpuid_set(const struct aee__backend *backend, int vcpu, uint32_t lane,
                              aee_error *error);

/* probe_x86_64.c: fills facts, hardware, nested_paging, features. */
aee_result aee__kvm_probe(struct aee__backend *backend, aee_error *error);

#endif
