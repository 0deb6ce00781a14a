#!/usr/bin/env python3
"""test_instructions.py: what one call costs the calling thread, in instructions of the library.

The figures of instruction_counts.txt must be met within a few percent, and its numbers of system
calls exactly. They change with the source and the compiler, not with the machine. `--update yes`
writes them anew: for a change that is meant to be, with the reason in its commit.
"""
import argparse
import os
import subprocess
import sys

SKIPPED = 77
TOLERANCE = 0.03
CALLS = ("direct", "ring")
HEADER = """\
# What one call of an empty function costs the calling thread: instructions executed in
# libaee_virt.so, and system calls. Compared by test_instructions.py within 3 percent; to record them
# anew, in a release build:
#   python3 tests/integration/test_instructions.py --program BUILD/tests/count_instructions \\
#       --image BUILD/guest/compute.elf --compiler "gcc 12" --update yes
"""


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("program", "image", "compiler"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--update")
    return parser.parse_args()


def skip(reason):
    print(f"SKIP: {reason}")
    sys.exit(SKIPPED)


def count(options, call):
    result = subprocess.run(
        [options.program, options.image, call],
        check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )
    if result.returncode == SKIPPED:
        skip(result.stderr.strip() or "ptrace is not permitted here")
    if result.returncode != 0:
        sys.exit(f"count_instructions {call}: status {result.returncode}\n{result.stderr}")
    instructions, system_calls = result.stdout.split()
    return int(instructions), int(system_calls)


def read_counts(path):
    """The compiler, and {call: (instructions, system calls)}."""
    with open(path, encoding="utf-8") as file:
        rows = [line.split() for line in file if line.strip() and line[0] != "#"]
    compiler = " ".join(next(row for row in rows if row[0] == "compiler")[1:])
    return compiler, {row[0]: (int(row[1]), int(row[2])) for row in rows if row[0] != "compiler"}


def main():
    options = arguments()
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "instruction_counts.txt")
    if options.update:
        found = {call: count(options, call) for call in CALLS}
        with open(path, "w", encoding="utf-8") as file:
            file.write(HEADER + f"compiler {options.compiler}\n")
            file.writelines(f"{call} {found[call][0]} {found[call][1]}\n" for call in CALLS)
        return
    compiler, recorded = read_counts(path)
    if compiler != options.compiler:
        skip(f"the figures were recorded with {compiler}; this is {options.compiler}")
    wrong = False
    for call in CALLS:
        instructions, system_calls = count(options, call)
        least = recorded[call]
        drift = instructions / least[0] - 1
        fine = abs(drift) <= TOLERANCE and system_calls == least[1]
        wrong = wrong or not fine
        print(f"{call}: {instructions} instructions, {system_calls} system calls; recorded are "
              f"{least[0]} and {least[1]} ({drift:+.1%}){'' if fine else ': DIFFERS'}")
    if wrong:
        print("If this is meant to be, record the figures anew with --update yes: see " + path)
        sys.exit(1)


if __name__ == "__main__":
    main()
