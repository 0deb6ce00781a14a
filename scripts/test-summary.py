#!/usr/bin/env python3
"""Adds up ctest's JUnit reports: one summary line, every skip with its reason, every failure.

usage: test-summary.py name=report.xml ...        A report that is missing counts as a failure.
"""
import sys
import xml.etree.ElementTree as ElementTree


def skip_reason(case):
    """A skipping test prints 'SKIP: reason'; failing that, its last line is taken."""
    lines = (case.findtext("system-out") or "").strip().splitlines()
    for line in lines:
        _, found, reason = line.partition("SKIP: ")
        if found:
            return reason.strip()
    return lines[-1].strip() if lines else "no reason was printed"


def main(arguments):
    passed, failed, skipped = 0, [], []
    for argument in arguments:
        run, _, path = argument.partition("=")
        try:
            cases = ElementTree.parse(path).getroot().findall("testcase")
        except OSError:
            failed.append(f"{run}: was not tested (configuring or building failed)")
            continue
        except ElementTree.ParseError as error:
            failed.append(f"{run}: the test report cannot be read: {error}")
            continue
        if not cases:
            failed.append(f"{run}: the test report is empty")
        for case in cases:
            name = f"{run}: {case.get('name')}"
            if case.get("status") == "run":
                passed += 1
            elif case.find("skipped") is not None:
                skipped.append(f"{name}: {skip_reason(case)}")
            else:
                failed.append(name)
    print()
    for title, entries in (("Skipped", skipped), ("Failed", failed)):
        if entries:
            print(f"{title}:")
            print("\n".join(f"  {entry}" for entry in entries))
    print(f"{passed} passed, {len(failed)} failed, {len(skipped)} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
