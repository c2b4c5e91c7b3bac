"""Refuse every connection that leaves this machine.

Python imports a module of this name at start-up when its folder is on
PYTHONPATH: see book/conftest.py.
"""

import ipaddress
import socket

_connect = socket.socket.connect
_getaddrinfo = socket.getaddrinfo


def _is_local(host: object) -> bool:
    if host in (None, "", b"", "localhost", socket.gethostname()):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _refuse_connect(self: socket.socket, address: object) -> None:
    remote = self.family in (socket.AF_INET, socket.AF_INET6)
    if remote and not _is_local(address[0]):
        raise OSError(f"the book must not need a network, but asks for {address}")
    _connect(self, address)


def _refuse_lookup(host: object, *args: object, **kwargs: object) -> list:
    if not _is_local(host):
        raise OSError(f"the book must not need a network, but looks up {host!r}")
    return _getaddrinfo(host, *args, **kwargs)


socket.socket.connect = _refuse_connect
socket.getaddrinfo = _refuse_lookup
