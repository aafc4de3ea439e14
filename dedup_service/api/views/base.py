"""What several answers have in common."""

from __future__ import annotations

from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from dedup_service.core.flow import Step

Item = TypeVar("Item")


class View(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class Health(View):
    status: str = Field(examples=["ready"])
    detail: str = ""


class Problem(View):
    detail: str = Field(examples=["Redis: no answer (TimeoutError)"])


class Page(View, Generic[Item]):
    items: list[Item]
    next: str | None = Field(None, description="Pass it as `after` to get the next page; null on the last one.")


class RateView(View):
    """How much was finished in the last seconds."""

    from_ms: int
    to_ms: int
    seconds: float = Field(
        description="Between the two; the last 10 s, or less while the first copy came only then.", examples=[10.0]
    )
    copies_per_second: float = Field(examples=[390.0])
    readings_per_second: float = Field(description="Copies that were first of their reading.", examples=[130.0])
    duplicates_per_second: float

    @classmethod
    def of(cls, step: Step | None) -> RateView | None:
        if step is None:
            return None
        seconds, sums = (step.end_ms - step.start_ms) / 1000, step.sums
        return cls(
            from_ms=step.start_ms,
            to_ms=step.end_ms,
            seconds=seconds,
            copies_per_second=sums.copies / seconds,
            readings_per_second=sums.readings / seconds,
            duplicates_per_second=sums.duplicates / seconds,
        )
