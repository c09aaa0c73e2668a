"""Training to the end on valid JPEGs of the rarer kinds."""

from data_prep.sources.imagefolder import main
from tests.imagefile.corpus import by_opencv, pictures
from tests.training.conftest import TINY
from toolkit.study import Task
from toolkit.study.dataset import find_dataset
from toolkit.train import train


def test_restart_markers_progressive_scans_and_late_comments_train_like_any(study, tmp_path):
    for i, image in enumerate(pictures(100)):
        path = tmp_path / "odd" / ("train" if i < 80 else "val") / "ab"[i % 2] / f"{i:03}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        data = by_opencv(image, 1 + 6 * (i % 5) if i % 4 < 2 else 2 + 6 * (i % 5))  # progressive, or of one scan
        assert b"\xff\xdd\x00\x04" in data and (b"\xff\xc2" in data) == (i % 4 < 2)
        path.write_bytes(data[:-2] + b"\xff\xfe\x00\x07hello" + data[-2:])
    assert main([str(tmp_path / "odd"), "--data", str(tmp_path / "data"), "--workers", "1"]) == 0
    content = find_dataset("odd", tmp_path / "data").manifest.content_hash
    task = Task(architecture="anynetx-500/17", dataset="odd", dataset_hash=content, recipe=TINY)
    study.declare([task])
    assert train(study, [task.id], data=tmp_path / "data", workers=1).failed == []
    assert all(evaluation.images == 20 for evaluation in study.result(task.id).evaluations)
