/* gdb_internal.h: shared by the files of the gdb server: what a debugger knows of a context. One
 * object per context, made when somebody listens first and kept until the context is freed; one
 * client at a time. */
#ifndef AEE_RECOVERY_GDB_INTERNAL_H
#define AEE_RECOVERY_GDB_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/thread.h"
#include "isolation/context.h"
#include "recovery/gdb_packet.h"

/* gdb's numbers of signals (include/gdb/signals.def of gdb). */
enum aee__gdb_signal {
    AEE__GDB_SIGNONE = 0,
    AEE__GDB_SIGINT = 2,
    AEE__GDB_SIGILL = 4,
    AEE__GDB_SIGTRAP = 5,
    AEE__GDB_SIGABRT = 6,
    AEE__GDB_SIGFPE = 8,
    AEE__GDB_SIGKILL = 9,
    AEE__GDB_SIGBUS = 10,
    AEE__GDB_SIGSEGV = 11,
    AEE__GDB_SIGSYS = 12,
};

enum aee__gdb_action { AEE__GDB_STAY, AEE__GDB_CONTINUE, AEE__GDB_STEP };

#define AEE__GDB_BREAKPOINTS 256u

struct aee__gdb_breakpoint {
    uint64_t gva;
    uint8_t original;
};

/* A lane of the subject; under the lock. */
struct aee__gdb_lane {
    bool runs;     /* it may enter the guest */
    bool held;     /* its runner waits for our word on its exit */
    bool released; /* that is given */
    bool goes_on;  /* and this is it: else the exit is what it would have been without us */
    bool looked;   /* by the server: `signal` and the registers are as gdb is to see them */
    bool told;     /* gdb knows of the stop, or there is nothing to know */
    bool stepping; /* RFLAGS.TF was set by us */
    bool at_breakpoint;
    enum aee__gdb_action action; /* what gdb asked for last */
    uint64_t gate_return; /* of a step over a cell's gate: a breakpoint of our own there; 0: none */
    enum aee__gdb_signal signal;
    struct aee__exit exit;
};

struct aee__debugger {
    struct aee__context *context;
    pthread_mutex_t lock;  /* taken after the context's lock, never before */
    _Atomic uint32_t go;   /* futex: lanes that wait look again */
    _Atomic uint32_t news; /* futex: so does the server */
    bool listening;        /* under the lock, as is all down to the lanes */
    bool hold_crashes;
    uint64_t hold_ns;
    uint64_t wait_until_ns;        /* until then lanes wait for a client before they run; 0: not */
    struct aee__instance *waiter;  /* one that does; may be gone */
    struct aee__instance *subject; /* whom `lanes` are of; NULL: nobody */
    bool attached;                 /* to the subject, of which the server has a reference */
    struct aee__gdb_lane lanes[AEE_MAX_LANES];

    /* Under the context's lock; changed by the server's thread only. */
    struct aee__gdb_breakpoint breakpoints[AEE__GDB_BREAKPOINTS];
    uint32_t breakpoint_count;

    /* The server's thread only. */
    int client;
    bool no_ack;
    bool stopped;     /* gdb thinks so: it may ask */
    bool over;        /* the subject has ended; there is nothing more to ask for */
    bool leave;       /* the session ends */
    uint32_t current; /* lane that registers are of */
    uint64_t heard_ns;
    struct aee__gdb_in in;
    struct aee__gdb_out out;

    /* Written while nobody listens. */
    pthread_mutex_t listen_lock; /* one aee_debug_listen() or _close() at a time */
    struct aee__thread thread;
    int listener;
    int event; /* closing */
    _Atomic bool closing;
    bool ended; /* the context is being destroyed; under the listen_lock */
    uint64_t timeout_ns;
    char path[108];    /* of the socket; "" for a port */
    char address[128]; /* as it was asked for, with the port that it became */
    char file[512];    /* of the image, for gdb; "" */
};

/* ---- gdb_stops.c: lanes ------------------------------------------------------------------- */

/* Of struct aee__debug_ops. */
void aee__gdb_lane_enter(struct aee__lane *lane);
bool aee__gdb_lane_left(struct aee__lane *lane, const struct aee__exit *exit);
void aee__gdb_instance_ended(struct aee__instance *instance);
void aee__gdb_instance_born(struct aee__instance *instance);

/* For the server's thread. */

