"""What a recipe can ask of training: repeatable by seed, epoch and sample, resumed bit-equal, in packs as alone."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import InterpolationMode, autoaugment

from tests.training.betons import write_dataset
from tests.training.conftest import TINY, changed, errors
from toolkit.anynet import Freezer, architecture
from toolkit.errors import UsageError
from toolkit.study import Recipe, Task
from toolkit.study.recipe import recipe_help
from toolkit.train import main, train
from toolkit.training.augment import uniforms
from toolkit.training.loader import Batch
from toolkit.training.mixing import mixing, parts_of
from toolkit.training.policies import BINS, Policy, apply_operations, operations
from toolkit.training.process_group import ProcessGroup
from toolkit.training.stop import StopFlag
from toolkit.training.trainer import Trainer

ALL = {
    "mixup": 0.2,
    "cutmix": 1.0,
    "auto_augment": "trivialaugment",
    "erasing": 0.5,
    "ema": 0.9,
    "ema_every": 2,
    "warmup_epochs": 0.5,
    "drop_path": 0.2,
    "class_balanced": True,
    "accumulate": 2,
    "batch": 32,
    "clip_grad_norm": 5.0,
    "optimizer": "rmsprop",
    "lr": 0.003,
    "schedule": "step",
    "step_epochs": 0.5,
}
ROOT = Path(__file__).parents[2]
NETS = ["anynetx-500/3", "anynetx-500/17"]


@pytest.fixture(autouse=True)
def every_net_is_done(monkeypatch):
    monkeypatch.setattr(Trainer, "check_learned", lambda self: None)


def weights(study, task):
    return torch.load(study.final_weights(task.id), weights_only=True)["model"]


def test_everything_at_once_resumes_bit_equal_and_packs_as_alone(study, declare, data, monkeypatch):
    recipe = changed(TINY, **ALL)
    alone = declare(NETS[0], recipe=recipe)
    train(study, [alone.id], data=data, workers=1)
    expected, kept = errors(study.result(alone.id)), weights(study, alone)
    study.result_path(alone.id).unlink()
    stop = StopFlag()
    update = Trainer.train_batch

    def interrupt(self, images, labels):
        update(self, images, labels)
        if (self.epoch, self.step) == (1, 2):
            stop.set("the test")

    monkeypatch.setattr(Trainer, "train_batch", interrupt)
    other = declare(NETS[1], recipe=recipe)
    assert set(train(study, [alone.id, other.id], data=data, workers=1, pack=2, stop=stop).preempted) == {
        alone.id,
        other.id,
    }
    monkeypatch.setattr(Trainer, "train_batch", update)
    assert train(study, [other.id, alone.id], data=data, workers=1, pack=2).done == [other.id, alone.id]
    assert errors(study.result(alone.id)) == expected
    assert all(torch.equal(tensor, kept[name]) for name, tensor in weights(study, alone).items())


@given(st.sampled_from(["trivialaugment", "randaugment", "autoaugment"]), st.integers(0, 10_000))
@settings(max_examples=60)
def test_a_policy_does_what_torchvision_s_does_with_the_same_draws(kind, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 24, 3), np.uint8)
    bilinear = InterpolationMode.BILINEAR
    transform = {
        "trivialaugment": autoaugment.TrivialAugmentWide(interpolation=bilinear),
        "randaugment": autoaugment.RandAugment(magnitude=7, interpolation=bilinear),
        "autoaugment": autoaugment.AutoAugment(interpolation=bilinear),
    }[kind]
    torch.manual_seed(seed)
    expected = np.asarray(transform(Image.fromarray(pixels)))
    apply_operations(pixels, operations(Recipe(auto_augment=kind, magnitude=7), drawn(kind, seed), 24))
    assert np.array_equal(pixels, expected)


def drawn(kind, seed):
    """torchvision's draws for a seed, as uniform numbers in our order."""
    torch.manual_seed(seed)
    if kind == "autoaugment":
        policy, shares, signs = autoaugment.AutoAugment.get_params(25)
        return [(policy + 0.5) / 25, *shares.tolist(), *((signs + 0.5) / 2).tolist()]
    trivial = kind == "trivialaugment"
    space = (autoaugment.TrivialAugmentWide() if trivial else autoaugment.RandAugment())._augmentation_space(
        *([BINS] if trivial else [BINS, (24, 24)])
    )
    draws = []
    for _ in range(1 if trivial else 2):
        number = int(torch.randint(len(space), (1,)))
        magnitudes, signed = list(space.values())[number]
        draws.append((number + 0.5) / len(space))
        if trivial:
            draws.append((int(torch.randint(BINS, (1,))) + 0.5) / BINS if magnitudes.ndim else 0.0)
        draws.append(0.25 if signed and int(torch.randint(2, (1,))) else 0.75)
    return draws


def noise(samples):
    images = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3), np.uint8)[samples]
    return Batch(0, np.array(samples), images, np.zeros(len(samples), np.int64))


def test_a_picture_s_policy_depends_on_its_number_alone():
    policy = Policy(Recipe(auto_augment="randaugment", erasing=0.5), 3, (0.5, 0.5, 0.5))
    together, apart = noise(list(range(64))), noise([9])
    policy.apply(None, together, slice(0, 64), 1)
    policy.apply(None, apart, slice(0, 1), 1)
    assert np.array_equal(together.images[9], apart.images[0])
    later = noise([9])
    policy.apply(None, later, slice(0, 1), 2)
    assert not np.array_equal(later.images, apart.images)


