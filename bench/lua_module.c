/* lua_module.c: an empty function in Lua, called from C. Compiled once for each Lua library, into
 * modules of their own, because both define the same symbols. */
#include "bench/lua_module.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#ifdef LUAJIT
#include <luajit.h>
#define LUA_MODULE_VERSION LUAJIT_VERSION
#else
#define LUA_MODULE_VERSION LUA_RELEASE
#endif

static void *open_state(void)
{
    lua_State *state = luaL_newstate();
    if (!state) {
        return NULL;
    }
    luaL_openlibs(state);
    if (luaL_loadstring(state, "return function() end") != 0 || lua_pcall(state, 0, 1, 0) != 0) {
        lua_close(state);
        return NULL;
    }
    return state; /* the function stays on the stack */
}

static int call_function(void *opaque)
{
    lua_State *state = opaque;
    lua_pushvalue(state, 1);
    return lua_pcall(state, 0, 0, 0);
}

static void close_state(void *opaque)
{
    lua_close(opaque);
}

extern __attribute__((visibility("default"))) const struct bench_lua bench_lua;
const struct bench_lua bench_lua = {
    .version = LUA_MODULE_VERSION,
    .open = open_state,
    .call = call_function,
    .close = close_state,
};
