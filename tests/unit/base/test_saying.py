"""Steps of histories, as builders have written them, and the instructions that they were."""

from __future__ import annotations

import pytest

from underlay.base.dockerfile.history_parser import ParsedStep, StepContext, read, run_with, word_of

NOP = "/bin/sh -c #(nop) "
DIGEST = "0123456789abcdef" * 4


def step_context(**members: object) -> StepContext:
    made = StepContext()
    for name, value in members.items():
        setattr(made, name, value)
    return made


def text(created_by: str, **members: object) -> str:
    return read(created_by, step_context(**members)).text


CLASSIC = [
    (NOP + ' CMD ["bash"]', 'CMD ["bash"]'),
    (NOP + "CMD []", "CMD []"),
    (NOP + ' CMD ["/bin/sh" "-c" "echo \\"$x\\"\\ttab"]', 'CMD ["/bin/sh","-c","echo \\"$x\\"\\ttab"]'),
    (NOP + ' ENTRYPOINT ["a" "b c"]', 'ENTRYPOINT ["a","b c"]'),
    (NOP + ' ENTRYPOINT &{["/entry.sh"]}', 'ENTRYPOINT ["/entry.sh"]'),
    (NOP + " ENV A=b c=d", "ENV A=b c=d"),
    (NOP + " ENV PATH=/a:/usr/bin", "ENV PATH=/a:/usr/bin"),
    (NOP + " ENV OLD value with words", "ENV OLD value with words"),
    (NOP + " EXPOSE 80/tcp", "EXPOSE 80/tcp"),
    (NOP + " EXPOSE 443/tcp 80/tcp", "EXPOSE 443/tcp 80/tcp"),
    (NOP + " EXPOSE map[80/tcp:{} 53/udp:{}]", "EXPOSE 80/tcp 53/udp"),
    (NOP + " VOLUME [/data]", 'VOLUME ["/data"]'),
    (NOP + " VOLUME [/data /var/lib/x]", 'VOLUME ["/data","/var/lib/x"]'),
    (NOP + " USER app", "USER app"),
    (NOP + "USER", 'USER ""'),
    ("/bin/sh -c echo \x1b[2J", 'RUN ["/bin/sh","-c","echo \\u001b[2J"]'),
    (NOP + "LABEL a=\x1b[2J", ""),
    (NOP + " WORKDIR /srv/app", "WORKDIR /srv/app"),
    (NOP + " STOPSIGNAL SIGQUIT", "STOPSIGNAL SIGQUIT"),
    (NOP + " STOPSIGNAL [SIGTERM]", "STOPSIGNAL SIGTERM"),
    (
        NOP + " MAINTAINER NGINX Docker Maintainers <d@example.com>",
        "MAINTAINER NGINX Docker Maintainers <d@example.com>",
    ),
    (NOP + " LABEL maintainer=Somebody <s@example.com>", 'LABEL maintainer="Somebody <s@example.com>"'),
    (NOP + " SHELL [/bin/bash -o pipefail -c]", 'SHELL ["/bin/bash","-o","pipefail","-c"]'),
    (NOP + " ARG VERSION=1.2", "ARG VERSION=1.2"),
    (NOP + " ARG VERSION", "ARG VERSION"),
    (NOP + " ONBUILD COPY . /usr/src/app", "ONBUILD COPY . /usr/src/app"),
    (NOP + " ONBUILD RUN npm install", "ONBUILD RUN npm install"),
    (
        NOP + ' HEALTHCHECK &{["CMD-SHELL" "curl -f http://x/[a]/ || exit 1"] "30s" "3s" "0s" \'\\x03\'}',
        "HEALTHCHECK --interval=30s --timeout=3s --retries=3 CMD curl -f http://x/[a]/ || exit 1",
    ),
    (NOP + ' HEALTHCHECK &{["NONE"] "0s" "0s" "0s" \'\\x00\'}', "HEALTHCHECK NONE"),
    ("/bin/sh -c apt-get update", "RUN apt-get update"),
    ("/bin/sh -c set -x \t&& make \t&& make install", "RUN set -x \t&& make \t&& make install"),
    ("|2 A=1 B=x y /bin/sh -c echo $A $B", "RUN echo $A $B"),
    ("|0 /bin/sh -c true", "RUN true"),
    ("/bin/ash -eo pipefail -c true", 'RUN ["/bin/ash","-eo","pipefail","-c","true"]'),
]

