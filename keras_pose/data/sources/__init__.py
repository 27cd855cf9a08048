"""The data sources, one file per format; docs/extending.md explains how to add one."""

from keras_pose.core.errors import unknown_name
from keras_pose.data.sources import (
    coco,
    folder,
    human36m,
    human36m_challenge,
    human36m_mmpose,
    human36m_moon,
    human36m_videopose3d,
    lsp,
    mocap,
    mpi_inf_3dhp,
    mpi_inf_3dhp_mmpose,
    mpii,
    photos,
    video,
)
from keras_pose.data.sources.base import Source

SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        human36m.SOURCE,
        human36m_mmpose.SOURCE,
        human36m_moon.SOURCE,
        human36m_challenge.SOURCE,
        human36m_videopose3d.SOURCE,
        mpi_inf_3dhp.SOURCE,
        mpi_inf_3dhp_mmpose.SOURCE,
        coco.SOURCE,
        mpii.SOURCE,
        *lsp.SOURCES.values(),
        mocap.SOURCE,
        folder.SOURCE,
        photos.SOURCE,
        video.SOURCE,
    )
}


def get_source(name: str) -> Source:
    """The source with that name; raises UserError that lists the known ones if there is none."""
    if name not in SOURCES:
        raise unknown_name("source", name, SOURCES)
    return SOURCES[name]
