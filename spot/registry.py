"""What goes by a name in the settings, and where its code is: a new part is a file of its own and a line here.

`module:name` is imported when it is first used, so that settings are checked and detections evaluated without torch.
docs/extend.md has an example of each kind.
"""

from pkgutil import resolve_name

# Settings of the map of BMN.
OF_MAP = ("model.map_channels", "model.map_samples", "model.map_stride", "model.map_durations")
# Settings of the rounds of pseudo labels, in the section `semi`.
OF_ROUNDS = ("rounds", "class_shares", "class_repeats")
# model.detector; the first one is the default. What each brings: see spot/detectors.py; `losses` are those of its
# labels and pseudo labels, `idle` the settings that say nothing to it, beside the losses of others.
DETECTORS = {
    "spot": {"model": "spot.model:build_model", "objective": "spot.spot_objective:SpotObjective",
             "decode": "spot.proposals:decode_masks", "classify": "spot.proposals:classify_segments",
             "losses": ("class", "instance", "mask"), "idle": OF_MAP},
    "bmn": {"model": "spot.bmn:build_bmn", "objective": "spot.bmn_objective:BmnObjective",
            "decode": "spot.bmn_decoding:decode_maps", "classify": "spot.bmn_decoding:classes_of",
            "losses": ("start_end", "confidence", "overlap", "class"),
            "idle": ("model.mask_head", "semi.targets", "semi.mask_threshold", *(f"semi.{key}" for key in OF_ROUNDS),
                     "testing.mask_thresh", "testing.video_power")},
    "sliding": {"model": "spot.sliding:build_sliding", "objective": "spot.sliding:SlidingObjective",
                "decode": "spot.sliding:merge_windows", "classify": "spot.proposals:classify_segments",
                "losses": ("class",),
                "idle": ("model.encoder", "model.mask_head", "model.embedding_head", "pretext.chunks", *OF_MAP,
                         "testing.top_k", "testing.class_power", "testing.mask_power", "testing.video_power")},
}
# semi.method, beside none: a spot.semi.Method each.
METHODS = {
    "ema": "spot.self_training:SelfTraining",
    "self": "spot.self_training:SelfTraining",
    "mean_teacher": "spot.mean_teacher:MeanTeacher",
    "fixmatch": "spot.fixmatch:FixMatch",
    "sstap": "spot.sstap:Sstap",
}
# Of these, and of none, the settings of the section `semi` that say nothing to them. The moving average is the result
# of every training, so `ema_decay` is read by all.
IDLE_OF_METHODS = {
    "none": ("targets", "class_threshold", "mask_threshold", "confidence", "consistency", "weight", "burn_in", "ramp",
             *OF_ROUNDS),
    "self": ("confidence", "consistency", *OF_ROUNDS),
    "ema": ("confidence", "consistency"),
    "fixmatch": ("targets", "class_threshold", "consistency", *OF_ROUNDS),
    "mean_teacher": ("targets", "class_threshold", "mask_threshold", "confidence", *OF_ROUNDS),
    "sstap": ("targets", "class_threshold", "mask_threshold", "confidence", *OF_ROUNDS),
}
# Detectors that have neither an encoder nor masks or proposals to agree about: labels alone, without the pretext stage.
ON_LABELS_ALONE = ("sliding",)
# model.encoder; the first one is the default. Called with (feat_dim, embed_dim, heads, dropout), it gives a module:
# features (B, C, T), valid (B, T) bool or None -> embedding (B, D, T).
ENCODERS = {
    "conv_transformer": "spot.encoders:ConvTransformerEncoder",
    "attention": "spot.encoders:published_encoder",
    "conv": "spot.bmn:conv_encoder",
}
# model.mask_head; the first one is the default. Called with (embed_dim, temporal_scale), it gives a module:
# embedding (B, D, T), features (B, C, T), valid (B, T) bool or None -> mask logits (B, T, T).
MASK_HEADS = {
    "pairwise": "spot.heads:pairwise_mask_head",
    "fixed": "spot.heads:FixedMaskHead",
}
# loss.<name>: losses that need no classes, each off (weight 0) by default. A function of the model, its
# outputs, features (B, C, T), valid (B, T) 0 or 1, and the target masks (B, T, T) in 0..1, the labels' or the teacher's
# -> a number. Labeled and unlabeled sequences alike.
LOSSES = {
    "boundary": "spot.label_free:boundary",
    "consistency": "spot.label_free:consistency",
    "reconstruction": "spot.label_free:reconstruction",
}


def find(known, name):
    """What the name `name` in one of the tables above stands for. ValueError, with the known names, for another."""
    if name not in known:
        raise ValueError(f"unknown name {name!r}; one of {', '.join(known)}")
    return resolve_name(known[name])
