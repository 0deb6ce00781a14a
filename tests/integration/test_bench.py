#!/usr/bin/env python3
"""test_bench.py: the verb bench: its rows, the shape of its JSON, its complaints. Never judges time."""
import json
import sys

import cli_common as cli

# The names that the targets and docs/performance.md speak of.
ROWS = """
    ring_call ring_batch64 trace_overhead host_call direct_call fan_out
    compute_nbody compute_particles compute_sha column_update
    create_cold acquire_pooled first_touch revoke_4mib
    idle_context_pss_kib idle_context_kernel_kib contexts_alive budget_overshoot
    crash_recover reset_0 reset_16 reset_256 fork_call state_save state_restore frames_lost
    elsewhere_process_spin elsewhere_process_futex elsewhere_process_pipe
    elsewhere_luajit elsewhere_lua54""".split()
FLOORS = {
    "ring_call": "pingpong",
    "host_call": "pingpong",
    "direct_call": "bare OUT exit",
    "compute_nbody": "native",
    "column_update": "native in place",
    "first_touch": "populated page, A/D set",
    "budget_overshoot": "signal kick",
}
FLOORS_IN_CELLS = {
    "direct_call": "futex round trip",
    "create_cold": "bare process",
    "first_touch": "mapped memory file",
    "budget_overshoot": "futex wake",
}
# Quick ones of each kind: ring, direct, native, bare machine, memory, another process, Lua.
TRIED = """ring_call ring_batch64 host_call direct_call fan_out compute_nbody column_update first_touch acquire_pooled
    idle_context_pss_kib contexts_alive frames_lost elsewhere_process_futex elsewhere_process_spin
    elsewhere_luajit elsewhere_lua54""".split()
NUMBER = (int, float)


def usage(aee):
    for arguments, pattern in (
        (["--only"], "--only needs a value"),
        (["--only", "warp_speed"], "there is no row 'warp_speed'; there are ring_call, "),
        (["--level"], "--level needs a value"),
        (["--level", "strong"], "there is no level 'strong'; there are auto, "),
        (["--frobnicate"], "unexpected argument '--frobnicate'"),
        (["ring_call"], "unexpected argument 'ring_call'"),
    ):
        cli.one_line(cli.run([aee, "bench"] + arguments, 2, err=[rf"^aee bench: {pattern}"]))
    result = cli.run([aee, "bench", "--only", "warp_speed"], 2)
    for name in ROWS:
        if name not in result.stderr:
            cli.fail(f"the list of rows lacks {name}", result)


def listing(aee):
    listed = cli.run([aee, "bench", "--list"], 0).stdout
    names = [line for line in listed.splitlines() if line and line[0] != " "]
    if names != ROWS:
        cli.fail(f"--list names {names}, not {ROWS}")


def no_backend(aee):
    cli.one_line(cli.run([aee, "bench", "--quick"], 4, err=[r"^aee bench: \S"], few=True))


def check_fields(row, wanted, what):
    for name, types in wanted.items():
        if name not in row or not isinstance(row[name], types) or isinstance(row[name], bool):
            cli.fail(f"{what}: field {name} is {row.get(name)!r}")


def check_summary(row, what):
    check_fields(row, {"p50": NUMBER, "p99": NUMBER, "max": NUMBER, "mean": NUMBER, "n": int}, what)
    if not row["p50"] <= row["p99"] <= row["max"] or row["n"] < 1:
        cli.fail(f"{what}: percentiles are out of order: {row}")


def check_row(row, floors):
    name = row["name"]
    check_fields(row, {"level": str, "unit": str, "how": str, "target": (str, type(None))}, name)
    if "skipped" in row:
        print(f"{name} was skipped: {row['skipped']}")
        if not row["skipped"] or "p50" in row:
            cli.fail(f"{name}: a row that is skipped has a reason and no figures: {row}")
        return
    check_summary(row, name)
    if row["verdict"] is not None:
        cli.fail(f"{name}: a quick run has too few samples for a verdict: {row}")
    if not all(isinstance(value, NUMBER) for value in row["extra"].values()):
        cli.fail(f"{name}: {row['extra']}")
    if row["floor"] is None:
        if row["ratio"] is not None or name in floors:
            cli.fail(f"{name}: a ratio needs a floor: {row}")
        return
    check_summary(row["floor"], f"the floor of {name}")
    if abs(row["ratio"] - row["p50"] / row["floor"]["p50"]) > 0.01 * row["ratio"] + 0.001:
        cli.fail(f"{name}: {row['ratio']} is not p50 by the floor's")
    if row["floor"]["name"] != floors.get(name, row["floor"]["name"]):
        cli.fail(f"{name}: the floor is called {row['floor']['name']}")


