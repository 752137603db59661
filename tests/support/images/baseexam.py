"""The exam of bases: images as people change them, and what they stand on."""

from __future__ import annotations

import json
from collections.abc import Callable

import variants
from archives import layer
from variants import Made, alpine, app, debian, flat, runtime

HOME = "hub.example/"
NOTHING = "scratch"

ALPINE, DEBIAN = alpine(), debian()
BIG = debian(packages=28).add(
    layer({"usr/share/doc/all": variants.noise("doc", 54_000)}), "RUN /bin/sh -c install docs # buildkit"
)
OLD, NEW = runtime(DEBIAN, "3.4.0"), runtime(DEBIAN, "3.4.1", 40)
ON_ALPINE = runtime(ALPINE, "3.4.1", 40, "musl")
SIBLING = runtime(DEBIAN, "3.4.1", 41, "with more").add(
    layer({"usr/local/extra": variants.noise("extra", 12_000)}), "RUN /bin/sh -c more"
)
KNOWN = {
    f"{HOME}alpine:3.20": ALPINE,
    f"{HOME}debian:12-slim": DEBIAN,
    f"{HOME}debian:12": BIG,
    f"{HOME}sprocket:3.4.0": OLD,
    f"{HOME}sprocket:3.4.1": NEW,
    f"{HOME}sprocket:3.4.1-alpine": ON_ALPINE,
    f"{HOME}sprocket-more:3.4.1": SIBLING,
}


# What is asked: an image, the names that are right, the worlds in which the answer must be right. Elsewhere it may be
# unsure.

Case = tuple[Callable[[], Made], tuple[str, ...], str]
CASES: dict[str, Case] = {}


def case(right: str, sure_in: str = "") -> Callable[[Callable[[], Made]], Callable[[], Made]]:
    def take(make: Callable[[], Made]) -> Callable[[], Made]:
        CASES[make.__name__] = (make, tuple(right.replace("~", HOME).split()), sure_in)
        return make

    return take


IS_ALPINE = "alpine:3.20 alpine:3.20.3 ~alpine:3.20"
IS_DEBIAN = "debian:12 debian:bookworm debian:12-slim debian:bookworm-slim ~debian:12-slim"
IS_NEW = "~sprocket:3.4.1 sprocket:3.4.1 sprocket:3.4"
EVERYWHERE = "fresh indexed stored"


@case(IS_ALPINE, EVERYWHERE)
def ordinary() -> Made:
    return app(ALPINE)


@case(IS_ALPINE, EVERYWHERE)
def ordinary_on_a_root_without_a_name() -> Made:
    made = Made().add(variants.alpine_tar(), "/bin/sh -c #(nop) ADD file:ab12cd34 in / ")
    return app(made.say('/bin/sh -c #(nop)  CMD ["/bin/sh"]'))


@case(IS_DEBIAN, EVERYWHERE)
def ordinary_on_debian() -> Made:
    return app(DEBIAN)


@case(IS_NEW, "indexed stored")
def on_a_runtime() -> Made:
    return app(NEW)


@case("~sprocket:3.4.0 sprocket:3.4.0", "indexed stored")
def on_an_older_build() -> Made:
    return app(OLD)


@case("~debian:12", "indexed stored")
def on_the_larger_sibling() -> Made:
    return app(BIG)


@case(IS_NEW, "")
def on_a_build_of_tomorrow() -> Made:
    return app(runtime(debian(day=60), "3.4.1", 3))


@case("~sprocket:3.4.1-alpine sprocket:3.4.1", "indexed stored")
def on_the_variant_of_another_distribution() -> Made:
    return app(ON_ALPINE)


@case(IS_NEW, "stored")
def squashed_to_one_layer_with_its_steps() -> Made:
    made = app(NEW)
    made.layers = [flat(made.layers)]
    for step in made.steps:
        step["empty_layer"] = True
    return made.say("", False, comment=f"merge sha256:{1:064x} to sha256:{2:064x}")


