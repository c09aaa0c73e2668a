"""How fast a GPU trains the population's nets, against what, and where its time goes: parts of `toolkit.bench gpu`."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from toolkit.benchmarks._nets import Bench
from toolkit.benchmarks._part import Part
from toolkit.imagefile.reader import Beton
from toolkit.study import Recipe, Task, find_dataset
from toolkit.training import device as devices
from toolkit.training.fused import available
from toolkit.training.graphs import WARM_UP, Record, Work, cuda_graph
from toolkit.training.loader import Loader, Pool
from toolkit.training.process_group import ProcessGroup
from toolkit.training.trainer import Trainer
from toolkit.ways import WAYS, Way

SMALL = 64
"""Pixels up to which an update is short, so that more of them are measured (our choice)."""
LOSSES = 1e-2
"""Relative difference of bfloat16 losses up to which two ways of training are the same (our choice)."""


@dataclass(frozen=True)
class Scale:
    """How much is measured, for a GPU or, to see that everything runs, for a processor."""

    device: torch.device
    pictures: Path
    """Folder of `write_beton`."""
    sides: tuple[int, ...]
    """Of crops, pixels."""
    batch: int
    nets: tuple[int, ...]
    """Of the population, where nets are measured one by one."""
    packs: tuple[int, ...]
    repeats: int
    """Updates of a timing."""
    product: int
    """Side of the matrices."""
    copied: int
    """Bytes."""
    workers: tuple[int, ...]
    """Decoding threads."""

    @property
    def cuda(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.type == "cuda"

    def task(self, net: int, side: int, precision: str = "bfloat16") -> Task:
        """A task of the population on the pictures."""
        recipe = Recipe(batch=self.batch, epochs=10, resolution=side, lr=0.01, crop_scale=(0.08, 1.0))
        recipe = Recipe.model_validate(recipe.model_dump() | {"precision": precision})
        content = find_dataset("dataset", self.pictures).manifest.content_hash
        return Task(architecture=f"anynetx-500/{net}", dataset="dataset", dataset_hash=content, recipe=recipe)

    def held(
        self, net: int, side: int, precision: str = "bfloat16", record: Record | None = None, ways: tuple[Way, ...] = ()
    ) -> tuple[Trainer, Callable[[], None]]:
        """A net, and its update on one batch that lies on the device."""
        manifest = find_dataset("dataset", self.pictures).manifest
        trainer = Trainer(
            self.task(net, side, precision), manifest, 1_000_000, ProcessGroup(self.device), record=record, asked=ways
        )
        images, labels = self.random_batch(side)
        return trainer, lambda: trainer.train_batch(images, labels)

    def random_batch(self, side: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Noise (batch, 3, side, side), channels last in memory, and labels (batch,)."""
        images = torch.randn(self.batch, 3, side, side, device=self.device)
        labels = torch.randint(0, 8, (self.batch,), device=self.device)
        return images.contiguous(memory_format=torch.channels_last), labels

    def wait(self) -> None:
        """To the end of the device's work."""
        if self.cuda:
            torch.cuda.synchronize()

    def bandwidth(self) -> float:
        """Bytes a second that a copy within the device's memory reads and writes."""
        a = torch.empty(self.copied, dtype=torch.uint8, device=self.device)
        b = torch.empty_like(a)
        b.copy_(a)
        return 2 * self.copied / self.timed(lambda: b.copy_(a), 10 * self.repeats)[0]

    def timed(self, call: Callable[[], Any], count: int = 0) -> tuple[float, float]:
        """Seconds of a call when ``count`` follow each other, and of those the host's until the last is handed over."""
        count = count or self.repeats
        self.wait()
        began = time.perf_counter()
        for _ in range(count):
            call()
        handed = time.perf_counter() - began
        self.wait()
        return (time.perf_counter() - began) / count, handed / count


def _skip_without_gpu(part: Part, scale: Scale, what: str) -> bool:
    """Say in a row, which passes for no result, that a processor cannot measure this part."""
    if not scale.cuda:
        part.add(skipped=what)
    return not scale.cuda


