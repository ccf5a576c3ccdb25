"""A headless Chromium that opens a page and answers questions about it, over the DevTools protocol.

It needs nothing but a Chromium on the machine and aiohttp, which datasets brings: no driver and no download.
"""

import asyncio
import itertools
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-extensions",
           "--disable-background-networking", "--remote-debugging-port=0", "--window-size=1400,900")  # fmt: skip
PATIENCE = 120.0  # seconds until the browser is taken for dead


class Page:
    """One open page: what it evaluates, and what it wrote to its console or asked the network for."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, session: str) -> None:
        self._socket, self._session = socket, session
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.events: list[dict[str, Any]] = []

    async def call(self, method: str, **params: object) -> dict[str, Any]:
        """Send one command and return its result."""
        number = next(self._numbers)
        answered = self._answers[number] = asyncio.get_running_loop().create_future()
        message = {"id": number, "method": method, "params": params}
        await self._socket.send_json(message | ({"sessionId": self._session} if self._session else {}))
        answer = await asyncio.wait_for(answered, PATIENCE)
        del self._answers[number]
        assert "error" not in answer, (method, answer)
        return answer["result"]

    async def evaluate(self, expression: str) -> Any:
        """Return the value of an expression in the page; an error there is one here."""
        found = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    async def open(self, path: Path) -> None:
        """Open a file and wait until it is loaded."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.call(f"{domain}.enable")
        await self.call("Page.navigate", url=path.resolve().as_uri())
        await self.until(lambda: any(event["method"] == "Page.loadEventFired" for event in self.events))

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something about the events holds."""
        async with asyncio.timeout(PATIENCE):
            while not holds():
                await asyncio.sleep(0.02)

    async def move_to(self, selector: str) -> None:
        """Move the pointer to the start of the first path in an element, or to its middle, as a person does."""
        at = await self.evaluate(f"""(() => {{
            const element = document.querySelector({json.dumps(selector)}), path = element.querySelector("path");
            element.scrollIntoView({{ block: "center" }});
            if (!path) {{ const box = element.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; }}
            const place = path.getPointAtLength(0).matrixTransform(path.getScreenCTM());
            return [place.x, place.y];
        }})()""")  # noqa: E501
        await self.call("Input.dispatchMouseEvent", type="mouseMoved", x=at[0], y=at[1])

    async def press(self, key: str) -> None:
        """Press and release a key, such as ``Tab`` or ``ArrowRight``."""
        code = {"Tab": 9, "Enter": 13, "Escape": 27, "ArrowRight": 39}[key]
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            await self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)

    @property
    def complaints(self) -> list[dict[str, Any]]:
        """What went wrong in the page: exceptions, and errors and warnings of its console or of the browser's log."""
        return [event for event in self.events if _is_complaint(event)]

    @property
    def requests(self) -> list[str]:
        """The addresses that the page asked for."""
        return [
            event["params"]["request"]["url"] for event in self.events if event["method"] == "Network.requestWillBeSent"
        ]

    async def listen(self) -> None:
        """Take what the browser sends: answers to calls, and events."""
        async for message in self._socket:
            known = json.loads(message.data)
            if known.get("id") in self._answers:
                self._answers[known["id"]].set_result(known)
            elif "method" in known:
                self.events.append(known)


def browser_program() -> str | None:
    """Return the path of a Chromium on this machine; None where there is none."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


def ask(path: Path, questions: Callable[[Page], Awaitable[None]], *, options: Sequence[str] = ()) -> None:
    """Open a file in a headless Chromium and ask it; the browser ends with the questions."""
    asyncio.run(_ask(path, questions, options))


async def _ask(path: Path, questions: Callable[[Page], Awaitable[None]], options: Sequence[str]) -> None:
    async with _browser(options) as page:
        await page.open(path)
        await questions(page)


@asynccontextmanager
async def _browser(options: Sequence[str]) -> AsyncIterator[Page]:
    program = browser_program()
    assert program is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        process = await asyncio.create_subprocess_exec(
            program, *OPTIONS, *options, f"--user-data-dir={folder}", "about:blank",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            port = await _port(Path(folder) / "DevToolsActivePort")
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{port}/json/list") as listed:
                    pages = [each for each in await listed.json() if each["type"] == "page"]
                async with session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                    page = Page(socket, "")
                    listening = asyncio.create_task(page.listen())
                    yield page
                    listening.cancel()
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def _port(file: Path) -> int:
    """Return the port that the browser chose, which it writes into its folder."""
    async with asyncio.timeout(PATIENCE):
        while not file.is_file() or not file.read_text().strip():
            await asyncio.sleep(0.05)
    return int(file.read_text().split()[0])


def _is_complaint(event: dict[str, Any]) -> bool:
    if event["method"] == "Runtime.exceptionThrown":
        return True
    if event["method"] == "Runtime.consoleAPICalled":
        return event["params"]["type"] in ("error", "warning", "assert")
    return event["method"] == "Log.entryAdded" and event["params"]["entry"]["level"] in ("error", "warning")
