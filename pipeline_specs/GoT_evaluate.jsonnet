// Compares the newest model with the released one. Also: pachctl create pipeline --jsonnet GoT_evaluate.jsonnet --arg image=…
local pfs(repo, name) = { pfs: { repo: repo, branch: 'master', glob: '/', name: name } };
function(image)
  {
    pipeline: { name: 'GoT_evaluate', project: { name: 'default' } },
    description: 'Compares the newest model with the released one on text that neither was trained on.',
    // Pachyderm takes one branch of a repo in a DAG, so what is released is in a repo of its own.
    input: { cross: [pfs('GoT_train', 'candidate'), pfs('GoT_scripts', 'candidate_data'), pfs('GoT_released', 'released')] },
    transform: {
      image: image,
      cmd: [
        'python3', '-m', 'model.evaluate',
        '--candidate', '/pfs/candidate', '--candidate-data', '/pfs/candidate_data',
        '--released', '/pfs/released/model', '--released-data', '/pfs/released/scripts',
        '--out', '/pfs/out/evaluation.json',
      ],
      env: { PYTHONPATH: '/code', PYTHONUNBUFFERED: '1', TF_CPP_MIN_LOG_LEVEL: '3' },
    },
    datum_tries: 1,
  }
