/* kick.pml: src/isolation/kvm/run_x86_64.c: enter(), leave(), aee__kvm_lane_kick(). Threads run vCPUs;
 * a vCPU may be run by one thread and then by another, and a thread may run the vCPUs of several
 * contexts. KVM_RUN comes back with EINTR when immediate_exit is set or a signal is pending that is
 * blocked outside. What they share is under the vCPU's lock: no store buffers are needed.
 *
 * Whoever wants a vCPU to stop says so (`wanted`), then kicks: as the runner looks at `wanted` before
 * each entry, it must come to its end. FAILS: one signal cannot be sent (a full queue), and the
 * watchdog kicks again.
 * TIMER: the runner's own timer kicks it, too; it was set from another thread.
 * Mutations: DROP_PENDING, NO_SIGNAL, NO_CONSUME, CONSUME_FIRST, FORGET_RUNNING, NO_SIGNALLED; of TIMER:
 * NO_STOP, NO_TIMER_CONSUME, LAST_TIME, STALE_TIMER. */
#define VCPUS 2
#define THREADS 2
#define NOBODY 255

mtype = { KICKED, PARKED };

typedef Vcpu {
    bool locked;
    bool pending;        /* kick_pending */
    bool running;
    bool signalled;
    bool immediate_exit;
    byte runner;
    bool armed;          /* its timer is set */
    bool fired;          /* it has gone off in this run: timed_ns is over */
    byte timer_thread;   /* whom it signals */
    bool wanted;         /* that it stops */
    bool kicked;         /* a kick was begun: a KICKED is owed, or allowed */
    byte user;           /* the right to run it (lane->state) */
}
Vcpu vcpu[VCPUS];

bool failed;
byte signals[THREADS]; /* pending and blocked: only KVM_RUN and sigtimedwait() see them */

inline lock(v)
{
    atomic { !vcpu[v].locked -> vcpu[v].locked = true; }
}

inline enter(v, t)
{
    lock(v);
    refused = vcpu[v].pending;
    vcpu[v].pending = false;
#ifndef FORGET_RUNNING
    vcpu[v].running = !refused;
#endif
    vcpu[v].runner = t;
    vcpu[v].locked = false
}

inline kvm_run(v, t)
{
    if
    :: vcpu[v].immediate_exit || signals[t] > 0 -> exit = KICKED /* unreached: vCPU 1, never kicked */
    :: !vcpu[v].immediate_exit && signals[t] == 0 ->
        if /* in the guest: only a signal gets it out, or the guest itself, if it likes */
        :: signals[t] > 0 -> exit = KICKED /* unreached: vCPU 1, never kicked */
        :: !vcpu[v].wanted -> exit = PARKED
        fi
    fi;
    assert(exit == PARKED || vcpu[v].kicked) /* nobody is kicked for another */
}

inline leave(v, t)
{
#ifdef CONSUME_FIRST
    if
    :: vcpu[v].signalled && signals[t] > 0 -> signals[t]--
    :: else
    fi;
#endif
    lock(v);
    signalled = vcpu[v].signalled;
#ifdef TIMER
#ifndef NO_STOP
    vcpu[v].armed = false;
#endif
    fired = vcpu[v].fired;
    vcpu[v].fired = false;
#endif
    vcpu[v].running = false;
    vcpu[v].signalled = false;
    vcpu[v].immediate_exit = false;
    vcpu[v].locked = false;
#if !defined(NO_CONSUME) && !defined(CONSUME_FIRST)
    if
    :: signalled -> assert(signals[t] >= 1); signals[t]-- /* unreached: vCPU 1, never kicked */
    :: else
    fi;
#endif
#if defined(TIMER) && !defined(NO_TIMER_CONSUME)
    if
    :: fired -> assert(signals[t] == 1); signals[t]-- /* unreached: vCPU 1, never kicked */
    :: else
    fi;
#endif
    signalled = false;
    fired = false;
    assert(signals[t] == 0) /* none is left in the thread */
}

