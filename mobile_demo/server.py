"""Serves the demo: limits on connections, TLS, start and stop.

with serve(Settings(model="pose.tflite", port=0, http=True)) as server:
    print(server.url)
"""

import collections
import contextlib
import os
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from keras_pose.core.errors import UserError
from mobile_demo import certificates, content
from mobile_demo.models import ModelFile, find_model
from mobile_demo.protocol import Limits, converse, point_to_https

TLS_HANDSHAKE = b"\x16"  # the first byte of whoever speaks TLS


@dataclass(frozen=True)
class Settings:
    """What is served, where, and to how many.

    `model`: a .tflite file, by default what `find_model` finds. `port`: 0 takes a free one. `http`: without TLS, for
    this machine and `adb reverse`. `addresses`: names and IP addresses that the certificate is for, beside this
    machine's own. `state_dir`: where the authority is kept, by default the user's state folder. `connections`,
    `connections_each`: at most so many at once, of all and of one address.
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
    """A demo that is being served, in threads of its own; `port` and `url` say where. Made by `serve`."""

    def __init__(self, site: content.Site, settings: Settings, tls: ssl.SSLContext | None):
        self._listener = _listen(site, settings, tls)
        self.port = self._listener.server_address[1]
        host = "127.0.0.1" if settings.host == "0.0.0.0" else settings.host
        self.url = f"{'https' if tls else 'http'}://{host}:{self.port}/"
        self._thread = threading.Thread(target=self._listener.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Returns when the server is closed."""
        self._thread.join()

    def close(self) -> None:
        """Stops, and ends the connections that are open."""
        self._listener.shutdown()
        self._listener.server_close()
        self._listener.hang_up()
        self._thread.join()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *error) -> None:
        self.close()


def serve(settings: Settings) -> Server:
    """Starts to serve and returns at once.

    Raises UserError where the model, the runtime, the port or the state folder does not allow it.
    """
    model, _ = find_model(settings.model)
    tls, authority = None, None
    if not settings.http:
        folder = Path(settings.state_dir) if settings.state_dir else certificates.state_folder()
        tls, authority = certificates.prepare(folder, settings.addresses)
    site = content.Site(ModelFile(model), authority, settings.web, settings.runtime)
    return Server(site, settings, tls)


class _Listener(socketserver.ThreadingTCPServer):
    """Takes connections and gives each a thread, up to the settings' limits; more are closed at once."""

    allow_reuse_address = os.name != "nt"  # there it would share a port that is in use
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, site: content.Site, settings: Settings, tls: ssl.SSLContext | None):
        self._site, self._settings, self._tls = site, settings, tls
        self._lock = threading.Lock()
        self._closing = False
        self._open: set[socket.socket] = set()
        self._count: collections.Counter[str] = collections.Counter()  # connections by address
        super().__init__((settings.host, settings.port), None)

    def verify_request(self, request: socket.socket, client_address: tuple) -> bool:
        """Counts the connection in; False where there are too many."""
        address = client_address[0]
        with self._lock:
            allowed = self._count.total() < self._settings.connections
            allowed = allowed and self._count[address] < self._settings.connections_each
            self._count[address] += allowed
        return allowed

    def process_request(self, request: socket.socket, client_address: tuple) -> None:
        """Starts the connection's thread."""
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # the system has no thread left
            self._count_out(client_address[0])
            self.shutdown_request(request)

    def process_request_thread(self, request: socket.socket, client_address: tuple) -> None:
        """Runs in the connection's own thread: the handshake too, so that a slow one holds up nobody."""
        try:
            with contextlib.suppress(OSError), request:  # a client that leaves, is slow or speaks no TLS
                self._talk(request)
        finally:
            self._count_out(client_address[0])

    def hang_up(self) -> None:
        """Ends the connections that are open."""
        with self._lock:
            self._closing = True
            for connection in self._open:
                with contextlib.suppress(OSError):  # as plain sockets: their threads may be inside TLS just now
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def _talk(self, request: socket.socket) -> None:
        limits = self._settings.limits
        request.settimeout(limits.timeout_s)
        with self._listed(request):
            if self._tls is None:
                return converse(request, self._site, limits)
            if request.recv(1, socket.MSG_PEEK) != TLS_HANDSHAKE:
                return point_to_https(request, limits)
        with (
            self._tls.wrap_socket(request, server_side=True, do_handshake_on_connect=False) as secure,
            self._listed(secure),
        ):
            secure.do_handshake()
            converse(secure, self._site, limits)

    @contextlib.contextmanager
    def _listed(self, connection: socket.socket) -> Iterator[None]:
        """Within it `hang_up` reaches the connection; one that comes after that is ended at once."""
        with self._lock:
            if self._closing:
                raise ConnectionAbortedError
            self._open.add(connection)
        try:
            yield
        finally:
            with self._lock:
                self._open.discard(connection)

    def _count_out(self, address: str) -> None:
        with self._lock:
            self._count[address] -= 1
            self._count += collections.Counter()  # drops addresses that have none left


def _listen(site: content.Site, settings: Settings, tls: ssl.SSLContext | None) -> _Listener:
    try:
        return _Listener(site, settings, tls)
    except OSError as error:
        where = f"{settings.host} port {settings.port}"
        raise UserError(f"cannot serve on {where}: {error.strerror}; choose another with --port or --host") from error
