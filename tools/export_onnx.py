"""Export a trained model as ONNX, for programs without torch.

    python tools/export_onnx.py RUN OUT.onnx          RUN: a run folder or a checkpoint file

The file takes features (B, C, T) float32 and valid (B, T) bool, for any B and T (a model with the published mask head
has one T), and gives class_logits (B, K+1, T) and masks (B, T, T). Its metadata `spot` is a JSON text: classes, grid,
decoding. What comes before and after the network is a page of numpy: docs/onnx.md. The file is compared with the model,
at three sizes, before it is written. Needs `pip install -r requirements-onnx.txt`.
"""

import argparse
import json
import logging
import sys
import warnings
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from spot import __version__, command_line
from spot.files import SpotError, atomic_path
from spot.limits import DECODING, GRID

RUN_MEANS = "a run folder or a checkpoint file"
TOLERANCE = 1e-4  # of class logits and masks
SIZES = ((1, 16), (3, 101), (2, 256))  # B, T that the file is compared at
OPSET = 20


def make_parser():
    parser = command_line.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", metavar="RUN", help=RUN_MEANS)
    parser.add_argument("out", type=Path, metavar="OUT.onnx", help="the file to write")
    return parser


def main(argv=None):
    arguments = command_line.parse(make_parser(), argv, takes_overrides=False)
    from spot.checkpoint import load_model
    from spot.detectors import require_masks

    model = load_model(arguments.file, "cpu")
    require_masks(model, "the export")
    difference = export(model, arguments.out)
    size = arguments.out.stat().st_size / 1e6
    print(f"{arguments.out}: {size:.1f} MB; it differs from the model by {difference:.1e} at most (tolerance "
          f"{TOLERANCE:g}); what comes before and after it: docs/onnx.md")


def export(model, path):
    """Write a model.Spot, on the CPU, as the ONNX file `path`; returns the largest difference to it in the outputs.

    SpotError where onnxruntime computes something else than the model, and where a package or an output is missing.
    """
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401  torch's exporter needs it
    except ImportError as error:
        raise SpotError(f"{error.name} is not installed; pip install -r requirements-onnx.txt") from error
    fixed = fixed_length(model)
    program = _program_of(model, fixed)
    proto = program.model_proto
    facts = proto.metadata_props.add()
    facts.key, facts.value = "spot", json.dumps(facts_of(model))
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        onnx.save(proto, temporary)
        session = onnxruntime.InferenceSession(str(temporary), providers=["CPUExecutionProvider"])
        difference = compare(model, session, [(batch, fixed or length) for batch, length in SIZES])
        if not difference <= TOLERANCE:
            raise SpotError(f"{path}: onnxruntime differs from the model by {difference:.2g}, more than {TOLERANCE:g}, "
                            "so nothing was written; try other versions of onnx and onnxruntime")
    return difference


def fixed_length(model):
    """The only T that a model can have, of the published mask head; None for any. SpotError for another detector."""
    if not hasattr(model, "mask_head"):
        raise SpotError(f"the model is a {type(model).__name__}; only the detector SPOT can be exported")
    return getattr(model.mask_head, "temporal_scale", None)


def facts_of(model):
    """What a program needs to know around the network, as plain values."""
    from spot.proposals import Decoding

    known = {**asdict(Decoding()), **model.settings}
    keep = ("class_names", *GRID, *(key for key in DECODING if key != "fusion"))
    return {"version": f"SPOT {__version__}", "class_activation": model.class_activation,
            "standardization": model.standardization, "channels": len(model.feature_mean),
            "waveforms": asdict(model.waveforms) if model.waveforms else None,
            **{key: known[key] for key in keep if key in known}}


def _program_of(model, fixed):
    """The ONNX program of a model; fixed: T, or None for any."""
    import torch

    class Exported(torch.nn.Module):
        """The network between prepared features and decoding; an odd T gets a snippet that does not exist."""

        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, features, valid):
            length = features.shape[2]
            if fixed is None:  # the mask head sees pairs of snippets
                even = (length + 1) // 2 * 2
                features = torch.cat([features, torch.zeros_like(features[:, :, :1])], 2)[:, :, :even]
                valid = torch.cat([valid, torch.zeros_like(valid[:, :1])], 1)[:, :even]
            outputs = self.model(features, valid, prepared=True)
            return outputs["class_logits"][:, :, :length], outputs["masks"][:, :length, :length]

    exported = Exported().eval()
    length, dynamic = fixed or 14, torch.export.Dim.DYNAMIC
    example = (torch.zeros(3, len(model.feature_mean), length), torch.ones(3, length, dtype=torch.bool))
    time = {} if fixed else {2: dynamic}
    shapes = ({0: dynamic, **time}, {0: dynamic, **({} if fixed else {1: dynamic})})
    with torch.no_grad(), warnings.catch_warnings():
        # Of parts of torch that are deprecated, and of packages that are not needed.
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.export.export(exported, example, dynamic_shapes=shapes, strict=False)
        return torch.onnx.export(program, example, None, dynamo=True, input_names=["features", "valid"],
                                 output_names=["class_logits", "masks"], opset_version=OPSET, verbose=False)


def compare(model, session, sizes):
    """The largest difference between the outputs of an onnxruntime session and those of the model, at sizes (B, T).

    In each batch the second half of the first sequence does not exist.
    """
    import numpy as np
    import torch

    generator, largest = torch.Generator().manual_seed(0), 0.0
    for batch, length in sizes:
        features = torch.randn(batch, len(model.feature_mean), length, generator=generator)
        features = features * model.feature_std + model.feature_mean
        valid = torch.ones(batch, length, dtype=torch.bool)
        valid[0, (length + 1) // 2 :] = False
        features = features * valid[:, None]
        with torch.no_grad():
            wanted = model(features, valid, prepared=True)
        found = session.run(["class_logits", "masks"], {"features": features.numpy(), "valid": valid.numpy()})
        seen = valid.numpy()[:, None]
        for name, values in zip(("class_logits", "masks"), found, strict=True):
            largest = max(largest, float(np.abs((values - wanted[name].numpy()) * seen).max()))
    return largest


if __name__ == "__main__":
    command_line.run(main)
