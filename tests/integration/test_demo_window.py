#!/usr/bin/env python3
"""test_demo_window.py: the demo in a window of an X server without a screen: every key, the mouse, other
sizes, and both ways to close it. What a key did is in the report, or to be seen in a picture."""
import contextlib
import ctypes
import ctypes.util
import json
import os
import shutil
import struct
import subprocess
import time

import cli_common as cli
import demo_common as demos
from demo_common import contexts, expect, expect_true

OPTIONS = cli.arguments(__doc__, "demo", "find-text", "find-scenes")
DEMO = demos.Demo(OPTIONS.demo)
EYE = demos.Eye(OPTIONS.find_text, OPTIONS.find_scenes)
WIDTH, HEIGHT = 1280, 720
PATIENCE = 40  # seconds until something is to be seen, on a busy machine
END = 40  # seconds until it has ended


@contextlib.contextmanager
def x_server():
    """A server of its own, at the first display that is free."""
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1600x1000x24", "-nolisten", "tcp"]
    with subprocess.Popen(command, pass_fds=(write,), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as server:
        os.close(write)
        with os.fdopen(read) as pipe:
            display = pipe.readline().strip()
        try:
            if not display:
                demos.skip("Xvfb does not start here")
            os.environ["DISPLAY"] = ":" + display
            yield
        finally:
            server.terminate()


def xdotool(*words):
    result = subprocess.run(["xdotool", *words], check=False, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, timeout=PATIENCE)
    if result.returncode != 0:
        cli.fail(f"xdotool {words}", result)
    return result.stdout


class Window:
    """The demo in a window, and its pictures, one in ten frames."""

    def __init__(self, name, *arguments):
        self.folder = DEMO.file(name)
        self.report = DEMO.file(name + ".json")
        environment = {key: value for key, value in os.environ.items()
                       if key not in ("SDL_VIDEODRIVER", "WAYLAND_DISPLAY")}
        command = [OPTIONS.demo, "--agents", "500", "--particles", "3000", "--json", self.report,
                   "--capture", self.folder, "--capture-every", "10", *arguments]
        print("+", " ".join(command), flush=True)
        self.process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.picture(after=0)
        self.id = xdotool("search", "--onlyvisible", "--class", "aee-demo").split()[0]
        xdotool("windowfocus", self.id)

    def newest(self):
        """Number of the newest picture that is complete: the one before the last; 0: there is none."""
        names = sorted(name for name in os.listdir(self.folder)) if os.path.isdir(self.folder) else []
        return int(names[-2][6:12]) if len(names) > 1 else 0

    def path(self, number):
        return os.path.join(self.folder, f"frame-{number:06d}.png")

    def picture(self, after):
        """Waits for a picture that is newer than that."""
        end = time.monotonic() + PATIENCE
        while self.newest() <= after:
            if self.process.poll() is not None:
                cli.fail(f"it has ended with {self.process.returncode}:\n{self.process.stdout.read()}")
            expect_true("no picture comes", time.monotonic() < end)
            time.sleep(0.05)
        return self.newest()

    def await_words(self, words, there=True):
        """Waits until they are to be seen in a scene or beside it, or no longer. Events stay."""
        end = time.monotonic() + PATIENCE
        bottom = max(y + height for _, y, _, height in EYE.scenes(WIDTH, HEIGHT, 2))
        number = self.picture(after=self.newest())
        while any(place[1] < bottom for place in EYE.places(self.path(number), words)) != there:
            expect_true(f"{words!r} is {'not ' if there else ''}to be seen", time.monotonic() < end)
            number = self.picture(after=number)

    def key(self, *names):
        for name in names:
            xdotool("key", name)

    def click(self, x, y):
        xdotool("mousemove", "--window", self.id, str(x), str(y), "click", "1")

    def click_words(self, words):
        places = EYE.places(self.path(self.newest()), words)
        expect_true(f"no place for {words!r}", places)
        x, y, width, height = places[-1]
        self.click(x + width // 2, y + height // 2)

    def scene(self, index):
        """Its pixels, when the next picture comes."""
        places = EYE.scenes(WIDTH, HEIGHT, 2)
        number = self.picture(after=self.newest() + 10)
        picture = demos.Picture(self.path(number), max(y + height for _, y, _, height in places))
        return picture.part(*places[index])

    def end(self):
        """Its report, when it has ended."""
        try:
            said, _ = self.process.communicate(timeout=END)
        except subprocess.TimeoutExpired:
            self.process.kill()
            cli.fail("it does not end")
        if self.process.returncode != 0:
            cli.fail(f"status {self.process.returncode}:\n{said}")
        with open(self.report, encoding="utf-8") as file:
            return json.load(file)


def mouse(window):
    """Selects the second scene, breaks something there, and selects the first again."""
    first, second = ((x + width // 2, y + height // 2) for x, y, width, height in EYE.scenes(WIDTH, HEIGHT, 2))
    window.click(*second)
    window.click_words("Crash particles")
    window.click(*first)


def stand_still(window):
    """Nothing moves while it is frozen, but by single steps."""
    window.key("space")
    window.await_words("frozen")
    window.await_words("write to address", there=False)  # what was stricken is no longer dim
    before = window.scene(1)
    expect("a frozen scene later", demos.changed(before, window.scene(1)), 0)
    window.key("s")
    expect_true("a step changes nothing", demos.changed(before, window.scene(1)) > 0)
    window.key("space")
    window.await_words("frozen", there=False)


def size_of(path):
    with open(path, "rb") as file:
        return struct.unpack(">II", file.read(24)[16:])


def resize(window, width, height):
    """The picture has the size of the window, and its buttons are where they are drawn."""
    xdotool("windowsize", window.id, str(width), str(height))
    end = time.monotonic() + PATIENCE
    while size_of(window.path(window.picture(after=window.newest()))) != (width, height):
        expect_true("pictures have another size", time.monotonic() < end)
    window.click_words("Memory bomb")


def everything():
    window = Window("everything")
    mouse(window)
    window.key("a", "p", "g", "h", "m", "t", "k")
    window.key("z")
    window.await_words("paused")
    window.key("z")
    window.await_words("paused", there=False)
    stand_still(window)
    window.key("F1")
    window.await_words("Keys")
    window.key("F1")
    window.await_words("Keys", there=False)
    window.key("n")
    window.await_words("Forest")
    window.key("r", "Tab", "x")  # Tab: to the second scene
    window.await_words("Cave", there=False)
    resize(window, 1100, 650)  # the third one is selected
    resize(window, 1500, 900)
    window.picture(after=window.newest() + 10)
    window.key("Escape")
    check(window.end())


def check(report):
    expect("scenes", [scene["name"] for scene in report["scenes"]], ["Harbour", "Forest"])
    expect("stolen", report["stolen"], 0)
    broken = {name: context["broken"] for name, context in contexts(report, "Harbour").items()}
    expect("offences in the first scene", broken, {
        "core": 1, "agents": 1, "particles": 1, "rendering": 1, "weather": 1, "boss": 0, "scoreboard": 1,
        "painter": 0, "thief": 3})
    # The scene that came last is selected when another is closed: two bombs, one for each size.
    broken = {name: context["broken"] for name, context in contexts(report, "Forest").items()}
    expect("offences in the third scene", {name for name in broken if broken[name]}, {"scoreboard"})
    expect("bombs", broken["scoreboard"], 2)
    said = [event["text"] for event in report["events"]]
    expect_true("the second scene's particles", any('"particles Cave": write to' in text for text in said))
    expect_true("the way back", "Harbour goes back 3 s" in said)
    expect_true("frames of the first scene", report["scenes"][0]["frame"] < report["frames"])


def close_window(window):
    """What a window manager sends for its close button."""
    library = ctypes.CDLL(ctypes.util.find_library("X11") or "libX11.so.6")
    library.XOpenDisplay.restype = ctypes.c_void_p
    library.XInternAtom.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
    library.XInternAtom.restype = ctypes.c_ulong
    library.XSendEvent.argtypes = [ctypes.c_void_p, ctypes.c_ulong, ctypes.c_int, ctypes.c_long, ctypes.c_void_p]
    library.XCloseDisplay.argtypes = [ctypes.c_void_p]
    display = library.XOpenDisplay(None)
    expect_true("no display", display)
    protocols = library.XInternAtom(display, b"WM_PROTOCOLS", 0)
    delete = library.XInternAtom(display, b"WM_DELETE_WINDOW", 0)
    # XClientMessageEvent: type, serial, send_event, display, window, message_type, format, data
    event = struct.pack("@iLiPLLi5l", 33, 0, 1, display, int(window.id), protocols, 32, delete, 0, 0, 0, 0)
    buffer = ctypes.create_string_buffer(event, 192)
    library.XSendEvent(display, int(window.id), 0, 0, buffer)
    library.XCloseDisplay(display)


def closed():
    """A film has the size with which it has begun, whatever becomes of the window."""
    window = Window("closed", "--record", "/dev/null", "--size", "960x540")
    xdotool("windowsize", window.id, "1100", "650")
    number = window.picture(after=window.newest() + 20)
    expect("size of a picture", size_of(window.path(number)), (960, 540))
    close_window(window)
    report = window.end()
    expect("scenes", [scene["name"] for scene in report["scenes"]], ["Harbour", "Cave"])


def main():
    for program in ("Xvfb", "xdotool"):
        if not shutil.which(program):
            demos.skip(f"{program} is not installed")
    DEMO.skip_unless_there()
    with x_server():
        everything()
        closed()


if __name__ == "__main__":
    main()
