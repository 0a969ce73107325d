"""Train the text model that is shipped as `prompts/text.model`; the same sources (`MADE_WITH`) give the same bytes.

    python tools/train_text_model.py prompts/text.model

Sources, in the proportions of `corpus` (licences in NOTICE):
- sentences made here from the words below: scenes of everyday life, and the captions of the embedded shapes set;
- names of the COCO categories and of the Kinetics-400 actions, as torchvision lists them (BSD-3-Clause);
- WordNet's glosses and names of the ImageNet-1k classes, as timm lists them (WordNet licence, Apache-2.0).
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from torchvision.models import _meta

from multitask.sequence.text import TextCodec

SIZE = 2000
SENTENCES = 20_000
MADE_WITH = {"sentencepiece": "0.2.3", "timm": "1.0.31", "torchvision": "0.29.1"}  # other versions may give other bytes

PEOPLE = """man woman boy girl child person baby kid lady guy couple player skier surfer skateboarder snowboarder
batter catcher pitcher worker chef cook student tourist rider cyclist driver police-officer soldier toddler family
crowd friend""".split()
ANIMALS = """dog cat horse cow sheep elephant giraffe zebra bear bird duck goose seagull pigeon parrot rabbit monkey
goat lamb calf puppy kitten pony bull lion tiger deer fish polar-bear teddy-bear brown-bear""".split()
THINGS = """car bus truck train motorcycle bicycle bike boat airplane jet plane skateboard surfboard snowboard skis
kite frisbee ball baseball-bat tennis-racket umbrella backpack suitcase luggage purse handbag tie hat helmet glove
shirt jacket suit dress uniform shoes glasses cell-phone phone laptop computer keyboard mouse monitor screen
television remote camera book newspaper sign street-sign stop-sign traffic-light clock clock-tower fire-hydrant
parking-meter bench chair couch sofa bed table desk lamp shelf cabinet drawer stove oven microwave refrigerator sink
toilet bathtub shower mirror window door curtain pillow blanket towel toothbrush scissors vase flower bouquet plant
tree bowl plate cup glass bottle wine-glass mug fork knife spoon napkin tray basket box bag pizza cake sandwich
hot-dog donut apple banana orange carrot broccoli salad bread cheese meat chicken rice soup egg vegetable fruit
dessert cookie candle coffee beer wine water toy doll statue picture painting poster fence wall floor roof rug carpet
wheel rope pole flag ramp rail track engine wagon tractor trailer van scooter cart carriage tent wave snow grass sand
rock hill mountain cloud sky""".split()
PLACES = """street road sidewalk city town park field yard garden forest woods beach ocean sea lake river pond shore
pool bridge intersection parking-lot train-station platform airport runway harbor dock kitchen bathroom bedroom
living-room dining-room room office restaurant store shop market museum zoo farm barn pen stadium court tennis-court
baseball-field skate-park slope ski-slope mountain hillside desert building house church tower classroom hotel-room
table counter background foreground distance sun rain snow air dirt mud corner side middle front back top bottom
edge""".split()
LOOKS = """small large big little tall long old young new white black brown red blue green yellow orange pink purple
gray grey silver gold dark bright colorful wooden metal glass plastic brick stone concrete wet dry dirty clean empty
open closed full busy crowded cloudy sunny snowy grassy sandy rocky fluffy furry striped spotted cute beautiful nice
modern double-decker stuffed parked sliced fresh delicious different several many various tiny huge""".split()
ACTIONS = """sitting-on sitting-in sitting-at sitting-next-to standing-on standing-in standing-by standing-next-to
standing-in-front-of walking-on walking-down walking-across walking-with riding riding-on driving-down flying-over
flying-in holding carrying wearing eating drinking looking-at looking-out-of watching playing-with playing-in
playing-on talking-on reading using cutting cooking making preparing throwing catching hitting swinging kicking
jumping-over jumping-on skiing-down surfing-on skateboarding-on running-through running-on swimming-in grazing-in
lying-on laying-on sleeping-on leaning-against hanging-from hanging-on parked-on parked-next-to parked-in-front-of
covered-with filled-with topped-with surrounded-by made-of attached-to resting-on waiting-for traveling-down
going-down pulling pushing posing-with posing-for smiling-at taking-a-picture-of brushing feeding petting crossing
climbing getting-on about-to-hit""".split()
WHERE = """on in near at by behind next-to in-front-of on-top-of under over above beside between with along across
through inside outside-of against around on-the-side-of in-the-middle-of""".split()
GROUPS = "a-group-of a-couple-of two three four five several some many a-lot-of a-bunch-of a-row-of a-pile-of".split()
SHAPES = "disc square triangle star ring cross circle rectangle diamond hexagon".split()
COLOURS = "red green blue yellow orange purple pink brown black white gray cyan".split()
CORNERS = """on-the-left on-the-right at-the-top at-the-bottom in-the-middle in-the-centre at-the-top-left
at-the-top-right at-the-bottom-left at-the-bottom-right above below next-to to-the-left-of to-the-right-of""".split()


def a(noun: str) -> str:
    """The noun with its article."""
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def scene(pick: random.Random) -> str:
    """One sentence about everyday life."""
    who, what, place = pick.choice(PEOPLE + ANIMALS), pick.choice(THINGS), pick.choice(PLACES)
    look, act, where = pick.choice(LOOKS), pick.choice(ACTIONS), pick.choice(WHERE)
    group, other, also = pick.choice(GROUPS), pick.choice(THINGS), pick.choice(LOOKS)
    text = pick.choice(
        [
            f"{a(who)} {act} {a(what)}",
            f"{a(who)} {act} {a(what)} {where} the {place}",
            f"{a(who)} is {act} {a(look)} {what}",
            f"{a(look)} {who} {act} the {what} with his {other}",
            f"{a(look)} {what} {where} {a(place)} with {a(other)} and {a(also)} {what}",
            f"{a(look)} and {also} {what} that is {where} a {other}",
            f"{group} {who}s {act} {a(what)} while another one is {where} the {place}",
            f"{group} {what}s {where} the {place}",
            f"there is {a(look)} {what} {where} the {place}",
            f"there are {group} {look} {what}s {where} the {place} of {a(other)}",
            f"a {place} with {a(what)}, {other} and {a(look)} {pick.choice(THINGS)}",
            f"the {who} has {a(what)} in her hand and is {act} it",
            f"two {who}s are {act} their {what}s, as people watch from the {place}",
            f"a close up of {a(look)} {what}",
            f"a black and white photo of {a(who)} {act} {a(what)}",
            f"this is an image of {a(look)} {place}",
            f"a view of {a(look)} {place} from the {also} {what}",
        ]
    )
    return text.replace("-", " ")


def shapes(pick: random.Random) -> str:
    """One caption like those of the embedded set: `two red discs on the left and a blue star at the top right`."""
    parts = []
    for _ in range(pick.randint(1, 3)):
        count, thing = (
            pick.choice(["a", "one", "two", "three", "four"]),
            f"{pick.choice(COLOURS)} {pick.choice(SHAPES)}",
        )
        size = pick.choice(["", "", "small ", "large "])
        parts.append(f"{count} {size}{thing}{'' if count in ('a', 'one') else 's'} {pick.choice(CORNERS)}")
    return " and ".join(parts).replace("-", " ")


def names() -> Iterator[str]:
    """Words for things that pictures show, and short definitions of them."""
    for word in (*_meta._COCO_CATEGORIES, *_meta._KINETICS400_CATEGORIES, *_meta._IMAGENET_CATEGORIES):
        yield from (a(word), f"the {word}")
    info = files("timm.data") / "_info"
    wanted = set((info / "imagenet_synsets.txt").read_text(encoding="utf-8").split())
    for table in ("imagenet_synset_to_definition.txt", "imagenet_synset_to_lemma.txt"):
        for line in (info / table).read_text(encoding="utf-8").splitlines():
            synset, _, text = line.partition("\t")
            if synset in wanted:
                yield text


def corpus(sentences: int = SENTENCES) -> Iterator[str]:
    """Nine sentences about scenes to one about shapes, written both `Like this.` and `like this`; then the names."""
    pick = random.Random(0)
    for i in range(sentences):
        text = shapes(pick) if i % 10 == 0 else scene(pick)
        yield f"{text[0].upper()}{text[1:]}." if i % 2 else text
    yield from names()


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(TextCodec.train(corpus(), SIZE).model)
