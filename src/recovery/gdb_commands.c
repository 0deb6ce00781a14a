/* gdb_commands.c: what gdb's packets ask for (gdb's manual, E.2 to E.5). An empty answer says that
 * a packet is not known here. */
#include <stdio.h>
#include <string.h>

#include "isolation/fault.h"
#include "recovery/gdb_internal.h"

static struct aee__gdb_out *out_of(struct aee__debugger *debugger)
{
    return &debugger->out;
}

static void answer(struct aee__debugger *debugger, bool good)
{
    aee__gdb_add(out_of(debugger), good ? "OK" : "E01");
}

static bool begins(const char *packet, const char *with)
{
    return strncmp(packet, with, strlen(with)) == 0;
}

/* ---- Threads ------------------------------------------------------------------------------ */

enum { EVERY_LANE = -1, ANY_LANE = -2, NO_LANE = -3 };

/* A thread's number, which is its lane's and one more; "-1" is all, "0" any. */
static int parse_thread(const char **at)
{
    uint64_t number;
    if (begins(*at, "-1")) {
        *at += 2;
        return EVERY_LANE;
    }
    if (!aee__gdb_number(at, &number)) {
        return NO_LANE;
    }
    return number == 0 ? ANY_LANE : number <= AEE_MAX_LANES ? (int)number - 1 : NO_LANE;
}

static bool is_lane(const struct aee__debugger *debugger, int lane)
{
    return lane >= 0 && (uint32_t)lane < aee__gdb_lanes(debugger);
}

/* "Hg": of which lane registers are asked for. "Hc" comes from before vCont. */
static void select_thread(struct aee__debugger *debugger, const char *at)
{
    bool registers = *at == 'g';
    at += *at ? 1 : 0;
    int lane = parse_thread(&at);
    if (registers && is_lane(debugger, lane)) {
        debugger->current = (uint32_t)lane;
    }
    answer(debugger, lane == EVERY_LANE || lane == ANY_LANE || is_lane(debugger, lane));
}

static void list_threads(struct aee__debugger *debugger)
{
    for (uint32_t i = 0; i < aee__gdb_lanes(debugger); i++) {
        aee__gdb_add(out_of(debugger), "%c%x", i == 0 ? 'm' : ',', i + 1);
    }
    if (aee__gdb_lanes(debugger) == 0) {
        aee__gdb_add(out_of(debugger), "l");
    }
}

/* ---- Stops -------------------------------------------------------------------------------- */

void aee__gdb_report_stop(struct aee__debugger *debugger, int lane)
{
    enum { FIRST_EXPEDITED = 6, LAST_EXPEDITED = 7, RIP = 16 };
    const struct aee__gdb_lane *stopped = lane >= 0 ? &debugger->lanes[lane] : NULL;
    debugger->stopped = true;
    debugger->current = lane >= 0 ? (uint32_t)lane : 0;
    aee__gdb_begin(out_of(debugger));
    aee__gdb_add(out_of(debugger), "T%02x", stopped ? (unsigned)stopped->signal : 0u);
    for (unsigned i = FIRST_EXPEDITED; i <= LAST_EXPEDITED; i++) {
        aee__gdb_add(out_of(debugger), "%02x:", i);
        (void)aee__gdb_add_register(debugger, debugger->current, i);
        aee__gdb_add(out_of(debugger), ";");
    }
    aee__gdb_add(out_of(debugger), "%02x:", (unsigned)RIP);
    (void)aee__gdb_add_register(debugger, debugger->current, RIP);
    aee__gdb_add(out_of(debugger), ";thread:%x;%s", debugger->current + 1,
                 stopped && stopped->at_breakpoint ? "swbreak:;" : "");
}

/* Of an instance that is gone; the context may have another one by now. */
void aee__gdb_report_end(struct aee__debugger *debugger)
{
    aee_result how =
        debugger->subject ? aee__instance_await_end(debugger->subject) : AEE_ERR_STOPPED;
    debugger->stopped = true;
    aee__gdb_begin(out_of(debugger));
    aee__gdb_add(out_of(debugger), how == AEE_ERR_STOPPED ? "W00" : "X%02x",
                 how == AEE_ERR_HUNG ? (unsigned)AEE__GDB_SIGKILL : (unsigned)AEE__GDB_SIGABRT);
}

static void report_again(struct aee__debugger *debugger)
{
    if (debugger->over || aee__gdb_has_ended(debugger)) {
        aee__gdb_report_end(debugger);
        return;
    }
    int lane = aee__gdb_next_stop(debugger);
    aee__gdb_report_stop(debugger, lane >= 0 ? lane : (int)debugger->current);
}

/* ---- Going on ----------------------------------------------------------------------------- */

