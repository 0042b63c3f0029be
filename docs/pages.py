"""Generate pages of the guide from model cards, manifests, the change log and the notebooks' pictures.

python docs/pages.py [FOLDER]
"""

import argparse
import base64
import json
import os
import re
from pathlib import Path

DOCS = Path(__file__).parent
ROOT = DOCS.parent
GENERATED = DOCS / "generated"
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:|#)([^)#]+)(#[^)]*)?\)")
COPIED = {
    ROOT / "CHANGELOG.md": "changes.md",
    ROOT / "data_manifests" / "README.md": "manifests.md",
    **{card: card.name for card in sorted(ROOT.glob("*/pretrained/*.md"))},
}
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PLACES = {path: GENERATED / name for path, name in COPIED.items()} | dict.fromkeys(NOTEBOOKS, GENERATED / "gallery.md")
"""Files of the repository to the pages of the guide that show them."""


def main() -> None:
    """Write all pages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=GENERATED)
    folder = parser.parse_args().folder
    (folder / "notebooks").mkdir(parents=True, exist_ok=True)
    for path, name in COPIED.items():
        text = path.read_text(encoding="utf-8")
        (folder / name).write_text(relink(text, path.parent, GENERATED), encoding="utf-8")
    gallery = "\n".join(pictures(path, folder / "notebooks") for path in NOTEBOOKS)
    (folder / "gallery.md").write_text(f"# Gallery\n\n{GALLERY}\n\n{gallery}", encoding="utf-8")


def relink(text: str, origin: Path, folder: Path) -> str:
    """Text whose links, relative to `origin`, lead to pages of the guide, relative to `folder`.

    Links to files of the repository that the guide does not show become plain text.
    """

    def link(match: re.Match) -> str:
        words, target, anchor = match.groups()
        path = (origin / target).resolve()
        page = PLACES.get(path, path)
        if not page.is_relative_to(DOCS):
            return words
        anchor = f"#{path.stem}" if path in NOTEBOOKS else anchor or ""
        return f"[{words}]({Path(os.path.relpath(page, folder)).as_posix()}{anchor})"

    return LINK.sub(link, text)


GALLERY = (
    "Pictures out of the notebooks in `notebooks/`, where the code that makes them stands; `make notebooks` runs it."
)


def pictures(notebook: Path, folder: Path) -> str:
    """The section of one notebook: title and stored pictures, each under the words before it."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    title, words = "".join(cells[0]["source"]).partition("\n")[0].removeprefix("# "), ""
    text, number = [f"({notebook.stem})=\n## {title}"], 0
    for cell in cells:
        if cell["cell_type"] == "markdown":
            words = re.sub(r"^#.*", "", "".join(cell["source"]), flags=re.MULTILINE).strip()
        for output in cell.get("outputs", []):
            if png := output.get("data", {}).get("image/png"):
                number += 1
                name = f"{notebook.stem}-{number}.png"
                (folder / name).write_bytes(base64.b64decode("".join(png)))
                text += [words, f"![{title}: picture {number}](notebooks/{name})"]
                words = ""
    return "\n\n".join(text) + "\n"


if __name__ == "__main__":
    main()
