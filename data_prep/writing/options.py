"""What the sources share: the options of writing, holding out a validation split, and the line that says it is done."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.cli import print_json, say
from toolkit.errors import UsageError
from toolkit.study.dataset import Encoding, Manifest, data_root

if TYPE_CHECKING:
    from data_prep.storage.samples import Sample
    from data_prep.writing.dataset import DatasetInfo


def writing_options(
    options: argparse.ArgumentParser, write_mode: str = "jpg", max_resolution: int | None = None
) -> None:
    """Add what every source module understands: where to, how encoded, how many workers, how many bad images."""
    where = options.add_argument_group("where")
    where.add_argument("--data", type=Path, help="folder of datasets (default: TOOLKIT_DATA, else ./data)")
    where.add_argument("--overwrite", action="store_true", help="replace the dataset if it is there")
    how = options.add_argument_group("encoding (a JPEG that fits already passes through as it is)")
    how.add_argument(
        "--write-mode", choices=("jpg", "raw", "proportion"), default=write_mode, help="(default: %(default)s)"
    )
    how.add_argument(
        "--raw-proportion", type=float, metavar="P", help="with proportion: the share stored raw (default: 0.5)"
    )
    how.add_argument(
        "--max-resolution",
        type=int,
        default=max_resolution,
        metavar="PX",
        help="larger images shrink to this (default: %(default)s)",
    )
    how.add_argument(
        "--side", choices=("longest", "shortest"), default="longest", help="which side that is (default: %(default)s)"
    )
    how.add_argument("--quality", type=int, default=90, metavar="Q", help="of JPEG, 1 to 100 (default: 90)")
    how.add_argument(
        "--grey-bits",
        type=int,
        default=16,
        metavar="N",
        help="bits that 16-bit grey uses: the largest number of so many is white (default: 16)",
    )
    work = options.add_argument_group("work")
    work.add_argument("--workers", type=int, metavar="N", help="processes (default: the cores this process may use)")
    work.add_argument(
        "--max-bad",
        type=int,
        metavar="N",
        help="images that may be left out, now and as corrupt in training (default: one in 1000, or one in 20 to 10)",
    )
    work.add_argument("--json", action="store_true", help="print the manifest on stdout")


@dataclass(frozen=True)
class WriteRequest:
    """Where a dataset goes, and how it is written."""

    path: Path
    """The folder that it becomes."""
    encoding: Encoding
    workers: int | None = None
    """Processes; None: the cores this process may use."""
    max_bad: int | None = None
    overwrite: bool = False

    @classmethod
    def of(cls, args: argparse.Namespace, name: str) -> "WriteRequest":
        """What the options of `writing_options` ask for dataset ``name``.

        Raises `UsageError`, before any work is done, when they make no sense or the dataset is there already.
        """
        if args.workers is not None and args.workers < 1:
            raise UsageError(f"--workers is at least 1, not {args.workers}")
        return cls(target(args, name), _encoding(args), args.workers, args.max_bad, args.overwrite)

    def write(self, splits: "Mapping[str, Sequence[Sample]]", about: "DatasetInfo") -> Manifest:
        """Write the dataset; its manifest. Raises `ToolkitError` when more images are bad than may be."""
        from data_prep.writing.dataset import write_dataset

        return write_dataset(
            self.path,
            splits,
            about,
            self.encoding,
            workers=self.workers,
            max_bad=self.max_bad,
            overwrite=self.overwrite,
        )


def target(args: argparse.Namespace, name: str) -> Path:
    """The folder that dataset ``name`` will be. Raises `UsageError` when it cannot be one."""
    if not name or name.startswith(".") or "/" in name:
        raise UsageError(f"{name!r} is no name for a dataset: it becomes a folder's name")
    path = data_root(args.data) / name
    if path.exists() and not args.overwrite:
        raise UsageError(f"{path} is there already; give --overwrite to write it anew, or another --name")
    return path


def _encoding(args: argparse.Namespace) -> Encoding:
    if not 1 <= args.quality <= 100:
        raise UsageError(f"--quality is 1 to 100, not {args.quality}")
    if not 1 <= args.grey_bits <= 16:
        raise UsageError(f"--grey-bits is 1 to 16, not {args.grey_bits}")
    if args.max_resolution is not None and args.max_resolution < 1:
        raise UsageError(f"--max-resolution is a number of pixels, not {args.max_resolution}")
    if args.raw_proportion is not None and args.write_mode != "proportion":
        raise UsageError("--raw-proportion goes with --write-mode proportion")
    share = (0.5 if args.raw_proportion is None else args.raw_proportion) if args.write_mode == "proportion" else None
    if share is not None and not 0 <= share <= 1:
        raise UsageError(f"--raw-proportion is a share, 0 to 1, not {share}")
    return Encoding(
        write_mode=args.write_mode,
        max_resolution=args.max_resolution,
        side=args.side,
        jpeg_quality=args.quality,
        raw_proportion=share,
        grey_bits=args.grey_bits,
    )


def announce(written: Mapping[Path, Manifest], as_json: bool) -> None:
    """Print what was written: a line each for people, or the manifest (a list of them where there are several)."""
    from data_prep.writing.contact_sheet import shown

    if as_json:
        manifests = [manifest.model_dump(mode="json") for manifest in written.values()]
        print_json(manifests if len(manifests) > 1 else manifests[0])
        return
    for path, manifest in written.items():
        counts = ", ".join(f"{split.samples:,} {name}" for name, split in manifest.splits.items())
        left_out = f", {len(manifest.skipped)} left out (see dataset.json)" if manifest.skipped else ""
        passed_over = sum(manifest.provenance.get("passed_over", {}).values())
        if passed_over:
            left_out += f", {passed_over} of {manifest.provenance['files_seen']:,} files passed over"
        part = f" ({said})" if (said := shown(len(manifest.classes))) else ""
        sheet = path / "contact-sheet.png"
        say(f"{path}: {counts}, {len(manifest.classes):,} classes{left_out}; look at {sheet}{part}")
