"""Find what is wrong with a built site: broken links, and anything loaded from another host."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADING = {"script": "src", "img": "src", "iframe": "src", "source": "srcset", "link": "href"}


class Page(HTMLParser):
    """The anchors, links and resources of one page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: set[str] = set()
        self.resources: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record links and their possible targets."""
        said = {name: value for name, value in attrs if value is not None}
        if "id" in said:
            self.anchors.add(said["id"])
        if tag == "a" and "href" in said:
            self.links.add(said["href"])
        if tag in LOADING and LOADING[tag] in said and said.get("rel") != "canonical":
            self.resources.add(said[LOADING[tag]])


def complaints(site: Path) -> list[str]:
    """A line for each broken link."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    wrong = []
    for path, page in pages.items():
        if path.name == "404.html":
            continue  # its links are absolute: it can be shown at any address
        name = path.relative_to(site).as_posix()
        for link in sorted(page.links | page.resources):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if link in page.resources and parts.scheme != "data":
                    wrong.append(f"{name}: loads {link}")
                elif parts.scheme not in ("https", "mailto", "data") or (
                    parts.scheme == "https" and not parts.hostname
                ):
                    wrong.append(f"{name}: {link} is not https")
                continue
            there = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            there = there / "index.html" if there.is_dir() else there
            if not there.is_file():
                wrong.append(f"{name}: {link} leads nowhere")
            elif parts.fragment and there in pages and unquote(parts.fragment) not in pages[there].anchors:
                wrong.append(f"{name}: {link} names no heading of that page")
    return wrong
