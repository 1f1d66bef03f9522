// Compares the newest model with the released one. Also: pachctl create pipeline --jsonnet GoT_evaluate.jsonnet --arg image=…
local model(branch, name) = { pfs: { repo: 'GoT_train', branch: branch, glob: '/', name: name } };
local scripts(branch, name) = { pfs: { repo: 'GoT_scripts', branch: branch, glob: '/', name: name } };
function(image)
  {
    pipeline: { name: 'GoT_evaluate', project: { name: 'default' } },
    description: 'Compares the newest model with the released one on text that neither was trained on.',
    input: {
      cross: [
        model('master', 'candidate'),
        model('released', 'released'),
        scripts('master', 'candidate_data'),
        scripts('released', 'released_data'),
      ],
    },
    transform: {
      image: image,
      cmd: [
        'python3', '-m', 'model.evaluate',
        '--candidate', '/pfs/candidate', '--candidate-data', '/pfs/candidate_data',
        '--released', '/pfs/released', '--released-data', '/pfs/released_data',
        '--out', '/pfs/out/evaluation.json',
      ],
      env: { PYTHONPATH: '/code', PYTHONUNBUFFERED: '1', TF_CPP_MIN_LOG_LEVEL: '3' },
    },
    datum_tries: 1,
  }
