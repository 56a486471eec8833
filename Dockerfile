# syntax=docker/dockerfile:1
# One image for every service and for the command: which one runs is the container's command.

FROM python:3.11-slim AS build
WORKDIR /src
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# Dependencies first: they change less often than the code. Every file is held against its hash in the lock.
COPY pyproject.toml requirements.lock ./
COPY deploy/runtime_lock.py deploy/
RUN python deploy/runtime_lock.py > /tmp/runtime.lock \
    && python deploy/runtime_lock.py setuptools > /tmp/build.lock \
    && python -m venv /opt/countersign \
    && /opt/countersign/bin/pip install --require-hashes -r /tmp/runtime.lock \
    && pip install --require-hashes -r /tmp/build.lock
COPY README.md ./
COPY schemas schemas
COPY services services
COPY countersign countersign
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /tmp/wheels . \
    && /opt/countersign/bin/pip install --no-deps --no-index /tmp/wheels/*.whl \
    && /opt/countersign/bin/python -m compileall -q /opt/countersign/lib

FROM python:3.11-slim
# A number, not a name: orchestrators that insist on non-root check the number.
RUN groupadd --gid 10001 countersign \
    && useradd --uid 10001 --gid 10001 --home-dir /data --shell /usr/sbin/nologin countersign \
    && install -d -o 10001 -g 10001 -m 0700 /data
COPY --from=build /opt/countersign /opt/countersign
ENV PATH=/opt/countersign/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8080 9101 9102 9103
CMD ["countersign", "--help"]
