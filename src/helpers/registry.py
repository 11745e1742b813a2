"""The register: what is put on trial, fixed before anything is measured.

One file `register/<page>.yml` per page, one mapping per claim. This module reads and checks them;
how a verdict is reached from them is decided in `helpers.claims`.
"""

import hashlib
import re
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

FOLDER = Path(__file__).parent / "register"
NUMERIC = ("effect", "equivalence", "monotone", "ordering", "range", "intersection")
Kind = Literal["exact", "effect", "equivalence", "monotone", "ordering", "range", "intersection", "untestable"]
Amount = Annotated[FiniteFloat, Field(ge=0, strict=True)]
Text = Annotated[str, Field(min_length=1)]


class RegisterError(ValueError):
    """The register is malformed, or was asked for a claim or page that it does not have."""

    def _render_traceback_(self):
        return [f"RegisterError: {self}"]


def _by_data_set(value):
    return value if isinstance(value, dict) else {"*": value}


def _pick(by_data_set, dataset, what):
    if "*" not in by_data_set and dataset not in by_data_set:
        raise RegisterError(f"the register fixes {what} for {', '.join(by_data_set)}, but the data set is {dataset!r}")
    return by_data_set.get(dataset, by_data_set.get("*"))


def _as_list(value):
    return value if isinstance(value, list) else [value]


def _as_chapter(value):
    return f"{value:02d}" if isinstance(value, int) else value


class Published(BaseModel):
    """A number that the source prints, and how far a rerun may be from it (same scale as the metric)."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    value: FiniteFloat
    tolerance: Amount


class Statement(BaseModel):
    """One thing that is judged: what is measured, against what, and which effect counts.

    The numbers given to the judge are signed so that the claim predicts > 0 for `contrast` in `metric`
    (direction "+"), or lies near 0 (direction "0", kind equivalence). `margin` is on the scale of the
    metric. Margin and conditions are one value or one by data set ("*" stands for all). `unit_label` is the unit
    shown: "pp" and "%" show fractions times 100; "×" says that numbers and margin are natural logs of ratios and
    shows ratios. `checked` says whether a rerun has to print the same word; by default an exact one has to.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    says: Text
    math: str = ""
    test: str = ""
    kind: Kind
    metric: str = ""
    contrast: str = ""
    direction: Literal["+", "0"] | None = None
    margin: Annotated[dict[str, Amount], BeforeValidator(_by_data_set)] = {}
    unit_label: str = ""
    unit: Literal["seed", "split", "resample", "block"] = "seed"
    conditions: Annotated[dict[str, list[Text]], BeforeValidator(_by_data_set)] = {}
    published: Published | None = None
    checked: bool | None = None
    reason: str = ""

    @model_validator(mode="after")
    def _complete(self):
        if self.kind in NUMERIC:
            missing = [name for name in ("metric", "contrast", "margin") if not getattr(self, name)]
            if missing:
                raise ValueError(f"kind '{self.kind}' needs {' and '.join(missing)}")
            wanted = "0" if self.kind == "equivalence" else "+"
            if self.direction not in (None, wanted):
                raise ValueError(f"kind '{self.kind}' has direction \"{wanted}\", not \"{self.direction}\"")
            if self.kind == "equivalence" and 0 in self.margin.values():
                raise ValueError("kind 'equivalence' needs a margin above 0")
        elif self.margin or self.conditions:
            raise ValueError(f"kind '{self.kind}' takes no margin and no conditions")
        if (self.kind == "untestable") != bool(self.reason):
            raise ValueError("a reason is needed for kind 'untestable', and only there")
        return self

    @property
    def in_family(self) -> bool:
        """Whether the statement is one contrast that shares the chapter's error level (Holm)."""
        return self.kind in ("effect", "equivalence", "monotone") and not self.conditions

    @property
    def word_is_checked(self) -> bool:
        """Whether nbval compares the word; an exact one may be taken out, for it may depend on processor or build."""
        return self.kind == "exact" if self.checked is None else self.checked

    def margin_for(self, dataset: str | None) -> float:
        """The margin for a data set, on the scale of the metric; RegisterError if none was fixed for it."""
        return _pick(self.margin, dataset, "a margin") if self.margin else 0.0

    def conditions_for(self, dataset: str | None) -> list[str]:
        """The registered conditions for a data set (empty: the claim has none); RegisterError as for the margin."""
        return _pick(self.conditions, dataset, "conditions") if self.conditions else []

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that change when anything registered about the statement changes."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]


