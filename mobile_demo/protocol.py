"""The part of HTTP/1.1 that the demo needs: GET and HEAD of fixed addresses, and a short no to everything else.

A request's target is looked up as it came. Nothing is decoded, joined or opened, so that no spelling of a path leads
anywhere but to the table of `content.Site`.
"""

import contextlib
import re
import socket
import time
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus

from mobile_demo.content import Resource, Site

CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self' blob: 'wasm-unsafe-eval'",
        "worker-src 'self' blob:",
        "connect-src 'self' blob:",
        "img-src 'self' blob: data:",
        "media-src 'self' blob:",
        "style-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
# On every answer, errors too.
HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
REQUEST_LINE = re.compile(r"([!-~]+) ([!-~]+) HTTP/(\d)\.(\d)")
HEADER_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
HOST_AND_PORT = re.compile(r"[A-Za-z0-9.-]+(:\d{1,5})?")
TAG = re.compile(r'(?:W/)?"([^"]*)"')
PACKED = "-gzip"  # a packed body is another representation and has a tag of its own
CHUNK = 1 << 16
DRAIN_S, DRAIN_BYTES = 0.5, 1 << 18  # of what a refused client still sends, so that it gets to read the answer


@dataclass(frozen=True)
class Limits:
    """What a client may ask of the server.

    `timeout_s`: to send a whole request, and to take on each part of an answer. `bytes_per_s`: a client that takes an
    answer more slowly is left. `line_bytes`, `head_bytes`: of the request line, and of it with all headers.
    `requests`: on one connection.
    """

    timeout_s: float = 20.0
    bytes_per_s: float = 20_000.0
    line_bytes: int = 2048
    head_bytes: int = 16_384
    requests: int = 1000


class Refusal(Exception):
    """A request that is answered with `status` and the end of the connection."""

    def __init__(self, status: HTTPStatus):
        super().__init__(status)
        self.status = status


@dataclass(frozen=True)
class Request:
    """`target` is a path and its query; `headers` by name in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    keep_alive: bool

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]


def converse(connection: socket.socket, site: Site, limits: Limits) -> None:
    """Answers the requests of one connection, one after the other; raises OSError where the client fails it."""
    rest = b""
    for left in range(limits.requests - 1, -1, -1):
        request = None
        try:
            head, rest = read_head(connection, rest, limits)
            if not head:
                return
            request = parse(head)
            answer = respond(request, site)
        except Refusal as refusal:
            answer = error(refusal.status)
        stays = request is not None and request.keep_alive and left > 0
        with_body = request is None or request.method != "HEAD"
        send(connection, answer, with_body, stays, limits)
        if not stays:
            return _drain(connection)


def point_to_https(connection: socket.socket, limits: Limits) -> None:
    """Tells who speaks plain HTTP to a port of HTTPS, as phones do for an address without https://, where to go."""
    try:
        head, _ = read_head(connection, b"", limits)
        if not head:
            return
        request = parse(head)
        host = request.headers.get("host", "")
        if not HOST_AND_PORT.fullmatch(host):
            raise Refusal(HTTPStatus.BAD_REQUEST)
        location = {"Location": f"https://{host}{request.target}", "Cache-Control": "no-store"}
        answer = Answer(HTTPStatus.TEMPORARY_REDIRECT, location, b"")
    except Refusal as refusal:
        answer = error(refusal.status)
    send(connection, answer, True, False, limits)
    _drain(connection)


def read_head(connection: socket.socket, rest: bytes, limits: Limits) -> tuple[bytes, bytes]:
    """A request without its last empty line, and what came after; empty where the client has nothing more to ask.

    Raises Refusal for a head that is too long, and TimeoutError for one that is not whole in time: however many small
    parts it comes in, the time is for all of it.
    """
    end = time.monotonic() + limits.timeout_s
    while (stop := rest.find(b"\r\n\r\n")) < 0 and len(rest) <= limits.head_bytes:
        if _first_line(rest) > limits.line_bytes:
            break
        connection.settimeout(max(end - time.monotonic(), 0.001))
        received = connection.recv(CHUNK)
        if not received:
            return b"", b""
        rest += received
        if time.monotonic() > end:
            raise TimeoutError
    if _first_line(rest) > limits.line_bytes:
        raise Refusal(HTTPStatus.REQUEST_URI_TOO_LONG)
    if stop < 0 or stop > limits.head_bytes:
        raise Refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
    return rest[:stop], rest[stop + 4 :]


