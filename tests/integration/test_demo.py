#!/usr/bin/env python3
"""test_demo.py: the exit code of the demo's main job, its report, and that it finds out when something is wrong."""
import json
import os
import shutil
import sys
import tempfile

import cli_common as cli

FRAMES = 60  # of the runs that are to fail


def good_run(demo, contexts, level):
    passed = [
        r"^\+ crasher was stopped in frame 50: write to address 0x0",
        r"^\+ crasher came back in frame 5\d with its counter at 4\d, and counted on",
        r"^crasher .* 1 +0 +1 +4\d +\d+\.\d$",
        r"^\+ spinner was stopped in frame 100: overran its call budget",
        r"^\+ memory_hog was stopped in frame 150: out of memory \(4 MiB heap\)",
        r"^\+ thief made (\d+) of \1 attacks: ",
        r"^\+ the engine's memory is untouched$",
        r"^\+ everybody else was called in each of the 200 frames$",
        r"^\+ the results of all 6 are those of the same code run natively$",
        r"^frame  120  good        says: storm at frame 120",
        r"^frame    3  thief       tries to read the agents' columns: (crashed|hung)$",
        r"^frame  100  of 200: ",
        r"^late frames: \d+ of 200 ",
        r"^Every fault stayed where it happened\.\n\Z",
    ]
    rows = [rf"^{name} +(\w+) +{level} +ready +\d+ +\d+ +\d+\.\d\d " for name in contexts]
    result = cli.run([*demo, "--fast", "--frames", "200"], 0, out=passed + rows, environment={"LC_ALL": "C"})
    if result.stderr or "\033" in result.stdout or "\r" in result.stdout:
        cli.fail("a run off a terminal is plain, and quiet on stderr", result)


def json_run(demo, contexts):
    report = json.loads(cli.run([*demo, "--fast", "--frames", str(FRAMES), "--json"], 0).stdout)
    names = tuple(context["name"] for context in report["contexts"])
    contained = all(attack["contained"] for attack in report["attacks"])
    passed = all(check["passed"] for check in report["checks"])
    if names != contexts or not report["attacks"] or not contained or not passed:
        cli.fail(f"--json: {report}")
    if (report["frames"], report["passed"]) != (FRAMES, True):
        cli.fail(f"--json: {report}")


def traced_run(demo, contexts):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "trace.json")
        cli.run([*demo, "--fast", "--frames", str(FRAMES), "--trace", path], 0)
        with open(path, encoding="utf-8") as file:
            events = json.load(file)["traceEvents"]
        missing = os.path.join(folder, "none", "trace.json")
        cli.one_line(cli.run([*demo, "--trace", missing], 1, err=["cannot start a trace"]))
    frames = sum(event.get("cat") == "frame" for event in events)
    tracks = {event["args"]["name"] for event in events if event["name"] == "thread_name"}
    if frames != FRAMES or not all(f"{name} lane 0" in tracks for name in contexts):
        cli.fail(f"--trace: {frames} frames, {sorted(tracks)}")


def live_run(demo):
    seen = cli.on_terminal([*demo, "--fast", "--frames", str(FRAMES)], {"TERM": "xterm", "LC_ALL": "C.UTF-8"})
    if f"\r\033[Kframe   54  of {FRAMES}: " not in seen or "\u2713" not in seen:
        cli.fail(f"no status line on a terminal:\n{seen}")


def changed_run(demo, components, changes, *patterns):
    """Some components are removed or replaced, by others or by what a function makes of them: the
    demo must notice."""
    with tempfile.TemporaryDirectory() as folder:
        for name in os.listdir(components):
            if name.endswith((".elf", "_native.so")):
                os.symlink(os.path.join(components, name), os.path.join(folder, name))
        for name, other in changes:
            os.remove(os.path.join(folder, name))
            if callable(other):
                other(os.path.join(components, name), os.path.join(folder, name))
            elif other:
                shutil.copy(os.path.join(components, other), os.path.join(folder, name))
        environment = {"AEE_COMPONENT_DIR": folder, "LC_ALL": "C"}
        command = [*demo, "--fast", "--frames", str(FRAMES)]
        out = [r"^Something did not go as it should have\.\n\Z"] + list(patterns)
        cli.run(command, 1, out=out, environment=environment)


