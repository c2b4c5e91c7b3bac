"""One explorer: a figure with a control or two that the reader moves.

In a running notebook it is a widget, and every move calls the drawing function
again. On the site, where no Python runs, the same output is a slider over frames
that were drawn when the page was built.
"""

import base64
import hashlib
import importlib.util
import inspect
import itertools
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any, TypeAlias

from helpers import plotting

# Every frame is a picture that a page carries, and drawing one takes a tenth of
# a second or more.
MOST_FRAMES = 60

# The site's build sets it. Only then are all frames drawn: a running notebook
# draws what its reader asks for, and a notebook under test draws one.
BUILD = "BOOK_BUILD"

Values: TypeAlias = tuple[Any, ...]  # one a control


@dataclass(frozen=True)
class Control:
    """One thing that the reader can set: numbers on a slider, else a choice."""

    name: str
    values: Values

    @property
    def title(self) -> str:
        """Its name as people read it."""
        return self.name.replace("_", " ")

    @property
    def labels(self) -> list[str]:
        """Its values as people read them."""
        return [
            f"{value:g}" if isinstance(value, float) else str(value)
            for value in self.values
        ]

    @property
    def is_slider(self) -> bool:
        """Whether all its values are numbers."""
        return all(
            isinstance(value, int | float) and not isinstance(value, bool)
            for value in self.values
        )


@dataclass(frozen=True)
class Frame:
    """A figure as SVG, its text alternative, its size in pixels."""

    svg: str
    text: str

    @property
    def size(self) -> tuple[int, int]:
        """Width and height; matplotlib states them in points, 72 an inch."""
        points = re.findall(r'\b(?:width|height)="([\d.]+)pt"', self.svg[:2000])
        width, height = (round(float(number) * 96 / 72) for number in points[:2])
        return width, height

    def image(self) -> str:
        """Return the frame as an HTML image that needs no file."""
        data = base64.b64encode(self.svg.encode()).decode()
        width, height = self.size
        return (
            f'<img src="data:image/svg+xml;base64,{data}" alt="{escape(self.text)}" '
            f'width="{width}" height="{height}" loading="lazy">'
        )


