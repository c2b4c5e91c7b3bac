"""One explorer: a figure or a text with one to three controls that the reader moves.

In a running notebook it is a widget, and every move calls the drawing function
again. On the site, where no Python runs, the same output is a slider over frames
that were drawn when the page was built.
"""

import base64
import hashlib
import importlib.util
import itertools
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from html import escape
from numbers import Integral, Real
from threading import current_thread, main_thread
from typing import Any, TypeAlias

from IPython import get_ipython
from IPython.display import display

from helpers import plotting

# Every frame is a picture that a page carries, and drawing one takes a tenth of
# a second or more.
MOST_FRAMES = 60

# The site's build sets it. Only then are all frames drawn: a running notebook
# draws what its reader asks for, and a notebook under test draws one.
BUILD = "BOOK_BUILD"

# What a notebook stores is hidden while there is the widget. When there is no longer
# one, JupyterLab writes an error in its place, which the stored form hides.
STORED = "#{0}, .jp-OutputArea-child:has(#{0}) {{ display: none; }}"
NO_MODEL = (
    ".jp-OutputArea-child:has(#{0}) + .jp-OutputArea-child "
    ".jp-OutputArea-output.jupyter-widgets:not(:has(*)) {{ display: none; }}"
)

Values: TypeAlias = tuple[Any, ...]  # one for each control


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
            str(value)
            if isinstance(value, Integral) or not isinstance(value, Real)
            else f"{value:g}"
            for value in self.values
        ]

    @property
    def is_slider(self) -> bool:
        """Whether all its values are numbers."""
        return all(
            isinstance(value, Real) and not isinstance(value, bool)
            for value in self.values
        )


@dataclass(frozen=True)
class Frame:
    """What one setting shows: a text, or a figure as SVG that the text describes."""

    text: str
    svg: str = ""
    size: tuple[int, int] = (0, 0)  # width and height of the figure in pixels

    def html(self) -> str:
        """Return the frame as HTML that needs no file."""
        if not self.svg:
            return f"<pre>{escape(self.text)}</pre>"
        data = base64.b64encode(self.svg.encode()).decode()
        width, height = self.size
        return (
            f'<img src="data:image/svg+xml;base64,{data}" alt="{escape(self.text)}" '
            f'width="{width}" height="{height}" loading="lazy">'
        )


