#!/usr/bin/env python3
"""test_crash_show.py: aee run --core-dir and aee crash show, with files as they are and damaged."""
import json
import os
import random
import tempfile

import cli_common as cli

PLAIN = {"LC_ALL": "C", "NO_COLOR": "1"}


def crash(aee, image, folder, kind):
    """Leaves a core file and its report; their paths."""
    result = cli.run(
        [aee, "run", image, "--call", "crash", "--core-dir", folder, str(kind)],
        1, err=[r"^crash: context \"crashbed\": ", r"^core file: .*\.core$"], environment=PLAIN)
    core = [line[11:] for line in result.stderr.splitlines() if line.startswith("core file: ")][0]
    report = core[:-5] + ".json"
    for path in (core, report):
        if not os.path.exists(path):
            cli.fail(f"{path} is not there", result)
    return core, report


def shows(aee, core, report):
    patterns = [
        r"\Acrash: context \"crashbed\": write to address 0x10 \(null pointer \+ 16\) in inner",
        r"^stack trace$",
        r"^  0   0x[0-9a-f]{16}  inner\+0x[0-9a-f]+ at .*crashbed\.c:\d+$",
        r"^  1   0x[0-9a-f]{16}  folded \(inlined\) at .*crashbed\.c:\d+$",
        r"^  2   0x[0-9a-f]{16}  middle\+0x[0-9a-f]+ at .*crashbed\.c:\d+$",
        r"^  3   0x[0-9a-f]{16}  crash\+0x[0-9a-f]+ at .*crashbed\.c:\d+$",
        r"^registers$",
        r"^  rsp    0x[0-9a-f]{16}  stack of lane 0$",
        r"^last calls of lane 0, newest first$",
        r"^  crash, not answered$",
        r"^memory map$",
        r"^  0x000100000000  +16384 KiB  rw-  heap$",
    ]
    first = cli.run([aee, "crash", "show", core], 0, out=patterns, environment=PLAIN).stdout
    if cli.run([aee, "crash", "show", report], 0, environment=PLAIN).stdout != first:
        cli.fail("core file and report show different things")
    document = cli.run([aee, "crash", "show", "--json", core], 0).stdout
    with open(report, encoding="utf-8") as file:
        if document != file.read():
            cli.fail("--json is not the report")
    fields = json.loads(document)
    if fields["cause"] != "exception" or fields["fault_address"] != "0x10":
        cli.fail("the report has other fields than it should")
    colored = cli.on_terminal([aee, "crash", "show", core], {"TERM": "xterm", "NO_COLOR": ""})
    if "\033[31mcrash: \033[0m" not in colored:
        cli.fail("no colour on a terminal")


def damaged(aee, core, report, folder):
    """Whatever a file holds: shown, or one line and 3."""
    generator = random.Random(7)
    with open(report, "rb") as file:
        text = file.read()
    with open(core, "rb") as file:
        head = file.read(65536)
    path = os.path.join(folder, "damaged")
    for number in range(60):
        data = bytearray(text if number % 2 else head)
        if number % 3 == 0:
            data = data[: generator.randrange(len(data))]
        for _ in range(generator.randrange(1, 12)):
            if data:
                data[generator.randrange(min(len(data), 12000))] = generator.randrange(256)
        with open(path, "wb") as file:
            file.write(data)
        result = cli.run_any([aee, "crash", "show", path])
        if result.returncode not in (0, 3):
            cli.fail("a damaged file ended in something else", result)
        if result.returncode == 3:
            cli.one_line(result)
        if any(ord(c) < 32 and c != "\n" for c in result.stdout):
            cli.fail("control characters reached the terminal", result)
    os.unlink(path)


def wrong(aee, folder):
    for command in ([], ["list"], ["show"], ["show", "--frob", "x"], ["show", "a", "b"]):
        cli.one_line(cli.run([aee, "crash", *command], 2, err=[r"^aee crash: "]))
    cli.one_line(cli.run([aee, "crash", "show", os.path.join(folder, "none")], 3))
    cli.one_line(cli.run([aee, "crash", "show", aee], 3, err=["not a core file"]))
    cli.one_line(cli.run([aee, "crash", "show", __file__], 3, err=["not a JSON document"]))
    cli.run([aee, "crash", "--help"], 0, out=[r"\Ausage: aee crash show FILE"])


def main():
    options = cli.arguments(__doc__, "aee", "image")
    with tempfile.TemporaryDirectory() as folder:
        core, report = crash(options.aee, options.image, folder, 0)
        shows(options.aee, core, report)
        damaged(options.aee, core, report, folder)
        wrong(options.aee, folder)
        cli.one_line(cli.run(
            [options.aee, "run", options.image, "--call", "crash", "--core-dir", folder + "/none", "0"],
            5, err=[r"crash files: directory"]))


if __name__ == "__main__":
    main()
