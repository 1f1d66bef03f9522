ARG BASE_IMAGE=tensorflow/tensorflow:2.19.1
FROM ${BASE_IMAGE}
# The base brings TensorFlow and NumPy; a base without them gets them here.
RUN python3 -c 'import tensorflow' 2>/dev/null || python3 -m pip install --no-cache-dir tensorflow-cpu==2.19.1
ENV PYTHONDONTWRITEBYTECODE=1
WORKDIR /code
COPY model /code/model
USER 1000
