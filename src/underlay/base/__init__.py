"""What is under an image: its base, and what is known against it."""

from __future__ import annotations

import os

# Where the files lie that come with the code: the index of known builds, facts about kernels and releases.
DATA = os.path.dirname(os.path.abspath(__file__)) + "/data"
