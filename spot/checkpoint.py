"""The run folder, and checkpoints: save, resume, load ours and the two published layouts. No file can run code."""

import contextlib
import json
import math
import sys
from pathlib import Path

import pandas
import torch
from torch import nn

from spot import __version__
from spot.command_line import OUT_OF_MEMORY
from spot.detectors import build_model
from spot.distributed import from_first, is_first
from spot.encoders import AttentionEncoder
from spot.files import SpotError, atomic_path, locked, remove_unfinished, unwritable, write_text
from spot.heads import FixedMaskHead
from spot.limits import ARCHITECTURE, DECODING, GRID, NOT_NEEDED, OF_TRAINING, fault, shown, sizes_fault
from spot.meaning import differences, named, other_statistics
from spot.model import Spot
from spot.provenance import git_commit
from spot.sidecar import SIDECAR

FORMAT = "spot-1"
PRETRAINED_SHARES = ("model.detector", "model.encoder", "model.mask_head", "model.embedding_head", "model.embed_dim",
                     "model.standardize")
CLASS_PARTS = ("class_head.", "classifier.")  # of the detectors: fresh, whatever a pre-trained run has learned
PUBLISHED_UNUSED = ("embedding.pos_enc.", "clip_")  # parts of the order task, not used in the published forward pass


class RunFolder:
    """The files of one run: config.yaml, classes.txt, labeled.txt, commit.txt, log.jsonl, log.csv, last.pt, best.pt."""

    def __init__(self, path):
        self.path = Path(path)
        self.config, self.classes = self.path / "config.yaml", self.path / "classes.txt"
        self.labeled, self.commit = self.path / "labeled.txt", self.path / "commit.txt"
        self.log, self.events = self.path / "log.jsonl", self.path / "tensorboard"
        self.table = self.path / "log.csv"
        self.last, self.best = self.path / "last.pt", self.path / "best.pt"
        self.detections, self.metrics = self.path / "detections.json", self.path / "metrics.json"
        self.timelines, self.actions = self.path / "timelines", self.path / "actions.csv"
        self.action_threshold = self.path / "action_threshold.json"
        self.features = self.path / SIDECAR  # how the features were made, where they came with a sidecar

    def checkpoints(self):
        """The checkpoint files that are there, the one to detect with first."""
        return [file for file in (self.best, self.last) if file.is_file()]

    def refuse_another_run(self, resume=False):
        """SpotError where the folder cannot be made, because a file stands in its way, or holds a run already.

        resume: SpotError where it holds one that cannot go on
        """
        if file := next((path for path in (self.path, *self.path.parents) if path.is_file()), None):
            raise SpotError(f"output_path {self.path}: {file} is a file, not a folder; choose another output_path")
        if self.last.exists() and not resume:
            raise SpotError(f"output_path {self.path} already holds a run; continue it with training.resume=auto, "
                            "or choose another output_path")
        # A run that is killed in its first epoch may leave best.pt alone: that one begins anew.
        epochs = self.log.read_bytes().count(b"\n") if self.log.exists() else 0
        if self.best.exists() and not self.last.exists() and (not resume or epochs > 1):
            raise SpotError(f"output_path {self.path} holds the best.pt of a run, without the last.pt from which it "
                            "could go on; choose another output_path")

    @contextlib.contextmanager
    def locked(self):
        """Make the folder and keep other trainings out of it for the block; SpotError where one runs in it.

        What a killed run left half-written is removed.
        """
        with locked(self.path / "run.lock", f"output_path {self.path}"):
            for file in (self.config, self.classes, self.labeled, self.commit, self.log, self.table, self.last,
                         self.best, self.action_threshold):
                remove_unfinished(file)
            yield

    def describe(self, class_names, labeled_names):
        """Write what the run is made from: K class names and the ids of the labeled videos, a line each, the commit."""
        write_text(self.classes, "".join(f"{name}\n" for name in class_names))
        write_text(self.labeled, "".join(f"{name}\n" for name in labeled_names))
        write_text(self.commit, f"{git_commit()}\nSPOT {__version__}\n")

    def write_log(self, records):
        """All log records so far, as JSON lines and as a table: rewritten whole, so that no line comes twice."""
        write_text(self.log, "".join(json.dumps(record) + "\n" for record in records))
        write_text(self.table, pandas.json_normalize(records).to_csv(index=False))


