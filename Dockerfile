# The image that the pipelines run, with the locked versions on whatever base: docker build --build-arg BASE_IMAGE=… .
ARG BASE_IMAGE=python:3.12-slim@sha256:78387bc3881b8273120a12ebe6c1ab22b018ccc2c9adf565ae1ac9b536e184ea
FROM ${BASE_IMAGE}

COPY model/requirements.txt /code/model/requirements.txt
RUN PIP_BREAK_SYSTEM_PACKAGES=1 PIP_ROOT_USER_ACTION=ignore \
    python3 -m pip install --no-cache-dir --require-hashes --requirement /code/model/requirements.txt

# The root filesystem may be read-only: what TensorFlow writes aside goes to the memory that every container has.
ENV HOME=/code TMPDIR=/dev/shm KERAS_HOME=/dev/shm/keras PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/code
WORKDIR /code
COPY model /code/model
# Pachyderm's specs give the command, so there is no ENTRYPOINT.
USER 1000:1000

ARG VERSION=unknown
ARG BUILD_INPUTS=unknown
LABEL org.opencontainers.image.title="tensor_flow_rnn_got" \
      org.opencontainers.image.version="${VERSION}" \
      scriptwright.build-inputs="${BUILD_INPUTS}"
