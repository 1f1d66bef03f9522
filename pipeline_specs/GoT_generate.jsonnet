// Writes a new script with the trained model. Also: pachctl create pipeline --jsonnet GoT_generate.jsonnet --arg image=…
// `format` is text, fountain or json: new_script.txt, new_script.fountain or new_script.json.
function(image, tokens='1500', seed='1', temperature='0.9', format='text')
  local extension = if format == 'text' then 'txt' else format;
  {
    pipeline: { name: 'GoT_generate', project: { name: 'default' } },
    description: 'Writes a new script with the trained model.',
    input: { pfs: { repo: 'GoT_train', glob: '/' } },
    transform: {
      image: image,
      cmd: [
        'python3', '-m', 'model.generate', '--save-path', '/pfs/GoT_train', '--out', '/pfs/out/new_script.' + extension,
        '--tokens', tokens, '--seed', seed, '--temperature', temperature, '--format', format,
      ],
      env: { PYTHONPATH: '/code', PYTHONUNBUFFERED: '1', TF_CPP_MIN_LOG_LEVEL: '3' },
    },
    datum_tries: 1,
  }