class Explorer:
    """What `explore` returns; a notebook displays it as the cell's last value."""

    def __init__(
        self,
        draw: Callable[..., Any],
        describe: Callable[..., str],
        caption: str,
        controls: list[Control],
        start: Values,
    ) -> None:
        self.draw = draw
        self.describe = describe
        self.caption = caption
        self.controls = controls
        self.start = start
        self._drawn: dict[Values, Frame] = {}

    def combinations(self) -> list[Values]:
        """Return every setting of the controls, the last control moving first."""
        return list(itertools.product(*(control.values for control in self.controls)))

    def setting(self, values: Iterable[Any]) -> dict[str, Any]:
        """Return values, one a control in order, by the controls' names."""
        names = [control.name for control in self.controls]
        return dict(zip(names, values, strict=True))

    def frame(self, **setting: Any) -> Frame:
        """Draw and describe one setting of the controls.

        Raises
        ------
        TypeError
            If `draw` or `describe` returned the wrong thing.
        """
        text = self.describe(**setting)
        if not isinstance(text, str) or not text.strip():
            raise TypeError(
                f"describe must return what there is to see as a text, not {text!r}"
            )
        figure = self.draw(**setting)
        figure = getattr(figure, "figure", figure)  # axes know their figure
        if not hasattr(figure, "savefig"):
            raise TypeError(
                f"draw must return a figure, not {type(figure).__name__}: "
                "end it with `return fig`"
            )
        return Frame(plotting.figure_to_svg(figure), " ".join(text.split()))

    def html(self, every_frame: bool = True) -> str:
        """Return the explorer as HTML.

        Parameters
        ----------
        every_frame : bool
            Draw all settings, with the controls to move between them; else only
            the first one shown.

        Raises
        ------
        ValueError
            If two settings have the same text alternative.
        """
        settings = self.combinations() if every_frame else [self.start]
        for values in settings:
            if values not in self._drawn:
                self._drawn[values] = self.frame(**self.setting(values))
        frames = {values: self._drawn[values] for values in settings}
        self._require_different_texts(frames)
        name = (
            "explorer-"
            + hashlib.sha256(
                json.dumps(
                    [
                        self.caption,
                        [(control.name, control.labels) for control in self.controls],
                        [(frame.text, frame.svg) for frame in frames.values()],
                    ]
                ).encode()
            ).hexdigest()[:10]
        )
        pictures = "\n".join(
            f'<div class="frame"{"" if values == self.start else " hidden"}>'
            f"{frame.image()}</div>"
            for values, frame in frames.items()
        )
        inputs = "\n".join(
            _inputs(control, control.values.index(value), name)
            for control, value in zip(self.controls, self.start, strict=True)
        )
        text = frames[self.start].text
        # A page without scripts cannot move the controls, so they start hidden.
        controls = f'<div class="controls" hidden>\n{inputs}\n</div>\n'
        caption = self.caption
        if not every_frame:
            controls = ""
            caption += " It moves in a running notebook that has ipywidgets."
        return (
            f'<form class="explorer" id="{name}" autocomplete="off">\n<figure>\n'
            f"{controls}"
            f'<div class="frames">\n{pictures}\n</div>\n'
            f'<p class="says" aria-live="polite">{escape(text)}</p>\n'
            f"<figcaption>{escape(caption)}</figcaption>\n</figure>\n</form>"
        )

    def _require_different_texts(self, frames: Mapping[Values, Frame]) -> None:
        seen: dict[str, Values] = {}
        for values, frame in frames.items():
            if frame.text in seen:
                raise ValueError(
                    f"describe says the same for {self.setting(seen[frame.text])} and "
                    f"{self.setting(values)}: {frame.text!r}. Let it name what differs."
                )
            seen[frame.text] = values

    def widget(self) -> Any:
        """Return the explorer as an ipywidgets box that draws on every move."""
        from ipywidgets import HTML, SelectionSlider, ToggleButtons, VBox

        inputs = []
        for control, value in zip(self.controls, self.start, strict=True):
            kind = SelectionSlider if control.is_slider else ToggleButtons
            options = list(zip(control.labels, control.values, strict=True))
            inputs.append(kind(options=options, value=value, description=control.title))
        picture, says = HTML(), HTML()

        def show(frame: Frame) -> None:
            picture.value = frame.image()
            says.value = f'<p aria-live="polite">{escape(frame.text)}</p>'

        def move(_: object) -> None:
            """Draw what the controls say; a mistake is shown, not swallowed."""
            try:
                show(self.frame(**self.setting(box.value for box in inputs)))
            except Exception as error:
                says.value = f"<b>{type(error).__name__}</b>: {escape(str(error))}"

        for box in inputs:
            box.observe(move, names="value")
        show(self._drawn.get(self.start) or self.frame(**self.setting(self.start)))
        caption = HTML(f"<small>{escape(self.caption)}</small>")
        return VBox([*inputs, picture, says, caption])

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> dict[str, Any]:
        """Return the explorer in all forms that a front end may choose from."""
        bundle = {"text/plain": repr(self), "text/html": self.html(_building())}
        if not _building() and importlib.util.find_spec("ipywidgets"):
            widget = self.widget()._repr_mimebundle_()
            bundle = {**widget, **bundle}
        return bundle

    def __repr__(self) -> str:
        """Name the controls and say what the first frame shows."""
        setting = self.setting(self.start)
        values = ", ".join(f"{name}={value!r}" for name, value in setting.items())
        return f"Explorer({values}): {self.describe(**setting)}"


