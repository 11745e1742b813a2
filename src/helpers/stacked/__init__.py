"""Many small networks trained as one: settings × seeds of a Keras model in one compiled computation.

>>> settings = grid(seed=range(8), l2=[0, 1e-4, 1e-3])
>>> stack = Stack(build, settings)                  # build() returns an ordinary Keras model
>>> stack.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
>>> history = stack.fit(x, y, batch_size=32, epochs=60, validation_data=(x_val, y_val))
>>> results = stack.evaluate(x_test, y_test)

Each model takes the steps that Keras's own ``fit`` would take with the same weights and batches
(``tests/test_stacked_keras.py``).
"""

from .settings import SettingsError, grid
from .stack import DivergenceWarning, Stack

__all__ = ["DivergenceWarning", "SettingsError", "Stack", "grid"]
