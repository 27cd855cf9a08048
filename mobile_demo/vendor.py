"""Copies LiteRT.js from mobile_demo/node_modules, where `npm ci` puts it, to mobile_demo/runtime.

    npm --prefix mobile_demo ci && python -m mobile_demo.vendor

It copies only what the page loads: the library and the builds it chooses from. It checks each file against
`runtime.sha256` and stores it gzipped, as it is sent. `runtime/manifest.json` has the uncompressed files' SHA-256.
"""

import gzip
import hashlib
from pathlib import Path

from keras_pose.core import command
from keras_pose.core.errors import UserError
from keras_pose.io import atomic

PACKAGE = Path(__file__).parent
CHECKSUMS = PACKAGE / "runtime.sha256"
MANIFEST = "manifest.json"
LIBRARY, UTILITIES = "litert.js", "wasm_utils.js"
BARE_IMPORT, RELATIVE_IMPORT = '"@litertjs/wasm-utils"', f'"./{UTILITIES}"'
# Becomes part of the library: a change here also changes its SHA-256 in `runtime.sha256`.
NOTE = "// Changed for keras_pose: the import of @litertjs/wasm-utils is a path, since import maps reach no workers.\n"
SOURCES = {LIBRARY: "core/dist/index.js", UTILITIES: "wasm-utils/dist/index.js"} | {
    f"litert_wasm{build}_internal.{suffix}": f"core/wasm/litert_wasm{build}_internal.{suffix}"
    for build in ("", "_compat", "_jspi", "_threaded")
    for suffix in ("js", "wasm")
}


def packed_name(name: str) -> str:
    """The name of a runtime file on disk."""
    return name + ".gz"


def read_checksums(path: Path = CHECKSUMS) -> dict[str, str]:
    """The tested runtime's SHA-256 by file name."""
    return {name: digest for digest, name in (line.split() for line in path.read_text().splitlines())}


def vendor(modules: Path, output: Path, checksums: dict[str, str], licence: Path) -> None:
    """Writes the runtime from a node_modules folder to `output`, with the license of both its packages.

    Raises UserError, and writes nothing, if a file is missing or does not match `checksums`.
    """
    contents = {name: _read(modules / "@litertjs" / source) for name, source in SOURCES.items()}
    contents[LIBRARY] = make_relative(contents[LIBRARY])
    found = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    for name, digest in found.items():
        if digest != checksums.get(name):
            line = f"{digest}  {name}"
            raise UserError(f"{SOURCES[name]} is not the tested version; to upgrade, add to {CHECKSUMS.name}: {line}")
    (output / MANIFEST).unlink(missing_ok=True)
    for name, content in contents.items():
        atomic.write_atomically(output / packed_name(name), gzip.compress(content, mtime=0))
    atomic.write_atomically(output / "LICENSE", licence.read_bytes())
    atomic.write_json(output / MANIFEST, found)  # last: it marks the runtime as complete


def make_relative(library: bytes) -> bytes:
    """The library with its bare import made relative; raises UserError unless it has exactly one."""
    text = library.decode()
    if text.count(BARE_IMPORT) != 1:
        raise UserError(
            f"@litertjs/core imports {BARE_IMPORT} {text.count(BARE_IMPORT)} times, not once; update {__name__}"
        )
    return (NOTE + text.replace(BARE_IMPORT, RELATIVE_IMPORT)).encode()


def main(arguments: list[str]) -> None:
    """Runs the command."""
    vendor(PACKAGE / "node_modules", PACKAGE / "runtime", read_checksums(), PACKAGE.parent / "LICENSE")
    print(f"wrote {PACKAGE / 'runtime'}")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} is missing; run: npm --prefix {PACKAGE} ci") from error


if __name__ == "__main__":
    command.run(main)