/* A call on one vCPU: aee__kvm_lane_run() until it parks or has to stop. */
inline drive(v, t)
{
    do
    :: vcpu[v].wanted -> break
    :: !vcpu[v].wanted ->
        enter(v, t);
        if
        :: refused -> assert(vcpu[v].kicked); refused = false /* unreached: vCPU 1, never kicked */
        :: !refused ->
            kvm_run(v, t);
            leave(v, t);
            if
            :: exit == PARKED -> break
            :: exit == KICKED
            fi
        fi
    od;
    exit = 0
}

proctype thread(byte t)
{
    bool refused, signalled, fired;
    mtype exit;
    byte turn;
    do
    :: turn < 2 ->
        turn++;
        if
        :: atomic { vcpu[0].user == NOBODY -> vcpu[0].user = t; } drive(0, t); vcpu[0].user = NOBODY
        :: atomic { vcpu[1].user == NOBODY -> vcpu[1].user = t; } drive(1, t); vcpu[1].user = NOBODY
        fi
    :: turn == 2 -> break
    od
}

inline signal_thread(v, t)
{
#ifndef NO_SIGNAL
    if
    :: t == 0 -> signals[0]++
    :: t == 1 -> signals[1]++
    fi;
    vcpu[v].signalled = true
#else
    skip
#endif
}

inline kick(v)
{
    lock(v);
    vcpu[v].kicked = true;
    if
    :: !vcpu[v].running ->
#ifndef DROP_PENDING
        vcpu[v].pending = true
#else
        skip
#endif
#ifdef NO_SIGNALLED
    :: vcpu[v].running ->
#else
    :: vcpu[v].running && vcpu[v].signalled
    :: vcpu[v].running && !vcpu[v].signalled ->
#endif
        vcpu[v].immediate_exit = true;
        if
#ifdef FAILS
        :: !failed -> failed = true
#endif
        :: true -> signal_thread(v, vcpu[v].runner)
        fi
    fi;
    vcpu[v].locked = false
}

#ifdef TIMER
/* The watchdog sets the timer of whoever runs vCPU 0 now. */
proctype setter()
{
    byte turn;
    do
    :: turn < 2 ->
        turn++;
        lock(0);
        if
        :: vcpu[0].running ->
#ifdef STALE_TIMER
            if
            :: vcpu[0].timer_thread == NOBODY -> vcpu[0].timer_thread = vcpu[0].runner
            :: else
            fi;
#else
            vcpu[0].timer_thread = vcpu[0].runner;
#endif
            vcpu[0].kicked = true;
#ifdef LAST_TIME
            vcpu[0].fired = false;
#endif
            vcpu[0].armed = true
        :: else
        fi;
        vcpu[0].locked = false
    :: turn == 2 -> break
    od
}

/* The kernel, at any time. A timer has one entry in signal queues, which is not queued twice. */
proctype timer()
{
    do
    :: atomic { vcpu[0].armed ->
            vcpu[0].armed = false;
            if
            :: vcpu[0].fired
            :: !vcpu[0].fired && vcpu[0].timer_thread == 0 -> signals[0]++
            :: !vcpu[0].fired && vcpu[0].timer_thread == 1 -> signals[1]++
            fi;
            vcpu[0].fired = true }
    :: timeout -> break
    od
}
#endif

/* Ends the context of vCPU 0: aee__instance_conclude(), or the watchdog, which comes again. */
proctype ender()
{
    vcpu[0].wanted = true;
    kick(0);
#ifdef FAILS
    kick(0)
#endif
}

/* Kicks vCPU 0 for nothing: the second kick of two. */
proctype disturber()
{
    kick(0)
}

init
{
    atomic {
        vcpu[0].user = NOBODY;
        vcpu[1].user = NOBODY;
        vcpu[0].timer_thread = NOBODY;
        run thread(0);
        run thread(1);
        run ender();
#ifdef TIMER
        run setter();
        run timer();
#else
        run disturber();
#endif
    }
}
