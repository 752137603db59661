"""The device program of cgroup version 2, run by a small model of eBPF: the last rule that matches decides."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from underlay.linux.cgroup.devices import program
from underlay.runtime.policy import profiles

READ, WRITE, MAKE = 2, 4, 1
BLOCK, CHARACTER = 1, 2


def run(code: bytes, kind: int, access: int, major: int, minor: int) -> bool:
    """What the kernel would answer to one access (struct bpf_cgroup_dev_ctx)."""
    registers = [0] * 11
    context = {0: access << 16 | kind, 4: major, 8: minor}
    counter = 0
    for _ in range(len(code) // 8 + 1):
        word = code[8 * counter : 8 * counter + 8]
        operation, target, source = word[0], word[1] & 15, word[1] >> 4
        offset = int.from_bytes(word[2:4], "little", signed=True)
        number = int.from_bytes(word[4:8], "little", signed=True)
        counter += 1
        match operation:
            case 0x61:
                assert source == 1
                registers[target] = context[offset]
            case 0xB7:
                registers[target] = number
            case 0xBF:
                registers[target] = registers[source]
            case 0x57:
                registers[target] &= number
            case 0x77:
                registers[target] >>= number
            case 0x55:
                counter += offset if registers[target] != number else 0
            case 0x15:
                counter += offset if registers[target] == number else 0
            case 0x5D:
                counter += offset if registers[target] != registers[source] else 0
            case 0x95:
                return bool(registers[0])
            case _:
                raise AssertionError(f"unknown instruction {operation:#x}")
    raise AssertionError("the program does not end")


def allowed(rules: list[dict], kind: int, access: int, major: int, minor: int) -> bool:
    """The same from the rules themselves."""
    letters = {"r": READ, "w": WRITE, "m": MAKE}
    for rule in reversed(rules):
        if rule.get("type", "a") == "a":
            return rule["allow"]
        mask = sum(letters[letter] for letter in set(rule.get("access", "rwm")))
        fits = access & ~mask == 0 if rule["allow"] else access & mask != 0
        if (
            {"b": BLOCK, "c": CHARACTER}[rule["type"]] == kind
            and fits
            and rule.get("major", -1) in (-1, major)
            and rule.get("minor", -1) in (-1, minor)
        ):
            return rule["allow"]
    return False


RULE = st.fixed_dictionaries(
    {"allow": st.booleans(), "type": st.sampled_from(["a", "b", "c", "c", "b"])},
    optional={
        "access": st.sampled_from(["r", "w", "m", "rw", "rm", "wm", "rwm"]),
        "major": st.sampled_from([-1, 0, 1, 5, 1 << 20]),
        "minor": st.sampled_from([-1, 0, 3, 255]),
    },
)
ACCESS = st.tuples(
    st.sampled_from([BLOCK, CHARACTER]),
    st.integers(1, 7),
    st.sampled_from([0, 1, 5, 9, 1 << 20]),
    st.sampled_from([0, 3, 7, 255]),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(RULE, max_size=8), st.lists(ACCESS, min_size=1, max_size=10))
def test_the_last_matching_rule_decides(rules: list[dict], accesses: list[tuple[int, int, int, int]]) -> None:
    code = program(rules)
    for access in accesses:
        assert run(code, *access) == allowed(rules, *access), access


def test_no_rules_refuse_all() -> None:
    assert not run(program([]), CHARACTER, READ, 1, 3)


def test_the_default_list() -> None:
    code = program(profiles.device_rules())
    for minor in (3, 5, 7, 8, 9):
        assert run(code, CHARACTER, READ | WRITE, 1, minor)
    assert run(code, CHARACTER, READ | WRITE, 136, 44) and run(code, CHARACTER, READ | WRITE, 5, 2)
    # Nodes may be made, but not opened: the disk, the kernel's memory, FUSE.
    for kind, major, minor in ((BLOCK, 8, 0), (CHARACTER, 1, 1), (CHARACTER, 10, 229)):
        assert run(code, kind, MAKE, major, minor)
        for access in (READ, WRITE, READ | WRITE, READ | MAKE):
            assert not run(code, kind, access, major, minor)


def test_jumps_stay_inside() -> None:
    code = program(profiles.device_rules() + [{"allow": False, "type": "c", "major": 1, "minor": 3, "access": "w"}])
    count = len(code) // 8
    for position in range(count):
        word = code[8 * position : 8 * position + 8]
        if word[0] & 7 == 5 and word[0] != 0x95:
            assert 0 <= position + 1 + int.from_bytes(word[2:4], "little", signed=True) < count
    assert not run(code, CHARACTER, WRITE, 1, 3) and run(code, CHARACTER, READ, 1, 3)
