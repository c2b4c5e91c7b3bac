"""Anyone's picture of a digit, prepared as the MNIST digits were."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from helpers.data._cache import DataError

SIDE = 28
BOX = 20  # MNIST digits fill a box of 20 by 20 pixels.
INK = 0.1  # The crop ends where nothing is darker than this share of the ink.
MIN_CONTRAST = 0.05  # Between paper and ink, in [0, 1].
FAINTEST = 1 / 512  # Half a step of a picture with 8 bits a pixel.

# Larger pictures are reduced to this many pixels first: enough for a digit that
# fills a twentieth of a photograph, and it takes the grain out.
LARGEST = 600
# Smaller ones are drawings: even paper, no grain, and few border pixels to judge by.
SMALLEST_PHOTO = 100
# Median strokes of MNIST digits are 2.5 of 20 pixels wide, 99 % of them at
# least 1.5 (by `_stroke_width`, over 5,000 training digits).
THINNEST_STROKE = 1.5


def digit_from_file(path: str | Path) -> Tensor:
    """Read a picture of one digit and prepare it as MNIST was.

    Parameters
    ----------
    path : str or Path
        A PNG, JPEG or any picture that Pillow reads: dark on light or light on
        dark, any size, the digit anywhere in it, nothing else on the paper.

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
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(
            f"there is no file {path.absolute()}. Give the path as seen from the "
            f"folder that Python runs in, or the full path."
        )
    try:
        with Image.open(path) as picture:
            gray = _gray(ImageOps.exif_transpose(picture))
    except Image.DecompressionBombError as error:
        raise DataError(
            f"{path} is too large: {error}. Make the picture smaller."
        ) from error
    except (OSError, SyntaxError, ValueError) as error:
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "its format is unknown" if unknown else str(error)
        raise DataError(
            f"{path} cannot be read as a picture: {reason}. "
            f"Save the digit as a PNG or JPEG file and try again."
        ) from error
    try:
        return prepare_digit(gray)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error


def prepare_digit(picture: Tensor) -> Tensor:
    """Crop, scale and center a gray picture as the makers of MNIST did.

    The ink is scaled, keeping its proportions, until its longer side measures
    20 pixels, and is then placed so that its center of mass falls on the center
    of a 28 by 28 field (https://yann.lecun.org/exdb/mnist/). Before that, uneven
    light, grain and specks are taken out, and strokes thinner than those of
    MNIST are made thicker: they would fade away in the scaling.

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
    gray = Image.fromarray(picture.detach().cpu().numpy().astype(np.float32))
    ink = _ink(np.asarray(_reduce(gray)))
    ink = _crop(_without_specks(ink))
    ink = _scale(_thicken(ink))
    return torch.from_numpy(_center_by_mass(ink))[None]


def _gray(picture: Image.Image) -> Tensor:
    """Return shades in [0, 1], with paper in the place of transparent parts."""
    if picture.mode.startswith(("I", "F")):
        # 16 or 32 bits a pixel; convert() would clip nearly all of it to white.
        shades = np.asarray(picture, dtype=np.float32)
        span = float(np.ptp(shades))
        return torch.from_numpy((shades - np.min(shades)) / (span or 1))
    picture = _reduce(picture.convert("RGBA").convert("LA"))
    shades, alpha = np.moveaxis(np.asarray(picture, dtype=np.float32) / 255, 2, 0)
    painted = shades[alpha > 0.5]
    if len(painted) == 0:
        paper = 1.0
    elif np.ptp(painted) > 0.3:  # a picture of paper with ink, cut out
        paper = float(np.median(painted))
    else:  # ink alone: it needs paper of the other shade
        paper = 0.0 if painted.mean() > 0.5 else 1.0
    return torch.from_numpy(shades * alpha + paper * (1 - alpha))


def _reduce(picture: Image.Image) -> Image.Image:
    """Average a large picture down until its longer side fits."""
    factor = LARGEST / max(picture.size)
    if factor >= 1:
        return picture
    width, height = (max(1, round(length * factor)) for length in picture.size)
    return picture.resize((width, height), Image.Resampling.BOX)


def _ink(gray: np.ndarray) -> np.ndarray:
    """Return how much ink each pixel holds, in [0, 1], paper exactly 0."""
    paper, grain = _paper(gray)
    # Whichever side of the paper's shade lies farther away is the ink.
    ink = paper - gray
    if -ink.min() > ink.max():
        ink = -ink
    strongest = float(ink.max())
    # Chance alone reaches 4.7 standard deviations once in 400,000 pixels.
    if strongest < max(MIN_CONTRAST, 6 * grain):
        raise ValueError(
            "the picture looks empty: nothing stands out from its background. "
            "Draw the digit darker or lighter than the paper."
        )
    ink = np.where(ink > max(FAINTEST, 4 * grain), ink / strongest, 0)
    return ink.astype(np.float32)


def _paper(gray: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the paper's shade at every pixel, and the size of its grain.

    The shade is that of the picture's border. For a photograph it is a plane
    through the border's shades, for the light often comes from one side: the
    plane with the least sum of absolute differences (least squares, repeated
    with weights), which a digit that touches the border does not tilt. The
    grain is the standard deviation around that plane.
    """
    border = np.ones(gray.shape, dtype=bool)
    border[1:-1, 1:-1] = False
    shades = gray[border].astype(np.float64)
    middle = np.median(shades)
    if max(gray.shape) < SMALLEST_PHOTO:
        return np.full_like(gray, middle), 0.0
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in gray.shape), indexing="ij")
    terms = np.stack([np.ones_like(shades), x[border], y[border]], axis=1)
    plane = np.array([middle, 0.0, 0.0])
    for _ in range(5):
        weights = 1 / np.sqrt(np.maximum(np.abs(shades - terms @ plane), 1e-3))
        plane = np.linalg.lstsq(terms * weights[:, None], shades * weights, rcond=None)[
            0
        ]
    # A quarter of a normal distribution lies within 0.3186 standard deviations.
    grain = np.quantile(np.abs(shades - terms @ plane), 0.25) / 0.3186
    return plane[0] + plane[1] * x + plane[2] * y, float(grain)


