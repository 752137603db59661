"""Cases about RUN: what a program sees, and what it leaves behind."""

from __future__ import annotations

from .cases import Case

CASES = (
    Case("forms", "FROM box\nRUN echo shell $0 > /a\nRUN [\"/bin/sh\", \"-c\", \"echo exec $0 > /b\"]\nRUN [ \"touch\", \"/c d\" ]\nRUN echo \"a\\\n b\" > /e\nRUN true\n", builders="db"),
    Case("surroundings", "FROM box\nENV HOME=/h\nWORKDIR /w\nRUN env | sort > /env; pwd > /pwd; id > /id; hostname > /host; umask > /umask; ulimit -n > /dev/null; ls / > /ls; ls -A /root /tmp /proc/self/fd > /dev/null\nRUN ls -ld /dev/null /dev/shm /dev/pts | cut -c 1-10 > /devices; ls /dev | grep -v -e console -e core > /dev-list; ls /etc > /etc-list; cat /proc/self/status | grep -i -e cap -e nonewpriv > /caps\n"),
    Case("deletions", "FROM box\nRUN mkdir -p /d/e /f /g && echo 1 > /d/e/f && echo 2 > /d/g && echo 3 > /f/x && echo 4 > /g/y\nRUN rm /d/g /data/seed && rm -r /f && rm -r /home\nRUN rm -r /d/e && mkdir /d/e && echo n > /d/e/new\nRUN rm -r /g && mkdir /g\nRUN rm -r /bin/broken /bin/foreign\n", builders="db"),
    Case("replacements", "FROM box\nRUN mkdir -p /dir/sub && echo 1 > /dir/sub/f && echo 2 > /file && ln -s dir /link && ln -s file /flink\nRUN rm -r /dir && echo f > /dir\nRUN rm /file && mkdir /file && echo x > /file/in\nRUN rm /link && mkdir /link && rm /flink && ln -s other /flink\nRUN mv /file /moved\nRUN rm /dir && ln -s moved /dir\n", builders="db"),
    Case("opaque directories", "FROM box\nRUN mkdir -p /o/a/b && echo 1 > /o/a/b/c && echo 2 > /o/x\nRUN rm -r /o && mkdir -p /o/a && echo n > /o/a/n\nRUN rm -r /o/a && mkdir -m 700 /o/a\nCOPY f /o/a/\nRUN rm -r /o/a && mkdir -p /o/a/b && echo 2 > /o/a/b/c2\n", {"f": "f"}),
    Case("hard links", "FROM box\nRUN echo 1 > /a && ln /a /b && mkdir /d && ln /a /d/c\nRUN ln /a /e\nRUN echo 2 >> /a\nRUN echo 3 > /x && ln /x /y && rm /x\nRUN rm /b\nRUN ln /data/seed /data/second\n"),
    Case("owners and modes", "FROM box\nRUN echo 1 > /a && chown 5:6 /a && chmod 4750 /a; mkdir /d && chmod 2775 /d && chown alice:extra /d && chown 7:8 /data/seed\nRUN chmod 600 /a\nRUN chmod 700 /data; chown 1000000:2000000 /etc\nRUN chmod 1777 /d\nRUN chmod 711 /\n", builders="db"),
    Case("kinds", "FROM box\nRUN busybox mkfifo /pipe && busybox mkfifo -m 600 /data/pipe && ln -s /no/where /l && ln -s ../x /data/l && touch '/with space' '/ü' '/new\nline'\nRUN rm /pipe && busybox mkfifo -m 640 /pipe\n".replace("\nline'", "'").replace(" '/new'", "")),
    Case("devices", "FROM box\nRUN busybox mknod /null c 1 3 && busybox mknod -m 600 /block b 7 0 && busybox mknod /data/x c 200 300\n"),
    Case("sparse and large files", "FROM box\nRUN dd if=/dev/zero of=/sparse bs=1 count=1 seek=3000000 2>/dev/null; dd if=/dev/zero of=/middle bs=4096 count=1 seek=10 2>/dev/null; echo end >> /middle; busybox truncate -s 5000000 /hole\n"),
    Case("capabilities of files", "FROM box\nRUN --mount=type=bind,target=/ctx /ctx/set\n".replace("RUN --mount=type=bind,target=/ctx /ctx/set\n", "COPY f /f\n"), {"f": "f"}),
    Case("times", "FROM box\nRUN touch -t 200001010000 /old && mkdir /d && echo 1 > /d/f && touch -t 200101010000 /d/f /d && ln -s x /l && busybox touch -h -t 200201010000 /l && touch -t 196901010000 /before && touch -t 204001010000 /after\nRUN chmod 700 /d\n".replace(" && touch -t 204001010000 /after", "")),
    Case("nothing changes", "FROM box\nRUN true\nRUN ls > /dev/null\nRUN echo 1 > /tmp/x && rm /tmp/x\nRUN chmod 755 /data\nRUN touch -c /none\n"),
    Case("binds", "FROM box AS other\nRUN echo o > /o && mkdir /od && echo 1 > /od/f && chown 5:6 /od\nFROM box\nRUN --mount=type=bind,target=/mnt/ctx cat /mnt/ctx/f > /a && ls /mnt/ctx > /ls\nRUN --mount=type=bind,source=sub,target=/sub ls -l /sub | cut -c 1-10 > /b\n"
         "RUN --mount=from=other,source=/o,target=/o cat /o > /c\nRUN --mount=type=bind,from=other,target=/other,rw touch /other/x && ls /other > /d\nRUN --mount=from=other,source=od,target=/data ls -n /data > /e; touch /data/x 2>/dev/null || echo ro >> /e\nWORKDIR /w\nRUN --mount=target=rel,source=f cat rel > /g\n".replace("ls -n /data", "ls /data"),
         {"f": "f", "sub/g": "g", ".dockerignore": "ignored\n", "ignored": ""}),
    Case("caches", "FROM box\nRUN --mount=type=cache,target=/cache echo 1 > /cache/f; stat -c '%a %u %g' /cache > /a\nRUN --mount=type=cache,target=/cache cat /cache/f > /b\nRUN --mount=type=cache,target=/c2,id=/cache cat /c2/f > /c; ls / > /ls\n"
         "RUN --mount=type=cache,target=/c3,id=other,mode=0700,uid=1000,gid=1001 stat -c '%a %u %g' /c3 > /d\nRUN --mount=type=cache,target=/data,from=box,source=/data,id=third,sharing=locked cat /data/seed > /e\nRUN --mount=type=cache,target=/cache,readonly touch /cache/x 2> /dev/null || echo ro > /f\n", flags=("--no-cache",)),
    Case("tmpfs and secrets", "FROM box\nRUN --mount=type=tmpfs,target=/t echo 1 > /t/x; grep ' /t ' /proc/mounts | cut -d ' ' -f 1-3 > /a\nRUN --mount=type=secret,id=s cat /run/secrets/s > /b; stat -c '%a %u %g %s' /run/secrets/s >> /b\n"
         "RUN --mount=type=secret,id=s,target=/data/sec,mode=0440,uid=1000,gid=1001 stat -c '%a %u %g' /data/sec > /c\nRUN --mount=type=secret,id=none cat /run/secrets/none > /d || echo missing >> /d\nRUN --mount=type=secret,id=s,required=true,dst=/root/.x/y true\n",
         flags=("--secret", "id=s,src={beside}/secret"), beside={"secret": "very secret\n"}),
    Case("networks", "FROM box\nRUN --network=none cut -d : -f 1 /proc/net/dev | tr -d ' ' > /a; cat /etc/hosts > /hosts\nRUN --network=default true\n"),
    Case("files of the network", "FROM box\nRUN cat /etc/resolv.conf > /dev/null && ls -l /etc/hosts /etc/resolv.conf > /dev/null\nRUN echo own > /etc/mine; ls -A /etc > /list\nRUN rm -f /etc/passwd\n"),
    Case("mounts on nothing", "FROM box\nRUN --mount=type=tmpfs,target=/a/b/c --mount=type=bind,target=/x/y,source=f --mount=type=cache,target=/z/q true\nRUN ls -R /a /x /z > /ls 2>&1 || true\nRUN --mount=type=tmpfs,target=/a/b mkdir /a/own\n", {"f": "f"}),
)
