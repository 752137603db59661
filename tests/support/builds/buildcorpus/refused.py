"""Dockerfiles that nobody builds: wrong in the language, or a step of theirs cannot be done; and what we alone refuse."""

from __future__ import annotations

from .cases import Case, link

CASES = (
    Case("no such file", "FROM box\nCOPY none /\n"),
    Case("no such file in a stage", "FROM box AS a\nFROM box\nCOPY --from=a /none /\n"),
    Case("ignored file", "FROM box\nCOPY f /\n", {"f": "f", ".dockerignore": "f\n"}),
    Case("file into a file", "FROM box\nCOPY f /data/seed/x\n", {"f": "f"}),
    Case("directory onto a file", "FROM box\nCOPY d /data/seed\n", {"d/f": "f"}),
    Case("directory that is a file", "FROM box\nWORKDIR /data/seed\nRUN true\n"),
    Case("link out of the context", "FROM box\nCOPY l/passwd /\n", {"l": link("/etc")}),
    Case("unknown user", "FROM box\nUSER nobody\nRUN true\n"),
    Case("program that fails", "FROM box\nRUN exit 3\n"),
    Case("program that is not there", 'FROM box\nRUN ["/none"]\n'),
    Case("later stage", "FROM box AS a\nCOPY --from=b /data /x\nFROM box AS b\n", flags=("--target=a",)),
    Case("own stage", "FROM box AS a\nCOPY --from=a /data /x\n"),
    Case("unknown target", "FROM box AS a\n", flags=("--target=b",)),
    Case("required secret", "FROM box\nRUN --mount=type=secret,id=none,required=true true\n"),
    Case("bind of nothing", "FROM box\nRUN --mount=type=bind,source=none,target=/x true\n"),
    Case("unset variable wanted", "FROM box\nENV a=${b:?must be}\n"),
    Case("blank base", "ARG base\nFROM $base\n"),
    Case("instruction before FROM", "RUN true\nFROM box\n"),
    Case("unknown instruction", "FROM box\nDO this\n"),
    Case("unknown flag", "FROM box\nCOPY --none f /\n", {"f": "f"}),
    Case("unknown signal", "FROM box\nSTOPSIGNAL SIGNONE\n"),
    Case("no port", "FROM box\nEXPOSE none\n"),
    Case("trigger of FROM", "FROM box\nONBUILD FROM box\n"),
    Case("trigger of a trigger", "FROM box\nONBUILD ONBUILD RUN true\n"),
    Case("healthcheck of nothing", "FROM box\nHEALTHCHECK CMD\n"),
    Case("healthcheck of a strange kind", "FROM box\nHEALTHCHECK SOMETIMES x\n"),
    Case("shell in words", "FROM box\nSHELL /bin/sh -c\n"),
    Case("variable in --from", "FROM box\nARG a=box\nCOPY --from=$a /data /x\n"),
    Case("stage with a bad name", "FROM box AS 1st\n"),
)

# BuildKit makes of this what nobody can mean: the last of the files under the name.
BY_US = (Case("files to no directory", "FROM box\nCOPY f g /x\n", {"f": "f", "g": "g"}),)