def describe_model(model, architecture):
    """A model as the content of a checkpoint: weights, how to build it, and its settings (classes, grid, decoding).

    architecture: the keyword arguments of `detectors.build_model`
    """
    return {"format": FORMAT, "state_dict": model.state_dict(), "architecture": architecture,
            "settings": model.settings}


def refuse_non_finite(state, when):
    """SpotError where a weight is NaN or Inf: such a checkpoint must not replace a good one.

    state: {name: tensor}; when: words for the message, such as `train epoch 3`
    """
    broken = [name for name, value in state.items() if value.is_floating_point() and not torch.isfinite(value).all()]
    if broken:
        raise SpotError(f"{when}: {len(broken)} weights are not finite, such as {broken[0]}; nothing was saved, so "
                        "lower training.learning_rate and resume")


def save(path, content):
    """Write tensors and plain values to `path` all at once; SpotError, and the old file, where the disk is full."""
    try:
        with atomic_path(path) as temporary:
            torch.save(content, temporary)
    except RuntimeError as error:  # what torch makes of a failing write
        if OUT_OF_MEMORY.search(str(error)):
            raise  # not of the disk
        raise unwritable(path, " ".join(str(error).split())[:100]) from error


def read(path):
    """Read a checkpoint file on the CPU. SpotError where it is missing, cut off, or would run code."""
    path = Path(path)
    if not path.is_file():
        raise SpotError(f"{path}: no such checkpoint; give checkpoint= a run folder or a file")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler and the zip reader have many error types; each means: not a checkpoint
        raise SpotError(f"{path}: is not a checkpoint that holds weights only (it is broken, or it would run code); "
                        "download or write it again") from error
    if not isinstance(content, dict):
        raise SpotError(f"{path}: is not a checkpoint: expected a dict, got {type(content).__name__}")
    return content


def checkpoint_file(path):
    """The checkpoint that `path` means: a file, or best.pt (else last.pt) of a run folder; SpotError without either."""
    path = Path(path)
    if not path.is_dir():
        return path
    found = RunFolder(path).checkpoints()
    if not found:
        raise SpotError(f"{path}: holds neither best.pt nor last.pt; give checkpoint= a run folder or a file")
    return found[0]


def load_model(path, device="cpu"):
    """Load a trained model: a run folder, one of our checkpoint files, or a published SPOT or TAGS checkpoint.

    Which it is, and every size, is read from the weights. `model(features (B, C, T))` gives the dict of
    `model.Spot.forward`; `model.settings` holds the class names, grid and decoding of the run (ours only).
    path: a run folder or a file; device: where the model shall be, such as `cpu` or `cuda`
    Raises SpotError for a file that is missing, cut off, would run code, or whose weights do not fit together.
    """
    path = checkpoint_file(path)
    content = read(path)
    if content.get("format") == FORMAT:
        with _refusing(f"{path}: its settings cannot be used", "was the file changed?"):
            _refuse_unsound(content["architecture"], content["settings"])
    with _refusing(f"{path}: its weights do not fit together", "was the file changed, or written by another version?"):
        _refuse_unreal(content.get("state_dict", content))
        if content.get("format") == FORMAT:
            model = _build(content["architecture"], content["state_dict"])
            model.architecture = dict(content["architecture"])
            model.settings = {"temporal_scale": model.architecture["temporal_scale"], **content["settings"]}
        else:
            model = _published(content.get("state_dict", content), path)
    return model.to(device).eval()


def _refuse_unreal(state):
    """ValueError for a weight that is not finite, or that claims more numbers than the file holds of it."""
    for key, value in state.items():
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise ValueError(f"{key} claims {value.numel():,} numbers and holds fewer")
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise ValueError(f"{key} is not finite")
        if key == "feature_std" and not (value > 0).all():
            raise ValueError(f"{key}, by which features are divided, has a value that is not positive")


