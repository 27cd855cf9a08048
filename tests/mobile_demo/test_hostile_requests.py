"""Nothing but the table of addresses is ever answered, however it is spelt; a refusal ends the connection."""

import gzip

import pytest

from tests.mobile_demo.conftest import APP, SECRET, dial, read_all, statuses, talk

SECRETS = ["secret.html", ".secret.js", "notes.bak", "link.html", "deep/.git/config.json", "etc/passwd"]
UPWARDS = [
    "../", "..%2f", "..%2F", "%2e%2e/", "%2E%2E%2F", "%2e%2e%5c", "..\\", "..%5c", "..%255c", "%252e%252e%252f",
    "..%c0%af", "%c0%ae%c0%ae/", "..%u2215", "....//", "..;/", "..%00/", "./../", "deep/../../", "deep/..%2f..%2f",
    ".%2e/", "..%09/", "//", "///", "/./", "%2f", "runtime/../../", "%uff0e%uff0e/", "..//..//",
]  # fmt: skip
OTHER_SPELLINGS = [
    "/./index.html", "//index.html", "/index.html/", "/index.html%00", "/index.html%00.js", "/INDEX.HTML",
    "/%69ndex.html", "/index.html.", "/index.html;a", "/index.html#top", "/deep/../index.html", "/deep", "/deep/",
    "/runtime", "/runtime/", "/runtime/manifest.json", "/model", "/model/", "/model/pose.tflite/..", "/app.js.gz",
    "/index.html::$DATA", "/CON", "/authority.pem", "/server.pem", "/ca.pem",
]  # fmt: skip


def ask(target: str, method: str = "GET") -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: phone\r\nConnection: close\r\n\r\n".encode()


@pytest.mark.parametrize("up", UPWARDS)
def test_no_spelling_leads_out_of_the_table(server, up):
    """All of them on one connection: each is a 404 of its own, none ends the connection or names a file."""
    targets = [f"/{up * times}{name}" for name in SECRETS for times in (1, 3, 8)]
    requests = [f"GET {target} HTTP/1.1\r\nHost: phone\r\n\r\n".encode() for target in targets]
    answers = talk(server, b"".join(requests) + ask("/index.html"))
    assert statuses(answers) == [404] * len(targets) + [200]
    assert SECRET not in answers and b"root:" not in answers


@pytest.mark.parametrize("target", OTHER_SPELLINGS)
def test_a_file_has_one_address(server, target):
    assert statuses(talk(server, ask(target))) == [404]


@pytest.mark.parametrize(
    "target", ["/", "/index.html", "/deep/icon.png", "/runtime/litert.js", "/model/pose.tflite.json"]
)
def test_what_is_there_is_given(server, target):
    assert statuses(talk(server, ask(target))) == [200]
    assert statuses(talk(server, ask(target + "?v=../../x&y"))) == [200]


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET http://phone/index.html HTTP/1.1\r\nHost: phone",
        b"GET //phone\x00/ HTTP/1.1\r\nHost: phone",
        b"GET /index.html\x00 HTTP/1.1\r\nHost: phone",
        b"GET /in dex.html HTTP/1.1\r\nHost: phone",
        b"GET  /index.html HTTP/1.1\r\nHost: phone",
        b"GET\t/index.html HTTP/1.1\r\nHost: phone",
        b"GET /index.html  HTTP/1.1\r\nHost: phone",
        b"GET /\xe4 HTTP/1.1\r\nHost: phone",
        b"GET ../index.html HTTP/1.1\r\nHost: phone",
        b"GET \\index.html HTTP/1.1\r\nHost: phone",
        b"GET * HTTP/1.1\r\nHost: phone",
        b"GET /index.html",
        b"GET /index.html HTTP/1.1",
        b"GET /index.html http/1.1\r\nHost: phone",
        b"GET /index.html HTTP/1.1 \r\nHost: phone",
        b"GET /index.html HTTP/11\r\nHost: phone",
        b"GET /index.html HTTP/1.1\r\nHost: phone\r\nHost: other",
        b"GET /index.html HTTP/1.1\r\nHost : phone",
        b"GET /index.html HTTP/1.1\r\nHost: phone\r\n folded: on",
        b"GET /index.html HTTP/1.1\r\nHost: phone\r\nno colon",
        b"GET /index.html HTTP/1.1\r\nHost: phone\r\n: nameless",
        b"GET /index.html HTTP/1.1\r\nHost: phone\r\nX: a\rGET /app.js HTTP/1.1",
        b"GET /index.html HTTP/1.1\r\nHost: phone\r\nX: a\x00b",
        b"\x00\x01\x02\x03",
    ],
)
def test_a_request_that_can_be_misread_ends_the_connection(server, request_head):
    second = ask("/app.js")
    answers = talk(server, request_head + b"\r\n\r\n" + second)
    assert statuses(answers) == [400]
    assert APP not in answers


