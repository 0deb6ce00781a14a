/* levels.h: which back end an engine gets. */
#ifndef AEE_ENGINE_LEVELS_H
#define AEE_ENGINE_LEVELS_H

#include "isolation/backend.h"

/* What is wanted: `level` exactly (AUTO: the strongest that works), nothing weaker than `minimum`.
 */
struct aee__wish {
    aee_level level;
    aee_level minimum;
};

/* Takes AEE_FORCE_LEVEL in the environment into account, which names the level for every engine. */
aee_result aee__wish_read(struct aee__wish *wish, aee_error *error);
/* Opens the strongest back end that fits the wish and works here. The sentence says of each that
 * was tried why it did not. */
aee_result aee__levels_open(const struct aee__wish *wish, const struct aee__alloc *alloc,
                            int kick_signal, const struct aee__backend_ops **ops,
                            struct aee__backend **out, aee_error *error);
/* Tries each. */
aee_result aee__levels_probe(const struct aee__wish *wish, aee_probe_report *report,
                             aee_error *error);

#endif
