"""What the pages of the book share; each module is one idea and can be read in one sitting."""

import gc

# TensorFlow and Sphinx make objects by the million, and nearly all of them stay. Looking through them for
# garbage as often as Python does by itself took 15 to 20 % of the time to import, trace and read pages.
gc.set_threshold(50_000, 10, 10)