BUILDKIT = [
    ("RUN /bin/sh -c make # buildkit", "RUN make"),
    ("RUN |1 V=2 /bin/sh -c echo $V # buildkit", "RUN echo $V"),
    ("RUN make install # buildkit", 'RUN ["make","install"]'),
    ("RUN /bin/sh -c echo a\necho b\n # buildkit", "RUN <<'EOF'\necho a\necho b\nEOF"),
    ("RUN /bin/sh -c cat <<EOF > /a\nx\nEOF # buildkit", "RUN <<'EOF0'\ncat <<EOF > /a\nx\nEOF\nEOF0"),
    ("RUN /bin/sh -c #!/bin/sh\ntrue # buildkit", 'RUN ["/bin/sh","-c","#!/bin/sh\\ntrue"]'),
    ("RUN /bin/sh -c echo \\ # buildkit", "RUN <<'EOF'\necho \\\nEOF"),
    ("RUN /bin/sh -c --mount=type=cache # buildkit", "RUN <<'EOF'\n--mount=type=cache\nEOF"),
    ('RUN /bin/sh -c ["x"] # buildkit', "RUN <<'EOF'\n[\"x\"]\nEOF"),
    ("COPY /x /y # buildkit", "COPY /x /y"),
    ("COPY a b /dest/ # buildkit", "COPY a b /dest/"),
    ("COPY --chown=app:app --chmod=755 a b /dest # buildkit", "COPY --chown=app:app --chmod=755 a b /dest"),
    ("COPY $x /dest # buildkit", 'COPY ["\\\\$x","/dest"]'),
    ("COPY <<EOF f /many/ # buildkit", "COPY EOF f /many/"),
    ("ADD rootfs.tar.xz / # buildkit", "ADD rootfs.tar.xz /"),
    ("WORKDIR /x", "WORKDIR /x"),
    ("WORKDIR /with space", "WORKDIR /with space"),
    ('CMD ["node" "a b.js"]', 'CMD ["node","a b.js"]'),
    ("EXPOSE map[80/tcp:{}]", "EXPOSE 80/tcp"),
    ("EXPOSE [80/tcp 443/tcp]", "EXPOSE 80/tcp 443/tcp"),
    (
        'HEALTHCHECK &{["CMD-SHELL" "a || b"] "30s" "3s" "0s" "0s" \'\\x03\'}',
        "HEALTHCHECK --interval=30s --timeout=3s --retries=3 CMD a || b",
    ),
    (
        'HEALTHCHECK &{["CMD" "a" "b c"] "1m30s" "0s" "5s" "1s" \'\\n\'}',
        'HEALTHCHECK --interval=1m30s --start-period=5s --start-interval=1s --retries=10 CMD ["a","b c"]',
    ),
    (
        'HEALTHCHECK &{["CMD-SHELL" "a\\nb"] "0s" "0s" "0s" "0s" \'d\'}',
        'HEALTHCHECK --retries=100 CMD ["/bin/sh","-c","a\\nb"]',
    ),
]

WRITTEN = [  # by buildah and kaniko: as the Dockerfile has it
    ("RUN apt-get update && apt-get install -y curl", "RUN apt-get update && apt-get install -y curl"),
    ('RUN ["make", "all"]', 'RUN ["make", "all"]'),
    ("COPY . /app", "COPY . /app"),
    ("COPY --from=builder /out /app", "COPY --from=builder /out /app"),
    ('CMD ["node", "server.js"]', 'CMD ["node","server.js"]'),
    ("CMD node server.js", "CMD node server.js"),
    ("ENTRYPOINT exec top -b", "ENTRYPOINT exec top -b"),
    ("HEALTHCHECK --interval=5s CMD curl x", "HEALTHCHECK --interval=5s CMD curl x"),
    ("EXPOSE 8080", "EXPOSE 8080"),
    ("VOLUME /data", 'VOLUME ["/data"]'),
    (NOP + 'LABEL a="b c" d=e', 'LABEL a="b c" d=e'),
    (NOP + 'WORKDIR "/with space"', 'WORKDIR "/with space"'),
    ("env A=1", "ENV A=1"),
]


