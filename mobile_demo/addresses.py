"""Where on the local network this machine is reached."""

import contextlib
import ipaddress
import re
import shutil
import socket
import subprocess

# The first of these that the machine has; both tell "inet 192.168.1.5" for each address.
TOOLS = (["ip", "-4", "addr", "show", "up"], ["ifconfig"])
# Home and office networks before those that virtual machines and containers make.
LIKELY = ("192.168.0.0/16", "10.0.0.0/8", "0.0.0.0/0")
ELSEWHERE = ("192.0.2.1", 9)  # of nobody (RFC 5737)
# What a certificate can name: labels of letters, digits and inner hyphens, "xn--" only where a punycode label begins.
LABEL = r"(?!-)(?!(?!xn)..--)[a-z0-9-]{1,63}(?<!-)"
HOST = re.compile(rf"{LABEL}(\.{LABEL})*", re.IGNORECASE)


def lan_addresses() -> list[str]:
    """This machine's IPv4 addresses but for its loopback's, the likeliest to be a phone's network first.

    The likeliest is the one that leads out: others may be of virtual machines and containers.
    """
    others = sort_addresses(addresses_in(_ask_system()) + _addresses_of_name())
    return list(dict.fromkeys(sort_addresses(_address_that_leads_out()) + others))


def names_host(text: str) -> bool:
    """Whether that is an IPv4 address or a host's name that a certificate can be for."""
    return HOST.fullmatch(text) is not None


def addresses_in(text: str) -> list[str]:
    """The IPv4 addresses that `ip` or `ifconfig` tells of."""
    return re.findall(r"\binet (?:addr:)?(\d+\.\d+\.\d+\.\d+)", text)


def sort_addresses(found: list[str]) -> list[str]:
    """Without doubles, loopback and addresses that nobody gave out; the likeliest first."""
    usable = [a for a in map(ipaddress.IPv4Address, set(found)) if not (a.is_loopback or a.is_link_local)]
    likely = [ipaddress.IPv4Network(network) for network in LIKELY]
    return [str(a) for a in sorted(usable, key=lambda a: (next(i for i, n in enumerate(likely) if a in n), a))]


def _ask_system() -> str:
    for command in TOOLS:
        if shutil.which(command[0]):
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                return subprocess.run(command, capture_output=True, text=True, timeout=5, check=False).stdout
    return ""


def _address_that_leads_out() -> list[str]:
    """This machine's own on its default route; none where there is no route. Nothing is sent: UDP only looks it up."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(ELSEWHERE)
        return [probe.getsockname()[0]]
    return []


def _addresses_of_name() -> list[str]:
    try:
        return socket.gethostbyname_ex(socket.gethostname())[2]
    except OSError:
        return []
