"""The tuner's network in PyTorch Geometric, and the export of its decomposition. Needs the `train` extra."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import FunctionProto, helper
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.nn import GATv2Conv

from tidegate_models import gatv2
from tidegate_models.onnx_tools import strip, to_bytes
from tidegate_models.runtime import run, session


class GatV2Net(nn.Module):  # type: ignore[misc]
    """Two GATv2 layers and a head whose quantiles cannot cross.

    Takes `x [nodes,24]`, `edge_index [2,edges]` (row 0 sources, row 1 targets) and `edge_attr [edges,8]`; gives
    `y [nodes,15]`, column `3 t + q` for quantile `q` of target `t`.
    """

    def __init__(self) -> None:
        super().__init__()
        shape = {"heads": gatv2.HEADS, "edge_dim": gatv2.EDGE_COLUMNS, "add_self_loops": False}
        self.conv1 = GATv2Conv(gatv2.NODE_COLUMNS, gatv2.WIDTH // gatv2.HEADS, **shape)
        self.conv2 = GATv2Conv(gatv2.WIDTH, gatv2.WIDTH // gatv2.HEADS, **shape)
        self.head = nn.Linear(gatv2.WIDTH, gatv2.OUTPUTS)

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        """See the class."""
        x = functional.elu(self.conv1(x, edge_index, edge_attr))
        x = functional.elu(self.conv2(x, edge_index, edge_attr))
        steps = functional.softplus(self.head(x)).view(-1, gatv2.TARGETS, gatv2.QUANTILES)
        return steps.cumsum(2).view(-1, gatv2.OUTPUTS)

    def weights(self) -> gatv2.Weights:
        """Copies of the parameters by the names of the file format."""
        return {name: value.detach().numpy().astype(np.float32).copy() for name, value in self.state_dict().items()}

    @classmethod
    def from_weights(cls, weights: gatv2.Weights) -> GatV2Net:
        """A network with these parameters."""
        net = cls()
        net.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in weights.items()})
        return net


def exported_body() -> FunctionProto:
    """What PyTorch's exporter makes of the network, as a function of inputs and weights.

    The exporter merges equal initialisers, so the traced network has weights that all differ; that each is still there
    and holds what it should is checked.
    """
    net = GatV2Net.from_weights(gatv2.random_weights(1)).eval()
    nodes, edges = torch.export.Dim("nodes", min=2), torch.export.Dim("edges", min=2)
    graph = gatv2.random_graph(5, 17, np.random.default_rng(1))
    arguments = tuple(torch.from_numpy(graph[name]) for name in gatv2.GRAPH_INPUTS)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "traced.onnx"
        torch.onnx.export(
            net,
            arguments,
            str(path),
            input_names=list(gatv2.GRAPH_INPUTS),
            output_names=["y"],
            dynamic_shapes=({0: nodes}, {1: edges}, {0: edges}),
            opset_version=gatv2.OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        traced = onnx.load(path)
    opsets = {entry.domain: entry.version for entry in traced.opset_import}
    if opsets.get("") != gatv2.OPSET:
        raise RuntimeError(f"the exporter wrote opset {opsets}, asked for {gatv2.OPSET}")
    strip(traced)
    initialisers = {tensor.name: tensor for tensor in traced.graph.initializer}
    for name, value in net.weights().items():
        if name not in initialisers:
            raise RuntimeError(f"the exporter lost the weight {name}")
        if not np.array_equal(onnx.numpy_helper.to_array(initialisers[name]), value):
            raise RuntimeError(f"the exporter changed the weight {name}")
    constants = [
        helper.make_node("Constant", [], [name], value=tensor)
        for name, tensor in initialisers.items()
        if name not in gatv2.WEIGHT_SHAPES
    ]
    for node in traced.graph.node:
        # The exporter's order of attributes changes from run to run.
        attributes = sorted(node.attribute, key=lambda attribute: attribute.name)
        del node.attribute[:]
        node.attribute.extend(attributes)
    return helper.make_function(
        gatv2.DOMAIN,
        gatv2.OPERATOR,
        [*gatv2.GRAPH_INPUTS, *gatv2.WEIGHT_SHAPES],
        ["y"],
        [*constants, *traced.graph.node],
        [helper.make_opsetid("", gatv2.OPSET)],
        attributes=["heads", "quantiles"],
    )


def body_text() -> str:
    """The text that `gatv2.BODY_FILE` holds."""
    return str(onnx.printer.to_text(exported_body())) + "\n"


def parity(weights: gatv2.Weights, graphs: int = 1000, seed: int = 0) -> dict[str, float]:
    """Largest difference of `y` between PyTorch Geometric and stock ONNX Runtime on random graphs of 1 to 64 nodes.

    `relative` is the difference over `1 + y`: a trained network's outputs are large on features that no market has.
    """
    net = GatV2Net.from_weights(weights).eval()
    opened = session(to_bytes(gatv2.build_model(weights)))
    rng, largest, relative = np.random.default_rng(seed), 0.0, 0.0
    for _ in range(graphs):
        nodes = int(rng.integers(1, 65))
        graph = gatv2.random_graph(nodes, int(rng.integers(0, 5 * nodes)), rng)
        with torch.no_grad():
            wanted = net(*(torch.from_numpy(graph[name]) for name in gatv2.GRAPH_INPUTS)).numpy()
        difference = np.abs(run(opened, graph)["y"] - wanted)
        largest = max(largest, float(difference.max()))
        relative = max(relative, float((difference / (1.0 + wanted)).max()))
    return {"graphs": graphs, "largest": largest, "relative": relative}


def parity_with_engine(version: Path, engine: Path, graphs: int = 1000, seed: int = 0) -> dict[str, float]:
    """Largest differences of `y` between PyTorch Geometric and the engine, whose kernel and function body both run.

    `version` is a version's folder, `engine` the `tidegate` binary.
    """
    model = onnx.load(version / "model.onnx")
    weights = {initializer.name: onnx.numpy_helper.to_array(initializer) for initializer in model.graph.initializer}
    net = GatV2Net.from_weights(weights).eval()
    rng, cases = np.random.default_rng(seed), []
    for _ in range(graphs):
        nodes = int(rng.integers(1, 65))
        graph = gatv2.random_graph(nodes, int(rng.integers(0, 5 * nodes)), rng)
        with torch.no_grad():
            wanted = net(*(torch.from_numpy(graph[name]) for name in gatv2.GRAPH_INPUTS)).numpy()
        cases.append({"inputs": {k: golden(v) for k, v in graph.items()}, "outputs": {"y": golden(wanted)}})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cases.json"
        path.write_text(json.dumps({"cases": cases}))
        command = [str(engine), "model", "check", str(version), "--cases", str(path), "--format", "json"]
        answer = subprocess.run(command, check=True, capture_output=True, text=True)
    kernel, body = json.loads(answer.stdout)["cases"]
    return {"graphs": graphs, "kernel": kernel, "body": body}


def golden(values: np.ndarray) -> dict[str, list[float]]:
    """An array as golden files hold it."""
    return {"shape": list(values.shape), "data": values.ravel().tolist()}
