"""Addresses as `ip` and `ifconfig` tell them, on the machines that print them."""

import contextlib
import re
import socket
import subprocess

import pytest

from mobile_demo import addresses
from mobile_demo.addresses import addresses_in, lan_addresses, names_host, sort_addresses

IP = """1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000
    inet 127.0.0.1/8 scope host lo
       valid_lft forever preferred_lft forever
2: wlan0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default qlen 1000
    inet 192.168.1.5/24 brd 192.168.1.255 scope global dynamic noprefixroute wlan0
    inet6 fe80::1/64 scope link
3: tun0: <POINTOPOINT,UP> mtu 1500
    inet 10.8.0.2 peer 10.8.0.1/32 scope global tun0
"""
MAC = """lo0: flags=8049<UP,LOOPBACK,RUNNING,MULTICAST> mtu 16384
\tinet 127.0.0.1 netmask 0xff000000
\tinet6 ::1 prefixlen 128
en0: flags=8863<UP,BROADCAST,SMART,RUNNING,SIMPLEX,MULTICAST> mtu 1500
\tinet 192.168.1.5 netmask 0xffffff00 broadcast 192.168.1.255
"""
OLD = "eth0      Link encap:Ethernet\n          inet addr:192.168.1.5  Bcast:192.168.1.255  Mask:255.255.255.0\n"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (IP, ["127.0.0.1", "192.168.1.5", "10.8.0.2"]),
        (MAC, ["127.0.0.1", "192.168.1.5"]),
        (OLD, ["192.168.1.5"]),
        ("", []),
    ],
)
def test_addresses_are_read(text, found):
    assert addresses_in(text) == found


def test_home_networks_come_first_and_each_once():
    found = [
        "172.17.0.1",
        "10.0.0.9",
        "127.0.0.1",
        "169.254.3.4",
        "192.168.1.20",
        "192.168.1.5",
        "10.0.0.9",
        "127.0.1.1",
    ]
    assert sort_addresses(found) == ["192.168.1.5", "192.168.1.20", "10.0.0.9", "172.17.0.1"]
    assert sort_addresses([]) == []


def test_this_machine_tells_usable_addresses():
    found = lan_addresses()
    assert len(found) == len(set(found))
    assert all(re.fullmatch(r"\d+\.\d+\.\d+\.\d+", address) and not address.startswith("127.") for address in found)


@pytest.mark.parametrize("error", [OSError("gone"), subprocess.TimeoutExpired("ip", 5)])
def test_a_tool_that_fails_is_done_without(monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(addresses.shutil, "which", lambda name: name)
    monkeypatch.setattr(addresses.subprocess, "run", fail)
    monkeypatch.setattr(addresses.socket, "gethostbyname_ex", lambda name: (name, [], ["192.168.1.5"]))
    monkeypatch.setattr(addresses, "ELSEWHERE", ("no address", 9))  # as where there is no route
    assert lan_addresses() == ["192.168.1.5"]


def test_the_address_that_leads_out_comes_first(monkeypatch):
    """Before those of virtual machines, which look like a home's, and none is left out."""
    probes = []

    class Probe(contextlib.nullcontext):
        def __init__(self, *kind):
            super().__init__(self)
            probes.append([*kind])

        def connect(self, address):
            probes[-1].append(address)

        def getsockname(self):
            return "10.0.0.9", 50_000

    monkeypatch.setattr(addresses, "_ask_system", lambda: "inet 192.168.122.1/24\ninet 10.0.0.9/8\ninet 172.17.0.1/16")
    monkeypatch.setattr(addresses, "_addresses_of_name", lambda: ["127.0.1.1"])
    monkeypatch.setattr(addresses.socket, "socket", Probe)
    assert lan_addresses() == ["10.0.0.9", "192.168.122.1", "172.17.0.1"]
    assert probes == [[socket.AF_INET, socket.SOCK_DGRAM, ("192.0.2.1", 9)]]  # where connecting sends nothing


@pytest.mark.parametrize(
    "host", ["192.168.1.5", "desk", "Desk.local", "a-1.example", "xn--bcher-kva.example", "a" * 63]
)
def test_hosts(host):
    assert names_host(host)


@pytest.mark.parametrize(
    "text", ["", ".", "a.", "a b", "a_b", "-a", "a-", "ab--c", "a" * 64, "a:1", "a/b", "[::1]", "a\n"]
)
def test_no_hosts(text):
    assert not names_host(text)
