#!/usr/bin/env python3
"""test_cli.py: the verbs of aee, their exit codes and what they print."""
import json
import os
import sys
import tempfile

import cli_common as cli

UNFORCED = {"AEE_FORCE_LEVEL": ""}
PLAIN = {"LC_ALL": "C", "NO_COLOR": "", "AEE_FORCE_LEVEL": ""}


def usage(aee, components):
    minimal = os.path.join(components, "minimal.elf")
    add = [aee, "run", minimal, "--call", "add"]
    wrong = [
        [aee],
        [aee, "frobnicate"],
        [aee, "a\033[31mb"],
        [aee, "help", "frobnicate"],
        [aee, "version", "now"],
        [aee, "doctor", "--jsn"],
        [aee, "crash"],
        [aee, "run"],
        [aee, "run", minimal],
        [aee, "run", minimal, "--call"],
        add + ["1", "two"],
        add + ["1", "99999999999999999999"],
        add + ["1", "2", "3", "4", "5", "6", "7"],
        add + ["1", "2", "--frames", "0"],
        add + ["1", "2", "--budget", "soon"],
        add + ["1", "2", "--memory", "-1"],
        add + ["1", "2", "--mode", "fast"],
        add + ["1", "2", "--returns", "text"],
        add + ["1", "2", "--save"],
        add + ["1", "{frame}"],
        add + ["1", "2", "--no-pace"],
        add + ["1", "2", "--trace"],
        add + ["1", "2", "--frobnicate"],
        [aee, "gdb"],
        [aee, "gdb", minimal],
        [aee, "gdb", minimal, "add", "two"],
        [aee, "gdb", minimal, "add", "1", "2", "3", "4", "5", "6", "7"],
        [aee, "gdb", minimal, "add", "--frobnicate"],
        [aee, "gdb", minimal, "add", "--listen"],
        [aee, "gdb", minimal, "add", "--wait", "--", "-batch"],
        [aee, "gdb", minimal, "add", "--listen", "somewhere"],
    ]
    for command in wrong:
        result = cli.run(command, 2, err=[r"^aee"])
        cli.one_line(result)
        if "\033" in result.stderr:
            cli.fail("a name reached the terminal as it was", result)


def helps(aee):
    listing = cli.run([aee, "help"], 0, out=[r"^  run ", r"^exit codes:", r"^  4  "]).stdout
    if cli.run([aee, "--help"], 0).stdout != listing:
        cli.fail("--help and help differ")
    for verb in ("doctor", "run", "gdb", "test", "bench", "crash", "version", "help"):
        text = cli.run([aee, "help", verb], 0, out=[rf"^usage: aee {verb}"]).stdout
        if cli.run([aee, verb, "--help"], 0).stdout != text:
            cli.fail(f"{verb} --help and help {verb} differ")
    cli.run([aee, "version"], 0, out=[r"\Aaee \d+\.\d+\.\d+\n\Z"])
    cli.run([aee, "--version"], 0, out=[r"\Aaee \d"])


def check_types(value, types, what):
    """`types` mirrors the document: a type, a tuple of types, a list with one element, or a dict."""
    if isinstance(types, dict):
        if not isinstance(value, dict) or sorted(value) != sorted(types):
            cli.fail(f"{what} has fields {sorted(value)}, not {sorted(types)}")
        for name, inner in types.items():
            check_types(value[name], inner, f"{what}.{name}")
    elif isinstance(types, list):
        for i, element in enumerate(value):
            check_types(element, types[0], f"{what}[{i}]")
    elif not isinstance(value, types):
        cli.fail(f"{what} is {value!r}, not {types}")


def doctor_json(aee, status, **options):
    report = json.loads(cli.run([aee, "doctor", "--json"], status, **options).stdout)
    backend = {"name": str, "level": str, "usable": bool, "in_force": bool, "why": str}
    fact = {"name": str, "value": str, "how": str, "usable": bool}
    check_types(
        report,
        {
            "version": str,
            "level": (str, type(None)),
            "forced_level": (str, type(None)),
            "use_vt_x": bool,
            "use_ept": bool,
            "use_vt_d": bool,
            "backends": [backend],
            "facts": [fact],
        },
        "doctor",
    )
    return report


def doctor(aee):
    report = doctor_json(aee, 0, environment=UNFORCED)
    levels = [backend["level"] for backend in report["backends"]]
    if levels != [level for level in ("full", "container", "process", "none") if level in levels]:
        cli.fail(f"back ends come from the strongest to the weakest: {levels}")
    usable = [backend["level"] for backend in report["backends"] if backend["usable"]]
    in_force = [backend["level"] for backend in report["backends"] if backend["in_force"]]
    if not report["level"] == usable[0] == in_force[0] or len(in_force) != 1 or not report["facts"]:
        cli.fail(f"doctor: {report}")
    if any(bool(backend["why"]) == backend["usable"] for backend in report["backends"]):
        cli.fail(f"what is not usable says why: {report['backends']}")
    rows = [rf"^  [-+x] {fact['name']} +\S" for fact in report["facts"]]
    for backend in report["backends"]:
        word = "in force" if backend["in_force"] else "usable" if backend["usable"] else "no"
        rows.append(rf"^  [-+x] {backend['name']} +{word} +\S")
    first = rf"\Alevel {usable[0]} is in force: the strongest that works here\n"
    cli.run([aee, "doctor"], 0, out=[first] + rows, environment=PLAIN)
    fine = cli.run([aee, "doctor"], 0, environment={"LC_ALL": "C.UTF-8"}).stdout
    if "\u2713" not in fine or "\033" in fine:
        cli.fail("UTF-8 marks without colour are expected off a terminal")


