"""JUnit's XML, as build servers read it: each vulnerability of a package is a test that failed."""

from __future__ import annotations

import re
from xml.sax.saxutils import escape, quoteattr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..exposure import Exposed, Exposure

# What XML 1.0 has no way to write.
_NO_CHARACTER = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write(exposure: Exposure, created: str) -> str:
    """Return the document. What is ignored is a test that was skipped; an image without findings has one that passed."""
    failed, skipped = len(exposure.findings), len(exposure.ignored)
    tests = failed + skipped or 1
    counts = f'tests="{tests}" failures="{failed}" errors="0" skipped="{skipped}"'
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuites {counts} time="0">',
        f'<testsuite name={_attribute(exposure.image)} {counts} time="0" timestamp="{created[:19]}">',
    ]
    lines += [_case(exposure, finding) for finding in [*exposure.findings, *exposure.ignored]]
    if not failed + skipped:
        checked = f"{exposure.checked} packages"
        lines.append(f'<testcase classname={_attribute(exposure.image)} name={_attribute(checked)} time="0"/>')
    notes = [*(f"not checked: {gap}" for gap in exposure.gaps), *exposure.notes]
    if notes:
        lines.append(f"<system-err>{_text(chr(10).join(notes))}</system-err>")
    lines += ["</testsuite>", "</testsuites>"]
    return "\n".join(lines)


def _case(exposure: Exposure, finding: Exposed) -> str:
    what = f"{finding.package} {finding.version}"
    head = f'<testcase classname={_attribute(what)} name={_attribute(f"{finding.id} ({finding.severity})")} time="0">'
    if finding.status:
        return f"{head}<skipped message={_attribute(finding.because)}/></testcase>"
    whose = {"base": f"from the base {exposure.base}", "yours": "yours"}.get(finding.origin, "")
    mend = f"fixed in {finding.fixed}" if finding.fixed else "no fix is known"
    message = ", ".join(filter(None, (mend, whose)))
    body = "\n".join([finding.summary, *finding.purls, *(f"/{path}" for path in finding.paths)]).strip()
    failure = f"<failure type={_attribute(finding.severity)} message={_attribute(message)}>{_text(body)}</failure>"
    return f"{head}{failure}</testcase>"


def _attribute(text: str) -> str:
    return quoteattr(_NO_CHARACTER.sub("\ufffd", text))


def _text(text: str) -> str:
    return escape(_NO_CHARACTER.sub("\ufffd", text))
