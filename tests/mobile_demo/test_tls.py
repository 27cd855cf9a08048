"""Over TLS: trust by the authority alone, handshakes that never end, and phones that forgot the s of https."""

import contextlib
import ssl
import time
from dataclasses import replace

import pytest

from mobile_demo.server import Limits, serve
from tests.mobile_demo.conftest import SECRET, TIMEOUT_S, dial, read_all, statuses, talk
from tests.mobile_demo.test_limits import PAGE, SLACK_S, eventually, is_left, took


@pytest.fixture(scope="module")
def trusting(secure) -> ssl.SSLContext:
    """A phone that installed what /ca.pem gives, fetched as a phone does that does not trust it yet."""
    blind = ssl.create_default_context()
    blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
    answer = talk(secure, PAGE.replace(b"/ ", b"/ca.pem "), blind)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"Content-Type: application/x-x509-ca-cert" in head
    return ssl.create_default_context(cadata=body.decode())


def test_the_authority_is_trusted_and_only_it(secure, trusting):
    assert statuses(talk(secure, PAGE, trusting)) == [200]
    with pytest.raises(ssl.SSLCertVerificationError):
        talk(secure, PAGE, ssl.create_default_context())


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_names_of_this_machine(secure, trusting, name):
    with dial(secure) as connection, trusting.wrap_socket(connection, server_hostname=name) as wrapped:
        assert wrapped.version() in ("TLSv1.2", "TLSv1.3")


def test_other_names_are_not_covered(secure, trusting):
    with dial(secure) as connection, pytest.raises(ssl.SSLCertVerificationError):
        trusting.wrap_socket(connection, server_hostname="example.org")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1:DeprecationWarning")
def test_old_protocols_are_refused(secure):
    old = ssl.create_default_context()
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError, match="alert protocol version"):
        talk(secure, PAGE, old)


def test_keys_are_never_served(secure, trusting, secure_settings):
    keys = list(secure_settings.state_dir.iterdir())
    assert len(keys) == 2
    for key in keys:
        for target in (key.name, str(key), f"..{key}", f"%2e%2e/{key.name}"):
            answer = talk(secure, f"GET /{target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode(), trusting)
            assert statuses(answer) == [404]
    assert b"PRIVATE" not in talk(secure, PAGE.replace(b"/ ", b"/ca.pem "), trusting)


def test_without_tls_there_is_no_authority(server):
    assert statuses(talk(server, PAGE.replace(b"/ ", b"/ca.pem "))) == [404]


@pytest.mark.parametrize(
    "hello",
    [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40), b"\x16\x03\x01\xff\xff"],
    ids=["silent", "first byte", "cut hello", "long hello"],
)
def test_a_handshake_that_never_ends_is_left_in_time(secure, hello):
    seconds = took(lambda: talk(secure, hello))
    assert seconds < TIMEOUT_S + SLACK_S


def test_a_handshake_in_drops_has_no_more_time(secure):
    with dial(secure) as connection:
        connection.sendall(b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03")
        assert took(lambda: is_left(connection, b"\x00", 0.05)) < TIMEOUT_S + SLACK_S


def test_unfinished_handshakes_keep_nobody_waiting(secure_settings, trusting):
    with serve(replace(secure_settings, limits=Limits())) as server, contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(dial(server)).sendall(b"\x16\x03\x01")
        assert took(lambda: statuses(talk(server, PAGE, trusting))) < SLACK_S


def test_unfinished_handshakes_count_as_connections(secure_settings, trusting):
    """Silent ones too. When one goes, the next is let in."""
    with (
        serve(replace(secure_settings, connections_each=2, limits=Limits())) as server,
        contextlib.ExitStack() as stack,
    ):
        silent, greeting = (stack.enter_context(dial(server)) for _ in range(2))
        greeting.sendall(b"\x16\x03\x01")
        assert eventually(lambda: talk(server, PAGE) == b"")
        silent.close()
        assert eventually(lambda: statuses(talk(server, PAGE)) == [307])
        greeting.close()
        assert eventually(lambda: accepted(server, trusting))


def accepted(server, tls: ssl.SSLContext) -> bool:
    """Whether there is room for one more connection."""
    with contextlib.suppress(OSError):
        return statuses(talk(server, PAGE, tls)) == [200]
    return False


def test_rubbish_after_the_handshake_s_first_byte(secure, capfd):
    assert took(lambda: talk(secure, b"\x16" + b"rubbish " * 10_000)) < SLACK_S
    assert capfd.readouterr() == ("", "")


def test_plain_http_is_pointed_to_https(secure):
    """A phone that got an address without https:// comes by plain HTTP; nothing else is given that way."""
    answer = talk(secure, b"GET /app.js?x HTTP/1.1\r\nHost: 192.168.1.5:8443\r\n\r\n" + PAGE)
    assert statuses(answer) == [307]
    assert b"\r\nLocation: https://192.168.1.5:8443/app.js?x\r\n" in answer
    assert b"Connection: close" in answer and SECRET not in answer


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: a/b", 400),
        (b"GET / HTTP/1.1\r\nHost: a@b", 400),
        (b"GET / HTTP/1.1\r\nHost: a b", 400),
        (b"GET / HTTP/1.1\r\nHost:", 400),
        (b"GET / HTTP/1.0", 400),
        (b"POST / HTTP/1.1\r\nHost: a", 405),
        (b"SSH-2.0-client", 400),
        (b"GET /" + b"a" * 5000, 400),
        (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: a", 414),
    ],
)
def test_rude_plain_requests_get_no_way(secure, request_head, status):
    answer = talk(secure, request_head + b"\r\n\r\n")
    assert statuses(answer) == [status]
    assert b"Location" not in answer


def test_closing_ends_open_connections(secure_settings, trusting, capfd):
    """In a handshake, between requests, and while an answer is sent."""
    server = serve(replace(secure_settings, limits=Limits()))
    with (
        dial(server) as silent,
        dial(server) as greeting,
        dial(server, trusting) as idle,
        dial(server, trusting) as busy,
    ):
        greeting.sendall(b"\x16\x03\x01")
        busy.sendall(PAGE.replace(b"/ ", b"/model/pose.tflite "))
        assert busy.recv(1)
        time.sleep(0.1)
        assert took(server.close) < SLACK_S
        for connection in (silent, greeting, idle, busy):
            with contextlib.suppress(ssl.SSLError):
                read_all(connection)
    assert capfd.readouterr() == ("", "")
