"""The site is built without a warning, says everything, leads nowhere in vain and loads nothing from elsewhere."""

import os
import pkgutil
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from conftest import ROOT

import transformer

pytest.importorskip("sphinx", reason="needs Sphinx: pip install -e '.[docs]'")
for needed in ("furo", "myst_nb", "sphinx_copybutton"):
    pytest.importorskip(needed, reason="needs the site's generator: pip install -e '.[docs]'")

pytestmark = pytest.mark.slow  # the site is built: every docstring is read, every page written
LOADING = {"src", "srcset", "data", "poster", "background", "xlink:href"}  # attributes that a browser follows by itself
ELSEWHERE = re.compile(r"\s*(?:\w+:)?//")


class Page(HTMLParser):
    """What a built page names: its anchors, its links, and what it loads."""

    def __init__(self, path):
        super().__init__()
        self.anchors, self.links, self.loads = set(), [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        found = {name: value or "" for name, value in attributes}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        if "href" in found:
            (self.links if tag == "a" else self.loads).append(found["href"])
        self.loads += [value for name, value in found.items() if name in LOADING]
        self.loads += re.findall(r"url\(\s*['\"]?([^'\")]+)", found.get("style", ""))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the site as the README says, in another folder; returns that folder."""
    folder = tmp_path_factory.mktemp("site")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    command = re.search(r"`python (-m sphinx -W [^`]*) docs docs/_build/html`", readme)[1].split()
    # Whoever asks for a page of another host gets no answer.
    nowhere = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")}
    done = subprocess.run(
        [sys.executable, *command, "-q", ROOT / "docs", folder / "html"],
        env={**os.environ, **nowhere},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder / "html"


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path) for path in sorted(site.rglob("*.html"))}


@pytest.fixture(scope="module")
def described(site):
    """Names of the Python objects that the site describes, and the page of each."""
    from sphinx.util.inventory import InventoryFile

    with (site / "objects.inv").open("rb") as stream:
        inventory = InventoryFile.loads(stream.read(), uri="")
    kinds = ("module", "class", "function", "exception", "method", "data")
    return {name: entry.uri for kind in kinds for name, entry in inventory.data.get(f"py:{kind}", {}).items()}


def test_every_public_name_is_described_and_listed(described, pages, site):
    found = {name: getattr(transformer, name) for name in transformer.__all__}
    names = {f"{thing.__module__}.{name}" for name, thing in found.items()}
    assert len(names) > 10
    assert [name for name in names if not described.get(name, "").startswith("api/")] == []
    listed = {link.partition("#")[2] for link in pages[site / "api" / "index.html"].links}
    assert names <= listed


def test_every_module_is_described(described):
    modules = {found.name for found in pkgutil.walk_packages(transformer.__path__, "transformer.")}
    said = {name for name in modules if not name.endswith("__main__")}
    assert len(said) > 50
    assert sorted(said - described.keys()) == []
    assert described["transformer.layers.masks"].startswith("api/transformer.layers.html")


def test_every_page_is_in_the_navigation(pages, site):
    links = {(site / link.partition("#")[0]).resolve() for link in pages[site / "index.html"].links}
    written = [*(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "notebooks").iterdir()]
    sources = [path for path in written if path.suffix in (".md", ".ipynb") and path.name != "index.md"]
    names = [path.relative_to(ROOT / "docs").with_suffix(".html") for path in sources]
    assert len(names) > 10
    assert [name for name in names if (site / name).resolve() not in links] == []


def test_every_link_leads_somewhere(pages):
    nowhere, followed = [], 0
    for path, page in pages.items():
        for link in page.links:
            if re.match(r"\w+:", link):
                assert link.startswith(("https://", "http://")), link
                continue
            file, _, anchor = link.partition("#")
            target = (path.parent / file).resolve() if file else path
            followed += 1
            if not target.is_file() or (anchor and target in pages and anchor not in pages[target].anchors):
                nowhere.append((path.name, link))
    assert followed > 1000
    assert nowhere == []


def test_links_to_files_have_become_pages(pages, site):
    """A link that MyST cannot follow to a page is a download: of these there are none."""
    assert not (site / "_downloads").exists()
    assert "readme.html#results" in pages[site / "results.html"].links
    assert "../shipping.html" in pages[site / "notebooks" / "04_your_own_corpus.html"].links


def test_nothing_is_loaded_from_another_host(pages, site):
    asked = [address for page in pages.values() for address in page.loads]
    assert len(asked) > 100
    for style in site.rglob("*.css"):
        text = style.read_text(encoding="utf-8")
        asked += re.findall(r"(?:url\(|@import)\s*['\"]?([^'\")\s;]+)", text)
    assert [address for address in asked if ELSEWHERE.match(address)] == []
    for script in site.rglob("*.js"):
        calls = re.findall(
            r"(?:fetch|import|src\s*=|\.open)\s*\(?\s*['\"`]((?:https?:)?//[^'\"`]+)", script.read_text()
        )
        assert calls == [], script.name


def test_code_can_be_copied(pages, site):
    assert any("copybutton.js" in address for address in pages[site / "own_corpus.html"].loads)


def test_formulas_need_no_script(site):
    text = (site / "notebooks" / "01_attention.html").read_text(encoding="utf-8")
    assert text.count("<math ") > 5
    assert re.findall("<script[^>]*mathjax", text, flags=re.IGNORECASE) == []