struct plan {
    uint64_t signal;
    enum aee__gdb_action action;
    bool set;
};

/* One action of vCont: "c", "C05", "s", "S05", each with ":thread" or for the rest. */
static bool parse_action(const struct aee__debugger *debugger, const char **at,
                         struct plan plans[AEE_MAX_LANES])
{
    struct plan plan = {.set = true};
    char kind = *(*at)++;
    plan.action = kind == 's' || kind == 'S' ? AEE__GDB_STEP : AEE__GDB_CONTINUE;
    if ((kind == 'C' || kind == 'S') ? !aee__gdb_number(at, &plan.signal)
                                     : kind != 'c' && kind != 's') {
        return false;
    }
    int lane = EVERY_LANE;
    if (**at == ':') {
        (*at)++;
        lane = parse_thread(at);
    }
    if (lane != EVERY_LANE && lane != ANY_LANE && !is_lane(debugger, lane)) {
        return false;
    }
    for (uint32_t i = 0; i < AEE_MAX_LANES; i++) { /* the first that fits counts */
        if ((lane < 0 || (uint32_t)lane == i) && !plans[i].set) {
            plans[i] = plan;
        }
    }
    return true;
}

/* False: it was not said well, or cannot be done; then nothing goes on. */
static bool carry_out(struct aee__debugger *debugger, const struct plan plans[AEE_MAX_LANES])
{
    for (uint32_t i = 0; i < aee__gdb_lanes(debugger); i++) {
        enum aee__gdb_action action = plans[i].set ? plans[i].action : AEE__GDB_STAY;
        if (!aee__gdb_plan(debugger, i, action, plans[i].signal)) {
            aee__gdb_stop_all(debugger);
            return false;
        }
    }
    aee__gdb_resume(debugger);
    return true;
}

/* A stop that gdb has not been told of comes first, as if it had just happened. */
static void resume(struct aee__debugger *debugger, const char *actions)
{
    struct plan plans[AEE_MAX_LANES] = {{.set = false}};
    bool good = *actions != '\0';
    while (good && *actions) {
        good = *actions++ == ';' && parse_action(debugger, &actions, plans);
    }
    if (!good || debugger->over) {
        answer(debugger, false);
        return;
    }
    int lane = aee__gdb_has_ended(debugger) ? -1 : aee__gdb_next_stop(debugger);
    if (lane >= 0) {
        aee__gdb_report_stop(debugger, lane);
    } else if (!aee__gdb_has_ended(debugger) && !carry_out(debugger, plans)) {
        answer(debugger, false);
    } else {
        debugger->stopped = false; /* the answer comes with the next stop */
    }
}

/* "c", "s" with an optional address, "C05", "S05;address": from before vCont. */
static void resume_old(struct aee__debugger *debugger, const char *packet)
{
    char action[24] = {';'};
    size_t size = strcspn(packet, ";");
    if (((packet[0] == 'c' || packet[0] == 's') && packet[1]) || size > 8) {
        answer(debugger, false);
        return;
    }
    bool steps = packet[0] == 's' || packet[0] == 'S';
    memcpy(action + 1, packet, size);
    if (steps) { /* one lane, and the others rest */
        (void)snprintf(action + 1 + size, sizeof action - 1 - size, ":%x", debugger->current + 1);
    }
    resume(debugger, action);
}

static void end_subject(struct aee__debugger *debugger)
{
    if (debugger->subject) {
        aee__instance_fail(debugger->subject, AEE_CRASH_KILLED, "by the debugger");
    }
    debugger->leave = true;
}

/* ---- Memory and breakpoints --------------------------------------------------------------- */

static void read_memory(struct aee__debugger *debugger, const char *at)
{
    uint8_t bytes[AEE__GDB_PACKET / 2];
    uint64_t gva;
    uint64_t size;
    if (!aee__gdb_number_and(&at, ',', &gva) || !aee__gdb_number(&at, &size)) {
        answer(debugger, false);
        return;
    }
    size = size < sizeof bytes ? size : sizeof bytes;
    size_t got = aee__gdb_read(debugger, gva, bytes, (size_t)size);
    if (got == 0 && size > 0) {
        answer(debugger, false);
    } else {
        aee__gdb_add_hex(out_of(debugger), bytes, got);
    }
}

/* "M" has digits behind the colon, "X" the bytes themselves. */
static void write_memory(struct aee__debugger *debugger, const char *at, const char *end, bool raw)
{
    uint8_t bytes[AEE__GDB_PACKET];
    uint64_t gva;
    uint64_t size;
    bool good = aee__gdb_number_and(&at, ',', &gva) && aee__gdb_number_and(&at, ':', &size) &&
                size <= sizeof bytes;
    if (good && raw) {
        good = size == (uint64_t)(end - at);
        memcpy(bytes, at, good ? (size_t)size : 0);
    } else if (good) {
        good = aee__gdb_bytes(&at, bytes, (size_t)size) && at == end;
    }
    answer(debugger, good && aee__gdb_write(debugger, gva, bytes, (size_t)size));
}

