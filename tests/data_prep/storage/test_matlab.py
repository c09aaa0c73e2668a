"""Our reader of MAT-files beside scipy's writer, which is the format's second witness."""

import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat

from data_prep.storage.matlab import read_struct

texts = st.text(st.characters(exclude_categories=["Cs", "Cc"], max_codepoint=0xFFFF), min_size=1, max_size=20)
numbers = st.integers(0, 2**31) | st.floats(allow_nan=False, allow_infinity=False)


@given(rows=st.lists(st.tuples(numbers, texts, st.just(np.arange(3))), min_size=1, max_size=5), packed=st.booleans())
def test_what_scipy_wrote_is_read(rows, packed) -> None:
    table = np.empty((len(rows), 1), [(name, object) for name in ("number", "words", "children")])
    table[:, 0] = rows
    file = io.BytesIO()
    savemat(file, {"other": np.zeros(3), "table": table, "last": "text"}, do_compression=packed)
    found = read_struct(file.getvalue(), "table", 1 << 20)
    assert found == [{"number": float(number), "words": words, "children": None} for number, words, _ in rows]
