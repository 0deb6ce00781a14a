/* trace_scenes.c: what test_trace.py looks at traces of.
 *
 *   trace_scenes IMAGE SCENE FILE     writes a trace to FILE, and prints what must be in it
 *
 * A line is "CONTEXT|CATEGORY|FUNCTION|RESULT COUNT", or "NAME NUMBER". Exits with 77 where the
 * level that is to be tested is not usable. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "aee_virt.h"
#include "level.h"
#include "monitor/trace_json.h"

#define SECOND UINT64_C(1000000000)

struct scene {
    const char *image;
    const char *path;
    aee_engine *engine;
    aee_error error;
};

static void check_at(int line, aee_result result, const aee_error *error)
{
    if (result != AEE_OK) {
        (void)fprintf(stderr, "trace_scenes:%d: %s\n", line, error->text);
        exit(1);
    }
}
#define CHECK(call) check_at(__LINE__, (call), &scene->error)

static void sleep_ns(uint64_t ns)
{
    const struct timespec time = {(time_t)(ns / SECOND), (long)(ns % SECOND)};
    (void)nanosleep(&time, NULL);
}

/* ---- Making things ------------------------------------------------------------------------ */

static aee_result host_add(void *user, aee_host_call *call)
{
    (void)user;
    call->result = call->args[0] + call->args[1];
    return AEE_OK;
}

static aee_result climb(void *user, aee_host_call *call)
{
    aee_function descend;
    const int64_t args[3] = {call->args[0] - 1, call->args[1], call->args[2]};
    (void)user;
    aee_result result = aee_find_function(call->engine, call->context, "descend", &descend, NULL);
    return result == AEE_OK
               ? aee_call_i64(call->engine, call->context, descend, args, 3, &call->result, NULL)
               : result;
}

static void open_scene(struct scene *scene, uint64_t frame_budget_ns)
{
    const aee_engine_desc desc = {.struct_size = sizeof desc, .frame_budget_ns = frame_budget_ns};
    CHECK(aee_engine_create(&desc, &scene->engine, &scene->error));
    CHECK(aee_register_host_function(scene->engine, "host_add", host_add, NULL, &scene->error));
    CHECK(aee_register_host_function(scene->engine, "climb", climb, NULL, &scene->error));
}

static aee_context make(struct scene *scene, const char *name, aee_call_mode mode, uint32_t lanes)
{
    const aee_context_desc desc = {.struct_size = sizeof desc,
                                   .name = name,
                                   .call_mode = mode,
                                   .limits = {.lanes = lanes, .call_budget_ns = 20 * SECOND}};
    aee_context context;
    CHECK(aee_context_create(scene->engine, &desc, &context, &scene->error));
    CHECK(aee_grant_host_function(scene->engine, context, "host_add", &scene->error));
    CHECK(aee_grant_host_function(scene->engine, context, "climb", &scene->error));
    CHECK(aee_load_file(scene->engine, context, scene->image, &scene->error));
    return context;
}

static aee_function find(struct scene *scene, aee_context context, const char *name)
{
    aee_function function;
    CHECK(aee_find_function(scene->engine, context, name, &function, &scene->error));
    return function;
}

static aee_result call(struct scene *scene, aee_context context, const char *name, int64_t a,
                       uint32_t count)
{
    const int64_t args[3] = {a, 1, 0};
    return aee_call_i64(scene->engine, context, find(scene, context, name), args, count, NULL,
                        &scene->error);
}

static void call_many(struct scene *scene, aee_context context, const char *name, int64_t a,
                      uint32_t args, uint32_t times)
{
    for (uint32_t i = 0; i < times; i++) {
        CHECK(call(scene, context, name, a, args));
    }
}

enum { BATCH_MOST = 512 };

/* How many of them ended with AEE_OK. Every `every`-th calls `other`. */
static uint32_t run_batch(struct scene *scene, aee_context context, uint32_t count, uint32_t every,
                          const char *other)
{
    aee_call_item items[BATCH_MOST];
    aee_completion done[BATCH_MOST];
    aee_function blend = find(scene, context, "blend");
    aee_function rest = find(scene, context, other);
    aee_batch batch;
    uint32_t got;
    uint32_t good = 0;
    for (uint32_t i = 0; i < count; i++) {
        bool is_other = i % every == every - 1;
        items[i] = (aee_call_item){.context = context,
                                   .function = is_other ? rest : blend,
                                   .arg_count = is_other && strcmp(other, "trap") == 0 ? 0 : 2,
                                   .args = {aee_i64(i), aee_i64(1)}};
    }
    CHECK(aee_submit(scene->engine, items, count, 0, &batch, &scene->error));
    CHECK(aee_wait(scene->engine, batch, done, count, &got, 60 * SECOND, &scene->error));
    for (uint32_t i = 0; i < got; i++) {
        good += done[i].result == AEE_OK;
    }
    return good;
}

