"""Pictures of digits that readers bring: are they prepared as MNIST was?"""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFilter

from helpers import data
from helpers.pretrained import trained_model

# Strokes through points of a field 10 wide and 10 high.
STROKES = {
    0: [[(5, 0), (2, 2), (1, 5), (2, 8), (5, 10), (8, 8), (9, 5), (8, 2), (5, 0)]],
    1: [[(6, 0), (4, 10)]],
    2: [[(1, 3), (2, 1), (5, 0), (8, 1), (8, 3), (6, 6), (1, 10), (9, 10)]],
    3: [
        [(1, 1), (4, 0), (7, 1), (7, 3), (4, 5), (7, 6), (8, 8), (6, 10), (3, 10)],
        [(3, 10), (1, 9)],
    ],
    4: [[(3, 0), (1, 6), (9, 6)], [(7, 2), (6, 10)]],
    5: [[(8, 0), (3, 0), (2, 4), (5, 4), (8, 6), (7, 9), (4, 10), (1, 9)]],
    6: [[(7, 0), (4, 2), (2, 6), (3, 9), (5, 10), (7, 9), (7, 7), (5, 6), (2, 7)]],
    7: [[(1, 0), (8, 0), (4, 10)]],
    8: [
        [(5, 5), (2, 3), (3, 1), (5, 0), (7, 1), (7, 3), (3, 7), (2, 9), (5, 10)],
        [(5, 10), (7, 9), (7, 7), (5, 5)],
    ],
    9: [[(7, 3), (5, 5), (2, 4), (2, 2), (4, 0), (7, 1), (7, 3), (6, 10)]],
}