def _refuse_unsound(architecture, settings):
    """ValueError where what a checkpoint of ours says of its model is out of range, or does not go together."""
    needed = set(ARCHITECTURE) - set(NOT_NEEDED)
    lacking = sorted(needed - set(architecture))
    if lacking:
        raise ValueError(f"its architecture lacks {lacking[0]}")
    wrong = fault(architecture, ARCHITECTURE) or sizes_fault(**architecture)
    if not wrong:
        wrong = fault(settings, (*GRID, *DECODING, *OF_TRAINING))
    if not wrong and settings.get("temporal_scale", architecture["temporal_scale"]) != architecture["temporal_scale"]:
        wrong = (f"temporal_scale is {settings['temporal_scale']} in its settings and "
                 f"{architecture['temporal_scale']} in its architecture")
    names = settings.get("class_names")
    if not wrong and names is not None and len(names) != architecture["num_classes"]:
        wrong = f"class_names are {len(names)}, and it has {architecture['num_classes']} classes"
    if wrong:
        raise ValueError(f"its {wrong}" if not wrong.startswith("there") else wrong)


def _build(architecture, state):
    """The model of `architecture` with the weights `state`."""
    with torch.device("meta"):  # where a forged size takes no memory
        wanted = {key: value.shape for key, value in build_model(**architecture).state_dict().items()}
    wrong = [key for key in wanted.keys() | state.keys() if key not in wanted or key not in state
             or wanted[key] != state[key].shape]
    if wrong:
        raise ValueError(f"{len(wrong)} weights are missing, unknown or of another shape, such as {min(wrong)}")
    model = build_model(**architecture)
    model.load_state_dict(state)
    return model