def test_erasing_hits_its_share_of_pictures_with_boxes_of_the_mean_colour():
    batch, before = noise(list(range(64))), noise(list(range(64))).images
    Policy(Recipe(erasing=0.25), 0, (0.1, 0.2, 0.3)).apply(None, batch, slice(0, 64), 0)
    erased = (batch.images != before).any(axis=(1, 2, 3))
    assert 6 <= erased.sum() <= 26
    for image, old in zip(batch.images[erased], before[erased], strict=True):
        changed_at = (image != old).any(axis=2)
        assert np.array_equal(np.unique(image[changed_at], axis=0), [[26, 51, 76]])
        assert 0.01 < changed_at.mean() < 0.4


def test_draws_of_policies_and_erasing_are_frozen():
    """A change here would change every result that has them: it needs a new field in the recipe."""
    batch, before = noise([9, 40]), noise([9, 40]).images
    Policy(Recipe(erasing=1.0), 3, (0.5, 0.5, 0.5)).apply(None, batch, slice(1, 2), 7)
    assert np.array_equal(batch.images[0], before[0])  # another part's
    rows, columns = np.nonzero((batch.images[1] != before[1]).any(axis=2))
    assert [rows.min(), rows.max(), columns.min(), columns.max()] == [5, 23, 11, 23]
    for recipe in (Recipe(auto_augment=kind) for kind in ("trivialaugment", "randaugment", "autoaugment")):
        batch, expected = noise([9, 40]), noise([9, 40]).images
        Policy(recipe, 3, (0.5, 0.5, 0.5)).apply(None, batch, slice(0, 2), 7)
        for image, draws in zip(expected, uniforms(3, 2**32 + 7, np.array([9, 40]), 5).tolist(), strict=True):
            apply_operations(image, operations(recipe, draws, 32))
        assert np.array_equal(batch.images, expected)


def test_mixing_keeps_the_sum_of_the_targets():
    torch.manual_seed(0)
    images, labels = torch.rand(8, 3, 16, 16), torch.arange(8) % 4
    for recipe in (Recipe(mixup=0.4), Recipe(cutmix=1.0), Recipe(mixup=0.4, cutmix=1.0)):
        mixed, targets = mixing(recipe, 4)(images, labels)
        assert targets.shape == (8, 4) and torch.allclose(targets.sum(1), torch.ones(8))
        assert mixed.shape == images.shape and not torch.equal(mixed, images)
    assert mixing(Recipe(), 4)(images, labels)[1] is labels


def test_accumulation_is_the_whole_batch_s_gradient(study, declare, data):
    """Without batch norm: the parts' norms see other statistics."""
    (study.path / "mine.py").write_text(
        "from torch import nn\n"
        "def net(num_classes):\n"
        "    return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, num_classes))\n"
    )
    freezer = Freezer()
    name = freezer.model(str(study.path / "mine.py") + ":net")
    study.keep(freezer.texts)
    tasks = [declare(name, recipe=changed(TINY, accumulate=parts, precision="float32")) for parts in (1, 4)]
    train(study, [task.id for task in tasks], data=data, workers=1)
    whole, parted = (weights(study, task) for task in tasks)
    assert all(torch.allclose(whole[k], parted[k], rtol=1e-3, atol=1e-5) for k in whole)
    with pytest.raises(UsageError, match="empty parts"):
        parts_of(changed(TINY, accumulate=8), 3)


def test_stochastic_depth_drops_whole_branches():
    torch.manual_seed(0)
    net = architecture("anynetx-500/3").build(4, 32, 0.5)
    plain = architecture("anynetx-500/3").build(4, 32)
    plain.load_state_dict(net.state_dict())  # the same weights by the same names
    images = torch.rand(4, 3, 32, 32)
    assert torch.equal(net.eval()(images), plain.eval()(images))
    assert not torch.equal(net.train()(images), net.train()(images))
    with pytest.raises(UsageError, match="alexnet cannot be built with stochastic_depth_prob=0"):
        architecture("torchvision/alexnet").build(4, 64, 0.5)


def test_the_weight_of_a_class_is_one_over_its_frequency(tmp_path):
    manifest = write_dataset(tmp_path / "uneven", train=6)
    assert manifest.splits["train"].class_counts == (2, 2, 1, 1)
    images = torch.rand(4, 3, 16, 16)
    for label, weight in ((0, 0.75), (3, 1.5)):
        losses = []
        for balanced in (True, False):
            recipe = changed(TINY, class_balanced=balanced)
            task = Task(architecture=NETS[0], dataset="uneven", dataset_hash="h", recipe=recipe)
            trainer = Trainer(task, manifest, 10, ProcessGroup(torch.device("cpu")))
            trainer.train_batch(images, torch.full((4,), label))
            losses.append(trainer.loss_sum.item())
        assert losses[0] == pytest.approx(weight * losses[1], rel=1e-5)


def test_every_key_is_listed_with_type_default_and_meaning(capsys):
    with pytest.raises(SystemExit):
        main(["--recipe-help"])
    listed = capsys.readouterr().out
    for name, field in Recipe.model_fields.items():
        assert f"\n{name} (" in listed and field.description, name
    assert f"```text\n{recipe_help()}\n```" in (ROOT / "docs" / "training.md").read_text()
