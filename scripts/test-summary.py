#!/usr/bin/env python3
"""Adds up JUnit reports: a table of suites by isolation level and emulated machine, the reasons of skips,
the failures, and one last line "N passed, N failed, N skipped".

usage: test-summary.py RUN=REPORT.xml[,TESTS.json] ...
       test-summary.py RUN@MACHINE=REPORT.xml ...

A report that is missing counts as a failure. TESTS.json is what `ctest --show-only=json-v1` printed: it has
the labels that tell suite and level of a test. A test of an emulated MACHINE is `suite/name`.
"""
import json
import sys
import xml.etree.ElementTree as ElementTree

LEVELS = ["full", "process", "container", "none"]
MACHINES = ["svm", "svm-npt0", "vmx", "vmx-old"]
SUITES = ["unit", "integration", "hostile", "faults", "model", "lint", "style", "install"]
NO_LEVEL = "-"  # a test that runs no component
OUTCOMES = ("passed", "failed", "skipped")
NAMES_SHOWN = 4


class Table:
    """Counts by suite and column, skips by reason, and failures."""

    def __init__(self):
        self.cells = {}
        self.skips = {}
        self.parts = {}
        self.failures = []

    def add(self, run, suite, column, name, outcome, reason=""):
        cell = self.cells.setdefault((suite, column), dict.fromkeys(OUTCOMES, 0))
        cell[outcome] += 1
        if outcome == "failed":
            self.failures.append(f"{run}: {name}{reason}")
        if outcome == "skipped":
            self.skips.setdefault(reason, []).append(f"{run}: {name}")

    def fail_run(self, run, reason):
        self.failures.append(f"{run}: {reason}")

    def total(self, outcome):
        if outcome == "failed":
            return len(self.failures)
        return sum(cell[outcome] for cell in self.cells.values())


def skip_lines(case):
    """Reasons that a test printed as 'SKIP: reason'."""
    lines = (case.findtext("system-out") or "").splitlines()
    return [line.partition("SKIP: ")[2].strip() for line in lines if "SKIP: " in line]


def skip_reason(case):
    """Of a test that was skipped as a whole; failing a 'SKIP:', its last line is taken."""
    lines = (case.findtext("system-out") or "").strip().splitlines()
    said = skip_lines(case)
    if said:
        return said[0]
    return lines[-1].strip() if lines else "no reason was printed"


def labels_of(path):
    """Suite and level of each test, from ctest's JSON; nothing where there is none."""
    places = {}
    try:
        with open(path, encoding="utf-8") as file:
            tests = json.load(file)["tests"]
    except (OSError, ValueError, KeyError):
        return places
    for test in tests:
        labels = [p["value"] for p in test.get("properties", []) if p["name"] == "LABELS"]
        labels = labels[0] if labels else []
        levels = [label[len("level-") :] for label in labels if label.startswith("level-")]
        suites = [label for label in labels if not label.startswith("level-")]
        places[test["name"]] = (suites[0] if suites else "other", levels[0] if levels else NO_LEVEL)
    return places


def add_report(table, run, machine, report, tests):
    try:
        cases = ElementTree.parse(report).getroot().findall("testcase")
    except OSError:
        table.fail_run(run, "was not tested (configuring or building failed)")
        return
    except ElementTree.ParseError as error:
        table.fail_run(run, f"the test report cannot be read: {error}")
        return
    if not cases:
        table.fail_run(run, "the test report is empty")
    places = labels_of(tests) if tests else {}
    for case in cases:
        name = case.get("name")
        if machine:
            suite, column = name.partition("/")[0], machine
        else:
            suite, column = places.get(name, ("other", NO_LEVEL))
        if case.get("status") == "run":
            table.add(run, suite, column, name, "passed")
            for reason in skip_lines(case):
                table.parts.setdefault(reason, []).append(f"{run}: {name}")
        elif case.find("skipped") is not None:
            table.add(run, suite, column, name, "skipped", skip_reason(case))
        else:
            table.add(run, suite, column, name, "failed")


def in_order(known, found):
    return [name for name in known if name in found] + sorted(set(found) - set(known))


def print_table(table):
    """A cell is passed/failed/skipped; a dot where nothing was to be run."""
    columns = in_order([NO_LEVEL] + LEVELS + MACHINES, {column for _, column in table.cells})
    rows = [["passed/failed/skipped"] + ["no level" if c == NO_LEVEL else c for c in columns]]
    for suite in in_order(SUITES, {suite for suite, _ in table.cells}):
        cells = [table.cells.get((suite, column)) for column in columns]
        shown = ["/".join(str(cell[o]) for o in OUTCOMES) if cell else "." for cell in cells]
        rows.append([suite] + shown)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        first, rest = row[0].ljust(widths[0]), (cell.rjust(w) for cell, w in zip(row[1:], widths[1:]))
        print("  ".join([first, *rest]))


def print_reasons(title, reasons):
    """One line for a reason: how many tests, and the first of them."""
    if not reasons:
        return
    print(f"\n{title}:")
    for reason, names in sorted(reasons.items(), key=lambda item: -len(item[1])):
        more = ", ..." if len(names) > NAMES_SHOWN else ""
        print(f"  {len(names):4}  {reason}\n          {', '.join(names[:NAMES_SHOWN])}{more}")


def main(arguments):
    table = Table()
    for argument in arguments:
        run, _, paths = argument.partition("=")
        report, _, tests = paths.partition(",")
        _, _, machine = run.partition("@")
        add_report(table, run.replace("@", " "), machine, report, tests)
    print()
    if table.cells:
        print_table(table)
    print_reasons("Skipped", table.skips)
    print_reasons("Left out by tests that passed", table.parts)
    if table.failures:
        print("\nFailed:")
        print("\n".join(f"  {entry}" for entry in table.failures))
    passed, failed, skipped = (table.total(outcome) for outcome in OUTCOMES)
    print(f"\n{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
