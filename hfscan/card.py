"""The model card of a sanitized model: the source's card, edited, never replaced."""

from __future__ import annotations

from dataclasses import replace

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from huggingface_hub.repocard import REGEX_YAML_BLOCK

from hfscan.report.markdown import render_repair
from hfscan.report.text import markdown, printable
from hfscan.types import Metrics, ModelFacts, RepairReport, Verdict

BEGIN = "<!-- hfscan: begin -->"
END = "<!-- hfscan: end -->"
NO_METADATA = "---\n{}\n---\n"


def edit_card(source: bytes | None, report: RepairReport) -> str:
    """The card of the repaired model.

    Args:
        source: The source model's ``README.md``; without one a card is made.
        report: What was found and done.

    Returns:
        The whole ``README.md``. A section of an earlier repair is replaced.
    """
    card = _source_card(source)
    report = replace(report, seconds={})  # the same repair gives the same card
    facts = report.audit.model
    assert isinstance(card.data, ModelCardData)
    _edit_metadata(card.data, facts, report)
    text = _without_section(card.text).strip() or f"# {markdown(facts.ref)}"
    card.text = f"{text}\n\n{BEGIN}\n{_section(report)}\n{END}\n"
    return str(card)


def _source_card(source: bytes | None) -> ModelCard:
    """The source's card; of one whose metadata cannot be read and written again, the text alone."""
    if source is None:
        return ModelCard(NO_METADATA)
    content = source.decode(errors="replace").replace("\r\n", "\n")
    try:
        card = ModelCard(content, ignore_metadata_errors=True)
        str(card)
    except Exception:  # hostile metadata can make YAML and huggingface_hub fail in any way
        return ModelCard(NO_METADATA + REGEX_YAML_BLOCK.sub("", content))
    return card


def _edit_metadata(data: ModelCardData, facts: ModelFacts, report: RepairReport) -> None:
    on_hub = facts.revision is not None
    if on_hub:
        data.base_model = facts.ref
        data["base_model_relation"] = "finetune"
    data.library_name = "timm"
    data.pipeline_tag = data.pipeline_tag or "image-classification"
    data.tags = [*(tag for tag in data.tags or [] if tag != "hfscan"), "hfscan"]
    data.model_name = printable(facts.ref)
    data.eval_results = [
        _result(report, report.before, "before repair"),
        _result(report, report.after, "after repair"),
    ]


def _result(report: RepairReport, metrics: Metrics, when: str) -> EvalResult:
    return EvalResult(
        task_type="image-classification",
        dataset_type=printable(report.data.name),
        dataset_name=printable(report.data.name),
        dataset_split=printable(report.data.split) or None,
        dataset_revision=report.data.revision,
        metric_type="accuracy",
        metric_name=f"accuracy on {metrics.images} held-out images, {when}",
        metric_value=round(metrics.accuracy, 4),
    )


def _without_section(text: str) -> str:
    before, begin, rest = text.partition(BEGIN)
    if not begin:
        return text
    return before + rest.partition(END)[2]


def _section(report: RepairReport) -> str:
    facts = report.audit.model
    source = markdown(facts.ref)
    if facts.revision is not None:
        source += f" at commit `{facts.revision}`"
    heading = "Sanitized" if report.verdict_after is Verdict.NO_BACKDOOR_FOUND else "Changed"
    return (
        f"## {heading} with hfscan\n\n"
        f"These weights were made from {source} (weights sha256 `{facts.weights_sha256}`) by "
        f"{_means(report)}. `hfscan-report.json` has all figures.\n\n"
        f"{render_repair(report)}"
    )


def _means(report: RepairReport) -> str:
    if report.parameters is None:
        parts = ["erasing channels"] * bool(report.erased)
        parts += ["unlearning inverted triggers"] * bool(report.triggers)
        return ", ".join([*parts, "fine-tuning on clean images"])
    return f"the defense `{printable(report.defense)}`, with clean images"
