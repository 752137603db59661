"""Cases about what an image says of itself: the instructions that make no files, and a base's triggers."""

from __future__ import annotations

from .cases import Case

CASES = (
    Case(
        "entrypoint and command",
        'FROM box\nCMD echo  $x "a  b"\nENTRYPOINT ["/bin/sh", "-c", "x \\u00e9 \\""]\n',
        builders="db",
    ),
    Case("entrypoint resets the command", "FROM box\nENTRYPOINT exec top -b\n"),
    Case(
        "command after entrypoint",
        'FROM box\nENTRYPOINT ["a"]\nCMD ["b"]\nENTRYPOINT ["c"]\nFROM box\nENTRYPOINT ["x"]\nCMD []\n',
    ),
    Case(
        "entrypoint over a base's command",
        'FROM parent-command\nENTRYPOINT ["x"]\n',
        before={"parent-command": 'FROM box\nENTRYPOINT ["e"]\nCMD ["c", "d"]\n'},
    ),
    Case(
        "command over a base's entrypoint",
        "FROM parent-entry\nCMD new\nENTRYPOINT []\n",
        before={"parent-entry": 'FROM box\nENTRYPOINT ["e"]\nCMD ["c"]\n'},
    ),
    Case(
        "strange json",
        'FROM box\nCMD [ \'a\', "b" ]\nENTRYPOINT ["a" "b"]\nRUN ["sh", "-c", "echo $0 \'$x\' > /out", "zero"]\n',
    ),
    Case(
        "shell",
        "FROM box\n"
        'SHELL ["/bin/sh", "-e", "-c"]\n'
        "RUN echo $- > /out\n"
        "CMD a b\n"
        "ENTRYPOINT c\n"
        "HEALTHCHECK CMD d\n"
        'SHELL ["/bin/busybox", "sh", "-c"]\n'
        "RUN echo $0 > /zero\n",
    ),
    Case(
        "healthcheck",
        "FROM box\n"
        "HEALTHCHECK --interval=1m30s --timeout=2s --start-period=500ms --start-interval=3s "
        "--retries=4 CMD curl  -f x || exit 1\n",
    ),
    Case("healthcheck in json", 'FROM box\nHEALTHCHECK NONE\nHEALTHCHECK --retries=0 CMD ["a", "b c"]\n'),
    Case(
        "no healthcheck",
        "FROM parent-health\nHEALTHCHECK none\n",
        before={"parent-health": "FROM box\nHEALTHCHECK CMD a\n"},
    ),
    Case("stop signals", "FROM box\nSTOPSIGNAL SIGUSR1\nSTOPSIGNAL 9\nSTOPSIGNAL  SIGRTMIN+3 \n"),
    Case(
        "volumes",
        "FROM box\n"
        "RUN mkdir /v && echo before > /v/f\n"
        "VOLUME /v /w\n"
        'VOLUME ["/x y", "/z"]\n'
        "VOLUME  /v\n"
        "RUN echo after > /v/g; mkdir -p /w; echo w > /w/f\n"
        "COPY f /v/copied\n",
        {"f": "f"},
    ),
    Case(
        "users",
        "FROM box\n"
        "USER alice\n"
        "RUN id > /tmp/alice; echo $HOME >> /tmp/alice\n"
        "USER 1000\n"
        "RUN id > /tmp/number; echo $HOME >> /tmp/number\n"
        "USER alice:extra\n"
        "RUN id > /tmp/group\n"
        "USER 4242\n"
        "RUN id > /tmp/unknown; echo $HOME >> /tmp/unknown\n"
        "USER 7:8\n"
        "RUN id > /tmp/pair\n"
        "USER root:3000\n"
        "RUN id > /tmp/root\n"
        "WORKDIR /made\n"
        "USER alice\n"
        "WORKDIR /made/by\n"
        "COPY f f\n"
        "RUN pwd > /tmp/pwd\n",
        {"f": "f"},
    ),
    Case(
        "working directories",
        "FROM box\n"
        "WORKDIR a\n"
        "RUN pwd > out\n"
        "WORKDIR b/../c\n"
        "COPY f .\n"
        "WORKDIR /data\n"
        "WORKDIR ./x/\n"
        "RUN pwd > out\n"
        "WORKDIR /home/alice\n"
        "ENV d=/e\n"
        "WORKDIR $d/f\n"
        'WORKDIR "/with space"\n'
        "RUN pwd > /pwd\n"
        "WORKDIR /data/link\n",
        {"f": "f"},
        builders="db",
    ),
    Case(
        "working directories with slashes",
        "FROM box\nWORKDIR /a/b/\nRUN pwd > out\nWORKDIR c/\nCOPY f .\nWORKDIR //d//e\nWORKDIR /\n"
        "RUN ls -R /a /d > /list\n",
        {"f": "f"},
    ),
    Case(
        "working directory through a link",
        "FROM box\n"
        "RUN ln -s /data /l && ln -s nowhere /dangling\n"
        "WORKDIR /l/sub\n"
        "RUN echo 1 > f; pwd > g\n"
        "WORKDIR /l\n"
        "COPY f h\n",
        {"f": "f"},
    ),
    Case(
        "labels",
        "FROM box\n"
        'LABEL a=1 b="two words" "c d"=e f=\'$x\' g="a\\\n'
        'b" multi.label=x\\ y\n'
        "LABEL old value with words\n"
        "LABEL a=2\n"
        'LABEL empty= e2=""\n',
        flags=("--label", "given=1", "--label", "b=over", "--label", "novalue"),
        builders="db",
    ),
    Case("ports", "FROM box\nEXPOSE 80 443/tcp 53/udp 80/TCP 8000-8003/udp\nEXPOSE 90/sctp 100-101 80\n"),
    Case("maintainer", "FROM box\nMAINTAINER  somebody <s@example.com>  \nRUN echo 1 > /1\n"),
    Case(
        "triggers",
        'FROM parent-onbuild\nRUN echo "$x $ob" > /tmp/after\nENV own=1\n',
        {"f": "f"},
        before={
            "parent-onbuild": "FROM box\n"
            'ONBUILD ENV ob=1 x="a b"\n'
            "ONBUILD COPY f /f\n"
            'ONBUILD  RUN echo "$x" >  /run\n'
            "ONBUILD LABEL l=$ob\n"
            "ONBUILD WORKDIR /wd\n"
            "ONBUILD USER alice:extra\n"
            'ONBUILD CMD ["a",  "b"]\n'
            "ONBUILD ARG arg=1\n"
            "ENV before=1\n"
        },
    ),
    Case(
        "triggers of a base of a base",
        "FROM child-of-onbuild\nRUN echo 1 > /1\n",
        before={
            "grand-onbuild": "FROM box\nONBUILD RUN echo t >> /t\n",
            "child-of-onbuild": "FROM grand-onbuild\nONBUILD RUN echo u >> /u\n",
        },
    ),
    Case(
        "triggers of a stage",
        "FROM box AS a\nONBUILD RUN echo t >> /t\nONBUILD ENV t=1\nFROM a AS b\nRUN echo b > /b\nFROM b\n",
    ),
    Case(
        "everything of a base",
        "FROM parent-all\nRUN echo 1 > x\n",
        before={
            "parent-all": "FROM box\n"
            "ENV a=1\n"
            "LABEL l=1\n"
            "EXPOSE 80\n"
            "VOLUME /v\n"
            "USER 1000:1001\n"
            "WORKDIR /tmp/w\n"
            "STOPSIGNAL 9\n"
            "HEALTHCHECK CMD x\n"
            'SHELL ["/bin/sh", "-ec"]\n'
            'ENTRYPOINT ["e"]\n'
            'CMD ["c"]\n'
            "MAINTAINER m\n"
            "ONBUILD ENV o=1\n"
            "USER root\n"
            "RUN chmod 777 /tmp/w\n"
            "USER 1000:1001\n"
        },
        builders="d",
    ),
    Case(
        "root as working directory",
        "FROM box\nWORKDIR /data\nWORKDIR /\nCOPY f f\n",
        {"f": "f"},
    ),
)
