"""Which charts TensorBoard shows first: its Custom Scalars page, and pinned cards."""

import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

# Category -> chart -> regular expressions of its tags.
CHARTS: Mapping[str, Mapping[str, list[str]]] = {
    "Search": {
        "best so far, by epochs spent": ["search/best_.*"],
        "best so far, by seconds": ["search_by_seconds/best_.*"],
        "trials": ["search/trials_.*"],
    },
    "Trials": {
        "score (accuracy, or Dice)": ["epoch_accuracy", "epoch_dice"],
        "loss": ["epoch_loss"],
        "learning rate": ["epoch_learning_rate"],
    },
    "Machine": {
        "training images a second": ["resources/images_per_second"],
        "memory of the worker, GiB": ["resources/memory_gib"],
        "peak memory on its GPU, GiB": ["resources/peak_gpu_memory_gib"],
        "seconds an epoch": ["resources/seconds_per_epoch"],
    },
}


def layout_summary() -> Any:
    """Return the summary that lays out the Custom Scalars page.

    TensorBoard's public `custom_scalar.summary` imports TensorFlow.
    """
    from tensorboard.compat.proto import summary_pb2
    from tensorboard.plugins.custom_scalar import layout_pb2, metadata
    from tensorboard.util import tensor_util

    layout = layout_pb2.Layout(
        category=[
            layout_pb2.Category(
                title=category,
                chart=[
                    layout_pb2.Chart(
                        title=title,
                        multiline=layout_pb2.MultilineChartContent(tag=tags),
                    )
                    for title, tags in charts.items()
                ],
            )
            for category, charts in CHARTS.items()
        ]
    )
    value = summary_pb2.Summary.Value(
        tag=metadata.CONFIG_SUMMARY_TAG,
        metadata=metadata.create_summary_metadata(),
        tensor=tensor_util.make_tensor_proto(layout.SerializeToString(), shape=()),
    )
    return summary_pb2.Summary(value=[value])


def first_screen(address: str, objectives: Iterable[str]) -> str:
    """Return the address that opens with the charts that matter pinned on top.

    Args:
        objectives: Keras' log keys, `val_accuracy` say.
    """
    tags: list[str] = []
    for objective in dict.fromkeys(objectives):
        metric = objective.removeprefix("val_")
        tags += [f"search/best_{objective}", f"epoch_{metric}"]
    tags += ["epoch_loss"]
    cards = [{"plugin": "scalars", "tag": tag} for tag in tags]
    pinned = quote(json.dumps(cards, separators=(",", ":")))
    return f"{address}/?pinnedCards={pinned}&smoothing=0#timeseries"