def check_facts(rows):
    """What does not depend on time."""
    direct = rows.get("direct_call", {})
    exits = [direct["extra"][name] for name in ("exits_per_call", "allocations_per_call")] if "extra" in direct else [1, 0]
    if exits != [1, 0]:
        cli.fail(f"a direct call has one exit and allocates nothing: {direct['extra']}")
    column = rows.get("column_update", {})
    if "extra" in column and column["extra"]["bytes_copied"] != 0:
        cli.fail(f"columns are shared, not copied: {column['extra']}")
    alive = rows.get("contexts_alive", {})
    if "p50" in alive and alive["p50"] != 50:
        cli.fail(f"a quick run makes 50 contexts: {alive}")


def measure(aee, level):
    """All kinds of rows at the strongest level."""
    only = [argument for name in TRIED for argument in ("--only", name)]
    output = cli.run([aee, "bench", "--quick", "--json"] + only, 0, environment={"AEE_FORCE_LEVEL": ""})
    if output.stderr:
        cli.fail("progress is for terminals only", output)
    report = json.loads(output.stdout)
    if sorted(report) != ["host", "rows"] or [row["name"] for row in report["rows"]] != TRIED:
        cli.fail(f"bench --json: {sorted(report)} with {[row['name'] for row in report['rows']]}")
    check_fields(
        report["host"],
        {"version": str, "kernel": str, "cpu": str, "cpus": int, "clocksource": str,
         "clock_cost_ns": NUMBER, "level": str, "back_end": str, "exit_cost_ns": int},
        "host",
    )
    for row in report["rows"]:
        check_row(row, FLOORS if level == "full" else {**FLOORS, **FLOORS_IN_CELLS})
    check_facts({row["name"]: row for row in report["rows"]})


def text(aee):
    table = cli.run([aee, "bench", "--quick", "--only", "compute_sha"], 0, environment={"LC_ALL": "C"})
    if not cli.re.search(r"^- compute_sha +[a-z]+ .*x of native \(.* ms\)", table.stdout, cli.re.M):
        cli.fail("the table lacks its row", table)


def levels(aee):
    """At each level that works here: contexts are of it, and floors are of its kind."""
    report = json.loads(cli.run([aee, "doctor", "--json"], 0, environment={"AEE_FORCE_LEVEL": ""}).stdout)
    quick = [aee, "bench", "--quick", "--json", "--level"]
    rows = ["ring_call", "direct_call", "create_cold", "first_touch", "elsewhere_luajit"]
    only = [argument for name in rows for argument in ("--only", name)]
    for backend in report["backends"]:
        level = backend["level"]
        plain = {"AEE_FORCE_LEVEL": ""}
        if not backend["usable"]:
            cli.one_line(cli.run(quick + [level], 4, err=[rf"^aee bench: .*level {level}"], environment=plain))
            continue
        found = json.loads(cli.run(quick + [level] + only, 0, environment=plain).stdout)
        kind = "kvm" if level == "full" else level
        if [row["level"] for row in found["rows"]] != [kind] * 4 + ["none"]:
            cli.fail(f"bench --level {level} measured {found['rows']}")
        if (found["host"]["level"], found["host"]["back_end"]) != (level, kind):
            cli.fail(f"bench --level {level}: {found['host']}")
        if [row for row in found["rows"][1:3] if "skipped" in row]:
            cli.fail(f"these two need nothing but a back end: {found['rows'][1:3]}")
        for row in found["rows"]:
            check_row(row, FLOORS if level == "full" else {**FLOORS, **FLOORS_IN_CELLS})
        other = {"AEE_FORCE_LEVEL": "process" if level != "process" else "container"}
        cli.run(quick + [level, "--list"], 0, environment=other)
        if any(entry["usable"] for entry in report["backends"] if entry["level"] == other["AEE_FORCE_LEVEL"]):
            cli.one_line(cli.run(quick + [level], 2, err=["contradict each other"], environment=other))


def child(aee):
    """The hidden option does nothing without the memory that a row shares with it."""
    cli.run([aee, "bench", "--sandbox-child", "spin"], 1, err=[r"^aee bench: this is the child"])


def main():
    options = cli.arguments(__doc__, "aee")
    usage(options.aee)
    listing(options.aee)
    child(options.aee)
    no_backend(options.aee)
    doctor = cli.subprocess.run([options.aee, "doctor", "--json"], check=False, capture_output=True)
    if doctor.returncode == 4:
        print("SKIP: no isolation back end is usable here")
        sys.exit(cli.SKIPPED)
    measure(options.aee, json.loads(doctor.stdout)["level"])
    levels(options.aee)
    text(options.aee)


if __name__ == "__main__":
    main()
