"""Settings: what is refused, with which words, and what stays as it is written."""

import pytest
from omegaconf import OmegaConf

from spot.config import load_config, save_config
from spot.config_values import data_values, decoding_values, grid_values, plain
from spot.files import SpotError

PATHS = "dataset: {video_anno_path: a.json, feature_path: features}\n"


def written(folder, text, name="c.yaml"):
    path = folder / name
    path.write_text(text)
    return path


def loaded(folder, text="", *overrides):
    return load_config(written(folder, PATHS + text), overrides)


# --- reading ----------------------------------------------------------------------------------------------------------


def test_defaults_alone():
    """No file: the defaults, without the two paths that every run must name."""
    config = load_config(None)
    assert config.semi.method == "ema" and config.model.mask_head == "pairwise"
    assert config.model.encoder == "conv_transformer" and config.model.class_activation == "sigmoid"
    assert config.training.holdout == 0 and config.testing.class_scores == "none"


def test_a_file_over_the_defaults_and_overrides_over_the_file(tmp_path):
    config = loaded(tmp_path, "training: {batch_size: 7, max_epoch: 3}\n", "training.max_epoch=5")
    assert (config.training.batch_size, config.training.max_epoch) == (7, 5)
    assert config.dataset.feature_path == "features"


def test_the_last_override_wins(tmp_path):
    assert loaded(tmp_path, "", "training.batch_size=2", "training.batch_size=3").training.batch_size == 3


def test_numbers_in_scientific_notation_are_numbers(tmp_path):
    """PyYAML reads 4e-4 as text."""
    config = loaded(tmp_path, "training: {learning_rate: 4e-4, weight_decay: 5E-3}\n", "semi.weight=1e-1")
    assert config.training.learning_rate == 4e-4 and config.training.weight_decay == 5e-3 and config.semi.weight == 0.1
    assert isinstance(config.training.learning_rate, float)


@pytest.mark.parametrize("text", ["007", "1e3", "true", "no", "1_000", "0x10", "a: b", "[x", "with space",
                                  "{video}_rgb.npy", "2020-01-01", "key=value", "'quoted'", "#x"])
def test_text_is_kept_to_the_letter(tmp_path, text):
    """What a user writes after `=` for a text key arrives as it is, whatever YAML would make of it."""
    config = loaded(tmp_path, "", f"dataset.video_anno_path={text}", f"dataset.class_file={text}")
    assert (config.dataset.video_anno_path, config.dataset.class_file) == (text, text)


@pytest.mark.parametrize("text", ["007", "1e3", "features.h5", "a b", "{video}.h5", "C:\\data\\tsn", "a: b", "lr=1",
                                  "ä"])
def test_a_feature_path_is_text_too(tmp_path, text):
    assert loaded(tmp_path, "", f"dataset.feature_path={text}").dataset.feature_path == text


@pytest.mark.parametrize(("text", "value"), [
    ("{video}_rgb.npy", "{video}_rgb.npy"), ("'{video}_rgb.npy'", "{video}_rgb.npy"),
    ("v_{video}.npy", "v_{video}.npy"), ("{video}/f.npy", "{video}/f.npy"), ("null", None),
    ("[{video}_rgb.npy, {video}_flow.npy]", ["{video}_rgb.npy", "{video}_flow.npy"]),
    ("['{video}_rgb.npy','{video}_flow.npy']", ["{video}_rgb.npy", "{video}_flow.npy"])])
def test_a_feature_pattern_as_a_shell_leaves_it(tmp_path, text, value):
    """To YAML, a brace without quotes begins a mapping."""
    assert data_values(loaded(tmp_path, "", f"dataset.feature_pattern={text}"))["feature_pattern"] == value


def test_a_feature_pattern_without_quotes_in_a_file_says_what_to_write(tmp_path):
    text = "dataset:\n  video_anno_path: a\n  feature_path: b\n  feature_pattern: {video}_rgb.npy\n"
    with pytest.raises(SpotError, match=r"not valid YAML.*; write feature_pattern: '{video}_rgb\.npy', with quotes"):
        load_config(written(tmp_path, text))
    config = load_config(written(tmp_path, text.replace("{video}_rgb.npy", "'{video}_rgb.npy'")))
    assert config.dataset.feature_pattern == "{video}_rgb.npy"


