# Berth with everything in one container: for a look, or for one team's machine. Workers are processes inside it, so that it
# isolates Berth from the machine and not tenants from each other. Builds with and without BuildKit; docs/docker.md tells how to use it.

# Debian or a relative, with Node 20.19 or newer.
ARG BASE_IMAGE=node:24-slim
# 2.12 or newer, with the server at /nats-server.
ARG NATS_IMAGE=nats:2.12

FROM ${NATS_IMAGE} AS nats

FROM ${BASE_IMAGE} AS build
# Not empty: the context brings node_modules, dist and agents ready, as offline.mjs makes them.
ARG PREBUILT=
# Agents' command line tools as npm names them, such as "@openai/codex@0.169.0".
ARG AGENTS=
WORKDIR /berth
COPY package.json package-lock.json .npmrc ./
RUN test -n "$PREBUILT" || npm ci
RUN mkdir -p agents && { test -n "$PREBUILT" || test -z "$AGENTS" || npm install --prefix agents $AGENTS; }
COPY . .
RUN test -n "$PREBUILT" || { npm run build && npm prune --omit=dev; }

FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="Berth" \
      org.opencontainers.image.description="Runs AI agents for many tenants: nats-server, node, gateway and workers in one container" \
      org.opencontainers.image.licenses="Apache-2.0"
# What agents reach for. A base that has it all needs no network here.
RUN { command -v git && command -v curl && command -v python3 && command -v update-ca-certificates; } > /dev/null \
    || { apt-get update \
      && apt-get install --yes --no-install-recommends git curl python3-minimal ca-certificates \
      && rm -rf /var/lib/apt/lists/*; }
# git and others ask for the name of their user; node's own images have one of this number.
RUN { getent passwd 1000 > /dev/null || useradd --uid 1000 --user-group --create-home berth; } \
    && install -d -o 1000 -g 1000 -m 0700 /data \
    && install -d /berth && ln -s /data /berth/.berth && ln -s /berth/deploy/bin/berth.mjs /usr/local/bin/berth
COPY --from=nats /nats-server /usr/local/bin/nats-server
COPY --from=build /berth/package.json /berth/package.json
COPY --from=build /berth/deploy/bin /berth/deploy/bin
COPY --from=build /berth/gateway/dashboard /berth/gateway/dashboard
COPY --from=build /berth/node_modules /berth/node_modules
COPY --from=build /berth/agents /berth/agents
COPY --from=build /berth/dist /berth/dist
# Shorter than elsewhere: Docker kills ten seconds after it asked for a stop.
ENV BERTH_DRAIN_TIMEOUT=3s \
    BERTH_KILL_GRACE=2s
ENV NODE_ENV=production \
    BERTH_DATA=/data \
    BERTH_HOST=0.0.0.0 \
    BERTH_PORT=8000 \
    BERTH_AGENTS_PATH=/berth/agents/node_modules/.bin
USER 1000:1000
WORKDIR /berth
VOLUME /data
EXPOSE 8000 9464
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.BERTH_PORT}/readyz`).then(r=>process.exit(r.ok?0:1),()=>process.exit(1))"]
CMD ["berth", "up", "--no-demo"]
