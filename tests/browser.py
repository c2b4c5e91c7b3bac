"""The system's Chromium, a server for the built site, and axe.

Missing tools skip the tests that need them, except where the environment
variable CI is "true": there they fail.
"""

import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path

import pytest
from book_files import ROOT
from booksite_pdf import BROWSERS

# The built site; `jupyter-book build .` makes it. BOOK_SITE names another folder.
SITE = Path(os.environ.get("BOOK_SITE", ROOT / "_build" / "html")).resolve()

PHONE = {"width": 360, "height": 740}
UNFOLD = """() => {
    for (const fold of document.querySelectorAll("details")) fold.open = true;
    return new Promise((done) =>  // when the boxes that scroll have been found
        requestAnimationFrame(() => requestAnimationFrame(done)));
}"""
# To judge colors takes axe longest. They follow from what is computed for an element
# and from the grounds it lies on, so of each look the one with most text will do.
# Nobody reads what axe says of all that passes, nor needs it the style sheets again.
RUN_AXE = """async ({ structure, colors }) => {
    const looks = new Map();
    const look = (element, grounds) => {
        const { color, backgroundColor, backgroundImage, opacity, fontSize, fontWeight }
            = getComputedStyle(element);
        grounds += `${backgroundColor} ${backgroundImage} ${opacity};`
            .replace("rgba(0, 0, 0, 0) none 1;", "");
        const texts = [...element.childNodes].filter(
            ({ nodeType }) => nodeType === Node.TEXT_NODE);
        const length = texts.map(({ data }) => data.trim()).join("").length
            || Number(element.matches("input, select"));
        const key = [grounds, color, fontSize, fontWeight].join();
        const judged = length > (looks.get(key)?.length ?? 0)
            && element.checkVisibility() && !element.closest("[aria-hidden=true]");
        if (judged) looks.set(key, { element, length });
        for (const child of element.children) look(child, grounds);
    };
    const runs = [];
    const options = { resultTypes: ["violations"], preload: false };
    const ofColors = ["color-contrast", "link-in-text-block"];
    if (structure) {
        const rules = ofColors.map((id) => [id, { enabled: false }]);
        runs.push(await axe.run({ ...options, rules: Object.fromEntries(rules) }));
    }
    if (colors) {
        look(document.body, "");
        const elements = [...looks.values()].map(({ element }) => element);
        runs.push(await axe.run(elements, { ...options, runOnly: ofColors }));
    }
    return runs.flatMap(({ violations }) => violations).map(({ id, nodes }) =>
        `${id}: ${nodes.map((node) => node.html.slice(0, 120)).join(" | ")}`);
}"""


def missing(what: str) -> None:
    """Skip the test that asks, or fail it in CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI needs {what}")
    pytest.skip(f"needs {what}")


def built(name: str) -> Path:
    """Return a file of the built site, without which the test that asks is skipped."""
    path = SITE / name
    if not path.is_file():
        missing(f"{path}: jupyter-book build .")
    return path


@contextmanager
def chromium() -> Iterator:
    """Start the system's browser."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright: pip install -r tests/requirements-browser.txt")
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        missing("Chromium or Chrome on the PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program)
        yield browser
        browser.close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Print nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine and yield its address."""
    handler = partial(_Quiet, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def axe_violations(page, *, structure: bool = True, colors: bool = True) -> list[str]:
    """Return what axe finds wrong with a page as it is now, a line for each rule."""
    if not page.evaluate("typeof window.axe === 'object'"):
        try:
            script = resources.files("axe_playwright_python") / "axe.min.js"
        except ImportError:
            missing("axe: pip install -r tests/requirements-browser.txt")
        page.evaluate(script.read_text("utf-8"))
    return page.evaluate(RUN_AXE, {"structure": structure, "colors": colors})


def axe_violations_in_both_themes(page) -> list[str]:
    """Return what axe finds wrong with a light page, and with its dark colors."""
    found = axe_violations(page)
    page.emulate_media(color_scheme="dark")
    return found + axe_violations(page, structure=False)


def fits_a_phone(page) -> bool:
    """Show the page as on a phone; return whether nothing is scrolled sideways."""
    page.set_viewport_size(PHONE)
    width = page.evaluate("document.documentElement.scrollWidth")
    return width <= PHONE["width"]


def says(page, text: str) -> None:
    """Wait until the line that a screen reader reads holds a text."""
    page.wait_for_function(
        "text => document.querySelector('[role=status]').textContent.includes(text)",
        arg=text,
        timeout=60_000,
    )


def slide(page, key: str, value: int) -> None:
    """Move a slider, as when a reader pulls it there and lets it go."""
    page.locator(f"#{key}").evaluate(
        """(slider, value) => {
            slider.value = value;
            slider.dispatchEvent(new Event("input", { bubbles: true }));
            slider.dispatchEvent(new Event("change", { bubbles: true }));
        }""",
        value,
    )


def latin_words(page, selector: str) -> set[str]:
    """Return the words in Latin letters that parts of a page say, but for code."""
    said = page.locator(selector).evaluate_all(
        """parts => parts.map((part) => {
            const copy = part.cloneNode(true);
            copy.querySelectorAll("code").forEach((code) => code.remove());
            const labels = [...copy.querySelectorAll("[aria-label], [aria-valuetext]")];
            return [copy.textContent, ...labels.flatMap((one) =>
                [one.ariaLabel, one.ariaValueText])].join(" ");
        })"""
    )
    return set(re.findall("[A-Za-z]{2,}", " ".join(said)))


class Visit:
    """Opens a page and notes what it asks for and complains of."""

    def __init__(self, page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._note)
        page.on("requestfailed", self._note_failure)

    def _note_failure(self, request) -> None:
        # A page that the reader leaves gives up what it was still loading.
        if request.failure != "net::ERR_ABORTED":
            self.complaints.append(f"failed: {request.url}")

    def _note(self, message) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def open(self, address: str) -> None:
        """Load a page and everything that waits until it is scrolled to."""
        self.page.goto(address)
        self.page.evaluate(
            """() => Promise.all([...document.images].map((image) => {
                image.loading = "eager";
                return image.decode();
            }))"""
        )

    def faults(self, address: str) -> list[str]:
        """Return what the page complained of, and what it asked of other hosts."""
        asked = [url for url in self.requests if not url.startswith((address, "data:"))]
        return self.complaints + asked


@contextmanager
def visits(program) -> Iterator[Callable[..., Visit]]:
    """Yield what makes a `Visit` with options such as color_scheme="dark"."""
    contexts = []

    def visit(**options) -> Visit:
        contexts.append(program.new_context(**options))
        return Visit(contexts[-1].new_page())

    yield visit
    for context in contexts:
        context.close()
