/* elsewhere_lua.c: the same empty call into an interpreter in this process, for comparison. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench/internal.h"
#include "bench/lua_module.h"
#include "bench/rows.h"

enum { CALLS = 64 }; /* in one sample: one call is shorter than a reading of the clock */

struct script {
    void *module;
    const struct bench_lua *lua;
    void *state;
};

/* Beside this program, where the build leaves it, or in the folder that it is installed to. */
static void *load_module(const char *name)
{
    char path[4096];
    char folder[2048];
    const ssize_t length = readlink("/proc/self/exe", folder, sizeof folder - 1);
    if (length <= 0) {
        return NULL;
    }
    folder[length] = '\0';
    char *slash = strrchr(folder, '/');
    if (slash) {
        *slash = '\0';
    }
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!module) {
        (void)snprintf(path, sizeof path, "%s/%s/%s", folder, BENCH_MODULES, name);
        module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    }
    return module;
}

static int open_script(struct script *script, const char *module, const char *missing,
                       struct bench_result *result)
{
    if (missing) {
        return bench_skip(result, "not built: %s is missing", missing);
    }
    script->module = load_module(module);
    script->lua = script->module ? dlsym(script->module, BENCH_LUA_SYMBOL) : NULL;
    if (!script->lua) {
        return bench_skip(result, "%s could not be loaded", module);
    }
    script->state = script->lua->open();
    return script->state ? 0 : bench_skip(result, "%s could not be started", script->lua->version);
}

static void close_script(struct script *script)
{
    if (script->state) {
        script->lua->close(script->state);
    }
    if (script->module) {
        (void)dlclose(script->module);
    }
}

static int measure(void *user, struct bench_samples *samples, uint32_t count,
                   struct bench_result *result)
{
    const struct script *script = user;
    for (uint32_t i = 0; i < count; i++) {
        int failed = 0;
        const uint64_t before = bench_now();
        for (int turn = 0; turn < CALLS; turn++) {
            failed |= script->lua->call(script->state);
        }
        bench_samples_add(samples, (double)(bench_now() - before) / CALLS);
        if (failed) {
            return bench_skip(result, "the script failed");
        }
    }
    return 0;
}

static int run(struct bench *bench, const char *module, const char *missing,
               struct bench_result *result)
{
    struct script script = {0};
    const struct bench_pair pair = {
        .row = measure, .row_user = &script, .rounds = bench_scale(bench, 20), .row_count = 500};
    int status = open_script(&script, module, missing, result);
    if (status == 0) {
        bench_cpus_pin(bench->cpu_here);
        (void)snprintf(result->note, sizeof result->note, "%s", script.lua->version);
        status = bench_interleave(&pair, result);
    }
    close_script(&script);
    return status;
}

#ifdef BENCH_HAS_LUAJIT
#define LUAJIT_MISSING NULL
#else
#define LUAJIT_MISSING "libluajit-5.1-dev"
#endif
#ifdef BENCH_HAS_LUA54
#define LUA54_MISSING NULL
#else
#define LUA54_MISSING "liblua5.4-dev"
#endif

static int run_luajit(struct bench *bench, struct bench_result *result)
{
    return run(bench, "aee_bench_luajit.so", LUAJIT_MISSING, result);
}

static int run_lua54(struct bench *bench, struct bench_result *result)
{
    return run(bench, "aee_bench_lua54.so", LUA54_MISSING, result);
}

const struct bench_row bench_row_elsewhere_luajit = {
    .name = "elsewhere_luajit",
    .unit = "ns",
    .level = "none",
    .target_text = "",
    .how = "an empty Lua function called from C in this process with LuaJIT; mean of 64 calls",
    .run = run_luajit,
};

const struct bench_row bench_row_elsewhere_lua54 = {
    .name = "elsewhere_lua54",
    .unit = "ns",
    .level = "none",
    .target_text = "",
    .how = "the same with PUC Lua 5.4; mean of 64 calls",
    .run = run_lua54,
};
