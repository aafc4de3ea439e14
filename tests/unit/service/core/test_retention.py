"""R11: an unconfirmed claim neither outlives its event, nor ends while its batch is handled."""

from __future__ import annotations

from dedup_service.core.retention import FLOOR_MS, Retention

RETENTION, ENQUEUED = 10 * FLOOR_MS, 500 * FLOOR_MS


def test_a_claim_does_not_outlive_its_event() -> None:
    retention = Retention(RETENTION)
    for age in (0, RETENTION // 2, RETENTION - 1):
        assert age + retention.unconfirmed_ttl_ms(ENQUEUED, ENQUEUED + age) == RETENTION
    assert retention.unconfirmed_ttl_ms(ENQUEUED, ENQUEUED - FLOOR_MS) == RETENTION  # this machine's clock is behind


def test_an_event_that_is_older_than_the_setting_gets_a_claim_that_outlives_its_batch() -> None:
    retention = Retention(RETENTION)
    assert retention.observe(ENQUEUED, ENQUEUED + 20 * RETENTION)
    assert retention.unconfirmed_ttl_ms(ENQUEUED, ENQUEUED + 20 * RETENTION) == FLOOR_MS


def test_the_setting_is_disproved_once_and_the_true_age_is_learned() -> None:
    retention = Retention(RETENTION)
    assert not retention.observe(ENQUEUED, ENQUEUED + RETENTION)
    assert retention.observe(ENQUEUED, ENQUEUED + 7 * RETENTION)
    assert not retention.observe(ENQUEUED, ENQUEUED + 8 * RETENTION)
    younger = ENQUEUED + 6 * RETENTION
    assert retention.unconfirmed_ttl_ms(younger, ENQUEUED + 8 * RETENTION) == 6 * RETENTION
