"""The demo's certificate authority, made once, and the certificate that it signs for this machine's addresses.

A phone that installed the authority trusts everything its key signs. So the key never leaves the state folder, which
only the user can read.
"""

import datetime
import os
import socket
import ssl
from pathlib import Path

from keras_pose.core.errors import UserError
from mobile_demo.addresses import lan_addresses, names_host

AUTHORITY, CERTIFICATE = "authority.pem", "server.pem"  # each file also holds its key
NAME = "keras_pose phone demo"
VALID = datetime.timedelta(days=365)  # phones refuse more than about two years
RENEW = datetime.timedelta(days=30)  # before it expires
EARLIER = datetime.timedelta(days=1)  # for phones whose clock is slow
OTHERS_WRITE = 0o022
HERE = ("localhost", "127.0.0.1")


def state_folder() -> Path:
    """The user's state folder: $XDG_STATE_HOME/keras_pose, or ~/.local/state/keras_pose."""
    root = Path(os.environ.get("XDG_STATE_HOME", ""))
    if not root.is_absolute():  # the XDG specification says to ignore relative paths
        try:
            root = Path.home() / ".local" / "state"
        except RuntimeError:
            raise UserError("no home folder to keep certificates in; set XDG_STATE_HOME") from None
    return root / "keras_pose"


def prepare(folder: Path, addresses: tuple[str, ...] = ()) -> tuple[ssl.SSLContext, bytes]:
    """The server's TLS context for this machine's addresses, and the authority's certificate in PEM.

    Creates missing files in `folder`, and replaces a certificate that expires soon or does not cover an address.
    Raises UserError if `trustme` is missing, an address is invalid, or the folder cannot be used.
    """
    try:
        import trustme
    except ImportError:
        raise UserError("HTTPS needs trustme; run: pip install 'keras_pose[demo]', or use --http with adb") from None
    identities = _identities(addresses)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.name == "posix" and folder.stat().st_mode & OTHERS_WRITE:
            raise PermissionError("other users can write to it, so its keys may not be yours")
        authority = _load_authority(folder / AUTHORITY, trustme)
        certificate = folder / CERTIFICATE
        if not _serves(certificate, identities, authority):
            now = datetime.datetime.now(datetime.UTC)
            times = {"not_before": now - EARLIER, "not_after": now + VALID}
            leaf = authority.issue_cert(*identities, common_name=NAME, organization_name=NAME, **times)
            _write_private(certificate, leaf.private_key_and_cert_chain_pem.bytes(), replace=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} cannot be used for certificates ({error}); fix or delete it") from error
    return context, authority.cert_pem.bytes()


def _identities(addresses: tuple[str, ...]) -> list[str]:
    """All names and addresses for the certificate, without a host name that no certificate can hold."""
    for address in addresses:
        if not names_host(address):
            raise UserError(
                f"{address!r} is not an address; use an IPv4 address or host name, without https:// or a port"
            )
    own = filter(names_host, [socket.gethostname()])
    return sorted({name.lower() for name in (*HERE, *own, *lan_addresses(), *addresses)})


def _load_authority(path: Path, trustme):
    """The authority in this file, created if missing. Two processes that start at once use the same one."""
    if not path.exists():
        host = socket.gethostname()[:64] or None
        made = trustme.CA(organization_name=NAME, organization_unit_name=host, path_length=0)
        content = made.private_key_pem.bytes() + made.cert_pem.bytes()
        _write_private(path, content, replace=False)
    path.chmod(0o600)
    content = path.read_bytes()
    return trustme.CA.from_pem(content, content)


def _serves(path: Path, identities: list[str], authority) -> bool:
    """Whether the certificate covers all identities, is signed by the authority and does not expire soon."""
    from cryptography import x509

    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.cert_pem.bytes()))
    except Exception:  # whatever is wrong, a new certificate fixes it
        return False
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    held = {str(name.value) for name in names}
    left = certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    return set(identities) <= held and left > RENEW


def _write_private(path: Path, content: bytes, replace: bool) -> None:
    """Atomically writes a file that only its owner can read; without `replace`, an existing file stays."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.unlink(missing_ok=True)
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    try:
        os.replace(partial, path) if replace else os.link(partial, path)
    except FileExistsError:
        pass
    except PermissionError:  # Android and some file systems have no hard links
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
