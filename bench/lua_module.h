/* lua_module.h: what a module around one Lua library offers (lua_module.c). One thread. */
#ifndef AEE_BENCH_LUA_MODULE_H
#define AEE_BENCH_LUA_MODULE_H

struct bench_lua {
    const char *version;
    void *(*open)(void); /* a state with an empty function in it; NULL: out of memory */
    int (*call)(void *state);
    void (*close)(void *state);
};

#define BENCH_LUA_SYMBOL "bench_lua"

#endif