static void start_trace(struct scene *scene, uint32_t calls, uint64_t max_bytes)
{
    const aee_trace_desc desc = {.struct_size = sizeof desc,
                                 .path = scene->path,
                                 .calls_per_lane = calls,
                                 .max_bytes = max_bytes};
    CHECK(aee_trace_start(scene->engine, &desc, &scene->error));
}

/* ---- Scenes ------------------------------------------------------------------------------- */

static void play_frames(struct scene *scene, aee_context context, uint64_t budget_ns)
{
    unsigned late = 0;
    for (unsigned i = 0; i < 5; i++) {
        aee_frame_info info;
        CHECK(aee_engine_frame_begin(scene->engine, &scene->error));
        call_many(scene, context, "count", 0, 0, 3);
        if (i == 3) {
            sleep_ns(2 * budget_ns);
        }
        CHECK(aee_engine_frame_end(scene->engine, &info, &scene->error));
        late += info.late != 0;
    }
    (void)printf("frames %u\nlate %u\n", 5 - late, late);
}

static void crash(struct scene *scene, aee_context context)
{
    if (call(scene, context, "trap", 0, 0) != AEE_ERR_CRASHED) {
        (void)fprintf(stderr, "trap() did not crash: %s\n", scene->error.text);
        exit(1);
    }
    CHECK(aee_wait_ready(scene->engine, context, 60 * SECOND, &scene->error));
}

#define MOD "mod \"quoted\" <b> \\ \xc3\xa9 \xff\xc3"

/* Of everything something, each of it counted. */
static void play_script(struct scene *scene)
{
    const uint64_t budget_ns = SECOND / 10;
    open_scene(scene, budget_ns);
    aee_context agents = make(scene, "agents", AEE_CALL_RING, 1);
    call_many(scene, agents, "count", 0, 0, 7); /* before the trace */
    start_trace(scene, 0, 0);
    aee_context mod = make(scene, MOD, AEE_CALL_DIRECT, 1); /* after its begin */
    call_many(scene, agents, "count", 0, 0, 100);
    call_many(scene, agents, "ask", 5, 2, 10);
    call_many(scene, agents, "descend", 2, 3, 1);
    call_many(scene, mod, "count", 0, 0, 50);
    call_many(scene, mod, "ask", 5, 2, 5);
    call_many(scene, mod, "descend", 3, 3, 1);
    (void)printf("agents|submitted call|blend|AEE_OK 180\nagents|submitted call|ask|AEE_OK 20\n");
    (void)run_batch(scene, agents, 200, 10, "ask");
    (void)printf("mod|submitted call|blend|AEE_OK 60\nmod|submitted call|ask|AEE_OK 30\n");
    (void)run_batch(scene, mod, 90, 3, "ask");
    play_frames(scene, agents, budget_ns);
    crash(scene, mod);
    call_many(scene, mod, "count", 0, 0, 1);
    CHECK(aee_pause(scene->engine, agents, &scene->error));
    CHECK(aee_resume(scene->engine, agents, &scene->error));
    CHECK(aee_destroy(scene->engine, mod, &scene->error)); /* its names are needed all the same */
    CHECK(aee_trace_stop(scene->engine, &scene->error));
    call_many(scene, agents, "count", 0, 0, 1); /* after it */
    (void)printf("agents|call|count|AEE_OK 115\nagents|call|ask|AEE_OK 10\n"
                 "agents|call|descend|AEE_OK 1\nagents|nested call|descend|AEE_OK 2\n"
                 "agents|host call|climb|AEE_OK 2\nagents|host call|host_add|AEE_OK 30\n"
                 "mod|call|count|AEE_OK 51\nmod|call|ask|AEE_OK 5\nmod|call|descend|AEE_OK 1\n"
                 "mod|call|trap|AEE_ERR_CRASHED 1\nmod|nested call|descend|AEE_OK 3\n"
                 "mod|host call|climb|AEE_OK 3\nmod|host call|host_add|AEE_OK 35\n"
                 "mod|call|(initialisers)|AEE_OK 2\n");
}

/* State that is kept, and comes back on request and after a crash. */
static void play_recovery(struct scene *scene)
{
    open_scene(scene, SECOND);
    const aee_recovery_desc recovery = {
        .struct_size = sizeof recovery, .history = 4, .restart = AEE_RESTART_CHECKPOINT};
    aee_context context = make(scene, "saver", AEE_CALL_AUTO, 2);
    CHECK(aee_set_recovery(scene->engine, context, &recovery, &scene->error));
    start_trace(scene, 0, 0);
    for (unsigned i = 0; i < 3; i++) {
        call_many(scene, context, "count", 0, 0, 10);
        CHECK(aee_checkpoint(scene->engine, context, &scene->error));
    }
    CHECK(aee_restore(scene->engine, context, 1, &scene->error));
    call_many(scene, context, "count", 0, 0, 10);
    for (unsigned i = 0; i < 5; i++) {
        crash(scene, context);
        call_many(scene, context, "count", 0, 0, 10);
        CHECK(aee_checkpoint(scene->engine, context, &scene->error));
    }
    CHECK(aee_trace_stop(scene->engine, &scene->error));
    (void)printf("saver|call|count|AEE_OK 90\nsaver|call|trap|AEE_ERR_CRASHED 5\n");
}

