/* orders.c: what a cell's servant is told to do. */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/sys.h"
#include "isolation/process/process_internal.h"

/* A cell that takes longer has been stopped from outside, or lives on a machine that stands still.
 */
#define PATIENCE_NS UINT64_C(20000000000)
/* The other end of the socket may live on in a process that the engine has forked. */
#define LOOK_NS UINT64_C(100000000)

void aee__orders_begin(struct aee__vm *vm)
{
    (void)pthread_mutex_lock(&vm->orders_lock);
    vm->order_count = 0;
}

struct aee_cell_order *aee__orders_add(struct aee__vm *vm, const char *what, uint64_t number,
                                       const uint64_t *args, uint32_t count)
{
    struct aee_cell_order *order = &vm->control->orders.list.orders[vm->order_count];
    memset(order, 0, sizeof *order);
    order->number = number;
    memcpy(order->args, args, count * sizeof *args);
    vm->order_names[vm->order_count] = what;
    vm->order_count++;
    return order;
}

static int receive(struct aee__vm *vm, uint64_t *number)
{
    uint64_t end = aee__now_ns() + PATIENCE_NS;
    while (aee__sys_receive(vm->socket, number, LOOK_NS) != 0) {
        if (errno != ETIMEDOUT || aee__now_ns() >= end) {
            return -1;
        }
        if (atomic_load(&vm->ended)) {
            errno = EPIPE;
            return -1;
        }
    }
    return 0;
}

/* The kernel closes the last descriptor of a process after the memory of its last thread. */
bool aee__orders_await_end(struct aee__vm *vm)
{
    uint64_t end = aee__now_ns() + PATIENCE_NS;
    uint64_t late_answer;
    bool ended;
    (void)pthread_mutex_lock(&vm->orders_lock);
    vm->mute = vm->mute != 0 ? vm->mute : EPIPE;
    do {
        ended = aee__sys_receive(vm->socket, &late_answer, LOOK_NS) != 0 && errno == EPIPE;
        ended = ended || atomic_load(&vm->ended);
    } while (!ended && aee__now_ns() < end);
    (void)pthread_mutex_unlock(&vm->orders_lock);
    return ended;
}

/* The answer cannot be forged: no thread of the component can write to the socket. */
static aee_result await_answer(struct aee__vm *vm, const char *operation, aee_error *error)
{
    static const struct aee__verdict silent = {AEE_CRASH_HOST, "its process does not answer"};
    uint64_t which = 0;
    uint64_t why = 0;
    if (vm->mute == 0 && (receive(vm, &which) != 0 || (which > 0 && receive(vm, &why) != 0))) {
        vm->mute = errno;
        if (vm->mute != EPIPE) {
            aee__cell_condemn(vm, &silent);
        }
    }
    if (vm->mute != 0) {
        return aee__fail_os(error, vm->mute, "cannot %s: the cell does not answer", operation);
    }
    if (which > 0) {
        const char *name = which <= vm->order_count ? vm->order_names[which - 1] : "an order";
        return aee__fail_os(error, (int)why, "cannot %s: %s", operation, name);
    }
    return AEE_OK;
}

aee_result aee__orders_commit(struct aee__vm *vm, const char *operation, aee_error *error)
{
    struct aee_cell_list *list = &vm->control->orders.list;
    uint64_t begin = aee__now_ns();
    __atomic_store_n(&list->count, vm->order_count, __ATOMIC_RELAXED);
    __atomic_store_n(&list->seq, list->seq + 1, __ATOMIC_RELEASE);
    aee__sys_shared_wake(&list->seq);
    aee_result result = await_answer(vm, operation, error);
    (void)atomic_fetch_add(&vm->orders_ns, aee__now_ns() - begin);
    (void)pthread_mutex_unlock(&vm->orders_lock);
    return result;
}

uint64_t aee__orders_data(struct aee__vm *vm, const void *bytes, size_t size)
{
    uint32_t at = vm->data_used;
    memcpy(vm->control->orders.data + at, bytes, size);
    vm->data_used = (at + (uint32_t)size + 15u) & ~15u;
    return AEE_CELL_CONTROL + offsetof(struct aee_cell_control, orders.data) + at;
}
