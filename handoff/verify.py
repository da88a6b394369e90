"""``python -m handoff.verify PATH``: walk an artifact's parents back to raw and say what is wrong.

PATH is an artifact's directory, such as ``var/artifacts/predictions/predictions-0123456789abcdef``.
Every file is read and its SHA-256 compared. Exit code 0: everything is whole; 1: faults were found and listed.
"""

import os
import sys
from dataclasses import dataclass

from handoff.artifact import Artifact, check_files, check_manifest, load_manifest
from handoff.errors import ArtifactError, BatonError
from handoff.manifest import Parent
from handoff.store import Store


@dataclass(frozen=True)
class Link:
    """One artifact of a chain: how far from the start it was found, and what is wrong with it."""

    id: str
    depth: int
    artifact: Artifact | None
    problems: list[str]


def verify_chain(store: Store, identity: str) -> list[Link]:
    """Check an artifact and all its ancestors, each once, files and digests included.

    Returns:
        One link per artifact, children before parents.
    """
    links: list[Link] = []
    seen: set[str] = set()

    def visit(wanted: Parent, depth: int) -> None:
        if wanted.id in seen:
            return
        seen.add(wanted.id)
        try:
            manifest = load_manifest(store, wanted.id)
        except ArtifactError as error:
            links.append(Link(wanted.id, depth, None, error.problems))
            return
        artifact = Artifact(store, manifest)
        problems = check_manifest(manifest, wanted.id)
        if wanted.digest and manifest.digest != wanted.digest:
            problems.append("its manifest is not the one that its child was made from")
        links.append(Link(wanted.id, depth, artifact, problems + check_files(artifact, digests=True)))
        for parent in manifest.parents:
            visit(parent, depth + 1)

    visit(Parent(id=identity, digest=""), 0)
    return links


def describe_link(link: Link) -> str:
    """One line for people: id, files, bytes, rows, and whether it is whole."""
    mark = "FAULT" if link.problems else "ok"
    line = f"{'  ' * link.depth}{mark:5} {link.id}"
    if link.artifact:
        manifest = link.artifact.manifest
        rows = f", {sum(manifest.rows.values()):,} rows" if manifest.rows else ""
        line += f"  ({len(manifest.files)} files, {manifest.total_bytes / 1e6:.1f} MB{rows})"
    return "\n".join([line, *(f"{'  ' * link.depth}      - {p}" for p in link.problems)])


def locate(path: str) -> tuple[Store, str]:
    """The store and the artifact id of an artifact's directory, given as absolute or relative path or as URI."""
    parts = (path.rstrip("/") if "://" in path else os.path.abspath(path)).rsplit("/", 2)
    if len(parts) < 3 or not parts[2].startswith(f"{parts[1]}-"):
        raise BatonError(f"{path} is not an artifact's directory. Remedy: give a path that ends in <kind>/<kind>-<hex>")
    return Store(parts[0]), parts[2]


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print(__doc__)
        return 2
    try:
        links = verify_chain(*locate(arguments[0]))
    except BatonError as error:
        print(f"ERROR: {error}")
        return 2
    for link in links:
        print(describe_link(link))
    faulty = [link for link in links if link.problems]
    print(f"{len(links)} artifacts, {len(faulty)} with faults" if faulty else f"{len(links)} artifacts, all whole")
    return 1 if faulty else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
