/* SPDX-License-Identifier: Apache-2.0
 *
 * aee_virt.hpp: aee_virt.h for C++17 and later. Header only; needs neither exceptions nor RTTI.
 *
 * Every call that can fail returns aee::result<T>: a value or an aee_error. Nothing here throws but
 * result::or_throw(). Calls into components neither allocate nor throw. What may be called from
 * which thread is as in aee_virt.h. Objects that an engine made must not outlive it.
 */
#ifndef AEE_VIRT_HPP
#define AEE_VIRT_HPP

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <type_traits>
#include <utility>
#include <variant>
#ifdef __cpp_exceptions
#include <stdexcept>
#endif

#include "aee_virt.h"

namespace aee
{

/* ---- Results ------------------------------------------------------------------------------ */

#ifdef __cpp_exceptions
/** What result::or_throw() throws. */
class error : public std::runtime_error
{
  public:
    explicit error(const aee_error &details) : std::runtime_error(details.text), details_(details)
    {
    }
    aee_result code() const noexcept
    {
        return details_.code;
    }
    const aee_error &details() const noexcept
    {
        return details_;
    }

  private:
    aee_error details_;
};
#endif

namespace detail
{
inline constexpr aee_error no_error{};

inline aee_error make_error(aee_result code, const char *text) noexcept
{
    aee_error error{};
    error.code = code;
    (void)std::snprintf(error.text, sizeof error.text, "%s", text);
    return error;
}
} // namespace detail

/** A value or the aee_error that there is instead. Test it like a pointer, then dereference it. */
template <class T> class [[nodiscard]] result
{
  public:
    result(T value) noexcept(std::is_nothrow_move_constructible_v<T>)
        : state_(std::in_place_index<0>, std::move(value))
    {
    }
    result(const aee_error &error) noexcept : state_(std::in_place_index<1>, error)
    {
    }

    explicit operator bool() const noexcept
    {
        return state_.index() == 0;
    }
    aee_result code() const noexcept
    {
        return error().code;
    }
    /** AEE_OK and an empty text if there is a value. */
    const aee_error &error() const noexcept
    {
        const aee_error *held = std::get_if<1>(&state_);
        return held ? *held : detail::no_error;
    }

    /** Only if there is a value. */
    T &operator*() &noexcept
    {
        return held(state_);
    }
    const T &operator*() const &noexcept
    {
        return held(state_);
    }
    T &&operator*() &&noexcept
    {
        return std::move(held(state_));
    }
    T *operator->() noexcept
    {
        return &held(state_);
    }
    const T *operator->() const noexcept
    {
        return &held(state_);
    }
    T value_or(T fallback) const &
    {
        return *this ? held(state_) : std::move(fallback);
    }
    T value_or(T fallback) &&
    {
        return *this ? std::move(held(state_)) : std::move(fallback);
    }

#ifdef __cpp_exceptions
    /** The value; throws aee::error if there is none. */
    T or_throw() &&
    {
        return std::move(checked());
    }
    T &or_throw() &
    {
        return checked();
    }
#endif

  private:
    template <class State> static auto &held(State &state) noexcept
    {
        auto *value = std::get_if<0>(&state);
        assert(value && "the result holds an error");
        return *value;
    }
#ifdef __cpp_exceptions
    T &checked()
    {
        if (!*this) {
            throw aee::error(error());
        }
        return held(state_);
    }
#endif
    std::variant<T, aee_error> state_;
};

/** Success, or the aee_error that there is instead. */
template <> class [[nodiscard]] result<void> : public result<std::monostate>
{
  public:
    result() noexcept : result<std::monostate>(std::monostate{})
    {
    }
    result(const aee_error &error) noexcept : result<std::monostate>(error)
    {
    }
};

namespace detail
{
/* Calls a function of aee_virt.h whose last argument is the error... */
template <class... P, class... A> result<void> run(aee_result (*call)(P...), A... args) noexcept
{
    aee_error error;
    if (call(args..., &error) == AEE_OK) {
        return {};
    }
    return error;
}

/* ...and the one before it the output. */
template <class T, class... P, class... A>
result<T> get(aee_result (*call)(P...), A... args) noexcept
{
    T value{};
    aee_error error;
    if (call(args..., &value, &error) == AEE_OK) {
        return value;
    }
    return error;
}

/* ---- Conversion of arguments and results -------------------------------------------------- */

/* No float: a component would have to take it as a double. */
template <class T> constexpr bool is_number() noexcept
{
    if constexpr (std::is_integral_v<T>) {
        return sizeof(T) <= sizeof(std::int64_t);
    } else {
        return std::is_same_v<T, double> || std::is_enum_v<T>;
    }
}

template <class T> std::int64_t to_bits(T number) noexcept
{
    if constexpr (std::is_same_v<T, double>) {
        std::int64_t bits;
        std::memcpy(&bits, &number, sizeof bits);
        return bits;
    } else {
        return static_cast<std::int64_t>(number);
    }
}

/* Only the bits of T count: the calling convention leaves those above them undefined. */
template <class T> T from_bits(std::int64_t bits) noexcept
{
    if constexpr (std::is_same_v<T, double>) {
        double number;
        std::memcpy(&number, &bits, sizeof number);
        return number;
    } else if constexpr (std::is_same_v<T, bool>) {
        return (bits & 0xff) != 0;
    } else {
        return static_cast<T>(bits);
    }
}

template <class T> aee_value to_value(T number) noexcept
{
    if constexpr (std::is_same_v<T, double>) {
        return aee_f64(number);
    } else {
        return aee_i64(to_bits(number));
    }
}

template <class T> T from_value(const aee_value &value) noexcept
{
    if constexpr (std::is_same_v<T, double>) {
        return value.as.f64;
    } else {
        return from_bits<T>(value.as.i64);
    }
}
} // namespace detail

/* ---- Calls -------------------------------------------------------------------------------- */

namespace detail
{
struct function_name {
    aee_engine *engine = nullptr;
    aee_context context{};
    aee_function function{};
};
} // namespace detail

template <class Signature> class typed_function;

/** A component's function, called like one of C++. A value; owns nothing. It holds until another
 * image is loaded or the context is destroyed, and then gives AEE_ERR_STALE. The parameters are up
 * to six integers, enums and doubles; the result is one of these or void. */
template <class R, class... A> class typed_function<R(A...)>
{
    static_assert(sizeof...(A) <= AEE_ARGS_MAX, "a component's function has at most 6 parameters");
    static_assert((detail::is_number<A>() && ...), "parameters are integers, enums or doubles");
    static_assert(detail::is_number<R>() || std::is_void_v<R>,
                  "the result is an integer, an enum, a double or void");

  public:
    typed_function() = default;
    explicit typed_function(const detail::function_name &name) noexcept : name_(name)
    {
    }

    result<R> operator()(A... args) const noexcept
    {
        const aee_value values[sizeof...(A) + 1] = {detail::to_value(args)...};
        aee_value value = std::is_same_v<R, double> ? aee_f64(0) : aee_i64(0);
        aee_error error;
        if (aee_call(name_.engine, name_.context, name_.function, values, sizeof...(A), &value,
                     &error) != AEE_OK) {
            return error;
        }
        if constexpr (std::is_void_v<R>) {
            return {};
        } else {
            return detail::from_value<R>(value);
        }
    }

  private:
    detail::function_name name_;
};

/** A component's function that takes and returns bytes; see aee_call_bytes(). A value. */
class bytes_function
{
  public:
    bytes_function() = default;
    explicit bytes_function(const detail::function_name &name) noexcept : name_(name)
    {
    }