@pytest.mark.parametrize(("created_by", "wanted"), [*CLASSIC, *BUILDKIT, *WRITTEN])
def test_forms(created_by: str, wanted: str) -> None:
    assert text(created_by) == wanted


@pytest.mark.parametrize(
    ("created_by", "wanted"),
    [
        (f"{NOP}COPY file:{DIGEST} in /x ", ("COPY", "file", "/x", "COPY file /x")),
        (f"{NOP}COPY dir:{DIGEST} in /x ", ("COPY", "dir", "/x", "COPY directory /x")),
        (f"{NOP} ADD multi:{DIGEST} in /x/ ", ("ADD", "multi", "/x/", "ADD files/ /x/")),
        (f"ADD file:{DIGEST} in / ", ("ADD", "file", "/", "ADD file /")),
        (f"{NOP}COPY file:{DIGEST} in /with space ", ("COPY", "file", "/with space", 'COPY ["file","/with space"]')),
    ],
)
def test_sources_that_are_lost(created_by: str, wanted: tuple[str, ...]) -> None:
    said = read(created_by)
    assert (said.word, said.sources, said.target, said.text) == wanted
    assert said.doubt == "the names of its sources are lost"


@pytest.mark.parametrize(
    ("created_by", "told", "doubt"),
    [
        ("", "", "no step for this layer"),
        ("/bin/bash", "/bin/bash", "not a step"),  # docker commit
        ("bash", "bash", "not a step"),
        ("umoci raw add-layer --image x rootfs.tar", "umoci raw add-layer --image x rootfs.tar", "not a step"),
        ("bazel build ...", "bazel build ...", "not a step"),
        ("nixpacks", "nixpacks", "not a step"),
        ("# debian.sh --arch 'amd64' out/ 'trixie'", "# debian.sh --arch 'amd64' out/ 'trixie'", "not a step"),
        (NOP, NOP.strip(), "not a step"),
        (NOP + "FROM x", (NOP + "FROM x"), "not a step"),
    ],
)
def test_what_is_no_step(created_by: str, told: str, doubt: str) -> None:
    said = read(created_by)
    assert (said.word, said.text, said.history_text) == ("", "", told)
    assert doubt in said.doubt


@pytest.mark.parametrize(
    ("created_by", "doubt"),
    [
        ("RUN make install # buildkit", "exec form"),
        ("RUN /bin/sh -c /dev/pipes/EOF # buildkit", "script of its own"),
        ("RUN /bin/sh -c cat /run/secrets/key # buildkit", "secret"),
        ("COPY <<EOF /x # buildkit", "here-document"),
        ("COPY --from=builder /a /b", "copied from builder"),
        ("|1 A=b c", "build arguments"),
        (NOP + "ENV A=b\nRUN evil", "cannot be written"),
        (NOP + 'HEALTHCHECK &{["CMD', "cannot be read"),
        (NOP + "SHELL [/bin/my shell -c]", "words end is guessed"),
        (NOP + "LABEL x=" + "y" * 70_000, "longer"),
        (NOP + "ONBUILD FROM x", "cannot be written"),
    ],
)
def test_doubts(created_by: str, doubt: str) -> None:
    assert doubt in read(created_by).doubt


@pytest.mark.parametrize("each", [each for form in (CLASSIC, BUILDKIT[:2], WRITTEN) for each in form])
def test_what_is_certain(each: tuple[str, str]) -> None:
    said = read(each[0])
    guessed = any(word in each[0] for word in ("/bin/ash", "SHELL [", "VOLUME [/data /", "--from", "a=\x1b"))
    assert bool(said.doubt) is guessed, said.doubt


# What is known beside a step


