/* seats.pml: who owns a lane, and when an instance is freed. Stands for aee__lane_try(),
 * aee__lane_give(), try_current(), reap() and aee__context_lane_freed() of src/isolation/{lane,calls}.c,
 * aee__lane_start() and aee__lane_run() of lane_run.c, aee__instance_take() and release() of
 * instance.c, and take_shell, may_bury() and aee__context_bury() of lifecycle.c.
 *
 * An instance's object, its shell, is never given back to the allocator while its context lives, but
 * used again: a caller that comes too late finds an instance, and asks again whether it is current
 * when it owns a lane of it. What hangs on the shell (machine, memory) is stripped when it has no
 * references and no owner. A call holds no reference; a worker that runs a lane does.
 *
 * Mutations: NO_RECHECK, GIVE_RELAXED, GIVE_WITHOUT_LOOK, RECHECK_WITHOUT_LOOK, LOOK_FIRST,
 * LATE_ZOMBIE, BLIND_TAKE, NO_OWN. */
#ifndef REPLACED
#define REPLACED 1 /* times that another instance takes the current one's place */
#endif
#ifndef CALLS_FIRST
#define CALLS_FIRST 1 /* of one caller, and of the other */
#endif
#ifndef CALLS_SECOND
#define CALLS_SECOND 1
#endif
#define SHELLS 3

#define FIRST 0
#define SECOND 1
#define THREADS 2 /* with plain stores; the others share the buffer PURE */

#define OWNED(i) (i) /* of the one lane of each shell */
#define CELLS 4
#include "tso.pml"

mtype = { LIVING, ZOMBIE, CALLED, SHELL };

bool locked; /* the context's lock */
byte current;
byte zombies;
byte working; /* the shell whose lane waits for the worker, or 0 */

typedef Shell {
    mtype life;
    byte references; /* the context's, and of each worker that runs a lane */
    bool ended;
    bool stripped;
    bool listed; /* in the context's list of shells */
    byte posted; /* to the housekeeper, whose list may hold a job once */
    byte users;  /* owners that passed their second look */
}
Shell shell[4]; /* [0] stays unused */

inline lock(t)
{
    atomic { FENCED(t) && !locked -> locked = true; }
}

inline unlock(t)
{
    atomic { FENCED(t); locked = false; }
}

inline release(t, i)
{
    atomic {
        FENCED(t);
        assert(shell[i].references > 0);
        shell[i].references--;
        last = shell[i].references == 0;
    }
    d_step {
        if
        :: last -> last = false; assert(shell[i].posted == 0); shell[i].posted++
        :: else
        fi
    }
}

inline reap_one(t, i)
{
    d_step {
        if
        :: shell[i].life == ZOMBIE && LOAD(t, OWNED(i)) == 0 ->
            shell[i].life = CALLED;
            assert(shell[i].posted == 0);
            shell[i].posted++
        :: else
        fi
    }
}

inline look_for_zombies(t)
{
    if
    :: zombies > 0 ->
        lock(t);
        reap_one(t, 1);
        reap_one(t, 2);
        reap_one(t, 3);
        unlock(t)
    :: else
    fi
}

inline give(t, i)
{
#if defined(GIVE_RELAXED)
    if
    :: t != PURE -> store(t, OWNED(i), 0)
    :: t == PURE -> cell[OWNED(i)] = 0
    fi;
    look_for_zombies(t)
#elif defined(LOOK_FIRST)
    look_for_zombies(t);
    atomic { FENCED(t); cell[OWNED(i)] = 0; }
#elif defined(GIVE_WITHOUT_LOOK)
    atomic { FENCED(t); cell[OWNED(i)] = 0; }
#else
    atomic { FENCED(t); cell[OWNED(i)] = 0; }
    look_for_zombies(t)
#endif
}

inline give_back(t, i) /* after a second look that found another instance */
{
#ifdef RECHECK_WITHOUT_LOOK
    atomic { FENCED(t); cell[OWNED(i)] = 0; }
#else
    give(t, i)
#endif
}

inline try_lane(t, i)
{
    atomic {
        FENCED(t);
        got = cell[OWNED(i)] == 0;
        if
        :: got -> cell[OWNED(i)] = 1
        :: !got
        fi
    }
}

/* An owner hands its lane to a worker, if it finds the instance going on. Without a reference left
 * the instance is about to be stripped: then not. */
inline start(t, i)
{
    if
    :: shell[i].ended
    :: !shell[i].ended ->
        atomic {
            FENCED(t);
            if
#ifdef BLIND_TAKE
            :: working == 0 -> shell[i].references++; working = i
#else
            :: working == 0 && shell[i].references > 0 -> shell[i].references++; working = i
#endif
            :: else
            fi
        }
    fi
}

