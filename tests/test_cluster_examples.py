"""The files in examples/cluster: each is read by its tool, or run; the commands in them are commands of ours."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from autodistill_rfdetr_seg.cli.command_line import build_parser
from helpers.paths import ROOT

FOLDER = ROOT / "examples" / "cluster"
SCRIPTS = sorted(FOLDER.glob("*.slurm.sh"))
# srun says what it was asked for, without starting it.
SRUN = '#!/bin/bash\nprintf "%q " "$@" >> "$CALLS"; echo >> "$CALLS"\n'
DIRECTIVES = {
    *("array", "cpus-per-task", "gpus-per-node", "job-name", "nodes", "ntasks-per-node", "requeue", "time"),
}


def test_every_file_is_tested() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {
        "label.slurm.sh",
        "train.slurm.sh",
        "ray-cluster.yaml",
        "raycluster-kuberay.yaml",
    }


def commands_of(text: str) -> list[list[str]]:
    """The commands of ours in a file's comments and lines."""
    plain = re.sub(r"\s*\\?\n#\s*", " ", text)
    found = re.findall(r"autodistill-seg ([^\n']+)", plain)
    return [shlex.split(one.split(" ray down")[0].split(" kubectl")[0]) for one in found]


def parse_commands(text: str) -> None:
    found = commands_of(text)
    assert found
    for words in found:
        build_parser().parse_args(words)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.name))
def test_a_slurm_script_asks_for_what_it_uses(script: Path, tmp_path: Path) -> None:
    text = script.read_text()
    asked = dict(re.findall(r"^#SBATCH --([a-z-]+)(?:=(\S+))?$", text, re.MULTILINE))
    assert text.count("#SBATCH") == len(asked) and asked.keys() <= DIRECTIVES and asked["ntasks-per-node"] == "1"
    (tmp_path / "srun").write_text(SRUN)
    (tmp_path / "srun").chmod(0o755)
    calls = tmp_path / "calls"
    variables = {"SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_MAX": "16", "SLURM_NNODES": asked["nodes"]}
    environment = {**os.environ, **variables, "CALLS": str(calls), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(["bash", str(script), "/shared/one", "/shared/two"], env=environment, check=True, timeout=30)
    parser = build_parser()
    for line in calls.read_text().splitlines():
        words = shlex.split(line)
        at = words.index("autodistill-seg")
        assert all(word.startswith("--") for word in words[:at])
        args = parser.parse_args(words[at + 1 :])
        if args.command == "train":
            assert words[words.index("--nodes") + 1] == asked["nodes"]
            assert words[words.index("--devices") + 1] == asked["gpus-per-node"]
        if "--slice" in words:
            assert words[words.index("--slice") + 1] == "5/16" and asked["array"] == "1-16"


def test_ray_accepts_the_cluster_file() -> None:
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    from ray.autoscaler._private.util import prepare_config, validate_config

    text = (FOLDER / "ray-cluster.yaml").read_text()
    config = yaml.safe_load(text)
    prepared = prepare_config(config)
    validate_config(prepared)
    assert prepared["max_workers"] == len(config["provider"]["worker_ips"])
    with pytest.raises(Exception, match="wrong"):
        validate_config({**prepared, "wrong": 1})
    for line in (*config["head_start_ray_commands"], *config["worker_start_ray_commands"]):
        check_ray_command(line)
    parse_commands(text)


def check_ray_command(line: str) -> None:
    """Lets ray's own parser read a `ray` command; nothing is started."""
    from ray.scripts.scripts import cli

    words = [word for word in shlex.split(line) if not re.match(r"[A-Z_]+=", word)]
    assert words[0] == "ray"
    command = cli.get_command(None, words[1])  # type: ignore[arg-type]
    assert command is not None
    command.make_context(words[1], words[2:], resilient_parsing=False)


def test_kuberay_reads_the_manifest() -> None:
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
    from ray.autoscaler._private.util import validate_config

    text = (FOLDER / "raycluster-kuberay.yaml").read_text()
    cluster, policy = yaml.safe_load_all(text)
    resource: dict[str, Any] = {**cluster, "metadata": {**cluster["metadata"], "namespace": "default"}}
    config = _derive_autoscaling_config_from_ray_cr(resource)
    validate_config(config)
    workers = config["available_node_types"]["gpu"]
    assert (workers["min_workers"], workers["resources"]["GPU"], workers["resources"]["CPU"]) == (4, 1, 8)
    assert config["available_node_types"]["headgroup"]["resources"]["CPU"] == 0
    assert policy["spec"]["podSelector"]["matchLabels"]["ray.io/cluster"] == cluster["metadata"]["name"]
    parse_commands(text)
