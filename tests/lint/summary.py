#!/usr/bin/env python3
"""summary.py: the table of `make test` (scripts/test-summary.py, tests/hw/report.py) tells what the reports say."""
import json
import os
import re
import subprocess
import sys
import tempfile

import common

CTEST = """<testsuite>
<testcase name="test_a" status="run"><system-out>fine
SKIP: one case: no such thing
</system-out></testcase>
<testcase name="test_a.process" status="notrun"><skipped message="SKIP_RETURN_CODE=77"/>
<system-out>SKIP: no process here</system-out></testcase>
<testcase name="test_b" status="fail"><failure message=""/></testcase>
<testcase name="lint_c" status="run"/>
</testsuite>"""
LABELS = {
    "test_a": ["integration", "level-full"],
    "test_a.process": ["integration", "level-process"],
    "test_b": ["hostile", "level-full"],
    "lint_c": ["lint"],
}
MACHINE = """AEE-HW: kernel 6.1
AEE-HW: begin test_a 1.0
AEE-HW: end test_a 0 2.5
AEE-HW: begin hostile_b 3.0
AEE-HW: end hostile_b 77 3.5
AEE-HW: begin hostile_c 4.0
"""
EXPECTED = [
    r"^passed/failed/skipped +no level +full +process +svm +vmx$",
    r"^integration +\. +1/0/0 +0/0/1 +1/0/0 +0/0/1$",
    r"^hostile +\. +0/1/0 +\. +0/1/1 +0/0/2$",
    r"^lint +1/0/0( +\.){4}$",
    r"^ +3  no emulator\n +hw vmx: integration/test_a, hw vmx: hostile/hostile_b, hw vmx: hostile/hostile_c$",
    r"^ +1  no process here\n +release: test_a.process$",
    r"^Left out by tests that passed:\n +1  one case: no such thing\n +release: test_a$",
    r"^Failed:\n  release: test_b\n  hw svm: hostile/hostile_c\n  tsan: was not tested ",
    r"\n\n3 passed, 3 failed, 5 skipped\n\Z",
]


def write(folder, name, text):
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def machine(root, folder, name, log, status):
    """The report of an emulated machine that printed `log`."""
    report = os.path.join(folder, f"{name}.xml")
    program = os.path.join(root, "tests/hw/report.py")
    command = [sys.executable, "-B", program, name, write(folder, f"{name}.log", log), report]
    command += ["test_a", "hostile_b", "hostile_c"]
    if common.run(command).returncode != status:
        sys.exit(f"report.py: the status for {name} is not {status}")
    return f"hw@{name}={report}"


def main():
    root = common.arguments(__doc__).root
    with tempfile.TemporaryDirectory() as folder:
        tests = [{"name": n, "properties": [{"name": "LABELS", "value": v}]} for n, v in LABELS.items()]
        report = write(folder, "release.xml", CTEST)
        labels = write(folder, "tests.json", json.dumps({"tests": tests}))
        arguments = [f"release={report},{labels}", machine(root, folder, "svm", MACHINE, 1)]
        arguments += [machine(root, folder, "vmx", "SKIP: no emulator\n", 0), f"tsan={folder}/nothing.xml"]
        program = os.path.join(root, "scripts/test-summary.py")
        command = [sys.executable, "-B", program] + arguments
        result = subprocess.run(command, check=False, text=True, stdout=subprocess.PIPE)
    missing = [pattern for pattern in EXPECTED if not re.search(pattern, result.stdout, re.M)]
    if missing or result.returncode != 1:
        sys.exit(f"{result.stdout}\nstatus {result.returncode}; no match for:\n" + "\n".join(missing))


if __name__ == "__main__":
    main()
