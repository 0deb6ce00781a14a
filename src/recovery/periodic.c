#include "recovery/periodic.h"

#include "base/clock.h"
#include "isolation/context.h"
#include "recovery/checkpoints.h"

/* Contexts that are looked after at the end of one frame: the others come with the next. */
#define MOST 64u

struct due {
    struct aee__core *core;
    uint64_t frame;
    uint64_t now_ns;
    uint32_t count;
    struct aee__context *contexts[MOST];
};

/* By frames or by time; never before what the last one cost has been earned. */
static bool is_due(struct aee__context *context, uint64_t frame, uint64_t now_ns)
{
    (void)pthread_mutex_lock(&context->lock);
    bool by_frames = context->recovery.every_frames > 0;
    (void)pthread_mutex_unlock(&context->lock);
    return frame >= atomic_load(&context->due_frame) &&
           (by_frames || now_ns >= atomic_load(&context->due_ns));
}

static void find_due(void *user, uint64_t handle, void *object)
{
    struct due *due = user;
    struct aee__context *context = object;
    if (due->count < MOST && atomic_load(&context->checkpoints_itself) &&
        is_due(context, due->frame, due->now_ns)) {
        due->contexts[due->count++] = context;
        aee__handles_ref(&due->core->contexts, handle);
    }
}

/* What it cost must fit into that many frames' shares. */
static void schedule(struct aee__context *context, const aee_recovery_desc *settings,
                     uint64_t frame, uint64_t now_ns)
{
    uint64_t every = settings->every_frames > 0 ? settings->every_frames : 1;
    uint64_t earned = 1;
    if (settings->frame_share_ns > 0) {
        earned = 1 + atomic_load(&context->stats.checkpoint_ns) / settings->frame_share_ns;
    }
    atomic_store(&context->due_frame, frame + (every > earned ? every : earned));
    atomic_store(&context->due_ns, now_ns + settings->every_ns);
}

/* A context that is busy is tried again at the end of the next frame. */
static void take(struct aee__context *context, uint64_t frame)
{
    aee_error error;
    (void)pthread_mutex_lock(&context->lock);
    const aee_recovery_desc settings = context->recovery;
    bool ready = context->state == AEE_STATE_READY;
    (void)pthread_mutex_unlock(&context->lock);
    aee_result result = ready ? aee__checkpoint_try(context, &error) : AEE_ERR_BUSY;
    if (result == AEE_ERR_BUSY) {
        return;
    }
    if (result != AEE_OK && !context->due_failed) {
        aee__context_event(context, AEE_EVENT_CHECKPOINT_FAILED, 0, "%s", error.text);
    }
    context->due_failed = result != AEE_OK;
    schedule(context, &settings, frame, aee__now_ns());
}

void aee__periodic_end_frame(struct aee__core *core, uint64_t frame)
{
    struct due due = {.core = core, .frame = frame, .now_ns = aee__now_ns()};
    if (!atomic_load_explicit(&core->checkpoints_frames, memory_order_relaxed)) {
        return;
    }
    aee__handles_each(&core->contexts, find_due, &due);
    for (uint32_t i = 0; i < due.count; i++) {
        uint64_t handle = due.contexts[i]->handle;
        take(due.contexts[i], frame);
        aee__handles_release(&core->contexts, handle);
    }
}