@case(IS_NEW, "indexed stored")
def squashed_above_its_base() -> Made:
    made = app(NEW)
    count = len(NEW.layers)
    made.layers = [*made.layers[:count], flat(made.layers[count:])]
    for step in made.steps[len(NEW.steps) :]:
        step["empty_layer"] = True
    return made.say("", False, comment="merge")


@case(IS_NEW, "stored")
def exported_and_imported() -> Made:
    made = Made(day=90)
    return made.add(flat(app(NEW).layers), "", comment="Imported from -")


@case(IS_ALPINE, "stored")
def alpine_exported_and_imported() -> Made:
    return Made(day=90).add(flat(app(ALPINE).layers), "", comment="Imported from -")


@case(IS_NEW, "stored")
def flattened_with_its_configuration() -> Made:
    made = app(NEW)
    whole = Made(day=90).add(flat(made.layers), "COPY / / # buildkit")
    whole.config = made.config
    return whole.say('CMD ["./shop"]')


@case(IS_ALPINE, EVERYWHERE)
def a_label_says_debian() -> Made:
    return app(ALPINE).say(f"LABEL {variants.BASE_NAME}=debian:bookworm")


@case(IS_ALPINE, EVERYWHERE)
def an_annotation_says_debian() -> Made:
    made = app(ALPINE)
    made.annotations = {
        variants.BASE_NAME: "docker.io/library/debian:bookworm",
        variants.BASE_DIGEST: f"sha256:{7:064x}",
    }
    return made


@case(IS_DEBIAN, "indexed stored")
def a_label_says_a_known_base() -> Made:
    return app(DEBIAN).say(f"LABEL {variants.BASE_NAME}={HOME}alpine:3.20")


@case(IS_NEW, EVERYWHERE)
def a_label_says_the_truth() -> Made:
    return app(NEW).say(f"LABEL {variants.BASE_NAME}={HOME}sprocket:3.4.1")


@case(IS_NEW, "indexed stored")
def a_label_of_its_base() -> Made:
    """Labels are inherited: this one is the base's own, of its base."""
    made = NEW.on()
    made.config["Labels"] = {variants.BASE_NAME: f"{HOME}debian:12-slim"}
    return app(made)


@case(IS_NEW, "indexed stored")
def compressed_again() -> Made:
    made = app(NEW)
    made.packing = "fast"
    return made


@case(IS_NEW, "indexed stored")
def compressed_with_zstd() -> Made:
    made = app(NEW)
    made.packing = "zstd"
    return made


@case(IS_NEW, "indexed stored")
def not_compressed() -> Made:
    made = app(NEW)
    made.packing = "none"
    return made


@case(IS_NEW, "indexed stored")
def without_history() -> Made:
    made = app(NEW)
    made.steps = []
    return made


@case(IS_NEW, "indexed stored")
def without_history_compressed_again() -> Made:
    made = without_history()
    made.packing = "fast"
    return made


@case(IS_ALPINE, EVERYWHERE)
def alpine_without_history() -> Made:
    made = app(ALPINE)
    made.steps = []
    return made


@case(IS_NEW, "indexed stored")
def times_of_steps_rewritten() -> Made:
    made = app(NEW)
    for step in made.steps:
        step["created"] = "1970-01-01T00:00:00Z"
    return made


@case(IS_NEW, "stored")
def times_of_files_rewritten() -> Made:
    made = app(NEW)
    made.layers = [variants.tar_of_files(variants.files_of([each]), 0) for each in made.layers]
    return made


@case(IS_ALPINE, EVERYWHERE)
def alpine_with_times_rewritten() -> Made:
    made = app(ALPINE)
    made.layers = [variants.tar_of_files(variants.files_of([each]), 0) for each in made.layers]
    for step in made.steps:
        step["created"] = "1970-01-01T00:00:00Z"
    return made


@case(IS_ALPINE, EVERYWHERE)
def the_last_of_several_stages() -> Made:
    made = ALPINE.on()
    made.add(
        layer({"usr/local/bin/sprocket": b"from the first stage" * 50}), "COPY /out/sprocket /usr/local/bin/ # buildkit"
    )
    return made.say('ENTRYPOINT ["/usr/local/bin/sprocket"]')


