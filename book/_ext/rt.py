"""What the site needs beyond Jupyter Book: verdicts in the text, no outside requests, accessible HTML.

Verdicts come from `verdicts.json`, which the workflow harvests from the executed notebooks; claims
that no page has judged yet come from the register and read "not tried yet".
"""

import json
import re
from importlib.util import find_spec
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective, SphinxRole
from sphinx.util.fileutil import copy_asset

from helpers import cards, registry

MATHJAX = "mathjax/tex-mml-chtml.js"
UNTRIED = "not tried yet"

# What the theme leaves to be done in its HTML: (pattern, replacement).
REPAIRS = [
    # fonts asked for in advance but never used (icons are drawn by script); fails when read from a disk
    (r'<link rel="preload" as="font"[^>]*>', ""),
    # the logo stood outside every landmark
    (r'<div class="bd-sidebar-primary bd-sidebar', '<div role="region" aria-label="Book" class="bd-sidebar-primary bd-sidebar'),
    # the corner of a pandas table is no header of anything
    (r"<th></th>", "<td></td>"),
    # roles that docutils gives to the entries of a bibliography, deprecated since DPUB-ARIA 1.1
    (r' role="doc-biblioentry"|(?<=<div) role="list"(?= class="citation-list")', ""),
    (r'(?s)<script type="text/x-thebe-config">.*?</script>\s*<script>kernelName = .*?</script>', ""),
]


class Board:
    """Every registered statement with its verdict word and the page that judged it."""

    def __init__(self, folder):
        file = Path(folder, "verdicts.json")
        self.found = json.loads(file.read_text("utf-8")) if file.exists() else {}
        self.statements = {name: (claim, part) for claim in registry.load().values()
                           for name, part in claim.statements.items()}

    def word(self, name):
        """Return the verdict word of a statement."""
        return self.found[name]["word"] if name in self.found else UNTRIED

    def select(self, names):
        """Return the ids that pages ("01a"), claims ("C03") or statements ("C03a") stand for; KeyError if unknown."""
        chosen = []
        for name in names:
            hits = [key for key, (claim, _) in self.statements.items() if name in (claim.page, claim.id, key)]
            if not hits:
                raise KeyError(name)
            chosen += hits
        return chosen


def look(word):
    """Return icon and class of a verdict word."""
    return ("…", "rt-untried") if word == UNTRIED else (cards.icon(word), cards.css_class(word))


def badge(name, board, pages):
    """Return a verdict word as a node: an icon and the word, linked to its card where there is one."""
    word = board.word(name)
    icon, color = look(word)
    inner = nodes.inline("", f"{icon}\N{NO-BREAK SPACE}{word}", classes=["rt-word", color])
    page = pages.get(board.found[name]["page"]) if name in board.found else None
    return CardLink("", "", inner, page=page, name=name) if page else inner


class CardLink(nodes.Inline, nodes.TextElement):
    """A link to the card of a verdict; its address is known when the page is written."""


def visit_card_link(translator, node):
    """Open the link."""
    address = translator.builder.get_relative_uri(translator.builder.current_docname, node["page"])
    translator.body.append(f'<a class="rt-link" href="{address}#verdict-{node["name"]}">')


def depart_card_link(translator, node):
    """Close the link."""
    translator.body.append("</a>")


def pages_of(env):
    """Return the document of each page, by the name of its notebook."""
    return {doc.rsplit("/", 1)[-1]: doc for doc in env.found_docs}


class VerdictRole(SphinxRole):
    """{verdict}`C03a`: the verdict word of a statement, linked to its card."""

    def run(self):
        board = self.env.app.rt_board
        if self.text not in board.statements:
            message = self.inliner.reporter.warning(f"verdict: the register has no statement {self.text!r}", line=self.lineno)
            return [nodes.inline("", self.text)], [message]
        return [badge(self.text, board, pages_of(self.env))], []


