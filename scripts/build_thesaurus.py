"""Derives `src/elsewhere/scene/words/thesaurus.tsv` from the WordNet 3.0 database files.

    python scripts/build_thesaurus.py /usr/share/wordnet

The files are in Debian's `wordnet-base`. Each thing, place, colour, verb and light of the catalogue is
tied here to a few WordNet senses; the table then lists

- `same`: words that mean the same or a kind of it ("galleon" is a pirate ship, "crimson" is red);
- `near`: other words for physical things, each under the known thing that it is the most similar to
  (Wu & Palmer 1994: depth of the shared hypernym over the mean depth);
- `irregular`: forms such as "sank" and "snowmen" of the words above.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

TARGET = Path(__file__).resolve().parent.parent / "src/elsewhere/scene/words/thesaurus.tsv"
HEADER = (
    "# Derived from WordNet 3.0 by scripts/build_thesaurus.py; do not edit.",
    "# WordNet 3.0 Copyright 2006 by Princeton University. All rights reserved.",
    '# THIS SOFTWARE AND DATABASE IS PROVIDED "AS IS" AND PRINCETON UNIVERSITY MAKES NO REPRESENTATIONS OR WARRANTIES,',
    "# EXPRESS OR IMPLIED. Permission to use, copy, modify and distribute is granted under the WordNet 3.0 license.",
    "# relation<TAB>category<TAB>value<TAB>words",
)

SAME = {
    ("kind", "pirate ship"): "ship.n.01 pirate.n.02",
    ("kind", "sailboat"): "boat.n.01 sailboat.n.01 yacht.n.01",
    ("kind", "rubber duck"): "duck.n.01",
    ("kind", "ball"): "ball.n.01 sphere.n.05 balloon.n.01",
    ("kind", "crate"): "crate.n.01 chest.n.02 carton.n.02 box.n.01",
    ("kind", "barrel"): "barrel.n.02 cask.n.02",
    ("kind", "buoy"): "buoy.n.01",
    ("kind", "iceberg"): "iceberg.n.01",
    ("kind", "lighthouse"): "beacon.n.03",
    ("kind", "island"): "island.n.01",
    ("kind", "tree"): "tree.n.01",
    ("kind", "pine"): "conifer.n.01",
    ("kind", "house"): "house.n.01 hovel.n.01",
    ("kind", "whale"): "whale.n.02",
    ("kind", "teapot"): "teapot.n.01 kettle.n.01",
    ("kind", "teacup"): "cup.n.01 mug.n.04",
    ("kind", "flag"): "flag.n.01",
    ("kind", "toy car"): "car.n.01",
    ("kind", "snowman"): "snowman.n.01",
    ("kind", "penguin"): "penguin.n.01",
    ("kind", "mushroom"): "mushroom.n.05 toadstool.n.01",
    ("kind", "rock"): "rock.n.01",
    ("kind", "sugar cube"): "lump_sugar.n.01",
    ("environment", "open sea"): "ocean.n.01 sea.n.01",
    ("environment", "lake"): "lake.n.01 pond.n.01",
    ("environment", "desert"): "desert.n.01 dune.n.01",
    ("environment", "bathtub"): "bathtub.n.01 hot_tub.n.01",
    ("environment", "cup of coffee"): "coffee.n.01",
    ("environment", "tabletop"): "table.n.02",
    ("environment", "snowy field"): "tundra.n.01 snowfield.n.01",
    ("color", "red"): "red.n.01 red.a.01",
    ("color", "orange"): "orange.n.02 orange.a.01",
    ("color", "yellow"): "yellow.n.01 yellow.a.01",
    ("color", "green"): "green.n.01 green.a.01",
    ("color", "blue"): "blue.n.01 blue.a.01",
    ("color", "turquoise"): "turquoise.n.02",
    ("color", "navy"): "dark_blue.n.01",
    ("color", "purple"): "purple.n.01 purple.a.01",
    ("color", "pink"): "pink.n.01 pink.a.01",
    ("color", "brown"): "brown.n.01 brown.a.01",
    ("color", "beige"): "beige.n.01",
    ("color", "white"): "white.n.02 white.a.01",
    ("color", "grey"): "gray.n.01 gray.a.01",
    ("color", "black"): "black.n.01 black.a.01",
    ("size", "big"): "large.a.01",
    ("size", "huge"): "huge.a.01",
    ("size", "giant"): "elephantine.a.01 gigantic.a.01",
    ("size", "small"): "small.a.01",
    ("size", "tiny"): "bantam.a.01 infinitesimal.a.01",
    ("verb", "battle"): "fight.v.02 battle.v.01 duel.v.01 skirmish.v.01",
    ("verb", "sail"): "sail.v.01 cruise.v.01 navigate.v.01",
    ("verb", "drift"): "float.v.02 drift.v.01",
    ("verb", "circle"): "circle.v.02 orbit.v.01",
    ("verb", "bounce"): "bounce.v.01",
    ("verb", "roll"): "roll.v.01 roll.v.14",
    ("verb", "fall"): "fall.v.01 drop.v.02",
    ("verb", "sink"): "sink.v.02 sink.v.04",
    ("verb", "wave"): "flap.v.01 flap.v.02",
    ("verb", "spin"): "spin.v.01 rotate.v.01",
    ("verb", "rest"): "rest.v.01",
    ("weather", "cloudy"): "cloudy.a.01",
    ("weather", "foggy"): "fog.n.01",
    ("weather", "stormy"): "stormy.a.01 storm.n.01",
    ("weather", "windy"): "wind.n.01",
    ("weather", "rainy"): "rain.n.01",
    ("weather", "snowing"): "snow.n.02",
    ("weather", "calm"): "calm.a.02",
    ("hour", "dawn"): "dawn.n.01",
    ("hour", "dusk"): "twilight.n.01 evening.n.01",
    ("hour", "night"): "night.n.01",
    ("hour", "noon"): "noon.n.01",
    ("hour", "sunset"): "sunset.n.01",
    ("hour", "morning"): "morning.n.01",
}
"""Senses of each known word; their hyponyms (nouns, verbs) and similar words (adjectives) come along."""

NEAR = {
    ("kind", "snowman"): "person.n.01 sculpture.n.01 doll.n.01",
    ("kind", "whale"): "aquatic_vertebrate.n.01 monster.n.01 mythical_monster.n.01 elephant.n.01 fish.n.01",
    ("kind", "penguin"): "bird.n.01 animal.n.01 mammal.n.01",
    ("kind", "house"): "building.n.01 structure.n.01 bridge.n.01",
    ("kind", "tree"): "plant.n.02 flower.n.01 fruit.n.01",
    ("kind", "crate"): "container.n.01 furniture.n.01 device.n.01 instrumentality.n.03",
    ("kind", "toy car"): "motor_vehicle.n.01 vehicle.n.01 machine.n.01 train.n.01 toy.n.01",
    ("kind", "sailboat"): "aircraft.n.01 craft.n.02",
    ("kind", "flag"): "cloth.n.01 clothing.n.01 paper.n.01",
    ("kind", "rock"): "mountain.n.01 solid.n.01 mineral.n.01",
    ("kind", "sugar cube"): "food.n.01 food.n.02",
    ("environment", "lake"): "body_of_water.n.01 stream.n.01 water.n.01",
    ("environment", "open sea"): "bay.n.01",
    ("environment", "desert"): "land.n.04 location.n.01 shore.n.01 city.n.01 region.n.03",
    ("environment", "snowy field"): "field.n.01 forest.n.01 forest.n.02 glacier.n.01 mountain_range.n.01",
    ("environment", "bathtub"): "bathroom.n.01 swimming_pool.n.01",
    ("environment", "tabletop"): "room.n.01 floor.n.01",
    ("environment", "cup of coffee"): "beverage.n.01",
}
"""Wider senses that only say what is nearest."""

NOUN_ROOTS = "physical_entity.n.01 imaginary_being.n.01"
EXCLUDED = frozenset(
    """going go run come make do take get have cut put set can may body head foot hand cold hot fix iron man woman
    fly flying row safe drop foam brave weather even electric wheel reel loop spring queue stream launch gig crud
    epic heroic kneel defy art top back front side world good light cover view run tap spot bank might be as in so
    at it no us he am""".split()  # noqa: SIM905
)
MAXIMUM_LETTERS = 11


@dataclass
class Synset:
    """A set of synonyms with its pointers."""

    words: list[str]
    links: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


class WordNet:
    """The database files of one folder."""

    def __init__(self, folder: Path) -> None:
        self.synsets: dict[str, Synset] = {}
        self.senses: dict[tuple[str, str], list[str]] = {}
        self.folder = folder
        for pos, name in (("n", "noun"), ("v", "verb"), ("a", "adj")):
            self._read_data(folder / f"data.{name}", pos)
            self._read_index(folder / f"index.{name}", pos)

    def _read_data(self, path: Path, pos: str) -> None:
        for line in path.read_text(encoding="latin-1").splitlines():
            if line.startswith("  "):
                continue
            parts = line.split("|")[0].split()
            count = int(parts[3], 16)
            words = [re.sub(r"\(.*\)$", "", parts[4 + 2 * index]) for index in range(count)]
            synset = self.synsets[pos + parts[0]] = Synset(words)
            at = 5 + 2 * count
            for index in range(int(parts[4 + 2 * count])):
                symbol, offset, other, _which = parts[at + 4 * index : at + 4 * index + 4]
                synset.links[symbol].append(("a" if other == "s" else other) + offset)

    def _read_index(self, path: Path, pos: str) -> None:
        for line in path.read_text(encoding="latin-1").splitlines():
            if line.startswith("  "):
                continue
            parts = line.split()
            self.senses[(pos, parts[0])] = [pos + offset for offset in parts[-int(parts[2]) :]]

    def sense(self, name: str) -> str:
        """The synset id of "lemma.pos.number"."""
        lemma, pos, number = name.rsplit(".", 2)
        found = self.senses[(pos, lemma)]
        if int(number) > len(found):
            raise ValueError(f"{name} must be one of {len(found)} senses")
        return found[int(number) - 1]

    def below(self, start: str) -> list[str]:
        """A synset and all its hyponyms and instances, or, for adjectives, what is similar."""
        found, waiting = [], [start]
        symbols = ("&",) if start[0] == "a" else ("~", "~i")
        while waiting:
            synset = waiting.pop(0)
            if synset in found:
                continue
            found.append(synset)
            if start[0] != "a" or synset == start:
                waiting += [other for symbol in symbols for other in self.synsets[synset].links[symbol]]
        return found

    def above(self, start: str) -> dict[str, int]:
        """All hypernyms with their least distance, the synset itself included."""
        found = {start: 0}
        waiting = [start]
        while waiting:
            synset = waiting.pop(0)
            for symbol in ("@", "@i"):
                for other in self.synsets[synset].links[symbol]:
                    if other not in found:
                        found[other] = found[synset] + 1
                        waiting.append(other)
        return found


def main() -> None:
    """Reads the database and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder of data.noun, index.noun, …")
    parser.add_argument("--senses", action="store_true", help="print the words of each sense and stop")
    arguments = parser.parse_args()
    wordnet = WordNet(arguments.folder)
    if arguments.senses:
        for (category, value), names in [*SAME.items(), *NEAR.items()]:
            print(category, value, [wordnet.synsets[wordnet.sense(name)].words[:4] for name in names.split()])
        return
    same = same_words(wordnet)
    near = near_words(wordnet, {word for words in same.values() for word in words})
    lines = [*HEADER]
    lines += [f"same\t{category}\t{value}\t{' '.join(words)}" for (category, value), words in sorted(same.items())]
    lines += [f"near\t{category}\t{value}\t{' '.join(words)}" for (category, value), words in sorted(near.items())]
    lines += irregular_lines(wordnet, same)
    TARGET.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{TARGET.name}: {TARGET.stat().st_size / 1000:.0f} kB")


