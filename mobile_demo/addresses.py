"""This machine's addresses on the local network."""

import contextlib
import ipaddress
import re
import shutil
import socket
import subprocess

# The first of these commands that exists is used. Both print "inet 192.168.1.5" for each address.
TOOLS = (["ip", "-4", "addr", "show", "up"], ["ifconfig"])
# Home and office networks come before those of virtual machines and containers.
LIKELY = ("192.168.0.0/16", "10.0.0.0/8", "0.0.0.0/0")
ELSEWHERE = ("192.0.2.1", 9)  # belongs to nobody (RFC 5737)
# Names that a certificate can hold: labels of letters, digits and inner hyphens; "--" in third place only in "xn--".
LABEL = r"(?!-)(?!(?!xn)..--)[a-z0-9-]{1,63}(?<!-)"
HOST = re.compile(rf"{LABEL}(\.{LABEL})*", re.IGNORECASE)


def lan_addresses() -> list[str]:
    """This machine's IPv4 addresses except loopback, the likeliest for a phone first.

    The likeliest is the one on the default route; others may belong to virtual machines and containers.
    """
    others = sort_addresses(addresses_in(_ask_system()) + _addresses_of_name())
    return list(dict.fromkeys(sort_addresses(_address_that_leads_out()) + others))


def names_host(text: str) -> bool:
    """Whether the text is an IPv4 address or host name that a certificate can hold."""
    return HOST.fullmatch(text) is not None


def addresses_in(text: str) -> list[str]:
    """The IPv4 addresses in the output of `ip` or `ifconfig`."""
    return re.findall(r"\binet (?:addr:)?(\d+\.\d+\.\d+\.\d+)", text)


def sort_addresses(found: list[str]) -> list[str]:
    """Sorts by likelihood, without duplicates, loopback and link-local addresses."""
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
    """This machine's address on its default route, if it has one. Nothing is sent: connecting UDP only looks it up."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(ELSEWHERE)
        return [probe.getsockname()[0]]
    return []


def _addresses_of_name() -> list[str]:
    try:
        return socket.gethostbyname_ex(socket.gethostname())[2]
    except OSError:
        return []
