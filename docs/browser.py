"""Write the page that scores in the browser, and the text of the guide that links to it: python docs/browser.py.

Its runtime is the npm package that MRIQF_WEB_RUNTIME names, or what npm brings. Without either the guide is built all
the same, and says how to write the page.
"""

import os
import shutil
import sys
from pathlib import Path

from mriqf.commands.export_web import export_web

GENERATED = Path(__file__).parent / "generated"
HOSTED = """```{raw} html
<p><strong><a href="score/index.html">Open the page</a></strong>: it comes with this guide.</p>
```
"""
ABSENT = "This copy of the guide was built without the runtime of the page, and does not hold it: write it yourself.\n"


def main(folder: Path = GENERATED) -> None:
    """Write the page to `folder`/hosted/score, or nothing, and what `web.md` includes."""
    hosted = folder / "hosted"
    shutil.rmtree(hosted, ignore_errors=True)
    hosted.mkdir(parents=True)
    given = os.environ.get("MRIQF_WEB_RUNTIME")
    words = HOSTED
    try:
        export_web(hosted / "score", runtime=Path(given) if given else None)
    except (ValueError, ImportError) as error:
        shutil.rmtree(hosted / "score", ignore_errors=True)
        sys.stderr.write(f"docs/browser.py: the guide does not host the page: {error}\n")
        words = ABSENT
    (folder / "browser.md").write_text(words, encoding="utf-8")


if __name__ == "__main__":
    main()
