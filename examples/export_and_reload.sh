#!/usr/bin/env bash
# Take a mask out of the house: as one bit a weight, as a Hugging Face folder, and as an ONNX graph (`nmlab[onnx]`).
#
#     bash examples/export_and_reload.sh         (about a minute on two CPU cores; writes into the current folder)
set -euo pipefail

nmlab run wanda --windows 32 --quiet
nmlab run magnitude --windows 32 --quiet
first=$(grep -l '"method": "wanda"' results/runs/*/trial.json | xargs dirname)
second=$(grep -l '"method": "magnitude"' results/runs/*/trial.json | xargs dirname)

nmlab diff "$first" "$second"                          # how alike the two masks are, and what chance would give
nmlab export "$first" --format mask --output mask      # each export is read back and compared before it is there
nmlab export "$first" --format hf --output pruned
nmlab export "$first" --format onnx --output onnx

# Any reader of Hugging Face folders takes it, nmlab too.
python - <<'PYTHON'
from transformers import AutoModelForCausalLM, AutoTokenizer

model, tokenizer = AutoModelForCausalLM.from_pretrained("pruned"), AutoTokenizer.from_pretrained("pruned")
inputs = tokenizer("Return a list of", return_tensors="pt")
print(tokenizer.decode(model.generate(**inputs, max_new_tokens=12, do_sample=False)[0]))
weight = model.model.layers[0].mlp.up_proj.weight
assert (weight.view(-1, 4) != 0).sum(1).max() == 2
PYTHON
nmlab evaluate pruned --windows 32
