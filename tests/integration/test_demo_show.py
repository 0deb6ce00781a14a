#!/usr/bin/env python3
"""test_demo_show.py: the visual demo without a window: its command line, its report of runs in which
everything is broken, its files."""
import glob
import json
import os
import re
import shutil
import subprocess

import cli_common as cli
import demo_common as demos
from demo_common import HANG, MEMORY, NULL, SMALL, THEFT, contexts, expect, expect_true

OPTIONS = cli.arguments(__doc__, "demo", "sanitize", "odd-components")
DEMO = demos.Demo(OPTIONS.demo)
FAST = not OPTIONS.sanitize  # sanitizers take ten times as long: some is left out

# ---- The command line -----------------------------------------------------------------------------

WRONG = (
    ["--frames"], ["--frames", "0"], ["--frames", "many"], ["--frames", "12x"], ["--frames", "-1"],
    ["--frames", "100000001"], ["--scenes", "0"], ["--scenes", "9"], ["--agents", "99"],
    ["--agents", "100001"], ["--particles", "999"], ["--particles", "1000001"], ["--seed", "-1"],
    ["--seed", "1000000001"], ["--seed", "99999999999999999999"], ["--capture-every", "0"],
    ["--size", "959x540"], ["--size", "960x539"], ["--size", "1280"], ["--size", "1280x720x"],
    ["--size", "7681x4320"], ["--size"], ["--script"], ["--capture"], ["--record"], ["--json"],
    ["--trace"], ["--mods"], ["--seed"], ["--capture-every"], ["--slow"], ["frames"],
)


def command_line():
    listed = cli.run([OPTIONS.demo, "--help"], 0, out=[r"\Ausage: aee-demo \[options\]"]).stdout
    known = {"--monkey", "--fast", "--compare-native", "--headless"} | {words[0] for words in WRONG}
    expect("options in --help that have no test here",
           set(re.findall(r"--[a-z-]+", listed)) - known - {"--help"}, set())
    for wrong in WRONG if FAST else WRONG[::4]:
        name = re.escape(wrong[0])
        result = cli.run(DEMO.command(*wrong), 2, err=[rf"^aee-demo: .*{name}\b"])
        cli.one_line(result)


SCRIPTS = (
    ("10 crash-agents\n", 1, r'expected "FRAME: action \[SCENE\]"'),
    ("# a comment\n\n10: crash-agents 1 2\n", 3, "expected"),
    ("x: crash-agents\n", 1, "expected"),
    ("10: explode\n", 1, "there is no such action"),
    ("10: crash-agents 9\n", 1, "there are no more than 8 scenes"),
    ("10: crash-agents 0\n", 1, "scenes are counted from 1"),
    ("10: crash-agents -1\n", 1, "expected"),
    ("-5: thief\n", 1, "expected"),
    ("18446744073709551617: thief\n", 1, "expected"),
    ("10: thief" + 300 * " " + "1 2\n", 1, "expected"),
    ("10: thief\0 1\n", 1, "there is a byte 0"),
    ("10: thief 1\n9: thief 1\n", 2, "frames must not go back"),
    ("1: help\n" * 1025, 1025, "no more than 1024 actions"),
)

MANIFESTS = (
    ("{", "cannot read the manifest"),
    ('{"name": "m"}', "cannot read the manifest"),
    ('{"name": "m", "image": "m.elf", "memory_mb": 0}', "cannot use the manifest"),
    ('{"name": "m", "image": "m.elf", "every_frames": -1}', "cannot use the manifest"),
    ('{"name": "m", "image": "m.elf", "regions": {"stage": "write"}}', "cannot use the manifest"),
    ('{"name": "m", "image": "m.elf", "regions": {"engine": "read"}}', "cannot use the manifest"),
    ('{"name": "m", "image": "m.elf", "memory_mb": 4294967300}', "cannot use the manifest"),
    ('{"name": "m", "image": "m.elf", "every_frames": 4294967297}', "cannot use the manifest"),
    ('{"name": "m", "image": "m.elf", "host_functions": "weather_set"}', "cannot use the manifest"),
    ('{"name": "m", "image": "m.elf", "host_functions": ["%s"]}' % (56 * "w"), "cannot use the manifest"),
    ('{"name": "m", "image": "m.elf", "regions": ["stage"]}', "cannot use the manifest"),
    ('{"name": "m", "image": "m.elf"}', r'cannot open image ".*/m\.elf"'),
)


