"""Bake files, read by us and by docker's buildx: what `bake --print` says must be the same."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engines import Installation

_PLUGINS = ("/usr/libexec/docker/cli-plugins/docker-buildx", "/usr/lib/docker/cli-plugins/docker-buildx")

GENERAL = """
variable "TAG" { default = "latest" }
variable "N" { default = 3 }
variable "DEBUG" { default = false }
variable "NONE" {}
function "named" {
  params = [a, b]
  variadic_params = more
  result = "${a}-${b}${join("+", more)}"
}
prefix = "of${N}"
group "default" { targets = ["a", "b", "inner"] }
group "inner" { targets = ["c"] }
target "a" {
  name = "a-${v}-${w.x}"
  matrix = {
    v = ["1", "2"]
    w = [{ x = 1 }, { x = "two" }]
  }
  tags = [named("x", TAG), named("x", TAG, "1", 2), notequal("", TAG) ? "q:${TAG}" : "", prefix, ""]
  args = {
    A = upper(TAG), "B-x" = null, C = "${N + 1}", D = N * 2.5, E = DEBUG, F = w.x
    G = NONE == null ? "null" : "not"
  }
  dockerfile-inline = <<EOT
FROM box
RUN echo "${TAG}" \\
  $${TAG} ${N > 2 ? "more" : "less"}
EOT
  labels = {
    n = N + 1
    m = target.b.tags[0]
    s = "a%{ if N > 1 }yes%{ else }no%{ endif }b"
    f = "%{ for x in ["p", "q"] }<${x}>%{ endfor }"
    esc = "tab\\t quote\\" $${kept} %%{kept} \\u00e9"
  }
  output = ["type=local,dest=out"]
  platforms = ["linux/amd64"]
}
target "b" {
  tags = ["b"]
  contexts = {
    x = "target:c"
    y = "docker-image://box"
  }
  secret = ["id=x,src=file"]
  no-cache = true
  cache-to = ["type=inline"]
  dockerfile-inline = <<-EOT
    FROM box
      RUN indented
    EOT
}
target "c" {
  inherits = ["d", "e"]
  context = "sub"
  dockerfile = "Other"
  args = { C = null, own = "1" }
}
target "d" {
  args = { C = "q", D = "r" }
  tags = ["d"]
  labels = { l = "d" }
}
target "e" {
  args = { D = "e" }
  tags = ["e"]
}
"""

# Expressions, each of which becomes a label.
EXPRESSIONS = """
1 + 2 * 3 - 4 / 2
(1 + 2) * 3 % 5
-5 % 3
!true || false
1 < 2 && 2 <= 2 && 3 > 2 && 3 >= 3
"a" == "a" && 1 != 2
1 == 1 ? "yes" : "no"
join(",", [for x in [1, 2, 3] : x * 2 if x > 1])
join(",", [for i, x in ["a", "b"] : "${i}${x}"])
join(",", keys({for k, v in {a = 1, b = 2} : upper(k) => v}))
join(",", [for k, v in {a = 1, b = 2} : "${k}${v}"])
join(",", {for x in ["a", "b", "a"] : x => "${x}1"...}.a)
join(",", [{n = "p"}, {n = "q"}][*].n)
{a = {"b c" = [1, 2]}}.a["b c"][1]
[1, 2, 3][1]
upper("abc")
lower("ABC")
title("hello world")
title("hello-world foo_bar o'neil x.y")
trimspace("  x ")
trim("xxaxx", "x")
trimprefix("v1.2", "v")
trimsuffix("a.tar", ".tar")
chomp("a\\n")
replace("1.2.3", ".", "-")
regex_replace("1.2.3", "([0-9])\\\\.", "$1_")
regex("[0-9]+", "ab12c3")
join(",", regexall("[0-9]", "a1b2"))
join(",", regex("([a-z]+)([0-9]+)", "ab12"))
split(",", "a,b")[1]
substr("hello", 1, 3)
substr("hello", -3, -1)
reverse("abc")
strlen("häß")
format("%s-%d %05d %.2f %t %q %%", "a", 3, 7, 1.5, true, "q")
join(",", formatlist("%s:%s", "r", ["1", "2"]))
indent(2, "a\\nb")
base64encode("hello")
base64decode("aGVsbG8=")
md5("x")
sha1("x")
sha256("x")
sha512("x")
urlencode("a b/c")
jsonencode({a = [1, true, null, "x"]})
jsonencode({"<k>" = "a & b \\u2028"})
format("%q %v", "<&>", {k = ">"})
jsondecode("{\\"a\\": 2}").a
csvdecode("a,b\\n1,2")[0].b
add(1, 2)
subtract(5, 2)
multiply(2, 3)
divide(9, 2)
modulo(7, 4)
negate(3)
absolute(-4)
ceil(1.2)
floor(1.8)
int(3.9)
max(1, 5, 3)
min(4, 2)
pow(2, 10)
signum(-3)
parseint("ff", 16)
and(true, false)
or(true, false)
not(true)
equal("a", "a")
notequal(1, 2)
greaterthan(2, 1)
lessthanorequalto(2, 1)
coalesce(null, "x", "y")
coalesce("", "b")
join(",", setunion(["b", "a"], ["c"]))
join(",", setunion([3, 1], [20]))
join(",", setintersection(["z", "b", "a"], ["b", "z"]))
join(",", setsymmetricdifference(["10", "9"], ["1"]))
jsonencode(setunion(["b"], ["a"]))
join(",", distinct(["b", "a", "b"]))
0.1 + 0.2
0.1 * 3
10 / 4
-7 % 3
1.5e-10
100000000000000000000 * 3
join(",", coalescelist([], ["x"]))
join(",", compact(["a", "", "b"]))
join(",", concat(["a"], ["b", "c"]))
contains(["a", "b"], "b")
join(",", distinct(["a", "b", "a"]))
element(["a", "b", "c"], 4)
join(",", flatten([["a"], ["b", ["c"]]]))
index(["a", "b"], 1)
lookup({a = "1"}, "b", "none")
merge({a = "1", b = "2"}, {b = "3"}).b
join(",", range(3))
join(",", range(1, 8, 3))
join(",", reverselist(["a", "b"]))
join(",", slice(["a", "b", "c"], 1, 3))
join(",", sort(["b", "a"]))
join(",", values({b = "2", a = "1"}))
zipmap(["a", "b"], [1, 2]).b
length(chunklist([1, 2, 3], 2))
length(setproduct(["a", "b"], ["1", "2"]))
join(",", setintersection(["a", "b"], ["b", "c"]))
length(setunion(["a"], ["b"], ["a"]))
formatdate("YYYY-MM-DD hh:mm:ss 'at' EEE, D MMM", "2026-01-02T03:04:05Z")
timeadd("2026-01-02T03:04:05Z", "36h")
uuidv5("dns", "example.com")
"""

COMPOSE = """
services:
  web.x:
    image: reg/web:${TAG:-1}
    build:
      context: ./web
      dockerfile: Other
      args: {A: "1", B: 2, C: "$$x ${NOPE-none} ${UL_SET:+set} ${UL_SET}"}
      labels: ["a=b", "c"]
      cache_from: [x]
      cache_to: [type=inline]
      target: t
      platforms: [linux/amd64, linux/arm64]
      secrets: [s1, s2]
      additional_contexts: {p: "docker-image://box"}
      ulimits: {nproc: {soft: 1, hard: 2}}
      x-bake:
        tags: ["another:foo"]
        platforms: [linux/arm64]
        cache-to: type=local,dest=q
        no-cache: true
  inline: {build: {dockerfile_inline: "FROM box\\nRUN echo $$x\\n"}}
  args: {build: {context: ., args: ["UL_SET", "Y=y", UL_UNSET]}, image: "n/a"}
  only: {image: box}
