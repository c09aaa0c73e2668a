"""One net's updates and counts, held against what a reader of the recipe would write by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy

from tests.training.betons import write_dataset
from tests.training.conftest import TINY, changed
from toolkit.anynet import architecture
from toolkit.errors import UsageError
from toolkit.study import Recipe, Task
from toolkit.study.result import Evaluation
from toolkit.training.process_group import ProcessGroup
from toolkit.training.schedule import learning_rate, make_optimizer
from toolkit.training.trainer import CHECK_EVERY, Diverged, ErrorCounter, Trainer, head_names, head_of

CPU = torch.device("cpu")
NET = "anynetx-500/1"


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Four classes, of which the first has more validation images than the others: (2, 1, 1, 1)."""
    return write_dataset(tmp_path_factory.mktemp("data") / "few", train=16, val=5)


@pytest.fixture
def made(manifest):
    """A function that makes a trainer."""

    def make(steps=10, **fields):
        recipe = changed(TINY, precision="float32", **fields)
        task = Task(architecture=NET, dataset="few", dataset_hash="h", recipe=recipe, seed=3)
        return Trainer(task, manifest, steps, ProcessGroup(CPU))

    return make


def batch(seed=0, count=8):
    draws = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, 16, 16, generator=draws), torch.randint(0, 4, (count,), generator=draws)


def test_updates_are_what_one_writes_by_hand(made):
    """SGD with Nesterov's momentum (Sutskever et al. 2013), weight decay on all but vectors, clipped gradients."""
    fields = {"label_smoothing": 0.1, "clip_grad_norm": 0.5, "weight_decay": 0.01, "decay_norm_and_bias": False}
    trainer = made(steps=2, warmup_epochs=1.0, **fields)
    torch.manual_seed(3)
    net = architecture(NET).build(4, 16, 0.0)
    momenta, losses = [torch.zeros_like(p) for p in net.parameters()], []
    for step in range(3):
        images, labels = batch(step)
        trainer.train_batch(images, labels)
        loss = cross_entropy(net(images), labels, label_smoothing=0.1)
        gradients = torch.autograd.grad(loss, list(net.parameters()))
        scale = min(1.0, 0.5 / float(torch.cat([g.flatten() for g in gradients]).norm()))
        losses.append(loss.item())
        rate = learning_rate(trainer.task.recipe, step, 2)
        with torch.no_grad():
            for parameter, gradient, momentum in zip(net.parameters(), gradients, momenta, strict=True):
                way = gradient * scale + (0.01 * parameter if parameter.ndim > 1 else 0)
                momentum.mul_(0.9).add_(way)
                parameter -= rate * (way + 0.9 * momentum)
    assert trainer.loss_sum.item() == pytest.approx(sum(losses), rel=1e-4)
    assert trainer.clock.images == 24 and trainer.step == 3
    for (name, found), expected in zip(trainer.net.named_parameters(), net.parameters(), strict=True):
        assert torch.allclose(found, expected, rtol=1e-3, atol=1e-5), name


def test_stochastic_depth_and_a_probe_reach_the_net(made):
    """With stochastic depth whole branches are left out in training, others in every step, and none in evaluation."""
    plain, dropping = made(), made(drop_path=0.9)
    images, labels = batch()
    for trainer in (plain, dropping):
        trainer.train_batch(images, labels)
    assert dropping.loss_sum.item() != pytest.approx(plain.loss_sum.item(), rel=1e-3)
    again = made(drop_path=0.9)
    again.train_batch(images, labels)
    assert again.loss_sum == dropping.loss_sum
    probe = made(tune="head")
    probe.train_batch(images, labels)
    assert not probe.net.training
    assert [name for name, p in probe.net.named_parameters() if p.requires_grad] == ["head.weight", "head.bias"]


@pytest.mark.parametrize(
    "fields, expected",
    [
        ({"momentum": 0.8}, {"momentum": 0.8, "nesterov": True, "weight_decay": 0.01, "dampening": 0, "fused": True}),
        ({"nesterov": False}, {"momentum": 0.9, "nesterov": False}),
        ({"momentum": 0.0}, {"momentum": 0.0, "nesterov": False}),
        ({"optimizer": "adamw"}, {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01, "fused": True}),
        ({"optimizer": "rmsprop"}, {"alpha": 0.9, "eps": 0.0316, "momentum": 0.9, "weight_decay": 0.01}),
    ],
)
def test_an_optimizer_has_the_recipes_values(fields, expected):
    recipe = changed(Recipe(lr=0.3, weight_decay=0.01), **fields)
    [group] = make_optimizer(recipe, nn.Linear(3, 2).parameters()).param_groups
    assert group["lr"] == 0.3 and {name: group[name] for name in expected} == expected


def test_vectors_are_spared_the_decay_where_the_recipe_says_so_and_what_is_still_is_left_out():
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Linear(2, 2))
    net[2].requires_grad_(False)
    decays = make_optimizer(Recipe(weight_decay=0.01, decay_norm_and_bias=False), net.parameters()).param_groups
    assert [(group["weight_decay"], [p.ndim for p in group["params"]]) for group in decays] == [
        (0.01, [2]),
        (0.0, [1, 1, 1]),
    ]
    [all_alike] = make_optimizer(Recipe(weight_decay=0.01, decay_norm_and_bias=True), net.parameters()).param_groups
    assert len(all_alike["params"]) == 4