    /** Returns the size of the reply. */
    result<std::size_t> operator()(const void *request, std::size_t size, void *reply,
                                   std::size_t capacity) const noexcept
    {
        return detail::get<std::size_t>(aee_call_bytes, name_.engine, name_.context, name_.function,
                                        request, size, reply, capacity);
    }

  private:
    detail::function_name name_;
};

/* ---- Regions ------------------------------------------------------------------------------ */

/** A view of consecutive elements: what std::span is from C++20 on. */
template <class T> class span
{
  public:
    span() = default;
    span(T *data, std::size_t size) noexcept : data_(data), size_(size)
    {
    }
    T *data() const noexcept
    {
        return data_;
    }
    std::size_t size() const noexcept
    {
        return size_;
    }
    bool empty() const noexcept
    {
        return size_ == 0;
    }
    T *begin() const noexcept
    {
        return data_;
    }
    T *end() const noexcept
    {
        return data_ + size_;
    }
    T &operator[](std::size_t index) const noexcept
    {
        return data_[index];
    }

  private:
    T *data_ = nullptr;
    std::size_t size_ = 0;
};

/** Owns a region: memory that the engine shares with the contexts that map it. Move-only. Its
 * destructor revokes it everywhere; views of it are invalid then. A component may change what it
 * has mapped for writing at any time: copy a value before you check it. */
class region
{
  public:
    region() = default;
    region(region &&other) noexcept : held_(std::exchange(other.held_, {}))
    {
    }
    region &operator=(region other) noexcept
    {
        std::swap(held_, other.held_);
        return *this;
    }
    ~region()
    {
        (void)(*this ? aee_region_destroy(held_.engine, held_.handle, nullptr) : AEE_OK);
    }

