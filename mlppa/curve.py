"""Key files: who may listen, and whom one listens to, beyond this machine.

ZeroMQ's CURVE encrypts, and lets nobody in whose key is not known. Keys are files as pyzmq
makes them: ``NAME.key`` may be shown to anybody, ``NAME.key_secret`` to nobody.
"""

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import EndpointError, EnvironmentFault

if TYPE_CHECKING:
    import zmq
    from zmq.auth.thread import ThreadAuthenticator

_MAKE = "make a pair with: mlppa keys NAME"


@dataclass(frozen=True, slots=True)
class Keys:
    """Key files of one end.

    Parameters
    ----------
    secret
        Own secret key.
    others
        At the end that is bound: a folder with the public keys of those who may connect. At
        the end that connects: the public key of the other end.
    """

    secret: Path
    others: Path


def make_keys(folder: Path, name: str) -> tuple[Path, Path]:
    """Make a pair of keys; give the files of the public and of the secret one.

    Raises
    ------
    EnvironmentFault
        Where there is one already, or the folder cannot be written to.
    """
    from zmq.auth import create_certificates

    public, secret = folder / f"{name}.key", folder / f"{name}.key_secret"
    for path in (public, secret):
        if path.exists():
            raise EnvironmentFault(path, "is there already", "choose another name")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        create_certificates(folder, name)
        secret.chmod(0o600)
    except OSError as error:
        cause = f"keys cannot be written ({error.strerror})"
        raise EnvironmentFault(folder, cause, "choose another folder") from error
    return public, secret


def guard(
    context: "zmq.Context[zmq.Socket[bytes]]", socket: "zmq.Socket[bytes]", keys: Keys
) -> "ThreadAuthenticator":
    """Let only those connect to a socket whose keys are known; before it is bound.

    Returns
    -------
    guard
        To be stopped before the context is ended.

    Raises
    ------
    EnvironmentFault
        Where a key file cannot be used.
    """
    from zmq.auth.thread import ThreadAuthenticator

    if not keys.others.is_dir():
        cause = "is no folder with the public keys of those who may connect"
        raise EnvironmentFault(keys.others, cause, "make it and copy their NAME.key there")
    socket.curve_publickey, socket.curve_secretkey = _pair(keys.secret)
    socket.curve_server = True
    authenticator = ThreadAuthenticator(context)
    authenticator.start()
    authenticator.configure_curve(domain="*", location=str(keys.others))
    return authenticator


def present(socket: "zmq.Socket[bytes]", keys: Keys) -> None:
    """Show our key to the other end, whose own must be the one that we know; before connecting.

    Raises
    ------
    EnvironmentFault
        Where a key file cannot be used.
    """
    socket.curve_publickey, socket.curve_secretkey = _pair(keys.secret)
    socket.curve_serverkey, _ = _load(keys.others)


def _pair(path: Path) -> tuple[bytes, bytes]:
    public, secret = _load(path)
    if secret is None:
        raise EnvironmentFault(path, "holds no secret key", f"give NAME.key_secret; {_MAKE}")
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise EnvironmentFault(path, "others may read this secret", f"chmod 600 {path}")
    return public, secret


def _load(path: Path) -> tuple[bytes, bytes | None]:
    from zmq.auth import load_certificate

    try:
        return load_certificate(path)
    except OSError as error:
        raise EnvironmentFault(path, f"cannot be read ({error.strerror})", _MAKE) from error
    except ValueError as error:
        raise EnvironmentFault(path, "is no key file", _MAKE) from error


def is_local(address: str) -> bool:
    """Whether an address can be reached from this machine only."""
    if not address.startswith("tcp://"):
        return True
    host = address.removeprefix("tcp://").rpartition(":")[0].strip("[]")
    return host in ("localhost", "::1") or host.startswith("127.")


def refuse_open(address: str, key: str) -> None:
    """Refuse an address that others can reach without any key.

    Raises
    ------
    EndpointError
        Where they can.
    """
    if not is_local(address):
        cause = "can be reached from beyond this machine, by anybody"
        remedy = f"give keys ({key}), take 127.0.0.1, or say publish.open = true"
        raise EndpointError(address, cause, remedy)
