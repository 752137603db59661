"""RUN: runs a command in a container on top of the previous layers; its changes become the next layer."""

from __future__ import annotations

import os
import posixpath
import threading

from ...dockerfile.metadata import shell_of
from ...errors import NotFound, StartFailed, StepFailed, WorkerKilled
from ...linux import cgroup
from ...store.rows import layers as layer_rows
from .. import arguments, given_secrets, history_text
from ..cache import keys
from ..cache.cache import Result
from ..image import PATH
from . import cachemounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...dockerfile.instructions import Run
    from ...dockerfile.mounts import Mount
    from ...store.rows.layers import Layer
    from ..cache.buildkit.keys import Copied, Key
    from ..context.contexts import Origin
    from ..request import StepRequest
    from ..stage_run import StageRun
    from ..vertices import Vertex
    from ..workers.messages import AgentMount, LayerMade, SecretMount, StepEnded, StepJob, StepMount

_PIECE = 64 << 10
_SHOWN = 1000  # letters of a command line in an error


def run(stage: StageRun, instruction: Run) -> None:
    """Carry out a RUN. Raises StepFailed when its program does not end with 0, and what cannot be had for it."""
    step = _Step(stage, instruction)
    with stage.vertex(stage.shown(instruction)) as vertex:
        stage.grow(vertex, step.key(), lambda: step.run(vertex), buildkit=step.buildkit_key)
    stage.state.record(history_text.run(step.words, stage.state), stage.created)


