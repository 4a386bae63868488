"""Tables of datasets: every number, none rounded, none invented."""

from __future__ import annotations

import numpy as np

from landscape.data_store.schemas.barrier import BARRIER
from landscape.data_store.schemas.overlap import OVERLAP
from landscape.figures.report.tabulated import tabulated, words


def test_each_number_stands_at_its_labels() -> None:
    ds = BARRIER.example()
    numbers = tabulated(ds, ("pair", "split"), ("density_a", "loss_barrier", "distance", "no_such"))
    names = [column.name for column in numbers.columns]
    assert names[:3] == ["pair", "split", "density_a"]
    assert names[3:7] == [f"loss_barrier[{d}]" for d in ds["definition"].values]
    assert names[7:] == ["distance"]
    assert len(numbers.rows) == ds.sizes["pair"] * ds.sizes["split"]
    for row in numbers.rows:
        at = dict(zip(names, row, strict=True))
        one = ds.sel(pair=at["pair"], split=at["split"])
        assert at["distance"] == float(one["distance"])
        assert at["density_a"] == float(one["density_a"])
        for definition in ds["definition"].values:
            assert at[f"loss_barrier[{definition}]"] == float(
                one["loss_barrier"].sel(definition=definition)
            )


def test_headings_have_units_and_fractions_are_marked() -> None:
    numbers = tabulated(BARRIER.example(), ("pair",), ("density_a", "distance"))
    by_name = {column.name: column for column in numbers.columns}
    assert by_name["density_a"].percent
    assert not by_name["distance"].percent
    split = tabulated(BARRIER.example(), ("pair", "split", "alpha"), ("loss",))
    assert split.columns[-1].heading == "loss on the line (nats per example)"


def test_nan_is_none_and_a_status_its_word() -> None:
    ds = OVERLAP.example()
    ds["jaccard"].values[0, 0] = np.nan
    ds["status"].values[0, 1] = 1
    numbers = tabulated(ds, ("pair", "layer"), ("jaccard", "status"))
    assert numbers.rows[0][2:] == (None, "ok")
    assert numbers.rows[1][3] == "an empty mask"
    assert numbers.rows[1][2] == float(ds["jaccard"].values[0, 1])


def test_dimensions_in_another_order_are_found() -> None:
    ds = OVERLAP.example()
    turned = ds.transpose("layer", "pair")
    assert (
        tabulated(turned, ("pair", "layer"), ("jaccard",)).rows
        == tabulated(ds, ("pair", "layer"), ("jaccard",)).rows
    )


def test_a_status_of_a_newer_version_is_not_taken_for_ok() -> None:
    ds = OVERLAP.example()
    ds["status"].values[:] = 9
    assert set(words(ds["status"]).ravel()) == {"of a status that this version does not know"}
