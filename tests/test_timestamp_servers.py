"""Asking time-stamping servers: honest ones, and those that misbehave."""

import datetime
import hashlib
from collections.abc import Callable

import pytest
import tsa
from cryptography import x509
from refusals import assert_refused
from tsa import DATA, LocalTsa, der, integer

from wmjax.errors import AccessError, InvalidFile, UsageError
from wmjax.evidence.timestamps import check, embedded_certificates, obtain


def test_an_obtained_token_verifies(local, trusted):
    before = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=2)
    token = obtain(local.url, DATA, trusted)
    stamp = check(token, DATA, trusted)
    assert stamp.trusted
    assert before < stamp.time < before + datetime.timedelta(minutes=10)
    assert local.certificate in x509.load_pem_x509_certificates(embedded_certificates(token))


def test_the_query_is_of_sha256_with_a_nonce_and_for_certificates(local):
    seen = []
    local.respond = lambda query: (seen.append(query), local.answer(query))[1]
    token = obtain(local.url, DATA)
    obtain(local.url, DATA)
    version, message_imprint, nonce, certificates = tsa.children(seen[0])
    assert (version, message_imprint) == (integer(1), tsa.imprint(DATA))
    assert certificates == b"\x01\x01\xff"
    assert len(nonce) >= 8
    assert nonce in token
    assert nonce not in seen[1]


def test_an_obtained_token_is_what_the_server_sent(local):
    sent = []

    def respond(query: bytes) -> tsa.Answer:
        sent.append(local.answer(query))
        return sent[0]

    local.respond = respond
    assert obtain(local.url, DATA) == sent[0][2]


def test_a_server_that_is_not_pinned_is_refused_where_someone_is(local, trusted, tmp_path):
    other = LocalTsa(tmp_path)
    local.respond = other.answer
    assert_refused(lambda: obtain(local.url, DATA, trusted), "none of the pinned")
    assert obtain(local.url, DATA)


def answers(body: bytes, status: int = 200, **headers: str) -> Callable[[bytes], tsa.Answer]:
    return lambda query: (status, headers, body)


def test_a_replayed_token_is_refused(local, trusted):
    local.respond = answers(obtain(local.url, DATA))
    assert_refused(lambda: obtain(local.url, DATA, trusted), "nonce")
    local.respond = answers(local.stamp(DATA))
    assert_refused(lambda: obtain(local.url, DATA, trusted), "nonce")


def test_a_token_of_other_data_is_not_taken(local, trusted):
    def respond(query: bytes) -> tsa.Answer:
        return local.answer(query.replace(hashlib.sha256(DATA).digest(), hashlib.sha256(b"other").digest()))

    local.respond = respond
    assert_refused(lambda: obtain(local.url, DATA, trusted), "other data")


@pytest.mark.parametrize(
    "body",
    [b"", b"garbage", b"<html><body>Please log in</body></html>"],
    ids=["empty", "garbage", "HTML"],
)
def test_an_answer_that_is_no_token_is_refused(body, local, trusted):
    local.respond = answers(body)
    assert_refused(lambda: obtain(local.url, DATA, trusted), local.url)


def test_a_huge_answer_is_not_read_to_its_end(local, trusted):
    local.respond = answers(bytes(2 << 20))
    assert_refused(lambda: obtain(local.url, DATA, trusted), f"{local.url} answered with more than")


def test_a_refusal_and_a_cut_answer_are_refused(local, trusted):
    local.respond = answers(der(tsa.SEQUENCE, der(tsa.SEQUENCE, integer(2))))
    assert_refused(lambda: obtain(local.url, DATA, trusted), "did not grant")

    def cut(query: bytes) -> tsa.Answer:
        status, headers, body = local.answer(query)
        return status, {**headers, "Content-Length": str(len(body))}, body[:-10]

    local.respond = cut
    assert_refused(lambda: obtain(local.url, DATA, trusted), "not a time stamp")


@pytest.mark.parametrize("status", [400, 404, 500, 503])
def test_an_error_of_the_server_is_an_access_error(status, local):
    local.respond = answers(b"sorry", status)
    assert_refused(lambda: obtain(local.url, DATA), f"answered {status}", AccessError)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status, local, tmp_path):
    for target in (tmp_path.as_uri(), "ftp://127.0.0.1/x", f"{local.url}/elsewhere"):
        asked = []

        def respond(query: bytes, target: str = target, asked: list = asked) -> tsa.Answer:
            asked.append(query)
            return status, {"Location": target}, b""

        local.respond = respond
        assert_refused(lambda: obtain(local.url, DATA), f"answered {status}.*{target}", AccessError)
        assert len(asked) == 1


def test_a_server_that_is_down_is_an_access_error():
    with tsa.serve(answers(b"")) as url:
        pass
    assert_refused(lambda: obtain(url, DATA), "cannot reach", AccessError)


@pytest.mark.parametrize(
    "status_line", [b"", b"\0\xff garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"]
)
def test_a_server_that_does_not_speak_http_is_refused_in_one_line(status_line, local, trusted):
    import socket
    import threading

    with socket.create_server(("127.0.0.1", 0)) as server:

        def talk() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(status_line)

        thread = threading.Thread(target=talk, daemon=True)
        thread.start()
        with pytest.raises((AccessError, InvalidFile)) as caught:
            obtain(f"http://127.0.0.1:{server.getsockname()[1]}/", DATA, trusted)
        thread.join()
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "tsa.example",
        "file:///etc/passwd",
        "ftp://127.0.0.1/",
        "data:,x",
        "http://",
        "http://[::1",
        "http://user:hunter2@127.0.0.1/",
    ],
)
def test_an_address_that_cannot_be_is_a_usage_error(url):
    assert_refused(lambda: obtain(url, DATA), "http", UsageError)
    with pytest.raises(UsageError) as caught:
        obtain(url, DATA)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:x/", "http://127.0.0.1:99999/", "http://127.0.0.1:1/a b", "http://é\n.invalid:1/"]
)
def test_a_strange_address_ends_in_one_line(url):
    with pytest.raises((UsageError, AccessError)) as caught:
        obtain(url, DATA)
    assert str(caught.value).isprintable()


def test_a_query_in_the_address_is_not_repeated(local):
    local.respond = answers(b"", 500)
    with pytest.raises(AccessError) as caught:
        obtain(f"{local.url}?token=hunter2", DATA)
    assert "hunter2" not in str(caught.value)
