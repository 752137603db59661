"""What is demanded of an image before it is taken from where it lies, by a policy file and by the caller."""

from __future__ import annotations

import os

from ...errors import InvalidInput, Unsupported, Untrusted
from .policy_file import PolicyFile, place
from .requirements import Accept, Keyless, Reject, Signed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...oci.reference import Reference
    from ...registry.registries import Registries
    from ...registry.repository import Repository
    from .requirements import Requirement
    from .verify import Verified

POLICY = "policy"
_KEYLESS = ("identity", "issuer", "trusted-root")


class Trust:
    """What is demanded: by the policy file, if there is one, and by `given`, what the caller demands besides."""

    def __init__(self, policy: PolicyFile | None, given: Requirement | None = None, strict: bool = False) -> None:
        self.policy = policy
        self._given = given
        self._strict = strict

    @classmethod
    def read(cls, demanded: str = "") -> Trust:
        """Return what a caller demands: "" (the policy alone), "policy" (it must demand a signature), the path of a public
        key, or `identity=…,issuer=…,trusted-root=…`. Raises InvalidInput, NotFound, HelperMissing, Unsupported."""
        path = place()
        policy = PolicyFile(path) if path else None
        if not demanded:
            return cls(policy)
        if demanded == POLICY:
            if policy is None:
                raise InvalidInput(
                    "there is no trust policy",
                    "it is looked for at ~/.config/containers/policy.json and /etc/containers/policy.json",
                )
            return cls(policy, strict=True)
        if "=" in demanded and not os.path.exists(demanded):
            return cls(policy, _keyless(demanded))
        from . import keys

        return cls(policy, Signed(keys=(keys.read(demanded),)))

    def of_registry(self, reference: Reference) -> list[Requirement]:
        """Return what is demanded of an image of a registry. Raises as the policy file does, and Untrusted where a policy
        that must demand a signature demands none."""
        demanded = self.policy.of_registry(reference) if self.policy is not None else []
        if self._strict and not any(isinstance(one, Signed | Reject) for one in demanded):
            where = self.policy.path if self.policy is not None else ""
            raise Untrusted(f"{reference.familiar}: the trust policy demands no signature of it", f"add one to {where}")
        return [*demanded, *([self._given] if self._given is not None else [])]

    def demands(self, reference: Reference) -> bool:
        """Tell whether anything is demanded of an image. Raises as `of_registry`."""
        return any(not isinstance(one, Accept) for one in self.of_registry(reference))

    def check_path(self, transport: str, path: str) -> None:
        """Check an image in a file or directory: raises Untrusted where the policy rejects it, Unsupported where it demands
        a signature, which is kept in registries only."""
        for one in self.policy.of_path(transport, path) if self.policy is not None else []:
            if isinstance(one, Reject):
                raise Untrusted(
                    f"{transport}:{path} is rejected by the trust policy", "the policy names what is accepted"
                )
            if isinstance(one, Signed):
                raise Unsupported(f"{transport}:{path}: the trust policy demands a signature, which no archive holds")

    def check(self, repository: Repository, reference: Reference, digest: str, images: Sequence[str] = ()) -> Verified:
        """Verify what `reference` stands for: its manifest or index `digest`, else all `images` of it that are taken.

        An index names its images by digest, so its signature is theirs. Raises Untrusted, and what verifying raises.
        """
        from . import verify

        demanded = self.of_registry(reference)
        try:
            return verify.verify(repository, reference, digest, demanded)
        except Untrusted:
            if not images or list(images) == [digest]:
                raise
        verified = [verify.verify(repository, reference, image, demanded) for image in images]
        return verified[0]


def _keyless(text: str) -> Keyless:
    fields = dict(part.partition("=")[::2] for part in text.split(","))
    if set(fields) != set(_KEYLESS) or not all(fields.values()):
        raise InvalidInput(
            f"invalid value for --verify: {text!r:.200}",
            f"the path of a public key, {POLICY}, or identity=WHO,issuer=URL,trusted-root=FILE",
        )
    return Keyless(fields["identity"], fields["issuer"], fields["trusted-root"])


def verify_digest(registries: Registries, reference: Reference, digest: str, demanded: str = "") -> list[str]:
    """Verify the signature of a manifest (of anything: an image, an index, an artefact) in a repository.

    `reference` names the repository, `digest` the manifest; `demanded` is as in `Trust.read`. Returns who has signed, []
    where nothing is demanded. Raises Untrusted, and what `Trust.read`, `Trust.check` and registries raise.
    """
    trust = Trust.read(demanded)
    return trust.check(registries.repository(reference), reference, digest).signers