def refused(pattern, *arguments, environment=None):
    """A file that cannot be used: one line that says which, and 1."""
    command = DEMO.command("--frames", "2", "--scenes", "1", *SMALL, *arguments)
    cli.one_line(cli.run(command, 1, err=[pattern], environment=environment))


def files_that_are_not_there():
    nowhere = DEMO.file("nowhere")
    below = os.path.join(nowhere, "file")
    for text, line, why in SCRIPTS:
        arguments = DEMO.script("wrong.script", text)
        refused(rf"^aee-demo: {re.escape(arguments[1])}:{line}: .*{why}", *arguments)
    refused(r"^aee-demo: cannot read the script \".*nowhere\"", "--script", nowhere)
    refused(r"^aee-demo: cannot read the script ", "--script", DEMO.folder.name)
    refused(r"^aee-demo: cannot open the mods' directory \".*nowhere\"", "--mods", nowhere)
    mods = DEMO.file("mods")
    os.mkdir(mods)
    for text, why in MANIFESTS:
        with open(os.path.join(mods, "10-m.json"), "w", encoding="utf-8") as file:
            file.write(text)
        refused(rf"^aee-demo: {why}", "--mods", mods)
    refused(r'^aee-demo: cannot open image ".*nowhere', environment={"AEE_COMPONENT_DIR": nowhere})
    refused(r"^aee-demo: cannot write the report to ", "--json", below)
    refused(r"^aee-demo: cannot write the report to ", "--json", "/dev/full")
    with open("/dev/full", "wb") as full:
        short = DEMO.script("short.script", "1: close-scene 1\n")  # so that it is all written at the end
        command = DEMO.command("--frames", "2", "--scenes", "1", "--json", "-", *SMALL, *short)
        result = subprocess.run(command, check=False, text=True, stdout=full, stderr=subprocess.PIPE)
    expect("a report to a full device", (result.returncode, result.stderr),
           (1, 'aee-demo: cannot write the report to "-"\n'))
    refused(r"^aee-demo: .*cannot write .*nowhere/file", "--record", below)
    refused(r"^aee-demo: .*cannot write /dev/full: No space left", "--record", "/dev/full")
    refused(r"^aee-demo: .*--capture", "--capture", below)
    refused(r"^aee-demo: .*cannot write .*: Not a directory", "--capture", OPTIONS.demo,
            "--capture-every", "1")
    refused(r"^aee-demo: cannot start a trace: .*nowhere/file", "--trace", below)
    no_backend = cli.run(DEMO.command(), cli.SKIPPED, err=["aee doctor"], few=True)
    cli.one_line(no_backend)


# ---- Everything is broken -------------------------------------------------------------------------

FRAMES = 300
OFFENCES = """# the third scene is there only for a while
10: crash-agents 1
12: crash-particles 2
14: crash-rendering 1
20: hang-mod 1
26: memory-bomb 1
32: thief 1
40: kill-scene 2
50: pause 2
80: pause 2
90: add-scene
95: crash-agents 3
100: select-next
101: crash-particles        # of the second scene, which is selected now
110: freeze
115: step
116: step
120: freeze
130: close-scene 3
260: roll-back 1
"""
STOOD_STILL = 8  # frames: from 110 to 119, but for two steps
PAUSED = 30
PLAYED = 259 - STOOD_STILL  # when the first scene goes back
WENT_TO = 60  # the newest checkpoint, one in 30 frames, that is 180 frames old
FIRST_AT_END = WENT_TO + FRAMES - 259
SECOND_AT_END = FRAMES - STOOD_STILL - PAUSED

