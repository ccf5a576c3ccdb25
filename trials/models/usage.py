"""How a model uses its parameters when it reads text, found by one forward of tensors without contents.

Nothing is decided by names. A parameter is *multiplied* where a matrix product or a convolution that mixes channels
takes it as an operand, *selecting* where its result selects experts or tokens instead of being passed on, and *unused*
where no operation takes it. The forward needs no weights and no memory for them, so a skeleton on the meta device gives
the same result as the loaded model.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from nmlab.trials.compat import (
    CAST,
    GROUPED_PRODUCT,
    RESHAPE,
    FakeTensorMode,
    TorchDispatchMode,
    computes_experts_at_once,
    tree_leaves,
)
from nmlab.trials.models.quiet import quiet

# Prime numbers of tokens, which equal no dimension of a model; the long text reaches parameters that a short one skips.
_SHORT, _LONG = 11, 509

_aten = torch.ops.aten
# The operands of a product among the arguments of an operation; an added bias is not one of them.
_OPERANDS: Mapping[object, slice] = {
    _aten.mm: slice(0, 2),
    _aten.bmm: slice(0, 2),
    _aten.mv: slice(0, 2),
    _aten.dot: slice(0, 2),
    GROUPED_PRODUCT: slice(0, 2),
    _aten.addmm: slice(1, 3),
    _aten.baddbmm: slice(1, 3),
    _aten.addbmm: slice(1, 3),
    _aten.addmv: slice(1, 3),
    _aten.convolution: slice(0, 2),
}
_CHOOSE = {_aten.topk, _aten.sort, _aten.argsort, _aten.argmax, _aten.argmin, _aten.kthvalue, _aten.multinomial}
# Operations whose result holds elements of their input unchanged, beside those that return a view of it.
_COPY = {
    *(CAST, _aten.clone, RESHAPE, _aten.repeat, _aten.cat, _aten.stack, _aten.constant_pad_nd),
    *(_aten.index, _aten.index_select, _aten.gather, _aten.embedding),
}


@dataclass(frozen=True)
class Usage:
    """What one forward over text does with modules and parameters, by their first qualified name.

    ``problem`` is the reason why the forward could not be traced; the sets are empty then.
    """

    called: frozenset[str] = frozenset()
    touched: frozenset[str] = frozenset()
    multiplied: frozenset[str] = frozenset()
    selecting: frozenset[str] = frozenset()
    problem: str = ""


def usage_of(model: PreTrainedModel) -> Usage:
    """Trace a forward over a short text, and over a long one where the short one leaves parameters unused.

    Works on a loaded model and on a skeleton on the meta device; the model is left as it was.
    """
    short = _traced(model, tokens=_SHORT)
    every = {name for name, _ in model.named_parameters()}
    if short.problem or short.touched >= every:
        return short
    long = _traced(model, tokens=_LONG)
    if long.problem:
        return short
    return Usage(
        called=short.called | long.called,
        touched=short.touched | long.touched,
        multiplied=short.multiplied | long.multiplied,
        selecting=short.selecting | long.selecting,
    )


def _traced(model: PreTrainedModel, *, tokens: int) -> Usage:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    trace = _ParameterTrace(names)
    device = next(model.parameters()).device
    try:
        with ExitStack() as stack:
            stack.enter_context(quiet())
            stack.enter_context(_experts_at_once(model))
            stack.enter_context(_hooked(model, trace))
            stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
            stack.enter_context(torch.no_grad())
            tokens_BT = torch.zeros(1, tokens, dtype=torch.long, device=device)
            stack.enter_context(trace)
            model.forward(input_ids=tokens_BT, use_cache=False)  # not a call, whose hooks count forwards
    except Exception as error:  # an architecture may do anything that tensors without contents cannot do
        return Usage(problem=(str(error).strip() or type(error).__name__).splitlines()[0])
    called, touched = frozenset(trace.called), frozenset(trace.touched)
    return Usage(called, touched, frozenset(trace.multiplied), frozenset(trace.selecting))


@contextmanager
def _experts_at_once(model: PreTrainedModel) -> Iterator[None]:
    """Compute all experts for all tokens, without reading the routing, where an architecture can do so."""
    if not computes_experts_at_once(model):
        yield
        return
    before = model.get_experts_implementation()
    model.set_experts_implementation("batched_mm")
    try:
        yield
    finally:
        model.set_experts_implementation(before)


@contextmanager
def _hooked(model: PreTrainedModel, trace: "_ParameterTrace") -> Iterator[None]:
    """Record in ``trace`` every module that is called, and the parameters of modules that return a selection."""
    width = int(model.config.get_text_config(decoder=True).hidden_size)

    def returned(name: str, module: nn.Module, output: object) -> None:
        trace.called.add(name)
        tensors = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
        chooses = any(tensor.dtype in (torch.int64, torch.int32) for tensor in tensors)
        hands_on = any(tensor.is_floating_point() and tensor.shape[-1:] == (width,) for tensor in tensors)
        if chooses and not hands_on:
            trace.selecting |= {trace.names[id(parameter)] for parameter in module.parameters()}

    def hook_for(name: str) -> Callable[[nn.Module, object, object], None]:
        return lambda module, _, output: returned(name, module, output)

    modules = [(name, module) for name, module in model.named_modules() if name]
    handles = [module.register_forward_hook(hook_for(name)) for name, module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@dataclass
class _Marks:
    """The origin of a tensor: the parameters whose elements it holds, and those of whose product it is a result."""

    weights: frozenset[str] = frozenset()
    products: frozenset[str] = frozenset()


class _ParameterTrace(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Traces parameters from operation to operation; a product is marked with its own factors only."""

    def __init__(self, names: Mapping[int, str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names = names
        self.called: set[str] = set()
        self.touched: set[str] = set()
        self.multiplied: set[str] = set()
        self.selecting: set[str] = set()
        self._marks: dict[int, _Marks] = {}
        self._alive: list[Tensor] = []  # an id belongs to a tensor only as long as it lives

    def __torch_dispatch__(
        self, op: Any, types: object, args: tuple[object, ...] = (), kwargs: dict[str, object] | None = None
    ) -> object:
        result: object = op(*args, **(kwargs or {}))
        given = [leaf for leaf in tree_leaves((args, kwargs or {})) if isinstance(leaf, Tensor)]
        for tensor in given:
            self.touched |= self._of(tensor).weights
        packet = op.overloadpacket
        if packet in _CHOOSE:
            self.selecting |= self._products(given)
        for made in tree_leaves(result):
            if isinstance(made, Tensor):
                self._mark(made, self._derived(op, args=args, given=given, made=made))
        return result

    def _derived(self, op: Any, *, args: tuple[object, ...], given: list[Tensor], made: Tensor) -> _Marks:
        packet = op.overloadpacket
        if packet in _OPERANDS:
            operands = [operand for operand in args[_OPERANDS[packet]] if isinstance(operand, Tensor)]
            factors = frozenset().union(*(self._of(operand).weights for operand in operands))
            if packet is _aten.convolution and _is_depthwise(operands[1]):
                return _Marks()
            self.multiplied |= factors
            return _Marks(products=factors)
        kept = given if packet in _COPY or op.is_view else [tensor for tensor in given if tensor.shape == made.shape]
        held = [self._of(tensor).weights for tensor in kept]
        # What is added to hidden states becomes hidden states; a weight that is scaled or rounded is still that weight.
        weights = frozenset().union(*held) if all(held) or packet in _COPY else frozenset()
        return _Marks(weights, self._products(given))

    def _products(self, given: list[Tensor]) -> frozenset[str]:
        return frozenset().union(*(self._of(tensor).products for tensor in given))

    def _of(self, tensor: Tensor) -> _Marks:
        if (name := self.names.get(id(tensor))) is not None:
            return _Marks(weights=frozenset({name}))
        return self._marks.get(id(tensor), _Marks())

    def _mark(self, tensor: Tensor, marks: _Marks) -> None:
        if marks.weights or marks.products:
            self._alive.append(tensor)
            self._marks[id(tensor)] = marks


def _is_depthwise(kernel: Tensor) -> bool:
    """Return whether every output channel of a convolution reads one input channel only, so channels do not mix."""
    return kernel.shape[1] == 1
