"""Many small networks trained as one: settings × seeds of a Keras model in one compiled computation.

>>> settings = grid(seed=range(8), l2=[0, 1e-4, 1e-3])
>>> stack = Stack(build, settings)                  # build() returns an ordinary Keras model
>>> stack.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
>>> history = stack.fit(x, y, batch_size=32, epochs=60, validation_data=(x_val, y_val))
>>> results = stack.evaluate(x_test, y_test)

Each model takes the steps that Keras's own ``fit`` would take with the same weights and batches
(``tests/test_stacked_keras.py``).
"""

import os

# XLA takes vectors half as wide as the processor has, unless told; with all of AVX-512, random masks take half the
# time. What a user has set comes later in the line, and so wins. XLA reads this when it first compiles.
os.environ["XLA_FLAGS"] = f"--xla_cpu_prefer_vector_width=512 {os.environ.get('XLA_FLAGS', '')}".strip()

from .settings import SettingsError, grid  # noqa: E402
from .stack import DivergenceWarning, Stack  # noqa: E402

__all__ = ["DivergenceWarning", "SettingsError", "Stack", "grid"]
