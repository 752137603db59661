"""Rules about devices: what they become for version 1's files, by a model of the kernel's, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_devices_bpf import RULE, allowed

from underlay.errors import InvalidInput, Unsupported
from underlay.linux.cgroup.devicerules import normal, v1_lines, v2_rules
from underlay.runtime.policy import profiles

READ, WRITE, MAKE = 2, 4, 1


class Kernel:
    """devices.allow and devices.deny as security/device_cgroup.c keeps them: a default and exact exceptions."""

    def __init__(self) -> None:
        self.default = True
        self.exceptions: dict[tuple[str, str, str], set[str]] = {}

    def write(self, name: str, line: str) -> None:
        allow = name == "devices.allow"
        if line == "a":
            self.default, self.exceptions = allow, {}
            return
        kind, numbers, access = line.split()
        key = (kind, *numbers.split(":"))
        if allow != self.default:
            self.exceptions.setdefault(key, set()).update(access)
        elif key in self.exceptions:
            self.exceptions[key] -= set(access)

    def allows(self, kind: int, access: int, major: int, minor: int) -> bool:
        wanted = {letter for letter, bit in (("r", READ), ("w", WRITE), ("m", MAKE)) if access & bit}
        for (name, one, two), held in self.exceptions.items():
            if name != {1: "b", 2: "c"}[kind] or one not in ("*", str(major)) or two not in ("*", str(minor)):
                continue
            # match_exception: all of it where exceptions allow; match_exception_partial: any of it where they refuse.
            if (not self.default and wanted <= held) or (self.default and wanted & held):
                return not self.default
        return self.default


@settings(max_examples=400, deadline=None)
@given(
    st.lists(RULE, max_size=8),
    st.lists(
        st.tuples(
            st.sampled_from([1, 2]),
            st.sampled_from([READ, WRITE, MAKE]),
            st.sampled_from([0, 1, 5, 9, 1 << 20]),
            st.sampled_from([0, 3, 7, 255]),
        ),
        min_size=1,
        max_size=10,
    ),
)
def test_version_1_answers_as_version_2(rules: list[dict], accesses: list[tuple[int, int, int, int]]) -> None:
    try:
        lines = v1_lines(rules)
    except Unsupported:
        return
    rules = normal(rules)  # `a` with a part of the accesses means that part
    kernel = Kernel()
    for name, line in lines:
        kernel.write(name, line)
    for access in accesses:
        # One kind of access at a time: several at once are a matter of single rules, by design of both.
        assert kernel.allows(*access) == allowed(rules, *access) == allowed(v2_rules(rules), *access), (access, lines)


def test_parts_of_an_access_are_put_together() -> None:
    rules = [{"allow": False}] + [
        {"allow": True, "type": "c", "major": 1, "minor": 3, "access": letter} for letter in "rw"
    ]
    assert v1_lines(rules) == [("devices.deny", "a"), ("devices.allow", "c 1:3 rw")]
    assert allowed(v2_rules(rules), 2, READ | WRITE, 1, 3)


def test_everything_is_never_meant_by_a_number() -> None:
    rule = {"allow": True, "major": 10, "minor": 229, "access": "rw"}
    assert v1_lines([{"allow": False}, rule]) == [
        ("devices.deny", "a"),
        ("devices.allow", "b 10:229 rw"),
        ("devices.allow", "c 10:229 rw"),
    ]
    assert v1_lines([{"allow": False, "access": "m"}, {"allow": True, "type": "a", "major": None, "minor": -1}]) == [
        ("devices.allow", "a")
    ]


def test_holes_are_refused_by_version_1_only() -> None:
    rules = [
        {"allow": False},
        {"allow": True, "type": "c", "major": 1},
        {"allow": False, "type": "c", "major": 1, "minor": 3, "access": "w"},
    ]
    with pytest.raises(Unsupported, match=r"c 1:3 w takes a part out of c 1:\* rwm"):
        v1_lines(rules)
    assert v2_rules(rules) == normal(rules)
    rules[2]["minor"] = None
    assert v1_lines(rules) == [("devices.deny", "a"), ("devices.allow", "c 1:* rm")]


def test_the_default_list_is_what_it_was() -> None:
    lines = v1_lines(profiles.device_rules())
    assert lines[0] == ("devices.deny", "a") and ("devices.allow", "c *:* m") in lines
    assert ("devices.allow", "c 1:3 rwm") in lines


@pytest.mark.parametrize(
    ("rule", "where"),
    [
        ({"allow": "yes"}, "[0].allow"),
        ({"allow": True, "type": "p"}, "[0].type"),
        ({"allow": True, "type": 5}, "[0].type"),
        ({"allow": True, "type": "c", "access": "rx"}, "[0].access"),
        ({"allow": True, "type": "c", "access": 7}, "[0].access"),
        ({"allow": True, "type": "c", "major": -2}, "[0].major"),
        ({"allow": True, "type": "c", "minor": "3"}, "[0].minor"),
        ({"allow": True, "type": "c", "minor": True}, "[0].minor"),
        ({"allow": True, "path": "/dev/null"}, "[0].path"),
        ("everything", "[0] is"),
    ],
)
def test_what_is_no_rule(rule: object, where: str) -> None:
    with pytest.raises((InvalidInput, Unsupported)) as caught:
        normal([rule])  # type: ignore[list-item]
    assert caught.value.message.startswith("linux.resources.devices" + where)
