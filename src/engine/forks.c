/* forks.c: the public side of forks. */
#include "engine/engine.h"
#include "recovery/fork.h"

/* Regions that the template may only read. Writable ones are not for two. */
static aee_result share_regions(aee_engine *engine, struct aee__context *template,
                                struct aee__context *context, aee_error *error)
{
    struct aee__mapping shared[AEE__MAPPINGS_MAX];
    uint32_t count = 0;
    aee_result result = AEE_OK;
    (void)pthread_mutex_lock(&engine->regions_lock); /* none is destroyed meanwhile */
    (void)pthread_mutex_lock(&template->lock);
    for (uint32_t i = 0; i < template->mapping_count; i++) {
        if (!template->mappings[i].writable) {
            shared[count++] = template->mappings[i];
        }
    }
    (void)pthread_mutex_unlock(&template->lock);
    for (uint32_t i = 0; i < count && result == AEE_OK; i++) {
        result = aee__context_map(context, shared[i].region, 0, error);
    }
    (void)pthread_mutex_unlock(&engine->regions_lock);
    return result;
}

static aee_result begin(aee_engine *engine, struct aee__fork *fork, struct aee__context *template,
                        aee_context out, aee_error *error)
{
    struct aee__context *context;
    aee_result result = aee__engine_enter(engine, out, "fork", &context, error);
    if (result != AEE_OK) {
        return result;
    }
    result = share_regions(engine, template, context, error);
    if (result == AEE_OK) {
        result = aee__fork_into(fork, template, context, error);
    }
    aee__engine_leave(context);
    if (result != AEE_OK) {
        (void)aee_destroy(engine, out, NULL);
    }
    return result;
}

static aee_result make(aee_engine *engine, struct aee__context *template, const aee_fork_desc *desc,
                       aee_context *out, aee_error *error)
{
    struct aee__fork fork;
    aee_context made = {0};
    aee_result result = aee__fork_begin(template, &fork, error);
    if (result != AEE_OK) {
        return result;
    }
    const struct aee__context_plan plan = {.name = desc->name ? desc->name : template->name,
                                           .kind = fork.kind,
                                           .mode = fork.mode,
                                           .user = desc->user,
                                           .limits = fork.limits};
    result = aee__contexts_add(engine, &plan, &made, error);
    if (result == AEE_OK) {
        result = begin(engine, &fork, template, made, error);
    }
    aee__fork_end(&fork);
    if (result == AEE_OK) {
        *out = made;
    }
    return result;
}

aee_result aee_fork(aee_engine *engine, aee_context handle, const aee_fork_desc *user_desc,
                    aee_context *out, aee_error *error)
{
    aee_fork_desc desc = {0};
    struct aee__context *template;
    if (!out) {
        return aee__fail(error, AEE_ERR_INVALID_ARGUMENT, "cannot fork: out is NULL");
    }
    out->id = 0;
    aee_result result = aee__engine_enter(engine, handle, "fork", &template, error);
    if (result != AEE_OK) {
        return result;
    }
    if (user_desc) {
        result = aee__copy_desc("fork", user_desc, &desc, sizeof desc, sizeof desc, error);
    }
    if (result == AEE_OK && desc.flags != 0) {
        result =
            aee__fail(error, AEE_ERR_INVALID_ARGUMENT,
                      "cannot fork context \"%s\": unknown flags 0x%x", template->name, desc.flags);
    }
    if (result == AEE_OK && desc.name) {
        result = aee__check_name("fork", desc.name, error);
    }
    if (result == AEE_OK) {
        result = make(engine, template, &desc, out, error);
    }
    aee__engine_leave(template);
    return result == AEE_OK ? aee__ok(error) : result;
}
