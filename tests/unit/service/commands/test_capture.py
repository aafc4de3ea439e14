"""`dedup-service capture`: which events are kept, when it is enough, and where they go."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from dedup_service.__main__ import make_parser
from dedup_service.commands.capture import MAX_GATEWAYS, CaptureFailedError, Kept, Wanted, capture, chosen_input, summary
from dedup_service.commands.capture_files import file_names, new_folder, save
from dedup_service.config.addresses import parse_hub_address
from dedup_service.config.hubs import InputConfig
from dedup_service.core.events import DEVICE_ID, MODULE_ID, InputEvent
from dedup_service.errors import UnavailableError
from tests.doubles.memory import MemoryClock, MemoryHub
from tests.support.readings import event
from wire.formats.capture import Captured, read


def sent(device: str, module: str = "", partition: str = "0") -> InputEvent:
    annotations = {DEVICE_ID: device, **({MODULE_ID: module} if module else {})}
    return event(b"1", partition_id=partition, annotations=annotations)


def kept_of(wanted: Wanted, *devices: str, at: float = 0.0) -> Kept:
    kept = Kept(wanted)
    for device in devices:
        kept.add(sent(device), at)
    return kept


def test_of_each_gateway_as_many_are_kept_as_are_wanted_and_the_others_are_counted() -> None:
    kept = kept_of(Wanted(2, 30, device="gw-*"), "gw-a", "gw-a", "gw-a", "gw-b", "oven")
    assert {gateway: len(events) for gateway, events in kept.events.items()} == {"gw-a": 2, "gw-b": 1}
    assert (kept.beyond_count, kept.other_devices) == (1, 1)
    text = "\n".join(summary(kept, {}))
    assert "2 events of gw-a" in text
    assert "1 more of these gateways, beyond --count 2: read, and not kept" in text
    assert "1 of devices that --device gw-* leaves out" in text


def test_a_module_is_a_gateway_of_its_own_and_is_meant_with_its_device() -> None:
    kept = Kept(Wanted(5, 30, device="gw-a"))
    for module in ("", "x", "y"):
        kept.add(sent("gw-a", module), 0)
    assert list(kept.events) == ["gw-a", "gw-a/x", "gw-a/y"]
    only = Kept(Wanted(5, 30, device="gw-a/x"))
    only.add(sent("gw-a", "x"), 0)
    only.add(sent("gw-a", "y"), 0)
    assert list(only.events) == ["gw-a/x"]


def test_senders_that_make_up_names_take_no_memory_without_end() -> None:
    kept = kept_of(Wanted(1, 30), *(f"gw-{number}" for number in range(MAX_GATEWAYS + 3)))
    assert (len(kept.events), kept.beyond_gateways) == (MAX_GATEWAYS, 3)


def test_it_is_enough_when_all_have_sent_enough_and_no_other_has_shown_up_for_a_while() -> None:
    kept = kept_of(Wanted(1, 30, settle_seconds=5), "gw-a", at=10)
    assert not kept.is_enough(14.9)
    kept.add(sent("gw-b"), 14)
    assert not kept.is_enough(18.9)
    assert kept.is_enough(19)
    assert not kept_of(Wanted(2, 30), "gw-a").is_enough(100)
    assert not Kept(Wanted(1, 30)).is_enough(100)


def test_whoever_interrupts_it_wants_what_there_is() -> None:
    kept = kept_of(Wanted(2, 30), "gw-a")
    kept.stop()
    assert kept.is_enough(0)


async def captured(hub: MemoryHub, back_seconds: int = 0) -> Kept:
    kept = Kept(Wanted(10, 30, back_seconds=back_seconds))
    await capture(hub, kept, hub.clock.now_ms, hub.clock.monotonic)
    return kept


@pytest.mark.parametrize(("back_seconds", "expected"), [(0, 0), (60, 2), (120, 4)])
async def test_it_begins_at_the_end_or_a_while_before(back_seconds: int, expected: int) -> None:
    clock = MemoryClock()
    hub = MemoryHub(clock, {"0": [], "1": []})
    for _ in range(2):
        for partition in ("0", "1"):
            hub.append(sent("gw-a", partition=partition))
        await clock.sleep(50)
    kept = await captured(hub, back_seconds=back_seconds)
    assert sum(map(len, kept.events.values())) == expected


class LosesReaders(MemoryClock):
    """Whenever time passes, the hub disconnects its readers."""

    hub: MemoryHub

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        self.hub.lose_readers()


async def test_a_hub_that_goes_away_ends_it() -> None:
    clock = LosesReaders()
    clock.hub = MemoryHub(clock, {"0": [], "1": []})
    with pytest.raises(UnavailableError):
        await captured(clock.hub)


async def test_it_ends_when_the_time_is_up_and_leaves_no_reader() -> None:
    hub = MemoryHub(MemoryClock(), {"0": [], "1": []})
    assert (await captured(hub)).events == {}
    assert hub.readers == []


GATEWAYS = st.sets(st.text(min_size=1, max_size=300) | st.sampled_from(["gw", "GW", ".", "..", "../x", "/etc/x", "a/b"]))


@given(GATEWAYS)
def test_every_gateway_gets_a_file_of_its_own_inside_of_the_folder(gateways: set[str]) -> None:
    names = file_names(dict.fromkeys(gateways))
    assert set(names) == gateways
    assert len({name.casefold() for name in names.values()}) == len(gateways)
    for name in names.values():
        assert Path(name).name == name
        assert not name.startswith(".")
        assert len(name.encode()) < 200


def test_only_the_owner_can_read_what_was_captured(tmp_path: Path) -> None:
    folder = tmp_path / "captured"
    with new_folder(folder):
        paths = save(folder, {"gw-a/x": [Captured(b"{}")]})
    assert paths == {"gw-a/x": folder / "gw-a%2Fx.json"}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(paths["gw-a/x"].stat().st_mode) == 0o600
    assert read(paths["gw-a/x"].read_bytes()) == [Captured(b"{}")]


def test_no_folder_is_overwritten_and_none_stays_without_events(tmp_path: Path) -> None:
    with pytest.raises(CaptureFailedError, match="nothing is overwritten"), new_folder(tmp_path):
        pass
    with new_folder(tmp_path / "new"):
        pass
    assert not (tmp_path / "new").exists()
    with pytest.raises(CaptureFailedError, match="can't be made"), new_folder(tmp_path / "a" / "b"):
        pass


def inputs(*names: str) -> list[InputConfig]:
    text = "Endpoint=sb://x.servicebus.windows.net/;SharedAccessKeyName=k;SharedAccessKey=a2V5;EntityPath=hub"
    address = parse_hub_address("DEDUP_INPUT_CONNECTION_STRING", SecretStr(text), None)
    return [InputConfig(name, address, "dedup", 0) for name in names]


def test_the_consumer_group_of_run_is_refused() -> None:
    with pytest.raises(CaptureFailedError, match="`run` reads this one"):
        chosen_input(inputs("default"), None, "Dedup")
    assert chosen_input(inputs("default"), None, "capture").name == "default"


def test_one_of_several_inputs_is_chosen_by_name() -> None:
    both = inputs("west", "east")
    assert chosen_input(both, "east", "capture").name == "east"
    with pytest.raises(CaptureFailedError, match="--input: west, east"):
        chosen_input(both, None, "capture")
    with pytest.raises(CaptureFailedError, match="no such input, but west, east"):
        chosen_input(both, "north", "capture")


@pytest.mark.parametrize("words", [["--count", "0"], ["--seconds", "x"], ["--from", "yesterday"], []])
def test_wrong_arguments_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    given = ["capture", *(["--consumer-group", "capture"] if words else []), *words]
    with pytest.raises(SystemExit):
        make_parser().parse_args(given)
    assert (words or ["--consumer-group"])[0] in capsys.readouterr().err
