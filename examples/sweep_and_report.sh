#!/usr/bin/env bash
# Ask a question of a small model, and read the answer: a sweep, its report, and a mask made elsewhere in the same table.
#
#     bash examples/sweep_and_report.sh          (about two minutes on two CPU cores; writes into the current folder)
set -euo pipefail

cat > learning-rate.yaml <<'YAML'
name: learning-rate
question: Which learning rate suits a short MaskPro run on the built-in model?
model: {source: builtin:tiny}
data:
  calibration: {source: builtin:python-docs, samples: 32, sequence_length: 64, batch_size: 16}
  validation: {source: builtin:python-docs, sequence_length: 128, windows: 64}
  evaluation: {source: builtin:python-docs, sequence_length: 128, windows: 64}
pattern: "2:4"
method: maskpro
fixed: {steps: 100, logit_magnitude: 5.0, initial_mask: wanda}
space:
  learning_rate: {grid: [0.5, 2.0]}
baselines: [dense, magnitude, wanda]
search: {algorithm: grid}
seeds: [0, 1]
YAML

nmlab plan learning-rate.yaml          # checked against model and text; starts nothing
nmlab sweep learning-rate.yaml --quiet # every trial, recorded in MLflow, then the report

# A model that was pruned with other tools enters the same table, judged on the same text.
nmlab run sparsegpt --windows 64 --quiet
folder=$(dirname "$(ls results/runs/*/weights.safetensors)")
nmlab export "$folder" --format hf --output pruned-elsewhere
nmlab evaluate pruned-elsewhere --study learning-rate --label pruned-elsewhere --record

nmlab report learning-rate --output report
grep pruned-elsewhere report/report.md | head -n 1
