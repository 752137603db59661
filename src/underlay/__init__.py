"""underlay: a container engine for Linux that knows what every image stands on.

All that programs use is here, `Engine` first; what can go wrong is in `underlay.errors`.
"""

from __future__ import annotations

from .version import __version__

__all__ = [
    "Attachment",
    "Bases",
    "BrokenRule",
    "BuildRequest",
    "BuildResult",
    "Builds",
    "CacheEntry",
    "CacheStore",
    "CheckReport",
    "Container",
    "ContainerOptions",
    "Containers",
    "Credential",
    "Deleted",
    "Difference",
    "Engine",
    "Event",
    "ExecOptions",
    "Execution",
    "Exposure",
    "FetchedManifest",
    "Finding",
    "Fit",
    "FleetReport",
    "FoundRepository",
    "HistoryEntry",
    "Holder",
    "Identified",
    "Image",
    "ImageUsage",
    "Images",
    "Imported",
    "Kernel",
    "KnownName",
    "Learned",
    "Machines",
    "Moved",
    "Network",
    "Networks",
    "Outdated",
    "Output",
    "OwnBase",
    "Policy",
    "Pool",
    "Problem",
    "Process",
    "Processes",
    "Pruned",
    "Pushed",
    "Reconstruction",
    "Registries",
    "Removed",
    "Result",
    "Scanned",
    "Scans",
    "Secret",
    "Session",
    "Standing",
    "Stats",
    "Status",
    "Synced",
    "System",
    "Updated",
    "Usage",
    "Volume",
    "Volumes",
    "Vulnerability",
    "Watched",
    "__version__",
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .base.advisories import Imported
    from .base.advisories.exposure import Exposure
    from .base.advisories.feeds import Updated
    from .base.advisories.vulnerabilities import Vulnerability
    from .base.dockerfile.reconstruct import Reconstruction
    from .base.fit import Fit
    from .base.fleet.outdated import Outdated
    from .base.fleet.policy import BrokenRule, Policy, Standing
    from .base.fleet.report import FleetReport
    from .base.identify.identify import Identified
    from .base.index.learn import Learned
    from .base.rebase.move import Moved
    from .base.scan.answers import Holder
    from .base.scan.comparing import Difference
    from .base.scan.learning import OwnBase
    from .base.scan.scanning import Scanned
    from .base.watch.news import Watched
    from .builder.cache.prune import CacheEntry
    from .builder.request import BuildRequest, CacheStore, Output, Secret
    from .dockerfile.rules import Finding
    from .engine.bases import Bases, KnownName
    from .engine.builds import Builds
    from .engine.builds.result import BuildResult
    from .engine.containers import Containers
    from .engine.containers.exec import Execution
    from .engine.containers.handle import Container
    from .engine.containers.result import Result
    from .engine.containers.session import Session
    from .engine.containers.stats import Stats
    from .engine.containers.top import Process, Processes
    from .engine.engine import Engine
    from .engine.images import Images
    from .engine.images.copy import Synced
    from .engine.images.handle import Image
    from .engine.images.results import HistoryEntry, Removed
    from .engine.machines import Machines
    from .engine.machines.kernels import Kernel
    from .engine.networks import Networks
    from .engine.options import ContainerOptions, ExecOptions
    from .engine.registries import FoundRepository, Registries
    from .engine.scans import Scans
    from .engine.system import ImageUsage, System, Usage
    from .engine.volumes import Volumes
    from .events import Event
    from .network.model import Network, Pool
    from .registry.credentials import Credential
    from .registry.repository import FetchedManifest
    from .runtime.monitor.attachment import Attachment
    from .runtime.monitor.state import Status
    from .store.check import CheckReport, Problem
    from .store.pruned import Pruned
    from .store.rows.volumes import Volume
    from .transfer.registry.deletion import Deleted
    from .transfer.registry.outgoing import Pushed

# The module of each name; it is imported when the name is used first.
_HOMES = {
    "Attachment": "runtime.monitor.attachment",
    "Bases": "engine.bases",
    "BrokenRule": "base.fleet.policy",
    "BuildRequest": "builder.request",
    "BuildResult": "engine.builds.result",
    "Builds": "engine.builds",
    "CacheEntry": "builder.cache.prune",
    "CacheStore": "builder.request",
    "CheckReport": "store.check",
    "Container": "engine.containers.handle",
    "ContainerOptions": "engine.options",
    "Containers": "engine.containers",
    "Credential": "registry.credentials",
    "Deleted": "transfer.registry.deletion",
    "Difference": "base.scan.comparing",
    "Engine": "engine.engine",
    "Event": "events",
    "ExecOptions": "engine.options",
    "Execution": "engine.containers.exec",
    "Exposure": "base.advisories.exposure",
    "FetchedManifest": "registry.repository",
    "Finding": "dockerfile.rules",
    "Fit": "base.fit",
    "FleetReport": "base.fleet.report",
    "FoundRepository": "engine.registries",
    "HistoryEntry": "engine.images.results",
    "Holder": "base.scan.answers",
    "Identified": "base.identify.identify",
    "Image": "engine.images.handle",
    "ImageUsage": "engine.system",
    "Images": "engine.images",
    "Imported": "base.advisories",
    "Kernel": "engine.machines.kernels",
    "KnownName": "engine.bases",
    "Learned": "base.index.learn",
    "Machines": "engine.machines",
    "Moved": "base.rebase.move",
    "Network": "network.model",
    "Networks": "engine.networks",
    "Outdated": "base.fleet.outdated",
    "Output": "builder.request",
    "OwnBase": "base.scan.learning",
    "Policy": "base.fleet.policy",
    "Pool": "network.model",
    "Problem": "store.check",
    "Process": "engine.containers.top",
    "Processes": "engine.containers.top",
    "Pruned": "store.pruned",
    "Pushed": "transfer.registry.outgoing",
    "Reconstruction": "base.dockerfile.reconstruct",
    "Registries": "engine.registries",
    "Removed": "engine.images.results",
    "Result": "engine.containers.result",
    "Scanned": "base.scan.scanning",
    "Scans": "engine.scans",
    "Secret": "builder.request",
    "Session": "engine.containers.session",
    "Standing": "base.fleet.policy",
    "Stats": "engine.containers.stats",
    "Status": "runtime.monitor.state",
    "Synced": "engine.images.copy",
    "System": "engine.system",
    "Updated": "base.advisories.feeds",
    "Usage": "engine.system",
    "Volume": "store.rows.volumes",
    "Volumes": "engine.volumes",
    "Vulnerability": "base.advisories.vulnerabilities",
    "Watched": "base.watch.news",
}


def __getattr__(name: str) -> object:
    """Offer the public classes without importing them for those who only want the version."""
    if name in _HOMES:
        module = __import__(f"underlay.{_HOMES[name]}", fromlist=[name])
        return getattr(module, name)
    raise AttributeError(f"module 'underlay' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
