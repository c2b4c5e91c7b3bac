"""Pictures of digits that readers bring: are they prepared as MNIST was?"""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFilter

from helpers import data
from helpers.data._digit import _stroke_width
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


def drawn(digit, size=200, width=20, paper=255, ink=0, field=None, corner=None):
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


def difference(one, other):
    """Return the mean absolute difference over the brighter picture's ink."""
    return ((one - other).abs().sum() / max(one.sum(), other.sum())).item()


@pytest.fixture(scope="module")
def digits():
    test = data.mnist("test")
    return test.data[:1_000].float() / 255, test.targets[:1_000]


@pytest.fixture(scope="module")
def prepared(digits):
    """Return the test digits, prepared once."""
    return [data.prepare_digit(image) for image in digits[0]]


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


class TestMnistItself:
    def test_stays_as_it_is(self, digits, prepared):
        images, _ = digits
        prepared = torch.cat(prepared)
        largest = (prepared - images).abs().amax(dim=(1, 2))
        # Faint outermost rows are cropped from the others, and the rest scaled.
        assert (largest < 0.01).double().mean() > 0.75
        assert (largest < 0.5).double().mean() > 0.97
        assert (prepared - images).abs().mean() < 0.002

    def test_is_idempotent(self, prepared):
        once = prepared[:300]
        twice = [data.prepare_digit(image[0]) for image in once]
        assert (
            np.mean([difference(a, b) < 0.01 for a, b in zip(once, twice, strict=True)])
            > 0.9
        )

    def test_keeps_its_accuracy(self, digits, prepared, read):
        images, labels = digits
        before = (read(list(images[:, None])) == labels).double().mean()
        assert (read(prepared) == labels).double().mean() > before - 0.005

    def test_result(self, digits):
        digit = data.prepare_digit(digits[0][0])
        assert digit.shape == (1, 28, 28)
        assert digit.dtype == torch.float32
        assert digit.min() == 0
        assert digit.max() <= 1


