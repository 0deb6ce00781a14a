/* process_internal.h: shared by the files of the process back end. */
#ifndef AEE_ISOLATION_PROCESS_PROCESS_INTERNAL_H
#define AEE_ISOLATION_PROCESS_PROCESS_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/filter.h"
#include "base/sys_process.h"
#include "base/thread.h"
#include "isolation/backend.h"
#include "isolation/process/cell.h"
#include "isolation/process/cgroup.h"

/* One thread per back end: it starts cells, since they die with the thread that started them, and
 * learns of their ends. */
struct aee__keeper {
    struct aee__thread thread;
    int poll;
    int event; /* there is a request, or the end */
    pthread_mutex_t lock;
    pthread_cond_t done;
    struct aee__spawn *requests; /* under the lock, as are the next four */
    struct aee__vm *living;
    uint64_t last_id;
    bool watches; /* it looks at the cells now and then */
    bool stop;
};

struct aee__backend {
    const struct aee__alloc *alloc;
    int program; /* the cell's */
    uint64_t namespaces;
    uint64_t features;
    struct aee__cgroups groups; /* of level container */
    char shortfall[248];        /* "" or what of the level the host does not give */
    struct aee__filter servant;
    struct aee__filter lane;
    struct aee__keeper keeper;
};

/* A lane as the library knows it; the cell's word is in struct aee_cell_exit. */
struct aee__cell_lane {
    pthread_mutex_t lock;
    pid_t thread;          /* 0: not started */
    uint32_t taken;        /* number of the exit that was digested last */
    enum aee__place place; /* its owner's, who may call lane_run(), as are the next two */
    int place_cpu;         /* that its thread stays on, or off */
    uint32_t away_runs;    /* as many runs go by before it is bound to a CPU again */
    bool out;              /* it waits in that exit */
    bool running;          /* a thread is in lane_run(); under the lock, as are the next four */
    _Atomic bool kicked;   /* lane_run() returns, now or at once the next time */
    uint64_t since_ns;     /* ... since then; who runs it reads it without */
    uint64_t run_ns;       /* time in lane_run() before that */
    uint64_t runs;         /* how often */
    aee_registers registers;
    uint64_t frame; /* the cell's word on where its signal frame lies; 0: it is in none */
};

/* Why we ended a cell. */
struct aee__verdict {
    aee_crash_cause cause;
    const char *text;
};

/* What a cell had used when the keeper looked last. */
struct aee__cell_use {
    bool known;
    uint64_t cpu_ns;
    uint64_t owed_ns; /* what the library knows of: lanes that ran, orders carried out */
    uint32_t offences;
};

#define AEE__CELL_PRIVATE 64u

/* Private memory that lives between calls. */
struct aee__cell_area {
    struct aee__file_map map;
    uint64_t seen; /* of its bytes: behind them the file had no pages when we looked last */
};

struct aee__vm {
    struct aee__backend *backend;
    struct aee_cell_control *control;
    int control_fd;
    int socket;
    int track; /* tells of written pages, with the next one; -1: the host does not */
    int pagemap;
    struct aee__sys_process process;
    uint64_t id;
    struct aee__vm *next;   /* in the keeper's list */
    uint32_t data_used;     /* of control->orders.data */
    uint64_t lane_filter;   /* where the cell has it */
    uint64_t receive;       /* and its struct msghdr for memory files */
    uint64_t mapped;        /* bytes that it sees; under orders_lock */
    uint32_t private_count; /* in use below */
    struct aee__cell_area private_areas[AEE__CELL_PRIVATE];
    int private_file;   /* that they are of; borrowed */
    bool tracked;       /* written pages of those are told */
    bool untold;        /* and not of all: of no use */
    _Atomic bool ended; /* the cell is gone, for `reason` */
    int reason;         /* as waitpid() gives it, or -1; valid when `ended` */
    _Atomic(const struct aee__verdict *) verdict; /* it was ended by us, with blame; or NULL */
    bool started;                                 /* there is a process */
    bool reaped;              /* under the keeper's lock, as are the next three */
    aee__vm_ended_fn *notice; /* NULL: it is not sealed yet */
    void *notice_user;
    struct aee__cell_use use;
    pthread_mutex_t orders_lock; /* one list at a time */
    int mute; /* under it: errno of the answer that is missing: the next would be taken for it */
    _Atomic uint64_t orders_ns; /* time that orders took */
    uint32_t order_count;       /* of the list under construction, as are the names */
    const char *order_names[AEE_CELL_ORDERS];
    struct aee__cell_lane lanes[AEE_MAX_LANES];
};

