"""The authority is made once and kept private; certificates follow this machine's addresses and renew in time."""

import datetime
import os
import socket
import stat
import subprocess
import sys

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from keras_pose.core.errors import UserError
from mobile_demo import certificates
from mobile_demo.certificates import AUTHORITY, CERTIFICATE, prepare, state_folder

DAY = datetime.timedelta(days=1)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the keys go, of a machine that is at one address."""
    monkeypatch.setattr(certificates, "lan_addresses", lambda: ["192.168.1.5"])
    monkeypatch.setattr(socket, "gethostname", lambda: "Desk")
    return tmp_path / "a" / "keys"


def leaf(folder) -> x509.Certificate:
    """The certificate that the server shows."""
    return x509.load_pem_x509_certificate((folder / CERTIFICATE).read_bytes())


def names(certificate: x509.Certificate) -> set[str]:
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in found}


def test_what_is_made(folder):
    _, authority = prepare(folder, ("phone.example",))
    issuer, certificate = x509.load_pem_x509_certificate(authority), leaf(folder)
    certificate.verify_directly_issued_by(issuer)
    assert names(certificate) == {"localhost", "127.0.0.1", "desk", "192.168.1.5", "phone.example"}
    constraints = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert constraints.ca and constraints.path_length == 0
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert ExtendedKeyUsageOID.SERVER_AUTH in usage


def test_validity_is_about_a_year(folder):
    """iOS and Android refuse certificates of more than 825 days; a phone's clock may be behind."""
    prepare(folder)
    certificate, now = leaf(folder), datetime.datetime.now(datetime.UTC)
    assert 364 * DAY < certificate.not_valid_after_utc - now < 366 * DAY
    assert 0.9 * DAY < now - certificate.not_valid_before_utc < 1.1 * DAY


def test_a_second_start_changes_nothing(folder):
    _, authority = prepare(folder)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert len(before) == 2
    assert prepare(folder)[1] == authority
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_new_address_gets_a_new_certificate_of_the_same_authority(folder, monkeypatch):
    _, authority = prepare(folder)
    monkeypatch.setattr(certificates, "lan_addresses", lambda: ["10.0.0.7"])
    assert prepare(folder)[1] == authority
    assert {"10.0.0.7", "localhost"} <= names(leaf(folder))
    leaf(folder).verify_directly_issued_by(x509.load_pem_x509_certificate(authority))


@pytest.mark.parametrize(("days_left", "renewed"), [(-1, True), (29, True), (31, False)])
def test_what_ends_soon_is_renewed(folder, monkeypatch, days_left, renewed):
    monkeypatch.setattr(certificates, "VALID", days_left * DAY)
    monkeypatch.setattr(certificates, "EARLIER", 3 * DAY)
    _, authority = prepare(folder)
    old = leaf(folder)
    monkeypatch.undo()
    monkeypatch.setattr(certificates, "_identities", lambda addresses: sorted(names(old)))
    assert prepare(folder)[1] == authority
    assert (leaf(folder) != old) == renewed
    assert leaf(folder).not_valid_after_utc > datetime.datetime.now(datetime.UTC) + 30 * DAY


@pytest.mark.parametrize("content", [b"", b"junk", None])
def test_a_broken_certificate_is_made_anew(folder, content):
    _, authority = prepare(folder)
    (folder / CERTIFICATE).unlink() if content is None else (folder / CERTIFICATE).write_bytes(content)
    assert prepare(folder)[1] == authority
    leaf(folder).verify_directly_issued_by(x509.load_pem_x509_certificate(authority))


def test_a_certificate_of_another_authority_is_made_anew(folder):
    prepare(folder)
    (folder / AUTHORITY).unlink()
    _, authority = prepare(folder)
    leaf(folder).verify_directly_issued_by(x509.load_pem_x509_certificate(authority))


@pytest.mark.parametrize("content", [b"", b"junk", b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"])
def test_a_broken_authority_is_never_replaced(folder, content):
    """Phones trust it: that is its owner's to decide."""
    prepare(folder)
    (folder / AUTHORITY).write_bytes(content)
    with pytest.raises(UserError, match="fix or delete it") as caught:
        prepare(folder)
    assert "\n" not in str(caught.value)
    assert (folder / AUTHORITY).read_bytes() == content


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
class TestPermissions:
    def test_only_the_owner_may_read(self, folder):
        previous = os.umask(0)
        try:
            prepare(folder)
        finally:
            os.umask(previous)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}

    def test_loose_keys_are_tightened(self, folder):
        prepare(folder)
        (folder / AUTHORITY).chmod(0o644)
        prepare(folder)
        assert stat.S_IMODE((folder / AUTHORITY).stat().st_mode) == 0o600

    @pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777])
    def test_a_folder_that_others_write_to_is_refused_and_left_as_it_is(self, folder, mode):
        """Their authority could lie there already; and /tmp must not become private."""
        folder.mkdir(parents=True)
        folder.chmod(mode)
        with pytest.raises(UserError, match="other users can write to it"):
            prepare(folder)
        assert stat.S_IMODE(folder.stat().st_mode) == mode and not list(folder.iterdir())

    def test_a_file_in_its_place(self, folder):
        folder.parent.mkdir()
        folder.write_text("")
        with pytest.raises(UserError, match="cannot be used for certificates"):
            prepare(folder)


def test_without_hard_links(folder, monkeypatch):
    def refuse(*_):
        raise PermissionError("Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    _, authority = prepare(folder)
    assert prepare(folder)[1] == authority and len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("name", ["my_desk", "", "-x", "a" * 64, "schreibtisch.fräulein", "ab--cd", "a..b", "x" * 200])
def test_a_name_that_no_certificate_holds_is_left_out(folder, monkeypatch, name):
    """Machines are called all sorts of things; the demo starts all the same."""
    monkeypatch.setattr(socket, "gethostname", lambda: name)
    prepare(folder)
    assert names(leaf(folder)) == {"localhost", "127.0.0.1", "192.168.1.5"}


@pytest.mark.parametrize("address", ["https://desk", "desk:8443", "my_desk", "", "10.0.0.0/8", "a@b", "*", "::1"])
def test_an_address_that_is_none_is_refused(folder, address):
    with pytest.raises(UserError, match="is not an address; use"):
        prepare(folder, (address,))


@pytest.mark.parametrize(("root", "kept"), [("/somewhere", True), ("somewhere", False), ("", False), (None, False)])
def test_where_keys_are_kept(monkeypatch, tmp_path, root, kept):
    """As the XDG specification says, which ignores paths that are not absolute."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    if root is not None:
        monkeypatch.setenv("XDG_STATE_HOME", root)
    state = tmp_path / ".local" / "state"
    assert str(state_folder()) == (f"{root}/keras_pose" if kept else str(state / "keras_pose"))


def test_two_that_start_at_once_agree_on_the_authority(tmp_path):
    """In processes of their own: whoever comes second takes the first one's."""
    code = "import sys, pathlib; from mobile_demo.certificates import prepare; "
    code += f"print(prepare(pathlib.Path({str(tmp_path / 'keys')!r}))[1].decode())"
    starts = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for _ in range(4)]
    outputs = {start.communicate(timeout=60)[0] for start in starts}
    assert [start.returncode for start in starts] == [0] * 4
    assert len(outputs) == 1 and outputs.pop().startswith(b"-----BEGIN CERTIFICATE-----")
