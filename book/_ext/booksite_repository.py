"""Where the book is published, and what follows from it.

The address is written down nowhere. It comes from the environment variable
``BOOK_REPOSITORY_URL`` or from the git remote "origin", so that a fork needs no
edit. Without one there is no button and no copy for Colab.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import nbformat

# GitHub Pages serves the built site from this branch, and Colab opens the
# copies that lie in it.
PAGES_BRANCH = "gh-pages"

# The first minute of a copy: what to know, the installation, a place for files.
FIRST_MINUTE = """\
## The first minute in Colab

Run the two cells below first.

1. The first one installs the book's helpers, with the MNIST digits, and says
   whether there is a GPU. If there is none, *Runtime > Change runtime type > T4
   GPU* gives you one, and the cell has to run again.
2. The second one chooses where your files go. What you save here vanishes with the
   session. What lies in your Google Drive stays. *File > Save a copy in Drive*
   keeps the notebook itself."""

INSTALL = """\
%pip install --quiet "git+{repository}"
import torch

if torch.accelerator.is_available():
    print("There is a GPU:", torch.accelerator.current_accelerator().type)
else:
    print("There is no GPU here. Every chapter runs without it, too.")"""

CHECKPOINTS = """\
from pathlib import Path

KEEP_IN_DRIVE = False  # True asks for your Google Drive

CHECKPOINTS = Path("checkpoints")
if KEEP_IN_DRIVE:
    from google.colab import drive

    drive.mount("/content/drive")
    CHECKPOINTS = Path("/content/drive/MyDrive/pytorch-by-hand")
CHECKPOINTS.mkdir(parents=True, exist_ok=True)
print("Save with torch.save(model.state_dict(), CHECKPOINTS / 'digits.pt')")
print("CHECKPOINTS is", CHECKPOINTS.resolve())"""


def repository_address(root: Path) -> str:
    """Return the repository's web address, or "" where there is none."""
    address = os.environ.get("BOOK_REPOSITORY_URL", "")
    if not address:
        try:
            address = subprocess.run(
                ["git", "-C", str(root), "remote", "get-url", "origin"],
                capture_output=True,
                text=True,
                timeout=20,
            ).stdout
        except (OSError, subprocess.TimeoutExpired):
            return ""
    return web_address(address.strip())


def web_address(remote: str) -> str:
    """Turn a git remote into an https address, without a user or password.

    Examples
    --------
    >>> web_address("git@github.com:someone/book.git")
    'https://github.com/someone/book'
    >>> web_address("ssh://git@git.example.org:2222/someone/book.git")
    'https://git.example.org/someone/book'
    >>> web_address("https://token@github.com/someone/book/")
    'https://github.com/someone/book'
    >>> web_address("/srv/git/book.git")
    ''
    """
    remote = re.sub(r"(?:\.git)?/*$", "", remote)
    web = re.fullmatch(r"(https?)://(?:[^@/]+@)?([\w.-]+(?::\d+)?/.+)", remote)
    if web:
        return f"{web[1]}://{web[2]}"
    ssh = re.fullmatch(
        r"(?:(?:ssh|git)://(?:[^@/]+@)?([\w.-]+)(?::\d+)?/|[\w.-]+@([\w.-]+):/*)(.+)",
        remote,
    )
    return f"https://{ssh[1] or ssh[2]}/{ssh[3]}" if ssh else ""


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


def colab_address(repository: str, name: str) -> str:
    """Return the address that opens a chapter in Colab, or ""."""
    github = github_name(repository)
    if not github:
        return ""
    return (
        f"https://colab.research.google.com/github/{github}"
        f"/blob/{PAGES_BRANCH}/colab/{name}.ipynb"
    )


def write_colab_copies(notebooks: list[Path], folder: Path, repository: str) -> None:
    """Write notebooks that install the book first.

    Their links lead to the other copies (on GitHub) or into the repository.
    """
    shutil.rmtree(folder, ignore_errors=True)
    if not repository:
        return
    folder.mkdir(parents=True)

    def link(match: re.Match) -> str:
        """Return a chapter's link as it must read outside the book's folder."""
        name, suffix, anchor = match.groups()
        colab = colab_address(repository, name) if suffix == "ipynb" else ""
        address = colab or f"{repository}/blob/HEAD/book/{name}.{suffix}"
        return f"]({address}{anchor or ''})"

    for path in notebooks:
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = re.sub(
                    r"\]\(([\w-]+)\.(ipynb|md)(#[^)]*)?\)", link, cell.source
                )
        notebook.cells[:0] = [
            nbformat.v4.new_markdown_cell(FIRST_MINUTE, id="colab-first-minute"),
            nbformat.v4.new_code_cell(
                INSTALL.format(repository=repository), id="colab-install"
            ),
            nbformat.v4.new_code_cell(CHECKPOINTS, id="colab-checkpoints"),
        ]
        notebook.metadata["accelerator"] = "GPU"
        nbformat.write(notebook, folder / path.name)