def same_words(wordnet: WordNet) -> dict[tuple[str, str], list[str]]:
    """Words of each entry: the closest sense wins, then the more frequent sense of the word."""
    best: dict[tuple[str, str], tuple[tuple[int, int], str]] = {}
    for (category, value), names in SAME.items():
        for name in names.split():
            start = wordnet.sense(name)
            for steps, synset in enumerate(wordnet.below(start)):
                for word in wordnet.synsets[synset].words:
                    if not is_usable(word, longest=3) or (category == "kind" and re.match(r"[A-Z][a-z]+_[a-z]", word)):
                        continue
                    rank = wordnet.senses[(start[0], word.lower())].index(synset)
                    # A rare sense of a common word would be a surprise: "chow" is a dog before it is food.
                    if rank > (2 if synset == start else 0):
                        continue
                    key = (category, word.lower())
                    if key not in best or best[key][0] > (rank, steps):
                        best[key] = ((rank, steps), value)
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for (category, word), (_score, value) in sorted(best.items()):
        found[(category, value)].append(word)
    return dict(found)


def is_usable(word: str, longest: int) -> bool:
    """Plain letters, not too many words, and not a word of another trade."""
    parts = word.lower().split("_")
    return (
        len(parts) <= longest and all(re.fullmatch(r"[a-z]+", part) for part in parts) and word.lower() not in EXCLUDED
    )


