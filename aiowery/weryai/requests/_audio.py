"""Requests for music, speech and transcripts (contract: Audio, music, podcast)."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import attrs

from aiowery._base.snapshot import Kind
from aiowery._core.fields import integer, number, short_repr, text_length, wire
from aiowery._core.media import Media, optional_media
from aiowery._core.result import AudioResult, TextResult
from aiowery.errors import ConfigurationError
from aiowery.weryai.requests._base import WebhookRequest, optional_text, required_text
from aiowery.weryai.requests._choices import Emotion, Genre, Instrument

_MAX_TEXT_LENGTH: int = 100_000
_MAX_NUMBER: float = 1000.0


@attrs.frozen(kw_only=True)
class Styles:
    """The styles of a piece of music.

    `genre`, `emotion`, `instrument`: one documented value each, such as "JAZZ", "WARM" and "PIANO"; None: any.
    """

    genre: Genre | str | None = attrs.field(default=None, validator=optional_text)
    emotion: Emotion | str | None = attrs.field(default=None, validator=optional_text)
    instrument: Instrument | str | None = attrs.field(default=None, validator=optional_text)

    def on_wire(self) -> dict[str, str]:
        """Return the styles under WeryAI's names."""
        named = {"Genre": self.genre, "Emotion": self.emotion, "Instrument": self.instrument}
        return {name: value for name, value in named.items() if value is not None}


def _styles(value: Styles | dict[str, Any] | None) -> Styles | None:
    if value is None or isinstance(value, Styles):
        return value
    try:
        return Styles(**value)
    except TypeError as error:
        raise ConfigurationError(
            f"styles must have only genre, emotion and instrument, got {short_repr(value)}"
        ) from error


@attrs.frozen(kw_only=True)
class Music(WebhookRequest[AudioResult]):
    """A request for a song or a piece of music: `POST /v1/generation/music/generate`.

    `mode`: "VOCAL_SONG" (with lyrics and a cover) or "ONLY_MUSIC". `description`: the music in words; `styles`: its
    styles; at least one of the two is required. `lyrics`: the text of the song. `reference_audio_url`: a sound to
    imitate, a URL or a local file. `audio_name`: a title. `gender`: the singer's voice, "m" or "f".
    """

    type_name: ClassVar[str] = "music"
    endpoint: ClassVar[str] = "/v1/generation/music/generate"
    kind: ClassVar[Kind] = "audio"
    result_type: ClassVar[type[AudioResult]] = AudioResult

    mode: Literal["VOCAL_SONG", "ONLY_MUSIC"] | str = attrs.field(
        default="VOCAL_SONG", validator=required_text, metadata=wire("type")
    )
    description: str | None = attrs.field(default=None, validator=text_length(longest=_MAX_TEXT_LENGTH))
    styles: Styles | None = attrs.field(default=None, converter=_styles, metadata=wire(write=Styles.on_wire))
    lyrics: str | None = attrs.field(default=None, validator=text_length(longest=_MAX_TEXT_LENGTH))
    reference_audio_url: Media | None = attrs.field(
        default=None, converter=optional_media, metadata=wire("reference_audio", media="audio")
    )
    audio_name: str | None = attrs.field(default=None, validator=optional_text)
    gender: Literal["m", "f"] | str | None = attrs.field(default=None, validator=optional_text)

    def __attrs_post_init__(self) -> None:
        if not (self.description and self.description.strip()) and not (self.styles and self.styles.on_wire()):
            raise ConfigurationError(f"{type(self).__name__}: give description or styles; both are left out")


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
            raise ConfigurationError(f"{type(self).__name__}: give audio_url or audio_base64; both are left out")
