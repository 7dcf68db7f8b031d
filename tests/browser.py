"""A headless Chromium for tests and screenshots, driven by its DevTools protocol through a pipe.

Debian's browser and the standard library are all it takes: playwright and selenium bring, or look for, browsers and
drivers of their own, which would have to match.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

DESKTOP, PHONE = (1280, 900), (390, 844)
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_SECONDS = 120.0


def find_browser() -> str | None:
    """The browser of the machine; PYSCALE_BROWSER names another one."""
    return os.environ.get("PYSCALE_BROWSER") or next(filter(None, map(shutil.which, _NAMES)), None)


class Browser:
    """One browser with one page.

    Attributes
    ----------
    errors : list of str
        What the page has said on the console as error or warning, exceptions included, since it was opened.
    """

    def __init__(self, command: str) -> None:
        self._profile = tempfile.mkdtemp(prefix="pyscale-browser-")
        to_browser, our_out = os.pipe()
        our_in, from_browser = os.pipe()
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe"]
        flags += [f"--user-data-dir={self._profile}", "--no-first-run", "--disable-background-networking"]
        self._process = subprocess.Popen(
            ["bash", "-c", f'exec "$0" "$@" 3<&{to_browser} 4>&{from_browser}', command, *flags, "about:blank"],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._out, self._in, self._rest, self._number = our_out, our_in, b"", 0
        self._session: str | None = None
        self._events: list[dict[str, Any]] = []
        self.errors: list[str] = []
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(t["targetId"] for t in targets if t["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._out)
        os.close(self._in)
        shutil.rmtree(self._profile, ignore_errors=True)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol, and return its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result
            self._events.append(answer)
            self._note(answer)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            if not select.select([self._in], [], [], _SECONDS)[0]:
                raise TimeoutError("the browser does not answer")
            read = os.read(self._in, 1 << 20)
            if not read:
                raise RuntimeError("the browser has ended")
            self._rest += read
        message, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def _note(self, event: dict[str, Any]) -> None:
        method, p = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            detail = p["exceptionDetails"]
            self.errors.append(str(detail.get("exception", {}).get("description") or detail["text"]))
        elif method == "Runtime.consoleAPICalled" and p["type"] in ("error", "warning", "assert"):
            self.errors.append(" ".join(str(a.get("value", a.get("description"))) for a in p["args"]))
        elif method == "Log.entryAdded" and p["entry"]["level"] in ("error", "warning"):
            self.errors.append(p["entry"]["text"])

    def open(self, path: Path, size: tuple[int, int] = DESKTOP, *, dark: bool = False) -> None:
        """Open a page in a window of some size, and wait until its script has run."""
        self.errors.clear()
        mobile = size[0] < 600
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": mobile}
        self.call("Emulation.setDeviceMetricsOverride", **metrics)
        self.scheme(dark=dark)
        self.call("Page.navigate", url=path.resolve().as_uri())
        self.wait("document.readyState === 'complete' && location.protocol === 'file:'")

    def scheme(self, *, dark: bool) -> None:
        """Prefer light or dark pages."""
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"]["exception"].get("description", "exception"))
        return found["result"].get("value")

    def wait(self, condition: str) -> None:
        """Wait until a JavaScript expression is true."""
        end = time.monotonic() + _SECONDS
        while not self.evaluate(condition):
            if time.monotonic() > end:
                raise TimeoutError(condition)
            time.sleep(0.05)

    def draw_all(self) -> None:
        """Scroll through the page, details opened, until every plot has come into view and is drawn."""
        self.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
        n = self.evaluate("document.querySelectorAll('[data-figure]').length")
        for k in range(n):
            place = f"document.querySelectorAll('[data-figure]')[{k}]"
            self.evaluate(f"{place}.scrollIntoView({{block: 'center'}})")
            self.wait(f"{place}.querySelector('.main-svg, canvas') !== null")
        self.evaluate("window.scrollTo(0, 0)")

    def height(self) -> int:
        """Of the whole page, CSS pixels."""
        return int(self.evaluate("document.documentElement.scrollHeight"))

    def screenshot(self, path: Path, top: int = 0, height: int | None = None, scale: float = 1.0) -> None:
        """A picture (PNG) of a part of the page, from `top` on."""
        width = int(self.evaluate("window.innerWidth"))
        clip = {"x": 0, "y": top, "width": width, "height": height or self.height(), "scale": scale}
        found = self.call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))

    def print(self, path: Path) -> None:
        """Print the page to a PDF file."""
        found = self.call("Page.printToPDF", preferCSSPageSize=True, printBackground=False)
        path.write_bytes(base64.b64decode(found["data"]))
