"""`toolkit.bench loader` with stock FFCV and torchvision among the contestants."""

from collections.abc import Sequence
from pathlib import Path

from toolkit.benchmarks.loader import CONTESTANTS, RATIO, SCALE, Contestant, Epochs, Work, compare


def main(argv: Sequence[str]) -> int:
    """Time all contestants and print the table."""
    return compare(argv, CONTESTANTS | PEERS)


def _ffcv(work: Work, folder: Path) -> Epochs:
    from ffcv.fields.decoders import IntDecoder, RandomResizedCropRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import RandomHorizontalFlip, ToTensor, ToTorchImage

    decoder = RandomResizedCropRGBImageDecoder((work.side, work.side), scale=SCALE, ratio=RATIO)
    image = [decoder, RandomHorizontalFlip(), ToTensor(), ToTorchImage()]
    loader = Loader(
        str(folder / "dataset" / "train.beton"),
        batch_size=work.batch,
        num_workers=work.workers,
        order=OrderOption.RANDOM,
        os_cache=True,
        pipelines={"image": image, "label": [IntDecoder(), ToTensor()]},
    )
    while True:
        for images, _ in loader:
            yield len(images)


def _torchvision(work: Work, folder: Path) -> Epochs:
    import torch
    from torchvision import datasets, transforms

    torch.set_num_threads(1)
    chain = transforms.Compose(
        [
            transforms.RandomResizedCrop(work.side, SCALE, RATIO),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
        ]
    )
    loader = torch.utils.data.DataLoader(
        datasets.ImageFolder(folder / "tree", chain),
        batch_size=work.batch,
        shuffle=True,
        drop_last=True,
        num_workers=work.workers,
        persistent_workers=True,
    )
    while True:
        for images, _ in loader:
            yield len(images)


PEERS = {"ffcv": Contestant("stock FFCV", _ffcv), "torchvision": Contestant("torchvision", _torchvision)}
