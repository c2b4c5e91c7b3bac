"""Anyone's picture of a digit, prepared as the MNIST digits were."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from helpers.data._cache import DataError

SIDE = 28
BOX = 20  # MNIST digits fill a box of 20 by 20 pixels.
INK = 0.15  # Fainter than this share of the darkest stroke counts as paper.
MIN_CONTRAST = 0.1  # Between paper and ink, in [0, 1].


def digit_from_file(path: str | Path) -> Tensor:
    """Read a picture of one digit and prepare it as MNIST was.

    Parameters
    ----------
    path : str or Path
        A PNG, JPEG or any picture that Pillow reads: dark on light or light on
        dark, any size, the digit anywhere in it.

    Returns
    -------
    Tensor
        float32 of shape (1, 28, 28), values in [0, 1], ink bright. Normalize it
        as the training data was before giving it to a network.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If the file is no picture, or no digit can be told from its background.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with Image.open(path) as picture:
            picture = ImageOps.exif_transpose(picture).convert("RGBA")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read as a picture ({error}). "
            f"Save the digit as a PNG or JPEG file and try again."
        ) from error
    except Image.DecompressionBombError as error:
        raise DataError(
            f"{path} is too large: {error}. Make the picture smaller."
        ) from error
    # Transparent parts are paper. White paper suits dark ink; light ink drawn on
    # nothing is lighter than mid-gray on average and needs black paper.
    gray_alpha = np.asarray(picture.convert("LA"), dtype=np.float32) / 255
    gray, alpha = gray_alpha[..., 0], gray_alpha[..., 1]
    light_ink = (
        alpha.min() < 1 and alpha.max() > 0 and (np.average(gray, weights=alpha) > 0.5)
    )
    paper = 0.0 if light_ink else 1.0
    try:
        return prepare_digit(torch.from_numpy(gray * alpha + paper * (1 - alpha)))
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error


def prepare_digit(picture: Tensor) -> Tensor:
    """Crop, scale and center a gray picture as the makers of MNIST did.

    The ink is scaled, keeping its proportions, until its longer side measures
    20 pixels, and is then placed so that its center of mass falls on the center
    of a 28 by 28 field (https://yann.lecun.org/exdb/mnist/).

    Parameters
    ----------
    picture : Tensor
        float of shape (height, width), values in [0, 1].

    Returns
    -------
    Tensor
        float32 of shape (1, 28, 28), values in [0, 1], ink bright.

    Raises
    ------
    ValueError
        If the picture has another shape, or shows nothing.
    """
    if picture.ndim != 2 or min(picture.shape) < 1:
        raise ValueError(
            f"expected a gray picture of shape (height, width), "
            f"not {tuple(picture.shape)}"
        )
    ink = _ink(picture.numpy().astype(np.float32))
    rows = np.flatnonzero(ink.max(axis=1) > 0)
    columns = np.flatnonzero(ink.max(axis=0) > 0)
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]

    factor = BOX / max(ink.shape)
    size = [max(1, round(length * factor)) for length in ink.shape]
    scaled = Image.fromarray(ink).resize((size[1], size[0]), Image.Resampling.BOX)
    return torch.from_numpy(_center_by_mass(np.asarray(scaled)))[None]


def _ink(gray: np.ndarray) -> np.ndarray:
    """Return how much ink each pixel holds, in [0, 1], paper exactly 0."""
    border = np.concatenate([gray[0], gray[-1], gray[:, 0], gray[:, -1]])
    paper = float(np.median(border))
    # Whichever side of the paper's shade lies farther away is the ink.
    darkest, brightest = float(gray.min()), float(gray.max())
    ink = paper - gray if paper - darkest > brightest - paper else gray - paper
    strongest = float(ink.max())
    if strongest < MIN_CONTRAST:
        raise ValueError(
            "the picture looks empty: nothing stands out from its background. "
            "Draw the digit darker or lighter than the paper."
        )
    ink = ink / strongest
    return np.where(ink > INK, ink, 0).astype(np.float32)


def _center_by_mass(digit: np.ndarray) -> np.ndarray:
    """Place `digit` in a 28x28 field with its center of mass at pixel (14, 14).

    Measured on MNIST: the means over all digits are 14.0 and 14.0, with the
    spread of rounding to whole pixels.
    """
    field = np.zeros((SIDE, SIDE), dtype=np.float32)
    place = []
    for axis, length in enumerate(digit.shape):
        mass = digit.sum(axis=1 - axis)
        center = (mass * (np.arange(length) + 0.5)).sum() / mass.sum()
        start = round(SIDE / 2 + 0.5 - center)
        place.append(min(max(start, 0), SIDE - length))
    top, left = place
    field[top : top + digit.shape[0], left : left + digit.shape[1]] = digit
    return field