def test_feature_paths_can_be_a_list_also_nested(tmp_path):
    text = "dataset: {video_anno_path: a, feature_path: [[rgb_a.h5, rgb_b.h5], flow]}\n"
    wanted = [["rgb_a.h5", "rgb_b.h5"], "flow"]
    assert plain(load_config(written(tmp_path, text)).dataset.feature_path) == wanted
    config = loaded(tmp_path, "", "dataset.feature_path=[[rgb_a.h5,rgb_b.h5],flow]")
    assert data_values(config)["feature_path"] == wanted


@pytest.mark.parametrize(("text", "value"), [("0.25", 0.25), ("1", 1), ("info", "info"), ("007.txt", "007.txt")])
def test_the_three_forms_of_labeled(tmp_path, text, value):
    assert loaded(tmp_path, "", f"dataset.labeled={text}").dataset.labeled == value


def test_null_is_nothing(tmp_path):
    config = loaded(tmp_path, "training: {steps_per_epoch: null}\n", "dataset.fps=null", "dataset.class_file=null")
    assert config.training.steps_per_epoch is config.dataset.fps is config.dataset.class_file is None


def test_lists_of_numbers(tmp_path):
    assert list(loaded(tmp_path, "", "testing.mask_thresh=[0, .2,0.4]").testing.mask_thresh) == [0, 0.2, 0.4]
    assert decoding_values(loaded(tmp_path, "testing: {mask_thresh: [0.5]}\n"))["mask_thresh"] == (0.5,)


def test_loss_weights_by_name(tmp_path):
    config = loaded(tmp_path, "loss: {class: 0.5}\n", "loss.boundary=2")
    assert config.loss["class"] == 0.5 and config.loss.boundary == 2 and config.loss.mask == 1


def test_what_was_saved_loads_again(tmp_path):
    config = loaded(tmp_path, "", "dataset.labeled=007.txt", "training.learning_rate=4e-4",
                    "training.steps_per_epoch=null", "dataset.class_file=1e3", "testing.mask_thresh=[0.5]",
                    "dataset.feature_path=[a,b]")
    save_config(config, tmp_path / "resolved.yaml")
    assert OmegaConf.to_container(load_config(tmp_path / "resolved.yaml")) == OmegaConf.to_container(config)


def test_grid_values_are_what_the_grid_takes(tmp_path):
    from spot.datasets import GridSettings

    values = grid_values(loaded(tmp_path, "", "dataset.grid=window", "dataset.stride=4", "dataset.fps=25"))
    grid = GridSettings(**values)
    assert (grid.grid, grid.stride, grid.window, grid.fps, grid.temporal_scale) == ("window", 4, 16, 25, 100)


# --- refusing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "nearest"), [
    ("training.batchsize", "training.batch_size"), ("model.mask_heads", "model.mask_head"),
    ("sime.method", "semi.method"), ("lr", "training.learning_rate"),
    ("training.lr", "training.learning_rate"), ("Training.Batch_Size", "training.batch_size"),
    ("learning_rate", "training.learning_rate"),
    ("loss.boundry", "loss.boundary"), ("testing.nms_thresh", "testing.nms_sigma"), ("nothing.like.it", None)])
def test_an_unknown_key_is_refused_with_the_nearest(tmp_path, key, nearest):
    """In an override and in a file, which is named."""
    with pytest.raises(SpotError, match=rf"unknown key '{key}'") as error:
        loaded(tmp_path, "", f"{key}=1")
    assert nearest is None or f"the nearest valid key is {nearest!r}" in str(error.value)
    section, _, name = key.rpartition(".")
    text = f"{section}: {{{name}: 1}}\n" if section else f"{name}: 1\n"
    with pytest.raises(SpotError, match=r"c\.yaml: unknown key") as error:
        load_config(written(tmp_path, text))
    assert nearest is None or nearest in str(error.value)


@pytest.mark.parametrize(("key", "value"), [
    ("training.batch_size", "many"), ("training.batch_size", "2.5"), ("training.learning_rate", "fast"),
    ("model.standardize", "perhaps"), ("training.max_epoch", "[1, 2]"), ("testing.mask_thresh", "0.5x"),
    ("dataset.fps", "often"), ("training.batch_size", "null"), ("loss.mask", "heavy"), ("testing.top_k", "1e99x")])