def test_names_part_pairs() -> None:
    env = {"A": "b", "c": "d"}
    assert text("ENV A=b c=d", env=env) == "ENV A=b c=d"
    assert text("ENV A=old c=d e=f", env=env, expanded=True) == 'ENV A=old c="d e=f"'
    assert text("ENV A=x c=y", env={"A": "x c=y"}, expanded=True) == 'ENV A="x c=y"'
    labels = {"c d": "e", "f": "$x"}
    assert text("LABEL c d=e f=$x", labels=labels, expanded=True) == 'LABEL "c d"=e f="\\$x"'
    assert (
        read("LABEL a=1 b=2", step_context(labels={"z": "1"}, expanded=True)).doubt == "where its values end is guessed"
    )


def test_values_tell_whether_variables_were_replaced() -> None:
    known = {"env": {"P": "/a/b"}, "variables": {"X": "/a"}}
    assert text("ENV P=$X/b", **known) == "ENV P=$X/b"
    assert text("ENV P=$X/b", **{**known, "env": {"P": "$X/b"}}) == 'ENV P="\\$X/b"'
    assert text("WORKDIR $X/w", **known) == "WORKDIR $X/w"
    assert text("WORKDIR $X/w", **known, expanded=True) == 'WORKDIR "\\$X/w"'
    assert text("WORKDIR $Y/w", **known) == 'WORKDIR "\\$Y/w"'


def test_commands_are_parted_as_the_image_has_them() -> None:
    known = [["/bin/my shell", "-c"]]
    assert read(NOP + "SHELL [/bin/my shell -c]", step_context(commands=known)).doubt == ""
    assert text(NOP + "SHELL [/bin/my shell -c]", commands=known) == 'SHELL ["/bin/my shell","-c"]'


def test_volumes_with_spaces() -> None:
    assert text("VOLUME [/x y /z]", volumes=["/x y", "/z"]) == 'VOLUME ["/x y","/z"]'


def test_the_shell_in_force() -> None:
    shell = ["/bin/bash", "-o", "pipefail", "-c"]
    said = read("RUN /bin/bash -o pipefail -c a | b # buildkit", step_context(shell=shell))
    assert (said.text, said.doubt) == ("RUN a | b", "")
    assert text("RUN |1 A=1 /bin/bash -o pipefail -c a | b # buildkit", shell=shell) == "RUN a | b"
    assert text("RUN /bin/sh -c a # buildkit", shell=shell) == 'RUN ["/bin/sh","-c","a"]'


def test_build_arguments() -> None:
    said = read("RUN |2 A=1 B=x y /bin/sh -c echo # buildkit")
    assert said.given == {"A": "1", "B": "x y"}
    known = {"a": "1", "b": "two c=3", "c": None}
    said = read("RUN |3 a=1 b=two c=3 c= /bin/sh -c echo # buildkit", step_context(arguments=known))
    assert (said.text, said.given, said.doubt) == ("RUN echo", {}, "")
    said = read("# ARGS: A=1 B=2\nRUN make")
    assert (said.text, said.given) == ("RUN make", {"A": "1", "B": "2"})
    assert run_with("|2 A=1 B=x y /bin/sh -c echo") == ["A", "B"]
    assert run_with("RUN /bin/sh -c A=1 make") == []
    assert text("ARG a=1 b=two words c", names={"a", "b", "c"}) == 'ARG a=1 b="two words" c'
    assert text("ARG a=1 b=two words", names={"a", "b"}) == 'ARG a=1 b="two words"'
    assert read("ARG a=two words").doubt == "where its values end is guessed"


@pytest.mark.parametrize(
    ("created_by", "word"),
    [
        (NOP + " CMD x", "CMD"),
        ("copy a b", "COPY"),
        ("/bin/sh -c x", "RUN"),
        ("|1 A=b make", "RUN"),
        ("x", ""),
        ("", ""),
    ],
)
def test_words(created_by: str, word: str) -> None:
    assert word_of(created_by) == word


def test_letters_that_are_none() -> None:
    said: ParsedStep = read("RUN echo \ud800 > /x")
    said.text.encode()
    assert said.text == "RUN echo ? > /x"
