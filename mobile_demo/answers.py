"""What the server answers: the status, headers and body for each request.

Tornado parses the requests. A path is looked up exactly as it was sent. Nothing is decoded, joined or opened, so no
spelling of a path leads anywhere but to the table of `content.Site`.
"""

import re
from dataclasses import dataclass
from http import HTTPStatus

from tornado.httputil import HTTPServerRequest

from mobile_demo.content import Site

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
# Sent with every answer, including errors.
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
HOST_AND_PORT = re.compile(r"[A-Za-z0-9.-]+(:\d{1,5})?")
TAG = re.compile(r'(?:W/)?"([^"]*)"')
PACKED = "-gzip"  # the gzipped body is a separate representation and needs its own tag


@dataclass(frozen=True)
class Answer:
    """A response. HEAD gets the same headers without the body; `closes` ends the connection afterwards."""

    status: HTTPStatus
    headers: dict[str, str]
    body: bytes | None = None
    closes: bool = False


def respond(request: HTTPServerRequest, site: Site, line_bytes: int) -> Answer:
    """The answer to a request for the page; `line_bytes` is the longest target to accept."""
    if refused := _refusal(request, line_bytes):
        return error(refused, closes=True)
    found = site.find(request.path)
    if found is None:
        return error(HTTPStatus.NOT_FOUND)
    wanted = request.headers.get("If-Match")
    if wanted is not None and not _names(wanted, found.tag):
        return error(HTTPStatus.PRECONDITION_FAILED)
    packed = found.packed is not None and accepts_gzip(request.headers.get("Accept-Encoding", ""))
    tag = found.tag + (PACKED if packed else "")
    headers = {"ETag": f'"{tag}"'} | ({"Vary": "Accept-Encoding"} if found.packed else {})
    if _names(request.headers.get("If-None-Match", ""), tag):
        return Answer(HTTPStatus.NOT_MODIFIED, headers)
    headers |= {"Content-Type": found.content_type} | ({"Content-Encoding": "gzip"} if packed else {})
    return Answer(HTTPStatus.OK, headers, found.packed if packed else found.plain)


def point_to_https(request: HTTPServerRequest, line_bytes: int) -> Answer:
    """Redirects plain HTTP on the HTTPS port: phones send it when an address is typed without https://."""
    if refused := _refusal(request, line_bytes):
        return error(refused, closes=True)
    if not HOST_AND_PORT.fullmatch(request.headers.get("Host", "")):
        return error(HTTPStatus.BAD_REQUEST, closes=True)
    location = {"Location": f"https://{request.headers['Host']}{request.uri}", "Cache-Control": "no-store"}
    return Answer(HTTPStatus.TEMPORARY_REDIRECT, location, b"", closes=True)


def error(status: HTTPStatus, closes: bool = False) -> Answer:
    """A status with one line of text."""
    headers = {"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store"}
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = "GET, HEAD"
    return Answer(status, headers, f"{status.value} {status.phrase}\n".encode(), closes)


def accepts_gzip(header: str) -> bool:
    """Whether an Accept-Encoding names gzip, or any encoding, with a weight above 0."""
    weights = {}
    for part in header.lower().split(","):
        name, _, parameter = part.strip().partition(";")
        weights[name.strip()] = not re.fullmatch(r"\s*q\s*=\s*0(\.0*)?\s*", parameter)
    return weights.get("gzip", weights.get("*", False))


def _refusal(request: HTTPServerRequest, line_bytes: int) -> HTTPStatus | None:
    """Why a well-formed request is refused; None for one to answer."""
    if request.version not in ("HTTP/1.0", "HTTP/1.1"):
        return HTTPStatus.HTTP_VERSION_NOT_SUPPORTED
    if request.method not in ("GET", "HEAD"):
        return HTTPStatus.METHOD_NOT_ALLOWED
    if len(request.uri) > line_bytes:
        return HTTPStatus.REQUEST_URI_TOO_LONG
    has_body = "Transfer-Encoding" in request.headers or request.headers.get("Content-Length", "0") != "0"
    if has_body or not request.uri.startswith("/") or not request.uri.isascii():
        return HTTPStatus.BAD_REQUEST
    return None


def _names(header: str, tag: str) -> bool:
    """Whether an If-Match or If-None-Match names the tag, or any."""
    return header.strip() == "*" or tag in TAG.findall(header)
