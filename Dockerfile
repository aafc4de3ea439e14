# syntax=docker/dockerfile:1
# One target for each image: service (the default), edge, sandbox.
#   docker build --target service -t dedup-service .
#   docker build --target edge    -t edge-sender .
#   docker build --target sandbox -t sandbox .

ARG PYTHON_IMAGE=python:3.13.9-slim-trixie

FROM ${PYTHON_IMAGE} AS base
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PATH=/opt/venv/bin:$PATH

# Every package by its hash; what has no wheel is not installed, so no compiler is needed.
FROM base AS wheels-service
COPY requirements/service.txt /tmp/requirements.txt
RUN python -m venv /opt/venv && \
    pip install --require-hashes --only-binary :all: -r /tmp/requirements.txt

FROM base AS wheels-edge
COPY requirements/edge.txt /tmp/requirements.txt
RUN python -m venv /opt/venv && \
    pip install --require-hashes --only-binary :all: -r /tmp/requirements.txt

FROM base AS wheels-sandbox
COPY requirements/sandbox.txt /tmp/requirements.txt
RUN python -m venv /opt/venv && \
    pip install --require-hashes --only-binary :all: -r /tmp/requirements.txt

# Compiled once here, since the root file system of a running container is read-only.
FROM base AS runtime
RUN groupadd --gid 10001 app && \
    useradd --uid 10001 --gid app --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin app
WORKDIR /app
ENV PYTHONPATH=/app
LABEL org.opencontainers.image.licenses=MIT

FROM runtime AS edge
COPY --from=wheels-edge /opt/venv /opt/venv
COPY edge_sender /app/edge_sender
RUN python -m compileall -q /app /opt/venv
USER 10001:10001
ENTRYPOINT ["python", "-m", "edge_sender"]
CMD ["run"]

FROM runtime AS sandbox
COPY --from=wheels-sandbox /opt/venv /opt/venv
COPY sandbox /app/sandbox
RUN python -m compileall -q /app /opt/venv
USER 10001:10001
ENTRYPOINT ["python", "-m", "sandbox"]
CMD ["hub", "--host", "0.0.0.0"]

FROM runtime AS service
COPY --from=wheels-service /opt/venv /opt/venv
COPY dedup_service /app/dedup_service
RUN python -m compileall -q /app /opt/venv
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-m", "dedup_service", "check", "--health"]
ENTRYPOINT ["python", "-m", "dedup_service"]
CMD ["run"]
