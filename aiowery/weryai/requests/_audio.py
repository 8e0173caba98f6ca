"""Requests for music, speech and transcripts (contract: Audio, music, podcast)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar, Final, Literal

import attrs

from aiowery._base.snapshot import Kind
from aiowery._core.fields import FrozenMapping, integer, items, number, short_repr, text_length, wire, wrong_request
from aiowery._core.media import Media, optional_media
from aiowery._core.result import AudioResult, TextResult
from aiowery.weryai.requests._base import MAX_TEXT_LENGTH, WebhookRequest, optional_text, required_text
from aiowery.weryai.requests._choices import Style

_MAX_LYRICS_LENGTH: Final = 100_000
_MAX_STYLE_LENGTH: Final = 1_000
_MAX_NUMBER: Final = 1000.0
_ONLY_MUSIC: Final = "ONLY_MUSIC"
_CATEGORIES: Final = frozenset({"GENRE", "EMOTION", "INSTRUMENT"})


def _styles(value: Mapping[str, str] | Iterable[Style | str] | None) -> FrozenMapping | None:
    """Return styles as texts by name. The text for a name of a list is the name in lower case.

    Raises ConfigurationError for a category in place of a name, and for what is no text.
    """
    if value is None:
        return None
    given = dict(value) if isinstance(value, Mapping) else dict.fromkeys(map(_style_name, items(value)))
    styles = {_style_name(name): _style_text(name, text) for name, text in given.items()}
    return FrozenMapping(styles) if styles else None


def _style_name(name: object) -> str:
    if not isinstance(name, str) or not 0 < len(name.strip()) <= MAX_TEXT_LENGTH:
        raise wrong_request(f"styles must have names such as 'JAZZ' or 'PIANO', got {short_repr(name)}")
    style = name.strip().upper()
    if style in _CATEGORIES:
        raise wrong_request(
            f"styles must have names such as 'JAZZ' or 'PIANO', got {name!r}, which is a category: write for example"
            " styles=['JAZZ', 'PIANO']"
        )
    return style


def _style_text(name: str, text: object) -> str:
    if text is None:
        return name.strip().lower()
    if not isinstance(text, str) or not text.strip() or len(text) > _MAX_STYLE_LENGTH:
        raise wrong_request(
            f"styles[{name!r}] must be 1 to {_MAX_STYLE_LENGTH} characters, such as 'slow jazz', got {short_repr(text)}"
        )
    return text


@attrs.frozen(kw_only=True)
class Music(WebhookRequest[AudioResult]):
    """A request for a song or a piece of music: `POST /v1/generation/music/generate`.

    `mode`: "VOCAL_SONG" (with lyrics and a cover) or "ONLY_MUSIC" (with neither). `description`: the music in words;
    `styles`: its styles; at least one of the two is required. Styles are genres, emotions and instruments: a list of
    names, such as ["JAZZ", "WARM", "PIANO"], or words of your own by name, such as {"JAZZ": "slow jazz"}. `lyrics`: the
    text of the song. `reference_audio_url`: a sound to imitate, a URL or a local file. `audio_name`: its title, which
    it requires. `gender`: the singer's voice, "m" or "f". Music alone has no lyrics and no gender.
    """

    type_name: ClassVar[str] = "music"
    endpoint: ClassVar[str] = "/v1/generation/music/generate"
    kind: ClassVar[Kind] = "audio"
    result_type: ClassVar[type[AudioResult]] = AudioResult

    mode: Literal["VOCAL_SONG", "ONLY_MUSIC"] | str = attrs.field(
        default="VOCAL_SONG", validator=required_text, metadata=wire("type")
    )
    description: str | None = attrs.field(default=None, validator=text_length(longest=_MAX_LYRICS_LENGTH))
    styles: Mapping[str, str] | None = attrs.field(
        default=None,
        converter=_styles,
        metadata=wire(text_form='JSON: names such as ["JAZZ", "PIANO"], or {"JAZZ": "slow jazz"}'),
    )
    lyrics: str | None = attrs.field(default=None, validator=text_length(longest=_MAX_LYRICS_LENGTH))
    reference_audio_url: Media | None = attrs.field(
        default=None, converter=optional_media, metadata=wire("reference_audio", media="audio")
    )
    audio_name: str | None = attrs.field(default=None, validator=optional_text)
    gender: Literal["m", "f"] | str | None = attrs.field(default=None, validator=optional_text)

    def __attrs_post_init__(self) -> None:
        name = type(self).__name__
        if not (self.description and self.description.strip()) and not self.styles:
            raise wrong_request(f"{name}: give description or styles; both are left out")
        if self.reference_audio_url is not None and not (self.audio_name and self.audio_name.strip()):
            raise wrong_request(f"{name}.reference_audio_url needs a title of the sound; add audio_name")
        for field in ("lyrics", "gender") if self.mode == _ONLY_MUSIC else ():
            if getattr(self, field) is not None:
                raise wrong_request(
                    f"{name}.{field} belongs to songs; leave it out, or choose mode='VOCAL_SONG' instead of"
                    f" {_ONLY_MUSIC!r}"
                )


def _decimal_text(value: float) -> str:
    return str(float(value))


@attrs.frozen(kw_only=True)
class TextToAudio(WebhookRequest[AudioResult]):
    """A request for speech: `POST /v1/generation/text-to-audio`.

    `text`: 1 to 500 characters. `voice_id`: a key of `VOICES`. `speed`, `volume`: numbers around 1.0, whose ranges are
    not documented; they are sent as texts.
    """

    type_name: ClassVar[str] = "text-to-audio"
    endpoint: ClassVar[str] = "/v1/generation/text-to-audio"
    kind: ClassVar[Kind] = "audio"
    result_type: ClassVar[type[AudioResult]] = AudioResult

    text: str = attrs.field(validator=text_length(shortest=1, longest=500))
    voice_id: int = attrs.field(default=81, validator=integer(least=0))
    speed: float | None = attrs.field(
        default=None, validator=number(least=0, most=_MAX_NUMBER), metadata=wire(write=_decimal_text)
    )
    volume: float | None = attrs.field(
        default=None, validator=number(least=0, most=_MAX_NUMBER), metadata=wire("vol", write=_decimal_text)
    )


@attrs.frozen(kw_only=True)
class SpeechRecognize(WebhookRequest[TextResult]):
    """A request for a transcript: `POST /v1/generation/speech-recognize`.

    `audio_url`: a URL or a local file. `audio_base64`: the sound itself, preferably with a prefix such as
    "data:audio/wav;base64,". One of the two is required. `language`: the spoken language, such as "en". The result's
    `text` is the transcript.
    """

    type_name: ClassVar[str] = "speech-recognize"
    endpoint: ClassVar[str] = "/v1/generation/speech-recognize"
    kind: ClassVar[Kind] = "text"
    result_type: ClassVar[type[TextResult]] = TextResult

    audio_url: Media | None = attrs.field(default=None, converter=optional_media, metadata=wire(media="audio"))
    audio_base64: str | None = attrs.field(default=None, repr=False, validator=text_length(longest=100_000_000))
    language: str | None = attrs.field(default=None, validator=optional_text)

    def __attrs_post_init__(self) -> None:
        if self.audio_url is None and not self.audio_base64:
            raise wrong_request(f"{type(self).__name__}: give audio_url or audio_base64; both are left out")