/* Batches that end with their component: what began is there, once. */
static void play_batch_crash(struct scene *scene)
{
    open_scene(scene, SECOND);
    aee_context context = make(scene, "falling", AEE_CALL_AUTO, 2);
    uint32_t good = 0;
    start_trace(scene, 0, 0);
    for (unsigned i = 0; i < 4; i++) {
        good += run_batch(scene, context, 50, 20, "trap");
        CHECK(aee_wait_ready(scene->engine, context, 60 * SECOND, &scene->error));
    }
    CHECK(aee_trace_stop(scene->engine, &scene->error));
    (void)printf("good %u\n", good);
}

/* A thread's calls among submitted ones, on one lane. */
static void play_mixed(struct scene *scene)
{
    open_scene(scene, SECOND);
    aee_context context = make(scene, "mixed", AEE_CALL_RING, 1);
    aee_function blend = find(scene, context, "blend");
    aee_call_item items[20];
    start_trace(scene, 0, 0);
    for (unsigned i = 0; i < 20; i++) {
        items[i] = (aee_call_item){.context = context,
                                   .function = blend,
                                   .arg_count = 2,
                                   .args = {aee_i64(i), aee_i64(1)}};
    }
    for (unsigned round = 0; round < 100; round++) {
        aee_batch batch;
        CHECK(aee_submit(scene->engine, items, 20, 0, &batch, &scene->error));
        call_many(scene, context, "count", 0, 0, 2);
        CHECK(aee_wait(scene->engine, batch, NULL, 0, NULL, 60 * SECOND, &scene->error));
    }
    CHECK(aee_trace_stop(scene->engine, &scene->error));
    (void)printf("mixed|submitted call|blend|AEE_OK 2000\nmixed calls 200\n");
}

static void play_overflow(struct scene *scene)
{
    open_scene(scene, SECOND);
    aee_context context = make(scene, "many", AEE_CALL_AUTO, 1);
    start_trace(scene, 100, 0); /* 128 places, of which one may be written to */
    call_many(scene, context, "count", 0, 0, 1000);
    CHECK(aee_trace_stop(scene->engine, &scene->error));
    (void)printf("kept 127\noverwritten 873\n");
}

static void play_limit(struct scene *scene)
{
    open_scene(scene, SECOND);
    aee_context one = make(scene, "one", AEE_CALL_AUTO, 1);
    aee_context other = make(scene, "other", AEE_CALL_AUTO, 1);
    start_trace(scene, 16384, 2 << 20);
    call_many(scene, one, "count", 0, 0, 15000);
    call_many(scene, other, "count", 0, 0, 10000);
    CHECK(aee_trace_stop(scene->engine, &scene->error));
    (void)printf("calls 25000\nbytes %u\n", 2u << 20);
}

/* A trace that is on when the engine goes is written then. */
static void play_destroy(struct scene *scene)
{
    open_scene(scene, SECOND);
    aee_context context = make(scene, "left", AEE_CALL_AUTO, 1);
    start_trace(scene, 0, 0);
    call_many(scene, context, "ask", 5, 2, 10);
    (void)printf("left|call|ask|AEE_OK 10\nleft|host call|host_add|AEE_OK 10\n");
}

/* ---- Threads ------------------------------------------------------------------------------ */

enum { CALLERS = 3, TRACES = 12 };

struct caller {
    struct scene scene; /* its own: no two threads write one error */
    aee_context context;
    const char *name;
    _Atomic bool *over;
    uint64_t calls;
};

static void *call_on(void *argument)
{
    struct caller *caller = argument;
    while (!atomic_load(caller->over)) {
        aee_result result = call(&caller->scene, caller->context, caller->name, 5, 2);
        if (result != AEE_OK && result != AEE_ERR_BUSY) {
            check_at(__LINE__, result, &caller->scene.error);
        }
        caller->calls += result == AEE_OK;
    }
    return NULL;
}