/* Takes an instance for its subject and stops it; false: there is none. */
bool aee__gdb_attach(struct aee__debugger *debugger);
/* Lets go of it: breakpoints go, lanes go on, crashes that were held come to pass. */
void aee__gdb_detach(struct aee__debugger *debugger);
/* Nothing of it can be asked any more: gives the reference back. */
void aee__gdb_drop(struct aee__debugger *debugger);
bool aee__gdb_has_ended(const struct aee__debugger *debugger);
/* No lane is to enter the guest; waits until none is there. */
void aee__gdb_stop_all(struct aee__debugger *debugger);
/* Something has happened that gdb does not know of. */
bool aee__gdb_has_news(struct aee__debugger *debugger);
/* All are stopped: the lane that gdb is to be told of; -1: none. */
int aee__gdb_next_stop(struct aee__debugger *debugger);
/* The same when it was gdb that stopped them. */
int aee__gdb_interrupted_lane(const struct aee__debugger *debugger);

/* What is to become of a lane. False: that cannot be. */
bool aee__gdb_plan(struct aee__debugger *debugger, uint32_t lane, enum aee__gdb_action action,
                   uint64_t signal);
/* Lets go what was planned. */
void aee__gdb_resume(struct aee__debugger *debugger);
/* As gdb has asked for last: what stopped them is nothing to it. */
void aee__gdb_resume_as_before(struct aee__debugger *debugger);
/* The lane, of which a step is to be told, has stepped into a cell's own program: it goes on to
 * where that returns to. */
bool aee__gdb_step_over_gate(struct aee__debugger *debugger, uint32_t lane);
/* Lanes see that somebody listens, or that nobody does any more. */
void aee__gdb_watch(struct aee__debugger *debugger, bool listening);

/* ---- gdb_memory.c: memory of the subject -------------------------------------------------- */

/* Bytes copied, from the start on. Breakpoints are not seen. */
size_t aee__gdb_read(struct aee__debugger *debugger, uint64_t gva, void *bytes, size_t size);
/* All or nothing. */
bool aee__gdb_write(struct aee__debugger *debugger, uint64_t gva, const void *bytes, size_t size);
bool aee__gdb_insert(struct aee__debugger *debugger, uint64_t gva);
bool aee__gdb_remove(struct aee__debugger *debugger, uint64_t gva);
void aee__gdb_remove_all(struct aee__debugger *debugger);
/* The subject has ended, and the context's lock is held: breakpoints are taken out of its memory,
 * and none is put there any more. */
void aee__gdb_restore_bytes(struct aee__debugger *debugger);
bool aee__gdb_is_breakpoint(const struct aee__debugger *debugger, uint64_t gva);

/* ---- gdb_registers.c ---------------------------------------------------------------------- */

/* With the lock held. */
bool aee__gdb_registers(struct aee__debugger *debugger, uint32_t lane, aee_registers *registers);
bool aee__gdb_set_registers(struct aee__debugger *debugger, uint32_t lane,
                            const aee_registers *registers);
/* Without it. As gdb numbers them: all, one, and their setting. */
void aee__gdb_add_registers(struct aee__debugger *debugger, uint32_t lane);
bool aee__gdb_add_register(struct aee__debugger *debugger, uint32_t lane, uint64_t number);
bool aee__gdb_take_registers(struct aee__debugger *debugger, uint32_t lane, const char *text);
bool aee__gdb_take_register(struct aee__debugger *debugger, uint32_t lane, uint64_t number,
                            const char *text);

/* ---- gdb_describe.c: documents about the subject ------------------------------------------ */

/* Answers "object:read:annex:offset,length". */
void aee__gdb_transfer(struct aee__debugger *debugger, const char *request);

/* ---- gdb_commands.c ----------------------------------------------------------------------- */

/* Answers one packet. */
void aee__gdb_command(struct aee__debugger *debugger, const char *packet, size_t size);
void aee__gdb_report_stop(struct aee__debugger *debugger, int lane);
void aee__gdb_report_end(struct aee__debugger *debugger);

/* ---- gdb_server.c ------------------------------------------------------------------------- */

/* Sends what was put into `out`. */
void aee__gdb_send(struct aee__debugger *debugger);

static inline uint32_t aee__gdb_lanes(const struct aee__debugger *debugger)
{
    return debugger->subject ? debugger->subject->plan.lanes : 0;
}

#endif
