"""Finds a data set by name: one folder, some of its shards, or many folders that form one data set."""

import fnmatch
from dataclasses import replace
from pathlib import Path

from keras_pose.core.errors import UserError
from keras_pose.data import files, shards
from keras_pose.data.shards import Manifest

# Names for folders of the package.
NAMED_DATASETS = {"embedded": Path(__file__).parent / "embedded"}


def locate(name: str) -> tuple[str, Manifest]:
    """Returns the folder of the data set `name` and its manifest, whose shards are relative to the folder.

    `name` is one of `NAMED_DATASETS` or a folder, also `gs://bucket/people`. With `*`, `?` or `[...]` it is a pattern:
    of shards, such as `people/train-0000?-*`, which then make up their splits, while splits without a match keep all
    their shards; or of folders, such as `parts/*`, which together form one data set with every example once.

    Raises:
        UserError: nothing found, a broken manifest, or folders with different skeletons or sizes.
    """
    directory = str(NAMED_DATASETS.get(name, name)).rstrip("/")
    is_folder = Path(directory).is_dir()
    if files.is_pattern(directory) and not is_folder:
        return _by_pattern(directory)
    if not is_folder and not files.is_remote(directory):
        known = ", ".join(sorted(NAMED_DATASETS))
        raise UserError(f"data set {name!r} is neither a folder nor one of: {known}")
    return directory, shards.read_manifest(directory)


def _by_pattern(pattern: str) -> tuple[str, Manifest]:
    parent, _, last = pattern.rpartition("/")
    parent = parent or "."
    if not files.is_pattern(parent) and files.size(files.join(parent, shards.MANIFEST)) is not None:
        return parent, _some_shards(shards.read_manifest(parent), pattern, last)
    folders = [f for f in files.matching(pattern) if files.size(files.join(f, shards.MANIFEST)) is not None]
    if not folders:
        raise UserError(f"nothing matches {pattern!r}; give a pattern of shards, or of folders with {shards.MANIFEST}")
    fixed = pattern[: min(pattern.find(c) for c in files.WILDCARDS if c in pattern)].rpartition("/")[0]
    return fixed or ("/" if pattern.startswith("/") else "."), _merged(fixed, folders, pattern)


def _some_shards(manifest: Manifest, pattern: str, last: str) -> Manifest:
    """The manifest with only the matching shards; splits without a match keep all of theirs."""
    chosen = {
        split: tuple(entry for entry in entries if fnmatch.fnmatchcase(entry.file, last))
        for split, entries in manifest.splits.items()
    }
    if not any(chosen.values()):
        raise UserError(f"no shard matches {pattern!r}; the folder has {', '.join(manifest.splits)}")
    return replace(manifest, splits={split: chosen[split] or entries for split, entries in manifest.splits.items()})


def _merged(fixed: str, folders: list[str], pattern: str) -> Manifest:
    """One manifest for all folders; the shards' paths are relative to `fixed`, the common start of the folders."""
    manifests = {folder: shards.read_manifest(folder) for folder in folders}
    first = manifests[folders[0]]
    splits: dict[str, tuple] = {}
    for folder, manifest in manifests.items():
        if (manifest.skeleton, manifest.image_size) != (first.skeleton, first.image_size):
            raise UserError(
                f"{folder} has {manifest.skeleton.name} at {manifest.image_size}, {folders[0]} "
                f"has {first.skeleton.name} at {first.image_size}; prepare all that {pattern!r} matches alike"
            )
        inside = folder[len(fixed) :].lstrip("/")
        for split, entries in manifest.splits.items():
            named = tuple(replace(entry, file=f"{inside}/{entry.file}") for entry in entries)
            splits[split] = splits.get(split, ()) + named
    licences = {str(licence): licence for manifest in manifests.values() for licence in manifest.licences}
    generators = {"name": "many folders", "folders": {f: manifest.generator for f, manifest in manifests.items()}}
    return replace(first, name=pattern, splits=splits, generator=generators, licences=tuple(licences.values()))
