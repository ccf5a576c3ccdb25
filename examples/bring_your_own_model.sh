#!/usr/bin/env bash
# Your own model, your own text, your own questions. Here the model is an untrained OPT, so that nothing is downloaded;
# put your Hugging Face folder or hub id in its place.
#
#     bash examples/bring_your_own_model.sh      (about a minute on two CPU cores; writes into the current folder)
set -euo pipefail

python - <<'PYTHON'
"""A Hugging Face folder and a text, as anybody might bring them."""
import random
from pathlib import Path

import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import OPTConfig, OPTForCausalLM, PreTrainedTokenizerFast

draw = random.Random(0)
words = "a mask keeps two of every four weights and drops the rest of them where they matter least".split()
Path("corpus.txt").write_text("\n".join(" ".join(draw.choices(words, k=12)) + "." for _ in range(2000)))
bpe = ByteLevelBPETokenizer()
bpe.train(["corpus.txt"], vocab_size=400, special_tokens=["<|endoftext|>"], show_progress=False)
tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe._tokenizer, eos_token="<|endoftext|>")
torch.manual_seed(0)
sizes = {"hidden_size": 64, "ffn_dim": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "word_embed_proj_dim": 64}
OPTForCausalLM(OPTConfig(vocab_size=400, max_position_embeddings=256, **sizes)).save_pretrained("my-model")
tokenizer.save_pretrained("my-model")
PYTHON

cat > quiz.jsonl <<'JSONL'
{"question": "A mask keeps two of every", "choices": ["four weights", "rest of them"], "label": 0}
{"question": "It drops the", "choices": ["least where", "rest of them"], "label": 1}
JSONL

# The last fifth of the text is held out, so that no mask is judged on what it learned.
nmlab run wanda --model my-model --data corpus.txt --pattern 4:8 --quiet
folder=$(dirname "$(ls results/runs/*/mask.safetensors)")

# The same mask again: rolling windows as lm-evaluation-harness makes them, and questions of your own (`nmlab[tasks]`).
nmlab evaluate "$folder" --windowing rolling --sequence-length 256 --tasks quiz.jsonl --record
nmlab evaluate my-model --data 'corpus.txt[80%:]' --sequence-length 128
