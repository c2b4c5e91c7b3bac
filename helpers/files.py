"""Files written whole or not at all, zips, locks, and output that never fails."""

import contextlib
import errno
import os
import secrets
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock

# Every file in a zip gets this date, the earliest that a zip can hold.
WHEN = (1980, 1, 1, 0, 0, 0)
# What a system answers whose folder, often one on a network, knows no locks.
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a new file that becomes `path` when it is whole and on the disk.

    Until then, and if anything goes wrong, `path` holds what it held before. The
    new file has another name in the same folder, which ends in ``.partial``.

    Parameters
    ----------
    path : Path
        Its folder is made if it does not exist.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with partial.open("xb") as file:
            yield file
            file.flush()  # from Python to the operating system,
            os.fsync(file.fileno())  # and from there to the disk
        os.replace(partial, path)  # one step: the old file, then the new
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    # The new name goes to the disk too, where the system can do that: Windows
    # opens no folders, and some network folders cannot be flushed.
    with contextlib.suppress(OSError):
        handle = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_zip(path: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Write a zip: of the same files the same, byte for byte.

    Parameters
    ----------
    path : Path
        Holds the whole zip afterwards, or what it held before, as with `replacing`.
    files : iterable of (str, bytes)
        Names, with the folders before them, and contents.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, content in files:
            entry = zipfile.ZipInfo(name, WHEN)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)


@contextlib.contextmanager
def locked(path: Path, timeout: float = -1) -> Iterator[None]:
    """Hold the lock of that name; in a folder that knows no locks, go on without.

    The system takes the lock back when its process ends, however it ends.

    Parameters
    ----------
    path : Path
        The lock's own file. Its folder must exist.
    timeout : float
        Seconds to wait for whoever holds the lock; -1 waits as long as it takes.

    Raises
    ------
    TimeoutError
        If somebody else still holds the lock.
    OSError
        If the file cannot be written.
    """
    lock = FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(timeout=timeout)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    try:
        yield
    finally:
        lock.release()


def print_anything() -> None:
    """Have signs that the output cannot show replaced, instead of an error.

    Windows writes to a file or a pipe in an encoding of 256 signs, and a folder
    or a person may well be called 书.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
