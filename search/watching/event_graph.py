"""A Keras network as the graph TensorBoard draws: a node a layer, shapes on the edges.

Read from the layers, so that it is the same on every backend.
"""

import re
from collections import Counter
from typing import Any

# `stage1_conv2` belongs to the box `stage1`, `block_3_expand` to `block_3`.
BOX = re.compile(r"[a-z]+_?\d+(?=_)", re.IGNORECASE)


def graph_bytes(model: Any) -> bytes:
    """Return the serialised `GraphDef` of a functional model."""
    from tensorboard.compat.proto import graph_pb2

    names = node_names([layer.name for layer in model.layers])
    nodes = [node_of(layer, names) for layer in model.layers]
    content: bytes = graph_pb2.GraphDef(node=nodes).SerializeToString()
    return content


def node_names(layers: list[str]) -> dict[str, str]:
    """Return layer name -> node name, with a box where two or more share its name."""
    boxes = {name: found[0] for name in layers if (found := BOX.match(name))}
    counts = Counter(boxes.values())
    return {
        name: f"{boxes[name]}/{name}" if counts[boxes.get(name, "")] > 1 else name
        for name in layers
    }


def node_of(layer: Any, names: dict[str, str]) -> Any:
    """Return the node of one layer."""
    from tensorboard.compat.proto import attr_value_pb2, node_def_pb2

    node = node_def_pb2.NodeDef(name=names[layer.name], op=type(layer).__name__)
    for source in sources_of(layer, names):
        node.input.append(names[source])
    node.attr["parameters"].CopyFrom(attr_value_pb2.AttrValue(i=layer.count_params()))
    shapes = attr_value_pb2.AttrValue.ListValue(shape=[shape_of(layer.output)])
    node.attr["_output_shapes"].CopyFrom(attr_value_pb2.AttrValue(list=shapes))
    return node


def sources_of(layer: Any, names: dict[str, str]) -> list[str]:
    """Return the layers whose outputs a layer takes, those of this network only."""
    inputs = layer.input if isinstance(layer.input, list) else [layer.input]
    found = [tensor._keras_history.operation.name for tensor in inputs]
    return [name for name in found if name in names and name != layer.name]


def shape_of(tensor: Any) -> Any:
    """Return the shape of a Keras tensor; -1 where it is not known."""
    from tensorboard.compat.proto import tensor_shape_pb2

    return tensor_shape_pb2.TensorShapeProto(
        dim=[
            tensor_shape_pb2.TensorShapeProto.Dim(size=-1 if edge is None else edge)
            for edge in tensor.shape
        ]
    )
