"""Servers for tests that answer like an MLflow server, or like something else on its port."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

Answer = tuple[int, str]
"""Status and body."""
HTML = "<!doctype html>\n<html><body>\n<h1>Sign in</h1></body></html>"
_API = "/api/2.0/mlflow/experiments/"


class FakeMlflow:
    """Experiments served like MLflow's API, below a path, to requests with the right header."""

    def __init__(self, *, prefix: str = "", authorization: str | None = None, writable: bool = True) -> None:
        self.prefix, self.authorization, self.writable = prefix, authorization, writable
        self.experiments: dict[str, str] = {"Default": "0"}
        self.tags: dict[str, str] = {}
        self.requests: list[str] = []

    def answer(self, method: str, path: str, headers: dict[str, str], body: str) -> Answer:
        """Return the answer; every path but the API is not found, its health path included."""
        self.requests.append(f"{method} {path}")
        if self.authorization is not None and headers.get("Authorization") != self.authorization:
            return 401, "You are not authenticated. Please see the documentation\nfor how to authenticate."
        name, _, query = path.removeprefix(self.prefix + _API).partition("?")
        if not path.startswith(self.prefix + _API):
            return 404, HTML
        given = json.loads(body) if body else dict(pair.split("=") for pair in query.split("&") if pair)
        return self._call(name, given)

    def _call(self, name: str, given: dict[str, str]) -> Answer:
        if name == "search":
            return 200, json.dumps({"experiments": [self._experiment(known) for known in self.experiments]})
        if name == "get-by-name" and given["experiment_name"] in self.experiments:
            return 200, json.dumps({"experiment": self._experiment(given["experiment_name"])})
        if name == "get-by-name":
            return 404, json.dumps({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such experiment"})
        if not self.writable:
            return 403, json.dumps({"error_code": "PERMISSION_DENIED", "message": "Permission denied"})
        if name == "create":
            self.experiments[given["name"]] = str(len(self.experiments))
            return 200, json.dumps({"experiment_id": self.experiments[given["name"]]})
        assert name == "set-experiment-tag"
        self.tags[given["key"]] = given["value"]
        return 200, "{}"

    def _experiment(self, name: str) -> dict[str, str]:
        number = self.experiments[name]
        return {
            "experiment_id": number,
            "name": name,
            "artifact_location": "mlflow-artifacts:/0",
            "lifecycle_stage": "active",
        }


@contextmanager
def serving(
    answer: Callable[[str, str, dict[str, str], str], Answer], *, certificate: Path | None = None
) -> Iterator[str]:
    """Serve answers on a free port for the duration of a block; yield ``127.0.0.1:PORT``."""

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            status, text = answer(self.command, self.path, dict(self.headers.items()), body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST = do_PATCH = _serve

        def log_message(self, *args: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def always(status: int, text: str) -> Callable[..., Answer]:
    """Return a server with the same answer to every request."""
    return lambda *_: (status, text)