def ceilings(part: Part, scale: Scale) -> None:
    """What the device, and whoever launches its kernels, can do at best."""
    part.add(what="memory, read and written", value=scale.bandwidth() / 1e9, unit="GB/s")
    m = scale.product
    x, y = (torch.randn(m, m, device=scale.device, dtype=torch.bfloat16) for _ in range(2))
    one = torch.zeros(1, device=scale.device)
    calls: list[tuple[str, Callable[[], Any], float, str]] = [
        ("bfloat16 product", lambda: x @ y, 2 * m**3 / 1e12, "TFLOP/s"),
        ("smallest kernels in a row", lambda: one.add_(1), 1e-6, "million/s"),
    ]
    if scale.cuda:  # what a ring of pinned buffers would save, and what it would not
        batch = torch.zeros(scale.batch, scale.sides[0], scale.sides[0], 3, dtype=torch.uint8)
        pinned = batch.pin_memory()
        calls.append(
            ("a batch into pinned memory, by the launching thread", batch.pin_memory, batch.nbytes / 1e9, "GB/s")
        )
        calls.append(("a pinned batch onto the device", lambda: pinned.to(scale.device), batch.nbytes / 1e9, "GB/s"))
    for what, call, work, unit in calls:
        call()
        each, _ = scale.timed(call, 10 * scale.repeats)
        part.add(what=what, value=work / each, unit=unit)


def steps(part: Part, scale: Scale) -> None:
    """One net at a time on a batch in memory, with cuDNN's search for the fastest algorithms and without."""
    for side in scale.sides:
        for precision, search in (("bfloat16", True), ("float32", True), ("bfloat16", False)):
            for net in scale.nets:
                if not part:
                    return
                torch.backends.cudnn.benchmark = search
                found = _step(scale, net, side, precision)
                part.add(net=net, side=side, search="on" if search else "off", **found)


def _step(scale: Scale, net: int, side: int, precision: str) -> dict[str, Any]:
    if scale.cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    trainer, step = scale.held(net, side, precision)
    first, _ = scale.timed(step, 1)
    each, host = scale.timed(step)
    peak = torch.cuda.max_memory_allocated() / 2**30 if scale.cuda else 0.0
    rates = {"step_ms": each * 1e3, "host_ms": host * 1e3, "images_s": scale.batch / each, "peak_gib": peak}
    return {"arithmetic": trainer.arithmetic, "first_s": first, **rates}


def graphs(part: Part, scale: Scale) -> None:
    """The same update with its kernels launched one by one, and replayed as a CUDA graph (`--cuda-graphs`)."""
    if _skip_without_gpu(part, scale, "CUDA graphs are a GPU's alone"):
        return
    for side in reversed(scale.sides):
        for net in scale.nets:
            if part:
                part.add(net=net, side=side, **_graph(scale, net, side))
    for k in (2, 4):
        if part:
            part.add(streams=k, side=scale.sides[-1], **_side_by_side(scale, k, scale.sides[-1]))


def _graph(scale: Scale, net: int, side: int) -> dict[str, Any]:
    seconds = {}
    images, labels = scale.random_batch(side)
    for way, record in (("eager", None), ("graph", cuda_graph)):
        trainer, step = scale.held(net, side, record=record)
        scale.timed(step, WARM_UP + 2)
        seconds[way], _ = scale.timed(step)
        trainer.start_evaluation()
        evaluation = partial(trainer.evaluate_batch, images, labels)
        scale.timed(evaluation, WARM_UP + 2)
        seconds[f"evaluation_{way}"], _ = scale.timed(evaluation)
    milliseconds = {f"{way}_ms": each * 1e3 for way, each in seconds.items()}
    return {**milliseconds, "gain": seconds["eager"] / seconds["graph"]}


def _graph_of_its_own(work: Work) -> Work:
    """A graph with a pool of memory of its own: graphs that share one may not be replayed side by side.

    Nor may those that were recorded on one stream: cuBLAS has one workspace for each (ATen's CublasHandlePool.cpp), and
    `torch.cuda.graph` one stream for all.
    """
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=torch.cuda.Stream(), capture_error_mode="thread_local"):
        work()
    replay: Work = graph.replay
    return replay


