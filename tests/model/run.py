#!/usr/bin/env python3
"""run.py: searches every state of the models in this folder with spin.

Each model must hold in all its bounds, and each of its mutations, a switch that breaks the protocol
on purpose, must be found out. A statement that no search of a model reaches needs a comment on its
line: `unreached: reason`, or `unreached in PROCTYPE: reason` for an inline that others reach.

    run.py [--only MODEL] [--keep DIRECTORY]
"""
import argparse
import collections
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SKIPPED = 77
DEPTH = 1000000
MEMORY_MB = 2048
SECONDS = 120

SAFETY = "safety"  # assertions, and nobody waits for ever
LIVENESS = "liveness"  # the model's formula, every process being fair

# What a model is searched with: (switches, kind). Then its mutations, in the same form.
MODELS = {
    "ring": (
        [("", SAFETY), ("SLOTS=3", SAFETY), ("HOSTILE", SAFETY), ("HOSTILE SLOTS=3", SAFETY), ("", LIVENESS)],
        [
            ("PUSH_SEQ_FIRST", SAFETY),
            ("REPLY_SEQ_FIRST", SAFETY),
            ("FULL_LATE", SAFETY),
            ("HOSTILE EMPTY_POP", SAFETY),
            ("HOSTILE INDEX_FROM_GUEST", SAFETY),
            ("HOSTILE FETCH_TWICE", SAFETY),
        ],
    ),
    "sleep": (
        [("", SAFETY), ("CALLS=5", SAFETY), ("ENDS", SAFETY), ("", LIVENESS), ("ENDS", LIVENESS)],
        [
            ("NO_GUEST_FENCE", SAFETY),
            ("NO_GUEST_CHECK", SAFETY),
            ("NO_CALLER_FENCE", SAFETY),
            ("NO_STATE_CHECK", SAFETY),
            ("NO_REPLY_CHECK", SAFETY),
            ("LATE_WAKER", SAFETY),
            ("PARKED_RELAXED", SAFETY),
            ("LOOK_THEN_PARK", SAFETY),
            ("EARLY_PARKED", SAFETY),
            ("NO_TAKE_OVER", LIVENESS),
        ],
    ),
    "seats": (
        [("", SAFETY), ("REPLACED=2 CALLS_SECOND=0", SAFETY)],
        [
            ("NO_RECHECK", SAFETY),
            ("GIVE_RELAXED", SAFETY),
            ("GIVE_WITHOUT_LOOK", SAFETY),
            ("RECHECK_WITHOUT_LOOK", SAFETY),
            ("LOOK_FIRST", SAFETY),
            ("LATE_ZOMBIE", SAFETY),
            ("BLIND_TAKE", SAFETY),
            ("NO_OWN REPLACED=2 CALLS_SECOND=0", SAFETY),
        ],
    ),
    "wait": (
        [("", SAFETY)],
        [
            ("NO_WAKE_AT_GIVE", SAFETY),
            ("NO_SECOND_TRY", SAFETY),
            ("LATE_SEEN", SAFETY),
            ("WAKE_BEFORE_GIVE", SAFETY),
        ],
    ),
    "attention": (
        [("", SAFETY), ("EVENTS=3", SAFETY)],
        [
            ("TRY_FIRST", SAFETY),
            ("GIVE_RELAXED", SAFETY),
            ("LOOK_FIRST", SAFETY),
            ("CLEAR_LATE", SAFETY),
            ("CLEAR_RELAXED", SAFETY),
            ("ATTENTION_RELAXED", SAFETY),
        ],
    ),
    "kick": (
        [("", SAFETY), ("FAILS", SAFETY), ("TIMER", SAFETY)],
        [
            ("DROP_PENDING", SAFETY),
            ("NO_SIGNAL", SAFETY),
            ("NO_CONSUME", SAFETY),
            ("CONSUME_FIRST", SAFETY),
            ("FORGET_RUNNING", SAFETY),
            ("NO_SIGNALLED", SAFETY),
            ("TIMER NO_STOP", SAFETY),
            ("TIMER NO_TIMER_CONSUME", SAFETY),
            ("TIMER LAST_TIME", SAFETY),
            ("TIMER STALE_TIMER", SAFETY),
        ],
    ),
}

Search = collections.namedtuple("Search", "model switches kind broken")
Found = collections.namedtuple("Found", "search problem states depth seconds unreached")


def run(command, folder):
    return subprocess.run(
        command, cwd=folder, check=False, text=True, timeout=SECONDS,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )


def build(search, folder, compiler):
    """Generates and compiles the verifier; what went wrong, or ""."""
    for name in os.listdir(HERE):
        if name.endswith(".pml"):
            shutil.copy(os.path.join(HERE, name), folder)
    switches = [f"-D{switch}" for switch in search.switches.split()]
    generated = run(["spin", "-a"] + switches + [search.model + ".pml"], folder)
    if generated.returncode != 0 or "Error" in generated.stdout:
        return "spin: " + generated.stdout
    kind = ["-DSAFETY", "-DNOCLAIM"] if search.kind == SAFETY else ["-DNFAIR=3"]
    # A mutation is found at once; there the compiler's time is what counts.
    options = ["-O0" if search.broken else "-O2", "-w", f"-DMEMLIM={MEMORY_MB}"] + kind
    compiled = run([compiler] + options + ["-o", "pan", "pan.c"], folder)
    return "" if compiled.returncode == 0 else compiled.stdout


