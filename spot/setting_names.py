"""Which setting a user means who writes a name that is none: the hint of the message that refuses it."""

import difflib

# How other programs of the field call what has another name here -> our keys, or a sentence where nothing has it.
# Written without `_`, `-` and capitals.
OTHER_NAMES = {
    ("lr", "baselr", "initlr", "learnrate", "maxlr"): ["training.learning_rate"],
    ("wd", "l2", "decay"): ["training.weight_decay"],
    ("seed", "manualseed", "randseed", "rngseed"): ["training.random_seed", "dataset.split_seed"],
    ("epoch", "epochs", "numepochs", "maxepochs", "trainepochs", "nepochs"): [
        "training.max_epoch", "training.pretrain_epoch"],
    ("pretrainepochs", "warmupepochs", "pretextepochs"): ["training.pretrain_epoch"],
    ("steps", "iterations", "iters", "maxiter", "maxsteps", "itersperepoch"): [
        "training.steps_per_epoch", "training.max_epoch"],
    ("bs", "batch", "trainbatchsize", "batchsizes", "samplesperworker"): ["training.batch_size", "testing.batch_size"],
    ("testbatchsize", "valbatchsize", "evalbatchsize"): ["testing.batch_size"],
    ("optim", "optimiser"): ["training.optimizer"],
    ("scheduler", "lrscheduler", "lrschedule", "lrpolicy"): ["training.schedule"],
    ("gpu", "gpus", "gpuid", "gpuids", "cuda", "usecuda", "usegpu"): ["training.device"],
    ("fp16", "bf16", "halfprecision", "precision", "dtype", "mixedprecision", "useamp"): [
        "training.amp", "testing.amp"],
    ("ckpt", "ckptpath", "weights", "modelpath", "checkpointpath", "load", "loadfrom"): [
        "checkpoint", "training.pretrained"],
    ("resumefrom", "autoresume", "continue"): ["training.resume"],
    ("pretrain", "pretrainedpath", "pretrainedmodel", "init", "initfrom"): ["training.pretrained"],
    ("output", "outputdir", "outdir", "outputfolder", "workdir", "savedir", "savepath", "logdir", "expname", "exp",
     "experiment", "name", "runname", "run", "folder"): ["output_path"],
    ("anno", "annos", "annotation", "annotations", "annofile", "annfile", "annpath", "annopath", "jsonfile",
     "annotationpath", "annotationfile", "groundtruth", "gt", "gtpath", "videoanno"): ["dataset.video_anno_path"],
    ("videoinfo", "infopath", "subsetfile", "splitfile"): ["dataset.video_info_path"],
    ("data", "dataroot", "datapath", "datadir", "root", "datafolder"): [
        "dataset.feature_path", "dataset.video_anno_path"],
    ("feature", "featpath", "featfolder", "featurefolder", "featuredir", "featdir", "features", "featureroot"): [
        "dataset.feature_path", "features"],
    ("pattern", "fileprefix", "featprefix", "prefix", "suffix", "fileext"): ["dataset.feature_pattern"],
    ("blocklist", "blockedvideos", "blacklist", "ignore", "exclude"): ["dataset.blocked"],
    ("classes", "classnames", "classmap", "labels", "labelmap", "classlist", "categoryidx"): ["dataset.class_file"],
    ("nclasses", "numclass", "nclass", "classcount", "k"): ["dataset.num_classes"],
    ("subset", "split", "trainsplit", "trainsubsets", "training"): ["dataset.train_subset", "dataset.eval_subset"],
    ("valsubset", "testsubset", "validationsubset", "valsplit", "testsplit", "evalsplit"): ["dataset.eval_subset"],
    ("labelratio", "labeledratio", "labelfraction", "labelshare", "numlabeled", "numlabels", "labelpercent",
     "semiratio", "unlabelpercent"): ["dataset.labeled"],
    ("framerate", "defaultfps", "samplerate"): ["dataset.fps", "fps"],
    ("featstride", "snippetstride", "featurestride", "frameinterval"): ["dataset.stride", "stride"],
    ("numframes", "windowsize", "cliplength", "snippetlength", "cliplen"): ["dataset.window", "window"],
    ("featdims", "featuredim", "inputdim", "inchannels", "inputchannels", "numfeatures", "featchannels", "c",
     "featuresize"): ["model.feat_dim"],
    ("tscale", "maxseqlen", "seqlen", "length", "numsnippets", "temporaldim", "t", "numsegments", "windowlength",
     "sequencelength"): ["model.temporal_scale"],
    ("hiddendim", "hidden", "hiddensize", "dim", "width", "embeddim", "dmodel", "d", "channels"): ["model.embed_dim"],
    ("heads", "numheads", "nheads", "attentionheads", "nhead"): ["model.embedding_head"],
    ("drop", "droprate", "dropoutrate"): ["model.dropout"],
    ("normalize", "normalise", "standardise", "norm"): ["model.standardize"],
    ("backbone", "arch", "architecture", "network"): ["model.encoder", "model.mask_head"],
    ("valratio", "valsplitratio", "validationshare"): ["training.holdout"],
    ("ema", "emamomentum", "teachermomentum", "momentumema"): ["semi.ema_decay"],
    ("threshold", "thresh", "tau", "pseudothreshold", "confidencethreshold", "pcutoff"): [
        "semi.class_threshold", "semi.mask_threshold"],
    ("lambdau", "unlabeledweight", "ulossratio", "semiweight", "consistencyweight"): ["semi.weight"],
    ("mu", "uratio", "unlabeledbatchsize"): ["training.unlabeled_ratio"],
    ("ssl", "semisupervised", "algorithm", "mode"): ["semi.method"],
    ("rampup", "warmup", "warmupiters", "warmupsteps"): ["semi.burn_in", "semi.ramp"],
    ("nms", "nmsthresh", "nmsthreshold", "iouthreshold", "softnmsalpha", "softnmssigma", "sigma", "nmsalpha"): [
        "testing.nms_sigma"],
    ("scorethresh", "scorethreshold", "confthresh", "minconfidence", "confidence"): [
        "testing.min_score", "testing.action_threshold"],
    ("maxdets", "maxsegnum", "maxpredictions", "maxproposals", "keeptopk", "numdetections"): ["testing.max_detections"],
    ("prenmstopk", "topkproposals"): ["testing.top_k"],
    ("tious", "iou", "iouthresholds", "tiouthresholds", "tiouthresh"): ["testing.tiou"],
    ("classifier", "cuhk", "externalscores", "extscorefile", "videoscores"): ["testing.class_scores"],
    ("numworkers", "workers", "nworkers", "jobs", "numthreads", "loaderworkers", "workerspergpu"):
        "there are no loader processes; training.cache says where features wait",
    ("momentum", "beta", "betas", "sgdmomentum"):
        "the optimizers are training.optimizer=adamw and adam, with torch's momentum",
    ("clipgrad", "clipgradnorm", "gradclip", "gradnorm", "clipgradl2norm"):
        "gradients are clipped, at a norm that is no setting",
    ("printfreq", "loginterval", "verbose", "log", "wandb", "usewandb", "project"):
        "an epoch is a line of the run folder's log.jsonl and of its TensorBoard events",
    ("saveinterval", "savefreq", "saveevery", "evalinterval", "evalfreq"):
        "a run is saved after each epoch, of training.steps_per_epoch steps",
    ("numgpus", "worldsize", "distributed", "ddp", "nprocpernode", "localrank", "dist"):
        "several GPUs are used by torchrun --nproc_per_node=N, one process each",
}
MEANINGS = {name: meaning for names, meaning in OTHER_NAMES.items() for name in names}


