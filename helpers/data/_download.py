"""A download that shows its progress, ends in time, and can be continued."""

import hashlib
import http.client
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import tqdm

from helpers.data._cache import cannot_write
from helpers.files import locked

CHUNK = 1 << 16
STALLED = 10.0  # Seconds without a byte before a server counts as silent.
TRIES = 4  # A connection that breaks after it brought something is made anew.
PAUSE = 0.5  # Seconds between two tries.
PATIENCE = 1.0  # Seconds: whoever waited longer has let another process try.
# A full disk raises an OSError too, which is none of these.
NETWORK_ERRORS = (
    urllib.error.URLError,
    http.client.HTTPException,
    ConnectionError,
    TimeoutError,
    ssl.SSLError,
)


class DownloadError(RuntimeError):
    """The file could not be had now. The message says why and what was kept."""


def download(url: str, md5: str, path: Path, time_limit: float) -> None:
    """Download a file, unless it is there already.

    What arrives is written to a file ending in ``.part``, which is renamed to
    `path` only when all of it is there with the right md5 sum. An interrupted
    download goes on where it ended.

    Parameters
    ----------
    url, md5 : str
        Where the file is; its md5 sum, in hexadecimal.
    path : Path
        What it will be here. Its folder is made if missing.
    time_limit : float
        Seconds that this call may spend on downloading.

    Raises
    ------
    DownloadError
        If the server cannot be reached, falls silent, is too slow, or sends
        something else.
    DataError
        If the folder cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    started = time.monotonic()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.parent / ".download.lock"):
            waited = time.monotonic() > started + PATIENCE
            if is_whole(path, md5):
                return  # by another process that downloaded it meanwhile
            if waited:
                # Processes that start together shall come to the same end.
                raise DownloadError("another process tried, and gave up")
            if not is_whole(part, md5):
                _fetch(url, part, started + time_limit)
            if not is_whole(part, md5):
                part.unlink()
                raise DownloadError(
                    f"what {url} sent is not the expected file; it was deleted"
                )
            os.replace(part, path)
    except OSError as error:
        raise cannot_write(Path(error.filename or path), error) from error


def is_whole(path: Path, md5: str) -> bool:
    """Return whether there is a file with this md5 sum."""
    if not path.is_file():
        return False
    with path.open("rb") as source:
        digest = hashlib.file_digest(source, lambda: hashlib.md5(usedforsecurity=False))
    return digest.hexdigest() == md5


def _fetch(url: str, part: Path, deadline: float) -> None:
    """Append to `part` what is missing of `url`; go on where a connection breaks."""
    for tries_left in reversed(range(TRIES)):
        have = _size(part)
        try:
            return _append(url, part, have, deadline)
        except urllib.error.HTTPError as error:
            if error.code == 416:  # nothing beyond what we have: it is not the file
                part.unlink(missing_ok=True)
            raise DownloadError(f"{url} answered {error.code} {error.reason}") from None
        except NETWORK_ERRORS as error:
            arrived = _size(part)
            if arrived <= have or not tries_left or time.monotonic() > deadline:
                kept = f". {arrived / 1e6:.1f} MB are kept" if arrived else ""
                reason = getattr(error, "reason", error)
                raise DownloadError(
                    f"{url} cannot be reached, or fell silent ({reason}){kept}"
                ) from error
            time.sleep(PAUSE)
    return None


def _append(url: str, part: Path, have: int, deadline: float) -> None:
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"})
    with urllib.request.urlopen(request, timeout=STALLED) as response:
        # A server that does not know ranges sends the file from its start.
        have = have if response.status == 206 else 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        with (
            part.open("ab" if have else "wb") as out,
            tqdm(
                total=total,
                initial=have,
                unit="B",
                unit_scale=True,
                desc="CIFAR-10",
                file=sys.stdout,
            ) as bar,
        ):
            while chunk := _piece(response):
                out.write(chunk)
                have += len(chunk)
                bar.update(len(chunk))
                if time.monotonic() > deadline and have != total:
                    whole = f" of {total / 1e6:.1f}" if total else ""
                    raise DownloadError(
                        f"the time limit is over after {have / 1e6:.1f}{whole} MB, "
                        "which are kept"
                    )
    if total is not None and have < total:
        raise ConnectionError("the connection ended early")


def _piece(response: http.client.HTTPResponse) -> bytes:
    """Read on; what goes wrong here is the network's, and not the disk's."""
    try:
        return response.read1(CHUNK)
    except OSError as error:
        raise ConnectionError(error.strerror or str(error)) from error


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
