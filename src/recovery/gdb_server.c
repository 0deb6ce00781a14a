/* gdb_server.c: listening for gdb, and a session with it. The thread is the only one that talks to
 * it; it looks at the lanes and at the socket in turn, because threads that run lanes may be jailed
 * and cannot ring a bell that a poll() hears. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/sys.h"
#include "base/sys_process.h"
#include "base/sys_socket.h"
#include "isolation/fault.h"
#include "recovery/gdb.h"
#include "recovery/gdb_internal.h"

/* How long a look at the other side may wait while the component runs, and while it is stopped. */
#define RUNNING_NS UINT64_C(3000000)
#define STOPPED_MS 20
/* A client that comes while the context is between two instances. */
#define NO_SUBJECT_NS UINT64_C(1000000000)
#define WRITE_MS 2000

/* ---- A session ---------------------------------------------------------------------------- */

static void write_out(struct aee__debugger *debugger, const void *bytes, size_t size)
{
    if (aee__sys_socket_write(debugger->client, bytes, size, WRITE_MS) != 0) {
        debugger->leave = true;
    }
}

void aee__gdb_send(struct aee__debugger *debugger)
{
    size_t size;
    if (debugger->out.full) {
        aee__gdb_begin(&debugger->out);
        aee__gdb_add(&debugger->out, "E02");
    }
    const char *bytes = aee__gdb_finish(&debugger->out, &size);
    write_out(debugger, bytes, size);
}

/* Tells gdb of what has happened since it let the component go. */
static void report(struct aee__debugger *debugger, bool interrupted)
{
    aee__gdb_stop_all(debugger);
    if (aee__gdb_has_ended(debugger)) {
        aee__gdb_report_end(debugger);
        aee__gdb_send(debugger);
        return;
    }
    int lane = aee__gdb_next_stop(debugger);
    if (lane < 0 && !interrupted) { /* a breakpoint that is none any more */
        aee__gdb_resume_as_before(debugger);
        return;
    }
    if (lane >= 0 && !interrupted && aee__gdb_step_over_gate(debugger, (uint32_t)lane)) {
        return;
    }
    if (lane < 0) {
        lane = aee__gdb_interrupted_lane(debugger);
        debugger->lanes[lane].signal = AEE__GDB_SIGINT;
    }
    aee__gdb_report_stop(debugger, lane);
    aee__gdb_send(debugger);
}

static void take_packet(struct aee__debugger *debugger)
{
    if (!debugger->no_ack) {
        write_out(debugger, "+", 1);
    }
    if (!debugger->stopped) { /* it runs: nothing can be asked */
        return;
    }
    aee__gdb_command(debugger, debugger->in.text, debugger->in.size);
    if (debugger->stopped) {
        aee__gdb_send(debugger);
    }
}

static void take_byte(struct aee__debugger *debugger, uint8_t byte)
{
    switch (aee__gdb_feed(&debugger->in, byte)) {
    case AEE__GDB_PACKET_READY:
        take_packet(debugger);
        break;
    case AEE__GDB_PACKET_BAD:
        if (!debugger->no_ack) {
            write_out(debugger, "-", 1);
        }
        break;
    case AEE__GDB_NACK:
        if (!debugger->no_ack && debugger->stopped) {
            aee__gdb_send(debugger);
        }
        break;
    case AEE__GDB_INTERRUPT:
        if (!debugger->stopped) {
            report(debugger, true);
        }
        break;
    default:
        break;
    }
}

static void take_bytes(struct aee__debugger *debugger)
{
    uint8_t bytes[1024];
    ssize_t got = aee__sys_socket_read(debugger->client, bytes, sizeof bytes);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
        debugger->leave = true;
    }
    if (got > 0) {
        debugger->heard_ns = aee__now_ns();
    }
    for (ssize_t i = 0; i < got && !debugger->leave; i++) {
        take_byte(debugger, bytes[i]);
    }
}

static void look_while_running(struct aee__debugger *debugger)
{
    uint32_t seen = atomic_load(&debugger->news);
    if (!aee__gdb_has_news(debugger)) {
        aee__sys_futex_wait(&debugger->news, seen, aee__now_ns() + RUNNING_NS);
    }
    if (aee__gdb_has_news(debugger)) {
        report(debugger, false);
    } else if (aee__sys_wait_readable(&debugger->client, 1, 0) != 0) {
        take_bytes(debugger);
    }
}

/* The instance may end for reasons of its own: its memory goes then, whatever gdb still asks. */
static void look_while_stopped(struct aee__debugger *debugger)
{
    if (!debugger->over && aee__gdb_has_ended(debugger)) {
        aee__gdb_drop(debugger);
        debugger->over = true;
    }
    if (aee__sys_wait_readable(&debugger->client, 1, STOPPED_MS) != 0) {
        take_bytes(debugger);
    } else if (aee__now_ns() - debugger->heard_ns > debugger->timeout_ns) {
        debugger->leave = true;
    }
}

