"""The site, from the pages of docs/, the README, the notebooks and the docstrings.

    python -m sphinx -W --keep-going -b html docs docs/_build/html

Building needs no network, and the pages load nothing from elsewhere: the theme brings its own files, there is no
intersphinx, and formulas are MathML, which browsers draw without a script. `docs/api/` is written by the build, a page
for each package, so a module that moves needs no edit here.
"""

import importlib
import pkgutil
import re
import sys
from pathlib import Path

from docutils import nodes  # Sphinx' own dependency
from docutils.utils.math.latex2mathml import tex2mathml

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))

from transformer.system.tensorflow import import_tensorflow  # noqa: E402 - found by the path above

import_tensorflow()  # without its messages

import transformer  # noqa: E402

project = "transformer"
copyright = "the authors; Apache-2.0"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "**/.ipynb_checkpoints"]

html_theme = "furo"
html_title = project
html_copy_source = False
html_css_files = ["wide.css"]
html_static_path = ["_static"]
html_math_renderer = "mathml"

nb_execution_mode = "off"  # they are committed executed
nb_ipywidgets_js = {}  # these would come from another host
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4  # as on GitHub

suppress_warnings = ["ref.python"]  # an annotation names a class that two modules have; either is a right page
default_role = "literal"  # docstrings quote code as `code`
autodoc_inherit_docstrings = False  # of Keras: the class docstring owns the behaviour
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
autodoc_default_options = {"members": True}
autosummary_generate = False  # `write_api_pages` does

# Files that a page includes whole.
INCLUDED = {
    "README": "/readme.md",
    "README.zh": "/readme_zh.md",
    "CONTRIBUTING": "/contributing.md",
    "CHANGELOG": "/changelog.md",
    "RESULTS": "/results.md",
}
# What the links of files name, and the pages made of it. Where a folder is a link, MyST finds pages by name alone.
PAGES = {
    path.resolve(): f"/{path.relative_to(DOCS) if folder == DOCS else path.relative_to(DOCS).with_suffix('')}"
    for folder in (DOCS, DOCS / "notebooks")
    for path in folder.iterdir()
    if path.suffix in (".md", ".ipynb")
} | {ROOT / f"{name}.md": page for name, page in INCLUDED.items()}
PAGES |= {ROOT / "transformer" / "config" / name: "/settings.md" for name in ("settings.py", "tasks.py")}


API_INDEX = """
The package, module by module
=============================

What ``from transformer import ...`` gives:

.. autosummary::
   :nosignatures:

   {names}

The packages and their modules:

.. toctree::
   :maxdepth: 1

   {packages}
"""


def write_api_pages(app) -> None:
    """Write `docs/api/`: a page for each package, with the docstrings of its modules, and their index."""
    pages: dict[str, list[str]] = {"transformer": ["transformer"]}
    for found in pkgutil.walk_packages(transformer.__path__, "transformer."):
        if not found.name.endswith("__main__"):
            package = found.name if found.ispkg else found.name.rpartition(".")[0]
            pages.setdefault(package, []).append(found.name)
    folder = DOCS / "api"
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.rst"):
        if old.stem not in {"index", *pages}:
            old.unlink()
    names = [f"~{getattr(transformer, name).__module__}.{name}" for name in transformer.__all__]
    lists = {"names": names, "packages": sorted(pages)}
    write_changed(folder / "index.rst", API_INDEX.format(**{key: "\n   ".join(value) for key, value in lists.items()}))
    for package, modules in pages.items():
        text = heading(package, "=")
        for module in sorted(modules, key=lambda name: (name != package, name)):
            if module != package:
                text += heading(module, "-")
            text += f".. automodule:: {module}\n{handed_on(module)}\n"
        write_changed(folder / f"{package}.rst", text)


def heading(name: str, line: str) -> str:
    """Return the heading of a package or a module."""
    title = name.removeprefix("transformer.")
    return f"{title}\n{line * len(title)}\n\n"


def handed_on(module: str) -> str:
    """Return the option that leaves out what a module with `__all__` only hands on, which its own module describes."""
    thing = importlib.import_module(module)
    names = getattr(thing, "__all__", ())
    names = [name for name in names if getattr(getattr(thing, name), "__module__", module) != module]
    return f"   :exclude-members: {', '.join(names)}\n" if names else ""


def write_changed(path: Path, text: str) -> None:
    """Write a file if it says something else, so that a second build reads only what has changed."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def follow_links(text: str, folder: Path) -> str:
    """Let links that lead from file to file, as on GitHub, lead from page to page."""

    def follow(match: re.Match[str]) -> str:
        page = PAGES.get((folder / match["path"]).resolve())
        return f"]({page}{match['anchor']})" if page else match[0]

    return re.sub(r"\]\((?P<path>[\w./-]+)(?P<anchor>(?:#[\w-]+)?)\)", follow, text)


def follow_page_links(app, page: str, text: list[str]) -> None:
    """Fix the links of a page; those of a notebook lead from where it really is."""
    text[0] = follow_links(text[0], (DOCS / page).resolve().parent)


def follow_included_links(app, path: Path, page: str, text: list[str]) -> None:
    """Fix the links of a file that a page includes."""
    text[0] = follow_links(text[0], (DOCS / path).resolve().parent)


def mark_fields(app, what: str, name: str, thing, options, lines: list[str]) -> None:
    """Make fields of a docstring's sections of one paragraph, such as `Source: Vaswani et al. 2017`.

    `**options` among its arguments is a name, where Sphinx would see bold text begin.
    """
    made, inside = [], False
    for line in lines:
        line = re.sub(r"(?<![\\*])\*\*(\w+)(?![\w*])", r"\\*\\*\1", line)
        begins = re.match(r"(Axes|Call|Deviation|Keys|Source|Splits|Use): ", line)
        inside = bool(begins or (inside and line.strip()))
        made += ["", f":{line}"] if begins else [f"    {line.strip()}" if inside else line]
    lines[:] = made


def skip_fields_of_tuples(app, what: str, name: str, thing, skip: bool, options) -> bool:
    """Leave out `Alias for field number 0`: the docstring of the class describes the fields."""
    return skip or type(thing).__name__ == "_tuplegetter"


def write_formula(self, node) -> None:
    """Write a formula as MathML."""
    self.body.append(tex2mathml(node.astext(), as_block=isinstance(node, nodes.math_block)))
    raise nodes.SkipNode


def setup(app) -> None:
    """Register the functions above."""
    app.add_html_math_renderer("mathml", (write_formula, None), (write_formula, None))
    app.connect("builder-inited", write_api_pages)
    app.connect("source-read", follow_page_links)
    app.connect("include-read", follow_included_links)
    app.connect("autodoc-skip-member", skip_fields_of_tuples)
    app.connect("autodoc-process-docstring", mark_fields, priority=400)  # before napoleon, whose priority is 500