def near_words(wordnet: WordNet, known: set[str]) -> dict[tuple[str, str], list[str]]:
    """Words of physical things under the known thing that is the most similar."""
    entries = [
        (key, wordnet.sense(name)) for table in (SAME, NEAR) for key, names in table.items() for name in names.split()
    ]
    seeds = [(key, start, wordnet.above(start)) for key, start in entries if key[0] in ("kind", "environment")]
    roots = {wordnet.sense(name) for name in NOUN_ROOTS.split()}
    depths: dict[str, int] = {}

    def depth(synset: str) -> int:
        if synset not in depths:
            depths[synset] = max(wordnet.above(synset).values()) + 1
        return depths[synset]

    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for (pos, word), senses in sorted(wordnet.senses.items()):
        if (
            pos != "n"
            or word in known
            or len(word) > MAXIMUM_LETTERS
            or not is_usable(word, longest=1)
            or len(word) < 3
        ):
            continue
        above = wordnet.above(senses[0])
        if word not in wordnet.synsets[senses[0]].words or not roots & above.keys():
            continue
        scores = [
            (similarity(above, senses[0], other, start, depth), -rank, key)
            for rank, (key, start, other) in enumerate(seeds)
        ]
        found[max(scores)[2]].append(word)
    return dict(found)


def similarity(above: dict[str, int], synset: str, other: dict[str, int], start: str, depth) -> float:
    """Wu-Palmer similarity of two synsets with their hypernyms."""
    shared = above.keys() & other.keys()
    lowest = max((depth(node) for node in shared), default=0)
    steps = min((above[node] + other[node] for node in shared if depth(node) == lowest), default=99)
    return 2.0 * lowest / (2.0 * lowest + steps)


def irregular_lines(wordnet: WordNet, same: dict[tuple[str, str], list[str]]) -> list[str]:
    """Forms of known verbs and nouns that no rule gives."""
    words = {word for entry in same.values() for word in entry} | {value for _category, value in same}
    found: dict[str, list[str]] = defaultdict(list)
    for name in ("noun.exc", "verb.exc"):
        for line in (wordnet.folder / name).read_text(encoding="latin-1").splitlines():
            form, base = line.split()[:2]
            # Doubled consonants and "-ies" are left to the rules.
            if base in words and form.isalpha() and not form.endswith(("ing", "ed", "ies", "s")):
                found[base].append(form)
    return [f"irregular\tform\t{base}\t{' '.join(forms)}" for base, forms in sorted(found.items())]


if __name__ == "__main__":
    main()