# Scene and context: cause, crashes, restarts. Those of the second scene restart with its core, too.
OFFENDERS = {
    ("Harbour", "agents"): (NULL, 1, 1),
    ("Harbour", "rendering"): (NULL, 1, 1),
    ("Harbour", "weather"): (HANG, 1, 1),
    ("Harbour", "scoreboard"): (MEMORY, 1, 1),
    ("Harbour", "thief"): (THEFT, 3, 3),
    ("Cave", "core"): (NULL, 1, 1),
    ("Cave", "particles"): (NULL, 2, 3),
}


def called_every():
    """Of the mods: in which frames they are called, by their manifests."""
    every = {}
    for path in glob.glob(os.path.join(os.path.dirname(OPTIONS.demo), "mods", "*.json")):
        with open(path, encoding="utf-8") as file:
            manifest = json.load(file)
        every[manifest["name"]] = manifest["every_frames"]
    return every


def due(scene, every):
    """How often such a context was to be called."""
    if every == 0:
        return 0
    if scene == "Cave":
        return SECOND_AT_END // every
    return PLAYED // every + FIRST_AT_END // every - WENT_TO // every


def check_context(scene, context, every):
    where = f"{context['name']} of {scene}"
    cause, crashes, restarts = OFFENDERS.get((scene, context["name"]), ("", 0, int(scene == "Cave")))
    expect(f"crashes and restarts of {where}", (context["crashes"], context["restarts"]), (crashes, restarts))
    expect(f"offences of {where}", context["broken"], crashes)
    expect_true(f"cause of {where}: {context['cause']!r}", re.match(cause + ("" if cause else r"\Z"), context["cause"]))
    expect(f"state of {where}", context["state"], "ready")
    expect(f"level of {where}", context["level"], demos.LEVEL)
    calls = due(scene, every)
    found = tuple(context[f"frames_{what}"] for what in ("due", "called", "failed"))
    expect(f"calls of {where}: due, made, failed", found, (calls, calls, 0))


def from_checkpoints(events):
    """Nobody is initialised again: from its image, a component would not be what it was."""
    texts = [event["text"] for event in events]
    expect("restarts from images", [text for text in texts if "from its image" in text], [])
    expect_true("restarts", any("from a checkpoint" in text for text in texts))


def check_events(events):
    """Offences in their order; what a scene that is closed did is only there."""
    bad = [(event["frame"], event["text"]) for event in events if event["bad"]]
    wanted = [
        (10, f'context "agents Harbour": {NULL}'), (12, f'context "particles Cave": {NULL}'),
        (14, f'context "rendering Harbour": {NULL}'), (20, f'context "weather Harbour": {HANG}'),
        (26, f'context "scoreboard Harbour": {MEMORY}'), (32, f'context "thief Harbour": {THEFT}'),
        (32, f'context "thief Harbour": {THEFT}'), (32, f'context "thief Harbour": {THEFT}'),
        (40, "Cave fell with its core"), (40, f'context "core Cave": {NULL}'),
        (95, f'context "agents Forest": {NULL}'), (101, f'context "particles Cave": {NULL}'),
    ]
    expect("frames of offences", [frame for frame, _ in bad], [frame for frame, _ in wanted])
    for (_, text), (_, pattern) in zip(bad, wanted):
        expect_true(f"event {text!r} instead of {pattern!r}", re.match(pattern, text))
    said = {event["text"]: event["frame"] for event in events if not event["bad"]}
    for text, frame in (("Cave is paused", 50), ("Cave goes on", 80), ("Forest is closed", 130),
                        ("Harbour goes back 3 s", 260)):
        expect(f"frame of {text!r}", said.get(text), frame)


def everything_is_broken():
    script = DEMO.script("offences.script", OFFENCES)
    report = DEMO.play("--frames", str(FRAMES), *script)
    expect("frames, reads of the thief, level", (report["frames"], report["stolen"], report["level"]),
           (FRAMES, 0, demos.LEVEL))
    scenes = [(scene["name"], scene["frame"], scene["paused"]) for scene in report["scenes"]]
    expect("scenes", scenes, [("Harbour", FIRST_AT_END, False), ("Cave", SECOND_AT_END, False)])
    every = called_every()
    expect_true("mods", len(every) >= 5)
    for scene in report["scenes"]:
        names = [context["name"] for context in scene["contexts"]]
        expect(f"contexts of {scene['name']}", sorted(names),
               sorted(["core", "agents", "particles", "rendering", *every]))
        for context in scene["contexts"]:
            check_context(scene["name"], context, every.get(context["name"], 1))
    check_events(report["events"])
    from_checkpoints(report["events"])
    if FAST:
        again = DEMO.play("--frames", str(FRAMES), *script)
        expect("the same run's state", again["state"], report["state"])
        expect("the same run's boards", [scene["board"] for scene in again["scenes"]],
               [scene["board"] for scene in report["scenes"]])


