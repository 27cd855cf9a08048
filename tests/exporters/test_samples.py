"""The examples of a data set that exports are compared on."""

import numpy as np

from exporters.inference_graph import load_source
from exporters.samples import load_samples
from tests.conftest import write_dataset


def test_a_mix_is_read_from_the_first_split_that_any_part_has(runs, toy_dataset, tmp_path):
    info = load_source(runs["pose"]).info
    trains = write_dataset(tmp_path / "trains", {"train": 5})
    alone = load_samples(str(toy_dataset), ("test", "train"), 0, info, pictures=True)
    for spec in (f"{trains}:0.3,{toy_dataset}:0.7", f"{toy_dataset}:0.7,{trains}:0.3"):
        np.testing.assert_array_equal(load_samples(spec, ("test", "train"), 0, info, pictures=True).image, alone.image)
