"""axe-core, which examines whether pages can be used by everyone; it is no part of this project and comes from npm."""

from __future__ import annotations

from chromium import Browser
from nodepackages import node_packages

PACKAGE = "axe-core@4.14.1"
_RUN = """
const done = arguments[arguments.length - 1];
axe.run(document, {resultTypes: ['violations']}).then(
    result => done(result.violations.filter(rule => ['serious', 'critical'].includes(rule.impact)).map(rule =>
        `${rule.id}: ${rule.help}: ` + rule.nodes.slice(0, 5).map(
            node => `${node.target} ${node.any.concat(node.all, node.none).map(check => check.message)}`).join('; '))),
    error => done([String(error)]));
"""


def axe_source() -> str:
    """Return the source of axe-core; skips the test where it cannot be had."""
    return (node_packages("axe", PACKAGE) / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


def barriers(browser: Browser, source: str) -> list[str]:
    """Return a line for each serious or critical violation in the page that is open."""
    browser.run(f"if (!window.axe) {{ {source} }}")
    return [str(line) for line in browser.driver.execute_async_script(_RUN)]