@case(NOTHING, "fresh indexed")
def a_static_program_alone() -> Made:
    made = Made().add(layer({"app": b"\x7fELF static" * 900}), "COPY /out/app /app # buildkit")
    return made.say('ENTRYPOINT ["/app"]')


@case(NOTHING)
def a_static_program_with_certificates() -> Made:
    made = Made().add(
        layer({"etc/ssl/certs/ca-certificates.crt": b"cert" * 900}), "COPY /etc/ssl/certs /etc/ssl/certs # buildkit"
    )
    made.add(layer({"etc/passwd": b"app:x:1:1::/:/app\n"}), "COPY /etc/passwd /etc/passwd # buildkit")
    made.add(layer({"app": b"\x7fELF static" * 900}), "COPY /out/app /app # buildkit")
    return made.say('ENTRYPOINT ["/app"]')


@case(IS_NEW, "indexed stored")
def rebased() -> Made:
    """What a rebase makes: the new base's layers and steps beneath its own."""
    made, above = NEW.on(), app(OLD)
    made.layers += above.layers[len(OLD.layers) :]
    made.steps += above.steps[len(OLD.steps) :]
    made.config["Cmd"] = above.config["Cmd"]
    return made


@case(IS_NEW, "")
def layers_exchanged_beneath_old_steps() -> Made:
    made = app(OLD)
    made.layers = [*NEW.layers, *made.layers[len(OLD.layers) :]]
    return made


@case(IS_ALPINE, "fresh stored")
def steps_of_debian_over_alpine() -> Made:
    made = app(DEBIAN)
    made.layers = [flat([variants.alpine_tar(), layer({"etc/mine": b"1"})]), *made.layers[1:]]
    return made


@case(IS_DEBIAN, "fresh stored")
def steps_of_alpine_over_debian() -> Made:
    made = app(ALPINE)
    made.layers = [layer({**variants.debian_files(), "etc/mine": b"1"}), *made.layers[1:]]
    return made


@case(NOTHING)
def steps_of_a_known_base_over_nothing() -> Made:
    made = app(NEW)
    made.layers = [layer({f"app{number}": b"\x7fELF" * 300}) for number in range(len(made.layers))]
    return made


@case(IS_ALPINE + " " + NOTHING)
def slimmed() -> Made:
    """As slim tools leave it: what the program used, in one layer."""
    kept = dict(list(variants.files_of(app(ALPINE).layers).items())[::9])
    kept["srv/app/shop"] = variants.files_of(app(ALPINE).layers)["srv/app/shop"]
    return Made(day=90).add(variants.tar_of_files(kept), "").say('CMD ["./shop"]')


@case(IS_NEW, "indexed stored")
def only_the_configuration_changed() -> Made:
    return NEW.on().say("ENV MODE=production").say('CMD ["sprocket" "--serve"]')


@case(IS_ALPINE, EVERYWHERE)
def only_a_label_added() -> Made:
    return ALPINE.on().say("LABEL team=shop")


@case(IS_ALPINE)
def of_another_platform() -> Made:
    files = {**variants.alpine_files(), "lib/ld-musl-aarch64.so.1": b"\x7fELF arm" * 40}
    del files["lib/ld-musl-x86_64.so.1"]
    made = Made("arm64").add(layer(files), "ADD alpine-minirootfs-3.20.3-aarch64.tar.gz / # buildkit")
    return app(made.say('CMD ["/bin/sh"]'))


@case(IS_NEW, "indexed stored")
def with_triggers_that_ran() -> Made:
    made = NEW.on()
    made.add(layer({"usr/src/app/main": b"main" * 30}), "COPY . /usr/src/app # buildkit")
    made.add(layer({"usr/src/app/out": b"out" * 30}), "RUN /bin/sh -c sprocket build # buildkit")
    return made


