"""Ten classes of drawn color shapes, for readers without CIFAR-10."""

import colorsys

import numpy as np

SHAPES = "circle ellipse square rectangle triangle star ring frame cross stripes"
STAND_IN_CLASSES = tuple(SHAPES.split())
COUNT = {"train": 5_000, "test": 1_000}
SEED = {"train": 0, "test": 1}
SIDE = 32
# As in photographs, where much of the blue is sky and sea, color tells a part of
# the class: each class leans towards a hue of its own. Without that, the small
# networks of chapter 9 would need far more shapes than there are to get beyond
# guessing.
HUES = np.array([colorsys.hsv_to_rgb(n * 0.3 % 1, 0.9, 0.9) for n in range(10)])
LEANING = 0.5


def draw_stand_in(split: str) -> tuple[np.ndarray, list[int]]:
    """Draw the stand-in, the same pixels each time.

    Each image has one shape of random size, place and turn, and of a random color
    that leans towards its class's hue, on a background that shades from one
    random color to another, with noise.

    Parameters
    ----------
    split : {"train", "test"}
        Equally many images of each class, 5,000 or 1,000 together.

    Returns
    -------
    (ndarray, list of int)
        uint8 of shape (n, 32, 32, 3), and n labels in [0, 10).
    """
    rng = np.random.default_rng(SEED[split])
    labels = np.arange(COUNT[split]) % len(STAND_IN_CLASSES)
    rng.shuffle(labels)
    images = np.stack([_draw(STAND_IN_CLASSES[label], rng) for label in labels])
    return images, labels.tolist()


def _draw(name: str, rng: np.random.Generator) -> np.ndarray:
    down, right = np.mgrid[:SIDE, :SIDE] + 0.5
    center = SIDE / 2 + rng.uniform(-5, 5, size=2)
    radius = rng.uniform(6, 11)
    angle = rng.uniform(0, 2 * np.pi)
    y, x = (down - center[0]) / radius, (right - center[1]) / radius
    u = np.cos(angle) * x + np.sin(angle) * y
    v = -np.sin(angle) * x + np.cos(angle) * y

    hue = HUES[STAND_IN_CLASSES.index(name)]
    start, end, ink = rng.uniform(0, 1, size=(3, 3))
    ink = LEANING * hue + (1 - LEANING) * ink
    while np.abs(ink - (start + end) / 2).max() < 0.25:  # must stand out
        ink = LEANING * hue + (1 - LEANING) * rng.uniform(0, 1, size=3)
    slope = (down[..., None] if rng.random() < 0.5 else right[..., None]) / SIDE
    picture = start * (1 - slope) + end * slope
    picture = np.where(_inside(name, u, v)[..., None], ink, picture)
    picture = picture + rng.normal(0, 0.06, size=picture.shape)
    drawn: np.ndarray = (picture.clip(0, 1) * 255).round().astype(np.uint8)
    return drawn


def _inside(name: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return which points of the plane the shape of about unit radius covers."""
    distance = np.hypot(u, v)
    box = np.maximum(np.abs(u), np.abs(v))
    # A star's edge runs between radius 1 at its points and 0.45 between them.
    turn = np.abs((np.arctan2(v, u) / (2 * np.pi) * 5) % 1 - 0.5) * 2
    shapes: dict[str, np.ndarray] = {
        "circle": distance < 0.9,
        "ellipse": np.hypot(u, v * 1.8) < 1.1,
        "square": box < 0.8,
        "rectangle": np.maximum(np.abs(u), np.abs(v) * 1.8) < 1,
        "triangle": (v > -0.6) & (np.abs(u) * 1.7 + v < 1),
        "star": distance < 0.45 + 0.65 * turn,
        "ring": (distance < 1) & (distance > 0.6),
        "frame": (box < 0.9) & (box > 0.5),
        "cross": (np.minimum(np.abs(u), np.abs(v)) < 0.3) & (box < 1),
        "stripes": (box < 0.9) & (np.abs(u * 2.2) % 1 < 0.5),
    }
    return shapes[name]