def test_a_wrong_type_is_refused_with_key_and_value(tmp_path, key, value):
    with pytest.raises(SpotError, match=key.replace(".", r"\.")):
        loaded(tmp_path, "", f"{key}={value}")


@pytest.mark.parametrize("text", ["dataset: {class_file: 7}", "output_path: 3", "training: {device: 0}",
                                  "dataset: {feature_path: 7}", "dataset: {feature_path: null}",
                                  "dataset: {feature_path: [a, 3]}", "dataset: {feature_path: {a: b}}",
                                  "dataset: {labeled: true}", "dataset: {labeled: [a]}", "dataset: {labeled: null}",
                                  "dataset: {video_anno_path: null}", "training: 3", "training: [1]", "semi: text",
                                  "loss: 3", "loss: {mask: null}"])
def test_a_wrong_type_in_a_file_is_refused(tmp_path, text):
    base = {"video_anno_path": "a.json", "feature_path": "features"}
    tree = OmegaConf.merge({"dataset": base}, OmegaConf.create(text)) if text.startswith("dataset") else None
    path = written(tmp_path, OmegaConf.to_yaml(tree) if tree else PATHS + text + "\n")
    with pytest.raises(SpotError, match=r"c\.yaml: .*" + text.split(":")[0]):
        load_config(path)


@pytest.mark.parametrize(("override", "words"), [
    ("training.batch_size=0", ">= 1, got 0"), ("semi.class_threshold=1.5", r"in 0\.\.1, got 1\.5"),
    ("training.learning_rate=-1", ">= 0"), ("dataset.labeled=0", r"share in \(0, 1\]"),
    ("dataset.labeled=1.1", "share"), ("training.steps_per_epoch=0", "at least 1"),
    ("testing.mask_thresh=[0.5,1]", r"in \[0, 1\)"),
    ("testing.mask_thresh=[]", "mask_thresh"), ("dataset.fps=0", "fps"), ("dataset.fps=-25", "fps"),
    ("model.embed_dim=30", "multiple"), ("model.temporal_scale=3", "temporal_scale"), ("loss.mask=-1", ">= 0")])
def test_a_value_out_of_range_is_refused(tmp_path, override, words):
    with pytest.raises(SpotError, match=words):
        loaded(tmp_path, "", override)


def test_a_wrong_word_is_refused_with_the_choices(tmp_path):
    choices = "ema, self, mean_teacher, fixmatch, sstap, none"
    with pytest.raises(SpotError, match=rf"semi\.method must be one of {choices}, got 'emma'; did you mean 'ema'"):
        loaded(tmp_path, "", "semi.method=emma")
    with pytest.raises(SpotError, match=r"c\.yaml: model\.mask_head must be one of pairwise, fixed"):
        loaded(tmp_path, "model: {mask_head: square}\n")


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf", "nan", "inf", "1e400"])
def test_numbers_that_are_not_finite_are_refused(tmp_path, value):
    with pytest.raises(SpotError, match=r"training\.learning_rate"):
        loaded(tmp_path, "", f"training.learning_rate={value}")
    with pytest.raises(SpotError, match=r"testing\.mask_thresh"):
        loaded(tmp_path, f"testing: {{mask_thresh: [0.5, {value}]}}\n")


def test_interpolation_is_refused_everywhere(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "42")
    for text in ("output_path: ${oc.env:SECRET}\n", "output_path: runs/${model.feat_dim}\n",
                 "training: {learning_rate: '${semi.weight}'}\n"):
        with pytest.raises(SpotError, match="interpolation"):
            loaded(tmp_path, text)
    for override in ("output_path=${oc.env:SECRET}", "training.learning_rate=${semi.weight}",
                     "dataset.feature_path=[a,'${oc.env:SECRET}']", "testing.mask_thresh=['${semi.weight}']"):
        with pytest.raises(SpotError, match="interpolation"):
            loaded(tmp_path, "", override)


@pytest.mark.parametrize("text", ["a: [", "- a\n- b\n", "just text", "a: b: c", "\x00", "{",
                                  "a: !!python/object:os.system x"])
def test_a_file_that_is_no_settings_file_is_refused(tmp_path, text):
    with pytest.raises(SpotError, match=r"c\.yaml"):
        load_config(written(tmp_path, text))


def test_a_file_that_is_missing_or_a_folder_is_refused(tmp_path):
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(SpotError, match=r"no such settings file.*give one with|is a folder, no settings file"):
            load_config(path)


