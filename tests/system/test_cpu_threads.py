"""The threads of a model's runtime: those that the environment allows, as in torch."""

from __future__ import annotations

from pathlib import Path

import pytest

from autodistill_rfdetr_seg.system.cpu_threads import thread_limit
from autodistill_rfdetr_seg.system.onnx_sessions import load_session


@pytest.mark.parametrize(("text", "limit"), [("3", 3), ("0", None), ("4,2", None), ("", None), ("-1", None)])
def test_the_limit_is_a_number_above_0(text: str, limit: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    assert thread_limit() == limit


def test_a_session_has_the_threads_of_the_environment_unless_its_caller_says_how_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    port = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "same", port[:1], port[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "same.onnx")

    def threads_of(number: int | None) -> int:
        session = load_session(tmp_path / "same.onnx", threads=number)
        return int(session.get_session_options().intra_op_num_threads)

    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert (threads_of(None), threads_of(2)) == (3, 2)
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert threads_of(None) == 0  # onnxruntime's own choice
