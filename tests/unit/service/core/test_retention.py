"""R11: an unconfirmed claim neither outlives its event, nor ends while its batch is handled."""

from __future__ import annotations

from dedup_service.core.retention import FLOOR_MS, STEP_MS, Retention

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


def test_events_of_one_minute_have_two_ttls_at_most_and_none_outlives_its_event() -> None:
    retention, now_ms = Retention(RETENTION), ENQUEUED + 90_000
    ttls = {age: retention.unconfirmed_ttl_ms(now_ms - age, now_ms) for age in range(0, STEP_MS, 100)}
    assert len(set(ttls.values())) <= 2
    assert all(0 <= RETENTION - age - ttl < STEP_MS for age, ttl in ttls.items())
