/* scene.c: a small scene graph that keeps all its state in the component's heap. Nodes turn by a
 * fixed step a frame, take their place from their parent, and now and then a branch is replaced, so
 * that the heap is at work. The same bits in image and native module (no libm but sqrt).
 *
 *   scene_init(seed, nodes)   builds a new scene; returns the number of nodes or -1
 *   scene_step(frame)         one frame; returns a checksum over all positions
 *   scene_nodes()             how many there are now */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <aee_guest.h>

#include "break.h"

#define MAX_NODES 100000
#define BRANCHES 4      /* children of a node, at most */
#define REPLACE_EVERY 8 /* frames */
#define TURN_LIMIT 0.05 /* sine of the largest turn in a frame */

/* A turn as the complex number cosine + i sine: no libm, and products stay exact enough. */
struct turn {
    double c, s;
};

struct node {
    struct node *children[BRANCHES];
    uint32_t child_count;
    double x, y; /* place relative to the parent */
    double world_x, world_y;
    struct turn angle;
    struct turn speed;
    char *name; /* "n" and a number, for the heap's sake */
};

static struct node *root;
static uint32_t node_count;
static uint64_t next_name;
static struct aee_random randomness;

static double random_signed(void)
{
    return (double)aee_random_float(&randomness) * 2.0 - 1.0;
}

static struct turn multiply(struct turn a, struct turn b)
{
    const struct turn product = {a.c * b.c - a.s * b.s, a.s * b.c + a.c * b.s};
    return product;
}

static struct turn normalised(struct turn a)
{
    const double length = sqrt(a.c * a.c + a.s * a.s);
    const struct turn unit = {a.c / length, a.s / length};
    return unit;
}

static void name_node(struct node *node)
{
    char digits[24];
    size_t length = 0;
    for (uint64_t rest = next_name++; length == 0 || rest > 0; rest /= 10u) {
        digits[length++] = (char)('0' + rest % 10u);
    }
    node->name = malloc(length + 2u);
    if (node->name == NULL) {
        aee_out_of_memory();
    }
    node->name[0] = 'n';
    for (size_t i = 0; i < length; i++) {
        node->name[i + 1u] = digits[length - 1u - i];
    }
    node->name[length + 1u] = '\0';
}

static struct node *new_node(void)
{
    struct node *node = calloc(1, sizeof *node);
    if (node == NULL) {
        aee_out_of_memory();
    }
    name_node(node);
    node->x = random_signed() * 10.0;
    node->y = random_signed() * 10.0;
    node->angle.c = 1.0;
    node->speed.s = random_signed() * TURN_LIMIT;
    node->speed.c = sqrt(1.0 - node->speed.s * node->speed.s);
    node_count++;
    return node;
}

static void free_branch(struct node *node)
{
    for (uint32_t i = 0; i < node->child_count; i++) {
        free_branch(node->children[i]);
    }
    free(node->name);
    free(node);
    node_count--;
}

/* Goes down from the root by chance until there is room for a child. */
static void add_node(void)
{
    struct node *parent = root;
    while (parent->child_count == BRANCHES) {
        parent = parent->children[aee_random_below(&randomness, BRANCHES)];
    }
    parent->children[parent->child_count++] = new_node();
}

/* Takes the last branch of a random inner node away; as many nodes grow elsewhere. */
static void replace_branch(void)
{
    struct node *parent = root;
    for (uint32_t depth = 0; depth < 3u && parent->child_count > 0; depth++) {
        struct node *child = parent->children[aee_random_below(&randomness, parent->child_count)];
        if (child->child_count == 0) {
            break;
        }
        parent = child;
    }
    if (parent == root || parent->child_count == 0) {
        return;
    }
    const uint32_t before = node_count;
    free_branch(parent->children[--parent->child_count]);
    while (node_count < before) {
        add_node();
    }
}

static uint64_t mix(uint64_t sum, double value)
{
    return (sum ^ (uint64_t)aee_bits(value)) * UINT64_C(0x100000001b3);
}

static uint64_t update(struct node *node, double x, double y, struct turn angle, uint64_t sum)
{
    node->world_x = x + node->x * angle.c - node->y * angle.s;
    node->world_y = y + node->x * angle.s + node->y * angle.c;
    node->angle = normalised(multiply(node->angle, node->speed));
    const struct turn total = multiply(angle, node->angle);
    sum = mix(mix(sum, node->world_x), node->world_y);
    for (uint32_t i = 0; i < node->child_count; i++) {
        sum = update(node->children[i], node->world_x, node->world_y, total, sum);
    }
    return sum;
}

AEE_SIGNATURE(scene_init, "i:ii");
AEE_EXPORT int64_t scene_init(int64_t seed, int64_t nodes)
{
    if (nodes < 1 || nodes > MAX_NODES) {
        return -1;
    }
    if (root != NULL) {
        free_branch(root);
    }
    aee_random_init(&randomness, (uint64_t)seed);
    next_name = 0;
    node_count = 0;
    root = new_node();
    while (node_count < (uint32_t)nodes) {
        add_node();
    }
    return node_count;
}

AEE_SIGNATURE(scene_step, "i:i");
AEE_EXPORT int64_t scene_step(int64_t frame)
{
    if (root == NULL) {
        return -1;
    }
    if (frame % REPLACE_EVERY == 0) {
        replace_branch();
    }
    const struct turn none = {1.0, 0.0};
    return (int64_t)update(root, 0.0, 0.0, none, UINT64_C(0xcbf29ce484222325));
}

AEE_SIGNATURE(scene_nodes, "i:");
AEE_EXPORT int64_t scene_nodes(void)
{
    return node_count;
}
