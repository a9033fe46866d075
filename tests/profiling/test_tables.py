from selector.evidence.record import Conditions, Provenance, Record
from selector.profiling.tables import tables


def figure(metric: str, value: float, backbone: str) -> Record:
    at = Conditions(backbone, "local", "tensorrt", "10.0", "fp32", 224, 1, 1)
    return Record.of(metric, value, at, provenance=Provenance.MEASURED, source="a test")


def test_a_build_has_a_column_where_anything_was_built() -> None:
    loaded = [figure("load_ms", 120.0, name) for name in ("resnet18", "resnet50")]
    (table,) = tables(loaded)
    assert "build" not in [heading for heading, _ in table.figures]
    (table,) = tables([*loaded, figure("build_ms", 34567.0, "resnet50")])
    assert dict(table.figures)["build"] == ("–", "34,567")
    headings = [heading for heading, _ in table.figures]
    assert headings.index("build") + 1 == headings.index("load")
