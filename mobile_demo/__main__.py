"""Serves a page that finds 3D skeletons in the images of a phone's camera. Images never leave the phone.

    python -m mobile_demo [--model=pose.tflite] [--port=8443] [--http]

Prints the page's address and its QR code for a phone on the same network. Stop it with Ctrl-C.
"""

import io
import json
import signal
import sys
import threading

from absl import flags

from keras_pose.core import command
from keras_pose.core.errors import UserError
from keras_pose.io.model_info import sidecar_path
from keras_pose.weights import finder_for
from mobile_demo.addresses import lan_addresses
from mobile_demo.models import find_model

FLAGS = flags.FLAGS
EVERYWHERE, HERE = "0.0.0.0", "127.0.0.1"
WHITE_ON_BLACK, PLAIN = "\x1b[97;40m", "\x1b[0m"
HTTPS_WAYS = """
There are three ways to connect a phone. Details are in docs/phone.md.
1. Accept the warning. Scan the code or open an address. At the warning, tap "Advanced" and "Proceed". The camera and
   threads work; installing the page and using it offline do not.
2. Install this computer's certificate authority once. Open {url}ca.pem on the phone.
   Android: in Settings, search for "CA certificate" and install the downloaded file. iPhone: in Settings, tap Profile
   Downloaded and install it; then turn it on in General, About, Certificate Trust Settings. Then open {url}
   Everything works, also offline. Remove the authority afterwards: the phone trusts everything that its key signs.
3. Use a cable (Android). Start the demo with --http, run: adb reverse tcp:{port} tcp:{port}
   and open http://localhost:{port}/ on the phone. Everything works, and nothing is exposed to the network.
"""
NO_NETWORK = """
No QR code: this computer has no network address that a phone could open. Connect both to the same network and start
the demo again, or use a cable (3).
"""
HTTP_WAYS = """
Open the page in this computer's browser. For an Android phone with USB debugging, connect a cable and run:
   adb reverse tcp:{port} tcp:{port}
Then open http://localhost:{port}/ on the phone. The camera, threads and offline use work there.
For phones on the network, start the demo without --http. Details are in docs/phone.md.
"""
UNSAFE = """
Browsers give a page from another machine neither camera nor threads over plain HTTP. Omit --http or --host.
"""


def define_flags(values: flags.FlagValues = FLAGS) -> None:
    """Defines the command's flags."""
    flags.DEFINE_string(
        "model",
        None,
        "Exported .tflite file, with its .tflite.json beside it. Default: the newest one here or under runs/, else the "
        "included weights.",
        flag_values=values,
    )
    flags.DEFINE_integer("port", 8443, "Port to listen on; 0 picks a free one.", 0, 65_535, flag_values=values)
    flags.DEFINE_bool("http", False, "Serve without TLS, for this machine and for adb reverse.", flag_values=values)
    flags.DEFINE_string(
        "host",
        None,
        f"Address to listen on. Default: {EVERYWHERE} (all addresses), or {HERE} with --http.",
        flag_values=values,
    )
    flags.DEFINE_multi_string(
        "address",
        [],
        "Another address or name by which phones reach this machine, such as that of a router that forwards to it. "
        "It is printed first. Repeat for several.",
        flag_values=values,
    )


def main(arguments: list[str]) -> None:
    """Runs the command."""
    if arguments:
        raise UserError(f"unexpected argument {arguments[0]!r}; to choose a model, use --model={arguments[0]}")
    try:
        from mobile_demo.server import Settings, serve
    except ImportError:
        raise UserError("the demo needs Tornado; run: pip install 'keras_pose[demo]'") from None
    stop = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stop.set())
    model, reason = find_model(FLAGS.model)
    host = FLAGS.host or (HERE if FLAGS.http else EVERYWHERE)
    named = (*FLAGS.address, *([] if host == EVERYWHERE else [host]))
    settings = Settings(model=model, port=FLAGS.port, http=FLAGS.http, host=host, addresses=named)
    with serve(settings) as server:
        print(f"model    {model} ({reason}): {describe(json.loads(sidecar_path(model).read_bytes()))}")
        finder = finder_for(model)
        print(f"finder   {finder if finder.is_file() else 'none: the page looks for a person in the whole image'}")
        urls = page_urls(FLAGS.http, host, server.port, FLAGS.address)
        for i, url in enumerate(urls):
            print(f"{'' if i else 'open':8s} {url}")
        print(code_or_why(urls[0], sys.stdout.encoding, sys.stdout.isatty()))
        print(how_to_connect(FLAGS.http, host, urls[0], server.port))
        print("Images stay on the phone. Press Ctrl-C to stop.", flush=True)
        while not stop.wait(0.5):  # on Windows, no signal interrupts a wait without a timeout
            pass
    print("stopped")


def describe(metadata: dict) -> str:
    """One line about a model."""
    size = " x ".join(map(str, metadata.get("input_size", ())))
    output = "3D" if "pose_3d" in metadata.get("outputs", {}) else "2D only"
    return f"{len(metadata.get('joint_names', ()))} joints, {output}, {size} pixels, {metadata.get('quantization')}"


def page_urls(http: bool, host: str, port: int, addresses: list[str]) -> list[str]:
    """The page's addresses, the likeliest first."""
    found = list(addresses)
    if host == EVERYWHERE:
        found += lan_addresses()
    elif host != HERE:
        found.append(host)
    return [f"http{'' if http else 's'}://{address}:{port}/" for address in dict.fromkeys(found or ["localhost"])]


def how_to_connect(http: bool, host: str, url: str, port: int) -> str:
    """Instructions for the terminal."""
    if not http:
        return HTTPS_WAYS.format(url=url, port=port)
    return HTTP_WAYS.format(port=port) + ("" if host in (HERE, "localhost") else UNSAFE)


def code_or_why(url: str, *terminal) -> str:
    """The address as a QR code, or why there is none. Over HTTP, localhost is for a phone on a cable."""
    return NO_NETWORK if url.startswith("https://localhost:") else qr_code(url, *terminal)


def qr_code(url: str, encoding: str = "utf-8", on_terminal: bool = False) -> str:
    """The address as a QR code of half blocks that draw the light modules; on a terminal in white on black.

    Returns the reason instead if `segno` is missing or the encoding has no block characters.
    """
    try:
        import segno
    except ImportError:
        return "(no QR code: run pip install 'keras_pose[demo]')"
    drawn = io.StringIO()
    segno.make(url, error="l", micro=False).terminal(drawn, compact=True, border=2)
    try:
        drawn.getvalue().encode(encoding)
    except UnicodeEncodeError:
        return f"(no QR code: {encoding} cannot print it; set PYTHONIOENCODING=utf-8)"
    lines = drawn.getvalue().splitlines()
    return "\n".join(f"{WHITE_ON_BLACK}{line}{PLAIN}" for line in lines) if on_terminal else "\n".join(lines)


if __name__ == "__main__":
    define_flags()
    command.run(main)
