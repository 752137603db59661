"""Examples of commands, for their help and manual pages: a command line, and what it does."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "attach": (("underlay attach web", "see what a container writes, and type into it; ctrl-p ctrl-q leaves it"),),
    "base check": (("underlay base check --policy bases.toml app", "end with 1 when the base of app is not allowed"),),
    "base dockerfile": (("underlay base dockerfile nginx:1.27", "write a Dockerfile that would build the image"),),
    "base diff": (("underlay base diff monday.db today.db", "names that came and went, other bases, new risks"),),
    "base fit": (
        ("underlay base fit app", "say whether this host can run the image, and why not"),
        ("underlay base fit --kernel linux-image-6.1.0-x_amd64.deb app", "the same of this host with another kernel"),
        ("underlay base fit --host other.json app", "the same of another host, by its `underlay info --format json`"),
    ),
    "base identify": (
        ("underlay base identify app", "name the base image, with evidence"),
        ("underlay base identify docker://registry.example.com/app:1", "of an image in a registry, without a pull"),
    ),
    "base metrics": (("underlay base metrics fleet.db", "figures of all images, in the text format of Prometheus"),),
    "base outdated": (("underlay base outdated app", "end with 1 when the base has moved, or its support has ended"),),
    "base rebase": (
        ("underlay base rebase --dry-run app", "what moving the image onto today's base would change"),
        ("underlay base rebase -t app:new app", "do it, under another name"),
    ),
    "base report": (
        ("underlay base report app web", "what these images stand on, and what to do first"),
        ("underlay base report fleet.db -f html -o fleet.html", "of all images of a scan, as a page"),
    ),
    "base scan": (
        ("underlay base scan -o fleet.db registry.example.com/", "look at all images of a registry, or go on with that"),
        ("underlay base scan -o fleet.db --pods pods.json", "at those that a cluster runs (`kubectl get pods -A -o json`)"),
        ("underlay base scan -o fleet.db --cluster tcp://scheduler:8786 registry.example.com/", "by Dask's workers"),
    ),
    "base watch": (
        ("underlay base watch fleet.db", "what is new of the bases since the last time; 1 if anything is"),
        ("underlay base watch --install --every 6h --notify https://hooks.example.com/x fleet.db", "by systemd"),
        ("underlay base watch --listen 127.0.0.1:8087 --format json fleet.db", "as a registry tells of pushes"),
    ),
    "base scan merge": (("underlay base scan merge -o fleet.db part1.db part2.db", "after scans with --shard 1/2, 2/2"),),
    "base vulns": (("underlay base vulns --severity high --fixable app", "what an update would mend, base's or own"),),
    "base who": (("underlay base who fleet.db openssl", "which images of a scan have a package"),),
    "build": (
        ("underlay build -t app .", "build from the Dockerfile in this directory"),
        ("underlay build --platform linux/amd64,linux/arm64 -t app .", "for two platforms under one name"),
        ("underlay build --secret id=token,src=token.txt .", "with a secret that no layer holds"),
    ),
    "commit": (("underlay commit -m 'after set-up' box box:ready", "make an image of what a container has changed"),),
    "completion": (
        ("underlay completion bash --install", "complete command lines in bash from the next shell on"),
        (". <(underlay completion bash)", "in this shell"),
    ),
    "config show": (("underlay config show", "list the settings, and where each comes from"),),
    "cp": (
        ("underlay cp web:/etc/nginx .", "copy a directory out of a container"),
        ("underlay cp page.html web:/srv/", "and a file into one"),
    ),
    "create": (("underlay create --name job alpine sleep 60", "make a container that `start` starts"),),
    "diff": (("underlay diff web", "what a container has changed of its image"),),
    "doctor": (("underlay doctor", "what this host lacks for which feature"),),
    "events": (
        ("underlay events", "what happens from now on"),
        ("underlay events --since 1h --filter event=die", "which containers have ended in the last hour"),
    ),
    "exec": (
        ("underlay exec -it web sh", "a shell in a running container"),
        ("underlay exec -u root web id", "one command as another user"),
    ),
    "export": (("underlay export -o web.tar web", "the file system of a container as a tar archive"),),
    "history": (("underlay history --no-trunc app", "the steps that made an image, with their sizes"),),
    "images": (
        ("underlay images", "list the images"),
        ("underlay images --filter dangling=true -q", "the ids of those that no name stands for"),
    ),
    "import": (("underlay import -c 'CMD [\"sh\"]' root.tar.gz base:1", "an image of a root file system"),),
    "info": (("underlay info --format '{{.Driver}}'", "how layers are kept here"),),
    "inspect": (
        ("underlay inspect -f '{{.State.Status}}' web", "one fact of a container"),
        ("underlay inspect -f '{{range .Mounts}}{{.Source}}{{\"\\n\"}}{{end}}' web", "the sources of its mounts"),
    ),
    "kill": (("underlay kill -s HUP web", "send a signal to the first process"),),
    "load": (("underlay load -i images.tar", "take the images of an archive"),),
    "login": (("underlay login registry.example.com", "keep a password for a registry"),),
    "logs": (
        ("underlay logs -f --tail 20 web", "the last lines, and what comes"),
        ("underlay logs --since 10m -t web", "of the last ten minutes, with times"),
    ),
    "machine kernel fetch": (
        ("underlay machine kernel fetch", "get the newest kernel of this host's distribution"),
        ("underlay machine kernel fetch --platform linux/arm64", "get one for machines of arm64, with a Python for it"),
    ),
    "machine kernel import": (
        ("underlay machine kernel import linux-image-6.12.1-x_amd64.deb", "add the kernel of a Debian package"),
        ("underlay machine kernel import /boot/vmlinuz-6.12.1-x", "add an installed kernel, with its modules"),
    ),
    "migrate": (
        ("underlay migrate --dry-run docker", "list what docker has, and what of it can be taken"),
        ("underlay migrate --images --volumes podman", "take images and volumes of podman"),
    ),
    "network create": (
        ("underlay network create team", "a network whose containers find each other by name"),
        ("underlay network create --internal --subnet 10.9.0.0/24 closed", "one without a way out"),
    ),
    "ps": (
        ("underlay ps", "list the running containers"),
        ("underlay ps -a --filter health=unhealthy", "all that are unhealthy"),
        ("underlay ps --format '{{.Names}}: {{.Status}}'", "in a form of one's own"),
    ),
    "pull": (
        ("underlay pull alpine:3.20", "fetch an image"),
        ("underlay pull --platform linux/arm64 alpine", "for another processor"),
    ),
    "push": (("underlay push registry.example.com/app:1", "send an image to a registry"),),
    "restart": (("underlay restart -t 5 web", "stop a container, kill it after five seconds, start it again"),),
    "rm": (
        ("underlay rm -f web", "remove a container, running or not"),
        ("underlay rm -v job", "one that does not run, with its anonymous volumes"),
    ),
    "rmi": (("underlay rmi app:old", "remove a name, and with the last one the image"),),
    "run": (
        ("underlay run --rm -it alpine", "a shell in a container that goes when it ends"),
        ("underlay run -d --name web -p 8080:80 nginx", "a server in the background, reached at port 8080"),
        ("underlay run --rm -v $PWD:/work -w /work -u $(id -u) node npm test", "one's own files, as oneself"),
        ("underlay run -m 512m --cpus 1.5 --pids-limit 100 app", "with limits"),
        ("underlay run --read-only --tmpfs /tmp --cap-drop ALL app", "with little to harm"),
    ),
    "save": (("underlay save -o images.tar app:1 app:2", "images with all their layers as one archive"),),
    "start": (("underlay start -a job", "start a container and see what it writes"),),
    "stats": (("underlay stats --no-stream", "what the running containers use now"),),
    "stop": (("underlay stop -t 30 web", "ask a container to end, and kill it after thirty seconds"),),
    "system df": (("underlay system df -v", "what takes how much disk"),),
    "system prune": (("underlay system prune -a --filter until=240h", "remove what was not used for ten days"),),
    "tag": (("underlay tag app registry.example.com/app:1", "give an image another name"),),
    "top": (("underlay top web -o pid,user,args", "the processes of a container"),),
    "update": (("underlay update --memory 1g --restart always web", "change limits of a running container"),),
    "volume create": (("underlay volume create data", "a directory that outlives its containers"),),
    "wait": (
        ("underlay wait job", "print the exit code when a container has ended"),
        ("underlay wait --condition healthy web", "return when its health check has succeeded"),
    ),
}  # fmt: skip
