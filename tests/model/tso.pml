/* tso.pml: memory as x86 processors show it. A plain store waits in its thread's buffer; the buffer
 * reaches memory in order and at any time; a thread sees its own buffer first. A locked instruction
 * (seq_cst store, read-modify-write, fence, system call) waits until the buffer is empty. Loads are
 * in order. (SDM volume 3, 8.2; Owens, Sarkar, Sewell: x86-TSO.)
 *
 * The including file defines THREADS and CELLS. Cells are what plain stores write; what only locked
 * instructions write are ordinary variables, read as they are, written in atomic { fence; }. */
#ifndef DEPTH
#define DEPTH 2
#endif

byte cell[CELLS];
/* Threads that never store plainly share one more buffer, which stays empty. At most three others:
 * the grammar wants one constant as an array's size. */
#define PURE 3
byte held[4];                  /* stores in the buffer */
byte held_cell[4 * DEPTH];     /* oldest first */
byte held_value[4 * DEPTH];

#define FENCED(t) (held[t] == 0)

#define OWN(t, c, i) (held[t] > (i) && held_cell[(t) * DEPTH + (i)] == (c))
#define LOAD(t, c) \
    (OWN(t, c, 1) -> held_value[(t) * DEPTH + 1] : (OWN(t, c, 0) -> held_value[(t) * DEPTH] : cell[c]))

/* A full buffer makes the store wait, as it does the processor. */
inline store(t, c, v)
{
    d_step {
        held[t] < DEPTH;
        held_cell[(t) * DEPTH + held[t]] = (c);
        held_value[(t) * DEPTH + held[t]] = (v);
        held[t]++;
    }
}

#define DRAIN(t)                                          \
    d_step {                                              \
        held[t] > 0;                                      \
        cell[held_cell[(t) * DEPTH]] = held_value[(t) * DEPTH]; \
        held_cell[(t) * DEPTH] = held_cell[(t) * DEPTH + 1];    \
        held_value[(t) * DEPTH] = held_value[(t) * DEPTH + 1];  \
        held_cell[(t) * DEPTH + 1] = 0;                   \
        held_value[(t) * DEPTH + 1] = 0;                  \
        held[t]--;                                        \
    }

/* Take the oldest store to memory, whenever they like; one each, so that each is fair. */
active proctype drain_0()
{
end:
    do
    :: DRAIN(0)
    od
} /* unreached: runs for ever */

#if THREADS > 1
active proctype drain_1()
{
end:
    do
    :: DRAIN(1)
    od
} /* unreached: runs for ever */
#endif

#if THREADS > 2
active proctype drain_2()
{
end:
    do
    :: DRAIN(2)
    od
} /* unreached: runs for ever */
#endif
