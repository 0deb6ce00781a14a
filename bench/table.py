#!/usr/bin/env python3
"""table.py: makes a table in docs/performance.md from a run of `aee bench --json`. Each level of
isolation has one, between marks of its own.

    bench/table.py --aee build/release/tools/aee/aee                     runs it, prints the table
    bench/table.py --aee build/release/tools/aee/aee --level process --update docs/performance.md
    bench/table.py --json run.json --update docs/performance.md          from a run that was kept

Standard library only.
"""
import argparse
import json
import re
import subprocess
import sys

SCALES = ((1e9, "s"), (1e6, "ms"), (1e3, "us"), (1, "ns"))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--aee", help="the program to run")
    source.add_argument("--json", help="a file with the output of `aee bench --json`")
    parser.add_argument("--level", default="auto", help="what to measure, with --aee")
    parser.add_argument("--update", metavar="FILE", help="rewrite the table between the marks in this file")
    return parser.parse_args()


def load(options):
    if options.json:
        with open(options.json, encoding="utf-8") as file:
            return json.load(file)
    command = [options.aee, "bench", "--json", "--level", options.level]
    return json.loads(subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout)


def show(value, unit):
    if unit != "ns":
        return f"{value:.4g}" if unit == "contexts" else f"{value:.4g} {unit}"
    at, name = next((scale for scale in SCALES if value >= scale[0]), SCALES[-1])
    scaled = value / at
    return f"{scaled:.{2 if scaled < 10 else 1 if scaled < 100 else 0}f} {name}"


def table_row(row):
    name = f"`{row['name']}`"
    target = row["target"] or ""
    if "skipped" in row:
        return f"| {name} | {row['level']} | skipped: {row['skipped']} | | | | | {target} | |"
    unit, floor = row["unit"], row["floor"]
    times = " | ".join(show(row[key], unit) for key in ("p50", "p99", "max"))
    against = f"{floor['name']}: {show(floor['p50'], unit)}" if floor else ""
    ratio = f"{row['ratio']:.2f}x" if floor else ""
    return f"| {name} | {row['level']} | {times} | {against} | {ratio} | {target} | {row['verdict'] or ''} |"


def extras(rows):
    """One line for each row that has more to say."""
    for row in rows:
        parts = [f"{name} {value:.6g}" for name, value in row.get("extra", {}).items()]
        if row.get("note"):
            parts.append(row["note"])
        if parts:
            yield f"- `{row['name']}`: {'; '.join(parts)}"


def table(report):
    host = report["host"]
    machines = (
        f" ({'hardware' if host['hardware'] else 'no hardware'} virtualization), one VM exit {host['exit_cost_ns']} ns"
        if host["level"] == "full"
        else ""
    )
    lines = [
        f"aee {host['version']}, {host['cpu']}, {host['cpus']} processors, {host['kernel']}, clock "
        f"{host['clocksource']} ({host['clock_cost_ns']:.0f} ns a reading), level {host['level']}, back end "
        f"{host['back_end']}{machines}.",
        "",
        "| row | level | p50 | p99 | max | floor (p50) | ratio | target | |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [table_row(row) for row in report["rows"]]
    more = list(extras(report["rows"]))
    return "\n".join(lines + ([""] + more if more else [])) + "\n"


def update(path, level, text):
    begin, end = f"<!-- bench {level}: begin -->", f"<!-- bench {level}: end -->"
    with open(path, encoding="utf-8") as file:
        document = file.read()
    marks = re.compile(re.escape(begin) + r".*?" + re.escape(end), re.S)
    if not marks.search(document):
        sys.exit(f"{path}: the marks {begin} and {end} were not found")
    with open(path, "w", encoding="utf-8") as file:
        file.write(marks.sub(lambda _: f"{begin}\n{text}{end}", document, count=1))


def main():
    options = arguments()
    report = load(options)
    text = table(report)
    if options.update:
        update(options.update, report["host"]["level"], text)
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