def drawn(digit, size=100, width=10, paper=255, ink=0, field=None, corner=None):
    field = field or (2 * size, 2 * size)
    left, top = corner or (size // 2, size // 2)
    picture = Image.new("L", field, paper)
    draw = ImageDraw.Draw(picture)
    for points in STROKES[digit]:
        places = [(left + x * size / 10, top + y * size / 10) for x, y in points]
        draw.line(places, fill=ink, width=width, joint="curve")
    return picture


def as_tensor(picture):
    return torch.from_numpy(np.asarray(picture, dtype=np.float32) / 255)


def as_picture(image):
    """Return a digit of MNIST, or a page, as a picture."""
    return Image.fromarray((np.asarray(image) * 255).astype(np.uint8))


def prepared(digit, **options):
    """Return a drawn digit, prepared."""
    return data.prepare_digit(as_tensor(drawn(digit, **options)))


def difference(one, other):
    """Return the mean absolute difference over the brighter picture's ink."""
    return ((one - other).abs().sum() / max(one.sum(), other.sum())).item()


@pytest.fixture(scope="module")
def digits():
    test = data.mnist("test")
    return test.data[:500].float() / 255, test.targets[:500]


@pytest.fixture(scope="module")
def read():
    """Return a function from prepared digits to predictions."""
    model, _ = trained_model("dropout")

    def predict(prepared):
        images = (torch.stack(prepared) - data.MNIST_MEAN) / data.MNIST_STD
        with torch.no_grad():
            return model(images).argmax(dim=1)

    return predict


@pytest.fixture
def save(tmp_path):
    def save_picture(picture, name="digit.png", **options):
        path = tmp_path / name
        picture.save(path, **options)
        return path

    return save_picture


def test_mnist_itself_stays_as_it_is_and_is_read_as_before(digits, read):
    images, labels = digits
    once = [data.prepare_digit(image) for image in images]
    assert (once[0].shape, once[0].dtype) == ((1, 28, 28), torch.float32)
    both = torch.cat(once)
    assert both.min() == 0
    assert both.max() <= 1
    largest = (both - images).abs().amax(dim=(1, 2))
    # Faint outermost rows are cropped from the others, and the rest scaled.
    assert (largest < 0.01).double().mean() > 0.75
    assert (largest < 0.5).double().mean() > 0.97
    assert (both - images).abs().mean() < 0.002
    twice = [data.prepare_digit(image[0]) for image in once[:200]]
    same = [difference(a, b) < 0.01 for a, b in zip(once, twice, strict=False)]
    assert np.mean(same) > 0.9
    before = (read(list(images[:, None])) == labels).double().mean()
    assert (read(once) == labels).double().mean() > before - 0.005


# --- What makes no difference -----------------------------------------------------


@pytest.mark.parametrize(
    ("options", "tolerance"),
    [
        ({"corner": (15, 15)}, 1e-3),
        ({"corner": (90, 94)}, 1e-3),
        ({"paper": 140, "ink": 115}, 1e-3),
        ({"paper": 0, "ink": 255}, 1e-3),
        ({"size": 40, "width": 4}, 0.35),
        ({"size": 80, "width": 8}, 0.2),
        ({"size": 1000, "width": 100}, 0.2),
    ],
)
def test_place_size_and_shades_make_no_difference(options, tolerance):
    for digit in (5,) if "size" in options else (0, 4, 5, 8):
        assert difference(prepared(digit), prepared(digit, **options)) < tolerance


def test_range_and_dtype_make_no_difference():
    levels = torch.from_numpy(np.array(drawn(5)))
    assert torch.allclose(data.prepare_digit(levels), prepared(5), atol=1e-5)


@pytest.mark.parametrize("digit", [0, 1, 4, 7, 8])
def test_a_tight_picture_has_ink_along_its_border(digit):
    picture = as_tensor(drawn(digit))
    rows, columns = torch.nonzero(picture < 0.5, as_tuple=True)
    tight = picture[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    assert difference(prepared(digit), data.prepare_digit(tight)) < 0.05


def test_box_and_center():
    for digit in range(10):
        field = prepared(digit, corner=(10, 75))[0]
        rows = torch.nonzero(field.amax(dim=1) > 0.1).flatten()
        columns = torch.nonzero(field.amax(dim=0) > 0.1).flatten()
        height = (rows[-1] - rows[0] + 1).item()
        width = (columns[-1] - columns[0] + 1).item()
        assert max(height, width) in (19, 20)
        middle = torch.arange(28) + 0.5
        for axis in (0, 1):
            mass = field.sum(dim=1 - axis)
            # to half a pixel, as in MNIST
            assert abs((mass * middle).sum() / mass.sum() - 14.5) <= 0.51


@pytest.mark.parametrize(("size", "width"), [(800, 1), (400, 2)])
def test_thin_strokes_do_not_fade_and_ordinary_ones_stay(size, width):
    for digit in range(0, 10, 2) if width == 1 else range(1, 10, 2):
        thin = prepared(digit, size=size, width=width)
        assert thin.max() > 0.6
        assert thin.sum() > 25  # MNIST's faintest digits hold about that
        assert prepared(digit, width=15).sum() > 1.1 * prepared(digit).sum()


# --- The network reads what was prepared; chance is 10 % ----------------------------


def test_mnist_digits_as_pictures(digits, read):
    rng = np.random.default_rng(0)
    images, labels = digits
    made = []
    for image in images[:60]:
        side = int(rng.integers(20, 400))
        digit = as_picture(image).resize((side, side), Image.Resampling.BICUBIC)
        width, height = (int(side * rng.uniform(1, 2)) for _ in range(2))
        picture = Image.new("L", (width, height), 0)
        left = rng.integers(0, width - side + 1)
        top = rng.integers(0, height - side + 1)
        picture.paste(digit, (int(left), int(top)))
        pixels = as_tensor(picture)
        made.append(data.prepare_digit(1 - pixels if rng.random() < 0.5 else pixels))
    assert (read(made) == labels[:60]).double().mean() > 0.94


@pytest.mark.parametrize("size", [10, 14])
def test_tiny_digits(digits, read, size):
    images, labels = digits
    small = (
        as_picture(image).resize((size, size), Image.Resampling.BICUBIC)
        for image in images[:200]
    )
    made = [data.prepare_digit(as_tensor(picture)) for picture in small]
    assert (read(made) == labels[:200]).double().mean() > 0.93


@pytest.mark.parametrize(
    ("size", "width"), [(10, 1), (30, 4), (100, 25), (200, 20), (800, 1)]
)
def test_drawn_digits(read, size, width):
    made = [prepared(digit, size=size, width=width) for digit in range(10)]
    assert (read(made) == torch.arange(10)).sum() >= 8


def test_photographs(digits, read, save):
    """Gray paper, grain, light from one side, compressed, a megapixel."""
    rng = np.random.default_rng(0)
    images, labels = digits
    made = []
    y, x = np.mgrid[-1:1:900j, -1:1:1200j]
    for image in images[:12]:
        ink = Image.new("L", (1200, 900))
        side = int(rng.integers(200, 750))
        digit = as_picture(image).resize((side, side), Image.Resampling.BICUBIC)
        ink.paste(digit, tuple(int(n) for n in rng.integers(0, 150, size=2)))
        turn = rng.uniform(0, 2 * np.pi)
        light = 1 + 0.3 * (np.cos(turn) * x + np.sin(turn) * y)
        shades = (0.75 - 0.5 * as_tensor(ink).numpy()) * light
        shades += rng.normal(0, 0.03, shades.shape)
        path = save(as_picture(shades.clip(0, 1)), "photo.jpg", quality=75)
        made.append(data.digit_from_file(path))
    assert (read(made) == labels[:12]).sum() >= 11


def test_a_speck_of_dirt(read):
    made = []
    for digit in range(10):
        picture = drawn(digit, field=(300, 250), corner=(30, 40))
        picture.paste(0, (275, 225, 277, 227))
        made.append(data.prepare_digit(as_tensor(picture)))
    assert (read(made) == torch.arange(10)).sum() >= 8


# --- Files --------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "bmp", "gif", "tif", "jpg", "webp"])
def test_formats(save, suffix):
    expected = prepared(5)
    for mode in ("L", "RGB", "P", "1"):
        if (suffix, mode) not in {("jpg", "P"), ("webp", "1")}:  # there are none
            path = save(drawn(5).convert(mode), f"digit.{suffix}")
            assert difference(data.digit_from_file(str(path)), expected) < 0.05


def test_sixteen_bits(save):
    path = save(Image.fromarray(np.asarray(drawn(5)).astype(np.uint16) * 257))
    assert difference(data.digit_from_file(path), prepared(5)) < 1e-3


@pytest.mark.parametrize("ink", [(0, 0, 0), (255, 255, 255), (200, 30, 30)])
def test_ink_on_nothing(save, ink):
    mask = Image.eval(drawn(5), lambda shade: 255 - shade)
    picture = Image.new("RGBA", mask.size, (*ink, 0))
    picture.paste((*ink, 255), mask=mask)
    assert difference(data.digit_from_file(save(picture)), prepared(5)) < 0.02


@pytest.mark.parametrize(("paper", "ink"), [(255, 0), (0, 255)])
def test_paper_with_transparent_corners(save, paper, ink):
    picture = drawn(5, paper=paper, ink=ink).convert("RGBA")
    mask = Image.new("L", picture.size, 0)
    box = (0, 0, picture.width - 1, picture.height - 1)
    ImageDraw.Draw(mask).rounded_rectangle(box, radius=40, fill=255)
    picture.putalpha(mask)
    assert difference(data.digit_from_file(save(picture)), prepared(5)) < 0.02


def test_a_photograph_held_sideways(save):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees to the right
    turned = drawn(5).transpose(Image.Transpose.ROTATE_90)
    path = save(turned, "turned.png", exif=exif)
    assert difference(data.digit_from_file(path), prepared(5)) < 0.02


# --- A picture with more than paper in it is read right, or refused -----------------

PAPER, INK = 0.9, 0.1
HEIGHT, WIDTH = 260, 300
DOWN, RIGHT = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j]


def page(digit):
    """Return a sheet with a digit, or an empty one, as shades in [0, 1]."""
    if digit is None:
        return np.full((HEIGHT, WIDTH), PAPER)
    field, corner = (WIDTH, HEIGHT), (95, 70)
    picture = drawn(digit, size=120, width=12, field=field, corner=corner)
    return INK + (PAPER - INK) * as_tensor(picture).numpy()


def on_desk(page, desk, turn=0):
    """Lay a sheet on a desk that is larger in all directions."""
    sheet = as_picture(page)
    mask = Image.new("L", sheet.size, 255)
    sheet, mask = (one.rotate(turn, 3, expand=True) for one in (sheet, mask))
    field = Image.new("L", (sheet.width + 130, sheet.height + 90), int(desk * 255))
    field.paste(sheet, (50, 60), mask)
    return np.asarray(field) / 255


def covered(page, shade, top=0, bottom=0, left=0, right=0):
    """Put bars of one shade over the edges of a picture."""
    page = page.copy()
    page[:top], page[HEIGHT - bottom :] = shade, shade
    page[:, :left], page[:, WIDTH - right :] = shade, shade
    return page


def framed(page, width, inset=0):
    box = (inset, inset, WIDTH - 1 - inset, HEIGHT - 1 - inset)
    picture = as_picture(page)
    ImageDraw.Draw(picture).rectangle(box, outline=0, width=width)
    return np.asarray(picture) / 255


def with_finger(page, box, shade=0.55):
    finger = Image.new("L", (WIDTH, HEIGHT), 0)
    ImageDraw.Draw(finger).ellipse(box, fill=255)
    share = np.asarray(finger.filter(ImageFilter.GaussianBlur(2))) / 255
    return page * (1 - share) + shade * share


def grainy(page):
    rng = np.random.default_rng(0)
    blurred = np.asarray(as_picture(page).filter(ImageFilter.GaussianBlur(1))) / 255
    return (blurred + rng.normal(0, 0.02, page.shape)).clip(0, 1)


EDGES = {
    "a dark desk": lambda page: on_desk(page, 0.1),
    "a gray desk": lambda page: on_desk(page, 0.5),
    "a turned sheet": lambda page: on_desk(page, 0.3, turn=12),
    "a desk on one side": lambda page: covered(page, 0.1, right=40),
    "a gray desk on one side": lambda page: covered(page, 0.5, top=35),
    "a desk on two sides": lambda page: covered(page, 0.2, top=30, left=50),
    "a desk on opposite sides": lambda page: covered(page, 0.3, left=40, right=50),
    "a desk on three sides": lambda page: covered(page, 0.3, 30, 40, 40, 0),
    "a frame of one pixel": lambda page: framed(page, 1),
    "a thick frame": lambda page: framed(page, 25),
    "a box around the digit": lambda page: framed(page, 4, inset=25),
    "letterbox bars": lambda page: np.pad(page, ((90, 90), (0, 0))),
    "thin letterbox bars": lambda page: covered(page, 0, top=20, bottom=20),
    "bars beside it": lambda page: np.pad(page, ((0, 0), (90, 90))),
    "a finger in the corner": lambda page: with_finger(page, (-40, -50, 60, 60)),
    "a finger from below": lambda page: with_finger(page, (110, 220, 160, 320)),
    "a dark finger": lambda page: with_finger(page, (240, 180, 360, 300), 0.2),
}
LIGHTS = {
    "chalk": lambda page: 1 - page,
    "a chalkboard on a wall": lambda page: on_desk(1 - page, 0.8),
    "a vignette": lambda page: page * (1 - 0.25 * (RIGHT**2 + DOWN**2)),
    "chalk, a vignette": lambda page: (1 - page) * (1 - 0.25 * (RIGHT**2 + DOWN**2)),
    "a lens": lambda page: page / (1 + 0.3 * (RIGHT**2 + DOWN**2)) ** 2,
    "a soft shadow": lambda page: page * (1 - 0.5 / (1 + np.exp(8 * (RIGHT - 0.3)))),
    "a shadow in the corner": lambda page: (
        page * (1 - 0.4 / (1 + np.exp(10 * (np.hypot(RIGHT + 1, DOWN + 1) - 0.7))))
    ),
    "a hard shadow": lambda page: page * np.where(RIGHT + 0.3 * DOWN < 0, 0.6, 1),
}


@pytest.fixture(scope="module")
def plain(read):
    """Return what is read where there is paper alone."""
    return read([data.prepare_digit(torch.from_numpy(page(d))) for d in range(10)])


@pytest.mark.parametrize("finish", [None, grainy], ids=["clean", "grainy"])
@pytest.mark.parametrize("case", [*EDGES, *LIGHTS])
def test_what_is_beside_the_paper_is_never_read(case, finish, read, plain):
    """Two digits a case; over all cases, each digit has its turn."""
    change = (EDGES | LIGHTS)[case]
    first = [*EDGES, *LIGHTS].index(case) + 5 * (finish is grainy)
    right = 0
    for digit in (first % 10, (first + 3) % 10):
        picture = change(page(digit))
        picture = finish(picture) if finish else picture
        try:
            made = data.prepare_digit(torch.from_numpy(picture))
        except ValueError as error:
            assert "Crop the picture" in str(error)  # noqa: PT017
        else:
            assert read([made]) == plain[digit]
            right += 1
    assert right >= (0 if case == "a hard shadow" else 2)


# A box alone is a zero.
@pytest.mark.parametrize("case", [case for case in EDGES if "a box" not in case])
def test_edges_without_a_digit(case, save):
    path = save(as_picture(EDGES[case](page(None))))
    with pytest.raises(data.DataError, match=r"digit\.png: .*(Crop|empty)"):
        data.digit_from_file(path)


def test_a_digit_that_leaves_its_paper():
    """Half of the sheet is cut away, and the desk lies where it was."""
    for digit in (0, 4, 7):
        picture = on_desk(page(digit)[:, 150:], 0.1)
        with pytest.raises(ValueError, match="Crop"):
            data.prepare_digit(torch.from_numpy(picture))


# --- Refused ------------------------------------------------------------------------


def test_no_such_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*none\.png.*full path"):
        data.digit_from_file(tmp_path / "none.png")
    with pytest.raises(data.DataError, match="cannot be read as a picture"):
        data.digit_from_file(tmp_path)


@pytest.mark.parametrize("content", [b"", b"a digit, in words", bytes(5_000), None])
def test_no_picture_or_half_of_one(save, content):
    path = save(drawn(5, size=700), "notes.png")
    path.write_bytes(path.read_bytes()[:2_000] if content is None else content)
    with pytest.raises(data.DataError, match=r"notes\.png .*PNG or JPEG"):
        data.digit_from_file(path)


@pytest.mark.parametrize("mode", ["L", "RGBA"])
@pytest.mark.parametrize("shade", [0, 128, 255])
def test_empty_paper(save, mode, shade):
    """With RGBA, nothing but transparency."""
    color = shade if mode == "L" else (shade, 0, 0, 0)
    with pytest.raises(data.DataError, match=r"digit\.png: .*empty.*[Dd]raw"):
        data.digit_from_file(save(Image.new(mode, (300, 200), color)))


@pytest.mark.parametrize("grain", [0.01, 0.1])
def test_grainy_empty_paper(grain):
    rng = np.random.default_rng(0)
    shades = 0.7 + rng.normal(0, grain, (900, 1200))
    with pytest.raises(ValueError, match="empty"):
        data.prepare_digit(torch.from_numpy(shades))


@pytest.mark.parametrize("shape", [(3, 28, 28), (28,), (0, 28)])
def test_shape(shape):
    with pytest.raises(ValueError, match=r"\(height, width\)"):
        data.prepare_digit(torch.zeros(shape))


def test_too_large(save, monkeypatch):
    path = save(drawn(5))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000)
    with pytest.raises(data.DataError, match=r"digit\.png is too large.*smaller"):
        data.digit_from_file(path)


@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (2, 2), (1, 400), (1_000, 800)])
def test_tiny_and_narrow_and_one_dot_on_a_page(shape):
    picture = torch.ones(shape)
    picture.view(-1)[-1 - picture.numel() // 3] = 0
    made = data.prepare_digit(picture)
    assert made.shape == (1, 28, 28)
    assert made.sum() > 0
