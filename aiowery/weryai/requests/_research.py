"""Requests for research reports and for the documents that research may search (contract: Everything else)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import attrs

from aiowery._base.snapshot import Kind, Snapshot
from aiowery._core.fields import FrozenMapping, boolean, items, mapping, text_length, wrong_request
from aiowery._core.result import Result, TextResult
from aiowery.weryai.requests._base import WebhookRequest, WeryAIRequest, optional_text, web_address

_MAX_INPUT_LENGTH = 1_000_000


def first_value(snapshots: Sequence[Snapshot], *names: str) -> Any:
    """Return the first value under one of these names in the responses, None if there is none."""
    bodies = (snapshot.raw for snapshot in snapshots)
    return next((body[name] for body in bodies for name in names if body.get(name) is not None), None)


def text_or_none(value: Any) -> str | None:
    """Return an informative text; None for anything else."""
    return value if isinstance(value, str) and value else None


@attrs.frozen(kw_only=True)
class ResearchResult(TextResult):
    """The result of a research; `text` is the report, `raw` holds the outputs as received.

    `interaction_id`: the value for `DeepResearch.previous_interaction_id`, which continues this research.
    """

    interaction_id: str | None = None

    @classmethod
    def _extra_fields(cls, snapshots: Sequence[Snapshot]) -> dict[str, Any]:
        return {"interaction_id": text_or_none(first_value(snapshots, "interaction_id"))}


def _objects(values: Iterable[Mapping[str, Any]]) -> tuple[FrozenMapping, ...]:
    return tuple(map(mapping, items(values)))


@attrs.frozen(kw_only=True)
class DeepResearch(WebhookRequest[ResearchResult]):
    """A request for a report on a question: `POST /v1/generation/deep_research`.

    `input`: the question. `input_resource`: objects of type text, image or document. One of the two is required.

    `mode`: DEEP_RESEARCH or DEEP_RESEARCH_MAX, which start a task of many minutes. `model`: a model key instead of
    `mode`; the response then holds the report itself. Both together raise ConfigurationError.

    `tools`: objects such as {"type": "GOOGLE_SEARCH"} or {"type": "FILE_SEARCH", "file_search_store_names": [...]}.
    `previous_interaction_id`: the `interaction_id` of an earlier result to continue. `thinking_summaries`,
    `visualization`: "auto" or None. `collaborative_planning`: True or False, the provider's default if None.
    """

    type_name: ClassVar[str] = "deep-research"
    text_suffix: ClassVar[str] = ".md"
    endpoint: ClassVar[str] = "/v1/generation/deep_research"
    kind: ClassVar[Kind] = "text"
    result_type: ClassVar[type[ResearchResult]] = ResearchResult

    input: str | None = attrs.field(default=None, validator=text_length(longest=_MAX_INPUT_LENGTH))
    input_resource: tuple[Mapping[str, Any], ...] = attrs.field(default=(), converter=_objects)
    mode: Literal["DEEP_RESEARCH", "DEEP_RESEARCH_MAX"] | str | None = attrs.field(
        default=None, validator=optional_text
    )
    model: str | None = attrs.field(default=None, validator=optional_text)
    previous_interaction_id: str | None = attrs.field(default=None, validator=optional_text)
    thinking_summaries: Literal["auto"] | str | None = attrs.field(default=None, validator=optional_text)
    collaborative_planning: bool | None = attrs.field(default=None, validator=boolean)
    visualization: Literal["auto"] | str | None = attrs.field(default=None, validator=optional_text)
    tools: tuple[Mapping[str, Any], ...] = attrs.field(default=(), converter=_objects)

    def __attrs_post_init__(self) -> None:
        if not (self.input and self.input.strip()) and not self.input_resource:
            raise wrong_request(f"{type(self).__name__}: give input or input_resource; both are left out")
        if self.mode and self.model:
            raise wrong_request(f"{type(self).__name__}: mode and model exclude each other; leave one out")

    @property
    def direct_timeout(self) -> float | None:
        """Ten minutes with a model, whose response holds the report; None for a task."""
        return 600.0 if self.model else None


@attrs.frozen(kw_only=True)
class CorpusResult(Result):
    """The result of a document upload.

    `name`: the store of the document, for `DeepResearch.tools`. `uploaded_count`: the number of stored documents, None
    if not reported.
    """

    name: str
    uploaded_count: int | None = None

    @classmethod
    def _extra_fields(cls, snapshots: Sequence[Snapshot]) -> dict[str, Any]:
        value = first_value(snapshots, "uploaded_count")
        count = value if isinstance(value, int) and not isinstance(value, bool) else None
        return {"name": text_or_none(first_value(snapshots, "name")) or "", "uploaded_count": count}

    @property
    def is_empty(self) -> bool:
        """True if the store has no name."""
        return not self.name


@attrs.frozen(kw_only=True)
class CorpusUpload(WeryAIRequest[CorpusResult]):
    """Store a document that research can search: `POST /v1/generation/file_search_stores`.

    The response holds the result itself. `file_url`: the URL of a txt, pdf, md, csv, json, docx, xlsx or pptx file of
    at most 100 MB; local files are not possible, because uploads accept no documents. `file_name`: its stored name.
    """

    type_name: ClassVar[str] = "corpus-upload"
    endpoint: ClassVar[str] = "/v1/generation/file_search_stores"
    kind: ClassVar[Kind] = "text"
    result_type: ClassVar[type[CorpusResult]] = CorpusResult
    result_field: ClassVar[str] = "name"

    file_url: str = attrs.field(validator=web_address)
    file_name: str | None = attrs.field(default=None, validator=optional_text)

    @property
    def direct_timeout(self) -> float:
        """Three minutes: the provider downloads the document first."""
        return 180.0
