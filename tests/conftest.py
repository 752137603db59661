"""For all tests: hypothesis draws the same examples each time, and no test leaves a network on this host.

A run tells of the change and not of luck; HYPOTHESIS_PROFILE=default draws anew, for those who hunt. What several tests
share is in tests/support.
"""

from __future__ import annotations

import os

from hypothesis import settings

# Only tests that make a host of their own have networks: none is left on this one.
os.environ.setdefault("UNDERLAY_NETWORK", "none")
settings.register_profile("steady", derandomize=True, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))