@case("~base-onbuild:1 " + IS_NEW, "indexed stored")
def of_a_base_with_triggers() -> Made:
    made = NEW.on().say("ONBUILD COPY . /usr/src/app").say("ONBUILD RUN sprocket build")
    made.config["OnBuild"] = ["COPY . /usr/src/app", "RUN sprocket build"]
    return made


@case(IS_NEW, "indexed stored")
def committed_from_a_container() -> Made:
    return NEW.on().add(layer({"root/notes": b"notes" * 9, "etc/hosts": b""}), "sprocket", comment="by hand")


@case(IS_NEW, EVERYWHERE)
def as_buildah_writes_it() -> Made:
    made = NEW.on()
    made.say("/bin/sh -c #(nop) WORKDIR /srv", comment=f"FROM {HOME}sprocket:3.4.1")
    return made.add(layer({"srv/x": b"x" * 80}), "/bin/sh -c #(nop) COPY file:aa11bb22cc in /srv/x ")


@case(IS_NEW, "indexed stored")
def as_kaniko_writes_it() -> Made:
    made = NEW.on().say("WORKDIR /srv", author="kaniko")
    made.add(layer({"srv/x": b"x" * 80}), "COPY x /srv/x", author="kaniko")
    for step in made.steps[len(NEW.steps) :]:
        step["created"] = "0001-01-01T00:00:00Z"
    return made


@case(IS_NEW, "indexed stored")
def as_jib_writes_it() -> Made:
    made = NEW.on()
    for number, what in enumerate(("dependencies", "resources", "classes")):
        made.add(layer({f"app/{what}": what.encode() * 70}), "jib-maven-plugin:3.4.0", comment=what, author="Jib")
        made.steps[-1]["created"] = "1970-01-01T00:00:01Z"
    return made


@case(IS_ALPINE, EVERYWHERE)
def as_ko_writes_it() -> Made:
    made = ALPINE.on()
    made.add(
        layer({"ko-app/server": b"\x7fELF go" * 300}),
        "ko build ko://example.com/server",
        comment="go build output",
        author="ko",
    )
    made.config["Entrypoint"] = ["/ko-app/server"]
    return made


@case(IS_NEW, "indexed stored")
def with_empty_layers_between() -> Made:
    made = NEW.on()
    nothing = bytes(1024)
    made.add(nothing, "WORKDIR /srv").add(layer({"srv/x": b"x" * 80}), "COPY x . # buildkit")
    return made.add(nothing, "WORKDIR /srv/y").say('CMD ["x"]')


@case("sprocket:9.9 sprocket:9.9.9")
def on_a_base_of_no_index() -> Made:
    return app(runtime(alpine("3.18.9", 5), "9.9.9"))


@case("?")
def on_a_distribution_of_no_list() -> Made:
    files = {
        "etc/os-release": b'ID=kettle\nVERSION_ID=7\nPRETTY_NAME="Kettle 7"\n',
        **variants.many("usr/share", 50, "kettle"),
    }
    made = Made().add(layer(files), "ADD file:ab12cd34ef in / ").say('/bin/sh -c #(nop)  CMD ["/bin/sh"]')
    return app(made)


@case(IS_DEBIAN + " ~debian:12")
def a_sibling_of_what_is_known() -> Made:
    """Begins as the runtime does, and is none of its builds."""
    made = DEBIAN.on(9).say("ENV SPROCKET_VERSION=3.4.1")
    made.add(layer({"usr/local/bin/cog": b"cog" * 300}), "RUN /bin/sh -c fetch cog && make # buildkit")
    return app(made.say('CMD ["cog"]'))


@case(IS_NEW, "stored")
def upgraded_and_flattened() -> Made:
    files = {name: (member, data) for name, (member, data) in variants.files_of(NEW.layers).items()}
    changed = [name for name in files if name.startswith("usr/share/debian")][:2]
    for name in changed:
        member, data = files[name]
        member.size += 3
        files[name] = (member, data + b"new")
    return Made(day=90).add(variants.tar_of_files(files), "", comment="Imported from -")