def unreached_in(report):
    """{proctype: {(file, line)}} of a complete search's report."""
    found = {}
    proctype = None
    for line in report.split("\n"):
        begins = re.match(r"unreached in (\w+) (\w+)", line)
        state = re.match(r"\t(\S+\.pml):(\d+), state \d+,", line)
        if begins:
            proctype = begins.group(2) if begins.group(1) in ("proctype", "init") else None
            if proctype:
                found[proctype] = set()
        elif state and proctype:
            found[proctype].add((state.group(1), int(state.group(2))))
    return found


def judge(search, report):
    """What is wrong with the verifier's report, or ""."""
    errors = re.search(r"errors: (\d+)", report)
    if not errors:
        return "the verifier gave no verdict:\n" + report
    incomplete = [text for text in ("max search depth too small", "out of memory", "Search not completed")
                  if text in report]
    if search.broken:
        # A depth that was too small or a search cut short may not stand for an error.
        return "" if errors.group(1) != "0" and "wrote" in report else "this mutation was not found out"
    if incomplete:
        return f"the search is not complete: {incomplete[0]}\n{report}"
    return "" if errors.group(1) == "0" else "an error:\n" + report


def trail(search, folder):
    switches = [f"-D{switch}" for switch in search.switches.split()]
    steps = run(["spin", "-t", "-p"] + switches + [search.model + ".pml"], folder)
    return "\n".join(steps.stdout.split("\n")[-80:])


def verify(search, parent, compiler):
    begun = time.monotonic()
    folder = tempfile.mkdtemp(prefix=search.model + "-", dir=parent)
    problem = build(search, folder, compiler)
    if problem:
        return Found(search, problem, 0, 0, 0, {})
    options = [] if search.kind == SAFETY else ["-a", "-f"]
    try:
        report = run(["./pan", f"-m{DEPTH}", "-w20"] + options, folder).stdout
    except subprocess.TimeoutExpired:
        return Found(search, f"no end after {SECONDS} s", 0, 0, SECONDS, {})
    problem = judge(search, report)
    if problem and not search.broken:
        problem += "\n" + trail(search, folder)
    states = re.search(r"(\d+) states, stored", report)
    depth = re.search(r"depth reached (\d+)", report)
    return Found(
        search, problem, int(states.group(1)) if states else 0, int(depth.group(1)) if depth else 0,
        time.monotonic() - begun, {} if search.broken else unreached_in(report),
    )


def excused(name, line, proctype):
    with open(os.path.join(HERE, name), encoding="utf-8") as file:
        text = file.read().split("\n")[line - 1]
    comment = re.search(r"/\* unreached(?: in (\w+(?:, \w+)*))?: \S", text)
    return bool(comment) and (not comment.group(1) or proctype in comment.group(1).split(", "))


def unreached_problems(results):
    """Statements that no complete search of their model reaches and nobody has excused."""
    per_model = {}
    for found in results:
        for proctype, lines in found.unreached.items():
            known = per_model.setdefault((found.search.model, proctype), set(lines))
            known &= lines
    return [
        f"{name}:{line}: no search of {model} reaches this in {proctype}; say why (unreached: ...)"
        for (model, proctype), lines in sorted(per_model.items())
        for name, line in sorted(lines)
        if not excused(name, line, proctype)
    ]


def searches(only):
    return [
        Search(model, switches, kind, broken)
        for model, (sound, mutations) in MODELS.items() if only in (None, model)
        for broken, checks in ((False, sound), (True, mutations))
        for switches, kind in checks
    ]


def skip(reason):
    print(f"SKIP: {reason}")
    sys.exit(SKIPPED)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", choices=sorted(MODELS))
    parser.add_argument("--cc", default="gcc")
    parser.add_argument("--keep", help="leave the verifiers here")
    options = parser.parse_args()
    if not shutil.which("spin"):
        skip("spin is not installed")
    if not shutil.which(options.cc):
        skip(f"{options.cc} is not installed")
    parent = options.keep or tempfile.mkdtemp(prefix="aee-model-")
    os.makedirs(parent, exist_ok=True)
    jobs = min(len(os.sched_getaffinity(0)), 4)
    try:
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            results = list(pool.map(lambda search: verify(search, parent, options.cc), searches(options.only)))
    finally:
        if not options.keep:
            shutil.rmtree(parent)
    for found in results:
        what = f"{found.search.model} {found.search.switches or '-'} {found.search.kind}"
        verdict = "FAILED" if found.problem else "found out" if found.search.broken else "holds"
        print(f"{what:44} {verdict:9} {found.states:9} states, depth {found.depth:6}, {found.seconds:5.1f} s")
    problems = [f"{found.search}: {found.problem}" for found in results if found.problem]
    problems += unreached_problems(results)
    for problem in problems:
        print(problem)
    print(f"{len(problems)} problem(s) in {len(results)} searches")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