class TestInvariance:
    @pytest.mark.parametrize("digit", range(10))
    def test_polarity(self, digit):
        picture = as_tensor(drawn(digit))
        dark_on_light = data.prepare_digit(picture)
        light_on_dark = data.prepare_digit(1 - picture)
        assert difference(dark_on_light, light_on_dark) < 1e-3

    @pytest.mark.parametrize("corner", [(30, 30), (190, 40), (25, 170), (180, 190)])
    def test_shift(self, corner):
        centered = data.prepare_digit(as_tensor(drawn(5)))
        moved = data.prepare_digit(as_tensor(drawn(5, corner=corner)))
        assert difference(centered, moved) < 1e-3

    @pytest.mark.parametrize(
        ("size", "tolerance"), [(40, 0.35), (80, 0.2), (120, 0.2), (1000, 0.2)]
    )
    def test_scale(self, size, tolerance):
        reference = data.prepare_digit(as_tensor(drawn(5)))
        scaled = data.prepare_digit(as_tensor(drawn(5, size=size, width=size // 10)))
        assert difference(reference, scaled) < tolerance

    def test_contrast(self):
        strong = data.prepare_digit(as_tensor(drawn(5)))
        faint = data.prepare_digit(as_tensor(drawn(5, paper=140, ink=115)))
        assert difference(strong, faint) < 1e-3

    def test_a_digit_that_touches_the_border(self):
        reference = data.prepare_digit(as_tensor(drawn(5)))
        picture = as_tensor(drawn(5))
        rows, columns = torch.nonzero(picture < 0.5, as_tuple=True)
        tight = picture[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert difference(reference, data.prepare_digit(tight)) < 0.02

    def test_box_and_center(self):
        for digit in range(10):
            field = data.prepare_digit(as_tensor(drawn(digit, corner=(20, 150))))[0]
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


class TestStrokes:
    def test_width_is_measured(self):
        for width in (10, 20, 40):
            ink = 1 - as_tensor(drawn(5, size=400, width=width)).numpy()
            assert _stroke_width(ink) == pytest.approx(width, rel=0.2)

    @pytest.mark.parametrize(("size", "width"), [(800, 1), (800, 3), (400, 2)])
    def test_thin_strokes_do_not_fade(self, size, width):
        for digit in range(10):
            prepared = data.prepare_digit(
                as_tensor(drawn(digit, size=size, width=width))
            )
            assert prepared.max() > 0.6
            assert prepared.sum() > 25  # MNIST's faintest digits hold about that

    def test_ordinary_strokes_stay(self):
        for digit in range(10):
            wide = data.prepare_digit(as_tensor(drawn(digit, width=30)))
            usual = data.prepare_digit(as_tensor(drawn(digit, width=20)))
            assert wide.sum() > 1.1 * usual.sum()


class TestRecognition:
    """The network reads what was prepared; chance is 10 %."""

    def test_mnist_digits_as_pictures(self, digits, read):
        rng = np.random.default_rng(0)
        images, labels = digits
        prepared = []
        for image in images[:100]:
            side = int(rng.integers(20, 400))
            digit = Image.fromarray((image.numpy() * 255).astype(np.uint8))
            digit = digit.resize((side, side), Image.Resampling.BICUBIC)
            width, height = (int(side * rng.uniform(1, 2)) for _ in range(2))
            picture = Image.new("L", (width, height), 0)
            left = rng.integers(0, width - side + 1)
            top = rng.integers(0, height - side + 1)
            picture.paste(digit, (int(left), int(top)))
            pixels = as_tensor(picture)
            prepared.append(
                data.prepare_digit(1 - pixels if rng.random() < 0.5 else pixels)
            )
        assert (read(prepared) == labels[:100]).double().mean() > 0.94

    @pytest.mark.parametrize("size", [10, 14])
    def test_tiny_digits(self, digits, read, size):
        images, labels = digits
        prepared = []
        for image in images[:300]:
            digit = Image.fromarray((image.numpy() * 255).astype(np.uint8))
            small = digit.resize((size, size), Image.Resampling.BICUBIC)
            prepared.append(data.prepare_digit(as_tensor(small)))
        assert (read(prepared) == labels[:300]).double().mean() > 0.93

    @pytest.mark.parametrize(
        ("size", "width"), [(10, 1), (30, 4), (100, 25), (200, 20), (800, 1)]
    )
    def test_drawn_digits(self, read, size, width):
        prepared = [
            data.prepare_digit(as_tensor(drawn(digit, size=size, width=width)))
            for digit in range(10)
        ]
        assert (read(prepared) == torch.arange(10)).sum() >= 8

    @pytest.mark.parametrize("slope", [0.0, 0.15, 0.3])
    def test_photographs(self, digits, read, save, slope):
        """Gray paper, grain, light from one side, compressed, a megapixel."""
        rng = np.random.default_rng(0)
        images, labels = digits
        prepared = []
        y, x = np.mgrid[-1:1:900j, -1:1:1200j]
        for image in images[:12]:
            ink = Image.new("L", (1200, 900))
            digit = Image.fromarray((image.numpy() * 255).astype(np.uint8))
            side = int(rng.integers(200, 750))
            digit = digit.resize((side, side), Image.Resampling.BICUBIC)
            ink.paste(digit, tuple(int(n) for n in rng.integers(0, 150, size=2)))
            turn = rng.uniform(0, 2 * np.pi)
            light = 1 + slope * (np.cos(turn) * x + np.sin(turn) * y)
            shades = (0.75 - 0.5 * as_tensor(ink).numpy()) * light
            shades += rng.normal(0, 0.03, shades.shape)
            photo = Image.fromarray((shades.clip(0, 1) * 255).astype(np.uint8))
            path = save(photo, "photo.jpg", quality=75)
            prepared.append(data.digit_from_file(path))
        assert (read(prepared) == labels[:12]).sum() >= 11

    def test_a_speck_of_dirt(self, read):
        prepared = []
        for digit in range(10):
            picture = drawn(digit, field=(600, 500), corner=(60, 80))
            picture.paste(0, (550, 450, 554, 454))
            prepared.append(data.prepare_digit(as_tensor(picture)))
        assert (read(prepared) == torch.arange(10)).sum() >= 8


class TestFiles:
    @pytest.fixture
    def reference(self):
        return data.prepare_digit(as_tensor(drawn(5)))

    @pytest.mark.parametrize("suffix", ["png", "bmp", "gif", "tif", "jpg", "webp"])
    @pytest.mark.parametrize("mode", ["L", "RGB", "P", "1"])
    def test_formats(self, save, reference, suffix, mode):
        picture = drawn(5).convert(mode)
        if (suffix, mode) in {("jpg", "P"), ("webp", "1")}:
            pytest.skip("the format has no such pictures")
        path = save(picture, f"digit.{suffix}")
        assert difference(data.digit_from_file(str(path)), reference) < 0.05

    def test_sixteen_bits(self, save, reference):
        pixels = np.asarray(drawn(5)).astype(np.uint16) * 257
        path = save(Image.fromarray(pixels))
        assert difference(data.digit_from_file(path), reference) < 1e-3

    @pytest.mark.parametrize("ink", [(0, 0, 0), (255, 255, 255), (200, 30, 30)])
    def test_ink_on_nothing(self, save, reference, ink):
        mask = Image.eval(drawn(5), lambda shade: 255 - shade)
        picture = Image.new("RGBA", mask.size, (*ink, 0))
        picture.paste((*ink, 255), mask=mask)
        assert difference(data.digit_from_file(save(picture)), reference) < 0.02

    @pytest.mark.parametrize(("paper", "ink"), [(255, 0), (0, 255)])
    def test_paper_with_transparent_corners(self, save, reference, paper, ink):
        picture = drawn(5, paper=paper, ink=ink).convert("RGBA")
        mask = Image.new("L", picture.size, 0)
        box = (0, 0, picture.width - 1, picture.height - 1)
        ImageDraw.Draw(mask).rounded_rectangle(box, radius=80, fill=255)
        picture.putalpha(mask)
        assert difference(data.digit_from_file(save(picture)), reference) < 0.02

    def test_a_photograph_held_sideways(self, save, reference):
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned by 90 degrees to the right
        turned = drawn(5).transpose(Image.Transpose.ROTATE_90)
        path = save(turned, "turned.png", exif=exif)
        assert difference(data.digit_from_file(path), reference) < 0.02


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
    sheet = Image.fromarray((page * 255).astype(np.uint8))
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
    picture = Image.fromarray((page * 255).astype(np.uint8))
    ImageDraw.Draw(picture).rectangle(box, outline=0, width=width)
    return np.asarray(picture) / 255


def with_finger(page, box, shade=0.55):
    finger = Image.new("L", (WIDTH, HEIGHT), 0)
    ImageDraw.Draw(finger).ellipse(box, fill=255)
    share = np.asarray(finger.filter(ImageFilter.GaussianBlur(2))) / 255
    return page * (1 - share) + shade * share


def grainy(page):
    rng = np.random.default_rng(0)
    blurred = Image.fromarray((page * 255).astype(np.uint8))
    blurred = np.asarray(blurred.filter(ImageFilter.GaussianBlur(1))) / 255
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


def prepared_or_refused(picture):
    try:
        return data.prepare_digit(torch.from_numpy(picture))
    except ValueError as error:
        return str(error)


class TestEdges:
    """A picture with more than paper in it is read right, or refused."""

    @pytest.fixture(scope="class")
    def plain(self, read):
        """Return what is read where there is paper alone."""
        return read([data.prepare_digit(torch.from_numpy(page(d))) for d in range(10)])

    @pytest.mark.parametrize("finish", [None, grainy], ids=["clean", "grainy"])
    @pytest.mark.parametrize("case", [*EDGES, *LIGHTS])
    def test_what_is_beside_the_paper_is_never_read(self, case, finish, read, plain):
        """Three digits a case; over all cases, each digit has its turn."""
        change = (EDGES | LIGHTS)[case]
        first = [*EDGES, *LIGHTS].index(case) + 5 * (finish is grainy)
        right = 0
        for digit in (first % 10, (first + 3) % 10, (first + 7) % 10):
            picture = change(page(digit))
            picture = finish(picture) if finish else picture
            prepared = prepared_or_refused(picture)
            if isinstance(prepared, str):
                assert "Crop the picture" in prepared
            else:
                assert read([prepared]) == plain[digit]
                right += 1
        assert right >= (0 if case == "a hard shadow" else 2)

    @pytest.mark.parametrize("case", EDGES)
    def test_without_a_digit(self, case, save):
        picture = EDGES[case](page(None))
        if case == "a box around the digit":
            pytest.skip("a box alone is a zero")
        path = save(Image.fromarray((picture * 255).astype(np.uint8)))
        with pytest.raises(data.DataError, match=r"digit\.png: .*(Crop|empty)"):
            data.digit_from_file(path)

    def test_a_digit_that_leaves_its_paper(self):
        """Half of the sheet is cut away, and the desk lies where it was."""
        for digit in (0, 4, 7):
            picture = on_desk(page(digit)[:, 150:], 0.1)
            with pytest.raises(ValueError, match="Crop"):
                data.prepare_digit(torch.from_numpy(picture))

    @pytest.mark.parametrize("digit", [0, 1, 4, 7, 8])
    def test_a_tight_picture_has_ink_along_its_border(self, digit):
        picture = as_tensor(drawn(digit))
        rows, columns = torch.nonzero(picture < 0.5, as_tuple=True)
        tight = picture[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        expected = data.prepare_digit(picture)
        assert difference(expected, data.prepare_digit(tight)) < 0.05


class TestErrors:
    def test_no_such_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"no file .*none\.png.*full path"):
            data.digit_from_file(tmp_path / "none.png")

    @pytest.mark.parametrize("content", [b"", b"a digit, in words", bytes(5_000)])
    def test_no_picture(self, tmp_path, content):
        path = tmp_path / "notes.png"
        path.write_bytes(content)
        with pytest.raises(data.DataError, match=r"notes\.png .*PNG or JPEG"):
            data.digit_from_file(path)

    def test_half_a_picture(self, save):
        path = save(drawn(5, size=700))
        path.write_bytes(path.read_bytes()[:2_000])
        with pytest.raises(data.DataError, match=r"digit\.png cannot be read.*PNG"):
            data.digit_from_file(path)

    def test_a_folder(self, tmp_path):
        with pytest.raises(data.DataError, match="cannot be read as a picture"):
            data.digit_from_file(tmp_path)

    @pytest.mark.parametrize("shade", [0, 128, 255])
    def test_empty_paper(self, save, shade):
        path = save(Image.new("L", (300, 200), shade))
        with pytest.raises(data.DataError, match=r"digit\.png: .*empty.*[Dd]raw"):
            data.digit_from_file(path)

    def test_nothing_but_transparency(self, save):
        with pytest.raises(data.DataError, match=r"digit\.png: .*empty"):
            data.digit_from_file(save(Image.new("RGBA", (300, 200))))

    @pytest.mark.parametrize("grain", [0.01, 0.05, 0.1])
    def test_grainy_empty_paper(self, grain):
        rng = np.random.default_rng(0)
        shades = 0.7 + rng.normal(0, grain, (900, 1200))
        with pytest.raises(ValueError, match="empty"):
            data.prepare_digit(torch.from_numpy(shades))

    @pytest.mark.parametrize("shape", [(3, 28, 28), (28,), (0, 28)])
    def test_shape(self, shape):
        with pytest.raises(ValueError, match=r"\(height, width\)"):
            data.prepare_digit(torch.zeros(shape))

    def test_too_large(self, save, monkeypatch):
        path = save(drawn(5))
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000)
        with pytest.raises(data.DataError, match=r"digit\.png is too large.*smaller"):
            data.digit_from_file(path)


class TestOddities:
    @pytest.mark.parametrize("shape", [(1, 5), (5, 1), (2, 2), (1, 400), (400, 1)])
    def test_tiny_and_narrow(self, shape):
        picture = torch.ones(shape)
        picture.view(-1)[-1] = 0
        assert data.prepare_digit(picture).shape == (1, 28, 28)

    def test_one_dot_on_a_page(self):
        picture = torch.ones(1_000, 800)
        picture[300, 400] = 0
        assert data.prepare_digit(picture).sum() > 0

    def test_needs_no_particular_range_or_dtype(self):
        reference = data.prepare_digit(as_tensor(drawn(5)))
        levels = torch.from_numpy(np.array(drawn(5)))
        assert torch.allclose(data.prepare_digit(levels), reference, atol=1e-5)
