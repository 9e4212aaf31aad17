"""Drawn mammograms."""

from pathlib import Path

import numpy as np

from src.data.synthetic import mammogram


def test_both_views_show_the_same_lesion(tmp_path: Path) -> None:
    """A bright lesion's size and brightness agree between its views more than between lesions."""
    rng = np.random.default_rng(0)
    around = mammogram.Breast(density="1", brightness=0.0, contrast=1.0)
    means = []
    for _ in range(12):
        lesion = mammogram.make_lesion("CIRCUMSCRIBED", False, rng)
        pair = [mammogram.draw_mammogram(lesion, around, view, False, 64, rng).astype(float) for view in ("cc", "mlo")]
        means.append([(image[24:40, 24:40].mean() - image[:8].mean()) for image in pair])
    assert np.corrcoef(np.array(means).T)[0, 1] > 0.5
