"""The system's Chromium, a server for the built site, and axe.

Missing tools skip the tests that need them, except where the environment
variable CI is "true": there they fail.
"""

import os
import re
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path

import pytest
from book_files import ROOT

sys.path.append(str(ROOT / "book" / "_ext"))

from booksite_pdf import BROWSERS

# The built site; `jupyter-book build .` makes it. BOOK_SITE names another folder.
SITE = Path(os.environ.get("BOOK_SITE", ROOT / "_build" / "html")).resolve()

RUN_AXE = """async (options) => {
    const { violations } = await axe.run({ resultTypes: ["violations"], ...options });
    return violations.map(({ id, nodes }) =>
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


def axe_violations(page, **options: object) -> list[str]:
    """Return what axe finds wrong with a page as it is now, a line for each rule.

    The options are those of ``axe.run``.
    """
    if not page.evaluate("typeof window.axe === 'object'"):
        try:
            script = resources.files("axe_playwright_python") / "axe.min.js"
        except ImportError:
            missing("axe: pip install -r tests/requirements-browser.txt")
        page.evaluate(script.read_text("utf-8"))
    return page.evaluate(RUN_AXE, options)


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

    def requests_elsewhere(self, address: str) -> list[str]:
        """Return the requests that left `address`."""
        return [url for url in self.requests if not url.startswith((address, "data:"))]


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
