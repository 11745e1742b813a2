"""parameters: every wrong input meets one sentence, on every route into a page."""

import math
import os
import subprocess
import sys
import textwrap

import nbformat
import numpy as np
import pytest

from helpers import data, parameters
from helpers.parameters import COMMON, Bool, Float, Int, ListOf, OneOf, ParameterError

DECLARED = {
    **COMMON,
    "widths": ListOf(Int(1, 1024)),
    "label_noise": Float(ge=0, le=0.6),
    "learning_rate": Float(gt=0, lt=1),
    "steps": Int(ge=1),
    "place": OneOf("input", "hidden", "both"),
    "replace": Bool(),
}
GOOD = {
    "dataset": "digits", "seeds": 8, "epoch_scale": 1.0, "alpha": 0.05, "widths": [16, 64],
    "label_noise": 0.2, "learning_rate": 0.1, "steps": 3, "place": "hidden", "replace": False,
}
SEEDS, NOISE = "allowed is a whole number from 3 to 32", "allowed is a finite number from 0 to 0.6"
WIDTHS = "allowed is a list of at least one entry, each a whole number from 1 to 1024"
BAD = [
    ("dataset", "minst", "dataset is 'minst'; allowed is one of 'digits', 'mnist'; did you mean 'mnist'?"),
    ("dataset", "Digits", "allowed is one of 'digits', 'mnist'; did you mean 'digits'?"),
    ("dataset", "cifar10", "dataset is 'cifar10'; allowed is one of 'digits', 'mnist'."),
    ("dataset", "../shared/data", "allowed is one of"),
    ("dataset", "", "dataset is ''; allowed is one of"),
    ("dataset", None, "dataset is None; allowed is one of"),
    ("dataset", ["digits"], "dataset is ['digits']; allowed is one of"),
    ("dataset", 3, "dataset is 3; allowed is one of"),
    ("seeds", 2, f"seeds is 2; {SEEDS}."),
    ("seeds", 33, f"seeds is 33; {SEEDS}."),
    ("seeds", -8, SEEDS),
    ("seeds", 8.0, f"seeds is 8.0; {SEEDS}."),
    ("seeds", True, f"seeds is True; {SEEDS}."),
    ("seeds", "8", f"{SEEDS}; it came as text, so pass it with papermill -y 'seeds: 8'."),
    ("seeds", "eight", f"seeds is 'eight'; {SEEDS}."),
    ("seeds", [8], f"seeds is [8]; {SEEDS}."),
    ("seeds", None, f"seeds is None; {SEEDS}."),
    ("seeds", math.nan, f"seeds is nan; {SEEDS}."),
    ("seeds", np.int64(8), "seeds is np.int64(8)"),
    ("seeds", 10**300, "…; allowed is a whole number"),
    ("epoch_scale", 0, "epoch_scale is 0; allowed is a finite number from 0.1 to 3."),
    ("epoch_scale", 1e9, "allowed is a finite number from 0.1 to 3."),
    ("alpha", 0, "alpha is 0; allowed is a finite number, above 0 and at most 0.2."),
    ("alpha", 0.21, "allowed is a finite number, above 0 and at most 0.2."),
    ("alpha", math.nan, "alpha is nan; allowed is a finite number"),
    ("alpha", math.inf, "alpha is inf; allowed is a finite number"),
    ("alpha", "5%", "alpha is '5%'; allowed is a finite number, above 0 and at most 0.2."),
    ("label_noise", -0.1, f"label_noise is -0.1; {NOISE}."),
    ("label_noise", 20, f"label_noise is 20; {NOISE}."),
    ("label_noise", False, f"label_noise is False; {NOISE}."),
    ("label_noise", "0.2", f"{NOISE}; it came as text, so pass it with papermill -y 'label_noise: 0.2'."),
    ("label_noise", 1j, f"label_noise is 1j; {NOISE}."),
    ("learning_rate", 1, "learning_rate is 1; allowed is a finite number, above 0 and below 1."),
    ("learning_rate", -math.inf, "learning_rate is -inf"),
    ("steps", 0, "steps is 0; allowed is a whole number, at least 1."),
    ("widths", [], f"widths is []; {WIDTHS}."),
    ("widths", [16, 0], f"widths[1] is 0; {WIDTHS}."),
    ("widths", [16, 64.5], f"widths[1] is 64.5; {WIDTHS}."),
    ("widths", [16, "64"], f"widths[1] is '64'; {WIDTHS}."),
    ("widths", [True], f"widths[0] is True; {WIDTHS}."),
    ("widths", "[16, 64]", f"{WIDTHS}; it came as text, so pass it with papermill -y 'widths: [16, 64]'."),
    ("widths", 16, f"widths is 16; {WIDTHS}."),
    ("widths", {16: 64}, f"widths is {{16: 64}}; {WIDTHS}."),
    ("widths", [[16]], f"widths[0] is [16]; {WIDTHS}."),
    ("place", "hiden", "allowed is one of 'input', 'hidden', 'both'; did you mean 'hidden'?"),
    ("replace", 1, "replace is 1; allowed is True or False."),
    ("replace", "no", "replace is 'no'; allowed is True or False."),
    ("replace", "False", "it came as text, so pass it with papermill -y 'replace: False'."),
]


