"""Where trained networks and a downloaded CIFAR-10 are kept between runs."""

import os
from pathlib import Path

import platformdirs

CACHE_VARIABLE = "PYTORCH_BY_HAND_CACHE"


class DataError(RuntimeError):
    """A data file is missing, damaged, or cannot be written.

    The message names the file and what to do about it.
    """


def cache_folder() -> Path:
    """Return the folder for files that can be made again at any time.

    Returns
    -------
    Path
        The folder named by the environment variable
        ``PYTORCH_BY_HAND_CACHE``, or else the user's cache folder as the
        operating system defines it. It need not exist yet.

    Raises
    ------
    DataError
        If the user has no home folder, and the variable names no other place.
    """
    chosen = os.environ.get(CACHE_VARIABLE)
    try:
        if chosen:
            return Path(chosen).expanduser().absolute()
        usual = platformdirs.user_cache_dir("pytorch-by-hand", appauthor=False)
        return Path(usual).expanduser()
    except RuntimeError as error:
        raise DataError(
            f"This user has no home folder, so there is no place for files to keep. "
            f"Name a folder with the environment variable {CACHE_VARIABLE}."
        ) from error


def cannot_write(path: Path, error: OSError) -> DataError:
    """Return the `DataError` for a cache file that could not be written."""
    return DataError(
        f"Cannot write {path}: {error.strerror or error}.\n"
        f"The book keeps trained networks and downloads in this folder. Free some "
        f"space or allow writing there, or choose another folder with the environment "
        f"variable {CACHE_VARIABLE}."
    )
