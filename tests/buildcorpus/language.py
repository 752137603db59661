"""Cases about the language itself: directives, lines, heredocs, stages, arguments and variables."""

from __future__ import annotations

from .cases import Case

CASES = (
    Case(
        "escape directive",
        "# escape=`\n# check=skip=all\nFROM box\nENV a=b`\nc d=x\\y e=`$a\nRUN echo a `\n  # comment\n\n"
        "  b > /out\nCOPY f `\n  /f\n",
        {"f": "1"},
    ),
    Case(
        "lines",
        "\n  # first\n\n   FROM box\n\tRUN echo one \\\n# comment\n   # indented comment\n   two \\\n\n   three > /out\n"
        "run echo \\\\ > /slash # no comment\nENV a=1 \\\n    # why\n    b=2\nLABEL x=y \\\n z=\"a \\\n b\"\nCMD   echo   a    b   ",
        builders="db",
    ),
    Case("carriage returns", "FROM box\r\nRUN echo a \\\r\n  b > /out\r\nENV A=1 B=\"2 3\"\r\nLABEL x=y\r\nCMD [\"a\"]\r\n"),
    Case("byte order mark", "\ufeff# escape=\\\nFROM box\nLABEL a=ü ö=\"日本 語\"\nENV é=à\nRUN echo ü > /ü\n"),
    Case(
        "heredocs in RUN",
        "FROM box\nENV who=me\nRUN <<EOF\necho \"$who\" > /plain\n  echo $((1+2)) >> /plain # comment\nEOF\n"
        "RUN <<'EOF'\necho '$who' \"\\$who\" > /quoted\nEOF\n"
        "RUN <<-TABS\n\techo a > /tabs\n\tif true; then\n\t\techo b >> /tabs\n\tfi\n\tTABS\n"
        "RUN <<EOF\n#!/bin/sh -e\necho \"$0\" | sed s,/.*/,, > /shebang\necho $- >> /shebang\nEOF\n".replace(
            ' | sed s,/.*/,,', ""
        )
        + "RUN cat <<A > /a && cat <<B > /b\n$who a\nA\n$who b\nB\n"
        "RUN cat - <<'A' 3<<B > /several && cat <&3 >> /several\n$who\nA\n$who\nB\n"
        "RUN true <<EOF\nEOF\nRUN [\"sh\", \"-c\", \"echo <<x > /json\"]\n",
    ),
    Case(
        "heredocs in COPY and ADD",
        "FROM box\nARG who=me\nCOPY <<EOF /plain\nhello $who ${who:+yes} \\$who \\\\ \"q\" 'q'\nEOF\n"
        "COPY <<'EOF' /quoted\nhello $who\nEOF\n"
        "COPY <<-EOF /tabs\n\ta\n\t  b\n\tEOF\n"
        "COPY --chmod=750 --chown=alice:extra <<one <<\"two.sh\" f /many/\n1\none\n$who\ntwo.sh\n"
        "ADD --chmod=600 <<x /added\nx\nx\nCOPY <<e /empty\ne\nWORKDIR /w\nCOPY <<name .\n$who\nname\n",
        {"f": "f"},
    ),
    Case(
        "stages",
        "FROM scratch AS nothing\nFROM box AS first\nRUN echo 1 > /one\nFROM first AS Second\nRUN echo 2 > /two\n"
        "ENV stage=second\nFROM box\nCOPY --from=first /one /\nCOPY --from=1 /one /from-one\n"
        "COPY --from=second /two /two/\nCOPY --from=box /data/seed /seed\n",
        builders="db",
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
        "ARG BASE=none\nARG TAG\nARG FULL=${BASE}:${TAG:-latest}\nFROM ${FULL} AS x\nARG FULL\nARG BASE=own\n"
        "ARG later=$BASE-$FULL\nARG unset\nRUN echo \"$BASE $FULL $later ${unset-none} $TAG\" > /out\n"
        "ENV full=$FULL base=$BASE tag=$TAG\nFROM x\nRUN echo \"[$BASE$FULL$later]\" > /empty\nARG BASE\nLABEL base=$BASE\n",
        flags=("--build-arg", "BASE=box", "--build-arg=unset"),
    ),
    Case(
        "arguments and environment",
        "FROM box\nARG a=1 b=\"two words\" c\nARG d=$a-$b\nENV a=env\nARG a=3\nENV e=$a f=$b g=$d h=${c:-none}\n"
        "RUN env | sort | grep -v HOST > /env\nARG given\nARG given2=default\nRUN echo $given $given2 > /given\n"
        "USER ${given}\nWORKDIR /$b/$a\nEXPOSE ${port:-80}\nLABEL $a=$b\nCMD echo $a\n",
        flags=("--build-arg", "given=alice", "--build-arg", "given2=x y", "--build-arg", "HTTP_PROXY=http://p"),
    ),
    Case(
        "platform arguments",
        "ARG TARGETPLATFORM\nFROM --platform=$BUILDPLATFORM box AS a\nARG TARGETPLATFORM TARGETOS TARGETARCH TARGETVARIANT\n"
        "ARG BUILDPLATFORM BUILDOS\nARG BUILDARCH BUILDVARIANT TARGETSTAGE\n"
        "RUN echo \"$TARGETPLATFORM $TARGETOS $TARGETARCH [$TARGETVARIANT] $BUILDPLATFORM $BUILDOS $BUILDARCH\" > /out\n"
        "FROM --platform=linux/amd64 box\nCOPY --from=a /out /\nRUN echo \"[$TARGETARCH]\" > /none\n",
    ),
    Case(
        "environment in both forms",
        "FROM box\nENV old a  b   c\nENV quoted \"a b\"  'c'\nENV a=1 b=\"x y\" c='$a' d=\"$old\" e=a\\ b f=\\$a g=\"\\\"\" h= i=\"\"\n"
        "ENV a=2 z=$a y=${a}\nENV path $PATH:/x\nENV PATH=/new:$PATH\nENV quoted2=it\\'s\\ \"a b\"'c d'\nRUN env | sort | grep -v HOST > /env\n",
        builders="db",
    ),
    Case(
        "modifiers",
        "FROM box\nENV v=foo.bar.baz e= p=/a/b/c.tar.gz\nENV a=${v:-x} b=${e:-x} c=${n:-x} d=${e-x} f=${n-x} g=${v:+x} h=${e:+x}"
        " i=${e+x} j=${n+x}x\nENV k=${v#*.} l=${v##*.} m=${v%.*} o=${v%%.*} q=${v#foo} r=${v%?a?} s=${p##*/} t=${p%.tar*}\n"
        "ENV u=${v/ba/X} w=${v//ba/X} x=${v/.*/} y=${v//./-} z=${v//[.]/}\nENV n1=${none:-${v}} n2=${none:-${v%%.*}-$e} n3=${v:+\"$p\"}\n"
        "RUN env | sort | grep -v HOST > /env\nLABEL \"$v\"=\"${v}x\" q='${v}'\n",
    ),
    Case(
        "words expanded",
        "FROM box\nENV name=f dir=/d/ one=1 user=alice vol=/v\nCOPY $name ${dir}\nCOPY [\"$name\", \"${dir}json\"]\n"
        "ADD --chown=$user $name /added$one\nWORKDIR $dir/w\nUSER $user\nVOLUME $vol \"${vol}2\"\nVOLUME [\"${vol}3\"]\n"
        "EXPOSE 8$one/tcp\nSTOPSIGNAL $one\nLABEL a$one=$user\nENTRYPOINT [\"$name\"]\nCMD [\"$one\"]\nSHELL [\"$one\"]\n"
        "HEALTHCHECK CMD $one\nONBUILD ENV x=$one\n",
        {"f": "f"},
    ),
    Case(
        "arguments of the builder",
        "FROM box\nARG http_proxy\nARG MINE\nRUN echo \"$http_proxy $MINE $no_proxy\" > /out\nRUN env | grep -i -c proxy > /count\n",
        flags=("--build-arg", "http_proxy=http://x:1", "--build-arg", "no_proxy=y", "--build-arg", "MINE=1"),
    ),
    Case(
        "dockerfile elsewhere",
        "FROM box\nCOPY . /all/\n",
        {"a": "a", "sub/b": "b", ".dockerignore": "a\n", "sub/Other.dockerignore": "sub/b\n"},
        file="sub/Other",
    ),
)
