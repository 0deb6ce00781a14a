#!/usr/bin/env python3
"""test_trace.py: what traces hold: every call exactly once, slices that nest, names as they were,
counts of what is missing. trace_scenes.c says what it did."""
import collections
import json
import os
import sys
import tempfile

import cli_common as common

OPTIONS = common.arguments(__doc__, "program", "image")


def play(scene):
    """The trace, what must be in it, and the size of the file."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "trace.json")
        result = common.subprocess.run(
            [OPTIONS.program, OPTIONS.image, scene, path],
            check=False, text=True, stdout=common.subprocess.PIPE, stderr=common.subprocess.PIPE,
        )
        if result.returncode == common.SKIPPED:
            print(result.stdout)
            sys.exit(common.SKIPPED)
        if result.returncode != 0:
            common.fail(f"scene {scene}", result)
        if os.listdir(folder) != ["trace.json"]:
            common.fail(f"{scene}: there are {os.listdir(folder)}")
        with open(path, "rb") as file:
            data = file.read()
    facts = dict(line.rsplit(" ", 1) for line in result.stdout.splitlines())
    return json.loads(data.decode("utf-8")), {key: int(n) for key, n in facts.items()}, len(data)


def expect(what, found, wanted):
    if found != wanted:
        common.fail(f"{what}: {found!r} instead of {wanted!r}")


def slices(trace):
    return [event for event in trace["traceEvents"] if event["ph"] == "X"]


def names(trace):
    """Names of the tracks by number; no two are alike."""
    found = {
        event["tid"]: event["args"]["name"]
        for event in trace["traceEvents"]
        if event["ph"] == "M" and event["name"] == "thread_name"
    }
    expect("names of tracks", len(set(found.values())), len(found))
    return found


def nanoseconds(event, field):
    """Times are microseconds with three digits: exact as a number of nanoseconds."""
    return round(event[field] * 1000)


def check_nesting(trace):
    """Slices of a track come in order and lie within or beside each other. Gives each its parent."""
    stacks = collections.defaultdict(list)
    last = {}
    for event in slices(trace):
        begin = nanoseconds(event, "ts")
        end = begin + nanoseconds(event, "dur")
        track = event["tid"]
        if begin < last.get(track, 0) or end < begin:
            common.fail(f"out of order: {event}")
        last[track] = begin
        stack = stacks[track]
        while stack and stack[-1][0] <= begin:
            stack.pop()
        if stack and end > stack[-1][0]:
            common.fail(f"reaches beyond {stack[-1][1]}: {event}")
        event["parent"] = stack[-1][1] if stack else None
        stack.append((end, event))
    duration = int(trace["otherData"]["duration_ns"])
    for event in slices(trace):
        if nanoseconds(event, "ts") + nanoseconds(event, "dur") > duration + 1000:
            common.fail(f"after the end: {event}")


def short(name):
    return "mod" if name.startswith("mod") else name.split(" ")[0]


def counts(trace):
    tracks = names(trace)
    found = collections.Counter()
    for event in slices(trace):
        if "call" in event["cat"]:
            found[f"{short(tracks[event['tid']])}|{event['cat']}|{event['name']}|{event['args']['result']}"] += 1
    return found


def check_counts(trace, facts):
    found = counts(trace)
    for key, wanted in facts.items():
        if "|" in key:
            expect(key, found.pop(key, 0), wanted)
    return found


def check_whole(trace):
    for field in ("overwritten", "left_out", "lanes_without_buffer"):
        expect(field, trace["otherData"][field], 0)


def check_parents(trace):
    """Host functions within the call that makes them, nested calls within host functions."""
    callers = {"host_add": "ask", "climb": "descend"}
    for event in slices(trace):
        parent = event["parent"]
        if event["cat"] == "host call" and event["dur"] == 0 and parent is None:
            continue  # between two calls, as far as the clock can tell
        if event["cat"] == "host call":
            expect(f"caller of {event}", parent and parent["name"], callers[event["name"]])
        elif event["cat"] == "nested call":
            expect(f"caller of {event}", parent and parent["name"], "climb")
        elif event["cat"] in ("call", "submitted call"):
            expect(f"what {event} is within", parent, None)


def check_script():
    trace, facts, _ = play("script")
    check_nesting(trace)
    check_whole(trace)
    rest = check_counts(trace, facts)
    expect("calls that nobody made", dict(rest), {})
    check_parents(trace)
    frames = [event for event in slices(trace) if event["cat"] == "frame"]
    late = [event for event in frames if event["name"] == "late frame"]
    expect("late frames", len(late), facts["late"])
    expect("frames", len(frames), facts["frames"] + facts["late"])
    expect("numbers of frames", [event["args"]["frame"] for event in frames], [1, 2, 3, 4, 5])
    tracks = names(trace)
    mod = [name for name in tracks.values() if name.startswith("mod")]
    if not all(name.startswith('mod "quoted" <b> \\ é \ufffd\ufffd') for name in mod) or not mod:
        common.fail(f"names of the context: {mod}")
    events = collections.Counter(
        (short(tracks[event["tid"]]), event["name"]) for event in trace["traceEvents"] if event["ph"] == "i"
    )
    for key in (("mod", "loaded"), ("mod", "crashed"), ("mod", "restarted"), ("mod", "destroyed"),
                ("agents", "paused"), ("agents", "resumed")):
        expect(f"events {key}", events[key], 1)
    expect("events of late frames", events[("engine", "frame late")], facts["late"])
    down = [event for event in slices(trace) if event["name"] == "down"]
    expect("falls", [(short(tracks[event["tid"]]), event["args"]["crash"]) for event in down], [("mod", 1)])
    modes = {
        (short(tracks[event["tid"]]), event["args"]["mode"])
        for event in slices(trace)
        if event["cat"] == "call" and event["name"] == "blend"
    }
    expect("modes", modes <= {("agents", "ring"), ("mod", "direct")}, True)
    direct = [
        event for event in slices(trace)
        if event["cat"] == "call" and event["name"] == "count" and short(tracks[event["tid"]]) == "mod"
    ]
    parks = {event["args"].get("exits", {}).get("park") for event in direct}
    expect("parks of direct calls", parks, {1})


def check_recovery():
    trace, facts, _ = play("recovery")
    check_nesting(trace)
    check_whole(trace)
    expect("calls that nobody made", dict(check_counts(trace, facts)), {})
    spans = [event for event in slices(trace) if event["cat"] == "recovery"]
    found = [event["name"] for event in spans]
    again = ["down", "restore", "checkpoint"]
    expect("checkpoints and restores", found, ["checkpoint"] * 3 + ["restore"] + again * 5)
    expect("checkpoints kept", [event["args"]["kept"] for event in spans if event["name"] == "checkpoint"][:3], [1, 2, 3])
    expect("the first restore", spans[3]["args"], {"back": 1})
    for event in spans[4:]:
        parent = event["parent"] and event["parent"]["name"]
        expect("what a restore is within", parent, "down" if event["name"] == "restore" else None)


def check_batch_crash():
    trace, facts, _ = play("batch_crash")
    check_nesting(trace)
    check_whole(trace)
    found = collections.Counter()
    for key, count in counts(trace).items():
        found[key.rsplit("|", 1)[1]] += count if "submitted" in key else 0
    expect("calls with results", found["AEE_OK"], facts["good"])
    falls = sum(event["name"] == "crashed" for event in trace["traceEvents"] if event["ph"] == "i")
    expect("every batch ended with a crash", falls, 4)
    if not falls <= found["AEE_ERR_CRASHED"] <= 200 - facts["good"]:
        common.fail(f"{found} of {facts}")


def check_mixed():
    """A call that was among submitted ones on its lane looks like one of them."""
    trace, facts, _ = play("mixed")
    check_nesting(trace)
    check_whole(trace)
    wanted = facts.pop("mixed calls")
    rest = check_counts(trace, facts)
    found = {key: rest.pop(f"mixed|{key}|count|AEE_OK", 0) for key in ("call", "submitted call")}
    expect("calls that nobody made", dict(rest), {})
    expect(f"calls among others {found}", sum(found.values()), wanted)
    print(f"of {wanted} calls {found['submitted call']} were among others")


def check_overflow():
    trace, facts, _ = play("overflow")
    check_nesting(trace)
    expect("kept", len(slices(trace)), facts["kept"])
    expect("overwritten", trace["otherData"]["overwritten"], facts["overwritten"])
    notice = [event["name"] for event in trace["traceEvents"] if event["ph"] == "i" and event["cat"] == "trace"]
    expect("notice", notice, [f"{facts['overwritten']} before are lost"])


def check_limit():
    trace, facts, size = play("limit")
    check_nesting(trace)
    found = counts(trace)
    if size > facts["bytes"] or min(found["one|call|count|AEE_OK"], found["other|call|count|AEE_OK"]) < 50:
        common.fail(f"{size} bytes, {found}")
    expect("calls", sum(found.values()) + trace["otherData"]["left_out"], facts["calls"])


def check_destroy():
    trace, facts, _ = play("destroy")
    check_nesting(trace)
    check_counts(trace, facts)


def check_threads():
    trace, facts, _ = play("threads")
    check_nesting(trace)
    found = counts(trace)
    for key in found:
        expect(f"result of {key}", key.endswith("AEE_OK"), True)
    if sum(found.values()) == 0 or min(facts.values()) == 0:
        common.fail(f"nothing was called: {found} {facts}")


def check_names():
    trace, facts, _ = play("names")
    check_nesting(trace)
    found = slices(trace)
    expect("slices", len(found), facts["names"])
    wanted = ['"},{"ph":"X', "back\\slash\\", "new\nline\ttab\x01", "</script><script>",
              "\ufffd\ufffd\ufffd", "\ufffd\ufffd\ufffd", "\U0001f600 ok", "\x1b[31m\x7f\x9b", "",
              '"' * 120, "?"]
    expect("names", [event["name"] for event in found if event["cat"] == "host call"], wanted)


def main():
    check_names()
    check_script()
    check_recovery()
    check_batch_crash()
    check_mixed()
    check_overflow()
    check_limit()
    check_destroy()
    check_threads()


if __name__ == "__main__":
    main()
