"""The pytest plugin, as its users use it."""

import pytest

from faramesh_sim.scenario.model import Expect

pytest_plugins = ("pytester",)


def test_ten_lines_of_python(simulation):
    sim = simulation(regions={"eu": 4, "us": 4}, chaos="20s", settle="15s")
    sim.push("r1", at="2s", stages=["25%", "100%"])
    sim.cut("eu", "us", at="5s", lasts="8s")
    sim.kill("n01", name="k1", at="6s", via="eu")
    outcome = sim.run(seeds=2)
    assert 0 < outcome.contained("k1") < 15
    assert outcome.blast_radius <= 0.26


def test_a_failure_says_what_was_seen_and_how_to_repeat_it(simulation, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sim = simulation(regions={"eu": 3}, name="mine", chaos="5s", settle="5s")
    sim.expect(Expect(denied=("n00",)))
    with pytest.raises(AssertionError, match=r"EXPECTED .*n00 is expected to be denied") as caught:
        sim.run()
    assert "repro: faramesh-mesh sim run out/mine.toml --seed 1" in str(caught.value)
    assert (tmp_path / "out" / "mine.toml").is_file()


@pytest.mark.parametrize("trio_mode", [False, True])
def test_files_are_tests(pytester, trio_mode):
    """Also beside pytest-trio's trio mode, which looks at the function of every test."""
    pytester.makeini(f"[pytest]\ntrio_mode = {trio_mode}")
    folder = pytester.mkdir("scenarios")
    (folder / "good.toml").write_text('[sim]\nregions = { eu = 3 }\nchaos = "3s"\nsettle = "5s"\n')
    (folder / "bad.toml").write_text(
        '[sim]\nregions = { eu = 3 }\nchaos = "3s"\nsettle = "5s"\n[expect]\ndenied = ["n00"]\n'
    )
    result = pytester.runpytest_subprocess("--faramesh-scenarios", "scenarios", "--faramesh-seeds", "2")
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(["*repro: faramesh-mesh sim run *bad.toml --seed 1*"])
