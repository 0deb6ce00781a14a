#include "engine/levels.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "isolation/kvm/kvm.h"
#include "isolation/none/none.h"
#include "isolation/process/process.h"

/* From strongest to weakest. */
static const struct aee__backend_ops *const backends[] = {
    &aee__kvm_backend, &aee__container_backend, &aee__process_backend, &aee__none_backend};
#define BACKENDS (sizeof backends / sizeof backends[0])
_Static_assert(BACKENDS <= AEE_BACKENDS_MAX, "a report has room for all");

aee_result aee__wish_read(struct aee__wish *wish, aee_error *error)
{
    const char *forced = getenv("AEE_FORCE_LEVEL");
    if (!forced || !forced[0]) {
        return AEE_OK;
    }
    for (aee_level level = AEE_LEVEL_AUTO; level <= AEE_LEVEL_FULL; level++) {
        if (strcmp(forced, aee_level_name(level)) == 0) {
            wish->level = level;
            return AEE_OK;
        }
    }
    return aee__fail(error, AEE_ERR_INVALID_ARGUMENT,
                     "cannot choose a level: AEE_FORCE_LEVEL is \"%.32s\", which is none of auto, "
                     "none, process, container, full",
                     forced);
}

/* Without isolation only where that is asked for by name. */
static bool fits(const struct aee__wish *wish, aee_level level)
{
    return wish->level != AEE_LEVEL_AUTO ? level == wish->level && level >= wish->minimum
                                         : level >= wish->minimum && level > AEE_LEVEL_NONE;
}

/* One clause for each back end that was tried. */
struct reasons {
    char text[248];
    size_t used;
    int os_errno;
};

static void add_reason(struct reasons *reasons, const struct aee__backend_ops *ops,
                       const aee_error *why)
{
    int wrote = snprintf(reasons->text + reasons->used, sizeof reasons->text - reasons->used,
                         "%s%s: %s", reasons->used > 0 ? "; " : "", ops->name, why->text);
    size_t left = sizeof reasons->text - 1 - reasons->used;
    reasons->used += wrote > 0 && (size_t)wrote < left ? (size_t)wrote : left;
    reasons->os_errno = reasons->os_errno != 0 ? reasons->os_errno : why->os_errno;
}

static aee_result refuse(const struct aee__wish *wish, const struct reasons *reasons,
                         aee_error *error)
{
    aee_level wanted = wish->level != AEE_LEVEL_AUTO ? wish->level : wish->minimum;
    (void)aee__fail(error, AEE_ERR_NO_BACKEND, "no isolation back end is usable here%s%s: %s",
                    wanted != AEE_LEVEL_AUTO ? " for level " : "",
                    wanted != AEE_LEVEL_AUTO ? aee_level_name(wanted) : "",
                    reasons->used > 0 ? reasons->text : "none offers that level");
    if (error) {
        error->os_errno = reasons->os_errno;
    }
    return AEE_ERR_NO_BACKEND;
}

aee_result aee__levels_open(const struct aee__wish *wish, const struct aee__alloc *alloc,
                            int kick_signal, const struct aee__backend_ops **ops,
                            struct aee__backend **out, aee_error *error)
{
    struct reasons reasons = {.used = 0};
    *ops = NULL;
    for (unsigned i = 0; i < BACKENDS; i++) {
        aee_error why = {0};
        if (!fits(wish, backends[i]->level)) {
            continue;
        }
        aee_result result = backends[i]->open(alloc, kick_signal, NULL, out, &why);
        if (result == AEE_OK) {
            *ops = backends[i];
            return AEE_OK;
        }
        if (result == AEE_ERR_NO_MEMORY) {
            return aee__fail(error, result, "%s", why.text);
        }
        add_reason(&reasons, backends[i], &why);
    }
    return refuse(wish, &reasons, error);
}

/* Of the strongest that is usable. */
static void note_in_force(const struct aee__backend_ops *ops, const struct aee__backend *backend,
                          aee_probe_report *report)
{
    if (report->level == AEE_LEVEL_AUTO) {
        report->level = ops->level;
        report->use_vt_x = ops->hardware(backend);
        report->use_ept = ops->nested_paging(backend);
    }
}

aee_result aee__levels_probe(const struct aee__wish *wish, aee_probe_report *report,
                             aee_error *error)
{
    struct aee__facts facts = {0};
    struct reasons reasons = {.used = 0};
    for (unsigned i = 0; i < BACKENDS; i++) {
        const struct aee__backend_ops *ops = backends[i];
        aee_backend_report *at = &report->backends[report->backend_count++];
        struct aee__backend *backend;
        aee_error why = {0};
        aee_result result = ops->open(&aee__alloc_default, SIGRTMAX - 1, &facts, &backend, &why);
        if (result == AEE_ERR_NO_MEMORY) {
            return aee__fail(error, result, "cannot probe: %s", why.text);
        }
        at->level = ops->level;
        at->usable = result == AEE_OK;
        (void)snprintf(at->name, sizeof at->name, "%s", ops->name);
        (void)snprintf(at->why, sizeof at->why, "%s", result == AEE_OK ? "" : why.text);
        if (result != AEE_OK) {
            add_reason(&reasons, ops, &why);
            continue;
        }
        if (fits(wish, ops->level)) {
            note_in_force(ops, backend, report);
        }
        ops->close(backend);
    }
    report->fact_count = facts.count;
    memcpy(report->facts, facts.list, sizeof report->facts);
    if (report->level == AEE_LEVEL_AUTO) {
        aee_error why = {0};
        (void)refuse(wish, &reasons, &why);
        (void)snprintf(report->why, sizeof report->why, "%s", why.text);
    }
    return aee__ok(error);
}