class VerdictTable(SphinxDirective):
    """```{verdicts} 01a``` (or claims, or statements): a table of id, what is claimed, and verdict."""

    required_arguments = 1
    optional_arguments = 99

    def run(self):
        board = self.env.app.rt_board
        try:
            names = board.select(self.arguments)
        except KeyError as error:
            return [self.state.document.reporter.warning(f"verdicts: nothing is registered as {error}", line=self.lineno)]
        rows = []
        for name in names:
            claim, part = board.statements[name]
            rows.append([nodes.strong("", name), nodes.Text(part.says), badge(name, board, pages_of(self.env))])
        return [table(["Claim", "What it says", "Verdict"], rows, [8, 68, 24], "rt-verdicts")]


class VerdictCounts(SphinxDirective):
    """```{verdict-counts}```: how many statements have which verdict."""

    def run(self):
        board = self.env.app.rt_board
        words = [board.word(name).split(" (")[0] for name in board.statements]
        items = nodes.bullet_list(classes=["rt-counts"])
        for word in [*cards.ICONS, UNTRIED]:
            icon, color = look(word)
            text = nodes.paragraph("", "", nodes.strong("", str(words.count(word))), nodes.Text(f" {icon} {word}"))
            items += nodes.list_item("", text, classes=[color])
        return [items]


def table(header, rows, widths, name):
    """Return a table node of class `name`; `rows` hold one inline node per column."""
    group = nodes.tgroup(cols=len(header))
    group += [nodes.colspec(colwidth=width) for width in widths]
    lines = [[nodes.Text(text) for text in header], *rows]
    made = [nodes.row("", *[nodes.entry("", nodes.paragraph("", "", cell)) for cell in line]) for line in lines]
    group += [nodes.thead("", made[0]), nodes.tbody("", *made[1:])]
    return nodes.table("", group, classes=[name])


def prepare(app):
    """Read the verdicts, and have the formulas set by the copy of MathJax that goes with the site."""
    app.rt_board = Board(app.srcdir)
    app.config.mathjax_path = MATHJAX


def drop_thebe(app, page, template, context, doctree):
    """Drop the scripts of sphinx-thebe, which would fetch a kernel client from elsewhere."""
    context["script_files"] = [file for file in context["script_files"]
                               if "thebe" not in f"{getattr(file, 'filename', '')}{getattr(file, 'attributes', '')}"]
    context["css_files"] = [file for file in context["css_files"] if "thebe" not in str(file.filename)]


def finish(app, error):
    """Copy MathJax (the parts one page needs, not its 24 MB) and repair the HTML that the theme leaves behind."""
    if error or app.builder.format != "html":
        return
    mathjax = Path(find_spec("sphinx-mathjax-offline").submodule_search_locations[0], "static", "mathjax")
    static = Path(app.outdir, "_static")
    fonts = "output/chtml/fonts/woff-v2"
    copy_asset(str(mathjax / "tex-mml-chtml.js"), str(static / "mathjax"))
    copy_asset(str(mathjax / fonts), str(static / "mathjax" / fonts))
    for file in [*static.glob("sphinx-thebe*"), *static.glob("**/*.map")]:
        file.unlink()
    for file in Path(app.outdir).rglob("*.html"):
        text = file.read_text("utf-8")
        for pattern, replacement in REPAIRS:
            text = re.sub(pattern, replacement, text)
        file.write_text(text, "utf-8")


def setup(app):
    """Register the roles, directives and events with Sphinx."""
    app.add_node(CardLink, html=(visit_card_link, depart_card_link))
    app.add_role("verdict", VerdictRole())
    app.add_directive("verdicts", VerdictTable)
    app.add_directive("verdict-counts", VerdictCounts)
    app.connect("builder-inited", prepare)
    app.connect("html-page-context", drop_thebe, priority=900)
    app.connect("build-finished", finish)
    return {"version": "1", "parallel_read_safe": True}
