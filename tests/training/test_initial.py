"""A run that begins with the weights of another: what is taken over, what begins anew, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from timm.layers import resample_abs_pos_embed

from multitask.assembly import fitted, make_tasks, make_vocabulary
from multitask.checkpoint import save
from multitask.cli.options import chosen_config
from multitask.config import Config
from multitask.data.shapes import INFO, ShapesDataset
from multitask.errors import CheckpointError, UsageError
from multitask.hub import located
from multitask.model.encoder_decoder import EncoderDecoder, build_model
from multitask.sections import DecoderConfig, ModelConfig, TransformerConfig
from multitask.sequence.text import TextCodec
from multitask.sequence.vocabulary import Vocabulary
from multitask.skeleton import Skeleton
from multitask.task import Category, DatasetInfo
from multitask.training.initial import Beginning, begin

BASE = {
    "image_size": 32,
    "encoder": "vit",
    "transformer": TransformerConfig(dim=16, depth=1, heads=2, mlp_dim=16, patch=8),
    "decoder": DecoderConfig(dim=16, depth=1, heads=2, mlp_dim=16, max_length=24),
}
OLD, NEW = ("disc", "star"), ("star", "helmet", "vest")


class Pictures(ShapesDataset):
    """Drawn scenes that call their categories, and their joints, otherwise."""

    def __init__(self, classes: tuple[str, ...], skeleton: Skeleton | None = None) -> None:
        super().__init__("train", 2)
        categories = tuple(Category(number, name) for number, name in enumerate(classes, 1))
        self.info = DatasetInfo("pictures", categories, *([skeleton] if skeleton else []))


def settings(tasks=("det",), bins: int = 20, **model) -> Config:
    return Config(tasks={name: {} for name in tasks}, bins=bins, model=ModelConfig(**{**BASE, **model}))


def trained(folder: Path, config: Config, averaged: bool = False, step: int = 7) -> tuple[Vocabulary, EncoderDecoder]:
    """A run of one checkpoint whose tensors, batch-norm statistics too, are unlike those of any new model."""
    tasks, dataset = make_tasks(config), Pictures(OLD)
    vocab = make_vocabulary(config, tasks, dataset)
    model = build_model(config.model, len(vocab), vocab.coord).eval()
    state = {name: t + torch.rand_like(t) if t.is_floating_point() else t for name, t in model.state_dict().items()}
    model.load_state_dict(state)
    raw = {name: torch.zeros_like(t) for name, t in state.items()} if averaged else state
    save(
        folder, step, config=config, vocabulary=vocab.manifest(), text_model=vocab.text.model,
        model=raw, ema=state if averaged else None, tensors={}, state={},
    )  # fmt: skip
    return vocab, model


def begun(config: Config, run: Path, vocabulary: str = "grow", classes=NEW, **model) -> Beginning:
    model = {"init": str(run), "init_vocabulary": vocabulary, **model}
    config = config.model_copy(update={"model": config.model.model_copy(update=model)})
    torch.manual_seed(1)
    return begin(config, make_tasks(config), Pictures(classes))


def equal_but(found: EncoderDecoder, expected: EncoderDecoder, *names: str) -> None:
    """Every other tensor is the same."""
    ours, theirs = found.state_dict(), expected.state_dict()
    differing = {name for name in ours.keys() | theirs.keys() if not torch.equal(ours[name], theirs[name])}
    assert differing == set(names)


TABLES = ("decoder.embedding", "decoder.output_bias")


def test_without_weights_everything_is_new():
    config, dataset = settings(), Pictures(NEW)
    torch.manual_seed(3)
    found = begin(config, make_tasks(config), dataset)
    assert found.vocab.manifest() == make_vocabulary(config, make_tasks(config), dataset).manifest()
    torch.manual_seed(3)
    equal_but(found.model, build_model(config.model, len(found.vocab), found.vocab.coord))
    assert found.notes == ()


@pytest.mark.parametrize("averaged", [False, True])
def test_a_grown_table_keeps_every_id_and_says_the_same(tmp_path, averaged):
    old, model = trained(tmp_path, settings(), averaged)
    found = begun(settings(("caption", "det")), tmp_path)
    old_ids = range(len(old))
    assert [found.vocab.render([i]) for i in old_ids] == [old.render([i]) for i in old_ids]
    assert found.vocab.classes == ("disc", "star", "helmet", "vest") and found.vocab.id("<caption>") >= len(old)
    equal_but(found.model, model, *TABLES)
    images, inputs = torch.rand(1, 3, 32, 32), torch.randint(len(old), (1, 6))
    with torch.no_grad():
        logits = found.model.eval()(images, inputs)
        torch.testing.assert_close(logits[..., : len(old)], model(images, inputs))
    assert found.model.decoder.embedding[len(old) :].abs().max() < 0.1  # random, as in a new model
    new, all_of_it = len(found.vocab), f"{len(old):,} of {len(found.vocab):,}"
    assert new == len(old) + 3
    assert found.notes == (
        f"init: weights of {tmp_path}/checkpoints/step-00000007, step 7",
        f"init: {all_of_it} rows of the vocabulary taken over; new: helmet, vest, <caption>",
    )


def test_a_fitted_table_has_the_new_tokens_alone_with_rows_by_name(tmp_path):
    old, model = trained(tmp_path, settings())
    found = begun(settings(("caption", "det")), tmp_path, "fit")
    assert found.vocab.classes == NEW
    equal_but(found.model, model, *TABLES)
    pairs = [(old.class_id("star"), found.vocab.class_id("star")), (old.id("<det>"), found.vocab.id("<det>"))]
    pairs += [(old.coord[3], found.vocab.coord[3])]
    pairs += [*zip(old.encode_text("a dog"), found.vocab.encode_text("a dog"), strict=True)]
    for name in TABLES:
        before, after = model.get_parameter(name), found.model.get_parameter(name)
        assert all(torch.equal(before[theirs], after[ours]) for theirs, ours in pairs)
        assert after[found.vocab.class_id("vest")].abs().max() < 0.1
    assert found.notes[1] == (
        f"init: {len(found.vocab) - 3:,} of {len(found.vocab):,} rows of the vocabulary taken over"
        "; new: helmet, vest, <caption>"
    )


def test_pieces_of_another_text_model_go_by_their_spelling(tmp_path):
    texts = [TextCodec.train([words], 330) for words in ("a red disc and a dog", "two dogs and a tree")]
    files = [tmp_path / f"{number}.model" for number in range(2)]
    for file, text in zip(files, texts, strict=True):
        file.write_bytes(text.model)
    configs = [settings().model_copy(update={"text_model": str(file)}) for file in files]
    old, model = trained(tmp_path / "run", configs[0])
    found = begun(configs[1], tmp_path / "run", "fit")
    common = set(texts[0].pieces) & set(texts[1].pieces)
    assert 256 < len(common) < len(texts[1].pieces)
    starts = [min(vocab.ids("text")) for vocab in (old, found.vocab)]
    for piece in common:
        theirs, ours = (start + text.pieces.index(piece) for start, text in zip(starts, texts, strict=True))
        assert torch.equal(model.decoder.embedding[theirs], found.model.decoder.embedding[ours])
    with pytest.raises(UsageError, match=r"text_model is \S+1\.model, but \S+0\.model in .*init_vocabulary=fit"):
        begun(configs[1], tmp_path / "run")


@pytest.mark.parametrize("bins", [39, 7])
def test_coordinates_of_other_bins_lie_between_the_old_ones(tmp_path, bins):
    old, model = trained(tmp_path, settings())
    found = begun(settings(bins=bins), tmp_path, "fit")
    for name in TABLES:
        before = model.get_parameter(name)[old.coord.start : old.coord.stop]
        after = found.model.get_parameter(name)[found.vocab.coord.start : found.vocab.coord.stop]
        places = torch.linspace(0, len(before) - 1, bins)
        low, share = places.long().clamp(max=len(before) - 2), places - places.long().clamp(max=len(before) - 2)
        share = share.reshape(-1, *[1] * (before.ndim - 1))
        torch.testing.assert_close(after, before[low] * (1 - share) + before[low + 1] * share)
    assert f"init: coordinates of 20 bins interpolated to {bins}" in found.notes
    assert any(f"{len(found.vocab) - 2:,} of {len(found.vocab):,} rows" in note for note in found.notes)
    with pytest.raises(UsageError, match=rf"^bins is {bins}, but 20 in .*set bins=20, or model.init_vocabulary=fit"):
        begun(settings(bins=bins), tmp_path)


@pytest.mark.parametrize(("length", "word"), [(40, "lengthened"), (9, "cut")])
def test_another_length_of_sequences(tmp_path, length, word):
    _, model = trained(tmp_path, settings())
    decoder = BASE["decoder"].model_copy(update={"max_length": length})
    found = begun(settings(decoder=decoder), tmp_path, classes=OLD)
    theirs, ours = model.decoder.positions, found.model.decoder.positions
    kept = min(length, 24)
    assert torch.equal(ours[:kept], theirs[:kept]) and len(ours) == length
    assert not len(ours[kept:]) or ours[kept:].abs().max() < 0.1
    found.model.decoder.positions = model.decoder.positions
    equal_but(found.model, model)
    assert f"init: positions of the decoder {word} from 24 to {length}" in found.notes


@pytest.mark.parametrize("encoder", ["test_vit", "test_vit3"])
def test_positions_of_a_timm_transformer_are_resampled(tmp_path, encoder):
    _, model = trained(tmp_path, settings(encoder=encoder, image_size=64))
    found = begun(settings(encoder=encoder, image_size=96), tmp_path, classes=OLD)
    net, new = model.encoder.net, found.model.encoder.net
    prefix = 0 if net.no_embed_class else net.num_prefix_tokens
    expected = resample_abs_pos_embed(net.pos_embed, [6, 6], [4, 4], num_prefix_tokens=prefix)
    assert torch.equal(new.pos_embed, expected)
    equal_but(found.model.decoder, model.decoder)
    assert found.notes[1] == "init: positions of the encoder resized from 4 x 4 to 6 x 6"
    assert found.model.encode(torch.rand(1, 3, 96, 96)).tokens.shape[1] == 36


def test_positions_that_are_computed_need_nothing(tmp_path):
    config = settings(encoder="test_vit_relpos", image_size=64)
    _, model = trained(tmp_path, config)
    equal_but(begun(config, tmp_path, classes=OLD, image_size=96).model, model)


def test_statistics_of_batch_norms_and_pixels_come_along(tmp_path):
    config = settings(encoder="test_efficientnet", image_size=64)
    _, model = trained(tmp_path, config)
    equal_but(begun(config, tmp_path, classes=OLD).model, model)
    assert any(name.endswith("running_mean") for name in model.state_dict())
    equal_but(begun(config, tmp_path, classes=OLD, image_size=96, pretrained=True).model, model)  # and fetches nothing


@pytest.mark.parametrize(
    ("model", "error", "reason"),
    [
        ({"decoder": DecoderConfig(dim=32, heads=2, depth=1, mlp_dim=16)}, CheckpointError, "does not fit .*shape"),
        ({"decoder": DecoderConfig(dim=16, heads=2, depth=2, mlp_dim=16)}, CheckpointError, "does not fit .*missing"),
        ({"decoder": DecoderConfig(dim=16, heads=4, depth=1, mlp_dim=16)}, UsageError, "set model.decoder.heads=2"),
        ({"transformer": TransformerConfig(**BASE["transformer"].model_dump() | {"heads": 4})}, UsageError, "heads=2"),
        ({"positions": "fourier"}, UsageError, "model.positions is fourier, but published in .*step-00000007"),
        ({"encoder": "test_vit"}, CheckpointError, "does not fit the model.*missing.*unexpected"),
    ],
)
def test_a_model_of_another_kind_is_refused(tmp_path, model, error, reason):
    trained(tmp_path, settings())
    with pytest.raises(error, match=reason) as caught:
        begun(settings(**model), tmp_path)
    assert "\n" not in str(caught.value)


def test_what_timm_cannot_resize_is_refused_by_name(tmp_path, monkeypatch):
    config = settings(encoder="test_vit", image_size=64)
    trained(tmp_path, config)
    net = type(build_model(config.model, 5).encoder.net)
    monkeypatch.delattr(net, "set_input_size")
    with pytest.raises(CheckpointError, match=r"model\.image_size 96: timm cannot resize .* VisionTransformer"):
        begun(settings(encoder="test_vit", image_size=96), tmp_path)


def test_a_damaged_checkpoint_is_passed_over_with_a_note(tmp_path):
    for step in (7, 8):
        trained(tmp_path, settings(), step=step)
    (tmp_path / "checkpoints" / "step-00000008" / "model.safetensors").write_bytes(b"")
    assert begun(settings(), tmp_path).notes[1].endswith("went back to step-00000007")


# --------------------------------------------------------------------------------------------------------------- hub


def hub(monkeypatch, folder: Path | Exception) -> list[tuple[str, str | None]]:
    """Answers downloads with a folder or an error; the list of what was asked."""
    import huggingface_hub

    asked = []

    def download(repository, revision, allow_patterns):
        asked.append((repository, revision))
        assert set(allow_patterns) == {
            "manifest.json", "config.json", "vocabulary.json", "text.model", "model.safetensors", "ema.safetensors"
        }  # fmt: skip
        if isinstance(folder, Exception):
            raise folder
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.delenv("MTP_OFFLINE", raising=False)
    return asked


def test_a_checkpoint_of_the_hub_is_fetched_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained(tmp_path / "run", settings())
    asked = hub(monkeypatch, tmp_path / "run" / "checkpoints" / "step-00000007")
    config = chosen_config(None, None, None, None, None, init="somebody/shapes@v1")
    found = begin(config, make_tasks(config), Pictures(OLD))
    assert found.notes[0].endswith("step 7")
    assert asked == [("somebody/shapes", "v1")]
    located("somebody/shapes")
    assert asked[1:] == [("somebody/shapes", None)]


def test_errors_of_the_hub_are_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hub(monkeypatch, OSError("404 Client Error. (Request ID: 1)\n\nRepository Not Found"))
    with pytest.raises(CheckpointError, match=r"^model\.init: no 'some/repo' here, and .*OSError: 404 [^\n]*$"):
        located("some/repo")
    monkeypatch.setenv("MTP_OFFLINE", "1")
    with pytest.raises(CheckpointError, match="MTP_OFFLINE=1 forbids"):
        located("some/other")


@pytest.mark.parametrize("name", ["runs/typo", "typo", "./a/b", "../a", "a/b/c", "/a/b", "a b/c"])
def test_what_is_no_hub_id_is_never_asked_for(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    asked = hub(monkeypatch, tmp_path)
    with pytest.raises(CheckpointError, match="no checkpoint there"):
        begun(settings(), tmp_path, init=name)
    assert asked == []


# ------------------------------------------------------------------------------------------------------ command line


def test_without_a_recipe_the_checkpoint_says_what_the_model_is(tmp_path):
    config = settings(("caption", "det"), image_size=64).model_copy(update={"text_model": "builtin"})
    config = config.model_copy(update={"tasks": {"caption": {"max_tokens": 9}, "det": {"max_instances": 3}}})
    trained(tmp_path, config)
    chosen = chosen_config(
        None, ["train.steps=5", "tasks.det.max_instances=4"], None, ["pictures"], 2, init=str(tmp_path)
    )
    assert chosen.tasks == {"caption": {"max_tokens": 9}, "det": {"max_instances": 4}}
    assert chosen.model == config.model.model_copy(update={"init": str(tmp_path)})
    assert (chosen.bins, chosen.data.path, chosen.seed) == (20, "pictures", 2)
    assert (chosen.train.steps, chosen.train.ema) == (5, 0.999)  # the rest of `finetune`
    other = chosen_config(None, None, "cap,segment", None, None, init=str(tmp_path))
    assert other.tasks == {"caption": {"max_tokens": 9}, "segment": {}} and other.data == config.data


def test_with_a_recipe_only_the_weights_are_taken(tmp_path):
    trained(tmp_path, settings())
    chosen = chosen_config("smoke", None, None, None, None, init=str(tmp_path))
    assert chosen.model.init == str(tmp_path) and chosen == chosen_config(
        "smoke", [f"model.init={json.dumps(str(tmp_path))}"], None, None, None
    )


def test_a_checkpoint_that_is_none_is_refused_at_once(tmp_path):
    trained(tmp_path, settings())
    (folder,) = (tmp_path / "checkpoints").glob("step-*")
    (folder / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"config\.json: damaged"):
        chosen_config(None, None, None, None, None, init=str(tmp_path))
    with pytest.raises(CheckpointError, match="no checkpoint there"):
        chosen_config(None, None, None, None, None, init=str(tmp_path / "none"))


def test_reading_its_settings_needs_no_torch(tmp_path):
    trained(tmp_path, settings())
    code = (
        "import sys; from multitask.cli.options import chosen_config\n"
        f"chosen_config(None, None, None, None, None, init={str(tmp_path)!r})\n"
        "print({'torch', 'timm', 'numpy', 'huggingface_hub'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout == "set()\n"


def test_what_the_old_data_gave_gives_way_to_the_new(tmp_path):
    """The joints of another data set, which the checkpoint's own would be at odds with."""
    config = fitted(settings(("keypoints",)), ShapesDataset("train", 2))
    theirs = config.tasks["keypoints"]["skeleton"]
    trained(tmp_path, config)
    face = Skeleton(names=("eye", "mouth"), edges=((0, 1),), categories=("face",))
    chosen = chosen_config(None, ["tasks.keypoints.view_scale=1.5"], None, None, None, init=str(tmp_path))
    assert chosen.tasks["keypoints"]["skeleton"] == theirs
    after = fitted(chosen, Pictures(("face",), face)).tasks["keypoints"]
    assert after == {"view_scale": 1.5, "skeleton": face.model_dump(mode="json")}
    assert fitted(chosen, Pictures(("face",))).tasks == chosen.tasks  # data without joints change nothing
    own = INFO.skeleton.model_copy(update={"edges": ((0, 2),)}).model_dump(mode="json")
    given = chosen.model_copy(update={"tasks": {"keypoints": {"skeleton": own}}})
    with pytest.raises(UsageError, match=r"^tasks\.keypoints\.skeleton"):  # the user's own word stays
        fitted(given, Pictures(("face",), face))
