/* keep.c: checkpoints of whole scenes, and the way back to them. Contexts keep their own memory
 * (aee_checkpoint()); regions are the engine's, and so are their copies. */
#include <stdlib.h>
#include <string.h>

#include "game.h"

/* All regions but the last, the draw list, which is made anew in each frame; their size. */
static size_t copy(const struct scene *scene, uint8_t *bytes, bool back)
{
    size_t size = 0;
    for (unsigned i = 0; i < SHARED_LIST; i++) {
        const struct shared *shared = &scene->shared[i];
        if (bytes) {
            memcpy(back ? shared->data : bytes + size, back ? bytes + size : shared->data,
                   shared->size);
        }
        size += shared->size;
    }
    return size;
}

/* What rendering remembers does not change, and what else it has it makes anew in each frame: its
 * first checkpoint is as good as any later one. */
static bool is_kept(const struct part *part)
{
    return part->role == RENDERING && part->kept_count > 0;
}

void part_keep(struct part *part)
{
    if (aee_checkpoint(engine_of(part), part->context, NULL) != AEE_OK) {
        return; /* it is in trouble now: the earlier ones are what it has */
    }
    if (part->kept_count == KEEPS) {
        memmove(part->kept, part->kept + 1, (KEEPS - 1) * sizeof part->kept[0]);
        part->kept_count--;
    }
    part->kept[part->kept_count++] = part->scene->frame;
}

void scene_keep(struct scene *scene)
{
    struct keep *keep = &scene->keeps[scene->next_keep++ % KEEPS];
    keep->bytes = keep->bytes ? keep->bytes : malloc(copy(scene, NULL, false));
    keep->frame = keep->bytes ? scene->frame + 1 : 0; /* 0: none */
    keep->wishes = scene->wishes;
    memcpy(keep->board, scene->board, sizeof keep->board);
    (void)copy(scene, keep->bytes, false);
    for (uint32_t i = 0; i < scene->part_count; i++) {
        if (!is_kept(&scene->parts[i])) {
            part_keep(&scene->parts[i]);
        }
    }
}

/* To its newest checkpoint that is not newer than that frame. */
static void restore_part(struct part *part, uint64_t frame)
{
    uint32_t back = 0;
    while (back + 1 < part->kept_count && part->kept[part->kept_count - 1 - back] > frame) {
        back++;
    }
    aee_error error;
    aee_result result = aee_restore(engine_of(part), part->context, back, &error);
    if (result != AEE_OK && back > 0) {
        back = 0;
        result = aee_restore(engine_of(part), part->context, back, &error);
    }
    if (result != AEE_OK) {
        game_say(part->scene->game, true, "%s", error.text);
        return;
    }
    part->kept_count -= back;
}

/* The newest keep that is so old, or else the oldest. */
static struct keep *find(struct scene *scene, uint64_t frames)
{
    const uint64_t wanted = scene->frame > frames ? scene->frame - frames : 0;
    struct keep *oldest = NULL;
    struct keep *best = NULL;
    for (unsigned i = 0; i < KEEPS; i++) {
        struct keep *keep = &scene->keeps[i];
        if (keep->frame == 0) {
            continue;
        }
        oldest = !oldest || keep->frame < oldest->frame ? keep : oldest;
        if (keep->frame - 1 <= wanted && (!best || keep->frame > best->frame)) {
            best = keep;
        }
    }
    return best ? best : oldest;
}

bool scene_roll_back(struct scene *scene, uint64_t frames)
{
    struct keep *keep = find(scene, frames);
    if (!keep) {
        return false;
    }
    (void)copy(scene, keep->bytes, true);
    scene->wishes = keep->wishes;
    memcpy(scene->board, keep->board, sizeof keep->board);
    scene->frame = keep->frame - 1;
    for (uint32_t i = 0; i < scene->part_count; i++) {
        restore_part(&scene->parts[i], scene->frame);
    }
    for (unsigned i = 0; i < KEEPS; i++) { /* what was to come has not been */
        if (scene->keeps[i].frame > keep->frame) {
            scene->keeps[i].frame = 0;
        }
    }
    scene->next_keep = (uint32_t)(keep - scene->keeps) + 1;
    return true;
}