@pytest.mark.parametrize(
    "data",
    [
        b"GET /none HTTP/1.1\r\nHost: phone\r\nX: a\nY: b\r\n\r\n",
        b"GET /none HTTP/1.1\nHost: phone\n\r\nX: y\r\n\r\n",
        b"GET /none HTTP/1.1\r\nHost: phone\n\n",
    ],
)
def test_a_bare_line_feed_ends_a_line_or_the_connection(server, data):
    """RFC 9112, 2.2 allows both. Such a request is read as the one with whole line ends, or not at all."""
    whole = data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    found, expected = (statuses(talk(server, text + ask("/app.js"))) for text in (data, whole))
    assert found in (expected, [400])


@pytest.mark.parametrize(
    "body_header",
    [
        b"Content-Length: 44",
        b"Content-Length: 0, 44",
        b"Content-Length: 0\r\nContent-Length: 44",
        b"Content-Length: +0",
        b"Content-Length: -1",
        b"Content-Length: 0x0",
        b"Content-Length:",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: identity",
        b"transfer-ENCODING:\tchunked\r\nContent-Length: 0",
        b"Transfer-Encoding:",
    ],
)
def test_bodies_and_smuggled_requests_are_refused(server, body_header):
    """What follows a GET with a body must never be taken for a request of its own."""
    hidden = b"0\r\n\r\n" + ask("/app.js")
    answers = talk(server, b"GET / HTTP/1.1\r\nHost: phone\r\n" + body_header + b"\r\n\r\n" + hidden)
    assert statuses(answers) == [400]


@pytest.mark.parametrize("method", "POST PUT DELETE PATCH OPTIONS TRACE CONNECT PROPFIND get G".split())
def test_other_methods_are_refused(server, method):
    answers = talk(server, ask("/index.html", method) + ask("/app.js"))
    assert statuses(answers) == [405]
    assert b"Allow: GET, HEAD" in answers


@pytest.mark.parametrize(
    ("version", "status"), [("HTTP/2.0", 400), ("HTTP/0.9", 400), ("HTTP/1.2", 505), ("HTTP/3.1", 400)]
)
def test_other_versions_are_refused(server, version, status):
    assert statuses(talk(server, f"GET / {version}\r\nHost: phone\r\n\r\n".encode())) == [status]
    assert statuses(talk(server, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")) == [400]


@pytest.mark.parametrize(
    ("junk", "answered"),
    [
        (b"A" * 100_000, []),
        (b"GET /" + b"a" * 100_000, []),
        (b"GET /?" + b"%00" * 2000 + b" HTTP/1.1\r\n", []),  # waits for the rest, in vain
        (b"GET /?" + b"%00" * 2000 + b" HTTP/1.1\r\nHost: phone\r\n\r\n", [414]),
    ],
)
def test_a_long_request_line_is_refused(server, junk, answered):
    """What is longer than a whole request may be ends the connection without an answer."""
    assert statuses(talk(server, junk)) == answered


@pytest.mark.parametrize(
    "headers",
    [b"X: " + b"a" * 1_000_000, b"X: y\r\n" * 100_000, b"A" * 1_000_000, b"X: y\r\n" * 3000 + b"\r\n"],
    ids=["long", "many", "nameless", "whole"],
)
def test_huge_headers_end_the_connection(server, headers):
    assert statuses(talk(server, b"GET / HTTP/1.1\r\nHost: phone\r\n" + headers)) == []


def test_pipelined_requests_are_answered_in_order(server):
    """However they are cut into packets."""
    data = b"".join(
        f"{m} {t} HTTP/1.1\r\nHost: phone\r\n\r\n".encode() for m, t in [("GET", "/none"), ("GET", "/app.js")]
    )
    data += b"GET /deep/icon.png HTTP/1.1\r\nHost: phone\r\nConnection: close\r\n\r\nGET /late HTTP/1.1\r\n\r\n"
    whole = talk(server, data)
    assert statuses(whole) == [404, 200, 200]
    with dial(server) as connection:
        for i in range(0, len(data), 7):
            connection.sendall(data[i : i + 7])
        cut = read_all(connection)
    assert [line for line in cut.split(b"\r\n") if not line.startswith(b"Date")] == [
        line for line in whole.split(b"\r\n") if not line.startswith(b"Date")
    ]
    assert whole.endswith(bytes(range(9)))


def test_head_gives_the_same_head_and_no_body(server):
    for target in ("/", "/none", "/model/pose.tflite", "/runtime/litert.js"):
        got, head = (talk(server, ask(target, method)) for method in ("GET", "HEAD"))
        assert head.split(b"\r\n\r\n")[1] == b""
        lines = [
            set(answer.split(b"\r\n\r\n")[0].split(b"\r\n")[2:]) for answer in (got, head)
        ]  # without status and date
        assert lines[0] == lines[1]


def test_old_clients_get_one_answer(server):
    answers = talk(server, b"GET / HTTP/1.0\r\n\r\nGET / HTTP/1.0\r\n\r\n")
    assert statuses(answers) == [200]


def test_an_unpacked_answer_is_the_file(server, folders):
    body = talk(server, ask("/runtime/litert.js")).partition(b"\r\n\r\n")[2]
    assert body == gzip.decompress((folders["runtime"] / "litert.js.gz").read_bytes())