static void play_threads(struct scene *scene)
{
    static _Atomic bool over;
    struct caller callers[CALLERS];
    pthread_t threads[CALLERS];
    open_scene(scene, SECOND);
    aee_context two = make(scene, "two", AEE_CALL_AUTO, 2);
    aee_context alone = make(scene, "alone", AEE_CALL_DIRECT, 1);
    for (unsigned i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){.scene = *scene,
                                     .context = i < 2 ? two : alone,
                                     .name = i == 1 ? "ask" : "blend",
                                     .over = &over};
        if (pthread_create(&threads[i], NULL, call_on, &callers[i]) != 0) {
            exit(1);
        }
    }
    for (unsigned i = 0; i < TRACES; i++) {
        start_trace(scene, i % 2 ? 64 : 1024, 0);
        sleep_ns(SECOND / 100);
        if (i % 4 == 3) { /* instances come and go meanwhile */
            aee_context guest = make(scene, "guest", AEE_CALL_AUTO, 1);
            call_many(scene, guest, "count", 0, 0, 10);
            CHECK(aee_destroy(scene->engine, guest, &scene->error));
        }
        CHECK(aee_trace_stop(scene->engine, &scene->error));
    }
    atomic_store(&over, true);
    for (unsigned i = 0; i < CALLERS; i++) {
        (void)pthread_join(threads[i], NULL);
        (void)printf("caller%u %llu\n", i, (unsigned long long)callers[i].calls);
    }
}

/* ---- Names that nobody checked ------------------------------------------------------------ */

static const char *const hostile[] = {
    "\"},{\"ph\":\"X",     "back\\slash\\",        "new\nline\ttab\x01",
    "</script><script>",   "\xff\xfe\xc3",         "\xed\xa0\x80",
    "\xf0\x9f\x98\x80 ok", "\x1b[31m\x7f\xc2\x9b", ""};
enum { HOSTILE = sizeof hostile / sizeof hostile[0] };

static const char *hostile_name(const void *owner, int32_t function)
{
    static char longest[100000];
    (void)owner;
    memset(longest, '"', sizeof longest - 1);
    return function < HOSTILE ? hostile[function] : function == HOSTILE ? longest : NULL;
}

static void nothing(void *owner)
{
    (void)owner;
}

static int write_to(void *user, const void *bytes, size_t size)
{
    return fwrite(bytes, 1, size, user) == size ? 0 : -1;
}

static void play_names(struct scene *scene)
{
    static const _Atomic uint32_t idle;
    static const _Atomic uint32_t exits[AEE__TRACE_EXITS + 1];
    static struct aee__ticker ticker;
    struct aee__trace trace;
    struct aee__trace_door door = {0};
    char name[AEE_NAME_MAX] = "\"\\\n\xff";
    const struct aee__trace_plan plan = {.context = 1,
                                         .name = name,
                                         .busy = &idle,
                                         .exits = exits,
                                         .names = {.name = hostile_name, .drop = nothing},
                                         .keep = nothing};
    aee__ticker_init(&ticker);
    aee__trace_init(&trace, &aee__alloc_default, &ticker);
    CHECK(aee__trace_begin(&trace, 64, 1 << 20, &scene->error));
    aee__trace_open(&trace, &door, &plan);
    for (int32_t i = 0; i < HOSTILE + 2; i++) {
        struct aee__trace_ring *ring = atomic_load(&door.ring);
        uint64_t now = aee__ticks(&ticker);
        aee__trace_put(ring, now, now + 1, aee__trace_detail(AEE__TRACE_CALL, 0, 99, 0, -200, i),
                       UINT64_MAX);
        aee__trace_put(ring, now, now + 1, aee__trace_detail(AEE__TRACE_HOST, 0, 0, 0, 0, i), 0);
    }
    aee__trace_end(&trace);
    FILE *file = fopen(scene->path, "w");
    const struct aee__trace_output output = {.write = write_to,
                                             .user = file,
                                             .max_bytes = 1 << 20,
                                             .process = 1,
                                             .title = "\"title\"",
                                             .host_name = hostile_name};
    CHECK(aee__trace_write(&trace, &output, &scene->error));
    (void)fclose(file);
    aee__trace_clear(&trace);
    aee__trace_give_up(&trace, &door);
    aee__trace_destroy(&trace);
    (void)printf("names %u\n", 2 * (HOSTILE + 2));
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*play)(struct scene *scene);
    } scenes[] = {{"script", play_script},     {"batch_crash", play_batch_crash},
                  {"recovery", play_recovery}, {"overflow", play_overflow},
                  {"mixed", play_mixed},       {"limit", play_limit},
                  {"destroy", play_destroy},   {"threads", play_threads},
                  {"names", play_names}};
    int skip = skip_without_level();
    if (skip || argc != 4) {
        return skip ? skip : 2;
    }
    struct scene scene = {.image = argv[1], .path = argv[3]};
    for (unsigned i = 0; i < sizeof scenes / sizeof scenes[0]; i++) {
        if (strcmp(scenes[i].name, argv[2]) == 0) {
            scenes[i].play(&scene);
            aee_engine_destroy(scene.engine);
            return 0;
        }
    }
    return 2;
}
