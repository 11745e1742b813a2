"""The docket of a page: judge its claims, show a card for each, and close with Holm's adjustment.

    docket = claims.Docket("01a", dataset=dataset, alpha=alpha)
    docket.judge("C03a", deltas)
    docket.close()
    docket.words()

What is judged stands in the register (`helpers.registry`), the rule in `helpers.verdicts`.
"""

from difflib import get_close_matches
from html import escape

from IPython.display import display

from . import cards, registry, verdicts
from .statistics import holm_levels

register = registry.load


class DocketError(ValueError):
    """A claim that is not on the page, or a page that left one of its claims out."""

    def _render_traceback_(self):
        return [f"DocketError: {self}"]


class Docket:
    """The claims of one page.

    `dataset` picks the margins and conditions, `alpha` is the error level of a claim's interval, of a claim's
    family of conditions, and (in the page's share) of the chapter's family of single contrasts. RegisterError for an
    unknown page, ValueError for alpha outside (0, 0.2].
    """

    def __init__(self, page: str, dataset: str | None = None, alpha: float = 0.05):
        if not 0 < alpha <= 0.2:
            raise ValueError(f"alpha must lie in (0, 0.2], got {alpha}")
        self.page, self.dataset, self.alpha = page, dataset, alpha
        self.statements = registry.statements(page)
        self.verdicts: dict[str, verdicts.Verdict] = {}
        self._cases: dict[str, dict] = {}
        self._closed = False

    def judge(self, id: str, values=None, *, n_train: int | None = None, n_test: int | None = None, note: str = "") -> verdicts.Verdict:
        """Judge one claim of the page, show its card, and return the verdict.

        `values`: differences of shape (n,), one per seed, signed so that the claim predicts > 0 (a mapping from
        condition to differences, from check to bool, or nothing, as the claim's kind asks: see `verdicts.judge`).
        `n_train` and `n_test`: sizes of overlapping random splits (Nadeau–Bengio interval). `note` adds a sentence
        to "what would change it". DocketError for an id that is not on the page, ValueError for values that do not fit.
        """
        if (n_train is None) != (n_test is None):
            raise ValueError(f"{id}: n_train and n_test go together, got {n_train} and {n_test}")
        overlap = None if n_train is None else (n_train, n_test)
        return self._enter(id, {"values": values, "overlap": overlap, "note": note})

    def not_run(self, id: str, why: str) -> verdicts.Verdict:
        """Enter a claim that this run cannot try as INCONCLUSIVE, with the reason, for instance "PyTorch is not installed"."""
        return self._enter(id, {"why": why})

    def _enter(self, id, case):
        if id not in self.statements:
            near = get_close_matches(id, self.statements, n=1, cutoff=0)[0]
            raise DocketError(f"{id!r} is not on page {self.page}; the nearest is {near!r}")
        self.verdicts[id] = self._verdict(id, case, alpha=self.alpha)
        self._cases[id] = case
        self._closed = False
        display(cards.bundle(self.verdicts[id]), raw=True, display_id=id)
        return self.verdicts[id]

    def _verdict(self, id, case, *, final=False, **levels):
        if "why" in case:
            return verdicts.Verdict(id, *self.statements[id], verdicts.INCONCLUSIVE, not_run=case["why"], final=final)
        return verdicts.judge(id, *self.statements[id], **case, **levels, dataset=self.dataset, final=final)

    def family_share(self) -> float:
        """The part of the chapter's family of single contrasts that stands on this page (0 if none does)."""
        chapter = [claim.page for claim in register().values() if claim.page[:2] == self.page[:2]
                   for statement in claim.statements.values() if statement.in_family]
        return chapter.count(self.page) / len(chapter) if chapter else 0.0

    def close(self) -> None:
        """Adjust the single contrasts (Holm, at alpha times the page's share), update every card, show the table.

        DocketError if a claim of the page was not judged.
        """
        missing = [id for id in self.statements if id not in self.verdicts]
        if missing:
            raise DocketError(f"page {self.page} has not judged {', '.join(missing)}")
        family = [id for id in self.statements if self.statements[id][1].in_family and self.verdicts[id].findings]
        p_values = [verdicts.p_value(self.verdicts[id].findings[0]) for id in family]
        levels = dict(zip(family, map(float, holm_levels(p_values, self.alpha * self.family_share()))))
        first = min(levels.values(), default=self.alpha)
        for id, case in self._cases.items():
            alphas = {"alpha": levels[id], "first_alpha": first} if id in levels else {"alpha": self.alpha}
            self.verdicts[id] = self._verdict(id, case, **alphas, final=True)
            display(cards.bundle(self.verdicts[id]), raw=True, display_id=id, update=True)
        self._closed = True
        display({"text/html": self._table(), "text/plain": self._lines()}, raw=True)

    def words(self) -> None:
        """Print "C47 HOLDS" for each claim whose word nbval may check: `word_is_checked` in the register."""
        if not self._closed:
            raise DocketError(f"page {self.page} must be closed before its words are printed: call close() first")
        for id, (_, statement) in self.statements.items():
            if statement.word_is_checked:
                print(self.verdicts[id])

    def _lines(self):
        return "\n".join(f"{cards.icon(v.word)} {id} {v.word}: {v.statement.says}" for id, v in self._ordered())

    def _table(self):
        rows = "".join(
            f'<tr class="{cards.css_class(v.word)}"><th scope="row"><a href="#verdict-{id}">{id}</a></th>'
            f"<td>{escape(v.statement.says)}</td>"
            f'<td><span class="rt-icon" aria-hidden="true">{cards.icon(v.word)}</span> {escape(v.word)}</td></tr>'
            for id, v in self._ordered()
        )
        return ('<table class="rt-verdicts"><caption>Verdicts of this page</caption><thead><tr><th scope="col">Claim</th>'
                f'<th scope="col">It says</th><th scope="col">Verdict</th></tr></thead><tbody>{rows}</tbody></table>')

    def _ordered(self):
        return [(id, self.verdicts[id]) for id in self.statements]
