"""Sphinx configuration. Warnings are errors: `make docs`."""

import re
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

import encollapse

ROOT = Path(__file__).resolve().parent.parent

project = "encollapse"
author = "the encollapse developers"
copyright = "2026, the encollapse developers"
release = encollapse.__version__
version = ".".join(release.split(".")[:2])

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "sphinx-mathjax-offline",  # MathJax from the package, not from a network of others: pages read offline
    "numpydoc",
    "myst_parser",
    "sphinxcontrib.bibtex",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "gallery/**/*.ipynb", "gallery/**/*.py", "gallery/**/*.zip"]
suppress_warnings = ["config.cache"]  # the gallery's settings hold functions, which Sphinx cannot pickle

myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "plain"
bibtex_reference_style = "author_year"

autosummary_generate = True
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
toc_object_entries_show_parents = "hide"  # the column beside a class is narrow, and its name is above
templates_path = ["_templates"]
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

sphinx_gallery_conf = {
    "examples_dirs": str(ROOT / "examples"),
    "gallery_dirs": "gallery",
    "filename_pattern": r"plot_",
    "abort_on_example_error": True,
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
    "download_all_examples": False,
    "min_reported_time": 1,
    "within_subsection_order": "FileNameSortKey",
}

smartquotes_action = "qe"  # quotes and dots: two hyphens in prose are those of an option

html_theme = "pydata_sphinx_theme"
html_title = "encollapse"
html_static_path = ["_static"]
html_css_files = ["encollapse.css"]
html_show_sourcelink = False
html_context = {"default_mode": "auto"}  # light or dark as the reader's system has it
html_theme_options = {
    "logo": {"text": f"encollapse {version}"},
    "navbar_persistent": ["search-field"],
    "show_prev_next": True,
    "navbar_center": [],  # two dozen pages do not fit a bar: they stand in the sidebar
    # Examples are code first, and get the room. A page may match one pattern with wildcards only.
    "secondary_sidebar_items": {"[!g]**": ["page-toc"], "glossary": ["page-toc"], "gallery/index": ["page-toc"]},
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_toc_level": 2,
}
html_sidebars = {"**": ["sidebar-pages"]}

SIGNATURE = re.compile(r'<span class="sig-paren">\(</span>\s*<dl>(.*?)</dl>', re.DOTALL)
"""A signature of several lines, which Sphinx writes as definitions without terms: screen readers stumble over them."""


ROLES = re.compile(r' role="(?:list|doc-biblioentry)"(?=[^>]*>)')
"""Roles of the bibliography, of which the outer one does not allow the inner one."""

BACK = re.compile(r'(class="viewcode-back" href="[^"#]*?([\w.]+)\.html)#(?!\2)[^"]*')
"""A link from the source of an object to a place that its page has under another name."""


MARKED = re.compile(r'(<span class="math notranslate nohighlight">\\\([^<]{1,40}\\\)</span>)([.,:;)?]+)')
"""A short formula and the marks after it, between which browsers would break the line."""


LONG = re.compile(r'<span class="pre">(?=[^<]{36})')
"""A word of code that is longer than a line of a phone, and may break there."""


CELL_CODE = re.compile(r'(<span class="pre(?: long)?">)([^<]{12,})')
JOINT = re.compile(r"(?<=\w/)(?=\w)|(?<=[a-z]_)(?=[a-z])")
"""Where a path may break in the narrow columns of the contributing page: after a folder, then between words."""


UNNAMED = {"Shown", "LabeledProblem"}
"""Bases of public classes that have no page: they say nothing to a reader, no more than ``object`` does."""

NO_BASES = re.compile(r"<p>Bases:\s*</p>")


def bases_worth_naming(app: object, name: str, obj: object, options: object, bases: list[object]) -> None:
    """Leave the bases of a class that a reader can look up, here or elsewhere."""

    def worth(base: str) -> bool:
        return base not in UNNAMED and not base.startswith("_")

    bases[:] = [base for base in bases if base is not object and worth(getattr(base, "__name__", "?"))]


PERCENT = re.compile(r"(?<=\d) (?=%)")
"""The blank of "3 %", at which no line should end."""

PHONE = 42
"""Characters beside each other in a table on a phone."""

WHOLE = re.compile(r"\S{14,}")
"""Words that are wider than a narrow column."""


def as_cards(app: Sphinx, doctree: nodes.document, name: str) -> None:
    """Give tables of words that are wider than a phone the names of their columns in every cell but the first."""
    for table in list(doctree.findall(nodes.table)):
        rows = [list(row.findall(nodes.entry)) for row in table.findall(nodes.row)]
        known = {"numbers", "options", "stacked", "autosummary", "longtable"} & set(table["classes"])
        if known or len(rows) < 2 or len({len(row) for row in rows}) > 1:
            continue
        columns = list(zip(*([cell.astext() for cell in row] for row in rows), strict=True))
        if sum(max(map(width, column)) for column in columns) <= PHONE:
            continue
        table["classes"].append("cards")
        for row in rows[1:]:
            for head, cell in zip(rows[0][1:], row[1:], strict=True):
                if head.astext() and cell.astext() and isinstance(cell[0], nodes.paragraph):
                    cell[0].insert(0, nodes.inline("", f"{head.astext()}: ", classes=["column"]))


def width(text: str) -> int:
    """Characters that a cell takes at least: its longest word, or so much that it has few lines."""
    longest = max(map(len, WHOLE.findall(text)), default=0)
    return max(longest, min(len(text), 12 + len(text) // 6)) + 2


def repaired(app: object, name: str, template: str, context: dict[str, object], doctree: object) -> None:
    """Write the lines of a signature as plain lines, and mend what Sphinx leaves for readers to stumble over."""

    def plain(found: re.Match[str]) -> str:
        lines = found[1].replace("<dd>", '<div class="sig-line">').replace("</dd>", "</div>")
        return f'<span class="sig-paren">(</span><div>{lines}</div>'

    if "body" in context:
        body = SIGNATURE.sub(plain, str(context["body"]))
        context["body"] = NO_BASES.sub("", BACK.sub(r"\1", ROLES.sub("", body)))
        body = MARKED.sub(r'<span class="with-mark">\1\2</span>', str(context["body"]))
        body = PERCENT.sub("\N{NO-BREAK SPACE}", LONG.sub('<span class="pre long">', body))
        if name == "contributing":
            start, tables, end = body.partition('id="what-to-touch"')
            rows, close, after = end.partition("</table>")
            rows = CELL_CODE.sub(lambda found: found[1] + JOINT.sub("<wbr>", found[2]), rows)
            body = start + tables + rows + close + after
        context["body"] = body


def setup(app: Sphinx) -> None:
    app.connect("html-page-context", repaired)
    app.connect("doctree-resolved", as_cards)
    app.connect("autodoc-process-bases", bases_worth_naming)
