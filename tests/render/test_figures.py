"""The paper's figures: nothing overlaps, nothing is cut, nothing grows without bound."""

import itertools
import string

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.text import Annotation, Text

from toolkit.analysis.document import Report, analyse
from toolkit.analysis.settings import Settings
from toolkit.analysis.sources import load
from toolkit.analysis.table_source import Reading
from toolkit.render.diagram import critical_difference
from toolkit.render.figures import figures, scatter_pair
from toolkit.render.sheets import lay_out, save
from toolkit.render.standing import joined, standing


def make_report(folder, nets, datasets):
    """A table of ``nets`` with long names on imagenet and further ``datasets``."""
    rng = np.random.default_rng(0)
    skill = rng.uniform(20, 80, nets)
    frame = {"model": [f"timm/{'wide_' * 6}{i}_{string.ascii_letters}" for i in range(nets)], "imagenet": skill}
    frame |= {f"{'set_' * 9}{i}": skill + rng.uniform(-20, 20, nets) for i in range(datasets)}
    pl.DataFrame(frame).write_csv(folder / "t.csv")
    return analyse(load([str(folder / "t.csv")], Reading("accuracy", "percent"))[0], Settings(resamples=100))


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return make_report(tmp_path_factory.mktemp("wide"), 30, 14)


def boxes(figure):
    """Where every text of ``figure`` is, in pixels."""
    lay_out(figure)
    scales = [scale for axes in figure.axes for scale in (axes.xaxis, axes.yaxis)]
    unseen = {
        tick.label1
        for scale in scales
        for tick in scale.get_major_ticks()
        if not min(scale.get_view_interval()) <= tick.get_loc() <= max(scale.get_view_interval())
    }
    texts = [t for t in figure.findobj(Text) if t.get_text().strip() and t.get_visible() and t not in unseen]
    found = [(t.get_text(), t.get_window_extent()) for t in texts]
    return [(text, box) for text, box in found if box.width > 0]


@pytest.mark.slow
def test_no_text_of_any_figure_leaves_its_sheet_or_is_larger_than_one(wide, tmp_path):
    seen = set()
    for name, figure in figures(wide):
        seen.add(name)
        assert max(figure.get_size_inches()) < 16, name
        for text, box in boxes(figure):
            assert box.x0 >= -1 and box.x1 <= figure.bbox.width + 1, (name, text)
            assert box.y0 >= -1 and box.y1 <= figure.bbox.height + 1, (name, text)
    assert seen == {"scatter", "matrix", "correlations", "distribution", "critical-difference"}
    (png, svg) = save(critical_difference(standing(wide)), tmp_path, "cd")
    assert png.read_bytes()[:4] == b"\x89PNG" and b"Who is best over all 15 datasets?" in svg.read_bytes()


@pytest.mark.parametrize("nets", [9, 24])
def test_names_of_a_pair_of_datasets_cover_neither_each_other_nor_a_point(tmp_path, nets):
    figure = scatter_pair(make_report(tmp_path, nets, 1))
    (axis,) = figure.axes
    names = [t.get_window_extent() for t in axis.findobj(Annotation) if t.get_text()]
    assert len(names) == nets
    points = axis.transData.transform(axis.collections[0].get_offsets())
    assert not any(a.overlaps(b) for a, b in itertools.combinations(names, 2))
    assert not any(box.contains(*point) for box in names for point in points)


@settings(max_examples=60)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=12), st.integers(1, 15))
def test_two_nets_are_joined_just_where_they_are_not_critically_apart(ranks, apart):
    ranks = np.sort(np.array(ranks, float))
    groups = joined(ranks, apart)
    for i, j in itertools.combinations(range(len(ranks)), 2):
        assert any(first <= i and j <= last for first, last in groups) == (ranks[j] - ranks[i] <= apart)
    assert not any(a[0] <= b[0] and b[1] <= a[1] for a, b in itertools.permutations(groups, 2))
