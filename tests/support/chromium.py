"""A page in a headless Chromium, driven through its DevTools protocol: open, evaluate JavaScript, point, type, picture.

It needs nothing but a Chromium on the machine: no driver and no download.
"""

import asyncio
import base64
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp  # comes with mlflow
import pytest
import requests

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run")
_NO_NETWORK = ("--disable-background-networking", "--disable-component-update", "--disable-sync")
_LONGEST_ANSWER = 2**26
"""Bytes of one message; a picture of a long page has some megabytes."""
_KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, "ArrowRight": 39}
_COMPLAINTS = ("error", "warning", "assert")
_PLACE = """(() => {
    const element = document.querySelector(%s), path = element.querySelector("path");
    element.scrollIntoView({ block: "center" });
    const box = element.getBoundingClientRect();
    if (!path) return [box.x + box.width / 2, box.y + box.height / 2];
    const place = path.getPointAtLength(0).matrixTransform(path.getScreenCTM());
    return [place.x, place.y];
})()"""
"""Where an element is: the start of its first path, or its middle."""
WAIT_S = 60.0


class Page:
    """One tab. Every call returns when the browser has answered."""

    def __init__(self, socket: str, *, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._sent = loop, 0
        self._session = loop.run_until_complete(_session())
        connecting = self._session.ws_connect(socket, max_msg_size=_LONGEST_ANSWER)
        self._socket = loop.run_until_complete(connecting)
        self._events: list[dict[str, Any]] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: object) -> dict[str, Any]:
        """Send a command of the protocol and return its answer; raises ``RuntimeError`` where it is refused."""
        return self._loop.run_until_complete(asyncio.wait_for(self._call(method, params), WAIT_S))

    async def _call(self, method: str, params: dict[str, object]) -> dict[str, Any]:
        self._sent += 1
        await self._socket.send_json({"id": self._sent, "method": method, "params": params})
        while True:
            message: dict[str, Any] = json.loads((await self._socket.receive()).data)
            if "method" in message:
                self._events.append(message)
            if message.get("id") == self._sent:
                break
        if "error" in message:
            raise RuntimeError(f"{method}: {message['error']['message']}")
        return dict(message["result"])

    def open(self, url: str) -> None:
        """Go to an address; the page may still be loading when this returns."""
        self.call("Page.navigate", url=url)

    def open_file(self, path: Path) -> None:
        """Open a file and wait until it is loaded; what earlier pages complained of or asked for is forgotten."""
        self.open("about:blank")  # so that a file that is opened again is seen to be replaced
        self.wait_for("location.href === 'about:blank'")
        self._events.clear()
        url = path.resolve().as_uri()
        self.open(url)
        self.wait_for(f"location.href === {json.dumps(url)} && document.readyState === 'complete'")

    def evaluate(self, script: str) -> Any:
        """Return the value of a JavaScript expression, awaited if it is a promise."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait_for(self, script: str, *, seconds: float = WAIT_S) -> Any:
        """Return the value of an expression once it is true; raises ``TimeoutError`` with the page's text if never."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with suppress(RuntimeError):  # the page is being replaced
                if value := self.evaluate(script):
                    return value
            time.sleep(0.1)
        raise TimeoutError(f"never true: {script}; the page says: {self.evaluate('document.body.innerText')[:2000]}")

    def click(self, selector: str) -> None:
        """Click the first element that a CSS selector finds, once it is there."""
        self.wait_for(f"document.querySelector({json.dumps(selector)}) !== null")
        self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    def move_to(self, selector: str) -> None:
        """Move the pointer to the start of the first path in an element, or to its middle, as a person does."""
        across, down = self.evaluate(_PLACE % json.dumps(selector))
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=across, y=down)

    def press(self, key: str) -> None:
        """Press and release a key: ``Tab``, ``Enter``, ``Escape`` or ``ArrowRight``."""
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            named = {"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": _KEYS[key]}
            self.call("Input.dispatchKeyEvent", **named, **text)

    @property
    def errors(self) -> list[str]:
        """Errors that scripts of the page did not handle."""
        thrown = [event["params"]["exceptionDetails"] for event in self._seen("Runtime.exceptionThrown")]
        return [str(details.get("exception", {}).get("description")) for details in thrown]

    @property
    def complaints(self) -> list[str]:
        """What went wrong: unhandled errors, and errors and warnings of the console or of the browser's own log."""
        logged = [event["params"]["entry"] for event in self._seen("Log.entryAdded")]
        said = [event["params"] for event in self._seen("Runtime.consoleAPICalled")]
        return [
            *self.errors,
            *(entry["text"] for entry in logged if entry["level"] in _COMPLAINTS),
            *(str(own["args"]) for own in said if own["type"] in _COMPLAINTS),
        ]

    @property
    def requests(self) -> list[str]:
        """The addresses that the page asked for."""
        return [event["params"]["request"]["url"] for event in self._seen("Network.requestWillBeSent")]

    def _seen(self, method: str) -> list[dict[str, Any]]:
        """Return the events of a kind that have come; those sent before an answer come before it."""
        self.evaluate("0")
        return [event for event in self._events if event["method"] == method]

    def resize(self, width: int, height: int, *, dark: bool = False) -> None:
        """Set the size of the window in CSS pixels, and the colour scheme that the page is told to prefer."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self, path: Path) -> None:
        """Write what the window shows as a PNG file."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def close(self) -> None:
        self._loop.run_until_complete(self._socket.close())
        self._loop.run_until_complete(self._session.close())


@contextmanager
def chromium_page(*, width: int = 1400, height: int = 900) -> Iterator[Page]:
    """Yield an empty page of a new browser, which ends with the block; skips the test where there is no Chromium."""
    program = next((found for name in _NAMES if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"no Chromium here: none of {', '.join(_NAMES)} is installed")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        flags = (*_FLAGS, *_NO_NETWORK, "--remote-debugging-port=0", f"--user-data-dir={folder}")
        browser = subprocess.Popen([program, *flags, "about:blank"], stderr=subprocess.DEVNULL)
        loop = asyncio.new_event_loop()
        try:
            page = Page(_first_tab(Path(folder), browser=browser), loop=loop)
            try:
                page.resize(width, height)
                yield page
            finally:
                page.close()
        finally:
            browser.terminate()
            browser.wait(WAIT_S)
            loop.close()


async def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession()


def _first_tab(folder: Path, *, browser: "subprocess.Popen[bytes]") -> str:
    """Return the address of the first tab's socket, once the browser has written its port into its folder."""
    file, end = folder / "DevToolsActivePort", time.monotonic() + WAIT_S
    while time.monotonic() < end and browser.poll() is None:
        if file.is_file() and (lines := file.read_text(encoding="utf-8").splitlines()):
            tabs = requests.get(f"http://127.0.0.1:{lines[0]}/json/list", timeout=WAIT_S).json()
            if pages := [tab for tab in tabs if tab["type"] == "page"]:
                return str(pages[0]["webSocketDebuggerUrl"])
        time.sleep(0.05)
    raise RuntimeError(f"Chromium opened no page within {WAIT_S:g} s (exit code {browser.poll()})")
