FROM python:3.12-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /opt/slotcast
WORKDIR /src
# Before the sources, so that a code change reuses this layer.
COPY requirements.lock ./
RUN /opt/slotcast/bin/pip install --require-hashes -r requirements.lock
COPY . ./
RUN /opt/slotcast/bin/pip install --no-deps .

FROM python:3.12-slim
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/slotcast slotcast
COPY --from=build /opt/slotcast /opt/slotcast
ENV PATH=/opt/slotcast/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    SLOTCAST_HOST=0.0.0.0 \
    SLOTCAST_PORT=8080
USER slotcast
WORKDIR /var/lib/slotcast
EXPOSE 8080
# The slim image has no curl. The exit code is all that Docker reads, so a refusal needs no handling.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ['SLOTCAST_PORT']}/healthz\", timeout=2)"]
# Exec form: SIGTERM must reach the server itself, or it cannot drain.
CMD ["slotcast", "serve"]
