"""Build the documentation site into build/site: ``make docs``. Any warning or broken link fails the build.

The pages of docs/ and the files beside it (changelog, contributing) are copied to build/docs. There, api.py and
cli.py add the reference.
"""

from __future__ import annotations

import argparse
import http.server
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from functools import partial
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE))

import api  # noqa: E402 - it is beside this file
import check  # noqa: E402 - it is beside this file
import cli  # noqa: E402 - it is beside this file

NOTES = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md", "SECURITY.md": "security.md"}
LINK = re.compile(r"(!?\[)([^\[\]]*)\]\((?![a-z]+:)([^)\s#]*)(#[^)\s]*)?\)")
FENCED = re.compile(r"(^ *```.*?^ *```[ \t]*$)", re.MULTILINE | re.DOTALL)


def pages() -> dict[str, str]:
    """Every page of the site by its path, as Markdown with the site's links."""
    found = {}
    sources = {path: path.relative_to(ROOT / "docs").as_posix() for path in sorted((ROOT / "docs").rglob("*.md"))}
    sources |= {ROOT / name: page for name, page in NOTES.items() if (ROOT / name).exists()}
    if "index.md" not in sources.values():
        sources[ROOT / "README.md"] = "index.md"
    made = {**api.Writer().files(), "reference/cli.md": cli.page()}
    targets = {path.resolve(): page for path, page in sources.items()}
    targets |= {(ROOT / "docs" / page).resolve(): page for page in made}
    targets[(ROOT / "README.md").resolve()] = "index.md"
    places = api.anchors()
    for path, page in sources.items():
        if HERE in path.parents:
            continue
        text = re.sub(r"^<!--.*?-->\n?", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        parts = FENCED.split(text)
        for i in range(0, len(parts), 2):
            parts[i] = LINK.sub(partial(_link, path, page, targets, places), parts[i])
        found[page] = "".join(parts)
    return found | made


def _link(path: Path, page: str, targets: dict[Path, str], places: dict[str, str], found: re.Match[str]) -> str:
    """A link of a page in the repository, converted to a link of the site."""
    opened, shown, target, heading = found.groups()
    there = (path.parent / target).resolve() if target else path
    name = (heading or "")[1:]
    if not target:
        return found[0]
    if targets.get(there) == "reference/api.md" and name in places:
        address: str | None = _from(page, f"reference/api/{places[name]}.md")
    elif there in targets:
        address = _from(page, targets[there])
    elif ROOT / "docs" / "pictures" in there.parents:
        address = _from(page, there.relative_to(ROOT / "docs").as_posix())
    elif there.exists() and ROOT in there.parents:
        address = _source_of(there)
    else:
        raise SystemExit(f"{path.relative_to(ROOT)}: {target}{heading or ''} leads nowhere")
    return f"{opened}{shown}]({address}{heading or ''})" if address else shown


def _from(page: str, target: str) -> str:
    return "../" * page.count("/") + target


def _source_of(there: Path) -> str | None:
    """The address of a file that is not a page; ``None`` as long as pyproject.toml names no repository."""
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"].get("urls", {})
    home = urls.get("Source") or urls.get("Repository") or urls.get("Homepage")
    if home is None:
        return None
    return f"{home.rstrip('/')}/blob/main/{there.relative_to(ROOT).as_posix()}"


def navigation(found: dict[str, str]) -> str:
    """Every page, as TOML: in the order of the home page, whose tables are the groups of the sections."""
    link = re.compile(r"\]\(([\w/-]+\.md)")
    listed = link.findall(found["index.md"])
    parts = dict(re.findall(r"^### ([^\n]+)\n(.*?)(?=^##|\Z)", found["index.md"], re.MULTILINE | re.DOTALL))
    rest = dict.fromkeys(sorted(found, key=lambda page: listed.index(page) if page in listed else len(listed)))

    def taken(pages: Iterable[str], folder: str = "") -> list[tuple[str, str]]:
        here = [page for page in dict.fromkeys(pages) if page in rest and page.startswith(folder)]
        for page in here:
            del rest[page]
        return [(_title(page, found[page]), json.dumps(page)) for page in here]

    def section(folder: str, heading: str, first: Iterable[tuple[str, str]] = ()) -> str:
        entries = list(first)
        for group, links in re.findall(r"^\| ([^|]+) \| (.+) \|$", parts[heading], re.MULTILINE):
            if inside := taken(link.findall(links), folder):
                entries.append((group, _toml(inside)))
        return _toml(entries + taken([*link.findall(parts[heading]), *rest], folder))

    reference = [
        *taken(["reference.md"]),
        (
            "Python API",
            _toml(taken(["reference/api.md", *(page for page in found if page.startswith("reference/api/"))])),
        ),
        *taken(["reference/cli.md"]),
    ]
    entries = [
        *taken(["index.md", "tutorial.md"]),
        ("How-to", section("how-to/", "How-to guides")),
        ("Reference", section("reference/", "Reference", reference)),
        ("Explanation", section("explanation/", "Explanation")),
        ("Project", _toml(taken(list(rest)))),
    ]
    return _toml(entries)


def _title(page: str, text: str) -> str:
    if page == "index.md":
        return "Home"
    heading = re.search(r"^# (.+)$", text, re.MULTILINE)
    if heading is None:
        raise SystemExit(f"{page} has no title")
    return "Overview" if page in ("reference.md", "reference/api.md") else heading[1].replace("`", "")


def _toml(entries: Iterable[tuple[str, str]]) -> str:
    return "[" + ", ".join(f"{{ {json.dumps(title)} = {value} }}" for title, value in entries) + "]"


def build() -> Path:
    """Build the site from scratch; return its directory."""
    place = ROOT / "build" / "docs"
    shutil.rmtree(place, ignore_errors=True)
    shutil.rmtree(ROOT / "build" / "site", ignore_errors=True)
    found = pages()
    for page, text in found.items():
        path = place / "pages" / page
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    pictures = place / "pages" / "pictures"
    pictures.mkdir()
    for path in (ROOT / "docs" / "pictures").iterdir():
        if path.suffix in (".svg", ".png"):
            shutil.copy(path, pictures)
    shutil.copytree(HERE / "theme", place / "theme")
    config = (HERE / "zensical.toml").read_text(encoding="utf-8")
    config = config.replace("[project]\n", f"[project]\nnav = {navigation(found)}\n", 1)
    (place / "zensical.toml").write_text(config, encoding="utf-8")
    words = [sys.executable, "-m", "zensical", "build", "--strict", "--clean", "--config-file", "zensical.toml"]
    done = subprocess.run(words, cwd=place, capture_output=True, text=True, check=False)
    said = re.sub(r"\x1b\[[\d;]*m", "", done.stdout + done.stderr)
    if done.returncode:
        raise SystemExit(said)
    return Path(shutil.move(place / "site", ROOT / "build" / "site"))


def main() -> None:
    """Build it, check it, and serve it if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", type=int, metavar="PORT", help="serve the site on this port of this machine")
    asked = parser.parse_args()
    try:
        site = build()
    except api.Undocumented as error:
        raise SystemExit(str(error)) from error
    wrong = check.complaints(site)
    if wrong:
        raise SystemExit("\n".join(wrong))
    print(f"build/site/index.html: {len(list(site.rglob('*.html')))} pages")
    if asked.serve:
        handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(site))
        with http.server.ThreadingHTTPServer(("127.0.0.1", asked.serve), handler) as server:
            print(f"http://127.0.0.1:{asked.serve}/")
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                pass


if __name__ == "__main__":
    main()