    explicit operator bool() const noexcept
    {
        return held_.handle.id != 0;
    }
    aee_region handle() const noexcept
    {
        return held_.handle;
    }
    void *data() const noexcept
    {
        return held_.data;
    }
    std::size_t size_bytes() const noexcept
    {
        return held_.size_bytes;
    }
    /** The region as elements of a type. */
    template <class T> span<T> as() const noexcept
    {
        static_assert(std::is_trivially_copyable_v<T>, "shared memory holds plain data only");
        return {static_cast<T *>(held_.data), held_.size_bytes / sizeof(T)};
    }

  private:
    friend class engine;
    struct {
        aee_engine *engine = nullptr;
        aee_region handle{};
        void *data = nullptr;
        std::size_t size_bytes = 0;
    } held_;
};

/* ---- Contexts ----------------------------------------------------------------------------- */

/** Names a context: a value to copy and to pass around. Owns nothing; if the context is gone, its
 * calls give AEE_ERR_STALE. In a host function: aee::context(call.engine, call.context). */
class context
{
  public:
    context() = default;
    context(aee_engine *engine, aee_context handle) noexcept : engine_(engine), handle_(handle)
    {
    }

    explicit operator bool() const noexcept
    {
        return handle_.id != 0;
    }
    /** For calls of aee_virt.h that have no method here. */
    aee_engine *c_engine() const noexcept
    {
        return engine_;
    }
    aee_context handle() const noexcept
    {
        return handle_;
    }

    result<void> load(const void *image, std::size_t size_bytes) const noexcept
    {
        return detail::run(aee_load, engine_, handle_, image, size_bytes);
    }
    result<void> load_file(const char *path) const noexcept
    {
        return detail::run(aee_load_file, engine_, handle_, path);
    }
    /** ctx.function<int64_t(int64_t, int64_t)>("add"). Look functions up once, not per call. */
    template <class Signature>
    result<typed_function<Signature>> function(const char *name) const noexcept
    {
        return find<typed_function<Signature>>(name);
    }
    result<bytes_function> function_of_bytes(const char *name) const noexcept
    {
        return find<bytes_function>(name);
    }

    result<void> grant(const char *host_function) const noexcept
    {
        return detail::run(aee_grant_host_function, engine_, handle_, host_function);
    }
    result<void> revoke(const char *host_function) const noexcept
    {
        return detail::run(aee_revoke_host_function, engine_, handle_, host_function);
    }
    /** Returns the address at which the component sees the region. */
    result<std::uint64_t> map(const region &shared, aee_access access) const noexcept
    {
        return detail::get<std::uint64_t>(aee_region_map, engine_, handle_, shared.handle(),
                                          access);
    }
    result<void> unmap(const region &shared) const noexcept
    {
        return detail::run(aee_region_unmap, engine_, handle_, shared.handle());
    }