secrets: {s1: {file: ./file}, s2: {environment: E2}}
"""


def buildx() -> str:
    found = next((path for path in _PLUGINS if os.access(path, os.X_OK)), None)
    return found or pytest.skip("no docker-buildx")


def theirs(place: Path, *words: str, **environment: str) -> Any:
    done = subprocess.run(
        [buildx(), "bake", "--print", *words], cwd=place, env={**os.environ, **environment}, capture_output=True
    )
    return json.loads(done.stdout) if done.returncode == 0 else None


def ours(ul: Installation, place: Path, *words: str, **environment: str) -> Any:
    done = subprocess.run(
        [*ul.command, "buildx", "bake", "--print", *words],
        cwd=place,
        env={**ul.environment, **environment},
        capture_output=True,
    )
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return json.loads(done.stdout) if done.returncode == 0 else None


def ordered(value: Any) -> Any:
    """The buildx of Debian shows the services of compose files, and the targets of a matrix, in any order."""
    for group in value["group"].values() if value else ():
        group["targets"].sort()
    return value


@pytest.fixture
def ul(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    made = Installation(tmp_path_factory.mktemp("ours"))
    yield made
    made.clean()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    pytest.importorskip("hcl2")
    for name in ("sub", "web"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").write_text("secret")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "environment"),
    [
        ((), {}),
        (("c",), {}),
        (("inner", "a"), {}),
        (("a-1-two", "b"), {"TAG": "x", "N": "9", "DEBUG": "true"}),
        ((), {"N": "none"}),
        (("nowhere",), {}),
        (
            (
                "c",
                "--set",
                "c.args.X=1",
                "--set",
                "*.platform=linux/amd64,linux/arm64",
                "--set",
                "c.output=type=docker",
            ),
            {},
        ),
        (("b", "--set", "b.tags=1", "--set", "b.tags=2", "--set", "c.labels.a.b=c", "--set", "?.no-cache=false"), {}),
        (("c", "--set", "c.secrets=id=k,src=file", "--set", "c.target=t", "--set", "c.contexts.k=."), {}),
        (("c", "--set", "c.args=1"), {}),
        (("c", "--set", "c.colour=1"), {}),
        (("c", "--set", "*.args.FROM", "--set", "c.args.C", "--set", "c.args.UNSET"), {"FROM": "outside", "C": ""}),
        (("c", "--set", "c.context=./sub/../web/"), {}),
        (("c", "--set", "c.args.A+=1"), {}),
        (("c", "--set", "zz.tags=x"), {}),
        (("c", "--set", "z*.args.A=x"), {}),
        (("c", "--set", "b.tags=x"), {}),
        (("c", "--set", "c.labels.x"), {}),
    ],
)
def test_a_file(ul: Installation, place: Path, words: tuple[str, ...], environment: dict[str, str]) -> None:
    (place / "docker-bake.hcl").write_text(GENERAL)
    expected = theirs(place, *words, **environment)
    assert ordered(ours(ul, place, *words, **environment)) == ordered(expected)
    wrong = ("nowhere", "c.args=1", "c.colour=1", "zz.tags=x", "z*.args.A=x", "c.labels.x")
    assert (expected is None) == ("none" in environment.values() or words[-1:] in {(one,) for one in wrong})


def test_expressions(ul: Installation, place: Path) -> None:
    lines = EXPRESSIONS.strip().splitlines()
    attributes = "\n".join(f"    l{number} = {line}" for number, line in enumerate(lines))
    (place / "docker-bake.hcl").write_text(f'target "default" {{\n  labels = {{\n{attributes}\n  }}\n}}\n')
    expected, found = theirs(place), ours(ul, place)
    assert expected is not None and found is not None
    for number, line in enumerate(lines):
        name = f"l{number}"
        assert (line, found["target"]["default"]["labels"][name]) == (
            line,
            expected["target"]["default"]["labels"][name],
        )


def test_several_files(ul: Installation, place: Path) -> None:
    (place / "docker-bake.hcl").write_text(
        'variable "V" { default = "1" }\ntarget "default" {\n  args = {A = V}\n  tags = ["x"]\n}\n'
        'target "default" {\n  labels = {l = "1"}\n}\n'
    )
    more = {
        "variable": {"V": {"default": "2"}},
        "target": {"default": {"args": {"B": "${V}", "C": '${upper("c")}${V}'}}},
    }
    (place / "more.json").write_text(json.dumps(more))
    words = ("-f", "docker-bake.hcl", "-f", "more.json")
    expected = theirs(place, *words)
    assert ours(ul, place, *words) == expected and expected["target"]["default"]["args"] == {
        "A": "2",
        "B": "2",
        "C": "C2",
    }


@pytest.mark.parametrize(
    "context",
    ["./sub", "sub/", "./sub/../web", ".", "cwd://sub/", "https://example.com/a/../b.git", "./no/../such"],
)
def test_contexts(ul: Installation, place: Path, context: str) -> None:
    (place / "docker-bake.hcl").write_text(
        f'target "default" {{\n context = "{context}"\n contexts = {{a = "./sub/"}}\n dockerfile = "./D"\n}}\n'
    )
    assert ours(ul, place) == theirs(place)


def test_lists_of_blocks_in_json(ul: Installation, place: Path) -> None:
    blocks = {
        "group": [{"default": {"targets": ["a", "b"]}}],
        "target": [{"a": {"tags": ["${V}"]}}, {"b": [{"tags": ["y"]}, {"args": {"A": "1"}}]}],
        "variable": [{"V": [{"default": "v"}]}],
    }
    (place / "docker-bake.json").write_text(json.dumps(blocks))
    assert ours(ul, place) == theirs(place)


@pytest.mark.parametrize("words", [(), ("web_x",), ("args", "inline", "--set", "args.args.Z=z")])
def test_a_compose_file(ul: Installation, place: Path, words: tuple[str, ...]) -> None:
    (place / "compose.yaml").write_text(COMPOSE)
    (place / ".env").write_text('TAG="env"\nE2=1\n')
    variables = {"UL_SET": "is set", "E2": "1"}
    expected = theirs(place, *words, **variables)
    assert ordered(ours(ul, place, *words, **variables)) == ordered(expected)


@pytest.mark.parametrize(
    "text",
    [
        'target "default" { tags = [nope] }\n',
        'target "default" { tags = [ }\n',
        'target "default" {\n tags = ["${"]\n}\n',
        'target "default" { tags = [missing("x")] }\n',
        'target "default" { tags = "x" }\n',
        'target "default" { args = { A = [1] } }\n',
        'target "default" { inherits = ["none"] }\n',
        'target "default" { contexts = { a = "target:default" } }\n',
        'target "default" {\n matrix = { a = ["1", "2"] }\n name = "x"\n}\n',
        'a = b\nb = a\ntarget "default" { tags = [a] }\n',
        'variable "V" {\n default = 1\n}\ntarget "default" { tags = [V.x] }\n',
        'target "default" { labels = { a = substr("x") } }\n',
        "target {}\n",
    ],
)
def test_what_is_wrong_is_wrong_for_both(ul: Installation, place: Path, text: str) -> None:
    (place / "docker-bake.hcl").write_text(text)
    assert theirs(place) is None and ours(ul, place) is None
