"""Carries out a build: runs the needed stages, each in its own thread, waiting for those it reads from."""

from __future__ import annotations

import threading

from ..errors import InvalidInput, UnderlayError
from ..human import whole
from . import graph
from .workers.workers import Abandoned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..oci.platform import Platform
    from .context.contexts import Origin
    from .image import State
    from .work import Work


class Solver:
    """Makes stages, each once, for the first that asks."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self._lock = threading.Lock()
        self._tasks: dict[int, _Task] = {}
        self._problem: BaseException | None = None

    def solve(self, target: int) -> State:
        """Return the state in which the stage `target` ends; raises what the first failing stage has raised."""
        threads = []
        for number in graph.needed(self.work.planned, target)[:-1]:
            thread = threading.Thread(target=self._quietly, args=(number,), name=f"stage-{number}", daemon=True)
            thread.start()
            threads.append(thread)
        try:
            return self.stage(target)
        except BaseException as error:
            self._failed(error)
            raise self._problem or error from None
        finally:
            for thread in threads:
                thread.join()

    def stage(self, number: int) -> State:
        """Return the state in which a stage ends, made now or waited for."""
        with self._lock:
            task = self._tasks.get(number)
            mine = task is None
            if task is None:
                task = self._tasks[number] = _Task()
        if mine:
            from .stage import Stage

            try:
                task.state = Stage(self.work, self, self.work.planned[number]).run()
            except BaseException as error:
                task.error = error
                self._failed(error)
                raise
            finally:
                task.done.set()
        task.done.wait()
        if task.error is not None:
            raise task.error
        assert task.state is not None
        return task.state

    def _failed(self, error: BaseException) -> None:
        """Note the first real failure, and end all other work: its results are not needed any more."""
        with self._lock:
            if self._problem is None and not isinstance(error, Abandoned):
                self._problem = error
        self.work.foreman.abandon()

    def _quietly(self, number: int) -> None:
        try:
            self.stage(number)
        except Exception:
            pass  # the stages that wait for this one raise it, and the build notes it as its problem

    def origin(self, name: str, before: int, platform: Platform) -> Origin:
        """Return what `--from=name` means in the stage with the number `before`: a context, a stage, or an image."""
        from .context.contexts import Origin

        if not name:
            return self.work.context.origin
        named = self.work.bases.context(name)
        if named is not None:
            return named
        number = graph.number_of(self.work.recipe, name, before)
        if number is not None:
            return Origin(f"stage {name}", filesystem=self.stage(number).filesystem)
        if whole(name) >= 0:
            raise InvalidInput(f"invalid stage index {name}: stages before this one have the numbers 0 to {before - 1}")
        if self.work.recipe.named(name) is not None:
            raise UnderlayError(
                f"--from={name}: the stage {name} comes later", "a stage can only read from those before it"
            )
        try:
            return Origin(name, filesystem=self.work.bases.image(name, platform, self.work.materials).filesystem)
        except UnderlayError as error:
            self.work.suggest_stage(error, name, before)
            raise


class _Task:
    __slots__ = ("done", "error", "state")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.error: BaseException | None = None
        self.state: State | None = None
