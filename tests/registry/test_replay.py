from pathlib import Path

from registry.journal import FRAME_OPERATIONS_MAX, OWNER, JournalOperation, Kind, decode_frame
from registry.log import LocalLog
from registry.replay import make_changes
from registry.store import Store

TIME_MS = 1_700_000_000_000


def test_changes_are_made_and_journaled_in_as_many_frames_as_they_need(tmp_path: Path) -> None:
    now_s = TIME_MS // 1_000
    handles = [b"0.NA/88.%d" % number for number in range(FRAME_OPERATIONS_MAX + 1)]
    operations = [JournalOperation(Kind.HOME, each, (), OWNER, now_s) for each in handles]
    with Store.open(tmp_path / "store") as store:
        with store.write() as view:
            make_changes(view, operations, TIME_MS)
        with store.read() as view:
            assert sorted(view.homed()) == sorted(view.fold(each) for each in handles)
            frames = [decode_frame(frame) for _, frame in LocalLog(view).read(0, 0)]
    assert [len(frame.operations) for frame in frames] == [FRAME_OPERATIONS_MAX, 1]
    assert [each.handle for frame in frames for each in frame.operations] == handles