def explore(
    draw: Callable[..., Any],
    *,
    describe: Callable[..., str],
    caption: str,
    default: Mapping[str, Any] | None = None,
    **controls: Iterable[Any],
) -> Explorer:
    """Let the reader move through a figure.

    Parameters
    ----------
    draw : callable
        Takes the controls' values by name and returns a matplotlib Figure (or
        Axes). All figures should have the same size and the same axes.
    describe : callable
        Takes the same and returns what there is to see, for a reader who cannot
        see it. It stands below the figure and is the figure's text alternative,
        so it is different for each setting.
    caption : str
        A short caption for all frames together.
    default : dict, optional
        The value each control starts with; the first one otherwise.
    **controls : sequence
        One or two names, each with at least two different values, for example
        ``stride=[1, 2, 3]``. Numbers become a slider, anything else a choice.

    Returns
    -------
    Explorer
        Make it the last line of a cell.

    Raises
    ------
    ValueError
        If the controls or the default make no sense, or there would be more than
        60 frames.
    TypeError
        If `draw` or `describe` cannot be called with the controls' names, or
        returns something else than a figure or a text.

    Examples
    --------
    >>> explore(
    ...     lambda power: plotting.plot_power(power),
    ...     describe=lambda power: f"The curve of x to the power {power}.",
    ...     caption="Powers.",
    ...     power=[1, 2, 3],
    ... )  # doctest: +SKIP
    """
    made = [_make_control(name, values) for name, values in controls.items()]
    if not 1 <= len(made) <= 2:
        raise ValueError(
            f"an explorer has one or two controls, not {len(made)}; "
            "name them with their values, such as stride=[1, 2, 3]"
        )
    start = _find_start(made, default or {})
    explorer = Explorer(draw, describe, caption, made, start)
    frames = len(explorer.combinations())
    if frames > MOST_FRAMES:
        raise ValueError(
            f"{frames} frames are more than a page should carry ({MOST_FRAMES}); "
            "give the controls fewer values"
        )
    for role, function in (("draw", draw), ("describe", describe)):
        if not callable(function):
            raise TypeError(f"{role} must be a function, not {function!r}")
        try:
            inspect.signature(function).bind(**explorer.setting(start))
        except TypeError as error:
            names = ", ".join(control.name for control in made)
            raise TypeError(
                f"{role} must take the controls by name ({names}): {error}"
            ) from None
    # Here, since a mistake made while a cell displays its value fails no cell.
    explorer.html(_building())
    return explorer


def _building() -> bool:
    """Return whether this is the site's build."""
    return bool(os.environ.get(BUILD))


def _make_control(name: str, values: Iterable[Any]) -> Control:
    """Return a control, or say what is wrong with its values."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ValueError(
            f"{name} needs a list of values to choose from, not {values!r}"
        )
    control = Control(name, tuple(values))
    if len(control.values) < 2:
        raise ValueError(f"{name} needs at least two values, not {control.values}")
    for label in control.labels:
        if control.labels.count(label) > 1:
            raise ValueError(f"{name} has the value {label} more than once")
    return control


def _find_start(controls: list[Control], default: Mapping[str, Any]) -> Values:
    """Return the values that the controls start with."""
    names = [control.name for control in controls]
    for name in default:
        if name not in names:
            raise ValueError(
                f"default names {name!r}, but the controls are {', '.join(names)}"
            )
    for control in controls:
        value = default.get(control.name, control.values[0])
        if value not in control.values:
            raise ValueError(
                f"default sets {control.name} to {value!r}, which is none of its "
                f"values: {', '.join(control.labels)}"
            )
    return tuple(default.get(control.name, control.values[0]) for control in controls)


def _inputs(control: Control, start: int, explorer: str) -> str:
    """Return a control as HTML: a slider over its values, or radio buttons."""
    title, labels = escape(control.title), [escape(label) for label in control.labels]
    if control.is_slider:
        return (
            f'<label class="slider"><span>{title}</span> <input type="range" '
            f'min="0" max="{len(labels) - 1}" step="1" value="{start}" '
            f'aria-valuetext="{labels[start]}" data-labels="{"|".join(labels)}"> '
            f'<span class="value" aria-hidden="true">{labels[start]}</span></label>'
        )
    buttons = "".join(
        f'<label><input type="radio" name="{explorer}-{escape(control.name)}" '
        f'value="{index}"{" checked" if index == start else ""}>'
        f"<span>{label}</span></label>"
        for index, label in enumerate(labels)
    )
    return f'<fieldset class="choice"><legend>{title}</legend>{buttons}</fieldset>'
