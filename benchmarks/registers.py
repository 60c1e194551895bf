"""What does each fused kernel take of a GPU's processor, and does one spill?

    python benchmarks/registers.py [--gate] [--all]

Compiles the kernels of fused attention for sm_90 (H100, H200), for bfloat16 heads of 64 as they
are laid out on a GPU. That needs triton, not a GPU. Prints registers per thread, stack per thread
and shared memory; a stack means that registers went to memory. With --gate it fails where one
does; with --all it also compiles the variants (clamped, bounded, own queries, other types).
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from espressivo.models.attention import fused_backward, fused_forward
from espressivo.models.attention.fused import layout

KERNELS = {
    "forward": fused_forward.forward_kernel,
    "queries": fused_backward.queries_kernel,
    "keys": fused_backward.keys_kernel,
    "table": fused_backward.table_kernel,
}
TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
IN_32_BITS = {"norm_base", "drop_base", "dtable_base", "dfurthest_base"}
PLAIN = {"CLAMP": False, "BOUNDED": False, "SPLIT": False}
VARIANTS: list[tuple[str, int, dict[str, bool]]] = [
    ("bf16", 64, PLAIN | {"CLAMP": True}),
    ("bf16", 64, PLAIN | {"BOUNDED": True}),
    ("bf16", 64, PLAIN | {"SPLIT": True}),
    ("bf16", 32, PLAIN),
    ("bf16", 128, PLAIN),
    ("fp32", 64, PLAIN),
]


def compiled(name: str, kind: str, width: int, flags: dict[str, bool]) -> Any:
    """Compile a kernel as a launch with aligned tensors and lengths would."""
    kernel, chosen = KERNELS[name], dict(layout(name, TYPES[kind], width))
    options = {key: chosen.pop(key) for key in ("num_warps", "num_stages")}
    known = flags | chosen | {"WIDTH": width, "D": max(16, triton.next_power_of_2(width))}
    known |= {"PRECISION": "ieee", "TURN": tl.float32 if kind == "fp32" else tl.float16}
    known |= {"TABLE": True} if "TABLE" in kernel.arg_names else {}
    signature, aligned = {}, {}
    for place, argument in enumerate(kernel.arg_names):
        if argument in known:
            signature[argument] = "constexpr"
        elif argument.endswith("_base"):
            signature[argument] = "*fp32" if argument in IN_32_BITS else f"*{kind}"
        else:
            signature[argument] = "fp32" if argument in ("scale", "rate") else "i32"
        if argument.endswith("_base") or argument in ("queries", "keys", "reach"):
            aligned[(place,)] = [["tt.divisibility", 16]]
    source = ASTSource(kernel, signature, constexprs=known, attrs=aligned)
    return triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)


def usage(program: Any) -> dict[str, int]:
    """Ask the assembler's own tool what a compiled kernel takes."""
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        Path(file.name).write_bytes(program.asm["cubin"])
        said = subprocess.run(
            [tool, "-res-usage", file.name], capture_output=True, text=True, check=True
        )
    text = said.stdout + said.stderr
    found = {key: re.search(rf"{key}:(\d+)", text) for key in ("REG", "STACK")}
    return {key: int(match[1]) for key, match in found.items() if match} | {
        "SHARED": program.metadata.shared
    }


def show(name: str, kind: str, width: int, flags: dict[str, bool]) -> bool:
    """Print one row; say whether the kernel spills."""
    used, chosen = usage(compiled(name, kind, width, flags)), layout(name, TYPES[kind], width)
    special = ", ".join(flag.lower() for flag, value in flags.items() if value) or "plain"
    shape = " | ".join(str(chosen[key]) for key in ("B", "num_warps", "num_stages"))
    print(
        f"| {name} | {kind} | {width} | {special} | {shape} | {used['REG']} | {used['STACK']} | "
        f"{used['SHARED'] / 1024:.0f} |",
        flush=True,
    )
    return used["STACK"] > 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--gate", action="store_true")
    parser.add_argument("--all", action="store_true")
    options = parser.parse_args()
    print(f"triton {triton.__version__}, sm_90\n")
    print("| kernel | type | width | variant | tile | warps | stages | registers | stack | KiB |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    spilt = [name for name in KERNELS if show(name, "bf16", 64, PLAIN)]
    for kind, width, flags in VARIANTS if options.all else []:
        for name in KERNELS:
            show(name, kind, width, flags)
    if options.gate and spilt:
        sys.exit(f"{', '.join(spilt)} kept in memory what belongs in registers")


if __name__ == "__main__":
    main()
