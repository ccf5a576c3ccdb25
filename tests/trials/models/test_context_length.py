"""The longest text of a model, by any name: exactly what fits its tables; None where nothing limits it."""

import pytest
import torch

from nmlab.trials.models.context_length import embedding_rows, longest_context

LEARNED = {
    "opt": 64,
    "gpt2": 64,
    "gpt_bigcode": 64,
    "bart": 64,
    "biogpt": 64,
    "roberta": 63,  # positions begin behind that of padding, 0 here
    "mpt": 48,
    "ctrl": 64,
}
OWN = {
    "mpt": {"max_seq_len": 48, "d_model": 16, "n_heads": 2, "n_layers": 2},
    "gpt2": {"n_positions": 64},
    "ctrl": {"n_positions": 64, "n_embd": 16, "n_layer": 2, "n_head": 2, "dff": 32},
    "bart": {"d_model": 16, "decoder_layers": 2, "decoder_attention_heads": 2, "is_encoder_decoder": False},
    "roberta": {"is_decoder": True},
}


@pytest.mark.parametrize("architecture", LEARNED)
def test_the_longest_text_runs_and_one_token_more_does_not(random_model, architecture):
    model = random_model(architecture, **OWN.get(architecture, {}))
    longest = longest_context(model)
    assert longest == LEARNED[architecture]
    model(input_ids=torch.full((1, longest), 5), use_cache=False)
    with pytest.raises((IndexError, RuntimeError)):
        model(input_ids=torch.full((1, longest + 1), 5), use_cache=False)


@pytest.mark.parametrize(
    ("architecture", "changes"),
    [
        ("bloom", {"n_layer": 2, "n_head": 2, "seq_length": 8}),
        ("falcon", {"alibi": True}),
        ("mamba", {"state_size": 8}),
    ],
)
def test_nothing_limits_linear_biases_and_recurrence(random_model, architecture, changes):
    if architecture == "mamba":
        from transformers import AutoConfig, AutoModelForCausalLM

        config = AutoConfig.for_model("mamba", vocab_size=64, hidden_size=16, num_hidden_layers=1, **changes)
        assert longest_context(AutoModelForCausalLM.from_config(config)) is None
        return
    assert longest_context(random_model(architecture, **changes)) is None


@pytest.mark.parametrize(
    ("scaling", "longest"),
    [
        (None, 64),
        ({"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}, 256),
        ({"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}, 128),
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32, "rope_theta": 1e4}, 128),
        ({"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 16, "rope_theta": 1e4}, 64),
    ],
)
def test_scaled_rotary_positions_reach_further(random_model, scaling, longest):
    changes = {} if scaling is None else {"rope_parameters": scaling}
    assert longest_context(random_model("llama", **changes)) == longest


def test_a_sliding_window_is_no_limit(random_model):
    assert longest_context(random_model("mistral", sliding_window=8)) == 64


def test_the_ids_that_a_model_knows_are_the_rows_of_its_smaller_end(random_model):
    model = random_model("llama")
    assert embedding_rows(model) == 512
    model.lm_head = torch.nn.Linear(16, 500, bias=False)
    assert embedding_rows(model) == 500