    result<void> set_limits(const aee_limits &limits) const noexcept
    {
        return detail::run(aee_set_limits, engine_, handle_, &limits);
    }
    /** Before a host function does I/O for the component: AEE_ERR_LIMIT where that is too much. */
    result<void> charge_io(aee_io io, std::uint64_t bytes) const noexcept
    {
        return detail::run(aee_charge_io, engine_, handle_, io, bytes);
    }
    result<void> pause() const noexcept
    {
        return detail::run(aee_pause, engine_, handle_);
    }
    result<void> resume() const noexcept
    {
        return detail::run(aee_resume, engine_, handle_);
    }
    result<void> stop() const noexcept
    {
        return detail::run(aee_stop, engine_, handle_);
    }
    result<void> restart() const noexcept
    {
        return detail::run(aee_restart, engine_, handle_);
    }
    result<void> checkpoint() const noexcept
    {
        return detail::run(aee_checkpoint, engine_, handle_);
    }
    /** To the checkpoint that is `back` before the newest. */
    result<void> restore(std::uint32_t back = 0) const noexcept
    {
        return detail::run(aee_restore, engine_, handle_, back);
    }
    result<void> save_snapshot(const char *path) const noexcept
    {
        return detail::run(aee_snapshot_save, engine_, handle_, path);
    }
    result<void> load_snapshot(const char *path) const noexcept
    {
        return detail::run(aee_snapshot_load, engine_, handle_, path);
    }
    result<void> wait_ready(std::uint64_t timeout_ns) const noexcept
    {
        return detail::run(aee_wait_ready, engine_, handle_, timeout_ns);
    }
    result<void> destroy() const noexcept
    {
        return detail::run(aee_destroy, engine_, handle_);
    }

    result<aee_context_info> info() const noexcept
    {
        return detail::get<aee_context_info>(aee_get_context_info, engine_, handle_);
    }
    result<aee_crash> last_crash() const noexcept
    {
        return detail::get<aee_crash>(aee_last_crash, engine_, handle_);
    }

  private:
    template <class Function> result<Function> find(const char *name) const noexcept
    {
        const auto found = detail::get<aee_function>(aee_find_function, engine_, handle_, name);
        if (!found) {
            return found.error();
        }
        return Function({engine_, handle_, *found});
    }

    aee_engine *engine_ = nullptr;
    aee_context handle_{};
};

/** Owns a context: destroys it at the end of its life. Move-only; copies to aee::context name it
 * without owning it. */
class owned_context : public context
{
  public:
    owned_context() = default;
    explicit owned_context(const context &taken) noexcept : context(taken)
    {
    }
    owned_context(owned_context &&other) noexcept : context(other.release())
    {
    }
    owned_context &operator=(owned_context other) noexcept
    {
        std::swap(static_cast<context &>(*this), static_cast<context &>(other));
        return *this;
    }
    ~owned_context()
    {
        (void)(*this ? aee_destroy(c_engine(), handle(), nullptr) : AEE_OK);
    }

