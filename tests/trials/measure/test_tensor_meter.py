"""Bytes of tensors that are alive at once, against counts by hand; and that counting changes nothing."""

import pytest
import torch

from nmlab.trials.measure.tensor_meter import TensorMeter
from nmlab.trials.models import MaskedModel

KILO = 4000  # bytes of a thousand float32


def _numbers():
    return torch.zeros(1000)


def test_a_tensor_counts_until_it_is_freed():
    with TensorMeter() as alive:
        one = _numbers()
        two = one + 1  # two at once
        del one
        three = two * 2  # again two
        del two
        assert (alive.peak, alive.written, alive.calls) == (2 * KILO, 3 * KILO, 3)
        four, five = three + 1, three + 2
        assert alive.peak == 3 * KILO
        del four, three
    assert alive.peak == 3 * KILO
    assert alive.transient_peak == 2 * KILO  # the fifth is still there
    del five
    assert alive.transient_peak == 2 * KILO, "what happens later is not looked at"


def test_tensors_from_before_do_not_count():
    before, wide = _numbers(), torch.zeros(10, 100)
    with TensorMeter() as alive:
        before.add_(1)
        view = wide.t()[:5]
        torch.cat([before[:10], view.flatten()])
        del before
    assert alive.peak == 4 * (50 + 60)  # the copy that flatten makes, and what they become together


def test_views_and_lists_share_what_they_are_made_of():
    with TensorMeter() as alive:
        parts = torch.split(_numbers(), 100)
        last = parts[-1][3:]
        del parts
    assert alive.peak == KILO
    assert alive.transient_peak == 0
    assert len(last) == 97


def test_a_place_that_is_used_again_is_counted_again():
    with TensorMeter() as alive:
        for _ in range(50):
            torch.ones_like(_numbers())
    assert (alive.peak, alive.written) == (2 * KILO, 100 * KILO)


def test_another_thread_is_not_counted():
    from concurrent.futures import ThreadPoolExecutor

    with TensorMeter() as alive, ThreadPoolExecutor(1) as pool:
        made = pool.submit(_numbers).result()
        assert alive.calls == 0
        _numbers()
    assert (alive.peak, len(made)) == (KILO, 1000)


def test_a_backward_holds_what_the_forward_saved():
    weight = torch.zeros(1000, requires_grad=True)
    with TensorMeter() as alive:
        hidden = weight.exp()
        loss = (hidden * hidden).sum()
        loss.backward()
        del hidden, loss
    assert weight.grad is not None
    assert 3 * KILO <= alive.peak <= 6 * KILO
    assert alive.peak - alive.transient_peak == KILO  # the gradient


@pytest.mark.parametrize("architecture", ["llama", "opt", "gemma2", "qwen3", "phi"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_losses_and_gradients_are_the_same_bits(random_model, freeze, architecture, dtype):
    model = MaskedModel(freeze(random_model(architecture).to(dtype)))
    tokens = torch.randint(0, 512, (3, 16), generator=torch.Generator().manual_seed(0))
    name = f"{model.frozen.layers[0].name}.weight"

    def once():
        leaf = model.module.get_parameter(name).detach().clone().requires_grad_()
        loss = model.loss_under({name: leaf}, tokens)
        loss.backward()
        return [loss.detach(), leaf.grad, model.token_losses(tokens)]

    plain = once()
    with TensorMeter() as alive:
        watched = once()
    assert alive.calls > 100
    assert all(torch.equal(one, other) for one, other in zip(plain, watched, strict=True))
