"""Pages from templates. Everything that is put into one is escaped: names, labels and logs of images are hostile."""

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
    """Return a value as pages have it: control characters and those that turn the direction of writing stand as escapes."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return "".join(sign if sign.isprintable() or sign in "\n\t" else ascii(sign)[1:-1] for sign in value)


def _age(created: str) -> str:
    """Return how long ago a moment of RFC 3339 was, "" for none."""
    try:
        return human.age(human.parse_rfc3339(created)) if created else ""
    except ValueError:
        return ""


def _share(value: float) -> str:
    """Return a probability in percent; only what is certain is 100 %."""
    return f"{value if value >= 1 else min(value, 0.99):.0%}".replace("%", " %")


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
        share=_share,
        short=human.short_id,
        named=os.fsdecode,
        quoted=quote_from_bytes,
        pretty=lambda value: json.dumps(value, indent=2),
    )
    return made


def page(template: str, facts: Mapping[str, Any]) -> str:
    """Return a page as HTML: a template of this package with facts."""
    return _environment().get_template(template).render(facts)
