"""Takes LiteRT.js from mobile_demo/node_modules, where `npm ci` put it, into mobile_demo/runtime.

    npm --prefix mobile_demo ci && python -m mobile_demo.vendor

Only what the page loads: the library, and the builds that it chooses from. Each is held against `runtime.sha256` and
lies packed by gzip, as it is sent. `runtime/manifest.json` has the SHA-256 of each file unpacked.
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
NOTE = "// Changed for keras_pose: the import of @litertjs/wasm-utils is a path, since import maps reach no workers.\n"
SOURCES = {LIBRARY: "core/dist/index.js", UTILITIES: "wasm-utils/dist/index.js"} | {
    f"litert_wasm{build}_internal.{suffix}": f"core/wasm/litert_wasm{build}_internal.{suffix}"
    for build in ("", "_compat", "_jspi", "_threaded")
    for suffix in ("js", "wasm")
}


def packed_name(name: str) -> str:
    """What a file of the runtime is called on the disk."""
    return name + ".gz"


def read_checksums(path: Path = CHECKSUMS) -> dict[str, str]:
    """SHA-256 by name, of the runtime that this version was tested with."""
    return {name: digest for digest, name in (line.split() for line in path.read_text().splitlines())}


def vendor(modules: Path, output: Path, checksums: dict[str, str], licence: Path) -> None:
    """Writes the runtime from a node_modules folder to `output`, with the licence that both its packages have.

    Raises UserError where a file is missing or is not what `checksums` says; then nothing is written.
    """
    contents = {name: _read(modules / "@litertjs" / source) for name, source in SOURCES.items()}
    contents[LIBRARY] = make_relative(contents[LIBRARY])
    found = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    for name, digest in found.items():
        if digest != checksums.get(name):
            line = f"{digest}  {name}"
            raise UserError(f"{SOURCES[name]} is not the tested one; after an upgrade, {CHECKSUMS.name} needs: {line}")
    (output / MANIFEST).unlink(missing_ok=True)
    for name, content in contents.items():
        atomic.write_atomically(output / packed_name(name), gzip.compress(content, mtime=0))
    atomic.write_atomically(output / "LICENSE", licence.read_bytes())
    atomic.write_json(output / MANIFEST, found)  # last: with it the runtime is whole


def make_relative(library: bytes) -> bytes:
    """The library with its one bare import made relative; raises UserError where it has not exactly one."""
    text = library.decode()
    if text.count(BARE_IMPORT) != 1:
        raise UserError(
            f"@litertjs/core imports {BARE_IMPORT} {text.count(BARE_IMPORT)} times, not once; adapt {__name__}"
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
        raise UserError(f"no {path}; run first: npm --prefix {PACKAGE} ci") from error


if __name__ == "__main__":
    command.run(main)
