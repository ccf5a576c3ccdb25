"""How fast the engines are on a device; the second part of `gpu.py`.

Legend: G groups of all layers, M group size, B batch, T tokens, O outputs, I inputs.
"""

import statistics
import time
from collections.abc import Callable

import torch
from gpu_checks import row
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from nmlab.trials.engines import Draw, Engine, GroupLayout, MaskKey, initial_store
from nmlab.trials.engines.event import EventEngine
from nmlab.trials.engines.triton import TritonEngine, launch
from nmlab.trials.engines.triton.tables import LayerTables
from nmlab.trials.masks.topn import topn
from nmlab.trials.models.prunable import prunable_layers
from nmlab.trials.pattern import Pattern

MAGNITUDE = 10.0
# Hidden size, intermediate size, blocks, heads, vocabulary, tokens of a step as batch x length: Llama-2-7B, and a toy.
LARGE, SMALL = (4096, 11008, 32, 32, 32000, (32, 128)), (32, 64, 2, 2, 64, (2, 8))
# The yardstick copies at most this much and is scaled up, so that it fits beside the model.
MOST_COPIED = 2**33


def timings(device: torch.device, *, small: bool) -> list[dict[str, object]]:
    """Return one row for each time, in milliseconds, and for each ratio that has an aim."""
    bench = ModelBench(SMALL if small else LARGE, device=device)
    repeats = 1 if small else 20
    dense = bench.median_ms(bench.forward, repeats=repeats)
    rows = [row(f"dense forward, {bench.tokens_BT.numel()} tokens", dense, unit="ms")]
    bench.undress()
    for kind, step_bytes in (("float32", 8.25), ("bfloat16_delta", 4.25)):
        rows += linear_rows(bench, kind=kind, step_bytes=step_bytes, dense=dense, repeats=repeats)
    rows += event_rows(bench, dense=dense, repeats=repeats)
    return rows


def at_most(name: str, ratio: float, *, aim: float) -> dict[str, object]:
    return row(name, ratio, unit="ratio", aim=f"<= {aim}", holds=ratio <= aim)


class ModelBench:
    """A model of random bfloat16 weights, a masked copy of its prunable weights, and the mask that both begin with."""

    def __init__(self, sizes: tuple[int, int, int, int, int, tuple[int, int]], *, device: torch.device) -> None:
        hidden, intermediate, blocks, heads, vocabulary, tokens = sizes
        self.device = device
        config = LlamaConfig(vocab_size=vocabulary, hidden_size=hidden, intermediate_size=intermediate,
                             num_hidden_layers=blocks, num_attention_heads=heads)  # fmt: skip
        torch.manual_seed(0)
        with device:
            self.model = LlamaForCausalLM._from_config(config, dtype=torch.bfloat16).eval().requires_grad_(False)
            self.tokens_BT = torch.randint(vocabulary, tokens)
        layers = prunable_layers(self.model)
        self.layout = GroupLayout(layers, pattern=Pattern(2, 4))
        self.tables = LayerTables(self.layout, device=device, span=1)
        self.dense = [self._linear(layer.name).weight.detach() for layer in layers]
        self.worn: list[Tensor] = []
        self.weights = sum(layer.numel for layer in layers)

    def undress(self) -> None:
        """Give the model masked copies of its weights, under the initial mask."""
        self.initial_GM = torch.empty(self.layout.groups, 4, dtype=torch.bool, device=self.device)
        for part, weight_OI in zip(self.layout.split(self.initial_GM).values(), self.dense, strict=True):
            part.copy_(topn(weight_OI.abs(), self.layout.pattern))
            self.worn.append(weight_OI * part)
        for layer, weight_OI in zip(self.layout.layers, self.worn, strict=True):
            self._linear(layer.name).weight = nn.Parameter(weight_OI, requires_grad=False)

    def patch(self, groups_g: Tensor, masks_gM: Tensor) -> None:
        launch.patch(self.tables, groups_g, masks_gM, dense=self.dense, worn=self.worn)

    @torch.no_grad()
    def forward(self) -> Tensor:
        """Return the mean loss of the tokens."""
        logits = self.model(input_ids=self.tokens_BT, use_cache=False).logits[:, :-1]
        losses = nn.functional.cross_entropy(logits.flatten(0, 1).float(), self.tokens_BT[:, 1:].flatten())
        return losses.mean()

    def median_ms(self, work: Callable[[], object], *, repeats: int) -> float:
        """Return the median time of ``work``, between CUDA events where there are any."""
        for _ in range(min(2, repeats)):
            work()
        return statistics.median(self._ms(work) for _ in range(repeats))

    def copy_ms(self, bytes_moved: float, *, repeats: int) -> float:
        """Return the time of a copy that reads half of the bytes and writes the other half."""
        size = int(min(bytes_moved / 2, MOST_COPIED))
        source = torch.empty(size, dtype=torch.uint8, device=self.device).random_()
        target = torch.empty_like(source)
        return self.median_ms(lambda: target.copy_(source), repeats=repeats) * bytes_moved / 2 / size

    def _ms(self, work: Callable[[], object]) -> float:
        if self.device.type != "cuda":
            start = time.perf_counter()
            work()
            return (time.perf_counter() - start) * 1e3
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        begin.record()
        work()
        end.record()
        torch.cuda.synchronize()
        return begin.elapsed_time(end)

    def _linear(self, name: str) -> nn.Linear:
        linear = self.model.get_submodule(name)
        assert isinstance(linear, nn.Linear)
        return linear


