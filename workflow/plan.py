"""What the book consists of and what each part depends on; Snakemake decides the rest.

Every result is named by the hash of all that determines it. So a file that exists is right, whatever
its age, and a file that is missing has to be made: there is nothing else to keep track of.
"""

import difflib
import hashlib
import sys
from functools import cache
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from helpers import provenance  # noqa: E402  (the helpers of this checkout, whatever is installed)


class PlanError(Exception):
    """The book cannot be built as it stands; the message says why in one sentence."""


def nearest(name, choices):
    """Return a clause that lists the allowed names, the nearest one first where there is one."""
    guess = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
    return (f"did you mean {guess[0]!r}? " if guess else "") + f"Allowed: {', '.join(sorted(choices)) or 'none'}."


class Plan:
    """One edition of the book: its pages, their parameters and keys, and where the results go."""

    def __init__(self, edition):
        self.edition = edition
        self.build = ROOT / "build" / edition
        self.notebooks = {path.stem: path for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
        self.parameters = self._read_parameters()

    def _read_parameters(self):
        editions = {path.stem: path for path in (ROOT / "book" / "editions").glob("*.yml")}
        if self.edition not in editions:
            raise PlanError(f"There is no edition {self.edition!r}; {nearest(self.edition, editions)}")
        try:
            given = yaml.safe_load(editions[self.edition].read_text("utf-8")) or {}
        except yaml.YAMLError as error:
            raise PlanError(f"Edition {self.edition!r} is not valid YAML: {error}") from None
        if not isinstance(given, dict) or not all(isinstance(values, dict | None) for values in given.values()):
            raise PlanError(f"Edition {self.edition!r}: allowed are pages with their parameters, such as '01a: {{seeds: 16}}'.")
        short = {page.split("_")[0]: page for page in self.notebooks}
        for twin in sorted(self.notebooks.keys() - short.values()):
            raise PlanError(f"Two pages are called {twin.split('_')[0]!r}, {twin!r} and another one: move one out of notebooks/.")
        for name in given.keys() - short:
            quote = "" if isinstance(name, str) else " Put the name in quotes: YAML read a number."
            raise PlanError(f"Edition {self.edition!r} sets parameters of page {name!r}; {nearest(str(name), short)}{quote}")
        for name, page in short.items():
            allowed = provenance.defaults(self.notebooks[page])
            for wrong in (given.get(name) or {}).keys() - allowed:
                raise PlanError(f"Edition {self.edition!r} sets {wrong!r}, which is no parameter of {page}; "
                                + nearest(str(wrong), allowed))
        return {page: given.get(name) or {} for name, page in short.items()}

    @cache  # a plan is the state of the sources at one moment
    def key(self, page):
        """Return the key of a page: the hash of all that determines its results."""
        return provenance.key(self.notebooks[page], self.parameters[page])

    def executed(self, page):
        """Return the path of the executed notebook of a page (it exists once the page has run)."""
        return self.build / "executed" / f"{page}-{self.key(page)[:16]}.ipynb"

    def sources(self):
        """Return the files, beside the executed notebooks, that the site is made from."""
        patterns = ("_config.yml", "_toc.yml", "*.md", "book/**/*", "notebooks/*.ipynb", "src/helpers/**/*",
                    "workflow/site.py", "requirements.lock")
        files = {file for pattern in patterns for file in ROOT.glob(pattern)}
        return sorted(file for file in files if file.is_file() and "__pycache__" not in file.parts)

    def site(self):
        """Return the folder of the site made from the present sources."""
        total = hashlib.sha256("".join(map(self.key, self.notebooks)).encode())
        for file in self.sources():
            total.update(str(file.relative_to(ROOT)).encode() + file.read_bytes())
        return self.build / "sites" / total.hexdigest()[:16]