@case(IS_ALPINE, EVERYWHERE)
def with_files_of_its_base_removed() -> Made:
    made = ALPINE.on()
    made.add(layer({"usr/share/.wh.alpine": b"", "etc/.wh.motd": b""}), "RUN /bin/sh -c rm -rf /usr/share/* # buildkit")
    return made.say('CMD ["x"]')


@case(IS_DEBIAN + " " + IS_ALPINE)
def another_distribution_copied_over_it() -> Made:
    return app(ALPINE).add(layer(variants.debian_files()), "COPY / / # buildkit")


@case(IS_ALPINE, EVERYWHERE)
def os_release_forged_by_the_application() -> Made:
    made = ALPINE.on()
    forged = {"etc/os-release": variants.debian_files()["etc/os-release"]}
    return made.add(layer(forged), "COPY os-release /etc/ # buildkit").say('CMD ["x"]')


@case(IS_ALPINE, "fresh stored")
def os_release_forged_without_history() -> Made:
    made = os_release_forged_by_the_application()
    made.steps = []
    made.layers = [flat(made.layers)]
    return made


@case("alpine:3.18 alpine:3.18.9", EVERYWHERE)
def on_an_older_release() -> Made:
    return app(alpine("3.18.9", 1))


@case(IS_NEW + " " + IS_DEBIAN)
def with_a_renamed_program() -> Made:
    made = runtime(DEBIAN, "3.4.1", 40)
    made.steps[-1]["created_by"] = 'CMD ["gear"]'
    made.config["Cmd"] = ["gear"]
    return app(made)


@case(IS_NEW, "indexed stored")
def with_arguments_of_the_build() -> Made:
    made = NEW.on().say("ARG TOKEN")
    return made.add(layer({"srv/t": b"t" * 70}), "RUN |1 TOKEN=x /bin/sh -c use $TOKEN # buildkit").say('CMD ["t"]')


@case(IS_NEW, "indexed stored")
def with_the_same_layer_twice() -> Made:
    made = app(NEW)
    return made.add(made.layers[-1], "RUN /bin/sh -c ./build # buildkit").say('CMD ["./shop"]')


@case(NOTHING + " ~debian:12-slim", "")
def a_known_base_itself() -> Made:
    return DEBIAN.on(0)


@case("~debian:12-slim " + IS_DEBIAN, "indexed stored")
def a_known_runtime_itself() -> Made:
    return NEW.on(0)


@case("~gateway:2")
def claimed_by_buildpacks() -> Made:
    made = app(
        DEBIAN.on(4).add(layer({"usr/lib/gateway": variants.noise("gateway", 21_000)}), "RUN /bin/sh -c add gateway")
    )
    label = {"runImage": {"reference": f"sha256:{3:064x}", "image": f"{HOME}gateway:2"}}
    made.config["Labels"] = {"io.buildpacks.lifecycle.metadata": json.dumps(label)}
    return made


@case(NOTHING + " chainguard/wolfi-base:latest ?")
def as_apko_writes_it() -> Made:
    files = {
        **variants.alpine_files(),
        "etc/os-release": b'ID=wolfi\nNAME="Wolfi"\nVERSION_ID="20230201"\nPRETTY_NAME="Wolfi"\n',
    }
    return Made().add(layer(files), "apko", comment="This is an apko single-layer image")


@case(NOTHING + " gcr.io/distroless/static-debian12:latest " + IS_DEBIAN)
def as_distroless() -> Made:
    files = {
        "etc/os-release": variants.debian_files()["etc/os-release"],
        "var/lib/dpkg/status.d/base": b"Package: base-files\nVersion: 12.4\nArchitecture: amd64\n",
        "var/lib/dpkg/status.d/tzdata": b"Package: tzdata\nVersion: 2024a\nArchitecture: all\n",
        "etc/passwd": b"nonroot:x:65532:65532\n",
    }
    made = Made().add(layer(files), "bazel build @static//:root", comment="")
    made.steps[-1]["created"] = "0001-01-01T00:00:00Z"
    return made.add(layer({"app": b"\x7fELF" * 90}), "COPY /app /app # buildkit").say('ENTRYPOINT ["/app"]')
