"""Anyone's picture of a digit, prepared as the MNIST digits were."""

import os
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

# What is not paper (a desk, a frame, a finger) is looked for in a small copy.
SMALL_COPY = 150
EDGE = 0.06  # Paper's shade changes less than this from one of its pixels to the next.
MAY_TOUCH = 0.025  # A digit may touch this share of the picture's border.


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
    path = Path(os.path.expanduser(path))  # without a home folder, ~ stays ~
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
    ink = _scale(_thicken(_crop(_ink(np.asarray(_reduce(gray))))))
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
    """Return how much ink each pixel holds, in [0, 1], paper exactly 0.

    The picture's border counts as paper. Where that cannot be (ink runs along the
    border, or covers an even region as large as paper), the paper is looked for.
    """
    border = np.ones(gray.shape, dtype=bool)
    border[1:-1, 1:-1] = False
    papers = _papers(gray) if min(gray.shape) > SIDE else []
    ink, is_tight = None, False
    problem = ValueError(
        "what runs along the edge of the picture is no digit, or the light is too "
        "uneven. Crop the picture so that only paper surrounds the digit."
    )
    try:
        ink = _stands_out(gray, *_paper(gray, border))
        touching = float((ink[border] > INK).mean())
        covered = [float((_small(ink)[paper] > INK).mean()) for paper in papers]
        # A region that is all ink may be a stroke; one that is in part is no paper.
        is_uneven = any(0.01 < share < 0.9 for share in covered)
        sheet = _sheet(ink)
        if not papers or not (touching > 0.01 or is_uneven or sheet):
            return ink
        sides = (ink[0], ink[-1], ink[:, 0], ink[:, -1])
        is_tight = touching < 0.4 and all(side.max() > INK for side in sides)
        if is_tight:  # The hole of a 0 is no digit on a paper that is the 0.
            papers = [
                paper
                for paper, share in zip(papers, covered, strict=True)
                if share < 0.9 or not _is_stroke(paper)
            ]
    except ValueError as error:
        problem = error
    for paper in papers:
        found = _enclosed_ink(gray, paper)
        if found is not None:
            return found
    may_touch = is_tight or (ink is not None and touching <= MAY_TOUCH and sheet < 0.8)
    if ink is not None and may_touch and not is_uneven:
        return ink
    raise problem


def _stands_out(
    gray: np.ndarray, paper: np.ndarray, grain: float, within: np.ndarray | None = None
) -> np.ndarray:
    """Return the ink on paper of these shades, the strongest being 1."""
    # Whichever side of the paper's shade lies farther away is the ink.
    ink = paper - gray if within is None else np.where(within, paper - gray, 0)
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
    return _without_specks(ink.astype(np.float32))


