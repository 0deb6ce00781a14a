#!/usr/bin/env python3
"""test_demo_monkey.py: a minute of the demo with random actions: it ends well, nothing is stolen, all
contexts are in a state from which they come back, and the process does not grow without bound."""
import json
import os
import subprocess
import time

import cli_common as cli
import demo_common as demos
from demo_common import SMALL, expect, expect_true

OPTIONS = cli.arguments(__doc__, "demo", "sanitize")
DEMO = demos.Demo(OPTIONS.demo)
FRAMES = 300 if OPTIONS.sanitize else 1200 if demos.LEVEL == "container" else 3600
SEEDS = ("1", "2")

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


def run(seed):
    """The report of a run, and the most of everything that was seen meanwhile."""
    report = DEMO.file("report.json")
    command = DEMO.command("--monkey", "--frames", str(FRAMES), "--seed", seed, "--json", report, *SMALL)
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
    print(said, f"at most {most[0]} descriptors, {most[1]} threads, {most[2] >> 20} MiB", sep="")
    with open(report, encoding="utf-8") as file:
        return json.load(file), most


def check(report, most):
    expect("frames and reads of the thief", (report["frames"], report["stolen"]), (FRAMES, 0))
    expect_true("scenes", 1 <= len(report["scenes"]) <= 8)
    crashes = 0
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
            crashes += context["crashes"]
            if context["crashes"] == context["restarts"] == 0:
                expect(f"failed calls of {where}", context["frames_failed"], 0)
    expect_true("somebody crashed", crashes > 0)
    expect_true(f"descriptors: {most[0]}", 0 < most[0] <= MOST_DESCRIPTORS)
    expect_true(f"threads: {most[1]}", 0 < most[1] <= MOST_THREADS)
    expect_true(f"memory: {most[2]}", OPTIONS.sanitize or 0 < most[2] <= MOST_MEMORY)


def main():
    DEMO.skip_unless_there()
    for seed in SEEDS:
        check(*run(seed))


if __name__ == "__main__":
    main()