def too_often():
    """One that crashes too often is in quarantine, alone; breaking it once more lets it out."""
    text = "".join(f"{frame}: crash-particles 2\n" for frame in range(10, 49, 3))
    report = DEMO.play("--frames", "60", *DEMO.script("often.script", text))
    states = {name: context["state"] for name, context in contexts(report, "Cave").items()}
    expect("those in quarantine", [name for name in states if states[name] != "ready"], ["particles"])
    particles = contexts(report, "Cave")["particles"]
    expect("crashes and restarts", (particles["crashes"], particles["restarts"]), (13, 12))
    expect_true("events", any("in quarantine after 13 crashes" in event["text"] for event in report["events"]))
    for name, context in contexts(report, "Harbour").items():
        expect(f"failed calls of {name}", context["frames_failed"], 0)
    report = DEMO.play("--frames", "60", *DEMO.script("out.script", text + "49: crash-particles 2\n"))
    particles = contexts(report, "Cave")["particles"]
    expect("state, crashes", (particles["state"], particles["crashes"]), ("ready", 14))


def at_once():
    """As many times as there are no checkpoints, without a frame in between."""
    report = DEMO.play("--frames", "130", *DEMO.script("once.script", "100: memory-bomb 1\n" * 10))
    from_checkpoints(report["events"])
    scoreboard = contexts(report, "Harbour")["scoreboard"]
    expect("state, crashes", (scoreboard["state"], scoreboard["crashes"]), ("ready", 10))


def odd_mods(folder, *manifests):
    """Mods that are there for tests: each an image's name and more of its manifest."""
    path = DEMO.file(folder)
    os.mkdir(path)
    for image, more in manifests:
        for file in glob.glob(os.path.join(OPTIONS.odd_components, image + "*")):
            if os.path.isfile(file):
                shutil.copy(file, path)
        with open(os.path.join(path, f"{len(os.listdir(path))}.json"), "w", encoding="utf-8") as file:
            json.dump({"name": "m", "image": image + ".elf", **more}, file)
    return ["--mods", path]


def anew():
    """One that crashes in all the states that it has been in is initialised once more."""
    mods = odd_mods("forgetful", ("forgetful", {}))
    script = DEMO.script("anew.script", "100: memory-bomb 1\n" * 9)
    report = DEMO.play("--frames", "130", *mods, *script)
    texts = [event["text"] for event in report["events"]]
    expect_true(f"restarts: {texts}", any("from its image" in text for text in texts))
    mod = contexts(report, "Harbour")["m"]
    expect("calls, failed calls, crashes", (mod["frames_called"], mod["frames_failed"], mod["crashes"]), (130, 0, 9))


def last_words():
    """What a component says is printable in a report, and does not keep anything out of it."""
    mods = odd_mods("words", ("forgetful", {}))
    report = DEMO.play("--frames", "20", *mods, *DEMO.script("words.script", "10: hang-mod 1\n"))
    words = r".*no caf\?+ is open"
    expect_true("the event", any(re.match(words, event["text"]) for event in report["events"]))
    cause = contexts(report, "Harbour")["m"]["cause"]
    expect_true(f"cause: {cause!r}", re.match(words, cause))


