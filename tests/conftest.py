"""What all tests share: the checkout's folders, and the settings the workflow gives to kernels."""

import os
import sys
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "workflow"))

from execute import SETTINGS  # noqa: E402

os.environ.update(SETTINGS)  # notebooks under nbval run as they do in the book
hypothesis.settings.register_profile("book", deadline=None)  # a busy machine is no fault of the mathematics
hypothesis.settings.load_profile("book")
if data := os.environ.get("REGULARIZATION_DATA"):
    os.environ["REGULARIZATION_DATA"] = str(Path(data).resolve())


@pytest.fixture(scope="session")
def root():
    """The folder of the checkout."""
    return ROOT