def hint(name, keys):
    """Words for the message that refuses the unknown setting `name`: the keys it could mean, "" where none is near.

    keys: all dotted keys
    """
    section, _, last = name.rpartition(".")
    if within := [key for key in keys if key.startswith(f"{name}.")]:
        return f"it is a section; its keys are {', '.join(within)}"
    same = [key for key in keys if _plain(key) == _plain(name)] or [
        key for key in keys if _plain(key.rpartition(".")[2]) == _plain(last)]
    meaning = MEANINGS.get(_plain(last)) if not same else None
    if isinstance(meaning, str):
        return meaning
    # What other versions of the settings lack is not proposed.
    found = same or [key for key in meaning or () if key in keys] or _alike(name, last, keys)
    nearest_first = sorted(found, key=lambda key: _likeness(section, key.rpartition(".")[0]), reverse=bool(section))
    if len(nearest_first) > 1:
        return f"valid keys of that meaning are {' and '.join(map(repr, nearest_first))}"
    return f"the nearest valid key is {nearest_first[0]!r}" if nearest_first else ""


def _plain(name):
    return name.lower().replace("_", "").replace("-", "")


def _likeness(one, other):
    return difflib.SequenceMatcher(None, one, other).ratio()


def _alike(name, last, keys):
    """The key that is spelled most like `name`, whole or by its last part; an empty list without one."""
    if near := difflib.get_close_matches(name, keys, 1, 0.5):
        return near
    near = difflib.get_close_matches(last, [key.rpartition(".")[2] for key in keys], 1, 0.5)
    return [key for key in keys if near and key.rpartition(".")[2] == near[0]]
