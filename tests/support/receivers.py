"""A web server on this machine that notifications are posted to."""

import http.server
import json
import threading

SECRET = "geheim-0815"
"""What the address of a `Receiver` holds, and nothing may show."""


class Receiver:
    """A server on this machine that answers as it is told, and keeps what it was sent.

    Args:
        answers: the status of each answer in order, the last one for all that follow.
        seconds: how long it waits before it answers.
        location: where redirects lead.
    """

    def __init__(self, *answers: int, seconds: float = 0.0, location: str = "") -> None:
        self.bodies: list[dict] = []
        self.headers: list = []
        self.go_on = threading.Event()
        receiver, left = self, list(answers)

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                receiver.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                receiver.headers.append(self.headers)
                receiver.go_on.wait(seconds)
                self.send_response(left.pop(0) if len(left) > 1 else left[0])
                if location:
                    self.send_header("Location", location)
                self.end_headers()

            do_GET = do_POST

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/{SECRET}?token={SECRET}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.go_on.set()
        self.server.shutdown()
        self.server.server_close()
