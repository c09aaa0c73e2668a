"""Whose seconds a pack's are: of the host on a processor, of the device on a GPU, and then without waiting for it."""

import pytest
import torch

from tests.training.conftest import TINY, changed
from toolkit.train import train
from toolkit.training.moments import Spans, moment

GPU = torch.device("cuda", 0)


class Queue:
    """A strict stand-in for torch.cuda: it has events alone, and refuses what real ones would get wrong."""

    def __init__(self):
        self.done, self.waits, self.clock = 0, 0, []

    def stub(self, monkeypatch):
        queue = self

        class Event:
            def __init__(self, enable_timing=False):
                assert enable_timing, "an event without timing has no time to tell"
                self.place = None

            def record(self):
                assert self.place is None, "an event that is recorded twice loses its first time"
                self.place = len(queue.clock)
                queue.clock.append(None)

            def query(self):
                return self.place < queue.done

            def synchronize(self):
                queue.waits += 1
                queue.work(self.place + 1)

            def elapsed_time(self, later):
                assert later.query(), "the device has not come there yet"
                return queue.clock[later.place] - queue.clock[self.place]

        class Cuda:
            pass

        Cuda.Event = Event
        monkeypatch.setattr(torch, "cuda", Cuda)
        return self

    def work(self, until):
        """The device reaches its events up to ``until``, one each 1,000 ms."""
        for place in range(self.done, until):
            self.clock[place] = 1000.0 * place
        self.done = max(self.done, until)


def test_a_gpus_seconds_are_booked_when_it_has_come_there_and_never_waited_for(monkeypatch):
    queue, spans, booked = Queue().stub(monkeypatch), Spans(), []
    for i in range(3):
        spans.add(moment(GPU), moment(GPU), lambda seconds, i=i: booked.append((i, seconds)))
    assert booked == []
    queue.work(until=4)
    spans.add(moment(GPU), moment(GPU), lambda seconds: booked.append((3, seconds)))
    assert booked == [(0, 1.0), (1, 1.0)] and queue.waits == 0
    spans.settle()
    spans.settle()
    assert booked == [(i, 1.0) for i in range(4)] and queue.waits == 1


def test_a_processors_seconds_are_booked_at_once():
    booked = []
    begin = moment(torch.device("cpu"))
    Spans().add(begin, begin + 2.0, booked.append)
    assert booked == [pytest.approx(2.0)]


def test_the_clocks_of_a_task_add_up(study, declare, data):
    task = declare(recipe=changed(TINY, epochs=2))
    train(study, [task.id], data=data, workers=1)
    timing = study.result(task.id).timing
    parts = [timing.startup_s, timing.data_wait_s, timing.compute_s, timing.evaluate_s]
    assert all(part > 0 for part in parts) and sum(parts) <= timing.total_s
    assert timing.images_per_s == pytest.approx(2 * 160 / (timing.data_wait_s + timing.compute_s))
