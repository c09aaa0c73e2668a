"""A real Chromium, spoken to through its DevTools pipe: real keys, a real mouse, dark and print media."""

import base64
import fcntl
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.conftest import real_part

DEADLINE_S = 120


class Browser:
    """One page in a headless Chromium. Closes with the `with` block."""

    def __init__(self, page: Path, profile: Path) -> None:
        program = shutil.which("chromium") or shutil.which("google-chrome")
        if not program:
            real_part("Chromium")
        ask_out, self._ask = (fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in os.pipe())
        self._tell, tell_in = (fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in os.pipe())
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1280,900", f"--user-data-dir={profile}"]
        shell = f'exec "$0" "$@" 3<&{ask_out} 4>&{tell_in}'  # the pipe's fixed descriptors
        command = ["bash", "-c", shell, program, "--remote-debugging-pipe", *flags]
        self._process = subprocess.Popen(command, pass_fds=(ask_out, tell_in), stderr=subprocess.DEVNULL)
        os.close(ask_out), os.close(tell_in)
        self._ids, self._read, self._session = itertools.count(1), b"", None
        target = self.call("Target.createTarget", url=page.as_uri())["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.wait("document.readyState === 'complete'")

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.terminate()
        self._process.wait(30)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the DevTools protocol, and its answer."""
        number = next(self._ids)
        message = {"id": number, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._ask, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._read:
            assert select.select([self._tell], [], [], DEADLINE_S)[0], f"chromium was silent for {DEADLINE_S} s"
            self._read += os.read(self._tell, 1 << 20)
        message, self._read = self._read.split(b"\0", 1)
        return json.loads(message)

    def eval(self, script: str) -> Any:
        """What an expression gives in the page."""
        done = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def wait(self, script: str) -> None:
        """Until the expression is true."""
        deadline = time.monotonic() + DEADLINE_S
        while not self.eval(script):
            assert time.monotonic() < deadline, script
            time.sleep(0.05)

    def type(self, text: str) -> None:
        """Keys, one after another, to what has the focus."""
        for letter in text:
            self.call("Input.dispatchKeyEvent", type="keyDown", text=letter)
            self.call("Input.dispatchKeyEvent", type="keyUp")

    def press(self, key: str, code: int, text: str = "") -> None:
        """One named key, such as Tab (9) or Enter (13, ``\\r``)."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, text=text)

    def mouse(self, x: float, y: float, click: bool = False) -> None:
        """The pointer at a place of the window in pixels."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        for kind in ("mousePressed", "mouseReleased") if click else ():
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def media(self, kind: str = "", dark: bool = False) -> None:
        """Paper ("print") or the screen, light or dark."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=kind, features=[scheme])

    def screenshot(self, path: Path) -> None:
        """The whole page as a PNG."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))
