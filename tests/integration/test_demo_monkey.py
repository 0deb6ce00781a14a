#!/usr/bin/env python3
"""test_demo_monkey.py: a minute of the demo with random actions: it ends well, nothing is stolen, all
contexts are in a state from which they come back, and the process does not grow without bound."""
import json
import os
import re
import subprocess
import time

import cli_common as cli
import demo_common as demos
from demo_common import expect, expect_true

OPTIONS = cli.arguments(__doc__, "demo", "sanitize")
DEMO = demos.Demo(OPTIONS.demo)
# A minute of frames, and some with another seed; less where it only takes longer.
FRAMES = (("1", 3600), ("2", 600)) if demos.LEVEL == "full" else (("1", 1200), ("2", 600))
FRAMES = (("1", 300), ("2", 200)) if OPTIONS.sanitize else FRAMES
TINY = ["--agents", "500", "--particles", "3000", "--size", "960x540"]

# Eight scenes have 72 contexts. Of each: machine, vCPU and memory, or a process and its sockets; and a
# few that wait in the pool.
MOST_DESCRIPTORS = 1000
MOST_THREADS = 200
MOST_MEMORY = 1 << 30  # of the process; sanitizers keep what was freed


def look_at(process):
    """Descriptors, threads and resident memory of it and its children, or None when it is gone."""
    folder = f"/proc/{process}"
    try:
        descriptors = len(os.listdir(f"{folder}/fd"))
        threads = len(os.listdir(f"{folder}/task"))
        with open(f"{folder}/statm", encoding="ascii") as file:
            memory = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return None
    return descriptors, threads, memory


def run(seed, frames):
    """The report of a run, and the most of everything that was seen meanwhile."""
    report = DEMO.file("report.json")
    command = DEMO.command("--monkey", "--frames", str(frames), "--seed", seed, "--json", report, *TINY)
    print("+", " ".join(command), flush=True)
    most = (0, 0, 0)
    with subprocess.Popen(command, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as process:
        while process.poll() is None:
            seen = look_at(process.pid)
            if seen:
                most = tuple(max(pair) for pair in zip(most, seen))
            time.sleep(0.05)
        said = process.stdout.read()
    if process.returncode != 0:
        cli.fail(f"seed {seed}: status {process.returncode}:\n{said}")
    summary = re.search(r"^aee-demo: (\d+) frames at level (\w+), .* (\d+) crashes", said)
    expect(f"frames and level of {said!r}", summary and summary.groups()[:2], (str(frames), demos.LEVEL))
    expect_true("somebody crashed", int(summary[3]) > frames / 40)
    print(said, f"at most {most[0]} descriptors, {most[1]} threads, {most[2] >> 20} MiB", sep="")
    with open(report, encoding="utf-8") as file:
        return json.load(file), most


def check(report, most):
    expect("reads of the thief that came back", report["stolen"], 0)
    expect_true("scenes", 1 <= len(report["scenes"]) <= 8)
    for scene in report["scenes"]:
        for context in scene["contexts"]:
            where = f"{context['name']} of {scene['name']}"
            allowed = ("paused",) if scene["paused"] else ("ready", "quarantined")
            if scene["contexts"][0]["state"] == "quarantined":
                allowed += ("stopped",)  # with its core
            expect_true(f"state of {where}: {context['state']}", context["state"] in allowed)
            calls = context["frames_called"] + context["frames_failed"]
            expect(f"calls of {where}, made and failed", calls, context["frames_due"])
            expect_true(f"{where} crashed by itself: {context['cause']}", context["crashes"] == context["broken"])
            if context["crashes"] == context["restarts"] == 0:
                expect(f"failed calls of {where}", context["frames_failed"], 0)
    expect_true(f"descriptors: {most[0]}", 0 < most[0] <= MOST_DESCRIPTORS)
    expect_true(f"threads: {most[1]}", 0 < most[1] <= MOST_THREADS)
    expect_true(f"memory: {most[2]}", OPTIONS.sanitize or 0 < most[2] <= MOST_MEMORY)


def main():
    DEMO.skip_unless_there()
    for seed, frames in FRAMES:
        check(*run(seed, frames))


if __name__ == "__main__":
    main()
