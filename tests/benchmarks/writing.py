"""How the programs write their records, and what each record says of its making."""

import datetime
import json
import os
from pathlib import Path
from typing import Any

import torch

from helpers.device import environment


def stamp(device: torch.device, note: str = "") -> dict[str, Any]:
    """Return when, where and beside how much other work a figure was measured."""
    stamped: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "environment": environment(device),
    }
    if hasattr(os, "getloadavg"):  # not on Windows
        stamped["load"] = [round(load, 1) for load in os.getloadavg()]
    return stamped | ({"note": note} if note else {})


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Put a record into its file, wholly or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, path)