    /** Gives the ownership up. */
    context release() noexcept
    {
        return std::exchange(static_cast<context &>(*this), context());
    }
};

/* ---- Host functions and events ------------------------------------------------------------ */

namespace detail
{
/* What has to live as long as the engine, in a list. */
struct kept {
    kept() = default;
    kept(const kept &) = delete;
    kept &operator=(const kept &) = delete;
    virtual ~kept() = default;
    std::unique_ptr<kept> next;
};

/* C code is between here and the next C++ frame: nothing may be thrown through it. */
template <class Call> aee_result guarded(Call &&call) noexcept
{
#ifdef __cpp_exceptions
    try {
        return call();
    } catch (...) {
        return AEE_ERR_HOST_FUNCTION;
    }
#else
    return call();
#endif
}

inline aee_result answer(aee_host_call &, aee_result status) noexcept
{
    return status;
}
template <class T> aee_result answer(aee_host_call &call, T value) noexcept
{
    static_assert(is_number<T>(), "a host function returns an integer, an enum, a double, void, "
                                  "aee_result or aee::result of these");
    call.result = to_bits(value);
    return AEE_OK;
}
inline aee_result answer(aee_host_call &, const result<void> &status) noexcept
{
    return status.code();
}
template <class T> aee_result answer(aee_host_call &call, const result<T> &value) noexcept
{
    return value ? answer(call, *value) : value.code();
}

template <class R, class... A> struct typed_host_call {
    static_assert(sizeof...(A) <= AEE_ARGS_MAX, "a host function has at most 6 parameters");
    static_assert((is_number<A>() && ...), "parameters are integers, enums or doubles");

    template <class F, std::size_t... I>
    static aee_result run(F &function, aee_host_call &call, std::index_sequence<I...>)
    {
        (void)call; /* if there are no parameters */
        if constexpr (std::is_void_v<R>) {
            function(from_bits<A>(call.args[I])...);
            return AEE_OK;
        } else {
            return answer(call, function(from_bits<A>(call.args[I])...));
        }
    }
    template <class F> static aee_result run(F &function, aee_host_call &call)
    {
        return run(function, call, std::index_sequence_for<A...>());
    }
};

/* The parameters of a lambda's or function object's operator() or of a function. */
template <class Call> struct host_call_of;
template <class C, class R, bool N, class... A>
struct host_call_of<R (C::*)(A...) const noexcept(N)> : typed_host_call<R, A...> {
};
template <class C, class R, bool N, class... A>
struct host_call_of<R (C::*)(A...) noexcept(N)> : typed_host_call<R, A...> {
};
template <class R, bool N, class... A>
struct host_call_of<R (*)(A...) noexcept(N)> : typed_host_call<R, A...> {
};

template <class F> struct host_entry final : kept {
    explicit host_entry(F &&taken) : function(std::move(taken))
    {
    }

    static aee_result run(void *user, aee_host_call *call) noexcept
    {
        F &function = static_cast<host_entry *>(user)->function;
        return guarded([&] {
            if constexpr (std::is_invocable_v<F &, aee_host_call &>) {
                return answer(*call, function(*call));
            } else if constexpr (std::is_pointer_v<F>) {
                return host_call_of<F>::run(function, *call);
            } else {
                return host_call_of<decltype(&F::operator())>::run(function, *call);
            }
        });
    }

    F function;
};

using event_callback = std::function<void(const aee_event &)>;

struct event_entry final : kept {
    explicit event_entry(event_callback &&taken) noexcept : callback(std::move(taken))
    {
    }

    static void run(void *user, const aee_event *event) noexcept
    {
        (void)guarded([&] {
            static_cast<event_entry *>(user)->callback(*event);
            return AEE_OK;
        });
    }

    event_callback callback;
};

struct engine_state {
    engine_state() = default;
    engine_state(const engine_state &) = delete;
    engine_state &operator=(const engine_state &) = delete;
    ~engine_state()
    {
        while (kept_list) {
            kept_list = std::move(kept_list->next); /* one by one: the list may be long */
        }
    }
    aee_engine *engine = nullptr;
    std::mutex lock; /* of kept_list */
    std::unique_ptr<kept> kept_list;
};

struct engine_closer {
    void operator()(engine_state *state) const noexcept
    {
        /* From within a host function and in a child of fork() an engine cannot be taken apart.
         * What it may still call stays with it. */
        if (aee_engine_shutdown(state->engine, nullptr) == AEE_OK) {
            aee_engine_destroy(state->engine);
            delete state;
        }
    }
};
} // namespace detail

/* ---- Engine ------------------------------------------------------------------------------- */

/** Owns an engine, and the host functions and event callbacks that it was given. Move-only; moving
 * it leaves its contexts, regions and functions as they are. Its destructor ends them all; it must
 * not run within a host function (the engine would leak). */
class engine
{
  public:
    engine() = default;

    /** struct_size is filled in; all zero (the default) gives an engine with default settings. */
    static result<engine> create(aee_engine_desc desc = {}) noexcept
    {
        std::unique_ptr<detail::engine_state> state(new (std::nothrow) detail::engine_state);
        if (!state) {
            return detail::make_error(AEE_ERR_NO_MEMORY, "cannot create an engine: no memory");
        }
        desc.struct_size = sizeof desc;
        const auto made = detail::get<aee_engine *>(aee_engine_create, &desc);
        if (!made) {
            return made.error();
        }
        state->engine = *made;
        return engine(state.release());
    }

    explicit operator bool() const noexcept
    {
        return state_ != nullptr;
    }
    /** For calls of aee_virt.h that have no method here. */
    aee_engine *c_engine() const noexcept
    {
        return state_ ? state_->engine : nullptr;
    }