@pytest.mark.parametrize("name, value, sentence", BAD, ids=[f"{n}={v!r}"[:30] for n, v, _ in BAD])
def test_bad_value_is_refused_in_one_sentence(name, value, sentence):
    with pytest.raises(ParameterError) as error:
        parameters.check(GOOD | {name: value}, **DECLARED)
    text = str(error.value)
    assert sentence in text and text.startswith(name) and "\n" not in text and len(text) < 250


def test_good_values_come_back_in_order():
    assert vars(parameters.check(GOOD, **DECLARED)) == GOOD
    assert list(vars(parameters.check(GOOD, **DECLARED))) == list(DECLARED)


def test_a_whole_number_does_for_a_float():
    assert parameters.check({"label_noise": 0}, label_noise=Float(ge=0)).label_noise == 0.0


@pytest.mark.parametrize("name", list(DECLARED))
def test_missing_parameter(name):
    with pytest.raises(ParameterError, match=f"^{name} is missing: it has to be "):
        parameters.check({k: v for k, v in GOOD.items() if k != name}, **DECLARED)


def test_data_set_that_cannot_be_had(monkeypatch):
    def unavailable(name):
        raise data.DataUnavailable("no network")
    monkeypatch.setattr(data, "check_available", unavailable)
    with pytest.raises(ParameterError, match="dataset is 'mnist': no network"):
        parameters.check({"dataset": "mnist"}, dataset=COMMON["dataset"])


def test_ipython_shows_the_sentence_alone():
    assert ParameterError("seeds is 2.")._render_traceback_() == ["ParameterError: seeds is 2."]


# Unknown names -------------------------------------------------------------------------------

PAGE = "seeds: int = 8  # repetitions\nalpha: float = 0.05"
CALL = 'common = dict(**COMMON)\nparameters.check(globals(), seeds=COMMON["seeds"], alpha=COMMON["alpha"])'


def session(*cells):
    """Run cells as a kernel does; the sentence of the last one, or None if it passed."""
    namespace = {"In": [""], "parameters": parameters, "COMMON": COMMON}
    said = None
    for cell in cells:
        namespace["In"].append(cell)
        try:
            exec(compile(cell, "<cell>", "exec"), namespace)  # noqa: S102 – what a kernel does
            said = None
        except (ParameterError, SyntaxError) as error:
            said = str(error)
    return said


@pytest.mark.parametrize("cells, sentence", [
    ([PAGE, "# Parameters\nsedes = 9", CALL], "sedes is not a parameter of this page: did you mean seeds?"),
    ([PAGE, "# Parameters\nALPHA = 0.1", CALL], "ALPHA is not a parameter of this page: did you mean alpha?"),
    ([PAGE, "# Parameters\nzzz = 9", CALL], "zzz is not a parameter of this page: it has seeds, alpha."),
    ([PAGE + "\nseed: int = 4", CALL], "seed is not a parameter of this page: did you mean seeds?"),
    ([PAGE, "(seeds, apha) = (8, 0.1)", CALL], "apha is not"),
    (["sed: int = 8\nalpha: float = 0.05", CALL], "sed is not"),
    ([PAGE, CALL, "seeds = 9\nalhpa = 0.1", CALL], "alhpa is not"),  # set by hand on a later day
    ([PAGE, CALL, "import math\nx = 3", PAGE + "\nsedes = 3", CALL], "sedes is not"),
])
def test_unknown_name_is_refused(cells, sentence):
    assert session(*cells).startswith(sentence)


