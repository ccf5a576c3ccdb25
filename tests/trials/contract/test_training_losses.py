"""What the loss of training is called, by the objective of the runs."""

import pytest

from nmlab.trials.contract.training_losses import DIVERGENCE, loss_noun, loss_sentence, train_loss_of

TEXT, EARLIER, DENSE = {"objective": "next_token"}, {}, {"objective": "distill"}


@pytest.mark.parametrize(
    ("settings", "noun"),
    [
        ([], "loss"),
        ([TEXT, EARLIER], "loss"),
        ([DENSE, DENSE], "divergence"),
        ([DENSE, EARLIER], "loss or divergence"),
    ],
)
def test_runs_of_earlier_versions_lower_the_loss_of_the_text(settings, noun):
    assert loss_noun(settings) == noun


def test_what_is_no_plain_loss_is_explained():
    assert (train_loss_of(EARLIER), train_loss_of(TEXT), train_loss_of(DENSE)) == (None, None, DIVERGENCE)
    assert loss_sentence("loss") == ""
    assert loss_sentence("divergence") == f" Divergence is {DIVERGENCE}."
    assert "the two do not compare" in loss_sentence("loss or divergence")