class _Step:
    def __init__(self, stage: StageRun, instruction: Run) -> None:
        self._stage = stage
        self._work = stage.work
        self._instruction = instruction
        state = stage.state
        shell = shell_of(state.execution)
        self.words = instruction.command.arguments(shell)
        self._directory = state.execution.get("WorkingDir") or "/"
        self._user = state.execution.get("User") or ""
        request = stage.work.request
        wanted = request.network if instruction.network == "default" else instruction.network
        self._network = wanted or "default"
        self._insecure = instruction.security == "insecure"
        self._check_allowed()
        values = state.variables if "PATH" in state.variables else {"PATH": PATH.partition("=")[2], **state.variables}
        self._environment = [f"{name}={value}" for name, value in values.items()]

    def _check_allowed(self) -> None:
        allowed = self._work.request.allow
        for wanted, needs in (
            ("security.insecure", self._insecure),
            ("network.host", self._instruction.network == "host" and self._work.steps.network != "host"),
        ):
            if needs and wanted not in allowed:
                raise self._instruction.problem(
                    f"{wanted} is not allowed", f"allow it with --allow {wanted} if you trust the Dockerfile"
                )
        if self._work.request.isolation == "machine" and any(mount.kind == "ssh" for mount in self._instruction.mounts):
            raise self._instruction.problem(
                "--mount=type=ssh is not possible with --isolation machine", "sockets do not lead out of a machine"
            )
        for device in self._instruction.devices:
            if not {"device", f"device={device.name}"} & set(allowed):
                raise self._instruction.problem(
                    f"device {device.name} is not allowed",
                    f"allow it with --allow device={device.name} if you trust the Dockerfile",
                )

    def _devices(self) -> list[tuple[str, bool]]:
        """Return the devices that the step has: those of the caller, and those of the Dockerfile."""
        asked = [(device.name, device.required) for device in self._instruction.devices]
        return [*((name, True) for name in self._work.request.devices), *asked]

    def key(self) -> str:
        """Return the key of the result: all that decides about it, but neither secrets nor proxies."""
        instruction, request = self._instruction, self._work.request
        script = instruction.script
        return keys.key(
            "run",
            self._stage.state.filesystem.key,
            str(self._stage.state.platform),
            self.words,
            script.data if script is not None else "",
            self._environment,
            self._directory,
            self._user,
            self._network,
            self._insecure,
            [self._mount_key(mount) for mount in instruction.mounts],
            self._devices(),
            request.security,
            request.extra_hosts,
            request.ulimits,
            request.shm_size,
            arguments_hostname(request.arguments),
            request.epoch,
        )

    def buildkit_key(self, below: Key) -> Key | None:
        """Return BuildKit's key of the step above `below`; None for what we do not know its key of."""
        from ..cache.buildkit import keys as buildkit
        from ..cache.buildkit import mounts

        instruction, request = self._instruction, self._work.request
        if self._devices() or instruction.script is not None or request.epoch is not None:
            return None
        if (
            request.security
            or request.extra_hosts
            or request.ulimits
            or request.shm_size
            or request.limits.get("cgroup_parent")
        ):
            return None
        if arguments_hostname(request.arguments):
            return None
        described = mounts.described(
            [(self._target(mount), mount) for mount in instruction.mounts],
            request.arguments.get("BUILDKIT_CACHE_MOUNT_NS", ""),
            below,
            self._buildkit_source,
        )
        if described is None:
            return None
        platform = self._stage.state.platform.brief
        return buildkit.run(
            below,
            self.words,
            self._environment,
            self._directory,
            self._user,
            self._network,
            self._insecure,
            platform,
            *described,
        )

    def _buildkit_source(self, mount: Mount) -> tuple[Key | None, Copied] | None:
        from ..copy.transferring import buildkit_source

        origin = self._origin(mount)
        if origin.filesystem is None and mount.from_:
            return None
        return buildkit_source(origin, mount.source or "/")

    def _mount_key(self, mount: Mount) -> list[object]:
        fixed: list[object] = [mount.kind, self._target(mount) if mount.target else "", mount.read_only, mount.required]
        fixed += [mount.mode, mount.uid, mount.gid, mount.size]
        if mount.kind == "bind" or (mount.kind == "cache" and mount.from_):
            from ..copy.transferring import content_key

            # What is in it decides, wherever that comes from.
            fixed.append(content_key(self._stage, self._origin(mount), mount.source or "/"))
        if mount.kind == "bind":
            return fixed
        inside = "" if mount.from_ else mount.source
        return [*fixed, inside, mount.id, mount.env, mount.sharing]

    def _origin(self, mount: Mount) -> Origin:
        stage = self._stage
        return stage.solver.origin(mount.from_, stage.planned.stage.index, stage.state.platform)

    def run(self, vertex: Vertex) -> Result:
        """Run the program; its files are packed afterwards."""
        from ..request import StepRequest

        work, views = self._work, self._work.views
        directory = views.make_directory("step")
        for name in ("upper", "work", "files", "mounts"):
            os.mkdir(f"{directory}/{name}", 0o700)
        secrets = self._secret_variables()
        held = cachemounts.Held()
        try:
            mounts = self._mounts(held, directory)
            name = arguments_hostname(work.request.arguments)
            request = StepRequest(
                id=f"build-{os.getpid()}-{os.urandom(8).hex()}",
                directory=f"{directory}/files",
                arguments=self.words,
                environment=[*self._proxies(), *self._environment, *secrets],
                working_directory=self._directory,
                platform=self._stage.state.platform,
                user=self._user,
                network=self._network,
                insecure=self._insecure,
                destinations=[step_mount["destination"] for step_mount in mounts],
                tmpfs=[
                    (self._target(mount), mount.size) for mount in self._instruction.mounts if mount.kind == "tmpfs"
                ],
                devices=self._devices(),
                hostname=name or "buildkitsandbox",
            )
            try:
                answer = self._carried_out(vertex, request, directory, mounts)
            finally:
                work.steps.done(request)
        finally:
            held.release()
        if answer["code"]:
            self._fail(answer["code"], answer["memory"])
        return Result(lambda: self._pack(f"{directory}/upper"), f"{directory}/upper")

    def _carried_out(self, vertex: Vertex, request: StepRequest, directory: str, mounts: list[StepMount]) -> StepEnded:
        work, views = self._work, self._work.views
        record = work.steps.compose(request)
        record["root"] = {
            "target": f"{directory}/mounts",
            "lower": ["/"],
            "upper": f"{directory}/upper",
            "work": f"{directory}/work",
        }
        return self._watched(
            vertex,
            {
                "record": record,
                "scratch": directory,
                "lower": views.lower(self._stage.state.filesystem),
                "upper": f"{directory}/upper",
                "work": f"{directory}/work",
                "userxattr": views.userxattr,
                "mounts": mounts,
            },
        )

    def _proxies(self) -> list[str]:
        return [f"{name}={value}" for name, value in arguments.proxies(self._work.request.arguments).items()]

    def _pack(self, upper: str) -> Layer:
        paths = self._work.views.paths
        made: LayerMade = self._work.foreman.call(
            "pack",
            {
                "paths": [paths.root, paths.state],
                "upper": upper,
                "userxattr": self._work.views.userxattr,
                "clamp": self._work.request.epoch,
            },
            lasting=True,
        )
        return layer_rows.Layer(made["diff_id"], made["size"], made["entries"], made["content"])

    def _watched(self, vertex: Vertex, job: StepJob) -> StepEnded:
        """Have a worker run the step, and pass on what it writes meanwhile."""
        ends = [os.pipe2(os.O_CLOEXEC) for _ in range(2)]
        readers = [
            threading.Thread(target=_follow, args=(read, vertex, number), name="step-output", daemon=True)
            for number, (read, _) in enumerate(ends, 1)
        ]
        for reader in readers:
            reader.start()
        try:
            ended: StepEnded = self._work.foreman.call("step", job, [write for _, write in ends])
            return ended
        except WorkerKilled:
            # Its container has died with it; its control group must be removed here.
            group = cgroup.open_group(job["record"]["cgroup"], job["record"]["rootless"])
            group.kill()
            group.remove()
            raise
        except StartFailed as error:
            # Which of docker's codes it would be for a container means nothing for a build.
            raise StepFailed(error.message, error.hint) from None
        finally:
            for _, write in ends:
                os.close(write)
            for reader in readers:
                reader.join()

    def _fail(self, code: int, memory: bool) -> None:
        words = " ".join(self.words)
        if len(words) > _SHOWN:
            words = words[:_SHOWN] + "…"
        raise StepFailed(
            f'process "{words}" did not complete successfully: exit code: {code}',
            "the kernel killed it: it reached its memory limit" if memory else "",
        )

    # Mounts

    def _target(self, mount: Mount) -> str:
        return posixpath.normpath(posixpath.join(self._directory, mount.target))

    def _mounts(self, held: cachemounts.Held, directory: str) -> list[StepMount]:
        step_mounts: list[StepMount] = []
        for mount in self._instruction.mounts:
            if mount.kind == "tmpfs" or (mount.kind == "secret" and not mount.target):
                continue
            made = self._mount(mount, held)
            if made is not None:
                step_mounts.append(made)
        script = self._instruction.script
        if script is not None:
            data = script.data.encode("utf-8", "surrogateescape")
            step_mounts.append(_file(f"/dev/pipes/{script.name}", data, 0o755, 0, 0))
        return step_mounts

    def _mount(self, mount: Mount, held: cachemounts.Held) -> StepMount | None:
        target = self._target(mount)
        if mount.kind == "secret":
            data = self._secret(mount)
            if data is None:
                return None
            return _file(target, data, mount.mode or 0o400, mount.uid or 0, mount.gid or 0)
        if mount.kind == "ssh":
            return self._agent(mount)
        if mount.kind == "cache":
            path = held.directory(self._work, mount, self._cache_seed(mount))
            return {
                "kind": "directory",
                "destination": target,
                "path": path,
                "inside": "" if mount.from_ else mount.source,
                "writable": not mount.read_only,
            }
        from ..copy.transferring import shown

        return {
            "kind": "tree",
            "destination": target,
            "lower": shown(self._stage, self._origin(mount), mount.source or "/"),
            "path": mount.source or "/",
            "writable": not mount.read_only,
        }

    def _cache_seed(self, mount: Mount) -> list[str]:
        from ..copy.transferring import shown

        return shown(self._stage, self._origin(mount), mount.source or "/") if mount.from_ else []

    def _secret(self, mount: Mount) -> bytes | None:
        data = given_secrets.read(self._work.request, mount.id)
        if data is None and mount.required:
            raise NotFound(f"secret {mount.id}: not found", f"give it with --secret id={mount.id},src=FILE")
        return data

    def _secret_variables(self) -> list[str]:
        variables = []
        for mount in self._instruction.mounts:
            if mount.kind == "secret" and mount.env is not None:
                data = self._secret(mount)
                if data is not None:
                    name = mount.env if mount.env not in ("", "true") else mount.id
                    variables.append(f"{name}={data.decode('utf-8', 'surrogateescape')}")
        return variables

    def _agent(self, mount: Mount) -> AgentMount | None:
        path = self._work.request.ssh.get(mount.id)
        if path is None:
            if mount.required:
                raise NotFound(f"unset ssh forward key {mount.id}", f"give it with --ssh {mount.id}")
            return None
        number = [other for other in self._instruction.mounts if other.kind == "ssh"].index(mount)
        target = self._target(mount) if mount.target else f"/run/buildkit/ssh_agent.{number}"
        if number == 0 and "SSH_AUTH_SOCK" not in {variable.partition("=")[0] for variable in self._environment}:
            self._environment.append(f"SSH_AUTH_SOCK={target}")
        return {
            "kind": "agent",
            "destination": target,
            "path": path,
            "mode": mount.mode or 0o600,
            "uid": mount.uid or 0,
            "gid": mount.gid or 0,
        }


def arguments_hostname(given: dict[str, str]) -> str:
    """Return the hostname that the caller wants steps to have, "" for the usual one."""
    return given.get("BUILDKIT_SANDBOX_HOSTNAME") or ""


def _file(target: str, data: bytes, mode: int, uid: int, gid: int) -> SecretMount:
    return {"kind": "secret", "destination": target, "data": data, "mode": mode, "uid": uid, "gid": gid}


def _follow(fd: int, vertex: Vertex, stream: int) -> None:
    while data := os.read(fd, _PIECE):
        vertex.log(data, stream)
    os.close(fd)
