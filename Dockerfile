# syntax=docker/dockerfile:1
# One target for each image: service (the default), edge, sandbox.
#   docker build --target service -t dedup-service .
#   docker build --target edge    -t edge-sender .
#   docker build --target sandbox -t sandbox .

ARG PYTHON_IMAGE=python:3.13.9-slim-trixie

FROM ${PYTHON_IMAGE} AS base
ENV PYTHONUNBUFFERED=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PATH=/opt/venv/bin:$PATH

# The service's codec is compiled here (setup.py). The compiler reaches no image, and has no version of its own: it is that of
# the distribution, whose release the base image names.
FROM base AS package
# hadolint ignore=DL3008
RUN apt-get update && \
    apt-get install --yes --no-install-recommends gcc libc6-dev && \
    rm -rf /var/lib/apt/lists/*
COPY requirements/build.txt /src/requirements.txt
RUN python -m venv /opt/venv && \
    pip install --require-hashes --only-binary :all: -r /src/requirements.txt
COPY pyproject.toml setup.py README.md LICENSE /src/
COPY dedup_service /src/dedup_service
COPY edge_sender /src/edge_sender
COPY sandbox /src/sandbox
COPY wire /src/wire
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels /src

# Everything is installed as a wheel, and every dependency by its hash, so no compiler is needed. Bytecode is compiled here,
# because a running container writes nothing.
FROM base AS install-service
COPY requirements/service.txt /src/requirements.txt
RUN python -m venv /opt/venv && \
    pip install --require-hashes --only-binary :all: -r /src/requirements.txt
COPY --from=package /wheels /wheels
RUN pip install --no-deps --no-index /wheels/*.whl && \
    python -m compileall -q /opt/venv

# paho-mqtt 1, which azure-iot-device requires, has no wheel.
FROM base AS install-edge
COPY requirements/build.txt requirements/edge.txt /src/
RUN python -m venv /opt/venv && \
    pip install --require-hashes --only-binary :all: -r /src/build.txt && \
    pip install --require-hashes --only-binary :all: --no-binary paho-mqtt --no-build-isolation -r /src/edge.txt && \
    pip uninstall --yes setuptools && \
    mkdir -p /var/lib/edge-sender
COPY --from=package /wheels /wheels
RUN pip install --no-deps --no-index /wheels/*.whl && \
    python -m compileall -q /opt/venv

FROM base AS install-sandbox
COPY requirements/sandbox.txt /src/requirements.txt
RUN python -m venv /opt/venv && \
    pip install --require-hashes --only-binary :all: -r /src/requirements.txt
COPY --from=package /wheels /wheels
RUN pip install --no-deps --no-index /wheels/*.whl && \
    python -m compileall -q /opt/venv

FROM base AS runtime
RUN groupadd --gid 10001 app && \
    useradd --uid 10001 --gid app --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin app
WORKDIR /tmp
USER 10001:10001

FROM runtime AS edge
COPY --from=install-edge /opt/venv /opt/venv
# The spool's folder: a new volume that is mounted there then also belongs to the user.
COPY --from=install-edge --chown=10001:10001 /var/lib/edge-sender /var/lib/edge-sender
EXPOSE 9464
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 \
    CMD ["edge-sender", "check", "--health"]
ENTRYPOINT ["edge-sender"]
CMD ["run"]

FROM runtime AS sandbox
COPY --from=install-sandbox /opt/venv /opt/venv
EXPOSE 5672 8883 4840
ENTRYPOINT ["sandbox"]
CMD ["hub", "--host", "0.0.0.0", "--advertise", "localhost", "--ca-file", "/tmp/ca.pem"]

FROM runtime AS service
COPY --from=install-service /opt/venv /opt/venv
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 \
    CMD ["dedup-service", "check", "--health"]
ENTRYPOINT ["dedup-service"]
CMD ["run"]