inline use(t, i)
{
    d_step { assert(!shell[i].stripped); shell[i].users++; }
    if
    :: start(t, i)
    :: true
    fi;
    d_step { assert(!shell[i].stripped); shell[i].users--; }
}

proctype caller(byte t; byte rounds)
{
    byte mine;
    bool got;
    do
    :: rounds > 0 ->
        atomic { rounds--; mine = current; }
        if
        :: mine == 0
        :: mine != 0 ->
            try_lane(t, mine);
            if
            :: !got
#ifdef NO_RECHECK
            :: got -> use(t, mine); give(t, mine)
#else
            :: got && current == mine -> use(t, mine); give(t, mine)
            :: got && current != mine -> give_back(t, mine)
#endif
            fi;
            got = false
        fi;
        mine = 0
    :: rounds == 0 -> break
    od
}

/* A look, for whoever wants one: nothing is touched in an instance that has ended. */
inline attend(t, i)
{
    try_lane(t, i);
    if
    :: got ->
        got = false;
        assert(shell[i].ended || !shell[i].stripped);
        give(t, i)
    :: !got
    fi
}

active proctype worker()
{
    byte mine;
    bool got, last;
end:
    do
    :: working != 0 ->
        mine = working;
        if
        :: !shell[mine].ended ->
            assert(!shell[mine].stripped); /* it enters the guest */
            assert(!shell[mine].stripped)
        :: shell[mine].ended
        fi;
        attend(PURE, mine);
        working = 0;
        release(PURE, mine);
        mine = 0
    od
} /* unreached: runs for ever */

/* Whether the instance can be stripped now. */
inline may_bury(i)
{
#ifdef LATE_ZOMBIE
    now = LOAD(PURE, OWNED(i)) == 0;
    if
    :: shell[i].life == LIVING -> zombies++
    :: else
    fi;
#else
    if
    :: shell[i].life == LIVING -> zombies++
    :: else
    fi;
    now = LOAD(PURE, OWNED(i)) == 0;
#endif
    d_step { /* with the lock; who reads zombies without it sees one or the other */
        if
        :: now -> zombies--; shell[i].life = SHELL
        :: !now -> shell[i].life = ZOMBIE
        fi
    }
}

inline bury(i)
{
    atomic { !locked; shell[i].posted--; locked = true; }
    may_bury(i);
    unlock(PURE);
    if
    :: now ->
        now = false;
        d_step {
            assert(!shell[i].stripped && shell[i].references == 0 && shell[i].users == 0);
            shell[i].stripped = true;
        }
        atomic { !locked; shell[i].listed = true; }
    :: !now
    fi
}

active proctype housekeeper()
{
    bool now;
end:
    do
    :: shell[1].posted > 0 -> bury(1)
    :: shell[2].posted > 0 -> bury(2)
    :: shell[3].posted > 0 -> bury(3)
    od
} /* unreached: runs for ever */

inline build()
{
    atomic {
        !locked;
        if
        :: shell[1].listed -> new = 1
        :: !shell[1].listed && shell[2].listed -> new = 2
        :: !shell[1].listed && !shell[2].listed -> new = 3
        fi;
        shell[new].listed = false;
        shell[new].life = LIVING;
    }
#ifndef NO_OWN
    atomic { cell[OWNED(new)] == 0 -> cell[OWNED(new)] = 1; } /* spins */
#endif
    shell[new].stripped = false;
    d_step { shell[new].ended = false; shell[new].references = 1; }
    give(PURE, new)
}

proctype manager()
{
    byte old, new, round;
    bool got, last;
    do
    :: round <= REPLACED ->
        new = 0;
        if
        :: round < REPLACED -> build()
        :: round == REPLACED
        fi;
        atomic { !locked; old = current; current = new; }
        shell[old].ended = true;
        attend(PURE, old);
        release(PURE, old);
        round++
    :: round > REPLACED -> break
    od
}

/* When all is quiet everything is stripped, and counted so. */
proctype judge()
{
    byte at = 1;
end:
    timeout;
    do
    :: at <= SHELLS ->
        assert(shell[at].stripped && shell[at].listed && shell[at].posted == 0);
        at++
    :: at > SHELLS -> break
    od;
    assert(zombies == 0)
}

init
{
    atomic {
        current = 1;
        shell[1].life = LIVING;
        shell[1].references = 1;
        shell[2].life = SHELL;
        shell[2].stripped = true;
        shell[2].listed = true;
        shell[2].ended = true;
        shell[3].life = SHELL;
        shell[3].stripped = true;
        shell[3].listed = true;
        shell[3].ended = true;
        run caller(FIRST, CALLS_FIRST);
        run caller(SECOND, CALLS_SECOND);
        run manager();
        run judge();
    }
}