def parse(head: bytes) -> Request:
    """Reads a request strictly; raises Refusal for anything that two readers could understand differently."""
    first, *lines = head.decode("latin-1").split("\r\n")
    found = REQUEST_LINE.fullmatch(first)
    if not found:
        raise Refusal(HTTPStatus.BAD_REQUEST)
    method, target, major, minor = found.groups()
    if major != "1" or minor not in "01":
        raise Refusal(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
    if method not in ("GET", "HEAD"):
        raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED)
    headers: dict[str, str] = {}
    for line in lines:
        header = HEADER_LINE.fullmatch(line)
        name = header[1].lower() if header else ""
        if not header or (name == "host" and name in headers):
            raise Refusal(HTTPStatus.BAD_REQUEST)
        value = header[2].strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    has_body = "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
    if has_body or not target.startswith("/") or (minor == "1" and "host" not in headers):
        raise Refusal(HTTPStatus.BAD_REQUEST)
    wishes = headers.get("connection", "").lower()
    keep_alive = minor == "1" and "close" not in wishes
    return Request(method, target, headers, keep_alive)


@dataclass(frozen=True)
class Answer:
    """A status, its own headers, and a body whose length is told even where it is not sent."""

    status: HTTPStatus
    headers: dict[str, str]
    body: bytes | None


def respond(request: Request, site: Site) -> Answer:
    """What a sound request gets."""
    found = site.find(request.path)
    if found is None:
        return error(HTTPStatus.NOT_FOUND)
    wanted = request.headers.get("if-match")
    if wanted is not None and not _names(wanted, found.tag):
        return error(HTTPStatus.PRECONDITION_FAILED)
    packed = found.packed is not None and accepts_gzip(request.headers.get("accept-encoding", ""))
    tag = found.tag + (PACKED if packed else "")
    headers = {"ETag": f'"{tag}"'} | ({"Vary": "Accept-Encoding"} if found.packed else {})
    if _names(request.headers.get("if-none-match", ""), tag):
        return Answer(HTTPStatus.NOT_MODIFIED, headers, None)
    return _full(found, packed, headers)


def error(status: HTTPStatus) -> Answer:
    """A line of text that says no."""
    headers = {"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store"}
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = "GET, HEAD"
    return Answer(status, headers, f"{status.value} {status.phrase}\n".encode())


def accepts_gzip(header: str) -> bool:
    """Whether an Accept-Encoding names gzip, or all, and does not rule it out by a weight of 0."""
    weights = {}
    for part in header.lower().split(","):
        name, _, parameter = part.strip().partition(";")
        weights[name.strip()] = not re.fullmatch(r"\s*q\s*=\s*0(\.0*)?\s*", parameter)
    return weights.get("gzip", weights.get("*", False))


def send(connection: socket.socket, answer: Answer, with_body: bool, stays: bool, limits: Limits) -> None:
    """Sends an answer in parts; raises TimeoutError for a client that takes it too slowly."""
    headers = {"Date": formatdate(usegmt=True)} | HEADERS | answer.headers
    if answer.body is not None:
        headers["Content-Length"] = str(len(answer.body))
    headers["Connection"] = "keep-alive" if stays else "close"
    lines = [f"HTTP/1.1 {answer.status.value} {answer.status.phrase}", *(f"{k}: {v}" for k, v in headers.items())]
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    body = memoryview(answer.body if with_body and answer.body else b"")  # a model is large: never copied whole
    end = time.monotonic() + limits.timeout_s + (len(head) + len(body)) / limits.bytes_per_s
    for part in (head + body[:CHUNK], *(body[start : start + CHUNK] for start in range(CHUNK, len(body), CHUNK))):
        left = end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(min(left, limits.timeout_s))
        connection.sendall(part)


def _full(found: Resource, packed: bool, headers: dict[str, str]) -> Answer:
    headers = headers | {"Content-Type": found.content_type}
    if packed:
        return Answer(HTTPStatus.OK, headers | {"Content-Encoding": "gzip"}, found.packed)
    return Answer(HTTPStatus.OK, headers, found.plain)


def _first_line(received: bytes) -> int:
    """Its length, so far."""
    end = received.find(b"\r\n")
    return end if end >= 0 else len(received)


def _names(header: str, tag: str) -> bool:
    """Whether an If-Match or If-None-Match names the tag, or any."""
    return header.strip() == "*" or tag in TAG.findall(header)


def _drain(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(DRAIN_S)
        end, left = time.monotonic() + DRAIN_S, DRAIN_BYTES
        while left > 0 and time.monotonic() < end and (received := connection.recv(CHUNK)):
            left -= len(received)