def _side_by_side(scale: Scale, k: int, side: int) -> dict[str, Any]:
    """The graphs of ``k`` nets replayed one after another, and each on a stream of its own.

    The trainers are kept while their graphs are: a graph's kernels use the weights where they lay when it was recorded.
    """
    nets = [[scale.held(net, side, record=_graph_of_its_own) for net in range(k)] for _ in range(2)]
    for _, step in nets[0] + nets[1]:
        scale.timed(step, WARM_UP + 2)
    streams = [torch.cuda.Stream() for _ in range(k)]

    def together() -> None:
        for stream, (_, step) in zip(streams, nets[1], strict=True):
            with torch.cuda.stream(stream):
                step()

    one, _ = scale.timed(lambda: [step() for _, step in nets[0]])
    other, _ = scale.timed(together)
    sums = [[trainer.loss_sum.item() for trainer, _ in group] for group in nets]
    apart = max(abs(a - b) / abs(a) for a, b in zip(*sums, strict=True))
    times = {"one_after_another_ms": one * 1e3, "side_by_side_ms": other * 1e3, "gain": one / other}
    return {**times, "losses_apart": apart, "right": apart <= LOSSES}


def packs(part: Part, scale: Scale) -> None:
    """K nets on the toolkit's loader: arithmetic alone, a pack, one by one; images a second, counted once a net.

    On a GPU in each of ``--ways``, alone and together, where they decide: eight nets, then one. `launch --rates` reads
    these rows.
    """
    ways = offered(available()) if scale.cuda else [()]
    rows = [(k, way) for k in scale.packs[:2] for way in ways] + [(k, ()) for k in scale.packs[2:]]
    for k, way in rows:
        for side in scale.sides:
            if part:
                part.add(k=k, side=side, ways=" ".join(way), **_pack(scale, k, side, way))


def offered(triton: bool) -> list[tuple[Way, ...]]:
    """Ways to compare: none, each alone, and all of them; without Triton those that need none."""
    there = [way for way in WAYS if triton or way != "fused-norm"]
    return [(), *((way,) for way in there), tuple(there)]


