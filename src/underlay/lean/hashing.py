"""SHA-256 of short texts, for which OpenSSL need not be loaded: that takes longer than a thousand of them.

The interpreter brings the function that hashlib falls back to; where it does not, hashlib does the work
(docs/decisions/0003-imports.md).
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hashlib import sha256
else:
    try:
        if sys.version_info >= (3, 12):
            from _sha2 import sha256
        else:
            from _sha256 import sha256
    except ImportError:
        from hashlib import sha256

__all__ = ["sha256"]
