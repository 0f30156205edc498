# hfscan for the CPU: docker build -t hfscan . && docker run --rm -v "$PWD:/work:ro" hfscan audit ./model --clean-data ./images
FROM python:3.12-slim-bookworm AS build

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/hfscan
# The CPU wheels first: those of PyPI bring gigabytes of CUDA.
RUN /opt/hfscan/bin/pip install --index-url https://download.pytorch.org/whl/cpu torch torchvision
COPY pyproject.toml README.md LICENSE /src/
COPY hfscan /src/hfscan
RUN /opt/hfscan/bin/pip install /src

FROM python:3.12-slim-bookworm

RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin hfscan \
    && mkdir /cache /work \
    && chown hfscan:hfscan /cache /work
COPY --from=build /opt/hfscan /opt/hfscan
ENV PATH=/opt/hfscan/bin:$PATH \
    HF_HOME=/cache/huggingface \
    HFSCAN_STATE_DIR=/cache/hfscan \
    HF_HUB_DISABLE_TELEMETRY=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /work
VOLUME /cache
ENTRYPOINT ["hfscan"]
CMD ["--help"]
