import pytest

from tests.training.betons import write_dataset
from toolkit.study import Recipe, Study, Task

# A net that had learned nothing would be recorded as diverged: at this rate two epochs take the training loss from ln 4
# to 0.9 or 1.2 by the processor; at 0.01 it stayed within 0.02 of it, and on which side, the processor decided.
TINY = Recipe(epochs=2, batch=16, lr=0.1, resolution=16, crop_scale=(0.5, 1.0), flip=0.0)


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """A data root with the dataset ``stripes``, under an odd path."""
    root = tmp_path_factory.mktemp('it\'s "odd"\nroot')
    write_dataset(root / "stripes")
    return root


@pytest.fixture
def study(tmp_path):
    return Study.create(tmp_path / "a study's\nfolder")


@pytest.fixture
def declare(study):
    """Declare a task of the study on ``stripes``; returns it."""

    def make(architecture="anynetx-500/17", **fields):
        recipe = fields.pop("recipe", TINY)
        task = Task(
            architecture=architecture, dataset="stripes", dataset_hash="hash-of-stripes", recipe=recipe, **fields
        )
        study.declare([task])
        return task

    return make


def changed(recipe, **fields):
    return recipe.model_validate(recipe.model_dump() | fields)


def errors(result):
    return [(e.epoch, e.images, e.wrong_top1, e.wrong_top5, e.loss, e.train_loss) for e in result.evaluations]
