/* actions.h: what a viewer can do: by key, by button, and by line of a script. */
#ifndef AEE_DEMO_ACTIONS_H
#define AEE_DEMO_ACTIONS_H

/* X(id, name in scripts, key as SDL names it, text on the button): one list makes all three. Those
 * from CRASH_AGENTS to CLOSE_SCENE are done to the selected scene, or to the one that a script
 * names. */
#define DEMO_ACTIONS(X)                                           \
    X(CRASH_AGENTS, "crash-agents", "A", "Crash agents")          \
    X(CRASH_PARTICLES, "crash-particles", "P", "Crash particles") \
    X(CRASH_RENDERING, "crash-rendering", "G", "Crash rendering") \
    X(HANG_MOD, "hang-mod", "H", "Hang a mod")                    \
    X(MEMORY_BOMB, "memory-bomb", "M", "Memory bomb")             \
    X(THIEF, "thief", "T", "Thief")                               \
    X(KILL_SCENE, "kill-scene", "K", "Kill scene")                \
    X(ROLL_BACK, "roll-back", "R", "Roll back 3 s")               \
    X(PAUSE, "pause", "Z", "Pause / resume")                      \
    X(CLOSE_SCENE, "close-scene", "X", "Close scene")             \
    X(ADD_SCENE, "add-scene", "N", "New scene")                   \
    X(SELECT_NEXT, "select-next", "Tab", "Next scene")            \
    X(FREEZE, "freeze", "Space", "Freeze")                        \
    X(STEP, "step", "S", "Single step")                           \
    X(HELP, "help", "F1", "Help")                                 \
    X(QUIT, "quit", "Escape", "Quit")

enum action {
#define DEMO_ACTION_ENUM(id, name, key, text) ACTION_##id,
    DEMO_ACTIONS(DEMO_ACTION_ENUM)
#undef DEMO_ACTION_ENUM
        ACTIONS,
    ACTION_NONE = -1
};

#endif
