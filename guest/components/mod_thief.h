/* mod_thief.h: the list of attacks, shared by the thief's files. */
#ifndef AEE_COMPONENT_MOD_THIEF_H
#define AEE_COMPONENT_MOD_THIEF_H

#include <stdint.h>

/* What must happen to the thief; the engine goes on in every case. */
enum thief_end {
    THIEF_CRASHES = 0, /* the attack must not return */
    THIEF_LIVES = 1,   /* may crash; if it returns, then with 0: nothing was gained */
    THIEF_HANGS = 2,   /* does not return; the call budget ends it */
};

struct thief_attack {
    const char *name;
    int64_t (*run)(void); /* 0: nothing gained; 1: the attack got through */
    enum thief_end end;
};

struct thief_list {
    const struct thief_attack *attacks;
    int64_t count;
};
extern const struct thief_list thief_memory_attacks;
extern const struct thief_list thief_processor_attacks;
extern const struct thief_list thief_ring_attacks;

/* Where "aimed" attacks go: set by thief_aim(). */
extern uint64_t thief_target;

#endif