@given(st.integers(2, 9), st.integers(1, 30), st.integers(0, 1000))
@settings(max_examples=20)
def test_errors_are_counted_as_numpy_counts_them(classes, images, seed):
    rng = np.random.default_rng(seed)
    logits, labels = rng.standard_normal((images, classes)), rng.integers(0, classes, images)
    counter = ErrorCounter.empty(classes, CPU)
    for part in (slice(0, images // 2), slice(images // 2, images)):
        counter.add(torch.tensor(logits[part], dtype=torch.float32), torch.tensor(labels[part]))
    right = np.take_along_axis(logits, labels[:, None], axis=1)
    better, seen = (logits > right).sum(axis=1), np.bincount(labels, minlength=classes)
    wrong = np.bincount(labels, better > 0, minlength=classes)
    assert counter.images_by_class.tolist() == seen.tolist() and counter.wrong_by_class.tolist() == wrong.tolist()
    assert counter.wrong5.item() == (better >= 5).sum()
    assert counter.loss.item() == pytest.approx((np.log(np.exp(logits).sum(axis=1)) - right[:, 0]).sum(), rel=1e-4)
    assert counter.mean_class_error() == pytest.approx((wrong[seen > 0] / seen[seen > 0]).mean())


def test_an_epoch_ends_with_its_counts_and_the_next_begins_at_none(made):
    trainer = made(steps=2, epochs=2)
    for epoch in (1, 2):
        for step in range(2):
            trainer.train_batch(*batch(step))
        mean = trainer.loss_sum.item() / 2
        trainer.start_evaluation()
        images, labels = batch(9, count=6)
        trainer.evaluate_batch(images, labels)
        with torch.no_grad():
            loss = cross_entropy(trainer.net(images), labels).item()
        found = trainer.finish_epoch(12.5)
        assert (found.epoch, found.images, found.seconds, found.train_loss) == (epoch, 6, 12.5, pytest.approx(mean))
        assert found.loss == pytest.approx(loss, rel=1e-4)
        assert len(found.wrong_by_class) == (4 if epoch == 2 else 0)
        assert (trainer.epoch, trainer.step, trainer.loss_sum.item()) == (epoch, 0, 0)
        assert trainer.finished == (epoch == 2) and trainer.evaluations[-1] == found


def test_no_number_is_told_with_its_place_at_the_next_look(made):
    trainer = made(steps=CHECK_EVERY + 1)
    trainer.epoch, trainer.step = 1, CHECK_EVERY - 2
    trainer.loss_sum.fill_(math.nan)
    trainer.train_batch(*batch())  # nobody looks yet
    with pytest.raises(Diverged, match=f"training loss is nan by update {CHECK_EVERY} of epoch 2") as caught:
        trainer.train_batch(*batch())
    assert caught.value.kind == "NonFiniteLoss"
    with pytest.raises(Diverged, match=f"by update {CHECK_EVERY + 1} of epoch 2"):  # the epoch's last one
        trainer.train_batch(*batch())


def test_an_evaluation_without_a_number_is_told(made):
    trainer = made()
    trainer.start_evaluation()
    trainer.evaluate_batch(torch.full((2, 3, 16, 16), math.nan), torch.tensor([0, 1]))
    with pytest.raises(Diverged, match="validation loss is nan after epoch 1") as caught:
        trainer.finish_epoch(1.0)
    assert caught.value.kind == "NonFiniteLoss"


@pytest.mark.parametrize(
    "loss, right, learned",
    [(math.log(4), 2, False), (math.log(4), 3, True), (math.log(4) - 0.01, 2, True), (9.0, 0, False)],
)
def test_a_net_that_guesses_by_loss_and_by_errors_has_not_learned(made, loss, right, learned):
    """Of five images two are of one class, so who always names that class has two right."""
    trainer = made()
    last = Evaluation(epoch=1, images=5, wrong_top1=5 - right, wrong_top5=0, loss=1.0, train_loss=loss)
    better = last.model_copy(update={"wrong_top1": 0})
    trainer.evaluations += [last if learned else better, last]
    if learned:
        return trainer.check_learned()
    with pytest.raises(Diverged, match=f"{loss:.3f} is not below ln 4 = 1.386") as caught:
        trainer.check_learned()
    assert caught.value.kind == "ChanceLevel"


def test_a_classifier_is_the_last_layer_with_as_many_outputs_as_classes():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(4, 7), nn.Linear(7, 4), nn.Linear(4, 5))
    assert head_of(net, 4) is net[3] and list(head_names(net, 4)) == ["3.weight", "3.bias"]
    assert head_of(net[:3], 4) is net[0]
    with pytest.raises(UsageError, match="no linear layer or convolution with 6 outputs"):
        head_of(net, 6)