def terminal(aee):
    seen = cli.on_terminal([aee, "doctor"], {"TERM": "xterm", **PLAIN})
    if "\033[32m+\033[0m" not in seen:
        cli.fail(f"no colour on a terminal:\n{seen}")
    for environment in ({"TERM": "xterm", "NO_COLOR": "1"}, {"TERM": "dumb", "NO_COLOR": ""}):
        seen = cli.on_terminal([aee, "doctor"], environment)
        if "\033" in seen or "is in force" not in seen:
            cli.fail(f"colour although {environment}:\n{seen!r}")


def no_backend(aee, components):
    report = doctor_json(aee, 4, few=True)
    if report["level"] is not None or not report["backends"][0]["why"]:
        cli.fail(f"doctor without a back end: {report}")
    cli.run([aee, "doctor"], 4, out=[r"\Ano level is in force\n  \S", r"^advice$"], few=True)
    command = [aee, "run", os.path.join(components, "minimal.elf"), "--call", "add", "1", "2"]
    cli.one_line(cli.run(command, 4, err=[r"^aee run: no isolation back end"], few=True))


def forced(aee, components):
    """Each level by name: engines get it, or nothing."""
    backends = doctor_json(aee, 0, environment=UNFORCED)["backends"]
    add = [aee, "run", os.path.join(components, "minimal.elf"), "--call", "add", "1", "2", "--json"]
    for backend in backends:
        level = backend["level"]
        environment = {**PLAIN, "AEE_FORCE_LEVEL": level}
        status = 0 if backend["usable"] else 4
        report = doctor_json(aee, status, environment=environment)
        found = [other["level"] for other in report["backends"] if other["in_force"]]
        wanted = [level] if backend["usable"] else []
        if report["forced_level"] != level or found != wanted or report["level"] != (wanted + [None])[0]:
            cli.fail(f"doctor with AEE_FORCE_LEVEL={level}: {report}")
        first = rf"\Alevel {level} is in force: AEE_FORCE_LEVEL demands it\n"
        text = cli.run([aee, "doctor"], status, out=[first] if wanted else [], environment=environment)
        if wanted and level != "full" and f"Level {level} " not in text.stdout:
            cli.fail("the advice says what the level keeps from what", text)
        if wanted and json.loads(cli.run(add, 0, environment=environment).stdout)["level"] != level:
            cli.fail(f"run at level {level}")
        if not wanted:
            cli.one_line(cli.run(add, 4, err=[rf"for level {level}"], environment=environment))
    for command in ([aee, "doctor"], [aee, "bench"], add):
        cli.one_line(cli.run(command, 2, err=['AEE_FORCE_LEVEL is "strong"'], environment={"AEE_FORCE_LEVEL": "strong"}))


def traced_calls(path, name):
    with open(path, encoding="utf-8") as file:
        events = json.load(file)["traceEvents"]
    return [event["args"]["result"] for event in events if event["ph"] == "X" and event["name"] == name]


def trace(aee, components, testbed):
    """What ran is in the trace, also when it crashed; a file that cannot be made stops the run."""
    add = [aee, "run", os.path.join(components, "minimal.elf"), "--call", "add", "1", "2"]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "trace.json")
        cli.run(add + ["--frames", "30", "--no-pace", "--trace", path], 0)
        if traced_calls(path, "add") != ["AEE_OK"] * 30:
            cli.fail(f"30 calls gave {traced_calls(path, 'add')}")
        cli.run([aee, "run", testbed, "--call", "trap", "--trace", path], 1)
        if traced_calls(path, "trap") != ["AEE_ERR_CRASHED"]:
            cli.fail(f"a crash gave {traced_calls(path, 'trap')}")
        missing = os.path.join(folder, "none", "trace.json")
        cli.one_line(cli.run(add + ["--trace", missing], 5, err=["cannot start a trace: .*trace.json"]))
        if os.listdir(folder) != ["trace.json"]:
            cli.fail(f"left behind: {os.listdir(folder)}")


