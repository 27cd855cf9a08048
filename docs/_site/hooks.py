"""Builds the site from files that also stand outside docs/: README, the cards of the weights, the notebook.

Links between files of the repository become links between pages. mkdocs then checks them all (`strict`).
"""

import base64
import json
import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent.parent
NOTEBOOK = "examples/quickstart.ipynb"
# Page of the site: file of the repository.
PAGES = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "quickstart.md": NOTEBOOK,
}
PAGES |= {
    f"weights/{path.parent.name}.md": str(path.relative_to(ROOT))
    for path in sorted((ROOT / "keras_pose/weights").glob("*/README.md"))
}
PAGE_OF = {source: page for page, source in PAGES.items()}
LINK = re.compile(r"(!?\[([^\]]*)\])\(([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files, config):
    """Adds the pages whose files stand outside docs/."""
    for page, source in PAGES.items():
        text = (ROOT / source).read_text()
        if source == NOTEBOOK:
            text = notebook_page(text, files, config)
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown, page, **_):
    """Points links at the pages of the site. A link to source code, which is no page, becomes its text."""
    site_path = page.file.src_uri
    source = PAGES.get(site_path, f"docs/{site_path}")

    def relink(match):
        label, text, link, anchor = match.groups(default="")
        if ":" in link:
            return match[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
        if target not in PAGE_OF and not target.startswith("docs/") and (ROOT / target).exists():
            return text
        target = PAGE_OF.get(target, target.removeprefix("docs/"))
        return f"{label}({posixpath.relpath(target, posixpath.dirname(site_path) or '.')}{anchor})"

    parts = re.split(r"(^```.*?^```)", markdown, flags=re.MULTILINE | re.DOTALL)  # code is left as it is
    return "".join(part if part.startswith("```") else LINK.sub(relink, part) for part in parts)


def notebook_page(text, files, config):
    """A notebook as Markdown, its images beside it."""
    parts = []
    for i, cell in enumerate(json.loads(text)["cells"]):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for j, output in enumerate(cell["outputs"]):
            data = output.get("data", {})
            if "image/jpeg" in data:
                name = f"examples/images/quickstart_{i}_{j}.jpg"
                files.append(File.generated(config, name, content=base64.b64decode(data["image/jpeg"])))
                parts.append(f"![Output](images/{posixpath.basename(name)})")
            else:
                parts.append(f"```text\n{''.join(output.get('text') or data.get('text/plain', '')).rstrip()}\n```")
    return "\n\n".join(parts)
