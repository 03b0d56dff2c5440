"""Pictures of the gallery: open figures, and files that examples write."""

import shutil
from pathlib import Path
from typing import Any

from sphinx_gallery.scrapers import figure_rst, matplotlib_scraper


def scrape(block: Any, variables: dict[str, Any], settings: dict[str, Any]) -> str:
    """Take the pictures of a block of an example: figures of matplotlib, then PNG files."""
    text: str = matplotlib_scraper(block, variables, settings)
    names = variables["image_path_iterator"]
    found = []
    for path in sorted(Path(variables["src_file"]).parent.glob("*.png")):
        found.append(next(names))
        shutil.move(path, found[-1])
    return text + (figure_rst(found, settings["src_dir"]) if found else "")