def _paper(gray: np.ndarray, border: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the paper's shade at every pixel, and the size of its grain.

    The shade is that of the picture's border. For a photograph it is a plane
    through the border's shades, for the light often comes from one side: the
    plane with the least sum of absolute differences (least squares, repeated
    with weights), which a digit that touches the border does not tilt. The
    grain is the standard deviation around that plane.
    """
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
    return plane[0] + plane[1] * x + plane[2] * y, _grain(shades - terms @ plane)


def _grain(differences: np.ndarray) -> float:
    # A quarter of a normal distribution lies within 0.3186 standard deviations.
    return float(np.quantile(np.abs(differences), 0.25) / 0.3186)


def _papers(gray: np.ndarray) -> list[np.ndarray]:
    """Return the large even regions of a picture, the largest first.

    Each is a mask of a small copy: a region in which neighbors differ little, and
    which may be paper, a desk, or a bar of a film.
    """
    small = torch.from_numpy(_small(gray))[None, None]
    # What surrounds each pixel: the lightest neighbor minus the darkest.
    span = F.max_pool2d(small, 3, 1) + F.max_pool2d(-small, 3, 1)
    is_even = span < max(EDGE, 2 * float(span.median()))
    labels = _regions(F.pad(is_even[0, 0], [1] * 4).numpy())
    names, counts = np.unique(labels[labels > 0], return_counts=True)
    order = np.argsort(-counts)
    large = counts[order] > 0.05 * labels.size
    return [labels == name for name in names[order][large]]


def _is_stroke(region: np.ndarray) -> bool:
    """Tell whether a region is narrow all along, as no sheet of paper is."""
    return bool(_stroke_width(region.astype(np.float32)) < 0.25 * max(region.shape))


def _enclosed_ink(gray: np.ndarray, paper: np.ndarray) -> np.ndarray | None:
    """Return the ink that has this paper all around it, or None if there is none."""
    small = _shade_of(paper, _small(gray))[None, None]
    shade = F.interpolate(small, gray.shape, mode="bilinear")[0, 0].numpy()
    inside, known = _filled(paper), _enlarged(paper, gray.shape)
    grain = _grain((gray - shade)[known])
    try:
        ink = _stands_out(gray, shade, grain, _enlarged(inside & ~paper, gray.shape))
    except ValueError:
        return None
    # What is joined to something outside the paper is no digit on it.
    most = F.adaptive_max_pool2d(torch.from_numpy(ink)[None, None], paper.shape)
    outside = _from_outside((most[0, 0].numpy() > INK) | ~inside)
    ink = np.where(_enlarged(outside, gray.shape), 0, ink)
    if ink.max() <= INK or _sheet(ink):
        return None
    # A digit is not as small on its paper as a speck of dirt.
    part = max(_crop(ink).shape) / max(gray.shape) * max(paper.shape)
    smallest = 0.15 * min(np.ptp(places) for places in np.nonzero(inside))
    return ink / ink.max() if part > smallest else None


def _shade_of(paper: np.ndarray, small: np.ndarray) -> Tensor:
    """Return the shade that paper has, and would have where it is covered."""
    known = torch.from_numpy(paper).float()
    shade = total = torch.from_numpy(small) * known
    missing, window = ~torch.from_numpy(paper), 3
    while missing.any():  # it is taken from the nearest paper there is
        share = _mean(known, window)
        found = missing & (share > 0)
        shade = torch.where(found, _mean(total, window) / share, shade)
        missing, window = missing & ~found, 2 * window + 1
    return shade


def _sheet(ink: np.ndarray) -> float:
    """Return how much of its outline the ink fills if that is a rectangle, else 0.

    So it is for a sheet of paper on a desk, for a frame, and for a very square 0.
    """
    mask = _small(ink) > 0.5
    labels = _regions(_filled(mask))
    outline = labels == np.bincount(labels[labels > 0], minlength=1).argmax()
    if not mask.any() or outline.sum() < 0.08 * mask.size:
        return 0.0
    y, x = np.nonzero(outline)
    turns = np.deg2rad(np.arange(0, 90, 5))
    long, wide = (
        np.ptp(np.outer(np.cos(turn), x) + np.outer(np.sin(turn), y), axis=1) + 1
        for turn in (turns, turns + np.pi / 2)
    )
    best = np.argmin(long * wide)
    is_bar = max(long[best] / wide[best], wide[best] / long[best]) > 2.5  # or a 1
    is_filled = outline.sum() > 0.85 * long[best] * wide[best]
    return float(mask[outline].mean()) if is_filled and not is_bar else 0.0


def _small(picture: np.ndarray) -> np.ndarray:
    """Return a copy of at most 150 by 150 pixels."""
    factor = min(1, SMALL_COPY / max(picture.shape))
    height, width = (max(1, round(length * factor)) for length in picture.shape)
    small = Image.fromarray(picture.astype(np.float32))
    return np.array(small.resize((width, height), Image.Resampling.BOX))


def _enlarged(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the mask of a small copy as a mask of the picture."""
    rows, columns = (
        np.arange(n) * small // n for n, small in zip(shape, mask.shape, strict=True)
    )
    return mask[np.ix_(rows, columns)]


def _filled(mask: np.ndarray) -> np.ndarray:
    """Return a mask with its holes."""
    return ~_from_outside(~mask)


def _from_outside(mask: np.ndarray) -> np.ndarray:
    """Return what of a mask is joined to the outside of the picture."""
    labels = _regions(np.pad(mask, 1, constant_values=True))
    joined: np.ndarray = labels == labels[0, 0]
    return joined[1:-1, 1:-1]


def _regions(mask: np.ndarray) -> np.ndarray:
    """Number the connected regions of a mask; 0 is what does not belong to it."""
    inside = torch.from_numpy(mask).float()
    labels = torch.arange(1.0, mask.size + 1).view(mask.shape) * inside
    while True:
        # Each pixel takes the largest number beside it, and then the one that the
        # pixel of that number has: so the largest spreads by leaps.
        spread = F.max_pool2d(labels[None, None], 3, 1, 1)[0, 0] * inside
        numbered = F.pad(spread.flatten(), (1, 0))
        spread = numbered[spread.long()]
        if torch.equal(spread, labels):
            return labels.int().numpy()
        labels = spread


def _without_specks(ink: np.ndarray) -> np.ndarray:
    """Wipe out ink that is alone: with little other ink around it."""
    window = 2 * (max(ink.shape) // 50) + 3
    mass = _mean(torch.from_numpy(ink), window).numpy()
    kept: np.ndarray = np.where(mass >= 0.2 * np.median(mass[ink > 0]), ink, 0)
    largest: float = kept.max()
    return kept / largest


def _mean(picture: Tensor, window: int) -> Tensor:
    """Return the mean over a square around each pixel; outside there is nothing."""
    half = window // 2
    # It is a mean over columns of means over rows.
    means = F.avg_pool2d(picture[None, None], (window, 1), 1, (half, 0))
    return F.avg_pool2d(means, (1, window), 1, (0, half))[0, 0]


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
