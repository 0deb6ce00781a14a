/* seats.pml: who owns a lane, and when an instance is freed. A context has a current instance and
 * seats; a seat holds the instance whose lane a thread owns, or 0. A caller takes a seat for what it
 * believes to be current and looks again; an instance that is not current any more and that nobody
 * has a reference to or a seat in is a zombie, and is reaped by the last who leaves it.
 *
 * Plain stores are in tso.pml's buffers, so that a giver whose store is not seen yet is in the model.
 * Mutations: NO_RECHECK, GIVE_RELAXED, GIVE_WITHOUT_LOOK, RECHECK_WITHOUT_LOOK,
 * LOOK_FIRST, RELEASE_UNLOCKED, REFERENCES_FIRST. */
#ifndef INSTANCES
#define INSTANCES 2 /* made one after the other, numbered from 1 */
#endif
#define SEATS 2

#define FIRST 0
#define SECOND 1
#define MANAGER 2
#define THREADS 3

#define SEAT(s) (s)
#define CURRENT SEATS
#define CELLS 3
#include "tso.pml"

bool locked;   /* the context's lock */
byte zombies;  /* changed under it, read without it */
byte working;  /* an instance that a worker runs a lane of, or 0 */

typedef Instance {
    byte references; /* the context's, and one for each worker that runs a lane */
    bool zombie;
    bool freed;
    byte users;      /* seat holders that passed their second look */
}
Instance instance[4]; /* [0] stays unused */

inline lock(t)
{
    atomic { FENCED(t) && !locked -> locked = true; }
}

inline unlock(t)
{
    atomic { FENCED(t); locked = false; }
}

/* The references are looked at after the seats: who hands a lane to a worker takes the reference
 * first and gives the seat then. */
#ifdef REFERENCES_FIRST
#define LOOK(t, i, first, second) \
    first = instance[i].references == 0; \
    second = LOAD(t, SEAT(0)) != i; \
    second = second && LOAD(t, SEAT(1)) != i
#else
#define LOOK(t, i, first, second) \
    first = LOAD(t, SEAT(0)) != i; \
    first = first && LOAD(t, SEAT(1)) != i; \
    second = instance[i].references == 0
#endif

/* With the lock held. */
inline reap(t)
{
    do
    :: at < INSTANCES ->
        at++;
        if
        :: instance[at].zombie && !instance[at].freed ->
            LOOK(t, at, first, second);
            d_step {
                if
                :: first && second ->
                    assert(instance[at].users == 0 && working != at);
                    instance[at].freed = true;
                    zombies--
                :: else
                fi;
                first = false;
                second = false
            }
        :: else
        fi
    :: at == INSTANCES -> at = 0; break
    od
}

/* Under the lock, so that nobody frees it between the last reference and its being marked. */
inline release(t, i)
{
#ifdef RELEASE_UNLOCKED
    atomic { FENCED(t); instance[i].references--; last = instance[i].references == 0; }
    lock(t);
    if
    :: last ->
        assert(!instance[i].freed);
        if
        :: !instance[i].zombie -> instance[i].zombie = true; zombies++
        :: else
        fi;
        reap(t)
    :: else
    fi;
    last = false;
    unlock(t)
#else
    lock(t);
    assert(!instance[i].freed);
    instance[i].references--;
    if
    :: instance[i].references == 0 ->
        if
        :: !instance[i].zombie -> instance[i].zombie = true; zombies++
        :: else
        fi;
        reap(t)
    :: else
    fi;
    unlock(t)
#endif
}

inline look_for_zombies(t)
{
    if
    :: zombies > 0 -> lock(t); reap(t); unlock(t)
    :: else
    fi
}

inline give(t, s)
{
#if defined(GIVE_RELAXED)
    store(t, SEAT(s), 0);
    look_for_zombies(t)
#elif defined(LOOK_FIRST)
    look_for_zombies(t);
    atomic { FENCED(t); cell[SEAT(s)] = 0; }
#elif defined(GIVE_WITHOUT_LOOK)
    atomic { FENCED(t); cell[SEAT(s)] = 0; }
#else
    atomic { FENCED(t); cell[SEAT(s)] = 0; }
    look_for_zombies(t)
#endif
}

inline give_back(t, s) /* after a second look that found another instance */
{
#ifdef RECHECK_WITHOUT_LOOK
    atomic { FENCED(t); cell[SEAT(s)] = 0; }
#else
    give(t, s)
#endif
}

/* Owns the lane: the instance is used, and may be handed to a worker with a reference. */
inline use(t, mine)
{
    d_step { assert(!instance[mine].freed); instance[mine].users++; }
    if
    :: true
    :: atomic { FENCED(t) && working == 0 -> instance[mine].references++; working = mine; }
    fi;
    d_step { assert(!instance[mine].freed); instance[mine].users--; }
}

proctype caller(byte t; byte rounds)
{
    byte mine, seat, at, round;
    bool last, first, second;
    do
    :: round < rounds ->
        atomic { round++; mine = LOAD(t, CURRENT); }
        if
        :: mine == 0
        :: mine != 0 ->
            if /* compare and swap; any seat that is free */
            :: atomic { FENCED(t) && cell[SEAT(0)] == 0 -> cell[SEAT(0)] = mine; seat = 0; }
            :: atomic { FENCED(t) && cell[SEAT(1)] == 0 -> cell[SEAT(1)] = mine; seat = 1; }
            fi;
            if
#ifdef NO_RECHECK
            :: true -> use(t, mine); give(t, seat)
#else
            :: LOAD(t, CURRENT) == mine -> use(t, mine); give(t, seat)
            :: LOAD(t, CURRENT) != mine -> give_back(t, seat)
#endif
            fi
        fi;
        seat = 0
    :: round == rounds -> mine = 0; break
    od
}

/* Runs the lane that it was given, and lets go of the reference. It has no stores of its own. */
active proctype worker()
{
    byte at, mine;
    bool last, first, second;
end:
    do
    :: working != 0 ->
        d_step { mine = working; assert(!instance[mine].freed); working = 0; }
        release(PURE, mine);
        mine = 0
    od
} /* unreached: runs for ever */

/* Puts one instance after another in the place of the last, in the end none. */
proctype manager()
{
    byte old = 1, next, at;
    bool last, first, second;
    do
    :: old <= INSTANCES ->
        next = (old < INSTANCES -> old + 1 : 0);
        store(MANAGER, CURRENT, next);
        FENCED(MANAGER);
        release(MANAGER, old);
        old++
    :: old > INSTANCES -> break
    od
}

/* When all is quiet everything is freed, once. */
proctype judge()
{
    byte at = 1;
end:
    timeout;
    do
    :: at <= INSTANCES -> assert(instance[at].freed); at++
    :: at > INSTANCES -> break
    od;
    assert(zombies == 0)
}

init
{
    byte i = 1;
    atomic {
        cell[CURRENT] = 1;
        do
        :: i <= INSTANCES -> instance[i].references = 1; i++
        :: i > INSTANCES -> break
        od;
        run caller(FIRST, 2);
        run caller(SECOND, 1);
        run manager();
        run judge();
    }
}
