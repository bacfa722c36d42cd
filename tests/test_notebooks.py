import nbformat
import pytest
from nbclient import NotebookClient

from tests import support


@pytest.mark.parametrize("path", sorted((support.ROOT / "notebooks").glob("*.ipynb")))
def test_a_notebook_runs_from_top_to_bottom_anywhere(path, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(support.ROOT))
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