@contextlib.contextmanager
def _refusing(message, advice):
    """Turn whatever torch and the readers raise at content that does not fit into one SpotError."""
    try:
        yield
    except (SpotError, torch.OutOfMemoryError):  # a GPU that is full says nothing of the file
        raise
    except (RuntimeError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise SpotError(f"{message} ({' '.join(str(error).split())[:200]}); {advice}") from error


def _published(state, path):
    """A model with the weights of a published checkpoint; TAGS has four mask convolutions, SPOT two."""
    state = {key.removeprefix("module."): value for key, value in state.items()
             if not key.removeprefix("module.").startswith(PUBLISHED_UNUSED)}
    if "embedding.w_qs.weight" not in state or "global_mask.0.weight" not in state:
        raise SpotError(f"{path}: is neither a checkpoint of ours nor a published SPOT or TAGS one: "
                        "it has no embedding.w_qs.weight and global_mask.0.weight")
    rows, feat_dim = state["embedding.w_qs.weight"].shape
    layers = sorted({int(key.split(".")[1]) for key in state if key.startswith("global_mask.")})
    if layers not in ([0, 2], [0, 2, 3, 5]):
        raise SpotError(f"{path}: the mask head has layers {layers}; SPOT has 0, 2 and TAGS has 0, 2, 3, 5")
    if rows % feat_dim:
        raise SpotError(f"{path}: embedding.w_qs.weight is {rows} x {feat_dim}; its rows must be heads x channels")
    weights = [state[f"global_mask.{layer}.weight"] for layer in layers]
    mask_head = FixedMaskHead(feat_dim, weights[-1].shape[0], hidden=[weight.shape[0] for weight in weights[:-1]])
    class_head = nn.Conv1d(feat_dim, state["classifier.0.weight"].shape[0], 1)
    model = Spot(AttentionEncoder(feat_dim, rows // feat_dim), class_head, mask_head, feat_dim, "softmax")
    ours = {"feature_mean": model.feature_mean, "feature_std": model.feature_std}
    renamed = {"embedding.": "encoder.", "classifier.0.": "class_head.", "global_mask.": "mask_head.convs."}
    for key, value in state.items():
        prefix = next((old for old in renamed if key.startswith(old)), None)
        if prefix is None:
            raise SpotError(f"{path}: unknown weights {key}; is it a published SPOT or TAGS checkpoint?")
        ours[renamed[prefix] + key.removeprefix(prefix)] = value
    model.load_state_dict(ours)
    model.settings = {"grid": "resize", "temporal_scale": mask_head.temporal_scale}
    return model


def refuse_other_meaning(path, meaning):
    """SpotError where last.pt belongs to a run of another meaning: cheap, so it can be asked before features are read.

    meaning: the meaning.Meaning of this training
    """
    with _refusing(f"{path}: cannot be resumed", "choose another output_path"):
        meaning.refuse_other(path, read(path))


def resume(path, trainer, meaning):
    """Give `trainer` the state that last.pt holds. Returns the run's {"records": log records, "best": holdout mAP}.

    meaning: the meaning.Meaning of this training
    SpotError where the run means something else, or where the file does not hold the state of such a training.
    """
    content = from_first(lambda: read(path))  # the run folder may be on its machine alone
    with _refusing(f"{path}: cannot be resumed, it does not hold the state of this training",
                   "choose another output_path"):
        meaning.refuse_other(path, content)
        settings = [{**group} for group in trainer.optimizer.param_groups]
        trainer.load_state(content["trainer"])
        for group, own in zip(trainer.optimizer.param_groups, settings, strict=True):
            group.update(own)  # only what the optimizer has gathered is the run's: weight decay may be another now
        _refuse_other_state(trainer.optimizer)
        other = meaning.other_labels(content)
        if other and is_first():
            print(f"warning: {len(other)} labeled videos, such as {other[0]}, are annotated otherwise than when the "
                  "run began; what was learned from them stays", file=sys.stderr)
        return {"records": _records_of(content), "best": _finite(content["best"])}


def _records_of(content):
    """The log records of last.pt; ValueError where they are none."""
    records = list(content["records"])
    for record in records:
        if record["stage"] not in ("pretext", "train"):
            raise ValueError(f"unknown stage {shown(record['stage'])}")
        if not isinstance(record.get("processes", 1), int):
            raise ValueError(f"a record of {shown(record['processes'])} processes")
    json.dumps(records)  # as they are written to the log; a TypeError is caught by who calls
    return records


def _finite(number):
    if not math.isfinite(number):
        raise ValueError(f"its best holdout mAP is {number}")
    return float(number)


def _refuse_other_state(optimizer):
    """ValueError where the loaded optimizer could not take a step: torch takes whatever state it is given."""
    for parameter, values in optimizer.state.items():
        shapes = {key: tuple(value.shape) for key, value in values.items()}
        if shapes != {"step": (), "exp_avg": tuple(parameter.shape), "exp_avg_sq": tuple(parameter.shape)}:
            raise ValueError(f"its optimizer holds values of shapes {shapes}")


def load_pretrained(model, path, meaning=None):
    """Fill `model` with another run's weights where name and shape agree (the class head stays fresh).

    path: a run folder or a checkpoint file; meaning: the meaning.Meaning of this training, None = only shapes count
    SpotError where any weight but the class head's is missing or misshapen, or belongs to another architecture of the
    same shapes; another grid and other features are warned of, because weights may be carried over to them.
    """
    other = read(checkpoint_file(path))
    if other.get("format") != FORMAT:
        raise SpotError(f"training.pretrained={path}: is not a checkpoint of a training here, and a published one is "
                        "not trained on; give a run folder, or leave it out")
    own = model.state_dict()
    with _refusing(f"training.pretrained={path}: its weights do not fit", "was the file changed?"):
        if meaning is not None:
            _compare_pretrained(other, meaning, path)
        fitting = {key: value for key, value in other.get("state_dict", {}).items()
                   if not key.startswith(CLASS_PARTS) and key in own and own[key].shape == value.shape}
        missing = [key for key in own if key not in fitting and not key.startswith(CLASS_PARTS)]
        if missing:
            raise SpotError(f"training.pretrained={path}: {len(missing)} weights do not fit this model, such as "
                            f"{missing[0]}; the model section must be that of the pre-trained run")
        model.load_state_dict({**own, **fitting})


def _compare_pretrained(content, meaning, path):
    """SpotError for another architecture than that of the pre-trained run, warnings for another grid or features."""
    known, now = (named(one["settings"], one["architecture"]) for one in (content, vars(meaning)))
    found = differences(known, now)
    for key in PRETRAINED_SHARES:
        if key in found:
            raise SpotError(f"training.pretrained={path}: {key} was {found[key][0]} and is {found[key][1]}; the model "
                            "section must be that of the pre-trained run")
    changes = [f"{key} was {old} and is {new}" for key, (old, new) in found.items() if key.startswith("dataset.")]
    if meaning.statistics and content.get("feature_statistics"):
        changes += other_statistics(content["feature_statistics"], meaning.statistics)
    if changes and is_first():
        print(f"warning: training.pretrained={path} has learned from other data: {'; '.join(changes)}", file=sys.stderr)
