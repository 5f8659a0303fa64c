# Scopegate in a container. glibc, not musl: the embedded store's wheel has no musl build.
#
#   docker build -t scopegate .
#   docker run --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges -p 8080:8080 \
#     -v scopegate:/var/lib/scopegate -v ./policy.yaml:/etc/scopegate/policy.yaml:ro \
#     -e SCOPEGATE_UPSTREAMS__API__URL=https://api.example.com scopegate
ARG PYTHON=3.13-slim-bookworm

FROM python:${PYTHON} AS build
WORKDIR /build
# The locks first: as long as they stay, so does this layer.
COPY requirements/build.txt requirements/oidc.txt requirements/
RUN python -m venv --without-pip /opt/scopegate \
    && python -m pip --python /opt/scopegate/bin/python install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements/oidc.txt \
    && python -m venv --without-pip /opt/build \
    && python -m pip --python /opt/build/bin/python install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY gateway gateway
COPY policies policies
RUN /opt/build/bin/python -m hatchling build -t wheel -d /opt/wheel \
    && python -m pip --python /opt/scopegate/bin/python install --no-cache-dir --disable-pip-version-check --no-deps --no-index /opt/wheel/*.whl

FROM python:${PYTHON}
LABEL org.opencontainers.image.title="Scopegate" \
      org.opencontainers.image.description="Scoped access tokens in front of a REST API" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/scopegate /opt/scopegate
COPY deploy/gateway.yaml /etc/scopegate/gateway.yaml
RUN install -d -m 0700 -o 65532 -g 65532 /var/lib/scopegate
ENV PATH=/opt/scopegate/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    SCOPEGATE_CONFIG=/etc/scopegate/gateway.yaml
WORKDIR /etc/scopegate
# A number, so that runAsNonRoot can be checked.
USER 65532:65532
VOLUME /var/lib/scopegate
EXPOSE 8080 8081
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["/opt/scopegate/bin/python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8081/healthz', timeout=2)"]
ENTRYPOINT ["/opt/scopegate/bin/scopegate"]
CMD ["serve"]
