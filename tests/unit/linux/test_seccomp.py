"""The seccomp compiler against an interpreter of its own, against libseccomp, and the default profile's answers."""

from __future__ import annotations

import ctypes
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from underlay.errors import InvalidInput
from underlay.linux.security import capabilities, seccomp, tables
from underlay.runtime.policy import profiles

X86_64, I386, AARCH64 = 0xC000003E, 0x40000003, 0xC00000B7
ALLOW, ERRNO, KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
X32 = 0x40000000
NUMBERS = tables.numbers("x86_64")


def run(program: bytes, audit: int, number: int, arguments: tuple[int, ...] = ()) -> int:
    """A second model of the kernel's interpreter (bpf(4)), so that the first one need not be trusted."""
    data = number.to_bytes(4, "little") + audit.to_bytes(4, "little") + bytes(8)
    data += b"".join((value & (1 << 64) - 1).to_bytes(8, "little") for value in (*arguments, *[0] * 6)[:6])
    code = [program[at : at + 8] for at in range(0, len(program), 8)]
    accumulator, counter = 0, 0
    for _ in range(len(code) + 1):
        word = code[counter]
        operation, yes, no = int.from_bytes(word[:2], "little"), word[2], word[3]
        k = int.from_bytes(word[4:], "little")
        counter += 1
        match operation:
            case 0x06:
                return k
            case 0x20:
                accumulator = int.from_bytes(data[k : k + 4], "little")
            case 0x54:
                accumulator &= k
            case 0x05:
                counter += k
            case 0x15:
                counter += yes if accumulator == k else no
            case 0x25:
                counter += yes if accumulator > k else no
            case 0x35:
                counter += yes if accumulator >= k else no
            case _:
                raise AssertionError(f"unknown instruction {operation:#x}")
    raise AssertionError("the program does not end")


def meaning(operator: str, value: int, second: int, argument: int) -> bool:
    """What a comparison says, written down once more."""
    return {
        "NE": argument != value,
        "LT": argument < value,
        "LE": argument <= value,
        "EQ": argument == value,
        "GE": argument >= value,
        "GT": argument > value,
        "MASKED_EQ": argument & value == second,
    }[operator]


# Values at which 64-bit comparisons made of 32-bit ones go wrong.
EDGES = [0, 1, 2, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 32, (1 << 32) + 1, 5 << 32, 1 << 63, (1 << 64) - 1]
VALUES = st.one_of(st.sampled_from(EDGES), st.integers(0, (1 << 64) - 1))
OPERATORS = ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ")
NAMES = ("read", "write", "openat", "mmap", "kill", "ptrace", "personality", "bpf", "keyctl", "clone")
ARGUMENT = st.builds(
    lambda index, op, value, second: {
        "index": index,
        "op": "SCMP_CMP_" + op,
        "value": value,
        "valueTwo": second & value if op == "MASKED_EQ" else 0,
    },
    st.integers(0, 5),
    st.sampled_from(OPERATORS),
    VALUES,
    VALUES,
)
TESTS = st.lists(ARGUMENT, max_size=3, unique_by=lambda item: item["index"])
# One action a name: what two actions for one call mean libseccomp leaves to the order in which it adds them.
RULES = st.lists(st.tuples(st.sampled_from(NAMES), TESTS), min_size=1, max_size=12)
PROFILES = st.tuples(st.sampled_from(["SCMP_ACT_ERRNO", "SCMP_ACT_ALLOW"]), RULES)


def profile_of(made: tuple[str, list[tuple[str, list[dict]]]], architectures: list[str]) -> dict:
    default, rules = made
    actions = {name: ("SCMP_ACT_TRAP", "SCMP_ACT_LOG", "SCMP_ACT_KILL_PROCESS")[n % 3] for n, name in enumerate(NAMES)}
    return {
        "defaultAction": default,
        "architectures": architectures,
        "syscalls": [{"names": [name], "action": actions[name], "args": tests} for name, tests in rules],
    }


