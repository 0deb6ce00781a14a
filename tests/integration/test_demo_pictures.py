#!/usr/bin/env python3
"""test_demo_pictures.py: what the demo draws: agents that move, components that are dim after a crash
and come back, words. Regions are looked at by their statistics, since no two C libraries and fonts give
the same pixels; those of demo_reference.json are what they were when somebody looked at the pictures.
After a change of what is drawn, look at the pictures and run this with --update."""
import argparse
import json
import os
import sys

import demo_common as demos
from demo_common import bright, changed, expect_true, light

WIDTH, HEIGHT = 1280, 720
GRID = 4
COLOUR_TOLERANCE = 8  # of 255
SHARE_TOLERANCE = 0.05

# Rendering changes nothing in the world: but for what is dim, both runs look alike until frame 240.
CALM = "100: pause 2\n149: help\n151: help\n"
CRASH = "60: crash-rendering 1\n" + CALM + "240: crash-agents 1\n"


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("demo", "find-text", "find-scenes"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--reference", default=os.path.join(os.path.dirname(__file__), "demo_reference.json"))
    parser.add_argument("--update", action="store_true", help="write the reference instead")
    return parser.parse_args()


OPTIONS = parse()
DEMO = demos.Demo(OPTIONS.demo)
EYE = demos.Eye(OPTIONS.find_text, OPTIONS.find_scenes)


class Run:
    """A run whose every 30th frame is kept."""

    def __init__(self, name, script):
        self.folder = DEMO.file(name)
        DEMO.play("--frames", "240", "--capture", self.folder, "--capture-every", "30",
                  *DEMO.script(name + ".script", script))
        self.places = EYE.scenes(WIDTH, HEIGHT, 2)
        self.pictures = {}

    def path(self, frame):
        return os.path.join(self.folder, f"frame-{frame:06d}.png")

    def scene(self, number, frame):
        """The pixels of a scene, 0 or 1, at that frame."""
        if frame not in self.pictures:
            rows = max(y + height for _, y, _, height in self.places)
            picture = demos.Picture(self.path(frame), rows)
            demos.expect("size", (picture.width, picture.height), (WIDTH, HEIGHT))
            self.pictures[frame] = [picture.part(*place) for place in self.places]
        return self.pictures[frame][number]

    def sees_in(self, frame, words, number):
        """Whether the words are in that scene; for None: whether they are beside both."""
        for x, y, *_ in EYE.places(self.path(frame), words):
            inside = [left <= x < left + width and top <= y < top + height
                      for left, top, width, height in self.places]
            if (inside[number] if number is not None else not any(inside)):
                return True
        return False


def statistics(rows):
    """Mean red, green and blue, and share of bright pixels, of each cell of a grid."""
    width = len(rows[0]) // 3
    cells = []
    for row in range(GRID):
        for column in range(GRID):
            left, right = (width * at // GRID for at in (column, column + 1))
            top, bottom = (len(rows) * at // GRID for at in (row, row + 1))
            part = [line[3 * left : 3 * right] for line in rows[top:bottom]]
            cells.append([round(value, 1) for value in demos.mean(part)] + [round(bright(part), 3)])
    return cells


def compare(what, found, wanted):
    """Statistics with those that should be about the same."""
    for at, (cell, other) in enumerate(zip(found, wanted)):
        far = max(abs(a - b) for a, b in zip(cell[:3], other[:3]))
        expect_true(f"{what}, row {at // GRID}, column {at % GRID}: {cell} instead of {other}",
                    far <= COLOUR_TOLERANCE and abs(cell[3] - other[3]) <= SHARE_TOLERANCE)


def motion(calm):
    for number in (0, 1):
        share = changed(calm.scene(number, 30), calm.scene(number, 60))
        expect_true(f"scene {number}: {share:.3f} of it changed in half a second", share > 0.03)
    share = changed(calm.scene(0, 120), calm.scene(0, 210))
    expect_true(f"{share:.3f} of the first scene changed while the second is paused", share > 0.03)
    share = changed(calm.scene(1, 120), calm.scene(1, 210))
    expect_true(f"{share:.3f} of the second scene changed while it is paused", share == 0)


def dimness(calm, crash):
    """Light of the first scene in the run with crashes, as a part of that without: dark at once, a
    quarter of the way back after half a second, as before after two."""
    parts = {frame: light(crash.scene(0, frame)) / light(calm.scene(0, frame)) for frame in (30, 60, 90, 210, 240)}
    print("light:", ", ".join(f"{part:.3f} in frame {frame}" for frame, part in parts.items()))
    expect_true(f"light before the crash: {parts[30]}", abs(parts[30] - 1) < 0.01)
    expect_true(f"light right after it: {parts[60]}", parts[60] < 0.6)
    expect_true(f"light half a second later: {parts[90]}", parts[60] < parts[90] < 0.9)
    expect_true(f"light after two seconds: {parts[210]}", abs(parts[210] - 1) < 0.01)
    share = changed(calm.scene(0, 210), crash.scene(0, 210))
    expect_true(f"{share:.3f} of the scene is another after two seconds", share == 0)
    shares = [bright(run.scene(0, 240)) for run in (calm, crash)]
    expect_true(f"bright pixels without and with a crash of the agents: {shares}", shares[1] < 0.8 * shares[0])
    for frame in (60, 90, 210, 240):
        share = changed(calm.scene(1, frame), crash.scene(1, frame))
        expect_true(f"{share:.3f} of the scene that did not crash is another", share == 0)


def words(calm, crash):
    early = calm.path(30)
    EYE.sees(early, "AEE Virt", "Harbour", "Cave", f"level {demos.LEVEL}", "running", "Events", "Frame time",
             "ready", "agents", "rendering", "Crash agents", "Roll back 3 s", "Thief", "Quit")
    EYE.misses(early, "paused", "Keys", "write to address", "frozen")
    for run, number, frame, text in (
            (crash, 0, 60, "write to address 0x0"), (crash, None, 60, "write to address 0x0"),
            (crash, None, 60, "rendering Harbour"), (crash, None, 90, "restarted from a checkpoint"),
            (crash, 0, 240, "write to address 0x0"), (calm, 1, 120, "paused"), (calm, None, 120, "Cave is paused"),
            (calm, 0, 150, "Keys"), (calm, 0, 150, "Single step")):
        expect_true(f"frame {frame}: {text!r}", run.sees_in(frame, text, number))
    for run, number, frame, text in (
            (crash, 1, 60, "write to address 0x0"), (crash, 0, 210, "write to address 0x0"),
            (calm, 0, 120, "paused"), (calm, None, 210, "write to address"), (calm, 0, 210, "Keys")):
        expect_true(f"frame {frame} has {text!r}", not run.sees_in(frame, text, number))


def sizes():
    """The largest pictures of the layout, the smallest, and as many scenes as there can be."""
    for size, count in (("1920x1080", 2), ("960x540", 1), ("1280x720", 8)):
        folder = DEMO.file("size-" + size)
        DEMO.play("--frames", "2", "--capture", folder, "--capture-every", "2", "--size", size, "--scenes", str(count))
        path = os.path.join(folder, "frame-000002.png")
        names = ("Harbour", "Cave", "Forest", "Market", "Desert", "Temple", "Tundra", "Reef")
        EYE.sees(path, "AEE Virt", "Events", "Crash agents", *names[:count])
        EYE.misses(path, *names[count:])


# ---- Compared with what they were -----------------------------------------------------------------


def reference(calm):
    found = {f"scene {number}, frame {frame}": statistics(calm.scene(number, frame))
             for number in (0, 1) for frame in (60, 210)}
    if OPTIONS.update:
        with open(OPTIONS.reference, "w", encoding="utf-8") as file:
            lines = [f'"{name}": {json.dumps(cells)}' for name, cells in found.items()]
            file.write("{\n" + ",\n".join(lines) + "\n}\n")
        return
    with open(OPTIONS.reference, encoding="utf-8") as file:
        wanted = json.load(file)
    demos.expect("regions", sorted(found), sorted(wanted))
    for name, cells in found.items():
        compare(f"reference of {name}", cells, wanted[name])


def main():
    DEMO.skip_unless_there()
    calm = Run("calm", CALM)
    if OPTIONS.update:
        reference(calm)
        sys.exit(0)
    crash = Run("crash", CRASH)
    motion(calm)
    dimness(calm, crash)
    words(calm, crash)
    sizes()
    reference(calm)


if __name__ == "__main__":
    main()
