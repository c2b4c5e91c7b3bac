"""Where the book is published, and what follows from it: notebooks to take away.

The address is written down nowhere. It comes from the environment variable
``BOOK_REPOSITORY_URL`` or from the git remote "origin", so that a fork needs no
edit. Without one there is no copy for Colab, and a downloaded notebook says what it
needs, but cannot get it.
"""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import nbformat
from docutils.nodes import make_id
from nbformat.v4 import new_code_cell, new_markdown_cell
from sphinx.locale import get_translation

_ = get_translation("booksite")

# GitHub Pages serves the built site from this branch, and Colab opens the
# copies that lie in it.
PAGES_BRANCH = "gh-pages"

FIRST_CELLS = Path(__file__).parents[1] / "_templates" / "first-cells.toml"


def repository_address(root: Path) -> str:
    """Return the repository's web address, or "" where there is none.

    Git is asked only if the book's folder is the top of a repository: a folder that
    was unpacked inside another repository does not belong to it.
    """
    address = os.environ.get("BOOK_REPOSITORY_URL", "")
    if not address and root.joinpath(".git").exists():
        address = _answer("git", "-C", str(root), "remote", "get-url", "origin")
    return web_address(address.strip())


def _answer(*command: str) -> str:
    try:
        return subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=20
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def web_address(remote: str) -> str:
    """Turn a git remote into an https address, without a user, password or query.

    The host of a remote that goes through ssh can be an alias of the owner's own;
    ssh knows what it stands for.

    Examples
    --------
    >>> web_address("git@github.com:someone/book.git")
    'https://github.com/someone/book'
    >>> web_address("ssh://git@ssh.github.com:443/someone/book.git")
    'https://github.com/someone/book'
    >>> web_address("https://token@github.com/someone/book/?token=1")
    'https://github.com/someone/book'
    >>> web_address("/srv/git/book.git")
    ''
    """
    remote = re.sub(r"(?:\.git)?/*$", "", re.split("[?#]", remote)[0])
    web = re.fullmatch(r"(https?)://(?:[^@/]+@)?([\w.-]+(?::\d+)?/.+)", remote)
    if web:
        return f"{web[1]}://{web[2]}"
    ssh = re.fullmatch(
        r"(?:(?:ssh|git)://(?:[^@/]+@)?([\w.-]+)(?::\d+)?/|[\w.-]+@([\w.-]+):/*)(.+)",
        remote,
    )
    if ssh is None:
        return ""
    host = ssh[1] or ssh[2]
    known = re.search(
        r"^hostname (\S+)", _answer("ssh", "-G", "--", host), re.MULTILINE
    )
    host = re.sub(r"^(?:alt)?ssh\.", "", known[1] if known else host)
    return f"https://{host}/{ssh[3]}" if "." in host else ""


def github_name(repository: str) -> str:
    """Return "owner/name" of a repository on GitHub, else ""."""
    match = re.fullmatch(r"https://github\.com/([^/]+/[^/]+)", repository)
    return match[1] if match else ""


def site_address(repository: str) -> str:
    """Return where the site is served, or "" where that is not known.

    Previews in other programs need it in full. ``BOOK_SITE_URL`` names it;
    otherwise it is GitHub's usual place for this repository.
    """
    address = os.environ.get("BOOK_SITE_URL", "")
    name = github_name(repository)
    if not address and name:
        owner, project = name.split("/")
        address = f"https://{owner}.github.io/{project}"
    return address.rstrip("/") + "/" if address else ""


def colab_address(repository: str, name: str, folder: str = "colab") -> str:
    """Return the address that opens a chapter in Colab, or ""."""
    github = github_name(repository)
    if not github:
        return ""
    return (
        f"https://colab.research.google.com/github/{github}"
        f"/blob/{PAGES_BRANCH}/{folder}/{name}.ipynb"
    )


def write_copies(
    notebooks: list[Path],
    outdir: Path,
    repository: str,
    site: str,
    chinese: dict[str, dict[str, str]] | None = None,
) -> None:
    """Write the notebooks that readers take away: one for Colab, one for themselves.

    Each begins with cells that bring the book's package or say where it is. Their
    links lead to the other copies in Colab, to the site or into the repository. Of
    the Chinese edition's pages `chinese` has the headings' places in a notebook by
    their English ones.
    """
    first_cells = tomllib.loads(FIRST_CELLS.read_text("utf-8"))
    for folder in ("colab", "notebooks"):
        shutil.rmtree(outdir / folder, ignore_errors=True)
        if folder == "colab" and not repository:
            continue
        outdir.joinpath(folder).mkdir(parents=True, exist_ok=True)
        texts = first_cells[folder if repository else f"{folder}_alone"]
        colab = ""  # where links to other notebooks lead
        if folder == "colab" and github_name(repository):
            colab = "colab" if chinese is None else "zh/colab"
        for path in notebooks:
            notebook = nbformat.read(path, as_version=4)
            for cell in notebook.cells:
                if cell.cell_type == "code":
                    cell.outputs, cell.execution_count = [], None
                    continue
                cell.source = outside(cell.source, repository, site, colab)
                for anchor, place in (chinese or {}).get(path.stem, {}).items():
                    cell.source = cell.source.replace(f"](#{anchor})", f"](#{place})")
            notebook.cells[:0] = [
                new_markdown_cell(str(_(text)), id=f"first-{i}")
                if text.startswith("#")
                else new_code_cell(
                    text.replace("{repository}", repository), id=f"first-{i}"
                )
                for i, text in enumerate(map(str.strip, texts))
            ]
            if folder == "colab":
                notebook.metadata["accelerator"] = "GPU"
            nbformat.write(notebook, outdir / folder / path.name)


def outside(text: str, repository: str, site: str, colab: str) -> str:
    """Return a text with its links to other pages as they must read elsewhere.

    Those to notebooks lead to the folder `colab` of copies for Colab, if there is one.
    """

    def link(match: re.Match) -> str:
        name, suffix, anchor = match.groups(default="")
        if colab and suffix == "ipynb":
            return f"]({colab_address(repository, name, colab)}{anchor})"
        anchor = anchor and f"#{make_id(anchor)}"  # as the site and GitHub write it
        if site:
            return f"]({site}book/{name}.html{anchor})"
        if repository:
            return f"]({repository}/blob/HEAD/book/{name}.{suffix}{anchor})"
        return match[0]

    return re.sub(r"\]\(([\w-]+)\.(ipynb|md)(#[^)]*)?\)", link, text)
