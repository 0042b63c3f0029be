"""Pages that are made of other files of the repository: README, model cards, manifests, pictures of the notebooks.

python docs/pages.py [FOLDER]
"""

import argparse
import base64
import json
import re
from pathlib import Path

DOCS = Path(__file__).parent
ROOT = DOCS.parent
LINK = re.compile(r"\[([^\]]+)\]\((?!https?:|#)([^)#]+)(#[^)]*)?\)")


def main() -> None:
    """Write all pages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=DOCS / "generated")
    folder = parser.parse_args().folder
    cards = sorted((ROOT / "mriqf" / "pretrained").glob("*.md"))
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    pages = {ROOT / "README.md": "readme.md", ROOT / "CHANGELOG.md": "changes.md"}
    pages |= {ROOT / "data_manifests" / "README.md": "manifests.md"} | {card: f"{card.stem}.md" for card in cards}
    (folder / "notebooks").mkdir(parents=True, exist_ok=True)
    places = pages | {path: f"gallery.md#{path.stem}" for path in notebooks}
    for path, name in pages.items():
        (folder / name).write_text(moved(path, places), encoding="utf-8")
    gallery = "\n".join(pictures(path, folder / "notebooks") for path in notebooks)
    (folder / "gallery.md").write_text(f"# Gallery\n\n{GALLERY}\n\n{gallery}", encoding="utf-8")


def moved(path: Path, places: dict[Path, str]) -> str:
    """Text of a page whose links to other pages lead to where these lie now; other links become plain text."""

    def link(found: re.Match) -> str:
        text, target, _ = found.groups()
        place = places.get((path.parent / target).resolve())
        return f"[{text}]({place})" if place else text

    return LINK.sub(link, path.read_text(encoding="utf-8"))


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