static bool await_subject(struct aee__debugger *debugger)
{
    uint64_t until = aee__now_ns() + NO_SUBJECT_NS;
    while (!atomic_load(&debugger->closing) && aee__now_ns() < until) {
        if (aee__gdb_attach(debugger)) {
            return true;
        }
        aee__sys_sleep(RUNNING_NS);
    }
    return false;
}

static void serve(struct aee__debugger *debugger, int client)
{
    debugger->client = client;
    debugger->no_ack = false;
    debugger->stopped = true;
    debugger->over = false;
    debugger->leave = false;
    debugger->current = 0;
    debugger->in.state = AEE__GDB_OUTSIDE;
    if (!await_subject(debugger)) {
        return;
    }
    aee__context_event(debugger->context, AEE_EVENT_DEBUGGER, 0,
                       "context \"%s\": a debugger is attached", debugger->context->name);
    debugger->heard_ns = aee__now_ns();
    while (!debugger->leave && !atomic_load(&debugger->closing)) {
        if (debugger->stopped) {
            look_while_stopped(debugger);
        } else {
            look_while_running(debugger);
        }
    }
    if (!debugger->leave && !debugger->stopped && aee__gdb_has_ended(debugger)) {
        report(debugger, false);
    }
    aee__gdb_detach(debugger);
    aee__context_event(debugger->context, AEE_EVENT_DEBUGGER, 0,
                       "context \"%s\": the debugger is gone", debugger->context->name);
}

static void *run(void *argument)
{
    struct aee__debugger *debugger = argument;
    const int fds[2] = {debugger->listener, debugger->event};
    while (!atomic_load(&debugger->closing)) {
        (void)aee__sys_wait_readable(fds, 2, -1);
        int client = atomic_load(&debugger->closing) ? -1 : aee__sys_accept(debugger->listener);
        if (client < 0) {
            continue;
        }
        if (debugger->path[0] == '\0' || aee__sys_is_own_peer(client)) {
            serve(debugger, client);
        }
        (void)aee__sys_close(client);
    }
    return NULL;
}

/* ---- Listening ---------------------------------------------------------------------------- */

/* "unix:PATH" or "127.0.0.1:PORT". */
static aee_result open_listener(struct aee__debugger *debugger, const char *address,
                                aee_error *error)
{
    static const char unix_prefix[] = "unix:";
    static const char loopback_prefix[] = "127.0.0.1:";
    const size_t unix_size = sizeof unix_prefix - 1;
    const size_t loopback_size = sizeof loopback_prefix - 1;
    debugger->path[0] = '\0';
    if (strncmp(address, unix_prefix, unix_size) == 0) {
        (void)snprintf(debugger->path, sizeof debugger->path, "%s", address + unix_size);
        (void)snprintf(debugger->address, sizeof debugger->address, "%s", address);
        debugger->listener = aee__sys_listen_path(address + unix_size);
    } else {
        char *end = NULL;
        const char *digits = address + loopback_size;
        unsigned long number = 65536;
        if (strncmp(address, loopback_prefix, loopback_size) == 0 && *digits >= '0' &&
            *digits <= '9') {
            number = strtoul(digits, &end, 10);
        }
        if (number > 65535 || *end != '\0') {
            return aee__fail(error, AEE_ERR_INVALID_ARGUMENT,
                             "cannot listen for a debugger at \"%.64s\": the address is "
                             "unix:PATH or 127.0.0.1:PORT",
                             address);
        }
        uint16_t port = (uint16_t)number;
        debugger->listener = aee__sys_listen_loopback(&port);
        (void)snprintf(debugger->address, sizeof debugger->address, "%s%u", loopback_prefix, port);
    }
    return debugger->listener >= 0
               ? AEE_OK
               : aee__fail_os(error, errno, "cannot listen for a debugger at \"%.64s\"", address);
}

static void close_listener(struct aee__debugger *debugger)
{
    (void)aee__sys_close(debugger->listener);
    (void)aee__sys_close(debugger->event);
    if (debugger->path[0]) {
        aee__sys_remove_file(debugger->path);
    }
    debugger->listener = -1;
    debugger->event = -1;
}

static void set_wishes(struct aee__debugger *debugger, const aee_debug_desc *desc)
{
    (void)pthread_mutex_lock(&debugger->lock);
    debugger->hold_crashes = (desc->flags & AEE_DEBUG_HOLD_CRASHES) != 0;
    debugger->hold_ns = desc->hold_ns;
    debugger->wait_until_ns = desc->flags & AEE_DEBUG_WAIT ? aee__now_ns() + desc->hold_ns : 0;
    (void)pthread_mutex_unlock(&debugger->lock);
    debugger->timeout_ns = desc->timeout_ns;
    (void)snprintf(debugger->file, sizeof debugger->file, "%s", desc->file ? desc->file : "");
}

static aee_result begin(struct aee__debugger *debugger, const aee_debug_desc *desc,
                        aee_error *error)
{
    aee_result result = open_listener(debugger, desc->address, error);
    if (result != AEE_OK) {
        return result;
    }
    atomic_store(&debugger->closing, false);
    debugger->event = aee__sys_event_create();
    if (debugger->event < 0) {
        result = aee__fail_os(error, errno, "cannot listen for a debugger");
    }
    if (result == AEE_OK) {
        set_wishes(debugger, desc);
        result = aee__thread_start(&debugger->thread, "aee-debugger", run, debugger, error);
    }
    if (result != AEE_OK) {
        close_listener(debugger);
    } else {
        aee__gdb_watch(debugger, true);
    }
    return result;
}

