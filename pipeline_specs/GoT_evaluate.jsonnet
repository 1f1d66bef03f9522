// Compares a new model with the released one. Also: pachctl create pipeline --jsonnet GoT_evaluate.jsonnet --arg image=…
local pfs(repo, name) = { pfs: { repo: repo, branch: 'master', glob: '/', name: name } };
function(image)
  {
    pipeline: { name: 'GoT_evaluate', project: { name: 'default' } },
    description: 'Compares a new model with the released one on text that neither was trained on.',
    // Copies of both models, each with its scripts: what is compared is chosen by who trained it, not by who came last.
    input: { cross: [pfs('GoT_candidate', 'candidate'), pfs('GoT_released', 'released')] },
    transform: {
      image: image,
      cmd: [
        'python3', '-m', 'model.evaluate',
        '--candidate', '/pfs/candidate/model', '--candidate-data', '/pfs/candidate/scripts',
        '--released', '/pfs/released/model', '--released-data', '/pfs/released/scripts',
        '--out', '/pfs/out/evaluation.json',
      ],
      env: { PYTHONPATH: '/code', PYTHONUNBUFFERED: '1', TF_CPP_MIN_LOG_LEVEL: '3' },
    },
    datum_tries: 1,
  }