@pytest.mark.parametrize("key", ["video_anno_path", "feature_path"])
def test_a_path_that_every_run_needs_is_asked_for(tmp_path, key):
    other = {"video_anno_path": "feature_path", "feature_path": "video_anno_path"}[key]
    with pytest.raises(SpotError, match=rf"the key dataset\.{key} is missing"):
        load_config(written(tmp_path, f"dataset: {{{other}: x}}\n"))


def test_an_override_without_a_value_is_refused(tmp_path):
    with pytest.raises(SpotError, match="is not key=value"):
        loaded(tmp_path, "", "training.batch_size")


@pytest.mark.parametrize(("text", "words"), [
    ("dataset: {video_anno_path: [a], feature_path: f}", "dataset.video_anno_path"),
    ("dataset: {video_anno_path: a, feature_path: 3}", "dataset.feature_path must be text or a list of texts, got 3"),
    ("dataset: {video_anno_path: a, feature_path: f, feature_pattern: 3}", "dataset.feature_pattern must be text"),
    (f"{PATHS}features: 3", "features must be a path or a list of paths, got 3"),
    (f"{PATHS}training: {{steps_per_epoch: 0}}", "training.steps_per_epoch must be auto, null or a whole number"),
    (f"{PATHS}model: {{temporal_scale: 4}}", "model.temporal_scale .4. must be at least pretext.chunks .5."),
    (f"{PATHS}model: {{encoder: attention, feat_dim: 7}}", "model.feat_dim .7. must be a multiple of"),
    (f"{PATHS}model: {{embed_dim: 12}}", "model.embed_dim .12. must be a multiple of 2"),
    (f"{PATHS}testing: {{mask_thresh: [1]}}", "testing.mask_thresh must be a list of 1 to 100 numbers in"),
    (f"{PATHS}testing: {{mask_thresh: []}}", "testing.mask_thresh must be a list of 1 to 100 numbers in"),
    (f"{PATHS}loss: {{class: 0, mask: 0, instance: 0}}", "all weights in loss are 0"),
])
def test_values_that_do_not_go_together_are_refused(tmp_path, text, words):
    with pytest.raises(SpotError, match=rf"c\.yaml: .*{words}"):
        load_config(written(tmp_path, text))


def test_a_settings_file_that_the_system_cannot_read_is_one_sentence(tmp_path, monkeypatch):
    path = written(tmp_path, PATHS)

    def refuse(*_, **__):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(OmegaConf, "load", refuse)
    with pytest.raises(SpotError, match=r"c\.yaml: cannot be read \(Input/output error\)"):
        load_config(path)


@pytest.mark.parametrize(("text", "thresholds"), [
    ("0.3:0.7:5", [0.3, 0.4, 0.5, 0.6, 0.7]), ("[0.3, 0.5]", [0.3, 0.5]), ("0.5", [0.5]), ("1", [1.0])])
def test_thresholds_are_text_or_a_list_in_a_file_and_in_an_override(tmp_path, text, thresholds):
    from spot.evaluation import parse_thresholds

    for config in (loaded(tmp_path, f"testing: {{tiou: {text}}}\n"), loaded(tmp_path, "", f"testing.tiou={text}")):
        assert parse_thresholds(plain(config.testing.tiou)).round(9).tolist() == thresholds
        save_config(config, tmp_path / "again.yaml")
        assert load_config(tmp_path / "again.yaml").testing.tiou == config.testing.tiou


@pytest.mark.parametrize("text", ["0.5:0.95:99999999999", "0.5:0.95:0", "high", "[0.5, 1.5]", "[]", "0", "true",
                                  "[[0.5]]", "[0.5, 0.5]", "0.5:0.5:2", "0.5:0.95", "{a: 1}", "nan", "0.3:.inf:4",
                                  "null"])
def test_thresholds_are_checked_before_training(tmp_path, text):
    with pytest.raises(SpotError, match=r"testing\.tiou"):
        load_config(written(tmp_path, PATHS + f"testing: {{tiou: {text}}}\n"))
    with pytest.raises(SpotError, match=r"testing\.tiou"):
        loaded(tmp_path, "", f"testing.tiou={text}")


# --- paths ------------------------------------------------------------------------------------------------------------


def path_keys():
    """Keys that hold paths, by the schema, each with an override of it."""
    from spot.config import schema

    return sorted(key for key, (_, metadata) in schema().items() if "path" in metadata)


