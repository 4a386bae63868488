"""The schemas by kind: what analyses write and figures read."""

from __future__ import annotations

from landscape.data_store.schemas.barrier import BARRIER
from landscape.data_store.schemas.overlap import OVERLAP
from landscape.data_store.schemas.training import TRAINING

SCHEMAS = {schema.kind: schema for schema in (BARRIER, OVERLAP, TRAINING)}
