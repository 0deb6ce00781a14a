#!/usr/bin/env python3
"""report.py MACHINE LOG JUNIT TEST...: turns the log of an emulated machine into a JUnit report, one case for
each test program, and prints one line. Exits with 1 where a test failed or was not reached."""
import re
import sys
import xml.etree.ElementTree as ElementTree

SKIPPED = 77
KILLED = 137


class Case:
    def __init__(self, name):
        self.suite = "hostile" if name.startswith("hostile_") else "integration"
        self.name = name
        self.status = None  # None: it has no end in the log
        self.begin = self.seconds = 0.0
        self.lines = []


def read_cases(log, names):
    """What the log says about each test, and its first reason for a skip of everything."""
    cases = {name: Case(name) for name in names}
    current, reason = None, None
    for line in log.splitlines():
        begin = re.search(r"AEE-HW: begin (\S+) ([\d.]+)", line)
        end = re.search(r"AEE-HW: end (\S+) (\d+) ([\d.]+)", line)
        if begin and begin[1] in cases:
            current = cases[begin[1]]
            current.begin = float(begin[2])
        elif end and end[1] in cases:
            case, current = cases[end[1]], None
            case.status = int(end[2])
            case.seconds = float(end[3]) - case.begin
        elif current:
            current.lines.append(line)
        elif line.startswith("SKIP: ") and not reason:
            reason = line
    return list(cases.values()), reason


def add_case(root, case, reason):
    """One <testcase>, as ctest writes it; its outcome."""
    outcome = "fail"
    if case.status == 0:
        outcome = "run"
    elif case.status == SKIPPED or (case.status is None and reason):
        outcome = "notrun"
    element = ElementTree.SubElement(root, "testcase", name=f"{case.suite}/{case.name}", status=outcome)
    element.set("time", f"{case.seconds:.1f}")
    if case.status is None:
        case.lines.append(reason or "The machine came to its end before the test did.")
    elif case.status == KILLED:
        case.lines.append("The test was ended: it took too long.")
    if outcome == "notrun":
        ElementTree.SubElement(element, "skipped", message="SKIP_RETURN_CODE=77")
    elif outcome == "fail":
        ElementTree.SubElement(element, "failure", message=f"status {case.status}")
    text = "\n".join(case.lines)
    ElementTree.SubElement(element, "system-out").text = re.sub(r"[^\t\n\x20-\x7e]", "?", text)
    return outcome


def main(machine, log_path, report_path, *names):
    with open(log_path, encoding="utf-8", errors="replace") as file:
        cases, reason = read_cases(file.read(), names)
    root = ElementTree.Element("testsuite", name=machine, tests=str(len(cases)))
    outcomes = [add_case(root, case, reason) for case in cases]
    ElementTree.ElementTree(root).write(report_path, encoding="utf-8", xml_declaration=True)
    failed = [case for case, outcome in zip(cases, outcomes) if outcome == "fail"]
    skipped = outcomes.count("notrun")
    print(f"{machine:9} {outcomes.count('run')} passed, {len(failed)} failed, {skipped} skipped")
    for case in failed:
        print(f"{case.name} on {machine}:\n" + "\n".join(case.lines[-60:]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