def interesting(profile: dict, more: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Argument lists around all values that the profile compares with."""
    found = [more, (0,) * 6]
    for rule in profile["syscalls"]:
        for test in rule["args"]:
            for value in (test["value"], test["value"] - 1, test["value"] + 1, test["valueTwo"], ~test["value"]):
                arguments = list(more)
                arguments[test["index"]] = value & (1 << 64) - 1
                found.append(tuple(arguments))
        # All tests of a rule satisfied at once, where equality does it.
        arguments = list(more)
        for test in rule["args"]:
            arguments[test["index"]] = test["valueTwo"] if test["op"].endswith("MASKED_EQ") else test["value"]
        found.append(tuple(arguments))
    return found


@settings(max_examples=120, deadline=None)
@given(PROFILES, st.tuples(*[VALUES] * 6))
def test_program_means_the_rules(made: tuple, more: tuple[int, ...]) -> None:
    profile = profile_of(made, ["SCMP_ARCH_X86_64"])
    program = seccomp.compile_filter(profile, "x86_64")
    default = seccomp.action_value(profile["defaultAction"], None, "")
    for arguments in interesting(profile, more):
        for name in (*NAMES, "getpid"):
            expected = default
            for rule in profile["syscalls"]:
                if rule["names"] == [name] and all(
                    meaning(t["op"].removeprefix("SCMP_CMP_"), t["value"], t["valueTwo"], arguments[t["index"]])
                    for t in rule["args"]
                ):
                    expected = seccomp.action_value(rule["action"], None, "")
            answer = run(program, X86_64, NUMBERS[name], arguments)
            assert answer == expected, (name, arguments)
            assert answer == seccomp.interpret(program, X86_64, NUMBERS[name], arguments)


class Comparison(ctypes.Structure):
    """struct scmp_arg_cmp of libseccomp."""

    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


class Libseccomp:
    """The library that container engines use, reduced to: these rules, please, as BPF."""

    TOKENS = {"SCMP_ARCH_X86_64": X86_64, "SCMP_ARCH_X86": I386, "SCMP_ARCH_X32": 0x4000003E}

    def __init__(self) -> None:
        try:
            self.library = ctypes.CDLL("libseccomp.so.2")
        except OSError:
            pytest.skip("no libseccomp.so.2 (package libseccomp2)")
        if os.uname().machine != "x86_64":
            pytest.skip("the oracle resolves names for x86_64")
        self.library.seccomp_init.restype = ctypes.c_void_p

    def compile(self, profile: dict) -> bytes:
        library = self.library
        context = ctypes.c_void_p(library.seccomp_init(seccomp.action_value(profile["defaultAction"], None, "")))
        try:
            for name in profile["architectures"]:
                if name != "SCMP_ARCH_X86_64":
                    assert library.seccomp_arch_add(context, self.TOKENS[name]) == 0
            for rule in profile["syscalls"]:
                tests = (Comparison * len(rule["args"]))(
                    *[
                        (t["index"], OPERATORS.index(t["op"].removeprefix("SCMP_CMP_")) + 1, t["value"], t["valueTwo"])
                        for t in rule["args"]
                    ]
                )
                action = seccomp.action_value(rule["action"], None, "")
                number = library.seccomp_syscall_resolve_name(rule["names"][0].encode())
                answer = library.seccomp_rule_add_array(context, action, number, len(tests), tests)
                assert answer in (0, -17), answer  # EEXIST: it holds already
            with tempfile.TemporaryFile() as file:
                assert library.seccomp_export_bpf(context, file.fileno()) == 0
                file.seek(0)
                return file.read()
        finally:
            library.seccomp_release(context)


def same(ours: int, theirs: int) -> bool:
    """Equal, or both deadly: a foreign architecture ends the thread with them, the process with us."""
    deadly = (0, KILL_PROCESS)
    return ours == theirs or (ours in deadly and theirs in deadly)


def alone(rules: list[tuple[str, list[dict]]]) -> list[tuple[str, list[dict]]]:
    """Only the first rule of each call, unless all of them are one equality each.

    libseccomp (2.6.0) merges other rules of one call wrongly. Two examples: a0 != 0 and a2 != 1, or a0 != 1 and a2 != 0,
    holds for it when both arguments are 0; a0 < 0, or a0 < 1 << 32, does not hold when a0 is 0. What our program means
    then, the test above says.
    """
    simple = {name for name, _ in rules} - {
        name for name, tests in rules if len(tests) != 1 or tests[0]["op"] != "SCMP_CMP_EQ"
    }
    first = {name: position for position, (name, _) in reversed(list(enumerate(rules)))}
    return [rule for n, rule in enumerate(rules) if rule[0] in simple or first[rule[0]] == n]


@pytest.mark.oracle
@settings(max_examples=150, deadline=None)
@given(PROFILES, st.tuples(*[VALUES] * 6))
def test_answers_are_libseccomps(made: tuple, more: tuple[int, ...]) -> None:
    oracle = Libseccomp()
    architectures = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    profile = profile_of((made[0], alone(made[1])), architectures)
    ours, theirs = seccomp.compile_filter(profile, "x86_64"), oracle.compile(profile)
    for abi, audit in (("x86_64", X86_64), ("x86", I386), ("x32", X86_64)):
        numbers = tables.numbers(abi)
        for arguments in interesting(profile, more):
            # libseccomp takes x32, too, for an ABI whose upper halves are always 0.
            values = arguments if abi == "x86_64" else tuple(a & 0xFFFFFFFF for a in arguments)
            for name in (*NAMES, "getpid"):
                if name in numbers:
                    mine, other = (run(p, audit, numbers[name], values) for p in (ours, theirs))
                    if abi != "x86_64" and mine != other and _wide(profile, name):
                        continue  # libseccomp leaves out comparisons of upper halves there
                    if mine != other and _tangled(profile, name):
                        continue  # its tree mixes the tests of such rules up; the plain meaning is tested above
                    assert same(mine, other), (abi, name, values)
    assert same(run(ours, AARCH64, 1), run(theirs, AARCH64, 1))


def _tangled(profile: dict, name: str) -> bool:
    rules = [rule for rule in profile["syscalls"] if rule["names"] == [name]]
    return len(rules) > 1 and any(len(rule["args"]) > 1 for rule in rules)


def _wide(profile: dict, name: str) -> bool:
    return any(
        t["value"] >> 32 or t["valueTwo"] >> 32 for r in profile["syscalls"] if r["names"] == [name] for t in r["args"]
    )


@pytest.mark.oracle
def test_x32_is_refused_where_it_is_not_listed_as_libseccomp_does() -> None:
    oracle = Libseccomp()
    # What is forbidden must not be had by its second number.
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": ["ptrace"], "action": "SCMP_ACT_TRAP", "args": []}],
    }
    ours, theirs = seccomp.compile_filter(profile, "x86_64"), oracle.compile(profile)
    for number in (NUMBERS["ptrace"] | X32, tables.numbers("x32")["ptrace"], X32, X32 + 1):
        assert run(ours, X86_64, number) != ALLOW
        assert same(run(ours, X86_64, number), run(theirs, X86_64, number))


def test_one_argument_tested_twice_means_either() -> None:
    tests = [{"index": 0, "op": "SCMP_CMP_EQ", "value": value, "valueTwo": 0} for value in (1, 2)]
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": tests}],
    }
    program = seccomp.compile_filter(profile, "x86_64")
    assert [run(program, X86_64, NUMBERS["kill"], (value,)) for value in (0, 1, 2, 3)] == [
        ALLOW,
        ERRNO | 1,
        ERRNO | 1,
        ALLOW,
    ]


def test_the_processors_own_calls_are_always_known() -> None:
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"], "syscalls": []}
    assert run(seccomp.compile_filter(profile, "x86_64"), X86_64, 0) == ALLOW


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"defaultAction": "SCMP_ACT_FLY"}, "linux.seccomp.defaultAction"),
        ({"syscalls": [{"names": ["read"], "action": "?"}]}, "linux.seccomp.syscalls[0]"),
        ({"syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW", "errnoRet": 3}]}, "linux.seccomp.syscalls[0]"),
        (
            {
                "syscalls": [
                    {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 6, "op": "SCMP_CMP_EQ"}]}
                ]
            },
            "linux.seccomp.syscalls[0].args",
        ),
        (
            {"syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "op": "LIKE"}]}]},
            "linux.seccomp.syscalls[0].args",
        ),
        ({"architectures": ["VAX"]}, "linux.seccomp.architectures"),
    ],
)
def test_refusals_carry_the_json_path(change: dict, where: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        seccomp.compile_filter({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [], **change}, "x86_64")
    assert caught.value.message.startswith(where)


# The default profile.


def default_program(*more: str, machine: str = "x86_64") -> bytes:
    profile = profiles.seccomp_profile([*profiles.CAPABILITIES, *more], machine, (6, 12))
    return seccomp.compile_filter(profile, machine)


DEFAULT = default_program()


def answer(name: str, *arguments: int, abi: str = "x86_64", program: bytes = DEFAULT) -> int:
    return run(program, I386 if abi == "x86" else X86_64, tables.numbers(abi)[name], arguments)


@pytest.mark.parametrize("abi", ["x86_64", "x32", "x86"])
def test_socket_families(abi: str) -> None:
    refused = {38: "AF_ALG", 40: "AF_VSOCK"}
    for family in range(64):
        assert (answer("socket", family, abi=abi) == ALLOW) == (family not in refused), (abi, family)
    # The kernel takes the family as an int: what stands in the upper half must not hide it.
    for family in refused:
        for upper in (1 << 32, 1 << 63, 0xFFFFFFFF << 32):
            assert answer("socket", family | upper, abi=abi) == ERRNO | 1


def test_socketcall_hides_families_and_does_not_exist() -> None:
    assert answer("socketcall", 1, abi="x86") == ERRNO | 38


def test_clone_flags() -> None:
    assert answer("clone", 0x11) == ALLOW  # fork
    assert answer("clone", 0x3D0F00) == ALLOW  # a thread
    for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert answer("clone", flag | 0x11) == ERRNO | 1, hex(flag)
        assert answer("clone", flag | 0x11, program=default_program("CAP_SYS_ADMIN")) == ALLOW
    # Its flags lie in memory that a filter cannot see: the C library falls back to clone.
    assert answer("clone3") == ERRNO | 38
    assert answer("clone3", program=default_program("CAP_SYS_ADMIN")) == ALLOW


def test_what_is_refused_and_what_is_not() -> None:
    for name in (
        "keyctl",
        "add_key",
        "io_uring_setup",
        "userfaultfd",
        "mount",
        "unshare",
        "setns",
        "bpf",
        "kexec_load",
    ):
        assert answer(name) == ERRNO | 1, name
    for name in ("read", "execve", "futex", "openat2", "chroot", "seccomp", "landlock_create_ruleset"):
        assert answer(name) == ALLOW, name
    assert answer("personality", 0x20008) == ALLOW and answer("personality", 0x40000) == ERRNO | 1
    for capability, name in (("CAP_SYS_ADMIN", "mount"), ("CAP_SYS_TIME", "settimeofday"), ("CAP_SYS_BOOT", "reboot")):
        assert answer(name, program=default_program(capability)) == ALLOW


def test_unknown_numbers_do_not_exist() -> None:
    for audit, number in ((X86_64, 2000), (X86_64, X32 + 2000), (I386, 2000), (X86_64, max(NUMBERS.values()) + 1)):
        assert run(DEFAULT, audit, number) == ERRNO | 38, hex(number)


def test_other_architectures_are_deadly() -> None:
    assert run(DEFAULT, AARCH64, 64) == KILL_PROCESS
    assert run(default_program(machine="aarch64"), X86_64, 0) == KILL_PROCESS


def test_size_and_depth() -> None:
    for program in (DEFAULT, default_program(machine="aarch64"), default_program("CAP_SYS_ADMIN", "CAP_BPF")):
        assert len(program) % 8 == 0 and len(program) // 8 < 1500
    every = [f"CAP_{name}" for name in capabilities.NAMES]
    assert len(default_program(*every)) // 8 <= 4096


def test_cached_filter_is_the_compiled_one(tmp_path) -> None:
    cache = str(tmp_path / "made" / "here")
    first = profiles.default_filter(list(profiles.CAPABILITIES), cache)
    assert profiles.default_filter(list(profiles.CAPABILITIES), cache) == first
    other = profiles.default_filter([], cache)
    assert other != first and len(os.listdir(cache)) == 2
    assert os.stat(cache).st_mode & 0o77 == 0


def test_a_cached_filter_that_another_can_have_written_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "seccomp"
    names = list(profiles.CAPABILITIES)
    right = profiles.default_filter(names, str(cache))
    [file] = cache.iterdir()
    file.write_bytes(b"permits all")
    assert profiles.default_filter(names, str(cache)) == b"permits all"  # what only we can have written
    file.chmod(0o666)
    assert profiles.default_filter(names, str(cache)) == right
    (tmp_path / "elsewhere").write_bytes(b"permits all")
    file.unlink()
    file.symlink_to(tmp_path / "elsewhere")
    assert profiles.default_filter(names, str(cache)) == right and not file.is_symlink()
    file.write_bytes(b"permits all")
    cache.chmod(0o777)
    assert profiles.default_filter(names, str(cache)) == right
    cache.chmod(0o700)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert profiles.default_filter(names, str(cache)) == right
