"""What we use of PyTorch Geometric, from one place: its import warns of a torch function that it still calls."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", DeprecationWarning)
    from torch_geometric.data import Data, HeteroData
    from torch_geometric.loader import LinkLoader, NodeLoader, PrefetchLoader
    from torch_geometric.sampler import (
        BaseSampler,
        EdgeSamplerInput,
        HeteroSamplerOutput,
        NegativeSampling,
        NodeSamplerInput,
        SamplerOutput,
    )
    from torch_geometric.sampler.neighbor_sampler import edge_sample, node_sample

__all__ = [
    "BaseSampler",
    "Data",
    "EdgeSamplerInput",
    "HeteroData",
    "HeteroSamplerOutput",
    "LinkLoader",
    "NegativeSampling",
    "NodeLoader",
    "NodeSamplerInput",
    "PrefetchLoader",
    "SamplerOutput",
    "edge_sample",
    "node_sample",
]
