/* ring.pml: the call ring of one lane. src/ring/call_ring.c is the host; lane_loop() and serve() of
 * guest/vdso/vdso.c are the guest. Slots are used in turn; a line is ready when its seq is the next
 * number. Sequence numbers wrap, as they do in 32 bits.
 *
 * HOSTILE: the guest may write anything anywhere in the lane at any time. So whatever the host loads
 * from there is any value at all, each time.
 * Mutations: PUSH_SEQ_FIRST, REPLY_SEQ_FIRST, FULL_LATE, EMPTY_POP, INDEX_FROM_GUEST, FETCH_TWICE. */
#ifndef SLOTS
#define SLOTS 2
#endif
#ifndef CALLS
#define CALLS 10
#endif
#define MODULUS (4 * SLOTS) /* of sequence numbers: a multiple of SLOTS */
#define SEQ(n) ((n) % MODULUS)

/* Each slot: request seq, argument, reply seq, value. */
#define REQUEST(n) (4 * ((n) % SLOTS))
#define ARGUMENT(n) (REQUEST(n) + 1)
#define REPLY(n) (REQUEST(n) + 2)
#define VALUE(n) (REQUEST(n) + 3)

#define HOST 0
#define GUEST 1
#define THREADS 2
#define CELLS (4 * SLOTS)
#include "tso.pml"

#define ARGUMENT_OF(n) (1 + (n))
#define ANSWER_OF(n) (100 + (n))
#define CAPACITY 2 /* a reply may have so many bytes */

byte submitted; /* only the host knows these two; they do not wrap here, so that they can be judged */
byte completed;
byte loaded; /* the host's local */

#ifdef HOSTILE
/* 0 .. MODULUS - 1 stands for every value there is: each seq, and each size up to twice too large. */
inline load(c)
{
    select(loaded : 0 .. MODULUS - 1)
}
#else
inline load(c)
{
    loaded = LOAD(HOST, c)
}
#endif

#ifdef FULL_LATE
#define FULL (submitted - completed > SLOTS)
#else
#define FULL (submitted - completed >= SLOTS)
#endif

inline push()
{
    assert(submitted - completed < SLOTS); /* the slot's last reply was taken */
    assert(REQUEST(submitted) < CELLS);
#ifdef PUSH_SEQ_FIRST
    submitted++;
    store(HOST, REQUEST(submitted - 1), SEQ(submitted));
    store(HOST, ARGUMENT(submitted - 1), ARGUMENT_OF(submitted - 1));
#else
    store(HOST, ARGUMENT(submitted), ARGUMENT_OF(submitted));
    submitted++;
    store(HOST, REQUEST(submitted - 1), SEQ(submitted));
#endif
}

inline check_value()
{
#ifdef HOSTILE
    /* Used only as it was when it was checked. */
    if
    :: loaded <= CAPACITY ->
#ifdef FETCH_TWICE
        load(VALUE(completed));
#endif
        assert(loaded <= CAPACITY)
    :: loaded > CAPACITY
    fi
#else
    assert(loaded == ANSWER_OF(completed)) /* its own */
#endif
}

inline pop()
{
    assert(completed < submitted); /* no reply without a request */
    load(VALUE(completed));
    check_value();
#ifdef INDEX_FROM_GUEST
    load(REPLY(completed));
    completed = loaded;
#else
    completed++;
#endif
    loaded = 0;
    assert(completed <= submitted && submitted - completed <= SLOTS);
}

#ifdef EMPTY_POP
#define OUTSTANDING true
#else
#define OUTSTANDING (submitted != completed)
#endif

active proctype host()
{
    do
    :: submitted < CALLS && !FULL -> push()
    :: OUTSTANDING ->
        load(REPLY(completed));
        if
        :: loaded == SEQ(completed + 1) -> pop()
        :: else -> loaded = 0
        fi
    :: completed == CALLS -> break
    od
}

#ifndef HOSTILE

byte served; /* requests that the component saw */

active proctype guest()
{
    byte argument;
end:
    do
    :: LOAD(GUEST, REQUEST(served)) == SEQ(served + 1) ->
        argument = LOAD(GUEST, ARGUMENT(served));
        assert(argument == ARGUMENT_OF(served)); /* its own, and each exactly once */
        assert(served < submitted);
        argument = 0;
#ifdef REPLY_SEQ_FIRST
        store(GUEST, REPLY(served), SEQ(served + 1));
        store(GUEST, VALUE(served), ANSWER_OF(served));
#else
        store(GUEST, VALUE(served), ANSWER_OF(served));
        store(GUEST, REPLY(served), SEQ(served + 1));
#endif
        served++
    od
} /* unreached: runs for ever */

/* Every call is answered in the end. */
ltl answered { <> (completed == CALLS) }

#endif