/* keeper.c */
aee_result aee__keeper_start(struct aee__backend *backend, aee_error *error);
void aee__keeper_stop(struct aee__backend *backend);
/* Starts the cell's program; its control area and socket are there. `peer` is the other end. */
aee_result aee__keeper_spawn(struct aee__vm *vm, int peer, aee_error *error);
/* How a machine that has `ended` did, in words, and whose fault that was. */
aee_crash_cause aee__keeper_describe_end(const struct aee__vm *vm, char *text, size_t size);
/* Kills, waits and forgets. */
void aee__keeper_bury(struct aee__vm *vm);
/* Ends the cell, with blame unless it has ended. Any thread; before it is buried. */
void aee__cell_condemn(struct aee__vm *vm, const struct aee__verdict *verdict);

/* orders.c: lists of system calls that the cell carries out. Between begin and commit, the caller
 * has the vm's orders to itself. */
void aee__orders_begin(struct aee__vm *vm);
struct aee_cell_order *aee__orders_add(struct aee__vm *vm, const char *what, uint64_t number,
                                       const uint64_t *args, uint32_t count);
#define AEE__ORDER(vm, what, number, ...)                              \
    aee__orders_add(vm, what, number, (const uint64_t[]){__VA_ARGS__}, \
                    sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t))
/* Has them carried out; the sentence names the one that failed. A cell that does not answer is
 * ended; EPIPE: it has ended. */
aee_result aee__orders_commit(struct aee__vm *vm, const char *operation, aee_error *error);
/* Waits until a cell that has been killed has no memory any more; false: it does not end. */
bool aee__orders_await_end(struct aee__vm *vm);
/* Puts bytes where orders can point to, for good; their address in the cell. */
uint64_t aee__orders_data(struct aee__vm *vm, const void *bytes, size_t size);

/* setup.c */
/* Gives up every right that the program began with. */
aee_result aee__cell_prepare(struct aee__vm *vm, aee_error *error);
/* From now on the servant only changes mappings. */
aee_result aee__cell_seal(struct aee__vm *vm, aee_error *error);

/* memory.c */
/* Before the first memory is mapped. */
void aee__cell_expect_memory(struct aee__vm *vm);
aee_result aee__cell_map(struct aee__vm *vm, int fd, const struct aee__file_map *list,
                         uint32_t count, aee_error *error);
aee_result aee__cell_unmap(struct aee__vm *vm, struct aee__gva gva, uint64_t size,
                           aee_error *error);

/* track.c */
void aee__cell_prepare_tracking(struct aee__vm *vm);
void aee__cell_note_memory(struct aee__vm *vm, int fd, const struct aee__file_map *list,
                           uint32_t count);
aee_result aee__cell_track(struct aee__vm *vm, aee_error *error);
aee_result aee__cell_written(struct aee__vm *vm, uint64_t *bitmap, uint64_t pages, bool keep,
                             aee_error *error);

/* lanes.c */
bool aee__cell_lane_restart(struct aee__vm *vm, uint32_t lane, const struct aee__lane_start *start);
aee_result aee__cell_lane_start(struct aee__vm *vm, uint32_t lane,
                                const struct aee__lane_start *start, aee_error *error);
void aee__cell_lane_run(struct aee__vm *vm, uint32_t lane, struct aee__exit *exit);
void aee__cell_lane_kick(struct aee__vm *vm, uint32_t lane);
void aee__cell_lane_place(struct aee__vm *vm, uint32_t lane, enum aee__place place, int cpu);
void aee__cell_lane_registers(struct aee__vm *vm, uint32_t lane, aee_registers *registers);
bool aee__cell_lane_set_registers(struct aee__vm *vm, uint32_t lane,
                                  const aee_registers *registers);
bool aee__cell_lane_vectors(struct aee__vm *vm, uint32_t lane, uint8_t fxsave[AEE__FXSAVE_SIZE]);
bool aee__cell_lane_set_vectors(struct aee__vm *vm, uint32_t lane,
                                const uint8_t fxsave[AEE__FXSAVE_SIZE]);
/* The cell has ended. When this returns, nothing signals its threads any more, and whoever waits
 * for a lane is about to learn of it. */
void aee__cell_lanes_end(struct aee__vm *vm);
/* Time for which the lanes have been run, and how often. Any thread. */
void aee__cell_lanes_use(struct aee__vm *vm, uint64_t *run_ns, uint64_t *runs);

/* filter.c */
aee_result aee__filters_make(struct aee__backend *backend, aee_error *error);

#endif