class Stepper:
    """Steps of MaskPro with one engine: sample, patch, forward, move. Rewards are noise of a usual size."""

    def __init__(self, bench: ModelBench, engine: Engine) -> None:
        self.bench, self.engine = bench, engine
        self._step = 0
        self._worn: Tensor | None = None

    def engine_alone(self) -> None:
        """Sample and move."""
        self._move(self._sample())

    def whole(self) -> None:
        """Sample, patch the weights, run the forward, and move by its loss."""
        draw = self._sample()
        if self._worn is not None:
            self.bench.patch(self._worn, self.engine.mode(self._worn))
        self.bench.patch(draw.groups_g, draw.masks_gM)
        self._worn = draw.groups_g
        loss = float(self.bench.forward())
        changed_g = self._move(draw, reward=loss * 1e-3)
        self._worn = torch.cat([self._worn, changed_g]).unique()

    def _sample(self) -> Draw:
        return self.engine.sample(MaskKey(0, self._step))

    def _move(self, draw: Draw, *, reward: float = 0.01) -> Tensor:
        self._step += 1
        return self.engine.descend([draw], weights=[reward * (-1) ** self._step], rate=3.0)


def linear_rows(
    bench: ModelBench, *, kind: str, step_bytes: float, dense: float, repeats: int
) -> list[dict[str, object]]:
    """Rows of engine `triton` for one kind of store."""
    store = initial_store(bench.layout, bench.initial_GM, magnitude=MAGNITUDE, kind=kind)
    engine = TritonEngine(bench.layout, store=store)
    stepper = Stepper(bench, engine)
    fused = bench.median_ms(stepper.engine_alone, repeats=repeats)
    words, tables, found = engine._words, engine._tables, engine._finder._found
    key = MaskKey(1, 0)
    scanned = bench.median_ms(
        lambda: launch.scan(words, tables, scale=1e-6, order=True, keys=[key], found=found), repeats=repeats
    )
    sampled = bench.median_ms(lambda: engine._finder.find(keys=[key], order=False), repeats=repeats)
    copied = bench.copy_ms(step_bytes * bench.weights, repeats=repeats)
    whole = bench.median_ms(stepper.whole, repeats=-(-repeats // 2))
    name = f"triton, {kind}"
    return [
        row(f"{name}: copy of {step_bytes} bytes a weight", copied, unit="ms"),
        row(f"{name}: fused pass alone", scanned, unit="ms"),
        at_most(f"{name}: fused pass over copy", scanned / copied, aim=1.3),
        row(f"{name}: update and sample, with all that is set apart", fused, unit="ms"),
        at_most(f"{name}: update and sample over copy", fused / copied, aim=1.3),
        row(f"{name}: sample only", sampled, unit="ms"),
        row(f"{name}: whole step", whole, unit="ms"),
        row(f"{name}: whole step over dense forward", whole / dense, unit="ratio"),
        row(f"{name}: bytes of state a weight", engine.state_bytes / bench.weights, unit="bytes"),
    ]


def event_rows(bench: ModelBench, *, dense: float, repeats: int) -> list[dict[str, object]]:
    """Rows of engine `event`, whose whole step has the aim."""
    store = initial_store(bench.layout, bench.initial_GM, magnitude=MAGNITUDE)
    engine = EventEngine(bench.layout, store=store)
    stepper = Stepper(bench, engine)
    alone = bench.median_ms(stepper.engine_alone, repeats=repeats)
    whole = bench.median_ms(stepper.whole, repeats=-(-repeats // 2))
    return [
        row("event: update and sample", alone, unit="ms"),
        at_most("event: share of dense forward", alone / dense, aim=0.02),
        row("event: whole step", whole, unit="ms"),
        at_most("event: whole step over dense forward", whole / dense, aim=1.05),
        row("event: bytes of state a weight", engine.state_bytes / bench.weights, unit="bytes"),
    ]
