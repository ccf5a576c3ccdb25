"""Compile the kernels ahead of time, without a GPU, and read registers and instructions from the machine code.

A kernel is compiled for the same types and constants that `launch` gives it, so a machine without a GPU can check that
it compiles, how many registers it takes and whether it spills. Importing this module imports ``triton``.
"""

import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.engines.triton.kernels.draw import draw
from nmlab.trials.engines.triton.kernels.patch import patch
from nmlab.trials.engines.triton.kernels.scan import scan
from nmlab.trials.engines.triton.kernels.touch import touch
from nmlab.trials.engines.triton.launch import WARPS, WEIGHTS, KernelShape
from nmlab.trials.engines.triton.words import LARGEST_CLOSED_N, word_dtype
from nmlab.trials.masks.codes import code_dtype

_TYPES = {
    torch.float32: "*fp32",
    torch.bfloat16: "*bf16",
    torch.uint8: "*u8",
    torch.int16: "*i16",
    torch.int32: "*i32",
    torch.int64: "*i64",
}
_SCALARS = {"capacity": "i32", "total": "i32", "draws": "i32", "magnitude": "fp32", "scale": "fp32"}
_TABLES = ("layers", "keys", "found", "count", "rows", "row_layers", "masked", "dense")
_INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?PT?\d*\s+)?([A-Z][A-Z0-9_.]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Compiled:
    """A kernel for one device generation: its PTX, and registers, stack bytes and instructions of the machine code.

    ``stack`` is the bytes of a thread in local memory, spilled registers included.
    """

    name: str
    capability: int
    ptx: str
    registers: int
    stack: int
    shared: int
    instructions: tuple[str, ...]

    @property
    def spills(self) -> bool:
        """Whether any register is spilled to memory."""
        return self.stack > 0 or any(name.startswith(("LDL", "STL")) for name in self.instructions)


def compile_kernels(pattern: Pattern, *, difference: bool, capability: int) -> dict[str, Compiled]:
    """Compile every kernel that the engine runs for a pattern; ``capability`` is 80 for sm_80, and so on."""
    shape = KernelShape(pattern, difference=difference)
    words = word_dtype(pattern.m, difference=difference)
    types = {
        **_SCALARS,
        **dict.fromkeys(_TABLES, "*i64"),
        "values": _TYPES[torch.bfloat16 if difference else torch.float32],
        "words": _TYPES[words],
        "codes": _TYPES[code_dtype(pattern.m)],
        "program_layer": "*i32",
        "scales": "*fp32",
    }
    common = dict(shape.constants)
    sizes = {"M": shape.constants["M"], "L": shape.constants["L"], "ROWS": shape.rows}
    look = {**common, "DRAWS": 1, "SPAN": 1, "UPDATE": False, "ORDER": False}
    wanted: dict[str, tuple[Any, Mapping[str, object]]] = {
        "sample": (scan, look),
        "draw": (draw, {**common, "ROWS": shape.pair_rows}),
        "patch": (patch, {**sizes, "WEIGHT": WEIGHTS[torch.bfloat16]}),
        "order": (scan, {**look, "ORDER": True}),
    }
    if pattern.n <= LARGEST_CLOSED_N:
        wanted["update and sample"] = (scan, {**look, "ORDER": True, "UPDATE": True})
        wanted["touch"] = (touch, {**common, "ROWS": shape.rows})
    return {
        name: _compile(name, kernel, types=types, values=values, capability=capability)
        for name, (kernel, values) in wanted.items()
    }


def _compile(
    name: str, kernel: Any, *, types: Mapping[str, str], values: Mapping[str, object], capability: int
) -> Compiled:
    signature = {argument: "constexpr" if argument in values else types[argument] for argument in kernel.arg_names}
    # Tensors from torch's allocator start at multiples of 16 bytes, which a launch finds out by itself.
    aligned = {
        (place,): [["tt.divisibility", 16]]
        for place, argument in enumerate(kernel.arg_names)
        if signature[argument].startswith("*")
    }
    source = ASTSource(fn=kernel, signature=signature, constexprs=dict(values), attrs=aligned)
    target = GPUTarget("cuda", capability, 32)
    built = triton.compile(source, target=target, options={"num_warps": WARPS})
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(built.asm["cubin"])
        file.flush()
        usage = dict(re.findall(r"(REG|STACK|SHARED):(\d+)", _disassembler("--dump-resource-usage", file.name)))
        instructions = tuple(_INSTRUCTION.findall(_disassembler("--dump-sass", file.name)))
    return Compiled(
        name=name,
        capability=capability,
        ptx=built.asm["ptx"],
        registers=int(usage["REG"]),
        stack=int(usage["STACK"]),
        shared=int(usage["SHARED"]),
        instructions=instructions,
    )


def _disassembler(option: str, path: str) -> str:
    """Return the output of the disassembler that comes with Triton."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    return subprocess.run([str(tool), option, path], capture_output=True, text=True, check=True).stdout
