"""A download that shows its progress, ends in time, and can be continued."""

import hashlib
import http.client
import os
import shutil
import ssl
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from helpers.data._cache import cannot_write
from helpers.files import locked

CHUNK = 1 << 16
STALLED = 10.0  # Seconds without a byte before a server counts as silent.
NETWORK_ERRORS = (
    urllib.error.URLError,
    http.client.HTTPException,
    ConnectionError,
    TimeoutError,
    ssl.SSLError,
)


class DownloadError(RuntimeError):
    """The file could not be had now. The message says why and what was kept."""


def download_archive(url: str, md5: str, folder: Path, time_limit: float) -> None:
    """Download a tar archive into `folder` and unpack it there.

    The archive is written to a file ending in ``.part`` and counts as data only
    when all of it has arrived with the right md5 sum. An interrupted download
    goes on where it ended. Unpacking happens in a temporary folder, so that
    `folder` never holds half of it.

    Parameters
    ----------
    url : str
        Where the archive is.
    md5 : str
        Its md5 sum, in hexadecimal.
    folder : Path
        Where it is unpacked; made if missing.
    time_limit : float
        Seconds that this call may spend on downloading.

    Raises
    ------
    DownloadError
        If the server cannot be reached, falls silent, is too slow, or sends
        something else.
    DataError
        If `folder` cannot be written.
    """
    part = folder / (url.rsplit("/", 1)[-1] + ".part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / ".download.lock"):
            deadline = time.monotonic() + time_limit
            if not _is_whole(part, md5):
                _fetch(url, part, deadline)
                if not _is_whole(part, md5):
                    part.unlink()
                    raise DownloadError(
                        f"what {url} sent is not the expected file; it was deleted."
                    )
            _unpack(part, folder)
            part.unlink()
    except OSError as error:
        raise cannot_write(Path(error.filename or folder), error) from error


def _is_whole(path: Path, md5: str) -> bool:
    if not path.exists():
        return False
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as source:
        while chunk := source.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest() == md5


def _fetch(url: str, part: Path, deadline: float) -> None:
    """Append to `part` what is missing of `url`."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"})
    try:
        with urllib.request.urlopen(request, timeout=STALLED) as response:
            # A server that does not know ranges sends the file from its start.
            have = have if response.status == 206 else 0
            length = response.headers.get("Content-Length")
            total = have + int(length) if length else None
            with part.open("ab" if have else "wb") as out:
                _copy(response, out, have, total, deadline)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing beyond what we have: it is not the file
            part.unlink(missing_ok=True)
        raise DownloadError(f"{url} answered {error.code} {error.reason}.") from error
    except NETWORK_ERRORS as error:
        raise DownloadError(_reason(url, part, error)) from error


def _copy(
    response: http.client.HTTPResponse,
    out: BinaryIO,
    have: int,
    total: int | None,
    deadline: float,
) -> None:
    bar = tqdm(
        total=total,
        initial=have,
        unit="B",
        unit_scale=True,
        desc="CIFAR-10",
        file=sys.stdout,
    )
    with bar:
        while chunk := response.read1(CHUNK):
            out.write(chunk)
            have += len(chunk)
            bar.update(len(chunk))
            if time.monotonic() > deadline and have != total:
                raise DownloadError(
                    f"the time limit is over after {_progress(have, total)}. What "
                    f"arrived is kept: call again with a longer time_limit to go on."
                )
    if total is not None and have < total:
        raise DownloadError(
            f"the connection ended after {_progress(have, total)}. What arrived is "
            f"kept: call again to go on."
        )


def _progress(have: int, total: int | None) -> str:
    whole = f" of {total / 1e6:.1f}" if total else ""
    return f"{have / 1e6:.1f}{whole} MB"


def _reason(url: str, part: Path, error: Exception) -> str:
    cause = getattr(error, "reason", error)
    kept = part.stat().st_size if part.exists() else 0
    note = (
        f" The first {kept / 1e6:.1f} MB are kept: call again to go on." if kept else ""
    )
    return f"{url} cannot be reached, or fell silent ({cause}).{note}"


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack beside the final place, then rename each top-level entry."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".unpack-") as temporary:
        with tarfile.open(archive) as tar:
            tar.extractall(temporary, filter="data")
        for entry in Path(temporary).iterdir():
            target = folder / entry.name
            if target.exists():
                shutil.rmtree(target)
            os.replace(entry, target)
