from prometheus_client import REGISTRY

from protocol.codes import OpCode, ResponseCode
from protocol.header import Header
from protocol.types.hs_site import TRANSPORT_HTTPS
from resolver.metrics import RequestMetrics
from resolver.tally import Tally


def shown() -> dict[tuple[str, str], float]:
    return {
        (sample.name, sample.labels.get("le", "")): sample.value
        for metric in REGISTRY.collect()
        for sample in metric.samples
        if sample.labels.get("transport") == "https"
        and sample.labels.get("opcode", "resolution") == "resolution"
        and sample.labels.get("response_code", "success") == "success"
        and not sample.name.endswith("_created")
    }


def test_a_tally_shows_what_counting_one_by_one_shows() -> None:
    durations_s = [0.0, 5e-5, 6e-5, 0.5, 100.0]
    tally = Tally(OpCode.RESOLUTION, ResponseCode.SUCCESS, TRANSPORT_HTTPS)
    before = shown()
    one_by_one = RequestMetrics()
    for seconds in durations_s:
        header = Header(OpCode.RESOLUTION, ResponseCode.SUCCESS, 0, 0)
        one_by_one.count(header, TRANSPORT_HTTPS, seconds)
    between = shown()
    for seconds in durations_s:
        tally.add(seconds)
    assert shown() == between
    assert tally.flush() == len(durations_s)
    after = shown()
    assert {key: round(after[key] - between[key], 9) for key in after} == {
        key: round(between[key] - before.get(key, 0.0), 9) for key in between
    }
    assert tally.flush() == 0
    assert shown() == after
