"""The chain of artifacts behind a run, read from the manifests alone."""

from collections.abc import Sequence
from dataclasses import dataclass

from handoff.artifact import check_manifest, load_manifest
from handoff.errors import ArtifactError
from handoff.manifest import Manifest, Parent, artifact_dir, kind_of
from handoff.store import Store


@dataclass(frozen=True)
class Node:
    """One artifact of the chain; ``manifest`` is None if it cannot be read; ``problems`` says why."""

    id: str
    depth: int
    role: str
    directory: str
    manifest: Manifest | None
    problems: list[str]


def lineage(store: Store, roots: Sequence[str]) -> list[Node]:
    """All artifacts that the roots descend from, each once, children before their parents.

    Manifests are checked against their own digest and the one that their child noted; data files are not read
    (``python -m handoff.verify`` does that).
    """
    nodes: list[Node] = []
    seen: set[str] = set()

    def visit(wanted: Parent, depth: int, child: Manifest | None) -> None:
        if wanted.id in seen:
            return
        seen.add(wanted.id)
        directory = store.uri(artifact_dir(wanted.id))
        try:
            manifest = load_manifest(store, wanted.id)
        except ArtifactError as error:
            nodes.append(Node(wanted.id, depth, kind_of(wanted.id), directory, None, error.problems))
            return
        problems = check_manifest(manifest, wanted.id)
        if wanted.digest and manifest.digest != wanted.digest:
            problems.append("its manifest is not the one that its child was made from")
        nodes.append(Node(wanted.id, depth, _role(manifest, child), directory, manifest, problems))
        for parent in manifest.parents:
            visit(parent, depth + 1, manifest)

    for root in roots:
        visit(Parent(id=root, digest=""), 0, None)
    return nodes


def _role(manifest: Manifest, child: Manifest | None) -> str:
    """What the artifact is in this chain: a model with a corpus among its parents was tuned, one without is a base."""
    if manifest.kind == "model":
        return "tuned model" if manifest.parent("corpus") else "base model"
    if manifest.kind == "raw" and child is not None:
        return {"corpus": "raw text", "predictions": "prompts", "prompts": "prompt files", "model": "model files"}.get(
            child.kind, "raw"
        )
    return manifest.kind
