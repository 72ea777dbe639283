"""A fitted selector as a file: it says the same, and needs no scikit-learn."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.advice.selector import Selector
from core.errors import InputError
from tests.core.advice.error_tables import planted

ROOT = Path(__file__).parents[3]


def test_save_load_predict_is_equal(selector: Selector, tmp_path: Path) -> None:
    features, _ = planted(5, seed=2)
    selector.save(tmp_path / "selector.npz")
    loaded = Selector.load(tmp_path / "selector.npz")
    pd.testing.assert_frame_equal(loaded.predict(features), selector.predict(features))
    pd.testing.assert_frame_equal(loaded.plan(features), selector.plan(features))
    pd.testing.assert_frame_equal(loaded.trust.past, selector.trust.past)
    assert (loaded.reason, loaded.sbs, loaded.trust.coverage) == (
        selector.reason,
        selector.sbs,
        selector.trust.coverage,
    )
    assert [path.name for path in tmp_path.iterdir()] == ["selector.npz"]


def test_a_file_of_the_last_version_says_what_it_said_there() -> None:
    loaded = Selector.load(Path(__file__).with_name("selector_of_version_0_1.npz"))
    features, _ = planted(2, seed=1)
    predictions = loaded.predict(features)
    assert list(predictions.index) == [
        ("d0", "right"), ("d0", "safe"), ("d0", "left"), ("d1", "left"), ("d1", "safe"), ("d1", "right"),
    ]  # fmt: skip
    assert predictions["error"].tolist() == pytest.approx(
        [0.170728, 0.304152, 0.534223, 0.23134, 0.29862, 0.360678], abs=1e-6
    )
    assert predictions["upper"].tolist() == pytest.approx(
        [3.802145, 0.910821, 7.807044, 33.838418, 2.912264, 36.164853], abs=1e-6
    )
    assert loaded.plan(features).to_numpy().tolist() == [["right", "left", "safe"], ["left", "right", "safe"]]
    assert (loaded.sbs, loaded.model.cautious, loaded.falls_back, loaded.trust.coverage) == ("safe", True, False, 1.0)
    assert loaded.drivers(features)["d0"].round(6).to_dict() == {
        "f2": -0.054779, "f4": -0.021436, "f0": 0.019665, "f5": 0.01614, "f3": -0.007828,
    }  # fmt: skip


def test_a_file_that_is_no_selector_is_refused(selector: Selector, tmp_path: Path) -> None:
    selector.save(tmp_path / "whole.npz")
    whole = (tmp_path / "whole.npz").read_bytes()
    np.savez(tmp_path / "pickle.npz", format=np.array([{}], dtype=object))
    np.savez(tmp_path / "old.npz", format=0)
    for name, content in (("half.npz", whole[: len(whole) // 2]), ("empty.npz", b""), ("text.npz", b"a,b")):
        (tmp_path / name).write_bytes(content)
    for name in ("half.npz", "empty.npz", "text.npz", "pickle.npz", "old.npz", "gone.npz"):
        with pytest.raises(InputError, match=rf"^{name} .* Refit it"):
            Selector.load(tmp_path / name)


def test_a_fitted_selector_predicts_without_scikit_learn(selector: Selector, tmp_path: Path) -> None:
    selector.save(tmp_path / "selector.npz")
    planted(3)[0].to_parquet(tmp_path / "features.parquet")
    code = (
        "import sys\nfrom pathlib import Path\nimport pandas as pd\nfrom core.advice.selector import Selector\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "selector = Selector.load(folder / 'selector.npz')\nfeatures = pd.read_parquet(folder / 'features.parquet')\n"
        "assert len(selector.predict(features)) == 9 and selector.drivers(features)\n"
        "assert selector.similar_datasets(features)\n"
        "print(*sorted({'sklearn', 'scipy', 'torch', 'h2o'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (out.returncode, out.stdout.split()) == (0, []), out.stderr