static struct aee__debugger *make(struct aee__context *context)
{
    struct aee__debugger *debugger = aee__alloc_zero(&context->core->alloc, 1, sizeof *debugger);
    if (debugger) {
        debugger->context = context;
        debugger->listener = -1;
        debugger->event = -1;
        (void)pthread_mutex_init(&debugger->lock, NULL);
        (void)pthread_mutex_init(&debugger->listen_lock, NULL);
    }
    return debugger;
}

static void destroy(struct aee__context *context)
{
    struct aee__debugger *debugger = atomic_load(&context->debugger);
    (void)pthread_mutex_destroy(&debugger->lock);
    (void)pthread_mutex_destroy(&debugger->listen_lock);
    aee__alloc_free(&context->core->alloc, debugger, sizeof *debugger);
}

/* Made once; of two threads that do, one wins. */
static struct aee__debugger *get(struct aee__context *context)
{
    (void)pthread_mutex_lock(&context->lock);
    struct aee__debugger *debugger = atomic_load(&context->debugger);
    if (!debugger) {
        debugger = make(context);
        atomic_store(&context->debugger, debugger);
    }
    (void)pthread_mutex_unlock(&context->lock);
    return debugger;
}

aee_result aee__gdb_listen(struct aee__context *context, const aee_debug_desc *desc,
                           aee_error *error)
{
    struct aee__debugger *debugger = get(context);
    if (!debugger) {
        return aee__fail(error, AEE_ERR_NO_MEMORY,
                         "cannot listen for a debugger of context \"%s\": out of memory",
                         context->name);
    }
    (void)pthread_mutex_lock(&debugger->listen_lock);
    aee_result result;
    if (debugger->listener >= 0) {
        result = aee__fail(error, AEE_ERR_EXISTS,
                           "cannot listen for a debugger of context \"%s\": it does at \"%.64s\"",
                           context->name, debugger->address);
    } else if (debugger->ended) {
        result = aee__fail(error, AEE_ERR_STALE,
                           "cannot listen for a debugger of context \"%s\": it is being destroyed",
                           context->name);
    } else {
        result = begin(debugger, desc, error);
    }
    (void)pthread_mutex_unlock(&debugger->listen_lock);
    return result;
}

static aee_result not_listening(const struct aee__context *context, aee_error *error)
{
    return aee__fail(error, AEE_ERR_NOT_FOUND, "nobody listens for a debugger of context \"%s\"",
                     context->name);
}

aee_result aee__gdb_address(struct aee__context *context, char *address, size_t capacity,
                            aee_error *error)
{
    struct aee__debugger *debugger = atomic_load(&context->debugger);
    if (!debugger) {
        return not_listening(context, error);
    }
    (void)pthread_mutex_lock(&debugger->listen_lock);
    bool listens = debugger->listener >= 0;
    int size = snprintf(address, capacity, "%s", listens ? debugger->address : "");
    (void)pthread_mutex_unlock(&debugger->listen_lock);
    if (!listens) {
        return not_listening(context, error);
    }
    return size >= 0 && (size_t)size < capacity
               ? AEE_OK
               : aee__fail(error, AEE_ERR_TOO_LARGE, "the debugger's address has %d bytes", size);
}

/* With the listen_lock held. */
static bool end(struct aee__debugger *debugger)
{
    if (debugger->listener < 0) {
        return false;
    }
    atomic_store(&debugger->closing, true);
    aee__sys_event_set(debugger->event);
    (void)atomic_fetch_add(&debugger->news, 1);
    aee__sys_futex_wake_all(&debugger->news);
    aee__thread_join(&debugger->thread);
    aee__gdb_watch(debugger, false);
    close_listener(debugger);
    return true;
}

aee_result aee__gdb_close(struct aee__context *context, aee_error *error)
{
    struct aee__debugger *debugger = atomic_load(&context->debugger);
    if (!debugger) {
        return not_listening(context, error);
    }
    (void)pthread_mutex_lock(&debugger->listen_lock);
    bool listened = end(debugger);
    (void)pthread_mutex_unlock(&debugger->listen_lock);
    return listened ? AEE_OK : not_listening(context, error);
}

/* For good: the context goes. */
static void close_for_good(struct aee__context *context)
{
    struct aee__debugger *debugger = atomic_load(&context->debugger);
    (void)pthread_mutex_lock(&debugger->listen_lock);
    (void)end(debugger);
    debugger->ended = true;
    (void)pthread_mutex_unlock(&debugger->listen_lock);
}

const struct aee__debug_ops aee__gdb_ops = {.enter = aee__gdb_lane_enter,
                                            .left = aee__gdb_lane_left,
                                            .ended = aee__gdb_instance_ended,
                                            .born = aee__gdb_instance_born,
                                            .close = close_for_good,
                                            .free = destroy};
