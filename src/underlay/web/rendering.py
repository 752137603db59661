"""Pages from templates. All values are escaped: names, labels and logs of images may be hostile."""

from __future__ import annotations

import functools
import json
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_from_bytes

import jinja2
from markupsafe import Markup

from .. import human

if TYPE_CHECKING:
    from collections.abc import Mapping


def _shown(value: Any) -> Any:
    """Return a value for a page: of text, control characters and those that change the direction of writing are escaped."""
    return human.escaped(value, "\n\t") if isinstance(value, str) and not isinstance(value, Markup) else value


def _age(created: str) -> str:
    """Return how long ago an image was created, given as RFC 3339 text; "" if that is not known."""
    try:
        return human.age(human.parse_rfc3339(created)) if created else ""
    except ValueError:
        return ""


@functools.cache
def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__ or "underlay.web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    made.filters.update(
        size=human.size,
        age=_age,
        share=human.share,
        short=human.short_id,
        named=os.fsdecode,
        quoted=quote_from_bytes,
        pretty=lambda value: json.dumps(value, indent=2),
    )
    return made


def page(template: str, facts: Mapping[str, Any]) -> str:
    """Return the HTML of a template of this package with its variables `facts`; `is_static` omits scripts and forms."""
    return _environment().get_template(template).render({"is_static": False, "read_only": True, **facts})
