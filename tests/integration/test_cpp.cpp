/* test_cpp.cpp: the C++ binding with real components. Built as C++17, as C++20, and without
 * exceptions and RTTI. */
#include "aee_virt.hpp"

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include <sys/wait.h>
#include <unistd.h>

#include "level.h"

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            std::printf("%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                    \
            std::exit(1);                                                                          \
        }                                                                                          \
    } while (0)

// The value of a result, or the end of the test.
#define GET(...) got((__VA_ARGS__), __LINE__)

template <class T> static T got(aee::result<T> result, int line)
{
    if (!result) {
        std::printf("line %d: %s: %s\n", line, aee_result_name(result.code()), result.error().text);
        std::exit(1);
    }
    return std::move(*result);
}

static void got(const aee::result<void> &result, int line)
{
    if (!result) {
        std::printf("line %d: %s: %s\n", line, aee_result_name(result.code()), result.error().text);
        std::exit(1);
    }
}

// ---- No allocation on the call path: all of this program's go through here ---------------------

static std::atomic<long> allocations;

// Inlined, gcc takes malloc() and delete for a mismatch.
#define REPLACED __attribute__((noinline))

REPLACED void *operator new(std::size_t size)
{
    allocations++;
    if (void *memory = std::malloc(size ? size : 1)) {
        return memory;
    }
    std::abort();
}
REPLACED void *operator new(std::size_t size, const std::nothrow_t &) noexcept
{
    allocations++;
    return std::malloc(size ? size : 1);
}
REPLACED void operator delete(void *memory) noexcept
{
    std::free(memory);
}
REPLACED void operator delete(void *memory, std::size_t) noexcept
{
    std::free(memory);
}
REPLACED void operator delete(void *memory, const std::nothrow_t &) noexcept
{
    std::free(memory);
}

// ---- Results -----------------------------------------------------------------------------------

static aee_error some_error()
{
    aee_error error{};
    error.code = AEE_ERR_LIMIT;
    std::snprintf(error.text, sizeof error.text, "no more");
    return error;
}

static void results_hold_a_value_or_an_error()
{
    aee::result<std::int64_t> good(7);
    CHECK(good && *good == 7 && good.value_or(1) == 7 && good.code() == AEE_OK);
    CHECK(good.error().text[0] == '\0');
    aee::result<std::int64_t> bad(some_error());
    CHECK(!bad && bad.value_or(1) == 1 && bad.code() == AEE_ERR_LIMIT);
    CHECK(std::string(bad.error().text) == "no more");
    aee::result<std::unique_ptr<int>> owner(std::make_unique<int>(5));
    CHECK(*std::move(owner).value_or(nullptr) == 5);
    CHECK(aee::result<void>() && !aee::result<void>(some_error()));
#ifdef __cpp_exceptions
    CHECK(good.or_throw() == 7 && aee::result<int>(3).or_throw() == 3);
    bool thrown = false;
    try {
        (void)bad.or_throw();
    } catch (const std::runtime_error &error) {
        thrown = std::string(error.what()) == "no more" &&
                 dynamic_cast<const aee::error &>(error).code() == AEE_ERR_LIMIT;
    }
    CHECK(thrown);
#endif
}

static void nothing_gives_errors()
{
    aee::engine none;
    CHECK(!none && none.create_context("x").code() == AEE_ERR_INVALID_ARGUMENT);
    CHECK(none.host_function("x", [] {}).code() == AEE_ERR_INVALID_ARGUMENT);
    CHECK(none.on_event(nullptr).code() == AEE_ERR_INVALID_ARGUMENT);
    CHECK(aee::typed_function<void()>()().code() == AEE_ERR_INVALID_ARGUMENT);
    CHECK(aee::context().load_file("x").code() == AEE_ERR_INVALID_ARGUMENT);
    aee_engine_desc desc{};
    desc.flags = 1;
    CHECK(aee::engine::create(desc).code() == AEE_ERR_INVALID_ARGUMENT);
}

// ---- Calls -------------------------------------------------------------------------------------

struct bed {
    aee::engine engine = GET(aee::engine::create());
    aee::owned_context context = make();

    aee::owned_context make()
    {
        aee::owned_context made = GET(engine.create_context("bed"));
        GET(made.load_file(AEE_TESTBED));
        return made;
    }
};

enum class team : std::uint8_t { red = 1, blue = 200 };

static void arguments_and_results_are_converted()
{
    bed bed;
    const auto sum = GET(bed.context.function<std::int64_t(std::int64_t, std::int32_t, bool, team,
                                                           std::uint64_t, std::uint8_t)>("sum6"));
    CHECK(GET(sum(-1, -2, true, team::blue, 5, 255)) == -1 - 4 + 3 + 800 + 25 + 1530);
    const auto mixed =
        GET(bed.context.function<double(int, double, std::int64_t, double)>("mixed"));
    CHECK(GET(mixed(1, 0.5, -3, 2.25)) == 1 + 5 - 300 + 2250);
    CHECK(GET(GET(bed.context.function<double(double)>("half"))(-0.25)) == -0.125);
    // Higher bits than those of the type are not looked at.
    using narrow = std::int8_t(std::int64_t, int, int, int, int, int);
    CHECK(GET(GET(bed.context.function<narrow>("sum6"))(0x1ff, 0, 0, 0, 0, 0)) == -1);
    using truth = bool(std::int64_t, int, int, int, int, int);
    CHECK(!GET(GET(bed.context.function<truth>("sum6"))(0x100, 0, 0, 0, 0, 0)));
    using colour = team(std::int64_t, int, int, int, int, int);
    CHECK(GET(GET(bed.context.function<colour>("sum6"))(200, 0, 0, 0, 0, 0)) == team::blue);
    GET(GET(bed.context.function<void()>("count"))());
    CHECK(GET(GET(bed.context.function<int()>("count"))()) == 2);
}

static void faults_are_errors()
{
    bed bed;
    CHECK(bed.context.function<void()>("nowhere").code() == AEE_ERR_NOT_FOUND);
    const auto two = GET(bed.context.function<std::int64_t(int, int)>("sum6"));
    CHECK(two(1, 2).code() == AEE_ERR_ARGUMENT_COUNT);
    CHECK(two(1, 2).value_or(-5) == -5);
    const auto trap = GET(bed.context.function<std::int64_t()>("trap"));
    const auto crashed = trap();
    CHECK(crashed.code() == AEE_ERR_CRASHED && std::strlen(crashed.error().text) > 0);
    CHECK(GET(bed.context.last_crash()).cause == AEE_CRASH_EXCEPTION);
    GET(bed.context.wait_ready(UINT64_C(20000000000)));
    CHECK(GET(bed.context.info()).crashes == 1);
    GET(bed.context.pause());
    CHECK(trap().code() == AEE_ERR_PAUSED);
    GET(bed.context.resume());
    GET(bed.context.stop());
    CHECK(trap().code() == AEE_ERR_STOPPED);
    GET(bed.context.restart());
    CHECK(GET(GET(bed.context.function<int()>("count"))()) == 1);
}

static void state_is_kept()
{
    bed bed;
    char path[] = "/tmp/aee-cpp-XXXXXX";
    const int file = mkstemp(path);
    const auto count = GET(bed.context.function<int()>("count"));
    CHECK(file >= 0 && close(file) == 0);
    CHECK(GET(count()) == 1);
    GET(bed.context.checkpoint());
    CHECK(GET(count()) == 2);
    GET(bed.context.save_snapshot(path));
    GET(bed.context.restore());
    CHECK(GET(count()) == 2);
    CHECK(bed.context.restore(1).code() == AEE_ERR_NOT_FOUND);
    CHECK(GET(count()) == 3);
    GET(bed.context.load_snapshot(path));
    CHECK(GET(count()) == 3);
    CHECK(bed.context.load_snapshot(AEE_TESTBED).code() == AEE_ERR_BAD_SNAPSHOT);
    CHECK(unlink(path) == 0);
}

static void bytes_travel()
{
    bed bed;
    const auto reverse = GET(bed.context.function_of_bytes("reverse"));
    char reply[8] = {};
    CHECK(GET(reverse("boids", 5, reply, sizeof reply)) == 5);
    CHECK(std::string(reply) == "sdiob");
    CHECK(reverse("boids", 5, reply, 4).code() == AEE_ERR_TOO_LARGE);
    const auto refuse = GET(bed.context.function_of_bytes("refuse"));
    CHECK(refuse(nullptr, 0, nullptr, 0).code() == AEE_ERR_COMPONENT);
}

static void calls_do_not_allocate()
{
    bed bed;
    GET(bed.engine.host_function("host_add", [](int a, int b) { return a + b; }));
    GET(bed.context.grant("host_add"));
    const auto mixed =
        GET(bed.context.function<double(int, double, std::int64_t, double)>("mixed"));
    const auto ask = GET(bed.context.function<int(int, int)>("ask"));
    const auto trap = GET(bed.context.function<void()>("trap"));
    const long before = allocations;
    for (int i = 0; i < 100; i++) {
        CHECK(GET(mixed(i, 0, 0, 0)) == i);
        CHECK(GET(ask(i, 1)) == i + 1);
    }
    CHECK(trap().code() == AEE_ERR_CRASHED);
    CHECK(allocations == before);
    ::operator delete(::operator new(1)); // not left out by a compiler, as that of an expression is
    CHECK(allocations == before + 1);     // or nothing was counted
}

// ---- Host functions ----------------------------------------------------------------------------

// What the component gets from its call of "host_add" with these arguments.
template <class F> static std::int64_t answer_of(F function, std::int64_t a, std::int64_t b)
{
    bed bed;
    GET(bed.engine.host_function("host_add", std::move(function)));
    const auto ask = GET(bed.context.function<std::int64_t(std::int64_t, std::int64_t)>("ask"));
    CHECK(GET(ask(a, b)) == -1); // AEE_HOST_NOT_FOUND: not granted yet
    GET(bed.context.grant("host_add"));
    const std::int64_t answer = GET(ask(a, b));
    GET(bed.context.revoke("host_add"));
    CHECK(GET(ask(a, b)) == -1);
    return answer;
}

static std::int64_t subtract(std::int64_t a, std::int64_t b) noexcept
{
    return a - b;
}

static std::int64_t bits_of(double number)
{
    std::int64_t bits;
    std::memcpy(&bits, &number, sizeof bits);
    return bits;
}

constexpr std::int64_t host_failed = -3; // AEE_HOST_FAILED

static void host_functions_take_many_forms()
{
    auto owned = std::make_unique<int>(40); // a move-only state that changes
    CHECK(answer_of([owned = std::move(owned)](int a, int b) mutable { return *owned += a + b; }, 1,
                    1) == 42);
    CHECK(answer_of(subtract, 10, 3) == 7);
    CHECK(answer_of([](double a, team b) { return b == team::red ? a / 2 : 0; }, bits_of(5), 1) ==
          bits_of(2.5));
    CHECK(answer_of([](int) {}, 1, 2) == 0);
    CHECK(answer_of([](int) noexcept { return AEE_ERR_DENIED; }, 1, 2) == host_failed);
    CHECK(answer_of([](int a) { return aee::result<int>(a); }, 9, 0) == 9);
    CHECK(answer_of([](int) { return aee::result<int>(some_error()); }, 9, 0) == host_failed);
    CHECK(answer_of([] { return aee::result<void>(some_error()); }, 9, 0) == host_failed);
    const auto whole = [](aee_host_call &call) {
        // A component may be called back.
        const auto again = aee::context(call.engine, call.context).function<int()>("count");
        CHECK(again && bool((*again)()));
        call.result = call.args[0] * call.args[1];
        return AEE_OK;
    };
    CHECK(answer_of(whole, 6, 7) == 42);
}

static void host_functions_see_payloads()
{
    bed bed;
    GET(bed.engine.host_function("host_upper", [](aee_host_call &call) {
        const auto *from = static_cast<const char *>(call.payload);
        auto *to = static_cast<char *>(call.reply);
        for (std::size_t i = 0; i < call.payload_size && i < call.reply_capacity; i++) {
            to[i] = static_cast<char>(from[i] - 'a' + 'A');
            call.reply_size = i + 1;
        }
        return AEE_OK;
    }));
    GET(bed.context.grant("host_upper"));
    char reply[8] = {};
    CHECK(GET(GET(bed.context.function_of_bytes("ask_bytes"))("boids", 5, reply, 8)) == 5);
    CHECK(std::string(reply) == "BOIDS");
}

static void state_lives_as_long_as_the_engine()
{
    const auto state = std::make_shared<int>(0);
    {
        bed first;
        const auto count = [state](int, int) { return ++*state; };
        GET(first.engine.host_function("host_add", count));
        CHECK(state.use_count() == 3);
        CHECK(first.engine.host_function("host_add", count).code() == AEE_ERR_EXISTS);
        CHECK(state.use_count() == 3); // what was refused is not kept
        GET(first.context.grant("host_add"));
        const auto ask = GET(first.context.function<int(int, int)>("ask"));
        aee::engine moved(std::move(first.engine));
        CHECK(!first.engine && moved);
        CHECK(GET(ask(0, 0)) == 1);
        first.engine = std::move(moved);
        CHECK(GET(ask(0, 0)) == 2);
    }
    CHECK(state.use_count() == 1 && *state == 2);
}

#ifdef __cpp_exceptions
static void exceptions_end_at_the_component()
{
    CHECK(answer_of([](int) -> int { throw std::runtime_error("no"); }, 1, 2) == host_failed);
    CHECK(answer_of([](aee_host_call &) -> aee_result { throw 5; }, 1, 2) == host_failed);
    auto thrower = [](int) -> int { throw 5; };
    aee::detail::host_entry<decltype(thrower)> entry(std::move(thrower));
    aee_host_call call{};
    CHECK(entry.run(&entry, &call) == AEE_ERR_HOST_FUNCTION);

    bed bed;
    int called = 0;
    GET(bed.engine.on_event([&](const aee_event &) {
        called++;
        throw 5;
    }));
    CHECK(GET(bed.engine.poll_events()) > 0 && called > 0);
}
#endif

// An engine that goes within its own host function stays usable for what is under way.
static void an_engine_does_not_go_under_its_callers()
{
    bed bed;
    auto state = std::make_shared<int>(0);
    GET(bed.engine.host_function("host_add", [&bed, state](int, int) {
        bed.engine = aee::engine();
        return ++*state;
    }));
    GET(bed.context.grant("host_add"));
    const auto ask = GET(bed.context.function<int(int, int)>("ask"));
    CHECK(GET(ask(0, 0)) == 1 && GET(ask(0, 0)) == 2 && state.use_count() == 2);
}

template <class F> static void in_a_child(F function)
{
    const pid_t child = fork();
    if (child == 0) {
        function();
        _exit(0);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void a_forked_child_may_drop_the_engine()
{
    bed bed;
    in_a_child([&] {
        CHECK(bed.engine.stats().code() == AEE_ERR_FORKED);
        bed.context = aee::owned_context();
        bed.engine = aee::engine();
    });
    CHECK(GET(GET(bed.context.function<int()>("count"))()) == 1);
}

// ---- Events, contexts, regions -----------------------------------------------------------------

static void events_reach_the_callback()
{
    bed bed;
    int loaded = 0;
    int crashed = 0;
    GET(bed.engine.on_event([&](const aee_event &event) {
        loaded += event.type == AEE_EVENT_LOADED;
        // The callback that is running is replaced.
        GET(bed.engine.on_event([&](const aee_event &later) {
            crashed += later.type == AEE_EVENT_CRASHED && later.context.id != 0;
        }));
        loaded += event.type == AEE_EVENT_LOADED;
    }));
    GET(bed.engine.frame_begin());
    CHECK(bed.engine.frame_begin().code() == AEE_ERR_STATE);
    CHECK(GET(bed.engine.frame_end()).frame == 1 && loaded == 2);
    CHECK(GET(bed.context.function<void()>("trap"))().code() == AEE_ERR_CRASHED);
    (void)GET(bed.engine.poll_events());
    CHECK(crashed == 1);
    GET(bed.engine.on_event(nullptr));
    CHECK(GET(bed.engine.poll_events()) == 0);
}

static void owners_destroy_and_names_do_not()
{
    bed bed;
    const aee::context name = bed.context;
    {
        const aee::context copy = name;
        CHECK(copy.handle().id == name.handle().id);
    }
    CHECK(GET(bed.engine.stats()).total_contexts == 1);
    aee::owned_context moved(std::move(bed.context));
    CHECK(!bed.context && moved && name.info());
    moved = bed.make();
    CHECK(name.info().code() == AEE_ERR_STALE && moved.info());
    CHECK(GET(bed.engine.stats()).total_contexts == 1);
    const aee::context kept = moved.release();
    moved = aee::owned_context();
    CHECK(kept.info());
    GET(kept.destroy());
    CHECK(GET(bed.engine.stats()).total_contexts == 0);
}

static void limits_are_kept()
{
    bed bed;
    aee_limits limits = {};
    limits.disk_bytes_per_second = 100;
    GET(bed.context.set_limits(limits));
    GET(bed.context.charge_io(AEE_IO_NETWORK, 1000));
    GET(bed.context.charge_io(AEE_IO_DISK, 100));
    CHECK(bed.context.charge_io(AEE_IO_DISK, 100).code() == AEE_ERR_LIMIT);
    const aee_context_info info = GET(bed.context.info());
    CHECK(info.limits.disk_bytes_per_second == 100 && info.throttled_disk == 1);
    CHECK(info.limits.calls_per_second == AEE_UNLIMITED && info.disk_bytes == 100);
}

static void regions_are_shared()
{
    bed bed;
    aee::region region = GET(bed.engine.create_region("cells", 5000, AEE_REGION_SAME_ADDRESS));
    const auto cells = region.as<std::int64_t>();
    CHECK(region.size_bytes() == 8192 && cells.size() == 1024 && !cells.empty());
    for (std::int64_t &cell : cells) {
        CHECK(cell == 0);
        cell = 3 * (&cell - cells.begin());
    }
    const std::uint64_t there = GET(bed.context.map(region, AEE_ACCESS_READ_WRITE));
    CHECK(there == reinterpret_cast<std::uintptr_t>(region.data()));
    const auto read = GET(bed.context.function<std::int64_t(std::uint64_t)>("read_i64"));
    const auto write = GET(bed.context.function<void(std::uint64_t, int)>("write_i64"));
    CHECK(GET(read(there + 8 * 7)) == 21);
    GET(write(there + 8 * 7, 99));
    CHECK(cells[7] == 99);
    aee::region moved(std::move(region));
    CHECK(!region && moved && GET(read(there)) == 0);
    moved = GET(bed.engine.create_region("other", 1));
    CHECK(GET(bed.engine.stats()).regions == 1);
    CHECK(read(there).code() == AEE_ERR_CRASHED); // the first one was revoked
    GET(bed.context.wait_ready(UINT64_C(20000000000)));
    GET(bed.context.map(moved, AEE_ACCESS_READ));
    GET(bed.context.unmap(moved));
    CHECK(bed.engine.create_region("none", 0).code() == AEE_ERR_INVALID_ARGUMENT);
}

// ---- The example of bindings/README.md ---------------------------------------------------------

// Scores one move with a mod; the mod may ask for the size of the board.
aee::result<double> score_move(const char *image, std::int64_t board, std::int64_t move)
{
    auto engine = aee::engine::create();
    if (!engine) {
        return engine.error();
    }
    if (auto added = engine->host_function("board_size", [board] { return board; }); !added) {
        return added.error();
    }
    auto mod = engine->create_context("MyMod", AEE_KIND_USER_MOD);
    if (!mod) {
        return mod.error();
    }
    if (auto loaded = mod->load_file(image); !loaded) {
        return loaded.error();
    }
    if (auto granted = mod->grant("board_size"); !granted) {
        return granted.error();
    }
    auto score = mod->function<double(double)>("half");
    if (!score) {
        return score.error();
    }
    return (*score)(static_cast<double>(move));
}

static std::string contents(const char *path)
{
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

static void the_example_is_the_one_in_the_readme()
{
    const std::string page = contents(AEE_BINDINGS_README);
    const std::size_t begin = page.find("```cpp\n");
    const std::size_t end = page.find("\n```\n", begin);
    CHECK(begin != std::string::npos && end != std::string::npos);
    const std::string example = page.substr(begin + 7, end - begin - 7);
    CHECK(example.size() > 500 && contents(__FILE__).find(example) != std::string::npos);
    CHECK(GET(score_move(AEE_TESTBED, 64, 9)) == 4.5);
    CHECK(score_move("/nowhere.elf", 64, 9).value_or(-1) == -1);
}

int main()
{
    if (const int skip = skip_without_level()) {
        return skip;
    }
    results_hold_a_value_or_an_error();
    nothing_gives_errors();
    in_a_child(an_engine_does_not_go_under_its_callers);
    arguments_and_results_are_converted();
    faults_are_errors();
    bytes_travel();
    state_is_kept();
    calls_do_not_allocate();
    host_functions_take_many_forms();
    host_functions_see_payloads();
    state_lives_as_long_as_the_engine();
#ifdef __cpp_exceptions
    exceptions_end_at_the_component();
#endif
    a_forked_child_may_drop_the_engine();
    events_reach_the_callback();
    owners_destroy_and_names_do_not();
    limits_are_kept();
    regions_are_shared();
    the_example_is_the_one_in_the_readme();
    std::puts("ok");
    return 0;
}
