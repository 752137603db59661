"""Cases about the language itself: directives, lines, heredocs, stages, arguments and variables."""

from __future__ import annotations

from .cases import Case

CASES = (
    Case(
        "escape directive",
        "# escape=`\n"
        "# check=skip=all\n"
        "FROM box\n"
        "ENV a=b`\n"
        "c d=x\\y e=`$a\n"
        "RUN echo a `\n"
        "  # comment\n"
        "\n"
        "  b > /out\n"
        "COPY f `\n"
        "  /f\n",
        {"f": "1"},
    ),
    Case(
        "lines",
        "\n"
        "  # first\n"
        "\n"
        "   FROM box\n"
        "\tRUN echo one \\\n"
        "# comment\n"
        "   # indented comment\n"
        "   two \\\n"
        "\n"
        "   three > /out\n"
        "run echo \\\\ > /slash # no comment\n"
        "ENV a=1 \\\n"
        "    # why\n"
        "    b=2\n"
        "LABEL x=y \\\n"
        ' z="a \\\n'
        ' b"\n'
        "CMD   echo   a    b   ",
        builders="db",
    ),
    Case(
        "carriage returns", 'FROM box\r\nRUN echo a \\\r\n  b > /out\r\nENV A=1 B="2 3"\r\nLABEL x=y\r\nCMD ["a"]\r\n'
    ),
    Case("byte order mark", '\ufeff# escape=\\\nFROM box\nLABEL a=ü ö="日本 語"\nENV é=à\nRUN echo ü > /ü\n'),
    Case(
        "heredocs in RUN",
        "FROM box\n"
        "ENV who=me\n"
        "RUN <<EOF\n"
        'echo "$who" > /plain\n'
        "  echo $((1+2)) >> /plain # comment\n"
        "EOF\n"
        "RUN <<'EOF'\n"
        "echo '$who' \"\\$who\" > /quoted\n"
        "EOF\n"
        "RUN <<-TABS\n"
        "\techo a > /tabs\n"
        "\tif true; then\n"
        "\t\techo b >> /tabs\n"
        "\tfi\n"
        "\tTABS\n"
        "RUN <<EOF\n"
        "#!/bin/sh -e\n"
        'echo "$0" > /shebang\n'
        "echo $- >> /shebang\n"
        "EOF\n"
        "RUN cat <<A > /a && cat <<B > /b\n"
        "$who a\n"
        "A\n"
        "$who b\n"
        "B\n"
        "RUN cat - <<'A' 3<<B > /several && true\n"
        "$who\n"
        "A\n"
        "$who\n"
        "B\n"
        "RUN true <<EOF\n"
        "EOF\n"
        'RUN ["sh", "-c", "echo <<x > /json"]\n',
    ),
    Case(
        "heredocs in COPY and ADD",
        "FROM box\n"
        "ARG who=me\n"
        "COPY <<EOF /plain\n"
        "hello $who ${who:+yes} \\$who \\\\ \"q\" 'q'\n"
        "EOF\n"
        "COPY <<'EOF' /quoted\n"
        "hello $who\n"
        "EOF\n"
        "COPY <<-EOF /tabs\n"
        "\ta\n"
        "\t  b\n"
        "\tEOF\n"
        'COPY --chmod=750 --chown=alice:extra <<one <<"two.sh" f /many/\n'
        "1\n"
        "one\n"
        "$who\n"
        "two.sh\n"
        "ADD --chmod=600 <<x /added\n"
        "X\n"
        "x\n"
        "COPY <<e /empty\n"
        "e\n"
        "WORKDIR /w\n"
        "COPY <<name .\n"
        "$who\n"
        "name\n",
        {"f": "f"},
    ),
    Case(
        "stages",
        "FROM scratch AS nothing\n"
        "FROM box AS first\n"
        "RUN echo 1 > /one\n"
        "FROM first AS Second\n"
        "RUN echo 2 > /two\n"
        "ENV stage=second\n"
        "FROM box\n"
        "COPY --from=first /one /\n"
        "COPY --from=1 /one /from-one\n"
        "COPY --from=second /two /two/\n"
        "COPY --from=box /data/seed /seed\n",
    ),
    Case(
        "target",
        "FROM box AS a\nRUN echo a > /a\nFROM a AS b\nRUN echo b > /b\nFROM b AS c\nRUN exit 1\n",
        flags=("--target", "B"),
    ),
    Case("scratch", "FROM scratch\nCOPY f /\nCOPY f /a/b/c\nLABEL a=b\nENV x=y\n", {"f": "f"}, builders="db"),
    Case("only a base", "FROM box\n"),
    Case("only a stage", "FROM box AS a\nENV a=1\nRUN echo 1 > /1\nFROM a\n"),
    Case(
        "arguments of FROM",
        "ARG BASE=none\n"
        "ARG TAG\n"
        "ARG FULL=${BASE}:${TAG:-latest}\n"
        "FROM ${FULL} AS x\n"
        "ARG FULL\n"
        "ARG BASE=own\n"
        "ARG later=$BASE-$FULL\n"
        "ARG unset\n"
        'RUN echo "$BASE $FULL $later ${unset-none} $TAG" > /out\n'
        "ENV full=$FULL base=$BASE tag=$TAG\n"
        "FROM x\n"
        'RUN echo "[$BASE$FULL$later]" > /empty\n'
        "ARG BASE\n"
        "LABEL base=$BASE\n",
        flags=("--build-arg", "BASE=box", "--build-arg=unset"),
    ),
    Case(
        "arguments and environment",
        "FROM box\n"
        'ARG a=1 b="two words" c\n'
        "ARG d=$a-$b\n"
        "ENV e=$a f=$b g=$d h=${c:-none}\n"
        "RUN env | sort | grep -v HOST > /env\n"
        "ARG given\n"
        "ARG given2=default\n"
        "RUN echo $given $given2 > /given\n"
        "USER ${given}\n"
        "WORKDIR /$b/$a\n"
        "EXPOSE ${port:-80}\n"
        "LABEL $a=$b\n"
        "CMD echo $a\n",
        flags=("--build-arg", "given=alice", "--build-arg", "given2=x y"),
    ),
    Case(
        "platform arguments",
        "FROM --platform=$BUILDPLATFORM box AS a\n"
        "ARG TARGETPLATFORM TARGETOS TARGETARCH TARGETVARIANT\n"
        "ARG BUILDPLATFORM BUILDOS\n"
        "ARG BUILDARCH BUILDVARIANT TARGETSTAGE\n"
        'RUN echo "$TARGETPLATFORM $TARGETOS $TARGETARCH [$TARGETVARIANT] $BUILDPLATFORM $BUILDOS '
        '$BUILDARCH" > /out\n'
        "FROM --platform=linux/amd64 box\n"
        "COPY --from=a /out /\n"
        'RUN echo "[$TARGETARCH]" > /none\n',
    ),
    Case(
        "environment in both forms",
        "FROM box\n"
        "ENV old a  b   c\n"
        "ENV quoted \"a b\"  'c'\n"
        'ENV a=1 b="x y" c=\'$a\' d="$old" e=a\\ b f=\\$a g="\\"" h= i=""\n'
        "ENV a=2 z=$a y=${a}\n"
        "ENV path $PATH:/x\n"
        "ENV PATH=/new:$PATH\n"
        "ENV quoted2=it\\'s\\ \"a b\"'c d'\n"
        "RUN env | sort | grep -v HOST > /env\n",
        builders="db",
    ),
    Case(
        "modifiers",
        "FROM box\n"
        "ENV v=foo.bar.baz e= p=/a/b/c.tar.gz\n"
        "ENV a=${v:-x} b=${e:-x} c=${n:-x} d=${e-x} f=${n-x} g=${v:+x} h=${e:+x} i=${e+x} j=${n+x}x\n"
        "ENV k=${v#*.} l=${v##*.} m=${v%.*} o=${v%%.*} q=${v#foo} r=${v%?a?} s=${p##*/} t=${p%.tar*}\n"
        "ENV u=${v/ba/X} w=${v//ba/X} x=${v/.*/} y=${v//./-} z=${v//[.]/}\n"
        'ENV n1=${none:-${v}} n2=${none:-${v%%.*}-$e} n3=${v:+"$p"}\n'
        "RUN env | sort | grep -v HOST > /env\n"
        'LABEL "$v"="${v}x" q=\'${v}\'\n',
    ),
    Case(
        "words expanded",
        "FROM box\n"
        "ENV name=f dir=/d/ one=1 user=alice vol=/v\n"
        "COPY $name ${dir}\n"
        'COPY ["$name", "${dir}json"]\n'
        "ADD --chown=$user $name /added$one\n"
        "WORKDIR $dir/w\n"
        "USER $user\n"
        'VOLUME $vol "${vol}2"\n'
        'VOLUME ["${vol}3"]\n'
        "EXPOSE 8$one/tcp\n"
        "STOPSIGNAL $one\n"
        "LABEL a$one=$user\n"
        'ENTRYPOINT ["$name"]\n'
        'CMD ["$one"]\n'
        'SHELL ["$one"]\n'
        "HEALTHCHECK CMD $one\n"
        "ONBUILD ENV x=$one\n",
        {"f": "f"},
    ),
    Case(
        "arguments of the builder",
        'FROM box\nARG http_proxy\nARG MINE\nRUN echo "$http_proxy $MINE $no_proxy" > /out\n',
        flags=("--build-arg", "http_proxy=http://x:1", "--build-arg", "no_proxy=y", "--build-arg", "MINE=1"),
    ),
    Case(
        "dockerfile elsewhere",
        "FROM box\nCOPY . /all/\n",
        {"a": "a", "sub/b": "b", ".dockerignore": "a\n", "sub/Other.dockerignore": "sub/b\n"},
        file="sub/Other",
    ),
    Case(
        "argument after environment",
        "FROM box\nENV a=environment\nARG a=argument\nRUN echo $a > /out\nLABEL a=$a\nWORKDIR /$a\n",
    ),
)
