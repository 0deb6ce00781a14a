#!/usr/bin/env python3
"""test_test.py: `aee test` on tests that pass, fail, crash and hang; what it prints, and how it ends."""
import json
import os
import re
import sys
import tempfile

import cli_common as cli

FAILING = {
    "test_checks": r"tested\.c:\d+: AEE_CHECK\(1 \+ 1 == 3\)",
    "test_traps": r"in test_traps",
    "test_hangs": r"call budget of 1000000 us",
    "test_returns_seven": r"it returned 7",
    "test_takes_arguments": r"takes no arguments",
}
PASSING = ["passes", "sees_no_other", "returns_zero", "undeclared", "seed", "chatters"]


def parse_tap(text):
    """name -> (ok, comments before it, message), as the TAP 13 text says."""
    lines = text.split("\n")
    if lines[0] != "TAP version 13" or not re.fullmatch(r"1\.\.\d+", lines[1]):
        cli.fail(f"not TAP: {lines[:2]}")
    found, comments, number = {}, [], 0
    name = None
    for line in lines[2:]:
        result = re.fullmatch(r"(ok|not ok) (\d+) - (\S+)", line)
        if result:
            number += 1
            if int(result[2]) != number:
                cli.fail(f"test {number} has the number {result[2]}")
            name = result[3]
            found[name] = [result[1] == "ok", comments, None]
            comments = []
        elif line.startswith("  message: "):
            found[name][2] = json.loads(line[len("  message: ") :])
        elif line.startswith("# ") and not re.fullmatch(r"# seed \d+", line):
            comments.append(line[2:])
        elif line and not re.fullmatch(r"# seed \d+|  (---|\.\.\.|severity: fail|duration_ms: [\d.]+)", line):
            cli.fail(f"what is this line: {line!r}")
    if number != int(lines[1][3:]):
        cli.fail(f"{number} tests, but the plan is {lines[1]}")
    return found


def all_of_them(aee, tested):
    found = parse_tap(cli.run([aee, "test", tested, "--budget", "1000", "--seed", "17"], 1).stdout)
    names = sorted(["test_" + name for name in PASSING] + list(FAILING))
    if sorted(found) != names:
        cli.fail(f"tests {sorted(found)}")
    for name, (ok, comments, message) in found.items():
        pattern = FAILING.get(name)
        if ok != (pattern is None) or (pattern and not re.search(pattern, message)):
            cli.fail(f"{name}: ok is {ok}, message {message!r}")
        wanted = {
            "test_passes": ["this one passes"],
            "test_checks": ["warning: about to check"],
            "test_seed": ["seed is 17 at 0"],
            "test_traps": [],
        }.get(name)
        if wanted is not None and comments != wanted:
            cli.fail(f"{name} logged {comments}")
    chatter = found["test_chatters"][1]
    if not re.fullmatch(r"\.\.\. and \d+ lines more", chatter[-1]) or not re.fullmatch(
        "line 0 of many that are as long as this one is: 0{400}", chatter[0]
    ):
        cli.fail(f"chatter: {chatter[0]} ... {chatter[-1]}")


def some_of_them(aee, tested):
    for glob, names in (
        ("test_re*", ["test_returns_seven", "test_returns_zero"]),
        ("returns_z*", ["test_returns_zero"]),
        ("passes", ["test_passes"]),
    ):
        status = 1 if "test_returns_seven" in names else 0
        found = parse_tap(cli.run([aee, "test", tested, "--filter", glob], status).stdout)
        if sorted(found) != names:
            cli.fail(f"--filter {glob}: {sorted(found)}")
    seeds = [cli.run([aee, "test", tested, "--filter", "seed"], 0).stdout for _ in range(2)]
    if not all(re.search(r"^# seed (\d+)\n(?:.*\n)*# seed is \1 at 0$", text, re.M) for text in seeds):
        cli.fail(f"the seed that is printed is not the one that is used: {seeds}")


def as_json(aee, tested):
    report = json.loads(
        cli.run([aee, "test", tested, "--json", "--seed", "0x11", "--filter", "[pt][ra][as][ps]*"], 1).stdout
    )
    if (report["seed"], report["passed"], report["failed"], report["exit_code"]) != (17, 1, 1, 1):
        cli.fail(f"--json: {report}")
    tests = {test["name"]: test for test in report["tests"]}
    passes, traps = tests["test_passes"], tests["test_traps"]
    if passes["ok"] is not True or passes["log"] != ["this one passes"] or passes["crash"] is not None:
        cli.fail(f"--json: {passes}")
    if traps["ok"] is not False or traps["crash"]["vector"] != 6 or traps["duration_ms"] <= 0:
        cli.fail(f"--json: {traps}")


def wrong(aee, components, tested):
    for arguments in (
        [],
        [tested, "again.elf"],
        [tested, "--budget", "0"],
        [tested, "--budget"],
        [tested, "--seed", "-1"],
        [tested, "--frobnicate"],
        [tested, "--filter", "nothing_fits"],
        [os.path.join(components, "minimal.elf")],
    ):
        cli.one_line(cli.run([aee, "test"] + arguments, 2, err=[r"^aee test: "]))
    cli.one_line(cli.run([aee, "test", "/nonexistent.elf"], 3, err=["No such file"]))
    with tempfile.NamedTemporaryFile(suffix=".elf") as garbage:
        garbage.write(b"not an image")
        garbage.flush()
        cli.one_line(cli.run([aee, "test", garbage.name], 3, err=["ELF"]))
    cli.one_line(cli.run([aee, "test", tested], 4, err=["no isolation back end"], few=True))


def main():
    options = cli.arguments(__doc__, "aee", "components", "tested")
    if os.system(f"{options.aee} doctor >/dev/null 2>&1") >> 8 == 4:
        print("SKIP: this level is not usable here")
        sys.exit(cli.SKIPPED)
    all_of_them(options.aee, options.tested)
    some_of_them(options.aee, options.tested)
    as_json(options.aee, options.tested)
    if os.environ.get("AEE_FORCE_LEVEL", "full") == "full":
        wrong(options.aee, options.components, options.tested)


if __name__ == "__main__":
    main()
