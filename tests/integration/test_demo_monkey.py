#!/usr/bin/env python3
"""test_demo_monkey.py: a minute of the demo with random actions: it ends well, nothing is stolen, all
contexts are in a state from which they come back, and the process does not grow without bound. With
--frames: so many frames at 60 Hz (scripts/soak.sh)."""
import argparse
import json
import os
import re
import subprocess
import time

import cli_common as cli
import demo_common as demos
from demo_common import expect, expect_true



def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--demo", required=True)
    parser.add_argument("--sanitize", default="")
    parser.add_argument("--frames", type=int)
    return parser.parse_args()


OPTIONS = parse()
DEMO = demos.Demo(OPTIONS.demo)
# A minute of frames, and some with another seed; less where it only takes longer.
FRAMES = (("1", 3600), ("2", 600)) if demos.LEVEL == "full" else (("1", 1200), ("2", 600))
FRAMES = (("1", 300), ("2", 200)) if OPTIONS.sanitize else FRAMES
FRAMES = (("1", OPTIONS.frames),) if OPTIONS.frames else FRAMES
SIZE = demos.SMALL if OPTIONS.frames else ["--agents", "500", "--particles", "3000", "--size", "960x540"]

# Eight scenes have 72 contexts. Of each: machine, vCPU and memory, or a process and its sockets; and a
# few that wait in the pool.
MOST_DESCRIPTORS = 1000
MOST_THREADS = 200
MOST_MEMORY = 1 << 30  # of the process; sanitizers keep what was freed


def look_at(process):
    """Its descriptors, threads and resident memory, or None when it is gone."""
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
    """The report of a run, and what was seen of the process meanwhile."""
    report = DEMO.file("report.json")
    command = DEMO.command("--monkey", "--frames", str(frames), "--seed", seed, "--json", report, *SIZE)
    if OPTIONS.frames:
        command.remove("--fast")
    print("+", " ".join(command), flush=True)
    samples = []
    with subprocess.Popen(command, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as process:
        while process.poll() is None:
            samples.append(look_at(process.pid))
            time.sleep(0.05)
        said = process.stdout.read()
    if process.returncode != 0:
        cli.fail(f"seed {seed}: status {process.returncode}:\n{said}")
    summary = re.search(r"^aee-demo: (\d+) frames at level (\w+), .* (\d+) crashes", said)
    expect(f"frames and level of {said!r}", summary and summary.groups()[:2], (str(frames), demos.LEVEL))
    expect_true("somebody crashed", int(summary[3]) > frames / 40)
    print(said, end="")
    with open(report, encoding="utf-8") as file:
        return json.load(file), [sample for sample in samples if sample]


def check(report):
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


def check_growth(samples):
    half = len(samples) // 2
    first, second = ([max(kind) for kind in zip(*part)] for part in (samples[:half], samples[half:]))
    for descriptors, threads, memory in (first, second):
        print(f"at most {descriptors} descriptors, {threads} threads, {memory >> 20} MiB")
        expect_true("descriptors", 0 < descriptors <= MOST_DESCRIPTORS)
        expect_true("threads", 0 < threads <= MOST_THREADS)
        expect_true("memory", OPTIONS.sanitize or 0 < memory <= MOST_MEMORY)
    if OPTIONS.frames and OPTIONS.frames >= 10000:  # all that there can be has been there in each half
        expect_true("descriptors in both halves", second[0] <= first[0] + 50)
        expect_true("memory in both halves", second[2] <= first[2] + (64 << 20))


def main():
    DEMO.skip_unless_there()
    for seed, frames in FRAMES:
        report, samples = run(seed, frames)
        check(report)
        check_growth(samples)


if __name__ == "__main__":
    main()
