from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def model_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder whose model files all tests of the room share: making them is the slow part."""
    return tmp_path_factory.mktemp("profiling_home")


@pytest.fixture
def home(model_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SELECTOR_HOME", str(model_home))
    monkeypatch.delenv("SELECTOR_STORE", raising=False)
    return model_home


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder of the test's own: jobs of fake runtimes leave empty model files in it."""
    monkeypatch.setenv("SELECTOR_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the registry and worker processes find the runtimes of `fake_runtimes`."""
    import fake_runtimes

    from selector.profiling import runtimes

    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    for kind in fake_runtimes.ALL:
        monkeypatch.setitem(runtimes.RUNTIMES, kind.name, f"fake_runtimes:{kind.__name__}")