MOD = """#include <aee_guest.h>
AEE_EXPORT int64_t mod_init(int64_t seed) { return seed; }
AEE_EXPORT int64_t mod_arm(int64_t frame) { return frame; }
AEE_EXPORT int64_t mod_tick(int64_t frame) { return frame; }
"""


FORGETFUL = """#include <aee_guest.h>
static uint64_t begin, sum;
static int64_t armed;
static int again;
AEE_EXPORT int64_t mod_init(int64_t seed) { begin = sum = (uint64_t)seed; return 0; }
AEE_EXPORT int64_t mod_arm(int64_t frame) { armed = frame; return 0; }
AEE_EXPORT int64_t mod_tick(int64_t frame)
{
    if (frame == armed)
        *(volatile int *)0 = 42;
    if (frame > armed && !again) {
        again = 1;
        sum = begin;
    }
    sum = (sum ^ (uint64_t)frame) * UINT64_C(0x100000001b3) + 1u;
    return (int64_t)sum;
}
"""


def make_mod(old, new, text):
    source = new + ".c"
    with open(source, "w", encoding="utf-8") as file:
        file.write(text)
    cli.run([os.path.join(os.path.dirname(old), "aee-cc"), source, "-o", new], 0)


def another_mod(old, new):
    """A mod that is never wrong, but computes something else than the one of its name."""
    make_mod(old, new, MOD)


def forgetful_mod(old, new):
    """The crasher, which begins anew when it has crashed."""
    make_mod(old, new, FORGETFUL)


def bad_runs(demo, components):
    changes = (
        # A component that is called in every frame crashes.
        ([("mod_good.elf", "mod_crasher.elf")], r"^x good failed in frame 36: write to address 0x0"),
        # An offence does not happen, or is another one.
        ([("mod_crasher.elf", "mod_good.elf")], r"^x crasher did not do its worst$"),
        # It comes back without its state, which its oracle sees.
        ([("mod_crasher.elf", forgetful_mod)], r"^x crasher came back in frame \d+ without its counter: "),
        ([("mod_memory_hog.elf", "mod_crasher.elf")], r"^x memory_hog failed in another way than expected"),
        # A result differs, or cannot be compared.
        ([("mod_good.elf", another_mod)], r"^x good gave [0-9a-f]{16}, natively "),
        ([("particles_native.so", None)], r"^x agents was not compared with a native run$"),
    )
    for files, pattern in changes:
        changed_run(demo, components, files, pattern)
    with tempfile.TemporaryDirectory() as folder:
        result = cli.run([*demo], 1, err=["cannot open image"], environment={"AEE_COMPONENT_DIR": folder})
        cli.one_line(result)


def main():
    options = cli.arguments(__doc__, "demo", "components")
    demo = [options.demo, "--headless", "--script"]
    contexts = ("agents", "particles", "rendering", "harbour", "cave")
    contexts += ("good", "crasher", "spinner", "memory_hog", "thief")
    cli.run([*demo, "--help"], 0, out=[r"\Ausage: aee-demo --headless --script "])
    for wrong in (["--frames"], ["--frames", "59"], ["--frames", "many"], ["--slow"], ["--trace"]):
        cli.one_line(cli.run([*demo] + wrong, 2, err=[r"^demo: "]))
    no_backend = cli.run([*demo], cli.SKIPPED, err=[r"^demo: no isolation back end"], few=True)
    cli.one_line(no_backend)
    level = os.environ.get("AEE_FORCE_LEVEL") or "full"
    seen = cli.on_terminal([*demo, "--fast", "--frames", str(FRAMES)], {})
    if seen.startswith("demo: no isolation"):
        print(f"SKIP: {seen.strip()}")
        sys.exit(cli.SKIPPED)
    if f"contexts at level {level}" not in seen:
        print(f'SKIP: level "{level}" is not offered: the demo takes another')
        sys.exit(cli.SKIPPED)
    good_run(demo, contexts, level)
    json_run(demo, contexts)
    if level != "full":
        return  # what the demo makes of wrong results has nothing to do with levels
    live_run(demo)
    traced_run(demo, contexts)
    bad_runs(demo, options.components)


if __name__ == "__main__":
    main()