def _pack(scale: Scale, k: int, side: int, ways: Sequence[Way]) -> dict[str, float]:
    """Updates of all nets together are about as many, whatever K is."""
    tasks = [scale.task(net, side) for net in range(k)]
    bench = Bench(find_dataset("dataset", scale.pictures), tasks, scale.workers[-1], ways)
    updates = scale.repeats * (2 if side > SMALL else 8)
    rates = bench.rates(max(updates // k, 1), 1, None)
    bench.loader.pool.close()
    return {name: way["rate"] for name, way in rates.items()}


def peer(part: Part, scale: Scale) -> None:
    """Plain PyTorch as a good engineer writes it: torchvision's DataLoader, pinned memory, autocast, channels last."""
    for side in scale.sides:
        batches = _torchvision_batches(scale, side)
        for net in scale.nets[:2]:
            if part:
                part.add(net=net, side=side, images_s=_peer_rate(scale, net, side, batches))
        batches.close()


def _peer_rate(scale: Scale, net: int, side: int, batches: Iterator[Any]) -> float:
    model = scale.held(net, side)[0].architecture.build(8, side)
    model = model.to(scale.device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-5)
    model.train()

    def step() -> None:
        images, labels = next(batches)
        images = images.to(scale.device, non_blocking=True, memory_format=torch.channels_last)
        labels = labels.to(scale.device, non_blocking=True)
        with torch.autocast(scale.device.type, dtype=torch.bfloat16, enabled=scale.cuda):
            loss = cross_entropy(model(images).float(), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    scale.timed(step, 8 if scale.cuda else 1)  # the workers' queues are empty at first
    return scale.batch / scale.timed(step, 3 * scale.repeats)[0]


def _torchvision_batches(scale: Scale, side: int) -> Any:
    from torchvision import datasets, transforms

    chain = [transforms.RandomResizedCrop(side), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
    chain.append(transforms.Normalize((0.5,) * 3, (0.25,) * 3))
    files = datasets.ImageFolder(scale.pictures / "tree", transforms.Compose(chain))
    kept = {"persistent_workers": True, "prefetch_factor": 4} if scale.cuda else {}
    loader = torch.utils.data.DataLoader(
        files,
        scale.batch,
        shuffle=True,
        drop_last=True,
        num_workers=scale.workers[-1] if scale.cuda else 0,
        pin_memory=scale.cuda,
        **kept,
    )
    while True:
        yield from loader


def threads(part: Part, scale: Scale) -> None:
    """What decoding threads take from the thread that launches kernels by Python's lock: alone, then beside them."""
    side = scale.sides[0]
    _, step = scale.held(scale.nets[0], side)
    scale.timed(step, 2)
    alone, _ = scale.timed(step)
    for workers in scale.workers:
        if part:
            quiet, busy, beside = _beside_decoding(scale, side, workers, step)
            rows = {"step_ms": alone * 1e3, "step_beside_ms": beside * 1e3, "slower": beside / alone}
            part.add(workers=workers, side=side, **rows, loader_alone=quiet, loader_beside=busy)


def _beside_decoding(scale: Scale, side: int, workers: int, step: Callable[[], None]) -> tuple[float, float, float]:
    """The loader's images a second alone and beside the updates, and the seconds of an update."""
    stop, count, pool = threading.Event(), [0], Pool(workers)
    loader = Loader(Beton.open(scale.pictures / "dataset" / "train.beton"), pool)
    recipe = scale.task(0, side).recipe

    def load() -> None:
        epoch = 0
        while not stop.is_set():
            for batch in loader.train(recipe, 0, epoch, side):
                count[0] += len(batch.images)
                if stop.is_set():
                    break
            epoch += 1

    def loaded_while(work: Callable[[], Any]) -> float:
        before, began = count[0], time.perf_counter()
        work()
        return (count[0] - before) / (time.perf_counter() - began)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        quiet = loaded_while(lambda: stop.wait(1.5 if scale.cuda else 0.1))
        timing: list[float] = []
        busy = loaded_while(lambda: timing.append(scale.timed(step, 2 * scale.repeats)[0]))
    finally:
        stop.set()
        thread.join()
        pool.close()
    return quiet, busy, timing[0]


KINDS = {
    "batch norm": ("batch_norm", "batchnorm", "bn_fw", "bn_bw"),
    "convolution": ("conv", "cudnn", "gemm", "xmma", "cutlass", "dgrad", "wgrad", "fprop", "implicit", "mkldnn"),
    "optimizer": ("multi_tensor", "foreach", "sgd"),
    "copies and casts": ("memcpy", "memset", "copy", "fill"),
    "element by element": ("elementwise", "clamp", "add", "relu", "threshold", "mul"),
}
"""Kinds of kernels by a part of their names; the first kind that fits counts."""


def kind_of(kernel: str) -> str:
    """The kind of a kernel, by its name."""
    name = kernel.lower()
    return next((kind for kind, words in KINDS.items() if any(word in name for word in words)), "other")


def profile(part: Part, scale: Scale) -> None:
    """Where a step's time goes: kernels by kind, and how many there are."""
    for side in scale.sides:
        for net in scale.nets[:2]:
            if part:
                part.add(net=net, side=side, **_profiled(scale, net, side))


def _profiled(scale: Scale, net: int, side: int) -> dict[str, Any]:
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    _, step = scale.held(net, side)
    scale.timed(step, 2)
    with profiler(activities=[ProfilerActivity.CUDA if scale.cuda else ProfilerActivity.CPU]) as traced:
        each, _ = scale.timed(step, 1)
    name = "self_device_time_total" if scale.cuda else "self_cpu_time_total"
    kinds: dict[str, float] = {}
    kernels = 0
    for event in traced.key_averages():
        if spent := getattr(event, name):
            kinds[kind_of(event.key)] = kinds.get(kind_of(event.key), 0.0) + spent / 1e3
            kernels += event.count
    return {"step_ms": each * 1e3, "busy_ms": sum(kinds.values()), "kernels": kernels, **kinds}


def about(device: torch.device, workers: int) -> dict[str, Any]:
    """What was measured on."""
    versions = {"torch": torch.__version__, "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    return {"device": devices.describe(device), "driver": devices.driver(), **versions, "cores": workers}


RATES = {each.__name__: each for each in (ceilings, steps, graphs, packs, peer, threads, profile)}
"""The parts in the order of their worth, by name."""
