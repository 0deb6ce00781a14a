/* sample_view.h: a made-up view with everything in it that can be drawn. */
#ifndef AEE_TESTS_SAMPLE_VIEW_H
#define AEE_TESTS_SAMPLE_VIEW_H

#include "view.h"

/* `scenes` scenes of 10,000 agents and `particles` particles each, at a frame; with faults, some
 * contexts are stricken. NULL where there is no memory. It is for one view at a time. */
struct view *sample_view(uint32_t scenes, uint32_t particles, uint64_t frame, bool faults);
void sample_free(struct view *view);

#endif
