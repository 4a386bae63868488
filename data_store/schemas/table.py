"""The schemas by kind: what analyses write and figures read, and what is read from runs."""

from __future__ import annotations

from landscape.data_store.schemas.barrier import BARRIER
from landscape.data_store.schemas.bezier import BEZIER
from landscape.data_store.schemas.curvature import CURVATURE
from landscape.data_store.schemas.histograms import HISTOGRAMS
from landscape.data_store.schemas.insights import INSIGHTS
from landscape.data_store.schemas.layers import LAYERS
from landscape.data_store.schemas.overlap import OVERLAP
from landscape.data_store.schemas.sublevel import SUBLEVEL
from landscape.data_store.schemas.surface import SURFACE
from landscape.data_store.schemas.tickets import TICKETS
from landscape.data_store.schemas.training import TRAINING
from landscape.data_store.schemas.volume import VOLUME

_KINDS = (
    BARRIER,
    BEZIER,
    CURVATURE,
    HISTOGRAMS,
    INSIGHTS,
    LAYERS,
    OVERLAP,
    SUBLEVEL,
    SURFACE,
    TICKETS,
    TRAINING,
    VOLUME,
)
SCHEMAS = {schema.kind: schema for schema in _KINDS}
OF_RUNS = (HISTOGRAMS.kind, LAYERS.kind, TRAINING.kind)  # read from runs, never stored
