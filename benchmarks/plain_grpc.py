"""A gRPC call with an empty request, without a library for it: whether a server lets one in."""

import re
import socket

NAMES = {0: "OK", 12: "UNIMPLEMENTED", 14: "UNAVAILABLE", 16: "UNAUTHENTICATED"}
STATUS = re.compile(rb"grpc-status[\x01\x02]([0-9]+)")


def call(port: int, method: str, *, token: str = "") -> str:
    """Call a gRPC method with an empty request; return the status, or ``NO_GRPC`` where nobody speaks it.

    Written out (RFC 9113, and header fields without compression, RFC 7541 6.2.2), because Ray brings none for Python.
    gRPC's servers write the status of a connection's first call as plain text.
    """
    fields = [(":method", "POST"), (":scheme", "http"), (":path", f"/{method}"), (":authority", "localhost")]
    fields += [("content-type", "application/grpc"), ("te", "trailers")]
    fields += [("authorization", f"Bearer {token}")] if token else []
    block = b"".join(b"\0" + text(name) + text(value) for name, value in fields)
    asked = (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + frame(1, 4, 1, block) + frame(0, 1, 1, b"\0" * 5)
    )
    answer = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=3) as line:
            line.sendall(asked)
            line.settimeout(2.0)
            while (found := STATUS.search(answer)) is None and (more := line.recv(65536)):
                answer += more
    except OSError:
        found = STATUS.search(answer)
    if found:
        return NAMES.get(int(found[1]), f"STATUS_{int(found[1])}")
    return "NO_ANSWER" if answer[3:4] == b"\x04" else "NO_GRPC"


def text(value: str) -> bytes:
    """A string of a header block: its length, in seven bits or more, and its bytes."""
    data, size = value.encode(), len(value.encode())
    if size < 127:
        return bytes([size]) + data
    assert size < 127 + 128
    return bytes([127, size - 127]) + data


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A frame of HTTP/2."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