@dataclass
class Explorer:
    """What `explore` returns; a notebook displays it as the cell's last value."""

    draw: Callable[..., Any]
    describe: Callable[..., str] | None
    caption: str
    controls: list[Control]
    start: Values
    _drawn: dict[Values, Frame] = field(default_factory=dict)

    def combinations(self) -> list[Values]:
        """Return every setting of the controls, the last control moving first."""
        return list(itertools.product(*(control.values for control in self.controls)))

    def setting(self, values: Iterable[Any]) -> dict[str, Any]:
        """Return values, one for each control in order, by the controls' names."""
        names = [control.name for control in self.controls]
        return dict(zip(names, values, strict=True))

    def frame(self, **setting: Any) -> Frame:
        """Draw and describe one setting of the controls.

        Raises
        ------
        TypeError
            If `draw` or `describe` returned the wrong thing.
        """
        with plotting.closing_figures():
            drawn = self.draw(**setting)
            if isinstance(drawn, str):
                return Frame(drawn)
            figure = getattr(drawn, "figure", drawn)  # axes know their figure
            if not hasattr(figure, "savefig"):
                raise TypeError(
                    f"draw must return a figure or a text, not {type(figure).__name__}:"
                    " end it with `return fig`"
                )
            text = self.describe(**setting) if self.describe else None
            if not isinstance(text, str) or not text.strip():
                raise TypeError(
                    f"describe must return what there is to see as a text, not {text!r}"
                )
            width, height = (round(96 * inches) for inches in figure.get_size_inches())
            svg = plotting.figure_to_svg(figure)
            return Frame(" ".join(text.split()), svg, (width, height))

    def html(self, every_frame: bool = True) -> str:
        """Return the explorer as HTML.

        Parameters
        ----------
        every_frame : bool
            Draw all settings, with the controls to move between them; else only
            the first one shown, as a notebook stores it.

        Raises
        ------
        ValueError
            If two settings have the same text.
        """
        settings = self.combinations() if every_frame else [self.start]
        for values in settings:
            if values not in self._drawn:
                self._drawn[values] = self.frame(**self.setting(values))
        frames = {values: self._drawn[values] for values in settings}
        self._require_different_texts(frames)
        pictures = "\n".join(
            f'<div class="frame"{"" if values == self.start else " hidden"}>'
            f"{frame.html()}</div>"
            for values, frame in frames.items()
        )
        inputs = "\n".join(
            _inputs(control, control.values.index(value), self.name)
            for control, value in zip(self.controls, self.start, strict=True)
        )
        # A page without scripts cannot move the controls, so they start hidden.
        controls = f'<div class="controls" hidden>\n{inputs}\n</div>\n'
        caption, style = self.caption, ""
        if not every_frame:
            controls, style = "", f"<style>{NO_MODEL.format(self.name)}</style>\n"
            caption += " To move it, run this cell; that takes ipywidgets."
        first = frames[self.start]
        # A text speaks for itself; of a figure its description is read out.
        says = f'<p class="says" aria-live="polite">{escape(first.text)}</p>\n'
        live = "" if first.svg else ' aria-live="polite"'
        return (
            f'<form class="explorer" id="{self.name}" autocomplete="off">\n{style}'
            f'<figure>\n{controls}<div class="frames"{live}>\n{pictures}\n</div>\n'
            f"{says if first.svg else ''}"
            f"<figcaption>{escape(caption)}</figcaption>\n</figure>\n</form>"
        )

    @property
    def name(self) -> str:
        """A name that no other explorer on the page has, the same at each run."""
        controls = [(control.name, control.labels) for control in self.controls]
        content = json.dumps([self.caption, controls, self._drawn[self.start].text])
        return f"explorer-{hashlib.sha256(content.encode()).hexdigest()[:10]}"

    def _require_different_texts(self, frames: Mapping[Values, Frame]) -> None:
        seen: dict[str, Values] = {}
        for values, frame in frames.items():
            if frame.text in seen:
                raise ValueError(
                    f"The text is the same for {self.setting(seen[frame.text])} and "
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
            box = kind(options=options, value=value, description=control.title)
            box.style.description_width = "initial"  # a long name is not cut
            inputs.append(box)
        picture, says = HTML(), HTML()

        def show(frame: Frame, role: str = "") -> None:
            picture.value = frame.html()
            text = escape(frame.text) if frame.svg else ""
            says.value = f"<p{role}>{text}</p>"

        def draw() -> None:
            """Draw what the controls say; a mistake is shown, not swallowed."""
            try:
                setting = self.setting(box.value for box in inputs)
                # The slider of ipywidgets tells a screen reader the number of the
                # place, and not the value; what there is to see says it.
                show(self.frame(**setting), ' role="alert"')
            except Exception as error:
                says.value = f"<b>{type(error).__name__}</b>: {escape(str(error))}"

        for box in inputs:
            box.observe(lambda _: between_cells(draw), names="value")
        show(self._drawn[self.start])
        hide = HTML(f"<style>{STORED.format(self.name)}</style>")
        caption = HTML(f"<small>{escape(self.caption)}</small>")
        return VBox([*inputs, picture, says, caption, hide])

    def outputs(self) -> list[dict[str, Any]]:
        """Return what a cell displays, by MIME type.

        A page gets the HTML. A running notebook stores it, too, and hides it while
        there is the widget: that one is gone when the notebook is opened again.
        """
        outputs = [{"text/plain": repr(self), "text/html": self.html(_building())}]
        if not _building() and importlib.util.find_spec("ipywidgets"):
            outputs.append(self.widget()._repr_mimebundle_() | {"text/plain": ""})
        return outputs

    def _ipython_display_(self) -> None:
        for output in self.outputs():
            display(output, raw=True)

    def __repr__(self) -> str:
        """Name the controls and say what the first frame shows."""
        setting = self.setting(self.start)
        values = ", ".join(f"{name}={value!r}" for name, value in setting.items())
        return f"Explorer({values}): {self._drawn[self.start].text}"


def explore(
    draw: Callable[..., Any],
    *,
    describe: Callable[..., str] | None = None,
    caption: str,
    default: Mapping[str, Any] | None = None,
    **controls: Iterable[Any],
) -> Explorer:
    """Let the reader move through a figure.

    Parameters
    ----------
    draw : callable
        Takes the controls' values by name and returns a matplotlib Figure (or
        Axes), or a text, which is shown line by line as it is and is different for
        each setting. All figures should have the same size and the same axes, all
        texts the same number of lines.
    describe : callable, optional
        Takes the same and returns what there is to see in a figure, for a reader
        who cannot see it. It stands below the figure and is the figure's text
        alternative, so it is different for each setting. A text needs none.
    caption : str
        A short caption for all frames together.
    default : dict, optional
        The value each control starts with; the first one otherwise.
    **controls : sequence
        One to three names, each with at least two different values, for example
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
    if not 1 <= len(made) <= 3:
        raise ValueError(
            f"an explorer has one to three controls, not {len(made)}; "
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
    # Here, since a mistake made while a cell displays its value fails no cell.
    explorer.html(_building())
    return explorer


def between_cells(task: Callable[[], None]) -> None:
    """Call a function now, or once the cell that runs has ended.

    JupyterLab may deliver a reader's move in a thread of its own, in the midst of a
    cell. A figure made there would be shown below that cell, and a random number
    drawn there would change what the cell computes.
    """
    kernel = getattr(get_ipython(), "kernel", None)
    if kernel is None or current_thread() is main_thread():
        task()
    else:
        kernel.io_loop.add_callback(task)


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
    values = {control.name: control.values for control in controls}
    for name, value in default.items():
        if value not in values.get(name, ()):
            raise ValueError(
                f"default sets {name} to {value!r}, but the controls are {values}"
            )
    return tuple(default.get(name, values[name][0]) for name in values)


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
