from __future__ import annotations

import pytest

from multitask import plugins
from multitask.assembly import fitted, make_tasks, make_vocabulary
from multitask.config import Config, load_config, to_yaml
from multitask.data.shapes import INFO, ShapesDataset
from multitask.errors import UsageError
from multitask.skeleton import COCO_PERSON, Skeleton
from multitask.task import DatasetInfo, Task, TaskOptions

OWN = INFO.skeleton.model_copy(update={"edges": ((0, 2),), "sigmas": (0.05,) * len(INFO.skeleton)})
FOUR = {"det": {"max_instances": 4}, "segment": {}, "keypoints": {"view_scale": 1.5}, "caption": {}}


@pytest.fixture
def dataset() -> ShapesDataset:
    return ShapesDataset("train", 2)


def test_only_what_was_taken_from_the_data_is_written_down(dataset):
    before = Config(tasks=FOUR)
    after = fitted(before, dataset)
    assert before.tasks == FOUR  # the given one stays as it was
    keypoints = after.tasks["keypoints"]
    assert after.tasks == {**FOUR, "keypoints": keypoints}
    assert keypoints == {"view_scale": 1.5, "skeleton": INFO.skeleton.model_dump(mode="json")}
    assert after.model_copy(update={"tasks": FOUR}) == before
    assert make_tasks(after)["keypoints"].skeleton == INFO.skeleton


def test_fitting_again_changes_nothing(dataset):
    once = fitted(Config(tasks=FOUR), dataset)
    assert fitted(once, dataset) == once


def test_what_was_taken_survives_being_written(dataset, tmp_path):
    config = fitted(Config(tasks=FOUR), dataset)
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    read = load_config(str(tmp_path / "config.yaml"))
    assert read == config and make_tasks(read)["keypoints"].skeleton == INFO.skeleton


def test_a_skeleton_that_was_given_is_kept(dataset):
    given = Config(tasks={"keypoints": {"skeleton": OWN.model_dump(mode="json")}})
    assert fitted(given, dataset) == given
    assert make_tasks(given)["keypoints"].skeleton == OWN


def test_a_skeleton_that_does_not_fit_the_data_is_refused_before_anything_is_built(dataset):
    face = Skeleton(names=("eye", "mouth"), edges=((0, 1),), categories=("face",))
    with pytest.raises(UsageError, match=r"^tasks\.keypoints\.skeleton: .*not those of shapes"):
        fitted(Config(tasks={"keypoints": {"skeleton": face.model_dump(mode="json")}}), dataset)


def test_data_without_a_skeleton_leave_the_default(dataset):
    class Bare(ShapesDataset):
        info = DatasetInfo(INFO.name, INFO.categories)

    config = Config(tasks=FOUR)
    assert fitted(config, Bare("train", 2)) == config
    assert make_tasks(config)["keypoints"].skeleton == COCO_PERSON


def test_a_task_that_takes_something_else(dataset, monkeypatch):
    """Whatever differs from the task's own options is written, as plain values; what was set by the user stays."""

    class Settings(TaskOptions):
        most: int = 3
        names: tuple[str, ...] = ()

    class Greedy(Task):
        name = "greedy"
        kinds = ("boxes",)
        Options = Settings

        def fitted(self, info):
            return self.options.model_copy(update={"names": tuple(c.name for c in info.categories)})

    monkeypatch.setattr(plugins, "load", {"greedy": Greedy}.__getitem__)
    names = ["disc", "rectangle", "triangle", "star", "figure"]
    assert fitted(Config(tasks={"greedy": {}}), dataset).tasks == {"greedy": {"names": names}}
    assert fitted(Config(tasks={"greedy": {"most": 9}}), dataset).tasks == {"greedy": {"most": 9, "names": names}}


def asking(name: str, *requires: str) -> type[Task]:
    return type("Asking", (Task,), {"name": name, "kinds": ("boxes",), "requires": requires})


@pytest.mark.parametrize(
    ("asks", "circle"),
    [
        ({"a": ["b"], "b": ["a"]}, "a -> b -> a"),
        ({"a": ["a"]}, "a -> a"),
        ({"z": [], "a": ["z", "b"], "b": ["c"], "c": ["a"]}, "a -> b -> c -> a"),
    ],
)
def test_tasks_that_ask_each_other_in_a_circle_are_refused(monkeypatch, asks, circle):
    monkeypatch.setattr(plugins, "load", lambda name: asking(name, *asks[name]))
    with pytest.raises(UsageError, match=f"tasks ask about each other in a circle: {circle}$"):
        make_tasks(Config(tasks={name: {} for name in asks}))


def test_two_that_ask_the_same_one_make_no_circle(monkeypatch):
    asks = {"a": ["b", "c"], "b": ["c"], "c": []}
    monkeypatch.setattr(plugins, "load", lambda name: asking(name, *asks[name]))
    assert list(make_tasks(Config(tasks={name: {} for name in asks}))) == ["a", "b", "c"]


@pytest.mark.parametrize("name", ["segment", "keypoints"])
def test_a_task_is_built_without_the_one_it_asks(name, dataset):
    """Boxes can come from the user, or from the annotations."""
    config = Config(tasks={name: {}})
    assert list(make_tasks(config)) == list(fitted(config, dataset).tasks) == [name]
    vocab = make_vocabulary(config, make_tasks(config), dataset)
    assert vocab.id(f"<{name}>") and "<det>" not in vocab.render(range(len(vocab)))
