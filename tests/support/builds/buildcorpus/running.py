"""Cases about RUN: what a program sees, and what it leaves behind."""

from __future__ import annotations

from .cases import Case

CASES = (
    Case(
        "forms",
        "FROM box\n"
        "RUN echo shell $0 > /a\n"
        'RUN ["/bin/sh", "-c", "echo exec $0 > /b"]\n'
        'RUN [ "touch", "/c d" ]\n'
        'RUN echo "a\\\n'
        ' b" > /e\n'
        "RUN true\n",
    ),
    Case(
        "surroundings",
        "FROM box\n"
        "ENV HOME=/h\n"
        "WORKDIR /w\n"
        "RUN env | sort > /env; pwd > /pwd; id > /id; hostname > /host; umask > /umask; ulimit -n > "
        "/dev/null; ls / > /ls; ls -A /root /tmp /proc/self/fd > /dev/null\n"
        "RUN ls -ld /dev/null /dev/shm /dev/pts | cut -c 1-10 > /devices; ls /dev | grep -v -e "
        "console -e core > /dev-list; ls /etc > /etc-list; cat /proc/self/status | grep -i -e cap -e "
        "nonewpriv > /caps\n",
    ),
    Case(
        "deletions",
        "FROM box\n"
        "RUN mkdir -p /d/e /f /g && echo 1 > /d/e/f && echo 2 > /d/g && echo 3 > /f/x && echo 4 > /g/y\n"
        "RUN rm /d/g /data/seed && rm -r /f && rm -r /home\n"
        "RUN rm -r /d/e && mkdir /d/e && echo n > /d/e/new\n"
        "RUN rm -r /g && mkdir /g\n"
        "RUN rm -r /bin/broken /bin/foreign\n",
        builders="db",
    ),
    Case(
        "replacements",
        "FROM box\n"
        "RUN mkdir -p /dir/sub && echo 1 > /dir/sub/f && echo 2 > /file && ln -s dir /link && ln -s "
        "file /flink\n"
        "RUN rm -r /dir && echo f > /dir\n"
        "RUN rm /file && mkdir /file && echo x > /file/in\n"
        "RUN rm /link && mkdir /link && rm /flink && ln -s other /flink\n"
        "RUN mv /file /moved\n"
        "RUN rm /dir && ln -s moved /dir\n",
    ),
    Case(
        "opaque directories",
        "FROM box\n"
        "RUN mkdir -p /o/a/b && echo 1 > /o/a/b/c && echo 2 > /o/x\n"
        "RUN rm -r /o && mkdir -p /o/a && echo n > /o/a/n\n"
        "RUN rm -r /o/a && mkdir -m 700 /o/a\n"
        "COPY f /o/a/\n"
        "RUN rm -r /o/a && mkdir -p /o/a/b && echo 2 > /o/a/b/c2\n",
        {"f": "f"},
    ),
    Case(
        "hard links",
        "FROM box\n"
        "RUN echo 1 > /a && ln /a /b && mkdir /d && ln /a /d/c\n"
        "RUN ln /a /e\n"
        "RUN echo 2 >> /a\n"
        "RUN echo 3 > /x && ln /x /y && rm /x\n"
        "RUN rm /b\n"
        "RUN ln /data/seed /data/second\n",
    ),
    Case(
        "owners and modes",
        "FROM box\n"
        "RUN echo 1 > /a && chown 5:6 /a && chmod 4750 /a; mkdir /d && chmod 2775 /d && chown "
        "alice:extra /d && chown 7:8 /data/seed\n"
        "RUN chmod 600 /a\n"
        "RUN chmod 700 /data; chown 1000000:2000000 /etc\n"
        "RUN chmod 1777 /d\n"
        "RUN chmod 711 /\n",
    ),
    Case(
        "kinds",
        "FROM box\n"
        "RUN busybox mkfifo /pipe && busybox mkfifo -m 600 /data/pipe && ln -s /no/where /l && ln -s "
        "../x /data/l && touch '/with space' '/ü'\n"
        "RUN rm /pipe && busybox mkfifo -m 640 /pipe\n",
    ),
    Case(
        "devices",
        "FROM box\n"
        "RUN busybox mknod /null c 1 3 && busybox mknod -m 600 /block b 7 0 && busybox mknod /data/x "
        "c 200 300\n",
    ),
    Case(
        "sparse and large files",
        "FROM box\n"
        "RUN dd if=/dev/zero of=/sparse bs=1 count=1 seek=3000000 2>/dev/null; dd if=/dev/zero "
        "of=/middle bs=4096 count=1 seek=10 2>/dev/null; echo end >> /middle; busybox truncate -s "
        "5000000 /hole\n",
    ),
    Case(
        "times",
        "FROM box\n"
        "RUN touch -t 200001010000 /old && mkdir /d && echo 1 > /d/f && touch -t 200101010000 /d/f "
        "/d && ln -s x /l && busybox touch -h -t 200201010000 /l && touch -t 196901010000 /before\n"
        "RUN chmod 700 /d\n",
    ),
    Case(
        "nothing changes",
        "FROM box\n"
        "RUN true\n"
        "RUN ls > /dev/null\n"
        "RUN echo 1 > /tmp/x && rm /tmp/x\n"
        "RUN chmod 755 /data\n"
        "RUN touch -c /none\n",
    ),
    Case(
        "binds",
        "FROM box AS other\n"
        "RUN echo o > /o && mkdir /od && echo 1 > /od/f && chown 5:6 /od\n"
        "FROM box\n"
        "RUN --mount=type=bind,target=/mnt/ctx cat /mnt/ctx/f > /a && ls /mnt/ctx > /ls\n"
        "RUN --mount=type=bind,source=sub,target=/sub ls -l /sub | grep -v total | cut -c 1-10 > /b\n"
        "RUN --mount=from=other,source=/o,target=/o cat /o > /c\n"
        "RUN --mount=type=bind,from=other,target=/other,rw touch /other/x && ls /other > /d\n"
        "RUN --mount=from=other,source=od,target=/data ls /data > /e; touch /data/x 2>/dev/null || "
        "echo ro >> /e\n"
        "WORKDIR /w\n"
        "RUN --mount=target=rel,source=f cat rel > /g\n",
        {"f": "f", "sub/g": "g", ".dockerignore": "ignored\n", "ignored": ""},
        stubs=("/w",),
    ),
    Case(
        "caches",
        "FROM box\n"
        "RUN --mount=type=cache,target=/cache echo 1 > /cache/f; stat -c '%a %u %g' /cache > /a\n"
        "RUN --mount=type=cache,target=/cache cat /cache/f > /b\n"
        "RUN --mount=type=cache,target=/c2,id=/cache cat /c2/f > /c; ls / > /ls\n"
        "RUN --mount=type=cache,target=/c3,id=other,mode=0700,uid=1000,gid=1001 stat -c '%a %u %g' "
        "/c3 > /d\n"
        "RUN --mount=type=cache,target=/data,from=box,source=/data,id=third,sharing=locked cat "
        "/data/seed > /e\n"
        "RUN --mount=type=cache,target=/cache,readonly touch /cache/x 2> /dev/null || echo ro > /f\n",
        flags=("--no-cache",),
    ),
    Case(
        "tmpfs and secrets",
        "FROM box\n"
        "RUN --mount=type=tmpfs,target=/t echo 1 > /t/x; grep ' /t ' /proc/mounts | cut -d ' ' -f "
        "1-3 > /a\n"
        "RUN --mount=type=secret,id=s cat /run/secrets/s > /b; stat -c '%a %u %g %s' /run/secrets/s "
        ">> /b\n"
        "RUN --mount=type=secret,id=s,target=/data/sec,mode=0440,uid=1000,gid=1001 stat -c '%a %u "
        "%g' /data/sec > /c\n"
        "RUN --mount=type=secret,id=none cat /run/secrets/none > /d || echo missing >> /d\n"
        "RUN --mount=type=secret,id=s,required=true,dst=/root/.x/y true\n",
        flags=("--secret", "id=s,src={beside}/secret"),
        beside={"secret": "very secret\n"},
        stubs=("/data", "/root"),
    ),
    Case(
        "networks",
        "FROM box\nRUN --network=none cut -d : -f 1 /proc/net/dev | tr -d ' ' > /a\nRUN --network=default true\n",
    ),
    Case(
        "files of the network",
        "FROM box\n"
        "RUN cat /etc/resolv.conf > /dev/null && ls -l /etc/hosts /etc/resolv.conf > /dev/null\n"
        "RUN echo own > /etc/mine; ls -A /etc > /list\n"
        "RUN rm -f /etc/passwd\n",
    ),
    Case(
        "mounts on nothing",
        "FROM box\n"
        "RUN --mount=type=tmpfs,target=/a/b/c --mount=type=bind,target=/x/y,source=f "
        "--mount=type=cache,target=/z/q true\n"
        "RUN ls -R /a /x /z > /ls 2>&1 || true\n"
        "RUN --mount=type=tmpfs,target=/a/b mkdir /a/own\n",
        {"f": "f"},
    ),
    Case(
        "names of hosts",
        "FROM box\nRUN grep -c buildkitsandbox /etc/hosts > /count; hostname > /name\n",
    ),
    Case(
        "proxies",
        "FROM box\nRUN env | grep -i proxy | sort > /proxies\n",
        flags=("--build-arg=HTTP_PROXY=http://x:1", "--build-arg=no_proxy=y"),
    ),
)
