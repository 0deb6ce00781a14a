/* sleep.pml: who runs a lane, and how its caller sleeps. Stands for aee__lane_await(), take_over(),
 * sleep_until_woken() and aee__lane_run() of src/isolation/lane_run.c and for serve() and await() of
 * guest/vdso/vdso.c. A caller has up to SLOTS calls in flight; the vCPU is run by a worker or by the
 * caller itself, and the guest's code is executed by whichever thread runs it, through that thread's
 * store buffer. The instance may end at any time (ENDS).
 *
 * Every call terminates, so a caller that sleeps for ever is a deadlock: an invalid end state.
 * Mutations: NO_GUEST_FENCE, NO_GUEST_CHECK, NO_CALLER_FENCE, NO_STATE_CHECK, NO_REPLY_CHECK,
 * LATE_WAKER, PARKED_RELAXED, LOOK_THEN_PARK, EARLY_PARKED, NO_TAKE_OVER (a livelock). */
#ifndef CALLS
#define CALLS 3
#endif
#define SLOTS 2

#define REQUEST(n) ((n) % SLOTS)
#define REPLY(n) (SLOTS + (n) % SLOTS)
#define NOTIFY (2 * SLOTS)
#define PARKED (2 * SLOTS + 1) /* only where a mutation makes it a plain store */

#define CALLER 0
#define WORKER 1
#define THREADS 2
#define CELLS (2 * SLOTS + 2)
#include "tso.pml"

/* The lane. */
bool running; /* lane->state: somebody has the right to run the vCPU */
byte sleepers;
byte waker; /* a futex */
bool job;   /* the lane is in the workers' queue, which has a lock */
bool ended;

bool asleep;   /* the caller, in the kernel */
byte runners;  /* threads in the guest: never two */
bool finished; /* the caller has all that it waited for */

byte sent;
byte got;

/* ---- The guest ---- */

byte serving; /* the request that it waits for or serves */
bool serves;

mtype = { PARK, NOTIFY_HOST, KICKED };

#define NEXT_IS_THERE(t) (LOAD(t, REQUEST(serving)) == serving + 1)

/* The caller does not sleep through its answer while the guest spins. (The last check of that
 * is not owed to liveness: parking would wake the caller too, but only after the spin.) */
#define SLEEPS_THROUGH(t) (asleep && FENCED(t) && cell[REPLY(got)] == got + 1)

inline guest_answers(t)
{
    store(t, REPLY(serving), serving + 1);
    serves = false;
    serving++;
    if
    :: NEXT_IS_THERE(t)
    :: !NEXT_IS_THERE(t) ->
#ifndef NO_GUEST_FENCE
        FENCED(t)
#endif
    fi;
#ifndef NO_GUEST_CHECK
    if
    :: LOAD(t, NOTIFY) != 0 ->
        exit = NOTIFY_HOST; /* unreached in caller: it does not sleep while it runs the lane */
        break
    :: else
    fi
#endif
}

/* Until it leaves. To spin on is to do nothing: any other thread may go first at each step. */
inline guest(t)
{
    do
    :: serves -> guest_answers(t)
    :: !serves && NEXT_IS_THERE(t) -> serves = true
    :: !serves && !NEXT_IS_THERE(t) ->
        assert(!SLEEPS_THROUGH(t));
        exit = PARK;
        break
    :: ended -> exit = KICKED; break
    od
}

/* ---- The thread that runs the vCPU ---- */

inline wake_caller()
{
    waker++;       /* unreached in caller: there is one, and it is awake */
    asleep = false /* unreached in caller: likewise */
}

inline run_lane(t)
{
    do
    :: ended -> break
    :: !ended ->
        d_step { assert(runners == 0); runners++; }
#ifdef EARLY_PARKED
        atomic { FENCED(t); running = false; }
#endif
        guest(t);
        atomic { FENCED(t); runners--; } /* an exit is a system call's end */
        if
        :: exit == PARK -> break
        :: exit == NOTIFY_HOST -> wake_caller()
        :: exit == KICKED
        fi
    od;
    exit = 0
}

inline look_for_sleepers(t)
{
    if
    :: sleepers > 0 -> wake_caller()
    :: else
    fi
}

inline release_lane(t)
{
#if defined(LOOK_THEN_PARK)
    look_for_sleepers(t);
    atomic { FENCED(t); running = false; }
#elif defined(PARKED_RELAXED)
    /* As a store that nobody orders before the load of sleepers. */
    atomic { FENCED(t); store(t, PARKED, 1); }
    look_for_sleepers(t);
    atomic { FENCED(t); cell[PARKED] = 0; running = false; }
#else
    atomic { FENCED(t); running = false; }
    look_for_sleepers(t);
#endif
}

active proctype worker()
{
    mtype exit;
end:
    do
    :: job ->
        job = false;
        run_lane(WORKER);
        release_lane(WORKER)
    od
} /* unreached: runs for ever */

/* ---- The caller ---- */

#define ANSWERED (LOAD(CALLER, REPLY(got)) == got + 1)
#define SEES_PARKED (!running)

inline take_over()
{
    atomic { FENCED(CALLER) && !running -> running = true; }
    if
    :: run_lane(CALLER); release_lane(CALLER)
    :: atomic { FENCED(CALLER); job = true; }
    fi
}

inline sleep()
{
    atomic { FENCED(CALLER); sleepers++; }
#ifndef LATE_WAKER
    seen = waker;
#endif
    store(CALLER, NOTIFY, 1);
#ifndef NO_CALLER_FENCE
    FENCED(CALLER);
#endif
    if
#ifndef NO_REPLY_CHECK
    :: ANSWERED
#endif
#ifdef NO_REPLY_CHECK
    :: true ->
#else
    :: !ANSWERED ->
#endif
        if
#ifdef NO_STATE_CHECK
        :: true ->
#else
        :: SEES_PARKED
        :: !SEES_PARKED ->
#endif
            if
            :: ended
            :: !ended ->
#ifdef LATE_WAKER
                seen = waker;
#endif
                atomic {
                    FENCED(CALLER); /* a system call; the futex word is looked at under a lock */
                    if
                    :: waker == seen -> asleep = true
                    :: else
                    fi
                }
                !asleep
            fi
        fi
    fi;
    store(CALLER, NOTIFY, 0);
    seen = 0;
    atomic { FENCED(CALLER); sleepers--; }
}

/* In this order, again and again. To poll longer before it sleeps is to do nothing in between. */
inline await_reply()
{
    do
    :: ANSWERED -> got++; break
    :: !ANSWERED ->
        if
        :: ended -> break
        :: !ended ->
            if
#ifndef NO_TAKE_OVER
            :: SEES_PARKED -> take_over()
#endif
            :: !SEES_PARKED -> sleep()
#ifdef NO_TAKE_OVER
            :: SEES_PARKED -> sleep()
#endif
            fi
        fi
    od
}

active proctype caller()
{
    mtype exit;
    byte seen;
    do
    :: ended || got == CALLS -> break
    :: !ended && sent < CALLS && sent - got < SLOTS ->
        store(CALLER, REQUEST(sent), sent + 1);
        sent++;
#ifdef NO_TAKE_OVER
        if
        :: SEES_PARKED -> take_over()
        :: else
        fi
#endif
    :: !ended && sent > got -> await_reply()
    od;
    finished = true
}

#ifdef ENDS
/* aee__instance_conclude() and aee__lane_interrupt(): the kick makes a guest leave. */
active proctype ender()
{
    ended = true;
    wake_caller()
}
#endif

ltl served { <> finished }