/* Software ones only: with the others gdb does without. */
static void change_breakpoint(struct aee__debugger *debugger, const char *packet)
{
    uint64_t gva;
    const char *at = packet + 3;
    if (!begins(packet + 1, "0,")) {
        return;
    }
    if (!aee__gdb_number_and(&at, ',', &gva)) {
        answer(debugger, false);
    } else {
        answer(debugger,
               packet[0] == 'Z' ? aee__gdb_insert(debugger, gva) : aee__gdb_remove(debugger, gva));
    }
}

/* ---- Registers ---------------------------------------------------------------------------- */

static void register_command(struct aee__debugger *debugger, const char *packet)
{
    uint64_t number;
    const char *at = packet + 1;
    switch (packet[0]) {
    case 'g':
        aee__gdb_add_registers(debugger, debugger->current);
        return;
    case 'G':
        answer(debugger, aee__gdb_take_registers(debugger, debugger->current, at));
        return;
    case 'p':
        if (!aee__gdb_number(&at, &number) ||
            !aee__gdb_add_register(debugger, debugger->current, number)) {
            answer(debugger, false);
        }
        return;
    default:
        answer(debugger, aee__gdb_number_and(&at, '=', &number) &&
                             aee__gdb_take_register(debugger, debugger->current, number, at));
        return;
    }
}

/* ---- Questions ---------------------------------------------------------------------------- */

static void question(struct aee__debugger *debugger, const char *packet)
{
    struct aee__gdb_out *out = out_of(debugger);
    if (begins(packet, "qSupported")) {
        aee__gdb_add(out,
                     "PacketSize=%x;QStartNoAckMode+;swbreak+;vContSupported+;"
                     "qXfer:features:read+;qXfer:threads:read+;qXfer:auxv:read+%s",
                     AEE__GDB_PACKET, debugger->file[0] ? ";qXfer:exec-file:read+" : "");
    } else if (begins(packet, "qXfer:")) {
        aee__gdb_transfer(debugger, packet + 6);
    } else if (begins(packet, "qfThreadInfo")) {
        list_threads(debugger);
    } else if (begins(packet, "qsThreadInfo")) {
        aee__gdb_add(out, "l");
    } else if (strcmp(packet, "qC") == 0) {
        aee__gdb_add(out, "QC%x", debugger->current + 1);
    } else if (begins(packet, "qAttached")) {
        aee__gdb_add(out, "1"); /* gdb leaves by a detach */
    } else if (strcmp(packet, "QStartNoAckMode") == 0) {
        debugger->no_ack = true;
        answer(debugger, true);
    }
}

static void verbose(struct aee__debugger *debugger, const char *packet)
{
    if (strcmp(packet, "vCont?") == 0) {
        aee__gdb_add(out_of(debugger), "vCont;c;C;s;S");
    } else if (begins(packet, "vCont")) {
        resume(debugger, packet + 5);
    } else if (begins(packet, "vKill")) {
        end_subject(debugger);
        answer(debugger, true);
    }
}

void aee__gdb_command(struct aee__debugger *debugger, const char *packet, size_t size)
{
    const char *thread = packet + 1;
    aee__gdb_begin(out_of(debugger));
    if (strlen(packet) != size && packet[0] != 'X') { /* zero bytes are in binary data only */
        answer(debugger, false);
        return;
    }
    switch (packet[0]) {
    case '?':
        report_again(debugger);
        break;
    case 'g':
    case 'G':
    case 'p':
    case 'P':
        register_command(debugger, packet);
        break;
    case 'm':
        read_memory(debugger, packet + 1);
        break;
    case 'M':
    case 'X':
        write_memory(debugger, packet + 1, packet + size, packet[0] == 'X');
        break;
    case 'Z':
    case 'z':
        change_breakpoint(debugger, packet);
        break;
    case 'H':
        select_thread(debugger, packet + 1);
        break;
    case 'T':
        answer(debugger, is_lane(debugger, parse_thread(&thread)));
        break;
    case 'c':
    case 'C':
    case 's':
    case 'S':
        resume_old(debugger, packet);
        break;
    case 'D':
        debugger->leave = true;
        answer(debugger, true);
        break;
    case 'k':
        end_subject(debugger);
        break;
    case 'q':
    case 'Q':
        question(debugger, packet);
        break;
    case 'v':
        verbose(debugger, packet);
        break;
    default:
        break;
    }
}
