"""Cases about what an image says of itself: the instructions that make no files, and a base's triggers."""

from __future__ import annotations

from .cases import Case

CASES = (
    Case(
        "entrypoint and command",
        "FROM box\nCMD echo  $x \"a  b\"\nENTRYPOINT [\"/bin/sh\", \"-c\", \"x \\u00e9 \\\"\"]\n",
        builders="db",
    ),
    Case("entrypoint resets the command", "FROM box\nENTRYPOINT exec top -b\n"),
    Case("command after entrypoint", "FROM box\nENTRYPOINT [\"a\"]\nCMD [\"b\"]\nENTRYPOINT [\"c\"]\nFROM box\nENTRYPOINT [\"x\"]\nCMD []\n"),
    Case(
        "entrypoint over a base's command",
        "FROM parent-command\nENTRYPOINT [\"x\"]\n",
        before={"parent-command": "FROM box\nENTRYPOINT [\"e\"]\nCMD [\"c\", \"d\"]\n"},
    ),
    Case("command over a base's entrypoint", "FROM parent-entry\nCMD new\nENTRYPOINT []\n", before={"parent-entry": "FROM box\nENTRYPOINT [\"e\"]\nCMD [\"c\"]\n"}),
    Case("strange json", "FROM box\nCMD [ 'a', \"b\" ]\nENTRYPOINT [\"a\" \"b\"]\nRUN [\"sh\", \"-c\", \"echo $0 '$x' > /out\", \"zero\"]\n"),
    Case("shell", "FROM box\nSHELL [\"/bin/sh\", \"-e\", \"-c\"]\nRUN echo $- > /out\nCMD a b\nENTRYPOINT c\nHEALTHCHECK CMD d\nSHELL [\"/bin/busybox\", \"sh\", \"-c\"]\nRUN echo $0 > /zero\n"),
    Case(
        "healthcheck",
        "FROM box\nHEALTHCHECK --interval=1m30s --timeout=2s --start-period=500ms --start-interval=3s --retries=4 CMD curl  -f x || exit 1\n",
        builders="db",
    ),
    Case("healthcheck in json", "FROM box\nHEALTHCHECK NONE\nHEALTHCHECK --retries=0 CMD [\"a\", \"b c\"]\n"),
    Case("no healthcheck", "FROM parent-health\nHEALTHCHECK none\n", before={"parent-health": "FROM box\nHEALTHCHECK CMD a\n"}),
    Case("stop signals", "FROM box\nSTOPSIGNAL SIGUSR1\nSTOPSIGNAL 9\nSTOPSIGNAL  SIGRTMIN+3 \n"),
    Case(
        "volumes",
        "FROM box\nRUN mkdir /v && echo before > /v/f\nVOLUME /v /w\nVOLUME [\"/x y\", \"/z\"]\nVOLUME  /v\nRUN echo after > /v/g; mkdir -p /w; echo w > /w/f\nCOPY f /v/copied\n",
        {"f": "f"},
    ),
    Case(
        "users",
        "FROM box\nUSER alice\nRUN id > /tmp/alice; echo $HOME >> /tmp/alice\nUSER 1000\nRUN id > /tmp/number; echo $HOME >> /tmp/number\n"
        "USER alice:extra\nRUN id > /tmp/group\nUSER 4242\nRUN id > /tmp/unknown; echo $HOME >> /tmp/unknown\nUSER 7:8\nRUN id > /tmp/pair\n"
        "USER root:3000\nRUN id > /tmp/root\nWORKDIR /made\nUSER :2000\n".replace("USER :2000\n", "")
        + "USER alice\nWORKDIR /made/by\nCOPY f f\nRUN pwd > /tmp/pwd\n",
        {"f": "f"},
    ),
    Case(
        "working directories",
        "FROM box\nWORKDIR a\nRUN pwd > out\nWORKDIR b/../c\nCOPY f .\nWORKDIR /data\nWORKDIR ./x/\nRUN pwd > out\nWORKDIR /home/alice\n"
        "ENV d=/e\nWORKDIR $d/f\nWORKDIR \"/with space\"\nRUN pwd > /pwd\nWORKDIR /\nWORKDIR /data/link\n",
        {"f": "f"},
        builders="db",
    ),
    Case("working directory through a link", "FROM box\nRUN ln -s /data /l && ln -s nowhere /dangling\nWORKDIR /l/sub\nRUN echo 1 > f; pwd > g\nWORKDIR /l\nCOPY f h\n", {"f": "f"}),
    Case(
        "labels",
        "FROM box\nLABEL a=1 b=\"two words\" \"c d\"=e f='$x' g=\"a\\\nb\" multi.label=x\\ y\nLABEL old value with words\nLABEL a=2\nLABEL empty= e2=\"\"\n",
        flags=("--label", "given=1", "--label", "b=over", "--label", "novalue"),
        builders="db",
    ),
    Case("ports", "FROM box\nEXPOSE 80 443/tcp 53/udp 80/TCP 8000-8003/udp\nEXPOSE 90/sctp 100-101 80\n", builders="db"),
    Case("maintainer", "FROM box\nMAINTAINER  somebody <s@example.com>  \nRUN echo 1 > /1\n"),
    Case(
        "triggers",
        "FROM parent-onbuild\nRUN echo \"$x $ob\" > /after\nENV own=1\n",
        {"f": "f"},
        before={
            "parent-onbuild": "FROM box\nONBUILD ENV ob=1 x=\"a b\"\nONBUILD COPY f /f\nONBUILD  RUN echo \"$x\" >  /run\nONBUILD LABEL l=$ob\n"
            "ONBUILD WORKDIR /wd\nONBUILD USER alice\nONBUILD CMD [\"a\",  \"b\"]\nONBUILD ARG arg=1\nENV before=1\n"
        },
    ),
    Case(
        "triggers of a base of a base",
        "FROM child-of-onbuild\nRUN echo 1 > /1\n",
        before={"grand-onbuild": "FROM box\nONBUILD RUN echo t >> /t\n", "child-of-onbuild": "FROM grand-onbuild\nONBUILD RUN echo u >> /u\n"},
    ),
    Case("triggers of a stage", "FROM box AS a\nONBUILD RUN echo t >> /t\nONBUILD ENV t=1\nFROM a AS b\nRUN echo b > /b\nFROM b\n"),
    Case("everything of a base", "FROM parent-all\nRUN echo 1 > x\n", before={
        "parent-all": "FROM box\nENV a=1\nLABEL l=1\nEXPOSE 80\nVOLUME /v\nUSER 1000:1001\nWORKDIR /tmp/w\nSTOPSIGNAL 9\nHEALTHCHECK CMD x\nSHELL [\"/bin/sh\", \"-ec\"]\nENTRYPOINT [\"e\"]\nCMD [\"c\"]\nMAINTAINER m\n"
        "ONBUILD ENV o=1\nUSER root\nRUN chmod 777 /tmp/w\nUSER 1000:1001\n"}, builders="d"),
)
