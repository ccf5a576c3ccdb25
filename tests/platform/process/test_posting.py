"""A message reaches a server that is there in the end; the address it goes to is shown nowhere but by its host."""

import base64
import logging
import socket
import threading
import time

import pytest
from receivers import SECRET, Receiver

from nmlab.platform.process.posting import Poster, secret_url

FAST = (0.02, 0.02, 0.02)


@pytest.fixture
def receive(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    made = []

    def start(*answers, **others):
        made.append(Receiver(*answers, **others))
        return made[-1]

    yield start
    for receiver in made:
        receiver.close()


@pytest.fixture
def warnings(caplog):
    caplog.set_level(logging.WARNING, logger="nmlab")
    return lambda: [record.getMessage() for record in caplog.records if record.name.endswith("posting")]


def poster(url, **others):
    return Poster(secret_url(url, what="--notify"), **{"delays": FAST, **others})


def test_a_message_is_posted_as_json(receive, warnings):
    receiver = receive(204)
    posts = poster(receiver.url)
    posts.post({"a": 1})
    posts.close(within=20)
    assert receiver.bodies == [{"a": 1}]
    assert receiver.headers[0]["Content-Type"] == "application/json"
    assert warnings() == []


def test_a_server_that_fails_at_first_is_asked_again(receive, warnings):
    receiver = receive(500, 429, 200)
    posts = poster(receiver.url)
    posts.post({"a": 1})
    posts.close(within=20)
    assert receiver.bodies == [{"a": 1}] * 3
    assert warnings() == []


def test_a_server_that_refuses_is_not_asked_again(receive, warnings):
    receiver = receive(404)
    posts = poster(receiver.url)
    for number in range(3):
        posts.post({"a": number})
    posts.close(within=20)
    assert receiver.bodies == [{"a": 0}, {"a": 1}, {"a": 2}]
    port = receiver.server.server_address[1]
    assert warnings() == [f"http://127.0.0.1:{port} did not take a notification: it answered 404"]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(receive, warnings, status):
    other = receive(200)
    receiver = receive(status, location=other.url)
    posts = poster(receiver.url)
    posts.post({"a": 1})
    posts.close(within=20)
    assert (len(receiver.bodies), other.bodies) == (1, [])
    assert len(warnings()) == 1
    assert f"it answered {status}, a redirect, which is not followed" in warnings()[0]
    assert SECRET not in warnings()[0]


def test_a_server_that_is_down_costs_one_warning_without_the_address(warnings):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    posts = poster(f"http://127.0.0.1:{port}/{SECRET}")
    for number in range(3):
        posts.post({"a": number})
    posts.close(within=20)
    assert warnings() == [f"http://127.0.0.1:{port} did not take a notification: Connection refused"]


def test_a_slow_server_holds_nobody_up(receive, warnings):
    receiver = receive(200, seconds=60)
    posts = poster(receiver.url, answer_seconds=30)
    posts.post({"a": 1})  # returns although nobody answers
    posts.close(within=0.2)
    assert len(warnings()) == 1
    assert "no answer within 0.2 s" in warnings()[0]
    assert not receiver.go_on.is_set()


def test_the_pauses_end_when_the_process_wants_to(receive, warnings):
    receiver = receive(500, 200)
    posts = poster(receiver.url, delays=(3600.0,))
    posts.post({"a": 1})
    while not receiver.bodies:
        time.sleep(0.01)
    posts.close(within=20)
    assert len(receiver.bodies) == 2
    assert warnings() == []


def test_without_a_message_there_is_no_thread():
    posts = poster("http://127.0.0.1:1/x")
    before = threading.active_count()
    posts.close(within=20)
    assert threading.active_count() == before


def test_user_and_password_become_a_header(receive):
    receiver = receive(200)
    posts = poster(receiver.url.replace("http://", "http://me:p%40ss@"))
    posts.post({})
    posts.close(within=20)
    assert receiver.headers[0]["Authorization"] == f"Basic {base64.b64encode(b'me:p@ss').decode()}"


@pytest.mark.parametrize(
    "text",
    [
        f"ftp://host/{SECRET}",
        f"file:///{SECRET}",
        f"//host/{SECRET}",
        SECRET,
        f"http:///{SECRET}",
        f"http://host:{SECRET}/",
        f"http://[{SECRET}",
        f"https://host/{SECRET} ü",
        f"https://host/{SECRET}\n",
        "",
    ],
)
def test_what_is_no_address_of_http_is_refused_without_being_shown(text):
    with pytest.raises(ValueError, match=r"^--notify: expected an address of http:// or https://") as refused:
        secret_url(text, what="--notify")
    assert SECRET not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_address_shows_itself_by_its_host_alone():
    url = secret_url(f"https://u:{SECRET}@host.example:8443/{SECRET}?a={SECRET}#{SECRET}", what="--notify")
    assert f"{url} {url!r}" == "https://host.example:8443 https://host.example:8443"
    assert repr(secret_url("http://[::1]:80/x", what="a")) == "http://[::1]:80"