    result<owned_context> create_context(aee_context_desc desc) noexcept
    {
        desc.struct_size = sizeof desc;
        const auto made = detail::get<aee_context>(aee_context_create, c_engine(), &desc);
        if (!made) {
            return made.error();
        }
        return owned_context(context(c_engine(), *made));
    }
    result<owned_context> create_context(const char *name, aee_kind kind = AEE_KIND_CUSTOM) noexcept
    {
        aee_context_desc desc{};
        desc.name = name;
        desc.kind = kind;
        return create_context(desc);
    }

    /** `flags`: AEE_REGION_SAME_ADDRESS or 0. The size is rounded up to 4 KiB. */
    result<region> create_region(const char *name, std::uint64_t size_bytes,
                                 std::uint32_t flags = 0) noexcept
    {
        const aee_region_desc desc{sizeof desc, flags, name, size_bytes};
        const auto made = detail::get<aee_region>(aee_region_create, c_engine(), &desc);
        if (!made) {
            return made.error();
        }
        region owner;
        owner.held_.engine = c_engine();
        owner.held_.handle = *made;
        const auto seen = detail::run(aee_region_data, c_engine(), *made, &owner.held_.data,
                                      &owner.held_.size_bytes);
        if (!seen) {
            return seen.error();
        }
        return owner;
    }

    /** Registers a host function: a lambda, a function object or a function. Its parameters are
     * integers, enums and doubles and its result one of these, void, aee_result or aee::result; or
     * it takes the whole aee_host_call &, for payloads and the calling context, and returns
     * aee_result. It lives as long as the engine and is called by the threads that call components,
     * several at a time if several do. If it throws, the component gets AEE_ERR_HOST_FUNCTION. */
    template <class F> result<void> host_function(const char *name, F function)
    {
        using entry = detail::host_entry<F>;
        return keep(
            new (std::nothrow) entry(std::move(function)), [&](entry *user, aee_error *error) {
                return aee_register_host_function(c_engine(), name, &entry::run, user, error);
            });
    }

    /** Sets the callback for events, or none. poll_events() and frame_end() call it, on their
     * thread. An exception that leaves it is dropped. A callback that is replaced is kept until the
     * engine goes, because another thread may be in it. */
    result<void> on_event(std::function<void(const aee_event &)> callback)
    {
        using entry = detail::event_entry;
        if (!callback) {
            return detail::run(aee_set_event_callback, c_engine(), nullptr, nullptr);
        }
        return keep(new (std::nothrow) entry(std::move(callback)),
                    [&](entry *user, aee_error *error) {
                        return aee_set_event_callback(c_engine(), &entry::run, user, error);
                    });
    }

    /** Returns how many events were delivered. */
    result<std::uint32_t> poll_events() noexcept
    {
        return detail::get<std::uint32_t>(aee_poll_events, c_engine());
    }
    result<void> frame_begin() noexcept
    {
        return detail::run(aee_engine_frame_begin, c_engine());
    }
    result<aee_frame_info> frame_end() noexcept
    {
        return detail::get<aee_frame_info>(aee_engine_frame_end, c_engine());
    }
    result<aee_stats> stats() const noexcept
    {
        return detail::get<aee_stats>(aee_get_stats, c_engine());
    }

  private:
    explicit engine(detail::engine_state *state) noexcept : state_(state)
    {
    }

    /* Hands an entry to the C library and, if that took it, keeps it. */
    template <class Entry, class Give> result<void> keep(Entry *made, Give give) noexcept
    {
        std::unique_ptr<Entry> entry(made);
        aee_error error;
        if (!entry) {
            return detail::make_error(AEE_ERR_NO_MEMORY, "cannot keep a callback: no memory");
        }
        if (give(made, &error) != AEE_OK) {
            return error;
        }
        const std::lock_guard<std::mutex> guard(state_->lock);
        entry->next = std::move(state_->kept_list);
        state_->kept_list = std::move(entry);
        return {};
    }

    std::unique_ptr<detail::engine_state, detail::engine_closer> state_;
};

} // namespace aee

#endif
