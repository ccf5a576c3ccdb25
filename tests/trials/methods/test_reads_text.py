"""Methods that declare that they read no text: their masks are the same for any text, so a sweep runs them once."""

import pytest
import torch

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.contract.sections import CalibrationSpec
from nmlab.trials.methods import registry
from nmlab.trials.methods.base import TrialContext
from nmlab.trials.models import MaskedModel
from nmlab.trials.testing.small import small_replica, small_text

ONE_SHOT = [name for name in registry.names() if not registry.get(name).learned and registry.get(name).sparse]


@pytest.fixture(scope="module")
def replica():
    return small_replica()


def masks_from(method, replica, text, *, samples):
    calibration = CalibrationSpec(source=str(text), samples=samples, sequence_length=16, batch_size=2)
    context = TrialContext(replica, MaskedModel(replica.frozen), Pattern.parse("2:4"), calibration, seed=3)
    return registry.get(method).start(context, registry.get(method).configure({})).masks()


@pytest.mark.parametrize("method", ONE_SHOT)
def test_it_gives_one_mask_for_any_text_or_says_that_it_reads_it(method, replica, tmp_path):
    text = small_text(tmp_path)
    few, many = (masks_from(method, replica, text, samples=samples) for samples in (1, 16))
    same = all(torch.equal(few[name], many[name]) for name in few)
    assert same != registry.get(method).reads_text


def test_the_methods_that_read_no_text():
    assert {name for name in registry.names() if not registry.get(name).reads_text} == {"dense", "magnitude", "random"}
