"""Fused batch norms: their kernels in Triton's interpreter, compiled for GPUs that need not be here, and their place in
a net. No test here runs one on a GPU; `toolkit.bench gpu` does."""

import copy
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.training.conftest import TINY, changed
from toolkit.anynet.config import AnyNetConfig
from toolkit.anynet.model import Bottleneck, build_anynet
from toolkit.errors import ToolkitError, UsageError
from toolkit.study import find_dataset
from toolkit.training import fused
from toolkit.training.fused import FusedNorm, check_triton, cut, fuse
from toolkit.training.process_group import ProcessGroup
from toolkit.training.trainer import Trainer

triton = pytest.importorskip("triton", reason="Triton comes with PyTorch for CUDA")
TREE = Path(__file__).resolve().parents[2]
SMALL = AnyNetConfig(depths=(1, 1, 2, 1), widths=(8, 12, 16, 24), bottlenecks=(1, 2, 1, 1), group_widths=(1, 2, 4, 8))
ACTIVATIONS = ("x", "y", "residual", "grad", "grad_residual", "grad_x")
KERNELS = ("moments", "statistics", "normalise", "gradient_sums", "add_shares", "input_gradient")


def test_the_kernels_in_tritons_interpreter():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/training/fused_interpreted.py"]
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": str(TREE)}
    done = subprocess.run(command, cwd=TREE, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Compiles a kernel for a GPU by its compute capability; returns PTX, registers and bytes of spilled ones."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    folder = tmp_path_factory.mktemp("kernels")

    def compile_(name, capability, align, **flags):
        from toolkit.training import norm_kernels

        kernel = getattr(norm_kernels, name)
        plan = cut(128 * 56 * 56, 64)
        wide = "ROWS" in kernel.arg_names
        constants = {"ALIGN": align, "ROWS": plan.rows, "PARTS": fused.PARTS, **flags}
        constants["CHANNELS"] = plan.channels if wide else fused.STATISTICS
        constants = {key: constants[key] for key in kernel.arg_names if key.isupper()}
        signature = {key: "constexpr" if key in constants else type_of(key) for key in kernel.arg_names}
        aligned = {(i,): [["tt.divisibility", 16]] for i, key in enumerate(kernel.arg_names) if "*" in signature[key]}
        source = ASTSource(kernel, signature, constants, aligned)
        with triton.knobs.cache.scope():
            triton.knobs.cache.dir = str(folder / "cache")
            ptx = triton.compile(source, target=GPUTarget("cuda", capability, 32)).asm["ptx"]
        return ptx, *assembled(ptx, folder, capability)

    return compile_


def type_of(argument):
    if argument in ("rows", "units", "share", "parts"):
        return "i32"
    if argument in ("eps", "momentum"):
        return "fp32"
    return "*bf16" if argument in ACTIVATIONS else "*fp32"


def assembled(ptx, folder, capability):
    from triton.backends.nvidia.compiler import get_ptxas

    (folder / "kernel.ptx").write_text(ptx)
    target = re.search(r"\.target (\w+)", ptx)[1]
    command = [get_ptxas(capability).path, "-v", f"--gpu-name={target}", "kernel.ptx", "-o", "kernel.cubin"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return int(re.search(r"Used (\d+) registers", done.stderr)[1]), int(re.search(r"(\d+) bytes spill", done.stderr)[1])


@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_compiles_for_a_gpu(compiled, name):
    """Registers suffice (255 is all that a thread can have), and activations come in loads of 16 bytes."""
    ptx, registers, spilled = compiled(name, 90, 8, RELU=True, RESIDUAL=True)
    assert spilled == 0 and registers <= 168
    assert "atom" not in ptx and "ld.global.v4" in ptx


@pytest.mark.long
@pytest.mark.parametrize("flags", [(True, True), (True, False), (False, False)], ids=["added", "relu", "alone"])
@pytest.mark.parametrize("capability", [80, 90])
def test_every_variant_compiles(compiled, capability, flags):
    relu, residual = flags
    for name in KERNELS if relu and residual else KERNELS[2:]:
        for align in (1, 8):
            _, registers, spilled = compiled(name, capability, align, RELU=relu, RESIDUAL=residual)
            assert spilled == 0 and registers <= 255, name


@given(st.integers(1, 10**8), st.integers(1, 2048))
@settings(deadline=None)
def test_programs_share_everything_once(rows, channels):
    plan = cut(rows, channels)
    assert plan.units * plan.align == channels and fused.ALIGNED % plan.align == 0
    assert plan.share % plan.rows == 0 and (plan.parts - 1) * plan.share < rows <= plan.parts * plan.share
    assert (plan.columns - 1) * plan.channels < channels <= plan.columns * plan.channels
    assert plan.rows * plan.channels == fused.TILE
    assert plan.parts * plan.columns <= max(fused.PROGRAMS, plan.columns)


@pytest.fixture
def net():
    return build_anynet(SMALL, 4)


def test_a_fused_net_has_the_plain_nets_state_and_no_relu_of_its_own(net):
    before = {name: tensor.data_ptr() for name, tensor in net.state_dict().items()}
    fuse(net)
    assert {name: tensor.data_ptr() for name, tensor in net.state_dict().items()} == before
    assert not [each for each in net.modules() if isinstance(each, (nn.ReLU, Bottleneck))]
    assert all(isinstance(each, FusedNorm) for each in net.modules() if isinstance(each, nn.BatchNorm2d))


def test_a_checkpoint_of_either_net_is_the_others(net):
    other = build_anynet(SMALL, 4)
    fuse(other)
    other.load_state_dict(net.state_dict(), strict=True)
    images = torch.randn(2, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    assert torch.equal(net.eval()(images), other.eval()(images))  # a gradient in evaluation is torch's own business


def test_a_block_that_drops_its_branch_adds_as_ever():
    dropping = build_anynet(SMALL, 4, drop_path=0.5)
    other = copy.deepcopy(dropping)
    fuse(other)
    blocks = [each for each in other.modules() if isinstance(each, Bottleneck)]
    assert len(blocks) == sum(isinstance(each, Bottleneck) for each in dropping.modules()) - 1
    images = torch.randn(2, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    assert torch.equal(dropping.eval()(images), other.eval()(images))


def test_who_is_fused(declare, data):
    manifest, team = find_dataset("stripes", data).manifest, ProcessGroup(torch.device("cpu"))
    sampled = Trainer(declare(recipe=changed(TINY, epochs=1)), manifest, 1, team, asked=("fused-norm",))
    named = Trainer(declare("torchvision/resnet18"), manifest, 1, team, asked=("fused-norm",))
    assert (sampled.ways, named.ways) == (("fused-norm",), ())
    assert not [each for each in named.net.modules() if isinstance(each, FusedNorm)]


def test_fused_norms_without_triton_are_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    with pytest.raises(UsageError, match=r"--ways fused-norm .* pip install triton"):
        check_triton(torch.device("cpu"))


def test_a_triton_that_runs_no_kernel_is_told_before_any_task_fails_by_it():
    """Here it finds no GPU; on a node it may find no compiler, or no folder to write to."""
    with pytest.raises(ToolkitError, match=r"--ways fused-norm: .* \(RuntimeError: .*C compiler.*TRITON_CACHE_DIR"):
        check_triton(torch.device("cpu"))
