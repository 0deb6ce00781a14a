"""demo_common.py: runs of the visual demo, and what is to be seen in its pictures. Standard library
only."""
import json
import os
import struct
import subprocess
import sys
import tempfile
import zlib

import cli_common as cli

LEVEL = os.environ.get("AEE_FORCE_LEVEL") or "full"
SMALL = ["--agents", "2000", "--particles", "20000"]
NULL = r"write to address 0x0 \(null pointer \+ 0\) in .*break_null"
HANG = r"overran its call budget of 20000 us in .*break_hang"
MEMORY = r"out of memory \(2 MiB heap\): .*break_memory"
THEFT = r"read of address 0x[0-9a-f]+ \(mapped to nothing\) in break_peek"


def expect(what, found, wanted):
    if found != wanted:
        cli.fail(f"{what}: {found!r} instead of {wanted!r}")


def expect_true(what, holds):
    if not holds:
        cli.fail(what)


class Demo:
    """The program, and a folder for its files."""

    def __init__(self, path):
        self.path = path
        self.folder = tempfile.TemporaryDirectory()

    def file(self, name):
        return os.path.join(self.folder.name, name)

    def script(self, name, text):
        with open(self.file(name), "w", encoding="utf-8") as file:
            file.write(text)
        return ["--script", self.file(name)]

    def command(self, *arguments):
        return [self.path, "--headless", "--fast", *arguments]

    def play(self, *arguments):
        """A run that must end well; its report."""
        report = self.file("report.json")
        cli.run(self.command("--json", report, *SMALL, *arguments), 0)
        with open(report, encoding="utf-8") as file:
            return json.load(file)

    def skip_unless_there(self):
        """Where the level cannot be had, the demo says so, or takes another."""
        report = self.file("level.json")
        command = self.command("--json", report, "--frames", "1", "--scenes", "1", *SMALL)
        result = subprocess.run(command, check=False, text=True, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE)
        if result.returncode == cli.SKIPPED:
            skip(result.stderr.strip())
        if result.returncode != 0:
            cli.fail("it does not start", result)
        with open(report, encoding="utf-8") as file:
            level = json.load(file)["level"]
        if level != LEVEL:
            skip(f'level "{LEVEL}" is not offered: the demo takes "{level}"')


def skip(why):
    print(f"SKIP: {why}")
    sys.exit(cli.SKIPPED)


def contexts(report, scene):
    """A scene's contexts by name."""
    found = [entry for entry in report["scenes"] if entry["name"] == scene]
    expect(f"scenes of the name {scene}", len(found), 1)
    return {context["name"]: context for context in found[0]["contexts"]}


# ---- Pictures -------------------------------------------------------------------------------------


def _chunks(data):
    at = 8
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + size]
        expect("checksum of a chunk", struct.unpack_from(">I", data, at + 8 + size)[0],
               zlib.crc32(kind + body))
        yield kind, body
        at += 12 + size


def _paeth(left, up, corner):
    a = abs(up - corner)
    b = abs(left - corner)
    c = abs(left + up - 2 * corner)
    return left if a <= b and a <= c else up if b <= c else corner


def _unfilter(kind, row, above):
    """Undoes one row's filter: three bytes a pixel."""
    if kind == 1:
        for i in range(3, len(row)):
            row[i] = (row[i] + row[i - 3]) & 255
    elif kind == 2:
        row[:] = bytes([(a + b) & 255 for a, b in zip(row, above)])
    elif kind == 3:
        for i, up in enumerate(above):
            row[i] = (row[i] + (((row[i - 3] if i > 2 else 0) + up) >> 1)) & 255
    elif kind == 4:
        for i in range(3):
            row[i] = (row[i] + above[i]) & 255
        for i in range(3, len(row)):
            row[i] = (row[i] + _paeth(row[i - 3], above[i], above[i - 3])) & 255
    else:
        expect("filter of a row", kind, 0)
    return row


class Picture:
    """A PNG of 8 bits a channel without alpha; only its upper rows are unpacked."""

    def __init__(self, path, rows):
        with open(path, "rb") as file:
            data = file.read()
        expect("signature of a PNG", data[:8], b"\x89PNG\r\n\x1a\n")
        chunks = list(_chunks(data))
        self.width, self.height, *form = struct.unpack(">IIBBBBB", chunks[0][1])
        expect("form of the picture", (chunks[0][0], form, chunks[-1][0]), (b"IHDR", [8, 2, 0, 0, 0], b"IEND"))
        packed = zlib.decompress(b"".join(body for kind, body in chunks if kind == b"IDAT"))
        stride = 3 * self.width + 1
        expect("size of the picture", len(packed), stride * self.height)
        above = bytes(stride - 1)
        self.rows = []
        for y in range(rows):
            row = bytearray(packed[y * stride + 1 : (y + 1) * stride])
            above = _unfilter(packed[y * stride], row, above)
            self.rows.append(above)

    def part(self, x, y, width, height):
        """Its bytes, row by row."""
        return [bytes(row[3 * x : 3 * (x + width)]) for row in self.rows[y : y + height]]


def mean(rows):
    """Mean of red, green and blue."""
    data = b"".join(rows)
    return [sum(data[channel::3]) * 3 / len(data) for channel in range(3)]


def light(rows):
    return sum(mean(rows)) / 3


def bright(rows, least=96):
    """Share of pixels that are so green at least."""
    data = b"".join(rows)[1::3]
    return sum(value >= least for value in data) / len(data)


def changed(rows, others):
    """Share of pixels that differ."""
    a, b = b"".join(rows), b"".join(others)
    differ = sum(a[i : i + 3] != b[i : i + 3] for i in range(0, len(a), 3))
    return differ * 3 / len(a)


class Eye:
    """Finds words and scenes in pictures, with the tools of tests/demo/."""

    def __init__(self, find_text, find_scenes):
        self.find_text = find_text
        self.find_scenes = find_scenes

    def places(self, path, words):
        """Where they are: x, y, width, height."""
        result = subprocess.run([self.find_text, path, words], check=False, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if result.returncode not in (0, 1) or result.stderr:
            cli.fail(f"find_text {path} {words!r}", result)
        return [tuple(int(n) for n in line.split()) for line in result.stdout.splitlines()]

    def sees(self, path, *words):
        for text in words:
            expect_true(f"there is no {text!r} in {path}", self.places(path, text))

    def misses(self, path, *words):
        for text in words:
            expect_true(f"there is {text!r} in {path}", not self.places(path, text))

    def scenes(self, width, height, count):
        """Rectangles of the scenes: x, y, width, height."""
        result = cli.run([self.find_scenes, str(width), str(height), str(count)], 0)
        return [tuple(int(n) for n in line.split()) for line in result.stdout.splitlines()]
