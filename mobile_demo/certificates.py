"""The demo's own authority, made once, and the certificate for this machine's addresses that it signs.

A phone that installed the authority trusts whatever its key signs, so the key never leaves the state folder, which
only its user may read.
"""

import datetime
import os
import socket
import ssl
from pathlib import Path

from keras_pose.core.errors import UserError
from mobile_demo.addresses import lan_addresses, names_host

AUTHORITY, CERTIFICATE = "authority.pem", "server.pem"  # each with its key
NAME = "keras_pose phone demo"
VALID = datetime.timedelta(days=365)  # phones refuse longer than about two years
RENEW = datetime.timedelta(days=30)  # before the end
EARLIER = datetime.timedelta(days=1)  # for phones whose clock is behind
OTHERS_WRITE = 0o022
HERE = ("localhost", "127.0.0.1")


def state_folder() -> Path:
    """Where this user's programs keep what they need again: $XDG_STATE_HOME/keras_pose, or under ~/.local/state."""
    root = Path(os.environ.get("XDG_STATE_HOME", ""))
    if not root.is_absolute():  # the XDG specification tells to ignore others
        try:
            root = Path.home() / ".local" / "state"
        except RuntimeError:
            raise UserError("this user has no home folder for certificates; set XDG_STATE_HOME") from None
    return root / "keras_pose"


def prepare(folder: Path, addresses: tuple[str, ...] = ()) -> tuple[ssl.SSLContext, bytes]:
    """The server's side of TLS for this machine's addresses, and the authority's certificate in PEM.

    Makes in `folder` what is not there yet; a certificate that ends soon, or lacks an address, is made anew.
    Raises UserError where `trustme` is missing, an address is none, or the folder cannot be used.
    """
    try:
        import trustme
    except ImportError:
        raise UserError("https needs trustme; run: pip install 'keras_pose[demo]', or use --http with adb") from None
    identities = _identities(addresses)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.name == "posix" and folder.stat().st_mode & OTHERS_WRITE:
            raise PermissionError("others may write there, so that its keys may be theirs")
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
        raise UserError(f"{folder} cannot be used for certificates ({error}); mend or delete it") from error
    return context, authority.cert_pem.bytes()


def _identities(addresses: tuple[str, ...]) -> list[str]:
    """All that the certificate is for; a name of this machine's that no certificate can hold is left out."""
    for address in addresses:
        if not names_host(address):
            raise UserError(
                f"{address!r} is no address; give an IPv4 address or a host's name, without https:// or port"
            )
    own = filter(names_host, [socket.gethostname()])
    return sorted({name.lower() for name in (*HERE, *own, *lan_addresses(), *addresses)})


def _load_authority(path: Path, trustme):
    """The authority of that file; the first to come makes it, and of two at once both take the first's."""
    if not path.exists():
        host = socket.gethostname()[:64] or None
        made = trustme.CA(organization_name=NAME, organization_unit_name=host, path_length=0)
        content = made.private_key_pem.bytes() + made.cert_pem.bytes()
        _write_private(path, content, replace=False)
    path.chmod(0o600)
    content = path.read_bytes()
    return trustme.CA.from_pem(content, content)


def _serves(path: Path, identities: list[str], authority) -> bool:
    """Whether the certificate there is for all of these, signed by the authority, and not about to end."""
    from cryptography import x509

    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.cert_pem.bytes()))
    except Exception:  # whatever is wrong with it, a new one mends it
        return False
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    held = {str(name.value) for name in names}
    left = certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    return set(identities) <= held and left > RENEW


def _write_private(path: Path, content: bytes, replace: bool) -> None:
    """Writes a file that only its owner may read, whole or not at all; without `replace` the first one stays."""
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
