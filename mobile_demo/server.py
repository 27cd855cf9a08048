"""Serves the demo with Tornado: TLS, limits on clients, start and stop.

with serve(Settings(model="pose.tflite", port=0, http=True)) as server:
    print(server.url)
"""

import asyncio
import logging
import os
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPServerRequest, ResponseStartLine
from tornado.ioloop import IOLoop
from tornado.iostream import IOStream, SSLIOStream, StreamClosedError
from tornado.netutil import add_accept_handler, bind_sockets

from keras_pose.core.errors import UserError
from mobile_demo import certificates, content
from mobile_demo.answers import HEADERS, Answer, point_to_https, respond
from mobile_demo.models import ModelFile, find_model

TLS_HANDSHAKE = b"\x16"  # the first byte of every TLS connection
CHUNK = 1 << 16
BUFFERS = {"max_buffer_size": 1 << 17, "read_chunk_size": 1 << 14}  # bytes read ahead for each connection
logging.getLogger("tornado.general").setLevel(logging.CRITICAL)  # clients' errors are not reported


@dataclass(frozen=True)
class Limits:
    """What a client may ask of the server.

    `timeout_s`: to send a whole request, and to take each part of an answer. `bytes_per_s`: the slowest rate at which
    an answer may be taken. `line_bytes`, `head_bytes`: of a request's target, and of the request line with all
    headers. `requests`: on one connection.
    """

    timeout_s: float = 20.0
    bytes_per_s: float = 20_000.0
    line_bytes: int = 2048
    head_bytes: int = 16_384
    requests: int = 1000


@dataclass(frozen=True)
class Settings:
    """What to serve, where, and to how many clients.

    `model`: a .tflite file, by default the one that `find_model` finds. `port`: 0 picks a free one. `http`: without
    TLS, for this machine and `adb reverse`. `addresses`: names and IP addresses for the certificate, besides this
    machine's own. `state_dir`: where the authority is kept, by default the user's state folder. `connections`,
    `connections_each`: the most open connections, in total and per address.
    """

    model: str | os.PathLike | None = None
    port: int = 8443
    http: bool = False
    host: str = "127.0.0.1"
    addresses: tuple[str, ...] = ()
    state_dir: str | os.PathLike | None = None
    connections: int = 96
    connections_each: int = 48
    limits: Limits = Limits()
    web: Path = content.WEB
    runtime: Path = content.RUNTIME


class Server:
    """A running demo, in its own thread, at `port` and `url`. Created by `serve`."""

    def __init__(self, site: content.Site, settings: Settings, tls: ssl.SSLContext | None):
        try:
            self._sockets = bind_sockets(settings.port, settings.host, socket.AF_INET, backlog=64)
        except OSError as error:
            where = f"{settings.host} port {settings.port}"
            message = f"cannot serve on {where}: {error.strerror}; choose another with --port or --host"
            raise UserError(message) from error
        self.port = self._sockets[0].getsockname()[1]
        host = "127.0.0.1" if settings.host == "0.0.0.0" else settings.host
        self.url = f"{'https' if tls else 'http'}://{host}:{self.port}/"
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, args=(site, settings, tls), daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Waits until the server is closed."""
        self._thread.join()

    def close(self) -> None:
        """Stops the server and ends all open connections."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def _run(self, *arguments) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve(*arguments))

    async def _serve(self, site: content.Site, settings: Settings, tls: ssl.SSLContext | None) -> None:
        listener = _Listener(site, settings, tls)
        stops = [add_accept_handler(listening, listener.accept) for listening in self._sockets]
        await self._stop.wait()
        for stop, listening in zip(stops, self._sockets, strict=True):
            stop()
            listening.close()
        await listener.close()


def serve(settings: Settings) -> Server:
    """Starts the server and returns immediately.

    Raises UserError if the model, the page, the runtime, the port or the state folder cannot be used.
    """
    model, _ = find_model(settings.model)
    tls, authority = None, None
    if not settings.http:
        folder = Path(settings.state_dir) if settings.state_dir else certificates.state_folder()
        tls, authority = certificates.prepare(folder, settings.addresses)
    site = content.Site(ModelFile(model), authority, settings.web, settings.runtime)
    return Server(site, settings, tls)


@dataclass
class _Client:
    """The other end of one connection, and how many requests it has sent."""

    address: str
    requests: int = 0