def more_than_there_are():
    """The engine writes to no more agents than their region holds, whatever a component says."""
    folder = DEMO.file("components")
    os.mkdir(folder)
    for path in glob.glob(os.path.join(os.path.dirname(OPTIONS.demo), "..", "guest", "*.elf")):
        os.symlink(os.path.abspath(path), os.path.join(folder, os.path.basename(path)))
    os.remove(os.path.join(folder, "agents.elf"))
    os.symlink(os.path.join(OPTIONS.odd_components, "overstated.elf"), os.path.join(folder, "agents.elf"))
    path = DEMO.file("overstated.json")
    cli.run(DEMO.command("--json", path, "--frames", "10", *SMALL), 0,
            environment={**os.environ, "AEE_COMPONENT_DIR": folder})
    with open(path, encoding="utf-8") as file:
        report = json.load(file)
    for name, context in contexts(report, "Harbour").items():
        reads = name in ("rendering", "boss")  # and must look after themselves
        expect_true(f"calls of {name}", reads or context["frames_called"] == context["frames_due"])


def mods_that_do_not_fit():
    refused(r'^aee-demo: cannot use the mod "m": mod_tick\(\) is declared as "i:d", not as "i:i"$',
            *odd_mods("unfit", ("unfit", {})))
    refused(r'^aee-demo: cannot load the mods: "m" and "n" both ask for "weather_set"$',
            *odd_mods("two", ("forgetful", {"host_functions": ["weather_set"]}),
                      ("uninvited", {"name": "n", "host_functions": ["boss_set", "weather_set"]})))


# ---- The same again -------------------------------------------------------------------------------


def by_seed():
    states = [DEMO.play("--frames", "40", "--seed", seed)["state"] for seed in ("7", "7", "8")]
    expect("the same seed's state", states[1], states[0])
    expect_true(f"another seed gave the same state: {states[2]}", states[2] != states[0])


def back_is_back():
    """What follows after going back is what would have followed without."""
    script = DEMO.script("back.script", "200: crash-rendering\n230: roll-back\n")
    back = DEMO.play("--scenes", "1", "--frames", "250", *script)
    plain = DEMO.play("--scenes", "1", "--frames", str(back["scenes"][0]["frame"]))
    expect("frame", back["scenes"][0]["frame"], 30 + 21)
    expect("state", back["state"], plain["state"])
    for what in ("caught", "wind", "rain", "board"):
        expect(what, back["scenes"][0][what], plain["scenes"][0][what])


def back_and_back():
    """The second time, it goes back further: the way to older checkpoints is not lost by going back."""
    script = DEMO.script("twice.script", "245: roll-back\n280: roll-back\n")
    report = DEMO.play("--scenes", "1", "--frames", "280", *script)
    expect("frame", report["scenes"][0]["frame"], 30 + 1)


# ---- Files ----------------------------------------------------------------------------------------


def film():
    path = DEMO.file("film.y4m")
    DEMO.play("--frames", "3", "--scenes", "1", "--size", "961x541", "--record", path)
    with open(path, "rb") as file:
        header = file.readline()
        rest = file.read()
    expect_true(f"header: {header!r}", re.fullmatch(rb"YUV4MPEG2 W961 H541 F60:1( .*)?\n", header))
    expect_true("4:2:0 or nothing is said", b" C420" in header)
    frame = b"FRAME\n"
    size = len(frame) + 961 * 541 + 2 * 481 * 271
    expect("size of the film", len(rest), 3 * size)
    expect("starts of frames", {rest[at : at + len(frame)] for at in range(0, len(rest), size)}, {frame})
    luma = rest[len(frame) : len(frame) + 961 * 541]
    expect_true("it is not of one colour", len(set(luma)) > 20)


def trace():
    path = DEMO.file("trace.json")
    DEMO.play("--frames", "12", "--trace", path, *DEMO.script("trace.script", "5: crash-agents 1\n"))
    with open(path, encoding="utf-8") as file:
        events = json.load(file)["traceEvents"]
    tracks = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    expect("frames", sum(event.get("cat") == "frame" for event in events), 12)
    for scene in ("Harbour", "Cave"):
        for name in ("agents", "particles", "rendering"):
            calls = [event for event in events if event.get("cat") == "submitted call" and
                     tracks[event["tid"]] == f"{name} {scene} lane 0"]
            expect(f"calls of {name} of {scene}", len(calls), 12)


