"""What the server serves: the page, the runtime, the model and its finder, each under a fixed path."""

import gzip
import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from keras_pose.core.errors import UserError
from mobile_demo.models import FinderFile, ModelFile, Pair
from mobile_demo.vendor import MANIFEST, packed_name, read_checksums

PACKAGE = Path(__file__).parent
WEB, RUNTIME = PACKAGE / "web", PACKAGE / "runtime"
MODEL_PATH = "/model/pose.tflite"
METADATA_PATH = MODEL_PATH + ".json"
FINDER_PATH = "/model/finder.tflite"
FINDER_METADATA_PATH = FINDER_PATH + ".json"  # `null` if there is no finder
ASSETS_PATH, AUTHORITY_PATH = "/assets.json", "/ca.pem"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".wasm": "application/wasm",
    ".tflite": "application/octet-stream",
    ".pem": "application/x-x509-ca-cert",
    "": "text/plain; charset=utf-8",
}
GAIN = 0.9  # a file that gzip does not shrink below this share is sent uncompressed


@dataclass(frozen=True)
class Resource:
    """One file: its `body`, or gzipped as `packed`, or both. `tag` changes with the content."""

    content_type: str
    tag: str
    body: bytes | None = None
    packed: bytes | None = None

    @cached_property
    def plain(self) -> bytes:
        """The uncompressed content, kept so that all clients share one copy."""
        return gzip.decompress(self.packed) if self.body is None else self.body


def resource(name: str, body: bytes, tag: str | None = None) -> Resource:
    """A file as a resource; text is gzipped if that helps."""
    kind = TYPES[Path(name).suffix]
    packed = None
    if kind.startswith("text/") or "json" in kind or "xml" in kind:
        shrunk = gzip.compress(body, mtime=0)
        packed = shrunk if len(shrunk) < GAIN * len(body) else None
    return Resource(kind, tag or hashlib.sha256(body).hexdigest(), body, packed)


class Site:
    """The table of all paths that the server answers, built once.

    Raises UserError if the page or the runtime is missing.
    """

    def __init__(self, model: ModelFile, authority: bytes | None = None, web: Path = WEB, runtime: Path = RUNTIME):
        """`authority` is the certificate served as /ca.pem, in PEM."""
        self._model = model
        self._finder = FinderFile(model.path)
        page = read_page(web)
        vendored = read_runtime(runtime)
        self._fixed = page | vendored
        self._assets = {"version": version_of(self._fixed), "files": sorted(page), "runtime": sorted(vendored)}
        if authority:
            self._fixed[AUTHORITY_PATH] = resource("ca.pem", authority)

    def find(self, path: str) -> Resource | None:
        """The resource for a path exactly as sent in the request, or None."""
        if path in (MODEL_PATH, METADATA_PATH, ASSETS_PATH):
            pair = self._model.current()
            if path == ASSETS_PATH:
                return resource("assets.json", json.dumps(self._assets | {"model": pair.tag}, indent=2).encode())
            return _half(pair, path)
        if path in (FINDER_PATH, FINDER_METADATA_PATH):
            pair = self._finder.current()
            return _half(pair, path) if pair.model or path == FINDER_METADATA_PATH else None
        return self._fixed.get(path)


def _half(pair: Pair, path: str) -> Resource:
    """The metadata of a pair if `path` ends in .json, else its model."""
    suffix = Path(path).suffix
    return Resource(TYPES[suffix], pair.tag, pair.metadata if suffix == ".json" else pair.model)


def version_of(resources: dict[str, Resource]) -> str:
    """One hash over all paths and contents."""
    lines = [f"{path} {found.tag}\n" for path, found in sorted(resources.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def read_page(folder: Path) -> dict[str, Resource]:
    """The page's files by path, with `/` for index.html. Hidden files and files of unknown types are left out."""
    if not (folder / "index.html").is_file():
        raise UserError(f"{folder} has no index.html; reinstall the package")
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        hidden = any(part.startswith(".") for part in name.split("/"))
        if path.is_file() and not path.is_symlink() and not hidden and path.suffix in TYPES:
            found["/" + name] = resource(name, path.read_bytes())
    return found | {"/": found["/index.html"]}


def read_runtime(folder: Path) -> dict[str, Resource]:
    """LiteRT.js by path under `/runtime/`; raises UserError if it is missing or another version."""
    checksums = read_checksums()
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        if manifest != checksums:
            raise ValueError("another version")
        packed = {name: (folder / packed_name(name)).read_bytes() for name in checksums}
    except (OSError, ValueError) as error:
        fix = "run: npm --prefix mobile_demo ci && python -m mobile_demo.vendor (make demo does both)"
        raise UserError(f"{folder} does not contain the runtime that this version needs; {fix}") from error
    return {
        f"/runtime/{name}": Resource(TYPES[Path(name).suffix], checksums[name], packed=content)
        for name, content in packed.items()
    }