def _without_specks(ink: np.ndarray) -> np.ndarray:
    """Wipe out ink that is alone: with little other ink around it."""
    window = 2 * (max(ink.shape) // 50) + 3
    half = window // 2
    # The mean over a square, as a mean over columns of means over rows.
    around = torch.from_numpy(ink)[None, None]
    around = F.avg_pool2d(around, (window, 1), stride=1, padding=(half, 0))
    around = F.avg_pool2d(around, (1, window), stride=1, padding=(0, half))
    mass = around[0, 0].numpy()
    kept: np.ndarray = np.where(mass >= 0.2 * np.median(mass[ink > 0]), ink, 0)
    largest: float = kept.max()
    return kept / largest


def _crop(ink: np.ndarray) -> np.ndarray:
    rows = np.flatnonzero(ink.max(axis=1) > INK)
    columns = np.flatnonzero(ink.max(axis=0) > INK)
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _thicken(ink: np.ndarray) -> np.ndarray:
    """Widen strokes that would be thinner than MNIST's once they are scaled."""
    wanted = THINNEST_STROKE * max(ink.shape) / BOX
    radius = round((wanted - _stroke_width(ink)) / 2)
    if radius < 1:
        return ink
    # A line thinner than a pixel looks faint for that reason alone.
    full = torch.from_numpy(ink).mul(2).clamp(max=1)
    window = 2 * radius + 1
    wide = F.pad(full[None, None], [radius] * 4)
    wide = F.max_pool2d(wide, (window, 1), stride=1, padding=(radius, 0))
    wide = F.max_pool2d(wide, (1, window), stride=1, padding=(0, radius))
    return wide[0, 0].numpy()


def _stroke_width(ink: np.ndarray) -> float:
    """Return the mean width of the strokes in pixels.

    A long stroke has an area of length times width and two edges of that
    length, so its width is twice the area over the outline. Differences between
    neighbors down and across overstate the length of a slanting edge, on average
    over all directions by 4 / pi.
    """
    padded = np.pad(ink, 1)
    steps = sum(np.abs(np.diff(padded, axis=axis)).sum() for axis in (0, 1))
    return float(2 * ink.sum() / (steps * np.pi / 4))


def _scale(ink: np.ndarray) -> np.ndarray:
    """Scale the longer side to 20 pixels, in proportion."""
    factor = BOX / max(ink.shape)
    height, width = (max(1, round(length * factor)) for length in ink.shape)
    # BOX averages the pixels that fall together, as MNIST's makers did.
    method = Image.Resampling.BOX if factor <= 1 else Image.Resampling.BICUBIC
    scaled = Image.fromarray(ink).resize((width, height), method)
    return np.asarray(scaled).clip(0, 1)


def _center_by_mass(digit: np.ndarray) -> np.ndarray:
    """Place `digit` in a 28x28 field with its center of mass at pixel (14, 14).

    Measured on MNIST: this rule puts the ink of all digits where it is.
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