def run_once(aee, components, testbed):
    minimal = os.path.join(components, "minimal.elf")
    for arguments, result in (("40 2", 42), ("-5 0x10", 11), ("0xffffffffffffffff 1", 0)):
        cli.run([aee, "run", minimal, "--call", "add"] + arguments.split(), 0, out=[rf"\A{result}\n\Z"])
    cli.run([aee, "run", "--call", "add", minimal, "--", "-5", "-6"], 0, out=[r"\A-11\n\Z"])
    half = [aee, "run", testbed, "--call", "half", "--returns", "double"]
    cli.run(half + ["3.0"], 0, out=[r"\A1.5\n\Z"])
    cli.run(half + ["1e3"], 0, out=[r"\A500\n\Z"])
    cli.run([aee, "run", testbed, "--call", "say", "7"], 0, err=[r"^testbed: .*7"])
    cli.one_line(cli.run([aee, "run", minimal, "--call", "add", "1"], 2, err=["signature"]))
    cli.one_line(cli.run([aee, "run", minimal, "--call", "subtract"], 2, err=['"subtract"']))
    report = json.loads(cli.run([aee, "run", minimal, "--call", "add", "1", "2", "--json"], 0).stdout)
    if (report["result"], report["calls"], report["crash"], report["level"]) != (3, 1, None, doctor_json(aee, 0)["level"]):
        cli.fail(f"run --json: {report}")


def run_failing(aee, components, testbed):
    thief = os.path.join(components, "mod_thief.elf")
    crash = [aee, "run", thief, "--call", "thief_attempt", "0"]
    result = cli.run(crash, 1, err=[r"^crash: .*null pointer.* in read_null", r"^  rip [0-9a-f]{16}  "])
    if result.stdout:
        cli.fail("a crash has no result", result)
    report = json.loads(cli.run(crash + ["--json"], 1).stdout)
    crash = report["crash"]
    if (report["result"], crash["cause"], crash["vector"]) != (None, "exception", 14):
        cli.fail(f"run --json of a crash: {report}")
    # Reads its own image for ever.
    hang = [aee, "run", testbed, "--call", "spin_until", "0x400000", "1", "--budget", "100"]
    cli.run(hang, 1, err=[r"^hang: .*call budget of 100000 us"])
    with tempfile.NamedTemporaryFile(suffix=".elf") as garbage:
        garbage.write(b"not an image")
        garbage.flush()
        cli.one_line(cli.run([aee, "run", garbage.name, "--call", "f"], 3, err=["ELF"]))
    cli.one_line(cli.run([aee, "run", "/nonexistent.elf", "--call", "f"], 3, err=["No such file"]))
    cli.one_line(cli.run([aee, "run", "/", "--call", "f"], 3))


def run_frames(aee, components, testbed):
    good = [aee, "run", os.path.join(components, "mod_good.elf"), "--call", "mod_tick", "{frame}"]
    out = [r"^frames +20 of 20, 0 skipped", r"^calls +20, 0 failed$", r"^p50 +\d+\.\d+ ms$", r"^restarts +0$"]
    cli.run(good + ["--frames", "20", "--mode", "direct"], 0, out=out)
    # The number of the frame arrives: the sum of its last call.
    add = [aee, "run", os.path.join(components, "minimal.elf"), "--call", "add", "1000", "{frame}"]
    fast = ["--no-pace", "--json"]
    report = json.loads(cli.run(add + ["--frames", "30"] + fast, 0).stdout)
    if (report["result"], report["frames"], report["calls"]) != (1029, 30, 30):
        cli.fail(f"run --frames: {report}")
    # Each call crashes, so that it is quarantined in the end; only the first dumps registers.
    trap = [aee, "run", testbed, "--call", "trap", "--frames", "1000", "--no-pace"]
    result = cli.run(trap, 1, out=[r"^crashes +6$", r"^state +quarantined$"], err=[r"quarantine$"])
    if result.stderr.count("  rip ") != 1 or result.stderr.count("crash: ") != 6:
        cli.fail("six crashes, the first with registers, were expected", result)


def snapshots(aee, testbed):
    count = [aee, "run", testbed, "--call", "count"]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "count.snap")
        cli.run(count + ["--save", path], 0, out=[r"\A1\n\Z"])
        cli.run(count + ["--load", path, "--save", path], 0, out=[r"\A2\n\Z"])
        cli.run(count + ["--load", path], 0, out=[r"\A3\n\Z"])
        cli.run(count + ["--load", path, "--memory", "2"], 3, err=[r"^aee run: .* of heap"])
        cli.run(count + ["--load", testbed], 3, err=[r"^aee run: .* is not a snapshot$"])
        cli.run(count + ["--save", os.path.join(folder, "no", "file")], 5, err=[r"cannot write"])
        cli.run([aee, "run", testbed, "--call", "trap", "--save", path + "2"], 1)
        if os.listdir(folder) != ["count.snap"]:
            cli.fail(f"snapshots: {os.listdir(folder)} is left")


def main():
    options = cli.arguments(__doc__, "aee", "components", "testbed")
    helps(options.aee)
    usage(options.aee, options.components)
    no_backend(options.aee, options.components)
    if os.system(f"{options.aee} doctor >/dev/null 2>&1") >> 8 == 4:
        print("SKIP: no isolation back end is usable here")
        sys.exit(cli.SKIPPED)
    doctor(options.aee)
    terminal(options.aee)
    forced(options.aee, options.components)
    run_once(options.aee, options.components, options.testbed)
    trace(options.aee, options.components, options.testbed)
    run_failing(options.aee, options.components, options.testbed)
    run_frames(options.aee, options.components, options.testbed)
    snapshots(options.aee, options.testbed)


if __name__ == "__main__":
    main()
