// Trains the language model on every script of one commit. Also: pachctl create pipeline --jsonnet GoT_train.jsonnet --arg image=… --arg model=test
// `minutes`, instead of a model: train for so long. `format` is what the scripts are in, where that should not be found out: play, transcript, screenplay, …
function(image, model='test', minutes='', seed='1', format='')
  {
    pipeline: { name: 'GoT_train', project: { name: 'default' } },
    description: 'Trains the LSTM language model on the scripts.',
    input: { pfs: { repo: 'GoT_scripts', glob: '/' } },
    transform: {
      image: image,
      cmd: ['python3', '-m', 'model.train', '--data-path', '/pfs/GoT_scripts', '--save-path', '/pfs/out', '--seed', seed]
           + (if minutes == '' then ['--model', model] else ['--minutes', minutes])
           + (if format == '' then [] else ['--format', format]),
      env: { PYTHONPATH: '/code', PYTHONUNBUFFERED: '1', TF_CPP_MIN_LOG_LEVEL: '3' },
    },
    // A training run is deterministic: what failed once fails again.
    datum_tries: 1,
  }
