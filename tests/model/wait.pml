/* wait.pml: a thread waits for a submitted call to a lane that nobody but waiters runs (a context in
 * AEE_CALL_DIRECT), while other callers own the lane now and then. Stands for wait_until() of
 * src/engine/batches.c, aee__batches_begin_sleep() and wake() of src/isolation/batch.c,
 * aee__context_advance() of calls.c and aee__lane_give() of lane.c. All stores that matter are locked
 * instructions, so this needs no store buffers.
 *
 * A waiter that cannot have the lane sleeps. Whoever gives a lane that is left with calls and that
 * nobody runs wakes the waiters; a waiter tries the lane once more after it has said that it sleeps.
 * Mutations: NO_WAKE_AT_GIVE, NO_SECOND_TRY, LATE_SEEN, WAKE_BEFORE_GIVE. */
#ifndef CALLERS
#define CALLERS 1
#endif
#define WAITERS 2

bool owned;
bool attention;
byte queued;     /* calls in the context's queue */
byte fed;        /* calls in the ring */
byte ended;      /* calls that ended, of all waiters: each has one */
byte sleepers;
byte news;       /* whether the futex has changed since each waiter read it: a bit for each */
byte asleep;     /* a bit for each waiter in the kernel */

inline wake()
{
    if
    :: sleepers > 0 -> news = 3; asleep = 0
    :: else
    fi
}

inline try_lane()
{
    atomic { got = !owned; owned = true; }
}

inline pump()
{
    attention = false;
    atomic { fed = fed + queued; queued = 0; }
}

inline give()
{
    do
    :: true ->
#ifdef WAKE_BEFORE_GIVE
        if
        :: fed + queued > 0 -> wake()
        :: else
        fi;
#endif
        owned = false;
        if
        :: attention ->
            try_lane();
            if
            :: got -> got = false; pump()
            :: !got -> break
            fi
        :: !attention -> break
        fi
    od;
#if !defined(NO_WAKE_AT_GIVE) && !defined(WAKE_BEFORE_GIVE)
    if
    :: fed + queued > 0 -> wake()
    :: else
    fi
#endif
}

/* Runs all that is there, others' calls too. */
inline help()
{
    pump();
    if
    :: fed > 0 -> atomic { ended = ended + fed; fed = 0; } wake()
    :: else
    fi;
    give()
}

proctype waiter(byte me)
{
    bool got;
    queued++; /* under the queue's lock */
    attention = true;
    try_lane();
    if
    :: got -> got = false; pump(); give()
    :: !got
    fi;
    do
    :: ended == WAITERS -> break
    :: ended < WAITERS ->
        try_lane();
        if
        :: got -> got = false; help()
        :: !got ->
            sleepers++;
#ifndef LATE_SEEN
            news = news & (3 - me);
#endif
#ifndef NO_SECOND_TRY
            try_lane();
            if
            :: got -> got = false; help()
            :: !got
            fi;
#endif
#ifdef LATE_SEEN
            news = news & (3 - me);
#endif
            if
            :: ended < WAITERS ->
                atomic {
                    if
                    :: (news & me) == 0 -> asleep = asleep | me
                    :: else
                    fi
                }
                (asleep & me) == 0
            :: ended == WAITERS
            fi;
            sleepers--
        fi
    od
}

/* A call of its own: takes its reply, tells waiters as whoever takes replies does, and leaves. */
proctype caller()
{
    bool got;
    try_lane();
    if
    :: got -> got = false; wake(); give()
    :: !got
    fi
}

init
{
    byte i;
    atomic {
        run waiter(1);
        run waiter(2);
        do
        :: i < CALLERS -> run caller(); i++
        :: i == CALLERS -> break
        od
    }
}
