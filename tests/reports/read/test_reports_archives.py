"""Arrays that a run kept, whatever happened to the file."""

import numpy as np
from damage import check_damage

from nmlab.reports.read.evaluations import read_archive


def test_arrays_are_read_as_they_were_or_refused_by_name(tmp_path):

    path = tmp_path / "evaluation.npz"
    np.savez_compressed(path, window_loss_sum=np.arange(30.0), window_tokens=np.full(30, 7))

    class Store:
        def artifact(self, run_id, *, name):
            return path.read_bytes()

    def read():
        return read_archive(Store(), run_id="r", name="evaluation.npz")

    whole = read()

    def same(found):
        """Say whether every array is as it was; one that is missing is noticed by whoever reads it."""
        return all(np.array_equal(found[name], whole[name]) for name in found.keys() & whole.keys())

    check_damage(path, read=read, same=same)