def standard_output():
    result = cli.run(DEMO.command("--frames", "5", "--json", "-", *SMALL), 0)
    report = json.loads(result.stdout)
    expect("frames, and what is on stderr", (report["frames"], result.stderr), (5, ""))
    plain = cli.run(DEMO.command("--frames", "5", *SMALL), 0, out=[
        rf"\Aaee-demo: 5 frames at level {demos.LEVEL}, \d+ late; \d+ calls, 0 crashes, 0 restarts\n\Z"])
    expect("what is on stderr", plain.stderr, "")


# ---- Without a display ----------------------------------------------------------------------------


def without_display(folder, *arguments):
    """Neither X nor Wayland, as `make demo` on a server; it must end by itself."""
    environment = {key: value for key, value in os.environ.items()
                   if key not in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")}
    os.mkdir(folder)
    command = [os.path.abspath(OPTIONS.demo), "--fast", "--agents", "500", "--particles", "3000", *arguments]
    print("+", " ".join(command), flush=True)
    result = subprocess.run(command, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            stdin=subprocess.DEVNULL, env=environment, cwd=folder)
    if result.returncode != 0:
        cli.fail("without a display", result)
    return result


def tour():
    """Everything is broken once, and there are pictures of it."""
    folder = DEMO.file("tour")
    result = without_display(folder, "--json", "tour.json")
    expect_true("what it says", result.stdout.startswith(
        "aee-demo: no display: a tour of 600 frames, in pictures in aee-demo-frames\n"))
    with open(os.path.join(folder, "tour.json"), encoding="utf-8") as file:
        report = json.load(file)
    expect("frames and reads of the thief", (report["frames"], report["stolen"]), (600, 0))
    pictures = sorted(os.listdir(os.path.join(folder, "aee-demo-frames")))
    expect("pictures", pictures, [f"frame-{frame:06d}.png" for frame in range(60, 601, 60)])
    broken = {context["name"] for scene in report["scenes"] for context in scene["contexts"] if context["broken"]}
    expect("what was broken", broken, {name for _, name in OFFENDERS})
    expect("who is not ready", [context["name"] for scene in report["scenes"] for context in scene["contexts"]
                                if context["state"] != "ready"], [])
    expect_true("a third scene", len(report["scenes"]) == 3)
    result = without_display(DEMO.file("short"), "--json", "-", "--frames", "2")
    expect("frames", json.loads(result.stdout)["frames"], 2)


# ---- The same code natively -----------------------------------------------------------------------


def compare(*arguments):
    command = [OPTIONS.demo, "--compare-native", "--frames", "120", *SMALL, *arguments]
    result = subprocess.run(command, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if result.returncode not in (0, 1) or "the worlds are the same, bit by bit" not in result.stdout:
        cli.fail("--compare-native", result)
    return result


def native():
    """How much it takes is for a machine that has nothing else to do; what comes out is the same."""
    result = compare()
    rows = ("core", "agents", "particles", "rendering", "weather", "boss", "scoreboard", "painter", "frame")
    for name in rows:
        expect_true(f"row of {name}", re.search(rf"^{name} +\d+\.\d+ +\d+\.\d+ +\d+\.\d+$", result.stdout, re.M))
    verdict = "met" if result.returncode == 0 else "missed"
    expect_true(f"verdict: {verdict}", result.stdout.endswith(f" of native, at most 1.1: {verdict}\n"))
    # Without contexts, a mod has the same stage from its beginning on, and may ask for no more.
    compare(*odd_mods("uninvited", ("uninvited", {"regions": {"stage": "read"}})))


def main():
    DEMO.skip_unless_there()
    everything_is_broken()
    trace()
    standard_output()
    if FAST:
        by_seed()
        too_often()
        at_once()
        anew()
        last_words()
        native()
    if demos.LEVEL != "full":
        return  # what the demo makes of its arguments has nothing to do with levels
    command_line()
    files_that_are_not_there()
    mods_that_do_not_fit()
    more_than_there_are()
    film()
    if FAST:
        back_is_back()
        back_and_back()
        tour()


if __name__ == "__main__":
    main()