class Claim(BaseModel):
    """A claim as people state it: where it stands, what is sloppy in it, and the statements to judge."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    id: str
    page: str
    source: Annotated[list[Literal["A", "B", "C", "D", "ours"]], BeforeValidator(_as_list), Field(min_length=1)]
    where: str = ""
    says: Text
    math: str = ""
    test: str = ""
    shown_in: list[Annotated[str, BeforeValidator(_as_chapter), Field(pattern=r"^\d\d[a-z]?$")]] = []
    statements: dict[str, Statement]


class _Loader(yaml.CSafeLoader):  # ten times as fast as SafeLoader; every page reads the whole register
    """YAML that refuses a key given twice instead of keeping the last one."""

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise RegisterError(f"'{key}' stands twice in one mapping (line {node.start_mark.line + 1})")
        return super().construct_mapping(node, deep)


def _explain(error: ValidationError) -> str:
    """The first fault of a pydantic error as one clause, with the nearest field for a misspelt one."""
    fault = error.errors()[0]
    place = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        fields = (Claim.model_fields.keys() | Statement.model_fields.keys() | {"parts"}) - {"id", "page", "statements"}
        near = get_close_matches(place, sorted(fields), n=1, cutoff=0)
        return f"'{place}' is not a field; the nearest is '{near[0]}'"
    return f"{place + ': ' if place else ''}{fault['msg'].removeprefix('Value error, ')}"


def _build(model, where: str, fields: dict):
    if not isinstance(fields, dict):
        raise RegisterError(f"{where}: expected a mapping of fields, got {fields!r}")
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise RegisterError(f"{where}: {_explain(error)}") from None


def _claim(page: str, name: str, entry: dict) -> Claim:
    where = f"{page}.yml, {name}"
    if not re.fullmatch(r"C\d{2,3}", name):
        raise RegisterError(f"{where}: a claim is named C and two or three digits")
    if not isinstance(entry, dict):
        raise RegisterError(f"{where}: expected a mapping of fields, got {entry!r}")
    entry = dict(entry)
    own = Statement.model_fields.keys() - Claim.model_fields.keys()
    inline = {key: entry.pop(key) for key in list(entry) if key in own}
    if "parts" not in entry:
        statements = {name: _build(Statement, where, {"says": entry.get("says"), **inline})}
    elif inline:
        raise RegisterError(f"{where}: '{next(iter(inline))}' belongs to the parts, not beside them")
    else:
        parts = entry.pop("parts")
        if not isinstance(parts, dict) or not all(re.fullmatch("[a-z]", str(part)) for part in parts):
            raise RegisterError(f"{where}: parts are named by one letter, a, b, c …")
        statements = {name + part: _build(Statement, f"{where}, part {part}", fields) for part, fields in parts.items()}
    return _build(Claim, where, {**entry, "id": name, "page": page, "statements": statements})


def load(folder: Path = FOLDER) -> dict[str, Claim]:
    """Every claim of the register by id, in the order of pages.

    Raises RegisterError with one sentence (file, claim, part, fault) for an unknown or missing field, a wrong
    value, a key given twice, or a claim declared on two pages.
    """
    return _load(folder)


@cache  # its argument is always given: a default would be cached beside the same folder
def _load(folder):
    claims = {}
    for path in sorted(folder.glob("*.yml")):
        if not re.fullmatch(r"\d\d[a-z]?", path.stem):
            raise RegisterError(f"{path.name}: a register file is named after its page, like 01a.yml")
        try:
            entries = yaml.load(path.read_text(encoding="utf-8"), _Loader) or {}
        except (yaml.YAMLError, RegisterError) as error:
            raise RegisterError(f"{path.name}: {' '.join(str(error).split())}") from None
        for name, entry in entries.items():
            if name in claims:
                raise RegisterError(f"{path.name}, {name}: already declared in {claims[name].page}.yml")
            claims[name] = _claim(path.stem, str(name), entry)
    return claims


def statements(page: str, folder: Path = FOLDER) -> dict[str, tuple[Claim, Statement]]:
    """What is judged on a page, by id ("C05" or "C03a"); RegisterError for a page without a register file."""
    if not (folder / f"{page}.yml").exists():
        pages = sorted(path.stem for path in folder.glob("*.yml"))
        raise RegisterError(f"page {page!r} is not in the register; the pages are {', '.join(pages)}")
    return {name: (claim, part) for claim in load(folder).values() if claim.page == page
            for name, part in claim.statements.items()}


if __name__ == "__main__":
    found = load()
    print(f"{len(found)} claims, {sum(len(claim.statements) for claim in found.values())} statements: the register is well formed")
