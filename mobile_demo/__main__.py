"""Serves the page that finds 3D skeletons in a phone's camera; pictures never leave the phone.

    python -m mobile_demo [--model=pose.tflite] [--port=8443] [--http]

Prints where the page is and a QR code of it, for a phone on the same network. Ctrl-C ends it.
"""

import io
import json
import signal
import sys
import threading

from absl import flags

from keras_pose import command
from keras_pose.errors import UserError
from mobile_demo.addresses import lan_addresses
from mobile_demo.models import find_model, sidecar

FLAGS = flags.FLAGS
EVERYWHERE, HERE = "0.0.0.0", "127.0.0.1"
WHITE_ON_BLACK, PLAIN = "\x1b[97;40m", "\x1b[0m"
HTTPS_WAYS = """
Three ways to connect a phone on the same network; docs/phone.md has more:
1. Click through. Scan the code or open an address; at the warning tap "Advanced" and "Proceed". Camera and threads
   work, installing the page and working offline do not.
2. Install this computer's authority, once. Open {url}ca.pem on the phone.
   Android: Settings, search for "CA certificate", install the downloaded file. iPhone: Settings, Profile Downloaded,
   install; then General, About, Certificate Trust Settings, switch it on. Then open {url}
   Everything works, offline too. Remove it when you are done: what this computer's key signs, the phone then trusts.
3. By cable, Android: run this with --http, then adb reverse tcp:{port} tcp:{port}
   and open http://localhost:{port}/ on the phone. Everything works, and nothing is on the network.
"""
NO_NETWORK = """
No QR code: no address here leads a phone to this computer, for on a phone localhost is the phone itself. Connect both
to one network and start this again, or use a cable, way 3.
"""
HTTP_WAYS = """
For this computer's browser, or by cable for an Android phone with USB debugging:
   adb reverse tcp:{port} tcp:{port}
and open http://localhost:{port}/ on the phone. Camera, threads and working offline are allowed there.
For phones on the network run this without --http; docs/phone.md tells of all three ways.
"""
UNSAFE = """
Over plain http from another machine, browsers give a page neither camera nor threads. Leave out --http or --host.
"""


def define_flags(values: flags.FlagValues = FLAGS) -> None:
    """The command's flags."""
    flags.DEFINE_string(
        "model",
        None,
        "An exported .tflite beside its .tflite.json. By default the newest one here or under runs/, else the weights "
        "that ship.",
        flag_values=values,
    )
    flags.DEFINE_integer("port", 8443, "Where to listen; 0 takes a free port.", 0, 65_535, flag_values=values)
    flags.DEFINE_bool("http", False, "Without TLS, for this machine and for adb reverse.", flag_values=values)
    flags.DEFINE_string(
        "host",
        None,
        f"The address to listen on: by default {EVERYWHERE}, which is all of them, and with --http {HERE}.",
        flag_values=values,
    )
    flags.DEFINE_multi_string(
        "address",
        [],
        "Another address or name that phones reach this machine by, such as a router's that forwards to it; it is "
        "shown first. Repeat for several.",
        flag_values=values,
    )


def main(arguments: list[str]) -> None:
    """Runs the command."""
    if arguments:
        raise UserError(f"unexpected {arguments[0]!r}; name the model with --model={arguments[0]}")
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
        print(f"model    {model} ({reason}): {describe(json.loads(sidecar(model).read_bytes()))}")
        urls = page_urls(FLAGS.http, host, server.port, FLAGS.address)
        for i, url in enumerate(urls):
            print(f"{'' if i else 'open':8s} {url}")
        print(code_or_why(urls[0], sys.stdout.encoding, sys.stdout.isatty()))
        print(how_to_connect(FLAGS.http, host, urls[0], server.port))
        print("Pictures stay on the phone. Ctrl-C ends this.", flush=True)
        while not stop.wait(0.5):  # with a limit, for on Windows no signal ends a wait without
            pass
    print("stopped")


def describe(metadata: dict) -> str:
    """What a model is, in words."""
    size = " x ".join(map(str, metadata.get("input_size", ())))
    gives = "3D" if "pose_3d" in metadata.get("outputs", {}) else "2D alone"
    return f"{len(metadata.get('joint_names', ()))} joints, {gives}, {size} pixels, {metadata.get('quantization')}"


def page_urls(http: bool, host: str, port: int, addresses: list[str]) -> list[str]:
    """Where the page is found, the likeliest first."""
    found = list(addresses)
    if host == EVERYWHERE:
        found += lan_addresses()
    elif host != HERE:
        found.append(host)
    return [f"http{'' if http else 's'}://{address}:{port}/" for address in dict.fromkeys(found or ["localhost"])]


def how_to_connect(http: bool, host: str, url: str, port: int) -> str:
    """The ways that there are, for the terminal."""
    if not http:
        return HTTPS_WAYS.format(url=url, port=port)
    return HTTP_WAYS.format(port=port) + ("" if host in (HERE, "localhost") else UNSAFE)


def code_or_why(url: str, *terminal) -> str:
    """The address as `qr_code` draws it, or why there is none. By cable, over http, localhost leads a phone here."""
    return NO_NETWORK if url.startswith("https://localhost:") else qr_code(url, *terminal)


def qr_code(url: str, encoding: str = "utf-8", on_terminal: bool = False) -> str:
    """The address as a QR code of half blocks, light ones drawn: in white on black where there is a terminal.

    A line that says why there is none where `segno` is missing or the encoding has no blocks.
    """
    try:
        import segno
    except ImportError:
        return "(for a QR code run: pip install 'keras_pose[demo]')"
    drawn = io.StringIO()
    segno.make(url, error="l", micro=False).terminal(drawn, compact=True, border=2)
    try:
        drawn.getvalue().encode(encoding)
    except UnicodeEncodeError:
        return f"(no QR code: output in {encoding} has no blocks; set PYTHONIOENCODING=utf-8)"
    lines = drawn.getvalue().splitlines()
    return "\n".join(f"{WHITE_ON_BLACK}{line}{PLAIN}" for line in lines) if on_terminal else "\n".join(lines)


if __name__ == "__main__":
    define_flags()
    command.run(main)