@pytest.mark.parametrize("cells", [
    [PAGE, CALL],
    [PAGE, "# Parameters\nseeds = 9", CALL],
    [PAGE + "\n_scratch = 3", CALL],
    [PAGE, CALL, "import math\nresult = math.pi\nn = 3", CALL],  # the check cell again, much later
    [PAGE, CALL, "n = 3", PAGE, CALL],  # run all, twice
    [PAGE + "\nsedes = 9", CALL, PAGE, CALL],  # a typo that was put right
    [PAGE, CALL, "seeds, model = 8, object()", CALL],  # the page's own use of a name
    ["x = 3", PAGE, CALL],  # tried out above the page
    [PAGE, "this is no Python", CALL],
])
def test_names_that_are_no_parameters_are_left_alone(cells):
    assert session(*cells) is None


def script(tmp_path, body):
    path = tmp_path / "page.py"
    path.write_text(textwrap.dedent(body))
    return subprocess.run([sys.executable, path], capture_output=True, text=True, check=False)


def test_script_with_an_unknown_name(tmp_path):
    for line in ("sedes: int = 9", "sedes = 9"):
        done = script(tmp_path, f"""\
            seeds: int = 8
            {line}
            from helpers import parameters
            parameters.check(globals(), seeds=parameters.COMMON["seeds"])
            """)
        assert done.returncode == 1
        assert "sedes is not a parameter of this page: did you mean seeds?" in done.stderr


def test_script_that_is_right(tmp_path):
    done = script(tmp_path, """\
        from helpers import parameters
        common = parameters.COMMON
        seeds: int = 8
        parameters.check(globals(), seeds=common["seeds"])
        import sys
        print("tensorflow" in sys.modules)
        """)
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr


# Through papermill ---------------------------------------------------------------------------

@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    cells = [
        nbformat.v4.new_code_cell(PAGE + '\ndataset: str = "digits"', metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(
            "import sys\nfrom helpers import parameters\nfrom helpers.parameters import COMMON\n"
            'used = {name: COMMON[name] for name in ("dataset", "seeds", "alpha")}\n'
            'try:\n    parameters.check(globals(), **used)\n'
            'finally:\n    print("TensorFlow:", "tensorflow" in sys.modules)'),
        nbformat.v4.new_code_cell("print('the page runs')"),
    ]
    spec = {"display_name": "Python 3", "language": "python", "name": "python3"}
    path = tmp_path_factory.mktemp("page") / "page.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": spec}), path)
    return path


def papermill(notebook, *options):
    out = notebook.with_name("out.ipynb")
    out.unlink(missing_ok=True)
    before = os.times()
    done = subprocess.run([sys.executable, "-m", "papermill", notebook, out, *options],
                          capture_output=True, text=True, check=False)
    after = os.times()  # processor time, since the machine may be busy with other tests
    seconds = sum(after[2:4]) - sum(before[2:4])
    return done, nbformat.read(out, 4), seconds


def test_papermill_runs_a_right_page(notebook):
    done, executed, _ = papermill(notebook, "-p", "seeds", "9")
    assert done.returncode == 0, done.stderr
    assert executed.cells[-1].outputs[0].text == "the page runs\n"


@pytest.mark.parametrize("options, sentence", [
    (["-p", "seeds", "2"], "seeds is 2; allowed is a whole number from 3 to 32."),
    (["-p", "sedes", "9"], "sedes is not a parameter of this page: did you mean seeds?"),
    (["-p", "dataset", "imagenet"], "dataset is 'imagenet'; allowed is one of 'digits', 'mnist'."),
    (["-y", "alpha: .nan"], "alpha is nan; allowed is a finite number, above 0 and at most 0.2."),
])
def test_papermill_stops_with_the_sentence(notebook, options, sentence):
    done, executed, seconds = papermill(notebook, *options)
    assert done.returncode != 0
    assert sentence in done.stderr
    outputs = [o for cell in executed.cells if cell.cell_type == "code" for o in cell.outputs]
    [error] = [o for o in outputs if o.output_type == "error"]
    assert error.evalue == sentence
    assert error.traceback == [f"ParameterError: {sentence}"]
    assert "TensorFlow: False\n" in [o.text for o in outputs if o.output_type == "stream"]
    assert not executed.cells[-1].outputs
    assert seconds < 5


def test_nbval_meets_the_sentence_too(notebook):
    page = nbformat.read(notebook, 4)
    page.cells[0].source += "\nsedes: int = 9"
    wrong = notebook.with_name("wrong.ipynb")
    nbformat.write(page, wrong)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-cell-timeout=60", "-p", "no:cacheprovider",
         "--rootdir", notebook.parent, notebook, wrong], capture_output=True, text=True, check=False)
    assert "sedes is not a parameter of this page: did you mean seeds?" in done.stdout
    assert "1 failed, 5 passed" in done.stdout
