"""Maps of images: what is named, and that every image is drawn."""

import numpy as np
import pandas as pd

from src.evaluation.descriptor_figure import SHOWN, draw_descriptor_map
from src.evaluation.descriptors import DescriptorMap
from src.evaluation.figures import to_svg


def test_every_image_is_drawn_and_frequent_values_are_named() -> None:
    count = 60
    places = np.random.default_rng(0).normal(size=(count, 2))
    images = pd.DataFrame(
        {
            "class": [f"_{n % 2}" for n in range(count)],
            "answer": ["wrong" if n < 7 else "right" for n in range(count)],
            "patient": ["", "alone", *(f"p{n // 2}" for n in range(count - 2))],
            "site": [f"s{n % 20}" if n > 4 else "" for n in range(count)],
        }
    )
    figure, again = (draw_descriptor_map(DescriptorMap(places, ["x", "y"]), images, list(images)) for _ in range(2))
    panels = dict(zip(images, figure.axes, strict=False))
    entries = {
        name: [text.get_text() for text in axes.get_legend().get_texts()]
        for name, axes in panels.items()
        if axes.get_legend() is not None
    }
    assert [text.strip() for text in entries["class"]] == ["_0 (30)", "_1 (30)"]
    assert entries["answer"] == ["right (53)", "wrong (7)"]
    assert len(entries["site"]) == SHOWN + 1
    assert entries["site"][0].startswith("others (")
    assert "29 patients of two images or more" in panels["patient"].texts[0].get_text()
    for axes in panels.values():
        assert sum(len(each.get_offsets()) for each in axes.collections) == count
    ends = np.concatenate([line.get_xydata() for line in panels["patient"].lines])
    assert np.isnan(ends[:, 0]).sum() == count - 2
    assert to_svg(figure) == to_svg(again)
