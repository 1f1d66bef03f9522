"""Pipelines that stand in for the model's: shell scripts that take a moment and write files of the same names.

What is tested with them is what happens around the jobs; the model itself is tested elsewhere. The perplexity of a "model"
is what the file `quality.txt` among its scripts says.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests import corpora

ROOT = Path(__file__).parents[2]
TRAIN = """
quality=$(cat /pfs/GoT_scripts/quality.txt)
for epoch in 1 2; do
  echo "Epoch: $epoch of 2 Learning rate: 1.000" | tee -a /pfs/out/model-results
  for step in 0.500 1.000; do echo "$step perplexity: $quality speed: 9 wps" | tee -a /pfs/out/model-results; sleep SECONDS; done
  for split in Train Valid; do echo "Epoch: $epoch $split Perplexity: $quality" | tee -a /pfs/out/model-results; done
done
echo "Test Perplexity: $quality" | tee -a /pfs/out/model-results
cat > /pfs/out/metrics.json <<END
{"model": "test", "seed": 1, "vocabulary": 9, "tokens": {"train": 9, "valid": 9, "test": 9},
 "epochs": [{"epoch": 1, "train": $quality, "valid": $quality, "words_per_second": 9},
            {"epoch": 2, "train": $quality, "valid": $quality, "words_per_second": 9}],
 "perplexity": {"train": $quality, "valid": $quality, "test": $quality}}
END
"""
GENERATE = """
printf 'ANNA\\nThe cold river.\\n' > /pfs/out/new_script.txt
cat > /pfs/out/script_facts.json <<END
{"tokens": 4, "lines": 1, "seed": 1, "prompt": "", "longest_copied_run": null}
END
"""
EVALUATE = """
new=$(cat /pfs/candidate/scripts/quality.txt) old=$(cat /pfs/released/scripts/quality.txt)
echo "{\\"tokens\\": 900, \\"words\\": 9, \\"candidate\\": $new, \\"released\\": $old}" > /pfs/out/evaluation.json
"""
COMMANDS = {"GoT_train": TRAIN, "GoT_generate": GENERATE, "GoT_evaluate": EVALUATE}


def specs(folder: Path, seconds: float = 0.3) -> Path:
    """A copy of the project's specs in which each command is a shell script; a training takes four times `seconds`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, command in COMMANDS.items():
        text = (ROOT / "pipeline_specs" / f"{name}.jsonnet").read_text()
        before, cmd, rest = text.partition("cmd: [")
        assert cmd
        body = f"cmd: ['sh', '-e', '-c', {json.dumps(command.replace('SECONDS', str(seconds)))}, "
        (folder / f"{name}.jsonnet").write_text(before + body + rest)
    return folder


def scripts(path: Path, number: int, quality: float) -> Path:
    """An archive of scripts that no other number makes."""
    return corpora.archive(path, {"play.txt": corpora.play(number), "quality.txt": f"{quality}\n"})


def by_hand(pipeline: str, folder: Path, **inputs: Path) -> dict[str, bytes]:
    """The files that a pipeline's command makes of these inputs in an empty folder, without any Pachyderm."""
    folder.mkdir()
    command = COMMANDS[pipeline].replace("SECONDS", "0")
    for name, place in {**inputs, "out": folder}.items():
        command = command.replace(f"/pfs/{name}", str(place))
    subprocess.run(["sh", "-e", "-c", command], check=True, stdout=subprocess.DEVNULL)
    return {file.name: file.read_bytes() for file in folder.iterdir()}
