"""The rules that a report can raise: stable ids for SARIF, policies and ``hfscan explain``.

An id is never reused and never changes its meaning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hfscan.reasons import CHANNELS_SCREENED

if TYPE_CHECKING:  # hfscan.types loads torch, which a list of rules does not need
    from hfscan.types import AuditReport

Level = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Rule:
    """What a finding means.

    Args:
        id: Stable, as ``HFS001``.
        name: Stable, lower case with hyphens.
        text: One sentence.
        help: All of it, in Markdown: what was seen, what it may be instead, what to do.
        level: How much it weighs, in SARIF's words.
    """

    id: str
    name: str
    text: str
    help: str
    level: Level


_BACKDOORED = Rule(
    id="HFS001",
    name="backdoored",
    text="The network behaves like a backdoored one: one class stands out far beyond chance.",
    help="""\
A model-level test found one class that stands out far more than the other classes explain. That is how the target of
a backdoor behaves: images that carry the attacker's trigger are classified as it. It is evidence, not a proof.

## What it may be instead

A class that is easy to reach for another reason: duplicated or mislabelled training data, or a class that
differs from the others in color or background. The report shows the figures of every class.

## What to do

1. Do not deploy these weights. Look for the same weights (sha256) in what is deployed already.
2. Look at the report's class chart and pictures: is it one class, and by far?
3. `hfscan repair` unlearns what leads to the class and measures what that costs. A repair is no proof either.
4. Where you can, train again from data and code that you trust.
5. If the finding is wrong for your model, accept it for these weights and for a limited time in
   `.hfscan-ignore.toml`; it stays visible as suppressed.
""",
    level="error",
)

_SUSPICIOUS = Rule(
    id="HFS002",
    name="suspicious",
    text="The network shows signs of a backdoor, short of certainty.",
    help="""\
A model-level test found one class that stands out more than chance explains, but less than is usual in backdoored
networks.

## What it may be instead

The tail of chance: by its definition the threshold flags some clean models, too. A weak or unusual backdoor looks
the same.

## What to do

1. Audit again with another `--seed`, and with other clean images: another `--split`, or another data set.
   (Leave `--images` as it is: with another number of images per channel the test of feature maps does not count.)
2. Look at the channels and pictures of the report: do their images flow into the suspected class?
3. Treat the model as untrusted meanwhile, or repair it with `hfscan repair`.
""",
    level="warning",
)

_INCONCLUSIVE = Rule(
    id="HFS003",
    name="inconclusive",
    text="The audit could not conclude anything, which is not the same as finding nothing.",
    help="""\
The audit ran, but its tests would have meant nothing. The report gives the reason. The common ones: clean accuracy
near chance (labels in another order, other preprocessing, an untrained network), fewer clean images than classes,
no conv layer, or no layer that can be tested.

## What to do

Remove the cause and audit again: check `--label-map`, `--split`, `--label-column` and the number of clean images.
A pipeline should not take this for a pass: hfscan exits with 3.
""",
    level="note",
)

_PICKLE = Rule(
    id="HFS101",
    name="pickle-weights",
    text="The weights are a pickle: a file format that can run code when it is loaded.",
    help="""\
The audited weights file is not a safetensors file. hfscan read tensors from it without running code
(`torch.load(weights_only=True)`), and only because `--allow-pickle` said so. Other programs may run whatever
the file contains.

## What to do

Ask the author for `model.safetensors`, or convert the file yourself in a sandbox and audit the result.
`hfscan repair` writes safetensors only.
""",
    level="warning",
)

_PARTLY_TESTED = Rule(
    id="HFS102",
    name="partly-tested",
    text="Not every conv channel of the network was tested.",
    help="""\
Some conv layers or channels were left out: their kind is not covered, their passes fail, or the time budget
ended. The report lists them with the reason. The verdict comes from tests of the whole network (`HFS103` says where
some of these were left out). What is missing here is the evidence channel by channel.

## What to do

Give the audit more time (`--budget`), or run it without one. A layer that is not covered stays untested: judge the
rest of the evidence accordingly.
""",
    level="note",
)

_TESTS_LEFT_OUT = Rule(
    id="HFS103",
    name="tests-left-out",
    text="Not every test of the whole network was made: the verdict rests on the others.",
    help="""\
Some of the tests that the verdict comes from were left out: `--tests` chose others, the time budget ended, or they
could not be made, or mean nothing, with these images or so few classes. Each test sees some kinds of backdoor and
not others, so fewer of them find fewer backdoors; the report's notes quote detection rates. (The fast mode does
without the test of feature maps on purpose: without it alone, no fewer were found, and this is not raised.)

## What to do

Audit without `--tests`, with more time (`--budget`, or none) and with images of every class.
""",
    level="note",
)

_ALL = (_BACKDOORED, _SUSPICIOUS, _INCONCLUSIVE, _PICKLE, _PARTLY_TESTED, _TESTS_LEFT_OUT)

RULES: dict[str, Rule] = {rule.id: rule for rule in _ALL}
"""Id -> rule."""

VERDICT_RULES: dict[str, str] = {
    "BACKDOORED": _BACKDOORED.id,
    "SUSPICIOUS": _SUSPICIOUS.id,
    "INCONCLUSIVE": _INCONCLUSIVE.id,
}
"""Value of the verdict -> id of its rule; NO_BACKDOOR_FOUND raises none."""


def raised(report: AuditReport) -> list[Rule]:
    """The rules that a report raises, the verdict's first."""
    ids = [VERDICT_RULES.get(report.verdict.value, "")]
    weights = report.model.weights_file
    if weights and not weights.endswith(".safetensors"):
        ids.append(_PICKLE.id)
    if report.coverage.untested or any(layer.skipped for layer in report.layers):
        ids.append(_PARTLY_TESTED.id)
    reasons = {test.skipped for test in report.tests} - {"", CHANNELS_SCREENED}
    silent = {test.name for test in report.tests if test.p_value is None and not test.skipped}
    left_out = reasons or silent - {"feature-maps"} or report.settings.tests
    if left_out and report.verdict.value != "INCONCLUSIVE":
        ids.append(_TESTS_LEFT_OUT.id)
    return [RULES[found] for found in ids if found]
