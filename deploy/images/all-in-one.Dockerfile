# Berth with everything in one container: for a look, or for one team's machine. Workers are processes inside it, so that it
# isolates Berth from the machine and not tenants from each other. Builds with and without BuildKit; docs/docker.md tells how to use it.

# Debian or a relative, with Node 20.19 or newer.
ARG BASE_IMAGE=node:24-slim
# 2.12 or newer, with the server at /nats-server.
ARG NATS_IMAGE=nats:2.12
# Images that bring ready what the stages of these names make; offline.mjs has some.
ARG BUILD_IMAGE=build
ARG AGENTS_IMAGE=agents

FROM ${BASE_IMAGE} AS build
# Not empty: BUILD_IMAGE brings the build, and nothing is made here.
ARG PREBUILT=
WORKDIR /berth
COPY package.json package-lock.json .npmrc ./
RUN test -n "$PREBUILT" || npm ci --ignore-scripts
COPY . .
RUN test -n "$PREBUILT" || npm run build
# As it lies in the images, of one time, so that the same sources make the same layers; packages apart, for they change less.
RUN mkdir -p /executor /modules /server && { test -n "$PREBUILT" || { npm prune --omit=dev --ignore-scripts \
    && rm node_modules/.package-lock.json \
    && install -D -m 0644 dist/executor.mjs /executor/opt/berth/executor.mjs \
    && mkdir -p /modules/berth /server/berth/deploy /server/berth/gateway && mv node_modules /modules/berth/ \
    && mv package.json dist /server/berth/ && mv deploy/bin /server/berth/deploy/ && mv gateway/dashboard /server/berth/gateway/ \
    && find /executor /modules /server -exec touch --no-dereference --date=@315532800 {} +; }; }

FROM ${BASE_IMAGE} AS agents
ARG PREBUILT=
# Agents' command line tools as npm names them, such as "@openai/codex@0.169.0".
ARG AGENTS=
WORKDIR /image/opt/agents
RUN test -n "$PREBUILT" || test -z "$AGENTS" || { npm install --no-audit --no-fund --prefix . $AGENTS \
    && rm -rf package.json package-lock.json node_modules/.package-lock.json \
    && find /image -exec touch --no-dereference --date=@315532800 {} +; }

FROM ${NATS_IMAGE} AS nats
FROM ${BUILD_IMAGE} AS built
FROM ${AGENTS_IMAGE} AS chosen-agents

FROM ${BASE_IMAGE}
# What agents reach for. A base that has it all needs no network here.
RUN { command -v git && command -v curl && command -v python3 && command -v update-ca-certificates; } > /dev/null \
    || { apt-get update \
      && apt-get install --yes --no-install-recommends git curl python3 ca-certificates \
      && rm -rf /var/lib/apt/lists/*; }
RUN { ! taken=$(getent passwd 1000) || userdel --remove "${taken%%:*}"; } \
    && useradd --uid 1000 --user-group --no-log-init --create-home --skel /nonexistent --shell /bin/sh berth \
    && install -d -o 1000 -g 1000 -m 0700 /data \
    && install -d /berth && ln -s /data /berth/.berth && ln -s /berth/deploy/bin/berth.mjs /usr/local/bin/berth
COPY --from=nats /nats-server /usr/local/bin/nats-server
COPY --from=chosen-agents /image /
# The first two are shorter than elsewhere: Docker kills ten seconds after it asked for a stop.
ENV BERTH_DRAIN_TIMEOUT=3s \
    BERTH_KILL_GRACE=2s \
    NODE_ENV=production \
    BERTH_DATA=/data \
    BERTH_HOST=0.0.0.0 \
    BERTH_PORT=8000 \
    BERTH_AGENTS_PATH=/opt/agents/node_modules/.bin
USER 1000:1000
WORKDIR /berth
VOLUME /data
EXPOSE 8000 9464
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.BERTH_PORT}/readyz`).then(r=>process.exit(r.ok?0:1),()=>process.exit(1))"]
CMD ["berth", "up", "--no-demo"]
COPY --from=built /modules /
COPY --from=built /server /
ARG VERSION=
ARG BUILD=
LABEL org.opencontainers.image.title="Berth" \
      org.opencontainers.image.description="Runs AI agents for many tenants: nats-server, node, gateway and workers in one container" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      berth.build="$BUILD"
