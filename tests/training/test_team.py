"""Several ranks train one task together: started by the toolkit, over gloo where there is no GPU."""

import shutil

import pytest

from tests.training.conftest import TINY, changed
from toolkit.imagefile.reader import Beton
from toolkit.train import main, train


@pytest.mark.parametrize("batch", [16, 15])
def test_two_ranks_train_one_task_and_lose_no_image(study, declare, data, batch):
    """ConvNeXt has neither batch norm nor dropout: two ranks do the arithmetic of one, up to the order of sums.

    Of a batch of 15 one rank has 8 samples and the other 7; each sample weighs the same.
    """
    task = declare("timm/convnext_atto", recipe=changed(TINY, epochs=1, lr=0.01, resolution=32, batch=batch))
    assert train(study, [task.id], data=data, workers=1, ranks=2).done == [task.id]
    together = study.result(task.id)
    assert [e.images for e in together.evaluations] == [40]
    study.result_path(task.id).unlink()
    train(study, [task.id], data=data, workers=1)
    alone = study.result(task.id)
    assert together.evaluations[0].loss == pytest.approx(alone.evaluations[0].loss, rel=1e-4)
    assert together.evaluations[0].train_loss == pytest.approx(alone.evaluations[0].train_loss, rel=1e-4)


def test_a_corrupt_sample_in_one_share_ends_all_ranks(study, declare, data, tmp_path):
    shutil.copytree(data / "stripes", tmp_path / "stripes")
    beton = Beton.open(tmp_path / "stripes" / "train.beton")
    content = bytearray(beton.path.read_bytes())
    at = content.find(b"\xff\xd8\xff")
    content[at : at + 200] = bytes(200)
    beton.path.write_bytes(content)
    task = declare(recipe=changed(TINY, epochs=1))
    arguments = [str(study.path), task.id, "--data", str(tmp_path), "--workers", "1", "--ranks", "2"]
    assert main(arguments) == 1
    failure = study.result(task.id).failure
    assert failure.kind == "CorruptSample" and "sample 0" in failure.message
