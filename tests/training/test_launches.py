"""What an update and an evaluation ask of a device, seen on fake tensors.

These have shapes, types and layouts and no values: whatever would wait for the device raises. A fake GPU is enough for
a forward pass; autograd wants a real one, so updates are seen on a fake processor that computes in bfloat16 as a GPU
does.
"""

from collections import Counter

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils._python_dispatch import TorchDispatchMode

from tests.training.conftest import TINY, changed
from toolkit.anynet.architectures import SampledArchitecture
from toolkit.study import find_dataset
from toolkit.training.averaging import WeightAverage
from toolkit.training.device import DeviceTransfer
from toolkit.training.loader import Batch
from toolkit.training.process_group import ProcessGroup
from toolkit.training.trainer import Trainer

GPU, CPU = torch.device("cuda", 0), torch.device("cpu")
BATCH, SIDE = 4, 32


class Asked(TorchDispatchMode):
    """Counts operators, and holds the types and layouts of what they work on against what they should be."""

    def __init__(self):
        super().__init__()
        self.calls, self.wrong = Counter(), []

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        result = operator(*args, **(kwargs or {}))
        kind, _, name = operator.name().partition("::")
        name = name.split(".")[0]
        if kind == "aten" and not operator.is_view:
            self.calls[name] += 1
            self._look(name, args, result if isinstance(result, tuple) else (result,))
        return result

    def _look(self, name, args, results):
        if name in ("convolution", "convolution_backward"):
            self._expect(name, torch.bfloat16, *args, *results)
        elif name == "native_batch_norm":  # its scale, shift and running statistics are the net's own
            self._expect(name, torch.bfloat16, args[0], results[0])
            self._expect(name, torch.float32, *args[1:5])
        elif name == "_log_softmax":
            self._expect(name, torch.float32, args[0])
        elif name == "_fused_sgd_":
            self._expect(name, torch.float32, *args[0], *args[1], *args[2])

    def _expect(self, name, kind, *tensors):
        """All are of a kind, and pictures and kernels have their channels innermost."""
        for each in tensors:
            if isinstance(each, torch.Tensor) and (each.dtype != kind or (each.dim() == 4 and each.stride(1) != 1)):
                self.wrong.append((name, each.dtype, tuple(each.shape), each.stride()))


@pytest.fixture
def fake(declare, data, monkeypatch):
    """A function that makes a net on a fake device, with a batch as it comes from the loader."""
    build = SampledArchitecture.build

    def built(*arguments):
        with unset_fake_temporarily():  # a net of fakes cannot be moved to another device
            return build(*arguments)

    def make(device):
        manifest = find_dataset("stripes", data).manifest
        task = declare("anynetx-500/1", recipe=changed(TINY, batch=BATCH))
        trainer = Trainer(task, manifest, 1000, ProcessGroup(device))
        trainer.arithmetic = "bfloat16"
        assert all(parameter.device == device for parameter in trainer.net.parameters())
        images = np.zeros((BATCH, SIDE, SIDE, 3), np.uint8)
        images, labels = DeviceTransfer(manifest, CPU)(Batch(0, np.arange(BATCH), images, np.arange(BATCH)))
        return trainer, images.to(device), labels.to(device)

    monkeypatch.setattr(SampledArchitecture, "build", built)
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield make


def convolutions(trainer):
    return sum(isinstance(each, torch.nn.Conv2d) for each in trainer.net.modules())


def test_an_update_never_waits_and_keeps_to_its_calls_casts_types_and_layouts(fake):
    """A convolution costs ten calls: its norm's, ReLU's and counter's and all ways back are among them.

    Two of the ten are casts, of its weights and of their gradient; seven more are the batch's, the classifier's and
    the loss's. All parameters are updated by one call.
    """
    trainer, images, labels = fake(CPU)
    trainer.train_batch(images, labels)  # the optimizer makes its momenta
    with Asked() as asked:
        trainer.train_batch(images, labels)
    count = convolutions(trainer)
    assert asked.wrong == []
    assert asked.calls["convolution"] == asked.calls["convolution_backward"] == count
    assert asked.calls["_to_copy"] <= 2 * count + 7 and asked.calls["_fused_sgd_"] == 1
    assert asked.calls.total() <= 10 * count + 36


@pytest.mark.parametrize("device", [CPU, GPU], ids=["processor", "gpu"])
def test_an_evaluation_never_waits_and_keeps_to_its_calls_casts_types_and_layouts(fake, device):
    """A convolution costs five calls, one of them a cast; counting costs some twenty a batch, whatever the classes."""
    trainer, images, labels = fake(device)
    trainer.start_evaluation()
    with Asked() as asked:
        trainer.evaluate_batch(images, labels)
    count = convolutions(trainer)
    if device == CPU:  # a fake GPU without cuDNN answers in another layout than a real one
        assert asked.wrong == []
    assert {kind for _, kind, _, _ in asked.wrong} <= {torch.bfloat16}
    assert asked.calls["convolution"] == count and asked.calls["_to_copy"] <= count + 6
    assert asked.calls.total() <= 5 * count + 28


class Moves(TorchDispatchMode):
    """Collects the operators that bring something from a processor to the stand-in of a device."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        result = operator(*args, **(kwargs or {}))
        came = [each.device.type for each in args if isinstance(each, torch.Tensor)]
        if "cpu" in came and isinstance(result, torch.Tensor) and result.device.type == "meta":
            self.names.append(operator.name())
        return result


def test_a_mean_of_weights_brings_nothing_to_the_device():
    """A copy from ordinary memory would wait for all work before it. The meta device stands for a GPU."""
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.BatchNorm2d(2)).to("meta")
    average = WeightAverage(net, changed(TINY, ema=0.9), steps=4)
    with Moves() as moves:
        for done in (1, 2, 3):
            average.update(net, done)
    assert average.begun and moves.names == []


def test_a_mean_of_weights_is_torchs_own():
    recipe = changed(TINY, ema=0.9, warmup_epochs=0.5)
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.BatchNorm2d(2), torch.nn.LayerNorm(1))
    ours = WeightAverage(net, recipe, steps=4)
    theirs = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    for done in range(1, 7):
        net(torch.randn(2, 1, 3, 1))
        for parameter in net.parameters():
            parameter.data.add_(torch.randn_like(parameter))
        if done <= 2:
            theirs.n_averaged.zero_()
        ours.update(net, done)
        theirs.update_parameters(net)
    state = theirs.state_dict()
    assert ours.state().keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in ours.state().items())