def test_every_key_that_sounds_like_a_path_is_one():
    assert {"output_path", "checkpoint", "features", "duration", "dataset.video_anno_path", "dataset.video_info_path",
            "dataset.blocked", "dataset.feature_path", "dataset.class_file", "dataset.labeled", "training.pretrained",
            "testing.class_scores"} <= set(path_keys())


@pytest.mark.parametrize("key", path_keys())
def test_the_home_folder_is_written_out_in_a_file_and_an_override(tmp_path, monkeypatch, key):
    """`~/x` as the shell does; `~` elsewhere in a name, as in Windows' short names, is a character."""
    monkeypatch.setenv("HOME", "/home/me")
    section, _, name = key.rpartition(".")
    for text, wanted in (("~/x", "/home/me/x"), ("~", "/home/me"), ("a~/x", "a~/x"), ("/a/DATA~1/x", "/a/DATA~1/x")):
        assert OmegaConf.select(loaded(tmp_path, "", f"{key}={text}"), key) == wanted
        content = {"dataset": {"video_anno_path": "a", "feature_path": "f"}}
        (content.setdefault(section, {}) if section else content)[name] = text
        (tmp_path / "whole.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(content)))
        assert OmegaConf.select(load_config(tmp_path / "whole.yaml"), key) == wanted


def test_the_home_folder_in_a_list_and_before_a_settings_file(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    written(tmp_path, PATHS)
    config = load_config("~/c.yaml", ["dataset.feature_path=[[~/a,b],~/c]", "dataset.labeled=0.5"])
    assert plain(config.dataset.feature_path) == [[f"{tmp_path}/a", "b"], f"{tmp_path}/c"]
    assert config.dataset.labeled == 0.5 and config.testing.class_scores == "none"


def test_a_variable_of_the_shell_in_a_path_is_refused(tmp_path, monkeypatch):
    """It would make a folder of that name; a `$` that names nothing is a character."""
    monkeypatch.setenv("DATA", "/data")
    with pytest.raises(SpotError, match=r"c\.yaml: output_path: variables of the shell, as in '\$DATA/runs'"):
        loaded(tmp_path, "output_path: $DATA/runs\n")
    assert loaded(tmp_path, "output_path: us$100\n").output_path == "us$100"


@pytest.mark.parametrize("key", ["output_path", "dataset.labeled", "training.batch_size", "dataset.fps", "checkpoint",
                                 "dataset.feature_path", "dataset.train_subset", "testing.tiou"])
def test_an_override_with_nothing_behind_it_is_refused(tmp_path, key):
    with pytest.raises(SpotError, match=f"'{key}=' has no value"):
        loaded(tmp_path, "", f"{key}=")


@pytest.mark.parametrize("text", ["output_path: ''", "dataset: {labeled: ' '}", "features: [a, '']"])
def test_an_empty_path_in_a_file_is_refused(tmp_path, text):
    with pytest.raises(SpotError, match=r"an empty path"):
        load_config(written(tmp_path, text))


@pytest.mark.parametrize("text", ["training:\n", "training: {}\nloss:\n", "training:\n#  batch_size: 3\nsemi:\n"])
def test_a_section_without_keys_is_no_mistake(tmp_path, text):
    """All of its keys are commented out."""
    assert loaded(tmp_path, text).training.batch_size == 16


@pytest.mark.parametrize(("text", "words"), [
    ("dataset:\n\tlabeled: 0.1\n", "is not valid YAML"), ("output_path: a\noutput_path: b\n", "is not valid YAML"),
    ("", "dataset.feature_path is missing"), ("- a\n", "expected sections with keys"),
    ("training: {device: gpu}", "did you mean 'cuda'?"), ("training: {device: 'GPU:1'}", "did you mean 'cuda:1'?"),
    ("training: {device: '0'}", "did you mean 'cuda:0'?"), ("training: {resume: yes}", "expected text"),
    ("training: {resume: last.pt}", "training.resume must be auto or null"),
])
def test_a_settings_file_of_a_beginner_is_one_sentence(tmp_path, text, words):
    content = text if not text.startswith("training") else PATHS + text
    with pytest.raises(SpotError, match=r"c\.yaml") as error:
        load_config(written(tmp_path, content))
    assert words in str(error.value) and "\n" not in str(error.value)