class _Listener:
    """Accepts connections up to the settings' limits and answers their requests, which Tornado parses and times."""

    def __init__(self, site: content.Site, settings: Settings, tls: ssl.SSLContext | None):
        self._settings, self._tls = settings, tls
        self._clients: dict[socket.socket, _Client] = {}
        self._tasks: set[asyncio.Task] = set()  # asyncio itself keeps only weak references
        line_bytes = settings.limits.line_bytes
        self._page = self._http(lambda request: respond(request, site, line_bytes))
        self._redirect = self._http(lambda request: point_to_https(request, line_bytes))

    def accept(self, connection: socket.socket, address: tuple) -> None:
        """Accepts a connection, or closes it at once if there are too many."""
        self._clients = {other: client for other, client in self._clients.items() if other.fileno() >= 0}
        each = sum(client.address == address[0] for client in self._clients.values())
        if len(self._clients) >= self._settings.connections or each >= self._settings.connections_each:
            return connection.close()
        connection.setblocking(False)
        self._clients[connection] = _Client(address[0])
        if self._tls is None:
            self._page.handle_stream(IOStream(connection, **BUFFERS), address)
        else:
            self._start(self._choose(connection, address))

    async def close(self) -> None:
        """Ends all connections."""
        for task in self._tasks:
            task.cancel()
        await self._page.close_all_connections()
        await self._redirect.close_all_connections()
        for connection in self._clients:
            connection.close()

    def _http(self, answer_to: Callable[[HTTPServerRequest], Answer]) -> HTTPServer:
        limits = self._settings.limits
        return HTTPServer(
            lambda request: self._start(self._answer(request, answer_to)),
            idle_connection_timeout=limits.timeout_s,
            body_timeout=limits.timeout_s,
            max_header_size=limits.head_bytes,
            max_body_size=0,
        )

    def _start(self, work: Coroutine) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _choose(self, connection: socket.socket, address: tuple) -> None:
        """Passes a connection on the HTTPS port to the page or to the redirect, depending on its first byte."""
        try:
            async with asyncio.timeout(self._settings.limits.timeout_s):
                await _readable(connection)
            if connection.recv(1, socket.MSG_PEEK) != TLS_HANDSHAKE:
                return self._redirect.handle_stream(IOStream(connection, **BUFFERS), address)
            client = self._clients.pop(connection)
            connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
            self._clients[connection] = client
            self._page.handle_stream(SSLIOStream(connection, **BUFFERS), address)
        except OSError:  # the client was too slow or has left
            connection.close()

    async def _answer(self, request: HTTPServerRequest, answer_to: Callable[[HTTPServerRequest], Answer]) -> None:
        connection = request.connection
        client = self._clients.get(connection.stream.socket)
        stays = False
        try:
            if client is not None:  # else the client has left
                client.requests += 1
                last = client.requests >= self._settings.limits.requests
                stays = await _send(request, answer_to(request), last, self._settings.limits)
        except (TimeoutError, StreamClosedError):
            pass
        finally:
            connection.finish() if stays else connection.close()


async def _send(request: HTTPServerRequest, answer: Answer, last: bool, limits: Limits) -> bool:
    """Sends an answer in parts and returns whether the connection stays open.

    Raises TimeoutError if the client takes the answer too slowly, and StreamClosedError if it leaves.
    """
    headers = {"Date": formatdate(usegmt=True)} | HEADERS | answer.headers
    if answer.body is not None:
        headers["Content-Length"] = str(len(answer.body))
    if closes := answer.closes or last:
        headers["Connection"] = "close"
    start_line = ResponseStartLine("HTTP/1.1", answer.status.value, answer.status.phrase)
    body = memoryview(answer.body or b"" if request.method != "HEAD" else b"")  # a model is large: it is not copied
    async with asyncio.timeout(limits.timeout_s + len(body) / limits.bytes_per_s):
        await request.connection.write_headers(start_line, HTTPHeaders(headers))
        for start in range(0, len(body), CHUNK):
            async with asyncio.timeout(limits.timeout_s):
                await request.connection.write(body[start : start + CHUNK])
    return not closes


async def _readable(connection: socket.socket) -> None:
    """Returns when there is something to read."""
    loop, ready = IOLoop.current(), asyncio.Event()
    loop.add_handler(connection, lambda *_: ready.set(), IOLoop.READ)
    try:
        await ready.wait()
    finally:
        loop.remove_handler(connection)
