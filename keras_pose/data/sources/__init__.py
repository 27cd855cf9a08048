"""The data sources, one file a format; see docs/extending.md for adding one."""

from keras_pose.data.sources.base import Source
from keras_pose.errors import unknown_name

SOURCES: dict[str, Source] = {source.name: source for source in ()}


def get_source(name: str) -> Source:
    """The source of that name; raises UserError that lists the known ones."""
    if name not in SOURCES:
        raise unknown_name("source", name, SOURCES)
    return SOURCES[name]
