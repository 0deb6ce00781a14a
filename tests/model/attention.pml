/* attention.pml: a lane's ring is touched only by the owner of its seat. Who wants it looked at (a
 * worker that saw the lane leave the guest, a submitter that queued a call) sets `attention` and tries
 * the seat; where that is taken, the owner looks when it has given the seat. An event is a plain
 * store that the pump finds, as a reply in the ring is, or an entry of the queue, which has a lock.
 *
 * Mutations: TRY_FIRST, GIVE_RELAXED, LOOK_FIRST, CLEAR_LATE, CLEAR_RELAXED, ATTENTION_RELAXED. */
#ifndef EVENTS
#define EVENTS 2 /* of each poster */
#endif

#define POSTER 0
#define SECOND 1
#define CALLER 2
#define THREADS 3

#define EVENT(t) (t) /* how many have happened, by each poster */
#define ATTENTION 2
#define SEAT 3
#define CELLS 4
#include "tso.pml"

byte pumpers;
byte seen_of[2]; /* events that the pump has seen: of the seat's owner */

inline set_attention(t)
{
#ifdef ATTENTION_RELAXED
    store(t, ATTENTION, 1)
#else
    atomic { FENCED(t); cell[ATTENTION] = 1; }
#endif
}

inline pump(t)
{
    d_step { assert(pumpers == 0); pumpers++; }
    seen_of[0] = LOAD(t, EVENT(0));
    seen_of[1] = LOAD(t, EVENT(1));
    pumpers--
}

inline clear_and_pump(t)
{
#if defined(CLEAR_LATE)
    pump(t);
    atomic { FENCED(t); cell[ATTENTION] = 0; }
#elif defined(CLEAR_RELAXED)
    store(t, ATTENTION, 0);
    pump(t)
#else
    atomic { FENCED(t); cell[ATTENTION] = 0; }
    pump(t)
#endif
}

/* Gives the seat, and takes it again as long as there is something to look at. */
inline give(t)
{
    do
    :: true ->
#if defined(LOOK_FIRST)
        attention = LOAD(t, ATTENTION);
        atomic { FENCED(t); cell[SEAT] = 0; }
#elif defined(GIVE_RELAXED)
        store(t, SEAT, 0);
        attention = LOAD(t, ATTENTION);
#else
        atomic { FENCED(t); cell[SEAT] = 0; }
        attention = LOAD(t, ATTENTION);
#endif
        if
        :: !attention -> break
        :: attention ->
            attention = false;
            try_seat(t);
            if
            :: got -> got = false; clear_and_pump(t)
            :: !got -> break
            fi
        fi
    od
}

inline try_seat(t)
{
    atomic {
        FENCED(t);
        got = cell[SEAT] == 0; /* compare and swap, also when it fails */
        if
        :: got -> cell[SEAT] = 1
        :: !got
        fi
    }
}

inline want_attention(t)
{
#ifdef TRY_FIRST
    try_seat(t);
    if
    :: got -> got = false; clear_and_pump(t); give(t)
    :: !got -> set_attention(t)
    fi
#else
    set_attention(t);
#ifdef ATTENTION_RELAXED
    if /* and a plain look before the compare and swap */
    :: LOAD(t, SEAT) == 0 -> try_seat(t)
    :: LOAD(t, SEAT) != 0
    fi;
#else
    try_seat(t);
#endif
    if
    :: got -> got = false; clear_and_pump(t); give(t)
    :: !got
    fi
#endif
}

proctype poster(byte t)
{
    bool got, attention;
    byte events;
    do
    :: events < EVENTS ->
        events++;
        store(t, EVENT(t), events);
        want_attention(t)
    :: events == EVENTS -> break
    od
}

/* A synchronous call: it has a use of its own for the ring, and does not pump. */
proctype caller(byte t)
{
    bool got, attention;
    byte calls;
    do
    :: calls < 2 ->
        calls++;
        try_seat(t);
        if
        :: got -> got = false; assert(pumpers == 0); give(t)
        :: !got
        fi
    :: calls == 2 -> break
    od
}

/* When all is quiet, everything was looked at and the seat is free. */
proctype judge()
{
end:
    timeout;
    assert(seen_of[0] == EVENTS && seen_of[1] == EVENTS);
    assert(cell[SEAT] == 0)
}

init
{
    atomic {
        run poster(POSTER);
        run poster(SECOND);
        run caller(CALLER);
        run judge();
    }
}
